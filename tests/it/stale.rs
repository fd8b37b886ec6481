//! What is served when the backend fails.

use std::time::Duration;

use phantom_frame::{FillMode, Reason, RefreshMode};

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Gate, Proxy, Response, get, head, request};

fn page(cache_control: &str) -> Answer {
    Answer::page("page").with("Cache-Control", cache_control)
}

fn error(status: u16) -> Answer {
    Answer::new(status)
        .with("Content-Type", "text/html")
        .body("sorry")
}

/// A proxy with a stored page that has been stale for so long, of which the backend by now says this.
async fn stale_for(seconds: u64, cache_control: &'static str, answer: Answer) -> (Backend, Proxy) {
    let backend = Backend::with("/", page(cache_control)).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(60 + seconds);
    backend.on("/", answer);
    (backend, proxy)
}

/// The stored page, for this reason.
#[track_caller]
fn assert_stale(response: &Response, reason: Reason) {
    response.assert(200, "page").assert_stale();
    let cache = response.cache();
    assert_eq!(cache.detail.as_deref(), Some(reason.as_str()), "{response:?}");
    assert!(cache.ttl.is_some_and(|ttl| ttl <= 0), "{response:?}");
}

/// The error, handed on.
#[track_caller]
fn assert_error(response: &Response, status: u16) {
    response
        .assert(status, "sorry")
        .assert_not_stored(Reason::ServerError);
}

#[tokio::test]
async fn a_server_error_is_no_answer_where_a_page_is_stored() {
    for status in [500, 502, 503, 504] {
        let (backend, proxy) = stale_for(1, "max-age=60", error(status)).await;

        let response = proxy.get("/").await;
        assert_stale(&response, Reason::ServerError);
        assert_eq!((response.age(), response.cache().ttl), (Some(61), Some(-1)));
        assert_eq!(backend.count("/"), 2, "{status}");

        // And what nothing is stored for is passed on.
        backend.on("/other", error(status));
        assert_error(&proxy.get("/other").await, status);
        backend.on("/", page("max-age=60"));
        proxy.clock().advance(2);
        proxy.get("/").await.assert(200, "page").assert_stored();
    }
}

#[tokio::test]
async fn other_server_errors_are_passed_on_and_leave_the_page() {
    for status in [501, 505, 507] {
        let (_backend, proxy) = stale_for(1, "max-age=60", error(status)).await;

        assert_error(&proxy.get("/").await, status);

        assert_eq!(proxy.stored(), 1);
    }
}

#[tokio::test]
async fn no_server_error_replaces_a_page_or_takes_it_out() {
    for (name, value) in [
        ("Cache-Control", "max-age=600"),
        ("Cache-Control", "no-store"),
        ("Cache-Control", "private"),
        ("Set-Cookie", "session=1"),
        ("Vary", "*"),
        ("Content-Security-Policy", "script-src 'nonce-r4nd0m'"),
    ] {
        for status in [500, 501] {
            let answer = error(status).with(name, value);
            let (backend, proxy) = stale_for(1, "max-age=60", answer.clone()).await;
            proxy.get("/").await;
            assert_eq!(proxy.stored(), 1, "{status} with {name}: {value}");
            proxy.clock().advance(2);
            backend.on("/", Answer::raw([Step::Close]));
            assert_stale(&proxy.get("/").await, Reason::Unreachable);

            // Without a page such an error is judged as ever.
            backend.on("/other", answer);
            proxy.get("/other").await.assert(status, "sorry");
        }
    }
}

#[tokio::test]
async fn a_backend_that_is_away_or_hangs_up_or_is_late_leaves_the_stale_page() {
    let (mut backend, proxy) = stale_for(1, "max-age=60", Answer::raw([Step::Close])).await;
    assert_stale(&proxy.get("/").await, Reason::Unreachable);
    backend.stop().await;
    proxy.clock().advance(2);
    assert_stale(&proxy.get("/").await, Reason::Unreachable);
    assert_stale(&proxy.get("/").await, Reason::Unreachable);

    let (gate, backend) = (Gate::new(), Backend::with("/", page("max-age=60")).await);
    let proxy = Proxy::with(&backend, |settings| {
        settings.response_timeout = Duration::from_millis(200);
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", page("max-age=60").held(&gate));
    assert_stale(&proxy.get("/").await, Reason::Timeout);
    gate.open();
}

#[tokio::test]
async fn a_page_that_demands_validation_is_not_served_for_an_error() {
    for cache_control in [
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "max-age=60, stale-if-error=600, must-revalidate",
        "s-maxage=60",
    ] {
        let (backend, proxy) = stale_for(1, cache_control, error(503)).await;
        // Nor is there a pause: each of them asks.
        for round in 2..=4 {
            assert_error(&proxy.get("/").await, 503);
            assert_eq!(backend.count("/"), round, "{cache_control}");
        }
        backend.on("/", Answer::raw([Step::Close]));
        proxy.get("/").await.assert_refused(502, Reason::Unreachable);
        assert_eq!(proxy.stored(), 1, "{cache_control}");
        backend.on("/", page(cache_control));
        proxy.get("/").await.assert(200, "page").assert_stored();
    }
}

#[tokio::test]
async fn no_cache_is_not_served_for_an_error() {
    let validated = page("no-cache").with("ETag", "\"1\"");
    let backend = Backend::with("/", validated.clone()).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_stored();
    backend.on("/", error(503));

    assert_error(&proxy.get("/").await, 503);

    assert_eq!(proxy.stored(), 1);
}

#[tokio::test]
async fn stale_if_error_ends_on_the_second() {
    for cache_control in [
        "max-age=60, stale-if-error=30",
        "s-maxage=60, stale-if-error=30",
        // Within its window the page answers anyway.
        "max-age=60, stale-while-revalidate=10, stale-if-error=30",
    ] {
        let (_backend, proxy) = stale_for(30, cache_control, error(503)).await;
        assert_stale(&proxy.get("/").await, Reason::ServerError);
        // In the middle of the pause: what may not be served is asked for.
        proxy.clock().advance(1);
        assert_error(&proxy.get("/").await, 503);

        let (_backend, proxy) = stale_for(31, cache_control, Answer::raw([Step::Close])).await;
        proxy.get("/").await.assert_refused(502, Reason::Unreachable);
    }
}

#[tokio::test]
async fn the_operator_s_stale_if_error_takes_the_place_of_the_backend_s() {
    for (cache_control, staleness, is_served) in [
        ("max-age=60", 30, true),
        ("max-age=60", 31, false),
        ("s-maxage=60", 30, true),
        ("max-age=60, stale-if-error=600", 31, false),
        ("max-age=60, must-revalidate", 1, false),
    ] {
        let backend = Backend::with("/", page(cache_control)).await;
        let proxy = Proxy::with(&backend, |settings| {
            settings.stale_if_error = Some(Duration::from_secs(30));
        })
        .await;
        proxy.warm("/").await;
        proxy.clock().advance(60 + staleness);
        backend.on("/", error(503));

        let response = proxy.get("/").await;

        match is_served {
            true => assert_stale(&response, Reason::ServerError),
            false => assert_error(&response, 503),
        }
    }
}

#[tokio::test]
async fn everybody_who_waits_gets_the_stale_page() {
    let gates = [Gate::new(), Gate::new()];
    let hangs_up = Answer::raw([Step::Wait(gates[1].clone()), Step::Close]);
    for (gate, failure) in gates.iter().zip([error(503).held(&gates[0]), hangs_up]) {
        let (backend, proxy) = stale_for(1, "max-age=60", failure).await;
        let mut visitors = vec![proxy.client().begin(&get("/")).await];
        gate.arrivals(1).await;
        for _ in 0..49 {
            visitors.push(proxy.client().begin(&get("/")).await);
        }
        visitors.push(proxy.client().begin(&head("/")).await);
        gate.open();

        for visitor in visitors {
            let response = visitor.head().await.finish().await;
            assert_eq!(response.status, 200, "{response:?}");
            response.assert_stale();
        }
        // A pooled connection that is cut has the request sent once more.
        assert!(backend.count("/") <= 3, "{}", backend.count("/"));
    }
}

#[tokio::test]
async fn a_failing_backend_is_asked_once_in_two_seconds() {
    let (backend, proxy) = stale_for(1, "max-age=60", error(503)).await;
    for asked in 2..=4 {
        for _ in 0..5 {
            assert_stale(&proxy.get("/").await, Reason::ServerError);
            assert_eq!(backend.count("/"), asked);
        }
        proxy.clock().advance(1);
        assert_stale(&proxy.get("/").await, Reason::ServerError);
        assert_eq!(backend.count("/"), asked);
        proxy.clock().advance(1);
    }
    // One page's trouble is not another's.
    backend.on("/other", page("max-age=60"));
    assert_stale(&proxy.get("/").await, Reason::ServerError);
    proxy.warm("/other").await;
    backend.on("/", page("max-age=60"));
    proxy.clock().advance(2);
    proxy.get("/").await.assert(200, "page").assert_stored();
}

#[tokio::test]
async fn an_invalidation_ends_the_pause() {
    let (backend, proxy) = stale_for(1, "max-age=60", error(503)).await;
    assert_stale(&proxy.get("/").await, Reason::ServerError);
    assert_stale(&proxy.get("/").await, Reason::ServerError);
    assert_eq!(backend.count("/"), 2);
    backend.on("/", Answer::page("mended").with("Cache-Control", "max-age=60"));

    let other = proxy.trigger();
    let other = other.refresh_matching(&["/other"], RefreshMode::Stale);
    other.await.expect("the invalidation");
    assert_stale(&proxy.get("/").await, Reason::ServerError);
    let own = proxy.trigger();
    let own = own.refresh_matching(&["/"], RefreshMode::Stale);
    own.await.expect("the invalidation");

    proxy.get("/").await.assert(200, "mended").assert_stored();
}

#[tokio::test]
async fn an_error_that_one_visitor_s_fields_bring_about_does_not_keep_the_page_from_the_others() {
    for (field, mode) in [
        ("RSC", FillMode::Canonical),
        ("Authorization", FillMode::Transparent),
    ] {
        let control = "public, max-age=60";
        let backend = Backend::with("/", page(control)).await;
        let proxy = Proxy::with(&backend, move |settings| settings.fill = mode).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);
        backend.on_fn("/", move |request| match request.fields.has(field) {
            true => error(500),
            false => page(control),
        });

        let odd = proxy.send(get("/").with(field, "1")).await;
        assert_stale(&odd, Reason::ServerError);
        assert!(backend.last("/").fields.has(field), "{field}");

        let other = proxy.get("/").await;
        other.assert(200, "page").assert_stored();
        proxy.get("/").await.assert_hit();
    }
}

#[tokio::test]
async fn a_validation_for_which_there_is_no_room_falls_back_as_well() {
    for failure in [error(503), Answer::raw([Step::Close])] {
        let gate = Gate::new();
        let backend = Backend::with("/", page("max-age=60")).await;
        backend.on("/strict", page("max-age=60, must-revalidate"));
        backend.on("/slow", Answer::page("slow").held(&gate));
        let proxy = Proxy::with(&backend, |settings| settings.max_fills = 1).await;
        proxy.warm("/").await;
        proxy.warm("/strict").await;
        proxy.clock().advance(61);
        let slow = proxy.client().begin(&get("/slow")).await;
        gate.arrivals(1).await;
        proxy
            .get("/")
            .await
            .assert(200, "page")
            .assert_not_stored(Reason::Busy);
        backend.on("/", failure.clone());
        backend.on("/strict", failure);

        proxy.get("/").await.assert(200, "page").assert_stale();
        let asked = backend.count("/");
        proxy.get("/").await.assert(200, "page").assert_stale();
        assert_eq!(
            backend.count("/"),
            asked + 1,
            "a visitor's own request begins no pause"
        );
        assert!(!proxy.get("/strict").await.cache().hit);
        gate.open();
        slow.head().await.finish().await.assert(200, "slow");
    }
}

#[tokio::test]
async fn who_may_only_read_serves_stale_pages_too() {
    let backend = Backend::with("/", page("max-age=60, stale-while-revalidate=600")).await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.stop().await;
    let _lock = proxy.take_lock().await;
    proxy.start_again().await;
    proxy.clock().advance(61);

    // It can renew nothing, so the visitor gets what the backend says.
    proxy
        .get("/")
        .await
        .assert(200, "page")
        .assert_not_stored(Reason::ReadOnly);
    backend.on("/", error(503));
    let response = proxy.get("/").await;
    assert_stale(&response, Reason::ServerError);
    assert_eq!(backend.count("/"), 3);
}

#[tokio::test]
async fn an_unsafe_method_gets_the_error_that_it_has_brought_about() {
    let backend = Backend::with("/search", page("max-age=60")).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into()];
    })
    .await;
    let post = || {
        request("POST", "/search")
            .with("Content-Length", "1")
            .with_body("q")
    };
    proxy.send(post()).await.assert_stored();
    proxy.send(post()).await.assert_hit();
    proxy.clock().advance(61);
    backend.on("/search", error(503));

    proxy.send(post()).await.assert(503, "sorry");

    assert_eq!(backend.count("/search"), 2);
}

#[tokio::test]
async fn an_invalidation_while_a_validation_passes_leaves_no_pause() {
    let (slow, validation) = (Gate::new(), Gate::new());
    let backend = Backend::with("/", page("max-age=60")).await;
    backend.on("/slow", Answer::page("slow").held(&slow));
    let proxy = Proxy::with(&backend, |settings| settings.max_fills = 1).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    let other = proxy.client().begin(&get("/slow")).await;
    slow.arrivals(1).await;
    backend.on("/", error(503).held(&validation));
    let visitor = proxy.client().begin(&get("/")).await;
    validation.arrivals(1).await;

    let own = proxy.trigger();
    let own = own.refresh_matching(&["/"], RefreshMode::Stale);
    own.await.expect("the invalidation");
    backend.on("/", Answer::page("mended"));
    validation.open();
    let first = visitor.head().await.finish().await;
    first.assert(200, "page").assert_stale();

    let next = proxy.get("/").await;
    next.assert(200, "mended").assert_not_stored(Reason::Busy);
    slow.open();
    other.head().await.finish().await.assert(200, "slow");
}

#[tokio::test]
async fn nobody_downstream_takes_an_invalidated_page_for_a_new_one() {
    let expires = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60));
    for (name, value) in [("Cache-Control", "max-age=60"), ("Expires", expires.as_str())] {
        let backend = Backend::with("/", Answer::page("page").with(name, value)).await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(20);
        let own = proxy.trigger();
        let own = own.refresh_matching(&["/"], RefreshMode::Stale);
        own.await.expect("the invalidation");
        backend.on("/", error(503));

        for _ in 0..2 {
            let response = proxy.get("/").await;
            response.assert(200, "page").assert_stale();
            assert!(response.age().is_some_and(|age| age >= 59), "{response:?}");
            if name == "Expires" {
                assert_eq!(response.field("expires"), response.field("date"), "{response:?}");
            }
        }
    }
}
