//! Lookups and the index: what was found on disk is entered, what is not there is struck out.

use std::sync::Arc;

use http::HeaderName;

use crate::head::{Generated, VariantId};
use crate::key::Key;
use crate::pattern::Subject;

use super::Store;
use super::forms::Coded;
use super::found::Snapshot;
use super::index::{KeyEntry, VariantEntry};
use super::layout::Stem;
use super::ledger::{Fate, Ledger};
use super::life::{Life, last_cared};
use super::read::Lookup;
use super::usage::blocks;

/// What invalidations leave of what was found.
enum Left {
    All,
    Stale,
    Nothing,
}

fn left_of(ledger: &Ledger, key: &Key, snapshot: &Snapshot, epoch: u64) -> Left {
    let subject = Subject {
        line: key.line(),
        own: Some(&snapshot.own),
        tags: &snapshot.rendering.head.tags,
    };
    if ledger.is_overtaken(epoch, subject) {
        return Left::Nothing;
    }
    match ledger.fate(subject, snapshot.sidecar.changed_at()) {
        Some(Fate::Delete) => Left::Nothing,
        Some(Fate::Stale) => Left::Stale,
        None => Left::All,
    }
}

fn entry_of(snapshot: &Snapshot, id: Option<VariantId>, generated: Generated) -> VariantEntry {
    let body = snapshot.body.as_ref().map_or(0, |body| blocks(body.id.size()));
    VariantEntry {
        id,
        digest: snapshot.variant.digest(),
        generated,
        sidecar: snapshot.stamp,
        blocks: blocks(snapshot.sidecar.size()).saturating_add(body),
        coded: Coded {
            seal: snapshot.sealed().map_or(0, |(seal, _)| seal.first_bits()),
            ..Coded::default()
        },
        rendering: Some(snapshot.rendering.origin),
    }
}

impl Store {
    /// Enters what was found on disk in the index, unless it was invalidated meanwhile.
    pub(super) fn adopt(
        &self,
        key: &Key,
        id: Option<VariantId>,
        names: &Arc<[HeaderName]>,
        snapshot: Snapshot,
        generated: Generated,
        epoch: u64,
    ) -> Lookup {
        // A commit puts its files in place before it is known to stand: under the key's lock it has been
        // decided, and what was taken back is gone.
        let _stripe = self.stripe(key.hash.short());
        let place = self.root.join(Stem::of(key).sidecar(id));
        if self.fs.stat(&place).ok() != Some(snapshot.sidecar) {
            return Lookup::Nothing;
        }
        let ledger = self.ledger();
        let known = self.index.get(key);
        let standing = known
            .as_ref()
            .and_then(|entry| entry.variant(id))
            .filter(|variant| variant.sidecar == snapshot.stamp);
        let generated = match standing {
            // The running process keeps the clock.
            Some(variant) => variant.generated,
            None => match left_of(&ledger, key, &snapshot, epoch) {
                Left::Nothing => return Lookup::Nothing,
                Left::Stale => Generated::Invalidated,
                Left::All => generated,
            },
        };
        let variant = entry_of(&snapshot, id, generated);
        if standing.is_none() {
            let life = Life::found(last_cared(generated, &snapshot.sidecar));
            let entry = KeyEntry::of(known.as_deref(), key, names, &snapshot.own, life);
            let parts = snapshot.rendering.parts(&key.text);
            self.index.insert(entry.with_variant(variant, parts));
        }
        if let Some(entry) = self.index.get(key)
            && let Some(known) = entry
                .variant(id)
                .filter(|known| known.coded.seal == variant.coded.seal)
        {
            snapshot.forms.set(known.coded.forms);
        }
        let snapshot = Arc::new(snapshot);
        let gone = self.remember(&key.hash, id, &snapshot);
        drop(ledger);
        for other in gone {
            self.hot.release(&other);
        }
        Lookup::Found(snapshot, generated)
    }

    /// A rendering that the index knows and that cannot be read is none.
    pub(super) fn disown(&self, key: &Key, id: Option<VariantId>, known: Option<&KeyEntry>) {
        let Some(wrong) = known.and_then(|entry| entry.variant(id)) else {
            return;
        };
        let _ledger = self.ledger();
        let Some(entry) = self.index.get(key) else {
            return;
        };
        if entry.variant(id) == Some(wrong) && wrong.rendering.is_some() {
            match (*entry).clone().without_variant(id) {
                Some(rest) => self.index.insert(rest),
                None => self.index.remove(key.hash.short()),
            }
            self.forget(&key.hash, id);
        }
    }
}
