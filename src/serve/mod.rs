//! A stored response on the wire: tower-http's file service for the bytes, the stored head on top.
//!
//! The file service judges conditions by its own entity tag, which differs on every node, and answers a
//! malformed range with an error; so conditions and ranges are judged here (`policy::validate`), against
//! the stored validators, and it is only ever asked for the file or for one good range of it.

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tower_http::services::ServeFile;

use crate::clock::http_date;
use crate::head::{Generated, StoredHead};
use crate::headers::CDN_CACHE_CONTROL;
use crate::policy::cache_control::CacheControl;
use crate::policy::validate::{Condition, client_condition, range_is_wanted, single_range};
use crate::snapshot::{BodyFile, Snapshot};

/// The file that was opened is not the one whose seal was checked.
#[derive(Debug)]
pub(crate) struct Changed;

/// Fields that a 304 repeats: those of RFC 9110 §15.4.5; `CDN-Cache-Control`, "for the purpose of guiding cache
/// updates" as `Cache-Control` is; and `Age`, without which `Date` would be taken for all that has passed.
const IN_304: [HeaderName; 8] = [
    header::AGE,
    header::CACHE_CONTROL,
    CDN_CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::VARY,
];

/// Fields that say for how long a page is kept, what it is and which.
const OF_THE_PAGE: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    CDN_CACHE_CONTROL,
    header::EXPIRES,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// When a stored response was generated, and what time it is: seconds since 1970, and never the other way round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    generated: u64,
    now: u64,
    /// By so much it counts as older than that says, in seconds.
    older: u64,
}

impl Times {
    /// Where nothing is known of when it was, or that lies ahead (a clock that was put back), it is now.
    pub(crate) fn of(generated: Generated, now: u64) -> Self {
        let generated = match generated {
            Generated::At(born) => born.min(now),
            Generated::Unmarked | Generated::Invalidated => now,
        };
        Self {
            generated,
            now,
            older: 0,
        }
    }

    /// Of what is served though it is not fresh. Where nothing is known of when it was, it counts as being at the end
    /// of every lifetime that is stated: a cache behind us would take it for new, and keep what was invalidated.
    pub(crate) fn of_stale(generated: Generated, now: u64, head: &StoredHead) -> Self {
        let is_known = matches!(generated, Generated::At(born) if born <= now);
        let stated = CacheControl::longest(&head.headers).max(head.expires_after.unwrap_or(0));
        Self {
            older: if is_known { 0 } else { stated },
            ..Self::of(generated, now)
        }
    }

    pub(crate) fn generated(self) -> u64 {
        self.generated
    }

    /// Writes `Age`, `Date` and, of a response that had one, `Expires`. `Date` is the origin's, whatever the age
    /// (RFC 9110 §6.6.1: "the date and time at which the message was originated"), and the lifetime that `Expires`
    /// gave counts from there.
    pub(crate) fn write_to(self, headers: &mut HeaderMap, expires_after: Option<u64>) {
        headers.insert(
            header::AGE,
            HeaderValue::from(self.now - self.generated + self.older),
        );
        let date = |seconds: u64| HeaderValue::from_str(&http_date(seconds));
        if let Ok(value) = date(self.generated) {
            headers.insert(header::DATE, value);
        }
        if let Some(seconds) = expires_after
            && let Ok(value) = date(self.generated.saturating_add(seconds.saturating_sub(self.older)))
        {
            headers.insert(header::EXPIRES, value);
        }
    }
}

/// Answers `client` from `snapshot`.
///
/// # Errors
/// When the body file is gone or was replaced since it was checked.
pub(crate) async fn answer(
    snapshot: &Snapshot,
    method: &Method,
    client: &HeaderMap,
    times: Times,
) -> Result<Response<Body>, Changed> {
    let stored = &snapshot.rendering.head;
    let mut head = full_head(stored.status, &stored.headers, snapshot.etag.as_ref());
    times.write_to(head.headers_mut(), stored.expires_after);
    if let Some(response) = not_modified(&head, method, client) {
        return Ok(response);
    }
    let Some(body) = &snapshot.body else {
        return Ok(head.map(|()| Body::empty()));
    };
    // RFC 9110 §14.2: "a server MUST ignore a Range header field received with a request method that is
    // unrecognized or for which range handling is not defined"; it is for GET.
    let range = single_range(client)
        .filter(|_| stored.status == StatusCode::OK && *method == Method::GET)
        .filter(|_| range_is_wanted(client, snapshot.etag.as_ref(), head.headers()))
        .map(|range| within(range, body.id.size()));
    let file = open(body, snapshot, method, range.as_ref()).await?;
    Ok(on_top(head, file))
}

/// The range as the file service understands it. RFC 9110 §14.1: the unit is matched in any case, a
/// position is any number of digits; §14.1.1: a suffix longer than the representation is all of it.
pub(crate) fn within(range: &HeaderValue, length: u64) -> HeaderValue {
    let positions = range
        .to_str()
        .ok()
        .and_then(|text| text.split_once('=')?.1.trim().split_once('-'));
    let Some((first, last)) = positions else {
        return range.clone();
    };
    // One that no number holds is behind every end.
    let number = |digits: &str| (!digits.is_empty()).then(|| digits.parse::<u64>().unwrap_or(u64::MAX));
    let range = match (number(first), number(last)) {
        (None, Some(suffix)) if suffix >= length => "bytes=0-".to_owned(),
        (None, suffix) => format!("bytes=-{}", suffix.unwrap_or(0)),
        (Some(first), Some(last)) if last < length => format!("bytes={first}-{last}"),
        (Some(first), _) => format!("bytes={first}-"),
    };
    crate::headers::value(&range).unwrap_or(HeaderValue::from_static("bytes=-0"))
}

/// Status and fields as they are stored, and the entity tag that stands for them.
pub(crate) fn full_head(status: StatusCode, headers: &HeaderMap, etag: Option<&HeaderValue>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers.clone();
    if let Some(etag) = etag {
        head.headers_mut().insert(header::ETAG, etag.clone());
    }
    head
}

/// RFC 9110 §13.2.1: conditions are judged where the answer would be 2xx without them; and here only those of
/// methods to which 304 is an answer (§13.1.2).
pub(crate) fn not_modified(
    head: &Response<()>,
    method: &Method,
    client: &HeaderMap,
) -> Option<Response<Body>> {
    let etag = head.headers().get(header::ETAG);
    let is_unchanged = head.status().is_success()
        && matches!(*method, Method::GET | Method::HEAD)
        && client_condition(client, etag, head.headers()) == Condition::NotModified;
    is_unchanged.then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        // §15.4.5: "Last-Modified might be useful if the response does not have an ETag field".
        let modified = etag.is_none().then_some(header::LAST_MODIFIED);
        for name in IN_304.into_iter().chain(modified) {
            for value in head.headers().get_all(&name) {
                response.headers_mut().append(&name, value.clone());
            }
        }
        response
    })
}

async fn open(
    body: &BodyFile,
    snapshot: &Snapshot,
    method: &Method,
    range: Option<&HeaderValue>,
) -> Result<Response<Body>, Changed> {
    if !snapshot.is_unchanged().await {
        return Err(Changed);
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = if *method == Method::HEAD {
        Method::HEAD
    } else {
        Method::GET
    };
    if let Some(range) = range {
        request.headers_mut().insert(header::RANGE, range.clone());
    }
    let response = ServeFile::new(&body.path)
        .try_call(request)
        .await
        .map_err(|_| Changed)?;
    let tag = response.headers().get(header::ETAG).ok_or(Changed)?;
    if snapshot.is_of_checked_file(tag).await {
        Ok(response.map(Body::new))
    } else {
        Err(Changed)
    }
}

/// The stored head over the file service's: of its fields only those about the bytes stay.
fn on_top(head: Response<()>, file: Response<Body>) -> Response<Body> {
    let (mut parts, ()) = head.into_parts();
    let (file, body) = file.into_parts();
    if file.status != StatusCode::OK {
        parts.status = file.status;
    }
    if file.status == StatusCode::RANGE_NOT_SATISFIABLE {
        // The fields describe the page, not this answer, which no cache is to keep in its place (RFC 9111 §3).
        for name in OF_THE_PAGE {
            parts.headers.remove(name);
        }
    }
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
    ] {
        if let Some(value) = file.headers.get(&name) {
            parts.headers.insert(name, value.clone());
        }
    }
    Response::from_parts(parts, body)
}
