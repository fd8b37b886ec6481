//! A backend that is a router of this process: no TCP, but the same promises. A handler that panics,
//! hangs, or writes another length than it said fails as a server would that did so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::{Frame, SizeHint};
use tower::ServiceExt;

use super::body::{BodyError, Download, Upload, Waiting};
use super::framing::settle;
use super::{BoxError, UpstreamError, Waits};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A router as a backend.
pub(super) struct InProcess {
    router: Router,
    waits: Waits,
    name: String,
}

impl InProcess {
    pub(super) fn new(router: Router, waits: Waits) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            router,
            waits,
            name: format!("in-process:{number}"),
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.name
    }

    pub(super) async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        head.uri = origin_form(&head.uri)?;
        head.version = Version::HTTP_11;
        let url = format!("{}{}", self.name, head.uri.path());
        let method = head.method.clone();
        let (upload, progress) = Upload::new(body, self.waits.body);
        let body = if http_body::Body::is_end_stream(&upload) {
            Body::empty()
        } else {
            Body::new(upload)
        };
        let handler = self.router.clone().oneshot(Request::from_parts(head, body));
        match progress
            .answer(self.waits.response, AssertUnwindSafe(handler).catch_unwind())
            .await
        {
            Ok(Ok(response)) => {
                let mut response = response.unwrap_or_else(|never| match never {});
                if let Err(error) = settle(response.status(), response.headers_mut()) {
                    let source = error.into();
                    return Err(UpstreamError::Unreachable { url, source });
                }
                let expected = expected_length(&method, response.status(), response.headers());
                Ok(response.map(|body| Download::wrap(Handled::new(body, expected), self.waits.body)))
            }
            Ok(Err(_panic)) => Err(UpstreamError::Panicked { url }),
            Err(_late) if progress.waiting() == Waiting::Stalled => Err(UpstreamError::UploadStalled { url }),
            Err(_late) => Err(UpstreamError::Timeout { url }),
        }
    }
}

/// The target as it would arrive over TCP.
fn origin_form(target: &Uri) -> Result<Uri, UpstreamError> {
    let path = match target.path_and_query() {
        Some(path) if path.as_str().starts_with(['/', '*']) => path.clone(),
        Some(path) => PathAndQuery::try_from(format!("/{path}"))
            .map_err(|error| UpstreamError::Target { source: error.into() })?,
        None => PathAndQuery::from_static("/"),
    };
    Ok(Uri::from(path))
}

/// The length of body that a response promises, where it has one (RFC 9112 §6.3).
fn expected_length(method: &Method, status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let bodiless = method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A handler's body, held to what hyper holds a server's to.
struct Handled {
    body: Body,
    /// Bytes still to come, where a length was promised.
    expected: Option<u64>,
    failed: bool,
}

impl Handled {
    fn new(body: Body, expected: Option<u64>) -> Self {
        Self {
            body,
            expected,
            failed: false,
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.failed = true;
        Poll::Ready(Some(Err(error.into())))
    }

    /// Counts a frame; `None` when it is more than was promised.
    fn count(&mut self, frame: &Frame<Bytes>) -> Option<()> {
        if let (Some(expected), Some(data)) = (self.expected, frame.data_ref()) {
            let length = u64::try_from(data.len()).ok()?;
            self.expected = Some(expected.checked_sub(length)?);
        }
        Some(())
    }
}

impl http_body::Body for Handled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        // A body that panicked is not polled again, so what state it is in does not matter.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx)));
        match polled {
            Err(_panic) => this.fail(BodyError::Panicked),
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) if this.expected.is_some_and(|expected| expected > 0) => {
                this.fail(BodyError::Length)
            }
            Ok(Poll::Ready(None)) => Poll::Ready(None),
            Ok(Poll::Ready(Some(Err(error)))) => {
                this.failed = true;
                Poll::Ready(Some(Err(error.into_inner())))
            }
            Ok(Poll::Ready(Some(Ok(frame)))) => match this.count(&frame) {
                Some(()) => Poll::Ready(Some(Ok(frame))),
                None => this.fail(BodyError::Length),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.body.is_end_stream() && self.expected.is_none_or(|expected| expected == 0))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use axum::routing::get;
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::super::Upstream;
    use super::super::test_rig::*;
    use super::*;

    async fn panics() -> &'static str {
        panic!("the handler panics")
    }

    fn hostile() -> Upstream {
        let short = || async {
            Response::builder()
                .header("content-length", "10")
                .body(Body::from_stream(stream::iter([Ok::<_, Infallible>("abc")])))
                .expect("a response")
        };
        let long = || async {
            Response::builder()
                .header("content-length", "2")
                .body(Body::from_stream(stream::iter([Ok::<_, Infallible>("abc")])))
                .expect("a response")
        };
        let broken = || async {
            Body::from_stream(stream::iter(0..2).map(|n| {
                assert!(n == 0, "the body panics");
                Ok::<_, Infallible>("abc")
            }))
        };
        let stalls = || async { Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()) };
        let app = Router::new()
            .route("/ok", get(|uri: Uri| async move { uri.to_string() }))
            .route("/panics", get(panics))
            .route("/hangs", get(pending::<()>))
            .route("/short", get(short))
            .route("/long", get(long))
            .route("/broken", get(broken))
            .route("/stalls", get(stalls));
        Upstream::in_process(
            app,
            Waits {
                response: SHORT,
                body: SHORT,
            },
        )
    }

    #[tokio::test]
    async fn a_router_answers_as_a_backend() {
        let upstream = hostile();
        assert!(upstream.is_in_process());
        assert_ne!(upstream.identity(), hostile().identity());
        let response = upstream
            .fetch(request("GET", "http://a/ok?x=%2F", ""))
            .await
            .expect("a response");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "/ok?x=%2F");
    }

    #[tokio::test]
    async fn a_handler_that_panics_or_hangs_is_an_error() {
        let upstream = hostile();
        let error = upstream
            .fetch(request("GET", "/panics", ""))
            .await
            .expect_err("no response");
        assert!(matches!(error, UpstreamError::Panicked { .. }), "{error:?}");
        let error = upstream
            .fetch(request("GET", "/hangs", ""))
            .await
            .expect_err("no response");
        assert!(matches!(error, UpstreamError::Timeout { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_handlers_body_that_is_cut_is_an_error_and_never_an_end() {
        let upstream = hostile();
        for path in ["/short", "/long", "/broken", "/stalls"] {
            let response = upstream
                .fetch(request("GET", path, ""))
                .await
                .expect("a response");
            assert!(response.into_body().collect().await.is_err(), "{path}");
        }
        let response = upstream
            .fetch(request("HEAD", "/short", ""))
            .await
            .expect("a response");
        assert!(response.into_body().collect().await.is_ok());
    }
}
