//! The ledger behind its locks: who takes a number, who is admitted, what is written and settled. The
//! order of the locks, and why, is told in `ledger`.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLockReadGuard};
use std::time::SystemTime;

use crate::pattern::Subject;

use super::ledger::{Fate, Ledger, Standing};
use super::{Store, lock};

impl Store {
    /// The number that a fill notes at its start; see [`Candidate::epoch`](super::Candidate::epoch).
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether an invalidation later than `epoch` matches.
    pub(crate) fn is_overtaken(&self, epoch: u64, subject: Subject<'_>) -> bool {
        self.ledger().is_overtaken(epoch, subject)
    }

    /// Takes a number for an invalidation: `enter` has the ledger while no commit is under way.
    pub(super) fn take_number<T>(&self, enter: impl FnOnce(&mut Ledger) -> T) -> T {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = self.ledger();
        let taken = enter(&mut ledger);
        self.epoch.store(ledger.number, Ordering::Release);
        taken
    }

    /// Held, no invalidation takes a number.
    pub(super) fn admission(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger learns of something that is done; the log is emptied if that was the last.
    pub(super) fn settle(&self, done: impl FnOnce(&mut Ledger)) {
        done(&mut self.ledger());
        let mut log = lock(&self.log);
        let is_settled = self.ledger().is_settled();
        // Another process's log is its own.
        if is_settled && self.is_still_writable() {
            log.empty(&self.fs);
        }
    }

    /// Writes an invalidation to the log.
    pub(super) fn record(&self, standing: &Standing, fate: Fate, at: SystemTime) -> io::Result<()> {
        let mut log = lock(&self.log);
        if log.is_large() && self.is_still_writable() {
            let lines = self.ledger().lines();
            if let Err(error) = log.rewrite(&self.fs, &self.tmp(), &lines) {
                tracing::warn!(%error, "cannot write the invalidation log anew; it grows");
            }
        }
        log.append(&self.fs, &standing.patterns, fate, at)
    }
}
