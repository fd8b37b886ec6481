//! Asking the backend whether a stored response still holds (RFC 9111 §4.3), and judging a client's own
//! conditions against the stored validators (RFC 9110 §13).

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::head::{StoredHead, VariantKey};
use crate::policy::fill::FillRequest;
use crate::policy::freshness::date;

/// Whether a fill asks for exactly this variant: then a 304 is about it, and so is a refusal. A field that goes
/// out without selecting it may show in the answer, which is another one's.
pub(crate) fn asks_for(fill: &FillRequest, variant: &VariantKey) -> bool {
    fill.unkeyed.iter().all(|name| variant.has(name)) && fill.select(&variant.names()) == *variant
}

/// Adds the stored validators to a fill (RFC 9111 §4.3.1).
pub(crate) fn add_conditions(stored: &StoredHead, fill: &mut HeaderMap) {
    let pairs = [
        (header::ETAG, header::IF_NONE_MATCH),
        (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE),
    ];
    for (validator, condition) in pairs {
        if let Some(value) = stored.headers.get(validator) {
            fill.insert(condition, value.clone());
        }
    }
}

/// The stored head after a 304 (RFC 9111 §3.2): fields of the 304 replace the stored ones of the same
/// name, except those that describe the body that was not sent.
pub(crate) fn freshened(stored: &StoredHead, kept_of_304: &StoredHead) -> StoredHead {
    const OF_THE_BODY: [HeaderName; 4] = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ];
    let mut head = stored.clone();
    for name in kept_of_304
        .headers
        .keys()
        .filter(|name| !OF_THE_BODY.contains(name))
    {
        head.headers.remove(name);
        for value in kept_of_304.headers.get_all(name) {
            head.headers.append(name, value.clone());
        }
    }
    if kept_of_304.expires_after.is_some() {
        head.expires_after = kept_of_304.expires_after;
    }
    head
}

/// Whether an answer to a client's own request says what a request for the whole page would be told: not one
/// to its conditions or its range, and not an error that may be over the next moment.
pub(crate) fn is_of_the_page(status: StatusCode) -> bool {
    let is_of_the_request = matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::RANGE_NOT_SATISFIABLE
    );
    !is_of_the_request && !status.is_server_error()
}

/// What a client's conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// None, or one that asks for the whole response.
    Send,
    /// RFC 9110 §15.4.5: the client has it.
    NotModified,
}

/// RFC 9110 §13.2.2: If-None-Match, and only without it If-Modified-Since, against the validators of
/// the response that would be sent.
pub(crate) fn client_condition(
    client: &HeaderMap,
    etag: Option<&HeaderValue>,
    response: &HeaderMap,
) -> Condition {
    if client.contains_key(header::IF_NONE_MATCH) {
        // The same bytes are the same tag, even where they lack the quotes that they should have.
        let matches = |line: &str, etag: Option<&HeaderValue>| {
            line.trim() == "*" || etag.is_some_and(|etag| lists_weakly(line, etag))
        };
        let is_known = client
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|line| etag == Some(line) || line.to_str().is_ok_and(|line| matches(line, etag)));
        return if is_known {
            Condition::NotModified
        } else {
            Condition::Send
        };
    }
    let since = date(client, &header::IF_MODIFIED_SINCE);
    match (since, date(response, &header::LAST_MODIFIED)) {
        (Some(since), Some(modified)) if modified <= since => Condition::NotModified,
        _ => Condition::Send,
    }
}

/// RFC 9110 §13.1.5: whether a range may be sent. A strong ETag that is the response's, or its exact
/// Last-Modified; anything else asks for the whole.
pub(crate) fn range_is_wanted(client: &HeaderMap, etag: Option<&HeaderValue>, response: &HeaderMap) -> bool {
    let mut lines = client.get_all(header::IF_RANGE).iter();
    let Some(condition) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    let text = condition.as_bytes();
    if text.starts_with(b"\"") {
        return etag.is_some_and(|etag| etag == condition);
    }
    if text.starts_with(b"W/") {
        return false;
    }
    match (
        date(client, &header::IF_RANGE),
        date(response, &header::LAST_MODIFIED),
    ) {
        (Some(condition), Some(modified)) => condition == modified,
        _ => false,
    }
}

/// Weak comparison (RFC 9110 §8.8.3.2) with each entity tag of a list; commas may stand inside a tag.
fn lists_weakly(line: &str, etag: &HeaderValue) -> bool {
    let Ok(wanted) = etag.to_str() else {
        return false;
    };
    let wanted = opaque(wanted);
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        rest = rest.strip_prefix("W/").unwrap_or(rest);
        let Some(inner) = rest.strip_prefix('"') else {
            return false;
        };
        let Some(end) = inner.find('"') else {
            return false;
        };
        let (tag, after) = inner.split_at(end);
        if Some(tag) == wanted {
            return true;
        }
        rest = after.get(1..).unwrap_or("");
    }
}

fn opaque(etag: &str) -> Option<&str> {
    etag.strip_prefix("W/")
        .unwrap_or(etag)
        .strip_prefix('"')?
        .strip_suffix('"')
}

/// The one range in `Range`, if it is a well-formed byte range: RFC 9110 §14.2 has everything else
/// ignored, several ranges too, which a server may.
pub(crate) fn single_range(client: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = client.get_all(header::RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let text = line.to_str().ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_range = unit.trim().eq_ignore_ascii_case("bytes")
        && is_number(first)
        && is_number(last)
        && !(first.is_empty() && last.is_empty())
        && !backwards(first, last);
    is_range.then_some(line)
}

/// RFC 9110 §14.1.1: "invalid if the last-pos value is present and less than first-pos".
fn backwards(first: &str, last: &str) -> bool {
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => last < first,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for (line, etag, expected) in [
            ("\"a\"", "\"a\"", Condition::NotModified),
            ("W/\"a\"", "\"a\"", Condition::NotModified),
            ("\"a\"", "W/\"a\"", Condition::NotModified),
            ("\"x,y\", W/\"a\"", "\"a\"", Condition::NotModified),
            ("*", "\"a\"", Condition::NotModified),
            ("\"b\"", "\"a\"", Condition::Send),
            ("a", "\"a\"", Condition::Send),
            ("\"x\" \"a", "\"a\"", Condition::Send),
        ] {
            let etag = HeaderValue::from_static(etag);
            let client = headers("if-none-match", line);
            assert_eq!(
                client_condition(&client, Some(&etag), &HeaderMap::new()),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        let modified = headers("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let mut client = headers("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(client_condition(&client, None, &modified), Condition::NotModified);
        client.insert("if-none-match", HeaderValue::from_static("\"x\""));
        assert_eq!(client_condition(&client, None, &modified), Condition::Send);
        let earlier = headers("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(client_condition(&earlier, None, &modified), Condition::Send);
    }

    #[test]
    fn if_range_compares_strongly() {
        let modified = headers("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (condition, etag, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("W/\"a\"", "W/\"a\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "\"a\"", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", "\"a\"", false),
        ] {
            let etag = HeaderValue::from_static(etag);
            let client = headers("if-range", condition);
            assert_eq!(
                range_is_wanted(&client, Some(&etag), &modified),
                expected,
                "{condition}"
            );
        }
    }

    #[test]
    fn what_a_client_is_told_about_its_own_condition_says_nothing_of_the_page() {
        for (status, expected) in [
            (200, true),
            (302, true),
            (404, true),
            (206, false),
            (304, false),
            (412, false),
            (416, false),
            (500, false),
            (503, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_of_the_page(status), expected, "{status}");
        }
    }

    #[test]
    fn what_is_no_single_byte_range_is_ignored() {
        for (range, expected) in [
            ("bytes=0-1", true),
            ("Bytes=5-", true),
            ("bytes=-5", true),
            ("bytes=5-2", false),
            ("bytes=0-1,3-4", false),
            ("bytes=-", false),
            ("lines=1-2", false),
            ("bytes=a-b", false),
        ] {
            assert_eq!(
                single_range(&headers("range", range)).is_some(),
                expected,
                "{range}"
            );
        }
    }
}
