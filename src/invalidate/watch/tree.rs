//! Looking at a tree: walking it, comparing it with an earlier walk, and telling two directories of
//! the same name apart.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::fsops::FileId;

/// One entry of a walk.
pub(super) enum Entry {
    Dir,
    /// A directory that is skipped, with everything in it.
    Skipped,
    /// Anything else: a file, a link, a socket.
    Leaf,
}

/// Visits everything below `root`, not `root` itself, a directory before what is in it. What goes away
/// meanwhile, and what may not be read, is passed over.
///
/// # Errors
/// When `root` itself cannot be read.
pub(super) fn walk(
    root: &Path,
    skip: &dyn Fn(&Path) -> bool,
    mut visit: impl FnMut(Entry, fs::DirEntry),
) -> io::Result<()> {
    let mut open = fs::read_dir(root)?;
    let mut left = Vec::new();
    loop {
        for entry in open.flatten() {
            // The type of the entry itself: links are not followed, so there are no loops.
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match (is_dir, skip(&entry.path())) {
                (true, true) => visit(Entry::Skipped, entry),
                (true, false) => {
                    left.push(entry.path());
                    visit(Entry::Dir, entry);
                }
                (false, true) => {}
                (false, false) => visit(Entry::Leaf, entry),
            }
        }
        open = loop {
            let Some(dir) = left.pop() else {
                return Ok(());
            };
            if let Ok(entries) = fs::read_dir(&dir) {
                break entries;
            }
        };
    }
}

/// The tree as it was when it was last looked at.
///
/// `notify` has a poller too; it takes a file for changed only if its time went *forward*, and misses
/// every restored backup and every time stamp that is set.
#[derive(Debug)]
pub(super) struct Poll {
    seen: HashMap<PathBuf, FileId>,
}

impl Poll {
    pub(super) fn new(root: &Path, skip: &dyn Fn(&Path) -> bool) -> io::Result<Self> {
        let mut seen = HashMap::new();
        walk(root, skip, |kind, entry| {
            if let (Entry::Leaf, Ok(metadata)) = (kind, entry.metadata()) {
                seen.insert(entry.path(), FileId::of(&metadata));
            }
        })?;
        Ok(Self { seen })
    }

    /// Everything but directories that came, changed or went.
    pub(super) fn changes(&mut self, root: &Path, skip: &dyn Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        let Self { seen: now } = Self::new(root, skip)?;
        let mut before = std::mem::replace(&mut self.seen, now);
        let mut changes = Vec::new();
        for (path, id) in &self.seen {
            if before.remove(path).as_ref() != Some(id) {
                changes.push(path.clone());
            }
        }
        changes.extend(before.into_keys());
        Ok(changes)
    }
}

/// Tells a directory from another of the same name. Numbers of inodes are used again at once, so the
/// time of birth belongs to it, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirId {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl DirId {
    /// None if there is no directory.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_dir)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        })
    }
}

/// Whether others can change files there without this kernel knowing.
#[cfg(target_os = "linux")]
pub(super) fn is_remote(path: &Path) -> bool {
    const NFS: u32 = 0x6969;
    const SMB: u32 = 0x517b;
    const SMB2: u32 = 0xfe53_4d42;
    const CIFS: u32 = 0xff53_4d42;
    const NINE_P: u32 = 0x0102_1997;
    const FUSE: u32 = 0x6573_5546;
    const CEPH: u32 = 0x00c3_6400;
    const AFS: u32 = 0x5346_414f;
    const VBOX: u32 = 0x786f_4256;
    let Ok(stat) = rustix::fs::statfs(path) else {
        return false;
    };
    // The type's width differs between architectures; the numbers have 32 bits.
    let kind = u32::try_from(stat.f_type & 0xffff_ffff).unwrap_or(0);
    [NFS, SMB, SMB2, CIFS, NINE_P, FUSE, CEPH, AFS, VBOX].contains(&kind)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_remote(_: &Path) -> bool {
    false
}

/// Whether it is a directory itself, not a link to one.
pub(super) fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Whether there is something that is no directory.
pub(super) fn is_leaf(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir())
}
