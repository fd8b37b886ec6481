//! Bounded tables of what is known without a file: pages that are not there, and pages that cannot be
//! stored.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::flight::FlightKey;
use crate::head::{StoredHead, VariantKey};
use crate::key::{Key, KeyHash};
use crate::outcome::Reason;
use crate::pattern::{KeyPattern, Subject};
use crate::proxy::invalidation::Forgets;

/// A 404 or 410, whole.
#[derive(Debug)]
pub(crate) struct Negative {
    pub(crate) head: StoredHead,
    pub(crate) body: Bytes,
    /// Seconds since 1970, both.
    pub(crate) generated: u64,
    pub(crate) until: u64,
}

/// The largest body of an answer that is kept in memory, in bytes.
pub(crate) const MAX_NEGATIVE: u64 = 256 << 10;
/// About so many keys are expected.
const NEGATIVES: usize = 4096;
/// All negative answers together, in bytes.
const NEGATIVE_BYTES: u64 = 32 << 20;
const NEGATIVE_VARIANTS: usize = 4;
const MEMOS: usize = 65_536;

/// The answers for one key.
struct Negatives {
    key: Box<str>,
    own: Box<str>,
    names: Vec<HeaderName>,
    answers: Vec<(VariantKey, Arc<Negative>)>,
}

/// Negative answers weigh what their bodies do, and something for themselves.
#[derive(Clone)]
struct ByBody;

impl Weighter<KeyHash, Arc<Negatives>> for ByBody {
    fn weight(&self, _: &KeyHash, known: &Arc<Negatives>) -> u64 {
        let bodies: u64 = known
            .answers
            .iter()
            .map(|(_, negative)| negative.body.len() as u64)
            .sum();
        bodies + 1024
    }
}

struct Memo {
    reason: Reason,
    /// Seconds since 1970.
    until: u64,
    key: Box<str>,
    own: Box<str>,
}

/// That an answer could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// Requests pass.
    Lately(Reason),
    /// Requests pass, and an answer that could be stored opens the question again. So a page that is
    /// never stored is fetched for nobody once, not again and again.
    LongAgo(Reason),
}

/// See the module.
pub(crate) struct Memory {
    negatives: Cache<KeyHash, Arc<Negatives>, ByBody>,
    memos: Cache<FlightKey, Arc<Memo>>,
    /// Seconds; 0 is off.
    pass_ttl: u64,
}

impl Memory {
    pub(crate) fn new(pass_ttl: u64) -> Self {
        Self {
            negatives: Cache::with_weighter(NEGATIVES, NEGATIVE_BYTES, ByBody),
            memos: Cache::new(MEMOS),
            pass_ttl,
        }
    }

    /// The answer in memory that `select` selects, if it has not expired at `now`.
    pub(crate) fn negative(
        &self,
        key: &Key,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
        now: u64,
    ) -> Option<Arc<Negative>> {
        let known = self.negatives.get(&key.hash)?;
        let wanted = select(&known.names);
        let (_, negative) = known.answers.iter().find(|(variant, _)| *variant == wanted)?;
        (negative.generated <= now && now < negative.until).then(|| Arc::clone(negative))
    }

    /// The fields by which the answers in memory for `key` vary.
    pub(crate) fn names(&self, key: &Key) -> Option<Vec<HeaderName>> {
        self.negatives.get(&key.hash).map(|known| known.names.clone())
    }

    pub(crate) fn keep_negative(&self, key: &Key, own: &str, variant: VariantKey, negative: Negative) {
        let names = variant.names();
        let mut answers: Vec<_> = match self.negatives.get(&key.hash) {
            Some(known) if known.names == names => {
                let others = known.answers.iter().filter(|(other, _)| *other != variant);
                others.take(NEGATIVE_VARIANTS - 1).cloned().collect()
            }
            _ => Vec::new(),
        };
        answers.push((variant, Arc::new(negative)));
        let entry = Negatives {
            key: key.text.clone(),
            own: own.into(),
            names,
            answers,
        };
        self.negatives.insert(key.hash, Arc::new(entry));
    }

    /// Why an earlier answer to the same question could not be stored.
    pub(crate) fn memo(&self, key: FlightKey, now: u64) -> Option<Remembered> {
        let memo = self.memos.get(&key)?;
        Some(match now < memo.until {
            true => Remembered::Lately(memo.reason),
            false => Remembered::LongAgo(memo.reason),
        })
    }

    /// Remembers from `now` on.
    pub(crate) fn remember(&self, flight: FlightKey, key: &Key, own: &str, (reason, now): (Reason, u64)) {
        if self.pass_ttl == 0 {
            return;
        }
        let memo = Memo {
            reason,
            until: now.saturating_add(self.pass_ttl),
            key: key.text.clone(),
            own: own.into(),
        };
        self.memos.insert(flight, Arc::new(memo));
    }

    /// The question is open again.
    pub(crate) fn reopen(&self, flight: FlightKey) {
        self.memos.remove(&flight);
    }
}

impl Forgets for Memory {
    fn forget(&self, patterns: &[KeyPattern]) -> u64 {
        let fits = |key: &str, own: &str| {
            let subject = Subject {
                line: crate::key::line_of(key),
                own: Some(own),
            };
            patterns.iter().any(|pattern| pattern.is_match(subject))
        };
        let forgotten = std::cell::Cell::new(0);
        self.negatives.retain(|_, known| {
            let goes = fits(&known.key, &known.own);
            if goes {
                forgotten.set(forgotten.get() + known.answers.len() as u64);
            }
            !goes
        });
        self.memos.retain(|_, memo| !fits(&memo.key, &memo.own));
        forgotten.get()
    }
}
