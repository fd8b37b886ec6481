//! Tests of fetching, against backends that misbehave.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::super::Upstream;
use super::super::test_rig::*;
use super::*;
use crate::outcome::Reason;

/// Lets whatever is ready run, such as the return of a connection to its pool.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_arrives_byte_for_byte_and_with_its_own_host() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let base = backend(move |_, mut stream| {
        let heads = heads.clone();
        async move {
            while let Some(head) = read_head(&mut stream).await {
                heads.send(head).expect("the test listens");
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .expect("written");
            }
        }
    })
    .await;
    let upstream = Upstream::http(options(&format!("{base}/base"))).expect("an upstream");
    let mut first = request("GET", "http://other/a/%2e%2e/b//c?x=%2F;y", "");
    first
        .headers_mut()
        .insert(header::HOST, "example.com:81".parse().expect("a value"));
    *first.version_mut() = http::Version::HTTP_2;
    upstream.fetch(first).await.expect("a response");
    upstream.fetch(request("GET", "/", "")).await.expect("a response");

    let head = seen.recv().await.expect("a head");
    assert_eq!(
        head.lines().next(),
        Some("GET /base/a/%2e%2e/b//c?x=%2F;y HTTP/1.1")
    );
    assert!(head.contains("host: example.com:81\r\n"), "{head}");
    let head = seen.recv().await.expect("a head");
    assert!(
        head.contains(&format!("host: {}\r\n", base.trim_start_matches("http://"))),
        "{head}"
    );
}

/// Closes a connection that has been used before when it is asked for `/go`, as does a fresh one if
/// `fresh` says so. Returns the response and how often `/go` arrived.
async fn go_on_a_stale_connection(
    request: Request<Body>,
    fresh: Then,
) -> (Result<Response<Body>, UpstreamError>, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let base = backend(move |_, mut stream| {
        let asked = Arc::clone(&counter);
        async move {
            let mut is_fresh = true;
            while let Some(head) = read_head(&mut stream).await {
                if head.contains(" /go ") {
                    asked.fetch_add(1, Ordering::SeqCst);
                    if !is_fresh || fresh == Then::Close {
                        return;
                    }
                }
                is_fresh = false;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .expect("written");
            }
        }
    })
    .await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    upstream
        .fetch(self::request("GET", "/warm", ""))
        .await
        .expect("a response");
    settle().await;
    let result = upstream.fetch(request).await;
    (result, asked.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_get_whose_pooled_connection_was_closed_is_sent_once_more() {
    for method in ["GET", "HEAD"] {
        let (result, asked) = go_on_a_stale_connection(request(method, "/go", ""), Then::Hold).await;
        assert_eq!(result.expect("a response").status(), StatusCode::OK);
        assert_eq!(asked, 2);
    }
}

#[tokio::test]
async fn a_get_is_never_sent_a_third_time() {
    let (result, asked) = go_on_a_stale_connection(request("GET", "/go", ""), Then::Close).await;
    assert_eq!(result.expect_err("no response").reason(), Reason::Unreachable);
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn neither_a_post_nor_a_get_with_a_body_is_sent_again() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (result, asked) = go_on_a_stale_connection(request(method, "/go", ""), Then::Hold).await;
        assert_eq!(result.expect_err("no response").reason(), Reason::Unreachable);
        assert_eq!(asked, 1, "{method}");
    }
    let (result, asked) = go_on_a_stale_connection(request("GET", "/go", "x"), Then::Hold).await;
    assert_eq!(result.expect_err("no response").reason(), Reason::Unreachable);
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_get_whose_answer_has_begun_is_not_sent_again() {
    for beginning in [
        "H",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let base = backend(move |_, mut stream| {
            let asked = Arc::clone(&counter);
            async move {
                while let Some(head) = read_head(&mut stream).await {
                    if head.contains(" /go ") {
                        asked.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(beginning.as_bytes()).await.expect("written");
                        return;
                    }
                    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(whole).await.expect("written");
                }
            }
        })
        .await;
        let upstream = Upstream::http(options(&base)).expect("an upstream");
        let warm = upstream.fetch(request("GET", "/warm", "")).await;
        warm.expect("a response");
        settle().await;
        let failed = upstream.fetch(request("GET", "/go", "")).await;
        assert_eq!(failed.expect_err("no response").reason(), Reason::Unreachable);
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{beginning}");
    }
}

#[tokio::test]
async fn a_get_whose_new_connection_is_closed_is_not_sent_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let base = backend(move |number, mut stream| {
        counter.store(number, Ordering::SeqCst);
        async move {
            read_head(&mut stream).await;
        }
    })
    .await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/x?secret", ""))
        .await
        .expect_err("no response");
    assert_eq!(error.to_string(), format!("no response from {base}/x"));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_unreachable() {
    let (listener, port) = listen().await;
    drop(listener);
    let upstream = Upstream::http(options(&format!("http://127.0.0.1:{port}"))).expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/", ""))
        .await
        .expect_err("no response");
    assert_eq!(error.reason(), Reason::Unreachable);
    assert!(!error.is_clients_fault());
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_unreachable() {
    let base = answering("SSH-2.0-OpenSSH_9.2\r\n", Then::Hold).await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/", ""))
        .await
        .expect_err("no response");
    assert_eq!(error.reason(), Reason::Unreachable);
}

#[tokio::test]
async fn a_response_head_that_does_not_come_is_a_timeout() {
    let base = answering("HTTP/1.1 200 OK\r\ncontent-", Then::Hold).await;
    let upstream = Upstream::http(UpstreamOptions {
        response_timeout: SHORT,
        ..options(&base)
    })
    .expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/", ""))
        .await
        .expect_err("no response");
    assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_stands_still_fails_after_the_bytes_that_came() {
    let base = answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", Then::Hold).await;
    let upstream = Upstream::http(UpstreamOptions {
        body_timeout: SHORT,
        ..options(&base)
    })
    .expect("an upstream");
    let response = upstream.fetch(request("GET", "/", "")).await.expect("a response");
    let mut body = response.into_body();
    let frame = body.frame().await.expect("a frame").expect("data");
    assert_eq!(frame.into_data().ok(), Some(Bytes::from_static(b"abc")));
    let error = body.frame().await.expect("not the end").expect_err("a stall");
    assert!(error.to_string().contains("stood still"), "{error}");
}

#[tokio::test]
async fn a_body_that_is_cut_is_an_error_and_never_an_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        let upstream = Upstream::http(options(&answering(answer, Then::Close).await)).expect("an upstream");
        let response = upstream.fetch(request("GET", "/", "")).await.expect("a response");
        assert!(response.into_body().collect().await.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn a_reset_ends_a_body_without_a_length_as_an_error() {
    let base = backend(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nabc")
            .await
            .expect("written");
        // Closing it now is a reset.
        stream.set_zero_linger().expect("linger is set");
    })
    .await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    let result = match upstream.fetch(request("GET", "/", "")).await {
        Ok(response) => response.into_body().collect().await.map_err(|_| ()).map(|_| ()),
        Err(_) => Err(()),
    };
    assert!(result.is_err());
}

#[tokio::test]
async fn a_redirect_is_returned_and_an_interim_response_is_not() {
    let base = answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n",
        Then::Hold,
    )
    .await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    let response = upstream.fetch(request("GET", "/", "")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::FOUND);
    assert!(response.headers().get("link").is_none());
}

fn pieces(pause: Duration, count: usize) -> Body {
    Body::from_stream(stream::iter(0..count).then(move |_| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(Bytes::from_static(b"x"))
    }))
}

/// Answers once the whole of a chunked body has come.
async fn uploadable() -> String {
    backend(|_, mut stream| async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n0\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            seen.push(byte);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .expect("written");
    })
    .await
}

#[tokio::test]
async fn an_upload_that_makes_progress_is_not_cut() {
    let upstream = Upstream::http(UpstreamOptions {
        response_timeout: SHORT,
        ..options(&uploadable().await)
    })
    .expect("an upstream");
    let response = upstream
        .fetch(request("POST", "/", pieces(SHORT * 3 / 4, 4)))
        .await;
    assert_eq!(response.expect("a response").status(), StatusCode::OK);
}

#[tokio::test]
async fn an_upload_that_stands_still_or_breaks_off_is_the_clients_fault() {
    let base = uploadable().await;
    let upstream = Upstream::http(UpstreamOptions {
        body_timeout: SHORT,
        ..options(&base)
    })
    .expect("an upstream");
    let stalled = upstream
        .fetch(request("POST", "/", pieces(LONG, 1)))
        .await
        .expect_err("no response");
    assert!(
        matches!(stalled, UpstreamError::UploadStalled { .. }),
        "{stalled:?}"
    );
    assert!(stalled.is_clients_fault());

    let broken = Body::from_stream(stream::iter([
        Ok(Bytes::from_static(b"x")),
        Err(std::io::Error::other("gone")),
    ]));
    let cut = upstream
        .fetch(request("POST", "/", broken))
        .await
        .expect_err("no response");
    assert!(matches!(cut, UpstreamError::UploadCut { .. }), "{cut:?}");
    assert!(cut.is_clients_fault());
}
