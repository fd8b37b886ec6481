//! The bytes of an answer: from memory, read in one go, or streamed by tower-http's file service.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use tower_http::services::{ServeDir, ServeFile};

use super::Changed;
use super::whole::Whole;
use crate::snapshot::{BodyFile, Store};

/// A body of so many bytes is read in one job, where it is not to be held in memory.
const SMALL: u64 = 256 << 10;

/// The bytes of `body`, or one range of them, under what the file service says of them.
///
/// # Errors
/// When the file is gone or was replaced since it was checked.
pub(super) async fn send(
    store: &Store,
    body: &Arc<BodyFile>,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Changed> {
    if let Some(bytes) = store.hot().get(&body.piece) {
        return from_memory(bytes, method, range).await;
    }
    let length = body.id.size();
    if *method == Method::HEAD || length > SMALL && !store.hot().takes(length) {
        return stream(body, method, range).await;
    }
    let bytes = body.read().await.ok_or(Changed)?;
    store.hot().insert(body.piece, &bytes);
    from_memory(bytes, method, range).await
}

async fn from_memory(
    bytes: Bytes,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Changed> {
    if range.is_some() {
        let mut service = ServeDir::with_backend("", Whole::new(bytes));
        let part = service.try_call(request(method, range)).await;
        return part.map(|part| part.map(Body::new)).map_err(|_| Changed);
    }
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// Streams from the file, which is compared before and after it is opened.
async fn stream(
    body: &Arc<BodyFile>,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Changed> {
    if !body.is_unchanged().await {
        return Err(Changed);
    }
    let response = ServeFile::new(&body.path)
        .try_call(request(method, range))
        .await
        .map_err(|_| Changed)?;
    let tag = response.headers().get(header::ETAG).ok_or(Changed)?;
    if body.is_of_checked_file(tag).await {
        Ok(response.map(Body::new))
    } else {
        Err(Changed)
    }
}

/// What the file service is asked.
fn request(method: &Method, range: Option<&HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/body");
    *request.method_mut() = if *method == Method::HEAD {
        Method::HEAD
    } else {
        Method::GET
    };
    if let Some(range) = range {
        request.headers_mut().insert(header::RANGE, range.clone());
    }
    request
}
