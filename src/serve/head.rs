//! The head of an answer: as it is stored, shortened to a 304, or over what the file service says of the bytes.

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::head::StoredHead;
use crate::headers::{CACHE_STATUS, CDN_CACHE_CONTROL};
use crate::policy::validate::{Condition, client_condition};

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

/// For the fields of a 304, and what is added to them.
const ROOM: usize = 12;

/// Fields that say for how long a page is kept, what it is and which.
const OF_THE_PAGE: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    CDN_CACHE_CONTROL,
    header::EXPIRES,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// Fields of the bytes that every answer with bytes has.
const PLACES: [HeaderName; 2] = [header::CONTENT_LENGTH, header::ACCEPT_RANGES];

/// Status and fields as they are stored, and the entity tag that stands for them.
pub(crate) fn full_head(status: StatusCode, headers: &HeaderMap, etag: Option<&HeaderValue>) -> Response<()> {
    let mut head = with_fields(status, headers);
    if let Some(etag) = etag {
        head.headers_mut().insert(header::ETAG, etag.clone());
    }
    head
}

fn with_fields(status: StatusCode, fields: &HeaderMap) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = fields.clone();
    head
}

/// Has its place, and is said anew by every answer.
const LATER: HeaderValue = HeaderValue::from_static("");

/// [`full_head`] of what is stored, made once. The fields that every answer says anew have their places in it
/// already, so that none has to be made room for: `Age`, `Date`, `Expires` and `Cache-Status`, and those of the bytes,
/// which [`on_top`] sets or takes out.
pub(super) fn ready_head(head: &StoredHead, etag: Option<&HeaderValue>) -> Response<()> {
    with_fields(head.status, ready_fields(head, etag))
}

fn ready_fields<'a>(head: &'a StoredHead, etag: Option<&HeaderValue>) -> &'a HeaderMap {
    head.ready.fields.get_or_init(|| {
        let mut fields = head.headers.clone();
        let expires = head.expires_after.map(|_| header::EXPIRES);
        // Where a cache nearer to the origin has said how it came about, ours goes behind that.
        let status = (!head.headers.contains_key(CACHE_STATUS)).then_some(CACHE_STATUS);
        if let Some(etag) = etag {
            fields.insert(header::ETAG, etag.clone());
        }
        for name in [header::AGE, header::DATE]
            .into_iter()
            .chain(expires)
            .chain(PLACES)
            .chain(status)
        {
            fields.insert(name, LATER);
        }
        fields
    })
}

/// The 304 for what is stored, in the same way.
pub(super) fn ready_304(head: &StoredHead, etag: Option<&HeaderValue>) -> Response<()> {
    let fields = head.ready.unchanged.get_or_init(|| {
        let mut fields = fields_of_304(ready_fields(head, etag), etag);
        fields.insert(CACHE_STATUS, LATER);
        fields
    });
    with_fields(StatusCode::NOT_MODIFIED, fields)
}

/// RFC 9110 §13.2.1: conditions are judged where the answer would be 2xx without them; and here only those of
/// methods to which 304 is an answer (§13.1.2).
pub(super) fn may_be_304(status: StatusCode, method: &Method) -> bool {
    status.is_success() && matches!(*method, Method::GET | Method::HEAD)
}

/// The 304 in place of an answer with this head, if the client's conditions make it one. `etag` is the page's, whatever
/// form of it the head is of.
pub(crate) fn not_modified(
    head: &Response<()>,
    etag: Option<&HeaderValue>,
    method: &Method,
    client: &HeaderMap,
) -> Option<Response<Body>> {
    let is_unchanged = may_be_304(head.status(), method)
        && client_condition(client, etag, head.headers()) == Condition::NotModified;
    is_unchanged.then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = fields_of_304(head.headers(), etag);
        response
    })
}

fn fields_of_304(headers: &HeaderMap, etag: Option<&HeaderValue>) -> HeaderMap {
    // §15.4.5: "Last-Modified might be useful if the response does not have an ETag field".
    let modified = etag.is_none().then_some(header::LAST_MODIFIED);
    let mut fields = HeaderMap::with_capacity(ROOM);
    for (name, value) in headers {
        if IN_304.contains(name) || modified.as_ref() == Some(name) {
            fields.append(name, value.clone());
        }
    }
    fields
}

/// The stored head over the file service's: of its fields only those about the bytes stay.
pub(super) fn on_top(head: Response<()>, file: Response<Body>) -> Response<Body> {
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
    // Those that are not said of the bytes are not said at all; a place for them may be there.
    for name in PLACES {
        match file.headers.get(&name) {
            Some(value) => parts.headers.insert(name, value.clone()),
            None => parts.headers.remove(name),
        };
    }
    if file.status != StatusCode::OK
        && let Some(value) = file.headers.get(header::CONTENT_RANGE)
    {
        parts.headers.insert(header::CONTENT_RANGE, value.clone());
    }
    Response::from_parts(parts, body)
}

/// An answer that has no bytes.
pub(super) fn alone(mut head: Response<()>) -> Response<Body> {
    for name in PLACES {
        head.headers_mut().remove(name);
    }
    head.map(|()| Body::empty())
}
