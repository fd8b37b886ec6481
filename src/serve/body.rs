//! The bytes of an answer: from memory, read in one go, or streamed by tower-http's file service.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use tower_http::services::{ServeDir, ServeFile};

use super::Changed;
use super::whole::Whole;
use crate::snapshot::{BodyFile, Room, Store};

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
    let hot = store.hot();
    let length = body.id.size();
    if let Some(bytes) = hot.get(&body.piece) {
        return match *method == Method::HEAD {
            // Of a coded form another level may be in memory than the one that was chosen.
            true => Ok(whole(bytes.len() as u64, Body::empty())),
            false => from_memory(bytes, range).await,
        };
    }
    if *method == Method::HEAD {
        return match body.is_unchanged().await {
            true => Ok(whole(length, Body::empty())),
            false => Err(Changed),
        };
    }
    match hot.room(length) {
        Some(room) => {
            let bytes = hot.load(body, room).await.ok_or(Changed)?;
            from_memory(bytes, range).await
        }
        None => stream(store, body, range).await,
    }
}

async fn from_memory(bytes: Bytes, range: Option<&HeaderValue>) -> Result<Response<Body>, Changed> {
    if range.is_none() {
        return Ok(whole(bytes.len() as u64, Body::from(bytes)));
    }
    let mut service = ServeDir::with_backend("", Whole::new(bytes));
    let part = service.try_call(request(range)).await;
    part.map(|part| part.map(Body::new)).map_err(|_| Changed)
}

/// What the file service says of a whole file.
fn whole(length: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// Streams from the file, which is compared before and after it is opened.
async fn stream(
    store: &Store,
    body: &Arc<BodyFile>,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Changed> {
    if !body.is_unchanged().await {
        return Err(Changed);
    }
    let (chunk, room) = store.hot().stream_room();
    let response = ServeFile::new(&body.path)
        .with_buf_chunk_size(chunk)
        .try_call(request(range))
        .await
        .map_err(|_| Changed)?;
    let tag = response.headers().get(header::ETAG).ok_or(Changed)?;
    if body.is_of_checked_file(tag).await {
        Ok(response.map(|body| {
            Body::new(Streamed {
                body: Body::new(body),
                _room: room,
            })
        }))
    } else {
        Err(Changed)
    }
}

/// What the file service is asked.
fn request(range: Option<&HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/body");
    if let Some(range) = range {
        request.headers_mut().insert(header::RANGE, range.clone());
    }
    request
}

/// A body from a file, and the room that its buffers take.
struct Streamed {
    body: Body,
    _room: Room,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
