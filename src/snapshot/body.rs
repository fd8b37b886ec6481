//! A body on its way to disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::assets::Assets;
use crate::fsops::{File, Fs, Prefix};
use crate::head::Seal;

use super::Store;
use super::usage::Room;

/// What is written to see whether anything can be, in bytes: a block of most file systems.
const PROBE: usize = 4096;

/// A temporary file, sealed as it grows.
pub(crate) struct BodyWriter {
    file: tempfile::NamedTempFile,
    hasher: blake3::Hasher,
    length: u64,
    fs: Fs,
    room: Room,
    store: Arc<Store>,
}

/// A whole body, not yet committed. Dropping it removes it.
pub(crate) struct FinishedBody {
    file: tempfile::NamedTempFile,
    pub(super) seal: Seal,
    pub(crate) length: u64,
    pub(super) assets: Assets,
    room: Room,
}

/// Why no more of a body was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("bodies under way take all the room they may")]
    NoRoom,
    #[error("cannot write a body")]
    Disk(#[from] io::Error),
}

impl Store {
    /// Begins a body.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn body_writer(self: &Arc<Self>) -> io::Result<BodyWriter> {
        let file = self.fs.temporary(&self.tmp());
        Ok(BodyWriter {
            file: file.inspect_err(|_| self.refuses.store(true, Ordering::Relaxed))?,
            hasher: blake3::Hasher::new(),
            length: 0,
            fs: self.fs.clone(),
            room: self.room(),
            store: Arc::clone(self),
        })
    }

    /// Whether the disk takes a page: one that is full still makes files, and writes nothing into them.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn try_disk(self: &Arc<Self>) -> Result<(), WriteError> {
        self.body_writer()?.write(&[0; PROBE])
    }

    /// Whether the disk took nothing when it was last asked to.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }
}

impl BodyWriter {
    /// # Errors
    /// No room under the disk's limit, or those of the file system. The written prefix stays readable.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let length = self.length + bytes.len() as u64;
        if !self.room.grow_to(length) {
            return Err(WriteError::NoRoom);
        }
        self.store.relieve();
        let path = self.file.path().to_owned();
        let written = self.fs.write(self.file.as_file_mut(), &path, bytes);
        written.inspect_err(|_| self.store.refuses.store(true, Ordering::Relaxed))?;
        self.hasher.update(bytes);
        self.length = length;
        Ok(())
    }

    /// A second handle, for readers of the prefix.
    pub(crate) fn reader(&self) -> io::Result<Prefix> {
        self.fs.prefix(self.file.as_file(), self.file.path())
    }

    /// So many of its first bytes.
    pub(crate) fn beginning(&self, most: usize) -> io::Result<Vec<u8>> {
        let most = usize::try_from(self.length).map_or(most, |length| length.min(most));
        self.reader()?.read_at(0, most)
    }

    /// It names these.
    pub(crate) fn finish(self, assets: Assets) -> FinishedBody {
        FinishedBody {
            seal: Seal(self.hasher.finalize()),
            file: self.file,
            length: self.length,
            assets,
            room: self.room,
        }
    }
}

impl FinishedBody {
    pub(super) fn as_file(&self) -> &File {
        self.file.as_file()
    }

    /// So many of its last bytes.
    pub(super) fn end(&self, fs: &Fs, most: usize) -> Option<Vec<u8>> {
        let begin = self.length.saturating_sub(most as u64);
        let bytes = fs.prefix(self.file.as_file(), self.file.path()).ok()?;
        bytes.read_at(begin, most).ok()
    }

    /// The file, and the room that it takes until it counts as stored.
    pub(super) fn into_file(self) -> (tempfile::NamedTempFile, Room) {
        (self.file, self.room)
    }
}
