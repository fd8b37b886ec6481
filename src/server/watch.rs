//! What a connection is doing, and how long it may go on with that.
//!
//! The socket notes what is read and written, the service notes requests, and the connection's task
//! asks how much patience is left. It asks seldom: a state's patience is never shorter than the time
//! until the next look (`Activity::check`), so that no deadline is missed and none costs a timer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::ServerLimits;
use crate::interim::Interims;

/// Sent by hand, because hyper says nothing when a head does not come.
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How every HTTP/2 connection begins.
const HTTP2: &[u8] = b"PRI";

/// What to do about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; look again at this time.
    LookAgain(Instant),
    /// It was idle for long enough: close it politely.
    Idle,
    /// The head did not come in time.
    HeadLate,
    /// The client does not read.
    Unread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has been asked on this connection yet.
    New,
    /// A part of a request head has come.
    Head,
    /// Between two requests.
    Idle,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    in_flight: usize,
    /// HTTP/2: what is read between requests is no head that must be completed.
    multiplexed: bool,
    unread_since: Option<Instant>,
    /// The next read is told that the time is over.
    expired: bool,
}

/// The state of a connection, shared by its socket, its requests and its task.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            phase: Phase::New,
            since: Instant::now(),
            in_flight: 0,
            multiplexed: false,
            unread_since: None,
            expired: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun, and lasts until the value is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        // The first bytes may have come one by one.
        state.multiplexed |= version == Version::HTTP_2;
        drop(state);
        InFlight(Arc::clone(self))
    }

    /// How the connection stands `now`.
    pub(super) fn check(&self, limits: &ServerLimits, now: Instant) -> Verdict {
        let state = self.state();
        let unread = state
            .unread_since
            .map(|since| (since + limits.write_timeout, Verdict::Unread));
        let waiting = (state.in_flight == 0).then(|| match state.phase {
            Phase::New | Phase::Head => (state.since + limits.header_timeout, Verdict::HeadLate),
            Phase::Idle => (state.since + limits.idle_timeout, Verdict::Idle),
        });
        // Whatever state comes next, its patience has not run out by then.
        let mut next = now + limits.shortest_wait();
        for (deadline, verdict) in [unread, waiting].into_iter().flatten() {
            if deadline <= now {
                return verdict;
            }
            next = next.min(deadline);
        }
        Verdict::LookAgain(next)
    }

    /// Makes the next read fail, after a 408 if the client can make sense of one.
    pub(super) fn expire(&self) {
        self.state().expired = true;
    }

    fn note_read(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.in_flight > 0 || state.multiplexed {
            return;
        }
        match state.phase {
            Phase::New => {
                state.multiplexed = bytes.starts_with(HTTP2);
                // The time goes on that began with the connection.
                state.phase = Phase::Head;
            }
            Phase::Idle => {
                state.phase = Phase::Head;
                state.since = Instant::now();
            }
            Phase::Head => {}
        }
    }

    fn note_write<T>(&self, polled: &Poll<T>) {
        let mut state = self.state();
        match polled {
            Poll::Pending if state.unread_since.is_none() => state.unread_since = Some(Instant::now()),
            Poll::Pending => {}
            Poll::Ready(_) => state.unread_since = None,
        }
    }

    fn is_expired(&self) -> bool {
        self.state().expired
    }

    /// Whether a client has begun a head in HTTP/1.1, and reads.
    fn may_be_told(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Head && !state.multiplexed && state.unread_since.is_none()
    }
}

impl ServerLimits {
    fn shortest_wait(&self) -> std::time::Duration {
        self.header_timeout
            .min(self.idle_timeout)
            .min(self.write_timeout)
            // A timeout of zero must not become a busy loop.
            .max(std::time::Duration::from_millis(1))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.phase = Phase::Idle;
        state.since = Instant::now();
    }
}

/// A client's socket, with the slot it takes: both last as long as the connection, upgraded or not.
pub(super) struct Watched {
    stream: TcpStream,
    interims: Interims,
    activity: Arc<Activity>,
    _slot: OwnedSemaphorePermit,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, slot: OwnedSemaphorePermit, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            interims: Interims::default(),
            activity,
            _slot: slot,
        }
    }

    /// What goes out before the answers of the backend.
    pub(super) fn interims(&self) -> Interims {
        self.interims.clone()
    }

    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.activity.note_write(&polled);
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match polled {
            Poll::Ready(Ok(())) => {
                if let Some(read) = buf.filled().get(before..).filter(|read| !read.is_empty()) {
                    self.activity.note_read(read);
                }
            }
            Poll::Pending if self.activity.is_expired() => {
                if self.activity.may_be_told() {
                    // What does not go out at once is not worth waiting for.
                    let _ = self.stream.try_write(TIMED_OUT);
                }
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let waker = cx.waker();
        let (stream, activity) = (&mut this.stream, &this.activity);
        let written = this.interims.write_with(waker, |bytes| {
            let polled = Pin::new(&mut *stream).poll_write(cx, bytes);
            activity.note_write(&polled);
            polled
        });
        match written {
            Poll::Ready(Ok(())) => Pin::new(&mut this.stream).poll_flush(cx),
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(polled)
    }
}
