//! Bodies in memory, in front of the files.
//!
//! Named by their seal, so that it is never a question which bytes they are: what is served is what a lookup
//! finds, and this only says where to get it without a file. What is held belongs to a parsed head; it goes with
//! it (`parsed`).
//!
//! Who reads slowly keeps bytes that are held here no more. So all that was read whole is counted, for as long as
//! anybody has it in hand, and what comes of a short body that is being filled; beyond the limit and an allowance
//! bodies are streamed from their files.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::coding::Coding;
use crate::head::Seal;

use super::budget::{Budget, Room};
use super::found::{BodyFile, Snapshot};

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
/// A body of so many bytes is read in one go, where it is not to be held.
const SMALL: u64 = 256 << 10;
/// Bytes that are in hand and not held, while they are sent.
const ALLOWANCE: u64 = 32 << 20;

/// What all together that stream from files may have in their buffers, beside the least that each must have.
const STREAMS: u64 = 32 << 20;
/// A stream has so many copies of a piece: one in the file's own buffer, one read from there, one being sent.
const COPIES: u64 = 3;
const LEAST_CHUNK: u64 = 16 << 10;
const MOST_CHUNK: u64 = 256 << 10;

#[derive(Clone)]
struct Weight;

impl Weighter<Piece, Bytes> for Weight {
    fn weight(&self, _: &Piece, bytes: &Bytes) -> u64 {
        taken(bytes.len() as u64)
    }
}

/// What a body takes in memory: allocators have four sizes to a doubling, and give the next larger one.
fn taken(length: u64) -> u64 {
    /// Below this a size is as good as another.
    const FINEST: u64 = 16;
    // A quarter of the power of two that it is below.
    let step = length.checked_next_power_of_two().unwrap_or(u64::MAX) / 8;
    length
        .checked_next_multiple_of(step.max(FINEST))
        .unwrap_or(length)
        .saturating_add(OVERHEAD)
}

/// See the module.
pub(crate) struct Hot {
    bodies: Option<Cache<Piece, Bytes, Weight>>,
    largest: u64,
    in_hand: Budget,
    streams: Budget,
}

/// Bytes, and the room that they take.
struct Counted(
    Vec<u8>,
    #[expect(dead_code, reason = "given back when it is dropped")] Room,
);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
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
            in_hand: Budget::new(limit.saturating_add(ALLOWANCE)),
            streams: Budget::new(STREAMS),
        }
    }

    pub(crate) fn get(&self, piece: &Piece) -> Option<Bytes> {
        self.bodies.as_ref()?.get(piece)
    }

    /// Whether a body of so many bytes would be held.
    fn takes(&self, length: u64) -> bool {
        self.bodies.is_some() && length <= self.largest
    }

    /// Room to read a body of so many bytes in one go; nothing if it is to be streamed.
    pub(crate) fn room(&self, length: u64) -> Option<Room> {
        match length <= SMALL || self.takes(length) {
            true => self.in_hand.take(taken(length)),
            false => None,
        }
    }

    /// Room to stream in, and in pieces of how many bytes.
    pub(crate) fn stream_room(&self) -> (usize, Room) {
        let room = self.streams.take_share(COPIES * LEAST_CHUNK, COPIES * MOST_CHUNK);
        // In whole pages, of which the least has some.
        let chunk = (room.bytes() / COPIES) & !0xfff;
        (usize::try_from(chunk).unwrap_or(0x4000), room)
    }

    /// All of a body, read at once where the kernel has it in memory and else in one job, and held from then on if it
    /// may be; nothing if its file is another by now.
    pub(crate) async fn load(self: &Arc<Self>, body: &Arc<BodyFile>, room: Room) -> Option<Bytes> {
        // To another thread and back is several times what reading it takes.
        if body.id.size() <= SMALL
            && let Some(bytes) = body.read_now()
        {
            return self.accept(body, bytes, room);
        }
        let (hot, body) = (Arc::clone(self), Arc::clone(body));
        let load = move || hot.accept(&body, body.read()?, room);
        tokio::task::spawn_blocking(load).await.ok().flatten()
    }

    fn accept(&self, body: &BodyFile, bytes: Vec<u8>, room: Room) -> Option<Bytes> {
        let is_held = self.takes(bytes.len() as u64);
        // What is served from memory for hours has to be right, however coarse the file's times are.
        if is_held && body.piece.coding.is_none() && Seal::of(&bytes) != body.piece.seal {
            return None;
        }
        let bytes = Bytes::from_owner(Counted(bytes, room));
        if is_held {
            self.hold(body, &bytes);
        }
        Some(bytes)
    }

    fn hold(&self, body: &BodyFile, bytes: &Bytes) {
        let Some(bodies) = &self.bodies else {
            return;
        };
        bodies.insert(body.piece, bytes.clone());
        // Dropped while it was being read: then either this sees it, or who dropped it found the bytes here.
        if body.is_retired() {
            bodies.remove(&body.piece);
        }
    }

    /// Holds bytes that are in no file, if they may be held.
    pub(super) fn hold_made(&self, piece: Piece, bytes: Vec<u8>) -> bool {
        let length = bytes.len() as u64;
        let (Some(bodies), true) = (&self.bodies, self.takes(length)) else {
            return false;
        };
        let Some(room) = self.in_hand.take(length.saturating_add(OVERHEAD)) else {
            return false;
        };
        bodies.insert(piece, Bytes::from_owner(Counted(bytes, room)));
        true
    }

    /// Drops the bytes of a snapshot that is no more, in every coding.
    pub(super) fn release(&self, snapshot: &Snapshot) {
        let Some(body) = &snapshot.body else {
            return;
        };
        body.retire();
        let Some(bodies) = &self.bodies else {
            return;
        };
        let seal = body.piece.seal;
        for coding in [None].into_iter().chain(Coding::ALL.map(Some)) {
            let piece = Piece { seal, coding };
            // Readers do not wait for one who only looks.
            if bodies.contains_key(&piece) {
                bodies.remove(&piece);
            }
        }
    }

    /// What bodies in memory are counted by, for those that are no page yet.
    pub(crate) fn budget(&self) -> &Budget {
        &self.in_hand
    }

    /// Bytes of bodies in memory, held or still being sent.
    pub(crate) fn bytes_in_hand(&self) -> u64 {
        self.in_hand.taken()
    }

    /// How many bytes are held.
    #[cfg(test)]
    fn held(&self) -> u64 {
        self.bodies.as_ref().map_or(0, Cache::weight)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fsops::Fs;

    /// A body file in `dir`.
    fn body(dir: &Path, name: &str, bytes: &[u8]) -> Arc<BodyFile> {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        let fs = Fs::new(None);
        let id = fs.stat(&path).unwrap();
        let piece = Piece {
            seal: Seal::of(bytes),
            coding: None,
        };
        Arc::new(BodyFile::new(path, id, piece, fs))
    }

    async fn load(hot: &Arc<Hot>, body: &Arc<BodyFile>) -> Option<Bytes> {
        let room = hot.room(body.id.size()).expect("room");
        hot.load(body, room).await
    }

    #[tokio::test]
    async fn bodies_are_held_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let hot = Arc::new(Hot::new(8 << 20));
        let mut bodies = Vec::new();
        for n in 0..40_u8 {
            let body = body(dir.path(), &n.to_string(), &vec![n; 1 << 20]);
            assert!(load(&hot, &body).await.is_some());
            bodies.push(body);
        }
        let held = bodies
            .iter()
            .filter(|body| hot.get(&body.piece).is_some())
            .count();
        assert!((1..=8).contains(&held), "{held}");
        assert!(hot.held() <= 8 << 20);
        // Nobody has those in hand that went.
        assert_eq!(hot.bytes_in_hand(), hot.held());
        assert!(hot.room((1 << 20) + 1).is_none());
    }

    #[tokio::test]
    async fn nothing_is_held_where_the_limit_is_zero() {
        let dir = tempfile::tempdir().unwrap();
        let hot = Arc::new(Hot::new(0));
        let body = body(dir.path(), "a", b"a");
        let bytes = load(&hot, &body).await;
        assert_eq!(bytes.as_deref(), Some(&b"a"[..]));
        assert!(hot.get(&body.piece).is_none() && !hot.takes(1));
        assert_eq!(hot.bytes_in_hand(), 16 + OVERHEAD);
        drop(bytes);
        assert_eq!(hot.bytes_in_hand(), 0);
    }

    #[tokio::test]
    async fn bytes_that_slow_readers_have_count_and_the_rest_is_streamed() {
        let dir = tempfile::tempdir().unwrap();
        for limit in [0, 1 << 20] {
            let hot = Arc::new(Hot::new(limit));
            let mut slow = Vec::new();
            for n in 0..1000_u32 {
                let body = body(dir.path(), "page", &vec![n as u8; 200 << 10]);
                match hot.room(body.id.size()) {
                    Some(room) => slow.push(hot.load(&body, room).await.unwrap()),
                    None => break,
                }
            }
            assert!((140..200).contains(&slow.len()), "{}", slow.len());
            assert!(hot.bytes_in_hand() <= limit + ALLOWANCE);
            // A part that is still being sent keeps all of it.
            let parts: Vec<_> = slow.iter().map(|bytes| bytes.slice(..1)).collect();
            drop(slow);
            assert!(hot.room(200 << 10).is_none());
            drop(parts);
            assert!(hot.room(200 << 10).is_some());
        }
    }

    #[tokio::test]
    async fn what_is_dropped_while_it_is_read_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let hot = Arc::new(Hot::new(1 << 20));
        let body = body(dir.path(), "a", b"a");
        assert!(load(&hot, &body).await.is_some() && hot.get(&body.piece).is_some());
        hot.bodies.as_ref().unwrap().remove(&body.piece);
        body.retire();
        assert!(load(&hot, &body).await.is_some());
        assert!(hot.get(&body.piece).is_none());
        assert_eq!(hot.bytes_in_hand(), 0);
    }

    #[tokio::test]
    async fn only_bytes_that_match_the_seal_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let hot = Arc::new(Hot::new(1 << 20));
        let right = body(dir.path(), "a", b"right");
        // The file is in the state that was looked at, and yet not what was sealed.
        let wrong = body(dir.path(), "a", b"wrong");
        let wrong = BodyFile::new(wrong.path.clone(), wrong.id, right.piece, Fs::new(None));
        assert!(load(&hot, &Arc::new(wrong)).await.is_none());
        assert!(hot.get(&right.piece).is_none());
        // And one that is in another state is not even read.
        assert!(load(&hot, &right).await.is_none());
    }

    #[test]
    fn the_more_stream_the_smaller_their_pieces() {
        let hot = Hot::new(0);
        let streams: Vec<_> = (0..2000).map(|_| hot.stream_room()).collect();
        let chunks: Vec<_> = streams.iter().map(|(chunk, _)| *chunk).collect();
        assert_eq!((chunks[0], chunks[30]), (256 << 10, 256 << 10));
        assert_eq!(chunks[1999], 16 << 10);
        let sum: u64 = chunks.iter().map(|chunk| COPIES * *chunk as u64).sum();
        assert!(sum <= STREAMS + 2000 * COPIES * LEAST_CHUNK, "{sum}");
        drop(streams);
        assert_eq!(hot.stream_room().0, 256 << 10);
    }
}
