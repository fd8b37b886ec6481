//! The control server and the proxy under attack: what strangers, pages and panics can do, which is nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get as on_get;
use phantom_frame::control::{ControlOptions, create_control_router_with};
use phantom_frame::{CreateProxyConfig, Reason, RefreshMode};

use crate::rig::{Answer, Backend, Gate, Proxy, Serving, Setup, TestClock, eventually, get, post, request};

/// A proxy with a stored page, and the control server of it.
async fn controlled(options: ControlOptions) -> (Backend, Proxy, Serving) {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;
    let control = Serving::start(create_control_router_with(proxy.trigger(), options)).await;
    (backend, proxy, control)
}

#[tokio::test]
async fn control_paths_on_the_data_port_are_ordinary_requests() {
    let (backend, proxy, control) = controlled(ControlOptions::default()).await;

    for path in ["/healthz", "/readyz"] {
        proxy.get(path).await.assert(200, "page").assert_stored();
        proxy.get(path).await.assert_hit();
        assert_eq!(backend.count(path), 1, "{path}");
    }
    for order in [
        post("/refresh-cache", ""),
        post("/refresh-cache?pattern=/a", "{}"),
    ] {
        proxy.send(order).await.assert_not_stored(Reason::Method);
    }
    proxy.get("/refresh-cache").await.assert_stored();
    assert_eq!(backend.count("/refresh-cache"), 3, "the backend's own address");

    proxy.get("/a").await.assert_hit();
    let order = post("/refresh-cache", "").host("localhost");
    assert_eq!(control.client().send(order).await.status, 200);
    proxy.get("/a").await.assert_stored();
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_invalidate() {
    let (_backend, proxy, control) = controlled(ControlOptions::default()).await;
    let port = control.addr().port();
    let here = format!("localhost:{port}");
    // A form or `fetch` without a preflight, from a page of anywhere.
    for origin in ["https://evil.example", "null", &format!("http://{here}")] {
        let simple = post("/refresh-cache", "{\"pattern\": \"*\"}")
            .host(&here)
            .with("Content-Type", "text/plain")
            .with("Origin", origin);
        assert_eq!(control.client().send(simple).await.status, 403, "{origin}");
    }
    // A name that was pointed here after the page was loaded sends no foreign Origin.
    for host in ["evil.example", &format!("evil.example:{port}"), "[2001:db8::1]"] {
        let rebound = post("/refresh-cache", "").host(host);
        assert_eq!(control.client().send(rebound).await.status, 421, "{host}");
    }
    // An image, a link, a preflight.
    for method in [
        "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PURGE", "post",
    ] {
        let answer = control
            .client()
            .send(request(method, "/refresh-cache").host(&here))
            .await;
        assert_eq!(
            (answer.status, answer.field("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    proxy.get("/a").await.assert_hit();

    assert_eq!(
        control
            .client()
            .send(post("/refresh-cache", "").host(&here))
            .await
            .status,
        200
    );
    proxy.get("/a").await.assert_stored();
}

#[tokio::test]
async fn with_a_token_nothing_else_opens_it() {
    let mut options = ControlOptions::default();
    options.token = Some("s3cret".into());
    let (_backend, proxy, control) = controlled(options).await;
    for host in ["localhost", "127.0.0.1", "evil.example"] {
        for sent in [None, Some("Bearer wrong"), Some("Basic czNjcmV0"), Some("Bearer")] {
            let mut order = post("/refresh-cache", "").host(host);
            if let Some(sent) = sent {
                order = order.with("Authorization", sent);
            }
            let refused = control.client().send(order).await;
            assert_eq!(refused.status, 401, "{host} {sent:?}");
            assert!(
                refused
                    .field("www-authenticate")
                    .is_some_and(|value| value.starts_with("Bearer"))
            );
            assert!(!refused.text().contains("s3cret"), "{refused:?}");
        }
    }
    proxy.get("/a").await.assert_hit();

    let order = post("/refresh-cache", "").with("Authorization", "Bearer s3cret");
    assert_eq!(control.client().send(order).await.status, 200);
    proxy.get("/a").await.assert_stored();
}

#[tokio::test]
async fn an_address_that_only_looks_like_an_endpoint_is_none() {
    let (_backend, proxy, control) = controlled(ControlOptions::default()).await;
    for path in [
        "/..%2frefresh-cache",
        "/%72efresh-cache",
        "//refresh-cache",
        "/refresh-cache/",
        "/refresh-cache/x",
        "/REFRESH-CACHE",
        "/healthz/../refresh-cache",
        "/refresh-cache%00",
        "/refresh-cache;a",
    ] {
        let answer = control.client().send(post(path, "").host("localhost")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    proxy.get("/a").await.assert_hit();
}

#[tokio::test]
async fn bodies_queries_and_patterns_are_bounded() {
    let (_backend, proxy, control) = controlled(ControlOptions::default()).await;
    let order = |body: &str| post("/refresh-cache", body).host("localhost");
    let stars = "*a".repeat(512 * 1024);
    let long = format!("{{\"pattern\": \"/{stars}\"}}");
    assert_eq!(control.client().send(order(&long)).await.status, 413);
    let deep = format!("{{\"pattern\": {}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(control.client().send(order(&deep)).await.status, 400);
    let long = format!("{{\"pattern\": \"/{}\"}}", "a".repeat(9000));
    assert_eq!(control.client().send(order(&long)).await.status, 400);
    let query = format!("/refresh-cache?{}", "pattern=/a&".repeat(1001));
    assert_eq!(
        control
            .client()
            .send(post(&query, "").host("localhost"))
            .await
            .status,
        400
    );
    let head = format!("/refresh-cache?pattern=/{}", "a".repeat(100_000));
    let refused = control
        .client()
        .send(post(&head, "").host("localhost"))
        .await
        .status;
    assert!(matches!(refused, 414 | 431), "{refused}");
    proxy.get("/a").await.assert_hit();
}

#[tokio::test]
async fn patterns_that_nearly_match_long_addresses_take_no_time() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    for n in 0..40 {
        proxy
            .get(&format!("/{}?{n}", "a".repeat(4000)))
            .await
            .assert_stored();
    }
    let control = Serving::start(create_control_router_with(
        proxy.trigger(),
        ControlOptions::default(),
    ))
    .await;
    // Whoever tries all ways to place the stars is not done before the deadline.
    let stars = format!("/{}b", "*a".repeat(4000));
    let body = serde_json::json!({ "patterns": vec![stars; 7] }).to_string();
    let order = post("/refresh-cache", body).host("localhost");
    let answer = control.client().send(order).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("\"removed\":0"), "{answer:?}");
    proxy.get(&format!("/{}?0", "a".repeat(4000))).await.assert_hit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_are_all_in_force_when_they_are_answered() {
    let (backend, proxy, control) = controlled(ControlOptions::default()).await;
    let client = control.client();
    let calls: Vec<_> = (0..200)
        .map(|n| {
            tokio::spawn(async move {
                let order = post(&format!("/refresh-cache?pattern=/{n}&pattern=/a"), "");
                client.send(order.host("localhost")).await.status
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    proxy.get("/a").await.assert(200, "page").assert_stored();
    assert_eq!(backend.count("/a"), 2);
}

#[tokio::test]
async fn a_panic_of_a_key_function_costs_one_request_the_cache() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            assert!(info.path != "/bad", "the key function panics");
            info.path.to_owned()
        })
        .start()
        .await;
    proxy.warm("/good").await;
    let mut connection = proxy.client().connect().await;
    for _ in 0..3 {
        connection
            .send(&get("/bad"))
            .await
            .assert(200, "page")
            .assert_not_stored(Reason::Key);
        connection
            .send(&get("/good"))
            .await
            .assert(200, "page")
            .assert_hit();
    }
    assert_eq!(backend.count("/bad"), 3);
    // Past the cache nobody asks for a key.
    let known = get("/bad").with("Cookie", "session=1");
    connection
        .send(&known)
        .await
        .assert(200, "page")
        .assert_not_stored(Reason::Cookie);
}

#[tokio::test]
async fn a_panic_of_a_handler_behind_it_ends_one_request() {
    async fn panics() -> &'static str {
        panic!("the handler panics")
    }
    let app = Router::new()
        .route("/bad", on_get(panics).post(panics))
        .route("/good", on_get(|| async { "page" }));
    let dir = tempfile::tempdir().unwrap();
    let config = CreateProxyConfig::new("http://unused.test".into()).with_snapshot_dir(dir.path());
    let proxy = phantom_frame::Proxy::in_process(app, config).unwrap();
    let serving = Serving::start(proxy.router()).await;
    let client = serving.client();
    client.get("/good").await.assert_stored();
    let one = client.begin(&get("/bad")).await;
    let other = client.begin(&get("/bad")).await;
    for answer in [one, other] {
        answer
            .head()
            .await
            .finish()
            .await
            .assert_refused(500, Reason::Panic);
    }
    client
        .send(post("/bad", "x"))
        .await
        .assert_refused(500, Reason::Panic);
    client.get("/good").await.assert(200, "page").assert_hit();
    assert_eq!(proxy.snapshot_count(), 1);
    serving.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_fill_ends_that_fill() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("page").held(&gate)).await;
    let clock = TestClock::standing();
    let of_proxy = clock.clone();
    let proxy = Setup::over(&backend)
        .configured(move |config| {
            let clock = of_proxy.clone();
            config.with_clock(phantom_frame::Clock::from_fn(move || {
                assert!(!BROKEN.load(Ordering::SeqCst), "the clock panics");
                clock.now()
            }))
        })
        .start()
        .await;
    let one = proxy.client().begin(&get("/")).await;
    gate.arrivals(1).await;
    BROKEN.store(true, Ordering::SeqCst);
    gate.open();
    let status = one.head().await.status;
    assert!(matches!(status, 500 | 502), "{status}");
    BROKEN.store(false, Ordering::SeqCst);
    proxy.get("/").await.assert(200, "page").assert_stored();
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_panic_of_the_readiness_is_not_ready() {
    let mut options = ControlOptions::default();
    options.ready = std::sync::Arc::new(|| panic!("the readiness panics"));
    let (_backend, _proxy, control) = controlled(options).await;
    let mut connection = control.client().connect().await;
    assert_eq!(connection.send(&get("/readyz")).await.status, 500);
    assert_eq!(connection.send(&get("/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_thousand_fills_wake_nobody() {
    let backend = Backend::with_page("page").await;
    let operations = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = operations.clone();
    let proxy = Setup::over(&backend)
        .with(|settings| settings.durability = phantom_frame::Durability::None)
        .configured(move |config| {
            let counted = counted.clone();
            config.with_disk_faults(std::sync::Arc::new(move |_, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }))
        })
        .start()
        .await;
    let client = proxy.client();
    let mut connection = client.connect().await;
    for n in 0..1000 {
        connection
            .send(&get(&format!("/{}/{n}", n % 10)))
            .await
            .assert_stored();
    }
    let for_fills = operations.load(Ordering::SeqCst);
    // Whatever echoes come, come to an end, and are few.
    eventually("the directory to be quiet", async || {
        let before = operations.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        (operations.load(Ordering::SeqCst) == before).then_some(())
    })
    .await;
    let echoes = operations.load(Ordering::SeqCst) - for_fills;
    assert!(
        echoes < for_fills,
        "{for_fills} operations for fills, {echoes} after them"
    );
    for n in 0..1000 {
        connection
            .send(&get(&format!("/{}/{n}", n % 10)))
            .await
            .assert_hit();
    }
    assert_eq!(backend.total(), 1000);
}

#[tokio::test]
async fn an_invalidation_reaches_variants_heads_errors_and_memos() {
    let backend = Backend::start().await;
    backend.on_fn("/a", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    backend.on("/a/gone", Answer::new(410).body("gone"));
    backend.on("/a/mine", Answer::page("mine").with("Cache-Control", "private"));
    let proxy = Proxy::start(&backend).await;
    let asks = ["de", "fr"].map(|language| get("/a").with("Accept-Language", language));
    for ask in &asks {
        proxy.send(ask.clone()).await;
        proxy.send(ask.clone()).await.assert_hit();
    }
    proxy.get("/a/gone").await;
    assert_eq!(proxy.get("/a/gone").await.cache().fwd, None, "from memory");
    proxy.get("/a/mine").await.assert_not_stored(Reason::Private);

    let removed = proxy
        .trigger()
        .refresh_matching(&["/a*"], RefreshMode::Delete)
        .await
        .unwrap()
        .removed;
    assert!(removed >= 3, "{removed}");

    for ask in &asks {
        assert!(!proxy.send(ask.clone()).await.cache().hit);
    }
    assert!(proxy.get("/a/gone").await.cache().fwd.is_some());
    backend.on("/a/mine", Answer::page("ours"));
    proxy.get("/a/mine").await.assert(200, "ours").assert_stored();
    proxy
        .send(request("HEAD", "/a").with("Accept-Language", "de"))
        .await
        .assert_hit();
}

#[tokio::test]
async fn an_unsafe_request_marks_its_own_address_and_no_neighbour() {
    let stored = ["/a", "/a?x=1", "/ab", "/a/", "/a/b", "/A", "/a*", "/", "/GET:/a"];
    for (method, path, status, marked) in [
        ("POST", "/a", 200, &["/a", "/a?x=1"][..]),
        ("PUT", "/a?x=2", 201, &["/a", "/a?x=1"]),
        ("PATCH", "/a/", 204, &["/a/"]),
        ("DELETE", "/ab", 303, &["/ab"]),
        ("PURGE", "/a/b", 200, &["/a/b"]),
        ("POST", "/a*", 200, &["/a*"]),
        ("POST", "/*", 200, &[]),
        ("POST", "/a", 404, &[]),
        ("DELETE", "/a", 500, &[]),
        ("OPTIONS", "/a", 200, &[]),
    ] {
        let backend = Backend::start().await;
        backend.fallback(move |request| match request.method.as_str() {
            "GET" => Answer::page("page").with("ETag", "\"1\""),
            _ => Answer::new(status),
        });
        let proxy = Proxy::start(&backend).await;
        for path in stored {
            proxy.warm(path).await;
        }
        let asked = request(method, path).with("Content-Length", "0");
        assert_eq!(proxy.send(asked).await.status, status);
        let files = proxy.pages().len();
        assert_eq!(files, 2 * stored.len(), "{method} {path} deletes nothing");
        for path in stored {
            let hit = proxy.get(path).await.cache().hit;
            assert_eq!(hit, !marked.contains(&path), "{path} after {method} ({status})");
        }
    }
}

#[tokio::test]
async fn marks_after_unsafe_requests_can_be_turned_off() {
    for on in [true, false] {
        let backend = Backend::with_page("page").await;
        let proxy = Proxy::with(&backend, move |settings| settings.invalidate_after_unsafe = on).await;
        proxy.warm("/a").await;
        proxy
            .send(post("/a", "x"))
            .await
            .assert_not_stored(Reason::Method);
        assert_eq!(proxy.get("/a").await.cache().hit, !on);
    }
}
