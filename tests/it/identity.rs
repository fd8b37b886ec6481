//! Rendered for nobody: who is somebody passes, and what a fill sends is no visitor's.

use phantom_frame::Reason;

use crate::rig::{Answer, Backend, Proxy, Recorded, get};

/// A backend that shows on the page whatever it is told about the visitor.
async fn echo() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(shown(request)));
    backend
}

fn shown(request: &Recorded) -> String {
    let mut seen: Vec<String> = request
        .fields
        .0
        .iter()
        .map(|(name, value)| format!("{}: {value}", name.to_lowercase()))
        .collect();
    seen.sort();
    seen.push(request.target.clone());
    seen.join("\n")
}

#[tokio::test]
async fn a_fill_sends_nothing_of_the_visitor() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    let bare = proxy.get("/").await;
    bare.assert_stored();
    let nobody = backend.last("/");
    proxy.trigger().refresh().await.expect("the invalidation");

    let visitor = get("/")
        .with("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
        .with("Accept-Language", "de-AT,de;q=0.9")
        .with("Accept-Encoding", "gzip, br, zstd")
        .with("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/999")
        .with("Cookie", "_ga=GA1.2.3; _fbp=4")
        .with("Referer", "https://search.test/?q=secret")
        .with("DNT", "1")
        .with("Sec-Fetch-Dest", "document")
        .with("X-Forwarded-Host", "evil.test")
        .with("X-Forwarded-Proto", "gopher")
        .with("X-Forwarded-For", "203.0.113.7")
        .with("X-Forwarded-Ssl", "off")
        .with("X-Original-URL", "/admin")
        .with("X-Rewrite-URL", "/admin")
        .with("X-HTTP-Method-Override", "DELETE")
        .with("Forwarded", "for=203.0.113.7;host=evil.test")
        .with("True-Client-IP", "203.0.113.7")
        .with("X-Anything-At-All", "poison")
        .with("Cache-Control", "max-stale=5")
        .with("Pragma", "x")
        .with("TE", "trailers");
    let response = proxy.send(visitor).await;

    response.assert(200, &bare.text()).assert_stored();
    let somebody = backend.last("/");
    assert_eq!(
        String::from_utf8_lossy(&somebody.raw_head),
        String::from_utf8_lossy(&nobody.raw_head),
        "two visitors' fills should be the same request"
    );
    for name in [
        "cookie",
        "accept-language",
        "referer",
        "x-forwarded-for",
        "x-forwarded-ssl",
        "forwarded",
        "x-anything-at-all",
        "range",
        "if-none-match",
    ] {
        assert!(!somebody.fields.has(name), "{name} went out: {somebody:?}");
    }
    assert_eq!(somebody.field("accept-encoding"), Some("identity"));
    assert_eq!(somebody.field("host"), Some("site.test"));
    assert!(
        somebody
            .field("accept")
            .is_some_and(|accept| accept.contains("text/html")),
        "{somebody:?}"
    );
    assert!(
        somebody
            .field("user-agent")
            .is_some_and(|agent| !agent.contains("999")),
        "{somebody:?}"
    );
    assert_eq!(somebody.field("x-forwarded-host"), Some("site.test"));
    assert_eq!(somebody.field("x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn with_a_public_url_fills_are_rendered_for_that() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.public_url = Some("https://www.site.test".into());
        settings.aliases = vec!["site.test".into()];
    })
    .await;

    proxy.warm("/").await;

    let fill = backend.last("/");
    assert_eq!(fill.field("host"), Some("www.site.test"));
    assert_eq!(fill.field("x-forwarded-host"), Some("www.site.test"));
    assert_eq!(fill.field("x-forwarded-proto"), Some("https"));
    assert_eq!(fill.field("x-forwarded-port"), Some("443"));
}

#[tokio::test]
async fn a_visitor_with_an_unknown_cookie_passes_and_leaves_no_trace() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    let page = proxy.warm("/").await;
    let tree = proxy.contents();

    for cookie in ["session=alice", "_ga=1; h3=x", "theme=dark", "a"] {
        let asked = backend.count("/");
        let response = proxy.send(get("/").with("Cookie", cookie)).await;
        response.assert_not_stored(Reason::Cookie);
        assert_eq!(response.cache().fwd.as_deref(), Some("bypass"), "{cookie}");
        assert!(
            response.text().contains(&format!("cookie: {cookie}")),
            "{response:?}"
        );
        assert_eq!(backend.count("/"), asked + 1, "one request, as it is: {cookie}");
        assert_eq!(backend.last("/").field("cookie"), Some(cookie));
    }

    assert!(proxy.contents() == tree, "the directory should not have changed");
    proxy.get("/").await.assert(200, &page.text()).assert_hit();
}

#[tokio::test]
async fn a_visitor_with_an_unknown_cookie_makes_no_file_of_a_cold_page_either() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;

    proxy
        .send(get("/").with("Cookie", "session=alice"))
        .await
        .assert_not_stored(Reason::Cookie);

    assert_eq!(proxy.pages(), Vec::<String>::new());
    let page = proxy.warm("/").await;
    assert!(!page.text().contains("alice"), "{page:?}");
}

#[tokio::test]
async fn cookies_that_change_nothing_are_ignored() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.ignore_cookies = vec!["tracker_*".into()];
    })
    .await;
    proxy.warm("/").await;
    for cookie in [
        "_ga=GA1.1.1; _gid=2",
        "_ga_ABC123=1",
        "csrftoken=x",
        "OptanonConsent=1",
        "tracker_7=x; _fbp=1",
    ] {
        proxy.send(get("/").with("Cookie", cookie)).await.assert_hit();
    }
    proxy
        .send(get("/").with("Cookie", "_ga=1").with("Cookie", "session=2"))
        .await
        .assert_not_stored(Reason::Cookie);
    // And none of them causes another page than nobody's.
    proxy.trigger().trigger();
    let filled = proxy.send(get("/").with("Cookie", "_ga=1; tracker_7=x")).await;
    filled.assert_stored();
    assert!(!filled.text().contains("cookie:"), "{filled:?}");
}

#[tokio::test]
async fn key_cookies_make_pages_of_their_own() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.key_cookies = vec!["theme".into()];
    })
    .await;
    let with = |cookie: &'static str| get("/").with("Cookie", cookie);

    let plain = proxy.warm("/").await;
    let dark = proxy.send(with("_ga=1; theme=dark")).await;
    dark.assert_stored();
    assert_eq!(backend.last("/").field("cookie"), Some("theme=dark"));
    proxy.send(with("theme=light")).await.assert_stored();

    let asked = backend.count("/");
    proxy
        .send(with("theme=dark; _ga=2"))
        .await
        .assert(200, &dark.text())
        .assert_hit();
    proxy.get("/").await.assert(200, &plain.text()).assert_hit();
    assert_eq!(backend.count("/"), asked);
    proxy
        .send(with("theme=dark; session=1"))
        .await
        .assert_not_stored(Reason::Cookie);
}

#[tokio::test]
async fn with_bypass_cookies_only_those_are_somebody() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.bypass_cookies = Some(vec!["session*".into()]);
    })
    .await;
    proxy.warm("/").await;

    proxy
        .send(get("/").with("Cookie", "theme=dark; x=y"))
        .await
        .assert_hit();
    for cookie in ["session=1", "theme=dark; sessionid=2"] {
        proxy
            .send(get("/").with("Cookie", cookie))
            .await
            .assert_not_stored(Reason::Cookie);
        assert_eq!(backend.last("/").field("cookie"), Some(cookie));
    }
}

#[tokio::test]
async fn requests_with_credentials_pass_with_them() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.bypass_headers = vec!["X-Tenant-Key".into()];
    })
    .await;
    proxy.warm("/").await;
    for (name, value) in [
        ("Authorization", "Basic YTpi"),
        ("authorization", "Bearer x"),
        ("X-Api-Key", "k"),
        ("X-Tenant-Key", "t"),
    ] {
        let response = proxy.send(get("/").with(name, value)).await;
        response.assert_not_stored(Reason::Authorization);
        assert_eq!(response.cache().fwd.as_deref(), Some("bypass"));
        assert_eq!(backend.last("/").field(name), Some(value));
    }
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn connection_cannot_take_a_visitor_s_identity_away() {
    let backend = echo().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    for (name, value) in [("Authorization", "Basic YTpi"), ("Cookie", "session=1")] {
        let request = get("/")
            .with("Connection", &format!("keep-alive, {name}"))
            .with(name, value);
        let response = proxy.send(request).await;
        assert!(!response.cache().hit && !response.cache().stored, "{response:?}");
        assert_eq!(backend.last("/").field(name), Some(value));
    }
}

#[tokio::test]
async fn addresses_that_hold_a_key_to_something_pass_and_are_not_stored() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.bypass_query = vec!["door*".into()];
    })
    .await;
    proxy.warm("/in?page=2").await;
    for query in [
        "token=abc",
        "page=2&reset_token=abc",
        "code=1&x=2",
        "otp=123456",
        "X-Amz-Signature=abc",
        "doorcode=1",
    ] {
        let target = format!("/in?{query}");
        for _ in 0..2 {
            let response = proxy.get(&target).await;
            response.assert_not_stored(Reason::SecretQuery);
        }
        assert_eq!(backend.last("/in").query(), query);
    }
    assert_eq!(proxy.pages().len(), 2, "{:?}", proxy.pages());
}

#[tokio::test]
async fn no_cookie_s_value_is_written_to_disk() {
    let backend = echo().await;
    backend.fallback(|_| Answer::page("page").with("Vary", "Cookie"));
    let proxy = Proxy::with(&backend, |settings| {
        settings.key_cookies = vec!["theme".into()];
    })
    .await;
    proxy
        .send(get("/").with("Cookie", "theme=s3cr3tvalue; _ga=tr4ck3d"))
        .await
        .assert_stored();

    for (path, bytes) in proxy.contents() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in ["s3cr3tvalue", "tr4ck3d"] {
            assert!(!text.contains(secret), "{secret} is in {path}:\n{text}");
        }
    }
}

#[tokio::test]
async fn hosts_that_are_not_ours_pass() {
    let backend = echo().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.public_url = Some("http://site.test".into());
        settings.aliases = vec!["www.site.test".into()];
    })
    .await;
    proxy.warm("/").await;

    proxy.send(get("/").host("www.site.test")).await.assert_hit();
    proxy.send(get("/").host("SITE.test")).await.assert_hit();
    let other = proxy.send(get("/").host("evil.test")).await;
    other.assert_not_stored(Reason::Host);
    assert_eq!(backend.last("/").field("host"), Some("evil.test"));
}
