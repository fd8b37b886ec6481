//! What clients are told: fields taken away, added, and the Cache-Control of stored pages.

use std::time::Duration;

use phantom_frame::{PathRule, Reason, Ttl};

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Gate, Proxy, Recorded, Response, Setup, get, head, post};

const ASK_EACH_TIME: &str = "public, max-age=0, must-revalidate";

#[track_caller]
fn told(response: &Response, name: &str) -> Option<String> {
    let lines = response.fields.all(name);
    assert!(lines.len() <= 1, "one line of {name}: {response:?}");
    lines.first().map(|line| (*line).to_owned())
}

#[track_caller]
fn assert_cache_control(response: &Response, expected: Option<&str>) {
    assert_eq!(
        told(response, "cache-control").as_deref(),
        expected,
        "{response:?}"
    );
}

#[tokio::test]
async fn a_page_that_says_nothing_is_to_be_asked_for_each_time() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("page").wait(&gate).body("!")).await;
    let proxy = Proxy::start(&backend).await;

    // The fill, whoever waits for it, and what is stored then say the same.
    let (client, other) = (proxy.client(), proxy.client());
    let first = client.open(get("/")).await;
    let second = other.open(get("/")).await;
    gate.open();
    let (first, second) = (first.finish().await, second.finish().await);
    first.assert(200, "page!").assert_stored();
    second.assert_collapsed();
    let hit = proxy.get("/").await;
    hit.assert_hit();
    for response in [&first, &second, &hit] {
        assert_cache_control(response, Some(ASK_EACH_TIME));
    }
    let etag = hit.field("etag").expect("a tag of ours").to_owned();
    let unchanged = proxy.send(get("/").with("If-None-Match", &etag)).await;
    unchanged.assert(304, "").assert_hit();
    assert_cache_control(&unchanged, Some(ASK_EACH_TIME));
    let part = proxy.send(get("/").with("Range", "bytes=0-1")).await;
    part.assert(206, "pa").assert_hit();
    assert_cache_control(&part, Some(ASK_EACH_TIME));
    assert_cache_control(proxy.send(head("/")).await.assert_hit(), Some(ASK_EACH_TIME));
    assert_eq!(backend.count("/"), 1);
    let (_, sidecar) = proxy.sidecar("site.test/index.");
    assert!(!sidecar.contains("cache-control"), "{sidecar}");
}

#[tokio::test]
async fn what_the_backend_says_to_clients_is_passed_on() {
    let backend = Backend::start().await;
    for (path, name, value) in [
        ("/control", "Cache-Control", "public, max-age=60"),
        ("/bare", "Cache-Control", "public"),
        ("/no-cache", "Cache-Control", "no-cache"),
        ("/expires", "Expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ] {
        let answer = Answer::page("page").with("ETag", "\"1\"").with(name, value);
        backend.on(path, answer.with("Surrogate-Control", "max-age=9"));
    }
    let proxy = Proxy::start(&backend).await;
    for (path, expected) in [
        ("/control", Some("public, max-age=60")),
        ("/bare", Some("public")),
        ("/no-cache", Some("no-cache")),
        ("/expires", None),
    ] {
        for round in 0..2 {
            let response = proxy.get(path).await;
            // What is to be validated each time comes anew from a backend that knows no 304.
            let comes_anew = round == 0 || path == "/no-cache";
            assert_eq!(response.cache().stored, comes_anew, "{response:?}");
            assert_cache_control(&response, expected);
            assert_eq!(told(&response, "surrogate-control").as_deref(), Some("max-age=9"));
            assert_eq!(response.fields.has("expires"), path == "/expires");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_stored_keeps_its_word() {
    let backend = Backend::start().await;
    backend.on(
        "/private",
        Answer::page("page").with("Cache-Control", "private, max-age=9"),
    );
    backend.on("/cookie", Answer::page("page").with("Set-Cookie", "a=b"));
    backend.fallback(|_| Answer::page("page"));
    let proxy = Proxy::with(&backend, |settings| {
        settings.client_cache_control = Some("max-age=7".into());
    })
    .await;
    assert_cache_control(proxy.get("/stored").await.assert_stored(), Some("max-age=7"));
    for _ in 0..2 {
        let response = proxy.get("/private").await;
        response.assert_not_stored(Reason::Private);
        assert_cache_control(&response, Some("private, max-age=9"));
        let response = proxy.get("/cookie").await;
        response.assert_not_stored(Reason::SetCookie);
        assert_cache_control(&response, None);
    }
    let somebody = get("/stored").with("Cookie", "session=1");
    assert_cache_control(proxy.send(somebody).await.assert_not_stored(Reason::Cookie), None);
    assert_cache_control(
        proxy
            .send(post("/stored", ""))
            .await
            .assert_not_stored(Reason::Method),
        None,
    );
}

#[tokio::test]
async fn client_cache_control_takes_the_place_of_what_the_backend_says() {
    let backend = Backend::start().await;
    backend.fallback(|_| {
        Answer::page("page")
            .with("Cache-Control", "public")
            .with("Cache-Control", "max-age=60")
            .with("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")
            .with("CDN-Cache-Control", "max-age=60")
    });
    let rule = |control: &str| {
        let control = control.to_owned();
        PathRule::new(["/a/*"]).with(move |settings| settings.client_cache_control = Some(control.clone()))
    };
    let with = |control| Setup::over(&backend).configured(move |config| config.with_rule(rule(control)));
    let mut before = with("max-age=7, immutable").start().await;
    for path in ["/a/1", "/a/2"] {
        let hit = before.warm(path).await;
        assert_cache_control(&hit, Some("max-age=7, immutable"));
        assert_eq!(hit.field("expires"), None);
        assert_eq!(hit.field("cdn-cache-control"), Some("max-age=60"));
        assert_eq!(
            hit.cache().ttl,
            Some(60),
            "for the cache itself the backend's word counts"
        );
        let tag = hit.field("etag").expect("a tag").to_owned();
        let unchanged = before.send(get(path).with("If-None-Match", &tag)).await;
        unchanged.assert(304, "");
        assert_cache_control(&unchanged, Some("max-age=7, immutable"));
        assert_eq!(unchanged.field("expires"), None);
    }
    let other = before.warm("/b").await;
    assert_eq!(other.fields.all("cache-control"), ["public", "max-age=60"]);
    assert!(other.fields.has("expires"));

    // Nothing of it is stored: another word is told of the same files.
    let contents = before.contents();
    before.stop().await;
    let after = with("no-cache").dir_of(&before).start().await;
    let hit = after.get("/a/1").await;
    hit.assert_hit();
    assert_cache_control(&hit, Some("no-cache"));
    assert_eq!(after.contents(), contents);
}

#[tokio::test]
async fn a_lifetime_in_place_of_the_backend_s_leaves_clients_its_word() {
    let backend = Backend::with_page("page").await;
    backend.on("/said", Answer::page("page").with("Cache-Control", "max-age=5"));
    let proxy = Proxy::with(&backend, |settings| {
        settings.ttl = Some(Ttl::For(Duration::from_secs(600)));
    })
    .await;
    let said = proxy.warm("/said").await;
    assert_eq!(said.cache().ttl, Some(600));
    assert_cache_control(&said, Some("max-age=5"));
    assert_cache_control(&proxy.warm("/unsaid").await, Some(ASK_EACH_TIME));
}

#[tokio::test]
async fn a_missing_page_in_memory_is_to_be_asked_for_each_time() {
    let backend = Backend::start().await;
    let proxy = Proxy::start(&backend).await;
    for is_stored in [true, false] {
        let response = proxy.get("/gone").await;
        assert_eq!((response.status, response.cache().stored), (404, is_stored));
        assert_cache_control(&response, Some(ASK_EACH_TIME));
    }
    assert_eq!(backend.count("/gone"), 1);
}

#[tokio::test]
async fn what_is_said_of_pages_is_not_said_of_errors() {
    let forever = "public, max-age=31536000, immutable";
    let backend = Backend::start().await;
    backend.on("/there", Answer::page("page"));
    backend.on("/denied", Answer::new(403).with("Cache-Control", "max-age=60"));
    let proxy = Proxy::with(&backend, move |settings| {
        settings.client_cache_control = Some(forever.into());
    })
    .await;
    for (path, status, expected) in [
        ("/there", 200, forever),
        ("/gone", 404, ASK_EACH_TIME),
        ("/denied", 403, "max-age=60"),
    ] {
        for is_stored in [true, false] {
            let response = proxy.get(path).await;
            assert_eq!((response.status, response.cache().stored), (status, is_stored));
            assert_cache_control(&response, Some(expected));
        }
        assert_eq!(backend.count(path), 1);
    }
}

#[tokio::test]
async fn a_stale_page_and_one_that_was_validated_are_told_of_the_same() {
    let mut backend = Backend::start().await;
    backend.fallback(|request: &Recorded| match request.field("if-none-match") {
        Some("\"1\"") => Answer::new(304),
        _ => Answer::page("page").with("ETag", "\"1\""),
    });
    let proxy = Proxy::with(&backend, |settings| {
        settings.default_ttl = Ttl::For(Duration::from_secs(60));
        settings.strip_headers = vec!["ETag".into()];
    })
    .await;
    assert_cache_control(&proxy.warm("/").await, Some(ASK_EACH_TIME));
    proxy.clock().advance(61);
    let validated = proxy.get("/").await;
    validated.assert_revalidated();
    assert_cache_control(&validated, Some(ASK_EACH_TIME));
    proxy.clock().advance(61);
    backend.stop().await;
    let stale = proxy.get("/").await;
    stale.assert_stale();
    assert_cache_control(&stale, Some(ASK_EACH_TIME));
    for response in [&validated, &stale] {
        assert_eq!(response.field("etag"), None);
    }
}

/// Takes `X-Powered-By` away and says `X-Frame-Options` and two links.
fn shaped(backend: &Backend) -> Setup {
    Setup::over(backend).with(|settings| {
        settings.strip_headers = vec!["X-Powered-By".into(), "Server".into()];
        settings.add_headers = vec![
            "X-Frame-Options: DENY".into(),
            "Link: </a>; rel=preload".into(),
            "link:</b>".into(),
        ];
    })
}

#[track_caller]
fn assert_shaped(response: &Response) {
    assert_eq!(response.field("x-powered-by"), None, "{response:?}");
    assert_eq!(response.field("server"), None, "{response:?}");
    assert_eq!(response.fields.all("x-frame-options"), ["DENY"], "{response:?}");
    assert_eq!(
        response.fields.all("link"),
        ["</a>; rel=preload", "</b>"],
        "{response:?}"
    );
}

#[tokio::test]
async fn fields_go_and_come_in_every_answer_of_the_backend() {
    let mut backend = Backend::start().await;
    backend.fallback(|request| {
        let status = if request.path() == "/error" { 500 } else { 200 };
        Answer::new(status)
            .with("Content-Type", "text/html")
            .with("X-Powered-By", "1")
            .with("X-Powered-By", "2")
            .with("Server", "backend")
            .with("X-Frame-Options", "ALLOWALL")
            .with("Link", "</c>")
            .body("page")
    });
    let proxy = shaped(&backend).start().await;
    let miss = proxy.get("/").await;
    miss.assert_stored();
    let hit = proxy.get("/").await;
    hit.assert_hit();
    let tag = hit.field("etag").expect("a tag").to_owned();
    let unchanged = proxy.send(get("/").with("If-None-Match", &tag)).await;
    unchanged.assert(304, "");
    let passed = proxy.send(get("/").with("Cookie", "session=1")).await;
    passed.assert_not_stored(Reason::Cookie);
    let posted = proxy.send(post("/", "x")).await;
    posted.assert_not_stored(Reason::Method);
    let error = proxy.get("/error").await;
    error.assert_not_stored(Reason::ServerError);
    for response in [&miss, &hit, &unchanged, &passed, &posted, &error] {
        assert_shaped(response);
    }
    // They are stored as they came.
    let (_, sidecar) = proxy.sidecar("site.test/index.");
    assert!(
        sidecar.contains("x-powered-by") && sidecar.contains("ALLOWALL"),
        "{sidecar}"
    );
    assert!(!sidecar.contains("DENY"), "{sidecar}");

    // Our own answers are ours.
    backend.stop().await;
    let failed = proxy.get("/new").await;
    failed.assert_refused(502, Reason::Unreachable);
    let refused = proxy.client().raw(b"GET / HTTP/1.1\r\n\r\n").await;
    refused.assert_refused(400, Reason::BadRequest);
    for response in [&failed, &refused] {
        assert_eq!(response.field("x-frame-options"), None, "{response:?}");
        assert_cache_control(response, Some("no-store"));
    }
}

#[tokio::test]
async fn a_tunnel_is_left_alone() {
    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\
         X-Powered-By: 1\r\n\r\n";
    let backend = Backend::with("/ws", Answer::raw([Step::Send(AGREED.into()), Step::Echo])).await;
    backend.on("/refused", Answer::page("no").with("X-Powered-By", "1"));
    let proxy = shaped(&backend).start().await;
    let upgrade = |path| get(path).with("Connection", "Upgrade").with("Upgrade", "echo");
    let exchange = proxy.client().open(upgrade("/ws")).await;
    assert_eq!(
        (exchange.status, exchange.field("x-powered-by")),
        (101, Some("1"))
    );
    assert_eq!(exchange.field("x-frame-options"), None);
    let refused = proxy.send(upgrade("/refused")).await;
    refused.assert(200, "no");
    assert_shaped(&refused);
}

#[tokio::test]
async fn what_clients_are_told_may_be_a_rule_s() {
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("page").with("X-A", "1").with("X-B", "1"));
    let rule = PathRule::new(["/a"]).with(|settings| {
        settings.strip_headers = vec!["X-B".into()];
        settings.add_headers = vec!["X-C: rule".into()];
    });
    let proxy = Setup::over(&backend)
        .with(|settings| {
            settings.strip_headers = vec!["X-A".into()];
            settings.add_headers = vec!["X-C: server".into()];
        })
        .configured(move |config| config.with_rule(rule.clone()))
        .start()
        .await;
    for (path, a, b, c) in [
        ("/a", Some("1"), None, Some("rule")),
        ("/b", None, Some("1"), Some("server")),
    ] {
        let hit = proxy.warm(path).await;
        assert_eq!(
            (hit.field("x-a"), hit.field("x-b"), hit.field("x-c")),
            (a, b, c),
            "{path}"
        );
    }
}

#[tokio::test]
async fn even_our_own_field_may_be_taken_away() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.strip_headers = vec!["Cache-Status".into()]
    })
    .await;
    for _ in 0..2 {
        let response = proxy.get("/").await;
        response.assert(200, "page");
        assert_eq!(response.field("cache-status"), None);
    }
    assert_eq!(backend.count("/"), 1);
}
