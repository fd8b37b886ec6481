//! Invalidations and the store's own thread: what waits for what, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use phantom_frame::{ErrorKind, RefreshMode, Settings};

use crate::rig::{Answer, Backend, Setup, eventually, get, post};

use super::{bounded, on_disk, site, stop_at};

#[tokio::test]
async fn proxies_that_share_a_directory_share_its_limits() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 10)
        .start()
        .await;
    let beside = |change: fn(&mut Settings)| {
        let setup = bounded(&backend, move |settings| {
            settings.max_snapshots = 10;
            change(settings);
        });
        setup.dir_of(&proxy).try_start()
    };
    assert!(beside(|_| {}).await.is_ok(), "the same settings share it");
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 6] = [
        ("max_snapshots", |settings| settings.max_snapshots = 11),
        ("disk_limit", |settings| settings.disk_limit = 1 << 30),
        ("max_hosts", |settings| settings.max_hosts = 7),
        ("max_body", |settings| settings.max_body = 7),
        ("memory_limit", |settings| settings.memory_limit = 7),
        ("durability", |settings| {
            settings.durability = phantom_frame::Durability::Full
        }),
    ];
    for (setting, change) in changes {
        let Err(error) = beside(change).await else {
            panic!("another `{setting}` is taken for the same");
        };
        assert_eq!(
            (error.kind(), error.setting()),
            (ErrorKind::Config, Some(setting))
        );
        assert!(error.hint().is_some_and(|hint| hint.contains(setting)), "{error}");
    }
}

#[tokio::test]
async fn a_post_whose_pages_are_marked_already_writes_nothing() {
    let backend = site().await;
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let setup = Setup::over(&backend).configured(move |config| {
        let counted = Arc::clone(&counted);
        config.with_disk_faults(Arc::new(move |operation, path: &std::path::Path| {
            if operation == "sync" && path.ends_with("invalidations") {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }))
    });
    let proxy = setup.start().await;
    let synced = || syncs.load(Ordering::SeqCst);
    proxy.warm("/page").await;
    // Read through, so that it is known what there is.
    eventually("the directory to be read", async || {
        let before = synced();
        proxy
            .send(post("/nothing-here", "x"))
            .await
            .assert(200, "/nothing-here");
        (synced() == before).then_some(())
    })
    .await;

    let before = synced();
    proxy.send(post("/page", "x")).await.assert(200, "/page");
    assert_eq!(synced(), before + 1, "the mark is durable before the answer");
    for _ in 0..5 {
        proxy.send(post("/page", "x")).await.assert(200, "/page");
    }
    assert_eq!(synced(), before + 1, "and once is enough");

    let asked = backend.count("/page");
    proxy.get("/page").await.assert(200, "/page");
    assert_eq!(backend.count("/page"), asked + 1, "it was to be validated");
    proxy.get("/page").await.assert_hit();
    proxy.send(post("/page", "x")).await.assert(200, "/page");
    assert_eq!(synced(), before + 2, "it was fresh again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_while_an_invalidation_is_written() {
    let backend = site().await;
    let (setup, stop) = stop_at(Setup::over(&backend), "sync", "invalidations");
    let proxy = setup.start().await;
    for target in ["/a", "/b"] {
        proxy.warm(target).await;
    }
    stop.arm();
    let trigger = proxy.trigger();
    let refreshing =
        tokio::spawn(async move { trigger.refresh_matching(&["/a"], RefreshMode::Delete).await });
    stop.reached().await;

    proxy.get("/b").await.assert(200, "/b").assert_hit();
    proxy.get("/new").await.assert(200, "/new").assert_stored();
    proxy.get("/new").await.assert_hit();
    // What it is about is not stored anew by who asked before it was in force.
    stop.open.store(true, Ordering::SeqCst);

    let refreshed = refreshing.await.expect("the task").expect("the invalidation");
    assert_eq!(refreshed.removed, 1);
    proxy.get("/a").await.assert(200, "/a").assert_stored();
    proxy.get("/new").await.assert_hit();
}

#[tokio::test]
async fn a_job_that_panics_ends_none_of_those_after_it() {
    let backend = site().await;
    let armed = Arc::new(AtomicBool::new(false));
    let is_armed = Arc::clone(&armed);
    let setup = Setup::over(&backend).configured(move |config| {
        let armed = Arc::clone(&is_armed);
        config.with_disk_faults(Arc::new(move |operation, _: &std::path::Path| {
            assert!(
                !(operation == "unlink" && armed.swap(false, Ordering::SeqCst)),
                "meant to be"
            );
            Ok(())
        }))
    });
    let proxy = setup.start().await;
    proxy.warm("/a").await;
    proxy.warm("/b").await;
    armed.store(true, Ordering::SeqCst);

    // Whose files go in the job that panics.
    let first = proxy
        .trigger()
        .refresh_matching(&["/a"], RefreshMode::Delete)
        .await;
    assert!(!armed.load(Ordering::SeqCst) && first.is_ok());
    let second = proxy
        .trigger()
        .refresh_matching(&["/b"], RefreshMode::Delete)
        .await;

    assert_eq!(second.expect("the invalidation").removed, 1);
    assert!(
        !on_disk(&proxy).contains("b"),
        "the job that came after it was done"
    );
    proxy.get("/a").await.assert(200, "/a").assert_stored();
    assert_eq!(backend.count("/a"), 2, "and what was invalidated is");
}

#[tokio::test]
async fn an_invalidation_that_was_cut_short_brings_no_variant_back() {
    let backend = Backend::start().await;
    let render = |word: &'static str| {
        move |request: &crate::rig::Recorded| {
            let language = request.field("accept-language").unwrap_or("none");
            Answer::page(format!("{word} {language}")).with("Vary", "Accept-Language")
        }
    };
    backend.on_fn("/", render("old"));
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let setup = Setup::over(&backend).configured(move |config| {
        let is_broken = Arc::clone(&breaks);
        config.with_disk_faults(Arc::new(move |operation, path: &std::path::Path| {
            let is_variant = path.to_string_lossy().contains('~');
            match operation == "unlink" && is_variant && is_broken.load(Ordering::SeqCst) {
                true => Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied).into()),
                false => Ok(()),
            }
        }))
    });
    let mut proxy = setup.start().await;
    let german = || get("/").with("Accept-Language", "de");
    proxy.send(german()).await.assert(200, "old de");
    proxy.send(german()).await.assert_hit();
    is_broken.store(true, Ordering::SeqCst);
    let refused = proxy
        .trigger()
        .refresh_matching(&["/"], RefreshMode::Delete)
        .await;
    assert!(refused.is_err(), "{refused:?}");
    proxy.stop().await;
    is_broken.store(false, Ordering::SeqCst);
    backend.on_fn("/", render("new"));

    proxy.start_again().await;

    // What was left to do is done by the scan, which then empties the log.
    let log = proxy.dir().join(".phantom/invalidations");
    eventually("the log to be carried out", async || {
        std::fs::read(&log)
            .is_ok_and(|text| text.is_empty())
            .then_some(())
    })
    .await;
    proxy.get("/").await.assert(200, "new none").assert_stored();
    proxy.send(german()).await.assert(200, "new de").assert_stored();
    proxy.send(german()).await.assert(200, "new de").assert_hit();
}
