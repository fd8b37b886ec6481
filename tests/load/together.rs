//! Many who ask for the same: one fetch where the page may be shared, all side by side where it may not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::backend::{Backend, page};
use crate::figures::PROBED;
use crate::server::{Server, Setup, until};
use crate::wire::{Answer, Wire};
use crate::{note, raise_open_files, scaled};

struct Rig {
    backend: Arc<Backend>,
    server: Server,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        raise_open_files();
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend::start(0).await;
        Self {
            server: Setup::new(dir.path(), &backend.url()).start().await,
            backend,
            _dir: dir,
        }
    }

    /// `count` clients who ask for `path` at once.
    fn storm(&self, path: &'static str, count: usize) -> JoinSet<Answer> {
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let address = self.server.address.clone();
            clients.spawn(async move {
                let mut wire = Wire::open(&address).await.unwrap();
                wire.get(path).await.unwrap()
            });
        }
        clients
    }

    async fn until_waiting(&self, count: usize) {
        until("requests to stand at the backend", async || {
            (self.backend.waiting.load(Ordering::SeqCst) >= count).then_some(())
        })
        .await;
    }

    /// Another page and a tunnel, while the storm goes on.
    async fn check_others(&self) {
        let mut wire = Wire::open(&self.server.address).await.unwrap();
        assert_eq!(wire.get(PROBED).await.unwrap().status, 200);
        until("another page to be stored", async || {
            wire.get(PROBED).await.unwrap().says("hit").then_some(())
        })
        .await;
        let answer = wire.upgrade("/tunnel/echo").await.unwrap();
        assert_eq!(answer.status, 101, "{answer:?}");
        wire.stream.write_all(b"halloo").await.unwrap();
        assert_eq!(wire.take(6).await.unwrap(), b"halloo");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stampede_is_one_fetch_while_other_pages_and_tunnels_do_not_wait() {
    let rig = Rig::new().await;
    let count = scaled(3000, 300);
    let clients = rig.storm("/gated/page", count);
    rig.until_waiting(1).await;
    rig.check_others().await;
    let others = rig.backend.requests.load(Ordering::SeqCst) - 1;
    rig.backend.gate.add_permits(count);
    for answer in clients.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body == page("/gated/page"), "another page's bytes");
    }
    let asked = rig.backend.requests.load(Ordering::SeqCst) - others;
    assert_eq!(asked, 1, "fetches for {count} clients");
    assert_eq!(rig.server.log.complaints(&[]), Vec::<String>::new());
    note(format_args!("{count} clients, {asked} fetch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_turns_out_private_is_fetched_for_each_side_by_side() {
    let rig = Rig::new().await;
    let count = scaled(1000, 100);
    let clients = rig.storm("/private/page", count);
    // One goes for nobody, and tells that the page is somebody's; then everybody's own goes.
    rig.until_waiting(1).await;
    rig.backend.gate.add_permits(1);
    rig.until_waiting(1 + count).await;
    assert_eq!(rig.backend.private_peak.load(Ordering::SeqCst), count);
    rig.check_others().await;
    rig.backend.gate.add_permits(count);
    let mut bodies: Vec<_> = clients
        .join_all()
        .await
        .into_iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(
                !answer.says("hit") && !answer.says("stored") && !answer.says("collapsed"),
                "{answer:?}"
            );
            answer.body
        })
        .collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), count, "answers that nobody else got");
    // Known by now: nobody is even asked for nobody.
    let asked = rig.backend.requests.load(Ordering::SeqCst);
    rig.backend.gate.add_permits(count);
    rig.storm("/private/page", count).join_all().await;
    assert_eq!(rig.backend.requests.load(Ordering::SeqCst) - asked, count);
    note(format_args!(
        "{count} requests for a private page stood at the backend at once"
    ));
}
