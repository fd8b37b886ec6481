//! Pinned pages stay: whatever the limits say, and whatever is invalidated.

use phantom_frame::{CreateProxyConfig, Durability, ErrorKind, Proxy as Engine, Reason, RefreshMode};

use crate::rig::{Answer, Backend, Proxy, Setup, eventually, get};

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let page = Answer::page(request.target.clone());
        match request.path() {
            "/tagged" => page.with("Cache-Tag", "front"),
            _ => page,
        }
    });
    backend
}

fn pinning(backend: &Backend, most: usize, patterns: &[&str]) -> Setup {
    let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    Setup::over(backend)
        .with(move |settings| {
            settings.durability = Durability::None;
            settings.max_snapshots = most;
        })
        .configured(move |config| config.with_pinned(patterns.clone()))
}

async fn until_stored(proxy: &Proxy, most: usize) {
    eventually("enough pages to be gone", async || {
        (proxy.stored() <= most).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pinned_page_is_not_evicted_though_nobody_has_asked_for_it_for_longest() {
    let backend = site().await;
    let proxy = pinning(&backend, 5, &["/kept/*", "tag:front"]).start().await;
    for target in ["/kept/a", "/kept/b", "/tagged", "/first"] {
        proxy.get(target).await.assert_stored();
        proxy.clock().advance(1);
    }
    for n in 0..30 {
        proxy.get(&format!("/{n}")).await.assert_stored();
        proxy.clock().advance(1);
        until_stored(&proxy, 5).await;
    }

    for target in ["/kept/a", "/kept/b", "/tagged"] {
        proxy.get(target).await.assert(200, target).assert_hit();
    }
    assert_eq!(backend.count("/kept/a"), 1);
    proxy.get("/first").await.assert_stored();
    assert_eq!(backend.count("/first"), 2, "it is not pinned, and went");
}

#[tokio::test]
async fn where_pinned_pages_alone_pass_the_limit_nothing_else_is_stored() {
    let backend = site().await;
    let proxy = pinning(&backend, 3, &["/kept/*"]).start().await;
    for n in 0..5 {
        let target = format!("/kept/{n}");
        proxy.get(&target).await.assert_stored();
    }
    // One that comes while room is looked for may be taken in, to go again.
    eventually("other pages to be refused", async || {
        proxy.get("/other").await.assert(200, "/other");
        (proxy.counted(Reason::DiskLimit) > 0 || proxy.stored() == 5).then_some(())
    })
    .await;
    until_stored(&proxy, 5).await;
    for n in 0..20 {
        let target = format!("/more/{n}");
        proxy.get(&target).await.assert(200, &target);
    }
    until_stored(&proxy, 5).await;

    for n in 0..5 {
        let target = format!("/kept/{n}");
        proxy.get(&target).await.assert(200, &target).assert_hit();
        assert_eq!(backend.count(&target), 1);
    }
    for n in 10..20 {
        let before = backend.count(&format!("/more/{n}"));
        proxy.get(&format!("/more/{n}")).await;
        assert_eq!(
            backend.count(&format!("/more/{n}")),
            before + 1,
            "it was not stored"
        );
    }
}

#[tokio::test]
async fn an_invalidation_keeps_a_pinned_page_to_be_validated() {
    for pattern in ["/kept", "*", "GET:/kept", "tag:front"] {
        let mut backend = site().await;
        let tagged = |answer: Answer| answer.with("ETag", "\"1\"").with("Cache-Tag", "front");
        backend.on("/kept", tagged(Answer::page("kept")));
        let mut proxy = pinning(&backend, 0, &["/kept"]).start().await;
        proxy.warm("/kept").await;
        proxy.warm("/tagged").await;

        let refreshed = proxy
            .trigger()
            .refresh_matching(&[pattern], RefreshMode::Delete)
            .await;
        assert!(refreshed.expect("a pattern").removed > 0, "{pattern}");
        assert!(!proxy.pages().is_empty(), "{pattern}: its files are there");

        // Marked on disk, too, and it may serve as long as there is nothing else.
        proxy.restart().await;
        backend.stop().await;
        proxy.get("/kept").await.assert(200, "kept").assert_stale();
        backend.start_again();
        proxy.clock().advance(5);
        let before = backend.count("/kept");
        backend.on("/kept", tagged(Answer::new(304)));
        proxy.get("/kept").await.assert(200, "kept").assert_revalidated();
        assert_eq!(backend.count("/kept"), before + 1, "{pattern}");
        proxy.get("/kept").await.assert(200, "kept").assert_hit();
    }
}

#[tokio::test]
async fn what_a_crash_left_in_the_log_spares_what_is_pinned_by_then() {
    let backend = site().await;
    let mut proxy = pinning(&backend, 0, &["/kept"]).start().await;
    proxy.warm("/kept").await;
    proxy.warm("/other").await;
    proxy.stop().await;
    proxy.leave_in_log(&["delete *"]);

    let listed = proxy.artefact(|artefact| {
        let mut lines = Vec::new();
        artefact
            .list(None, &mut |row| {
                lines.push((row.line, row.freshness.state.as_str()))
            })
            .expect("everything");
        lines
    });
    assert_eq!(listed.await, [("GET:/kept".to_owned(), "invalidated")]);
    proxy.start_again().await;
    proxy.until_ready().await;

    assert_eq!(proxy.stored(), 1);
    proxy.get("/kept").await.assert_stored();
    assert_eq!(backend.count("/kept"), 2, "asked about before it was used");
}

#[tokio::test]
async fn a_page_that_the_backend_takes_back_is_not_kept_by_a_pin() {
    let backend = site().await;
    let proxy = pinning(&backend, 0, &["*"]).start().await;
    proxy.warm("/a").await;
    backend.on("/a", Answer::new(410).body("gone"));
    proxy.trigger().refresh().await.expect("the invalidation");

    proxy.send(get("/a")).await.assert(410, "gone");
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pin_that_is_no_pattern_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = CreateProxyConfig::new("http://localhost:1".into())
        .with_snapshot_dir(dir.path())
        .with_pinned(vec!["/a".into(), "tag:a*".into()]);
    let refused = Engine::new(config).expect_err("a wrong setting");
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("`tag:a*` in `pinned`"), "{refused}");
}

#[tokio::test]
async fn a_host_with_a_pinned_page_gives_way_to_no_other() {
    let backend = site().await;
    let proxy = pinning(&backend, 0, &["/kept"])
        .with(|settings| settings.max_hosts = 2)
        .start()
        .await;
    let ask = async |host: &str, target: &str| proxy.send(get(target).host(host)).await;
    ask("first.test", "/kept").await.assert_stored();
    proxy.clock().advance(1);
    ask("second.test", "/other").await.assert_stored();
    proxy.clock().advance(700);

    eventually("the idle host to give way", async || {
        ask("third.test", "/other").await.cache().stored.then_some(())
    })
    .await;

    // The one that nobody has asked for the longest has the pinned page.
    ask("first.test", "/kept").await.assert(200, "/kept").assert_hit();
    ask("second.test", "/other")
        .await
        .assert_not_stored(Reason::Hosts);
}
