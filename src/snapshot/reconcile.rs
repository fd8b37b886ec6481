//! Following other programs: files deleted, restored, checked out or replaced take effect, and our own
//! changes do not echo, because the index knows the state of every sidecar that we wrote.

#[cfg(feature = "watch")]
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::fsops::{EntryKind, FileId, is_absence};
use crate::head::{Generated, SealedBody, Sidecar, VariantId};
use crate::key::Key;
use crate::pattern::KeyPattern;

use super::Store;
use super::index::{KeyEntry, Life, VariantEntry};
use super::layout::{FileKind, MARKER, PRIVATE, Stem, parse_file_name};
use super::ledger::{Fate, Ledger};
use super::read::{generated, is_unusable, last_cared};
use super::usage::{blocks, body_blocks};

/// When a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Reading the directory through: what is found is what was there.
    Start,
    /// Another program changed something.
    Change,
}

/// What became of a rendering that was to be entered in the index.
enum Entered {
    New,
    Known,
    Overtaken,
}

impl Store {
    /// Reads the directory through, entering what is there and finishing what a crash left.
    pub(super) fn scan_at_start(self: &Arc<Self>) {
        let started = std::time::Instant::now();
        self.walk(Occasion::Start);
        self.sweep_pending();
        match self.is_writable() {
            true => self.settle(Ledger::scan_done),
            false => self.ledger().reading_done(),
        }
        tracing::info!(
            dir = %self.root().display(),
            snapshots = self.count(),
            ms = started.elapsed().as_millis(),
            "read the snapshot directory"
        );
        self.relieve();
    }

    /// Looks at what the watcher reported, or at everything when it lost count.
    #[cfg(feature = "watch")]
    pub(super) fn reconcile(self: &Arc<Self>, batch: &crate::invalidate::watch::Batch) {
        if batch.rescan {
            tracing::info!(dir = %self.root().display(), "reading the whole snapshot directory again");
            self.restore_companions();
            self.walk(Occasion::Change);
            self.relieve();
            return;
        }
        let mut stems = HashSet::new();
        for path in &batch.paths {
            if let Some(name) = parse_file_name(path)
                // Body and sidecar of one rendering are looked at once.
                && (stems.insert((name.short_hash, name.variant)) || name.kind == FileKind::Sidecar)
            {
                self.look_at(path, Occasion::Change);
            }
        }
        for folder in &batch.gone {
            self.folder_is_gone(folder);
        }
        self.relieve();
    }

    /// Every sidecar below the root, then every indexed one that was not met.
    fn walk(&self, occasion: Occasion) {
        let known_folders = self.fs.folders();
        let mut met = 0;
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            met += 1;
            let entries = match self.fs.read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::warn!(path = %folder.display(), %error, "cannot read a folder of snapshots");
                    }
                    continue;
                }
            };
            for entry in entries {
                match entry.kind {
                    EntryKind::Directory if self.is_ours(&entry.path) => folders.push(entry.path),
                    EntryKind::File if is_sidecar(&entry.path) => self.look_at(&entry.path, occasion),
                    _ => {}
                }
            }
        }
        self.fs.correct_folders(met - known_folders);
        if occasion == Occasion::Change {
            for entry in self.index.all() {
                self.look_at_all(&entry);
            }
        }
    }

    /// A directory with its own marker inside this one is another store's.
    fn is_ours(&self, folder: &Path) -> bool {
        let is_hidden = folder
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && self.fs.stat(&folder.join(MARKER)).is_err()
    }

    #[cfg(feature = "watch")]
    fn folder_is_gone(&self, path: &Path) {
        let Ok(relative) = path.strip_prefix(&self.root) else {
            return;
        };
        for entry in self.index.all() {
            if Stem::of(&Key::from_text(&*entry.key))
                .folder()
                .starts_with(relative)
            {
                self.look_at_all(&entry);
            }
        }
    }

    fn look_at_all(&self, entry: &KeyEntry) {
        let stem = Stem::of(&Key::from_text(&*entry.key));
        for variant in &entry.variants {
            self.look_at(&self.root.join(stem.sidecar(variant.id)), Occasion::Change);
        }
    }

    /// Brings the index in line with the rendering that `path` (its sidecar or its body) belongs to.
    fn look_at(&self, path: &Path, occasion: Occasion) {
        let Some(name) = parse_file_name(path) else {
            return;
        };
        let _stripe = self.stripe(name.short_hash);
        let entry = self.index.get_short(name.short_hash);
        let known = entry
            .as_ref()
            .and_then(|entry| entry.variant(name.variant).copied());
        let stem = entry.as_ref().map(|entry| Stem::of(&Key::from_text(&*entry.key)));
        let place = match &stem {
            Some(stem) => self.root.join(stem.sidecar(name.variant)),
            None if name.kind == FileKind::Sidecar => path.to_owned(),
            // A body of a key that nobody asked for yet: its sidecar will tell.
            None => return,
        };
        match (self.fs.stat(&place), known, entry) {
            (Ok(file), Some(known), Some(entry)) if file == known.sidecar => {
                if known.generated == Generated::Invalidated && file.modified_at() != UNIX_EPOCH {
                    self.catch_up(&place, &entry, known);
                }
                self.look_at_body(&entry, &known);
            }
            (Ok(_), _, entry) => self.take_in(&place, name.variant, entry, occasion),
            (Err(error), Some(known), Some(entry)) if is_absence(&error) => {
                self.let_go(&entry, known.id);
            }
            // The next lookup reads what is there.
            (Err(_), Some(known), Some(entry)) => {
                self.parsed.remove(&(entry.hash, known.id));
            }
            _ => {}
        }
    }

    /// Invalidated in memory and not on disk yet.
    fn catch_up(&self, sidecar: &Path, entry: &KeyEntry, known: VariantEntry) {
        if !self.is_writable() {
            return;
        }
        match self.set_clock(sidecar, UNIX_EPOCH) {
            Ok(state) => self.note_mark(entry.hash.short(), known, state),
            Err(error) => {
                tracing::error!(path = %sidecar.display(), %error, "cannot mark an invalidated snapshot");
            }
        }
    }

    /// The sidecar is as we left it; is the body?
    fn look_at_body(&self, entry: &KeyEntry, known: &VariantEntry) {
        let Some(parsed) = self.parsed.get(&(entry.hash, known.id)) else {
            return;
        };
        let Some(body) = &parsed.body else {
            return;
        };
        match self.fs.stat(&body.path) {
            Ok(file) if file == body.id => {}
            Err(error) if is_absence(&error) => self.let_go(entry, known.id),
            _ => {
                self.parsed.remove(&(entry.hash, known.id));
            }
        }
    }

    /// A sidecar that is not as we know it.
    fn take_in(&self, path: &Path, id: Option<VariantId>, entry: Option<Arc<KeyEntry>>, occasion: Occasion) {
        let (sidecar, file) = match self.load_sidecar(path) {
            Ok(loaded) => loaded,
            Err(error) => {
                self.complain(path, &error, "a sidecar cannot be used");
                match entry {
                    Some(entry) if is_unusable(&error) => self.let_go(&entry, id),
                    Some(entry) => {
                        self.parsed.remove(&(entry.hash, id));
                    }
                    None => {}
                }
                return;
            }
        };
        let key = Key::from_text(&*sidecar.key);
        let is_in_place = self.root.join(Stem::of(&key).sidecar(sidecar.variant.id())) == *path;
        if !is_in_place || sidecar.variant.id() != id {
            tracing::debug!(path = %path.display(), "a sidecar is not where its key belongs; left alone");
            return;
        }
        let fate = self.fate(&sidecar, &file);
        if fate == Some(Fate::Delete) {
            if let Err(error) = self.delete_key(&key) {
                tracing::error!(key = key.line(), %error, "cannot remove an invalidated snapshot");
            }
            return;
        }
        if id.is_some()
            && self
                .fs
                .stat(&self.root.join(Stem::of(&key).sidecar(None)))
                .is_err()
        {
            tracing::debug!(path = %path.display(), "a variant without its base sidecar; left alone");
            return;
        }
        let mut file = file;
        if fate == Some(Fate::Stale) && self.is_writable() {
            match self.set_clock(path, UNIX_EPOCH) {
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
        let variant = VariantEntry {
            id,
            digest: sidecar.variant.digest(),
            generated: clock,
            sidecar: file,
            blocks: blocks(file.size()) + body_blocks(&sidecar),
            is_rendering: sidecar.rendering.is_some(),
        };
        match self.enter(&key, &sidecar, variant, fate) {
            Entered::New if occasion == Occasion::Change => self.foreign_change(&key, &sidecar.own_line()),
            Entered::New | Entered::Known => {}
            // Invalidated since it was judged: judged again.
            Entered::Overtaken => self.take_in(path, id, self.index.get(&key.hash), occasion),
        }
    }

    /// Enters a rendering under its key, whose fate was found to be `judged`.
    fn enter(&self, key: &Key, sidecar: &Sidecar, variant: VariantEntry, judged: Option<Fate>) -> Entered {
        let ledger = self.ledger();
        let own = sidecar.own_line();
        let subject = crate::pattern::Subject {
            line: key.line(),
            own: Some(&own),
        };
        if judged.is_none() && ledger.fate(subject, &variant.sidecar).is_some() {
            return Entered::Overtaken;
        }
        let known = self.index.get(&key.hash);
        if known.as_ref().and_then(|entry| entry.variant(variant.id)) == Some(&variant) {
            return Entered::Known;
        }
        let life = Life::found(last_cared(variant.generated, &variant.sidecar));
        let entry = KeyEntry::of(known.as_deref(), key, &sidecar.variant.names(), &own, life);
        self.index.insert(entry.with_variant(variant));
        self.parsed.remove(&(key.hash, variant.id));
        Entered::New
    }

    /// A rendering whose files another program removed.
    fn let_go(&self, entry: &KeyEntry, id: Option<VariantId>) {
        let ledger = self.ledger();
        // Without the base sidecar nobody finds the variants.
        let rest = match id {
            Some(_) => entry.clone().without_variant(id),
            None => None,
        };
        match rest {
            Some(rest) => self.index.insert(rest),
            None => self.index.remove(entry.hash.short()),
        }
        for variant in &entry.variants {
            self.parsed.remove(&(entry.hash, variant.id));
        }
        drop(ledger);
        let key = Key::from_text(&*entry.key);
        if id.is_none()
            && entry.variants.len() > 1
            && self.is_writable()
            && let Err(error) = self.delete_variants(&Stem::of(&key), &key)
        {
            tracing::error!(key = key.line(), %error, "cannot remove the variants of a page that was removed");
        }
        let own = entry.own.as_deref().unwrap_or(key.line());
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

    /// Bodies that were durable when a crash came: moved into place if their sidecar was committed,
    /// else removed.
    fn sweep_pending(&self) {
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

fn is_sidecar(path: &Path) -> bool {
    let in_private = path.components().any(|part| part.as_os_str() == PRIVATE);
    !in_private && parse_file_name(path).is_some_and(|name| name.kind == FileKind::Sidecar)
}
