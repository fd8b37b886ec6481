//! How much there may be, and how much there is: pages, and blocks of disk.
//!
//! Counted as `du` counts: a body and a sidecar take whole blocks, and so does a folder. What is on its way
//! to disk counts as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::head::Sidecar;

use super::Store;

/// What file systems hand out.
const BLOCK: u64 = 4096;

/// What may be stored in all; zero is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) disk_bytes: u64,
    pub(crate) snapshots: u64,
    pub(crate) hosts: usize,
    /// The largest body.
    pub(crate) body_bytes: u64,
}

/// An amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Used {
    pub(crate) renderings: u64,
    pub(crate) blocks: u64,
}

impl Used {
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn less(self, other: Self) -> Self {
        Self {
            renderings: self.renderings.saturating_sub(other.renderings),
            blocks: self.blocks.saturating_sub(other.blocks),
        }
    }
}

/// How many blocks a file takes.
pub(crate) fn blocks(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX)
}

/// How many blocks the body takes that a sidecar seals.
pub(crate) fn body_blocks(sidecar: &Sidecar) -> u32 {
    let body = sidecar
        .rendering
        .as_ref()
        .and_then(|rendering| rendering.body.as_ref());
    body.map_or(0, |body| blocks(body.length))
}

impl Bounds {
    fn limits(&self) -> Used {
        let limit = |most: u64| if most == 0 { u64::MAX } else { most };
        Used {
            renderings: limit(self.snapshots),
            blocks: limit(self.disk_bytes.div_ceil(BLOCK)),
        }
    }

    pub(crate) fn is_over(&self, used: Used) -> bool {
        let limits = self.limits();
        used.renderings > limits.renderings || used.blocks > limits.blocks
    }

    /// What has to go once a limit is passed: to a little under it, so that not every page that is
    /// stored costs a search for another.
    pub(crate) fn excess(&self, used: Used) -> Used {
        let limits = self.limits();
        used.less(Used {
            renderings: limits.renderings - limits.renderings / 50,
            blocks: limits.blocks - limits.blocks / 50,
        })
    }

    /// Whether so much is there that nothing more is stored: pages come faster than others can go, or
    /// the disk lets none go.
    pub(crate) fn is_beyond(&self, used: Used) -> bool {
        const SLACK: u64 = 256;
        let limits = self.limits();
        let most = limits
            .renderings
            .saturating_add(SLACK.max(limits.renderings / 50));
        used.renderings >= most
            || used.blocks >= limits.blocks.saturating_add(blocks(self.under_way()).into())
    }

    /// What bodies under way may take together: enough for the largest there may be, so that each can
    /// be stored when it is alone.
    fn under_way(&self) -> u64 {
        match self.disk_bytes {
            0 => u64::MAX,
            limit => (limit / 8).max(self.body_bytes.min(limit)),
        }
    }

    /// What bodies may take that others wrote, kept aside.
    pub(crate) fn displaced(&self) -> u64 {
        match self.disk_bytes {
            0 => 1 << 30,
            limit => limit / 8,
        }
    }
}

/// The room that one body under way takes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: u64,
    all: Arc<AtomicU64>,
    most: u64,
}

impl Room {
    /// Takes room for a body of so many bytes so far; says whether there is.
    pub(crate) fn grow_to(&mut self, length: u64) -> bool {
        let wanted = length.div_ceil(BLOCK).saturating_mul(BLOCK);
        let more = wanted.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let grown = |all: u64| all.checked_add(more).filter(|all| *all <= self.most);
        let has_room = self
            .all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok();
        if has_room {
            self.bytes = wanted;
        }
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Store {
    /// What is stored and on its way.
    pub(super) fn used(&self) -> Used {
        let stored = self.index.used();
        let folders = self.index.folders() as u64;
        let under_way = u64::from(blocks(self.under_way.load(Ordering::Relaxed)));
        Used {
            blocks: stored.blocks + folders + under_way,
            ..stored
        }
    }

    pub(super) fn room(&self) -> Room {
        Room {
            bytes: 0,
            all: Arc::clone(&self.under_way),
            most: self.options.bounds.under_way(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(disk_bytes: u64, snapshots: u64, body_bytes: u64) -> Bounds {
        Bounds {
            disk_bytes,
            snapshots,
            hosts: 1,
            body_bytes,
        }
    }

    #[test]
    fn what_is_over_a_limit_goes_down_to_a_little_under_it() {
        let used = |renderings, blocks| Used { renderings, blocks };
        for (bounds, there, is_over, excess) in [
            (bounds(0, 0, 1), used(1 << 40, 1 << 40), false, used(0, 0)),
            (bounds(0, 100, 1), used(100, 1), false, used(2, 0)),
            (bounds(0, 100, 1), used(101, 1), true, used(3, 0)),
            (bounds(0, 10, 1), used(11, 1), true, used(1, 0)),
            (bounds(4096 * 1000, 0, 1), used(5, 1001), true, used(0, 21)),
        ] {
            assert_eq!(bounds.is_over(there), is_over, "{bounds:?} {there:?}");
            assert_eq!(bounds.excess(there), excess, "{bounds:?} {there:?}");
        }
    }

    #[test]
    fn bodies_under_way_take_an_eighth_or_one_body() {
        const MIB: u64 = 1 << 20;
        for (disk, body, most) in [
            (0, 64 * MIB, u64::MAX),
            (1024 * MIB, 64 * MIB, 128 * MIB),
            (100 * MIB, 64 * MIB, 64 * MIB),
            (10 * MIB, 64 * MIB, 10 * MIB),
        ] {
            assert_eq!(bounds(disk, 0, body).under_way(), most);
        }
    }

    #[test]
    fn room_is_given_back() {
        let all = Arc::new(AtomicU64::new(0));
        let room = || Room {
            bytes: 0,
            all: Arc::clone(&all),
            most: 2 * BLOCK,
        };
        let (mut one, mut other) = (room(), room());
        assert!(one.grow_to(1) && one.grow_to(BLOCK) && other.grow_to(1));
        assert!(!one.grow_to(BLOCK + 1), "there is none left");
        drop(other);
        assert!(one.grow_to(BLOCK + 1));
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
