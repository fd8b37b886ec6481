//! What the memory knows of a visit's page: that it is missing, or that it could not be stored.

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Method, Response};

use crate::flight::FlightKey;
use crate::outcome::{Outcome, Reason};
use crate::policy::accept::Class;
use crate::policy::fill::{FillRequest, Purpose};
use crate::policy::reuse::Standing;
use crate::policy::store::{Storable, accepts_coding, may_store};
use crate::policy::validate;
use crate::proxy::Engine;
use crate::proxy::memory::Negative;
use crate::proxy::respond::{Verdict, write_age};
use crate::proxy::visit::{Learnt, Round, Visit};
use crate::serve;

impl Engine {
    /// A page that is known not to be there.
    pub(super) fn recall(&self, visit: &Visit, learnt: &mut Learnt) -> Option<Round> {
        let now = self.clock.unix_seconds();
        let known = |class| {
            self.memory
                .negative(&visit.key, class, &|names| visit.select(names), now)
        };
        if let Some(negative) = known(visit.class) {
            if !accepts_coding(&negative.head.headers, &visit.parts.headers) {
                return Some(Round::Pass(Reason::Encoding));
            }
            return Some(negative_answer(visit, &negative, now));
        }
        let other = match visit.class {
            Class::Document => Class::Other,
            Class::Other => Class::Document,
        };
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
        let verdict_of_page = may_store(response.status(), response.headers(), &asked, &self.rules.store);
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

fn negative_answer(visit: &Visit, negative: &Negative, now: u64) -> Round {
    let standing = Standing {
        age: now.saturating_sub(negative.generated),
        ttl: i64::try_from(negative.until.saturating_sub(now)).ok(),
        lifetime: None,
    };
    let head = serve::full_head(negative.head.status, &negative.head.headers, None);
    let mut response = head.map(|()| match visit.parts.method {
        Method::HEAD => Body::empty(),
        _ => Body::from(negative.body.clone()),
    });
    let length = HeaderValue::from(negative.body.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    write_age(
        response.headers_mut(),
        standing.age,
        negative.head.expires_after,
        now,
    );
    Round::Answer(response, Verdict::hit(&standing))
}
