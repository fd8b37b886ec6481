//! The meeting place of the thread that has the events and the thread that passes them on. Bounded:
//! what does not fit becomes a rescan.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind};

use super::{Pace, Skip};

/// More distinct paths than this are not remembered one by one.
const MAX_PATHS: usize = 65_536;

/// What is known of one path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    /// It may be new, and a directory.
    pub(super) appeared: bool,
    /// It went, or what had its name did.
    pub(super) left: bool,
}

/// What has come in since the last batch.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By their text, which is hashed in one piece.
    pub(super) changes: HashMap<OsString, Change>,
    /// Events were lost, those of new directories among them.
    pub(super) overflow: bool,
    /// The root itself was removed or renamed.
    pub(super) root: bool,
    /// No more watches are to be had: new directories are not seen.
    pub(super) exhausted: bool,
    /// Something cannot be watched.
    pub(super) failure: Option<notify::Error>,
    stop: bool,
    arrivals: u64,
}

/// The rests of a source's thread: while pages are stored each event would wake it, and a batch is passed on later anyway.
/// What comes meanwhile is in the kernel's queue, and is read at once.
#[derive(Debug)]
pub(super) struct Rests {
    last: Instant,
}

impl Rests {
    /// Far less than a batch is gathered for; the kernel's queue has room for thousands of events.
    const REST: Duration = Duration::from_millis(3);
    /// Who had no event for so long has emptied the queue.
    const GAP: Duration = Duration::from_micros(50);

    pub(super) fn new() -> Self {
        Self { last: Instant::now() }
    }

    /// After an event that began no batch.
    pub(super) fn rest(&mut self) {
        if self.last.elapsed() > Self::GAP {
            std::thread::sleep(Self::REST);
        }
        self.last = Instant::now();
    }
}

/// What [`Signals::wait`] ended with.
#[derive(Debug)]
pub(super) enum Woken {
    Stop,
    Idle,
    Pending(Pending),
}

pub(super) struct Signals {
    root: PathBuf,
    skip: Arc<Skip>,
    pending: Mutex<Pending>,
    arrived: Condvar,
    watching: AtomicBool,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Signals {
    pub(super) fn new(root: PathBuf, skip: Arc<Skip>) -> Self {
        Self {
            root,
            skip,
            pending: Mutex::default(),
            arrived: Condvar::new(),
            watching: AtomicBool::new(false),
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.arrived.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    pub(super) fn set_watching(&self, watching: bool) {
        self.watching.store(watching, Ordering::Relaxed);
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    /// Takes an event in, on the thread of its source. Never waits for what a batch leads to. Says whether others
    /// came before it, in the same batch.
    pub(super) fn take_in(&self, result: notify::Result<Event>) -> bool {
        let mut pending = self.lock();
        if !pending.note(result, &self.root, &*self.skip) {
            return pending.arrivals > 0;
        }
        pending.arrivals += 1;
        let is_first = pending.arrivals == 1;
        drop(pending);
        // Who has been woken looks by itself whether there are more.
        if is_first {
            self.arrived.notify_all();
        }
        !is_first
    }

    /// Waits for something to happen, for `timeout` at most, and then for a while in which nothing does.
    pub(super) fn wait(&self, timeout: Duration, pace: &Pace) -> Woken {
        let pending = self.lock();
        let mut pending = self.wait_while(pending, timeout, |pending| pending.arrivals == 0);
        if pending.arrivals > 0 {
            let end = Instant::now() + pace.late;
            loop {
                let seen = pending.arrivals;
                let left = end.saturating_duration_since(Instant::now()).min(pace.quiet);
                pending = self.wait_while(pending, left, |_| true);
                if pending.stop || pending.arrivals == seen || Instant::now() >= end {
                    break;
                }
            }
        }
        if pending.stop {
            return Woken::Stop;
        }
        match std::mem::take(&mut *pending) {
            Pending { arrivals: 0, .. } => Woken::Idle,
            pending => Woken::Pending(pending),
        }
    }

    fn wait_while<'a>(
        &self,
        pending: MutexGuard<'a, Pending>,
        timeout: Duration,
        condition: impl Fn(&Pending) -> bool,
    ) -> MutexGuard<'a, Pending> {
        let more = |pending: &mut Pending| !pending.stop && condition(pending);
        self.arrived
            .wait_timeout_while(pending, timeout, more)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Whether the event says anything.
    fn note(&mut self, result: notify::Result<Event>, root: &Path, skip: &Skip) -> bool {
        let event = match result {
            Ok(event) => event,
            Err(error) => return self.note_failure(error, skip),
        };
        // First of all: such an event carries no path.
        if event.need_rescan() {
            self.overflow = true;
            return true;
        }
        let Some(change) = change(event.kind) else {
            return false;
        };
        let mut news = false;
        for path in event.paths {
            if path == root {
                // What happens to its entries is told by their own events.
                self.root |= change.left;
                news |= change.left;
            } else if !skip(&path) {
                let known = self.changes.entry(path.into_os_string()).or_default();
                known.appeared |= change.appeared;
                known.left |= change.left;
                news = true;
            }
        }
        if self.changes.len() > MAX_PATHS {
            self.changes.clear();
            self.overflow = true;
        }
        news
    }

    fn note_failure(&mut self, error: notify::Error, skip: &Skip) -> bool {
        match error.kind {
            // Gone before it could be watched: its removal is an event of its own.
            ErrorKind::PathNotFound | ErrorKind::WatchNotFound => return false,
            ErrorKind::MaxFilesWatch => self.exhausted = true,
            _ if !error.paths.is_empty() && error.paths.iter().all(|path| skip(path)) => return false,
            _ => self.failure = Some(error),
        }
        true
    }
}

/// What kind of change it is; none if the event is about somebody reading.
fn change(kind: EventKind) -> Option<Change> {
    let (appeared, left) = match kind {
        EventKind::Access(_) => return None,
        EventKind::Create(CreateKind::File) => (false, false),
        EventKind::Create(_) => (true, false),
        EventKind::Remove(_) => (false, true),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => (true, false),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => (false, true),
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => (false, false),
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => (true, true),
    };
    Some(Change { appeared, left })
}
