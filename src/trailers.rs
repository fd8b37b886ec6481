//! Trailers, held to what they may be.
//!
//! hyper ends them at CR LF CR LF and looks for fields in what came until then; a bare LF in front, as in
//! `0\r\n\n`, hides from it whatever follows, the next message too, and it finds no field at all. Who
//! reads the LF as the end sees two messages where hyper saw one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Trailers came, and none is a field.
#[derive(Debug, thiserror::Error)]
#[error("the body's trailers are malformed")]
struct Malformed;

/// A body that hyper reads in HTTP/1.1. It fails if its trailers hold no field.
#[derive(Debug)]
pub(crate) struct Trailed<B> {
    body: B,
    seen: Arc<AtomicBool>,
}

impl<B> Trailed<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            seen: Arc::default(),
        }
    }

    /// Becomes true when trailers come, good or bad.
    pub(crate) fn seen(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.seen)
    }
}

impl<B> Body for Trailed<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let trailers = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        if let Some(trailers) = trailers {
            self.seen.store(true, Ordering::Relaxed);
            if trailers.is_empty() {
                return Poll::Ready(Some(Err(Malformed.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
