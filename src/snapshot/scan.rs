//! Reading the directory through: at the start, after a take-over, and when the watcher lost count.

use std::io;
use std::sync::Arc;

use super::Store;
use super::read::is_unusable;
use super::walk::Walk;

/// When a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Reading the directory through: what is found is what was there.
    Start,
    /// Another program changed something.
    Change,
}

/// Whether a look at files came to its end: what could not be read or removed may be what is doomed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    Whole,
    Failed,
}

impl Looked {
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::Whole => other,
            Self::Failed => self,
        }
    }

    pub(super) fn of<T>(result: &io::Result<T>) -> Self {
        match result {
            Err(error) if !is_unusable(error) => Self::Failed,
            _ => Self::Whole,
        }
    }
}

impl Store {
    /// Reads the directory through, entering what is there and finishing what a crash left.
    /// What failed leaves dooms and log as they are; who calls scans again.
    pub(super) fn scan_at_start(self: &Arc<Self>) -> Looked {
        let started = std::time::Instant::now();
        let round = self.ledger().round();
        let was_writable = self.is_writable();
        let looked = self.walk(Occasion::Start);
        self.sweep_pending();
        self.sweep_derived(looked);
        match (looked, was_writable && self.is_still_writable()) {
            (Looked::Whole, true) => self.settle(|ledger| ledger.carried_out(round)),
            _ => self.ledger().reading_done(round),
        }
        tracing::info!(
            dir = %self.root().display(),
            snapshots = self.count(),
            ms = started.elapsed().as_millis(),
            "read the snapshot directory"
        );
        self.relieve();
        match was_writable {
            true => looked,
            // Who takes over scans again.
            false => Looked::Whole,
        }
    }

    /// Every sidecar below the root, then every indexed one that was not met.
    pub(super) fn walk(&self, occasion: Occasion) -> Looked {
        let looked = Walk::new(self, occasion).run();
        if occasion == Occasion::Change {
            for entry in self.index.all() {
                self.look_at_all(&entry);
            }
        }
        looked
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::fsops::{FaultPlan, Fs};
    use crate::invalidate::{Invalidation, RefreshMode};
    use crate::key::Key;
    use crate::pattern::KeyPattern;
    use crate::snapshot::StoreOptions;
    use crate::snapshot::layout::{MARKER, PRIVATE, Stem};

    fn open(dir: PathBuf, faults: Option<FaultPlan>) -> Arc<Store> {
        let options = StoreOptions {
            faults,
            ..StoreOptions::plain(dir)
        };
        Store::open(options).unwrap()
    }

    #[test]
    fn a_scan_in_which_something_failed_settles_nothing() {
        for failing in ["readdir", "open"] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("snapshots");
            let sidecar = root.join(Stem::of(&Key::from_text("GET:/a")).sidecar(None));
            let log = root.join(PRIVATE).join("invalidations");
            fs::create_dir_all(sidecar.parent().unwrap()).unwrap();
            fs::create_dir_all(log.parent().unwrap()).unwrap();
            fs::write(&sidecar, "no sidecar").unwrap();
            fs::write(&log, "8589934592000000000 delete /a\n").unwrap();
            let is_broken = Arc::new(AtomicBool::new(true));
            let switch = Arc::clone(&is_broken);
            let plan: FaultPlan = Arc::new(move |operation, path| {
                let is_kept =
                    path.ends_with(MARKER) || path.components().any(|part| part.as_os_str() == PRIVATE);
                match operation == failing && !is_kept && switch.load(Ordering::SeqCst) {
                    true => Err(io::Error::other("broken").into()),
                    false => Ok(()),
                }
            });
            let store = open(root, Some(plan));
            assert_eq!(store.scan_at_start(), Looked::Failed, "{failing}");
            assert!(store.is_scanned(), "what is there is served");
            assert!(!store.ledger().is_carried_out(), "{failing}");
            assert_ne!(fs::read(&log).unwrap(), b"", "{failing}");

            is_broken.store(false, Ordering::SeqCst);
            assert_eq!(store.scan_at_start(), Looked::Whole, "{failing}");
            assert!(store.ledger().is_carried_out(), "{failing}");
            assert_eq!(fs::read(&log).unwrap(), b"", "{failing}");
        }
    }

    #[test]
    fn who_lost_the_lock_leaves_the_log_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("snapshots");
        let store = open(root.clone(), None);
        store.scan_at_start();
        let lock = root.join(PRIVATE).join("lock");
        fs::remove_file(&lock).unwrap();
        let other = Fs::default().try_lock(&lock).unwrap();
        assert!(other.is_some());
        let removal = store.invalidate(&Invalidation {
            patterns: [KeyPattern::All].into(),
            mode: RefreshMode::Delete,
        });
        let _ = removal.done.blocking_recv();
        store.settle(|_| {});
        let log = fs::read_to_string(root.join(PRIVATE).join("invalidations")).unwrap();
        assert!(log.contains("delete *"), "{log:?}");
    }
}
