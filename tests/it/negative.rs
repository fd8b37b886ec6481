//! "Not found" is remembered in memory for a while, and never written to disk.

use std::time::Duration;

use crate::rig::{Answer, Backend, Proxy, get, head};

fn missing() -> Answer {
    Answer::new(404)
        .with("Content-Type", "text/html")
        .with("X-Custom", "1")
        .body("no such page")
}

#[tokio::test]
async fn a_page_that_is_not_there_is_remembered_for_a_minute() {
    for status in [404, 410] {
        let answer = Answer::new(status)
            .with("Content-Type", "text/html")
            .with("X-Custom", "1")
            .body("no such page");
        let backend = Backend::with("/gone", answer).await;
        let proxy = Proxy::start(&backend).await;

        let first = proxy.get("/gone").await;
        first.assert(status, "no such page");
        assert_eq!(first.cache().ttl, Some(60));
        for _ in 0..3 {
            let hit = proxy.get("/gone").await;
            hit.assert(status, "no such page").assert_hit();
            assert_eq!(hit.field("x-custom"), Some("1"));
        }
        proxy.send(head("/gone")).await.assert(status, "").assert_hit();
        proxy.clock().advance(59);
        proxy.get("/gone").await.assert_hit();
        assert_eq!(backend.count("/gone"), 1);

        proxy.clock().advance(2);
        assert!(!proxy.get("/gone").await.cache().hit);
        assert_eq!(backend.count("/gone"), 2);
        assert_eq!(proxy.pages(), Vec::<String>::new(), "never on disk");
    }
}

#[tokio::test]
async fn it_is_forgotten_by_a_restart() {
    let backend = Backend::with("/gone", missing()).await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.get("/gone").await;
    proxy.get("/gone").await.assert_hit();

    proxy.restart().await;

    assert!(!proxy.get("/gone").await.cache().hit);
    assert_eq!(backend.count("/gone"), 2);
}

#[tokio::test]
async fn it_is_forgotten_by_an_invalidation() {
    let backend = Backend::with("/new", missing()).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/new").await;
    proxy.get("/new").await.assert_hit();
    backend.on("/new", Answer::page("here now"));

    let refreshed = proxy
        .trigger()
        .refresh_matching(&["/new"], Default::default())
        .await
        .expect("the invalidation");

    assert_eq!(refreshed.removed, 1);
    proxy.warm("/new").await.assert(200, "here now");
}

#[tokio::test]
async fn the_time_is_a_setting_and_zero_turns_it_off() {
    let backend = Backend::with("/gone", missing()).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.not_found_ttl = Duration::from_secs(5);
    })
    .await;
    proxy.get("/gone").await;
    proxy.get("/gone").await.assert_hit();
    proxy.clock().advance(6);
    assert!(!proxy.get("/gone").await.cache().hit);

    let backend = Backend::with("/gone", missing()).await;
    let proxy = Proxy::with(&backend, |settings| settings.not_found_ttl = Duration::ZERO).await;
    for round in 1..=3 {
        assert!(!proxy.get("/gone").await.cache().hit);
        assert_eq!(backend.count("/gone"), round);
    }
}

#[tokio::test]
async fn what_the_backend_says_about_it_counts() {
    let backend = Backend::start().await;
    backend.on("/short", missing().with("Cache-Control", "max-age=5"));
    backend.on("/never", missing().with("Cache-Control", "no-store"));
    backend.on("/cookie", missing().with("Set-Cookie", "a=1"));
    let proxy = Proxy::start(&backend).await;
    proxy.get("/short").await;
    proxy.get("/short").await.assert_hit();
    proxy.clock().advance(6);
    assert!(!proxy.get("/short").await.cache().hit);
    for path in ["/never", "/cookie"] {
        for round in 1..=2 {
            assert!(!proxy.get(path).await.cache().hit, "{path}");
            assert_eq!(backend.count(path), round, "{path}");
        }
    }
}

#[tokio::test]
async fn a_page_that_vanishes_takes_its_snapshot_along() {
    let backend = Backend::with("/page", Answer::page("here").with("Cache-Control", "max-age=60")).await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    backend.on("/page", missing());
    proxy.clock().advance(61);

    proxy.get("/page").await.assert(404, "no such page");

    proxy.get("/page").await.assert(404, "no such page").assert_hit();
    proxy.restart().await;
    proxy.get("/page").await.assert(404, "no such page");
}

#[tokio::test]
async fn a_flood_of_missing_pages_does_not_push_out_a_stored_one() {
    let backend = Backend::with("/page", Answer::page("here")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    let mut connection = proxy.client().connect().await;
    for n in 0..2000 {
        connection.send(&get(&format!("/missing/{n}"))).await;
    }
    proxy.get("/page").await.assert(200, "here").assert_hit();
    assert_eq!(proxy.pages().len(), 2);
}

#[tokio::test]
async fn what_an_image_request_is_told_is_not_shown_to_a_visitor_of_the_page() {
    let backend = Backend::start().await;
    backend.on_fn("/thing", |request| {
        let html = request
            .field("accept")
            .is_none_or(|accept| accept.contains("text/html"));
        let (kind, body) = if html {
            ("text/html", "<h1>not found</h1>")
        } else {
            ("application/json", "{\"error\":404}")
        };
        Answer::new(404).with("Content-Type", kind).body(body)
    });
    let proxy = Proxy::start(&backend).await;

    let page = || {
        get("/thing")
            .with("Accept", "text/html,*/*;q=0.8")
            .with("Sec-Fetch-Dest", "document")
    };
    let image = || {
        get("/thing")
            .with("Accept", "image/avif,*/*;q=0.8")
            .with("Sec-Fetch-Dest", "image")
    };
    for _ in 0..2 {
        proxy.send(image()).await;
        proxy.send(page()).await.assert(404, "<h1>not found</h1>");
    }
}
