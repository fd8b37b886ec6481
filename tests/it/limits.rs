//! What a client may hold of us, and for how long: heads, targets, fields, bodies that stand still,
//! answers that nobody reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as route_get;
use phantom_frame::Reason;
use phantom_frame::server::{Server, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::rig::h2::{H2, StreamEnd};
use crate::rig::{Backend, End, Proxy, Setup, eventually, get, within};

const SHORT: Duration = Duration::from_millis(300);

/// A server with limits of the test's, which ends with the test's runtime.
async fn serve(app: Router, change: impl FnOnce(&mut ServerLimits)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut limits = ServerLimits::default();
    change(&mut limits);
    tokio::spawn(Server::new(listener, app, limits).run(std::future::pending()));
    address
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused_and_reaches_no_backend() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: site.test\r\n\r\n", "x".repeat(length));
    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: site.test\r\n{}\r\n",
            "X: y\r\n".repeat(count)
        )
    };
    let field = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: site.test\r\nX: {}\r\n\r\n",
            "y".repeat(length)
        )
    };
    for (head, status) in [
        (target(20_000), 200),
        (target(40_000), 414),
        (target(70_000), 431),
        (fields(90), 200),
        (fields(100), 431),
        (fields(5_000), 431),
        (field(60_000), 200),
        (field(70_000), 431),
        (field(5_000_000), 431),
    ] {
        let before = backend.total();
        let response = proxy.client().raw(head.as_bytes()).await;
        assert_eq!(response.status, status, "{head:.30} of {} bytes", head.len());
        assert!(status == 200 || backend.total() == before, "{head:.30}");
    }
    assert!(proxy.pages().iter().all(|file| file.len() < 1000));
}

#[tokio::test]
async fn fields_and_targets_have_the_same_limits_in_http_2() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    let start: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"site.test"),
        (b":path", b"/"),
    ];
    let mut connection = H2::connect(proxy.addr()).await;
    for (count, expected) in [(90, 200), (101, 431), (0, 200)] {
        let fields: Vec<(&[u8], &[u8])> = start
            .into_iter()
            .chain(vec![(&b"x"[..], &b"y"[..]); count])
            .collect();
        let stream = connection.begin(&fields, None).await;
        let StreamEnd::Answered(status, _) = connection.end_of(stream).await else {
            panic!("no answer with {count} fields");
        };
        assert_eq!(status, expected, "{count} fields");
    }
    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_a_408() {
    let address = serve(Router::new(), |limits| limits.header_timeout = SHORT).await;
    let mut connection = crate::rig::client::Client::to(address).connect().await;
    connection.write(b"GET / HTTP/1.1\r\n").await;
    let answer = loop {
        connection.write(b"X: y\r\n").await;
        if let Ok(bytes) = tokio::time::timeout(SHORT / 10, connection.bytes()).await {
            break bytes.expect("a last word");
        }
    };
    assert!(
        answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(connection.rest().await, b"");
}

async fn impatient(backend: &Backend) -> Proxy {
    Setup::over(backend)
        .with(|settings| {
            settings.body_timeout = SHORT;
            settings.include_paths = vec!["POST /search".into(), "/*".into()];
        })
        .start()
        .await
}

#[tokio::test]
async fn a_request_body_that_stands_still_is_a_408_and_never_completes_at_the_backend() {
    let backend = Backend::with_page("page").await;
    let proxy = impatient(&backend).await;
    for (path, framing) in [
        ("/length", "Content-Length: 100\r\n\r\nfirst"),
        ("/none", "Content-Length: 100\r\n\r\n"),
        ("/chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
        ("/chunk", "Transfer-Encoding: chunked\r\n\r\n10\r\nfirst"),
        ("/search", "Content-Length: 100\r\n\r\nfirst"),
    ] {
        let mut connection = proxy.client().connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: site.test\r\n{framing}");
        connection.write(head.as_bytes()).await;
        let response = connection.response("POST").await;
        response.assert_refused(408, Reason::RequestTimeout);
        assert_eq!(response.field("connection"), Some("close"));
        assert_eq!(connection.rest().await, b"");
        backend
            .until("the request to end", |requests| {
                requests.iter().all(|seen| seen.body_end.is_some())
            })
            .await;
        let seen = backend.requests_for(path);
        assert!(
            seen.iter().all(|seen| seen.body_end == Some(End::Cut)),
            "{seen:?}"
        );
        // A body that is part of the key is read before anybody is asked.
        assert_eq!(seen.len(), usize::from(path != "/search"));
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());
    proxy.warm("/length").await;
}

#[tokio::test]
async fn a_stream_whose_body_stands_still_is_a_408_and_leaves_the_others_alone() {
    let backend = Backend::with_page("page").await;
    let proxy = impatient(&backend).await;
    let fields = |method: &'static [u8], path: &'static [u8]| -> [(&'static [u8], &'static [u8]); 4] {
        [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"site.test"),
            (b":path", path),
        ]
    };
    let mut connection = H2::connect(proxy.addr()).await;
    let still = connection
        .begin_and_stop(&fields(b"POST", b"/still"), b"first")
        .await;
    let other = connection.begin(&fields(b"GET", b"/other"), None).await;
    assert_eq!(
        connection.end_of(other).await,
        StreamEnd::Answered(200, b"page".to_vec())
    );
    let end = connection.end_of(still).await;
    assert!(matches!(end, StreamEnd::Answered(408, _)), "{end:?}");
    backend
        .until("the request to end", |requests| {
            requests.iter().all(|seen| seen.body_end.is_some())
        })
        .await;
    assert_eq!(backend.last("/still").body_end, Some(End::Cut));
    let other = connection.begin(&fields(b"GET", b"/other"), None).await;
    assert_eq!(
        connection.end_of(other).await,
        StreamEnd::Answered(200, b"page".to_vec())
    );
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_and_leaves_the_others_alone() {
    let app = Router::new()
        .route("/large", route_get(|| async { "x".repeat(1 << 20) }))
        .route("/small", route_get(|| async { "small" }));
    let address = serve(app, |limits| limits.write_timeout = SHORT).await;
    let fields = |path: &'static [u8]| -> [(&'static [u8], &'static [u8]); 4] {
        [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"site.test"),
            (b":path", path),
        ]
    };
    let small = StreamEnd::Answered(200, b"small".to_vec());
    // A stream may have a thousand bytes and gets leave for no more.
    let mut connection = H2::with_window(address, 1000).await;
    let large = connection.begin(&fields(b"/large"), None).await;
    let before = connection.begin(&fields(b"/small"), None).await;
    assert_eq!(connection.end_of(before).await, small);

    let end = connection.end_of(large).await;

    assert!(matches!(end, StreamEnd::Reset(_)), "{end:?}");
    let after = connection.begin(&fields(b"/small"), None).await;
    assert_eq!(connection.end_of(after).await, small);
}

#[tokio::test]
async fn a_stream_that_waits_for_its_application_is_not_reset() {
    let app = Router::new().route(
        "/slow",
        route_get(|| async {
            let pieces = futures_util::stream::unfold(0, |count| async move {
                tokio::time::sleep(SHORT).await;
                (count < 4).then(|| (Ok::<_, std::convert::Infallible>("piece"), count + 1))
            });
            axum::body::Body::from_stream(pieces)
        }),
    );
    let address = serve(app, |limits| limits.write_timeout = SHORT / 4).await;
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"site.test"),
        (b":path", b"/slow"),
    ];
    let mut connection = H2::connect(address).await;
    let stream = connection.begin(&fields, None).await;
    let end = connection.end_of(stream).await;
    assert_eq!(end, StreamEnd::Answered(200, b"piece".repeat(4)));
}

#[tokio::test]
async fn a_fill_runs_at_the_disk_s_pace_when_its_reader_reads_nothing() {
    let page = "x".repeat(20 << 20);
    let backend = Backend::start().await;
    backend.on("/large", crate::rig::Answer::page(page.clone()));
    let proxy = Proxy::start(&backend).await;
    let begun = proxy.client().begin(&get("/large")).await;

    eventually("the page is stored", async || {
        (proxy.pages().len() == 2).then_some(())
    })
    .await;

    proxy.get("/large").await.assert(200, &page).assert_hit();
    begun.head().await.finish().await.assert(200, &page);
    assert_eq!(backend.count("/large"), 1);
}

/// A backend that answers without end, and how many bytes it has got rid of.
async fn endless() -> (String, Arc<AtomicUsize>, JoinHandle<()>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(16 << 10).expect("SO_SNDBUF");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a port");
    let listener = socket.listen(8).expect("it listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let read = stream.read(&mut head).await.expect("a request");
        assert!(read > 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n";
        stream.write_all(answer).await.expect("a head");
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {
            counter.fetch_add(4096, Ordering::Relaxed);
        }
    });
    (url, sent, task)
}

#[tokio::test]
async fn a_backend_is_read_no_faster_than_the_client_of_a_pass_reads() {
    let (url, sent, backend) = endless().await;
    let proxy = Setup::over_url(url).start().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
    let mut client = socket.connect(proxy.addr()).await.expect("connected");
    let request = b"GET / HTTP/1.1\r\nHost: site.test\r\nCookie: session=1\r\n\r\n";
    client.write_all(request).await.expect("written");
    let mut some = [0; 1024];
    within("a beginning", client.read_exact(&mut some))
        .await
        .expect("a beginning");

    let stopped = eventually("the backend is held up", async || {
        let before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let after = sent.load(Ordering::Relaxed);
        (before == after && after > 0).then_some(after)
    })
    .await;

    // The sum of our buffers and the four of the kernel, which grow to megabytes by themselves.
    assert!(stopped < 8 << 20, "{stopped} bytes were taken from the backend");
    drop(client);
    within("the backend to be let go", backend)
        .await
        .expect("the backend's task");
}
