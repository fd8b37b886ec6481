//! What is stored, by key: for patterns, for variants, and to tell our own changes from others'.
//!
//! Disposable: everything in it is rebuilt from the sidecars. It is keyed by the first 64 bits of the
//! hash, as the file names are; who reads an entry compares the whole hash.
//!
//! It knows how much there is, without counting: changes go through one lock, in which sums and hosts
//! follow the map. A lookup takes none.

use std::collections::HashMap;
#[cfg(feature = "watch")]
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderName;

use crate::coding::Codings;
use crate::fsops::FileStamp;
use crate::head::{Generated, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::Subject;

use super::folders::{FolderId, Folders};
use super::layout::Stem;
use super::life::Life;
use super::lock;
use super::usage::Used;

/// A key and its variants. Replaced as a whole, never changed. There may be a million: what few keys have is
/// apart (`Rest`), and what can be told from the text is not kept.
#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    /// The whole key text.
    pub(crate) key: Box<str>,
    /// Where its files are.
    folder: FolderId,
    pub(crate) life: Life,
    /// Nothing only while it is being made.
    first: Option<Packed>,
    rest: Option<Box<Rest>>,
}

/// What few keys have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest {
    /// `METHOD:/path?query` where it is not the key's line 1.
    own: Option<Box<str>>,
    /// The fields that select among the variants, sorted.
    names: Arc<[HeaderName]>,
    /// The variants but for the first.
    variants: Vec<Packed>,
}

/// One rendering on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariantEntry {
    pub(crate) id: Option<VariantId>,
    /// [`VariantKey::digest`](crate::head::VariantKey::digest): `id` is short enough to be forged.
    pub(crate) digest: u64,
    pub(crate) generated: Generated,
    pub(crate) sidecar: FileStamp,
    /// What body and sidecar take on disk, in blocks of 4 KiB.
    pub(crate) blocks: u32,
    /// The codings in which its body is ready (`derived`).
    pub(crate) coded: Codings,
    /// False for the placeholder that only lists the names.
    pub(crate) is_rendering: bool,
}

/// The same, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed {
    sidecar: FileStamp,
    digest: u64,
    /// Seconds since 1970, or one of two that are later than any.
    generated: u64,
    blocks: u32,
    coded: Codings,
    /// The id itself is the digest's beginning.
    has_id: bool,
    is_rendering: bool,
}

impl Packed {
    const UNMARKED: u64 = u64::MAX;
    const INVALIDATED: u64 = u64::MAX - 1;

    fn of(variant: VariantEntry) -> Self {
        Self {
            sidecar: variant.sidecar,
            digest: variant.digest,
            generated: match variant.generated {
                Generated::At(seconds) => seconds.min(Self::INVALIDATED - 1),
                Generated::Unmarked => Self::UNMARKED,
                Generated::Invalidated => Self::INVALIDATED,
            },
            blocks: variant.blocks,
            coded: variant.coded,
            has_id: variant.id.is_some(),
            is_rendering: variant.is_rendering,
        }
    }

    fn id(self) -> Option<VariantId> {
        self.has_id.then(|| VariantId::of_digest(self.digest))
    }

    fn entry(self) -> VariantEntry {
        VariantEntry {
            id: self.id(),
            digest: self.digest,
            generated: match self.generated {
                Self::UNMARKED => Generated::Unmarked,
                Self::INVALIDATED => Generated::Invalidated,
                seconds => Generated::At(seconds),
            },
            sidecar: self.sidecar,
            blocks: self.blocks,
            coded: self.coded,
            is_rendering: self.is_rendering,
        }
    }
}

impl KeyEntry {
    /// What the index knows of `key`, whose variants are selected by `names` from now on: a name more changes
    /// nothing for those that were made without it. `own` is the snapshot's own line; `life` is a new
    /// entry's.
    pub(crate) fn of(known: Option<&Self>, key: &Key, names: &[HeaderName], own: &str, life: Life) -> Self {
        match known {
            Some(entry) => {
                let mut entry = entry.clone();
                entry.life.raise(&life);
                if *entry.names() != *names {
                    entry.change_rest(|rest| rest.names = names.into());
                }
                entry
            }
            None => Self::new(key, Stem::of(key).folder(), names, own, life),
        }
    }

    /// Of a key that is not known, whose files are in `folder`.
    pub(super) fn new(key: &Key, folder: &Path, names: &[HeaderName], own: &str, life: Life) -> Self {
        let mut entry = Self {
            key: key.text.clone(),
            folder: FolderId::of(folder),
            life,
            first: None,
            rest: None,
        };
        if key.line() != own {
            entry.change_rest(|rest| rest.own = Some(own.into()));
        }
        if !names.is_empty() {
            entry.change_rest(|rest| rest.names = names.into());
        }
        entry
    }

    /// What is nothing takes no room.
    fn change_rest(&mut self, change: impl FnOnce(&mut Rest)) {
        let mut rest = self.rest.take().unwrap_or_default();
        change(&mut rest);
        self.rest = (*rest != Rest::default()).then_some(rest);
    }

    /// `METHOD:/path?query` where it is not the key's line 1.
    pub(crate) fn own(&self) -> Option<&str> {
        self.rest.as_ref()?.own.as_deref()
    }

    /// The fields that select among the variants, sorted.
    pub(crate) fn names(&self) -> &[HeaderName] {
        self.rest.as_ref().map_or(&[], |rest| &rest.names)
    }

    /// The same, to keep.
    pub(crate) fn shared_names(&self) -> Arc<[HeaderName]> {
        // Without names nothing is allocated.
        self.rest
            .as_ref()
            .map_or_else(Arc::default, |rest| Arc::clone(&rest.names))
    }

    /// The fields that select among the key's variants, once a sidecar that names `names` was found for `id`:
    /// the base lists them all, a variant those that were known when it was made.
    pub(crate) fn names_with(&self, id: Option<VariantId>, names: Vec<HeaderName>) -> Vec<HeaderName> {
        if id.is_none() {
            return names;
        }
        if self.variant(None).is_some() {
            return self.names().to_vec();
        }
        sorted(self.names().iter().cloned().chain(names))
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            line: crate::key::line_of(&self.key),
            own: self.own(),
        }
    }

    fn packed(&self) -> impl Iterator<Item = &Packed> {
        let others = self.rest.as_ref().map_or(&[][..], |rest| &rest.variants);
        self.first.iter().chain(others)
    }

    pub(crate) fn variants(&self) -> impl Iterator<Item = VariantEntry> {
        self.packed().map(|packed| packed.entry())
    }

    pub(crate) fn variant(&self, id: Option<VariantId>) -> Option<VariantEntry> {
        self.packed()
            .find(|packed| packed.id() == id)
            .map(|packed| packed.entry())
    }

    pub(crate) fn with_variant(mut self, entry: VariantEntry) -> Self {
        let packed = Packed::of(entry);
        if self.first.is_none_or(|first| first.id() == packed.id()) {
            self.first = Some(packed);
            return self;
        }
        self.change_rest(|rest| {
            rest.variants.retain(|variant| variant.id() != packed.id());
            rest.variants.reserve_exact(1);
            rest.variants.push(packed);
        });
        self
    }

    /// Without one variant; nothing when it was the last rendering.
    pub(crate) fn without_variant(mut self, id: Option<VariantId>) -> Option<Self> {
        self.change_rest(|rest| rest.variants.retain(|variant| variant.id() != id));
        if self.first.is_some_and(|first| first.id() == id) {
            let mut next = None;
            self.change_rest(|rest| next = rest.variants.pop());
            self.first = next;
        }
        match self.renderings() {
            0 => None,
            _ => Some(self),
        }
    }

    /// To be validated, all of it.
    pub(crate) fn invalidated(mut self) -> Self {
        let mark = |packed: &mut Packed| packed.generated = Packed::INVALIDATED;
        self.first.iter_mut().for_each(mark);
        if let Some(rest) = &mut self.rest {
            rest.variants.iter_mut().for_each(mark);
        }
        self
    }

    pub(crate) fn renderings(&self) -> usize {
        self.packed().filter(|variant| variant.is_rendering).count()
    }

    /// How many renderings there are beside the one without any of the fields.
    pub(crate) fn with_fields(&self) -> usize {
        self.packed()
            .filter(|variant| variant.is_rendering && variant.has_id)
            .count()
    }

    pub(crate) fn used(&self) -> Used {
        Used {
            renderings: self.renderings() as u64,
            blocks: self.packed().map(|variant| u64::from(variant.blocks)).sum(),
        }
    }

    /// The host that the key names, while no `public_url` makes it the same for all.
    pub(crate) fn host(&self) -> Option<&str> {
        crate::key::part_of(&self.key, "host")
    }
}

/// Names in their one order.
pub(crate) fn sorted(names: impl IntoIterator<Item = HeaderName>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = names.into_iter().collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// The map.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: papaya::HashMap<u64, Arc<KeyEntry>>,
    /// Held during every change of the map, so that what follows it stays true to it.
    places: Mutex<Places>,
    renderings: AtomicU64,
    blocks: AtomicU64,
    /// Of the last key that was new.
    number: AtomicU32,
}

/// Where the keys are.
#[derive(Debug, Default)]
struct Places {
    /// How many keys each host has.
    hosts: HashMap<Box<str>, u32>,
    folders: Folders,
}

impl Places {
    fn enter(&mut self, entry: &KeyEntry) {
        hold(&mut self.hosts, entry.host());
        let path = || Stem::of(&Key::from_text(&*entry.key)).folder().to_owned();
        self.folders.hold(entry.folder, path);
    }

    fn leave(&mut self, entry: &KeyEntry) {
        release(&mut self.hosts, entry.host());
        self.folders.release(entry.folder);
    }
}

impl Index {
    /// The entry of this very key.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<KeyEntry>> {
        self.get_short(key.hash.short())
            .filter(|entry| entry.key == key.text)
    }

    /// The entry under a file name's hash.
    pub(crate) fn get_short(&self, short: u64) -> Option<Arc<KeyEntry>> {
        self.keys.pin().get(&short).cloned()
    }

    pub(crate) fn insert(&self, mut entry: KeyEntry) {
        let short = KeyHash::of(&entry.key).short();
        let mut places = lock(&self.places);
        let keys = self.keys.pin();
        let old = keys.get(&short);
        match old {
            Some(old) if old.key == entry.key => entry.life.inherit(&old.life),
            _ => {
                entry.life.number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
                places.enter(&entry);
                if let Some(old) = old {
                    places.leave(old);
                }
            }
        }
        let (before, after) = (old.map(|old| old.used()), entry.used());
        keys.insert(short, Arc::new(entry));
        self.count(after, before.unwrap_or_default());
    }

    /// Takes out the entry of this very text.
    pub(crate) fn take(&self, short: u64, text: &str) -> Option<Arc<KeyEntry>> {
        let mut places = lock(&self.places);
        let keys = self.keys.pin();
        keys.get(&short).filter(|entry| *entry.key == *text)?;
        let old = keys.remove(&short)?;
        places.leave(old);
        self.count(Used::default(), old.used());
        Some(Arc::clone(old))
    }

    pub(crate) fn remove(&self, short: u64) {
        let mut places = lock(&self.places);
        if let Some(old) = self.keys.pin().remove(&short) {
            places.leave(old);
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

    /// How many folders the keys are in.
    pub(crate) fn folders(&self) -> usize {
        lock(&self.places).folders.count()
    }

    /// The keys in these folders and below them.
    #[cfg(feature = "watch")]
    pub(crate) fn below(&self, folders: &HashSet<FolderId>) -> Vec<Arc<KeyEntry>> {
        let folders = lock(&self.places).folders.below(folders);
        if folders.is_empty() {
            return Vec::new();
        }
        let keys = self.keys.pin();
        let is_in = |entry: &&Arc<KeyEntry>| folders.contains(&entry.folder);
        keys.values().filter(is_in).cloned().collect()
    }

    /// Whether pages of `host` may be stored, where those of `most` hosts may.
    pub(crate) fn has_host_room(&self, host: &str, most: usize) -> bool {
        let hosts = &lock(&self.places).hosts;
        hosts.contains_key(host) || hosts.len() < most
    }

    /// Keeps a place for `host` until its key is in.
    pub(crate) fn hold_host(&self, host: &str, most: usize) -> Option<HostHold<'_>> {
        let hosts = &mut lock(&self.places).hosts;
        if !hosts.contains_key(host) && hosts.len() >= most {
            return None;
        }
        hold(hosts, Some(host));
        Some(HostHold {
            index: self,
            host: host.into(),
        })
    }

    /// Runs `look` over all entries, without a lock.
    pub(crate) fn for_each(&self, mut look: impl FnMut(u64, &KeyEntry)) {
        for (short, entry) in &self.keys.pin() {
            look(*short, entry);
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
        release(&mut lock(&self.index.places).hosts, Some(&self.host));
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
        let sidecar = crate::fsops::Fs::default().stat(dir.path()).unwrap().stamp();
        KeyEntry::of(None, &Key::from_text(key), &[], key, Life::stored(7)).with_variant(VariantEntry {
            id: None,
            digest: 0,
            generated: Generated::At(7),
            sidecar,
            blocks,
            coded: Codings::default(),
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
        let get = || index.get(&key).unwrap();
        assert_eq!(get().life.used_at(), 0, "stored is not used");
        let before = get();
        before.life.touch(100);
        index.insert(entry("GET:/a", 2, true));
        assert_eq!(get().life.used_at(), 100);
        assert_eq!(get().life.number(), before.life.number());
    }

    #[test]
    fn an_entry_is_small_and_what_is_packed_comes_out_as_it_was() {
        assert!(size_of::<KeyEntry>() <= 88, "{}", size_of::<KeyEntry>());
        let variant = entry("GET:/a", 7, true).variant(None).unwrap();
        let digest = 0x5c0d_11aa_0000_0007;
        for generated in [Generated::At(7), Generated::Unmarked, Generated::Invalidated] {
            for id in [None, Some(VariantId(0x5c0d_11aa))] {
                for is_rendering in [true, false] {
                    let variant = VariantEntry {
                        id,
                        digest,
                        generated,
                        is_rendering,
                        coded: Codings::default().with(crate::coding::Coding::Zstd),
                        ..variant
                    };
                    assert_eq!(Packed::of(variant).entry(), variant);
                }
            }
        }
    }

    #[test]
    fn variants_come_and_go() {
        let base = entry("GET:/a", 1, false);
        let page = base.variant(None).unwrap();
        let variant = |n: u32, blocks| VariantEntry {
            id: Some(VariantId(n)),
            digest: u64::from(n) << 32,
            blocks,
            is_rendering: true,
            ..page
        };
        let ids = |entry: &KeyEntry| {
            let mut ids: Vec<_> = entry
                .variants()
                .map(|variant| (variant.id, variant.blocks))
                .collect();
            ids.sort();
            ids
        };
        let entry = base
            .with_variant(variant(1, 2))
            .with_variant(variant(2, 3))
            .with_variant(variant(1, 4));
        let [one, two] = [1, 2].map(|n| Some(VariantId(n)));
        assert_eq!(ids(&entry), [(None, 1), (one, 4), (two, 3)]);
        assert_eq!(
            (entry.renderings(), entry.with_fields(), entry.used().blocks),
            (2, 2, 8)
        );
        assert!(
            entry
                .clone()
                .invalidated()
                .variants()
                .all(|variant| variant.generated == Generated::Invalidated)
        );

        let entry = entry.without_variant(None).unwrap();
        assert_eq!(ids(&entry), [(one, 4), (two, 3)]);
        let entry = entry.without_variant(two).unwrap();
        assert_eq!(ids(&entry), [(one, 4)]);
        assert!(entry.rest.is_none(), "nothing is left apart");
        assert!(entry.without_variant(one).is_none());
    }
}
