//! What is stored of answers, and as what: statuses, directives, fields, codings, cookies, sizes, parts.

use std::time::Duration;

use phantom_frame::{FillMode, PathRule, Reason, SetCookie, Settings, Ttl};

use crate::rig::{Answer, Backend, Proxy, Setup, get, head, post};

fn page() -> Answer {
    Answer::page("hello")
}

/// A minute, unless the operator says otherwise.
fn for_a_minute(answer: Answer) -> Answer {
    answer.with("Cache-Control", "max-age=60")
}

#[tokio::test]
async fn any_status_with_a_lifetime_is_stored_for_that_long_known_or_not() {
    let backend = Backend::start().await;
    let proxy = Proxy::start(&backend).await;
    for status in [
        201, 202, 203, 226, 299, 300, 302, 303, 307, 308, 400, 403, 405, 414, 418, 451, 499, 500, 501, 502,
        503, 504, 599,
    ] {
        let path = format!("/{status}");
        let answer = Answer::new(status)
            .with("Content-Type", "text/html")
            .with("Location", "/elsewhere")
            .body("x");
        backend.on(&path, for_a_minute(answer));
        assert_eq!(proxy.warm(&path).await.status, status);
    }
    proxy.clock().advance(61);
    for status in [299, 400, 500, 599] {
        let path = format!("/{status}");
        let response = proxy.get(&path).await;
        assert!(!response.cache().hit, "{response:?}");
        assert_eq!(backend.count(&path), 2, "{status}");
    }
}

#[tokio::test]
async fn what_is_said_to_one_client_alone_is_not_stored_for_any_lifetime() {
    let backend = Backend::with("/", for_a_minute(page())).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    for status in [428, 429, 431, 511] {
        let path = format!("/{status}");
        backend.on(&path, for_a_minute(Answer::new(status).body("not you")));
        for _ in 0..2 {
            proxy.get(&path).await.assert_not_stored(Reason::Status);
        }
    }
}

#[tokio::test]
async fn a_status_that_must_be_understood_is_stored_only_if_it_is() {
    let backend = Backend::start().await;
    let proxy = Proxy::start(&backend).await;
    let with = |status, control: &str| {
        Answer::new(status)
            .with("Content-Type", "text/html")
            .with("Cache-Control", control)
            .body("x")
    };
    backend.on("/known", with(200, "max-age=60, must-understand"));
    proxy.warm("/known").await;
    // Who knows the directive knows that `no-store` is for those who do not.
    backend.on("/both", with(403, "no-store, must-understand, max-age=60"));
    proxy.warm("/both").await;

    backend.on("/unknown", with(599, "max-age=60, must-understand"));
    for _ in 0..2 {
        let response = proxy.get("/unknown").await;
        response.assert_not_stored(Reason::MustUnderstand);
    }
    backend.on("/alone", with(200, "no-store, max-age=60"));
    proxy.get("/alone").await.assert_not_stored(Reason::NoStore);
}

#[tokio::test]
async fn answers_without_content_are_stored_and_served_without_content() {
    let backend = Backend::start().await;
    let proxy = Proxy::start(&backend).await;
    let empty = |status| for_a_minute(Answer::new(status).with("X-End", "1"));
    for (path, status, answer) in [
        ("/no-content", 204, empty(204)),
        ("/reset", 205, empty(205)),
        ("/empty", 200, empty(200)),
        ("/chunked", 200, empty(200).chunked()),
        ("/moved", 301, empty(301).with("Location", "/elsewhere")),
        ("/refused", 403, empty(403)),
    ] {
        backend.on(path, answer);
        let hit = proxy.warm(path).await;
        hit.assert(status, "");
        assert_eq!(hit.field("x-end"), Some("1"), "{path}");
        let of_head = proxy.send(head(path)).await;
        of_head.assert(status, "").assert_hit();
        let length = hit.field("content-length");
        match status {
            // RFC 9110 §8.6: never in a 204.
            204 => assert_eq!(length, None, "{path}"),
            _ => assert_eq!(length, Some("0"), "{path}"),
        }
        assert_eq!(backend.count(path), 1, "{path}");
    }
    let again = get("/empty").with("Range", "bytes=0-1");
    let response = proxy.send(again).await;
    assert!(response.cache().hit && response.body.is_empty(), "{response:?}");
}

#[tokio::test]
async fn a_reset_with_content_is_none() {
    let backend = Backend::with("/", for_a_minute(Answer::new(205))).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    backend.on("/full", for_a_minute(Answer::new(205).body("x")));
    proxy.get("/full").await.assert_not_stored(Reason::Status);
}

#[tokio::test]
async fn fields_are_stored_as_they_came_but_for_those_of_the_connection() {
    let answer = for_a_minute(page())
        .with("Connection", "X-Hop, close")
        .with("X-Hop", "1")
        .with("Keep-Alive", "timeout=5")
        .with("Proxy-Authenticate", "Basic")
        .with("Proxy-Authentication-Info", "x")
        .with("Proxy-Connection", "close")
        .with("Upgrade", "foo")
        .with("Link", "</a>; rel=preload")
        .with("X-Mixed-Case", "Some  Spaces, \"and; quotes\"")
        .with("Link", "</b>; rel=preload")
        .with("X-Empty", "")
        .with("Content-Language", "de-CH");
    let backend = Backend::with("/", answer).await;
    for mode in [FillMode::Canonical, FillMode::Transparent] {
        let proxy = Proxy::with(&backend, move |settings| settings.fill = mode).await;
        let miss = proxy.get("/").await;
        miss.assert_stored();
        let hit = proxy.get("/").await;
        hit.assert_hit();
        for response in [miss, hit] {
            for name in [
                "x-hop",
                "keep-alive",
                "proxy-authenticate",
                "proxy-authentication-info",
                "proxy-connection",
                "upgrade",
            ] {
                assert_eq!(response.field(name), None, "{name}");
            }
            for (name, expected) in [
                ("link", &["</a>; rel=preload", "</b>; rel=preload"][..]),
                ("x-mixed-case", &["Some  Spaces, \"and; quotes\""]),
                ("x-empty", &[""]),
                ("content-language", &["de-CH"]),
                ("cache-control", &["max-age=60"]),
            ] {
                assert_eq!(response.fields.all(name), expected, "{name}");
            }
        }
        assert_eq!(proxy.files_with("timeout=5"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn connection_takes_away_nothing_that_a_page_is_judged_by() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let answer = match request.field("if-none-match") {
            Some(_) => Answer::new(304),
            None => Answer::page(language),
        };
        for_a_minute(answer)
            .with(
                "Connection",
                "Vary, ETag, Content-Encoding, Content-Type, Expires, X-Hop",
            )
            .with("Vary", "Accept-Language")
            .with("ETag", "\"1\"")
            .with("Content-Encoding", "gzip")
            .with("X-Hop", "1")
    });
    let proxy = Proxy::start(&backend).await;
    let reads = |language: &str| {
        get("/")
            .with("Accept-Encoding", "gzip")
            .with("Accept-Language", language)
    };

    proxy.send(reads("de")).await.assert(200, "de").assert_stored();
    proxy.send(reads("fr")).await.assert(200, "fr").assert_stored();
    let hit = proxy.send(reads("de")).await;
    hit.assert(200, "de").assert_hit();
    for (name, expected) in [
        ("vary", Some("Accept-Language")),
        ("etag", Some("\"1\"")),
        ("content-encoding", Some("gzip")),
        ("content-type", Some("text/html; charset=utf-8")),
        ("x-hop", None),
    ] {
        assert_eq!(hit.field(name), expected, "{name}");
    }
    // Who cannot read it does not get it.
    let plain = get("/").with("Accept-Language", "de");
    proxy.send(plain).await.assert_not_stored(Reason::Encoding);
    proxy.clock().advance(61);
    proxy.send(reads("de")).await.assert_revalidated();
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"1\""));
}

#[tokio::test]
async fn a_content_range_on_a_whole_page_says_nothing() {
    let backend = Backend::with("/", for_a_minute(page()).with("Content-Range", "nonsense")).await;
    let proxy = Proxy::start(&backend).await;

    let hit = proxy.warm("/").await;

    hit.assert(200, "hello");
    assert_eq!(hit.field("content-range"), Some("nonsense"));
    let part = proxy.send(get("/").with("Range", "bytes=1-2")).await;
    part.assert(206, "el").assert_hit();
    assert_eq!(part.fields.all("content-range"), ["bytes 1-2/5"]);
}

#[tokio::test]
async fn a_range_of_a_page_that_is_not_stored_passes_and_makes_no_page() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        for_a_minute(match request.field("range") {
            Some(_) => Answer::new(206)
                .with("Content-Type", "text/html")
                .with("Content-Range", "bytes 1-2/5")
                .body("el"),
            None => page(),
        })
    });
    let proxy = Proxy::start(&backend).await;
    for times in 1..=2 {
        let part = proxy.send(get("/").with("Range", "bytes=1-2")).await;
        part.assert(206, "el").assert_not_stored(Reason::Range);
        assert_eq!(backend.last("/").field("range"), Some("bytes=1-2"));
        assert_eq!(backend.count("/"), times);
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());

    proxy.warm("/").await.assert(200, "hello");
    let part = proxy.send(get("/").with("Range", "bytes=1-2")).await;
    part.assert(206, "el").assert_hit();
    assert_eq!(backend.count("/"), 3);
}

#[tokio::test]
async fn the_operator_s_lifetime_stands_in_place_of_the_backend_s() {
    let backend = Backend::start().await;
    for (at, (name, value)) in [
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "max-age=0, must-revalidate"),
        ("Cache-Control", "max-age=600"),
        ("Cache-Control", "s-maxage=5"),
        ("Expires", "0"),
        ("X-Nothing", "1"),
    ]
    .into_iter()
    .enumerate()
    {
        backend.on(&format!("/{at}"), page().with(name, value));
    }
    backend.on("/secret", page().with("Cache-Control", "no-store"));
    backend.on("/mine", page().with("Cache-Control", "private"));
    let moved = Answer::new(302).with("Location", "/elsewhere");
    backend.on("/moved", moved.with("Cache-Control", "no-cache"));
    let proxy = Proxy::with(&backend, |settings| {
        settings.ttl = Some(Ttl::For(Duration::from_secs(60)));
    })
    .await;
    let paths: Vec<String> = (0..6).map(|at| format!("/{at}")).collect();
    for path in &paths {
        let hit = proxy.warm(path).await;
        assert_eq!(hit.cache().ttl, Some(60), "{path}");
    }
    proxy.clock().advance(59);
    for path in &paths {
        proxy.get(path).await.assert_hit();
    }
    proxy.clock().advance(2);
    for path in &paths {
        let over = proxy.get(path).await;
        assert!(!over.cache().hit, "{path}: {over:?}");
    }
    // It says for how long, not whether.
    for (path, reason) in [
        ("/secret", Reason::NoStore),
        ("/mine", Reason::Private),
        ("/moved", Reason::Status),
    ] {
        proxy.get(path).await.assert_not_stored(reason);
    }
}

#[tokio::test]
async fn cookies_that_are_stripped_reach_nobody_from_a_page_that_is_stored() {
    let answer = || {
        for_a_minute(page())
            .with("Set-Cookie", "session=s3cr3t; HttpOnly")
            .with("Set-Cookie", "theme=dark")
    };
    let backend = Backend::start().await;
    backend.fallback(move |_| answer());
    for mode in [FillMode::Canonical, FillMode::Transparent] {
        let proxy = Setup::over(&backend)
            .configured(move |config| {
                let strip = |settings: &mut Settings| settings.set_cookie = SetCookie::Strip;
                config
                    .with(|settings| settings.fill = mode)
                    .with_rule(PathRule::new(["/shop/*"]).with(strip))
            })
            .start()
            .await;

        let miss = proxy.get("/shop/a").await;
        miss.assert(200, "hello").assert_stored();
        let hit = proxy.get("/shop/a").await;
        hit.assert(200, "hello").assert_hit();
        for response in [miss, hit] {
            assert_eq!(response.field("set-cookie"), None, "{mode:?}");
        }
        assert_eq!(proxy.files_with("s3cr3t"), Vec::<String>::new());
        // What passes carries them, and elsewhere nothing is stripped.
        let visitor = get("/shop/a").with("Cookie", "session=1");
        let passed = proxy.send(visitor).await;
        passed.assert_not_stored(Reason::Cookie);
        let posted = proxy.send(post("/shop/a", "x")).await;
        let elsewhere = proxy.get("/other").await;
        elsewhere.assert_not_stored(Reason::SetCookie);
        for response in [passed, posted, elsewhere] {
            assert_eq!(response.fields.all("set-cookie").len(), 2, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_validation_that_sets_a_cookie_is_as_good_as_one_that_does_not_where_they_are_stripped() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let answer = match request.field("if-none-match") {
            Some(_) => Answer::new(304).with("Set-Cookie", "session=1"),
            None => page(),
        };
        for_a_minute(answer).with("ETag", "\"1\"")
    });
    for (set_cookie, stays) in [(SetCookie::Strip, true), (SetCookie::Refuse, false)] {
        let proxy = Proxy::with(&backend, move |settings| settings.set_cookie = set_cookie).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);

        let response = proxy.get("/").await;

        assert_eq!(response.cache().fwd_status == Some(304), stays, "{response:?}");
        assert_eq!(response.field("set-cookie"), None);
    }
}

#[tokio::test]
async fn a_rule_s_sizes_and_numbers_count_for_its_paths_alone() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let body = match request.path().contains("large") {
            true => "0123456789".to_owned(),
            false => language,
        };
        let answer = for_a_minute(Answer::page(body)).with("Vary", "Accept-Language");
        match request.path().contains("chunked") {
            true => answer.chunked(),
            false => answer,
        }
    });
    let proxy = Setup::over(&backend)
        .configured(|config| {
            config.with_rule(PathRule::new(["/small/*"]).with(|settings| {
                settings.max_body = 9;
                settings.max_variants = 1;
            }))
        })
        .start()
        .await;
    for path in ["/large", "/large-chunked", "/small/a"] {
        proxy.warm(path).await;
    }
    proxy
        .get("/small/large")
        .await
        .assert(200, "0123456789")
        .assert_not_stored(Reason::TooLarge);
    for times in 1..=2 {
        let response = proxy.get("/small/large-chunked").await;
        response.assert(200, "0123456789");
        assert!(!response.cache().hit, "{response:?}");
        assert_eq!(backend.count("/small/large-chunked"), times);
    }

    let in_language = |path: &str, language: &str| get(path).with("Accept-Language", language);
    for path in ["/a", "/small/a"] {
        let first = proxy.send(in_language(path, "de")).await;
        first.assert(200, "de").assert_stored();
    }
    proxy.send(in_language("/a", "fr")).await.assert_stored();
    let beyond = proxy.send(in_language("/small/a", "fr")).await;
    beyond.assert(200, "fr").assert_not_stored(Reason::Variants);
}
