//! The state of a file.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
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

/// The state of a file, as small as many can be kept: when its inode changed, and a hash of the rest.
///
/// Who changes a file without moving the first, which is no program's to set, has yet to hit 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    /// Nanoseconds since 1970.
    changed: i64,
    rest: u64,
}

impl FileId {
    /// What is kept of it where there are many.
    pub(crate) fn stamp(&self) -> FileStamp {
        let (seconds, nanos) = self.changed;
        let mut hasher = DefaultHasher::new();
        (self.device, self.inode, self.size, self.modified).hash(&mut hasher);
        FileStamp {
            changed: seconds.saturating_mul(1_000_000_000).saturating_add(nanos),
            rest: hasher.finish(),
        }
    }
}

impl FileStamp {
    /// See [`FileId::changed_at`].
    pub(crate) fn changed_at(&self) -> SystemTime {
        const SECOND: i64 = 1_000_000_000;
        time((self.changed.div_euclid(SECOND), self.changed.rem_euclid(SECOND)))
    }
}

impl PartialEq<FileStamp> for FileId {
    fn eq(&self, stamp: &FileStamp) -> bool {
        self.stamp() == *stamp
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_every_state_from_every_other() {
        let id = FileId {
            device: 1,
            inode: 2,
            size: 3,
            modified: (4, 5),
            changed: (6, 7),
        };
        let others = [
            FileId { device: 9, ..id },
            FileId { inode: 9, ..id },
            FileId { size: 9, ..id },
            FileId {
                modified: (9, 5),
                ..id
            },
            FileId {
                modified: (4, 9),
                ..id
            },
            FileId {
                changed: (9, 7),
                ..id
            },
            FileId {
                changed: (6, 9),
                ..id
            },
        ];
        assert!(id == id.stamp());
        assert!(others.iter().all(|other| *other != id.stamp()));
    }

    #[test]
    fn a_stamp_keeps_the_time_of_the_change() {
        for changed in [(0, 0), (1_763_848_000, 999_999_999), (-1, 5)] {
            let id = FileId {
                device: 1,
                inode: 2,
                size: 3,
                modified: (4, 5),
                changed,
            };
            assert_eq!(id.stamp().changed_at(), id.changed_at(), "{changed:?}");
        }
    }
}
