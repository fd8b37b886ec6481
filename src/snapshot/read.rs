//! Looking up: which files a key has, and whether they are what their sidecar says.
//!
//! Bodies are checked in `check`.

use std::io;
use std::sync::Arc;

use http::HeaderName;

use crate::fsops::{FileId, is_absence};
use crate::head::{Generated, Rendering, Seal, Sidecar, VariantId, VariantKey};
use crate::key::Key;

use super::found::Snapshot;
use super::index::{KeyEntry, VariantEntry};
use super::layout::Stem;
use super::ledger::Fate;
use super::{Store, sidecar};

/// What a lookup finds.
#[derive(Debug)]
pub(crate) enum Lookup {
    Found(Arc<Snapshot>, Generated),
    /// The key is known, with the fields that select; this variant is not.
    NoVariant(Arc<[HeaderName]>),
    /// Changed by another program a moment ago, and not whole yet.
    Settling,
    Nothing,
}

impl Lookup {
    /// Whether the key's answers are known to vary by `name`.
    pub(crate) fn varies_by(&self, name: &HeaderName) -> bool {
        match self {
            Self::Found(snapshot, _) => snapshot.variant.0.iter().any(|(axis, _)| axis == name),
            Self::NoVariant(names) => names.contains(name),
            Self::Settling | Self::Nothing => false,
        }
    }
}

/// Reading one rendering from disk.
pub(super) enum ReadError {
    Absent,
    Settling,
    Broken,
    /// The disk cannot say what is there: what is known of it stands.
    Unreadable,
}

impl Store {
    /// A lookup without any I/O: nothing if it takes some.
    pub(crate) fn lookup_parsed(
        &self,
        key: &Key,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
    ) -> Option<Lookup> {
        let (found, entry) = self.find_parsed(key, select)?;
        entry.life.touch(self.options.clock.unix_seconds());
        Some(found)
    }

    /// A lookup without any I/O that is no use: nobody is answered from what it finds.
    pub(crate) fn peek_parsed(
        &self,
        key: &Key,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
    ) -> Option<Lookup> {
        self.find_parsed(key, select).map(|(found, _)| found)
    }

    fn find_parsed(
        &self,
        key: &Key,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
    ) -> Option<(Lookup, Arc<KeyEntry>)> {
        if !self.is_watched() {
            return None;
        }
        let entry = self.index.get(key)?;
        let wanted = select(entry.names());
        let id = wanted.id();
        let variant = entry.variant(id).filter(|variant| variant.rendering.is_some())?;
        let snapshot = self.parsed.get(&key.hash, id)?;
        if snapshot.stamp != variant.sidecar || !snapshot.variant.is_same(&wanted) {
            return None;
        }
        Some((Lookup::Found(snapshot, variant.generated), entry))
    }

    /// A lookup.
    pub(crate) fn lookup(&self, key: &Key, select: &dyn Fn(&[HeaderName]) -> VariantKey) -> Lookup {
        let found = self.peek(key, select);
        if matches!(found, Lookup::Found(..))
            && let Some(entry) = self.index.get(key)
        {
            entry.life.touch(self.options.clock.unix_seconds());
        }
        found
    }

    /// A lookup that is no use.
    pub(crate) fn peek(&self, key: &Key, select: &dyn Fn(&[HeaderName]) -> VariantKey) -> Lookup {
        let epoch = self.epoch();
        let known = self.index.get(key);
        let stem = Stem::of(key);
        let names = match &known {
            Some(entry) if self.is_watched() => entry.shared_names(),
            _ => match self.names_on_disk(&stem, key) {
                Ok(Some(names)) => names,
                Ok(None) => {
                    self.forget_if_gone(key, known.as_ref());
                    return Lookup::Nothing;
                }
                Err(_) => return Lookup::Nothing,
            },
        };
        let wanted = select(&names);
        let id = wanted.id();
        if let Some(found) = self.still_parsed(&stem, &wanted, key) {
            return found;
        }
        match self.read(&stem, id, key) {
            // Another variant whose short hash is the same: the whole values count.
            Ok((snapshot, _)) if !snapshot.variant.is_same(&wanted) => Lookup::NoVariant(names),
            Ok((snapshot, generated)) => self.adopt(key, id, &names, snapshot, generated, epoch),
            Err(ReadError::Settling) => Lookup::Settling,
            Err(error) => {
                if !matches!(error, ReadError::Unreadable) {
                    self.disown(key, id, known.as_deref());
                }
                match names.is_empty() {
                    true => Lookup::Nothing,
                    false => Lookup::NoVariant(names),
                }
            }
        }
    }

    /// Whether what a lookup would find is another than `seen`, without I/O: something was committed
    /// since.
    pub(crate) fn has_changed(
        &self,
        key: &Key,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
        seen: Option<&Snapshot>,
    ) -> bool {
        let Some(entry) = self.index.get(key) else {
            return false;
        };
        let wanted = select(entry.names());
        let is_it = |variant: &VariantEntry| variant.rendering.is_some() && variant.digest == wanted.digest();
        match entry.variant(wanted.id()).filter(is_it) {
            Some(variant) => seen.is_none_or(|seen| seen.stamp != variant.sidecar),
            None => false,
        }
    }

    /// Whether one more variant of the key may be stored. The rendering without any of the fields has a place
    /// of its own: it is the page, and no stranger's values keep it out.
    pub(crate) fn has_room(&self, key: &Key, id: Option<VariantId>, max_variants: usize) -> bool {
        let entry = self.index.get(key);
        id.is_none() || entry.is_none_or(|entry| entry.with_fields() < max_variants)
    }

    /// What was parsed and checked before, if neither file has changed since: without a watcher, this is
    /// how a hit knows.
    pub(super) fn still_parsed(&self, stem: &Stem, wanted: &VariantKey, key: &Key) -> Option<Lookup> {
        let id = wanted.id();
        let snapshot = self.parsed.get(&key.hash, id)?;
        let entry = self.index.get(key)?;
        let variant = entry.variant(id)?;
        let is_same = variant.sidecar == snapshot.stamp
            && snapshot.variant.is_same(wanted)
            && self.fs.stat(&self.root.join(stem.sidecar(id))).ok()? == snapshot.sidecar
            && snapshot
                .body
                .as_ref()
                .is_none_or(|body| self.fs.stat(&body.path).is_ok_and(|id| id == body.id));
        is_same.then_some(Lookup::Found(snapshot, variant.generated))
    }

    /// Forgets a parsed snapshot whose body turned out to be another than the one that was checked.
    pub(crate) fn forget_parsed(&self, key: &Key, variant: &VariantKey) {
        self.forget(&key.hash, variant.id());
    }

    fn names_on_disk(&self, stem: &Stem, key: &Key) -> io::Result<Option<Arc<[HeaderName]>>> {
        let read = self.read_sidecar(stem, None, key)?;
        let standing = read.filter(|(sidecar, id)| self.fate(sidecar, id) != Some(Fate::Delete));
        Ok(standing.map(|(sidecar, _)| sidecar.variant.names().into()))
    }

    /// Without a watcher, a lookup is what finds out that another program deleted files.
    fn forget_if_gone(&self, key: &Key, known: Option<&Arc<KeyEntry>>) {
        let Some(known) = known.filter(|_| !self.is_watched()) else {
            return;
        };
        let _stripe = self.stripe(key.hash.short());
        let _ledger = self.ledger();
        // Or it was stored anew since the look.
        if self
            .index
            .get(key)
            .is_some_and(|entry| Arc::ptr_eq(&entry, known))
        {
            self.strike_out(&key.hash, &key.text);
        }
    }

    /// Reads a sidecar and checks that it is this key's. What is no sidecar is none.
    ///
    /// # Errors
    /// The disk does not say what is there: nothing may be concluded from that.
    pub(super) fn read_sidecar(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        key: &Key,
    ) -> io::Result<Option<(Sidecar, FileId)>> {
        let path = self.root.join(stem.sidecar(id));
        match self.load_sidecar(&path) {
            Ok((sidecar, file)) => Ok((*sidecar.key == *key.text).then_some((sidecar, file))),
            Err(error) => {
                self.complain(&path, &error, "a sidecar cannot be used");
                match is_unusable(&error) {
                    true => Ok(None),
                    false => Err(error),
                }
            }
        }
    }

    /// A file that is not what it should be is named; a disk that fails is, once a minute.
    pub(super) fn complain(&self, path: &std::path::Path, error: &io::Error, what: &str) {
        let say = || tracing::warn!(path = %path.display(), %error, "{what}");
        match error.kind() {
            io::ErrorKind::NotFound => {}
            _ if is_unusable(error) => self.unusable.say(path, say),
            _ => self.trouble.say(say),
        }
    }

    pub(super) fn load_sidecar(&self, path: &std::path::Path) -> io::Result<(Sidecar, FileId)> {
        let (bytes, id) = self.fs.read_small(path, sidecar::MAX_BYTES)?;
        let sidecar =
            sidecar::from_bytes(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((sidecar, id))
    }

    pub(super) fn read(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        key: &Key,
    ) -> Result<(Snapshot, Generated), ReadError> {
        let read = self
            .read_sidecar(stem, id, key)
            .map_err(|_| ReadError::Unreadable)?;
        let (sidecar, file) = read.ok_or(ReadError::Absent)?;
        if sidecar.variant.id() != id {
            return Err(ReadError::Broken);
        }
        let own = sidecar.own_line().into();
        let Sidecar {
            variant,
            rendering: Some(rendering),
            ..
        } = sidecar
        else {
            return Err(ReadError::Absent);
        };
        let body = match &rendering.body {
            Some(sealed) => Some(self.check_body(stem, id, sealed, (key, &file))?),
            None => None,
        };
        let generated = generated(&rendering, &file);
        let snapshot = Snapshot::new(own, variant, rendering, body, file);
        Ok((snapshot, generated))
    }

    pub(super) fn fate(&self, sidecar: &Sidecar, file: &FileId) -> Option<Fate> {
        let key = Key::from_text(&*sidecar.key);
        if self.is_own(&key, sidecar.variant.id(), file) {
            return None;
        }
        let own = sidecar.own_line();
        self.ledger().fate(sidecar.subject(&own), file.changed_at())
    }
}

/// Whether what is there is nothing that can be used, ever: the rest are a disk's troubles, which pass.
pub(super) fn is_unusable(error: &io::Error) -> bool {
    is_absence(error) || error.kind() == io::ErrorKind::InvalidData
}

/// When the response was generated, by the sidecar's time.
pub(super) fn generated(rendering: &Rendering, sidecar: &FileId) -> Generated {
    let (seconds, nanos) = sidecar.modified();
    let mark = mark_of(rendering);
    match u64::try_from(seconds) {
        Ok(0) | Err(_) => Generated::Invalidated,
        Ok(seconds) if nanos == i64::from(mark) => Generated::At(seconds),
        Ok(_) => Generated::Unmarked,
    }
}

pub(super) fn mark_of(rendering: &Rendering) -> u32 {
    match &rendering.body {
        Some(body) => body.seal.mark_nanos(),
        None => Seal::of(b"").mark_nanos(),
    }
}
