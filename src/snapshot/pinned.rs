//! Pages that the operator keeps: no limit evicts them, and an invalidation has them validated instead of
//! deleting them. Tombstones stay as well, until they are deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pattern::{KeyPattern, Subject};
use crate::throttle::Throttle;

use super::Store;
use super::index::KeyEntry;
use super::ledger::Fate;

/// Which pages these are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pinned(Arc<[KeyPattern]>);

impl Pinned {
    pub(crate) fn new(patterns: Vec<KeyPattern>) -> Self {
        Self(patterns.into())
    }

    fn holds(&self, subject: Subject<'_>) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(subject))
    }

    /// What becomes of a page that an invalidation gives this fate.
    pub(super) fn spared(&self, subject: Subject<'_>, fate: Fate) -> Fate {
        match fate {
            Fate::Delete if self.holds(subject) => Fate::Stale,
            fate => fate,
        }
    }
}

/// What pinned pages leave of the limits.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// When room was last looked for, there was nothing that might have gone.
    is_nothing: AtomicBool,
    notice: Throttle,
}

impl Store {
    /// Whether no other page takes its place: it is pinned, or the operator has said what stands there.
    pub(super) fn stays(&self, entry: &KeyEntry) -> bool {
        entry.is_tombstone() || self.options.pinned.holds(entry.subject())
    }

    /// Whether what is stored beyond the limits stays, all of it, so that a page that is not would only go again.
    pub(super) fn is_left_to_pinned(&self, subject: Subject<'_>) -> bool {
        self.left.is_nothing.load(Ordering::Relaxed)
            && self.options.bounds.is_over(self.used())
            && !self.options.pinned.holds(subject)
    }

    /// Takes in how many pages a look has found that may go. With none, none is looked for in a while.
    pub(super) fn note_left(&self, found: usize) {
        let is_nothing = found == 0 && self.options.bounds.is_over(self.used());
        self.left.is_nothing.store(is_nothing, Ordering::Relaxed);
        if !is_nothing {
            return;
        }
        self.pause_evicting();
        self.left.notice.say(|| {
            tracing::warn!(
                dir = %self.root.display(),
                snapshots = self.count(),
                "pages that stay (`pinned`, with the hashed assets that they name, and tombstones) take all that may be stored (`disk_limit`, `max_snapshots`), and no other is; raise the limit, or narrow `pinned`"
            );
        });
    }
}
