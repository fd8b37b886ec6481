//! What is stored, by key: for patterns, for variants, and to tell our own changes from others'.
//!
//! Disposable: everything in it is rebuilt from the sidecars. It is keyed by the first 64 bits of the
//! hash, as the file names are; who reads an entry compares the whole hash.
//!
//! It knows how much there is, without counting: changes go through one lock, in which sums and hosts
//! follow the map. A lookup takes none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderName;

use crate::fsops::FileId;
use crate::head::{Generated, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::Subject;

use super::lock;
use super::usage::Used;

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
    pub(crate) life: Life,
}

/// When a key was stored and last used, in seconds since 1970.
#[derive(Debug)]
pub(crate) struct Life {
    stored: u32,
    /// Zero: not since it was stored.
    used: AtomicU32,
    /// Later keys have greater ones, within a second too.
    number: u32,
}

impl Life {
    /// Stored by us, for somebody who may be the only one.
    pub(crate) fn stored(now: u64) -> Self {
        Self {
            stored: seconds(now),
            used: AtomicU32::new(0),
            number: 0,
        }
    }

    /// Found on disk. Who asked for it is not known; that somebody keeps it counts for it, until the
    /// time that its files give.
    pub(crate) fn found(generated: u64) -> Self {
        Self {
            used: AtomicU32::new(seconds(generated)),
            ..Self::stored(generated)
        }
    }

    /// Somebody was answered from it. No lock, and no write but once a second.
    pub(crate) fn touch(&self, now: u64) {
        let now = seconds(now);
        if self.used.load(Ordering::Relaxed) != now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn stored_at(&self) -> u32 {
        self.stored
    }

    pub(crate) fn used_at(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What an entry of the same key was used for counts for the one that replaces it.
    fn inherit(&mut self, from: &Self) {
        self.number = from.number;
        self.raise(from);
    }

    fn raise(&mut self, other: &Self) {
        *self.used.get_mut() = self.used_at().max(other.used_at());
    }
}

impl Clone for Life {
    fn clone(&self) -> Self {
        Self {
            used: AtomicU32::new(self.used_at()),
            ..*self
        }
    }
}

/// Until 2106, and never zero.
fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX).max(1)
}

/// One rendering on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariantEntry {
    pub(crate) id: Option<VariantId>,
    /// [`VariantKey::digest`](crate::head::VariantKey::digest): `id` is short enough to be forged.
    pub(crate) digest: u64,
    pub(crate) generated: Generated,
    pub(crate) sidecar: FileId,
    /// What body and sidecar take on disk, in blocks of 4 KiB.
    pub(crate) blocks: u32,
    /// False for the placeholder that only lists the names.
    pub(crate) is_rendering: bool,
}

impl KeyEntry {
    /// What the index knows of `key`, if its variants are selected by `names`; else an entry that they
    /// are yet to be entered in. `own` is the snapshot's own line; `life` is a new entry's.
    pub(crate) fn of(known: Option<&Self>, key: &Key, names: &[HeaderName], own: &str, life: Life) -> Self {
        match known {
            Some(entry) if *entry.names == *names => {
                let mut entry = entry.clone();
                entry.life.raise(&life);
                entry
            }
            _ => Self {
                hash: key.hash,
                key: Arc::from(&*key.text),
                own: (key.line() != own).then(|| own.into()),
                // Without names nothing is allocated.
                names: match names {
                    [] => Arc::default(),
                    names => names.into(),
                },
                variants: Vec::new(),
                life,
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
        // Most keys have one, and there are many keys.
        self.variants.reserve_exact(1);
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

    pub(crate) fn used(&self) -> Used {
        Used {
            renderings: self.renderings() as u64,
            blocks: self
                .variants
                .iter()
                .map(|variant| u64::from(variant.blocks))
                .sum(),
        }
    }

    /// The host that the key names, while no `public_url` makes it the same for all.
    pub(crate) fn host(&self) -> Option<&str> {
        crate::key::part_of(&self.key, "host")
    }
}

/// The map.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: papaya::HashMap<u64, Arc<KeyEntry>>,
    /// How many keys each host has. Held during every change of the map, so that what follows it stays
    /// true to it.
    hosts: Mutex<HashMap<Box<str>, u32>>,
    renderings: AtomicU64,
    blocks: AtomicU64,
    /// Of the last key that was new.
    number: AtomicU32,
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

    pub(crate) fn insert(&self, mut entry: KeyEntry) {
        let mut hosts = lock(&self.hosts);
        let keys = self.keys.pin();
        let short = entry.hash.short();
        let old = keys.get(&short);
        match old {
            Some(old) if old.hash == entry.hash => entry.life.inherit(&old.life),
            _ => entry.life.number = self.number.fetch_add(1, Ordering::Relaxed) + 1,
        }
        match old {
            Some(old) if old.host() == entry.host() => {}
            _ => {
                release(&mut hosts, old.and_then(|old| old.host()));
                hold(&mut hosts, entry.host());
            }
        }
        let (before, after) = (old.map(|old| old.used()), entry.used());
        keys.insert(short, Arc::new(entry));
        self.count(after, before.unwrap_or_default());
    }

    pub(crate) fn remove(&self, short: u64) {
        let mut hosts = lock(&self.hosts);
        if let Some(old) = self.keys.pin().remove(&short) {
            release(&mut hosts, old.host());
            self.count(Used::default(), old.used());
        }
    }

    /// Under the lock of all changes.
    fn count(&self, more: Used, less: Used) {
        self.renderings.fetch_add(more.renderings, Ordering::Relaxed);
        self.renderings.fetch_sub(less.renderings, Ordering::Relaxed);
        self.blocks.fetch_add(more.blocks, Ordering::Relaxed);
        self.blocks.fetch_sub(less.blocks, Ordering::Relaxed);
    }

    /// What is stored, in all.
    pub(crate) fn used(&self) -> Used {
        Used {
            renderings: self.renderings.load(Ordering::Relaxed),
            blocks: self.blocks.load(Ordering::Relaxed),
        }
    }

    /// Whether pages of `host` may be stored, where those of `most` hosts may.
    pub(crate) fn has_host_room(&self, host: &str, most: usize) -> bool {
        let hosts = lock(&self.hosts);
        hosts.contains_key(host) || hosts.len() < most
    }

    /// Keeps a place for `host` until its key is in.
    pub(crate) fn hold_host(&self, host: &str, most: usize) -> Option<HostHold<'_>> {
        let mut hosts = lock(&self.hosts);
        if !hosts.contains_key(host) && hosts.len() >= most {
            return None;
        }
        hold(&mut hosts, Some(host));
        Some(HostHold {
            index: self,
            host: host.into(),
        })
    }

    /// Runs `look` over all entries, without a lock.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<KeyEntry>)) {
        for entry in self.keys.pin().values() {
            look(entry);
        }
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
}

/// A host's place, for a key that is about to be entered.
#[derive(Debug)]
pub(crate) struct HostHold<'a> {
    index: &'a Index,
    host: Box<str>,
}

impl Drop for HostHold<'_> {
    fn drop(&mut self) {
        release(&mut lock(&self.index.hosts), Some(&self.host));
    }
}

fn hold(hosts: &mut HashMap<Box<str>, u32>, host: Option<&str>) {
    let Some(host) = host else {
        return;
    };
    match hosts.get_mut(host) {
        Some(keys) => *keys += 1,
        None => {
            hosts.insert(host.into(), 1);
        }
    }
}

fn release(hosts: &mut HashMap<Box<str>, u32>, host: Option<&str>) {
    let Some(host) = host else {
        return;
    };
    match hosts.get_mut(host) {
        Some(keys) if *keys > 1 => *keys -= 1,
        _ => {
            hosts.remove(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, blocks: u32, is_rendering: bool) -> KeyEntry {
        let dir = tempfile::tempdir().unwrap();
        let sidecar = crate::fsops::Fs::default().stat(dir.path()).unwrap();
        KeyEntry::of(None, &Key::from_text(key), &[], key, Life::stored(7)).with_variant(VariantEntry {
            id: None,
            digest: 0,
            generated: Generated::At(7),
            sidecar,
            blocks,
            is_rendering,
        })
    }

    #[test]
    fn sums_and_hosts_follow_every_change() {
        let index = Index::default();
        let used = |renderings, blocks| Used { renderings, blocks };
        let (a, b) = ("GET:/a\nhost 1:x", "GET:/b\nhost 1:x");
        index.insert(entry(a, 2, true));
        index.insert(entry(a, 5, true));
        assert_eq!(index.used(), used(1, 5), "replaced, not added");
        index.insert(entry(b, 3, false));
        assert_eq!(
            index.used(),
            used(1, 8),
            "a placeholder takes room and is no page"
        );
        assert!(index.has_host_room("x", 1) && !index.has_host_room("y", 1));
        let held = index.hold_host("x", 1);
        index.remove(Key::from_text(a).hash.short());
        index.remove(Key::from_text(a).hash.short());
        index.remove(Key::from_text(b).hash.short());
        assert_eq!(index.used(), Used::default());
        assert!(!index.has_host_room("y", 1), "its place is held");
        drop(held);
        assert!(index.has_host_room("y", 1));
    }

    #[test]
    fn use_survives_the_entry() {
        let index = Index::default();
        let key = Key::from_text("GET:/a");
        index.insert(entry("GET:/a", 1, true));
        let get = || index.get(&key.hash).unwrap();
        assert_eq!(get().life.used_at(), 0, "stored is not used");
        let before = get();
        before.life.touch(100);
        index.insert(entry("GET:/a", 2, true));
        assert_eq!(get().life.used_at(), 100);
        assert_eq!(get().life.number(), before.life.number());
    }
}
