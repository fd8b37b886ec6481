//! Bounded tables of what is known without a file: pages that are not there, pages that cannot be stored,
//! and how often pages were asked for that are not stored yet.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderName;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::flight::FlightKey;
use crate::head::{StoredHead, VariantKey};
use crate::key::{Key, KeyHash};
use crate::outcome::Reason;
use crate::pattern::{KeyPattern, Subject};
use crate::policy::accept::Class;
use crate::proxy::invalidation::Forgets;
use crate::tags::{Tag, Tagged, Untagged};

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
/// About so many questions are expected.
const MEMOS: usize = 16_384;
/// All memos together, in bytes.
const MEMO_BYTES: u64 = 16 << 20;
/// How often the time may double for which a page passes.
const MOST_DOUBLINGS: u32 = 6;
/// How many visitors' own answers may say for nothing that the page cannot be stored, until a fill sees for
/// itself: what they send besides may be the reason, and the page is another one without it.
const MOST_PROBES: u32 = 3;

/// Keys whose uses are counted at once.
const USES: usize = 65_536;

/// The answers for one key and one class of visitors.
struct Negatives {
    key: Box<str>,
    own: Box<str>,
    names: Vec<HeaderName>,
    answers: Vec<(VariantKey, Arc<Negative>)>,
}

impl Tagged for Negatives {
    fn has(&self, tag: &Tag) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|(_, negative)| negative.head.tags.has(tag))
    }
}

/// What an entry takes beside its texts, about.
const OVERHEAD: u64 = 512;

/// Entries weigh what they hold: whoever asks chooses the length of the key.
#[derive(Clone)]
struct ByBytes;

impl Weighter<(KeyHash, Class), Arc<Negatives>> for ByBytes {
    fn weight(&self, _: &(KeyHash, Class), known: &Arc<Negatives>) -> u64 {
        let answers = known.answers.iter().map(|(variant, negative)| {
            let values = variant
                .0
                .iter()
                .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, |value| value.len()));
            let fields = negative
                .head
                .headers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len());
            negative.body.len() + negative.head.tags.bytes() + values.sum::<usize>() + fields.sum::<usize>()
        });
        (known.key.len() + known.own.len() + answers.sum::<usize>()) as u64 + OVERHEAD
    }
}

impl Weighter<FlightKey, Arc<Memo>> for ByBytes {
    fn weight(&self, _: &FlightKey, memo: &Arc<Memo>) -> u64 {
        (memo.key.len() + memo.own.len()) as u64 + OVERHEAD
    }
}

#[derive(Clone)]
struct Memo {
    reason: Reason,
    /// Seconds since 1970.
    since: u64,
    standing: MemoStanding,
    /// How often the question was opened again for nothing.
    reopened: u32,
    /// Visitors' own answers, since the time was over, that could not be stored either.
    probes: u32,
    key: Box<str>,
    own: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MemoStanding {
    /// Until this second since 1970, requests pass and nothing is asked.
    Until(u64),
    /// The next request is a fill.
    Open,
}

/// That an answer could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// Requests pass.
    Lately(Reason),
    /// Requests pass, and an answer that could be stored opens the question again; so do a few that could
    /// not. So a page that is never stored is fetched for nobody ever more seldom.
    LongAgo(Reason),
}

/// What is remembered of, and whether an invalidation has come since its fetch began. That is asked under the
/// lock under which invalidations forget, so nothing is remembered that they should have reached.
pub(crate) struct Subjected<'a> {
    pub(crate) key: &'a Key,
    /// `METHOD:/path?query` as filled.
    pub(crate) own: &'a str,
    pub(crate) is_overtaken: &'a dyn Fn() -> bool,
}

/// See the module.
pub(crate) struct Memory {
    negatives: Cache<(KeyHash, Class), Arc<Negatives>, ByBytes>,
    memos: Cache<FlightKey, Arc<Memo>, ByBytes>,
    /// How often keys of which nothing is stored were asked for. An invalidation leaves it: who asks is as many
    /// as before.
    uses: Cache<KeyHash, Arc<AtomicUsize>>,
    /// Seconds; 0 is off.
    pass_ttl: u64,
    /// Held while something is remembered, or forgotten for an invalidation.
    changing: Mutex<()>,
}

impl Memory {
    pub(crate) fn new(pass_ttl: u64) -> Self {
        Self {
            negatives: Cache::with_weighter(NEGATIVES, NEGATIVE_BYTES, ByBytes),
            memos: Cache::with_weighter(MEMOS, MEMO_BYTES, ByBytes),
            uses: Cache::new(USES),
            pass_ttl,
            changing: Mutex::default(),
        }
    }

    /// The answer for `class` that `select` selects, if it has not expired at `now`.
    pub(crate) fn negative(
        &self,
        key: &Key,
        class: Class,
        select: &dyn Fn(&[HeaderName]) -> VariantKey,
        now: u64,
    ) -> Option<Arc<Negative>> {
        let known = self.negatives.get(&(key.hash, class))?;
        let wanted = select(&known.names);
        let (_, negative) = known.answers.iter().find(|(variant, _)| *variant == wanted)?;
        (negative.generated <= now && now < negative.until).then(|| Arc::clone(negative))
    }

    /// The fields by which the answers for `class` vary.
    pub(crate) fn names(&self, key: &Key, class: Class) -> Option<Vec<HeaderName>> {
        self.negatives
            .get(&(key.hash, class))
            .map(|known| known.names.clone())
    }

    /// Says whether it was kept.
    pub(crate) fn keep_negative(
        &self,
        subject: &Subjected<'_>,
        class: Class,
        variant: VariantKey,
        negative: Negative,
    ) -> bool {
        let _changing = self.changing();
        if (subject.is_overtaken)() {
            return false;
        }
        let place = (subject.key.hash, class);
        let names = variant.names();
        let mut answers: Vec<_> = match self.negatives.get(&place) {
            Some(known) if known.names == names => {
                let others = known.answers.iter().filter(|(other, _)| *other != variant);
                // The newest stay.
                let others: Vec<_> = others.cloned().collect();
                let from = others.len().saturating_sub(NEGATIVE_VARIANTS - 1);
                others.into_iter().skip(from).collect()
            }
            _ => Vec::new(),
        };
        answers.push((variant, Arc::new(negative)));
        let entry = Negatives {
            key: subject.key.text.clone(),
            own: subject.own.into(),
            names,
            answers,
        };
        self.negatives.insert(place, Arc::new(entry));
        true
    }

    /// Counts a request, and says how many there have been; beyond `most` nobody needs to know.
    pub(crate) fn use_of(&self, key: &Key, most: usize) -> usize {
        if most <= 1 {
            return 1;
        }
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(uses) = self.uses.get_or_insert_with(&key.hash, fresh);
        let before = uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |uses| uses.checked_add(1));
        before.map_or(usize::MAX, |before| before + 1)
    }

    /// Why an earlier answer to the same question could not be stored.
    pub(crate) fn memo(&self, key: FlightKey, now: u64) -> Option<Remembered> {
        let memo = self.memos.get(&key)?;
        match memo.standing {
            // A clock that was put back says nothing of how long ago it was.
            MemoStanding::Until(end) if (memo.since..end).contains(&now) => {
                Some(Remembered::Lately(memo.reason))
            }
            MemoStanding::Until(_) => Some(Remembered::LongAgo(memo.reason)),
            MemoStanding::Open => None,
        }
    }

    /// Remembers from `now` on what a fill has found.
    pub(crate) fn remember(&self, flight: FlightKey, subject: &Subjected<'_>, (reason, now): (Reason, u64)) {
        if self.pass_ttl == 0 {
            return;
        }
        let _changing = self.changing();
        if (subject.is_overtaken)() {
            return;
        }
        let known = self.memos.get(&flight);
        let before = known.as_ref().map_or(0, |memo| memo.reopened);
        let was_open = known.is_some_and(|memo| memo.standing == MemoStanding::Open);
        let reopened = match was_open {
            true => (before + 1).min(MOST_DOUBLINGS),
            false => before,
        };
        let patience = self.pass_ttl.saturating_mul(1 << reopened);
        let memo = Memo {
            reason,
            since: now,
            standing: MemoStanding::Until(now.saturating_add(patience)),
            reopened,
            probes: 0,
            key: subject.key.text.clone(),
            own: subject.own.into(),
        };
        self.memos.insert(flight, Arc::new(memo));
    }

    /// The question is open again. What was found in a body shows in no head: where the next fill finds it
    /// again, twice as long passes until the one after.
    pub(crate) fn reopen(&self, flight: FlightKey) {
        self.change(flight, |memo| memo.standing = MemoStanding::Open);
    }

    /// A visitor's own answer could not be stored. That prolongs nothing: one visitor in each while would keep
    /// the page out for ever.
    pub(crate) fn tried(&self, flight: FlightKey, (reason, now): (Reason, u64)) {
        // Another fill may have ended while the visitor was waiting.
        if matches!(self.memo(flight, now), Some(Remembered::Lately(_))) {
            return;
        }
        self.change(flight, |memo| {
            memo.reason = reason;
            memo.probes = memo.probes.saturating_add(1);
            if memo.probes >= MOST_PROBES {
                memo.standing = MemoStanding::Open;
            }
        });
    }

    /// The answer is stored now.
    pub(crate) fn settle(&self, flight: FlightKey) {
        let _changing = self.changing();
        self.memos.remove(&flight);
    }

    /// Changes what is remembered, if it still is.
    fn change(&self, flight: FlightKey, how: impl FnOnce(&mut Memo)) {
        let _changing = self.changing();
        if let Some(known) = self.memos.get(&flight) {
            let mut memo = Memo::clone(&known);
            how(&mut memo);
            self.memos.insert(flight, Arc::new(memo));
        }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forgets for Memory {
    fn forget(&self, patterns: &[KeyPattern]) -> u64 {
        let fits = |key: &str, own: &str, tags: &dyn Tagged| {
            let subject = Subject {
                line: crate::key::line_of(key),
                own: Some(own),
                tags,
            };
            patterns.iter().any(|pattern| pattern.is_match(subject))
        };
        let _changing = self.changing();
        let forgotten = std::cell::Cell::new(0);
        self.negatives.retain(|_, known| {
            let goes = fits(&known.key, &known.own, &**known);
            if goes {
                forgotten.set(forgotten.get() + known.answers.len() as u64);
            }
            !goes
        });
        self.memos
            .retain(|_, memo| !fits(&memo.key, &memo.own, &Untagged));
        forgotten.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Ready;
    use crate::tags::Tags;
    use http::{HeaderMap, StatusCode};

    fn subject<'a>(key: &'a Key, is_overtaken: &'a dyn Fn() -> bool) -> Subjected<'a> {
        Subjected {
            key,
            own: key.line(),
            is_overtaken,
        }
    }

    fn keep(memory: &Memory, key: &Key, class: Class, body: &'static [u8]) -> bool {
        let negative = Negative {
            head: StoredHead {
                status: StatusCode::NOT_FOUND,
                headers: HeaderMap::new(),
                expires_after: None,
                tags: Tags::default(),
                ready: Ready::default(),
            },
            body: Bytes::from_static(body),
            generated: 0,
            until: 60,
        };
        memory.keep_negative(&subject(key, &|| false), class, VariantKey::default(), negative)
    }

    fn body(memory: &Memory, key: &Key, class: Class) -> Option<Bytes> {
        let found = memory.negative(key, class, &|_| VariantKey::default(), 1);
        found.map(|negative| negative.body.clone())
    }

    #[test]
    fn classes_are_kept_apart_and_an_invalidation_drops_both() {
        let memory = Memory::new(120);
        let key = Key::from_text("GET:/gone");
        keep(&memory, &key, Class::Document, b"page");
        keep(&memory, &key, Class::Other, b"data");
        assert_eq!(body(&memory, &key, Class::Document).unwrap(), "page");
        assert_eq!(body(&memory, &key, Class::Other).unwrap(), "data");
        let dropped = memory.forget(&[KeyPattern::parse("/gone").unwrap()]);
        assert_eq!(dropped, 2);
        assert_eq!(body(&memory, &key, Class::Document), None);
        assert_eq!(body(&memory, &key, Class::Other), None);
    }

    #[test]
    fn a_flood_of_both_classes_stays_below_its_bound() {
        let memory = Memory::new(120);
        for n in 0..3000 {
            let key = Key::from_text(format!("GET:/{n}?{}", "x".repeat(20_000)));
            keep(&memory, &key, Class::Document, b"page");
            keep(&memory, &key, Class::Other, b"data");
            memory.remember(
                FlightKey(*key.hash.as_bytes()),
                &subject(&key, &|| false),
                (Reason::NoStore, 0),
            );
        }
        assert!(memory.negatives.weight() <= NEGATIVE_BYTES);
        assert!(memory.memos.weight() <= MEMO_BYTES);
        assert!(memory.negatives.len() < 3000 && memory.memos.len() < 3000);
    }

    #[test]
    fn uses_are_counted_by_key_and_for_so_many_keys() {
        let memory = Memory::new(120);
        let (a, b) = (Key::from_text("GET:/a"), Key::from_text("GET:/b"));
        let counts = [&a, &a, &b, &a].map(|key| memory.use_of(key, 9));
        assert_eq!(counts, [1, 2, 1, 3]);
        memory.forget(&[KeyPattern::parse("*").unwrap()]);
        assert_eq!(memory.use_of(&a, 9), 4);
        for n in 0..3 * USES {
            memory.use_of(&Key::from_text(format!("GET:/{n}")), 9);
        }
        assert!(memory.uses.len() <= USES + USES / 10, "{}", memory.uses.len());
    }

    #[test]
    fn what_an_invalidation_has_overtaken_is_not_remembered() {
        let memory = Memory::new(120);
        let key = Key::from_text("GET:/");
        let flight = FlightKey([0; 32]);
        memory.remember(flight, &subject(&key, &|| true), (Reason::NoStore, 0));
        assert_eq!(memory.memo(flight, 1), None);
        memory.remember(flight, &subject(&key, &|| false), (Reason::NoStore, 0));
        assert_eq!(memory.memo(flight, 1), Some(Remembered::Lately(Reason::NoStore)));
        memory.forget(&[KeyPattern::parse("*").unwrap()]);
        assert_eq!(memory.memo(flight, 1), None);
    }

    #[test]
    fn a_question_that_is_opened_for_nothing_is_opened_ever_more_seldom() {
        let memory = Memory::new(100);
        let key = Key::from_text("GET:/");
        let flight = FlightKey([0; 32]);
        let mut now = 0;
        for patience in [100, 200, 400, 800] {
            let found = (Reason::CsrfField, now);
            memory.remember(flight, &subject(&key, &|| false), found);
            assert_eq!(
                memory.memo(flight, now + patience - 1),
                Some(Remembered::Lately(Reason::CsrfField))
            );
            now += patience;
            assert_eq!(
                memory.memo(flight, now),
                Some(Remembered::LongAgo(Reason::CsrfField))
            );
            memory.reopen(flight);
            assert_eq!(memory.memo(flight, now), None);
        }
        // What is stored meanwhile begins anew.
        memory.settle(flight);
        memory.remember(flight, &subject(&key, &|| false), (Reason::CsrfField, now));
        assert!(matches!(
            memory.memo(flight, now + 99),
            Some(Remembered::Lately(_))
        ));
        assert!(matches!(
            memory.memo(flight, now + 100),
            Some(Remembered::LongAgo(_))
        ));
    }

    #[test]
    fn visitors_own_answers_open_a_question_and_prolong_nothing() {
        let memory = Memory::new(100);
        let key = Key::from_text("GET:/");
        let flight = FlightKey([0; 32]);
        memory.tried(flight, (Reason::NoStore, 0));
        assert_eq!(memory.memo(flight, 0), None, "nothing is learnt from them alone");
        memory.remember(flight, &subject(&key, &|| false), (Reason::NoStore, 0));
        memory.tried(flight, (Reason::Private, 99));
        for now in [100, 150] {
            memory.tried(flight, (Reason::Private, now));
            let expected = Some(Remembered::LongAgo(Reason::Private));
            assert_eq!(memory.memo(flight, now + 1), expected);
        }
        memory.tried(flight, (Reason::Private, 199));
        assert_eq!(memory.memo(flight, 200), None);
    }
}
