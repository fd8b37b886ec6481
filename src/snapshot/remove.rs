//! Carrying out invalidations: at once in memory, then on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::clock::system_now;
use crate::fsops::{FileId, is_absence};
use crate::head::{Generated, Sidecar, VariantId};
use crate::invalidate::{Invalidation, RefreshMode};
use crate::key::{Key, KeyHash};
use crate::pattern::KeyPattern;

use super::Store;
use super::index::{KeyEntry, VariantEntry};
use super::layout::{Stem, parse_file_name};
use super::ledger::{Fate, Origin, Standing};

/// An invalidation in force, whose files are on their way out.
pub(crate) struct Removal {
    /// Renderings that were stored and matched.
    pub(crate) removed: u64,
    /// Answers when the files are gone, or with the first failure.
    pub(crate) done: oneshot::Receiver<io::Result<()>>,
}

/// Keys whose files go before the store's thread turns to its other jobs.
const SLICE: usize = 64;

/// The files of an invalidation, on their way out.
struct Clearing {
    left: std::vec::IntoIter<Arc<KeyEntry>>,
    fate: Fate,
    standing: Standing,
    logged: io::Result<()>,
    /// Or the first failure.
    cleared: io::Result<()>,
    answer: oneshot::Sender<io::Result<()>>,
    _under_way: Arc<()>,
}

impl Store {
    /// Invalidates. In force when this returns.
    pub(crate) fn invalidate(self: &Arc<Self>, invalidation: &Invalidation) -> Removal {
        let fate = match invalidation.mode {
            RefreshMode::Delete => Fate::Delete,
            RefreshMode::Stale => Fate::Stale,
        };
        self.carry_out(&invalidation.patterns, fate, Origin::Owner)
    }

    fn carry_out(self: &Arc<Self>, patterns: &Arc<[KeyPattern]>, fate: Fate, origin: Origin) -> Removal {
        let since = Instant::now();
        let (standing, now) = self.take_number(|ledger| {
            let now = system_now();
            (ledger.enter(patterns, fate, now, origin), now)
        });
        let matched = self.matching(patterns);
        let at = newest(&matched).map_or(now, |newest| newest.max(now));
        if at > now {
            self.ledger().stretch(&standing, at);
        }
        // Before the index, so that who finds a page marked finds it marked for good.
        let logged = self.record(&standing, fate, at);
        let (taken, removed) = self.take_out(matched, fate);
        let removed = self.tell(patterns) + removed;
        tracing::debug!(
            removed,
            ms = since.elapsed().as_millis(),
            "an invalidation is in force"
        );
        let (answer, done) = oneshot::channel();
        self.clear_later(Clearing {
            left: taken.into_iter(),
            fate,
            standing,
            logged,
            cleared: Ok(()),
            answer,
            _under_way: Arc::clone(&self.clearing),
        });
        Removal { removed, done }
    }

    fn clear_later(self: &Arc<Self>, clearing: Clearing) {
        let store = Arc::clone(self);
        self.run_later(move || store.clear_slice(clearing));
    }

    /// Some of the files; the rest after whatever else there is to do.
    fn clear_slice(self: &Arc<Self>, mut clearing: Clearing) {
        for entry in clearing.left.by_ref().take(SLICE) {
            let cleared = self.clear(&entry, clearing.fate);
            clearing.cleared = clearing.cleared.and(cleared);
        }
        if self.remove_some_orphans() || clearing.left.len() > 0 {
            return self.clear_later(clearing);
        }
        // Files that would not go stay doomed, so that nobody meets them here, and in the log, so
        // that the next start tries again.
        if !self.is_still_writable() {
            self.ledger().give_up(&clearing.standing);
        } else if clearing.cleared.is_ok() {
            self.settle(|ledger| ledger.finish(&clearing.standing));
        }
        // Nobody may be waiting.
        let _ = clearing.answer.send(clearing.logged.and(clearing.cleared));
    }

    fn matching(&self, patterns: &[KeyPattern]) -> Vec<Arc<KeyEntry>> {
        self.index
            .matching(|subject| patterns.iter().any(|pattern| pattern.is_match(subject)))
    }

    /// Takes keys out of memory, or marks them there: as they are now, and how many renderings that was.
    fn take_out(&self, matched: Vec<Arc<KeyEntry>>, fate: Fate) -> (Vec<Arc<KeyEntry>>, u64) {
        /// So many at a time, for those who wait for the ledger.
        const AT_ONCE: usize = 256;
        let mut removed = 0;
        let mut taken = Vec::with_capacity(matched.len());
        for some in matched.chunks(AT_ONCE) {
            let hashes: Vec<_> = some.iter().map(|entry| KeyHash::of(&entry.key)).collect();
            let ledger = self.ledger();
            for (entry, hash) in some.iter().zip(&hashes) {
                let now = match self.options.pinned.spared(entry.subject(), fate) {
                    Fate::Delete => self.strike_out(hash, &entry.key),
                    Fate::Stale => self.mark_in_memory(hash, &entry.key),
                };
                removed += now.as_ref().map_or(0, |now| now.renderings() as u64);
                taken.push(now.unwrap_or_else(|| Arc::clone(entry)));
            }
            drop(ledger);
            self.let_others_in();
        }
        (taken, removed)
    }

    /// Takes a key out of memory. The caller has the ledger.
    pub(super) fn strike_out(&self, hash: &KeyHash, text: &str) -> Option<Arc<KeyEntry>> {
        let entry = self.index.take(hash.short(), text)?;
        for variant in entry.variants() {
            self.forget(hash, variant.id);
        }
        Some(entry)
    }

    fn mark_in_memory(&self, hash: &KeyHash, text: &str) -> Option<Arc<KeyEntry>> {
        let entry = self.index.get_short(hash.short())?;
        if *entry.key != *text {
            return None;
        }
        self.index.insert((*entry).clone().invalidated());
        Some(entry)
    }

    /// Removes or marks the files of a key.
    fn clear(&self, entry: &KeyEntry, fate: Fate) -> io::Result<()> {
        let key = Key::from_text(&*entry.key);
        let _stripe = self.stripe(key.hash.short());
        let now = self.index.get(&key);
        let fate = self.options.pinned.spared(entry.subject(), fate);
        let cleared = match (fate, now) {
            // Stored anew since: those files are another rendering's.
            (Fate::Delete, Some(_)) => Ok(()),
            (Fate::Delete, None) => self.delete_known(&key, entry),
            (Fate::Stale, now) => self.mark_key(&key, now.as_deref()),
        };
        if let Err(error) = &cleared {
            self.trouble.say(|| {
                tracing::error!(key = key.line(), %error, "cannot remove an invalidated snapshot");
            });
        }
        cleared
    }

    /// Deletes all files of a key. The caller holds its stripe.
    ///
    /// The variants first: without the base sidecar no scan finds them, and what a crash left of them
    /// would come back with the next base.
    pub(super) fn delete_key(&self, key: &Key) -> io::Result<()> {
        if !self.is_writable() {
            return Ok(());
        }
        let stem = Stem::of(key);
        self.delete_variants(&stem, key)?;
        self.delete_rendering(&stem, None, key)?;
        self.prune_folders(&stem);
        Ok(())
    }

    /// As [`delete_key`](Self::delete_key), without listing a folder that may be large: once the
    /// directory has been read through, `entry` knows the variants.
    pub(super) fn delete_known(&self, key: &Key, entry: &KeyEntry) -> io::Result<()> {
        if !self.is_writable() || !self.ledger().is_carried_out() {
            return self.delete_key(key);
        }
        let stem = Stem::of(key);
        for variant in entry.variants().filter(|variant| variant.id.is_some()) {
            self.delete_rendering(&stem, variant.id, key)?;
        }
        self.delete_rendering(&stem, None, key)?;
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
            self.remove_or_displace((stem, None), &path)?;
        }
        Ok(())
    }

    /// Deletes a body and its sidecar, the body first: a crash leaves a sidecar, which the invalidation
    /// that is read again finds, and no body that nobody knows to be ours.
    pub(super) fn delete_rendering(&self, stem: &Stem, id: Option<VariantId>, key: &Key) -> io::Result<()> {
        if let Some((sidecar, file)) = self.read_sidecar(stem, id, key)? {
            self.delete_body(stem, id, &sidecar, &file)?;
        }
        self.remove_or_displace((stem, id), &self.root.join(stem.sidecar(id)))?;
        self.forget(&key.hash, id);
        Ok(())
    }

    fn delete_body(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        sidecar: &Sidecar,
        file: &FileId,
    ) -> io::Result<()> {
        let Some(path) = self.own_body((stem, id), sidecar) else {
            return Ok(());
        };
        // A body of ours was written before its sidecar was put in place; one that is younger is worth
        // reading, for it may be a hand edit, which no invalidation destroys.
        match self.fs.stat(&path) {
            Ok(body) if body.modified_at() > file.changed_at() => {
                self.displace_foreign(stem, id, &path, Some(sidecar))?;
            }
            Ok(_) => {}
            Err(error) if is_absence(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.remove_or_displace((stem, id), &path)
    }

    /// The body's file, if the sidecar does not name another's.
    pub(super) fn own_body(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        sidecar: &Sidecar,
    ) -> Option<PathBuf> {
        let body = sidecar.rendering.as_ref()?.body.as_ref()?;
        let is_own = stem.is_body(id, &body.file);
        is_own.then(|| self.root.join(stem.folder()).join(&*body.file))
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
    pub(super) fn mark_key(&self, key: &Key, entry: Option<&KeyEntry>) -> io::Result<()> {
        let (Some(entry), true) = (entry, self.is_writable()) else {
            return Ok(());
        };
        let stem = Stem::of(key);
        // One that was validated or stored anew since has a clock of its own again.
        let is_marked = |variant: &VariantEntry| variant.generated == Generated::Invalidated;
        for variant in entry.variants().filter(is_marked) {
            match self.set_clock(&self.root.join(stem.sidecar(variant.id)), UNIX_EPOCH) {
                Ok(sidecar) => self.note_mark(key.hash.short(), variant, sidecar),
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
        if entry.variant(marked.id) == Some(marked) {
            let sidecar = sidecar.stamp();
            let entry = (*entry).clone().with_state(VariantEntry { sidecar, ..marked });
            self.index.insert(entry);
        }
    }

    /// Marks what is stored under a path, after a visitor's unsafe request. Where nothing is, or all is
    /// marked, nothing is written.
    pub(crate) fn mark(self: &Arc<Self>, pattern: KeyPattern) {
        let patterns: Arc<[KeyPattern]> = [pattern].into();
        // First, so that no fill that was begun before it clears a mark after it was looked for.
        self.take_number(|ledger| ledger.note_mark(&patterns, system_now()));
        let is_marked = |entry: &Arc<KeyEntry>| {
            let mut variants = entry.variants();
            variants.all(|variant| variant.generated == Generated::Invalidated)
        };
        let is_known = self.ledger().is_carried_out();
        if is_known && self.matching(&patterns).iter().all(is_marked) {
            self.tell(&patterns);
            return;
        }
        // Nobody waits for the files: the mark is in force.
        drop(self.carry_out(&patterns, Fate::Stale, Origin::Visitor));
    }

    /// Takes out a page that the backend says is gone, or is nobody else's any more.
    ///
    /// # Errors
    /// Those of the file system; it is out of memory all the same.
    pub(crate) fn discard(&self, key: &Key) -> io::Result<()> {
        let stripe = self.stripe(key.hash.short());
        // The files first: as long as there are any, an invalidation finds the key in the index, and
        // stands until they are gone.
        let deleted = match self.index.get(key) {
            Some(entry) => self.delete_known(key, &entry),
            None => self.delete_key(key),
        };
        let ledger = self.ledger();
        self.strike_out(&key.hash, &key.text);
        drop((ledger, stripe));
        self.remove_some_orphans();
        deleted
    }
}

/// When the last of these files changed.
fn newest(entries: &[Arc<KeyEntry>]) -> Option<SystemTime> {
    let variants = entries.iter().flat_map(|entry| entry.variants());
    variants.map(|variant| variant.sidecar.changed_at()).max()
}
