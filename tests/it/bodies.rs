//! A body that nobody asked for: of a request that is answered from the store, refused, or to become a
//! tunnel. It is a body to its end, and never the next request.

use std::time::Duration;

use phantom_frame::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Proxy, Setup, get, within};

const HIDDEN: &str = "GET /admin HTTP/1.1\r\nHost: site.test\r\n\r\n";
const LAST: &str = "GET /page HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";

fn chunked(body: &str) -> String {
    format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

fn sized(body: &str) -> String {
    format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_body_of_a_request_for_a_stored_page_is_never_a_request() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        for framed in [sized(HIDDEN), chunked(HIDDEN)] {
            let before = backend.total();
            let mut connection = proxy.client().connect().await;
            let bytes = format!("{method} /page HTTP/1.1\r\nHost: site.test\r\n{framed}{LAST}");
            connection.write(bytes.as_bytes()).await;

            let first = connection.response(method).await;
            assert_eq!(first.status, 200, "{bytes}");
            let detail = first.cache().detail;
            assert!(
                matches!(detail.as_deref(), Some("request-body" | "method")),
                "{method}: {detail:?}"
            );
            // DELETE marks the page as to be validated; for the others it is a hit.
            connection.response("GET").await.assert(200, "page");
            assert_eq!(connection.rest().await, b"");
            let seen = &backend.requests()[before];
            assert_eq!((seen.method.as_str(), seen.text().as_str()), (method, HIDDEN));
            assert_eq!(backend.count("/admin"), 0, "{bytes}");
        }
        proxy.get("/page").await.assert(200, "page");
    }
}

#[tokio::test]
async fn the_body_of_a_stored_post_is_read_to_its_end() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into(), "/page".into()];
    })
    .await;
    proxy.warm("/page").await;
    let mut connection = proxy.client().connect().await;
    for round in 0..3 {
        let bytes = format!("POST /search HTTP/1.1\r\nHost: site.test\r\n{}", sized(HIDDEN));
        connection.write(bytes.as_bytes()).await;
        let response = connection.response("POST").await;
        response.assert(200, "page");
        assert_eq!(response.cache().hit, round > 0, "{response:?}");
    }
    connection.write(LAST.as_bytes()).await;
    connection.response("GET").await.assert_hit();
    assert_eq!((backend.count("/search"), backend.count("/admin")), (1, 0));
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_never_a_request() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .configured(|config| config.with_forward_get_only(true).with_websocket_enabled(false))
        .start()
        .await;
    let large = HIDDEN.repeat(5_000);
    for (start, status) in [
        ("POST /page HTTP/1.1\r\nHost: site.test\r\n", 405),
        ("POST /page HTTP/1.1\r\nHost: a b\r\n", 400),
        (
            "GET /page HTTP/1.1\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            501,
        ),
    ] {
        for framed in [sized(HIDDEN), chunked(HIDDEN), sized(&large), chunked(&large)] {
            let mut connection = proxy.client().connect().await;
            connection.write(format!("{start}{framed}").as_bytes()).await;
            let response = connection.response("POST").await;
            assert_eq!(response.status, status, "{response:?}");
            drop(connection);
        }
    }
    assert_eq!(backend.total(), 0);
    proxy.warm("/page").await;
}

#[tokio::test]
async fn after_a_refused_upgrade_requests_are_ordinary_ones() {
    let backend = Backend::with_page("page").await;
    backend.on("/ws", Answer::new(403).body("no"));
    let proxy = Proxy::start(&backend).await;
    let mut connection = proxy.client().connect().await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    connection
        .write(format!("{upgrade}{HIDDEN}{LAST}").as_bytes())
        .await;

    connection.response("GET").await.assert(403, "no");
    // What stood behind it was a request in its own right: it is looked up, and filled for nobody.
    connection
        .response("GET")
        .await
        .assert(200, "page")
        .assert_stored();
    connection.response("GET").await.assert(200, "page");
    assert_eq!(backend.count("/admin"), 1);
    assert_eq!(backend.last("/admin").field("x-real-ip"), None);
    proxy.get("/admin").await.assert_hit();
}

#[tokio::test]
async fn http_1_0_asks_for_no_upgrade() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    let request = b"GET /ws HTTP/1.0\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

    proxy
        .client()
        .raw(request)
        .await
        .assert(200, "page")
        .assert_stored();

    assert!(!backend.last("/ws").fields.has("upgrade"));
}

#[tokio::test]
async fn what_an_upgrade_s_body_holds_is_no_request_and_no_part_of_the_tunnel() {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let backend = Backend::with("/ws", Answer::raw([Step::Send(agreed.into()), Step::Echo])).await;
    let proxy = Proxy::start(&backend).await;
    let mut connection = proxy.client().connect().await;
    let head = "POST /ws HTTP/1.1\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n";
    connection
        .write(format!("{head}{}early", sized(HIDDEN)).as_bytes())
        .await;

    assert_eq!(connection.response("POST").await.status, 101);
    assert_eq!(connection.exactly(5).await, b"early");
    assert_eq!(
        (backend.total(), backend.last("/ws").text().as_str()),
        (1, HIDDEN)
    );
}

/// Takes one request to the end of its chunked body and trailers, answers, and gives what came.
async fn take_one(listener: tokio::net::TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut came = Vec::new();
    let is_whole = |came: &[u8]| {
        let text = String::from_utf8_lossy(came);
        text.split_once("\r\n0\r\n")
            .is_some_and(|(_, rest)| rest.ends_with("\r\n"))
            && text.ends_with("\r\n\r\n")
    };
    while !is_whole(&came) {
        came.push(stream.read_u8().await.expect("more of the request"));
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(answer).await.expect("answered");
    String::from_utf8(came).expect("text")
}

#[tokio::test]
async fn trailers_arrive_if_they_are_announced_and_change_nothing() {
    let trailers = "X-Sum: 1\r\nX-Other: 2\r\nContent-Length: 3\r\nHost: evil.test\r\nAuthorization: Basic x\r\n\
                    Transfer-Encoding: gzip\r\nX-Forwarded-For: 1.2.3.4\r\n";
    let announced = "Trailer: X-Sum, Content-Length, Host, Authorization, Transfer-Encoding\r\n";
    for (announced, expected) in [("", "0\r\n\r\n"), (announced, "0\r\nx-sum: 1\r\n\r\n")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let came = tokio::spawn(take_one(listener));
        let proxy = Setup::over_url(url)
            .with(|settings| settings.body_timeout = Duration::from_secs(5))
            .start()
            .await;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n{announced}\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
        );

        assert_eq!(proxy.client().raw(request.as_bytes()).await.status, 200);

        let came = within("the request", came).await.expect("the backend's task");
        let (head, body) = came.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, format!("5\r\nhello\r\n{expected}"));
        assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
        assert!(
            !head.contains("evil") && !head.contains("authorization: "),
            "{head}"
        );
    }
}

#[tokio::test]
async fn an_expectation_is_met_here_and_goes_no_further() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    let mut connection = proxy.client().connect().await;
    connection
        .write(b"POST / HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(connection.exactly(25).await, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write(b"hello").await;
    connection.response("POST").await.assert(200, "page");
    let seen = backend.last("/");
    assert_eq!((seen.field("expect"), seen.text().as_str()), (None, "hello"));

    // Refused before the body: the body is not asked for, and what comes anyway is not read.
    let mut connection = proxy.client().connect().await;
    connection
        .write(b"POST / HTTP/1.1\r\nHost: a b\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    connection
        .response("POST")
        .await
        .assert_refused(400, Reason::BadRequest);
    connection.write(HIDDEN.as_bytes()).await;
    assert_eq!(connection.rest().await, b"");
    assert_eq!(backend.count("/admin"), 0);
    proxy.send(get("/admin")).await.assert_stored();
}
