//! The rig against itself: what the tests rely on, without the proxy between.

use super::backend::{Answer, Backend, Step};
use super::client::{CacheStatus, Client, End, get, post};
use super::gate::Gate;

fn direct(backend: &Backend) -> Client {
    Client::to(backend.addr())
}

#[tokio::test]
async fn a_backend_answers_as_told_and_records_what_came() {
    let backend = Backend::start().await;
    backend.on(
        "/page",
        Answer::page("hello").with("Link", "<a>").with("Link", "<b>"),
    );
    let response = direct(&backend)
        .send(get("/page?q=1").with("X-A", "1").with("x-a", "2"))
        .await;
    response.assert(200, "hello");
    assert_eq!(response.fields.all("link"), ["<a>", "<b>"]);
    let request = backend.last("/page");
    assert_eq!(request.target, "/page?q=1");
    assert_eq!(request.fields.all("X-A"), ["1", "2"]);
    assert!(
        request
            .raw_head
            .starts_with(b"GET /page?q=1 HTTP/1.1\r\nHost: site.test\r\nX-A: 1\r\nx-a: 2\r\n"),
    );
    direct(&backend)
        .get("/nowhere")
        .await
        .assert(404, "no route for /nowhere");
    assert_eq!((backend.count("/page"), backend.total()), (1, 2));
}

#[tokio::test]
async fn bodies_of_every_framing_arrive() {
    let backend = Backend::start().await;
    backend.on("/length", Answer::page("ab").body("cd"));
    backend.on("/chunked", Answer::page("ab").body("cd").chunked());
    backend.on("/close", Answer::page("ab").body("cd").until_close());
    for path in ["/length", "/chunked", "/close"] {
        direct(&backend).get(path).await.assert(200, "abcd");
        direct(&backend).send(super::head(path)).await.assert(200, "");
    }
    backend.on_fn("/echo", |request| Answer::page(request.body.clone()));
    direct(&backend)
        .send(post("/echo", "sent"))
        .await
        .assert(200, "sent");
    direct(&backend)
        .raw(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await
        .assert(200, "abcde");
}

#[tokio::test]
async fn connections_are_kept() {
    let backend = Backend::with_page("x").await;
    let mut connection = direct(&backend).connect().await;
    connection.send(&get("/a")).await.assert(200, "x");
    connection.send(&get("/b")).await.assert(200, "x");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_gate_holds_the_head_or_the_middle_of_a_body() {
    let (head, middle) = (Gate::new(), Gate::new());
    let backend = Backend::with(
        "/slow",
        Answer::page("first").wait(&middle).body("second").held(&head),
    )
    .await;
    let begun = direct(&backend).begin(&get("/slow")).await;
    head.arrivals(1).await;
    head.open();
    let mut exchange = begun.head().await;
    assert_eq!(exchange.at_least(5).await, b"first");
    middle.open();
    exchange.finish().await.assert(200, "firstsecond");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to() {
    let backend = Backend::start().await;
    backend.on(
        "/length",
        Answer::page("ab").claiming_length(10).step(Step::Close),
    );
    backend.on("/chunked", Answer::page("ab").chunked().step(Step::Close));
    backend.on("/reset", Answer::page("ab").until_close().step(Step::Reset));
    for path in ["/length", "/chunked", "/reset"] {
        let response = direct(&backend).get(path).await;
        assert_eq!(
            (response.end, response.text().as_str()),
            (End::Cut, "ab"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_stopped_backend_refuses_and_comes_back_on_its_port() {
    let mut backend = Backend::with_page("x").await;
    let kept = direct(&backend);
    kept.get("/").await.assert(200, "x");
    backend.stop().await;
    assert!(tokio::net::TcpStream::connect(backend.addr()).await.is_err());
    backend.start_again();
    kept.get("/").await.assert(200, "x");
}

#[tokio::test]
async fn a_tunnel_echoes() {
    let backend = Backend::with(
        "/ws",
        Answer::raw([
            Step::Send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n".into(),
            ),
            Step::Echo,
            Step::Send("bye".into()),
            Step::Close,
        ]),
    )
    .await;
    let request = get("/ws").with("Connection", "upgrade").with("Upgrade", "echo");
    let exchange = direct(&backend).open(request).await;
    assert_eq!(exchange.status, 101);
    let mut connection = exchange.into_connection();
    connection.write(b"ping").await;
    assert_eq!(connection.exactly(4).await, b"ping");
    connection.shut_down().await;
    assert_eq!(connection.rest().await, b"bye");
}

#[test]
fn cache_status_is_read_as_rfc_9211_writes_it() {
    let ours = CacheStatus::parse("phantom-frame;hit;ttl=-5").unwrap();
    assert!(ours.hit);
    assert_eq!(ours.ttl, Some(-5));
    let ours = CacheStatus::parse(
        "\"phantom-frame\"; hit, phantom-frame; fwd=uri-miss; fwd-status=200; stored; detail=\"a;b,c\"",
    )
    .unwrap();
    assert_eq!(
        (ours.hit, ours.stored, ours.collapsed, ours.fwd_status),
        (false, true, false, Some(200))
    );
    assert_eq!(ours.detail.as_deref(), Some("a;b,c"));
    assert_eq!(CacheStatus::parse("other; hit"), None);
}
