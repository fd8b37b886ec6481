//! HTTP/2 streams that nobody reads.
//!
//! A client may read its connection and grant one stream of it nothing; hyper then waits with the piece
//! of the body in hand for as long as the connection lasts. hyper gives each stream to an executor as a
//! future. Ours drops the future of a stream that has stood still for too long, which resets that stream
//! and leaves the others alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    static STREAM: Arc<Taking>;
}

/// Whether the pieces of a stream's body are taken.
#[derive(Debug, Default)]
pub(super) struct Taking(Mutex<Option<Instant>>);

impl Taking {
    /// That of the stream whose future is running; none in HTTP/1.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// hyper asks for a piece, so the last one is gone.
    pub(super) fn ask(&self) {
        *self.since() = None;
    }

    /// hyper has got a piece.
    pub(super) fn hand_out(&self) {
        *self.since() = Some(Instant::now());
    }

    /// Ends when a piece has not been taken for `patience`, or up to twice that: it looks seldom.
    async fn stands_still_for(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let since = *self.since();
            let deadline = since.unwrap_or(now) + patience;
            if deadline <= now {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// Runs streams, and ends those that nobody reads.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    /// How long a piece may wait to be taken.
    pub(super) patience: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // A timeout of zero must not end what has just begun.
        let patience = self.patience.max(Duration::from_millis(1));
        // Owned by nobody: it ends with its connection, at the latest.
        tokio::spawn(async move {
            let taking = Arc::<Taking>::default();
            tokio::select! {
                () = STREAM.scope(Arc::clone(&taking), stream) => {}
                () = taking.stands_still_for(patience) => {
                    tracing::debug!("an HTTP/2 stream was reset: its client does not read it");
                }
            }
        });
    }
}
