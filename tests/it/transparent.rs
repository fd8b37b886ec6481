//! `fill = "transparent"`: a plain RFC 9111 cache, but for who asks.

use phantom_frame::{FillMode, Reason, Settings};

use crate::rig::{Answer, Backend, Gate, Proxy, get};

pub(crate) async fn transparent(backend: &Backend) -> Proxy {
    transparent_with(backend, |_| {}).await
}

pub(crate) async fn transparent_with(backend: &Backend, change: fn(&mut Settings)) -> Proxy {
    Proxy::with(backend, move |settings| {
        settings.fill = FillMode::Transparent;
        change(settings);
    })
    .await
}

#[tokio::test]
async fn the_client_s_fields_arrive_and_its_identity_does_not() {
    let backend = Backend::with_page("x").await;
    let proxy = transparent_with(&backend, |settings| {
        settings.key_cookies = vec!["theme".into()];
    })
    .await;
    let visitor = get("/a?b")
        .with("User-Agent", "Browser/1.0")
        .with("Accept", "application/json")
        .with("Accept-Language", "de-AT, de;q=0.9")
        .with("Accept-Encoding", "gzip, br")
        .with("Referer", "https://search.test/")
        .with("X-Anything", "1")
        .with("X-Anything", "2")
        .with("Cookie", "_ga=1; theme=dark; csrftoken=x")
        .with("If-None-Match", "\"old\"")
        .with("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")
        .with("X-Forwarded-For", "203.0.113.7")
        .with("X-Forwarded-Host", "evil.test")
        .with("Connection", "x-hop")
        .with("X-Hop", "1")
        .with("TE", "trailers");

    proxy.send(visitor).await.assert(200, "x").assert_stored();

    let asked = backend.last("/a");
    for (name, expected) in [
        ("user-agent", Some("Browser/1.0")),
        ("accept", Some("application/json")),
        ("accept-language", Some("de-at,de")),
        ("accept-encoding", Some("identity")),
        ("referer", Some("https://search.test/")),
        ("cookie", Some("theme=dark")),
        ("if-none-match", None),
        ("if-modified-since", None),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("site.test")),
        ("host", Some("site.test")),
        ("x-hop", None),
        ("te", None),
    ] {
        assert_eq!(asked.field(name), expected, "{name}");
    }
    assert_eq!(asked.fields.all("x-anything"), ["1", "2"]);
    assert_eq!(asked.target, "/a?b");
}

#[tokio::test]
async fn who_is_somebody_passes_as_ever() {
    let backend = Backend::with_page("x").await;
    let proxy = transparent(&backend).await;
    proxy.warm("/").await;

    let session = get("/").with("Cookie", "session=1");
    proxy.send(session).await.assert_not_stored(Reason::Cookie);
    let login = get("/").with("Authorization", "Basic x");
    proxy.send(login).await.assert_not_stored(Reason::Authorization);
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_page_is_one_page_whatever_is_sent_unless_vary_names_it() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.field("rsc").unwrap_or("none").to_owned()));
    let proxy = transparent(&backend).await;

    // No field is an axis by itself, and any Accept is looked up.
    let first = get("/").with("RSC", "1").with("Accept", "text/x-component");
    proxy.send(first).await.assert(200, "1").assert_stored();
    let second = get("/").with("RSC", "2").with("Accept", "application/json");
    proxy.send(second).await.assert(200, "1").assert_hit();
    proxy.get("/").await.assert(200, "1").assert_hit();
    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn what_vary_names_tells_pages_apart_the_user_agent_too() {
    for field in ["X-Theme", "User-Agent", "Accept"] {
        let backend = Backend::start().await;
        backend.on_fn("/", move |request| {
            Answer::page(request.field(field).unwrap_or("none").to_owned()).with("Vary", field)
        });
        let proxy = transparent(&backend).await;
        let with = |value: &str| get("/").with(field, value);

        proxy.send(with("a/a")).await.assert(200, "a/a").assert_stored();
        proxy.send(with("b/b")).await.assert(200, "b/b").assert_stored();
        proxy.get("/").await.assert(200, "none").assert_stored();

        // One fetch each: the first answer is the first client's own.
        assert_eq!(backend.count("/"), 3, "{field}");
        for value in ["a/a", "b/b"] {
            proxy.send(with(value)).await.assert(200, value).assert_hit();
        }
        proxy.get("/").await.assert(200, "none").assert_hit();
    }
}

#[tokio::test]
async fn those_who_wait_together_part_when_the_answer_varies() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.on_fn("/", move |request| {
        Answer::page(request.field("x-theme").unwrap_or("none").to_owned())
            .with("Vary", "X-Theme")
            .held(&held)
    });
    let proxy = transparent(&backend).await;
    let first = proxy.client().begin(&get("/").with("X-Theme", "dark")).await;
    backend.until_count("/", 1).await;
    let second = proxy.client().begin(&get("/").with("X-Theme", "light")).await;

    gate.open();

    first.head().await.finish().await.assert(200, "dark");
    second.head().await.finish().await.assert(200, "light");
    let again = get("/").with("X-Theme", "light");
    proxy.send(again).await.assert(200, "light").assert_hit();
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn every_end_to_end_field_of_the_answer_is_kept() {
    let answer = Answer::page("x")
        .with("X-Request-Id", "7")
        .with("Server-Timing", "db;dur=5")
        .with("Via", "1.1 inner")
        .with("Connection", "x-hop")
        .with("X-Hop", "1");
    let backend = Backend::with("/", answer.clone()).await;
    let proxy = transparent(&backend).await;
    let hit = proxy.warm("/").await;
    for (name, expected) in [
        ("x-request-id", Some("7")),
        ("server-timing", Some("db;dur=5")),
        ("via", Some("1.1 inner")),
        ("x-hop", None),
    ] {
        assert_eq!(hit.field(name), expected, "{name}");
    }

    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::start(&backend).await;
    assert_eq!(proxy.warm("/").await.field("x-request-id"), None);
}

#[tokio::test]
async fn an_answer_that_is_not_stored_is_the_client_s_own() {
    let backend = Backend::with_page("x").await;
    let proxy = transparent(&backend).await;
    proxy.warm("/public").await;
    let private = Answer::page("yours").with("Cache-Control", "private");
    backend.on("/", private);

    proxy
        .get("/")
        .await
        .assert(200, "yours")
        .assert_not_stored(Reason::Private);
    assert_eq!(backend.count("/"), 1);
    // Of one who sent a cookie that the fill left out it may not be.
    backend.on("/other", Answer::page("x").with("Cache-Control", "private"));
    let visitor = get("/other").with("Cookie", "_ga=1");
    proxy.send(visitor).await.assert_not_stored(Reason::Private);
    assert_eq!(backend.count("/other"), 2);
    assert_eq!(backend.last("/other").field("cookie"), Some("_ga=1"));
}

#[tokio::test]
async fn what_varies_by_the_client_s_address_is_not_shared() {
    let backend = Backend::with_page("x").await;
    let proxy = transparent(&backend).await;
    proxy.warm("/").await;
    backend.on("/here", Answer::page("x").with("Vary", "X-Forwarded-For"));

    for _ in 0..2 {
        proxy.get("/here").await.assert_not_stored(Reason::VaryStar);
    }
}

#[tokio::test]
async fn the_host_of_a_fill_is_the_key_s() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.field("host").unwrap_or("").to_owned()));
    let proxy = transparent_with(&backend, |settings| {
        settings.public_url = Some("https://site.test".into());
        settings.aliases = vec!["www.site.test".into()];
    })
    .await;

    let asked = proxy.send(get("/").host("www.site.test")).await;
    asked.assert(200, "site.test").assert_stored();
    assert_eq!(backend.last("/").field("x-forwarded-proto"), Some("https"));
    proxy.get("/").await.assert(200, "site.test").assert_hit();
}

#[tokio::test]
async fn a_missing_page_is_remembered_for_those_of_one_class() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let body = match request.field("accept") {
            Some("*/*") => "data",
            _ => "page",
        };
        Answer::new(404).with("Content-Type", "text/html").body(body)
    });
    let proxy = transparent(&backend).await;
    let data = || get("/").with("Accept", "*/*").with("X-Anything", "1");

    proxy.send(data()).await.assert(404, "data").assert_stored();
    proxy.get("/").await.assert(404, "page").assert_stored();

    proxy.send(data()).await.assert(404, "data").assert_hit();
    proxy.get("/").await.assert(404, "page").assert_hit();
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn what_is_compared_as_one_is_sent_as_one() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    let proxy = transparent(&backend).await;
    let with = |value: &str| get("/").with("Accept-Language", value);

    proxy
        .send(with("EN;x=\"<script>\""))
        .await
        .assert(200, "en")
        .assert_stored();
    proxy.send(with("en")).await.assert(200, "en").assert_hit();
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_field_of_the_connection_selects_nothing() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let theme = request.field("x-theme").unwrap_or("none").to_owned();
        Answer::page(theme).with("Vary", "X-Theme")
    });
    let proxy = transparent(&backend).await;
    let dark = || get("/").with("X-Theme", "dark");
    let of_the_connection = || dark().with("Connection", "x-theme");

    proxy
        .send(of_the_connection())
        .await
        .assert(200, "none")
        .assert_stored();
    proxy
        .send(of_the_connection())
        .await
        .assert(200, "none")
        .assert_hit();
    proxy.get("/").await.assert(200, "none").assert_hit();
    proxy.send(dark()).await.assert(200, "dark").assert_stored();
    assert_eq!(backend.count("/"), 2);
}
