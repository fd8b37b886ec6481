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
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::key::Key;
use crate::pattern::Subject;

pub(crate) use super::entry::{KeyEntry, VariantEntry, sorted};
#[cfg(feature = "watch")]
use super::folders::FolderId;
use super::folders::Folders;
use super::forms::Orphan;
use super::layout::Stem;
use super::lock;
use super::usage::Used;

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
    /// Coded forms that went with their rendering, whose files are still there.
    orphans: Vec<Orphan>,
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
        let short = entry.short();
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
        if let Some(old) = old {
            places.orphans.extend(Orphan::between(old, Some(&entry)));
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
        places.orphans.extend(Orphan::between(old, None));
        self.count(Used::default(), old.used());
        Some(Arc::clone(old))
    }

    pub(crate) fn remove(&self, short: u64) {
        let mut places = lock(&self.places);
        if let Some(old) = self.keys.pin().remove(&short) {
            places.leave(old);
            places.orphans.extend(Orphan::between(old, None));
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

    /// Coded forms that are nobody's, so many at most; whether those were all.
    pub(crate) fn take_orphans(&self, most: usize) -> (Vec<Orphan>, bool) {
        let orphans = &mut lock(&self.places).orphans;
        let taken = orphans.split_off(orphans.len().saturating_sub(most));
        (taken, orphans.is_empty())
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
    use super::super::forms::{Coded, FormSets};
    use super::*;
    use crate::coding::{Coding, Codings};
    use crate::head::RenderingOrigin;
    use crate::snapshot::life::Life;

    const BACKEND: Option<RenderingOrigin> = Some(RenderingOrigin::Backend);

    fn entry(key: &str, blocks: u32, rendering: Option<RenderingOrigin>) -> KeyEntry {
        KeyEntry::of(None, &Key::from_text(key), &[], key, Life::stored(7)).with_variant(
            VariantEntry {
                blocks,
                rendering,
                ..VariantEntry::nowhere()
            },
            Box::default(),
        )
    }

    #[test]
    fn sums_and_hosts_follow_every_change() {
        let index = Index::default();
        let used = |renderings, blocks| Used { renderings, blocks };
        let (a, b) = ("GET:/a\nhost 1:x", "GET:/b\nhost 1:x");
        index.insert(entry(a, 2, BACKEND));
        index.insert(entry(a, 5, BACKEND));
        assert_eq!(index.used(), used(1, 5), "replaced, not added");
        index.insert(entry(b, 3, None));
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
    fn forms_that_are_nobodys_are_taken_some_at_a_time() {
        let index = Index::default();
        let coded = Coded {
            seal: 1,
            blocks: 1,
            forms: FormSets {
                ready: Codings::default().with(Coding::Gzip),
                ..FormSets::default()
            },
        };
        for n in 0..5 {
            let key = format!("GET:/{n}");
            index.insert(entry(&key, 1, BACKEND).with_coded(None, coded));
            index.remove(Key::from_text(&*key).hash.short());
        }
        let take = || {
            let (taken, are_all) = index.take_orphans(2);
            (taken.len(), are_all)
        };
        assert_eq!([take(), take(), take()], [(2, false), (2, false), (1, true)]);
        assert_eq!(take(), (0, true));
    }

    #[test]
    fn use_survives_the_entry() {
        let index = Index::default();
        let key = Key::from_text("GET:/a");
        index.insert(entry("GET:/a", 1, BACKEND));
        let get = || index.get(&key).unwrap();
        assert_eq!(get().life.used_at(), 0, "stored is not used");
        let before = get();
        before.life.touch(100);
        index.insert(entry("GET:/a", 2, BACKEND));
        assert_eq!(get().life.used_at(), 100);
        assert_eq!(get().life.number(), before.life.number());
    }
}
