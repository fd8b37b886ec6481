//! What has come of a body, for its readers: in memory as long as it is little, else in a file.

use std::io;
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;

use crate::fsops::Prefix;
use crate::snapshot::{Budget, Room};

use super::lock;

/// Bodies up to this length get their file when they are whole.
const IN_MEMORY: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Content {
    memory: Mutex<Memory>,
    file: OnceLock<Prefix>,
}

/// Empty once there is a file.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    /// What they take: who reads slowly keeps them long after the fill.
    room: Room,
}

impl Content {
    /// In memory only as long as there is some.
    pub(crate) fn within(budget: &Budget) -> Self {
        Self {
            memory: Mutex::new(Memory {
                bytes: Vec::new(),
                room: budget.nothing(),
            }),
            file: OnceLock::new(),
        }
    }

    /// Takes the next piece; false if it has to go to the file.
    pub(crate) fn take(&self, piece: &[u8]) -> bool {
        let mut memory = lock(&self.memory);
        let has_room = self.file.get().is_none()
            && memory.bytes.len() + piece.len() <= IN_MEMORY
            && memory.room.grow(piece.len() as u64);
        if has_room {
            // Copied: a short piece may be of a large buffer.
            memory.bytes.extend_from_slice(piece);
        }
        has_room
    }

    /// All of it so far, while there is no file.
    pub(crate) fn in_memory(&self) -> Vec<u8> {
        lock(&self.memory).bytes.clone()
    }

    /// From now on it is read from `file`, which has all that was taken.
    pub(crate) fn go_on_in(&self, file: Prefix) {
        let mut memory = lock(&self.memory);
        // Only once.
        let _ = self.file.set(file);
        memory.bytes = Vec::new();
        memory.room.give_back();
    }

    /// What stands at `position`, up to `limit` bytes.
    pub(crate) async fn read(&self, position: u64, limit: usize) -> io::Result<Bytes> {
        let file = {
            let memory = lock(&self.memory);
            let Some(file) = self.file.get() else {
                let bytes = &memory.bytes;
                let begin = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let end = begin.saturating_add(limit).min(bytes.len());
                return Ok(Bytes::copy_from_slice(bytes.get(begin..end).unwrap_or(&[])));
            };
            file.clone()
        };
        let read = tokio::task::spawn_blocking(move || file.read_at(position, limit));
        Ok(read.await.map_err(io::Error::other)??.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsops::Fs;

    #[tokio::test]
    async fn what_there_is_no_memory_for_goes_to_the_file() {
        let budget = Budget::new(100);
        let first = Content::within(&budget);
        let second = Content::within(&budget);
        assert!(first.take(&[1; 60]) && !second.take(&[2; 41]));
        assert_eq!((first.in_memory().len(), second.in_memory().len()), (60, 0));
        assert!(second.take(&[2; 40]) && !first.take(&[1]));
        let dir = tempfile::tempdir().unwrap();
        let fs = Fs::new(None);
        let mut file = fs.temporary(dir.path()).unwrap();
        let path = file.path().to_owned();
        fs.write(file.as_file_mut(), &path, &first.in_memory()).unwrap();
        first.go_on_in(fs.prefix(file.as_file(), &path).unwrap());
        assert_eq!(budget.taken(), 40, "what is in the file takes none");
        assert_eq!(first.read(0, 100).await.unwrap(), [1; 60][..]);
        assert_eq!(second.read(30, 100).await.unwrap(), [2; 10][..]);
        drop(second);
        assert_eq!(budget.taken(), 0);
    }
}
