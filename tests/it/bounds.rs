//! How much is stored: limits hold, those who are asked for least go first, and nobody else notices.

mod assets;
mod hosts;
mod order;
mod taken;
mod tombstones;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phantom_frame::{Reason, RefreshMode, Settings};

use crate::rig::{Answer, Backend, End, Gate, Proxy, Setup, eventually, get, within};

/// A backend whose pages say which they are.
async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    backend
}

/// Over `site`, without syncs, which these tests do not need.
fn bounded(backend: &Backend, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Setup {
    Setup::over(backend).with(move |settings| {
        settings.durability = phantom_frame::Durability::None;
        change(settings);
    })
}

async fn until_stored(proxy: &Proxy, most: usize) {
    eventually("enough pages to be gone", async || {
        (proxy.stored() <= most).then_some(())
    })
    .await;
}

/// The pages that have files, by the first part of their names.
fn on_disk(proxy: &Proxy) -> BTreeSet<String> {
    let bodies = proxy.pages().into_iter().filter(|file| file.ends_with(".html"));
    bodies
        .filter_map(|file| Some(file.rsplit('/').next()?.split('.').next()?.to_owned()))
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn no_more_pages_are_stored_than_may_be() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 10)
        .start()
        .await;
    for n in 0..40 {
        let target = format!("/p{n}");
        proxy.get(&target).await.assert(200, &target).assert_stored();
        proxy.clock().advance(1);
    }

    until_stored(&proxy, 10).await;

    let bodies = proxy
        .pages()
        .iter()
        .filter(|file| file.ends_with(".html"))
        .count();
    assert_eq!((proxy.stored(), bodies), (10, 10), "{:?}", proxy.pages());
    assert_eq!(proxy.pages().len(), 20, "a body and a sidecar each");
    proxy.get("/p39").await.assert(200, "/p39").assert_hit();
    proxy.get("/p0").await.assert(200, "/p0").assert_stored();
    assert_eq!((backend.count("/p0"), backend.count("/p39")), (2, 1));
    let log = fs::read(proxy.dir().join(".phantom/invalidations")).unwrap_or_default();
    assert!(log.is_empty(), "an eviction is no invalidation");
}

#[tokio::test]
async fn the_disk_takes_no_more_than_its_limit() {
    const LIMIT: u64 = 512 << 10;
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page(vec![b'x'; 10_000]));
    let proxy = bounded(&backend, |settings| {
        settings.disk_limit = LIMIT;
        settings.max_body = 32 << 10;
    })
    .start()
    .await;
    let empty = proxy.disk_usage();

    // Folders take blocks, too: each of these pages has two of its own.
    for n in 0..100 {
        let page = proxy.get(&format!("/a{n}/b{n}/page")).await;
        assert_eq!((page.status, page.body.len()), (200, 10_000));
        page.assert_stored();
        proxy.clock().advance(1);
    }

    let took = eventually("the disk to be under its limit", async || {
        let took = proxy.disk_usage();
        (took <= LIMIT + empty).then_some(took)
    })
    .await;
    eprintln!(
        "limit {LIMIT}, du {took}, of which {empty} when empty; {} pages",
        proxy.stored()
    );
    assert!(took > LIMIT / 2, "and what may be there is: {took}");
    proxy.get("/a99/b99/page").await.assert_hit();
    assert_eq!(backend.total(), 100);
}

#[tokio::test]
async fn the_page_that_was_used_longest_ago_goes_first() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 4)
        .start()
        .await;
    for target in ["/a", "/b", "/c", "/d"] {
        proxy.warm(target).await;
        proxy.clock().advance(1);
    }
    proxy.get("/a").await.assert_hit();
    proxy.clock().advance(1);

    proxy.get("/e").await.assert(200, "/e").assert_stored();

    until_stored(&proxy, 4).await;
    assert_eq!(
        on_disk(&proxy),
        names(["a", "c", "d", "e"]),
        "a page that is new stays"
    );
    for target in ["/a", "/c", "/d", "/e"] {
        proxy.get(target).await.assert(200, target).assert_hit();
    }
    assert_eq!(backend.total(), 5);
}

#[tokio::test]
async fn the_hot_page_survives_thousands_of_pages_that_are_asked_for_once() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 100)
        .start()
        .await;
    proxy.warm("/hot").await;

    let mut connection = proxy.client().connect().await;
    for n in 0..2000 {
        let target = format!("/search?q={n}");
        connection.send(&get(&target)).await.assert(200, &target);
        if n % 20 == 0 {
            proxy.clock().advance(1);
        }
    }

    until_stored(&proxy, 100).await;
    proxy.get("/hot").await.assert(200, "/hot").assert_hit();
    assert_eq!((backend.count("/hot"), backend.count("/search")), (1, 2000));
}

#[tokio::test]
async fn a_key_goes_with_all_its_variants_and_each_of_them_counts() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none");
        Answer::page(format!("{} {language}", request.target)).with("Vary", "Accept-Language")
    });
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 6)
        .start()
        .await;
    let ask =
        async |target: &str, language: &str| proxy.send(get(target).with("Accept-Language", language)).await;
    for language in ["de", "fr"] {
        ask("/a", language).await;
        ask("/a", language)
            .await
            .assert(200, &format!("/a {language}"))
            .assert_hit();
    }
    assert_eq!(proxy.stored(), 3);
    proxy.clock().advance(1);
    for language in ["de", "fr", "it"] {
        ask("/b", language).await;
        ask("/b", language).await.assert_hit();
    }

    until_stored(&proxy, 6).await;

    assert_eq!(proxy.stored(), 4);
    assert_eq!(on_disk(&proxy), names(["b"]), "{:?}", proxy.pages());
    assert_eq!(
        proxy.pages().len(),
        8,
        "no file of /a is left: {:?}",
        proxy.pages()
    );
    let asked = backend.count("/b");
    ask("/b", "it").await.assert(200, "/b it").assert_hit();
    assert_eq!(backend.count("/b"), asked);
}

#[tokio::test]
async fn what_is_found_at_the_start_counts_and_the_oldest_goes() {
    let backend = site().await;
    let mut proxy = bounded(&backend, |settings| settings.max_snapshots = 20)
        .start()
        .await;
    for n in 0..12 {
        proxy.warm(&format!("/p{n}")).await;
        proxy.clock().advance(10);
    }
    assert_eq!(proxy.stored(), 12);
    proxy.stop().await;

    let setup = bounded(&backend, |settings| settings.max_snapshots = 5)
        .dir_of(&proxy)
        .clock(proxy.clock().clone());
    // The first store of this process ends when its threads have seen to it.
    let proxy = eventually("the directory to be free", async || {
        setup.clone().try_start().await.ok()
    })
    .await;

    eventually("the pages beyond the limit to be gone", async || {
        (proxy.pages().len() == 10).then_some(())
    })
    .await;
    assert_eq!(on_disk(&proxy), names(["p10", "p11", "p7", "p8", "p9"]));
    proxy.get("/p11").await.assert(200, "/p11").assert_hit();
    assert_eq!(backend.count("/p11"), 1);
}

#[tokio::test]
async fn a_directory_that_is_only_read_keeps_what_it_has() {
    let backend = site().await;
    let mut proxy = bounded(&backend, |_| {}).start().await;
    for target in ["/a", "/b", "/c"] {
        proxy.warm(target).await;
    }
    proxy.stop().await;
    let setup = bounded(&backend, |settings| settings.max_snapshots = 1).dir_of(&proxy);
    let lock = proxy.take_lock().await;
    let tree = proxy.contents();
    let proxy = eventually("the directory to be free", async || {
        setup.clone().try_start().await.ok()
    })
    .await;

    for target in ["/a", "/b", "/c"] {
        proxy.get(target).await.assert(200, target).assert_hit();
    }
    proxy.get("/d").await.assert_not_stored(Reason::ReadOnly);
    assert!(proxy.contents() == tree, "nothing is removed");

    // Whoever may write brings it under the limit.
    drop(lock);
    eventually("the directory to be taken over", async || {
        proxy.get("/d").await.cache().stored.then_some(())
    })
    .await;
    eventually("the pages beyond the limit to be gone", async || {
        (on_disk(&proxy).len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_body_that_was_changed_by_hand_is_kept_aside_when_its_page_goes() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 1)
        .start()
        .await;
    proxy.warm("/a").await;
    fs::write(proxy.body_file("site.test/a."), "by hand").expect("the body's file");
    proxy.clock().advance(1);

    proxy.get("/b").await.assert_stored();

    eventually("the edited page to go", async || {
        (on_disk(&proxy) == names(["b"])).then_some(())
    })
    .await;
    let kept: Vec<_> = fs::read_dir(proxy.dir().join(".phantom/displaced"))
        .expect("displaced bodies")
        .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a body"))
        .collect();
    assert_eq!(kept, ["by hand"]);
}

/// Stops the store's thread at `operation` on a path with this in it, once.
fn stop_at(setup: Setup, operation: &'static str, part: &'static str) -> (Setup, Stop) {
    let stop = Stop::default();
    let inner = stop.clone();
    let setup = setup.configured(move |config| {
        let stop = inner.clone();
        config.with_disk_faults(Arc::new(move |name, path: &std::path::Path| {
            let is_it = name == operation && path.to_string_lossy().contains(part);
            if is_it && stop.armed.swap(false, Ordering::SeqCst) {
                stop.reached.store(true, Ordering::SeqCst);
                while !stop.open.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            Ok(())
        }))
    });
    (setup, stop)
}

#[derive(Clone, Default)]
struct Stop {
    armed: Arc<AtomicBool>,
    reached: Arc<AtomicBool>,
    open: Arc<AtomicBool>,
}

impl Stop {
    fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    async fn reached(&self) {
        eventually("somebody to stop", async || {
            self.reached.load(Ordering::SeqCst).then_some(())
        })
        .await;
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        // A test that fails lets the thread go.
        self.open.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_asked_for_while_it_goes_is_fetched_and_stored_again() {
    let backend = site().await;
    let setup = bounded(&backend, |settings| settings.max_snapshots = 2);
    // Its body is gone, its sidecar is not.
    let (setup, stop) = stop_at(setup, "unlink", ".toml");
    let proxy = setup.start().await;
    proxy.warm("/a").await;
    proxy.clock().advance(1);
    proxy.warm("/b").await;
    proxy.clock().advance(1);
    stop.arm();
    proxy.get("/c").await.assert_stored();
    stop.reached().await;

    // What comes back is younger than the others.
    proxy.clock().advance(1);
    let client = proxy.client();
    let asking = tokio::spawn(async move { client.get("/a").await });
    let other = proxy.get("/b").await;
    stop.open.store(true, Ordering::SeqCst);

    other.assert(200, "/b").assert_hit();
    asking.await.expect("the request").assert(200, "/a");
    // Until it has gone, who asks gets what is in memory; from files alone it may look half written, and is passed.
    let fetched = eventually("it to be fetched again, and a hit", async || {
        let is_hit = proxy.get("/a").await.cache().hit;
        let fetched = backend.count("/a");
        (is_hit && fetched > 1).then_some(fetched)
    })
    .await;
    proxy.get("/a").await.assert(200, "/a").assert_hit();
    assert_eq!(backend.count("/a"), fetched);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_finds_a_page_that_is_being_evicted() {
    let backend = site().await;
    let setup = bounded(&backend, |settings| settings.max_snapshots = 2);
    let (setup, stop) = stop_at(setup, "unlink", "/a.");
    let proxy = setup.start().await;
    for target in ["/a", "/b"] {
        proxy.warm(target).await;
        proxy.clock().advance(1);
    }
    stop.arm();
    proxy.get("/c").await.assert_stored();
    stop.reached().await;

    let trigger = proxy.trigger();
    let mut told = trigger.subscribe();
    let refreshing =
        tokio::spawn(async move { trigger.refresh_matching(&["/a"], RefreshMode::Delete).await });
    within("the invalidation to be in force", told.recv())
        .await
        .expect("a message");
    let log = proxy.dir().join(".phantom/invalidations");
    let text = fs::read_to_string(&log).expect("the log");
    assert!(
        text.ends_with("delete /a\n"),
        "it is on record until the files are gone: {text:?}"
    );
    stop.open.store(true, Ordering::SeqCst);

    let refreshed = refreshing.await.expect("the task").expect("the invalidation");
    assert_eq!(refreshed.removed, 1, "its files were there when it was called");
    assert_eq!(
        fs::read_to_string(&log).expect("the log"),
        "",
        "nothing is outstanding"
    );
    assert_eq!(on_disk(&proxy), names(["b", "c"]));
    assert_eq!(proxy.stored(), 2);
}

#[tokio::test]
async fn who_reads_a_page_while_it_goes_gets_all_of_it() {
    const LENGTH: usize = 24 << 20;
    let backend = Backend::start().await;
    backend.on("/large", Answer::page(vec![b'x'; LENGTH]));
    backend.on("/small", Answer::page("small"));
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 1)
        .start()
        .await;
    proxy.warm("/large").await;
    proxy.clock().advance(1);
    let mut reading = proxy.client().open(get("/large")).await;
    reading.at_least(1).await;
    proxy.clock().advance(1);

    proxy.get("/small").await.assert_stored();
    eventually("the large page to go", async || {
        (on_disk(&proxy) == names(["small"])).then_some(())
    })
    .await;

    let response = reading.finish().await;
    assert_eq!((response.body.len(), response.end), (LENGTH, End::Complete));
    assert!(response.body.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn bodies_under_way_take_a_part_of_the_disk_and_no_more() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    backend.on("/first", Answer::page(vec![b'a'; 100_000]).wait(&gate).chunked());
    backend.on("/second", Answer::page(vec![b'b'; 100_000]).chunked());
    // An eighth is 128 KiB, and so is the largest body.
    let proxy = bounded(&backend, |settings| {
        settings.disk_limit = 1 << 20;
        settings.max_body = 128 << 10;
    })
    .start()
    .await;
    let mut first = proxy.client().open(get("/first")).await;
    first.at_least(100_000).await;

    let second = proxy.get("/second").await;
    assert_eq!((second.body.len(), second.end), (100_000, End::Complete));
    assert_eq!(proxy.counted(Reason::DiskLimit), 1);
    assert!(on_disk(&proxy).is_empty());

    gate.open();
    let first = first.finish().await;
    assert_eq!((first.body.len(), first.end), (100_000, End::Complete));
    proxy.get("/first").await.assert_hit();
    proxy.get("/second").await.assert_stored();
    proxy.get("/second").await.assert_hit();
    assert_eq!((backend.count("/first"), backend.count("/second")), (1, 2));
}

#[tokio::test]
async fn where_nothing_can_be_removed_nothing_more_is_stored_and_all_is_served() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 10)
        .start()
        .await;
    proxy.warm("/hot").await;
    proxy
        .faults()
        .fail_all("unlink", std::io::ErrorKind::PermissionDenied);

    let mut connection = proxy.client().connect().await;
    for n in 0..600 {
        let target = format!("/p{n}");
        connection.send(&get(&target)).await.assert(200, &target);
    }

    assert!(proxy.stored() <= 10 + 256, "{} pages", proxy.stored());
    assert!(proxy.counted(Reason::DiskLimit) > 300);
    proxy.get("/hot").await.assert(200, "/hot").assert_hit();
}
