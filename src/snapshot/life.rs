//! When a key was stored and last used, without a lock.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::unix_seconds;
use crate::fsops::FileId;
use crate::head::Generated;

/// When a key was stored and last used, in seconds since 1970.
#[derive(Debug)]
pub(crate) struct Life {
    stored: u32,
    /// Zero: not since it was stored.
    used: AtomicU32,
    /// Later keys have greater ones, within a second too.
    pub(super) number: u32,
}

impl Life {
    /// Stored by us, for somebody who may be the only one.
    pub(crate) fn stored(now: u64) -> Self {
        Self {
            stored: seconds(now),
            used: AtomicU32::new(0),
            number: 0,
        }
    }

    /// Found on disk. Who asked for it is not known; that somebody keeps it counts for it, until the
    /// time that its files give.
    pub(crate) fn found(generated: u64) -> Self {
        Self {
            used: AtomicU32::new(seconds(generated)),
            ..Self::stored(generated)
        }
    }

    /// Somebody was answered from it. No lock, and no write but once a second.
    pub(crate) fn touch(&self, now: u64) {
        let now = seconds(now);
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn stored_at(&self) -> u32 {
        self.stored
    }

    pub(crate) fn used_at(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What an entry of the same key was used for counts for the one that replaces it.
    pub(super) fn inherit(&mut self, from: &Self) {
        self.number = from.number;
        self.raise(from);
    }

    pub(super) fn raise(&mut self, other: &Self) {
        *self.used.get_mut() = self.used_at().max(other.used_at());
    }
}

impl Clone for Life {
    fn clone(&self) -> Self {
        Self {
            used: AtomicU32::new(self.used_at()),
            ..*self
        }
    }
}

/// When somebody last took care of a page whose use is not known.
pub(super) fn last_cared(generated: Generated, sidecar: &FileId) -> u64 {
    match generated {
        Generated::At(seconds) => seconds,
        Generated::Unmarked => unix_seconds(sidecar.modified_at()),
        Generated::Invalidated => unix_seconds(sidecar.changed_at()),
    }
}

/// Until 2106, and never zero.
fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX).max(1)
}
