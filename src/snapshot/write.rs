//! Committing: the sidecar's rename is the moment at which a snapshot changes.
//!
//! The new body is made durable under a name of its own (`pending/`), the sidecar is renamed into place,
//! then the body. Whoever comes between the two finds a body that misses its seal and finishes the move.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName, header};

use crate::coding::Codings;
use crate::fsops::{FileId, is_absence};
use crate::head::{
    Generated, Rendering, RenderingOrigin, SealedBody, Sidecar, StoredHead, VariantId, VariantKey,
};
use crate::key::Key;
use crate::pattern::Subject;

use super::Store;
use super::body::{FinishedBody, WriteError};
use super::forms::Coded;
use super::index::{KeyEntry, VariantEntry, sorted};
use super::last_good::Judge;
use super::layout::{Stem, extension};
use super::ledger::Fate;
use super::life::Life;
use super::pair::Standing;
use super::read::generated;
use super::usage::{blocks, body_blocks};

/// What is to be committed.
pub(crate) struct Candidate<'a> {
    pub(crate) key: &'a Key,
    pub(crate) method: &'a str,
    /// Path and query of the fill.
    pub(crate) url: &'a str,
    /// The fields that the answer names.
    pub(crate) names: &'a [HeaderName],
    /// What the fill sent of the fields asked for.
    pub(crate) select: &'a (dyn Fn(&[HeaderName]) -> VariantKey + Sync),
    pub(crate) head: StoredHead,
    /// Whether every fill of this key that did not name the field was made without it.
    pub(crate) is_new: &'a (dyn Fn(&HeaderName) -> bool + Sync),
    /// Seconds since 1970.
    pub(crate) generated: u64,
    /// [`Store::epoch`] at the fill's start.
    pub(crate) epoch: u64,
    /// How many variants the key may have.
    pub(crate) max_variants: usize,
    /// Whether it may take the place of what is stored.
    pub(crate) judge: Judge<'a>,
    /// In which its body is to be made ready.
    pub(crate) codings: Codings,
}

/// The body of what is to be committed.
pub(crate) enum Kept {
    /// The response has none.
    Nothing,
    New(FinishedBody),
    /// The one that is stored, after a 304, in the state in which it was checked.
    Same(SealedBody, FileId),
}

/// The step of a commit that makes it so; the sidecar's new state.
pub(super) type Placing<'a> = Box<dyn FnOnce() -> io::Result<FileId> + 'a>;
/// Runs it, unless an invalidation came first.
pub(super) type Admit<'a> = &'a dyn Fn(Placing<'_>) -> Result<(), CommitError>;

/// Why a snapshot was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("invalidated meanwhile")]
    Invalidated,
    #[error("the directory is only read here")]
    ReadOnly,
    #[error("the key has as many variants as it may")]
    Variants,
    #[error("pages of as many hosts are stored as may be")]
    Hosts,
    #[error("more is stored than may be, and nothing goes")]
    NoRoom,
    #[error("what is stored is a whole page, and this is none")]
    Rejected,
    #[error("cannot write the snapshot")]
    Disk(#[from] io::Error),
}

impl From<WriteError> for CommitError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoRoom => Self::NoRoom,
            WriteError::Disk(error) => Self::Disk(error),
        }
    }
}

impl Store {
    /// Commits. On an error the old snapshot is as it was.
    pub(crate) fn commit(self: &Arc<Self>, candidate: Candidate<'_>, kept: Kept) -> Result<(), CommitError> {
        if !self.is_still_writable() {
            return Err(CommitError::ReadOnly);
        }
        let (key, codings) = (candidate.key, candidate.codings);
        let is_new = !matches!(kept, Kept::Same(..));
        let committed = self.commit_under_way(candidate, kept);
        match &committed {
            Ok(_) => self.refuses.store(false, Ordering::Relaxed),
            Err(CommitError::Disk(_)) => self.refuses.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        self.remove_some_orphans();
        self.relieve();
        let id = committed?;
        if is_new {
            self.code(key, id, codings);
        }
        Ok(())
    }

    /// The variant that it is.
    fn commit_under_way(
        &self,
        candidate: Candidate<'_>,
        kept: Kept,
    ) -> Result<Option<VariantId>, CommitError> {
        let is_new = !matches!(kept, Kept::Same(..));
        if is_new && self.options.bounds.is_beyond(self.used()) {
            return Err(CommitError::NoRoom);
        }
        let key = candidate.key;
        let _stripe = self.stripe(key.hash.short());
        let own = format!("{}:{}", candidate.method, candidate.url);
        let tags = candidate.head.tags.clone();
        let subject = Subject {
            line: key.line(),
            own: Some(&own),
            tags: &tags,
        };
        self.check_standing(candidate.epoch, subject)?;
        if is_new && self.is_left_to_pinned(subject) {
            return Err(CommitError::NoRoom);
        }
        let _host = self.hold_host(key)?;
        let stem = Stem::of(key);
        let base = self.standing_base(&stem, key)?;
        if base.as_ref().is_some_and(|(base, _)| base.is_tombstone()) {
            // Put there while the page was being fetched.
            return Err(CommitError::Invalidated);
        }
        let (names, base) = self.prepare_names(&stem, &candidate, base)?;
        let variant = (candidate.select)(&names);
        let (id, digest) = (variant.id(), variant.digest());
        let mut placeholder = None;
        if let Some(id) = id {
            self.make_room(&candidate, id)?;
            if base.is_none() {
                placeholder = Some(self.write_placeholder(&stem, &candidate, &names)?);
            }
        }
        let old = match id {
            None => base,
            Some(_) => self.read_sidecar(&stem, id, key)?.map(|(sidecar, _)| sidecar),
        };
        let new = Sidecar {
            key: key.text.clone(),
            method: candidate.method.into(),
            url: candidate.url.into(),
            site: self.options.site.as_deref().map(Into::into),
            variant,
            rendering: Some(Rendering {
                body: sealed_body(&stem, id, &candidate.head.headers, &kept),
                head: candidate.head,
                origin: RenderingOrigin::Backend,
            }),
        };
        if let Some(old) = &old {
            self.check_last_good(candidate.judge, (&stem, id), (old, &new), &kept)?;
        }
        // No invalidation takes a number between the last look at the ledger and the sidecar's appearance
        // in directory and index: one came before, and this is refused; or it comes after, finds it there
        // and has it removed.
        let (new_blocks, new_coded, parts) = (body_blocks(&new), Coded::of(&new), new.parts());
        let admit = |place: Placing<'_>| {
            let _admission = self.admission();
            self.check_standing(candidate.epoch, subject)?;
            let sidecar = place()?;
            // An earlier invalidation may still be taking entries out.
            let _ledger = self.ledger();
            let known = self.index.get(key);
            let life = Life::stored(self.options.clock.unix_seconds());
            let mut entry = KeyEntry::of(known.as_deref(), key, &names, &own, life);
            // Known from the start, so that the watcher does not take it for another program's.
            if let Some(sidecar) = placeholder {
                entry = entry.with_variant(
                    VariantEntry {
                        id: None,
                        digest: 0,
                        generated: Generated::Unmarked,
                        sidecar: sidecar.stamp(),
                        blocks: blocks(sidecar.size()),
                        coded: Coded::default(),
                        rendering: None,
                    },
                    Box::default(),
                );
            }
            let new = VariantEntry {
                id,
                digest,
                generated: Generated::At(candidate.generated),
                sidecar: sidecar.stamp(),
                blocks: blocks(sidecar.size()).saturating_add(new_blocks),
                coded: new_coded,
                rendering: Some(RenderingOrigin::Backend),
            };
            self.index.insert(entry.with_variant(new, parts.clone()));
            Ok(())
        };
        self.write_pair((&stem, id), old.as_ref(), &new, kept, candidate.generated, &admit)?;
        self.forget(&key.hash, id);
        Ok(id)
    }

    /// Refuses what an invalidation later than `epoch` matches.
    fn check_standing(&self, epoch: u64, subject: Subject<'_>) -> Result<(), CommitError> {
        match self.is_overtaken(epoch, subject) {
            true => Err(CommitError::Invalidated),
            false => Ok(()),
        }
    }

    /// The base sidecar. Files of an earlier invalidation that are still there must be gone before new ones
    /// stand beside them, or an old variant would be taken for one of the new page's.
    fn standing_base(&self, stem: &Stem, key: &Key) -> io::Result<Option<(Sidecar, FileId)>> {
        let Some((base, file)) = self.read_sidecar(stem, None, key)? else {
            return Ok(None);
        };
        if self.index.get(key).is_none() && self.fate(&base, &file) == Some(Fate::Delete) {
            self.delete_key(key)?;
            return Ok(None);
        }
        Ok(Some((base, file)))
    }

    /// The fields that select among the key's variants from now on: those known and those that the
    /// answer names. Variants that were certainly made without a new one are what they were; others are nobody
    /// knows whose, and go. The base is as it then is.
    fn prepare_names(
        &self,
        stem: &Stem,
        candidate: &Candidate<'_>,
        base: Option<(Sidecar, FileId)>,
    ) -> Result<(Vec<HeaderName>, Option<Sidecar>), CommitError> {
        let mut names = candidate.names.to_vec();
        let Some((mut base, file)) = base else {
            // Somebody removed it, and with it whatever could be found through it.
            if self.index.get(candidate.key).is_some() {
                self.delete_variants(stem, candidate.key)?;
                let _ledger = self.ledger();
                // Marked since, perhaps, but not stored anew: that takes the stripe.
                self.strike_out(&candidate.key.hash, &candidate.key.text);
            }
            return Ok((names, None));
        };
        let known = base.variant.names();
        names.extend(known.iter().cloned());
        let names = sorted(names);
        if names == known {
            return Ok((names, Some(base)));
        }
        let mut new = names.iter().filter(|name| !known.contains(name));
        let entry = if new.all(|name| (candidate.is_new)(name)) {
            self.index.get(candidate.key)
        } else {
            self.delete_variants(stem, candidate.key)?;
            None
        };
        base.variant = VariantKey(names.iter().map(|name| (name.clone(), None)).collect());
        self.rewrite_base(stem, candidate, &base, (&file, entry.as_deref()))?;
        Ok((names, Some(base)))
    }

    /// Replaces the base sidecar by one with other names; its rendering and its clock stay, and so do the
    /// variants of `entry`.
    fn rewrite_base(
        &self,
        stem: &Stem,
        candidate: &Candidate<'_>,
        base: &Sidecar,
        (old, entry): (&FileId, Option<&KeyEntry>),
    ) -> Result<(), CommitError> {
        let key = candidate.key;
        let own = base.own_line();
        let subject = base.subject(&own);
        let known = self.index.get(key).and_then(|entry| entry.variant(None));
        let on_disk = base.rendering.as_ref().map(|rendering| generated(rendering, old));
        let clock = known.map(|known| known.generated).or(on_disk);
        let time = match clock {
            Some(Generated::At(seconds)) => seconds,
            Some(Generated::Unmarked) => u64::try_from(old.modified().0).unwrap_or(0),
            Some(Generated::Invalidated) | None => 0,
        };
        let (file, path) = self.sidecar_file((stem, None), base, time, Standing::Replacement)?;
        let admission = self.admission();
        self.check_standing(candidate.epoch, subject)?;
        self.fs.persist(file, &path)?;
        let sidecar = self.fs.stat(&path)?;
        let ledger = self.ledger();
        let life = Life::stored(self.options.clock.unix_seconds());
        let entry = KeyEntry::of(entry, key, &base.variant.names(), &own, life);
        let standing = VariantEntry {
            id: None,
            digest: base.variant.digest(),
            generated: clock.unwrap_or(Generated::Unmarked),
            sidecar: sidecar.stamp(),
            blocks: blocks(sidecar.size()).saturating_add(body_blocks(base)),
            coded: Coded::of(base),
            rendering: base.rendering.as_ref().map(|rendering| rendering.origin),
        };
        self.index.insert(entry.with_variant(standing, base.parts()));
        drop((ledger, admission));
        self.forget(&key.hash, None);
        Ok(())
    }

    /// The files of all variants of a key, found by their names.
    pub(super) fn variant_files(&self, stem: &Stem) -> io::Result<Vec<PathBuf>> {
        let prefix = stem.variant_prefix();
        let folder = self.root.join(stem.folder());
        let entries = match self.fs.read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let is_variant = |path: &Path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&prefix))
        };
        Ok(entries
            .into_iter()
            .map(|entry| entry.path)
            .filter(|path| is_variant(path))
            .collect())
    }

    fn make_room(&self, candidate: &Candidate<'_>, id: VariantId) -> Result<(), CommitError> {
        let key = candidate.key;
        let is_known = self
            .index
            .get(key)
            .is_some_and(|entry| entry.variant(Some(id)).is_some());
        match is_known || self.has_room(key, Some(id), candidate.max_variants) {
            true => Ok(()),
            false => Err(CommitError::Variants),
        }
    }

    /// The stem without `~` lists the fields, and exists even where only variants are stored.
    fn write_placeholder(
        &self,
        stem: &Stem,
        candidate: &Candidate<'_>,
        names: &[HeaderName],
    ) -> io::Result<FileId> {
        let placeholder = Sidecar {
            key: candidate.key.text.clone(),
            method: candidate.method.into(),
            url: candidate.url.into(),
            site: self.options.site.as_deref().map(Into::into),
            variant: VariantKey(names.iter().map(|name| (name.clone(), None)).collect()),
            rendering: None,
        };
        self.write_sidecar((stem, None), &placeholder, candidate.generated, Standing::New)
    }
}

fn sealed_body(stem: &Stem, id: Option<VariantId>, headers: &HeaderMap, kept: &Kept) -> Option<SealedBody> {
    match kept {
        Kept::Nothing => None,
        Kept::Same(sealed, _) => Some(sealed.clone()),
        Kept::New(body) if body.length == 0 => None,
        Kept::New(body) => {
            let kind = headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            Some(SealedBody {
                file: stem.body_name(id, extension(kind)).into(),
                length: body.length,
                seal: body.seal,
                assets: body.assets.clone(),
            })
        }
    }
}
