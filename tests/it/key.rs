//! What makes two requests the same page: the target byte for byte, and what the settings add.

use phantom_frame::{PathRule, Reason};

use crate::rig::{Answer, Backend, Proxy, Setup, get, post};

/// A backend whose pages say how they were asked for.
async fn echo() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let host = request.field("host").unwrap_or("").to_owned();
        Answer::page(format!("{host} {} {}", request.target, request.text()))
    });
    backend
}

#[tokio::test]
async fn paths_are_distinct_and_arrive_byte_for_byte() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    let targets = [
        "/",
        "//",
        "/a",
        "/A",
        "/a/",
        "/a//",
        "//a",
        "/./a",
        "/b/../a",
        "/%61",
        "/a%2Fb",
        "/a%2fb",
        "/a/b",
        "/a;b",
        "/a;B=1",
        "/a%00b",
        "/a%20b",
        "/a+b",
        "/~a",
        "/%7Ea",
        "/a.",
        "/a'b",
        "/a|b",
        "/.phantom/lock",
        "/con",
        "/index.html",
        "/..%2f..%2fetc/passwd",
        "/../../etc/passwd",
        "/a?b",
        "/a?b=",
        "/a?B",
        "/a?b&c",
        "/a?c&b",
        "/a?b&b",
        "/a?b%26c",
        "/a?b=%20",
        "/a?b=+",
        "/a?b=/../c",
        "/a?b?c",
    ];
    for target in targets {
        let body = format!("site.test {target} ");
        proxy.get(target).await.assert(200, &body).assert_stored();
    }
    for target in targets {
        let body = format!("site.test {target} ");
        proxy.get(target).await.assert(200, &body).assert_hit();
    }
    let seen: Vec<_> = backend
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(seen, targets);
    assert_eq!(proxy.pages().len(), 2 * targets.len());
}

#[tokio::test]
async fn very_long_addresses_have_files_too() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    for target in [
        format!("/{}", "long".repeat(500)),
        format!("/{}/x", "long".repeat(500)),
        format!("/{}", "a/".repeat(500)),
        format!("/a?{}", "query=1&".repeat(300)),
    ] {
        proxy.warm(&target).await;
    }
    let longest = proxy
        .pages()
        .iter()
        .flat_map(|path| path.split('/').map(str::len).collect::<Vec<_>>())
        .max();
    assert!(longest.is_some_and(|length| length <= 255), "{longest:?}");
}

#[tokio::test]
async fn an_empty_query_is_none() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/a").await;

    proxy.get("/a?").await.assert_hit();

    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn ignored_parameters_are_cut_out_of_key_and_fill() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.ignore_query = vec!["utm_*".into(), "fbclid".into()];
    })
    .await;

    proxy
        .get("/a?utm_source=x&b=1&fbclid=2&c=%20")
        .await
        .assert(200, "site.test /a?b=1&c=%20 ")
        .assert_stored();

    for same in [
        "/a?b=1&c=%20",
        "/a?b=1&c=%20&utm_medium=mail",
        "/a?fbclid&b=1&c=%20",
    ] {
        proxy.get(same).await.assert_hit();
    }
    proxy
        .get("/a?utm_source=x")
        .await
        .assert(200, "site.test /a ")
        .assert_stored();
    proxy.get("/a").await.assert_hit();
    assert_eq!(backend.total(), 2);
    // What passes keeps them: they are cut for the page's sake, not for the backend's.
    proxy
        .send(post("/a?utm_source=x", ""))
        .await
        .assert(200, "site.test /a?utm_source=x ");
}

#[tokio::test]
async fn of_parameters_that_count_the_others_are_cut_out_of_key_and_fill() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.keep_query = Some(vec!["page".into(), "sort_*".into()]);
    })
    .await;

    proxy
        .get("/a?x=1&page=2&sort_by=%20&y")
        .await
        .assert(200, "site.test /a?page=2&sort_by=%20 ")
        .assert_stored();

    for same in ["/a?page=2&sort_by=%20", "/a?page=2&anything=1&sort_by=%20"] {
        proxy.get(same).await.assert_hit();
    }
    proxy.warm("/a").await;
    proxy.get("/a?x=1&y=2").await.assert_hit();
    assert_eq!(backend.total(), 2);
    // A secret that does not count is one all the same, and what passes keeps all.
    let link = proxy.get("/a?page=2&token=1").await;
    link.assert(200, "site.test /a?page=2&token=1 ")
        .assert_not_stored(Reason::SecretQuery);
}

#[tokio::test]
async fn sorted_parameters_are_one_page_in_any_order_of_names() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.sort_query = true;
        settings.ignore_query = vec!["utm_*".into()];
    })
    .await;

    proxy
        .get("/a?b=1&t=2&a=3&t=1")
        .await
        .assert(200, "site.test /a?a=3&b=1&t=2&t=1 ")
        .assert_stored();

    for same in ["/a?a=3&b=1&t=2&t=1", "/a?t=2&t=1&b=1&utm_x=1&a=3"] {
        proxy.get(same).await.assert_hit();
    }
    // The order of equal names is a list's.
    proxy.get("/a?a=3&b=1&t=1&t=2").await.assert_stored();
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn a_rule_s_key_is_that_of_its_paths_alone() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let seen = [request.field("x-device"), request.field("cookie")];
        Answer::page(format!("{seen:?} {}", request.target))
    });
    let proxy = Setup::over(&backend)
        .configured(|config| {
            config.with_rule(PathRule::new(["/app/*"]).with(|settings| {
                settings.key_headers = vec!["X-Device".into()];
                settings.key_cookies = vec!["theme".into()];
                settings.bypass_cookies = Some(vec!["session".into()]);
                settings.ignore_query = vec!["from".into()];
                settings.sort_query = true;
            }))
        })
        .start()
        .await;
    let visitor = |target: &str, device: &str, cookie: &str| {
        get(target).with("X-Device", device).with("Cookie", cookie)
    };
    let app = "/app/a?b=1&from=x&a=2";

    let first = proxy.send(visitor(app, "tv", "theme=dark; other=1")).await;
    first
        .assert(200, "[Some(\"tv\"), Some(\"theme=dark\")] /app/a?a=2&b=1")
        .assert_stored();
    let same = visitor("/app/a?a=2&b=1", "tv", "other=2; theme=dark");
    proxy.send(same).await.assert_hit();
    for other in [
        visitor(app, "phone", "theme=dark"),
        visitor(app, "tv", "theme=light"),
    ] {
        proxy.send(other).await.assert_stored();
    }
    let somebody = visitor(app, "tv", "theme=dark; session=1");
    proxy.send(somebody).await.assert_not_stored(Reason::Cookie);

    // Elsewhere any cookie is somebody's, and the device is nobody's.
    let elsewhere = proxy.send(visitor("/b", "tv", "other=1")).await;
    elsewhere.assert_not_stored(Reason::Cookie);
    let plain = proxy.send(get("/b?from=x&a=2").with("X-Device", "tv")).await;
    plain.assert(200, "[None, None] /b?from=x&a=2").assert_stored();
}

#[tokio::test]
async fn hosts_are_sites_of_their_own_without_a_public_url() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    for host in ["one.test", "two.test", "two.test:8080"] {
        let body = format!("{host} /a ");
        proxy
            .send(get("/a").host(host))
            .await
            .assert(200, &body)
            .assert_stored();
        proxy
            .send(get("/a").host(host))
            .await
            .assert(200, &body)
            .assert_hit();
    }
    proxy.send(get("/a").host("ONE.test")).await.assert_hit();
    assert!(
        proxy.pages().iter().any(|path| path.starts_with("one.test/a.")),
        "{:?}",
        proxy.pages()
    );
}

#[tokio::test]
async fn with_a_public_url_its_aliases_are_the_same_site() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.public_url = Some("https://site.test".into());
        settings.aliases = vec!["www.site.test".into(), "localhost:3000".into()];
    })
    .await;
    let page = proxy.warm("/a").await.text();

    for host in ["www.site.test", "localhost:3000"] {
        proxy
            .send(get("/a").host(host))
            .await
            .assert(200, &page)
            .assert_hit();
    }
    proxy
        .send(get("/a").host("other.test"))
        .await
        .assert_not_stored(Reason::Host);
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn requests_without_one_good_host_are_400() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:port\r\n\r\n",
    ] {
        let response = proxy.client().raw(request.as_bytes()).await;
        assert_eq!(response.status, 400, "{request:?}: {response:?}");
    }
    assert_eq!(backend.total(), 0);
}

#[tokio::test]
async fn the_absolute_form_of_a_target_wins_over_host() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy
        .client()
        .raw(b"GET http://real.test/a?b HTTP/1.1\r\nHost: decoy.test\r\n\r\n")
        .await;

    response.assert(200, "real.test /a?b ").assert_stored();
    proxy.send(get("/a?b").host("real.test")).await.assert_hit();
    proxy
        .send(get("/a?b").host("decoy.test"))
        .await
        .assert(200, "decoy.test /a?b ");
}

#[tokio::test]
async fn key_headers_make_pages_of_their_own() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(request.field("x-device").unwrap_or("none").to_owned())
    });
    let proxy = Proxy::with(&backend, |settings| {
        settings.key_headers = vec!["X-Device".into()];
    })
    .await;
    for device in ["tv", "phone"] {
        let request = || get("/").with("x-device", device).with("X-Other", "1");
        proxy.send(request()).await.assert(200, device).assert_stored();
        proxy.send(request()).await.assert(200, device).assert_hit();
    }
    proxy.warm("/").await.assert(200, "none");
    assert_eq!(backend.count("/"), 3);
    assert!(!backend.last("/").fields.has("x-other"));
}

#[tokio::test]
async fn a_custom_key_decides_what_is_the_same_page() {
    let backend = echo().await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            let id = info
                .query
                .split('&')
                .find_map(|parameter| parameter.strip_prefix("id="))
                .unwrap_or("");
            format!("{}:{}:{id}", info.method, info.path)
        })
        .start()
        .await;

    // What the key does not read is not sent either.
    proxy
        .get("/item?ref=mail&id=7&session_hint=1")
        .await
        .assert(200, "site.test /item?id=7 ")
        .assert_stored();
    for same in ["/item?id=7", "/item?id=7&ref=web", "/item?x&id=7"] {
        proxy
            .get(same)
            .await
            .assert(200, "site.test /item?id=7 ")
            .assert_hit();
    }
    proxy
        .get("/item?id=8")
        .await
        .assert(200, "site.test /item?id=8 ")
        .assert_stored();
    assert_eq!(backend.total(), 2);
}

#[tokio::test]
async fn a_custom_key_sees_the_fields_and_they_go_along() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(request.field("accept-language").unwrap_or("none").to_owned())
    });
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            let language = info
                .headers
                .get("accept-language")
                .and_then(|value| value.to_str().ok())
                .unwrap_or("en");
            format!("{}:{}?{}:lang={language}", info.method, info.path, info.query)
        })
        .start()
        .await;
    for language in ["de", "fr"] {
        let request = || get("/").with("Accept-Language", language).with("X-Other", "1");
        proxy.send(request()).await.assert(200, language).assert_stored();
        assert!(!backend.last("/").fields.has("x-other"));
        proxy.send(request()).await.assert(200, language).assert_hit();
    }
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_custom_key_survives_a_restart() {
    let backend = echo().await;
    let mut proxy = Setup::over(&backend)
        .key_fn(|info| format!("page {}", info.path))
        .start()
        .await;
    proxy.warm("/a?x=1").await;

    proxy.restart().await;

    proxy.get("/a?y=2").await.assert_hit();
    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn a_post_that_a_filter_names_is_stored_by_its_body() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["/*".into(), "POST /search".into()];
    })
    .await;

    proxy
        .send(post("/search?lang=en", "q=rust"))
        .await
        .assert(200, "site.test /search?lang=en q=rust")
        .assert_stored();
    proxy
        .send(post("/search?lang=en", "q=rust"))
        .await
        .assert(200, "site.test /search?lang=en q=rust")
        .assert_hit();
    proxy
        .send(post("/search?lang=en", "q=tea"))
        .await
        .assert(200, "site.test /search?lang=en q=tea")
        .assert_stored();
    assert_eq!(backend.count("/search"), 2);

    proxy
        .send(post("/comment", "text=hello"))
        .await
        .assert_not_stored(Reason::Method);
    // The page at that address is another one.
    proxy
        .get("/search?lang=en")
        .await
        .assert(200, "site.test /search?lang=en ")
        .assert_stored();
}

#[tokio::test]
async fn what_a_post_s_body_says_is_part_of_the_key_by_its_meaning() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into()];
    })
    .await;
    // One body must not be taken for another because of where a boundary falls.
    for body in ["", "a", "a\0", "aa", "POST:/search"] {
        let response = proxy.send(post("/search", body)).await;
        response
            .assert(200, &format!("site.test /search {body}"))
            .assert_stored();
    }
    assert_eq!(backend.count("/search"), 5);
}

#[tokio::test]
async fn a_post_with_a_body_too_large_for_a_key_passes_whole() {
    let backend = Backend::start().await;
    backend.on_fn("/search", |request| Answer::page(request.body.len().to_string()));
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into()];
    })
    .await;
    let large = vec![b'x'; 3 << 20];

    proxy.send(post("/search", "small")).await.assert_stored();
    for round in 2..=3 {
        let response = proxy.send(post("/search", &large)).await;
        response
            .assert(200, &large.len().to_string())
            .assert_not_stored(Reason::RequestBody);
        assert_eq!(backend.count("/search"), round);
    }
}
