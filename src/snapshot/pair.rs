//! The two files of a rendering: how they are replaced, and what is in the way.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header;
use tempfile::NamedTempFile;

use crate::clock::from_unix_seconds;
use crate::config::Durability;
use crate::fsops::{File, FileId};
use crate::head::{Seal, SealedBody, Sidecar, VariantId};
use crate::key::Key;

use super::layout::{PRIVATE, Stem, parse_file_name};
use super::read::mark_of;
use super::write::{Admit, CommitError, Kept};
use super::{Store, lock, sidecar};

/// Whether a file takes the place of one that must not be lost: then it is synced before, else behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    Replacement,
}

/// What stands where the body is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    /// It, or there is none to be.
    Same,
    Other,
    Nothing,
}

/// A body on its way to its place.
enum Coming<'a> {
    Nothing,
    /// From `tmp/`: there is nothing in the way.
    New(NamedTempFile, &'a Path),
    Pending(PathBuf, &'a Path),
}

impl Store {
    /// Writes body and sidecar, or only moves the clock where nothing else changed. `admit` runs the
    /// step that makes it so, or refuses it.
    pub(super) fn write_pair(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        old: Option<&Sidecar>,
        new: &Sidecar,
        kept: Kept,
        generated: u64,
        admit: Admit<'_>,
    ) -> Result<(), CommitError> {
        let sealed = new
            .rendering
            .as_ref()
            .and_then(|rendering| rendering.body.as_ref());
        let new_body = sealed.map(|body| self.root.join(stem.folder()).join(&*body.file));
        let there = match (&new_body, sealed) {
            (Some(path), _) if let Kept::Same(_, checked) = &kept => {
                match self.fs.stat(path).is_ok_and(|id| id == *checked) {
                    true => There::Same,
                    false => There::Other,
                }
            }
            (Some(path), Some(sealed)) => self.what_is_there(path, sealed),
            _ => There::Same,
        };
        let in_place = there == There::Same;
        let standing = match old {
            Some(_) => Standing::Replacement,
            None => Standing::New,
        };
        if in_place
            && let Some(old) = old
            && is_same_page(old, new)
        {
            // The same page again: git sees nothing, only the clock moves.
            let text_path = self.root.join(stem.sidecar(id));
            let clock = new_clock(old, generated);
            return admit(Box::new(|| match self.set_clock(&text_path, clock) {
                Ok(file) => Ok(file),
                Err(_) => self.write_sidecar((stem, id), old, generated, standing),
            }));
        }
        // What was validated has been removed or replaced meanwhile, or is another variant.
        if let Kept::Same(same, _) = &kept
            && (!in_place || is_of_another(id, &same.file))
        {
            return Err(CommitError::Invalidated);
        }
        // What the body takes counts as under way until it counts as stored.
        let (coming, _room) = match (kept, &new_body, sealed) {
            (Kept::New(body), Some(path), Some(_))
                if (there, standing) == (There::Nothing, Standing::New) =>
            {
                self.sync_before(body.as_file(), path, standing)?;
                let (file, room) = body.into_file();
                (Coming::New(file, path), Some(room))
            }
            (Kept::New(body), Some(path), Some(sealed)) if !in_place => {
                self.displace_foreign(stem, id, path, old)?;
                let place = self.root.join(stem.pending(id, &sealed.seal));
                self.sync_before(body.as_file(), &place, Standing::Replacement)?;
                let (file, room) = body.into_file();
                self.fs.persist(file, &place)?;
                (Coming::Pending(place, path), Some(room))
            }
            _ => (Coming::Nothing, None),
        };
        let (coming, sidecar) = self.place_sidecar((stem, id), new, (generated, standing), admit, coming)?;
        // Of another type, and so under another name. As long as the new body is not in place, who finishes
        // the commit knows that there may be another.
        let old_body = old.and_then(|old| self.own_body((stem, id), old));
        if let Some(old_body) = old_body.filter(|old| Some(old) != new_body.as_ref()) {
            self.displace_foreign(stem, id, &old_body, old)?;
            self.remove_or_displace((stem, id), &old_body)?;
        }
        match coming {
            Coming::Nothing => {}
            // A failure here is finished by the next reader.
            Coming::Pending(from, to) => self.fs.rename(&from, to)?,
            Coming::New(body, to) => {
                let body = self.fs.persist(body, to);
                let body = body.inspect_err(|_| self.take_back((stem, id), new))?;
                self.sync_behind(body, to, standing)?;
            }
        }
        self.note_whole(new, id);
        self.sync_behind(sidecar, &self.root.join(stem.sidecar(id)), standing)?;
        Ok(self.sync_folder(stem)?)
    }

    /// The step that counts. If it fails, the body that is coming goes.
    fn place_sidecar<'a>(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        new: &Sidecar,
        (generated, standing): (u64, Standing),
        admit: Admit<'_>,
        coming: Coming<'a>,
    ) -> Result<(Coming<'a>, File), CommitError> {
        let mut sidecar = None;
        let placed = self
            .sidecar_file((stem, id), new, generated, standing)
            .map_err(CommitError::from);
        let placed = placed.and_then(|(file, path)| {
            admit(Box::new(|| {
                let placed = sidecar.insert(self.fs.persist(file, &path)?);
                self.fs.state(placed, &path).or_else(|_| self.fs.stat(&path))
            }))
        });
        match (placed, coming, sidecar) {
            (Ok(()), coming, Some(sidecar)) => Ok((coming, sidecar)),
            (Err(error), Coming::New(..), Some(_)) => {
                self.take_back((stem, id), new);
                Err(error)
            }
            // Once the sidecar is in place its body belongs to it, and the next reader moves it there.
            (Err(error), Coming::Pending(place, _), None) => {
                self.fs.remove_file(&place)?;
                Err(error)
            }
            (Err(error), ..) => Err(error),
            (Ok(()), _, None) => Err(CommitError::Invalidated),
        }
    }

    fn what_is_there(&self, path: &Path, sealed: &SealedBody) -> There {
        match self.sealed_file(path, sealed) {
            Ok(Some(_)) => There::Same,
            Err(error) if error.kind() == io::ErrorKind::NotFound => There::Nothing,
            Ok(None) | Err(_) => There::Other,
        }
    }

    /// A page whose body would not go to its place is none, and there was none before. A sidecar that stays is
    /// remembered as ours, so that nobody waits for the program that may be about to write its body.
    fn take_back(&self, (stem, id): (&Stem, Option<VariantId>), new: &Sidecar) {
        /// After so many the disk is not worth asking.
        const MOST: usize = 1024;
        let key = Key::from_text(&*new.key);
        if self.fs.remove_file(&self.root.join(stem.sidecar(id))).is_err() {
            let mut torn = lock(&self.torn);
            if torn.len() < MOST {
                torn.insert((key.hash, id));
            }
        }
        self.disown(&key, id, self.index.get(&key).as_deref());
    }

    /// Whether a sidecar without its body is what [`take_back`](Self::take_back) could not remove.
    pub(super) fn is_torn(&self, key: &Key, id: Option<VariantId>) -> bool {
        lock(&self.torn).contains(&(key.hash, id))
    }

    fn note_whole(&self, new: &Sidecar, id: Option<VariantId>) {
        let mut torn = lock(&self.torn);
        if !torn.is_empty() {
            torn.remove(&(Key::from_text(&*new.key).hash, id));
        }
    }

    /// Moves the body of a commit that was cut in two to its place, and takes away the one before it.
    pub(super) fn finish_commit(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        sealed: &SealedBody,
        sidecar: &FileId,
    ) -> io::Result<()> {
        let folder = self.root.join(stem.folder());
        let ours = parse_file_name(Path::new(&*sealed.file));
        let bodies = self
            .fs
            .read_dir(&folder)?
            .into_iter()
            .filter(|entry| parse_file_name(&entry.path) == ours && !entry.path.ends_with(&*sealed.file));
        for body in bodies {
            // A younger one may be a hand edit.
            if self.fs.stat(&body.path)?.modified_at() <= sidecar.changed_at() {
                self.remove_or_displace((stem, id), &body.path)?;
            }
        }
        let place = folder.join(&*sealed.file);
        self.displace_folder((stem, id), &place)?;
        let pending = self.root.join(stem.pending(id, &sealed.seal));
        self.fs.rename(&pending, &place)
    }

    pub(super) fn write_sidecar(
        &self,
        rendering: (&Stem, Option<VariantId>),
        text: &Sidecar,
        generated: u64,
        standing: Standing,
    ) -> io::Result<FileId> {
        let (file, path) = self.sidecar_file(rendering, text, generated, standing)?;
        let file = self.fs.persist(file, &path)?;
        let state = self.fs.state(&file, &path)?;
        self.sync_behind(file, &path, standing)?;
        Ok(state)
    }

    /// A sidecar as it is to be, not yet in its place.
    pub(super) fn sidecar_file(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        text: &Sidecar,
        generated: u64,
        standing: Standing,
    ) -> io::Result<(NamedTempFile, PathBuf)> {
        let path = self.root.join(stem.sidecar(id));
        self.displace_folder((stem, id), &path)?;
        let mut file = self.fs.temporary(&self.tmp())?;
        self.fs
            .write(file.as_file_mut(), &path, sidecar::to_text(text).as_bytes())?;
        // Where times cannot be set the sidecar is unmarked, which readers know how to take.
        let _ = self
            .fs
            .set_modified(file.as_file(), &path, new_clock(text, generated));
        self.sync_before(file.as_file(), &path, standing)?;
        Ok((file, path))
    }

    /// Sets a sidecar's clock, which is its time. Returns its new state.
    pub(super) fn set_clock(&self, path: &Path, time: std::time::SystemTime) -> io::Result<FileId> {
        let (file, _) = self.fs.open(path)?;
        self.fs.set_modified(&file, path, time)?;
        self.fs.stat(path)
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join(PRIVATE).join("tmp")
    }

    /// Before its rename: what it replaces must survive if it does not.
    fn sync_before(&self, file: &File, path: &Path, standing: Standing) -> io::Result<()> {
        match (self.options.durability, standing) {
            (Durability::None, _) | (Durability::Data, Standing::New) => Ok(()),
            (Durability::Data, Standing::Replacement) | (Durability::Full, _) => {
                self.fs.sync_file(file, path)
            }
        }
    }

    /// After its rename, and soon: what was not synced before.
    fn sync_behind(&self, file: File, path: &Path, standing: Standing) -> io::Result<()> {
        match (self.options.durability, standing) {
            (Durability::Data, Standing::New) => match self.syncs.behind(file, path) {
                Ok(()) => Ok(()),
                Err(file) => self.fs.sync_file(&file, path),
            },
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, stem: &Stem) -> io::Result<()> {
        match self.options.durability {
            Durability::None | Durability::Data => Ok(()),
            Durability::Full => {
                self.fs.sync_dir(&self.private("pending"))?;
                self.fs.sync_dir(&self.root.join(stem.folder()))
            }
        }
    }
}

/// Whether a body's name says that it is another variant's.
fn is_of_another(id: Option<VariantId>, file: &str) -> bool {
    parse_file_name(Path::new(file)).is_some_and(|name| name.variant != id)
}

/// Same status, body and remaining fields, validators apart (unless the client's cached copies are to
/// be told apart by nothing else, which the seal does).
fn is_same_page(old: &Sidecar, new: &Sidecar) -> bool {
    let page = |sidecar: &Sidecar| {
        let mut sidecar = sidecar.clone();
        if let Some(rendering) = &mut sidecar.rendering {
            rendering.head.headers.remove(header::ETAG);
            rendering.head.headers.remove(header::LAST_MODIFIED);
        }
        sidecar
    };
    page(old) == page(new)
}

/// Whole seconds say when the response was generated; the rest is the mark.
fn new_clock(sidecar: &Sidecar, generated: u64) -> std::time::SystemTime {
    let mark = match &sidecar.rendering {
        Some(rendering) => mark_of(rendering),
        None => Seal::of(b"").mark_nanos(),
    };
    from_unix_seconds(generated) + Duration::from_nanos(u64::from(mark))
}
