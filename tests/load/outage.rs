//! The backend goes, comes back slow, and recovers, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::backend::{Backend, page};
use crate::figures::Disk;
use crate::server::{Server, Setup, until};
use crate::wire::{Answer, Wire};
use crate::{note, raise_open_files, scaled};

/// The one warning that an outage is worth, once a minute.
const COMPLAINT: &str = "the backend gives no whole answers";
const STORED: usize = 50;

/// Visitors of stored pages, who go on until they are told, and get hits.
fn visit_stored(
    server: &Server,
    count: usize,
    ended: &Arc<AtomicBool>,
    hits: &Arc<AtomicUsize>,
) -> JoinSet<()> {
    let mut visitors = JoinSet::new();
    for first in 0..count {
        let (address, ended, hits) = (server.address.clone(), Arc::clone(ended), Arc::clone(hits));
        visitors.spawn(async move {
            let mut wire = Wire::open(&address).await.unwrap();
            let mut number = first;
            while !ended.load(Ordering::SeqCst) {
                let path = format!("/page/{}", number % STORED);
                let answer = wire.get(&path).await.unwrap();
                assert!(
                    answer.says("hit") && answer.body == page(&path),
                    "{path}: {answer:?}"
                );
                hits.fetch_add(1, Ordering::SeqCst);
                number += 1;
            }
        });
    }
    visitors
}

/// Asks for `count` pages of `phase` at once, each on a connection of its own.
async fn ask_new(server: &Server, phase: &'static str, count: usize) -> Vec<Answer> {
    let mut clients = JoinSet::new();
    for number in 0..count {
        let address = server.address.clone();
        clients.spawn(async move {
            let mut wire = Wire::open(&address).await.unwrap();
            wire.get(&format!("/page/{phase}/{number}")).await.unwrap()
        });
    }
    clients.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_pages_are_served_while_the_backend_is_gone_or_stuck_and_no_failure_is_kept() {
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(0).await;
    let mut server = Setup::new(dir.path(), &backend.url())
        .with("RESPONSE_TIMEOUT", "1s")
        .start()
        .await;
    let mut wire = Wire::open(&server.address).await.unwrap();
    for number in 0..STORED {
        until("a page to be stored", async || {
            let answer = wire.get(&format!("/page/{number}")).await.unwrap();
            answer.says("hit").then_some(())
        })
        .await;
    }
    let disk = Disk::of(dir.path());
    let (ended, hits) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let visitors = visit_stored(&server, scaled(64, 4), &ended, &hits);
    // Beyond `max_fills` too.
    let count = scaled(600, 20);

    for (phase, status, detail) in [("gone", 502, "unreachable"), ("stuck", 504, "timeout")] {
        if phase == "gone" {
            backend.go_away().await;
        } else {
            backend.is_stuck.store(true, Ordering::SeqCst);
            backend.come_back().await;
        }
        let (since, before) = (Instant::now(), hits.load(Ordering::SeqCst));
        for _ in 0..2 {
            for answer in ask_new(&server, phase, count).await {
                assert_eq!(answer.status, status, "{answer:?}");
                assert!(answer.field("cache-status").contains(detail), "{answer:?}");
                assert!(!answer.says("stored") && !answer.says("hit"), "{answer:?}");
            }
        }
        note(format_args!(
            "{phase}: {} requests answered {status} in {:?}, {} hits meanwhile",
            2 * count,
            since.elapsed(),
            hits.load(Ordering::SeqCst) - before
        ));
        assert_eq!(
            Disk::of(dir.path()).snapshots,
            disk.snapshots,
            "something was kept of an outage"
        );
    }

    backend.is_stuck.store(false, Ordering::SeqCst);
    for phase in ["gone", "stuck"] {
        for answer in ask_new(&server, phase, count).await {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(!answer.says("hit"), "{answer:?}");
        }
    }
    ended.store(true, Ordering::SeqCst);
    visitors.join_all().await;
    // However many failed.
    let minutes = usize::try_from(server.started.elapsed().as_secs() / 60).unwrap();
    let said = server.log.find(COMPLAINT).len();
    assert!(
        (1..=1 + minutes).contains(&said),
        "said {said} times that the backend fails"
    );
    assert_eq!(server.log.complaints(&[COMPLAINT]), Vec::<String>::new());
    assert_eq!(server.stop().await, Some(0));
    note(format_args!(
        "back: all of them; {} hits in all",
        hits.load(Ordering::SeqCst)
    ));
}
