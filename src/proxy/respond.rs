//! Responses of our own, and what every response says of how it came about. The only file that turns
//! an outcome into a status.

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use sfv::{KeyRef, ListSerializer, TokenRef};

use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::reuse::Standing;
use crate::policy::shape::Source;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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
        let text = self.serialize().ok()??;
        HeaderValue::from_str(&text).ok()
    }

    fn serialize(&self) -> Result<Option<String>, sfv::Error> {
        let mut list = ListSerializer::new();
        let mut item = list.bare_item(TokenRef::from_str("phantom-frame")?);
        if matches!(self.outcome, Outcome::Hit | Outcome::Stale) {
            item = item.parameter(KeyRef::from_str("hit")?, true);
        }
        if let Some(forward) = self.forward {
            item = item.parameter(KeyRef::from_str("fwd")?, TokenRef::from_str(forward.as_str())?);
        }
        if let Some(status) = self.forward_status {
            item = item.parameter(
                KeyRef::from_str("fwd-status")?,
                i64::from(status).try_into().unwrap_or(sfv::integer(0)),
            );
        }
        if let Some(ttl) = self.ttl {
            let ttl: sfv::Integer = ttl
                .clamp(-MOST_TTL, MOST_TTL)
                .try_into()
                .unwrap_or(sfv::integer(0));
            item = item.parameter(KeyRef::from_str("ttl")?, ttl);
        }
        if self.keeping == Keeping::Stored {
            item = item.parameter(KeyRef::from_str("stored")?, true);
        }
        if self.outcome == Outcome::Collapsed {
            item = item.parameter(KeyRef::from_str("collapsed")?, true);
        }
        if let Some(reason) = self.reason {
            item = item.parameter(KeyRef::from_str("detail")?, TokenRef::from_str(reason.as_str())?);
        }
        let _ = item;
        Ok(list.finish())
    }

    /// Adds `Cache-Status` behind those of caches nearer to the origin (RFC 9211 §2).
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.cache_status() {
            headers.append(CACHE_STATUS, value);
        }
    }
}

/// RFC 9651 §3.3.1: fifteen digits.
const MOST_TTL: i64 = 999_999_999_999_999;

/// Answers in place of the backend.
pub(crate) fn refusal(reason: Reason, method: &Method) -> Response<Body> {
    let (status, text) = match reason {
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
        Reason::Panic => (StatusCode::INTERNAL_SERVER_ERROR, "something failed here"),
        _ => (
            StatusCode::BAD_REQUEST,
            "the request's target, method or Host cannot be served",
        ),
    };
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
    if reason == Reason::GetOnly {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(verdict: Verdict) -> String {
        verdict.cache_status().unwrap().to_str().unwrap().to_owned()
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
