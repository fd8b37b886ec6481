//! A stored response on the wire: tower-http's file service for the bytes, the stored head on top.
//!
//! The file service judges conditions by its own entity tag, which differs on every node, and answers a
//! malformed range with an error; so conditions and ranges are judged here (`policy::validate`), against
//! the stored validators, and it is only ever asked for the file or for one good range of it. Bodies that
//! are in memory, or small enough to be read in one go, take its place where no range is asked for.

mod body;
mod coded;
mod head;
mod times;
mod whole;

use axum::body::Body;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::policy::validate::{Condition, if_none_match, range_is_wanted, single_range};
use crate::snapshot::{Snapshot, Store};

pub(crate) use coded::{Chosen, chosen};
use head::{alone, may_be_304, on_top, ready_304, ready_head};
pub(crate) use head::{full_head, not_modified};
pub(crate) use times::Times;

/// The file that was opened is not the one whose seal was checked.
#[derive(Debug)]
pub(crate) struct Changed;

/// Answers `client` from `snapshot`, in the form that was chosen for it.
///
/// # Errors
/// When the body file is gone or was replaced since it was checked.
pub(crate) async fn answer(
    store: &Store,
    snapshot: &Snapshot,
    method: &Method,
    client: &HeaderMap,
    (times, chosen): (Times, &Chosen),
) -> Result<Response<Body>, Changed> {
    let stored = &snapshot.rendering.head;
    // By the tag alone, before there is a whole head.
    if may_be_304(stored.status, method)
        && if_none_match(client, snapshot.etag.as_ref()) == Some(Condition::NotModified)
    {
        let mut head = ready_304(stored, snapshot.etag.as_ref());
        times.write_to(head.headers_mut(), stored);
        chosen.write_validators_to(head.headers_mut());
        return Ok(head.map(|()| Body::empty()));
    }
    let mut head = ready_head(stored, snapshot.etag.as_ref());
    times.write_to(head.headers_mut(), stored);
    chosen.write_to(head.headers_mut());
    if let Some(response) = not_modified(&head, snapshot.etag.as_ref(), method, client) {
        return Ok(response);
    }
    let Some(body) = &snapshot.body else {
        return Ok(alone(head));
    };
    if let Some(form) = &chosen.form {
        let mut response = on_top(head, body::send(store, &form.body, method, None).await?);
        // Ranges are of the page as it is.
        response.headers_mut().remove(http::header::ACCEPT_RANGES);
        return Ok(response);
    }
    // RFC 9110 §14.2: "a server MUST ignore a Range header field received with a request method that is
    // unrecognized or for which range handling is not defined"; it is for GET.
    let range = single_range(client)
        .filter(|_| stored.status == StatusCode::OK && *method == Method::GET)
        .filter(|_| range_is_wanted(client, snapshot.etag.as_ref(), head.headers()))
        .map(|range| within(range, body.id.size()));
    let file = body::send(store, body, method, range.as_ref()).await?;
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
