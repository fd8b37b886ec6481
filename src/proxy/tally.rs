//! How many requests came to what, and the hourly line that says what is not stored and why.
//!
//! A hit adds one to a number, and takes no lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// The names of the cookies for which requests passed, and about how many did, most first; 64 at most.
    pub cookies: Vec<(String, u64)>,
}

impl Statistics {
    /// How many requests had this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

pub(crate) struct Tally {
    outcomes: [AtomicU64; OUTCOMES],
    reasons: [AtomicU64; REASONS],
    rare: Mutex<Rare>,
}

const OUTCOMES: usize = Outcome::ALL.len();
const REASONS: usize = Reason::ALL.len();

/// What hits do not touch.
struct Rare {
    cookies: CookieNames,
    /// At the last line.
    requests: u64,
    reasons: [u64; REASONS],
    last_line: Option<Instant>,
}

/// What the hourly line says.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    unstored: u64,
    requests: u64,
    top: Reason,
    /// Those that cost the most hits since the start, if cookies cost any since the last line.
    cookies: Vec<String>,
}

const FIRST_LINE: u64 = 50;
const BETWEEN_LINES: Duration = Duration::from_secs(3600);
/// Cookies that the line names.
const NAMED: usize = 3;

impl Default for Tally {
    fn default() -> Self {
        Self {
            outcomes: [const { AtomicU64::new(0) }; OUTCOMES],
            reasons: [const { AtomicU64::new(0) }; REASONS],
            rare: Mutex::new(Rare {
                cookies: CookieNames::default(),
                requests: 0,
                reasons: [0; REASONS],
                last_line: None,
            }),
        }
    }
}

impl Tally {
    pub(crate) fn count(&self, verdict: &Verdict) {
        let earlier = add(&self.outcomes, verdict.outcome as usize);
        if let Some(reason) = verdict.reason {
            add(&self.reasons, reason as usize);
        }
        // A hit makes no line due but by their number, and asks seldom.
        let may_be_due = verdict.reason.is_some() || (earlier + 1).is_multiple_of(FIRST_LINE);
        if let Some(line) = may_be_due.then(|| self.line_if_due()).flatten() {
            line.say();
        }
    }

    /// A request that passed for the sake of this cookie.
    pub(crate) fn cookie(&self, name: &[u8]) {
        self.rare().cookies.count(shown(name));
    }

    /// A page that was served and, as it turned out after its head, not kept.
    pub(crate) fn not_kept(&self, reason: Reason) {
        add(&self.reasons, reason as usize);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let outcomes = Outcome::ALL.iter().map(|outcome| (*outcome, *outcome as usize));
        let reasons = Reason::ALL.iter().map(|reason| (*reason, *reason as usize));
        Statistics {
            outcomes: outcomes
                .map(|(outcome, at)| (outcome, read(&self.outcomes, at)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            reasons: reasons
                .map(|(reason, at)| (reason, read(&self.reasons, at)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            cookies: self.rare().cookies.most(),
        }
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line_if_due(&self) -> Option<Line> {
        let mut rare = self.rare();
        let has_waited = rare.last_line.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        let requests: u64 = (0..OUTCOMES).map(|at| read(&self.outcomes, at)).sum();
        if requests - rare.requests < FIRST_LINE || !has_waited {
            return None;
        }
        let now: [u64; REASONS] = std::array::from_fn(|at| read(&self.reasons, at));
        let since = |reason: Reason| {
            let at = reason as usize;
            now.get(at).copied().unwrap_or(0) - rare.reasons.get(at).copied().unwrap_or(0)
        };
        let unstored = || {
            let all = Reason::ALL.iter().copied();
            // As good as a hit: there is nothing to mend.
            all.filter(|reason| *reason != Reason::Revalidating)
        };
        // While there is nothing to say, the line stays due.
        let top = unstored()
            .filter(|reason| since(*reason) > 0)
            .max_by_key(|reason| (since(*reason), reason.as_str()))?;
        let cookies = match since(Reason::Cookie) > 0 {
            true => rare.cookies.most(),
            false => Vec::new(),
        };
        let line = Line {
            unstored: unstored().map(since).sum(),
            requests: requests - rare.requests,
            top,
            cookies: cookies.into_iter().take(NAMED).map(|(name, _)| name).collect(),
        };
        rare.requests = requests;
        rare.reasons = now;
        rare.last_line = Some(Instant::now());
        Some(line)
    }
}

/// One more; how many there were. Only sums are read, so no order is needed.
fn add(counts: &[AtomicU64], at: usize) -> u64 {
    counts
        .get(at)
        .map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
}

fn read(counts: &[AtomicU64], at: usize) -> u64 {
    counts.get(at).map_or(0, |count| count.load(Ordering::Relaxed))
}

impl Line {
    fn say(&self) {
        let Self {
            unstored,
            requests,
            top,
            cookies,
        } = self;
        let named = match cookies.is_empty() {
            true => String::new(),
            false => format!("; the cookies that cost the most hits: {}", cookies.join(", ")),
        };
        tracing::info!(
            requests,
            not_stored = unstored,
            top_reason = top.as_str(),
            remedy = top.advice(),
            cookies = cookies.join(", "),
            "{unstored} of {requests} answers were not stored, most for `{}`: {}{named}",
            top.as_str(),
            top.advice()
        );
    }
}

/// The most frequent of names that strangers make up without end (Metwally et al., Space-Saving): a new name
/// takes the place of the rarest and its count, so a frequent one is never missed and a count is at most too
/// high.
#[derive(Default)]
struct CookieNames(HashMap<String, u64>);

impl CookieNames {
    const MOST: usize = 64;

    fn count(&mut self, name: String) {
        if let Some(count) = self.0.get_mut(&name) {
            *count += 1;
            return;
        }
        let mut count = 1;
        if self.0.len() >= Self::MOST {
            let rarest = self.0.iter().min_by_key(|(name, count)| (**count, *name));
            if let Some((rarest, least)) = rarest.map(|(name, count)| (name.clone(), *count)) {
                self.0.remove(&rarest);
                count += least;
            }
        }
        self.0.insert(name, count);
    }

    fn most(&self) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(name, count)| (name.clone(), *count))
            .collect();
        all.sort_by(|(a, few), (b, many)| many.cmp(few).then_with(|| a.cmp(b)));
        all
    }
}

/// Fit for a log line.
fn shown(name: &[u8]) -> String {
    /// Bytes of a name that are shown.
    const LONGEST: usize = 64;
    if name.is_empty() {
        return "(without a name)".to_owned();
    }
    let start = name.get(..LONGEST).unwrap_or(name);
    let mut shown = start.escape_ascii().to_string();
    // ASCII, so every place is a boundary.
    shown.truncate(LONGEST);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(tally: &Tally, reason: Reason) -> Option<Line> {
        add(&tally.outcomes, Outcome::Pass as usize);
        add(&tally.reasons, reason as usize);
        tally.line_if_due()
    }

    #[test]
    fn the_line_comes_after_fifty_requests_and_then_at_most_hourly() {
        let tally = Tally::default();
        let mut lines = Vec::new();
        for number in 0..200 {
            let reason = if number % 3 == 0 {
                Reason::Cookie
            } else {
                Reason::Json
            };
            lines.extend(passed(&tally, reason));
        }
        let line = Line {
            unstored: 50,
            requests: 50,
            top: Reason::Json,
            cookies: Vec::new(),
        };
        assert_eq!(lines, [line]);
    }

    #[test]
    fn a_line_that_has_nothing_to_say_yet_stays_due() {
        let tally = Tally::default();
        for _ in 0..60 {
            add(&tally.outcomes, Outcome::Hit as usize);
        }
        for _ in 0..10 {
            assert_eq!(passed(&tally, Reason::Revalidating), None);
        }
        for (name, times) in [("lang", 3), ("session", 5), ("a", 1), ("theme", 4)] {
            (0..times).for_each(|_| tally.cookie(name.as_bytes()));
        }
        let line = Line {
            unstored: 1,
            requests: 71,
            top: Reason::Cookie,
            cookies: ["session", "theme", "lang"].map(str::to_owned).to_vec(),
        };
        assert_eq!(passed(&tally, Reason::Cookie), Some(line));
        assert_eq!(tally.line_if_due(), None);
    }

    #[test]
    fn each_request_is_counted_by_its_outcome_and_its_reason() {
        let tally = Tally::default();
        for (at, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
            tally.count(&Verdict::new(*outcome));
        }
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            tally.count(&Verdict::refused(*reason));
        }
        tally.not_kept(Reason::TooLarge);
        let statistics = tally.statistics();
        assert_eq!(statistics.of(Outcome::Hit), 1);
        assert_eq!(statistics.of(Outcome::Refused), 1 + REASONS as u64);
        assert_eq!(statistics.outcomes.len(), OUTCOMES);
        assert_eq!(statistics.reasons.len(), REASONS);
        assert_eq!(statistics.reasons[&Reason::TooLarge], 2);
        assert_eq!(statistics.reasons[&Reason::Json], 1);
    }

    #[test]
    fn made_up_names_do_not_push_out_the_frequent_ones() {
        let mut names = CookieNames::default();
        for n in 0..10_000 {
            names.count(format!("made-up-{n}"));
            if n % 10 == 0 {
                names.count("session".to_owned());
            }
        }
        assert_eq!(names.0.len(), CookieNames::MOST);
        assert_eq!(names.most()[0].0, "session");
    }

    #[test]
    fn names_are_shown_without_control_characters_and_cut() {
        assert_eq!(shown(b"session"), "session");
        assert_eq!(shown(b"a\x1b[2J\n"), "a\\x1b[2J\\n");
        assert_eq!(shown(&[b'x'; 4000]).len(), 64);
        assert_eq!(shown(&[0xff; 64]).len(), 64);
        assert_eq!(shown(b""), "(without a name)");
    }
}
