//! Cache-Control of requests.

use phantom_frame::Reason;

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Recorded, Response, get, head, request};

fn asking(directives: &str) -> Request {
    get("/").with("Cache-Control", directives)
}

/// A page with an ETag; a 304 to who has it already.
fn validated(cache_control: &'static str) -> impl Fn(&Recorded) -> Answer {
    move |request| {
        let answer = match request.field("if-none-match") {
            Some("\"1\"") => Answer::new(304),
            _ => Answer::page("page"),
        };
        answer.with("ETag", "\"1\"").with("Cache-Control", cache_control)
    }
}

/// A proxy that believes its clients, with a stored page of this age.
async fn trusting(cache_control: &'static str, age: u64) -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.on_fn("/", validated(cache_control));
    let proxy = Proxy::with(&backend, |settings| settings.trust_client_cache_control = true).await;
    proxy.warm("/").await;
    proxy.clock().advance(age);
    (backend, proxy)
}

#[track_caller]
fn assert_detail(response: &Response, reason: Reason) {
    assert_eq!(
        response.cache().detail.as_deref(),
        Some(reason.as_str()),
        "{response:?}"
    );
}

/// Validated, though it was fresh, because the client asked for it.
#[track_caller]
fn assert_demanded(response: &Response) {
    let cache = response.cache();
    assert_eq!(
        (cache.hit, cache.fwd.as_deref(), cache.fwd_status),
        (false, Some("request"), Some(304)),
        "{response:?}"
    );
    assert_detail(response, Reason::ClientDirective);
}

#[tokio::test]
async fn a_client_s_directives_are_ignored_unless_clients_are_believed() {
    let asked_for = [
        "no-cache",
        "no-store",
        "max-age=0",
        "min-fresh=600",
        "max-stale=0",
    ];
    let backend = Backend::start().await;
    backend.on_fn("/", validated("max-age=60"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(30);
    for directive in asked_for {
        proxy
            .send(asking(directive))
            .await
            .assert(200, "page")
            .assert_hit();
    }
    proxy.send(get("/").with("Pragma", "no-cache")).await.assert_hit();
    assert_eq!(backend.count("/"), 1);
    proxy.clock().advance(31);
    proxy.send(asking("max-stale")).await.assert_revalidated();

    let (backend, proxy) = trusting("max-age=60", 30).await;
    for (round, directive) in asked_for.iter().enumerate().take(4) {
        assert!(!proxy.send(asking(directive)).await.cache().hit, "{directive}");
        assert_eq!(backend.count("/"), 2 + round, "{directive}");
        proxy.clock().advance(30);
    }
}

#[tokio::test]
async fn only_if_cached_never_reaches_the_backend() {
    let only = |path: &str| get(path).with("Cache-Control", "Only-If-Cached");
    let backend = Backend::start().await;
    backend.fallback(validated("max-age=60"));
    backend.on_fn("/behind", validated("max-age=60, stale-while-revalidate=600"));
    backend.on(
        "/missing",
        Answer::new(404).with("Content-Type", "text/html").body("no"),
    );
    let proxy = Proxy::with(&backend, |settings| {
        settings.exclude_paths = vec!["/excluded".into()];
    })
    .await;
    for path in ["/", "/behind", "/missing", "/excluded"] {
        let response = proxy.send(only(path)).await;
        response.assert_refused(504, Reason::OnlyIfCached);
        assert_eq!(response.cache().fwd, None, "{response:?}");
    }
    let refused = proxy
        .send(head("/").with("Cache-Control", "only-if-cached"))
        .await;
    refused.assert(504, "");
    let with_cookie = only("/").with("Cookie", "session=1");
    let refused = proxy.send(with_cookie).await;
    refused.assert_refused(504, Reason::OnlyIfCached);
    assert_eq!(backend.total(), 0);

    for path in ["/", "/behind"] {
        proxy.warm(path).await;
        proxy.send(only(path)).await.assert(200, "page").assert_hit();
    }
    proxy.get("/missing").await.assert(404, "no");
    proxy.send(only("/missing")).await.assert(404, "no").assert_hit();
    proxy.clock().advance(61);
    let asked = backend.total();
    for path in ["/", "/missing"] {
        let stale = proxy.send(only(path)).await;
        stale.assert_refused(504, Reason::OnlyIfCached);
    }
    // Who wants nothing of the backend gets the stale page, and has nothing renewed.
    let behind = proxy.send(only("/behind")).await;
    behind.assert(200, "page");
    assert_detail(&behind, Reason::Revalidating);
    assert_eq!(backend.total(), asked);
    proxy.get("/").await.assert_revalidated();
    assert_eq!(backend.total(), asked + 1);
}

#[tokio::test]
async fn only_if_cached_says_nothing_of_a_method_that_changes_something() {
    let backend = Backend::with("/form", Answer::page("done")).await;
    let proxy = Proxy::start(&backend).await;
    let post = request("POST", "/form")
        .with("Content-Length", "0")
        .with("Cache-Control", "only-if-cached");

    proxy
        .send(post)
        .await
        .assert(200, "done")
        .assert_not_stored(Reason::Method);
}

#[tokio::test]
async fn no_cache_has_what_is_stored_validated() {
    let (backend, proxy) = trusting("max-age=60", 1).await;
    proxy.get("/").await.assert_hit();
    let wishes = [
        asking("no-cache"),
        get("/").with("Pragma", "no-cache"),
        get("/")
            .with("Cache-Control", "x")
            .with("Cache-Control", "No-Cache"),
    ];
    for (round, wish) in wishes.into_iter().enumerate() {
        let response = proxy.send(wish).await;
        response.assert(200, "page");
        assert_demanded(&response);
        assert_eq!(backend.count("/"), 2 + round);
        let fill = backend.last("/");
        assert_eq!(fill.field("if-none-match"), Some("\"1\""));
        // A canonical fill carries nothing of the client.
        assert!(!fill.fields.has("cache-control") && !fill.fields.has("pragma"));
    }
    // Pragma counts only where there is no Cache-Control.
    let both = asking("x").with("Pragma", "no-cache");
    proxy.send(both).await.assert_hit();
    let checked = proxy.send(head("/").with("Cache-Control", "no-cache")).await;
    checked.assert(200, "");
    assert_demanded(&checked);
    assert_eq!(backend.last("/").method, "GET");
}

#[tokio::test]
async fn no_cache_brings_a_new_page_for_everybody() {
    let (backend, proxy) = trusting("max-age=60", 1).await;
    backend.on("/", Answer::page("new").with("Cache-Control", "max-age=60"));

    let response = proxy.send(asking("no-cache")).await;

    response.assert(200, "new").assert_stored();
    assert_eq!(response.cache().fwd.as_deref(), Some("request"));
    assert_detail(&response, Reason::ClientDirective);
    proxy.get("/").await.assert(200, "new").assert_hit();
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_fresh_page_stands_in_for_a_validation_that_fails() {
    let (mut backend, proxy) = trusting("max-age=60, must-revalidate", 1).await;
    backend.on("/", Answer::new(503).body("sorry"));
    let response = proxy.send(asking("no-cache")).await;
    response.assert(200, "page").assert_stale();
    assert_eq!(response.cache().ttl, Some(59));
    backend.stop().await;
    proxy.clock().advance(2);
    let response = proxy.send(asking("no-cache")).await;
    response.assert(200, "page").assert_stale();
    // Once it is stale, must-revalidate counts.
    proxy.clock().advance(60);
    assert_eq!(proxy.send(asking("no-cache")).await.status, 502);
}

#[tokio::test]
async fn max_age_and_min_fresh_are_compared_with_the_page_s() {
    for (directives, is_hit) in [
        ("max-age=10", true),
        ("max-age=9", false),
        ("max-age=0", false),
        ("min-fresh=50", true),
        ("min-fresh=51", false),
        ("max-age=10, min-fresh=50", true),
        ("max-age=600, min-fresh=51", false),
    ] {
        let (backend, proxy) = trusting("max-age=60", 10).await;
        let response = proxy.send(asking(directives)).await;
        response.assert(200, "page");
        match is_hit {
            true => drop(response.assert_hit()),
            false => assert_demanded(&response),
        }
        assert_eq!(backend.count("/"), if is_hit { 1 } else { 2 }, "{directives}");
    }
}

#[tokio::test]
async fn max_stale_takes_a_stale_page_where_the_backend_does_not_forbid_it() {
    for (cache_control, directives, is_taken) in [
        ("max-age=60", "max-stale=10", true),
        ("max-age=60", "max-stale", true),
        ("max-age=60", "max-stale=9", false),
        ("max-age=60", "max-stale=10, max-age=69", false),
        ("max-age=60, must-revalidate", "max-stale", false),
        ("max-age=60, proxy-revalidate", "max-stale", false),
        ("s-maxage=60", "max-stale", false),
    ] {
        let (backend, proxy) = trusting(cache_control, 70).await;
        let response = proxy.send(asking(directives)).await;
        response.assert(200, "page");
        match is_taken {
            true => {
                let cache = response.cache();
                assert_eq!((cache.hit, cache.ttl), (true, Some(-10)), "{response:?}");
                assert_detail(&response, Reason::ClientDirective);
            }
            false => drop(response.assert_revalidated()),
        }
        let asked = if is_taken { 1 } else { 2 };
        assert_eq!(backend.count("/"), asked, "{cache_control}; {directives}");
    }
}

#[tokio::test]
async fn who_limits_the_age_waits_for_a_page_that_others_get_stale() {
    let (backend, proxy) = trusting("max-age=60, stale-while-revalidate=30", 61).await;

    let response = proxy.send(asking("max-age=600")).await;

    response.assert(200, "page").assert_revalidated();
    assert_detail(&response, Reason::ClientDirective);
    assert_eq!(backend.count("/"), 2);
    proxy.clock().advance(61);
    let response = proxy.get("/").await;
    assert_detail(&response, Reason::Revalidating);
}

#[tokio::test]
async fn no_store_passes_and_leaves_nothing() {
    let (backend, proxy) = trusting("max-age=60", 1).await;
    backend.fallback(|_| Answer::page("other"));

    let response = proxy.send(asking("no-store")).await;
    response
        .assert(200, "page")
        .assert_not_stored(Reason::ClientDirective);
    assert_eq!(response.cache().fwd.as_deref(), Some("request"));
    // A pass carries the client's fields.
    assert_eq!(backend.last("/").field("cache-control"), Some("no-store"));
    assert_eq!(backend.count("/"), 2);

    let other = get("/other").with("Cache-Control", "no-store");
    proxy.send(other).await.assert_not_stored(Reason::ClientDirective);
    assert_eq!(proxy.stored(), 1);
    proxy.get("/other").await.assert_stored();
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_missing_page_is_asked_for_anew_as_well() {
    let backend = Backend::with("/", Answer::new(404).with("Content-Type", "text/html").body("no")).await;
    let proxy = Proxy::with(&backend, |settings| settings.trust_client_cache_control = true).await;
    proxy.get("/").await.assert(404, "no");
    proxy.clock().advance(10);
    for (directives, is_hit) in [("max-age=10", true), ("max-age=9", false), ("no-cache", false)] {
        let before = backend.count("/");
        let response = proxy.send(asking(directives)).await;
        response.assert(404, "no");
        assert_eq!(response.cache().hit, is_hit, "{directives}: {response:?}");
        let asked = backend.count("/") - before;
        assert_eq!(asked, usize::from(!is_hit), "{directives}");
    }
}
