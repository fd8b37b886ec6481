//! Invalidation: in force when the call returns, beats fills in flight, never takes the neighbour.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phantom_frame::{Reason, RefreshError, RefreshMessage, RefreshMode, RefreshTrigger};

use crate::rig::{Answer, Backend, Gate, Proxy, Setup, eventually, get, head, post};

/// A backend whose pages say which rendering they are.
async fn counting() -> Backend {
    let backend = Backend::start().await;
    let count = AtomicUsize::new(1);
    backend.fallback(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Answer::page(format!("rendering {number}"))
    });
    backend
}

#[tokio::test]
async fn an_invalidation_is_in_force_when_the_call_returns() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    for round in 1..=20 {
        let body = format!("rendering {round}");
        proxy.warm("/").await.assert(200, &body);
        match round % 2 {
            0 => proxy.trigger().trigger(),
            _ => proxy.trigger().trigger_by_key_match("GET:/"),
        }
    }
    assert_eq!(backend.total(), 20);
}

#[tokio::test]
async fn patterns_take_what_they_match_and_nothing_else() {
    let paths = [
        "/",
        "/a",
        "/ab",
        "/a/b",
        "/a?x=1",
        "/api/users",
        "/api/users?id=1",
        "/api/users/7",
        "/v1/users/7",
        "/blog/hello",
    ];
    for (pattern, taken) in [
        ("*", &paths[..]),
        ("/a", &["/a", "/a?x=1"]),
        ("GET:/a", &["/a"]),
        ("GET /a", &["/a"]),
        ("/a?x=1", &["/a?x=1"]),
        (
            "/a*",
            &[
                "/a",
                "/ab",
                "/a/b",
                "/a?x=1",
                "/api/users",
                "/api/users?id=1",
                "/api/users/7",
            ],
        ),
        ("/", &["/"]),
        ("GET:/api/*", &["/api/users", "/api/users?id=1", "/api/users/7"]),
        ("*/users/*", &["/api/users/7", "/v1/users/7"]),
        ("/api/*/7", &["/api/users/7"]),
        ("POST:*", &[]),
        ("/nothing", &[]),
        ("/blog/*", &["/blog/hello"]),
        ("/BLOG/*", &[]),
    ] {
        let backend = counting().await;
        let proxy = Proxy::start(&backend).await;
        for path in paths {
            proxy.warm(path).await;
        }

        let refreshed = proxy
            .trigger()
            .refresh_matching(&[pattern], RefreshMode::Delete)
            .await
            .expect("the invalidation");

        assert_eq!(refreshed.removed, taken.len() as u64, "{pattern}");
        proxy.assert_gone(&paths, taken, pattern).await;
    }
}

#[tokio::test]
async fn several_patterns_are_one_invalidation() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    for path in ["/a", "/b", "/c"] {
        proxy.warm(path).await;
    }

    let refreshed = proxy
        .trigger()
        .refresh_matching(&["/a", "/b", "/*a"], RefreshMode::Delete)
        .await
        .expect("the invalidation");

    assert_eq!(refreshed.removed, 2);
    proxy.get("/c").await.assert_hit();
}

#[tokio::test]
async fn what_is_no_pattern_invalidates_nothing() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;

    let refused = proxy
        .trigger()
        .refresh_matching(&["/", ""], RefreshMode::Delete)
        .await;

    assert!(
        matches!(refused, Err(RefreshError::Pattern { .. })),
        "{refused:?}"
    );
    proxy.trigger().trigger_by_key_match("");
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_custom_key_is_found_by_its_text_and_by_its_address() {
    let backend = counting().await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| format!("post-{}", info.path.rsplit('/').next().unwrap_or("")))
        .start()
        .await;
    for pattern in ["post-hello", "post-*", "/blog/*", "GET:/blog/hello"] {
        proxy.warm("/blog/hello").await;
        let refreshed = proxy
            .trigger()
            .refresh_matching(&[pattern], RefreshMode::Delete)
            .await;
        assert_eq!(refreshed.expect("the invalidation").removed, 1, "{pattern}");
    }
}

#[tokio::test]
async fn the_awaited_form_counts_and_leaves_no_file() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    for n in 0..30 {
        proxy.warm(&format!("/page/{n}")).await;
    }

    let refreshed = proxy.trigger().refresh().await.expect("the invalidation");

    assert_eq!(refreshed.removed, 30);
    assert_eq!(proxy.pages(), Vec::<String>::new());
    assert_eq!(
        proxy.trigger().refresh().await.expect("the invalidation").removed,
        0
    );
}

#[tokio::test]
async fn the_other_form_removes_the_files_soon() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;

    proxy.trigger().trigger();

    eventually("the files to go", async || proxy.pages().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_fill_that_is_overtaken_is_served_and_not_kept() {
    let (head, middle) = (Gate::new(), Gate::new());
    let backend = Backend::with("/", Answer::page("old ").wait(&middle).body("page").held(&head)).await;
    let proxy = Proxy::start(&backend).await;

    let visitor = proxy.client().begin(&get("/")).await;
    head.arrivals(1).await;
    proxy.trigger().trigger_by_key_match("/");
    head.open();
    middle.open();

    visitor.head().await.finish().await.assert(200, "old page");
    backend.on("/", Answer::page("new page"));
    proxy.get("/").await.assert(200, "new page").assert_stored();
    proxy.get("/").await.assert(200, "new page").assert_hit();
}

#[tokio::test]
async fn a_fill_that_is_overtaken_in_its_body_is_served_and_not_kept() {
    let middle = Gate::new();
    let backend = Backend::with("/", Answer::page("old ").wait(&middle).body("page")).await;
    let proxy = Proxy::start(&backend).await;

    let mut visitor = proxy.client().open(get("/")).await;
    visitor.at_least(4).await;
    proxy.trigger().trigger();
    // Who comes now does not join it, though it still runs.
    backend.on("/", Answer::page("new page"));
    proxy.get("/").await.assert(200, "new page").assert_stored();
    middle.open();

    visitor.finish().await.assert(200, "old page");
    proxy.get("/").await.assert(200, "new page").assert_hit();
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_fill_of_another_page_is_not_disturbed() {
    let gate = Gate::new();
    let backend = Backend::with("/ab", Answer::page("x").held(&gate)).await;
    let proxy = Proxy::start(&backend).await;

    let visitor = proxy.client().begin(&get("/ab")).await;
    gate.arrivals(1).await;
    proxy.trigger().trigger_by_key_match("/a");
    gate.open();

    visitor
        .head()
        .await
        .finish()
        .await
        .assert(200, "x")
        .assert_stored();
    proxy.get("/ab").await.assert_hit();
}

#[tokio::test]
async fn an_invalidation_outlives_a_restart() {
    let backend = counting().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    proxy.warm("/b").await;

    proxy.trigger().trigger_by_key_match("/a");
    proxy.restart().await;

    proxy.get("/a").await.assert(200, "rendering 3").assert_stored();
    proxy.get("/b").await.assert_hit();
}

#[tokio::test]
async fn an_invalidation_whose_process_died_at_once_outlives_it() {
    let backend = counting().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    let files = proxy.contents();
    let times: Vec<_> = files
        .keys()
        .map(|path| {
            let metadata = std::fs::metadata(proxy.dir().join(path)).expect("the file");
            (path.clone(), metadata.modified().expect("its time"))
        })
        .collect();
    let journal = proxy.dir().join(".phantom/invalidations");
    proxy.clock().advance(5);
    // Files that would not go keep the journal as it is when the call returns.
    proxy.faults().fail_all("unlink", std::io::ErrorKind::Other);
    proxy.trigger().trigger_by_key_match("/a");
    let noted = std::fs::read(&journal).expect("the journal, written when the call returns");
    assert!(
        !noted.is_empty(),
        "the invalidation should be noted when the call returns"
    );
    proxy.faults().mend();
    proxy.stop().await;

    // As if the process had died before it removed a file.
    for (path, bytes) in &files {
        let path = proxy.dir().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for (path, time) in times {
        let file = std::fs::File::options()
            .write(true)
            .open(proxy.dir().join(path))
            .unwrap();
        file.set_modified(time).unwrap();
    }
    // What is written now is younger than the invalidation, as no file was that the dead process left:
    // so its time is moved on.
    // A log that had not been opened before begins with an empty line.
    let noted = String::from_utf8(noted).expect("text").trim_start().to_owned();
    let (nanos, rest) = noted.split_once(' ').expect("a time and a pattern");
    let later = nanos.parse::<u64>().expect("a time") + 60_000_000_000;
    std::fs::write(&journal, format!("{later} {rest}")).unwrap();
    proxy.start_again().await;

    proxy.get("/a").await.assert(200, "rendering 2").assert_stored();
}

#[tokio::test]
async fn an_invalidation_whose_files_could_not_be_removed_outlives_a_restart() {
    let backend = counting().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    let files = proxy.pages();

    proxy.faults().fail_all("unlink", std::io::ErrorKind::Other);
    proxy.trigger().trigger_by_key_match("/a");
    proxy.stop().await;
    proxy.faults().mend();
    for file in &files {
        assert!(proxy.dir().join(file).exists(), "{file} should be left over");
    }
    proxy.start_again().await;

    proxy.get("/a").await.assert(200, "rendering 2").assert_stored();
}

#[tokio::test]
async fn a_stale_mark_is_validated_first() {
    let backend = Backend::with("/", Answer::page("old").with("ETag", "\"1\"")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    backend.on_fn("/", |request| match request.field("if-none-match") {
        Some("\"1\"") => Answer::new(304).with("ETag", "\"1\""),
        _ => Answer::page("new").with("ETag", "\"2\""),
    });

    let marked = proxy
        .trigger()
        .refresh_matching(&["/"], RefreshMode::Stale)
        .await
        .expect("the invalidation");

    assert_eq!(marked.removed, 1);
    assert_eq!(proxy.pages().len(), 2, "kept on disk");
    proxy.get("/").await.assert(200, "old").assert_revalidated();
    proxy.get("/").await.assert(200, "old").assert_hit();
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_stale_mark_that_only_the_log_holds_outlives_two_restarts() {
    let backend = counting().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    proxy.stop().await;
    proxy.leave_in_log(&["stale /a"]);

    proxy.start_again().await;
    proxy.stop().await;
    proxy.start_again().await;

    proxy.get("/a").await.assert(200, "rendering 2").assert_stored();
}

#[tokio::test]
async fn an_invalidation_sets_a_hand_edit_aside() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    std::fs::write(proxy.body_file("site.test/a."), "edited by hand").unwrap();

    proxy.trigger().refresh().await.expect("the invalidation");

    assert_eq!(proxy.pages(), Vec::<String>::new());
    let displaced = std::fs::read_dir(proxy.dir().join(".phantom/displaced"))
        .expect("the edit's place")
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("the edit"))
        .collect::<Vec<_>>();
    assert_eq!(displaced, [b"edited by hand"]);
}

#[tokio::test]
async fn a_post_that_is_stored_by_name_invalidates_nothing_even_when_it_passes() {
    let backend = Backend::start().await;
    backend.on("/search", Answer::page("found"));
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["/*".into(), "POST /search".into()];
    })
    .await;
    proxy.warm("/search").await;

    proxy
        .send(post("/search", "q=1").with("Cookie", "session=1"))
        .await
        .assert_not_stored(Reason::Cookie);

    proxy.get("/search").await.assert_hit();
}

#[tokio::test]
async fn a_stale_mark_serves_while_the_backend_is_down() {
    let mut backend = Backend::with("/", Answer::page("kept")).await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy
        .trigger()
        .refresh_matching(&["/"], RefreshMode::Stale)
        .await
        .expect("the invalidation");
    backend.stop().await;

    proxy.get("/").await.assert(200, "kept").assert_stale();
    // The mark is on disk.
    proxy.restart().await;
    proxy.get("/").await.assert(200, "kept").assert_stale();

    backend.start_again();
    backend.on("/", Answer::page("new"));
    // For a moment it is not asked again.
    proxy.clock().advance(2);
    proxy.get("/").await.assert(200, "new");
    proxy.get("/").await.assert(200, "new").assert_hit();
}

#[tokio::test]
async fn one_trigger_drives_several_proxies() {
    let backend = counting().await;
    let trigger = RefreshTrigger::new();
    let one = Setup::over(&backend).trigger(trigger.clone()).start().await;
    let two = Setup::over(&backend).trigger(trigger.clone()).start().await;
    one.warm("/").await;
    two.warm("/").await;

    let refreshed = trigger.refresh().await.expect("the invalidation");

    assert_eq!(refreshed.removed, 2);
    for proxy in [&one, &two] {
        assert!(!proxy.get("/").await.cache().hit);
        assert!(proxy.get("/").await.cache().hit);
    }
    // A clone of either is the same trigger.
    one.trigger().trigger();
    assert!(!two.get("/").await.cache().hit);
}

#[tokio::test]
async fn subscribers_are_told() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    let mut messages = proxy.trigger().subscribe();

    proxy.trigger().trigger();
    proxy.trigger().trigger_by_key_match("GET:/api/*");

    assert_eq!(messages.recv().await.unwrap(), RefreshMessage::All);
    assert_eq!(
        messages.recv().await.unwrap(),
        RefreshMessage::Pattern("GET:/api/*".into())
    );
}

#[tokio::test]
async fn head_requests_see_the_invalidation_too() {
    let backend = counting().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.send(head("/")).await.assert_hit();

    proxy.trigger().trigger_by_key_match("/");

    assert!(!proxy.send(head("/")).await.cache().hit);
}

#[tokio::test]
async fn a_post_that_succeeds_has_the_page_at_its_address_validated() {
    for (status, hit) in [(200, false), (204, false), (303, false), (400, true), (500, true)] {
        let backend = Backend::start().await;
        backend.on_fn("/guestbook", move |request| match request.method.as_str() {
            "POST" => Answer::new(status).with("Location", "/guestbook"),
            _ => Answer::page("entries"),
        });
        backend.on("/guestbook/other", Answer::page("other"));
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/guestbook").await;
        proxy.warm("/guestbook?page=2").await;
        proxy.warm("/guestbook/other").await;

        proxy
            .send(post("/guestbook", "text=hello"))
            .await
            .assert_not_stored(Reason::Method);

        assert_eq!(
            proxy.pages().len(),
            6,
            "a visitor's request deletes no file ({status}): {:?}",
            proxy.files()
        );
        for path in ["/guestbook", "/guestbook?page=2"] {
            assert_eq!(proxy.get(path).await.cache().hit, hit, "{path} after a {status}");
        }
        proxy.get("/guestbook/other").await.assert_hit();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_visitor_sees_an_old_page_after_an_invalidation_however_many_there_are() {
    let rendered = Arc::new(AtomicUsize::new(0));
    let backend = Backend::start().await;
    let counted = rendered.clone();
    backend.fallback(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        Answer::page(format!("rendering {number}"))
    });
    let proxy = Proxy::start(&backend).await;
    let trigger = proxy.trigger();
    let client = proxy.client();
    let oldest = Arc::new(AtomicUsize::new(0));
    let mut visitors = Vec::new();
    for _ in 0..8 {
        let oldest = oldest.clone();
        visitors.push(tokio::spawn(async move {
            for _ in 0..60 {
                let may_be = oldest.load(Ordering::SeqCst);
                let page = client.get("/").await.text();
                let number: usize = page.rsplit(' ').next().unwrap().parse().unwrap();
                assert!(
                    number > may_be,
                    "rendering {number} after {may_be} had been invalidated"
                );
            }
        }));
    }
    for _ in 0..40 {
        // Whatever has been rendered up to here is old when the call returns.
        let old = rendered.load(Ordering::SeqCst);
        trigger.trigger_by_key_match("/");
        oldest.store(old, Ordering::SeqCst);
        client.get("/").await;
    }
    for visitor in visitors {
        visitor.await.unwrap();
    }
}
