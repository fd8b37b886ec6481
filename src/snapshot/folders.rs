//! Which folders there are: those that keys are in, and those above them.
//!
//! They take blocks like files, and other programs make and remove them. So they are derived from the
//! keys, and no count of what was made can drift from what is there.

use std::collections::HashMap;
#[cfg(feature = "watch")]
use std::collections::HashSet;
use std::path::Path;

/// A folder below the root, by the hash of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FolderId(u64);

impl FolderId {
    /// The root itself.
    pub(crate) const ROOT: Self = Self(0);

    /// Of a path relative to the root.
    pub(crate) fn of(path: &Path) -> Self {
        if path.as_os_str().is_empty() {
            return Self::ROOT;
        }
        let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
        Self(u64::from_le_bytes(*first))
    }
}

/// The folders in use.
#[derive(Debug, Default)]
pub(super) struct Folders {
    known: HashMap<FolderId, Folder>,
}

#[derive(Debug)]
struct Folder {
    /// Keys and folders in it.
    entries: u32,
    parent: FolderId,
}

impl Folders {
    /// One more key is in this folder, whose path is asked for only if it is new.
    pub(super) fn hold<P: AsRef<Path>>(&mut self, id: FolderId, path: impl FnOnce() -> P) {
        if id == FolderId::ROOT {
            return;
        }
        if let Some(folder) = self.known.get_mut(&id) {
            folder.entries += 1;
            return;
        }
        let path = path();
        for path in path.as_ref().ancestors() {
            let id = FolderId::of(path);
            if id == FolderId::ROOT {
                return;
            }
            if let Some(folder) = self.known.get_mut(&id) {
                folder.entries += 1;
                return;
            }
            let parent = path.parent().map_or(FolderId::ROOT, FolderId::of);
            self.known.insert(id, Folder { entries: 1, parent });
        }
    }

    /// A key is in this folder no more.
    pub(super) fn release(&mut self, id: FolderId) {
        let mut id = id;
        while let Some(folder) = self.known.get_mut(&id) {
            folder.entries -= 1;
            if folder.entries > 0 {
                return;
            }
            let parent = folder.parent;
            self.known.remove(&id);
            id = parent;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Those of `these` that are in use, and the ones in use below them.
    #[cfg(feature = "watch")]
    pub(super) fn below(&self, these: &HashSet<FolderId>) -> HashSet<FolderId> {
        let is_in_use = |id: &&FolderId| **id == FolderId::ROOT || self.known.contains_key(*id);
        let tops: HashSet<_> = these.iter().filter(is_in_use).copied().collect();
        if tops.is_empty() {
            return tops;
        }
        let is_below = |id: &FolderId| {
            let up = |id: &FolderId| self.known.get(id).map(|folder| folder.parent);
            std::iter::successors(Some(*id), up).any(|id| tops.contains(&id))
        };
        let mut found: HashSet<_> = self.known.keys().copied().filter(is_below).collect();
        found.extend(tops);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "watch")]
    fn ids<const N: usize>(paths: [&str; N]) -> HashSet<FolderId> {
        paths.map(|path| FolderId::of(Path::new(path))).into()
    }

    #[test]
    fn a_folder_is_in_use_as_long_as_a_key_is_in_it_or_below() {
        let mut folders = Folders::default();
        let mut count = |more: &[&str], less: &[&str]| {
            for path in more {
                folders.hold(FolderId::of(Path::new(path)), || *path);
            }
            for path in less {
                folders.release(FolderId::of(Path::new(path)));
            }
            folders.count()
        };
        assert_eq!(count(&[""], &[]), 0, "the root is no folder of a key's");
        assert_eq!(count(&["a/b/c"], &[]), 3);
        assert_eq!(count(&["a/b/c", "a", "a/d"], &[]), 4);
        assert_eq!(count(&[], &["a/b/c"]), 4);
        assert_eq!(count(&[], &["a/b/c"]), 2, "those above go with it");
        assert_eq!(count(&[], &["a/d"]), 1);
        assert_eq!(count(&[], &["", "a"]), 0);
    }

    #[cfg(feature = "watch")]
    #[test]
    fn what_is_below_a_folder_is_known() {
        let mut folders = Folders::default();
        for path in ["a/b/c", "a/d", "ab"] {
            folders.hold(FolderId::of(Path::new(path)), || path);
        }
        for (these, below) in [
            (ids(["a/b"]), ids(["a/b", "a/b/c"])),
            (ids(["a", "e"]), ids(["a", "a/b", "a/b/c", "a/d"])),
            (ids(["e"]), ids([])),
            (ids([""]), ids(["", "a", "a/b", "a/b/c", "a/d", "ab"])),
        ] {
            assert_eq!(folders.below(&these), below);
        }
    }
}
