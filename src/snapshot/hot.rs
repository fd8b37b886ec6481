//! Bodies in memory, in front of the files.
//!
//! Named by their seal, so that it is never a question which bytes they are: what is served is what a lookup
//! finds, and this only says where to get it without a file.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::coding::Coding;
use crate::head::Seal;

/// The bytes of a body, as they are or coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Piece {
    pub(crate) seal: Seal,
    pub(crate) coding: Option<Coding>,
}

/// What an entry takes beside its bytes.
const OVERHEAD: u64 = 128;
/// A larger body is not held.
const LARGEST: u64 = 1 << 20;
/// An entry that is larger than a shard's share would be dropped.
const SHARD: u64 = 4 * LARGEST;

#[derive(Clone)]
struct Weight;

impl Weighter<Piece, Bytes> for Weight {
    fn weight(&self, _: &Piece, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

/// See the module.
pub(crate) struct Hot {
    bodies: Option<Cache<Piece, Bytes, Weight>>,
    largest: u64,
}

impl Hot {
    /// At most so many bytes; with zero nothing is held.
    pub(crate) fn new(limit: u64) -> Self {
        let shards = usize::try_from(limit / SHARD).unwrap_or(usize::MAX).clamp(1, 16);
        let items = usize::try_from(limit / 8192)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        let options = quick_cache::OptionsBuilder::new()
            .weight_capacity(limit)
            .estimated_items_capacity(items)
            .shards(shards)
            .build();
        Self {
            bodies: options.ok().filter(|_| limit > 0).map(|options| {
                Cache::with_options(
                    options,
                    Weight,
                    quick_cache::DefaultHashBuilder::default(),
                    quick_cache::sync::DefaultLifecycle::default(),
                )
            }),
            largest: LARGEST.min(limit / 2),
        }
    }

    pub(crate) fn get(&self, piece: &Piece) -> Option<Bytes> {
        self.bodies.as_ref()?.get(piece)
    }

    /// Whether a body of so many bytes would be held.
    pub(crate) fn takes(&self, length: u64) -> bool {
        self.bodies.is_some() && length <= self.largest
    }

    pub(crate) fn insert(&self, piece: Piece, bytes: &Bytes) {
        if let Some(bodies) = self.bodies.as_ref().filter(|_| self.takes(bytes.len() as u64)) {
            bodies.insert(piece, bytes.clone());
        }
    }

    pub(crate) fn remove(&self, piece: &Piece) {
        if let Some(bodies) = &self.bodies {
            bodies.remove(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(name: &[u8]) -> Piece {
        Piece {
            seal: Seal::of(name),
            coding: None,
        }
    }

    #[test]
    fn bodies_are_held_up_to_the_limit() {
        let hot = Hot::new(8 << 20);
        let bytes = Bytes::from(vec![7; 1 << 20]);
        for n in 0..64_u8 {
            hot.insert(piece(&[n]), &bytes);
        }
        let held = (0..64_u8).filter(|n| hot.get(&piece(&[*n])).is_some()).count();
        assert!((1..=8).contains(&held), "{held}");
        hot.insert(piece(b"larger"), &Bytes::from(vec![7; (1 << 20) + 1]));
        assert!(hot.get(&piece(b"larger")).is_none());
    }

    #[test]
    fn nothing_is_held_where_the_limit_is_zero() {
        let hot = Hot::new(0);
        hot.insert(piece(b"a"), &Bytes::from_static(b"a"));
        assert!(hot.get(&piece(b"a")).is_none() && !hot.takes(1));
    }

    #[test]
    fn what_is_removed_is_gone() {
        let hot = Hot::new(1 << 20);
        hot.insert(piece(b"a"), &Bytes::from_static(b"a"));
        assert!(hot.get(&piece(b"a")).is_some());
        hot.remove(&piece(b"a"));
        assert!(hot.get(&piece(b"a")).is_none());
    }
}
