//! How many requests came to what, and the hourly line that says what is not stored and why.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outcome::{Outcome, Reason};
use crate::proxy::respond::Verdict;

/// Requests since the start, by outcome and by the reason why they were not answered from the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// By outcome.
    pub outcomes: HashMap<Outcome, u64>,
    /// By reason, where there was one.
    pub reasons: HashMap<Reason, u64>,
}

impl Statistics {
    /// How many requests had this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: Statistics,
    /// Since the last line.
    since: u64,
    unstored: HashMap<Reason, u64>,
    last_line: Option<Instant>,
}

const FIRST_LINE: u64 = 50;
const BETWEEN_LINES: Duration = Duration::from_secs(3600);

impl Tally {
    pub(crate) fn count(&self, verdict: &Verdict) {
        let line = {
            let mut counts = self.counts();
            *counts.all.outcomes.entry(verdict.outcome).or_default() += 1;
            counts.since += 1;
            if let Some(reason) = verdict.reason {
                *counts.all.reasons.entry(reason).or_default() += 1;
                *counts.unstored.entry(reason).or_default() += 1;
            }
            counts.line_if_due()
        };
        if let Some((unstored, requests, top)) = line {
            tracing::info!(
                requests,
                not_stored = unstored,
                top_reason = top.as_str(),
                remedy = top.advice(),
                "{unstored} of {requests} answers were not stored, most for `{}`: {}",
                top.as_str(),
                top.advice()
            );
        }
    }

    /// A page that was served and, as it turned out after its head, not kept.
    pub(crate) fn not_kept(&self, reason: Reason) {
        let mut counts = self.counts();
        *counts.all.reasons.entry(reason).or_default() += 1;
        *counts.unstored.entry(reason).or_default() += 1;
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.counts().all.clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn line_if_due(&mut self) -> Option<(u64, u64, Reason)> {
        let due = match self.last_line {
            None => self.since >= FIRST_LINE,
            Some(last) => self.since >= FIRST_LINE && last.elapsed() >= BETWEEN_LINES,
        };
        if !due {
            return None;
        }
        let requests = std::mem::take(&mut self.since);
        let by_reason = std::mem::take(&mut self.unstored);
        self.last_line = Some(Instant::now());
        let (top, _) = by_reason
            .iter()
            .max_by_key(|(reason, count)| (**count, reason.as_str()))?;
        Some((by_reason.values().sum(), requests, *top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_comes_after_fifty_requests_and_then_at_most_hourly() {
        let mut counts = Counts::default();
        let mut lines = Vec::new();
        for number in 0..200 {
            counts.since += 1;
            let reason = if number % 3 == 0 {
                Reason::Cookie
            } else {
                Reason::Json
            };
            *counts.unstored.entry(reason).or_default() += 1;
            lines.extend(counts.line_if_due());
        }
        assert_eq!(lines, [(50, 50, Reason::Json)]);
    }
}
