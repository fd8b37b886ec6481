//! Renewal behind a visit: stale pages within `stale-while-revalidate` (RFC 5861 §3), and popular ones shortly
//! before their end (`refresh_ahead`).
//!
//! A renewal is a fill like any other: it shares the flight with whoever else asks, carries the stored
//! validators, and takes a permit, so that there are at most `max_fills` and shutting down waits for it. Only
//! nobody reads it. It has a seat of its own for as long as a visitor would wait, so that it is not given up for
//! want of readers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::flight::{Ending, Growth, Joined, Progress, Seat, Settled};
use crate::outcome::Reason;
use crate::pattern::Subject;
use crate::policy::fill::Purpose;
use crate::policy::validate::asks_for;
use crate::proxy::Engine;
use crate::proxy::memory::Remembered;
use crate::proxy::seat::{Filling, flight_key};
use crate::proxy::stale::{PageId, page_id, subject_of};
use crate::proxy::visit::{Learnt, Visit, may_write};
use crate::snapshot::{Snapshot, Store};
use crate::tags::Untagged;

/// Why a page is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its lifetime is over.
    Stale,
    /// It is about to be.
    Ahead,
}

/// The pages that are being renewed; as many as there are permits at most.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<HashSet<PageId>>);

impl Renewals {
    fn pages(&self) -> MutexGuard<'_, HashSet<PageId>> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One renewal, until it is dropped.
struct Turn {
    engine: Arc<Engine>,
    page: PageId,
}

impl Turn {
    fn take(engine: &Arc<Engine>, page: PageId) -> Option<Self> {
        engine.renewals.pages().insert(page).then(|| Self {
            engine: Arc::clone(engine),
            page,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.engine.renewals.pages().remove(&self.page);
    }
}

/// What is renewed, and for whose visit.
struct Renewal {
    store: Arc<Store>,
    visit: Arc<Visit>,
    snapshot: Arc<Snapshot>,
}

impl Engine {
    /// Has a page renewed behind the visit, unless that is under way or came to nothing a moment ago. Says how
    /// things are, for a visitor who gets the page stale.
    pub(super) fn renew(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        snapshot: &Arc<Snapshot>,
        cause: Cause,
    ) -> Reason {
        let page = page_id(visit, snapshot);
        if let Some(reason) = self.lately(store, &page, subject_of(visit, snapshot)) {
            return reason;
        }
        // Whoever wants nothing of the backend causes nothing there.
        if visit.asks_once() || visit.wishes.only_if_cached || !store.is_writable() {
            return Reason::Revalidating;
        }
        let Some(turn) = Turn::take(self, page) else {
            return Reason::Revalidating;
        };
        // Held from here on: shutting down waits for what is begun.
        let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
            return Reason::Busy;
        };
        let renewal = Renewal {
            store: Arc::clone(store),
            visit: Arc::clone(visit),
            snapshot: Arc::clone(snapshot),
        };
        tokio::spawn(renewal.run(turn, permit, cause));
        Reason::Revalidating
    }
}

impl Renewal {
    async fn run(self, turn: Turn, permit: OwnedSemaphorePermit, cause: Cause) {
        let engine = Arc::clone(&turn.engine);
        let epoch = self.store.epoch();
        let came_to = self.fill(&engine, permit).await;
        let pause = match (came_to, cause) {
            (CameTo::Nothing, _) | (CameTo::Renewed, Cause::Stale) => return,
            // What comes near its end from the backend would be renewed at every hit.
            (CameTo::Renewed, Cause::Ahead) => Reason::Revalidating,
            (CameTo::Failed(reason), _) => reason,
        };
        tracing::debug!(
            key = self.visit.key.line(),
            reason = pause.as_str(),
            "a page is not renewed again for a while"
        );
        let now = engine.clock.unix_seconds();
        engine.pauses.begin(turn.page, (pause, epoch), now);
    }

    /// Begins the fill, and waits for its end.
    async fn fill(&self, engine: &Arc<Engine>, permit: OwnedSemaphorePermit) -> CameTo {
        let (store, visit) = (&self.store, &self.visit);
        let learnt = Learnt {
            // A variant is validated with what selects it.
            names: self.snapshot.variant.names(),
            ..Learnt::default()
        };
        let Ok(request) = engine.fill_request(visit, &learnt).await else {
            return CameTo::Nothing;
        };
        // Another's answer would renew nothing.
        if request.purpose != Purpose::Page || !asks_for(&request, &self.snapshot.variant) {
            return CameTo::Nothing;
        }
        let flight = flight_key(&visit.key, &request);
        let now = engine.clock.unix_seconds();
        if let Some(Remembered::Lately(reason)) = engine.memory.memo(flight, now) {
            return CameTo::Failed(reason);
        }
        if !may_write(store).await {
            return CameTo::Nothing;
        }
        let own = visit.own_line(&request);
        let subject = Subject {
            line: visit.key.line(),
            own: Some(&own),
            tags: &Untagged,
        };
        let Joined::Leader(lead, seat, handover) = engine.flights.join(flight, subject) else {
            return CameTo::Nothing;
        };
        // Between the visit's lookup and now another fill may have ended.
        let seen = Some(&*self.snapshot);
        if store.has_changed(&visit.key, &|names| visit.select(names), seen) {
            lead.report(Progress::Over(Ending::Again));
            return CameTo::Nothing;
        }
        let filling = Filling {
            request,
            flight,
            found: Some(Arc::clone(&self.snapshot)),
            asked_for: Some(Arc::clone(&self.snapshot)),
        };
        // Taken before the fill starts: an invalidation from here on overtakes it.
        let epoch = store.epoch();
        engine.begin(store, visit, filling, (epoch, permit), (lead, handover));
        match tokio::time::timeout(engine.waits.renewal, end(seat)).await {
            Ok(came_to) => came_to,
            Err(_) => CameTo::Failed(Reason::Timeout),
        }
    }
}

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CameTo {
    Renewed,
    /// There was no need, or it was not for this visit to do.
    Nothing,
    Failed(Reason),
}

/// Waits until nothing more is to be seen from the seat, and leaves it: whoever reads from queues does not wait
/// for one who does not.
async fn end(mut seat: Seat) -> CameTo {
    let is_over = |progress: &Progress| {
        !matches!(
            progress,
            Progress::Waiting | Progress::Body(_, Growth::Growing(_) | Growth::Whole(_))
        )
    };
    match seat.progress.wait_for(is_over).await.as_deref() {
        Ok(Progress::Over(Ending::Validated) | Progress::Body(_, Growth::Settled(_, Settled::Kept))) => {
            CameTo::Renewed
        }
        Ok(Progress::Over(Ending::Again)) => CameTo::Nothing,
        Ok(Progress::Over(Ending::Failed(reason) | Ending::GiveUp(reason))) => CameTo::Failed(*reason),
        Ok(Progress::Over(Ending::Errored)) => CameTo::Failed(Reason::ServerError),
        Ok(Progress::Body(_, Growth::Settled(_, Settled::NotKept(reason)))) => CameTo::Failed(*reason),
        _ => CameTo::Failed(Reason::Incomplete),
    }
}
