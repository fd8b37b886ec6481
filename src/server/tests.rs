//! Tests of the accept loop, over real connections.

use std::convert::Infallible;
use std::future::pending;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

const SHORT: Duration = Duration::from_millis(100);

/// A server that runs, and how to end it.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    drained: JoinHandle<Drained>,
}

impl Running {
    async fn start(app: Router, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(listener, app, limits).run(async { stopped.await.expect("told to stop") });
        Self {
            address,
            stop,
            drained: tokio::spawn(server),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    async fn stop(self) -> Drained {
        self.stop.send(()).expect("it runs");
        self.drained.await.expect("it drains")
    }
}

async fn panics() -> &'static str {
    panic!("the handler panics")
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A cut connection may end in a reset.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).expect("text")
}

/// Sends a request and reads until `end`.
async fn ask(stream: &mut TcpStream, request: &str, end: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("written");
    read_until(stream, end).await
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(stream.read_u8().await.expect("more"));
    }
    String::from_utf8(text).expect("text")
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn two_requests_share_a_connection_and_see_the_clients_address() {
    let app = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("{peer}#") }),
    );
    let server = Running::start(app, ServerLimits::default()).await;
    let mut client = server.connect().await;
    let address = client.local_addr().expect("an address").to_string();
    for _ in 0..2 {
        assert!(ask(&mut client, GET, "#").await.ends_with(&format!("{address}#")));
    }
    let drained = server.stop().await;
    assert_eq!((drained.open, drained.cut), (1, 0));
    assert_eq!(read_all(&mut client).await, "");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_answered_with_408() {
    let limits = ServerLimits {
        header_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = Running::start(hello(), limits).await;
    let mut partial = server.connect().await;
    partial.write_all(b"GET / HTTP/1.1\r\nho").await.expect("written");
    let mut one_byte = server.connect().await;
    one_byte.write_all(b"G").await.expect("written");
    let mut silent = server.connect().await;
    let mut second = server.connect().await;
    ask(&mut second, GET, "hello").await;
    second.write_all(b"GET /").await.expect("written");
    for late in [&mut partial, &mut one_byte, &mut second] {
        assert!(read_all(late).await.starts_with("HTTP/1.1 408 "));
    }
    assert_eq!(read_all(&mut silent).await, "");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_not_its_own() {
    let limits = ServerLimits {
        header_timeout: SHORT,
        idle_timeout: 4 * SHORT,
        ..ServerLimits::default()
    };
    let server = Running::start(hello(), limits).await;
    let mut client = server.connect().await;
    ask(&mut client, GET, "hello").await;
    tokio::time::sleep(2 * SHORT).await;
    ask(&mut client, GET, "hello").await;
    let began = Instant::now();
    assert_eq!(read_all(&mut client).await, "");
    assert!(began.elapsed() >= 3 * SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_handler_takes_the_time_it_needs() {
    let limits = ServerLimits {
        header_timeout: SHORT / 2,
        idle_timeout: SHORT / 2,
        write_timeout: SHORT / 2,
        ..ServerLimits::default()
    };
    let app = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(3 * SHORT).await;
            "hello"
        }),
    );
    let server = Running::start(app, limits).await;
    assert!(
        ask(&mut server.connect().await, GET, "hello")
            .await
            .contains(" 200 ")
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let limits = ServerLimits {
        header_timeout: SHORT,
        write_timeout: SHORT,
        ..ServerLimits::default()
    };
    let app = Router::new().route(
        "/",
        get(|| async {
            Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(
                &[b'x'; 65536],
            ))))
        }),
    );
    let server = Running::start(app, limits).await;
    let mut client = server.connect().await;
    client.write_all(GET.as_bytes()).await.expect("written");
    let mut buffer = [0; 1024];
    let read = client.read(&mut buffer).await.expect("a beginning");
    assert!(read > 0);
    // The server's end closes while the client still has bytes to read.
    tokio::time::sleep(5 * SHORT).await;
    let drained = server.stop().await;
    assert_eq!(drained.open, 0);
}

#[tokio::test]
async fn heads_that_cannot_be_accepted_are_answered() {
    let limits = ServerLimits {
        max_head: 8 << 10,
        max_header_fields: 10,
        ..ServerLimits::default()
    };
    let server = Running::start(hello(), limits).await;
    let big = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(20));
    for (request, status) in [("nonsense\r\n\r\n", "400"), (&big, "431"), (&many, "431")] {
        let mut client = server.connect().await;
        client.write_all(request.as_bytes()).await.expect("written");
        let answer = read_until(&mut client, "\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    let app = hello().route("/panic", get(panics));
    let server = Running::start(app, ServerLimits::default()).await;
    let mut client = server.connect().await;
    let answer = ask(&mut client, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n", "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(ask(&mut client, GET, "hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_finishes_what_is_in_flight() {
    let (begun, mut began) = mpsc::unbounded_channel();
    let finish = Arc::new(Notify::new());
    let finished = Arc::clone(&finish);
    let app = hello().route(
        "/slow",
        get(move || {
            let finished = Arc::clone(&finished);
            begun.send(()).expect("the test listens");
            async move {
                finished.notified().await;
                "slow"
            }
        }),
    );
    let server = Running::start(app, ServerLimits::default()).await;
    let address = server.address;
    let mut idle = server.connect().await;
    ask(&mut idle, GET, "hello").await;
    let mut half_closed = server.connect().await;
    ask(&mut half_closed, GET, "hello").await;
    half_closed.shutdown().await.expect("shut down");
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("written");
    began.recv().await.expect("begun");

    let drain = tokio::spawn(server.stop());
    for stream in [&mut idle, &mut half_closed, &mut silent] {
        assert_eq!(read_all(stream).await, "");
    }
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
    finish.notify_one();
    let answer = read_all(&mut busy).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("slow"),
        "{answer}"
    );
    assert_eq!(drain.await.expect("drained").cut, 0);
}

#[tokio::test]
async fn a_drain_cuts_what_is_in_flight_at_its_deadline() {
    let (begun, mut began) = mpsc::unbounded_channel();
    let app = hello().route(
        "/hangs",
        get(move || {
            begun.send(()).expect("the test listens");
            pending::<()>()
        }),
    );
    let limits = ServerLimits {
        shutdown_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = Running::start(app, limits).await;
    let mut client = server.connect().await;
    client
        .write_all(b"GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("written");
    began.recv().await.expect("begun");
    let drained = server.stop().await;
    assert_eq!((drained.open, drained.cut), (1, 1));
    assert_eq!(read_all(&mut client).await, "");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_a_slot_and_an_upgraded_one_keeps_its() {
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let app = hello().route(
        "/up",
        any(move |mut request: http::Request<Body>| {
            let released = Arc::clone(&released);
            async move {
                tokio::spawn(async move {
                    let upgraded = hyper::upgrade::on(&mut request).await;
                    released.notified().await;
                    drop(upgraded);
                });
                http::Response::builder()
                    .status(101)
                    .header("connection", "upgrade")
                    .header("upgrade", "x")
                    .body(Body::empty())
                    .expect("a response")
            }
        }),
    );
    let limits = ServerLimits {
        max_connections: 1,
        ..ServerLimits::default()
    };
    let server = Running::start(app, limits).await;
    let mut upgraded = server.connect().await;
    let upgrade = "GET /up HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    assert!(ask(&mut upgraded, upgrade, "\r\n\r\n").await.contains(" 101 "));
    let mut second = server.connect().await;
    second.write_all(GET.as_bytes()).await.expect("written");
    let early = tokio::time::timeout(SHORT, second.read_u8()).await;
    assert!(early.is_err(), "answered beyond the limit");
    release.notify_one();
    assert!(read_until(&mut second, "hello").await.contains(" 200 "));
}

#[tokio::test]
async fn http2_is_served_by_prior_knowledge() {
    let limits = ServerLimits {
        header_timeout: SHORT,
        ..ServerLimits::default()
    };
    let server = Running::start(hello(), limits).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let url: http::Uri = format!("http://{}/", server.address).parse().expect("a URL");
    for _ in 0..2 {
        let response = client.get(url.clone()).await.expect("a response");
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.status(), 200);
        // Longer than a head may take: an idle HTTP/2 connection is not a slow head.
        tokio::time::sleep(2 * SHORT).await;
    }
    assert_eq!(server.stop().await.cut, 0);
}
