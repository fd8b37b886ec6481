//! All of a file whose state is known.

use std::io::{self, Read};
use std::path::Path;

#[cfg(target_os = "linux")]
use std::io::IoSliceMut;

#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};

use super::{File, FileId, Fs, place};

impl Fs {
    /// The bytes of the file at `path` if it is in the state `known` before and after they were read; else nothing.
    pub(crate) fn read_whole(&self, path: &Path, known: &FileId) -> io::Result<Option<Vec<u8>>> {
        let (mut file, found) = self.open(path)?;
        if found != *known {
            return Ok(None);
        }
        self.gate("read", path)?;
        let Ok(length) = usize::try_from(known.size()) else {
            return Ok(None);
        };
        // In one call: `read_to_end` begins with small ones.
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok((FileId::of(&file.metadata()?) == *known).then_some(bytes))
    }

    /// The same without waiting for a disk or a server, so that it may be called on any thread: names and bytes come from the
    /// kernel's memory. Nothing where that does not tell; [`read_whole`](Self::read_whole) does.
    pub(crate) fn read_now(&self, path: &Path, known: &FileId) -> Option<Vec<u8>> {
        let root = self.root.as_deref().filter(|_| self.is_local)?;
        self.gate("open", path).ok()?;
        let (file, metadata) = place::open_now(root, path)?;
        if FileId::of(&metadata) != *known {
            return None;
        }
        self.gate("read", path).ok()?;
        let mut bytes = vec![0; usize::try_from(known.size()).ok()?];
        let is_whole = fills_now(&file, &mut bytes);
        (is_whole && FileId::of(&file.metadata().ok()?) == *known).then_some(bytes)
    }

    /// As [`stat`](Self::stat), without waiting, and without following a link. Nothing where that does not tell.
    pub(crate) fn stat_now(&self, path: &Path) -> Option<io::Result<FileId>> {
        let root = self.root.as_deref().filter(|_| self.is_local)?;
        if let Err(error) = self.gate("stat", path) {
            return Some(Err(error));
        }
        let state = place::state_now(root, path)?;
        Some(state.map(|metadata| FileId::of(&metadata)))
    }
}

/// Whether the kernel had so many bytes in memory, which are read then.
#[cfg(target_os = "linux")]
fn fills_now(file: &File, bytes: &mut [u8]) -> bool {
    let length = bytes.len();
    let read = preadv2(file, &mut [IoSliceMut::new(bytes)], 0, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == length)
}

#[cfg(not(target_os = "linux"))]
fn fills_now(_: &File, _: &mut [u8]) -> bool {
    false
}
