//! Renewal behind a visit: stale-while-revalidate and refresh_ahead.

mod ahead;

use std::time::Duration;

use phantom_frame::{PathRule, Reason, RefreshMode};

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Gate, Proxy, Recorded, Response, Setup, eventually, get, head};

const BEHIND: &str = "max-age=60, stale-while-revalidate=30";

/// One version of a page, with an ETag; a 304 to who has it already.
fn versioned(version: &'static str, cache_control: &'static str) -> impl Fn(&Recorded) -> Answer {
    move |request| {
        let tag = format!("\"{version}\"");
        let answer = match request.field("if-none-match") == Some(tag.as_str()) {
            true => Answer::new(304),
            false => Answer::page(format!("version {version}")),
        };
        answer.with("ETag", &tag).with("Cache-Control", cache_control)
    }
}

/// A proxy with a stored page, whose next validation waits at the gate.
async fn with_stored(cache_control: &'static str) -> (Backend, Proxy, Gate) {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", cache_control));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await.assert(200, "version 1");
    let gate = Gate::new();
    let held = gate.clone();
    let answer = versioned("1", cache_control);
    backend.on_fn("/", move |request| answer(request).held(&held));
    (backend, proxy, gate)
}

/// Stale, from what is stored, for this reason.
#[track_caller]
fn assert_behind(response: &Response, reason: Reason) {
    let cache = response.cache();
    assert!(cache.hit && cache.fwd.is_none(), "{response:?}");
    assert!(cache.ttl.is_some_and(|ttl| ttl <= 0), "{response:?}");
    assert_eq!(cache.detail.as_deref(), Some(reason.as_str()), "{response:?}");
}

/// Waits until the page is a hit in good standing.
async fn fresh(proxy: &Proxy) -> Response {
    eventually("the page to be fresh", async || {
        let response = proxy.get("/").await;
        let cache = response.cache();
        (cache.hit && cache.detail.is_none()).then_some(response)
    })
    .await
}

#[tokio::test]
async fn a_stale_page_answers_at_once_and_is_renewed_behind_the_visit() {
    let (backend, proxy, gate) = with_stored(BEHIND).await;
    proxy.clock().advance(61);

    let first = proxy.get("/").await;
    first.assert(200, "version 1");
    assert_behind(&first, Reason::Revalidating);
    assert_eq!((first.age(), first.cache().ttl), (Some(61), Some(-1)));
    gate.arrivals(1).await;
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
    // Nobody waits, and nobody asks again.
    for _ in 0..5 {
        assert_behind(&proxy.get("/").await, Reason::Revalidating);
    }
    let head = proxy.send(head("/")).await;
    head.assert(200, "");
    assert_behind(&head, Reason::Revalidating);
    let part = proxy.send(get("/").with("Range", "bytes=0-6")).await;
    part.assert(206, "version");
    assert_behind(&part, Reason::Revalidating);
    assert_eq!(backend.count("/"), 2);

    gate.open();
    let hit = fresh(&proxy).await;
    assert_eq!((hit.age(), hit.cache().ttl), (Some(0), Some(60)));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_new_page_comes_in_behind_the_visit_too() {
    let backend = Backend::with("/", Answer::page("old").with("Cache-Control", BEHIND)).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", Answer::page("new").with("Cache-Control", BEHIND));

    // A HEAD begins it as well: the page is stored, so nothing is used up that the visitor has not asked for.
    assert_behind(&proxy.send(head("/")).await, Reason::Revalidating);
    fresh(&proxy).await.assert(200, "new");
    assert_eq!(backend.count("/"), 2);
    assert_eq!(backend.last("/").method, "GET");
}

#[tokio::test]
async fn a_variant_is_renewed_as_itself_and_for_nobody() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language)
            .with("Vary", "Accept-Language")
            .with("Cache-Control", BEHIND)
    });
    let proxy = Proxy::start(&backend).await;
    let german = || get("/").with("Accept-Language", "de").with("X-Visitor", "1");
    proxy.send(german()).await.assert(200, "de");
    proxy.send(german()).await.assert_hit();
    proxy.clock().advance(61);
    let before = backend.count("/");

    assert_behind(&proxy.send(german()).await, Reason::Revalidating);

    backend.until_count("/", before + 1).await;
    let renewal = backend.last("/");
    assert_eq!(renewal.field("accept-language"), Some("de"));
    assert!(!renewal.fields.has("x-visitor"));
    eventually("the variant to be fresh", async || {
        let cache = proxy.send(german()).await.cache();
        (cache.hit && cache.detail.is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_window_ends_on_the_second() {
    for (age, is_behind) in [(89, true), (90, true), (91, false)] {
        let (backend, proxy, gate) = with_stored(BEHIND).await;
        gate.open();
        proxy.clock().advance(age);

        let response = proxy.get("/").await;

        response.assert(200, "version 1");
        match is_behind {
            true => assert_behind(&response, Reason::Revalidating),
            false => {
                response.assert_revalidated();
                assert_eq!(backend.count("/"), 2);
            }
        }
        fresh(&proxy).await;
        assert_eq!(backend.count("/"), 2, "{age}");
    }
}

#[tokio::test]
async fn what_demands_validation_is_not_served_stale_meanwhile() {
    for (cache_control, is_behind) in [
        ("s-maxage=60, stale-while-revalidate=30", true),
        ("max-age=60, stale-while-revalidate=30, must-revalidate", false),
        ("max-age=60, stale-while-revalidate=30, proxy-revalidate", false),
        ("max-age=60, stale-while-revalidate=0", false),
        ("max-age=60, stale-if-error=30", false),
        ("s-maxage=60", false),
    ] {
        let (backend, proxy, gate) = with_stored(cache_control).await;
        gate.open();
        proxy.clock().advance(61);

        let response = proxy.get("/").await;

        match is_behind {
            true => assert_behind(&response, Reason::Revalidating),
            false => drop(response.assert_revalidated()),
        }
        fresh(&proxy).await;
        assert_eq!(backend.count("/"), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn the_operator_s_window_takes_the_place_of_the_backend_s() {
    let backend = Backend::start().await;
    for path in ["/none", "/long", "/off", "/strict"] {
        let cache_control = match path {
            "/none" => "max-age=60",
            "/strict" => "max-age=60, must-revalidate",
            _ => "max-age=60, stale-while-revalidate=600",
        };
        backend.on_fn(path, versioned("1", cache_control));
    }
    let proxy = Setup::over(&backend)
        .with(|settings| settings.stale_while_revalidate = Some(Duration::from_secs(30)))
        .configured(|config| {
            let off = PathRule::new(["/off"])
                .with(|settings| settings.stale_while_revalidate = Some(Duration::ZERO));
            config.with_rule(off)
        })
        .start()
        .await;
    for path in ["/none", "/long", "/off", "/strict"] {
        proxy.warm(path).await;
    }
    proxy.clock().advance(90);
    assert_behind(&proxy.get("/none").await, Reason::Revalidating);
    proxy.get("/off").await.assert_revalidated();
    proxy.get("/strict").await.assert_revalidated();
    proxy.clock().advance(1);
    proxy.get("/long").await.assert_revalidated();
}

#[tokio::test]
async fn what_an_operator_invalidated_or_touched_is_validated_first() {
    let (backend, proxy, gate) = with_stored("max-age=60, stale-while-revalidate=600").await;
    gate.open();
    proxy.clock().advance(61);
    assert_behind(&proxy.get("/").await, Reason::Revalidating);
    fresh(&proxy).await;

    proxy
        .trigger()
        .refresh_matching(&["/"], RefreshMode::Stale)
        .await
        .expect("the invalidation");
    proxy.get("/").await.assert_revalidated();

    let (sidecar, _) = proxy.sidecar("site.test/index.");
    let file = std::fs::File::options().write(true).open(sidecar).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    eventually("the file's time to show", async || {
        let response = proxy.get("/").await;
        assert_ne!(
            response.cache().detail.as_deref(),
            Some(Reason::Revalidating.as_str())
        );
        (response.cache().fwd_status == Some(304)).then_some(())
    })
    .await;
    assert_eq!(backend.count("/"), 4);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_page_and_is_not_tried_again_for_two_seconds() {
    let error = |status| {
        Answer::new(status)
            .with("Content-Type", "text/html")
            .body("sorry")
    };
    for (failure, reason) in [
        (error(503), Reason::ServerError),
        (error(500).with("Cache-Control", "no-store"), Reason::ServerError),
        (
            error(502).with("Cache-Control", "max-age=600"),
            Reason::ServerError,
        ),
        (Answer::raw([Step::Close]), Reason::Unreachable),
    ] {
        let (backend, proxy, gate) = with_stored("max-age=60, stale-while-revalidate=600").await;
        gate.open();
        backend.on("/", failure);
        proxy.clock().advance(61);

        assert_behind(&proxy.get("/").await, Reason::Revalidating);
        eventually("the failure to show", async || {
            let cache = proxy.get("/").await.cache();
            (cache.detail.as_deref() == Some(reason.as_str())).then_some(())
        })
        .await;
        // A pooled connection that is cut has the request sent once more.
        let asked = backend.count("/");
        assert!(asked <= if reason == Reason::ServerError { 2 } else { 3 });
        for _ in 0..5 {
            let response = proxy.get("/").await;
            response.assert(200, "version 1");
            assert_behind(&response, reason);
        }
        proxy.clock().advance(1);
        assert_behind(&proxy.get("/").await, reason);
        assert_eq!(backend.count("/"), asked, "{reason:?}");

        proxy.clock().advance(1);
        backend.on_fn("/", versioned("2", BEHIND));
        assert_behind(&proxy.get("/").await, Reason::Revalidating);
        fresh(&proxy).await.assert(200, "version 2");
        assert_eq!(backend.count("/"), asked + 1, "{reason:?}");
    }
}

#[tokio::test]
async fn a_page_that_the_backend_takes_back_is_gone() {
    for answer in [
        Answer::page("theirs").with("Cache-Control", "private"),
        Answer::new(404).with("Content-Type", "text/html").body("gone"),
    ] {
        let (backend, proxy, gate) = with_stored(BEHIND).await;
        gate.open();
        backend.on("/", answer);
        proxy.clock().advance(61);

        let response = proxy.get("/").await;
        response.assert(200, "version 1");
        assert_behind(&response, Reason::Revalidating);

        eventually("the page to be gone", async || {
            (proxy.stored() == 0).then_some(())
        })
        .await;
        assert_ne!(proxy.get("/").await.text(), "version 1");
        assert_eq!(proxy.pages(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_comes_after_the_window_joins_the_renewal_under_way() {
    let (backend, proxy, gate) = with_stored(BEHIND).await;
    proxy.clock().advance(61);
    assert_behind(&proxy.get("/").await, Reason::Revalidating);
    gate.arrivals(1).await;
    proxy.clock().advance(30);

    let mut visitors = Vec::new();
    for _ in 0..10 {
        visitors.push(proxy.client().begin(&get("/")).await);
    }
    gate.open();

    for visitor in visitors {
        let response = visitor.head().await.finish().await;
        response.assert(200, "version 1");
        let cache = response.cache();
        assert_ne!(cache.detail.as_deref(), Some("revalidating"), "{response:?}");
    }
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_renewal_is_not_given_up_for_want_of_readers() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("old").with("Cache-Control", BEHIND)).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.fill_timeout = Duration::from_millis(1);
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    let slow = Answer::page("a new ").wait(&gate).body("page");
    backend.on("/", slow.with("Cache-Control", BEHIND));

    assert_behind(&proxy.get("/").await, Reason::Revalidating);
    gate.arrivals(1).await;
    // However long it takes: much longer than `fill_timeout`.
    for _ in 0..10 {
        assert_behind(&proxy.get("/").await, Reason::Revalidating);
    }
    gate.open();

    fresh(&proxy).await.assert(200, "a new page");
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn shutting_down_waits_for_a_renewal() {
    let (backend, mut proxy, gate) = with_stored(BEHIND).await;
    proxy.clock().advance(61);
    assert_behind(&proxy.get("/").await, Reason::Revalidating);
    gate.arrivals(1).await;

    {
        let mut stop = Box::pin(proxy.stop());
        let early = tokio::time::timeout(Duration::from_millis(100), &mut stop).await;
        assert!(early.is_err(), "the renewal is under way");
        gate.open();
        stop.await;
    }

    proxy.start_again().await;
    let hit = proxy.get("/").await;
    hit.assert_hit();
    assert_eq!((hit.age(), hit.cache().detail), (Some(0), None));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_renewal_takes_a_permit_or_waits_for_another_visit() {
    let (backend, other) = (Backend::start().await, Gate::new());
    backend.on_fn("/", versioned("1", BEHIND));
    backend.on("/slow", Answer::page("slow").held(&other));
    let proxy = Proxy::with(&backend, |settings| settings.max_fills = 1).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    let slow = proxy.client().begin(&get("/slow")).await;
    other.arrivals(1).await;

    let response = proxy.get("/").await;
    response.assert(200, "version 1");
    assert_behind(&response, Reason::Busy);
    assert_eq!(backend.count("/"), 1);

    other.open();
    slow.head().await.finish().await.assert(200, "slow");
    fresh(&proxy).await;
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_renewal_that_an_invalidation_overtakes_is_not_kept() {
    let (backend, proxy, gate) = with_stored(BEHIND).await;
    proxy.clock().advance(61);
    assert_behind(&proxy.get("/").await, Reason::Revalidating);
    gate.arrivals(1).await;

    proxy.trigger().refresh().await.expect("the invalidation");
    backend.on_fn("/", versioned("2", BEHIND));
    proxy.get("/").await.assert(200, "version 2").assert_stored();
    gate.open();

    proxy.get("/").await.assert(200, "version 2").assert_hit();
    assert_eq!(backend.count("/"), 3);
}

/// A POST that somebody has named is not safe: it is never sent behind anybody's back.
#[tokio::test]
async fn a_method_that_is_not_safe_is_not_sent_behind_a_visit() {
    let backend = Backend::with("/search", Answer::page("found").with("Cache-Control", BEHIND)).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into()];
    })
    .await;
    let post = || {
        crate::rig::request("POST", "/search")
            .with("Content-Length", "1")
            .with_body("q")
    };
    proxy.send(post()).await.assert_stored();
    proxy.send(post()).await.assert_hit();
    proxy.clock().advance(61);

    let response = proxy.send(post()).await;
    response.assert(200, "found");
    assert!(!response.cache().hit, "{response:?}");
    assert_eq!(backend.count("/search"), 2);
}
