//! Watching directories, so that what others change takes effect at once.
//!
//! [`DirWatch`] tells what changed below a directory, in batches. It is used twice: the store watches
//! its own directory, and [`ContentWatcher`] watches the sources that pages are made from. It never
//! goes silently blind; whatever may have been missed is answered with [`Batch::rescan`]:
//!
//! - the kernel's queue overflowed. The events that are lost may be those of new directories, so
//!   everything is watched anew before the rescan is told;
//! - the root was replaced. Its own events tell that at once, but not if a parent was renamed, a file
//!   system mounted over it, or somebody still has it open, so its identity is also looked at on a tick;
//! - no events are to be had (limits of inotify, network file systems): the tree is polled.
//!
//! A directory that appears is walked once it is certainly watched: what was put into it earlier gave
//! no event of its own.

mod content;
mod event;
mod rule;
mod target;
mod tree;
mod worker;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use content::ContentWatcher;
use event::Signals;
use worker::Worker;

/// What changed, coalesced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Everything but directories that was made, changed, removed or renamed. Says nothing about what
    /// is there now.
    pub(crate) paths: HashSet<PathBuf>,
    /// Directories that were removed or moved away; what was in them is not named one by one.
    pub(crate) gone: BTreeSet<PathBuf>,
    /// More may have changed than `paths` tells: everything has to be looked at.
    pub(crate) rescan: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.gone.is_empty() && !self.rescan
    }
}

/// Why a directory cannot be watched at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("cannot look into {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot start a thread that watches {}", path.display())]
    Thread { path: PathBuf, source: io::Error },
}

/// Which paths below the root do not matter.
pub(crate) type Skip = dyn Fn(&Path) -> bool + Send + Sync;

/// How often things happen; tests are in more of a hurry.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// A batch is passed on when nothing has happened for this long,
    quiet: Duration,
    /// or when its first event is this old.
    late: Duration,
    /// How often the identity of the root is looked at,
    tick: Duration,
    /// and how often while there is none.
    absent: Duration,
    /// Where there are no events: how often the tree is walked, if a walk is quick.
    poll: Duration,
    /// Whether events are used at all.
    events: bool,
}

const PACE: Pace = Pace {
    quiet: Duration::from_millis(20),
    late: Duration::from_millis(80),
    tick: Duration::from_millis(200),
    absent: Duration::from_millis(50),
    poll: Duration::from_secs(1),
    events: true,
};

/// Watches a directory with everything below it until dropped. Symbolic links are not followed, the
/// root's own excepted.
///
/// Dropping waits for a callback that is running, unless it is dropped by that callback.
#[derive(Debug)]
pub(crate) struct DirWatch {
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl DirWatch {
    /// Calls `on_batch` on a thread of its own for what happens below `root` from now on, except to
    /// what `skip` names. Paths begin with `root` as it is given. A root that does not exist is waited
    /// for.
    ///
    /// # Errors
    /// When neither events nor looking at the tree work.
    pub(crate) fn start(
        root: &Path,
        skip: impl Fn(&Path) -> bool + Send + Sync + 'static,
        on_batch: impl FnMut(Batch) + Send + 'static,
    ) -> Result<Self, WatchError> {
        Self::start_at(PACE, root, Arc::new(skip), Box::new(on_batch))
    }

    fn start_at(
        pace: Pace,
        root: &Path,
        skip: Arc<Skip>,
        on_batch: Box<dyn FnMut(Batch) + Send>,
    ) -> Result<Self, WatchError> {
        let signals = Arc::new(Signals::new(root.to_owned(), Arc::clone(&skip)));
        let worker = Worker::start(pace, root, skip, Arc::clone(&signals))?;
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || worker.run(on_batch))
            .map_err(|source| WatchError::Thread {
                path: root.into(),
                source,
            })?;
        Ok(Self {
            signals,
            thread: Some(thread),
        })
    }

    /// Whether changes are being noticed; not while the root does not exist.
    pub(crate) fn is_healthy(&self) -> bool {
        self.signals.is_watching()
    }
}

impl Drop for DirWatch {
    fn drop(&mut self) {
        self.signals.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the callback was logged when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
