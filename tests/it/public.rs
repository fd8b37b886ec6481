//! Paths that a rule says to be the same for everyone.

use std::time::Duration;

use phantom_frame::{FillMode, PathRule, Reason, Ttl};

use crate::rig::{Answer, Backend, Proxy, Setup, get};

const BOTH: [FillMode; 2] = [FillMode::Canonical, FillMode::Transparent];

/// `/all/*` is everyone's.
async fn start(backend: &Backend, mode: FillMode) -> Proxy {
    start_with(backend, mode, PathRule::new(["/all/*"]).public()).await
}

async fn start_with(backend: &Backend, mode: FillMode, rule: PathRule) -> Proxy {
    Setup::over(backend)
        .configured(move |config| {
            config
                .with(|settings| settings.fill = mode)
                .with_rule(rule.clone())
        })
        .start()
        .await
}

#[tokio::test]
async fn a_page_that_its_framework_calls_dynamic_is_stored_for_as_long_as_the_operator_says() {
    let control = "private, no-cache, no-store, max-age=0, must-revalidate";
    let backend = Backend::start().await;
    backend.fallback(move |_| Answer::page("x").with("Cache-Control", control));
    for mode in BOTH {
        let for_a_minute = PathRule::new(["/all/*"]).public().with(|settings| {
            settings.ttl = Some(Ttl::For(Duration::from_secs(60)));
        });
        let proxy = start_with(&backend, mode, for_a_minute).await;
        let path = format!("/all/{mode:?}");

        let hit = proxy.warm(&path).await;

        assert_eq!(hit.cache().ttl, Some(60), "{mode:?}");
        proxy.clock().advance(59);
        proxy.get(&path).await.assert_hit();
        assert_eq!(backend.count(&path), 1);
        proxy.clock().advance(2);
        proxy.get(&path).await.assert_stored();
        proxy.get(&path).await.assert_hit();
        // Nowhere else.
        proxy.get("/else").await.assert_not_stored(Reason::NoStore);
    }
}

#[tokio::test]
async fn what_says_whose_a_page_is_does_not_count_and_what_forbids_repeating_it_does() {
    let backend = Backend::start().await;
    let lasting = || Answer::page("x").with("X-Kind", "page");
    let proxy = start(&backend, FillMode::Canonical).await;
    for (at, (name, value, otherwise)) in [
        ("Cache-Control", "private", Reason::Private),
        ("Cache-Control", "no-store, max-age=60", Reason::NoStore),
        ("Set-Cookie", "session=s3cr3t", Reason::SetCookie),
        ("Content-Type", "application/json", Reason::Json),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = match name {
            "Content-Type" => Answer::new(200).body("{}").with(name, value),
            _ => lasting().with(name, value),
        };
        let (path, other) = (format!("/all/{at}"), format!("/some/{at}"));
        backend.on(&path, answer.clone());
        backend.on(&other, answer);
        proxy.get(&other).await.assert_not_stored(otherwise);
        let hit = proxy.warm(&path).await;
        assert_eq!(hit.field("set-cookie"), None);
    }
    assert_eq!(proxy.files_with("s3cr3t"), Vec::<String>::new());
    let field = "<form><input type=hidden name=csrfmiddlewaretoken value=abc></form>";
    for (path, answer, reason) in [
        (
            "/all/nonce",
            lasting().with("Content-Security-Policy", "script-src 'nonce-abc'"),
            Reason::Nonce,
        ),
        ("/all/csrf", Answer::page(field), Reason::CsrfField),
        ("/all/star", lasting().with("Vary", "*"), Reason::VaryStar),
        (
            "/all/over",
            lasting().with("Cache-Control", "no-cache"),
            Reason::Expired,
        ),
    ] {
        backend.on(path, answer);
        for _ in 0..2 {
            proxy.get(path).await.assert_not_stored(reason);
        }
    }
}

#[tokio::test]
async fn visitors_with_cookies_or_credentials_get_the_page_and_are_not_on_its_fill() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let seen = ["cookie", "authorization", "x-api-key", "x-user-id"]
            .into_iter()
            .filter(|name| request.fields.has(name))
            .collect::<Vec<_>>();
        Answer::page(seen.join(",")).with("Vary", "Cookie, Authorization, X-Api-Key, X-User-Id")
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let path = format!("/all/{mode:?}");
        let visitor = || {
            get(&path)
                .with("Cookie", "session=s3cr3t")
                .with("Authorization", "Basic s3cr3t")
                .with("X-Api-Key", "s3cr3t")
                .with("X-User-Id", "s3cr3t")
        };

        proxy.send(visitor()).await.assert(200, "").assert_stored();
        proxy.send(visitor()).await.assert(200, "").assert_hit();
        proxy.get(&path).await.assert(200, "").assert_hit();
        let other = get(&path).with("Cookie", "session=other");
        proxy.send(other).await.assert(200, "").assert_hit();

        assert_eq!(backend.count(&path), 1, "{mode:?}");
        assert_eq!(proxy.files_with("s3cr3t"), Vec::<String>::new(), "{mode:?}");
        // A secret in the address is somebody's all the same, and elsewhere so is the rest.
        let link = format!("{path}?token=1");
        let opened = get(&link).with("Cookie", "session=1");
        let opened = proxy.send(opened).await;
        opened
            .assert(200, "cookie")
            .assert_not_stored(Reason::SecretQuery);
        let elsewhere = proxy.send(get("/else").with("Cookie", "session=1")).await;
        elsewhere.assert(200, "cookie").assert_not_stored(Reason::Cookie);
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_stored_is_each_visitor_s_own() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let name = request.field("cookie").unwrap_or("nobody").to_owned();
        let page = Answer::page(name);
        match request.path().contains("star") {
            true => page.with("Vary", "*"),
            false => page,
        }
    });
    let proxy = start(&backend, FillMode::Canonical).await;
    proxy.warm("/all/page").await.assert(200, "nobody");

    for name in ["session=alice", "session=bob"] {
        let visitor = get("/all/star").with("Cookie", name);
        let response = proxy.send(visitor).await;
        response.assert(200, name).assert_not_stored(Reason::VaryStar);
    }
}

#[tokio::test]
async fn what_credentials_open_is_each_visitor_s_own() {
    let backend = Backend::start().await;
    backend.fallback(|request| match request.field("authorization") {
        Some(name) => Answer::page(name.to_owned()).with("Vary", "*"),
        None => Answer::new(401)
            .with("WWW-Authenticate", "Basic realm=\"x\"")
            .body("who?"),
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let path = format!("/all/{mode:?}");
        for name in ["alice", "bob"] {
            let response = proxy.send(get(&path).with("Authorization", name)).await;
            response.assert(200, name);
        }
        proxy.get(&path).await.assert(401, "who?");
    }
}

#[tokio::test]
async fn a_visitor_s_session_is_not_replaced_by_one_that_was_begun_for_nobody() {
    let backend = Backend::start().await;
    backend.fallback(|request| match request.field("cookie") {
        Some(cookie) => {
            Answer::page(cookie.to_owned()).with("Content-Security-Policy", "script-src 'nonce-abc'")
        }
        None => Answer::page("nobody")
            .with("Content-Security-Policy", "script-src 'nonce-abc'")
            .with("Set-Cookie", "session=new")
            .with("Set-Cookie", "seen=1"),
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let path = format!("/all/{mode:?}");

        let visitor = get(&path).with("Cookie", "session=alice");
        let response = proxy.send(visitor).await;

        response
            .assert(200, "session=alice")
            .assert_not_stored(Reason::Nonce);
        assert_eq!(response.field("set-cookie"), None, "{mode:?}");
    }
}

#[tokio::test]
async fn a_validation_is_judged_by_the_same_rules() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let answer = match request.field("if-none-match") {
            Some(_) => Answer::new(304).with("Set-Cookie", "session=1"),
            None => Answer::page("x"),
        };
        answer
            .with("ETag", "\"1\"")
            .with("Cache-Control", "private, max-age=60")
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let path = format!("/all/{mode:?}");
        proxy.warm(&path).await;
        proxy.clock().advance(61);

        let visitor = get(&path).with("Cookie", "session=1");
        let response = proxy.send(visitor).await;

        response.assert(200, "x").assert_revalidated();
        assert_eq!(backend.last(&path).field("cookie"), None, "{mode:?}");
        proxy.get(&path).await.assert_hit();
    }
}

#[tokio::test]
async fn cookies_in_the_key_still_make_pages_of_their_own() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.field("cookie").unwrap_or("none").to_owned()));
    let themed = PathRule::new(["/all/*"]).public().with(|settings| {
        settings.key_cookies = vec!["theme".into()];
    });
    let proxy = start_with(&backend, FillMode::Canonical, themed).await;
    let with = |cookie: &str| get("/all/a").with("Cookie", cookie);

    let dark = proxy.send(with("session=1; theme=dark")).await;
    dark.assert(200, "theme=dark").assert_stored();
    let dark = proxy.send(with("theme=dark; session=2")).await;
    dark.assert(200, "theme=dark").assert_hit();
    let light = proxy.send(with("theme=light; session=1")).await;
    light.assert(200, "theme=light").assert_stored();
    proxy.send(with("session=1")).await.assert(200, "none");
}

#[tokio::test]
async fn what_is_refused_to_nobody_is_not_refused_to_who_has_credentials() {
    let backend = Backend::start().await;
    backend.fallback(|request| match request.field("x-api-key") {
        Some(_) => Answer::page("welcome").with("Cache-Control", "no-store, max-age=60"),
        None => Answer::new(401).body("who are you?"),
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let path = format!("/all/{mode:?}");
        let visitor = || get(&path).with("X-Api-Key", "s3cr3t");

        for _ in 0..2 {
            proxy.send(visitor()).await.assert(200, "welcome");
        }

        proxy.get(&path).await.assert(401, "who are you?");
        assert_eq!(proxy.files_with("s3cr3t"), Vec::<String>::new(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_visitor_s_session_is_not_replaced_by_that_of_a_fill() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let page = Answer::page("x").with("Vary", "*");
        match request
            .field("cookie")
            .is_some_and(|cookie| cookie.contains("session="))
        {
            true => page,
            false => page
                .with("Set-Cookie", "session=new")
                .with("Set-Cookie", "seen=1"),
        }
    });
    for mode in BOTH {
        let proxy = start(&backend, mode).await;
        let visitor = get(&format!("/all/{mode:?}")).with("Cookie", "session=alice");
        let response = proxy.send(visitor).await;
        response.assert(200, "x").assert_not_stored(Reason::VaryStar);
        assert_eq!(response.fields.all("set-cookie"), Vec::<&str>::new(), "{mode:?}");
    }
}

#[tokio::test]
async fn an_error_of_a_fill_does_not_replace_a_visitor_s_session_either() {
    let backend = Backend::start().await;
    let page = Answer::page("x").with("Cache-Control", "max-age=60, must-revalidate");
    for (mode, path) in BOTH.into_iter().zip(["/all/canonical", "/all/transparent"]) {
        backend.on(path, page.clone());
        let proxy = start(&backend, mode).await;
        proxy.warm(path).await;
        proxy.clock().advance(61);
        backend.on_fn(path, |request| {
            let error = Answer::new(503).body("sorry");
            match request.fields.has("cookie") {
                true => error,
                false => error.with("Set-Cookie", "session=new"),
            }
        });
        let response = proxy.send(get(path).with("Cookie", "session=alice")).await;
        response.assert(503, "sorry");
        assert!(!response.fields.has("set-cookie"), "{response:?}");
        assert_eq!(proxy.stored(), 1, "{mode:?}");
    }
}
