//! Making room: which pages go when there are more than there may be, and their going.
//!
//! One look over the index, on a thread of its own, chooses many victims, which then go in slices between the
//! store's other jobs, so that an invalidation never waits for more than a slice. An eviction is no invalidation: nothing is
//! logged, fills and readers under way go on.

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;

use crate::clock::{system_now, unix_seconds};
use crate::key::Key;

use super::Store;
use super::index::KeyEntry;
use super::usage::Used;

/// Keys that go before the store's thread turns to its other jobs.
const SLICE: usize = 64;
/// Victims that one look over the index chooses at most.
const CHOICE: usize = 16_384;
/// Keys that nobody has asked for since they were stored may be one of so many; beyond that they go
/// first.
const PROBATION: usize = 10;
/// A clock that is ahead of now by more was set back since: what it says is not that a page is in use.
const CLOCK_SLACK: u32 = 60;
/// After so many failures with nothing evicted between them a round is given up.
const FAILURES: usize = 32;
/// For so many seconds none is begun after one that evicted nothing.
const PAUSE: u64 = 5;
/// A key that would not go counts as used until so many seconds from then, so that others have their turn.
const SPARED: u64 = 30;

/// A key that is to go, if nobody uses it before its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Victim {
    /// When it was stored, on probation; else when it was last used.
    at: u32,
    number: u32,
    short: u64,
    used_at: u32,
    amount: Used,
}

impl Victim {
    pub(super) fn of(short: u64, entry: &KeyEntry, now: u32) -> Self {
        let (used_at, stored_at) = (entry.life.used_at(), entry.life.stored_at());
        Self {
            at: believed(if used_at == 0 { stored_at } else { used_at }, now),
            number: entry.life.number(),
            short,
            used_at,
            amount: entry.used(),
        }
    }

    fn is_on_probation(&self) -> bool {
        self.used_at == 0
    }

    fn is_still(&self, entry: &KeyEntry) -> bool {
        (entry.life.number(), entry.life.used_at()) == (self.number, self.used_at)
    }
}

/// A time that may be a second ahead of the look at the clock, and no page in use for ever.
pub(super) fn believed(at: u32, now: u32) -> u32 {
    if at > now.saturating_add(CLOCK_SLACK) {
        0
    } else {
        at
    }
}

/// Who goes first. Keys that nobody has asked for since they were stored, the oldest first, while they
/// are more than one in ten: a flood of pages that are asked for once pushes out its own. Then those that
/// were used, the least recently used first. One key may always be on probation, or with few keys each
/// new page would go the moment it is stored.
pub(crate) struct Choice {
    excess: Used,
    fresh: Oldest,
    used: Oldest,
}

/// The oldest of those seen.
struct Oldest {
    seen: usize,
    most: usize,
    heap: BinaryHeap<Victim>,
}

impl Oldest {
    fn see(&mut self, victim: Victim) {
        self.seen += 1;
        if self.heap.len() < self.most {
            self.heap.push(victim);
        } else if let Some(mut youngest) = self.heap.peek_mut()
            && victim < *youngest
        {
            *youngest = victim;
        }
    }
}

impl Choice {
    pub(crate) fn new(excess: Used) -> Self {
        // Every key is at least a page or a block.
        let wanted = excess.renderings.max(excess.blocks);
        let most = usize::try_from(wanted).unwrap_or(CHOICE).min(CHOICE);
        let oldest = || Oldest {
            seen: 0,
            most,
            heap: BinaryHeap::new(),
        };
        Self {
            excess,
            fresh: oldest(),
            used: oldest(),
        }
    }

    pub(crate) fn see(&mut self, victim: Victim) {
        match victim.is_on_probation() {
            true => self.fresh.see(victim),
            false => self.used.see(victim),
        }
    }

    pub(crate) fn victims(self) -> VecDeque<Victim> {
        let tolerated = ((self.fresh.seen + self.used.seen) / PROBATION).max(1);
        let mut on_probation = self.fresh.seen;
        let is_all_fresh = self.used.seen == 0;
        let mut fresh = self.fresh.heap.into_sorted_vec().into_iter();
        let mut used = self.used.heap.into_sorted_vec().into_iter();
        let mut excess = self.excess;
        let mut victims = VecDeque::new();
        while !excess.is_nothing() {
            let next = match on_probation > tolerated || is_all_fresh {
                true => fresh.next(),
                false => used.next(),
            };
            // More may be known at the next look.
            let Some(victim) = next else {
                break;
            };
            on_probation -= usize::from(victim.is_on_probation());
            excess = excess.less(victim.amount);
            victims.push_back(victim);
        }
        victims
    }
}

/// What a round of evictions is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// To be under the limits.
    Limits,
    /// These very keys.
    Victims,
}

/// Evictions under way.
struct Round {
    store: Weak<Store>,
    aim: Aim,
    victims: VecDeque<Victim>,
    evicted: usize,
    /// Since a key last went.
    failures: usize,
    /// Of those that make room.
    _turn: Option<Turn>,
}

/// One round that makes room at a time; whoever has it gives it back, whatever happens.
struct Turn(Weak<Store>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.evicting.store(false, Ordering::Release);
        }
    }
}

impl Store {
    /// Begins to make room, if there is more than there may be.
    pub(super) fn relieve(self: &Arc<Self>) {
        if !self.options.bounds.is_over(self.used()) || !self.is_writable() {
            return;
        }
        let now = unix_seconds(system_now());
        let is_paused = now.saturating_sub(self.evict_failed.load(Ordering::Relaxed)) < PAUSE;
        if !is_paused && !self.evicting.swap(true, Ordering::AcqRel) {
            let turn = Turn(Arc::downgrade(self));
            self.begin_round(Aim::Limits, VecDeque::new(), Some(turn));
        }
    }

    /// Evicts these keys, those that are used before their turn excepted.
    pub(super) fn evict_these(self: &Arc<Self>, victims: VecDeque<Victim>) {
        if self.is_writable() {
            self.begin_round(Aim::Victims, victims, None);
        }
    }

    fn begin_round(self: &Arc<Self>, aim: Aim, victims: VecDeque<Victim>, turn: Option<Turn>) {
        let round = Round {
            store: Arc::downgrade(self),
            aim,
            victims,
            evicted: 0,
            failures: 0,
            _turn: turn,
        };
        match aim {
            Aim::Limits => self.choose_for(round),
            Aim::Victims => self.queue(round),
        }
    }

    /// Queues the round with new victims, or ends it where there are none.
    fn choose_for(&self, mut round: Round) {
        self.look_over(move || {
            let Some(store) = round.store.upgrade() else {
                return;
            };
            round.victims = store.choose();
            match round.victims.is_empty() {
                true => store.end(round),
                false => store.queue(round),
            }
        });
    }

    /// Runs a look at every entry, which takes no lock but the better part of a second where there are a million.
    pub(super) fn look_over(&self, look: impl FnOnce() + Send + 'static) {
        let spawned = thread::Builder::new().name("phantom-look".into()).spawn(look);
        if let Err(error) = spawned {
            self.trouble
                .say(|| tracing::error!(dir = %self.root.display(), %error, "cannot start a thread that chooses which pages go"));
        }
    }

    fn queue(&self, round: Round) {
        self.run_later(move || {
            // A store that is gone is brought under its limits when it is opened again.
            if let Some(store) = round.store.upgrade() {
                store.evict_slice(round);
            }
        });
    }

    fn evict_slice(self: &Arc<Self>, mut round: Round) {
        let before = (round.evicted, round.failures);
        for _ in 0..SLICE {
            let is_enough =
                || round.aim == Aim::Limits && self.options.bounds.excess(self.used()).is_nothing();
            if round.failures >= FAILURES || is_enough() {
                return self.end(round);
            }
            let Some(victim) = round.victims.pop_front() else {
                break;
            };
            match self.evict(&victim) {
                Ok(0) => {}
                Ok(evicted) => {
                    round.evicted += evicted;
                    round.failures = 0;
                }
                Err(error) => {
                    round.failures += 1;
                    self.evict_trouble
                        .say(|| tracing::error!(dir = %self.root.display(), %error, "cannot remove pages to make room for others; nothing more is stored while there is none"));
                }
            }
        }
        self.remove_orphans();
        tracing::debug!(
            evicted = round.evicted - before.0,
            chosen = round.victims.len(),
            "made room"
        );
        // Who would not go is not chosen again so soon.
        let is_idle = (round.evicted, round.failures) == before;
        match (round.victims.is_empty(), round.aim) {
            (false, _) => self.queue(round),
            (true, Aim::Limits) if !is_idle => self.choose_for(round),
            (true, _) => self.end(round),
        }
    }

    fn end(self: &Arc<Self>, round: Round) {
        self.remove_orphans();
        if round.failures > 0 && round.evicted == 0 {
            self.pause_evicting();
        }
        if round.evicted > 0 && round.aim == Aim::Limits {
            self.evict_notice.say(|| {
                tracing::info!(
                    dir = %self.root.display(),
                    evicted = round.evicted,
                    snapshots = self.count(),
                    "pages that were asked for least have made room for others (`disk_limit`, `max_snapshots`)"
                );
            });
        }
        let is_fruitful = round.evicted > 0;
        drop(round);
        // Who came over the limit meanwhile could not begin a round.
        if is_fruitful {
            self.relieve();
        }
    }

    /// Another look would find as little.
    pub(super) fn pause_evicting(&self) {
        self.evict_failed
            .store(unix_seconds(system_now()), Ordering::Relaxed);
    }

    /// One look over the index, behind one for what has to stay.
    fn choose(&self) -> VecDeque<Victim> {
        let now = self.now_u32();
        let excess = self.options.bounds.excess(self.used());
        if excess.is_nothing() {
            return VecDeque::new();
        }
        let mut choice = Choice::new(excess);
        let named = self.named_assets();
        self.index.for_each(|short, entry| {
            if !self.stays(entry) && !named.has(entry) {
                choice.see(Victim::of(short, entry, now));
            }
        });
        let victims = choice.victims();
        self.note_left(victims.len());
        victims
    }

    pub(super) fn now_u32(&self) -> u32 {
        u32::try_from(self.options.clock.unix_seconds()).unwrap_or(u32::MAX)
    }

    /// A key with all its variants; how many keys that was. The files go first: as long as there are any,
    /// an invalidation finds the key in the index, and stands until they are gone.
    fn evict(&self, victim: &Victim) -> io::Result<usize> {
        let _stripe = self.stripe(victim.short);
        let Some(entry) = self
            .index
            .get_short(victim.short)
            .filter(|entry| victim.is_still(entry))
        else {
            return Ok(0);
        };
        let key = Key::from_text(&*entry.key);
        if let Err(error) = self.delete_known(&key, &entry) {
            entry.life.touch(self.options.clock.unix_seconds() + SPARED);
            return Err(error);
        }
        let ledger = self.ledger();
        // Marked since, perhaps, but not stored anew: that takes the stripe.
        self.strike_out(&key.hash, &key.text);
        drop(ledger);
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as `used at/stored at`, numbered in order; the numbers of those that go, in order.
    fn go(keys: &[(u32, u32)], excess: u64) -> Vec<u32> {
        let mut choice = Choice::new(Used {
            renderings: excess,
            blocks: 0,
        });
        for (number, (used_at, stored_at)) in (1..).zip(keys) {
            choice.see(Victim {
                at: if *used_at == 0 { *stored_at } else { *used_at },
                number,
                short: u64::from(number),
                used_at: *used_at,
                amount: Used {
                    renderings: 1,
                    blocks: 2,
                },
            });
        }
        choice.victims().iter().map(|victim| victim.number).collect()
    }

    #[test]
    fn who_goes_first() {
        for (what, keys, excess, gone) in [
            ("nobody", &[(5, 1), (0, 9)][..], 0, &[][..]),
            ("least recently used", &[(5, 1), (3, 1), (4, 1)], 2, &[2, 3]),
            ("in one second, in order", &[(5, 1), (5, 1), (5, 1)], 2, &[1, 2]),
            ("never used, the oldest", &[(0, 3), (0, 2), (0, 4)], 2, &[2, 1]),
            ("once, before often", &[(2, 1), (0, 8), (3, 1), (0, 9)], 1, &[2]),
            ("a new page stays", &[(2, 1), (0, 9), (3, 1)], 1, &[1]),
            ("one may be new", &[(2, 1), (0, 8), (3, 1), (0, 9)], 2, &[2, 1]),
            ("all are new", &[(0, 1), (0, 2)], 2, &[1, 2]),
        ] {
            assert_eq!(go(keys, excess), gone, "{what}");
        }
    }

    #[test]
    fn one_in_ten_may_be_new() {
        let mut keys = vec![(5, 1); 27];
        keys.extend([(0, 6), (0, 7), (0, 8)]);
        assert_eq!(go(&keys, 2), [1, 2], "three of thirty");
        keys.push((0, 9));
        assert_eq!(go(&keys, 2), [28, 1], "one more goes");
    }

    #[test]
    fn many_are_chosen_by_their_age_alone() {
        let keys: Vec<_> = (0..1000u32).map(|n| (1 + n * 7919 % 1000, 1)).collect();
        let gone = go(&keys, 20);
        let ages: Vec<_> = gone.iter().map(|n| keys[*n as usize - 1].0).collect();
        assert_eq!(ages, (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn what_goes_is_counted_in_every_measure() {
        let mut choice = Choice::new(Used {
            renderings: 1,
            blocks: 10,
        });
        for number in 1..=9 {
            choice.see(Victim {
                at: number,
                number,
                short: u64::from(number),
                used_at: number,
                amount: Used {
                    renderings: 1,
                    blocks: 4,
                },
            });
        }
        assert_eq!(choice.victims().len(), 3);
    }
}
