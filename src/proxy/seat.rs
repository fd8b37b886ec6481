//! A visit that finds nothing it may use: a seat in the fill, and the answer from there.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Method, Response};

use crate::clock::from_unix_seconds;
use crate::flight::{Ending, FillHead, FlightKey, Growth, Joined, Progress, Seat, Settled};
use crate::key::Key;
use crate::outcome::{Forward, Outcome, Reason};
use crate::pattern::Subject;
use crate::policy::fill::{FillRequest, fill_request};
use crate::policy::reuse::may_serve_stale;
use crate::proxy::Engine;
use crate::proxy::fill::Fill;
use crate::proxy::memory::Remembered;
use crate::proxy::respond::{Keeping, Verdict, write_age};
use crate::proxy::visit::{Learnt, Round, Stale, Visit};
use crate::serve;
use crate::snapshot::Store;

impl Engine {
    /// Joins the fill for this visit, or begins it.
    pub(super) async fn take_seat(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        learnt: &mut Learnt,
        stale: Option<Stale>,
    ) -> Round {
        let request = fill_request(
            &visit.source(),
            &learnt.names,
            &self.rules.fill,
            &self.rules.key,
            &self.via.value,
        );
        let flight = flight_key(&visit.key, &request);
        match self.memory.memo(flight, self.clock.unix_seconds()) {
            Some(Remembered::Lately(reason)) => return Round::Pass(reason),
            Some(Remembered::LongAgo(reason)) => return Round::Probe(reason, flight, request),
            None => {}
        }
        let own = visit.own_line(&request);
        let subject = Subject {
            line: visit.key.line(),
            own: Some(&own),
        };
        let role = match self.flights.join(flight, subject) {
            Joined::Follower(seat) => Role::follower(seat),
            Joined::Leader(lead, seat, handover) => {
                // Between the lookup and now another fill may have ended.
                let seen = stale.as_ref().map(|stale| &*stale.snapshot);
                if self.has_learnt(visit, flight)
                    || store.has_changed(&visit.key, &|names| visit.select(names), seen)
                {
                    lead.report(Progress::Over(Ending::Again));
                    return Round::Again;
                }
                // Taken before the fill starts: an invalidation from here on overtakes it.
                let epoch = store.epoch();
                let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
                    lead.report(Progress::Over(Ending::GiveUp(Reason::Busy)));
                    return Round::Pass(Reason::Busy);
                };
                let fill = Fill {
                    engine: Arc::clone(self),
                    store: Arc::clone(store),
                    visit: Arc::clone(visit),
                    request,
                    stale: stale.as_ref().map(|stale| Arc::clone(&stale.snapshot)),
                    flight,
                    epoch,
                    permit: Mutex::new(Some(permit)),
                };
                // Owned by the permits: shutting down waits for them all.
                tokio::spawn(fill.run(lead, handover));
                Role::leader(seat)
            }
        };
        self.follow(visit, learnt, role, stale).await
    }

    /// Whether the memory has an answer by now that it had not when it was asked.
    fn has_learnt(&self, visit: &Visit, flight: FlightKey) -> bool {
        let now = self.clock.unix_seconds();
        let negative = self
            .memory
            .negative(&visit.key, &|names| visit.select(names), now);
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
                    Err(_) => Round::Pass(reason),
                },
                None => Round::Pass(reason),
            },
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
        if visit.select(&head.names) != head.sent {
            // The answer is another variant than this client's, which is filled next.
            learnt.names.clone_from(&head.names);
            return Round::Again;
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
        let etag = head.head.headers.get(header::ETAG);
        let full = serve::full_head(head.head.status, &head.head.headers, etag);
        let mut response = match serve::not_modified(&full, &visit.parts.headers) {
            Some(response) => response,
            None => {
                let mut full = full;
                if let Some(length) = head.length {
                    full.headers_mut()
                        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                }
                let body = match visit.parts.method {
                    Method::HEAD => Body::empty(),
                    _ => role.seat.into_body(Arc::clone(&head)),
                };
                full.map(|()| body)
            }
        };
        if age > 0 {
            write_age(response.headers_mut(), age, head.head.expires_after, now);
        } else if let Some(seconds) = head.head.expires_after {
            let expires = httpdate::fmt_http_date(from_unix_seconds(now.saturating_add(seconds)));
            if let Ok(expires) = HeaderValue::from_str(&expires) {
                response.headers_mut().insert(header::EXPIRES, expires);
            }
        }
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
    for (name, value) in &request.sent().0 {
        for text in [Some(name.as_str()), value.as_deref()] {
            let text = text.unwrap_or_default();
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    FlightKey(*hasher.finalize().as_bytes())
}

/// A HEAD is filled by a GET, whose body goes nowhere.
fn without_body_for_head(response: Response<Body>, method: &Method) -> Response<Body> {
    match *method {
        Method::HEAD => response.map(|_| Body::empty()),
        _ => response,
    }
}
