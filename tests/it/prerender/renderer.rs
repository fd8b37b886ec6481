//! What is stored, rendered anew behind a server.

use phantom_frame::ErrorKind;
use phantom_frame::prerender::{PrerenderOptions, Renderer};
use tokio::sync::mpsc;

use super::{page, start, visit};
use crate::rig::{Backend, Gate, Proxy, get, within};

/// A renderer that runs, and a line of each of its runs: how many pages changed, and how many were the same.
fn running(proxy: &Proxy) -> (std::sync::Arc<Renderer>, mpsc::UnboundedReceiver<(u64, u64)>) {
    let renderer = std::sync::Arc::new(Renderer::new(proxy.engine()));
    let (tell, told) = mpsc::unbounded_channel();
    let at_work = renderer.clone();
    tokio::spawn(async move {
        let told = |summary: &phantom_frame::prerender::Summary| {
            // The test may have seen enough.
            let _ = tell.send((summary.changed, summary.same));
        };
        at_work.run(&PrerenderOptions::default(), told).await;
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
