//! Many cold pages at once: what they cost the backend and the disk.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use phantom_frame::Reason;

use crate::rig::gate::DEADLINE;
use crate::rig::{Answer, Backend, Gate, Proxy, Setup, get, log};

const VISITORS: usize = 16;
const PAGES_EACH: usize = 12;

/// A page at every address, which says which it is.
async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(page(&request.target)));
    backend
}

fn page(target: &str) -> String {
    format!("<p>{target}</p>{}", "and more of it ".repeat(700))
}

/// What was asked of the disk, in order, and an operation that is held.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<DiskState>, Condvar)>);

#[derive(Default)]
struct DiskState {
    asked: Vec<(&'static str, PathBuf)>,
    held: Option<&'static str>,
}

impl Disk {
    fn under(&self, setup: Setup) -> Setup {
        let disk = self.clone();
        setup.configured(move |config| {
            let disk = disk.clone();
            config.with_disk_faults(Arc::new(move |operation, path: &Path| {
                disk.ask(operation, path);
                Ok(())
            }))
        })
    }

    fn ask(&self, operation: &'static str, path: &Path) {
        let mut state = self.state();
        state.asked.push((operation, path.to_owned()));
        let is_held = |state: &mut DiskState| state.held.is_some_and(|held| operation.starts_with(held));
        let _ = self.0.1.wait_timeout_while(state, DEADLINE, is_held);
    }

    /// Operations whose names begin so wait from now on.
    fn hold(&self, operation: &'static str) {
        self.state().held = Some(operation);
    }

    fn let_go(&self) {
        self.state().held = None;
        self.0.1.notify_all();
    }

    fn forget(&self) {
        self.state().asked.clear();
    }

    /// Syncs of snapshots, not of the log.
    fn syncs(&self) -> usize {
        let is_of_snapshots = |path: &Path| !path.ends_with("invalidations");
        let state = self.state();
        let asked = state.asked.iter();
        asked
            .filter(|(operation, path)| operation.starts_with("sync") && is_of_snapshots(path))
            .count()
    }

    /// When this was asked of a path that has `part` in its name or folder.
    #[track_caller]
    fn turn(&self, operation: &str, part: &str) -> usize {
        let state = self.state();
        let is_it = |(asked, path): &(&str, PathBuf)| {
            *asked == operation && path.to_str().is_some_and(|path| path.contains(part))
        };
        let found = state.asked.iter().position(is_it);
        found.unwrap_or_else(|| panic!("no `{operation}` of {part}: {:#?}", state.asked))
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Visitors side by side, each with a connection and with pages of their own.
async fn burst(proxy: &Proxy) -> Vec<String> {
    let visitors: Vec<_> = (0..VISITORS)
        .map(|visitor| {
            let client = proxy.client();
            tokio::spawn(async move {
                let mut connection = client.connect().await;
                let mut targets = Vec::new();
                for n in 0..PAGES_EACH {
                    let target = format!("/{visitor}/{n}");
                    let response = connection.send(&get(&target)).await;
                    response.assert(200, &page(&target)).assert_stored();
                    targets.push(target);
                }
                targets
            })
        })
        .collect();
    let mut targets = Vec::new();
    for visitor in visitors {
        targets.extend(visitor.await.expect("a visitor"));
    }
    targets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cold_pages_are_each_fetched_once_over_few_connections_and_kept() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;

    let targets = burst(&proxy).await;

    assert_eq!(targets.len(), VISITORS * PAGES_EACH);
    for target in &targets {
        assert_eq!(backend.count(target), 1, "{target}");
    }
    // One that nobody has used for seconds is closed, which on a busy machine some are.
    let connections = backend.connections();
    assert!(
        connections * 4 <= targets.len(),
        "{connections} connections for {VISITORS} visitors"
    );
    proxy.restart().await;
    for target in &targets {
        proxy.get(target).await.assert(200, &page(target)).assert_hit();
    }
    assert_eq!(backend.total(), targets.len());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_pages_that_come_together_are_synced_together() {
    let backend = site().await;
    let disk = Disk::default();
    let mut proxy = disk.under(Setup::over(&backend)).start().await;
    proxy.warm("/before").await;
    // However slow the burst is, the disk is slower.
    disk.hold("sync");

    let targets = burst(&proxy).await;
    disk.let_go();
    proxy.stop().await;

    let syncs = disk.syncs();
    assert!(
        (1..targets.len()).contains(&syncs),
        "{syncs} syncs for {} pages",
        targets.len()
    );
}

#[tokio::test]
async fn nobody_waits_for_the_sync_of_a_new_page() {
    let backend = site().await;
    let disk = Disk::default();
    let mut proxy = disk.under(Setup::over(&backend)).start().await;
    disk.hold("sync");

    proxy.warm("/new").await;
    disk.let_go();
    proxy.stop().await;

    for suffix in [".toml", ".html"] {
        let file = proxy.pages().into_iter().find(|file| file.ends_with(suffix));
        let file = file.expect("a file of the page");
        assert!(disk.turn("rename", &file) < disk.turn("sync", &file), "{file}");
    }
}

#[tokio::test]
async fn a_replacement_is_synced_before_it_takes_the_old_pages_place() {
    let backend = site().await;
    let cached = |body: &str| Answer::page(body.to_owned()).with("Cache-Control", "max-age=60");
    backend.on("/page", cached("old"));
    let disk = Disk::default();
    let mut proxy = disk.under(Setup::over(&backend)).start().await;
    proxy.warm("/page").await;
    proxy.restart().await;
    backend.on("/page", cached("new"));
    proxy.clock().advance(100);
    disk.forget();

    proxy.get("/page").await.assert(200, "new");
    proxy.get("/page").await.assert(200, "new").assert_hit();

    assert_eq!(backend.count("/page"), 2);
    let (sidecar, _) = proxy.sidecar("");
    let sidecar = sidecar.to_str().expect("a path").to_owned();
    assert!(disk.turn("sync", "/pending/") < disk.turn("rename", "/pending/"));
    assert!(disk.turn("rename", "/pending/") < disk.turn("rename", &sidecar));
    assert!(disk.turn("sync", &sidecar) < disk.turn("rename", &sidecar));
}

#[tokio::test]
async fn with_full_durability_a_new_page_is_synced_before_it_counts() {
    let backend = site().await;
    let disk = Disk::default();
    let setup = Setup::over(&backend).with(|settings| settings.durability = phantom_frame::Durability::Full);
    let proxy = disk.under(setup).start().await;

    proxy.warm("/new").await;

    let (sidecar, _) = proxy.sidecar("");
    let body = proxy.body_file("");
    for path in [sidecar, body] {
        let path = path.to_str().expect("a path");
        assert!(disk.turn("sync", path) < disk.turn("rename", path), "{path}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_synced_is_served_and_the_disk_is_reported() {
    log::listen();
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.faults().fail_all("sync", ErrorKind::Other);

    proxy.warm("/page").await;
    proxy.stop().await;

    let dir = proxy.dir().canonicalize().expect("the directory");
    let dir = dir.to_str().expect("a path").to_owned();
    let said = log::trouble(|line| line.contains(&dir) && line.contains("cannot be synced"));
    assert_eq!(said.len(), 1, "{said:#?}");
}

#[tokio::test]
async fn the_head_and_what_there_is_of_a_body_wait_for_no_disk() {
    let rest = Gate::new();
    let answer = Answer::page("first bytes;").wait(&rest).body("the rest");
    let backend = Backend::with("/", answer).await;
    let disk = Disk::default();
    let proxy = disk.under(Setup::over(&backend)).start().await;
    disk.hold("create");

    let mut exchange = proxy.client().open(get("/")).await;
    exchange.at_least("first bytes;".len()).await;

    disk.let_go();
    rest.open();
    let response = exchange.finish().await;
    response.assert(200, "first bytes;the rest").assert_stored();
    proxy.get("/").await.assert_hit();
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_short_page_that_the_disk_refuses_is_whole_for_everybody() {
    let rest = Gate::new();
    let answer = Answer::page("first bytes;").wait(&rest).body("the rest");
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::start(&backend).await;
    let mut leader = proxy.client().open(get("/")).await;
    leader.at_least(1).await;
    let mut follower = proxy.client().open(get("/")).await;
    follower.at_least(1).await;

    proxy.faults().fail_all("create", ErrorKind::StorageFull);
    rest.open();

    for exchange in [leader, follower] {
        exchange.finish().await.assert(200, "first bytes;the rest");
    }
    assert_eq!(proxy.counted(Reason::Disk), 1);
    assert_eq!(proxy.pages(), Vec::<String>::new());
    proxy.faults().mend();
    proxy.warm("/").await;
}
