//! Whoever comes first, the backend is asked the same and the files are the same.

use std::time::Duration;

use phantom_frame::{Reason, Settings};

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Setup, eventually, get, head, post};

/// A backend that shows on the page all that it is told, and answers by language, class and framework.
async fn echo() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let all = String::from_utf8_lossy(&request.raw_head).into_owned();
        match request.path() {
            "/missing" => Answer::new(404).with("Content-Type", "text/html").body(all),
            "/languages" => Answer::page(all).with("Vary", "Accept-Language"),
            _ => Answer::page(all),
        }
    });
    backend
}

/// A visitor like no other.
fn decorated(request: Request, name: &str) -> Request {
    request
        .with("User-Agent", &format!("{name}/1.0"))
        .with("Cookie", &format!("_ga={name}; _fbp={name}"))
        .with("Accept-Encoding", "gzip, br")
        .with("Referer", &format!("https://{name}.test/"))
        .with("X-Forwarded-For", "203.0.113.7")
        .with("X-Forwarded-Host", &format!("{name}.test"))
        .with("X-Forwarded-Proto", "https")
        .with("X-Original-URL", &format!("/{name}"))
        .with("X-HTTP-Method-Override", "DELETE")
        .with("X-Anything", name)
        .with("If-None-Match", &format!("\"{name}\""))
        .with("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")
        .with("Cache-Control", "no-cache")
        .with("TE", "trailers")
        .with("Connection", "te, x-anything")
}

/// Shows that two visitors, each of them first, cause the same requests and the same files.
async fn are_one(
    what: &str,
    fills: usize,
    settings: fn(&mut Settings),
    visitors: [fn() -> Request; 2],
) -> Vec<String> {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, settings).await;
    let mut seen = Vec::new();
    for (visitor, name) in visitors.into_iter().zip(["first", "second"]) {
        let before = backend.total();
        let response = proxy.send(decorated(visitor(), name)).await;
        assert!(
            response.cache().stored,
            "{what}: {name} should have filled: {response:?}"
        );
        if response.status == 200 {
            // The page of nobody too, for which a visitor of another variant does not wait.
            eventually("all that was filled to be on disk", async || {
                let pages = proxy.pages();
                let bodies = pages.iter().filter(|file| file.ends_with(".html"));
                (bodies.count() == fills).then_some(())
            })
            .await;
        }
        let heads: Vec<_> = backend.requests()[before..]
            .iter()
            .map(|request| String::from_utf8_lossy(&request.raw_head).into_owned())
            .collect();
        seen.push((heads, proxy.contents()));
        proxy.trigger().refresh().await.expect("the invalidation");
    }
    assert_eq!(seen[0], seen[1], "{what}");
    let (heads, _) = seen.remove(0);
    assert_eq!(heads.len(), fills, "{what}: {heads:?}");
    heads
}

#[tokio::test]
async fn the_same_page_is_asked_for_whoever_comes_first() {
    let none = |_: &mut Settings| {};
    are_one("a page", 1, none, [|| get("/"), || get("/")]).await;
    are_one("a query", 1, none, [|| get("/a?b=1&c"), || get("/a?b=1&c")]).await;
    are_one(
        "accept",
        1,
        none,
        [
            || get("/").with("Accept", "text/html"),
            || get("/").with("Accept", "image/avif,*/*;q=0.8"),
        ],
    )
    .await;
    are_one(
        "a framework's navigation",
        1,
        none,
        [
            || get("/").with("RSC", "1").with("Accept", "*/*"),
            || get("/").with("Rsc", "1").with("Sec-Fetch-Dest", "empty"),
        ],
    )
    .await;
    are_one(
        "parameters that are ignored",
        1,
        |settings| settings.ignore_query = vec!["utm_*".into()],
        [|| get("/?utm_source=a&b=1"), || get("/?b=1&utm_medium=c")],
    )
    .await;
    are_one(
        "a cookie of the key",
        1,
        |settings| settings.key_cookies = vec!["theme".into()],
        [
            || get("/").with("Cookie", "theme=dark; _gid=1"),
            || get("/").with("Cookie", "_gid=2; theme=dark"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_head_request_fills_nothing() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;

    let passed = proxy.send(decorated(head("/a?b"), "first")).await;

    passed.assert_not_stored(Reason::Method);
    assert_eq!(backend.last("/a").method, "HEAD");
    assert_eq!(backend.count("/a"), 1);
    proxy.get("/a?b").await.assert_stored();
    let for_get = backend.last("/a").raw_head;
    proxy.send(decorated(head("/a?b"), "second")).await.assert_hit();
    // What is stored is validated, in the same words.
    proxy
        .trigger()
        .refresh_matching(&["/a*"], phantom_frame::RefreshMode::Stale)
        .await
        .expect("the invalidation");
    proxy.send(decorated(head("/a?b"), "third")).await.assert_stored();
    assert_eq!(backend.last("/a").raw_head, for_get);
    assert_eq!(backend.count("/a"), 3);
}

#[tokio::test]
async fn one_site_is_one_site_under_all_its_names() {
    let heads = are_one(
        "an alias",
        1,
        |settings| {
            settings.public_url = Some("https://site.test".into());
            settings.aliases = vec!["www.site.test".into()];
        },
        [|| get("/"), || get("/").host("WWW.site.test")],
    )
    .await;
    let head = heads[0].to_lowercase();
    for line in [
        "host: site.test",
        "x-forwarded-host: site.test",
        "x-forwarded-proto: https",
        "x-forwarded-port: 443",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn one_language_preference_is_one_page_however_it_is_spelled() {
    let visitors: [fn() -> Request; 2] = [
        || get("/languages").with("Accept-Language", "de-AT, de;q=0.9, en;q=0.4"),
        || get("/languages").with("Accept-Language", "en;q=0.1,DE-at,de;q=0.2"),
    ];
    // The first fill is nobody's, and teaches that languages matter.
    are_one("learnt from Vary", 2, |_| {}, visitors).await;
    are_one(
        "part of the key",
        1,
        |settings| settings.key_headers = vec!["Accept-Language".into()],
        visitors,
    )
    .await;
}

#[tokio::test]
async fn a_preference_is_one_of_the_site_s_languages_wherever_it_counts() {
    let narrow = |settings: &mut Settings| settings.languages = vec!["en".into(), "de-CH".into()];
    let visitors: [fn() -> Request; 2] = [
        || get("/languages").with("Accept-Language", "de-ch-1996, en;q=0.9"),
        || get("/languages").with("Accept-Language", "fr, en;q=0.2, DE-CH;q=0.5, it;q=0.1"),
    ];
    let heads = are_one("sent and compared", 2, narrow, visitors).await;
    assert!(heads[1].contains("accept-language: de-CH\r\n"), "{heads:?}");
    let keyed = |settings: &mut Settings| {
        settings.languages = vec!["en".into(), "de-CH".into()];
        settings.key_headers = vec!["accept-language".into()];
    };
    are_one("keyed", 1, keyed, visitors).await;
    // None of them is as if nothing had been asked for.
    let none: [fn() -> Request; 2] = [
        || get("/languages").with("Accept-Language", "fr"),
        || get("/languages").with("Accept-Language", "en;q=0, *"),
    ];
    let heads = are_one("none of them", 1, narrow, none).await;
    assert!(!heads[0].contains("accept-language"), "{heads:?}");
}

#[tokio::test]
async fn a_page_that_is_missing_is_asked_for_as_two_constants() {
    let heads = are_one(
        "missing",
        2,
        |_| {},
        [
            || get("/missing").with("Accept", "image/avif,*/*;q=0.8"),
            || get("/missing").with("Sec-Fetch-Dest", "script"),
        ],
    )
    .await;
    assert!(
        heads[0].contains("accept: text/html,application/xhtml+xml"),
        "{heads:?}"
    );
    assert!(!heads[0].contains("sec-fetch-dest"), "{heads:?}");
    assert!(heads[1].contains("accept: */*\r\n"), "{heads:?}");
    assert!(heads[1].contains("sec-fetch-dest: empty\r\n"), "{heads:?}");
}

#[tokio::test]
async fn what_a_fill_says_of_itself_can_be_set() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.fill_accept = "text/html".into();
        settings.fill_user_agent = "Prerender".into();
    })
    .await;

    proxy.warm("/").await;

    let asked = backend.last("/");
    assert_eq!(asked.field("accept"), Some("text/html"));
    assert_eq!(asked.field("user-agent"), Some("Prerender"));
    // Who can read a page is another question.
    proxy.send(get("/").with("Accept", "*/*")).await.assert_hit();
    proxy
        .send(get("/").with("Accept", "application/json"))
        .await
        .assert_not_stored(Reason::Accept);
}

#[tokio::test]
async fn unkeyed_fields_go_along_and_tell_no_pages_apart() {
    let backend = Backend::with("/", Answer::page("x").with("Vary", "Traceparent, RSC")).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.unkeyed_headers = vec!["traceparent".into()];
    })
    .await;
    let traced = |id: &str| get("/").with("Traceparent", id).with("X-Other", id);

    proxy.send(traced("00-a")).await.assert_stored();

    let asked = backend.last("/");
    assert_eq!(asked.field("traceparent"), Some("00-a"));
    assert_eq!(asked.field("x-other"), None);
    proxy.send(traced("00-b")).await.assert_hit();
    proxy.get("/").await.assert_hit();
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_page_that_varies_by_what_no_fill_carries_is_one_page() {
    for field in ["X-Forwarded-For", "X-Real-IP", "Host", "If-None-Match", "TE"] {
        let backend = Backend::with("/", Answer::page("x").with("Vary", field)).await;
        let proxy = Proxy::start(&backend).await;

        let first = proxy.send(get("/").with("X-Real-IP", "1.2.3.4").with("TE", "trailers"));
        first.await.assert_stored();

        let second = get("/")
            .with("X-Forwarded-For", "5.6.7.8")
            .with("If-None-Match", "\"x\"");
        proxy.send(second).await.assert_hit();
        assert_eq!(backend.count("/"), 1, "Vary: {field}");
    }
}

#[tokio::test]
async fn what_a_key_function_does_not_read_does_not_reach_the_page() {
    // One that reads the host, which a fill says by itself.
    let backend = echo().await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            let host = info.headers.get("host").and_then(|host| host.to_str().ok());
            let page = info.query.split('&').find(|pair| pair.starts_with("page="));
            format!("{} {} {}", host.unwrap_or(""), info.path, page.unwrap_or(""))
        })
        .start()
        .await;

    let visitor = decorated(get("/list?utm=1&page=2&evil=3"), "first");
    proxy.send(visitor).await.assert_stored();

    let asked = backend.last("/list");
    assert_eq!(asked.target, "/list?page=2");
    for name in [
        "x-anything",
        "referer",
        "cookie",
        "if-none-match",
        "x-original-url",
    ] {
        assert_eq!(asked.field(name), None, "{name}");
    }
    proxy.get("/list?page=2").await.assert_hit();
}

#[tokio::test]
async fn a_key_function_that_panics_costs_one_request_its_place_and_nothing_else() {
    let backend = echo().await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            assert!(info.path != "/bad", "no key for this");
            // Cannot do without the field that it reads.
            let device = info.headers["x-device"].to_str().unwrap_or("");
            format!("{} {device}", info.path)
        })
        .start()
        .await;
    let ask = |path: &str| get(path).with("X-Device", "tv").with("X-Other", "1");
    let mut connection = proxy.client().connect().await;

    let bad = connection.send(&ask("/bad")).await;
    bad.assert_not_stored(Reason::Key);
    assert_eq!(bad.status, 200);

    connection.send(&ask("/good")).await.assert_stored();
    assert_eq!(backend.last("/good").field("x-device"), Some("tv"));
    assert_eq!(backend.last("/good").field("x-other"), None);
    connection.send(&ask("/good")).await.assert_hit();
}

#[tokio::test]
async fn a_query_too_long_to_find_out_what_the_key_reads_passes() {
    let backend = echo().await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| format!("{}?{}", info.path, info.query))
        .start()
        .await;
    proxy.warm("/?a=1&b=2").await;

    let long = format!("/?{}", vec!["x"; 2000].join("&"));
    proxy.get(&long).await.assert_not_stored(Reason::Key);
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn nobody_s_csrf_cookie_does_not_replace_a_visitor_s_own() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let token = match request.field("cookie") {
            Some(cookie) if cookie.contains("csrftoken=") => cookie.to_owned(),
            _ => "csrftoken=new".to_owned(),
        };
        Answer::page("form").with("Set-Cookie", &token)
    });
    let proxy = Proxy::start(&backend).await;
    let returning = |path: &str| get(path).with("Cookie", "csrftoken=mine");

    let answer = proxy.send(returning("/form")).await;
    answer.assert_not_stored(Reason::SetCookie);
    assert_eq!(answer.fields.all("set-cookie"), ["csrftoken=mine"]);
    // Who has none gets the one answer that there is.
    let answer = proxy.get("/other").await;
    answer.assert_not_stored(Reason::SetCookie);
    assert_eq!(answer.fields.all("set-cookie"), ["csrftoken=new"]);
    assert_eq!(backend.count("/other"), 1);
}

#[tokio::test]
async fn that_a_page_cannot_be_stored_is_not_learnt_from_what_says_nothing_of_it() {
    for (condition, status) in [("If-None-Match", 304), ("If-Match", 412)] {
        let mut backend = Backend::with("/", Answer::page("x").with("Cache-Control", "no-store")).await;
        let proxy = Proxy::start(&backend).await;
        proxy.get("/").await.assert_not_stored(Reason::NoStore);
        proxy.clock().advance(121);
        // By now it could be stored. A client's own condition says nothing about that, and neither does a
        // backend that is away.
        backend.on_fn("/", move |request| match request.fields.has(condition) {
            true => Answer::new(status),
            false => Answer::page("y"),
        });
        for _ in 0..2 {
            let asked = proxy.send(get("/").with(condition, "\"x\"")).await;
            assert_eq!(asked.status, status);
        }
        backend.stop().await;
        assert_eq!(proxy.get("/").await.status, 502);
        backend.start_again();

        proxy.get("/").await.assert_not_stored(Reason::NoStore);
        proxy.warm("/").await.assert(200, "y");
    }
}

#[tokio::test]
async fn an_error_that_forbids_storing_makes_remember_nothing() {
    let error = Answer::new(503)
        .with("Content-Type", "text/html")
        .with("Cache-Control", "no-store")
        .body("sorry");
    let backend = Backend::with("/", error).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert(503, "sorry");

    backend.on("/", Answer::page("here"));
    proxy.warm("/").await.assert(200, "here");
}

#[tokio::test]
async fn an_invalidation_during_the_fetch_leaves_no_memory_of_it() {
    let backend = Backend::start().await;
    let gate = crate::rig::Gate::new();
    let answer = Answer::page("old").with("Cache-Control", "no-store").held(&gate);
    backend.on("/", answer);
    let proxy = Proxy::start(&backend).await;
    let asked = proxy.client().begin(&get("/")).await;
    backend.until_count("/", 1).await;
    backend.on("/", Answer::page("new"));
    proxy.trigger().refresh().await.expect("the invalidation");
    gate.open();
    asked.head().await.finish().await.assert(200, "new");

    proxy.warm("/").await.assert(200, "new");
}

#[tokio::test]
async fn marks_after_unsafe_requests_can_be_turned_off() {
    for (is_on, hits) in [(true, false), (false, true)] {
        let backend = Backend::with_page("x").await;
        let proxy = Proxy::with(&backend, move |settings| {
            settings.invalidate_after_unsafe = is_on;
        })
        .await;
        proxy.warm("/").await;
        proxy.send(post("/", "x")).await.assert(200, "x");
        assert_eq!(proxy.get("/").await.cache().hit, hits, "on: {is_on}");
    }
}

#[tokio::test]
async fn the_cookies_that_cost_the_most_hits_are_named_without_their_values() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::with(&backend, |settings| settings.pass_ttl = Duration::ZERO).await;
    for (cookie, times) in [
        ("lang=s3cret; session=2", 3),
        ("session=s3cret", 2),
        ("s3cret", 1),
    ] {
        for _ in 0..times {
            proxy
                .send(get("/").with("Cookie", cookie))
                .await
                .assert_not_stored(Reason::Cookie);
        }
    }
    proxy.get("/").await.assert_stored();

    let cookies = proxy.statistics().cookies;
    let expected = [("lang", 3), ("session", 2), ("(without a name)", 1)];
    assert_eq!(cookies, expected.map(|(name, count)| (name.to_owned(), count)));
}

#[tokio::test]
async fn a_visitor_who_is_told_something_else_does_not_keep_a_page_out() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Control", "no-store")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_not_stored(Reason::NoStore);
    backend.on_fn("/", |request| match request.fields.has("x-provoking") {
        true => Answer::page("x").with("Cache-Control", "private"),
        false => Answer::page("y"),
    });
    proxy.clock().advance(121);
    for round in 3..6 {
        let provoking = get("/").with("X-Provoking", "1");
        proxy.send(provoking).await.assert(200, "x");
        assert_eq!(backend.count("/"), round);
    }

    proxy.get("/").await.assert(200, "y").assert_stored();
    proxy.get("/").await.assert(200, "y").assert_hit();
}
