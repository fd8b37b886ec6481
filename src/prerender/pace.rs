//! How fast the backend is asked: so many at once, so many a second, and less where it has trouble.
//!
//! What is allowed at once is halved when the backend answers slowly or not in time, and grows again by one with as
//! many answers as are allowed. When it says 429 or 503 nobody asks until the wait that it names is over, or one
//! that doubles each time. Runs at the same time have one pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::{MOST_PATIENCE, PrerenderOptions};

/// An answer is slow when it takes three times as long as usual, and longer than this.
const SLOW: Duration = Duration::from_secs(1);
/// After so many refusals with no answer in between, a page is not asked for a second time, and with one more nothing
/// is.
const MOST_REFUSALS: u32 = 6;

/// The pace of all runs that ask one backend.
#[derive(Debug)]
pub(crate) struct Paced {
    /// And how many pages are under way.
    pace: Mutex<(Pace, usize)>,
    freed: Notify,
}

impl Paced {
    pub(crate) fn new(options: &PrerenderOptions) -> Arc<Self> {
        Self::with(Pace::new(options.concurrency, options.max_rps, Instant::now()))
    }

    pub(crate) fn with(pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            pace: Mutex::new((pace, 0)),
            freed: Notify::new(),
        })
    }

    /// Leave to ask for one page.
    ///
    /// # Errors
    /// When there may be.
    pub(crate) fn take_turn(self: &Arc<Self>, now: Instant) -> Result<Turn, Wait> {
        let (pace, under_way) = &mut *self.lock();
        match pace.leave(*under_way, now) {
            Leave::Now => {
                pace.begun(now);
                *under_way += 1;
                Ok(Turn(Arc::clone(self)))
            }
            Leave::At(at) => Err(Wait::Until(at)),
            Leave::Later => Err(Wait::ForAnother),
        }
    }

    /// Ready when a turn has ended since this was enabled.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    pub(crate) fn tell<T>(&self, what: impl FnOnce(&mut Pace) -> T) -> T {
        what(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (Pace, usize)> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to ask for a turn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Until(Instant),
    ForAnother,
}

/// One page is under way as long as this is there.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Paced>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().1 -= 1;
        self.0.freed.notify_waiters();
    }
}

#[derive(Debug)]
pub(crate) struct Pace {
    most: f64,
    allowed: f64,
    /// Between one request and the next.
    gap: Duration,
    next: Instant,
    paused_until: Instant,
    /// In seconds; nothing before the first answer.
    usual: Option<f64>,
    refusals: u32,
    /// There has been no answer since it looked as if none would come.
    is_hopeless: bool,
    patience: Duration,
}

/// What comes of a refusal. Nobody asks for so long in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Then for the same page again.
    Again(Duration),
    /// Then for others.
    NotAgain(Duration),
    /// And then neither.
    Enough,
}

/// Whether one more page may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Now,
    At(Instant),
    /// When one that is under way has ended.
    Later,
}

impl Pace {
    pub(crate) fn new(concurrency: usize, max_rps: usize, now: Instant) -> Self {
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
            is_hopeless: false,
            patience: MOST_PATIENCE,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(crate) fn leave(&self, under_way: usize, now: Instant) -> Leave {
        let start = self.next.max(self.paused_until);
        match (under_way as f64) < self.allowed.floor() {
            true if start <= now => Leave::Now,
            true => Leave::At(start),
            false => Leave::Later,
        }
    }

    pub(crate) fn begun(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.gap;
    }

    /// The backend was not asked, so that its turn is another's.
    pub(crate) fn was_not_needed(&mut self) {
        self.next -= self
            .gap
            .min(self.next.saturating_duration_since(self.paused_until));
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.refusals = 0;
        self.is_hopeless = false;
        let seconds = took.as_secs_f64();
        let usual = self.usual.unwrap_or(seconds);
        self.usual = Some(usual * 0.9 + seconds * 0.1);
        match took > SLOW && seconds > 3.0 * usual {
            true => self.slow_down(),
            false => self.allowed = (self.allowed + 1.0 / self.allowed).min(self.most),
        }
    }

    /// None came in time, or it took too long.
    pub(crate) fn slow_down(&mut self) {
        self.allowed = (self.allowed / 2.0).max(1.0);
    }

    /// The backend wants to be left alone.
    pub(crate) fn refused(&mut self, retry_after: Option<Duration>, now: Instant) -> Refusal {
        // Who was under way when it said so first says nothing new.
        let left = self.paused_until.saturating_duration_since(now);
        let is_new = left.is_zero();
        if is_new {
            self.slow_down();
            self.refusals += 1;
        }
        let own = Duration::from_secs(1 << self.refusals.min(6)) / 2;
        let is_endless = self.refusals > MOST_REFUSALS;
        let wait = match retry_after {
            Some(named) if !is_endless => named,
            // It may say 0 each time.
            named => named.unwrap_or_default().max(own).max(left),
        };
        let is_too_long = wait > self.patience;
        let wait = wait.min(self.patience);
        self.paused_until = self.paused_until.max(now + wait);
        if !is_endless && !is_too_long {
            return Refusal::Again(wait);
        }
        let was_hopeless = std::mem::replace(&mut self.is_hopeless, true);
        match is_new && was_hopeless {
            true => Refusal::Enough,
            false => Refusal::NotAgain(wait),
        }
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
        assert_eq!(pace.refused(Some(30 * SECOND), now), Refusal::Again(30 * SECOND));
        assert_eq!(pace.leave(0, now), Leave::At(now + 30 * SECOND));
        assert_eq!(pace.leave(0, now + 30 * SECOND), Leave::Now);
        pace.answered(SECOND);

        let mut now = now + 30 * SECOND;
        for expected in [1, 2, 4, 8, 16, 32] {
            assert_eq!(pace.refused(None, now), Refusal::Again(expected * SECOND));
            // Of those that were under way too.
            assert_eq!(pace.refused(None, now), Refusal::Again(expected * SECOND));
            now += expected * SECOND;
        }
    }

    #[test]
    fn a_backend_that_goes_on_refusing_is_left_alone_each_time_and_then_for_good() {
        let start = Instant::now();
        let mut pace = Pace::new(4, 0, start);
        let mut now = start;
        for _ in 0..6 {
            assert_eq!(
                pace.refused(Some(Duration::ZERO), now),
                Refusal::Again(Duration::ZERO)
            );
        }
        assert_eq!(
            pace.refused(Some(Duration::ZERO), now),
            Refusal::NotAgain(32 * SECOND)
        );
        assert_eq!(pace.leave(0, now), Leave::At(now + 32 * SECOND));
        // It was under way.
        assert_eq!(pace.refused(None, now), Refusal::NotAgain(32 * SECOND));
        now += 32 * SECOND;
        assert_eq!(pace.leave(0, now), Leave::Now);
        assert_eq!(pace.refused(None, now), Refusal::Enough);

        // One answer, and it begins anew.
        now += 32 * SECOND;
        pace.answered(SECOND);
        assert_eq!(
            pace.refused(Some(2 * MOST_PATIENCE), now),
            Refusal::NotAgain(MOST_PATIENCE)
        );
        assert_eq!(pace.leave(0, now), Leave::At(now + MOST_PATIENCE));
        now += MOST_PATIENCE;
        pace.answered(SECOND);
        assert_eq!(pace.refused(None, now), Refusal::Again(SECOND));
    }

    #[test]
    fn runs_at_the_same_time_have_one_pace() {
        let options = PrerenderOptions {
            concurrency: 2,
            ..PrerenderOptions::default()
        };
        let paced = Paced::new(&options);
        let now = Instant::now();
        let (one, _other) = (paced.take_turn(now), paced.take_turn(now));
        assert_eq!(paced.take_turn(now).err(), Some(Wait::ForAnother));
        drop(one);
        assert!(paced.take_turn(now).is_ok());
    }
}
