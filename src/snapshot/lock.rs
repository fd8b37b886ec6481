//! Who writes: one process a directory, by a lock that dies with its owner.
//!
//! The lock is on a file, and files are deleted: by `rm -rf`, by `git clean`. Who finds its lock's file
//! gone takes the lock of the one that stands in its place, or is a reader if somebody else has that.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::clock::{system_now, unix_seconds};
use crate::fsops::{File, Fs};

/// See the module.
pub(super) struct WriteLock {
    fs: Fs,
    path: PathBuf,
    /// Held while the file is open.
    file: Mutex<Option<File>>,
    is_held: AtomicBool,
    /// Since somebody last asked.
    is_made_again: AtomicBool,
    /// When it was last asked for, in seconds since 1970.
    asked: AtomicU64,
    use_of_it: Use,
}

/// Whether the lock is ever asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Asked,
    Never,
}

impl WriteLock {
    /// Not held yet.
    pub(super) fn new(fs: Fs, path: PathBuf) -> Self {
        Self {
            fs,
            path,
            file: Mutex::new(None),
            is_held: AtomicBool::new(false),
            is_made_again: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            use_of_it: Use::Asked,
        }
    }

    /// Of who only reads, for good: its file is never made.
    pub(super) fn never(fs: Fs, path: PathBuf) -> Self {
        Self {
            use_of_it: Use::Never,
            ..Self::new(fs, path)
        }
    }

    pub(super) fn is_never(&self) -> bool {
        self.use_of_it == Use::Never
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// The lock, if nobody has it; to be held when what comes before writing is done.
    pub(super) fn take(&self) -> io::Result<Option<File>> {
        match self.use_of_it {
            Use::Asked => self.fs.try_lock(&self.path),
            Use::Never => Ok(None),
        }
    }

    /// The same, at most once a second.
    pub(super) fn take_now_and_then(&self) -> io::Result<Option<File>> {
        let now = unix_seconds(system_now());
        match self.asked.swap(now, Ordering::Relaxed) == now {
            true => Ok(None),
            false => self.take(),
        }
    }

    pub(super) fn hold(&self, file: File) {
        *self.file() = Some(file);
        self.is_held.store(true, Ordering::Release);
    }

    /// Whether it is held, and of the file that is there.
    pub(super) fn is_still_held(&self) -> bool {
        let mut file = self.file();
        let Some(held) = &*file else {
            return false;
        };
        // A disk that cannot say takes nothing away.
        if self.fs.is_in_place(held, &self.path).unwrap_or(true) {
            return true;
        }
        *file = self.take().unwrap_or(None);
        let is_held = file.is_some();
        self.is_held.store(is_held, Ordering::Release);
        match is_held {
            true => {
                self.is_made_again.store(true, Ordering::Release);
                tracing::info!(path = %self.path.display(), "the directory's lock was deleted; it is made again");
            }
            false => {
                tracing::warn!(path = %self.path.display(), "the directory's lock was deleted, and another process has taken it; it is only read here");
            }
        }
        is_held
    }

    /// The same, and where it is of another file that is left to whoever comes first.
    #[cfg(feature = "cli")]
    pub(super) fn is_in_place(&self) -> bool {
        let file = self.file();
        let is_in_place = |held: &File| self.fs.is_in_place(held, &self.path).unwrap_or(false);
        file.as_ref().is_some_and(is_in_place)
    }

    /// Whether it had to be made again, since this was last asked.
    #[cfg(feature = "cli")]
    pub(super) fn was_made_again(&self) -> bool {
        self.is_made_again.load(Ordering::Acquire) && self.is_made_again.swap(false, Ordering::AcqRel)
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        super::lock(&self.file)
    }
}
