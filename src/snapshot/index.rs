//! What is stored, by key: for patterns, for variants, and to tell our own changes from others'.
//!
//! Disposable: everything in it is rebuilt from the sidecars. It is keyed by the first 64 bits of the
//! hash, as the file names are; who reads an entry compares the whole hash.

use std::sync::Arc;

use http::HeaderName;

use crate::fsops::FileId;
use crate::head::{Generated, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::Subject;

/// A key and its variants. Replaced as a whole, never changed.
#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    pub(crate) hash: KeyHash,
    /// The whole key text.
    pub(crate) key: Arc<str>,
    /// `METHOD:/path?query` where it is not the key's line 1.
    pub(crate) own: Option<Box<str>>,
    /// The fields that select among the variants, sorted.
    pub(crate) names: Arc<[HeaderName]>,
    pub(crate) variants: Vec<VariantEntry>,
}

/// One rendering on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariantEntry {
    pub(crate) id: Option<VariantId>,
    /// [`VariantKey::digest`](crate::head::VariantKey::digest): `id` is short enough to be forged.
    pub(crate) digest: u64,
    pub(crate) generated: Generated,
    pub(crate) sidecar: FileId,
    /// False for the placeholder that only lists the names.
    pub(crate) is_rendering: bool,
}

impl KeyEntry {
    /// What the index knows of `key`, if its variants are selected by `names`; else an entry that they
    /// are yet to be entered in. `own` is the snapshot's own line.
    pub(crate) fn of(known: Option<&Self>, key: &Key, names: &[HeaderName], own: &str) -> Self {
        match known {
            Some(entry) if *entry.names == *names => entry.clone(),
            _ => Self {
                hash: key.hash,
                key: Arc::from(&*key.text),
                own: (key.line() != own).then(|| own.into()),
                names: names.into(),
                variants: Vec::new(),
            },
        }
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            line: crate::key::line_of(&self.key),
            own: self.own.as_deref(),
        }
    }

    pub(crate) fn variant(&self, id: Option<VariantId>) -> Option<&VariantEntry> {
        self.variants.iter().find(|variant| variant.id == id)
    }

    pub(crate) fn with_variant(mut self, entry: VariantEntry) -> Self {
        self.variants.retain(|variant| variant.id != entry.id);
        self.variants.push(entry);
        self
    }

    /// Without one variant; nothing when it was the last rendering.
    pub(crate) fn without_variant(mut self, id: Option<VariantId>) -> Option<Self> {
        self.variants.retain(|variant| variant.id != id);
        self.variants
            .iter()
            .any(|variant| variant.is_rendering)
            .then_some(self)
    }

    pub(crate) fn renderings(&self) -> usize {
        self.variants
            .iter()
            .filter(|variant| variant.is_rendering)
            .count()
    }
}

/// The map.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: papaya::HashMap<u64, Arc<KeyEntry>>,
}

impl Index {
    /// The entry of this very key.
    pub(crate) fn get(&self, hash: &KeyHash) -> Option<Arc<KeyEntry>> {
        self.get_short(hash.short()).filter(|entry| entry.hash == *hash)
    }

    /// The entry under a file name's hash.
    pub(crate) fn get_short(&self, short: u64) -> Option<Arc<KeyEntry>> {
        self.keys.pin().get(&short).cloned()
    }

    pub(crate) fn insert(&self, entry: KeyEntry) {
        self.keys.pin().insert(entry.hash.short(), Arc::new(entry));
    }

    pub(crate) fn remove(&self, short: u64) {
        self.keys.pin().remove(&short);
    }

    /// Entries whose subject fits.
    pub(crate) fn matching(&self, is_match: impl Fn(Subject<'_>) -> bool) -> Vec<Arc<KeyEntry>> {
        self.keys
            .pin()
            .values()
            .filter(|entry| is_match(entry.subject()))
            .cloned()
            .collect()
    }

    /// Every entry.
    pub(crate) fn all(&self) -> Vec<Arc<KeyEntry>> {
        self.keys.pin().values().cloned().collect()
    }

    /// How many renderings there are.
    pub(crate) fn renderings(&self) -> usize {
        self.keys.pin().values().map(|entry| entry.renderings()).sum()
    }
}
