//! Carrying out invalidations: at once in memory, then on disk.

use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tokio::sync::oneshot;

use crate::clock::system_now;
use crate::fsops::FileId;
use crate::head::{Generated, Sidecar, VariantId};
use crate::invalidate::{Invalidation, RefreshMode};
use crate::key::Key;
use crate::pattern::{KeyPattern, Subject};

use super::Store;
use super::index::{KeyEntry, VariantEntry};
use super::layout::{Stem, parse_file_name};
use super::ledger::Fate;

/// An invalidation in force, whose files are on their way out.
pub(crate) struct Removal {
    /// Renderings that were stored and matched.
    pub(crate) removed: u64,
    /// Answers when the files are gone, or with the first failure.
    pub(crate) done: oneshot::Receiver<io::Result<()>>,
}

impl Store {
    /// Invalidates. In force when this returns.
    pub(crate) fn invalidate(self: &Arc<Self>, invalidation: &Invalidation) -> Removal {
        let patterns = &invalidation.patterns;
        let fate = match invalidation.mode {
            RefreshMode::Delete => Fate::Delete,
            RefreshMode::Stale => Fate::Stale,
        };
        let mut ledger = self.ledger();
        let (number, logged) = ledger.enter(&self.fs, patterns, fate, system_now());
        let matched = self
            .index
            .matching(|subject| patterns.iter().any(|pattern| pattern.is_match(subject)));
        for entry in &matched {
            self.take_out(entry, fate);
        }
        drop(ledger);
        let elsewhere = self.tell(patterns);
        let removed = elsewhere + matched.iter().map(|entry| entry.renderings() as u64).sum::<u64>();
        let (answer, done) = oneshot::channel();
        let store = Arc::clone(self);
        self.run_later(move || {
            let cleared = store.clear(&matched, fate);
            // Files that would not go stay doomed, so that nobody meets them here, and in the log, so
            // that the next start tries again.
            if cleared.is_ok() {
                store.ledger().finish(&store.fs, number);
            }
            // Nobody may be waiting.
            let _ = answer.send(logged.and(cleared));
        });
        Removal { removed, done }
    }

    /// Takes a key out of memory, or marks it there.
    fn take_out(&self, entry: &KeyEntry, fate: Fate) {
        match fate {
            Fate::Delete => {
                self.index.remove(entry.hash.short());
                for variant in &entry.variants {
                    self.parsed.remove(&(entry.hash, variant.id));
                }
            }
            Fate::Stale => {
                let mut entry = entry.clone();
                for variant in &mut entry.variants {
                    variant.generated = Generated::Invalidated;
                }
                self.index.insert(entry);
            }
        }
    }

    /// Removes or marks the files; goes on after a failure and returns the first.
    fn clear(&self, entries: &[Arc<KeyEntry>], fate: Fate) -> io::Result<()> {
        let mut result = Ok(());
        for entry in entries {
            let key = Key::from_text(&*entry.key);
            let _stripe = self.stripe(key.hash.short());
            let now = self.index.get(&key.hash);
            let cleared = match (fate, now) {
                // Stored anew since: those files are another rendering's.
                (Fate::Delete, Some(_)) => Ok(()),
                (Fate::Delete, None) => self.delete_key(&key),
                (Fate::Stale, now) => self.mark_key(&key, now.as_deref()),
            };
            if let Err(error) = cleared
                && result.is_ok()
            {
                tracing::error!(key = key.line(), %error, "cannot remove an invalidated snapshot");
                result = Err(error);
            }
        }
        result
    }

    /// Deletes all files of a key. The caller holds its stripe.
    pub(super) fn delete_key(&self, key: &Key) -> io::Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        let stem = Stem::of(key);
        self.delete_rendering(&stem, None, key)?;
        self.delete_variants(&stem, key)?;
        self.prune_folders(&stem);
        Ok(())
    }

    /// Deletes the files of all variants of a key. The caller holds its stripe.
    pub(super) fn delete_variants(&self, stem: &Stem, key: &Key) -> io::Result<()> {
        let variants = self.variant_files(stem)?;
        for id in variants.iter().filter_map(|path| parse_file_name(path)?.variant) {
            self.delete_rendering(stem, Some(id), key)?;
        }
        // Bodies whose sidecar is gone.
        for path in self.variant_files(stem)? {
            self.fs.remove_file(&path)?;
        }
        Ok(())
    }

    /// Deletes a body and its sidecar, the body first: a crash leaves a sidecar, which the invalidation
    /// that is read again finds, and no body that nobody knows to be ours.
    fn delete_rendering(&self, stem: &Stem, id: Option<VariantId>, key: &Key) -> io::Result<()> {
        if let Some((sidecar, file)) = self.read_sidecar(stem, id, key) {
            self.delete_body(stem, id, &sidecar, &file)?;
        }
        self.fs.remove_file(&self.root.join(stem.sidecar(id)))
    }

    fn delete_body(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        sidecar: &Sidecar,
        file: &FileId,
    ) -> io::Result<()> {
        let Some(body) = body_of(sidecar) else {
            return Ok(());
        };
        let path = self.root.join(stem.folder()).join(body);
        // A body of ours was written before its sidecar was put in place; one that is younger is worth
        // reading, for it may be a hand edit, which no invalidation destroys.
        let is_younger = |body: FileId| body.modified_at() > file.changed_at();
        if self.fs.stat(&path).is_ok_and(is_younger) {
            self.displace_foreign(stem, id, &path, Some(sidecar))?;
        }
        self.fs.remove_file(&path)
    }

    /// Removes folders that a deletion left empty. One that is not empty is simply kept.
    fn prune_folders(&self, stem: &Stem) {
        let mut folder = stem.folder();
        while !folder.as_os_str().is_empty() {
            if self.fs.remove_empty_dir(&self.root.join(folder)).is_err() {
                return;
            }
            let Some(parent) = folder.parent() else {
                return;
            };
            folder = parent;
        }
    }

    /// Sets the clocks of a key's sidecars to zero: kept, to be validated.
    fn mark_key(&self, key: &Key, entry: Option<&KeyEntry>) -> io::Result<()> {
        let (Some(entry), true) = (entry, self.is_writable()) else {
            return Ok(());
        };
        let stem = Stem::of(key);
        // One that was validated or stored anew since has a clock of its own again.
        let is_marked = |variant: &&VariantEntry| variant.generated == Generated::Invalidated;
        for variant in entry.variants.iter().filter(is_marked) {
            match self.set_clock(&self.root.join(stem.sidecar(variant.id)), UNIX_EPOCH) {
                Ok(sidecar) => self.note_mark(key.hash.short(), *variant, sidecar),
                // Gone is as good.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The index learns the state of a sidecar that was marked, if it still has that rendering.
    pub(super) fn note_mark(&self, short: u64, marked: VariantEntry, sidecar: FileId) {
        let _ledger = self.ledger();
        let Some(entry) = self.index.get_short(short) else {
            return;
        };
        if entry.variant(marked.id) == Some(&marked) {
            let entry = (*entry).clone().with_variant(VariantEntry { sidecar, ..marked });
            self.index.insert(entry);
        }
    }

    /// Marks what is stored under a path, after a visitor's unsafe request. Where nothing is, nothing
    /// is written.
    pub(crate) fn mark(self: &Arc<Self>, pattern: KeyPattern) {
        let patterns: Arc<[KeyPattern]> = [pattern].into();
        let matches = |subject: Subject<'_>| patterns.iter().any(|pattern| pattern.is_match(subject));
        if self.is_scanned() && self.index.matching(matches).is_empty() {
            self.ledger().enter_foreign(Arc::clone(&patterns));
            self.tell(&patterns);
            return;
        }
        // Nobody waits for the files: the mark is in force.
        drop(self.invalidate(&Invalidation {
            patterns,
            mode: RefreshMode::Stale,
        }));
    }

    /// Takes out a page that the backend says is gone, or is nobody else's any more.
    ///
    /// # Errors
    /// Those of the file system; it is out of memory all the same.
    pub(crate) fn discard(&self, key: &Key) -> io::Result<()> {
        let _stripe = self.stripe(key.hash.short());
        let ledger = self.ledger();
        if let Some(entry) = self.index.get(&key.hash) {
            self.take_out(&entry, Fate::Delete);
        }
        drop(ledger);
        self.delete_key(key)
    }
}

fn body_of(sidecar: &Sidecar) -> Option<&str> {
    Some(&sidecar.rendering.as_ref()?.body.as_ref()?.file)
}
