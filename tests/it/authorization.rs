//! Requests with `Authorization`: past the cache, or, where fills carry it, shared by the answer's leave alone.

use phantom_frame::{FillMode, Reason};

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Gate, Proxy, Recorded, Setup, get};
use crate::transparent::{transparent, transparent_with};

/// Says who is seen, and `control`.
async fn greeting(control: &'static str) -> Backend {
    let backend = Backend::start().await;
    backend.fallback(move |request| greet(request, control));
    backend
}

fn greet(request: &Recorded, control: &str) -> Answer {
    let name = request.field("authorization").unwrap_or("nobody").to_owned();
    Answer::page(name).with("Cache-Control", control)
}

fn as_user(target: &str, name: &str) -> Request {
    get(target).with("Authorization", name)
}

#[tokio::test]
async fn a_canonical_fill_is_nobody_s_whatever_the_answer_allows() {
    let backend = greeting("public, max-age=60").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    for target in ["/", "/cold"] {
        for _ in 0..2 {
            let response = proxy.send(as_user(target, "alice")).await;
            response
                .assert(200, "alice")
                .assert_not_stored(Reason::Authorization);
            assert_eq!(response.cache().fwd.as_deref(), Some("bypass"));
        }
    }
    assert_eq!(proxy.stored(), 1);
}

#[tokio::test]
async fn an_answer_that_says_so_is_for_everybody_and_was_asked_for_with_the_credentials() {
    for control in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
        let backend = greeting(control).await;
        let proxy = transparent(&backend).await;

        let first = proxy.send(as_user("/", "alice")).await;

        first.assert(200, "alice").assert_stored();
        assert_eq!(backend.last("/").field("authorization"), Some("alice"));
        proxy.get("/").await.assert(200, "alice").assert_hit();
        let other = proxy.send(as_user("/", "bob")).await;
        other.assert(200, "alice").assert_hit();
        assert_eq!(backend.count("/"), 1, "{control}");
        assert_eq!(proxy.pages().len(), 2, "{:?}", proxy.pages());
        let sidecar = proxy.sidecar("site.test/index").1;
        assert!(!sidecar.contains("alice"), "{sidecar}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_so_is_for_who_sent_the_credentials() {
    for control in ["max-age=60", "max-age=60, proxy-revalidate"] {
        let backend = greeting(control).await;
        let proxy = transparent(&backend).await;
        proxy.warm("/stored").await;

        for (name, times) in [("alice", 1), ("alice", 2), ("bob", 3)] {
            let response = proxy.send(as_user("/", name)).await;
            response
                .assert(200, name)
                .assert_not_stored(Reason::Authorization);
            assert_eq!(backend.count("/"), times, "one request each: {control}");
        }
        // What was found of theirs says nothing of the others.
        proxy.get("/").await.assert(200, "nobody").assert_stored();
        proxy.get("/").await.assert(200, "nobody").assert_hit();
        let alice = proxy.send(as_user("/", "alice")).await;
        alice
            .assert(200, "alice")
            .assert_not_stored(Reason::Authorization);
        proxy.get("/").await.assert(200, "nobody").assert_hit();
    }
}

#[tokio::test]
async fn a_page_that_varies_by_credentials_is_for_those_without() {
    let backend = Backend::start().await;
    backend.fallback(|request| greet(request, "public, max-age=60").with("Vary", "Authorization"));
    let proxy = transparent(&backend).await;

    let alice = proxy.send(as_user("/", "alice")).await;
    alice
        .assert(200, "alice")
        .assert_not_stored(Reason::Authorization);
    proxy.warm("/").await.assert(200, "nobody");
    let bob = proxy.send(as_user("/", "bob")).await;
    bob.assert(200, "bob").assert_not_stored(Reason::Authorization);
}

#[tokio::test]
async fn those_with_other_credentials_do_not_wait_for_one_another() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.fallback(move |request| greet(request, "max-age=60").held(&held));
    let proxy = transparent(&backend).await;
    let mut asked = Vec::new();
    for (at, name) in ["alice", "bob"].into_iter().enumerate() {
        asked.push(proxy.client().begin(&as_user("/", name)).await);
        backend.until_count("/", at + 1).await;
    }
    asked.push(proxy.client().begin(&get("/")).await);
    backend.until_count("/", 3).await;

    gate.open();

    for (begun, expected) in asked.into_iter().zip(["alice", "bob", "nobody"]) {
        begun.head().await.finish().await.assert(200, expected);
    }
    assert_eq!(backend.count("/"), 3);
    proxy.get("/").await.assert(200, "nobody").assert_hit();
}

#[tokio::test]
async fn those_with_the_same_credentials_share_what_may_be_shared_and_else_ask_each() {
    for (control, requests) in [("public, max-age=60", 1), ("max-age=60", 2)] {
        let backend = Backend::start().await;
        let gate = Gate::new();
        let held = gate.clone();
        backend.fallback(move |request| greet(request, control).held(&held));
        let proxy = transparent(&backend).await;
        let first = proxy.client().begin(&as_user("/", "alice")).await;
        backend.until_count("/", 1).await;
        let second = proxy.client().begin(&as_user("/", "alice")).await;

        gate.open();

        first.head().await.finish().await.assert(200, "alice");
        second.head().await.finish().await.assert(200, "alice");
        assert_eq!(backend.count("/"), requests, "{control}");
    }
}

#[tokio::test]
async fn nothing_of_credentials_is_written_whatever_the_key_is_made_of() {
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("x").with("Cache-Control", "public, max-age=60"));
    let proxy = Setup::over(&backend)
        .with(|settings| {
            settings.fill = FillMode::Transparent;
            settings.key_headers = vec!["Authorization".into(), "X-A".into()];
        })
        .key_fn(|info| format!("{} {:?}", info.path, info.headers))
        .start()
        .await;

    proxy.send(as_user("/", "Basic s3cr3t")).await.assert_stored();

    assert_eq!(backend.last("/").field("authorization"), Some("Basic s3cr3t"));
    assert_eq!(proxy.files_with("s3cr3t"), Vec::<String>::new());
}

#[tokio::test]
async fn a_missing_page_is_remembered_for_others_by_the_same_rule() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let name = request.field("authorization").unwrap_or("nobody").to_owned();
        let answer = Answer::new(404).with("Content-Type", "text/html").body(name);
        match request.path() {
            "/all" => answer.with("Cache-Control", "public, max-age=60"),
            _ => answer.with("Cache-Control", "max-age=60"),
        }
    });
    let proxy = transparent(&backend).await;

    let first = proxy.send(as_user("/all", "alice")).await;
    first.assert(404, "alice").assert_stored();
    proxy.get("/all").await.assert(404, "alice").assert_hit();

    let own = proxy.send(as_user("/own", "alice")).await;
    own.assert(404, "alice").assert_not_stored(Reason::Authorization);
    proxy.get("/own").await.assert(404, "nobody").assert_stored();
    let own = proxy.send(as_user("/own", "bob")).await;
    own.assert(404, "bob").assert_not_stored(Reason::Authorization);
    proxy.get("/own").await.assert(404, "nobody").assert_hit();
}

#[tokio::test]
async fn a_stored_page_is_validated_with_the_credentials_and_lost_to_nobody_by_them() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let is_known = request.fields.has("authorization");
        let is_asked = request.fields.has("if-none-match");
        let answer = match (request.path(), is_known, is_asked) {
            // Who is known is told something else.
            ("/own", true, _) => return Answer::page("yours").with("Cache-Control", "private"),
            (_, _, true) => Answer::new(304),
            (_, _, false) => Answer::page("page"),
        };
        let control = match (request.path(), is_known) {
            ("/closed", true) => "max-age=60",
            _ => "public, max-age=60",
        };
        answer.with("ETag", "\"1\"").with("Cache-Control", control)
    });
    let proxy = transparent(&backend).await;
    for path in ["/", "/own", "/closed"] {
        proxy.warm(path).await.assert(200, "page");
    }
    proxy.clock().advance(61);

    proxy.send(as_user("/", "alice")).await.assert_revalidated();
    let asked = backend.last("/");
    assert_eq!(asked.field("if-none-match"), Some("\"1\""));
    assert_eq!(asked.field("authorization"), Some("alice"));
    proxy.get("/").await.assert(200, "page").assert_hit();

    let own = proxy.send(as_user("/own", "alice")).await;
    own.assert(200, "yours").assert_not_stored(Reason::Private);
    let closed = proxy.send(as_user("/closed", "alice")).await;
    closed
        .assert(200, "page")
        .assert_not_stored(Reason::Authorization);
    for path in ["/own", "/closed"] {
        let others = proxy.get(path).await;
        others.assert(200, "page").assert_revalidated();
        assert_eq!(backend.last(path).field("authorization"), None);
    }
}

#[tokio::test]
async fn whatever_else_says_who_asks_passes_as_ever() {
    let backend = greeting("public, max-age=60").await;
    let proxy = transparent(&backend).await;
    proxy.warm("/").await;
    for (name, value, reason) in [
        ("Cookie", "session=1", Reason::Cookie),
        ("X-Api-Key", "1", Reason::Authorization),
        ("Proxy-Authorization", "Basic x", Reason::Authorization),
    ] {
        let visitor = as_user("/", "alice").with(name, value);
        proxy
            .send(visitor)
            .await
            .assert(200, "alice")
            .assert_not_stored(reason);
    }
    let link = proxy.send(as_user("/?token=1", "alice")).await;
    link.assert(200, "alice").assert_not_stored(Reason::SecretQuery);

    // And who names it among the fields that pass has it pass.
    let proxy = transparent_with(&backend, |settings| {
        settings.bypass_headers = vec!["authorization".into()];
    })
    .await;
    proxy.warm("/").await;
    let response = proxy.send(as_user("/", "alice")).await;
    response
        .assert(200, "alice")
        .assert_not_stored(Reason::Authorization);
}

#[tokio::test]
async fn a_visitor_s_harmless_cookies_are_theirs_on_an_answer_that_is_not_shared() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let cookie = request.field("cookie").unwrap_or("none").to_owned();
        Answer::page(cookie).with("Cache-Control", "max-age=60")
    });
    let proxy = transparent(&backend).await;
    proxy.warm("/stored").await;

    let visitor = as_user("/", "alice").with("Cookie", "_ga=1");
    let response = proxy.send(visitor).await;

    response
        .assert(200, "_ga=1")
        .assert_not_stored(Reason::Authorization);
}
