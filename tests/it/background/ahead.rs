//! Popular pages are renewed before their lifetime is over.

use std::time::Duration;

use super::*;

async fn proxy(backend: &Backend) -> Proxy {
    Proxy::with(backend, |settings| {
        settings.refresh_ahead = Duration::from_secs(10);
    })
    .await
}

/// Waits until the page is renewed: so much of its lifetime is left.
async fn renewed(proxy: &Proxy, ttl: i64) -> Response {
    eventually("the page to be renewed", async || {
        let response = proxy.get("/").await;
        response.assert_hit();
        (response.cache().ttl == Some(ttl)).then_some(response)
    })
    .await
}

#[tokio::test]
async fn a_page_that_is_asked_for_again_is_renewed_in_its_last_seconds() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.clock().advance(1);
    proxy.get("/").await.assert_hit();
    proxy.clock().advance(48);
    assert_eq!(proxy.get("/").await.cache().ttl, Some(11));
    let gate = Gate::new();
    let (held, answer) = (gate.clone(), versioned("1", "max-age=60"));
    backend.on_fn("/", move |request| answer(request).held(&held));

    proxy.clock().advance(1);
    let hit = proxy.get("/").await;
    hit.assert(200, "version 1").assert_hit();
    assert_eq!((hit.cache().ttl, hit.cache().detail), (Some(10), None));
    gate.arrivals(1).await;
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
    for _ in 0..5 {
        proxy.get("/").await.assert_hit();
    }
    assert_eq!(backend.count("/"), 2, "one at a time, and none before");

    gate.open();
    renewed(&proxy, 60).await;
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_page_that_nobody_has_asked_for_since_is_left_alone() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.clock().advance(55);

    // The first to ask since it was stored; the second has it renewed.
    proxy.get("/").await.assert_hit();
    proxy.clock().advance(1);
    proxy.get("/").await.assert_hit();

    renewed(&proxy, 60).await;
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn who_has_a_page_validated_is_nobody_who_asked_for_it_since() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.clock().advance(61);
    proxy.get("/").await.assert_revalidated();
    proxy.clock().advance(55);
    proxy.get("/").await.assert_hit();
    proxy.clock().advance(1);
    proxy.get("/").await.assert_hit();

    renewed(&proxy, 60).await;
    assert_eq!(backend.count("/"), 3);
}

#[tokio::test]
async fn a_page_without_validators_is_fetched_anew() {
    let backend = Backend::with("/", Answer::page("old").with("Cache-Control", "max-age=60")).await;
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.clock().advance(1);
    proxy.get("/").await.assert_hit();
    proxy.clock().advance(50);
    backend.on("/", Answer::page("new").with("Cache-Control", "max-age=60"));

    proxy.get("/").await.assert(200, "old").assert_hit();

    renewed(&proxy, 60).await.assert(200, "new");
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_short_lifetime_is_used_by_half_and_none_is_never_over() {
    for (cache_control, ages, asked) in [
        // Renewed at 2 of 4, not at 1.
        ("max-age=4", [1, 1], 2),
        ("public", [1000, 1_000_000], 1),
    ] {
        let backend = Backend::start().await;
        backend.on_fn("/", versioned("1", cache_control));
        let proxy = proxy(&backend).await;
        proxy.get("/").await.assert_stored();
        for age in ages {
            proxy.clock().advance(age);
            proxy.get("/").await.assert_hit();
        }
        backend.until_count("/", asked).await;
        if asked > 1 {
            renewed(&proxy, 4).await;
        }
        assert_eq!(backend.count("/"), asked, "{cache_control}");
    }
}

#[tokio::test]
async fn a_renewal_ahead_that_fails_is_not_tried_at_every_hit() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60, must-revalidate"));
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.clock().advance(1);
    proxy.get("/").await.assert_hit();
    let gate = Gate::new();
    backend.on("/", Answer::new(500).body("sorry").held(&gate));
    proxy.clock().advance(50);
    proxy.get("/").await.assert_hit();
    gate.arrivals(1).await;
    gate.open();
    for _ in 0..50 {
        proxy.get("/").await.assert_hit();
    }
    assert_eq!(backend.count("/"), 2);

    proxy.clock().advance(2);
    proxy.get("/").await.assert_hit();
    backend.until_count("/", 3).await;
    // When the lifetime is over, what the response demands counts.
    proxy.clock().advance(60);
    proxy.get("/").await.assert(500, "sorry");
}

#[tokio::test]
async fn what_comes_old_from_the_backend_is_not_renewed_at_every_hit() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        versioned("1", "max-age=60")(request).with("Age", "55")
    });
    let proxy = proxy(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.get("/").await.assert_hit();
    proxy.get("/").await.assert_hit();
    backend.until_count("/", 2).await;
    for _ in 0..50 {
        proxy.get("/").await.assert_hit();
    }
    assert_eq!(backend.count("/"), 2);
    proxy.clock().advance(2);
    proxy.get("/").await.assert_hit();
    backend.until_count("/", 3).await;
}

#[tokio::test]
async fn it_is_off_unless_it_is_asked_for() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_stored();
    for _ in 0..59 {
        proxy.clock().advance(1);
        proxy.get("/").await.assert_hit();
    }
    proxy.clock().advance(1);
    proxy.get("/").await.assert_revalidated();
    assert_eq!(backend.count("/"), 2);
}
