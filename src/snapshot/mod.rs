//! The snapshot directory: a body file and a TOML sidecar for each stored response.
//!
//! The files are the truth. The index is disposable, parsed heads are kept for speed, and every change
//! of a key's files, by us or found to be by others, happens under the key's own lock (`stripe`), so
//! that a commit, a deletion and the watcher never interleave on one key. All of it blocks; callers are
//! on blocking threads.
//!
//! `layout` names files, `sidecar` is their text, `body` takes a body in, `write` commits, `last_good` keeps what is better than what comes, `pair` replaces
//! files, `displace` moves others' aside, `sync` syncs behind them, `read` looks up and `check` compares a body with its seal, `parsed` keeps heads in memory and `hot` bodies, as far as `budget` goes; `ledger` orders invalidations against fills, `marks` has visitors', `log` keeps them over a crash,
//! `remove` carries them out, `anew` is for pages that stay until they are rendered again, `reconcile` follows other programs. `usage` says how much there may be, `evict` makes
//! room, `pinned` says what stays, `announced` is where commands are taken, `survey` reads without any of this, `frozen` serves without changing anything, and `upkeep` is a command's hand on the files; `crew` waits for the disk in a request's stead; `derived` has coded forms of bodies, `coder` makes them and `compress` is how. `hosts` bounds whose pages there are, `folders` knows the folders in use.

mod adopt;
mod anew;
#[cfg(feature = "cli")]
mod announced;
mod body;
mod budget;
mod check;
mod coder;
mod companions;
mod compress;
mod crew;
mod derived;
mod displace;
mod entry;
mod evict;
mod folders;
mod forms;
mod found;
mod frozen;
mod gate;
mod hosts;
mod hot;
mod index;
mod last_good;
mod layout;
mod ledger;
mod life;
mod lock;
mod log;
mod marks;
mod named;
mod open;
mod packed;
mod pair;
mod parsed;
mod pinned;
mod progress;
mod read;
mod reconcile;
mod recover;
mod remove;
mod scan;
pub(crate) mod sidecar;
mod survey;
mod sync;
mod upkeep;
mod usage;
mod walk;
mod write;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
#[cfg(feature = "watch")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError, Weak, mpsc};
use std::time::SystemTime;

use crate::clock::{Clock, system_now};
use crate::config::Durability;
use crate::fsops::{FaultPlan, Fs};
use crate::head::VariantId;
use crate::key::{Key, KeyHash};
use crate::pattern::KeyPattern;
use crate::throttle::{Throttle, ThrottlePerFile};

pub(crate) use anew::Marked;
#[cfg(feature = "cli")]
pub(crate) use announced::announced;
pub(crate) use body::{BodyWriter, WriteError};
pub(crate) use budget::{Budget, Room};
pub(crate) use crew::Crew;
pub(crate) use forms::Form;
pub(crate) use found::{BodyFile, Snapshot};
pub(crate) use frozen::{Choice, Frozen, Look, Missing, Shown};
use hot::Hot;
use index::Index;
pub(crate) use layout::{MARKER, PRIVATE, parse_file_name};
use ledger::{Ledger, Scan};
use log::Log;
use parsed::Parsed;
pub(crate) use pinned::Pinned;
pub use progress::Progress;
pub(crate) use read::Lookup;
pub(crate) use survey::{Entry, Found, Listed, Odd, Survey, folder_of, slug_of};
pub(crate) use upkeep::{Emptied, Resealed};
pub(crate) use usage::Bounds;
pub(crate) use write::{Candidate, CommitError, Kept};

/// How a store is opened.
#[derive(Clone)]
pub(crate) struct StoreOptions {
    pub(crate) dir: PathBuf,
    pub(crate) site: Option<String>,
    /// What tells the backend from another: two of them cannot fill one directory.
    pub(crate) backend: String,
    pub(crate) durability: Durability,
    pub(crate) bounds: Bounds,
    pub(crate) pinned: Pinned,
    /// Bytes of bodies in memory.
    pub(crate) memory_bytes: u64,
    /// What use is dated by.
    pub(crate) clock: Clock,
    pub(crate) faults: Option<FaultPlan>,
    /// Counts sidecars that a scan comes to.
    pub(crate) seen: Arc<Progress>,
}

#[cfg(test)]
impl StoreOptions {
    /// Nothing bounded, synced or held in memory.
    fn plain(dir: PathBuf) -> Self {
        Self {
            dir,
            site: None,
            backend: "http://localhost".into(),
            durability: Durability::None,
            bounds: Bounds {
                disk_bytes: 0,
                snapshots: 0,
                hosts: 1,
                body_bytes: 1,
            },
            pinned: Pinned::default(),
            memory_bytes: 0,
            clock: Clock::default(),
            faults: None,
            seen: Arc::default(),
        }
    }
}

/// A key that matches a pattern.
pub(crate) struct Matching {
    pub(crate) key: Box<str>,
    /// `METHOD:/path?query`, where the key has another line.
    pub(crate) own: Option<Box<str>>,
    /// Renderings beside the one without any of the fields.
    pub(crate) has_variants: bool,
    /// What stands there is the operator's word.
    pub(crate) is_tombstone: bool,
}

type Job = Box<dyn FnOnce() + Send>;
/// Told of every invalidation; returns how many answers of its own it dropped.
pub(crate) type Listener = dyn Fn(&[KeyPattern]) -> u64 + Send + Sync;

/// See the module.
pub(crate) struct Store {
    root: PathBuf,
    fs: Fs,
    options: StoreOptions,
    lock: lock::WriteLock,
    /// What `server.json` is to say.
    #[cfg(feature = "cli")]
    announced: Mutex<Option<String>>,
    index: Index,
    /// Parsed and checked heads.
    parsed: Parsed,
    /// Bodies of some of them.
    hot: Arc<Hot>,
    /// Who codes them.
    coder: coder::Coder,
    /// Who waits for the disk.
    crew: Crew,
    /// Taken in this order; see `ledger`.
    gate: RwLock<()>,
    log: Mutex<Log>,
    ledger: Mutex<Ledger>,
    /// How many wait for it.
    waiting: AtomicUsize,
    /// The ledger's number, for those who only want to know that.
    epoch: AtomicU64,
    stripes: [Mutex<()>; STRIPES],
    /// Bytes of bodies on their way to disk.
    under_way: Arc<AtomicU64>,
    /// One count for each invalidation whose files are being removed.
    clearing: Arc<()>,
    /// A round of evictions is under way.
    evicting: AtomicBool,
    /// When the disk last let nothing go, in seconds since 1970.
    evict_failed: AtomicU64,
    evict_trouble: Throttle,
    evict_notice: Throttle,
    left: pinned::Left,
    refusals: last_good::Refusals,
    /// When a host to give way was last looked for, in seconds since 1970.
    hosts_searched: AtomicU64,
    hosts_full: Throttle,
    /// Foreign changes are reported by the watcher. Without it every hit looks at its sidecar.
    is_watched: AtomicBool,
    listeners: Mutex<Vec<Weak<Listener>>>,
    /// The disk took nothing when it was last asked to.
    refuses: AtomicBool,
    syncs: Arc<sync::Syncs>,
    /// Sidecars of ours that got no body, and that the disk would not let go.
    torn: Mutex<HashSet<(KeyHash, Option<VariantId>)>>,
    /// A disk that does not do what it is asked.
    trouble: Throttle,
    /// Files that are not what they should be.
    unusable: ThrottlePerFile,
    jobs: mpsc::Sender<Job>,
    #[cfg(feature = "watch")]
    watch: OnceLock<crate::invalidate::watch::DirWatch>,
}

const STRIPES: usize = 64;

impl Store {
    pub(crate) fn is_writable(&self) -> bool {
        self.lock.is_held()
    }

    /// The same, seen to on disk.
    pub(crate) fn is_still_writable(&self) -> bool {
        let is_held = self.lock.is_still_held();
        #[cfg(feature = "cli")]
        if self.lock.was_made_again() {
            // What deleted the lock deleted what stood beside it.
            self.put_announcement();
        }
        is_held
    }

    /// Whether nothing is ever written, by whoever asks.
    pub(crate) fn is_frozen(&self) -> bool {
        self.lock.is_never()
    }

    /// Whether the directory has been read through since the start.
    pub(crate) fn is_scanned(&self) -> bool {
        self.ledger().scan() == Scan::Done
    }

    /// How many responses are stored, as far as the scan has come.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.index.used().renderings).unwrap_or(usize::MAX)
    }

    /// Line 1 of every key, sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        let keys = self.index.all();
        let mut lines: Vec<String> = keys.iter().map(|entry| entry.subject().line.to_owned()).collect();
        lines.sort_unstable();
        lines
    }

    /// When somebody was last answered from the key, in seconds since 1970, if that is known.
    pub(crate) fn used_at(&self, key: &Key) -> Option<u64> {
        let entry = self.index.get(key)?;
        Some(entry.life.used_at().into()).filter(|used| *used > 0)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Tells `listener` of every invalidation, another program's changes included, as long as it lives:
    /// proxies come and go over a store that they share.
    pub(crate) fn on_invalidation(&self, listener: &Arc<Listener>) {
        let mut listeners = lock(&self.listeners);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// Runs `job` on the store's own thread, after those before it.
    fn run_later(&self, job: impl FnOnce() + Send + 'static) {
        // The thread ends only with the store.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Returns when the files of every invalidation are gone, and what was committed is synced.
    pub(crate) fn barrier(self: &Arc<Self>) -> tokio::sync::oneshot::Receiver<()> {
        let (done, wait) = tokio::sync::oneshot::channel();
        self.answer_when_cleared(done);
        wait
    }

    /// Behind a slice of what is to be cleared each time.
    fn answer_when_cleared(self: &Arc<Self>, done: tokio::sync::oneshot::Sender<()>) {
        let store = Arc::clone(self);
        self.run_later(move || match Arc::strong_count(&store.clearing) > 1 {
            true if !done.is_closed() => store.answer_when_cleared(done),
            _ => {
                store.syncs.flush();
                let _ = done.send(());
            }
        });
    }

    /// Who waits for the disk.
    pub(crate) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Bodies in memory.
    pub(crate) fn hot(&self) -> &Arc<Hot> {
        &self.hot
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        match self.ledger.try_lock() {
            Ok(ledger) => ledger,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                let ledger = lock(&self.ledger);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                ledger
            }
        }
    }

    /// For who takes the ledger again and again: the lock is whoever's is quickest, and who has just let go of it
    /// is quicker than who has to be woken.
    fn let_others_in(&self) {
        const PATIENCE: usize = 64;
        for _ in 0..PATIENCE {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// The lock under which one key's files change.
    fn stripe(&self, short: u64) -> MutexGuard<'_, ()> {
        // Always in bounds: there are STRIPES of them.
        lock(&self.stripes[(short % STRIPES as u64) as usize])
    }

    fn private(&self, name: &str) -> PathBuf {
        self.root.join(layout::PRIVATE).join(name)
    }

    fn is_watched(&self) -> bool {
        #[cfg(feature = "watch")]
        if self.watch.get().is_some_and(|watch| !watch.is_healthy()) {
            return false;
        }
        self.is_watched.load(Ordering::Relaxed)
    }

    fn tell(&self, patterns: &[KeyPattern]) -> u64 {
        let listeners: Vec<_> = lock(&self.listeners).iter().filter_map(Weak::upgrade).collect();
        listeners.iter().map(|listener| listener(patterns)).sum()
    }

    /// Whether a file changed so lately that the program that changes it may not be done.
    fn is_recent(&self, changed: SystemTime) -> bool {
        const SETTLING: std::time::Duration = std::time::Duration::from_secs(2);
        system_now()
            .duration_since(changed)
            .is_ok_and(|age| age < SETTLING)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> Arc<Store> {
        Store::open(StoreOptions::plain(dir.path().join("snapshots"))).unwrap()
    }

    #[test]
    fn the_barrier_waits_for_what_is_cleared_in_slices() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let clearing = Arc::clone(&store.clearing);
        let mut wait = store.barrier();
        for _ in 0..3 {
            let (done, was_done) = mpsc::channel();
            store.run_later(move || done.send(()).unwrap());
            was_done.recv().unwrap();
        }
        assert!(wait.try_recv().is_err(), "files are still to go");
        drop(clearing);
        wait.blocking_recv().unwrap();
    }

    #[test]
    fn who_is_gone_hears_of_no_invalidation_and_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        let listener = |dropped: u64| -> Arc<Listener> { Arc::new(move |_: &[KeyPattern]| dropped) };
        let (gone, here) = (listener(1), listener(10));
        store.on_invalidation(&gone);
        store.on_invalidation(&here);
        assert_eq!(store.tell(&[KeyPattern::All]), 11);
        drop(gone);
        assert_eq!(store.tell(&[KeyPattern::All]), 10);
        for _ in 0..100 {
            store.on_invalidation(&listener(0));
        }
        assert!(lock(&store.listeners).len() <= 2);
    }
}
