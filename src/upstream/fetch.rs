//! Fetching over TCP, in HTTP/1.1.
//!
//! hyper-util's pool would by itself send a request again, as often as it finds a closed connection
//! and whatever the method, as long as hyper had not begun to write it. That is switched off: whether a
//! request may be sent twice is decided here, once, and by method (`HttpBackend::fetch`).

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use axum::body::Body;
use http::header::HeaderValue;
use http::{Method, Request, Response, Version, header, request};
use http_body::Body as HttpBody;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::{Download, Late, Upload, Waiting};
use super::connect::{Connector, History};
use super::framing::settle;
use super::target::Base;
use super::{BoxError, UpstreamError, UpstreamOptions, Waits};
use crate::error::Error;
use crate::interim::Sender;
use crate::trailers::Trailed;

/// Node closes idle connections after five seconds; a request must not meet the close half-way.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept; more of them only serve a burst, and come back with the next.
const POOL_SIZE: usize = 256;

/// What is read ahead of a response: its head must fit, and of a body that nobody takes this much is held.
const READ_AHEAD: usize = 128 << 10;

/// A backend behind a URL.
pub(super) struct HttpBackend {
    base: Base,
    waits: Waits,
    pooled: Client<Connector, Upload>,
    /// Connects anew for every request: where one goes whose pooled connection was closed. When a
    /// backend has restarted, every other pooled connection is as dead as the first.
    fresh: Client<Connector, Upload>,
}

/// A failed exchange, and whether the connection may have failed merely because it had been idle.
struct Failure {
    error: UpstreamError,
    idle_close: bool,
}

impl HttpBackend {
    pub(super) fn new(options: UpstreamOptions) -> Result<Self, Error> {
        let base = Base::new(&options.base)?;
        let connector = if base.is_https() {
            Connector::tls(options.connect_timeout, options.ca_file.as_deref())?
        } else {
            Connector::plain(options.connect_timeout)?
        };
        let client = |pool_size| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(pool_size)
                .http1_max_buf_size(READ_AHEAD)
                .retry_canceled_requests(false)
                .set_host(false)
                .build(connector.clone())
        };
        Ok(Self {
            base,
            waits: Waits {
                response: options.response_timeout,
                body: options.body_timeout,
            },
            pooled: client(POOL_SIZE),
            fresh: client(0),
        })
    }

    pub(super) fn identity(&self) -> String {
        self.base.identity()
    }

    pub(super) async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        let (head, body) = self.address(request)?;
        let again = is_repeatable(&head, &body).then(|| head.clone());
        let failure = match self.exchange(&self.pooled, head, body).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        match again {
            Some(head) if failure.idle_close => {
                tracing::debug!(uri = %head.uri.path(), "pooled connection was closed, asking once more");
                self.exchange(&self.fresh, head, Body::empty())
                    .await
                    .map_err(|failure| failure.error)
            }
            _ => Err(failure.error),
        }
    }

    fn address(&self, request: Request<Body>) -> Result<(request::Parts, Body), UpstreamError> {
        let (mut head, body) = request.into_parts();
        head.uri = self.base.join(&head.uri)?;
        head.version = Version::HTTP_11;
        if !head.headers.contains_key(header::HOST) {
            head.headers.insert(header::HOST, self.base.host());
        }
        // Unless a field says that there is a body, hyper sends none with a GET.
        let is_of_no_length = HttpBody::size_hint(&body).exact().is_none();
        if is_of_no_length && !head.headers.contains_key(header::CONTENT_LENGTH) {
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        Ok((head, body))
    }

    async fn exchange(
        &self,
        client: &Client<Connector, Upload>,
        head: request::Parts,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        let url = self.base.describe(&head.uri);
        let (upload, progress) = Upload::new(body, self.waits.body);
        let mut request = Request::from_parts(head, upload);
        if let Some(sender) = request.extensions_mut().remove::<Sender>() {
            hyper::ext::on_informational(&mut request, move |interim| {
                sender.send(interim.status(), interim.headers());
            });
        }
        let connection = capture_connection(&mut request);
        let answer = client.request(request);
        match progress.answer(self.waits.response, answer).await {
            Ok(Ok(mut response)) => {
                if let Err(error) = settle(response.status(), response.headers_mut()) {
                    // Nobody knows where the next answer on it would begin.
                    if let Some(connected) = connection.connection_metadata().as_ref() {
                        connected.poison();
                    }
                    let source = error.into();
                    return Err(Failure {
                        error: UpstreamError::Unreachable { url, source },
                        idle_close: false,
                    });
                }
                if let Some(history) = response.extensions().get::<History>() {
                    history.note_answer();
                }
                Ok(response.map(|body| Download::wrap(Trailed::new(body), self.waits.body)))
            }
            Ok(Err(error)) => Err(Failure::new(url, error, progress.waiting())),
            Err(Late) => Err(Failure {
                error: UpstreamError::Timeout { url },
                idle_close: false,
            }),
        }
    }
}

impl Failure {
    fn new(url: String, error: ClientError, waiting: Waiting) -> Self {
        let idle_close =
            !error.is_connect() && error.connect_info().is_some_and(History::was_idle) && is_close(&error);
        let timed_out = error.is_connect() && io_kind(&error) == Some(io::ErrorKind::TimedOut);
        let source: BoxError = error.into();
        let error = match waiting {
            Waiting::Stalled => UpstreamError::UploadStalled { url },
            Waiting::Cut => UpstreamError::UploadCut { url, source },
            _ if timed_out => UpstreamError::ConnectTimeout { url, source },
            _ => UpstreamError::Unreachable { url, source },
        };
        Self { error, idle_close }
    }
}

/// RFC 9110 §9.2.2: of the methods that may be repeated only the safe ones are, and only without a
/// body, which could not be sent twice.
fn is_repeatable(head: &request::Parts, body: &Body) -> bool {
    matches!(head.method, Method::GET | Method::HEAD) && HttpBody::is_end_stream(body)
}

/// Whether the connection ended before a response, as opposed to an answer that makes no sense.
fn is_close(error: &ClientError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};

    let by_hyper = causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
    by_hyper
        || matches!(
            io_kind(error),
            Some(BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
        )
}

fn io_kind(error: &ClientError) -> Option<io::ErrorKind> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

fn causes<'a>(error: &'a ClientError) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests;
