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
    /// The names of the cookies for which requests passed, and about how many did, most first; 64 at most.
    pub cookies: Vec<(String, u64)>,
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
    cookies: CookieNames,
    /// Since the last line.
    since: u64,
    unstored: HashMap<Reason, u64>,
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

impl Tally {
    pub(crate) fn count(&self, verdict: &Verdict) {
        let line = {
            let mut counts = self.counts();
            *counts.all.outcomes.entry(verdict.outcome).or_default() += 1;
            counts.since += 1;
            if let Some(reason) = verdict.reason {
                *counts.all.reasons.entry(reason).or_default() += 1;
                // As good as a hit: there is nothing to mend.
                if reason != Reason::Revalidating {
                    *counts.unstored.entry(reason).or_default() += 1;
                }
            }
            counts.line_if_due()
        };
        if let Some(line) = line {
            line.say();
        }
    }

    /// A request that passed for the sake of this cookie.
    pub(crate) fn cookie(&self, name: &[u8]) {
        self.counts().cookies.count(shown(name));
    }

    /// A page that was served and, as it turned out after its head, not kept.
    pub(crate) fn not_kept(&self, reason: Reason) {
        let mut counts = self.counts();
        *counts.all.reasons.entry(reason).or_default() += 1;
        *counts.unstored.entry(reason).or_default() += 1;
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let counts = self.counts();
        Statistics {
            cookies: counts.cookies.most(),
            ..counts.all.clone()
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn line_if_due(&mut self) -> Option<Line> {
        let has_waited = self.last_line.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if self.since < FIRST_LINE || !has_waited {
            return None;
        }
        // While there is nothing to say, the line stays due.
        let (top, _) = self
            .unstored
            .iter()
            .max_by_key(|(reason, count)| (**count, reason.as_str()))?;
        let top = *top;
        let by_reason = std::mem::take(&mut self.unstored);
        self.last_line = Some(Instant::now());
        let cookies = match by_reason.contains_key(&Reason::Cookie) {
            true => self.cookies.most(),
            false => Vec::new(),
        };
        Some(Line {
            unstored: by_reason.values().sum(),
            requests: std::mem::take(&mut self.since),
            top,
            cookies: cookies.into_iter().take(NAMED).map(|(name, _)| name).collect(),
        })
    }
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
        let mut counts = Counts {
            since: 70,
            ..Counts::default()
        };
        assert_eq!(counts.line_if_due(), None);
        counts.since += 1;
        *counts.unstored.entry(Reason::Cookie).or_default() += 1;
        for (name, times) in [("lang", 3), ("session", 5), ("a", 1), ("theme", 4)] {
            (0..times).for_each(|_| counts.cookies.count(name.to_owned()));
        }
        let line = Line {
            unstored: 1,
            requests: 71,
            top: Reason::Cookie,
            cookies: ["session", "theme", "lang"].map(str::to_owned).to_vec(),
        };
        assert_eq!(counts.line_if_due(), Some(line));
        assert_eq!(counts.line_if_due(), None);
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
