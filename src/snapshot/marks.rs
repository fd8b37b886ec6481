//! Visitors' marks: the last one of every path, by a hash of the path.
//!
//! Anybody may post to any path that he makes up, and must push nothing out by that. Two paths in one
//! place cost a commit, or a validation, that need not have been.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::pattern::{KeyPattern, Subject};

/// See the module.
#[derive(Debug)]
pub(super) struct Marks {
    /// Nobody outside knows which paths share a place.
    hasher: RandomState,
    /// Number, and nanoseconds since 1970; zeros where there was none.
    places: Vec<(u64, u64)>,
}

const PLACES: usize = 1 << 14;

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            places: vec![(0, 0); PLACES],
        }
    }

    /// An earlier mark that stands longer, because the clock was set back, is kept.
    pub(super) fn note(&mut self, patterns: &[KeyPattern], number: u64, now: SystemTime) {
        let nanos = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_nanos();
        for pattern in patterns {
            let at = self.place_of(pattern.as_str());
            if let Some(place) = self.places.get_mut(at) {
                *place = (number, place.1.max(u64::try_from(nanos).unwrap_or(u64::MAX)));
            }
        }
    }

    /// Number and time of the last mark that may match.
    pub(super) fn last(&self, subject: Subject<'_>) -> Option<(u64, SystemTime)> {
        let marks = subject
            .paths()
            .filter_map(|path| self.places.get(self.place_of(path)));
        let (number, nanos) = marks.copied().reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))?;
        let at = UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))?;
        (number > 0).then_some((number, at))
    }

    fn place_of(&self, path: &str) -> usize {
        usize::try_from(self.hasher.hash_one(path) % PLACES as u64).unwrap_or(0)
    }
}
