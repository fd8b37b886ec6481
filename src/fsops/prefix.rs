//! A file that is still being written, read by position.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{File, Fs};

/// See the module.
#[derive(Clone)]
pub(crate) struct Prefix(Arc<Inner>);

struct Inner {
    file: File,
    path: Box<Path>,
    fs: Fs,
}

impl Prefix {
    pub(super) fn new(fs: &Fs, file: File, path: &Path) -> Self {
        Self(Arc::new(Inner {
            file,
            path: path.into(),
            fs: fs.clone(),
        }))
    }

    /// What stands at `offset`, up to `limit` bytes; less only at the end of what is written.
    pub(crate) fn read_at(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        self.0.fs.gate("read-prefix", &self.0.path)?;
        let mut bytes = vec![0; limit];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Prefix").field(&self.0.path).finish()
    }
}
