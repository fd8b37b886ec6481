//! Syncs behind commits: a page that took nobody's place has nothing to lose in a power cut, so nobody waits
//! until it is on the platter.
//!
//! A thread gathers what was committed for a moment and syncs it together: file by file when they are few, by
//! one call for the file system when they are many. What it holds is bounded: files beyond that are not held
//! at all, for that one call has them too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use crate::fsops::{File, Fs};
use crate::throttle::Throttle;

/// How long files are gathered.
const GATHER: Duration = Duration::from_millis(500);
/// More files than this are not synced one by one.
const FEW: usize = 64;
/// Whether there is a call that syncs them all.
const HAS_SYNC_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// See the module. The thread ends with it, when it has synced what it has.
pub(super) struct Syncs {
    orders: SyncSender<Order>,
    /// There was no place for some: all is to be synced.
    is_all: Arc<AtomicBool>,
}

enum Order {
    File(File, PathBuf),
    /// At once; answers when it is done.
    Flush(SyncSender<()>),
}

impl Syncs {
    pub(super) fn start(fs: Fs, root: PathBuf) -> io::Result<Self> {
        let (orders, coming) = mpsc::sync_channel(FEW);
        let is_all = Arc::new(AtomicBool::new(false));
        let syncing = Syncing {
            fs,
            root,
            coming,
            is_all: Arc::clone(&is_all),
            trouble: Throttle::default(),
        };
        thread::Builder::new()
            .name("phantom-sync".into())
            .spawn(move || syncing.run())?;
        Ok(Self { orders, is_all })
    }

    /// Has a file synced within a second or so; gives it back where there is no place for it.
    pub(super) fn behind(&self, file: File, path: &Path) -> Result<(), File> {
        match self.orders.try_send(Order::File(file, path.to_owned())) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(Order::File(..))) if HAS_SYNC_ALL => {
                self.is_all.store(true, Ordering::Release);
                // Or the thread has found its queue empty, and looked before this was said.
                let (answer, _) = mpsc::sync_channel(1);
                let _ = self.orders.try_send(Order::Flush(answer));
                Ok(())
            }
            Err(
                TrySendError::Full(Order::File(file, _)) | TrySendError::Disconnected(Order::File(file, _)),
            ) => Err(file),
            Err(_) => Ok(()),
        }
    }

    /// Returns when everything is synced that was handed over before.
    pub(super) fn flush(&self) {
        let (answer, done) = mpsc::sync_channel(1);
        if self.orders.send(Order::Flush(answer)).is_ok() {
            // An error: the thread is gone, and so is what it had.
            let _ = done.recv();
        }
    }
}

/// The thread's own.
struct Syncing {
    fs: Fs,
    root: PathBuf,
    coming: Receiver<Order>,
    is_all: Arc<AtomicBool>,
    trouble: Throttle,
}

/// What is synced together.
#[derive(Default)]
struct Round {
    files: Vec<(File, PathBuf)>,
    is_all: bool,
    waiting: Vec<SyncSender<()>>,
}

impl Syncing {
    fn run(self) {
        while let Ok(first) = self.coming.recv() {
            let round = self.gather(first);
            if let Err(error) = self.sync(&round) {
                self.trouble.say(|| {
                    tracing::error!(
                        dir = %self.root.display(),
                        %error,
                        "snapshots cannot be synced to disk; a power cut may lose what was stored last"
                    );
                });
            }
            for waiting in round.waiting {
                // Nobody may be waiting.
                let _ = waiting.try_send(());
            }
        }
    }

    fn gather(&self, first: Order) -> Round {
        let mut round = Round::default();
        let end = Instant::now() + GATHER;
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Order::File(file, path)) => round.take(file, path),
                Ok(Order::Flush(waiting)) => {
                    round.waiting.push(waiting);
                    break;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            if !HAS_SYNC_ALL && round.files.len() >= FEW {
                break;
            }
            let left = end.saturating_duration_since(Instant::now());
            next = self.coming.recv_timeout(left);
        }
        round.is_all |= self.is_all.swap(false, Ordering::AcqRel);
        round
    }

    /// Goes on after a failure and returns the first.
    fn sync(&self, round: &Round) -> io::Result<()> {
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

impl Round {
    fn take(&mut self, file: File, path: PathBuf) {
        self.is_all |= HAS_SYNC_ALL && self.files.len() >= FEW;
        match self.is_all {
            true => self.files.clear(),
            false => self.files.push((file, path)),
        }
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
