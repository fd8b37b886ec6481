//! Tags: the backend names what a page is made of, nobody else hears of it, and all pages of one thing go by its name.

use phantom_frame::{Reason, RefreshError, RefreshMode};

use crate::rig::{Answer, Backend, Gate, Proxy, Response, get, head};

const FIELDS: [&str; 3] = ["cache-tag", "surrogate-key", "xkey"];

/// A site of two posts, a list of both, and a page without tags.
async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let page = Answer::page(format!("page {}", request.target));
        match request.path() {
            "/one" => page.with("Cache-Tag", "post-1, news"),
            "/two" => page.with("Surrogate-Key", "post-2 news"),
            "/list" => page.with("xkey", "post-1").with("xkey", "post-2"),
            _ => page,
        }
    });
    backend
}

const PATHS: [&str; 4] = ["/one", "/two", "/list", "/plain"];

#[track_caller]
fn assert_untold(response: &Response) {
    for name in FIELDS {
        assert_eq!(response.field(name), None, "{response:?}");
    }
}

#[tokio::test]
async fn tags_stand_in_the_sidecar_and_no_client_is_told() {
    let backend = site().await;
    let all = |page: Answer| {
        page.with("Cache-Tag", "b,a")
            .with("Surrogate-Key", "c")
            .with("xkey", "a")
    };
    backend.on("/", all(Answer::page("all").with("ETag", "\"1\"")));
    backend.on(
        "/mine",
        all(Answer::page("mine").with("Cache-Control", "private")),
    );
    backend.on("/away", all(Answer::page("away").with("Set-Cookie", "a=1")));
    backend.on("/gone", all(Answer::new(404).body("gone")));
    let proxy = Proxy::start(&backend).await;

    assert_untold(&proxy.get("/").await);
    let hit = proxy.get("/").await;
    hit.assert(200, "all").assert_hit();
    assert_untold(&hit);
    assert_untold(&proxy.send(head("/")).await);
    assert_untold(&proxy.send(get("/").with("If-None-Match", "\"1\"")).await);
    let passed = proxy.send(get("/").with("Cookie", "session=1")).await;
    passed.assert(200, "all").assert_not_stored(Reason::Cookie);
    assert_untold(&passed);
    for path in ["/mine", "/away", "/gone", "/gone"] {
        assert_untold(&proxy.get(path).await);
    }
    backend.on("/", all(Answer::new(500).body("broken")));
    proxy.clock().advance(1);
    proxy
        .trigger()
        .refresh_matching(&["/"], RefreshMode::Stale)
        .await
        .expect("the mark");
    assert_untold(&proxy.get("/").await);

    let (_, text) = proxy.sidecar("site.test/index.");
    assert!(
        text.contains("\ntags = [\n  \"a\",\n  \"b\",\n  \"c\",\n]\n"),
        "{text}"
    );
    for name in FIELDS {
        assert!(!text.contains(name), "{text}");
    }
    let (_, text) = {
        proxy.warm("/plain").await;
        proxy.sidecar("site.test/plain.")
    };
    assert!(!text.contains("tags"), "{text}");
}

#[tokio::test]
async fn the_order_in_which_a_backend_names_tags_changes_no_file() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Tag", "b,a,c,a")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let first = proxy.contents();

    backend.on(
        "/",
        Answer::page("x")
            .with("Cache-Tag", "c")
            .with("Surrogate-Key", "a b"),
    );
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.warm("/").await;
    assert_eq!(proxy.contents(), first);

    backend.on("/", Answer::page("x").with("Cache-Tag", "a,b"));
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.warm("/").await;
    assert_ne!(proxy.contents(), first, "another tag is another sidecar");
}

#[tokio::test]
async fn what_bears_the_tag_goes_and_nothing_else() {
    for (tags, taken) in [
        (&["post-1"][..], &["/one", "/list"][..]),
        (&["news"], &["/one", "/two"]),
        (&["post-2", "news"], &["/one", "/two", "/list"]),
        (&["post"], &[]),
        (&["NEWS"], &[]),
    ] {
        let backend = site().await;
        let proxy = Proxy::start(&backend).await;
        for path in PATHS {
            proxy.warm(path).await;
        }
        let refreshed = proxy.trigger().refresh_tags(tags, RefreshMode::Delete).await;
        assert_eq!(refreshed.expect("tags").removed, taken.len() as u64, "{tags:?}");
        proxy.assert_gone(&PATHS, taken, &format!("{tags:?}")).await;
    }
}

#[tokio::test]
async fn an_invalidation_by_tag_is_in_force_when_the_call_returns() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    for round in 1..=10 {
        proxy.warm("/one").await;
        proxy.trigger().trigger_by_tag("news");
        assert_eq!(backend.count("/one"), round);
        if round % 3 == 0 {
            proxy.restart().await;
        }
    }
    let nothing = proxy
        .trigger()
        .refresh_tags(&["news*"], RefreshMode::Delete)
        .await;
    assert!(
        matches!(nothing, Err(RefreshError::Pattern { .. })),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn tags_are_known_again_after_a_restart_before_and_after_the_directory_was_read() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    for is_read in [false, true] {
        for path in PATHS {
            proxy.get(path).await;
            proxy.get(path).await.assert_hit();
        }
        proxy.restart().await;
        if is_read {
            proxy.until_ready().await;
        }
        proxy.trigger().trigger_by_tag("post-2");
        proxy.get("/two").await.assert_stored();
        proxy.get("/list").await.assert_stored();
        proxy.get("/one").await.assert_hit();
    }
}

#[tokio::test]
async fn a_tag_that_only_the_log_holds_is_replayed() {
    for (word, is_kept) in [("delete", false), ("stale", true)] {
        let backend = site().await;
        let mut proxy = Proxy::start(&backend).await;
        for path in PATHS {
            proxy.warm(path).await;
        }
        proxy.stop().await;
        proxy.leave_in_log(&[&format!("{word} tag:post-1")]);

        proxy.start_again().await;
        proxy.until_ready().await;

        let kept = if is_kept { PATHS.len() } else { PATHS.len() - 2 };
        assert_eq!(proxy.stored(), kept, "{word}");
        proxy.get("/one").await.assert_stored();
        proxy.get("/list").await.assert_stored();
        proxy.get("/two").await.assert_hit();
        proxy.get("/plain").await.assert_hit();
    }
}

#[tokio::test]
async fn a_fill_under_way_is_judged_by_the_tags_that_it_brings() {
    let backend = site().await;
    let gate = Gate::new();
    backend.on(
        "/one",
        Answer::page("old").with("Cache-Tag", "post-1").held(&gate),
    );
    backend.on(
        "/two",
        Answer::page("two").with("Cache-Tag", "post-2").held(&gate),
    );
    let proxy = Proxy::start(&backend).await;
    let one = proxy.client().begin(&get("/one")).await;
    let two = proxy.client().begin(&get("/two")).await;
    gate.arrivals(2).await;

    proxy.trigger().trigger_by_tag("post-1");
    // Who comes now may not be told what was rendered before.
    backend.on("/one", Answer::page("new").with("Cache-Tag", "post-1"));
    proxy.get("/one").await.assert(200, "new").assert_stored();
    gate.open();

    one.head().await.finish().await.assert(200, "old");
    proxy.get("/one").await.assert(200, "new").assert_hit();
    two.head().await.finish().await.assert(200, "two").assert_stored();
    proxy.get("/two").await.assert(200, "two").assert_hit();
    assert_eq!((backend.count("/one"), backend.count("/two")), (2, 1));
}

#[tokio::test]
async fn who_reads_a_body_with_the_tag_is_joined_by_nobody_after_the_invalidation() {
    let middle = Gate::new();
    let backend = Backend::start().await;
    let page = |tag: &str| Answer::page("old ").with("xkey", tag).wait(&middle).body("page");
    backend.on("/one", page("post-1"));
    backend.on("/two", page("post-2"));
    let proxy = Proxy::start(&backend).await;
    let mut one = proxy.client().open(get("/one")).await;
    let mut two = proxy.client().open(get("/two")).await;
    one.at_least(4).await;
    two.at_least(4).await;

    proxy.trigger().trigger_by_tag("post-1");
    backend.on("/one", Answer::page("new page").with("xkey", "post-1"));
    proxy.get("/one").await.assert(200, "new page").assert_stored();
    let joining = proxy.client().open(get("/two")).await;
    middle.open();

    one.finish().await.assert(200, "old page");
    two.finish().await.assert(200, "old page");
    joining.finish().await.assert(200, "old page");
    proxy.get("/one").await.assert(200, "new page").assert_hit();
    assert_eq!(backend.count("/two"), 1, "its tag is known, and another");
}

#[tokio::test]
async fn a_page_goes_with_all_its_variants() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let page = Answer::page(format!("in {language}")).with("Vary", "Accept-Language");
        match language.as_str() {
            "de" => page.with("Cache-Tag", "german"),
            _ => page,
        }
    });
    let proxy = Proxy::start(&backend).await;
    let ask = async |language| proxy.send(get("/").with("Accept-Language", language)).await;
    for language in ["de", "fr"] {
        ask(language).await;
        ask(language).await;
        ask(language).await.assert_hit();
    }

    let all = proxy.stored() as u64;
    let refreshed = proxy
        .trigger()
        .refresh_tags(&["german"], RefreshMode::Delete)
        .await;

    assert!(all >= 2, "{all}");
    assert_eq!(refreshed.expect("a tag").removed, all);
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_tag_that_a_page_has_no_more_is_not_its_tag() {
    let backend = Backend::with(
        "/",
        Answer::page("x").with("ETag", "\"1\"").with("Cache-Tag", "old"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let stale = async || {
        let marked = proxy.trigger().refresh_matching(&["/"], RefreshMode::Stale).await;
        marked.expect("the mark");
        proxy.get("/").await.assert_revalidated();
    };
    // What a 304 names takes the place of what is stored; one that names none leaves it.
    backend.on("/", Answer::new(304).with("ETag", "\"1\""));
    stale().await;
    let removed = async |tag| {
        let marked = proxy.trigger().refresh_tags(&[tag], RefreshMode::Stale).await;
        marked.expect("a tag").removed
    };
    assert_eq!(removed("old").await, 1);
    backend.on(
        "/",
        Answer::new(304).with("ETag", "\"1\"").with("Cache-Tag", "new"),
    );
    stale().await;

    assert_eq!(removed("old").await, 0);
    assert_eq!(removed("new").await, 1);
}

#[tokio::test]
async fn a_missing_page_is_forgotten_by_its_tag() {
    let backend = Backend::with(
        "/soon",
        Answer::new(404).with("Cache-Tag", "post-9").body("not yet"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/soon").await;
    proxy.get("/soon").await.assert(404, "not yet").assert_hit();

    backend.on("/soon", Answer::page("here").with("Cache-Tag", "post-9"));
    proxy.trigger().trigger_by_tag("post-8");
    proxy.get("/soon").await.assert(404, "not yet").assert_hit();
    proxy.trigger().trigger_by_tag("post-9");

    proxy.get("/soon").await.assert(200, "here").assert_stored();
}

#[tokio::test]
async fn a_command_lists_and_removes_by_tag_beside_a_server_and_without_one() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.until_ready().await;
    for path in PATHS {
        proxy.warm(path).await;
    }
    let listed = proxy.artefact(|artefact| {
        let mut rows = Vec::new();
        let unread = artefact.list(Some("tag:news"), &mut |row| rows.push((row.line, row.tags)));
        assert_eq!(unread.expect("a tag"), Vec::<String>::new());
        rows.sort();
        rows
    });
    let expected = [
        (
            "GET:/one".to_owned(),
            vec!["news".to_owned(), "post-1".to_owned()],
        ),
        (
            "GET:/two".to_owned(),
            vec!["news".to_owned(), "post-2".to_owned()],
        ),
    ];
    assert_eq!(listed.await, expected);

    let removed = proxy.artefact(|artefact| artefact.remove("tag:post-1")).await;
    assert_eq!(removed.expect("a tag").pages, 2);
    crate::rig::eventually("the server to notice", async || {
        (proxy.stored() == 2).then_some(())
    })
    .await;
    proxy.stop().await;
    let removed = proxy.artefact(|artefact| artefact.remove("tag:news")).await;
    assert_eq!(removed.expect("a tag").pages, 1, "only /two is left of them");
    assert_eq!(proxy.pages().len(), 2, "/plain");
}
