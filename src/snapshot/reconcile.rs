//! Following other programs: files deleted, restored, checked out or replaced take effect, and our own
//! changes do not echo, because the index knows the state of every sidecar that we wrote.

#[cfg(feature = "watch")]
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::fsops::{FileId, is_absence};
use crate::head::{Generated, Sidecar, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::KeyPattern;

use super::Store;
#[cfg(feature = "watch")]
use super::folders::FolderId;
use super::forms::Coded;
use super::index::{KeyEntry, VariantEntry};
use super::layout::{FileKind, Stem, parse_file_name};
use super::ledger::Fate;
use super::life::{Life, last_cared};
use super::read::{generated, is_unusable};
use super::scan::{Looked, Occasion};
use super::usage::{blocks, body_blocks};

/// What became of a rendering that was to be entered in the index.
enum Entered {
    New,
    Known,
    Overtaken,
}

impl Store {
    /// Looks at what the watcher reported, or at everything when it lost count.
    #[cfg(feature = "watch")]
    pub(super) fn reconcile(self: &Arc<Self>, batch: &crate::invalidate::watch::Batch) {
        if batch.rescan {
            tracing::info!(dir = %self.root().display(), "reading the whole snapshot directory again");
            self.restore_companions();
            self.walk(Occasion::Change);
            self.remove_orphans();
            self.relieve();
            return;
        }
        // A look at a sidecar is one at its body, too.
        let mut looked_at = HashSet::new();
        for kind in [FileKind::Sidecar, FileKind::Body] {
            for path in &batch.paths {
                if let Some(name) = parse_file_name(path).filter(|name| name.kind == kind)
                    // There may be one under the same name in another folder.
                    && (looked_at.insert((name.short_hash, name.variant)) || kind == FileKind::Sidecar)
                {
                    self.look_at(path, Occasion::Change);
                }
            }
        }
        let relative = |folder: &std::path::PathBuf| folder.strip_prefix(&self.root).ok().map(FolderId::of);
        for entry in self
            .index
            .below(&batch.gone.iter().filter_map(relative).collect())
        {
            self.look_at_all(&entry);
        }
        self.remove_orphans();
        self.relieve();
    }

    pub(super) fn look_at_all(&self, entry: &KeyEntry) {
        let stem = Stem::of(&Key::from_text(&*entry.key));
        for variant in entry.variants() {
            self.look_at(&self.root.join(stem.sidecar(variant.id)), Occasion::Change);
        }
    }

    /// Brings the index in line with the rendering that `path` (its sidecar or its body) belongs to.
    pub(super) fn look_at(&self, path: &Path, occasion: Occasion) -> Looked {
        let Some(name) = parse_file_name(path) else {
            return Looked::Whole;
        };
        let _stripe = self.stripe(name.short_hash);
        let entry = self.index.get_short(name.short_hash);
        let known = entry.as_ref().and_then(|entry| entry.variant(name.variant));
        let stem = entry.as_ref().map(|entry| Stem::of(&Key::from_text(&*entry.key)));
        let place = match &stem {
            Some(stem) => self.root.join(stem.sidecar(name.variant)),
            None if name.kind == FileKind::Sidecar => path.to_owned(),
            // A body of a key that nobody asked for yet: its sidecar will tell.
            None => return Looked::Whole,
        };
        let found = self.fs.stat(&place);
        let looked = Looked::of(&found);
        match (found, known, entry) {
            (Ok(file), Some(known), Some(entry)) if file == known.sidecar => {
                if known.generated == Generated::Invalidated && file.modified_at() != UNIX_EPOCH {
                    self.catch_up(&place, &entry, known);
                }
                self.look_at_body(&entry, &known);
            }
            (Ok(_), _, entry) => return self.take_in(&place, name.variant, entry, occasion),
            (Err(error), Some(known), Some(entry)) if is_absence(&error) => {
                self.let_go(&entry, known.id);
            }
            // The next lookup reads what is there.
            (Err(_), Some(known), Some(entry)) => {
                self.forget(&KeyHash::of(&entry.key), known.id);
            }
            _ => {}
        }
        looked
    }

    /// Invalidated in memory and not on disk yet.
    fn catch_up(&self, sidecar: &Path, entry: &KeyEntry, known: VariantEntry) {
        if !self.is_writable() {
            return;
        }
        match self.set_clock(sidecar, UNIX_EPOCH) {
            Ok(state) => self.note_mark(entry.short(), known, state),
            Err(error) => {
                tracing::error!(path = %sidecar.display(), %error, "cannot mark an invalidated snapshot");
            }
        }
    }

    /// The sidecar is as we left it; is the body?
    fn look_at_body(&self, entry: &KeyEntry, known: &VariantEntry) {
        let Some(parsed) = self.parsed.get(&KeyHash::of(&entry.key), known.id) else {
            return;
        };
        let Some(body) = &parsed.body else {
            return;
        };
        match self.fs.stat(&body.path) {
            Ok(file) if file == body.id => {}
            Err(error) if is_absence(&error) => self.let_go(entry, known.id),
            _ => {
                self.forget(&KeyHash::of(&entry.key), known.id);
            }
        }
    }

    /// A sidecar that is not as we know it.
    fn take_in(
        &self,
        path: &Path,
        id: Option<VariantId>,
        entry: Option<Arc<KeyEntry>>,
        occasion: Occasion,
    ) -> Looked {
        let (sidecar, file) = match self.load_sidecar(path) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.complain(path, &error, "a sidecar cannot be used");
                match entry {
                    Some(entry) if is_unusable(&error) => self.let_go(&entry, id),
                    Some(entry) => {
                        self.forget(&KeyHash::of(&entry.key), id);
                    }
                    None => {}
                }
                return Looked::of::<()>(&Err(error));
            }
        };
        let key = Key::from_text(&*sidecar.key);
        let is_in_place = self.root.join(Stem::of(&key).sidecar(sidecar.variant.id())) == *path;
        if !is_in_place || sidecar.variant.id() != id {
            tracing::debug!(path = %path.display(), "a sidecar is not where its key belongs; left alone");
            return Looked::Whole;
        }
        if self.is_torn(&key, id) {
            // No other program's, and no page either.
            return Looked::Whole;
        }
        let fate = self.fate(&sidecar, &file);
        if fate == Some(Fate::Delete) {
            return self.delete_doomed(&key, &sidecar, &file, occasion);
        }
        let base = self.root.join(Stem::of(&key).sidecar(None));
        if id.is_some() && self.fs.stat(&base).is_err() {
            tracing::debug!(path = %path.display(), "a variant without its base sidecar; left alone");
            return Looked::Whole;
        }
        let mut file = file;
        let mut looked = Looked::Whole;
        if fate == Some(Fate::Stale) && self.is_writable() {
            let marked = self.set_clock(path, UNIX_EPOCH);
            looked = Looked::of(&marked);
            match marked {
                Ok(marked) => file = marked,
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "cannot mark an invalidated snapshot");
                }
            }
        }
        let clock = match (&sidecar.rendering, fate) {
            (_, Some(Fate::Stale)) => Generated::Invalidated,
            (Some(rendering), _) => generated(rendering, &file),
            (None, _) => Generated::Unmarked,
        };
        let variant = self.variant_of((&key, &sidecar), &file, clock);
        let life = Life::found(last_cared(clock, &file));
        match self.enter((&key, &sidecar), variant, fate, life) {
            Entered::New if occasion == Occasion::Change => self.foreign_change(&key, &sidecar.own_line()),
            Entered::New | Entered::Known => {}
            // Invalidated since it was judged: judged again.
            Entered::Overtaken => return self.take_in(path, id, self.index.get(&key), occasion),
        }
        looked
    }

    /// A rendering as the index has it.
    pub(super) fn variant_of(
        &self,
        (key, sidecar): (&Key, &Sidecar),
        file: &FileId,
        clock: Generated,
    ) -> VariantEntry {
        VariantEntry {
            id: sidecar.variant.id(),
            digest: sidecar.variant.digest(),
            generated: clock,
            sidecar: file.stamp(),
            blocks: blocks(file.size()).saturating_add(self.body_blocks_on_disk(key, sidecar)),
            coded: Coded::of(sidecar),
            rendering: sidecar.rendering.as_ref().map(|rendering| rendering.origin),
        }
    }

    /// One that was put there by another program, while an older invalidation still removes what it found,
    /// is left alone; later it is there.
    fn delete_doomed(&self, key: &Key, sidecar: &Sidecar, file: &FileId, occasion: Occasion) -> Looked {
        let own = sidecar.own_line();
        let subject = sidecar.subject(&own);
        let is_younger = self.ledger().fate_by_time(subject, file.changed_at()) != Some(Fate::Delete);
        if occasion == Occasion::Change && is_younger {
            return Looked::Whole;
        }
        let deleted = self.delete_key(key);
        if let Err(error) = &deleted {
            tracing::error!(key = key.line(), %error, "cannot remove an invalidated snapshot");
        }
        Looked::of(&deleted)
    }

    /// What the body takes. A great length may be a lie, which would have other pages make room.
    fn body_blocks_on_disk(&self, key: &Key, sidecar: &Sidecar) -> u32 {
        /// Few bodies are larger, and so few are looked at.
        const BELIEVED: u64 = 256 << 10;
        let body = sidecar
            .rendering
            .as_ref()
            .and_then(|rendering| rendering.body.as_ref());
        match body {
            Some(body) if body.length > BELIEVED => {
                let path = self.root.join(Stem::of(key).folder()).join(&*body.file);
                self.fs.stat(&path).map_or(0, |file| blocks(file.size()))
            }
            _ => body_blocks(sidecar),
        }
    }

    /// Enters a rendering under its key, whose fate was found to be `judged`.
    fn enter(
        &self,
        (key, sidecar): (&Key, &Sidecar),
        variant: VariantEntry,
        judged: Option<Fate>,
        life: Life,
    ) -> Entered {
        let ledger = self.ledger();
        let own = sidecar.own_line();
        let subject = sidecar.subject(&own);
        if judged.is_none() && ledger.fate(subject, variant.sidecar.changed_at()).is_some() {
            return Entered::Overtaken;
        }
        let known = self.index.get(key);
        let same = known.as_ref().and_then(|entry| entry.variant(variant.id));
        if same.is_some_and(|known| known == variant.keeping(&known)) {
            return Entered::Known;
        }
        let mut names = sidecar.variant.names();
        if let Some(known) = &known {
            names = known.names_with(variant.id, names);
        }
        let entry = KeyEntry::of(known.as_deref(), key, &names, &own, life);
        self.index.insert(entry.with_variant(variant, sidecar.parts()));
        self.forget(&key.hash, variant.id);
        Entered::New
    }

    /// A rendering whose files another program removed.
    fn let_go(&self, entry: &KeyEntry, id: Option<VariantId>) {
        let ledger = self.ledger();
        // As it is by now: an invalidation takes no stripe, and what it took out or marked stays so.
        let now = self.index.get_short(entry.short());
        if let Some(now) = now.filter(|now| now.key == entry.key) {
            // Without the base sidecar nobody finds the variants.
            let rest = id.and_then(|_| (*now).clone().without_variant(id));
            match rest {
                Some(rest) => self.index.insert(rest),
                None => self.index.remove(entry.short()),
            }
        }
        for variant in entry.variants() {
            self.forget(&KeyHash::of(&entry.key), variant.id);
        }
        drop(ledger);
        let key = Key::from_text(&*entry.key);
        if id.is_none()
            && entry.variants().nth(1).is_some()
            && self.is_writable()
            && let Err(error) = self.delete_variants(&Stem::of(&key), &key)
        {
            tracing::error!(key = key.line(), %error, "cannot remove the variants of a page that was removed");
        }
        let own = entry.own().unwrap_or(key.line());
        tracing::debug!(key = key.line(), "a snapshot was removed by another program");
        self.foreign_change(&key, own);
    }

    /// A foreign change counts as an invalidation of that key: a fill under way was begun before it.
    fn foreign_change(&self, key: &Key, own: &str) {
        let line = key.line();
        let patterns = [KeyPattern::line_itself(line), KeyPattern::line_itself(own)];
        self.take_number(|ledger| ledger.enter_foreign(patterns.into()));
        self.tell(&[KeyPattern::line_itself(line)]);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header};

    use super::*;
    use crate::head::{RenderingOrigin, VariantKey};
    use crate::snapshot::StoreOptions;

    /// A page with a variant, whose files are not there.
    fn page(store: &Store, key: &Key) -> VariantId {
        let names: [HeaderName; 1] = [header::ACCEPT_LANGUAGE];
        let selected = VariantKey(vec![(header::ACCEPT_LANGUAGE, Some("de".into()))]);
        let variant = |id, digest| VariantEntry {
            id,
            digest,
            generated: Generated::At(7),
            sidecar: store.fs.stat(store.root()).unwrap().stamp(),
            blocks: 1,
            coded: Coded::default(),
            rendering: Some(RenderingOrigin::Backend),
        };
        let entry = KeyEntry::of(None, key, &names, key.line(), Life::stored(7))
            .with_variant(variant(None, 0), Box::default())
            .with_variant(variant(selected.id(), selected.digest()), Box::default());
        store.index.insert(entry);
        selected.id().unwrap()
    }

    #[test]
    fn a_look_that_an_invalidation_overtakes_brings_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::plain(dir.path().join("snapshots"))).unwrap();
        let key = Key::from_text("GET:/a");

        let id = page(&store, &key);
        let seen = store.index.get(&key).unwrap();
        store.index.insert((*seen).clone().invalidated());
        store.let_go(&seen, Some(id));
        let left: Vec<_> = store.index.get(&key).unwrap().variants().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].generated, Generated::Invalidated, "it stays marked");

        let id = page(&store, &key);
        let seen = store.index.get(&key).unwrap();
        store.strike_out(&key.hash, &key.text);
        store.let_go(&seen, Some(id));
        assert!(store.index.get(&key).is_none(), "it stays out");
    }
}
