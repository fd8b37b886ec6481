//! What a server serves: a router, or one handler for everything.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use tower::ServiceExt;

type Handler = dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

/// See the module.
#[derive(Clone)]
pub(super) struct App(Arc<Handler>);

impl App {
    pub(super) fn of_router(router: Router) -> Self {
        Self(Arc::new(move |request| {
            let answered = router.clone().oneshot(request);
            answered
                .map(|answered| answered.unwrap_or_else(|never| match never {}))
                .boxed()
        }))
    }

    /// A router around a single handler costs a request some thousand instructions, and answers nothing else.
    pub(super) fn of_handler<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Body>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self(Arc::new(move |request| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let method = request.method().clone();
                completed(handler(request).await, &method)
            })
        }))
    }

    pub(super) fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        (self.0)(request)
    }
}

/// As axum's router leaves an answer: it says its length where it is known, and has no content for HEAD.
fn completed(mut response: Response<Body>, method: &Method) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        let fields = response.headers_mut().entry(header::CONTENT_LENGTH);
        fields.or_insert_with(|| HeaderValue::from(length));
    }
    if *method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}
