//! Whether a body is what its sidecar says.
//!
//! The seal is checked once for each state of a body file (device, inode, size, times); later lookups
//! compare that state only.

use std::io;
use std::path::{Path, PathBuf};

use crate::fsops::FileId;
use crate::head::{Seal, SealedBody, VariantId};
use crate::key::Key;

use super::Store;
use super::found::BodyFile;
use super::hot::Piece;
use super::layout::Stem;
use super::read::{ReadError, is_unusable};

impl Store {
    /// The body file, if its bytes are the sealed ones. Finishes a commit that a crash cut in two.
    pub(super) fn check_body(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        sealed: &SealedBody,
        (key, sidecar): (&Key, &FileId),
    ) -> Result<BodyFile, ReadError> {
        // Its own body, never another page's.
        if !stem.is_body(id, &sealed.file) {
            return Err(ReadError::Broken);
        }
        let path = self.root.join(stem.folder()).join(&*sealed.file);
        if let Ok(Some(id)) = self.sealed_file(&path, sealed) {
            return Ok(self.body_file(path, id, sealed));
        }
        // A commit may be between its sidecar and its body; or a crash was.
        let _stripe = self.stripe(key.hash.short());
        let pending = self.root.join(stem.pending(id, &sealed.seal));
        if self.is_writable() {
            match self.sealed_file(&pending, sealed) {
                // What this fails to do the next look finds.
                Ok(Some(_)) => self
                    .finish_commit((stem, id), sealed, sidecar)
                    .map_err(|_| ReadError::Unreadable)?,
                Err(error) if !is_unusable(&error) => return Err(ReadError::Unreadable),
                Ok(None) | Err(_) => {}
            }
        }
        let found = self.sealed_file(&path, sealed);
        if let Ok(Some(id)) = found {
            return Ok(self.body_file(path, id, sealed));
        }
        let changed = match &found {
            Ok(_) => self.fs.stat(&path).ok(),
            // Beside a sidecar of ours a missing body was deleted; beside another's it may be on its way.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && (self.is_own(key, id, sidecar) || self.is_torn(key, id)) =>
            {
                return Err(ReadError::Broken);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.complain(&path, error, "a body cannot be read");
                return Err(match is_unusable(error) {
                    true => ReadError::Broken,
                    false => ReadError::Unreadable,
                });
            }
        };
        // git writes one file after the other: what changed a moment ago may be half of a pair.
        let latest = changed.map_or(sidecar.changed_at(), |body| {
            body.changed_at().max(sidecar.changed_at())
        });
        if self.is_recent(latest) {
            return Err(ReadError::Settling);
        }
        Err(ReadError::Broken)
    }

    fn body_file(&self, path: PathBuf, id: FileId, sealed: &SealedBody) -> BodyFile {
        let piece = Piece {
            seal: sealed.seal,
            coding: None,
        };
        BodyFile::new(path, id, piece, self.fs.clone())
    }

    /// Whether the sidecar on disk is the one that the index knows.
    pub(super) fn is_own(&self, key: &Key, id: Option<VariantId>, sidecar: &FileId) -> bool {
        self.index
            .get(key)
            .and_then(|entry| entry.variant(id))
            .is_some_and(|variant| *sidecar == variant.sidecar)
    }

    /// The file's state, if its bytes are the sealed ones; nothing if they are others.
    pub(super) fn sealed_file(&self, path: &Path, sealed: &SealedBody) -> io::Result<Option<FileId>> {
        let (mut file, id) = self.fs.open(path)?;
        if id.size() != sealed.length {
            return Ok(None);
        }
        let (hash, after) = self.fs.hash(&mut file, path)?;
        Ok((Seal(hash) == sealed.seal && after == id).then_some(id))
    }
}
