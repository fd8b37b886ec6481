//! Following links.

use phantom_frame::Reason;
use phantom_frame::prerender::{Became, Scope};

use super::{Run, page, start, visit};
use crate::rig::{Answer, Backend, Proxy};

async fn crawl(proxy: &Proxy, scope: Scope) -> Run {
    Run::of(proxy, |options| {
        options.crawl = true;
        options.scope = scope;
    })
    .await
}

fn css(text: &str) -> Answer {
    Answer::new(200)
        .with("Content-Type", "text/css")
        .body(text.to_owned())
}

#[tokio::test]
async fn a_crawl_follows_links_and_assets_once_each_in_the_order_in_which_it_finds_them() {
    let backend = Backend::with(
        "/",
        page(
            "<link rel=stylesheet href='/site.css'><link rel=canonical href='https://example.com/'>\
             <a href='/a#part'>a</a><a href='/b?x=1&amp;y=2'>b</a><a href='https://other.example/'>off</a>\
             <a href='/a'>again</a><a rel=nofollow href='/logout'>out</a><a href='mailto:a@example.com'>mail</a>\
             <img src='/img.png' srcset='/img-2.png 2x'>",
        ),
    )
    .await;
    backend.on("/site.css", css("body { background: url('/ground.png') }"));
    backend.on("/a", page("<a href='/'>home</a><a href='c'>c</a>"));
    backend.on("/b", page("<base href='/deep/'><a href='d'>d</a>"));
    backend.fallback(|_| page("leaf"));
    let proxy = start(&backend).await;

    let run = crawl(&proxy, Scope::Stale).await;

    let expected = [
        "/",
        "/site.css",
        "/a",
        "/b?x=1&y=2",
        "/img.png",
        "/img-2.png",
        "/ground.png",
        "/c",
        "/deep/d",
    ];
    assert_eq!(run.urls(), expected);
    let asked: Vec<String> = backend.requests().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, expected);
    assert_eq!(run.summary.new, 9);
    assert_eq!(run.page("/c").found_on.as_deref(), Some("/a"));
    assert_eq!(run.page("/").found_on, None);
    for path in expected {
        visit(&proxy, path).await.assert_hit();
    }
}

#[tokio::test]
async fn a_crawl_is_resumed_from_what_is_stored() {
    let backend = Backend::with("/", page("<a href='/a'>")).await;
    backend.on("/a", page("<a href='/b'>"));
    backend.on("/b", Answer::new(500));
    let proxy = start(&backend).await;
    crawl(&proxy, Scope::Missing)
        .await
        .assert("/b", Became::Failed(Reason::ServerError));
    backend.on("/b", page("b"));

    let run = crawl(&proxy, Scope::Missing).await;

    run.assert("/", Became::Kept)
        .assert("/a", Became::Kept)
        .assert("/b", Became::New);
    assert_eq!(
        (backend.count("/"), backend.count("/a"), backend.count("/b")),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn a_page_that_the_backend_validates_is_crawled_too() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| match request.field("if-none-match") {
        Some(_) => Answer::new(304).with("ETag", "\"1\""),
        None => page("<a href='/a'>").with("ETag", "\"1\""),
    });
    backend.on("/a", page("a"));
    let proxy = start(&backend).await;
    visit(&proxy, "/").await.assert_stored();

    let run = crawl(&proxy, Scope::All).await;

    run.assert("/", Became::Same).assert("/a", Became::New);
}

#[tokio::test]
async fn a_page_that_is_not_stored_is_crawled_too() {
    let backend = Backend::with("/", page("<a href='/a'>").with("Cache-Control", "no-store")).await;
    backend.on("/a", page("a"));
    let proxy = start(&backend).await;

    let run = crawl(&proxy, Scope::Stale).await;

    run.assert("/", Became::NotStored(Reason::NoStore))
        .assert("/a", Became::New);
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_told_and_is_no_failure() {
    let backend = Backend::with("/", page("<a href='/gone'>")).await;
    let proxy = start(&backend).await;

    let run = crawl(&proxy, Scope::Stale).await;

    run.assert("/gone", Became::Missing);
    assert_eq!(run.page("/gone").found_on.as_deref(), Some("/"));
    assert_eq!((run.summary.missing, run.summary.failed()), (1, 0));
}

#[tokio::test]
async fn redirects_are_followed_within_the_site_and_end() {
    let backend = Backend::start().await;
    let to = |place: &str| {
        Answer::new(301)
            .with("Location", place)
            .with("Cache-Control", "max-age=60")
    };
    backend.on("/old", to("/round"));
    backend.on("/round", to("https://example.com/old?again"));
    backend.on("/off", to("https://other.example/off"));
    backend.on("/named", to("gone"));
    let proxy = start(&backend).await;

    let run = Run::pages(&proxy, &["/old", "/off", "/named"], Scope::Stale).await;

    assert_eq!(
        run.urls(),
        ["/old", "/off", "/named", "/round", "/gone", "/old?again"]
    );
    run.assert("/old", Became::New).assert("/off", Became::New);
    // Who names a page means what it leads to.
    assert!(run.page("/gone").is_failure());
    visit(&proxy, "/old").await.assert_hit().assert(301, "");
}

#[tokio::test]
async fn a_crawl_is_bounded_in_pages_and_in_depth() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let depth = request.path().len();
        page(&format!("<a href='/{0}'><a href='/{0}?more'>", "a".repeat(depth)))
    });
    let proxy = start(&backend).await;

    let deep = Run::of(&proxy, |options| {
        options.crawl = true;
        options.max_depth = 2;
    })
    .await;
    assert_eq!(deep.urls(), ["/", "/a", "/a?more", "/aa", "/aa?more"]);
    assert!(deep.summary.beyond > 0);

    let wide = Run::of(&proxy, |options| {
        options.crawl = true;
        options.max_pages = 3;
    })
    .await;
    assert_eq!(wide.urls(), ["/", "/a", "/a?more"]);
    assert!(wide.summary.beyond > 0);
}

#[tokio::test]
async fn without_a_crawl_no_link_is_followed() {
    let backend = Backend::with("/", page("<a href='/a'>")).await;
    let proxy = start(&backend).await;

    let run = Run::pages(&proxy, &["/"], Scope::Stale).await;

    assert_eq!((run.urls(), backend.total()), (vec!["/"], 1));
}
