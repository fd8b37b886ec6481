//! A visit that finds nothing it may use: a seat in the fill, and the answer from there.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{HeaderName, Method, Response};
use tokio::sync::oneshot;

use crate::clock::http_date;
use crate::flight::{Ending, FillHead, FlightKey, Growth, Handover, Joined, Lead, Progress, Seat, Settled};
use crate::key::{Key, KeyRules};
use crate::outcome::{Forward, Outcome, Reason};
use crate::pattern::Subject;
use crate::policy::accept::Class;
use crate::policy::fill::{FillRequest, FillRules, Purpose, Question, fill_request};
use crate::policy::reuse::may_serve_stale;
use crate::policy::store::accepts_coding;
use crate::policy::validate::asks_for;
use crate::proxy::Engine;
use crate::proxy::fill::Fill;
use crate::proxy::memory::Remembered;
use crate::proxy::respond::{Keeping, Verdict, write_age};
use crate::proxy::visit::{Learnt, Round, Stale, Visit};
use crate::serve;
use crate::snapshot::{Snapshot, Store};

impl Engine {
    /// Joins the fill for this visit, or begins it.
    pub(super) async fn take_seat(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        learnt: &mut Learnt,
        stale: Option<Stale>,
    ) -> Round {
        let request = match self.fill_request(visit, learnt).await {
            Ok(request) => request,
            Err(Reason::BadRequest) => {
                let (response, verdict) = self.refuse(Reason::BadRequest, &visit.parts.method);
                return Round::Answer(response, verdict);
            }
            Err(reason) => return Round::Pass(reason),
        };
        let seen = stale.as_ref().map(|stale| Arc::clone(&stale.snapshot));
        // What is stored is the page, and this is not about the page.
        let stale = stale.filter(|_| request.purpose == Purpose::Page);
        let flight = flight_key(&visit.key, &request);
        match self.memory.memo(flight, self.clock.unix_seconds()) {
            Some(Remembered::Lately(reason)) => return Round::Pass(reason),
            Some(Remembered::LongAgo(reason)) => return Round::Probe(reason, flight, request),
            None => {}
        }
        let asked_for = match request.purpose {
            Purpose::Page => seen.clone().filter(|stored| asks_for(&request, &stored.variant)),
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
        };
        let role = match self.flights.join(flight, subject) {
            Joined::Follower(seat) => Role::follower(seat),
            Joined::Leader(lead, seat, handover) => {
                let stored = (seen, asked_for);
                let over = self.lead(store, visit, (request, flight), stored, (lead, handover));
                if let Some(round) = over {
                    return round;
                }
                Role::leader(seat)
            }
        };
        self.follow(visit, learnt, role, stale).await
    }

    async fn fill_request(&self, visit: &Arc<Visit>, learnt: &Learnt) -> Result<FillRequest, Reason> {
        let (rules, key_rules, via) = (&self.rules.fill, &self.rules.key, &self.via.value);
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

    /// Begins the fill, unless there is no need or no room: then the round ends so. `seen` is what the lookup
    /// found to be stale, and `stale` the same if this fill asks for just that.
    fn lead(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        (request, flight): (FillRequest, FlightKey),
        (seen, stale): (Option<Arc<Snapshot>>, Option<Arc<Snapshot>>),
        (lead, handover): (Lead, oneshot::Sender<Handover>),
    ) -> Option<Round> {
        // Between the lookup and now another fill may have ended.
        if self.has_learnt(visit, flight)
            || store.has_changed(&visit.key, &|names| visit.select(names), seen.as_deref())
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
        let fill = Fill {
            engine: Arc::clone(self),
            store: Arc::clone(store),
            visit: Arc::clone(visit),
            request,
            stale,
            flight,
            epoch,
            permit: Mutex::new(Some(permit)),
        };
        // Owned by the permits: shutting down waits for them all.
        tokio::spawn(fill.run(lead, handover));
        None
    }

    /// Whether the memory has an answer by now that it had not when it was asked.
    fn has_learnt(&self, visit: &Visit, flight: FlightKey) -> bool {
        let now = self.clock.unix_seconds();
        let negative = self
            .memory
            .negative(&visit.key, visit.class, &|names| visit.select(names), now);
        negative.is_some() || matches!(self.memory.memo(flight, now), Some(Remembered::Lately(_)))
    }

    /// Waits for the fill's head and answers from it.
    async fn follow(
        &self,
        visit: &Visit,
        learnt: &mut Learnt,
        mut role: Role,
        stale: Option<Stale>,
    ) -> Round {
        match role.seat.settled().await {
            Progress::Body(head, growth) => {
                self.share(visit, learnt, role, head, growth, stale.is_some())
                    .await
            }
            Progress::Over(Ending::Validated) => {
                learnt.validated = true;
                Round::Again
            }
            Progress::Over(Ending::Again) => Round::Again,
            Progress::Over(Ending::Failed(reason)) => {
                let forward = forward_of(learnt, stale.is_some());
                self.without_backend(visit, (reason, forward), stale).await
            }
            Progress::Over(Ending::GiveUp(reason)) => match role.seat.handover.take() {
                Some(handover) => match handover.await {
                    Ok((response, reason)) => {
                        let forward = forward_of(learnt, stale.is_some());
                        let verdict = Verdict::new(Outcome::Miss)
                            .with_forward(forward)
                            .with_reason(Some(reason));
                        Round::Answer(without_body_for_head(response, &visit.parts.method), verdict)
                    }
                    Err(_) if visit.asks_once() => self.no_second(visit, reason),
                    Err(_) => Round::Pass(reason),
                },
                None => Round::Pass(reason),
            },
            Progress::Waiting if role.place == Place::Leader && visit.asks_once() => {
                self.no_second(visit, Reason::Unreachable)
            }
            Progress::Waiting => Round::Pass(Reason::Unreachable),
        }
    }

    async fn share(
        &self,
        visit: &Visit,
        learnt: &mut Learnt,
        mut role: Role,
        head: Arc<FillHead>,
        growth: Growth,
        was_stale: bool,
    ) -> Round {
        // Who must not ask again gets what they have brought about, whichever variant it is.
        let is_theirs = role.place == Place::Leader && visit.asks_once();
        if !is_theirs && let Some(round) = not_for(visit, learnt, &head) {
            return round;
        }
        let late = role.place == Place::Late && matches!(growth, Growth::Whole(_) | Growth::Settled(..));
        if late && role.seat.committed().await == Settled::Kept {
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
                .with_forward(forward_of(learnt, was_stale))
                .with_keeping(Keeping::Stored)
        };
        Round::Answer(shared_answer(visit, role.seat, &head, (age, now)), verdict)
    }

    /// What was asked has gone to the backend, and its answer is lost.
    fn no_second(&self, visit: &Visit, reason: Reason) -> Round {
        let (response, verdict) = self.no_answer(reason, &visit.parts.method);
        Round::Answer(response, verdict)
    }

    /// The backend cannot be asked: what is stored answers if it may (RFC 9111 §4.2.4).
    async fn without_backend(
        &self,
        visit: &Visit,
        (reason, forward): (Reason, Forward),
        stale: Option<Stale>,
    ) -> Round {
        if let Some(stale) = stale
            && may_serve_stale(&stale.snapshot.rendering.head, stale.generated, &stale.standing)
            && let Ok(response) = self.serve(visit, &stale.snapshot, &stale.standing).await
        {
            let verdict = Verdict {
                ttl: stale.standing.ttl,
                reason: Some(reason),
                ..Verdict::new(Outcome::Stale)
            };
            return Round::Answer(response, verdict);
        }
        let (response, verdict) = self.no_answer(reason, &visit.parts.method);
        Round::Answer(response, verdict.with_forward(forward))
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
    fill_request(&question, rules, key_rules, via)
}

/// How the round ends if what a fill brings is not for this visit.
fn not_for(visit: &Visit, learnt: &mut Learnt, head: &FillHead) -> Option<Round> {
    if head.class.is_some_and(|class| class != visit.class) {
        // A page that is missing, as the other class of visitors is told of it.
        learnt.apart = Some(visit.class);
        learnt.names.clone_from(&head.names);
        return Some(Round::Again);
    }
    if visit.select(&head.names) != head.sent {
        // The answer is another variant than this client's, which is filled next.
        learnt.names.clone_from(&head.names);
        return Some(Round::Again);
    }
    let is_readable = accepts_coding(&head.head.headers, &visit.parts.headers);
    (!is_readable).then_some(Round::Pass(Reason::Encoding))
}

/// What a fill brings, to one of those who share it.
fn shared_answer(visit: &Visit, seat: Seat, head: &Arc<FillHead>, (age, now): (u64, u64)) -> Response<Body> {
    let etag = head.head.headers.get(header::ETAG);
    let mut full = serve::full_head(head.head.status, &head.head.headers, etag);
    let mut response = match serve::not_modified(&full, &visit.parts.headers) {
        Some(response) => response,
        None => {
            if let Some(length) = head.length {
                full.headers_mut()
                    .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            let body = match visit.parts.method {
                Method::HEAD => Body::empty(),
                _ => seat.into_body(Arc::clone(head)),
            };
            full.map(|()| body)
        }
    };
    if age > 0 {
        write_age(response.headers_mut(), age, head.head.expires_after, now);
    } else if let Some(seconds) = head.head.expires_after {
        let expires = http_date(now.saturating_add(seconds));
        if let Ok(expires) = HeaderValue::from_str(&expires) {
            response.headers_mut().insert(header::EXPIRES, expires);
        }
    }
    response
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

fn forward_of(learnt: &Learnt, was_stale: bool) -> Forward {
    if was_stale {
        Forward::Stale
    } else if learnt.names.is_empty() {
        Forward::UriMiss
    } else {
        Forward::VaryMiss
    }
}

/// The key, and what goes out beside it.
fn flight_key(key: &Key, request: &FillRequest) -> FlightKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.hash.as_bytes());
    hasher.update(match request.apart {
        None => b"page",
        Some(Class::Document) => b"docu",
        Some(Class::Other) => b"else",
    });
    request.sent.hash_into(&mut hasher);
    FlightKey(*hasher.finalize().as_bytes())
}

/// A HEAD is filled by a GET, whose body goes nowhere.
fn without_body_for_head(response: Response<Body>, method: &Method) -> Response<Body> {
    match *method {
        Method::HEAD => response.map(|_| Body::empty()),
        _ => response,
    }
}
