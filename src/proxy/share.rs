//! What a fill brings, to one of those who wait for it.

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, HeaderValue};
use http::{Method, Response};

use crate::flight::{FillHead, Seat};
use crate::outcome::Reason;
use crate::policy::freshness::Stated;
use crate::policy::shape::unsaid_cache_control;
use crate::policy::store::accepts_coding;
use crate::proxy::visit::{Learnt, Round, Visit};
use crate::serve;

/// How the round ends if what a fill brings is not for this visit.
pub(super) fn not_for(visit: &Visit, learnt: &mut Learnt, head: &FillHead) -> Option<Round> {
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

/// What a fill brings, to one of those who share it; at an `age` of our own reckoning, if it is not new.
pub(super) fn shared_answer(
    visit: &Visit,
    seat: Seat,
    head: &Arc<FillHead>,
    age: Option<u64>,
) -> Response<Body> {
    let etag = head.head.headers.get(header::ETAG);
    let mut full = serve::full_head(head.head.status, &head.head.headers, etag);
    let stated = Stated::by(&head.head, Some(head.generated));
    if let Some(value) = unsaid_cache_control(&stated, &visit.rules.store.lifetimes) {
        full.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    for (name, value) in &head.dates {
        full.headers_mut().append(name, value.clone());
    }
    if let Some(age) = age {
        full.headers_mut().insert(header::AGE, HeaderValue::from(age));
    }
    if let Some(response) = serve::not_modified(&full, etag, &visit.parts.method, &visit.parts.headers) {
        return response;
    }
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

/// A HEAD is filled by a GET, whose body goes nowhere.
pub(super) fn without_body_for_head(response: Response<Body>, method: &Method) -> Response<Body> {
    match *method {
        Method::HEAD => response.map(|_| Body::empty()),
        _ => response,
    }
}
