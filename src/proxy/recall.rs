//! What the memory knows of a visit's page: that it is missing, or that it could not be stored.

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Method, Response};

use crate::flight::{FillHead, FlightKey, Settled};
use crate::head::Generated;
use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::accept::Class;
use crate::policy::fill::{FillRequest, Purpose};
use crate::policy::freshness::{Lifetime, Stated};
use crate::policy::reuse::Standing;
use crate::policy::shape::unsaid_cache_control;
use crate::policy::store::{Storable, accepts_coding, may_store};
use crate::policy::validate;
use crate::proxy::Engine;
use crate::proxy::fill::Fill;
use crate::proxy::memory::{MAX_NEGATIVE, Negative};
use crate::proxy::respond::Verdict;
use crate::proxy::visit::{Learnt, Round, Visit};
use crate::serve::{self, Times};

impl Engine {
    /// A page that is known not to be there.
    pub(super) fn recall(&self, visit: &Visit, learnt: &mut Learnt) -> Option<Round> {
        if visit.order.is_some() {
            return None;
        }
        let now = self.clock.unix_seconds();
        let known = |class| {
            self.memory
                .negative(&visit.key, class, &|names| visit.select(names), now)
        };
        if let Some(negative) = self.missing(visit, learnt, now) {
            if !accepts_coding(&negative.head.headers, &visit.parts.headers) {
                return Some(Round::Pass(Reason::Encoding));
            }
            if !visit.may_share(&negative.head) {
                return Some(Round::Pass(Reason::Authorization));
            }
            let trace = &visit.target.trace;
            trace.note(|| "memory: the page is known to be missing".to_owned());
            return Some(negative_answer(visit, &negative, now));
        }
        let other = match visit.class {
            Class::Document => Class::Other,
            Class::Other => Class::Document,
        };
        if known(visit.class).is_some() {
            learnt.demanded = Some(Forward::Request);
        }
        if learnt.names.is_empty() {
            let names = [visit.class, other]
                .into_iter()
                .find_map(|class| self.memory.names(&visit.key, class));
            learnt.names = names.unwrap_or_default();
        }
        if known(other).is_some() {
            learnt.apart = Some(visit.class);
        }
        None
    }

    /// What visitors like this one are told of a page that is missing, if this one takes it.
    pub(super) fn missing(&self, visit: &Visit, learnt: &Learnt, now: u64) -> Option<Arc<Negative>> {
        let negative = self
            .memory
            .negative(&visit.key, visit.class, &|names| visit.select(names), now)?;
        let is_taken = learnt.is_settled || visit.wishes.accept_fresh(&standing(&negative, now));
        is_taken.then_some(negative)
    }

    /// Passes a visit to a page that could not be stored when it was last tried.
    pub(super) async fn probe(
        &self,
        visit: &Visit,
        (reason, flight): (Reason, FlightKey),
        request: &FillRequest,
    ) -> (Response<Body>, Verdict) {
        let (response, verdict) = self.pass_visit(visit, reason).await;
        if verdict.outcome != Outcome::Pass || !validate::is_of_the_page(response.status()) {
            return (response, verdict);
        }
        let asked = visit.asked(request, self.clock.now());
        let verdict_of_page = may_store(response.status(), response.headers(), &asked, &visit.rules.store);
        let not_storable = match verdict_of_page {
            Storable::No(reason) => Some(reason),
            Storable::Snapshot(_) if request.purpose == Purpose::Missing => Some(Reason::Accept),
            Storable::Snapshot(_) | Storable::Memory(..) => None,
        };
        match not_storable {
            Some(reason) => self.memory.tried(flight, (reason, self.clock.unix_seconds())),
            None => self.memory.reopen(flight),
        }
        (response, verdict)
    }
}

fn standing(negative: &Negative, now: u64) -> Standing {
    Standing {
        age: now.saturating_sub(negative.generated),
        ttl: i64::try_from(negative.until.saturating_sub(now)).ok(),
        lifetime: None,
    }
}

fn negative_answer(visit: &Visit, negative: &Negative, now: u64) -> Round {
    let standing = standing(negative, now);
    let head = serve::full_head(negative.head.status, &negative.head.headers, None);
    let mut response = head.map(|()| match visit.parts.method {
        Method::HEAD => Body::empty(),
        _ => Body::from(negative.body.clone()),
    });
    let stated = Stated::by(&negative.head, Some(negative.generated));
    if let Some(value) = unsaid_cache_control(&stated, &visit.rules.store.lifetimes) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    let length = HeaderValue::from(negative.body.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    let times = Times::of(Generated::At(negative.generated), now);
    times.write_to(response.headers_mut(), &negative.head);
    Round::Answer(response, Verdict::hit(&standing))
}

impl Fill {
    /// Enters a missing page for so many seconds.
    pub(super) async fn remember_missing(&self, head: &Arc<FillHead>, length: u64, seconds: u64) -> Settled {
        if length > MAX_NEGATIVE {
            return Settled::NotKept(Reason::TooLarge);
        }
        let limit = usize::try_from(length).unwrap_or(0);
        let read = head.content.read(0, limit).await;
        let Some(body) = read.ok().filter(|body| body.len() == limit) else {
            return Settled::NotKept(Reason::Disk);
        };
        // What the backend grants counts from when it was generated, what we grant from now on.
        let granted = self.engine.clock.unix_seconds().saturating_add(seconds);
        let stated = Stated::by(&head.head, Some(head.generated));
        let until = match Lifetime::of(&stated, &self.visit.rules.store.lifetimes) {
            Lifetime::Explicit(lifetime) | Lifetime::Heuristic(lifetime) => {
                head.generated.saturating_add(lifetime).min(granted)
            }
            Lifetime::Granted(_) => granted,
        };
        let negative = Negative {
            head: head.head.clone(),
            body,
            generated: head.generated,
            until,
        };
        let (variant, class) = (head.sent.clone(), self.request.class);
        let kept = self.subjected(&head.head.tags, |subject| {
            let memory = &self.engine.memory;
            memory.keep_negative(subject, class, variant, negative)
        });
        match kept {
            true => Settled::Kept,
            false => Settled::NotKept(Reason::Invalidated),
        }
    }
}
