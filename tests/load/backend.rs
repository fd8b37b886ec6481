//! A backend that answers as its paths say, counts who is at it, and can go away and come back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

const PIECE: usize = 64 << 10;

/// What it saw, and how it behaves.
pub(crate) struct Backend {
    address: SocketAddr,
    running: Mutex<Option<JoinHandle<()>>>,
    pub(crate) requests: AtomicUsize,
    /// At `/private/…`, and how many were there at once.
    private: AtomicUsize,
    pub(crate) private_peak: AtomicUsize,
    /// Nobody leaves `/private/…` and `/gated/…` without one of these.
    pub(crate) gate: Semaphore,
    pub(crate) waiting: AtomicUsize,
    /// Pages do not come.
    pub(crate) is_stuck: AtomicBool,
    big_bytes: usize,
}

impl Backend {
    pub(crate) async fn start(big_bytes: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            running: Mutex::new(None),
            requests: AtomicUsize::new(0),
            private: AtomicUsize::new(0),
            private_peak: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            is_stuck: AtomicBool::new(false),
            big_bytes,
        });
        backend.serve(listener);
        backend
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port closes, and every connection is cut.
    pub(crate) async fn go_away(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.abort();
            let _ = running.await;
        }
    }

    pub(crate) async fn come_back(self: &Arc<Self>) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) {
        let backend = Arc::clone(self);
        let running = tokio::spawn(async move {
            // Its tasks end with it.
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let _ = stream.set_nodelay(true);
                let backend = Arc::clone(&backend);
                let service = service_fn(move |request| answer(Arc::clone(&backend), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                connections.spawn(connection);
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    /// Until there is a permit; the guard counts who is there.
    async fn pass_gate(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
    }
}

/// The page at `path`, without what is not to be found there.
pub(crate) fn page(path: &str) -> Vec<u8> {
    let line = format!("<p>{path}</p>\n").into_bytes();
    line.into_iter().cycle().take(8000).collect()
}

async fn answer(backend: Arc<Backend>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    backend.requests.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    let kind = path
        .trim_start_matches('/')
        .split(['/', '?'])
        .next()
        .unwrap_or("");
    let html = |body: Body| {
        let response = Response::builder().header("content-type", "text/html");
        response.body(body).unwrap()
    };
    Ok(match kind {
        "page" | "flood" => {
            if backend.is_stuck.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            html(Body::from(page(&path)))
        }
        "gated" => {
            backend.pass_gate().await;
            html(Body::from(page(&path)))
        }
        "private" => private(&backend, &path).await,
        "big" => {
            let mut response = html(big(backend.big_bytes));
            let headers = response.headers_mut();
            headers.insert("content-length", backend.big_bytes.into());
            if path.contains("pass") {
                headers.insert("cache-control", "no-store".parse().unwrap());
            }
            response
        }
        "never" => std::future::pending().await,
        "drip" => html(drip()),
        "upload" => {
            let received = request.into_body().collect().await;
            html(Body::from(
                received.map_or(0, |body| body.to_bytes().len()).to_string(),
            ))
        }
        "variants" => {
            let name = "accept-language";
            let language = request
                .headers()
                .get(name)
                .map_or("", |value| value.to_str().unwrap());
            let mut response = html(Body::from(page(&format!("{path} in {language}"))));
            response.headers_mut().insert("vary", name.parse().unwrap());
            response
        }
        "tunnel" => tunnel(request, &path),
        _ => {
            let mut response = html(Body::from("there is no such page"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    })
}

async fn private(backend: &Backend, path: &str) -> Response<Body> {
    let now = backend.private.fetch_add(1, Ordering::SeqCst) + 1;
    backend.private_peak.fetch_max(now, Ordering::SeqCst);
    backend.pass_gate().await;
    let now = backend.private.fetch_sub(1, Ordering::SeqCst);
    let response = Response::builder()
        .header("content-type", "text/html")
        .header("cache-control", "private");
    response
        .body(Body::from(format!("{path}, answer {now}")))
        .unwrap()
}

fn big(length: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let pieces = stream::unfold(length, move |left| {
        let piece = piece.slice(..left.min(PIECE));
        async move { (left > 0).then(|| (Ok::<_, Infallible>(piece.clone()), left - piece.len())) }
    });
    Body::from_stream(pieces)
}

/// A byte a second, without end.
fn drip() -> Body {
    Body::from_stream(stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b".")), ()))
    }))
}

/// One that echoes; or, at `/tunnel/flood`, one that sends without end.
fn tunnel(request: Request<Incoming>, path: &str) -> Response<Body> {
    let is_flood = path.ends_with("/flood");
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(request).await.ok()?);
        let mut bytes = vec![0; if is_flood { PIECE } else { 1024 }];
        loop {
            let mut length = bytes.len();
            if !is_flood {
                length = stream.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
            }
            stream.write_all(bytes.get(..length)?).await.ok()?;
            // The type of what `?` leaves with.
            if length == 0 {
                return Some(());
            }
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    response.body(Body::empty()).unwrap()
}
