//! What has come of a body, for its readers: in memory as long as it is little, else in a file.

use std::io;
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;

use crate::fsops::Prefix;

use super::lock;

/// Bodies up to this length get their file when they are whole.
const IN_MEMORY: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Empty once there is a file.
    memory: Mutex<Vec<u8>>,
    file: OnceLock<Prefix>,
}

impl Content {
    /// Takes the next piece; false if it has to go to the file.
    pub(crate) fn take(&self, piece: &[u8]) -> bool {
        let mut memory = lock(&self.memory);
        let has_room = self.file.get().is_none() && memory.len() + piece.len() <= IN_MEMORY;
        if has_room {
            // Copied: a short piece may be of a large buffer.
            memory.extend_from_slice(piece);
        }
        has_room
    }

    /// All of it so far, while there is no file.
    pub(crate) fn in_memory(&self) -> Vec<u8> {
        lock(&self.memory).clone()
    }

    /// From now on it is read from `file`, which has all that was taken.
    pub(crate) fn go_on_in(&self, file: Prefix) {
        let mut memory = lock(&self.memory);
        // Only once.
        let _ = self.file.set(file);
        *memory = Vec::new();
    }

    /// What stands at `position`, up to `limit` bytes.
    pub(crate) async fn read(&self, position: u64, limit: usize) -> io::Result<Bytes> {
        let file = {
            let memory = lock(&self.memory);
            let Some(file) = self.file.get() else {
                let begin = usize::try_from(position).unwrap_or(usize::MAX).min(memory.len());
                let end = begin.saturating_add(limit).min(memory.len());
                return Ok(Bytes::copy_from_slice(memory.get(begin..end).unwrap_or(&[])));
            };
            file.clone()
        };
        let read = tokio::task::spawn_blocking(move || file.read_at(position, limit));
        Ok(read.await.map_err(io::Error::other)??.into())
    }
}
