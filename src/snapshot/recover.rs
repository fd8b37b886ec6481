//! What a crash left in `pending/`: commits to finish, and bodies of commits that never were.

use std::io;
use std::path::Path;

use crate::fsops::{EntryKind, FileId, Fs};
use crate::head::{SealedBody, VariantId};
use crate::key::Key;

use super::Store;
use super::layout::{Stem, parse_file_name};
use super::read::is_unusable;

impl Store {
    /// Bodies that were durable when a crash came: moved into place if their sidecar was committed,
    /// else removed.
    pub(super) fn sweep_pending(&self) {
        if !self.is_writable() {
            return;
        }
        let Ok(entries) = self.fs.read_dir(&self.private("pending")) else {
            return;
        };
        for entry in entries {
            // `<slug>.<h16>[~<v8>].<seal16>` reads as a body's name with the seal for an extension.
            let Some(name) = parse_file_name(&entry.path) else {
                continue;
            };
            let _stripe = self.stripe(name.short_hash);
            if !entry.path.exists() {
                continue;
            }
            let key = self
                .index
                .get_short(name.short_hash)
                .map(|entry| Key::from_text(&*entry.key));
            let swept = match self.commit_of(key, name.variant, &entry.path) {
                Ok(Some((stem, sealed, sidecar))) => {
                    self.finish_commit((&stem, name.variant), &sealed, &sidecar)
                }
                Ok(None) => self.fs.remove_file(&entry.path),
                Err(error) => Err(error),
            };
            if let Err(error) = swept {
                tracing::warn!(path = %entry.path.display(), %error, "cannot finish what a crash left");
            }
        }
    }

    /// What a body that a crash left is part of, if its sidecar was committed.
    fn commit_of(
        &self,
        key: Option<Key>,
        id: Option<VariantId>,
        path: &Path,
    ) -> io::Result<Option<(Stem, SealedBody, FileId)>> {
        let Some(key) = key else {
            return Ok(None);
        };
        let stem = Stem::of(&key);
        let read = self.read_sidecar(&stem, id, &key)?;
        let body = read.and_then(|(sidecar, file)| Some((sidecar.rendering?.body?, file)));
        let Some((sealed, file)) = body else {
            return Ok(None);
        };
        if self.root.join(stem.pending(id, &sealed.seal)) != path {
            return Ok(None);
        }
        let is_whole = match self.sealed_file(path, &sealed) {
            Ok(found) => found.is_some(),
            Err(error) if is_unusable(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(is_whole.then_some((stem, sealed, file)))
    }
}

/// Nobody else writes here now, so what lies there is a dead process's. What will not go is in nobody's
/// way.
pub(super) fn sweep_temporaries(fs: &Fs, tmp: &Path) {
    let swept = fs.read_dir(tmp).and_then(|entries| {
        let files = entries.iter().filter(|entry| entry.kind != EntryKind::Directory);
        files
            .map(|entry| fs.remove_file(&entry.path))
            .fold(Ok(()), io::Result::and)
    });
    if let Err(error) = swept {
        tracing::warn!(path = %tmp.display(), %error, "cannot remove what a process before this one left");
    }
}
