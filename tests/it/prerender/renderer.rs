//! What is stored, rendered anew behind a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phantom_frame::ErrorKind;
use phantom_frame::prerender::{PrerenderOptions, Renderer};
use tokio::sync::mpsc;

use super::{page, start, visit, with_address};
use crate::rig::{Answer, Backend, Gate, Proxy, Setup, eventually, get, within};

/// A renderer that runs, and a line of each of its runs: how many pages changed, and how many were the same.
fn running(proxy: &Proxy) -> (Arc<Renderer>, mpsc::UnboundedReceiver<(u64, u64)>) {
    running_with(proxy, PrerenderOptions::default())
}

fn running_with(
    proxy: &Proxy,
    options: PrerenderOptions,
) -> (Arc<Renderer>, mpsc::UnboundedReceiver<(u64, u64)>) {
    let renderer = Arc::new(Renderer::new(proxy.engine(), options));
    let (tell, told) = mpsc::unbounded_channel();
    let at_work = renderer.clone();
    tokio::spawn(async move {
        let told = |summary: &phantom_frame::prerender::Summary| {
            // The test may have seen enough.
            let _ = tell.send((summary.changed, summary.same));
        };
        at_work.run(|_| {}, told).await;
    });
    (renderer, told)
}

#[tokio::test]
async fn what_matches_is_rendered_once_and_the_old_page_answers_until_then() {
    let backend = Backend::start().await;
    for path in ["/blog/a", "/blog/b", "/about"] {
        backend.on(path, page("old"));
    }
    let proxy = start(&backend).await;
    for path in ["/blog/a", "/blog/b", "/about"] {
        visit(&proxy, path).await.assert_stored();
    }
    proxy.until_ready().await;
    let gate = Gate::new();
    backend.on("/blog/a", page("new").held(&gate));
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["/blog/*", "/blog/a"]).expect("patterns"), 2);
    gate.arrivals(1).await;
    visit(&proxy, "/blog/a").await.assert_hit().assert(200, "old");
    gate.open();

    assert_eq!(within("a run", told.recv()).await, Some((1, 1)));
    visit(&proxy, "/blog/a").await.assert_hit().assert(200, "new");
    assert_eq!((backend.count("/blog/a"), backend.count("/about")), (2, 1));
    assert_eq!(renderer.begin(&["/none"]).expect("a pattern"), 0);
    let error = renderer.begin(&[""]).expect_err("no pattern");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_takes_a_visitor_to_render_is_validated_at_their_next_visit() {
    let backend = Backend::start().await;
    backend.on_fn("/a", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        page(&language).with("Vary", "Accept-Language")
    });
    let proxy = start(&backend).await;
    let german = || get("/a").host(super::HOST).with("Accept-Language", "de");
    proxy.send(german()).await;
    proxy.send(german()).await.assert_hit().assert(200, "de");
    proxy.until_ready().await;
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["*"]).expect("a pattern"), 1);
    within("a run", told.recv()).await;

    let before = backend.count("/a");
    visit(&proxy, "/a").await.assert_hit().assert(200, "none");
    proxy.send(german()).await.assert(200, "de");
    assert_eq!(backend.count("/a"), before + 1);
    proxy.send(german()).await.assert_hit();
}

#[tokio::test]
async fn a_page_that_varies_answers_until_its_new_rendering_is_there_and_only_its_variants_are_marked() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let (held, is_new) = (gate.clone(), Arc::new(AtomicBool::new(false)));
    let when = is_new.clone();
    backend.on_fn("/a", move |request| {
        let language = request.field("accept-language").unwrap_or("none");
        match when.load(Ordering::SeqCst) {
            true => page(&format!("new {language}")).held(&held),
            false => page(language),
        }
        .with("Vary", "Accept-Language")
    });
    let proxy = start(&backend).await;
    let german = || get("/a").host(super::HOST).with("Accept-Language", "de");
    visit(&proxy, "/a").await.assert_stored();
    proxy.send(german()).await.assert_stored();
    proxy.send(german()).await.assert_hit();
    proxy.until_ready().await;
    is_new.store(true, Ordering::SeqCst);
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["/a"]).expect("a pattern"), 1);
    gate.arrivals(1).await;
    visit(&proxy, "/a").await.assert_hit().assert(200, "none");
    assert_eq!(backend.count("/a"), 3);
    gate.open();

    assert_eq!(within("a run", told.recv()).await, Some((1, 0)));
    visit(&proxy, "/a").await.assert_hit().assert(200, "new none");
    proxy.send(german()).await.assert(200, "new de");
    assert_eq!(backend.count("/a"), 4);
}

#[tokio::test]
async fn what_a_key_looks_like_is_no_pattern() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none");
        page(language).with("Vary", "Accept-Language")
    });
    // As a pattern, one of them is too long, and the other one of everything.
    let proxy = with_address(Setup::over(&backend).key_fn(|request| match request.path {
        "/long" => "x".repeat(9000),
        "/star" => "GET:/*".into(),
        path => format!("GET:{path}"),
    }));
    let proxy = proxy.start().await;
    let german = |path: &str| get(path).host(super::HOST).with("Accept-Language", "de");
    for path in ["/long", "/star", "/other"] {
        proxy.send(german(path)).await.assert_stored();
    }
    proxy.until_ready().await;
    let (renderer, mut told) = running(&proxy);

    let begun = renderer.begin(&["/long", "/star"]);

    assert_eq!(begun.expect("whatever the keys are"), 2);
    within("a run", told.recv()).await;
    for (path, asked) in [("/long", 1), ("/star", 1), ("/other", 0)] {
        let before = backend.total();
        proxy.send(german(path)).await.assert(200, "de");
        assert_eq!(backend.total(), before + asked, "{path}");
    }
}

#[tokio::test]
async fn a_fill_that_was_begun_before_is_not_the_new_rendering() {
    let backend = Backend::with("/a", page("old")).await;
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    proxy.until_ready().await;
    proxy.clock().advance(61);
    let gate = Gate::new();
    backend.on("/a", page("before").held(&gate));
    let (renderer, mut told) = running(&proxy);

    let rendering = async {
        gate.arrivals(1).await;
        backend.on("/a", page("new"));
        assert_eq!(renderer.begin(&["/a"]).expect("a pattern"), 1);
        let run = within("a run", told.recv()).await;
        gate.open();
        run
    };
    let (_, run) = tokio::join!(visit(&proxy, "/a"), rendering);

    assert_eq!(run, Some((1, 0)));
    visit(&proxy, "/a").await.assert_hit().assert(200, "new");
    assert_eq!(backend.count("/a"), 3);
}

#[tokio::test]
async fn redirects_are_rendered_and_not_followed() {
    let backend = Backend::start().await;
    let to_more = Answer::new(301)
        .with("Location", "/more")
        .with("Cache-Control", "max-age=60");
    backend.on("/a", to_more);
    backend.on("/more", page("more"));
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    // Nothing of its body waits for the commit.
    eventually("the redirect to be stored", async || {
        (proxy.stored() == 1).then_some(())
    })
    .await;
    proxy.until_ready().await;
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["/a"]).expect("a pattern"), 1);

    assert_eq!(within("a run", told.recv()).await, Some((0, 1)));
    assert_eq!((backend.count("/a"), backend.count("/more")), (2, 0));
}

#[tokio::test]
async fn nothing_is_rendered_until_the_directory_has_been_read_through() {
    let backend = Backend::with("/blog/a", page("a")).await;
    let mut proxy = start(&backend).await;
    visit(&proxy, "/blog/a").await.assert_stored();
    proxy.stop().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let again = with_address(Setup::over(&backend).dir_of(&proxy)).configured(move |config| {
        let held = held.clone();
        config.with_disk_faults(Arc::new(move |operation, path: &std::path::Path| {
            if operation == "readdir" && path.ends_with("blog") {
                // Until the other end is gone.
                let _ = held.lock().expect("no panic").recv();
            }
            Ok(())
        }))
    });
    let again = again.start().await;
    let (renderer, mut told) = running(&again);

    let error = renderer
        .begin(&["*"])
        .expect_err("it is not known what is stored");
    assert_eq!(error.kind(), ErrorKind::NotReady);

    drop(release);
    again.until_ready().await;
    assert_eq!(renderer.begin(&["*"]).expect("a pattern"), 1);
    assert_eq!(within("a run", told.recv()).await, Some((0, 1)));
}

#[tokio::test]
async fn what_is_named_and_what_is_asked_for_are_rendered_side_by_side_at_one_pace() {
    for (concurrency, asked) in [(3, 4), (2, 3)] {
        let backend = Backend::with("/stored", page("stored")).await;
        let gate = Gate::new();
        for path in ["/1", "/2"] {
            backend.on(path, page(path).held(&gate));
        }
        let proxy = start(&backend).await;
        visit(&proxy, "/stored").await.assert_stored();
        proxy.until_ready().await;
        let mut options = PrerenderOptions::default();
        options.pages = vec!["/1".into(), "/2".into()];
        options.concurrency = concurrency;
        let (renderer, mut told) = running_with(&proxy, options);
        let meanwhile = async {
            gate.arrivals(2).await;
            assert_eq!(renderer.begin(&["/stored"]).expect("a pattern"), 1);
            if concurrency > 2 {
                within("a run", told.recv()).await;
            }
            assert_eq!(backend.total(), asked);
            gate.open();
            if concurrency == 2 {
                within("a run", told.recv()).await;
            }
        };
        let (ahead, ()) = tokio::join!(renderer.ahead(|_| {}), meanwhile);
        assert_eq!(ahead.expect("a run").new, 2);
        assert_eq!(backend.total(), 4);
    }
}

#[tokio::test]
async fn without_a_public_url_each_host_has_its_pages_rendered() {
    let backend = Backend::with("/a", page("a")).await;
    let proxy = Proxy::start(&backend).await;
    for host in ["one.example", "two.example"] {
        proxy.send(get("/a").host(host)).await.assert_stored();
    }
    proxy.until_ready().await;
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["/a"]).expect("a pattern"), 2);

    assert_eq!(within("a run", told.recv()).await, Some((0, 2)));
    let requests = backend.requests_for("/a");
    let mut hosts: Vec<_> = requests[2..]
        .iter()
        .filter_map(|asked| asked.field("host"))
        .collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["one.example", "two.example"]);
}

#[tokio::test]
async fn pages_are_rendered_anew_by_their_tag() {
    let backend = Backend::start().await;
    backend.on("/news", page("old").with("Cache-Tag", "news"));
    backend.on("/about", page("old"));
    let proxy = start(&backend).await;
    for path in ["/news", "/about"] {
        visit(&proxy, path).await.assert_stored();
    }
    proxy.until_ready().await;
    let (renderer, mut told) = running(&proxy);
    backend.on("/news", page("new").with("Cache-Tag", "news"));

    assert_eq!(renderer.begin(&["tag:news"]).expect("a tag"), 1);

    assert_eq!(within("a run", told.recv()).await, Some((1, 0)));
    visit(&proxy, "/news").await.assert_hit().assert(200, "new");
    assert_eq!(backend.count("/about"), 1);
}
