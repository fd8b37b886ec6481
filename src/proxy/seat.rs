//! A visit that finds nothing it may use: a seat in the fill, and the answer from there.

use std::sync::{Arc, Mutex};

use http::header::HeaderValue;
use http::{HeaderName, Method};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::flight::{Ending, FillHead, FlightKey, Growth, Handover, Joined, Lead, Progress, Seat, Settled};
use crate::key::{Key, KeyRules};
use crate::outcome::{Forward, Outcome, Reason};
use crate::pattern::Subject;
use crate::policy::accept::Class;
use crate::policy::fill::{FillRequest, FillRules, Purpose, Question, fill_request};
use crate::policy::validate::asks_for;
use crate::proxy::Engine;
use crate::proxy::fill::Fill;
use crate::proxy::memory::Remembered;
use crate::proxy::respond::{Keeping, Verdict};
use crate::proxy::share::{not_for, shared_answer, without_body_for_head};
use crate::proxy::trace;
use crate::proxy::visit::{Learnt, Round, Visit};
use crate::snapshot::{Snapshot, Store};
use crate::tags::Untagged;

impl Engine {
    /// Joins the fill for this visit, or begins it.
    pub(super) async fn take_seat(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        learnt: &mut Learnt,
    ) -> Round {
        let request = match self.fill_request(visit, learnt).await {
            Ok(request) => request,
            Err(Reason::BadRequest) => {
                let (response, verdict) = self.refuse(Reason::BadRequest, &visit.parts.method);
                return Round::Answer(response, verdict);
            }
            Err(reason) => return Round::Pass(reason),
        };
        let found = learnt.stale.as_ref().map(|stale| Arc::clone(&stale.snapshot));
        if request.purpose != Purpose::Page {
            // What is stored is the page, and this is not about the page.
            learnt.stale = None;
        }
        let flight = flight_key(&visit.key, &request);
        match self.memo(visit, flight) {
            Some(Remembered::Lately(reason)) => return Round::Pass(reason),
            Some(Remembered::LongAgo(reason)) => return Round::Probe(reason, flight, request),
            None => {}
        }
        let asked_for = match request.purpose {
            Purpose::Page => found.clone().filter(|found| asks_for(&request, &found.variant)),
            Purpose::Missing => None,
        };
        // A fill would be a GET, which the visitor has not sent: it may use up what a link is good for.
        if visit.parts.method == Method::HEAD && asked_for.is_none() {
            return Round::Pass(Reason::Method);
        }
        if !store.admits_host(&visit.key) {
            return Round::Pass(Reason::Hosts);
        }
        let own = visit.own_line(&request);
        let subject = Subject {
            line: visit.key.line(),
            own: Some(&own),
            tags: &Untagged,
        };
        let role = match self.flights.join(flight, subject) {
            Joined::Follower(seat) => {
                let trace = &visit.target.trace;
                trace.note(|| "fill: that of another request, under way".to_owned());
                Role::follower(seat)
            }
            Joined::Leader(lead, seat, handover) => {
                let filling = Filling {
                    request,
                    flight,
                    found,
                    asked_for,
                };
                if let Some(round) = self.lead(store, visit, learnt, filling, (lead, handover)) {
                    return round;
                }
                Role::leader(seat)
            }
        };
        self.follow(visit, learnt, role).await
    }

    /// What is remembered of such a request. An order finds out anew.
    fn memo(&self, visit: &Visit, flight: FlightKey) -> Option<Remembered> {
        if visit.order.is_some() {
            return None;
        }
        let memo = self.memory.memo(flight, self.clock.unix_seconds())?;
        let (Remembered::Lately(reason) | Remembered::LongAgo(reason)) = memo;
        visit.target.trace.note(|| trace::remembered(reason));
        Some(memo)
    }

    pub(super) async fn fill_request(
        &self,
        visit: &Arc<Visit>,
        learnt: &Learnt,
    ) -> Result<FillRequest, Reason> {
        let (rules, key_rules, via) = (&visit.rules.fill, &visit.rules.key, &self.via.value);
        let (names, apart) = (&learnt.names, learnt.apart);
        if key_rules.custom.is_none() {
            return ask(visit, (names, apart), rules, key_rules, via);
        }
        // Somebody else's function is called many times here: it may hold up this visit, and no other.
        let (visit, names) = (Arc::clone(visit), names.clone());
        let (rules, key_rules, via) = (rules.clone(), key_rules.clone(), via.clone());
        let asked =
            tokio::task::spawn_blocking(move || ask(&visit, (&names, apart), &rules, &key_rules, &via));
        asked.await.unwrap_or(Err(Reason::Key))
    }

    /// Begins the fill, unless there is no need or no room: then the round ends so.
    fn lead(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        learnt: &Learnt,
        filling: Filling,
        (lead, handover): (Lead, oneshot::Sender<Handover>),
    ) -> Option<Round> {
        // Between the lookup and now another fill may have ended.
        let found = filling.found.as_deref();
        if self.has_learnt(visit, learnt, filling.flight)
            || store.has_changed(&visit.key, &|names| visit.select(names), found)
        {
            lead.report(Progress::Over(Ending::Again));
            return Some(Round::Again);
        }
        // Taken before the fill starts: an invalidation from here on overtakes it.
        let epoch = store.epoch();
        let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
            lead.report(Progress::Over(Ending::GiveUp(Reason::Busy)));
            return Some(Round::Pass(Reason::Busy));
        };
        self.begin(store, visit, filling, (epoch, permit), (lead, handover));
        None
    }

    pub(super) fn begin(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        filling: Filling,
        (epoch, permit): (u64, OwnedSemaphorePermit),
        (lead, handover): (Lead, oneshot::Sender<Handover>),
    ) {
        let is_of_page = filling.request.purpose == Purpose::Page;
        let fill = Fill {
            engine: Arc::clone(self),
            store: Arc::clone(store),
            visit: Arc::clone(visit),
            request: filling.request,
            seen: filling.found.filter(|_| is_of_page),
            stale: filling.asked_for,
            flight: filling.flight,
            epoch,
            permit: Mutex::new(Some(permit)),
        };
        // Owned by the permits: shutting down waits for them all.
        tokio::spawn(fill.run(lead, handover));
    }

    /// Whether the memory has an answer by now that it had not when it was asked.
    fn has_learnt(&self, visit: &Visit, learnt: &Learnt, flight: FlightKey) -> bool {
        if visit.order.is_some() {
            return false;
        }
        let now = self.clock.unix_seconds();
        self.missing(visit, learnt, now).is_some()
            || matches!(self.memory.memo(flight, now), Some(Remembered::Lately(_)))
    }

    /// Waits for the fill's head and answers from it.
    async fn follow(&self, visit: &Visit, learnt: &mut Learnt, mut role: Role) -> Round {
        match role.seat.settled().await {
            Progress::Body(head, growth) => self.share(visit, learnt, role, head, growth).await,
            Progress::Over(Ending::Validated) => {
                learnt.validated = true;
                Round::Again
            }
            Progress::Over(Ending::Again) => Round::Again,
            Progress::Over(Ending::Failed(reason)) => match self.in_place_of(visit, learnt, reason).await {
                Some(round) => round,
                None => {
                    let (response, verdict) = self.no_answer(reason, &visit.parts.method);
                    Round::Answer(response, verdict.with_forward(forward_of(learnt)))
                }
            },
            Progress::Over(Ending::Errored) => {
                let reason = Reason::ServerError;
                match self.in_place_of(visit, learnt, reason).await {
                    Some(round) => round,
                    None => self.given_up(visit, learnt, role, reason).await,
                }
            }
            Progress::Over(Ending::GiveUp(reason)) => self.given_up(visit, learnt, role, reason).await,
            Progress::Waiting if role.place == Place::Leader && visit.asks_once() => {
                self.no_second(visit, Reason::Unreachable)
            }
            Progress::Waiting => Round::Pass(Reason::Unreachable),
        }
    }

    async fn in_place_of(&self, visit: &Visit, learnt: &Learnt, reason: Reason) -> Option<Round> {
        self.in_place(visit, reason, learnt.stale.as_ref()?).await
    }

    /// The answer is not shared: who began the fill may have it, others ask for themselves.
    async fn given_up(&self, visit: &Visit, learnt: &Learnt, mut role: Role, reason: Reason) -> Round {
        let Some(handover) = role.seat.handover.take() else {
            return Round::Pass(reason);
        };
        match handover.await {
            Ok((response, reason)) => {
                let verdict = Verdict::new(Outcome::Miss)
                    .with_forward(forward_of(learnt))
                    .with_reason(Some(reason));
                Round::Answer(without_body_for_head(response, &visit.parts.method), verdict)
            }
            Err(_) if visit.asks_once() => self.no_second(visit, reason),
            Err(_) => Round::Pass(reason),
        }
    }

    async fn share(
        &self,
        visit: &Visit,
        learnt: &mut Learnt,
        mut role: Role,
        head: Arc<FillHead>,
        growth: Growth,
    ) -> Round {
        // Who must not ask again gets what they have brought about, whichever variant it is.
        let is_theirs = role.place == Place::Leader && visit.asks_once();
        if !is_theirs && let Some(round) = not_for(visit, learnt, &head) {
            return round;
        }
        let late = role.place == Place::Late && matches!(growth, Growth::Whole(_) | Growth::Settled(..));
        if late && role.seat.committed().await == Settled::Kept {
            learnt.is_settled = true;
            return Round::Again;
        }
        let outcome = match role.place {
            Place::Leader => Outcome::Miss,
            Place::Early | Place::Late => Outcome::Collapsed,
        };
        let now = self.clock.unix_seconds();
        let age = now.saturating_sub(head.generated);
        let verdict = Verdict {
            ttl: head
                .lifetime
                .and_then(|seconds| i64::try_from(seconds.saturating_sub(age)).ok()),
            ..Verdict::new(outcome)
                .with_forward(forward_of(learnt))
                .with_reason(learnt.demanded.map(|_| Reason::ClientDirective))
                .with_keeping(Keeping::Stored)
        };
        let verdict = match growth {
            // Known before anybody had the head.
            Growth::Settled(_, Settled::NotKept(reason @ Reason::Rejected)) => Verdict {
                ttl: None,
                reason: Some(reason),
                keeping: Keeping::NotStored,
                ..verdict
            },
            _ => verdict,
        };
        // Who began the fill has what the backend sent, as it was sent. To who joined later, it is that much older.
        let older = match role.place {
            Place::Leader => 0,
            Place::Early | Place::Late => now.saturating_sub(head.came),
        };
        let age = (older > 0).then_some(age);
        Round::Answer(shared_answer(visit, role.seat, &head, age), verdict)
    }

    /// What was asked has gone to the backend, and its answer is lost.
    fn no_second(&self, visit: &Visit, reason: Reason) -> Round {
        let (response, verdict) = self.no_answer(reason, &visit.parts.method);
        Round::Answer(response, verdict)
    }
}

fn ask(
    visit: &Visit,
    (learned, apart): (&[HeaderName], Option<Class>),
    rules: &FillRules,
    key_rules: &KeyRules,
    via: &HeaderValue,
) -> Result<FillRequest, Reason> {
    let question = Question {
        source: &visit.source(),
        asker: &visit.asker(),
        learned,
        apart,
    };
    let request = fill_request(&question, rules, key_rules, via)?;
    Ok(match visit.carried() {
        Some(credentials) => request.with_credentials(credentials),
        None if !visit.credentials.is_empty() => request.for_nobody(),
        None => request,
    })
}

/// What is to be filled.
pub(super) struct Filling {
    pub(super) request: FillRequest,
    pub(super) flight: FlightKey,
    /// What the lookup found.
    pub(super) found: Option<Arc<Snapshot>>,
    /// The same, if the fill asks for just that.
    pub(super) asked_for: Option<Arc<Snapshot>>,
}

/// A seat and how it was come by.
struct Role {
    seat: Seat,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Leader,
    Early,
    /// The body was already whole: what is being committed will be a hit.
    Late,
}

impl Role {
    fn leader(seat: Seat) -> Self {
        Self {
            seat,
            place: Place::Leader,
        }
    }

    fn follower(seat: Seat) -> Self {
        let is_whole = matches!(
            &*seat.progress.borrow(),
            Progress::Body(_, Growth::Whole(_) | Growth::Settled(..))
        );
        let place = if is_whole { Place::Late } else { Place::Early };
        Self { seat, place }
    }
}

fn forward_of(learnt: &Learnt) -> Forward {
    if let Some(forward) = learnt.demanded {
        forward
    } else if learnt.stale.is_some() {
        Forward::Stale
    } else if learnt.names.is_empty() {
        Forward::UriMiss
    } else {
        Forward::VaryMiss
    }
}

/// The key, and what goes out beside it: who sends credentials waits with nobody who sends others, and what is
/// remembered of their answer is theirs.
pub(super) fn flight_key(key: &Key, request: &FillRequest) -> FlightKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.hash.as_bytes());
    hasher.update(match request.apart {
        None => b"page",
        Some(Class::Document) => b"docu",
        Some(Class::Other) => b"else",
    });
    request.sent.hash_into(&mut hasher);
    request.credentials.hash_into(&mut hasher);
    FlightKey(*hasher.finalize().as_bytes())
}
