//! The state of a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tells one state of a file from another without reading it: device, inode, size, mtime, ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Seconds and nanoseconds since 1970.
    pub(crate) fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// When the inode last changed, by the system's clock: nobody can set it back.
    pub(crate) fn changed_at(&self) -> SystemTime {
        time(self.changed)
    }

    /// When the contents last changed, as far as nobody set it.
    pub(crate) fn modified_at(&self) -> SystemTime {
        time(self.modified)
    }
}

/// Before 1970 is 1970.
fn time((seconds, nanos): (i64, i64)) -> SystemTime {
    let since = u64::try_from(seconds)
        .ok()
        .map(|seconds| Duration::new(seconds, u32::try_from(nanos).unwrap_or(0)));
    since
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or(UNIX_EPOCH)
}
