//! Parsed and checked heads in memory, by key and variant, and the bodies that are held for them (`hot`): both go
//! together, so that what is gone takes no memory.

use std::sync::Arc;

use http::HeaderMap;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::head::VariantId;
use crate::key::KeyHash;

use super::Store;
use super::found::{BodyFile, Snapshot};

type Name = (KeyHash, Option<VariantId>);

/// Heads take so much, and half of what bodies may: a body whose head is not here is read to be checked, so that
/// there have to be heads for all that are held.
const LEAST: u64 = 40 << 20;
/// What a head takes beside its text: the table of fields, and its place here.
const BASE: usize = size_of::<Snapshot>() + size_of::<BodyFile>() + 400;
/// What a field takes beside its text.
const FIELD: usize = 176;

struct Head {
    snapshot: Arc<Snapshot>,
    weight: u64,
}

impl Clone for Head {
    fn clone(&self) -> Self {
        Self {
            snapshot: Arc::clone(&self.snapshot),
            weight: self.weight,
        }
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Name, Head> for Weight {
    fn weight(&self, _: &Name, head: &Head) -> u64 {
        head.weight
    }
}

/// Collects what had to make room.
#[derive(Clone)]
struct Collect;

impl Lifecycle<Name, Head> for Collect {
    type RequestState = Vec<Arc<Snapshot>>;

    fn on_evict(&self, gone: &mut Self::RequestState, _: Name, head: Head) {
        gone.push(head.snapshot);
    }
}

/// See the module.
pub(super) struct Parsed {
    heads: Option<Cache<Name, Head, Weight, DefaultHashBuilder, Collect>>,
}

impl Parsed {
    /// For bodies of so many bytes.
    pub(super) fn beside(memory_bytes: u64) -> Self {
        let limit = LEAST.max(memory_bytes / 2);
        let options = OptionsBuilder::new()
            .weight_capacity(limit)
            .estimated_items_capacity(usize::try_from(limit / 2048).unwrap_or(usize::MAX).min(1 << 20))
            // A share is larger than any head.
            .shards(8)
            .build();
        Self {
            heads: options
                .ok()
                .map(|options| Cache::with_options(options, Weight, DefaultHashBuilder::default(), Collect)),
        }
    }

    pub(super) fn get(&self, hash: &KeyHash, id: Option<VariantId>) -> Option<Arc<Snapshot>> {
        Some(self.heads.as_ref()?.get(&(*hash, id))?.snapshot)
    }

    /// Enters a head; which ones are none any more.
    fn insert(&self, name: Name, snapshot: &Arc<Snapshot>) -> Vec<Arc<Snapshot>> {
        let mut gone = Vec::new();
        if let Some(heads) = &self.heads {
            let old = heads.peek(&name).map(|old| old.snapshot);
            gone.extend(old.filter(|old| seal(old) != seal(snapshot)));
            let head = Head {
                snapshot: Arc::clone(snapshot),
                weight: weight(snapshot) as u64,
            };
            heads.insert_with_lifecycle(name, head, &mut gone);
        }
        gone
    }

    fn remove(&self, name: &Name) -> Option<Arc<Snapshot>> {
        let heads = self.heads.as_ref()?;
        // Most of what is invalidated in one go is not here, and readers do not wait for one who only looks.
        match heads.contains_key(name) {
            true => Some(heads.remove(name)?.1.snapshot),
            false => None,
        }
    }
}

impl Store {
    /// Keeps the head of a snapshot for the next lookup. The caller has the key's stripe, and the ledger, so that no
    /// invalidation passes it on the way. What it returns is to be [released](super::hot::Hot::release) without it.
    #[must_use]
    pub(super) fn remember(
        &self,
        hash: &KeyHash,
        id: Option<VariantId>,
        snapshot: &Arc<Snapshot>,
    ) -> Vec<Arc<Snapshot>> {
        self.parsed.insert((*hash, id), snapshot)
    }

    /// Drops from memory what is known of a rendering: its head, and in every coding its bytes.
    pub(super) fn forget(&self, hash: &KeyHash, id: Option<VariantId>) {
        if let Some(snapshot) = self.parsed.remove(&(*hash, id)) {
            self.hot.release(&snapshot);
        }
    }
}

fn seal(snapshot: &Snapshot) -> Option<crate::head::Seal> {
    snapshot.body.as_ref().map(|body| body.piece.seal)
}

/// What a head takes, about.
fn weight(snapshot: &Snapshot) -> usize {
    let texts = |headers: &HeaderMap| -> usize {
        let fields = headers.iter();
        fields
            .map(|(name, value)| FIELD + name.as_str().len() + value.len())
            .sum()
    };
    let path = snapshot
        .body
        .as_ref()
        .map_or(0, |body| body.path.as_os_str().len());
    let assets = snapshot.rendering.body.iter().flat_map(|body| body.assets.iter());
    let variant = snapshot.variant.0.iter();
    BASE + snapshot.own.len()
        + path
        + assets.map(|path| 32 + path.len()).sum::<usize>()
        + texts(&snapshot.rendering.head.headers)
        + variant
            .map(|(name, value)| 64 + name.as_str().len() + value.as_ref().map_or(0, |value| value.len()))
            .sum::<usize>()
}
