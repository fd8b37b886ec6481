//! One connection: hyper drives it, the watch ends it, and a drain asks it to finish.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::ServerLimits;
use super::app::App;
use super::streams::{Streams, Taking};
use super::watch::{Activity, InFlight, Verdict, Watched};
use crate::interim::Interims;
use crate::trailers::Trailed;

/// How long a connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often, and for how long, an HTTP/2 client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Requests at once on an HTTP/2 connection, and the bytes that each may have waiting: what a client
/// that does not read costs.
const MAX_STREAMS: u32 = 100;
const STREAM_BUFFER: usize = 64 << 10;

/// What hyper is given of a body at once in HTTP/2. It takes leave to send one byte for leave to send the
/// piece, and counts the piece as taken: the last one is what a stream that nobody reads may still hold.
const PIECE: usize = 16 << 10;

/// The application, and the two protocols that it is served by.
pub(super) struct Protocols {
    app: App,
    builder: auto::Builder<Streams>,
    max_header_fields: usize,
    max_target: usize,
}

impl Protocols {
    pub(super) fn new(app: App, limits: &ServerLimits) -> Self {
        let mut builder = auto::Builder::new(Streams {
            patience: limits.write_timeout,
        });
        builder
            .http1()
            .timer(TokioTimer::new())
            // `watch` does it, and knows an idle connection from a slow head.
            .header_read_timeout(None)
            .max_buf_size(limits.max_head);
        if limits.max_header_fields != ServerLimits::default().max_header_fields {
            // hyper's own default is the same number, without an allocation for each request.
            builder.http1().max_headers(limits.max_header_fields);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .max_concurrent_streams(MAX_STREAMS)
            .max_send_buf_size(STREAM_BUFFER)
            .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX));
        Self {
            app,
            builder,
            max_header_fields: limits.max_header_fields,
            max_target: limits.max_head / 2,
        }
    }

    async fn answer(&self, mut request: Request<Incoming>, asker: &Asker) -> Response<Counted<Body>> {
        let in_flight = Arc::new(asker.activity.begin(request.version()));
        // hyper counts an HTTP/1.1 request's fields, not those of HTTP/2.
        if request.version() == Version::HTTP_2 && request.headers().len() > self.max_header_fields {
            return plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).map(Counted::out_of_sight);
        }
        let target = request.uri().path_and_query();
        if target.is_some_and(|target| target.as_str().len() > self.max_target) {
            return plain(StatusCode::URI_TOO_LONG).map(Counted::out_of_sight);
        }
        request.extensions_mut().insert(ConnectInfo(asker.peer));
        // RFC 9110 §15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client"; hyper's HTTP/2 has no way in.
        if request.version() == Version::HTTP_11 {
            request.extensions_mut().insert(asker.interims.begin());
        }
        let is_http1 = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        let (body, trailed) = match (body.is_end_stream(), is_http1) {
            (true, _) => (Body::empty(), None),
            (false, true) => {
                let body = Trailed::new(body);
                let trailed = body.seen();
                (Body::new(Counted::new(body, &in_flight, None)), Some(trailed))
            }
            (false, false) => (Body::new(Counted::new(body, &in_flight, None)), None),
        };
        let request = Request::from_parts(head, body);
        let handler = AssertUnwindSafe(async { self.app.answer(request).await }).catch_unwind();
        let mut response = match handler.await {
            Ok(answered) => answered,
            Err(_panic) => {
                tracing::error!(peer = %asker.peer, "a handler panicked");
                plain(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        asker.interims.end().await;
        // What hyper took for trailers may have been the next request.
        let is_trailed = trailed.is_some_and(|trailed| trailed.load(Ordering::Relaxed));
        if is_trailed && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response.map(|body| match body.is_end_stream() {
            true => Counted::out_of_sight(body),
            false => Counted::new(body, &in_flight, Taking::of_this_stream()),
        })
    }
}

/// Who asks on a connection, and what it is doing.
struct Asker {
    protocols: Arc<Protocols>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    interims: Interims,
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Serves `stream` until it ends, is upgraded, or has to be ended.
pub(super) async fn serve(
    protocols: &Arc<Protocols>,
    stream: Watched,
    peer: SocketAddr,
    activity: &Arc<Activity>,
    limits: &ServerLimits,
    mut draining: Receiver<bool>,
) {
    let asker = Arc::new(Asker {
        protocols: Arc::clone(protocols),
        peer,
        activity: Arc::clone(activity),
        interims: stream.interims(),
    });
    let service = service_fn(move |request| {
        let asker = Arc::clone(&asker);
        async move { Ok::<_, Infallible>(asker.protocols.answer(request, &asker).await) }
    });
    let mut connection = pin!(
        protocols
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
    );
    let mut drained = false;
    let ended = loop {
        let look_again = match activity.check(limits, Instant::now()) {
            Verdict::LookAgain(at) => at,
            verdict => {
                tracing::debug!(%peer, ?verdict, "connection closed for its time");
                match verdict {
                    Verdict::Idle => connection.as_mut().graceful_shutdown(),
                    Verdict::HeadLate => activity.expire(),
                    Verdict::Unread | Verdict::LookAgain(_) => return,
                }
                break tokio::time::timeout(FAREWELL, connection).await.unwrap_or(Ok(()));
            }
        };
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = sleep_until(look_again) => {}
            // The sender is gone only if the server is, and this task with it.
            _told = draining.wait_for(|draining| *draining), if !drained => {
                drained = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection broke off");
    }
}

/// A body, of a request or of its response, that keeps the request in flight.
struct Counted<B> {
    body: B,
    /// None once there is nothing to wait for.
    _in_flight: Option<Arc<InFlight>>,
    /// Of a response in HTTP/2.
    taking: Option<Arc<Taking>>,
    /// What is left of a piece that was too large.
    rest: Bytes,
}

impl<B> Counted<B> {
    fn new(body: B, in_flight: &Arc<InFlight>, taking: Option<Arc<Taking>>) -> Self {
        Self {
            body,
            _in_flight: Some(Arc::clone(in_flight)),
            taking,
            rest: Bytes::new(),
        }
    }

    /// One that has ended keeps nothing in flight.
    fn out_of_sight(body: B) -> Self {
        Self {
            body,
            _in_flight: None,
            taking: None,
            rest: Bytes::new(),
        }
    }
}

impl<B> http_body::Body for Counted<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(taking) = self.taking.clone() else {
            return Pin::new(&mut self.body).poll_frame(cx);
        };
        taking.ask();
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                last => return Poll::Ready(last),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        taking.hand_out();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
