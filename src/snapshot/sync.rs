//! Syncs behind commits: a page that took nobody's place has nothing to lose in a power cut, so nobody waits
//! until it is on the platter.
//!
//! A thread gathers what was committed for a moment and syncs it together: file by file when they are few, by
//! one call for the file system when they are many. What it holds is bounded: files beyond that are not held
//! at all, for that one call has them too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::lock;
use crate::fsops::{File, Fs};
use crate::throttle::Throttle;

/// How long files are gathered.
const GATHER: Duration = Duration::from_millis(500);
/// More files than this are not synced one by one.
const FEW: usize = 64;
/// Whether there is a call that syncs them all.
const HAS_SYNC_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// See the module. The thread ends with it, when it has synced what it has.
pub(super) struct Syncs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: something has come, and it has nothing; or it is not to gather on.
    comes: Condvar,
    /// A round is done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    coming: Round,
    /// Not to be gathered on.
    is_urgent: bool,
    /// Nothing comes any more.
    is_closed: bool,
    /// The thread is gone.
    is_over: bool,
    /// Rounds that were begun, and that are done.
    begun: u64,
    done: u64,
}

/// What is synced together.
#[derive(Default)]
struct Round {
    files: Vec<(File, PathBuf)>,
    /// There was no place for some: all is to be synced.
    is_all: bool,
}

impl Syncs {
    pub(super) fn start(fs: Fs, root: PathBuf) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let syncing = Syncing {
            fs,
            root,
            shared: Arc::clone(&shared),
            trouble: Throttle::default(),
        };
        thread::Builder::new()
            .name("phantom-sync".into())
            .spawn(move || syncing.run())?;
        Ok(Self(shared))
    }

    /// Has a file synced within a second or so; gives it back where there is no place for it.
    pub(super) fn behind(&self, file: File, path: &Path) -> Result<(), File> {
        let mut state = lock(&self.0.state);
        let is_first = state.coming.is_empty();
        let has_room = HAS_SYNC_ALL || state.coming.has_room();
        if state.is_over || !has_room {
            return Err(file);
        }
        let left_over = state.coming.take(file, path);
        drop(state);
        // Closed without the lock.
        drop(left_over);
        if is_first {
            self.0.comes.notify_one();
        }
        Ok(())
    }

    /// Returns when everything is synced that was handed over before.
    pub(super) fn flush(&self) {
        let mut state = lock(&self.0.state);
        // The next round has what is still coming, and follows the one under way.
        let round = state.begun + 1;
        state.is_urgent = true;
        self.0.comes.notify_one();
        while state.done < round && !state.is_over {
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        lock(&self.0.state).is_closed = true;
        self.0.comes.notify_one();
    }
}

impl Round {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.is_all
    }

    fn has_room(&self) -> bool {
        !self.is_all && self.files.len() < FEW
    }

    /// What need not be held then.
    fn take(&mut self, file: File, path: &Path) -> Vec<(File, PathBuf)> {
        if self.has_room() {
            self.files.push((file, path.to_owned()));
            return Vec::new();
        }
        self.is_all = true;
        let mut left_over = std::mem::take(&mut self.files);
        left_over.push((file, PathBuf::new()));
        left_over
    }
}

impl Shared {
    /// What was gathered; nothing at the end.
    fn next(&self) -> Option<Round> {
        let has_to_wait = |state: &State| !state.is_urgent && !state.is_closed;
        let state = self.comes.wait_while(lock(&self.state), |state| {
            has_to_wait(state) && state.coming.is_empty()
        });
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.coming.is_empty() && !state.is_urgent {
            return None;
        }
        // Where there is no call that syncs them all, who finds no room meanwhile syncs by himself.
        let gathered = self
            .comes
            .wait_timeout_while(state, GATHER, |state| has_to_wait(state));
        let mut state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        state.begun += 1;
        state.is_urgent = false;
        Some(std::mem::take(&mut state.coming))
    }
}

/// The thread's own.
struct Syncing {
    fs: Fs,
    root: PathBuf,
    shared: Arc<Shared>,
    trouble: Throttle,
}

impl Syncing {
    fn run(self) {
        while let Some(round) = self.shared.next() {
            if let Err(error) = self.sync(round) {
                self.trouble.say(|| {
                    tracing::error!(
                        dir = %self.root.display(),
                        %error,
                        "snapshots cannot be synced to disk; a power cut may lose what was stored last"
                    );
                });
            }
            lock(&self.shared.state).done += 1;
            self.shared.done.notify_all();
        }
    }

    /// Goes on after a failure and returns the first.
    fn sync(&self, round: Round) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if round.is_all {
            return self.fs.sync_all(&self.root);
        }
        let syncs = round
            .files
            .iter()
            .map(|(file, path)| self.fs.sync_file(file, path));
        syncs.fold(Ok(()), io::Result::and)
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        lock(&self.shared.state).is_over = true;
        self.shared.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What was asked of the disk while so many files were synced behind.
    fn asked(files: usize) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let fs = Fs::new(Some(Arc::new(move |operation, _: &Path| {
            noted.lock().unwrap().push(operation);
            Ok(())
        })));
        let syncs = Syncs::start(fs, dir.path().to_owned()).unwrap();
        for _ in 0..files {
            let file = tempfile::tempfile().unwrap();
            assert!(syncs.behind(file, dir.path()).is_ok());
        }
        syncs.flush();
        let asked = asked.lock().unwrap();
        asked.clone()
    }

    #[test]
    fn few_files_are_synced_each() {
        assert_eq!(asked(0), Vec::<&str>::new());
        assert_eq!(asked(3), ["sync"; 3]);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn many_files_are_synced_by_fewer_calls() {
        const MANY: usize = 20 * FEW;
        let asked = asked(MANY);
        assert!(asked.contains(&"sync-all"), "{asked:?}");
        assert!(asked.len() < MANY / 4, "{asked:?}");
    }
}
