//! What is stored, in place of an answer that the backend owes; and for how long it is not asked again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Response;
use quick_cache::sync::Cache;

use crate::flight::{Ending, Lead, Progress};
use crate::head::{Generated, VariantId};
use crate::headers::strip_hop_by_hop;
use crate::key::KeyHash;
use crate::outcome::{Outcome, Reason};
use crate::pattern::Subject;
use crate::policy::reuse::{Standing, is_failure, may_serve_stale};
use crate::policy::store::Owner;
use crate::proxy::Engine;
use crate::proxy::fill::{Fill, Handed};
use crate::proxy::respond::Verdict;
use crate::proxy::visit::{Round, Stale, Visit};
use crate::serve::Times;
use crate::snapshot::{Snapshot, Store};

/// For so long after an attempt that came to nothing a page is not asked for again while it may answer as it
/// is, in seconds.
const PAUSE: u64 = 2;
/// About so many pages pause at once; one that is forgotten is asked for.
const PAUSES: usize = 16_384;

/// A page as a backend is asked for it: key and variant.
pub(super) type PageId = (KeyHash, Option<VariantId>);

pub(super) fn page_id(visit: &Visit, snapshot: &Snapshot) -> PageId {
    (visit.key.hash, snapshot.variant.id())
}

/// Attempts that came to nothing a moment ago.
pub(crate) struct Pauses(Cache<PageId, Pause>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    reason: Reason,
    /// The number of the last invalidation before it.
    epoch: u64,
    begun: Instant,
    /// Seconds since 1970.
    since: u64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self(Cache::new(PAUSES))
    }
}

impl Pauses {
    pub(super) fn begin(&self, page: PageId, (reason, epoch): (Reason, u64), now: u64) {
        let pause = Pause {
            reason,
            epoch,
            begun: Instant::now(),
            since: now,
        };
        self.0.insert(page, pause);
    }

    pub(super) fn end(&self, page: &PageId) {
        self.0.remove(page);
    }

    /// Over when either clock says so: a wall clock that was set back would make it long.
    fn get(&self, page: &PageId, now: u64) -> Option<Pause> {
        let pause = self.0.get(page)?;
        let is_on = pause.begun.elapsed() < Duration::from_secs(PAUSE)
            && (pause.since..pause.since.saturating_add(PAUSE)).contains(&now);
        is_on.then_some(pause)
    }
}

impl Engine {
    /// Why the last attempt came to nothing, if that was a moment ago and no invalidation has come since: who
    /// invalidates may have mended something.
    pub(super) fn lately(&self, store: &Store, page: &PageId, subject: Subject<'_>) -> Option<Reason> {
        let pause = self.pauses.get(page, self.clock.unix_seconds())?;
        (!store.is_overtaken(pause.epoch, subject)).then_some(pause.reason)
    }

    /// As [`lately`](Self::lately), if the backend failed and what is stored may answer for it.
    pub(super) fn paused(
        &self,
        store: &Store,
        visit: &Visit,
        (snapshot, generated): (&Arc<Snapshot>, Generated),
        standing: &Standing,
    ) -> Option<Reason> {
        let page = page_id(visit, snapshot);
        let reason = self.lately(store, &page, subject_of(visit, snapshot))?;
        let failed = matches!(
            reason,
            Reason::Unreachable | Reason::Timeout | Reason::ServerError
        );
        let rules = &visit.rules.store.lifetimes;
        let may = || may_serve_stale(&snapshot.rendering.head, generated, standing, rules);
        (failed && may()).then_some(reason)
    }

    /// What is stored, in place of an answer, if it may (RFC 9111 §4.2.4). How old it is by now counts: the
    /// backend may have taken its time to fail.
    pub(super) async fn in_place(&self, visit: &Visit, reason: Reason, stale: &Stale) -> Option<Round> {
        let standing = self.reuse_of(visit, &stale.snapshot, stale.generated).standing();
        let rules = &visit.rules.store.lifetimes;
        if !may_serve_stale(&stale.snapshot.rendering.head, stale.generated, &standing, rules) {
            return None;
        }
        let head = &stale.snapshot.rendering.head;
        let times = Times::of_stale(stale.generated, self.clock.unix_seconds(), head);
        let store = self.store.as_ref()?;
        let response = self.serve(store, visit, &stale.snapshot, times).await.ok()?;
        Some(Round::Answer(response, Verdict::stale(&standing, reason)))
    }

    /// Passes a visit. Where only room or the right to write was wanting for a validation, what is stored
    /// answers if the backend fails.
    pub(super) async fn pass_or_stale(
        &self,
        visit: &Visit,
        reason: Reason,
        stale: Option<Stale>,
    ) -> (Response<Body>, Verdict) {
        let (response, verdict) = self.pass_visit(visit, reason).await;
        let failed = match verdict.outcome {
            Outcome::Failed => verdict.reason,
            Outcome::Pass if is_failure(response.status()) => Some(Reason::ServerError),
            _ => None,
        };
        let is_validation = matches!(reason, Reason::Busy | Reason::ReadOnly) && !visit.asks_once();
        // No pause begins: what a visitor's own request has the backend fail at says nothing of the page.
        if let (Some(failed), Some(stale), true) = (failed, stale, is_validation)
            && let Some(Round::Answer(response, verdict)) = self.in_place(visit, failed, &stale).await
        {
            return (response, verdict);
        }
        (response, verdict)
    }
}

pub(super) fn subject_of<'a>(visit: &'a Visit, snapshot: &'a Snapshot) -> Subject<'a> {
    Subject {
        line: visit.key.line(),
        own: Some(&snapshot.own),
        tags: &snapshot.rendering.head.tags,
    }
}

impl Fill {
    /// The backend gave no answer.
    pub(super) fn fail(&self, lead: &Lead, reason: Reason) {
        self.pause(reason);
        lead.report(Progress::Over(Ending::Failed(reason)));
    }

    /// The backend answers with a server error, and something is stored: that is never lost to one. Whoever may
    /// have it answers from it; else who began the fill gets the error.
    pub(super) fn errs(&self, lead: &Lead, (mut response, handover): Handed) {
        let reason = Reason::ServerError;
        let ending = match is_failure(response.status()) {
            true => {
                self.pause(reason);
                Ending::Errored
            }
            false => Ending::GiveUp(reason),
        };
        lead.close();
        strip_hop_by_hop(response.headers_mut());
        // Who began the fill may have gone away; then nobody gets it. To whom it is not handed, asks as themselves.
        if self.owner_of(&response, reason) == Owner::First {
            let _ = handover.send((response, reason));
        }
        lead.report(Progress::Over(ending));
    }

    /// Only where just that page was asked for, and for nobody: what a visitor's own fields or credentials bring
    /// about says nothing of what the others would get, and would keep it from them.
    fn pause(&self, reason: Reason) {
        let is_for_nobody = self.request.credentials.is_empty();
        if let Some(stale) = self.stale.as_ref().filter(|_| is_for_nobody) {
            let now = self.engine.clock.unix_seconds();
            let page = page_id(&self.visit, stale);
            self.engine.pauses.begin(page, (reason, self.epoch), now);
        }
    }

    /// What was asked for is stored now, or still.
    pub(super) fn settle(&self) {
        self.engine.memory.settle(self.flight);
        if let Some(stale) = &self.stale {
            self.engine.pauses.end(&page_id(&self.visit, stale));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_by_the_wall_clock_too_and_when_it_is_set_back() {
        let pauses = Pauses::default();
        let page = (crate::key::Key::from_text("GET:/").hash, None);
        pauses.begin(page, (Reason::Timeout, 0), 100);
        for (now, expected) in [(99, false), (100, true), (101, true), (102, false)] {
            assert_eq!(pauses.get(&page, now).is_some(), expected, "{now}");
        }
        pauses.end(&page);
        assert!(pauses.get(&page, 100).is_none());
    }

    #[test]
    fn pauses_are_bounded() {
        let pauses = Pauses::default();
        for n in 0..4 * PAUSES {
            let key = crate::key::Key::from_text(format!("GET:/{n}"));
            pauses.begin((key.hash, None), (Reason::Timeout, 0), 0);
        }
        assert!(pauses.0.len() <= 2 * PAUSES, "{}", pauses.0.len());
    }
}
