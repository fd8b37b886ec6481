//! A stored page that must be validated: 304 keeps it, 200 replaces it, a backend that is down leaves it.

use phantom_frame::{Reason, Ttl};
use std::time::Duration;

use crate::rig::{Answer, Backend, Gate, Proxy, Setup, get};

/// Version 1 of a page, with an ETag; a 304 to who has it already.
fn versioned(version: &'static str, cache_control: &'static str) -> impl Fn(&crate::rig::Recorded) -> Answer {
    move |request| {
        let tag = format!("\"{version}\"");
        if request.field("if-none-match") == Some(tag.as_str()) {
            return Answer::new(304)
                .with("ETag", &tag)
                .with("Cache-Control", cache_control);
        }
        Answer::page(format!("version {version}"))
            .with("ETag", &tag)
            .with("Cache-Control", cache_control)
    }
}

#[tokio::test]
async fn a_page_with_no_cache_is_validated_each_time() {
    for cache_control in [
        "no-cache",
        "max-age=0",
        "public, max-age=0, must-revalidate",
        "no-cache, max-age=600",
    ] {
        let backend = Backend::start().await;
        backend.on_fn("/", versioned("1", cache_control));
        let proxy = Proxy::start(&backend).await;
        proxy.get("/").await.assert(200, "version 1").assert_stored();

        for round in 2..=4 {
            let response = proxy.get("/").await;
            response.assert(200, "version 1").assert_revalidated();
            assert_eq!(backend.count("/"), round, "{cache_control}");
            assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
        }
        backend.on_fn("/", versioned("2", cache_control));
        proxy.get("/").await.assert(200, "version 2");
        assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
        proxy.get("/").await.assert(200, "version 2").assert_revalidated();
        assert_eq!(backend.last("/").field("if-none-match"), Some("\"2\""));
    }
}

#[tokio::test]
async fn a_304_makes_an_expired_page_fresh_again() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let body = proxy.body_file("site.test/index.");
    let written = std::fs::metadata(&body).unwrap().modified().unwrap();

    proxy.clock().advance(61);
    proxy.get("/").await.assert(200, "version 1").assert_revalidated();
    let hit = proxy.get("/").await;
    hit.assert_hit();
    assert_eq!((hit.age(), hit.cache().ttl), (Some(0), Some(60)));
    assert_eq!(backend.count("/"), 2);
    assert_eq!(
        std::fs::metadata(&body).unwrap().modified().unwrap(),
        written,
        "a 304 leaves the body file alone"
    );

    // And so it stays over a restart.
    proxy.clock().advance(30);
    proxy.restart().await;
    let hit = proxy.get("/").await;
    hit.assert_hit();
    assert_eq!(hit.age(), Some(30));
}

#[tokio::test]
async fn fields_of_a_304_are_taken_over() {
    let backend = Backend::with(
        "/",
        Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=60")
            .with("X-Version", "old")
            .with("X-Stays", "1"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    backend.on(
        "/",
        Answer::new(304)
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=600")
            .with("X-Version", "new"),
    );
    proxy.clock().advance(61);

    proxy.get("/").await.assert(200, "page").assert_revalidated();

    let hit = proxy.get("/").await;
    hit.assert(200, "page").assert_hit();
    assert_eq!(hit.field("x-version"), Some("new"));
    assert_eq!(hit.field("x-stays"), Some("1"));
    assert_eq!(hit.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(hit.cache().ttl, Some(600));
}

#[tokio::test]
async fn last_modified_validates_where_there_is_no_etag() {
    const MODIFIED: &str = "Mon, 02 Jan 2023 03:04:05 GMT";
    let backend = Backend::start().await;
    backend.on_fn("/", |request| match request.field("if-modified-since") {
        Some(MODIFIED) => Answer::new(304),
        _ => Answer::page("page")
            .with("Last-Modified", MODIFIED)
            .with("Cache-Control", "max-age=60"),
    });
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);

    proxy.get("/").await.assert(200, "page").assert_revalidated();
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn an_etag_of_ours_is_not_sent_to_the_backend() {
    let backend = Backend::with("/", Answer::page("page").with("Cache-Control", "max-age=60")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);

    proxy.get("/").await.assert(200, "page");

    assert!(
        !backend.last("/").fields.has("if-none-match"),
        "{:?}",
        backend.last("/")
    );
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_visitor_s_own_condition_is_judged_after_the_validation() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "no-cache"));
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_stored();

    proxy
        .send(get("/").with("If-None-Match", "\"1\""))
        .await
        .assert(304, "");
    proxy
        .send(get("/").with("If-None-Match", "\"0\""))
        .await
        .assert(200, "version 1");
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn a_backend_that_is_down_leaves_the_stored_page() {
    let mut backend = Backend::start().await;
    backend.on_fn("/no-cache", versioned("1", "no-cache"));
    backend.on_fn("/expired", versioned("1", "max-age=60"));
    backend.on(
        "/without-validator",
        Answer::page("page").with("Cache-Control", "max-age=60"),
    );
    let proxy = Proxy::start(&backend).await;
    let paths = ["/expired", "/without-validator"];
    for path in paths {
        proxy.get(path).await.assert_stored();
    }
    proxy.get("/no-cache").await.assert_stored();
    proxy.clock().advance(61);
    backend.stop().await;

    // RFC 9111 §5.2.2.4 and §4.2.4: no-cache forbids it.
    assert_eq!(proxy.get("/no-cache").await.status, 502);

    for path in paths {
        let response = proxy.get(path).await;
        response.assert_stale();
        assert_eq!(response.status, 200);
        assert!(response.age().is_some_and(|age| age >= 61), "{response:?}");
    }
    assert_eq!(proxy.pages().len(), 6);
    backend.start_again();
    // For a moment it is not asked again.
    proxy.clock().advance(2);
    for path in paths {
        assert_eq!(proxy.get(path).await.status, 200);
        assert!(!proxy.get(path).await.cache().is_stale(), "{path}");
    }
}

#[tokio::test]
async fn must_revalidate_forbids_serving_a_stale_page() {
    for word in ["must-revalidate", "proxy-revalidate"] {
        let mut backend = Backend::with(
            "/",
            Answer::page("page").with("Cache-Control", &format!("max-age=60, {word}")),
        )
        .await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);
        backend.stop().await;

        // RFC 9111 §5.2.2.2: "the cache MUST generate an error response".
        let status = proxy.get("/").await.status;
        assert!(matches!(status, 502 | 504), "{word}: {status}");
    }
}

#[tokio::test]
async fn an_error_instead_of_a_validation_leaves_the_stored_page() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on(
        "/",
        Answer::new(503).with("Content-Type", "text/html").body("sorry"),
    );

    // RFC 9111 §4.3.3: as if there were no answer.
    proxy.get("/").await.assert(200, "version 1").assert_stale();
    proxy.clock().advance(2);
    backend.on_fn("/", versioned("1", "max-age=60"));
    proxy.get("/").await.assert(200, "version 1").assert_revalidated();
}

#[tokio::test]
async fn a_stampede_on_an_expired_page_is_one_validation() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    let held = gate.clone();
    let answer = versioned("1", "max-age=60");
    backend.on_fn("/", move |request| answer(request).held(&held));

    let mut visitors = vec![proxy.client().begin(&get("/")).await];
    gate.arrivals(1).await;
    for _ in 0..49 {
        visitors.push(proxy.client().begin(&get("/")).await);
    }
    gate.open();

    for visitor in visitors {
        visitor.head().await.finish().await.assert(200, "version 1");
    }
    assert_eq!(backend.count("/"), 2);
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_page_that_is_replaced_by_one_that_may_not_be_stored_is_gone() {
    let backend = Backend::with("/", Answer::page("public").with("Cache-Control", "max-age=60")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", Answer::page("private").with("Cache-Control", "private"));

    proxy.get("/").await.assert(200, "private");

    assert!(!proxy.get("/").await.cache().hit);
    backend.on(
        "/",
        Answer::page("public again").with("Cache-Control", "max-age=60"),
    );
    proxy.clock().advance(121);
    // The visitor's own answer opens the question, the next visit stores, the one after it is a hit.
    proxy.get("/").await.assert(200, "public again");
    proxy.get("/").await.assert(200, "public again").assert_stored();
    proxy.get("/").await.assert(200, "public again").assert_hit();
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_no_age_negative_and_no_page_immortal() {
    let backend = Backend::with("/", Answer::page("page").with("Cache-Control", "max-age=60")).await;
    let proxy = Setup::over(&backend)
        .with(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(60)))
        .start()
        .await;
    proxy.warm("/").await;

    proxy.clock().step_back(365 * 24 * 3600);

    let response = proxy.get("/").await;
    assert_eq!(response.status, 200);
    assert!(response.age().is_none_or(|age| age <= 60), "{response:?}");
    // Wherever the clock stands now, the page is not fresh for longer than it said.
    proxy.clock().advance(61);
    proxy.get("/").await;
    proxy.clock().advance(61);
    assert!(!proxy.get("/").await.cache().hit);
}

/// A page that shows the address which HTMX says it is shown at; a 304 shows it as well.
fn showing(request: &crate::rig::Recorded) -> Answer {
    let at = request.field("hx-current-url").unwrap_or("nowhere").to_owned();
    let answer = match request.field("if-none-match") {
        Some(_) => Answer::new(304),
        None => Answer::page(format!("at {at}")),
    };
    answer
        .with("ETag", "\"1\"")
        .with("Cache-Control", "max-age=60")
        .with("X-At", &at)
}

#[tokio::test]
async fn a_field_that_does_not_select_a_page_is_no_part_of_its_validation() {
    let backend = Backend::start().await;
    backend.on_fn("/", showing);
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);

    let evil = get("/").with("HX-Current-URL", "https://evil.test/");
    let response = proxy.send(evil).await;
    response.assert(200, "at https://evil.test/").assert_stored();
    assert!(!backend.last("/").fields.has("if-none-match"));

    let page = proxy.get("/").await;
    page.assert(200, "at nowhere").assert_revalidated();
    assert_eq!(page.field("x-at"), Some("nowhere"));
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
    assert_eq!(backend.count("/"), 3);
}

#[tokio::test]
async fn a_refusal_of_another_variant_takes_nothing_out() {
    let html = |status| Answer::new(status).with("Content-Type", "text/html").body("x");
    for refusal in [
        html(404),
        html(200).with("Cache-Control", "no-store"),
        html(200).with("Vary", "*"),
        html(200).with("Content-Security-Policy", "script-src 'nonce-1'"),
        Answer::page("<input name=_csrf value=x>"),
    ] {
        let backend = Backend::start().await;
        let refused = refusal.clone();
        backend.on_fn("/", move |request| match request.fields.has("hx-target") {
            true => refused.clone(),
            false => showing(request),
        });
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);

        let other = proxy.send(get("/").with("HX-Target", "x")).await;
        assert!(!other.cache().hit, "{other:?}");

        assert_eq!(proxy.pages().len(), 2, "{refusal:?}");
        proxy
            .get("/")
            .await
            .assert(200, "at nowhere")
            .assert_revalidated();
        // The same refusal of the page itself takes it out.
        proxy.clock().advance(61);
        backend.on("/", refusal.clone());
        proxy.get("/").await;
        assert_eq!(proxy.pages(), Vec::<String>::new(), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_304_is_judged_as_a_page_is() {
    for (name, value, reason) in [
        ("Cache-Control", "no-store", Reason::NoStore),
        ("Cache-Control", "private", Reason::Private),
        ("Vary", "*", Reason::VaryStar),
        ("Set-Cookie", "session=1", Reason::SetCookie),
        (
            "Content-Security-Policy",
            "script-src 'nonce-r4nd0m'",
            Reason::Nonce,
        ),
    ] {
        let backend = Backend::start().await;
        backend.on_fn("/", versioned("1", "max-age=60"));
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);
        proxy.get("/").await.assert_revalidated();
        proxy.clock().advance(61);
        backend.on_fn("/", move |request| match request.fields.has("if-none-match") {
            true => Answer::new(304).with("ETag", "\"1\"").with(name, value),
            false => Answer::page("their own"),
        });

        let response = proxy.get("/").await;

        response.assert(200, "their own").assert_not_stored(reason);
        assert_eq!(backend.count("/"), 4, "{name}: {value}");
        assert_eq!(proxy.pages(), Vec::<String>::new(), "{name}: {value}");
        proxy.warm("/").await.assert(200, "their own");
    }
}

#[tokio::test]
async fn a_304_by_which_the_page_varies_anew_has_it_filled_anew() {
    let backend = Backend::start().await;
    backend.on_fn("/", versioned("1", "max-age=60"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    let by_theme = |request: &crate::rig::Recorded| {
        let answer = match request.fields.has("if-none-match") {
            true => Answer::new(304),
            false => Answer::page(request.field("x-theme").unwrap_or("light").to_owned()),
        };
        answer.with("ETag", "\"1\"").with("Vary", "X-Theme")
    };
    backend.on_fn("/", by_theme);

    proxy.get("/").await.assert(200, "light").assert_stored();
    assert_eq!(backend.count("/"), 3);
    assert!(!backend.last("/").fields.has("if-none-match"));
    proxy.get("/").await.assert(200, "light").assert_hit();
    let dark = proxy.send(get("/").with("X-Theme", "dark")).await;
    dark.assert(200, "dark").assert_stored();
}
