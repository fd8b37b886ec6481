//! What the tests of this folder share: scripted backends over raw TCP, and a client's hand.

use std::future::pending;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

pub(super) const SHORT: Duration = Duration::from_millis(80);
pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) fn options(base: &str) -> UpstreamOptions {
    UpstreamOptions {
        base: base.parse().expect("a URL"),
        connect_timeout: LONG,
        response_timeout: LONG,
        body_timeout: LONG,
        ca_file: None,
    }
}

pub(super) fn request(method: &str, target: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(target)
        .body(body.into())
        .expect("a request")
}

pub(super) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Reads up to the end of a head, not beyond; nothing if the connection ends before.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A backend that gives each connection, with its number from 1, to `serve`.
pub(super) async fn backend<F, Served>(serve: F) -> String
where
    F: Fn(usize, TcpStream) -> Served + Send + 'static,
    Served: Future<Output = ()> + Send + 'static,
{
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        for number in 1.. {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(serve(number, stream));
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// A backend that answers every first head of a connection with `answer`, and then closes or, if told
/// so, keeps the connection open.
pub(super) async fn answering(answer: &'static str, then: Then) -> String {
    backend(move |_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("written");
        if then == Then::Hold {
            pending::<()>().await;
        }
    })
    .await
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    Hold,
}

/// A server in front of `upstream` that forwards everything and joins tunnels.
pub(super) async fn front(upstream: Upstream, idle: Duration) -> TcpStream {
    let (listener, port) = listen().await;
    let app = Router::new().fallback(move |mut request: Request<Body>| {
        let upstream = upstream.clone();
        async move {
            let client = hyper::upgrade::on(&mut request);
            let mut response = upstream.fetch(request).await.expect("a response");
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let backend = hyper::upgrade::on(&mut response);
                tokio::spawn(tunnel::splice(client, backend, idle));
            }
            response
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    TcpStream::connect(("127.0.0.1", port)).await.expect("connected")
}

pub(super) const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly from client";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly from backend;";

/// The backend of a tunnel: early bytes with the 101, then everything back once the client has ended.
pub(super) async fn echo_at_the_end(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    read_head(&mut stream).await;
    stream.write_all(SWITCH).await.expect("written");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("the client's end");
    stream.write_all(&all).await.expect("written");
    stream.shutdown().await.expect("shut down");
}

pub(super) async fn assert_early_bytes_and_half_close(mut client: TcpStream) {
    client.write_all(UPGRADE).await.expect("written");
    let head = read_head(&mut client).await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.write_all(b", late from client").await.expect("written");
    client.shutdown().await.expect("shut down");
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.expect("the backend's end");
    assert_eq!(rest, "early from backend;early from client, late from client");
}
