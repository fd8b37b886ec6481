//! Responses of our own, and what every response says of how it came about. The only file that turns
//! an outcome into a status.

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::headers::CACHE_STATUS;
use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::reuse::Standing;
use crate::policy::shape::Source;
use crate::short::Short;

/// What became of a request, for `Cache-Status`, the log and the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<Reason>,
    pub(crate) forward: Option<Forward>,
    pub(crate) keeping: Keeping,
    /// What is left of the lifetime, in seconds; negative when stale.
    pub(crate) ttl: Option<i64>,
    /// The backend's status, where it is not the response's.
    pub(crate) forward_status: Option<u16>,
}

/// Whether the answer is being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    Stored,
    NotStored,
}

impl Verdict {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            forward: None,
            keeping: Keeping::NotStored,
            ttl: None,
            forward_status: None,
        }
    }

    pub(crate) fn hit(standing: &Standing) -> Self {
        Self {
            ttl: standing.ttl,
            ..Self::new(Outcome::Hit)
        }
    }

    /// From what is stored and stale, for `reason`.
    pub(crate) fn stale(standing: &Standing, reason: Reason) -> Self {
        Self {
            ttl: standing.ttl,
            reason: Some(reason),
            ..Self::new(Outcome::Stale)
        }
    }

    /// Past the cache, for `reason`.
    pub(crate) fn pass(reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            forward: Some(reason.forward()),
            ..Self::new(Outcome::Pass)
        }
    }

    pub(crate) fn refused(reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Outcome::Refused)
        }
    }

    /// Where the answer comes from, unless it is one of our own.
    pub(crate) fn source(&self) -> Option<Source> {
        match self.outcome {
            Outcome::Hit | Outcome::Stale | Outcome::Revalidated => Some(Source::Store),
            Outcome::Miss | Outcome::Collapsed if self.keeping == Keeping::Stored => Some(Source::Store),
            Outcome::Miss | Outcome::Collapsed | Outcome::Pass | Outcome::Tunnel => Some(Source::Backend),
            Outcome::Refused | Outcome::Failed => None,
        }
    }

    pub(crate) fn with_reason(self, reason: Option<Reason>) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn with_forward(self, forward: Forward) -> Self {
        Self {
            forward: Some(forward),
            ..self
        }
    }

    pub(crate) fn with_keeping(self, keeping: Keeping) -> Self {
        Self { keeping, ..self }
    }

    /// RFC 9211: `phantom-frame; hit; ttl=60`, `phantom-frame; fwd=uri-miss; stored`, …
    fn cache_status(&self) -> Option<HeaderValue> {
        if *self == Self::new(Outcome::Hit) {
            return Some(HeaderValue::from_static("phantom-frame;hit"));
        }
        HeaderValue::from_str(self.serialize().text()?).ok()
    }

    /// By hand, because every answer says it: a list of one token with parameters (RFC 9651 §4.1.1), whose keys and
    /// tokens are ours.
    fn serialize(&self) -> Short<LONGEST> {
        let mut text = Short::new();
        text.push("phantom-frame");
        if matches!(self.outcome, Outcome::Hit | Outcome::Stale) {
            text.push(";hit");
        }
        if let Some(forward) = self.forward {
            text.push(";fwd=");
            text.push(forward.as_str());
        }
        if let Some(status) = self.forward_status {
            text.push(";fwd-status=");
            text.push_number(u64::from(status));
        }
        if let Some(ttl) = self.ttl {
            text.push(if ttl < 0 { ";ttl=-" } else { ";ttl=" });
            text.push_number(ttl.unsigned_abs().min(MOST_TTL));
        }
        if self.keeping == Keeping::Stored {
            text.push(";stored");
        }
        if self.outcome == Outcome::Collapsed {
            text.push(";collapsed");
        }
        if let Some(reason) = self.reason {
            text.push(";detail=");
            text.push(reason.as_str());
        }
        text
    }

    /// Adds `Cache-Status` behind those of caches nearer to the origin (RFC 9211 §2).
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.cache_status() {
            match headers.get_mut(CACHE_STATUS) {
                // The place that a stored head has for it.
                Some(place) if place.is_empty() => *place = value,
                _ => {
                    headers.append(CACHE_STATUS, value);
                }
            }
        }
    }
}

/// RFC 9651 §3.3.1: fifteen digits.
const MOST_TTL: u64 = 999_999_999_999_999;

/// Bytes of `Cache-Status`, with room to spare.
const LONGEST: usize = 192;

/// Answers in place of the backend.
pub(crate) fn refusal(reason: Reason, method: &Method) -> Response<Body> {
    let (status, text) = said_of(reason);
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::from(format!("{} {text}\n", status.as_u16())),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match reason {
        Reason::GetOnly | Reason::FrozenMethod => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Reason::Foreign => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        _ => {}
    }
    response
}

/// The status for a reason, and a sentence for whoever reads it.
fn said_of(reason: Reason) -> (StatusCode, &'static str) {
    match reason {
        Reason::GetOnly => (
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are forwarded here",
        ),
        Reason::UpgradeOff => (StatusCode::NOT_IMPLEMENTED, "upgrades are turned off here"),
        Reason::Loop => (
            StatusCode::LOOP_DETECTED,
            "the backend's address leads back to this proxy",
        ),
        Reason::OnlyIfCached => (
            StatusCode::GATEWAY_TIMEOUT,
            "nothing is stored that may answer this, and the client wants nothing else",
        ),
        Reason::Timeout => (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time"),
        Reason::Unreachable => (StatusCode::BAD_GATEWAY, "the backend cannot be reached"),
        Reason::RequestTimeout => (
            StatusCode::REQUEST_TIMEOUT,
            "the body of the request did not come in time",
        ),
        Reason::FrozenMethod => (
            StatusCode::METHOD_NOT_ALLOWED,
            "what is here is only shown: GET and HEAD",
        ),
        Reason::FrozenUpgrade => (
            StatusCode::NOT_IMPLEMENTED,
            "what is here is only shown: there is nothing behind it that a tunnel could lead to",
        ),
        Reason::NotStored => (StatusCode::NOT_FOUND, "there is no such page"),
        Reason::Damaged => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "what is stored of this page is damaged",
        ),
        Reason::Disk => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the directory of the pages cannot be read",
        ),
        Reason::Foreign => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this page is being replaced; ask again in a moment",
        ),
        Reason::Panic => (StatusCode::INTERNAL_SERVER_ERROR, "something failed here"),
        _ => (
            StatusCode::BAD_REQUEST,
            "the request's target, method or Host cannot be served",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfv::{KeyRef, ListSerializer, TokenRef};

    fn text(verdict: Verdict) -> String {
        verdict.cache_status().unwrap().to_str().unwrap().to_owned()
    }

    /// What the serializer of structured fields makes of it.
    fn by_sfv(verdict: &Verdict) -> String {
        let key = |name| KeyRef::from_str(name).unwrap();
        let token = |name| TokenRef::from_str(name).unwrap();
        let mut list = ListSerializer::new();
        let mut item = list.bare_item(token("phantom-frame"));
        if matches!(verdict.outcome, Outcome::Hit | Outcome::Stale) {
            item = item.parameter(key("hit"), true);
        }
        if let Some(forward) = verdict.forward {
            item = item.parameter(key("fwd"), token(forward.as_str()));
        }
        if let Some(status) = verdict.forward_status {
            item = item.parameter(key("fwd-status"), sfv::integer(i64::from(status)));
        }
        if let Some(ttl) = verdict.ttl {
            let most = MOST_TTL as i64;
            item = item.parameter(key("ttl"), sfv::integer(ttl.clamp(-most, most)));
        }
        if verdict.keeping == Keeping::Stored {
            item = item.parameter(key("stored"), true);
        }
        if verdict.outcome == Outcome::Collapsed {
            item = item.parameter(key("collapsed"), true);
        }
        if let Some(reason) = verdict.reason {
            item = item.parameter(key("detail"), token(reason.as_str()));
        }
        let _ = item;
        list.finish().unwrap()
    }

    #[test]
    fn every_verdict_is_written_as_a_structured_field() {
        let reasons = || [None].into_iter().chain(Reason::ALL.iter().copied().map(Some));
        let forwards = || reasons().map(|reason| reason.map(Reason::forward));
        let mut seen = 0;
        for outcome in Outcome::ALL.iter().copied() {
            for keeping in [Keeping::Stored, Keeping::NotStored] {
                for (reason, forward) in reasons()
                    .zip(forwards())
                    .chain(reasons().map(|reason| (reason, None)))
                {
                    for (ttl, forward_status) in [
                        (None, None),
                        (Some(0), Some(304)),
                        (Some(60), None),
                        (Some(-1), Some(u16::MAX)),
                        (Some(i64::MAX), None),
                        (Some(i64::MIN), Some(200)),
                    ] {
                        let verdict = Verdict {
                            outcome,
                            reason,
                            forward,
                            keeping,
                            ttl,
                            forward_status,
                        };
                        assert_eq!(text(verdict), by_sfv(&verdict));
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen > 5000);
    }

    #[test]
    fn cache_status_says_what_became_of_the_request() {
        let standing = Standing {
            age: 1,
            ttl: Some(59),
            lifetime: Some(60),
        };
        assert_eq!(text(Verdict::hit(&standing)), "phantom-frame;hit;ttl=59");
        assert_eq!(
            text(Verdict::pass(Reason::Cookie)),
            "phantom-frame;fwd=bypass;detail=cookie"
        );
        let miss = Verdict::new(Outcome::Miss)
            .with_forward(Forward::UriMiss)
            .with_keeping(Keeping::Stored);
        assert_eq!(text(miss), "phantom-frame;fwd=uri-miss;stored");
        for reason in Reason::ALL {
            assert!(text(Verdict::refused(*reason)).ends_with(reason.as_str()));
        }
    }
}
