//! Something that is said at most once in a while: a broken disk must not fill the log too.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Once a minute.
const BETWEEN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Runs `say` unless it ran less than a minute ago.
    pub(crate) fn say(&self, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            *last = Some(Instant::now());
            drop(last);
            say();
        }
    }
}
