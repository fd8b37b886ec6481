//! Tunnels: two upgraded connections joined, after the backend's 101.
//!
//! Bytes that either side sent right behind its head are not lost: hyper keeps what it has read beyond
//! the head in the `Upgraded` it hands out, and yields it first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::{Instant, sleep_until, timeout};

use super::LONGEST;

/// Bytes buffered in each direction.
const BUFFER: usize = 8 * 1024;

/// Joins `client` and `backend` until both directions have ended, one fails, or neither has moved for
/// `idle`. An end in one direction is passed on as one, and the other goes on.
///
/// The upgrades become available once the 101 has been written, so the caller spawns this and then
/// sends the response. Never fails: how it ended is logged at debug.
///
/// # Cancel safety
/// Dropping the future closes both connections.
pub(crate) async fn splice(client: OnUpgrade, backend: OnUpgrade, idle: Duration) {
    let idle = idle.min(LONGEST);
    let (client, backend) = match timeout(idle, async { tokio::try_join!(client, backend) }).await {
        Ok(Ok(both)) => both,
        Ok(Err(error)) => {
            tracing::debug!(error = %crate::error::chain(&error), "tunnel did not come about");
            return;
        }
        Err(_late) => {
            tracing::debug!("tunnel did not come about in time");
            return;
        }
    };
    let moved = Moved::now();
    let mut client = Watched::new(client, &moved);
    let mut backend = Watched::new(backend, &moved);
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER) => match copied {
            Ok((sent, received)) => tracing::debug!(sent, received, "tunnel closed"),
            Err(error) => tracing::debug!(%error, "tunnel broke off"),
        },
        () = moved.until_idle_for(idle) => tracing::debug!(?idle, "tunnel idle, closed"),
    }
}

/// When a byte last went through, in either direction.
#[derive(Clone)]
struct Moved(Arc<Mutex<Instant>>);

impl Moved {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_idle_for(&self, idle: Duration) {
        loop {
            let deadline = self.last() + idle;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// One end, noting what moves.
struct Watched {
    io: TokioIo<Upgraded>,
    moved: Moved,
}

impl Watched {
    fn new(io: Upgraded, moved: &Moved) -> Self {
        Self {
            io: TokioIo::new(io),
            moved: moved.clone(),
        }
    }

    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_ready() {
            self.moved.note();
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.note(polled)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note(polled)
    }
}

#[cfg(test)]
mod tests;
