//! Where tests break the disk.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Asked before each operation, with its name and path; what it returns is the operation's failure.
pub type FaultPlan = Arc<dyn Fn(&'static str, &Path) -> Result<(), DiskFault> + Send + Sync>;

/// How an operation fails.
#[derive(Debug)]
pub struct DiskFault {
    pub(super) error: io::Error,
    pub(super) after_bytes: usize,
}

impl DiskFault {
    /// Bytes are written or read, this many at most, before `error` comes.
    pub fn after(bytes: usize, error: io::Error) -> Self {
        Self {
            error,
            after_bytes: bytes,
        }
    }
}

/// Nothing is done before the error comes.
impl From<io::Error> for DiskFault {
    fn from(error: io::Error) -> Self {
        Self::after(0, error)
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} bytes", self.error, self.after_bytes)
    }
}
