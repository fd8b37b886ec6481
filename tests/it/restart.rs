//! What was a hit is a hit after a restart, at once and without the backend.

use std::fs;
use std::time::Duration;

use phantom_frame::Ttl;

use crate::rig::{Answer, Backend, Proxy, Setup, get, head};

#[tokio::test]
async fn every_page_is_a_hit_after_a_restart_with_the_backend_stopped() {
    let mut backend = Backend::start().await;
    backend.fallback(|request| {
        Answer::page(format!("page {}", request.target))
            .with("ETag", &format!("\"{}\"", request.target))
            .with("Link", "<a>")
            .with("Link", "<b>")
    });
    let mut proxy = Proxy::start(&backend).await;
    let targets: Vec<String> = (0..50)
        .map(|n| format!("/section/{}/page?n={n}", n % 7))
        .collect();
    for target in &targets {
        proxy.warm(target).await;
    }

    backend.stop().await;
    proxy.restart().await;

    for target in &targets {
        let response = proxy.get(target).await;
        response.assert(200, &format!("page {target}")).assert_hit();
        assert_eq!(response.field("etag"), Some(format!("\"{target}\"").as_str()));
        assert_eq!(response.fields.all("link"), ["<a>", "<b>"]);
    }
    proxy.send(head(&targets[0])).await.assert(200, "").assert_hit();
    assert_eq!(backend.total(), targets.len());
}

#[tokio::test]
async fn the_first_request_after_a_restart_is_a_hit_before_the_directory_has_been_scanned() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let mut proxy = Proxy::start(&backend).await;
    for n in 0..300 {
        proxy.get(&format!("/{n}")).await.assert_stored();
    }
    let before = backend.total();

    proxy.restart().await;

    proxy.get("/299").await.assert(200, "/299").assert_hit();
    assert_eq!(backend.total(), before);
}

#[tokio::test]
async fn age_goes_on_over_a_restart() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Control", "max-age=100")).await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(40);

    proxy.restart().await;

    let hit = proxy.get("/").await;
    hit.assert(200, "x").assert_hit();
    assert_eq!((hit.age(), hit.cache().ttl), (Some(40), Some(60)));
    proxy.clock().advance(61);
    assert!(!proxy.get("/").await.cache().hit, "its lifetime is over");
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn a_page_that_expired_while_the_proxy_was_stopped_is_fetched() {
    let backend = Backend::with("/", Answer::page("old")).await;
    let mut proxy = Proxy::with(&backend, |settings| {
        settings.default_ttl = Ttl::For(Duration::from_secs(60));
    })
    .await;
    proxy.warm("/").await;
    proxy.stop().await;
    proxy.clock().advance(61);
    backend.on("/", Answer::page("new"));
    proxy.start_again().await;

    proxy.get("/").await.assert(200, "new");
    proxy.get("/").await.assert(200, "new").assert_hit();
}

#[tokio::test]
async fn another_machine_serves_a_copy_of_the_directory() {
    let mut backend = Backend::with("/page", Answer::page("carried")).await;
    let mut proxy = Proxy::start(&backend).await;
    let etag = proxy.warm("/page").await.field("etag").map(str::to_owned);
    proxy.stop().await;
    backend.stop().await;

    // As rsync without times, or git, would: contents only, and nothing of the process's own.
    let contents = proxy.contents();
    let elsewhere = Setup::over(&backend);
    for (path, bytes) in contents {
        let to = elsewhere.snapshots().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    let elsewhere = elsewhere.start().await;

    let response = elsewhere.get("/page").await;
    response.assert(200, "carried").assert_hit();
    assert_eq!(response.field("etag").map(str::to_owned), etag);
}

#[tokio::test]
async fn variants_survive_a_restart() {
    let mut backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(request.field("accept-language").unwrap_or("none").to_owned())
            .with("Vary", "Accept-Language")
    });
    let mut proxy = Proxy::start(&backend).await;
    for language in ["de", "fr"] {
        proxy
            .send(get("/").with("Accept-Language", language))
            .await
            .assert(200, language);
    }
    backend.stop().await;
    proxy.restart().await;

    for language in ["fr", "de"] {
        proxy
            .send(get("/").with("Accept-Language", language))
            .await
            .assert(200, language)
            .assert_hit();
    }
}

#[tokio::test]
async fn temporaries_of_a_killed_process_are_swept() {
    let backend = Backend::with_page("x").await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.stop().await;
    let left = proxy.dir().join(".phantom/tmp/left-behind");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, "half a page").unwrap();

    proxy.start_again().await;

    proxy.get("/").await.assert_hit();
    crate::rig::eventually("the temporary file to be swept", async || {
        (!left.exists()).then_some(())
    })
    .await;
}
