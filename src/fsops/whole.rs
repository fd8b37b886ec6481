//! All of a file whose state is known.

use std::io::{self, Read};
use std::path::Path;

use super::{FileId, Fs};

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
}
