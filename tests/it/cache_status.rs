//! Every response says what became of the request, in the words of RFC 9211.

use phantom_frame::Reason;

use crate::rig::client::CacheStatus;
use crate::rig::{Answer, Backend, Proxy, get, head, post};

#[tokio::test]
async fn a_page_s_life_in_words() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Control", "max-age=60")).await;
    let proxy = Proxy::start(&backend).await;

    let miss = proxy.get("/").await;
    // RFC 9211 §2.3: without `fwd-status` the backend's status is the response's.
    assert_eq!(miss.cache().fwd_status.unwrap_or(miss.status), 200, "{miss:?}");
    assert_eq!(
        CacheStatus {
            ttl: None,
            detail: None,
            fwd_status: None,
            ..miss.cache()
        },
        CacheStatus {
            fwd: Some("uri-miss".into()),
            stored: true,
            ..CacheStatus::default()
        },
        "{miss:?}"
    );

    proxy.clock().advance(20);
    let hit = proxy.get("/").await;
    assert_eq!(
        CacheStatus {
            detail: None,
            ..hit.cache()
        },
        CacheStatus {
            hit: true,
            ttl: Some(40),
            ..CacheStatus::default()
        },
        "{hit:?}"
    );
    assert_eq!(hit.age(), Some(20));

    proxy.clock().advance(41);
    let refetched = proxy.get("/").await;
    let cache = refetched.cache();
    assert_eq!(
        (cache.hit, cache.fwd.as_deref(), cache.stored),
        (false, Some("stale"), true),
        "{refetched:?}"
    );
}

#[tokio::test]
async fn a_page_that_is_kept_until_invalidated_has_no_ttl() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let hit = proxy.warm("/").await;

    assert_eq!(hit.cache().ttl, None, "{hit:?}");
    assert_eq!(hit.age(), Some(0));
}

#[tokio::test]
async fn every_response_carries_it() {
    let mut backend = Backend::start().await;
    backend.on("/page", Answer::page("x").with("ETag", "\"1\""));
    backend.on("/private", Answer::page("x").with("Cache-Control", "private"));
    backend.on(
        "/error",
        Answer::new(500).with("Content-Type", "text/html").body("x"),
    );
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    let mut all = Vec::new();
    for request in [
        get("/page"),
        head("/page"),
        get("/page").with("If-None-Match", "\"1\""),
        get("/page").with("Range", "bytes=0-0"),
        get("/page").with("Range", "bytes=7-"),
        get("/private"),
        get("/error"),
        get("/missing"),
        get("/missing"),
        post("/page", ""),
        get("/page").with("Cookie", "session=1"),
    ] {
        all.push(proxy.send(request).await);
    }
    backend.stop().await;
    all.push(proxy.get("/cold").await);
    all.push(proxy.client().raw(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await);
    for response in all {
        let cache = response.cache();
        let known = cache
            .detail
            .as_deref()
            .is_none_or(|detail| Reason::ALL.iter().any(|reason| reason.as_str() == detail));
        assert!(known, "an unknown word: {response:?}");
        if cache.hit {
            assert!(response.age().is_some(), "a hit without Age: {response:?}");
        } else if response.status < 500 || response.text() == "x" {
            assert!(cache.fwd.is_some() || response.status == 400, "{response:?}");
        }
    }
}

#[tokio::test]
async fn the_backend_s_own_cache_status_comes_before_ours() {
    let backend = Backend::with(
        "/",
        Answer::page("x")
            .with("Cache-Status", "inner; hit; ttl=5")
            .with("Cache-Control", "private"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy.get("/").await;

    // RFC 9211 §2: each cache adds its own after those that are nearer to the origin.
    let all = response.fields.all("cache-status").join(", ");
    assert!(all.starts_with("inner; hit; ttl=5, phantom-frame"), "{all}");
    response.assert_not_stored(Reason::Private);
}

#[tokio::test]
async fn the_state_of_somebody_else_s_cache_is_not_repeated_on_hits() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Status", "inner; fwd=miss")).await;
    let proxy = Proxy::start(&backend).await;

    let hit = proxy.warm("/").await;

    assert_eq!(hit.fields.all("cache-status").len(), 1, "{hit:?}");
    assert!(!hit.field("cache-status").unwrap().contains("inner"), "{hit:?}");
}

#[tokio::test]
async fn reasons_are_words_with_advice() {
    for reason in Reason::ALL {
        assert!(!reason.advice().is_empty(), "{}", reason.as_str());
    }
}
