//! How fast the backend is asked: so many at once, so many a second, and less where it has trouble.
//!
//! What is allowed at once is halved when the backend answers slowly or not in time, and grows again by one with as
//! many answers as are allowed. When it says 429 or 503 nobody asks until the wait that it names is over, or one
//! that doubles each time.

use std::time::{Duration, Instant};

use super::MOST_PATIENCE;

/// An answer is slow when it takes three times as long as usual, and longer than this.
const SLOW: Duration = Duration::from_secs(1);
/// After so many refusals with no answer in between, pages are not asked for a second time.
const MOST_REFUSALS: u32 = 6;

pub(super) struct Pace {
    most: f64,
    allowed: f64,
    /// Between one request and the next.
    gap: Duration,
    next: Instant,
    paused_until: Instant,
    /// In seconds; nothing before the first answer.
    usual: Option<f64>,
    refusals: u32,
}

/// Whether one more page may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Now,
    At(Instant),
    /// When one that is under way has ended.
    Later,
}

impl Pace {
    pub(super) fn new(concurrency: usize, max_rps: usize, now: Instant) -> Self {
        let most = concurrency.clamp(1, 1024) as f64;
        let gap = match max_rps {
            0 => Duration::ZERO,
            rps => Duration::from_secs(1) / u32::try_from(rps).unwrap_or(u32::MAX),
        };
        Self {
            most,
            allowed: most,
            gap,
            next: now,
            paused_until: now,
            usual: None,
            refusals: 0,
        }
    }

    pub(super) fn leave(&self, under_way: usize, now: Instant) -> Leave {
        let start = self.next.max(self.paused_until);
        match (under_way as f64) < self.allowed.floor() {
            true if start <= now => Leave::Now,
            true => Leave::At(start),
            false => Leave::Later,
        }
    }

    pub(super) fn begun(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.gap;
    }

    /// The backend was not asked, so that its turn is another's.
    pub(super) fn was_not_needed(&mut self) {
        self.next -= self
            .gap
            .min(self.next.saturating_duration_since(self.paused_until));
    }

    /// An answer came.
    pub(super) fn answered(&mut self, took: Duration) {
        self.refusals = 0;
        let seconds = took.as_secs_f64();
        let usual = self.usual.unwrap_or(seconds);
        self.usual = Some(usual * 0.9 + seconds * 0.1);
        match took > SLOW && seconds > 3.0 * usual {
            true => self.slow_down(),
            false => self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most),
        }
    }

    /// None came in time, or it took too long.
    pub(super) fn slow_down(&mut self) {
        self.allowed = (self.allowed / 2.0).max(1.0);
    }

    /// The backend wants to be left alone. For how long it is; nothing if there is no sense in asking again.
    pub(super) fn refused(&mut self, retry_after: Option<Duration>, now: Instant) -> Option<Duration> {
        // Who was under way when it said so first says nothing new.
        let left = self.paused_until.saturating_duration_since(now);
        if left.is_zero() {
            self.slow_down();
            self.refusals += 1;
        }
        let own = Duration::from_secs(1 << self.refusals.min(6)) / 2;
        let wait = retry_after.unwrap_or(own.max(left));
        if self.refusals > MOST_REFUSALS || wait > MOST_PATIENCE {
            return None;
        }
        self.paused_until = self.paused_until.max(now + wait);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_are_under_way_and_so_many_begin_a_second() {
        let now = Instant::now();
        let mut pace = Pace::new(2, 4, now);
        assert_eq!(pace.leave(0, now), Leave::Now);
        pace.begun(now);
        assert_eq!(pace.leave(1, now), Leave::At(now + SECOND / 4));
        assert_eq!(pace.leave(2, now), Leave::Later);
        // What was late is not made up for by a burst.
        let late = now + 10 * SECOND;
        pace.begun(late);
        assert_eq!(pace.leave(0, late), Leave::At(late + SECOND / 4));
        // What was not asked for has had no turn.
        pace.was_not_needed();
        assert_eq!(pace.leave(0, late), Leave::Now);
    }

    #[test]
    fn slow_answers_halve_what_is_allowed_and_others_give_it_back() {
        let now = Instant::now();
        let mut pace = Pace::new(8, 0, now);
        let allowed = |pace: &Pace| (0..20).take_while(|n| pace.leave(*n, now) == Leave::Now).count();
        pace.answered(SECOND / 10);
        assert_eq!(allowed(&pace), 8);
        pace.answered(4 * SECOND);
        assert_eq!(allowed(&pace), 4);
        pace.slow_down();
        pace.slow_down();
        pace.slow_down();
        assert_eq!(allowed(&pace), 1);
        for _ in 0..2 {
            pace.answered(SECOND / 10);
        }
        assert_eq!(allowed(&pace), 2);
        for _ in 0..100 {
            pace.answered(SECOND / 10);
        }
        assert_eq!(allowed(&pace), 8);
    }

    #[test]
    fn a_refusal_pauses_for_as_long_as_it_says_or_ever_longer() {
        let now = Instant::now();
        let mut pace = Pace::new(4, 0, now);
        assert_eq!(pace.refused(Some(30 * SECOND), now), Some(30 * SECOND));
        assert_eq!(pace.leave(0, now), Leave::At(now + 30 * SECOND));
        assert_eq!(pace.leave(0, now + 30 * SECOND), Leave::Now);
        pace.answered(SECOND);

        let mut now = now + 30 * SECOND;
        for expected in [1, 2, 4, 8, 16, 32] {
            assert_eq!(pace.refused(None, now), Some(expected * SECOND));
            // Of those that were under way too.
            assert_eq!(pace.refused(None, now), Some(expected * SECOND));
            now += expected * SECOND;
        }
        assert_eq!(pace.refused(None, now), None);
        pace.answered(SECOND);
        assert_eq!(pace.refused(Some(2 * MOST_PATIENCE), now), None);
        assert_eq!(pace.refused(None, now), Some(2 * SECOND));
    }
}
