//! How far a command is, for who tells of it beside the work.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much is done, of how much where that is known. Counts renderings that were looked at, unless what is being done
/// has counted something else before.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    /// One more, so that nothing is zero.
    total: AtomicU64,
}

impl Progress {
    /// How much is done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Of how much, where that is known; no less than is done.
    pub fn total(&self) -> Option<u64> {
        let total = self.total.load(Ordering::Relaxed).checked_sub(1)?;
        Some(total.max(self.done()))
    }

    /// There is so much to do in all.
    pub fn expect(&self, total: u64) {
        self.total.store(total.saturating_add(1), Ordering::Relaxed);
    }

    /// So much is done by now, as somebody else counts it.
    #[cfg(feature = "cli")]
    pub(crate) fn reach(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    pub(crate) fn one_more(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// From here on something else is counted, of which there is so much.
    #[cfg(feature = "cli")]
    pub(crate) fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.expect(total);
    }
}
