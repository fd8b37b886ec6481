//! Bodies under a deadline, both ways.
//!
//! A pause counts only while somebody asks for the next piece and the other end has none: a reader
//! that takes its time is backpressure, not a stall.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, timeout_at};

use super::{BoxError, LONGEST};

/// Why a body ended before it was complete, beside what hyper finds.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body stood still for {0:?}")]
    Stalled(Duration),
    #[error("the handler panicked while it wrote the body")]
    Panicked,
    #[error("the body is not as long as its Content-Length said")]
    Length,
}

/// Runs while nothing comes.
struct Pause {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Pause {
    fn new(limit: Duration) -> Self {
        Self {
            limit: limit.min(LONGEST),
            sleep: None,
            running: false,
        }
    }

    fn end(&mut self) {
        self.running = false;
    }

    /// Ready when the pause, which begins with the first call, has become too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let limit = self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.running {
            self.running = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(BodyError::Stalled(limit))
    }
}

/// A response body whose every pause has a deadline.
pub(super) struct Download<B> {
    body: B,
    pause: Pause,
}

impl<B> Download<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn wrap(body: B, pause_limit: Duration) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self {
            body,
            pause: Pause::new(pause_limit),
        })
    }
}

impl<B> http_body::Body for Download<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.pause.end();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => this.pause.poll(cx).map(|error| Some(Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body that says how far it has come.
pub(super) struct Upload {
    body: Body,
    pause: Pause,
    progress: Progress,
}

impl Upload {
    pub(super) fn new(body: Body, pause_limit: Duration) -> (Self, Progress) {
        let progress = Progress::new(pause_limit);
        let upload = Self {
            body,
            pause: Pause::new(pause_limit),
            progress: progress.clone(),
        };
        (upload, progress)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                this.progress.note(Waiting::Cut);
                Poll::Ready(Some(Err(error.into_inner())))
            }
            Poll::Ready(frame) => {
                this.pause.end();
                this.progress.note(Waiting::ForBackend);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                this.progress.note(Waiting::ForClient);
                let error = ready!(this.pause.poll(cx));
                this.progress.note(Waiting::Stalled);
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whom an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The backend: to take more of the request, or to answer.
    ForBackend,
    /// The client: for more of the request's body.
    ForClient,
    /// Nobody any more: the client was waited for too long.
    Stalled,
    /// Nobody any more: the request's body broke off.
    Cut,
}

/// How far a request has come, as seen from outside its body.
#[derive(Clone)]
pub(super) struct Progress {
    pause_limit: Duration,
    state: Arc<Mutex<(Waiting, Instant)>>,
}

/// The response head did not come in time.
#[derive(Debug)]
pub(super) struct Late;

impl Progress {
    fn new(pause_limit: Duration) -> Self {
        Self {
            pause_limit: pause_limit.min(LONGEST),
            state: Arc::new(Mutex::new((Waiting::ForBackend, Instant::now()))),
        }
    }

    fn state(&self) -> MutexGuard<'_, (Waiting, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock starts anew with every piece taken, not with every look for one.
    fn note(&self, waiting: Waiting) {
        let mut state = self.state();
        state.0 = waiting;
        if waiting == Waiting::ForBackend {
            state.1 = Instant::now();
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.state().0
    }

    /// Waits for `answer`, but no longer than `limit` after the last sign of progress in the request's
    /// body. While the client keeps us waiting the body's own deadline counts, and ends the exchange;
    /// the two together bound a handler that has stopped reading the body and does not answer either.
    pub(super) async fn answer<F: Future>(&self, limit: Duration, answer: F) -> Result<F::Output, Late> {
        let limit = limit.min(LONGEST);
        let mut answer = std::pin::pin!(answer);
        loop {
            let deadline = self.deadline(limit);
            if let Ok(output) = timeout_at(deadline, answer.as_mut()).await {
                return Ok(output);
            }
            if self.deadline(limit) <= deadline {
                return Err(Late);
            }
        }
    }

    fn deadline(&self, limit: Duration) -> Instant {
        let (waiting, since) = *self.state();
        match waiting {
            Waiting::ForClient => since + limit + self.pause_limit,
            _ => since + limit,
        }
    }
}
