//! The thread behind a [`DirWatch`](super::DirWatch): from events, ticks and polls to batches.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{Config, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};

use super::event::{Change, Pending, Rests, Signals, Woken};
use super::tree::{self, DirId, Entry, Poll};
use super::{Batch, Pace, Skip, WatchError};

/// A walk may take this share of the time, at most.
const POLL_REST: u32 = 10;

pub(super) struct Worker {
    pace: Pace,
    root: PathBuf,
    skip: Arc<Skip>,
    signals: Arc<Signals>,
    /// None while there is no root.
    root_id: Option<DirId>,
    events: Option<RecommendedWatcher>,
    poll: Option<Poll>,
    poll_at: Instant,
    /// The directories below the root: an event of one that went does not say that it was one.
    dirs: BTreeSet<PathBuf>,
    told_degraded: bool,
}

impl Worker {
    /// What happens after this returns is noticed.
    pub(super) fn start(
        pace: Pace,
        root: &Path,
        skip: Arc<Skip>,
        signals: Arc<Signals>,
    ) -> Result<Self, WatchError> {
        let mut worker = Self {
            pace,
            root: root.to_owned(),
            skip,
            signals,
            root_id: None,
            events: None,
            poll: None,
            poll_at: Instant::now(),
            dirs: BTreeSet::new(),
            told_degraded: false,
        };
        match DirId::of(root) {
            Some(id) => worker.attach(id).map_err(|source| WatchError::Unreadable {
                path: root.to_owned(),
                source,
            })?,
            None => worker.log_absent(),
        }
        Ok(worker)
    }

    pub(super) fn run(mut self, mut on_batch: Box<dyn FnMut(Batch) + Send>) {
        let _ended = Ended(Arc::clone(&self.signals));
        loop {
            let mut batch = Batch::default();
            match self.signals.wait(self.pause(), &self.pace) {
                Woken::Stop => return,
                Woken::Idle => self.look_at_root(false, &mut batch),
                Woken::Pending(pending) => self.absorb(pending, &mut batch),
            }
            self.poll_if_due(&mut batch);
            if !batch.is_empty() && !self.signals.is_stopped() {
                on_batch(batch);
            }
        }
    }

    /// Whether it was said that there are no events.
    #[cfg(test)]
    pub(super) fn has_told(&self) -> bool {
        self.told_degraded
    }

    #[cfg(test)]
    pub(super) fn is_polling(&self) -> bool {
        self.poll.is_some()
    }

    fn pause(&self) -> Duration {
        match (&self.root_id, &self.poll) {
            (None, _) => self.pace.absent,
            (Some(_), None) => self.pace.tick,
            (Some(_), Some(_)) => {
                let due = self.poll_at.saturating_duration_since(Instant::now());
                due.min(self.pace.tick)
            }
        }
    }

    pub(super) fn absorb(&mut self, pending: Pending, batch: &mut Batch) {
        if let Some(error) = pending.failure {
            tracing::warn!(root = %self.root.display(), error = %crate::error::chain(&error), "something here cannot be watched");
            batch.rescan = true;
        }
        if pending.exhausted && self.poll.is_none() {
            self.degrade(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
            batch.rescan = true;
        }
        // The events that were lost may be those of directories that nobody watches now.
        self.look_at_root(pending.overflow || pending.root, batch);

        let mut new_dirs = Vec::new();
        for (path, Change { appeared, left }) in pending.changes {
            let path = PathBuf::from(path);
            let was_dir = left && self.forget_dir(&path);
            // One that came and went before it was seen may have been a directory.
            if was_dir || (left && appeared) {
                batch.gone.insert(path.clone());
            }
            // A file may have the name of a directory that went.
            let is_other = match was_dir {
                true => tree::is_leaf(&path),
                false => !self.dirs.contains(&path),
            };
            if appeared && tree::is_dir(&path) {
                new_dirs.push(path);
            } else if is_other {
                batch.paths.insert(path);
            }
        }
        if new_dirs.is_empty() {
            return;
        }
        // A question to the thread that has the events is answered after it has put a watch on every
        // directory that it has told of. Only then does the walk miss nothing: what it does not find
        // gives an event.
        if let Some(events) = &self.events {
            let _ = events.watched_paths();
        }
        for dir in new_dirs {
            self.enter(&dir, &mut |path| {
                batch.paths.insert(path);
            });
        }
    }

    /// Compares the root with the one that is watched.
    fn look_at_root(&mut self, certainly_changed: bool, batch: &mut Batch) {
        let now = DirId::of(&self.root);
        if now == self.root_id && (now.is_none() || !certainly_changed) {
            return;
        }
        let was_absent = self.root_id.is_none();
        let attached = now.is_some_and(|id| self.attach(id).is_ok());
        batch.rescan |= attached || !was_absent;
        match (was_absent, attached) {
            (true, true) => tracing::info!(root = %self.root.display(), "the watched directory is there"),
            (false, true) => tracing::debug!(root = %self.root.display(), "watching anew"),
            (_, false) => self.lose(),
        }
    }

    fn lose(&mut self) {
        if self.root_id.is_some() {
            self.log_absent();
        }
        self.detach();
    }

    fn log_absent(&self) {
        tracing::warn!(root = %self.root.display(), "the watched directory is absent or unreadable; waiting for it");
    }

    fn detach(&mut self) {
        self.root_id = None;
        self.events = None;
        self.poll = None;
        self.dirs.clear();
        self.signals.set_watching(false);
    }

    /// Watches the root, which is `id`. Should it be replaced meanwhile, the next tick tells.
    fn attach(&mut self, id: DirId) -> io::Result<()> {
        self.events = None;
        self.poll = None;
        self.dirs.clear();
        if self.pace.events {
            match self.subscribe() {
                Ok(events) => self.events = Some(events),
                Err(error) => self.degrade(&error),
            }
        }
        if self.poll.is_none() && (self.events.is_none() || tree::is_remote(&self.root)) {
            self.start_polling()?;
        }
        let root = self.root.clone();
        self.enter(&root, &mut |_| {});
        self.root_id = Some(id);
        self.signals.set_watching(true);
        Ok(())
    }

    fn subscribe(&self) -> notify::Result<RecommendedWatcher> {
        let config = Config::default()
            // Without the events of reading and opening: serving a page is no change.
            .with_event_kinds(EventKindMask::CORE)
            .with_follow_symlinks(false);
        let signals = Arc::clone(&self.signals);
        let mut rests = Rests::new();
        let take_in = move |event| {
            if signals.take_in(event) {
                rests.rest();
            }
        };
        let mut events = RecommendedWatcher::new(take_in, config)?;
        events.watch(&self.root, RecursiveMode::Recursive)?;
        Ok(events)
    }

    fn degrade(&mut self, error: &notify::Error) {
        if !self.told_degraded {
            self.told_degraded = true;
            let hint = match error.kind {
                notify::ErrorKind::MaxFilesWatch => "raise fs.inotify.max_user_watches",
                _ => "raise fs.inotify.max_user_instances, or use another file system",
            };
            tracing::warn!(
                root = %self.root.display(), %error, hint,
                "no events for this directory; looking at it every second instead"
            );
        }
        // An unreadable root is found by whoever attaches.
        let _ = self.start_polling();
    }

    fn start_polling(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        self.poll = Some(Poll::new(&self.root, &*self.skip)?);
        self.rest_after(begin);
        Ok(())
    }

    fn rest_after(&mut self, begin: Instant) {
        let now = Instant::now();
        self.poll_at = now + self.pace.poll.max((now - begin) * POLL_REST);
    }

    fn poll_if_due(&mut self, batch: &mut Batch) {
        let begin = Instant::now();
        let Some(poll) = self.poll.as_mut().filter(|_| begin >= self.poll_at) else {
            return;
        };
        // Nothing is left to walk once it is to stop; then nobody gets the result.
        let skip = |path: &Path| self.signals.is_stopped() || (self.skip)(path);
        match poll.changes(&self.root, &skip) {
            Ok(changes) => batch.paths.extend(changes),
            Err(_) => {
                batch.rescan = true;
                return self.lose();
            }
        }
        self.rest_after(begin);
    }

    /// Walks a directory that is new, or taken for new.
    fn enter(&mut self, dir: &Path, found: &mut dyn FnMut(PathBuf)) {
        if dir != self.root {
            self.dirs.insert(dir.to_owned());
        }
        let (dirs, events) = (&mut self.dirs, &mut self.events);
        let walked = tree::walk(dir, &*self.skip, |kind, entry| match kind {
            Entry::Dir => {
                dirs.insert(entry.path());
            }
            Entry::Leaf => found(entry.path()),
            Entry::Skipped => unwatch(events, &entry.path()),
        });
        if let Err(error) = walked {
            tracing::debug!(dir = %dir.display(), %error, "cannot look into a new directory");
        }
    }

    /// Whether it was one.
    fn forget_dir(&mut self, path: &Path) -> bool {
        if !self.dirs.remove(path) {
            return false;
        }
        // Paths sort by their components: what is in a directory follows it at once.
        let inside: Vec<_> = self
            .dirs
            .range(path.to_owned()..)
            .take_while(|dir| dir.starts_with(path))
            .cloned()
            .collect();
        for dir in inside {
            self.dirs.remove(&dir);
        }
        true
    }
}

/// Takes back the watches below a directory that does not matter: the store writes its temporary files
/// into one, and each write would wake us.
#[cfg(target_os = "linux")]
fn unwatch(events: &mut Option<RecommendedWatcher>, dir: &Path) {
    if let Some(events) = events {
        // Not watched, or gone: as it should be.
        let _ = events.unwatch(dir);
    }
}

/// Elsewhere one watch covers the whole tree and cannot be taken back in parts.
#[cfg(not(target_os = "linux"))]
fn unwatch(_: &mut Option<RecommendedWatcher>, _: &Path) {}

/// Says that nothing is watched any more, also if a callback panics.
struct Ended(Arc<Signals>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set_watching(false);
        if std::thread::panicking() {
            tracing::error!("a watcher ended by a panic: changes of files are not noticed any more");
        }
    }
}
