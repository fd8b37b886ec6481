//! Memory that is counted: taken for as long as somebody has it in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes there may be. Clones are the same budget.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: u64,
    taken: AtomicU64,
}

/// Some of them, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    account: Arc<Account>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self(Arc::new(Account {
            limit,
            taken: AtomicU64::new(0),
        }))
    }

    /// How many bytes are in somebody's hands.
    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// None yet, to grow.
    pub(crate) fn nothing(&self) -> Room {
        Room {
            account: Arc::clone(&self.0),
            bytes: 0,
        }
    }

    /// So many bytes, if there still are.
    pub(crate) fn take(&self, bytes: u64) -> Option<Room> {
        self.take_with(|free| (bytes <= free).then_some(bytes))
    }

    /// An eighth of what is left, within these bounds: the more there are who have some, the less comes to
    /// one more, so that all together, but for the least that each must have, stay within the budget.
    pub(crate) fn take_share(&self, least: u64, most: u64) -> Room {
        let share = self.take_with(|free| Some((free / 8).clamp(least, most)));
        // There always is the least.
        share.unwrap_or_else(|| self.nothing())
    }

    fn take_with(&self, wanted: impl Fn(u64) -> Option<u64>) -> Option<Room> {
        let mut taken = self.taken();
        loop {
            let bytes = wanted(self.0.limit.saturating_sub(taken))?;
            let sum = taken.saturating_add(bytes);
            match self
                .0
                .taken
                .compare_exchange_weak(taken, sum, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    return Some(Room {
                        account: Arc::clone(&self.0),
                        bytes,
                    });
                }
                Err(now) => taken = now,
            }
        }
    }
}

impl Room {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many more; false if there are not.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let taken = Budget(Arc::clone(&self.account)).take(more);
        taken.is_some_and(|mut taken| {
            self.bytes += std::mem::take(&mut taken.bytes);
            true
        })
    }

    /// All of it, before it is dropped.
    pub(crate) fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.account.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(100);
        let first = budget.take(60);
        assert!(first.is_some() && budget.take(41).is_none());
        assert!(budget.take(40).is_some());
        assert_eq!(budget.taken(), 60);
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(budget.take(101).is_none() && budget.take(100).is_some());
        let mut growing = budget.nothing();
        assert!(growing.grow(60) && !growing.grow(41) && growing.grow(40));
        assert_eq!((growing.bytes(), budget.taken()), (100, 100));
        drop(growing);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn shares_grow_small_and_stay_within_the_budget_but_for_the_least() {
        let budget = Budget::new(1000);
        let shares: Vec<_> = (0..200).map(|_| budget.take_share(2, 50)).collect();
        let sizes: Vec<_> = shares.iter().map(Room::bytes).collect();
        assert!(
            sizes.starts_with(&[50, 50]) && sizes.ends_with(&[2, 2]),
            "{sizes:?}"
        );
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert!(budget.taken() <= 1000 + 2 * 200, "{}", budget.taken());
        drop(shares);
        assert_eq!(budget.taken(), 0);
    }
}
