//! A miss: one fetch, the client's answer as the backend gave it, and a snapshot beside it.

use std::fs;
use std::time::Duration;

use phantom_frame::Reason;

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, End, Gate, Proxy, get, head};

#[tokio::test]
async fn a_first_visit_is_fetched_once_and_becomes_two_files() {
    let backend = Backend::with("/blog/hello", Answer::page("hello").with("X-Powered-By", "test")).await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy.get("/blog/hello").await;

    response.assert(200, "hello").assert_stored();
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.field("x-powered-by"), Some("test"));
    assert_eq!(response.cache().fwd.as_deref(), Some("uri-miss"));
    assert_eq!(backend.count("/blog/hello"), 1);
    let pages = proxy.pages();
    assert_eq!(pages.len(), 2, "a body and a sidecar: {pages:?}");
}

#[tokio::test]
async fn the_body_file_holds_the_page_and_the_sidecar_says_what_it_is() {
    let backend = Backend::with("/blog/hello", Answer::page("hello").with("X-Powered-By", "test")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/blog/hello").await;

    let body = proxy.body_file("site.test/blog/hello.");
    let (_, sidecar) = proxy.sidecar("site.test/blog/hello.");

    assert_eq!(body.extension().and_then(|ext| ext.to_str()), Some("html"));
    assert_eq!(fs::read(&body).unwrap(), b"hello");
    for part in [
        "GET:/blog/hello",
        "200",
        "[\"content-type\"",
        "[\"x-powered-by\", \"test\"]",
    ] {
        assert!(
            sidecar.contains(part),
            "{part} should be in the sidecar:\n{sidecar}"
        );
    }
    for part in ["date", "connection", "content-length"] {
        assert!(
            !sidecar.to_lowercase().contains(&format!("[\"{part}\"")),
            "{part} should not be among the stored fields:\n{sidecar}"
        );
    }
}

#[tokio::test]
async fn with_a_public_url_the_tree_has_no_level_for_the_host() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.public_url = Some("https://site.test".into());
    })
    .await;
    proxy.warm("/").await;
    proxy.warm("/blog/hello").await;

    proxy.body_file("index.");
    proxy.body_file("blog/hello.");
}

#[tokio::test]
async fn pages_of_every_framing_and_size_are_stored_whole() {
    let large: String = "0123456789abcdef".repeat(5 << 16);
    let backend = Backend::start().await;
    backend.on("/empty", Answer::page(""));
    backend.on("/length", Answer::page("some text"));
    backend.on("/chunked", Answer::page("some").body(" ").body("text").chunked());
    backend.on("/large", Answer::page(large.clone()));
    let proxy = Proxy::start(&backend).await;

    for (path, body) in [
        ("/empty", ""),
        ("/length", "some text"),
        ("/chunked", "some text"),
        ("/large", large.as_str()),
    ] {
        let miss = proxy.get(path).await;
        assert_eq!(miss.body, body.as_bytes(), "the first answer for {path}");
        miss.assert_stored();
        let hit = proxy.get(path).await;
        assert_eq!(hit.body, body.as_bytes(), "the second answer for {path}");
        hit.assert_hit();
        assert_eq!(
            hit.field("content-length"),
            Some(body.len().to_string().as_str()),
            "{path}"
        );
        assert_eq!(backend.count(path), 1, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_only_the_end_of_the_connection_ends_is_passed_on_whole() {
    let backend = Backend::with("/", Answer::page("all of it").until_close()).await;
    let proxy = Proxy::start(&backend).await;

    proxy.get("/").await.assert(200, "all of it");
}

#[tokio::test]
async fn repeated_fields_survive_being_stored() {
    let backend = Backend::with(
        "/",
        Answer::page("x")
            .with("Link", "</a.css>; rel=preload")
            .with("X-Between", "1")
            .with("Link", "</b.js>; rel=preload"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    for response in [proxy.get("/").await, proxy.get("/").await] {
        assert_eq!(
            response.fields.all("link"),
            ["</a.css>; rel=preload", "</b.js>; rel=preload"]
        );
    }
    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn a_head_request_for_a_cold_page_is_answered_without_a_body() {
    let backend = Backend::with("/", Answer::page("hello")).await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy.send(head("/")).await;

    response.assert(200, "");
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(backend.last("/").method, "HEAD");
    proxy.get("/").await.assert(200, "hello").assert_stored();
    proxy.send(head("/")).await.assert(200, "").assert_hit();
}

#[tokio::test]
async fn a_backend_that_is_down_is_a_502_that_is_not_stored() {
    let mut backend = Backend::with_page("back").await;
    backend.stop().await;
    let proxy = Proxy::start(&backend).await;

    proxy.get("/").await.assert_refused(502, Reason::Unreachable);
    assert_eq!(proxy.pages(), Vec::<String>::new());

    backend.start_again();
    proxy.get("/").await.assert(200, "back").assert_stored();
}

#[tokio::test]
async fn a_backend_that_does_not_speak_http_is_a_502() {
    let backend = Backend::with(
        "/",
        Answer::raw([Step::Send("what do you want?\r\n\r\n".into()), Step::Close]),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    proxy.get("/").await.assert_refused(502, Reason::Unreachable);
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_backend_that_does_not_answer_in_time_is_a_504() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("late").held(&gate)).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.response_timeout = Duration::from_millis(200);
    })
    .await;

    proxy.get("/").await.assert_refused(504, Reason::Timeout);
    gate.open();
    backend.on("/", Answer::page("in time"));
    proxy.get("/").await.assert(200, "in time").assert_stored();
}

#[tokio::test]
async fn a_backend_that_stands_still_in_a_body_is_cut_off() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("half").wait(&gate).body("other half")).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.body_timeout = Duration::from_millis(200);
    })
    .await;

    let response = proxy.get("/").await;

    assert_eq!((response.text().as_str(), response.end), ("half", End::Cut));
    assert_eq!(proxy.pages(), Vec::<String>::new());
    gate.open();
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_idle_is_retried_once() {
    let backend = Backend::start().await;
    backend.on(
        "/kept",
        Answer::raw([Step::Send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\na".into(),
        )]),
    );
    // Answers as if the connection were kept, and closes it at once: the next request may be written
    // before the close is noticed.
    backend.on(
        "/closing",
        Answer::raw([
            Step::Send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nb".into()),
            Step::Close,
        ]),
    );
    let proxy = Proxy::start(&backend).await;

    for round in 0..20 {
        proxy.get(&format!("/closing?{round}")).await.assert(200, "b");
        proxy.get(&format!("/kept?{round}")).await.assert(200, "a");
    }
}

#[tokio::test]
async fn a_request_with_a_fragment_of_a_page_cached_by_its_query_is_another_page() {
    let backend = Backend::start().await;
    backend.on_fn("/list", |request| Answer::page(request.target.clone()));
    let proxy = Proxy::start(&backend).await;

    proxy.warm("/list?page=1").await.assert(200, "/list?page=1");
    proxy
        .send(get("/list?page=2"))
        .await
        .assert(200, "/list?page=2")
        .assert_stored();
    assert_eq!(backend.count("/list"), 2);
}
