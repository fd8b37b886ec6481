//! Asking the backend whether a stored response still holds (RFC 9111 §4.3), and judging a client's own
//! conditions against the stored validators (RFC 9110 §13).

use std::collections::BTreeSet;
use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::coding::unmarked;
use crate::head::{StoredHead, VariantKey};
use crate::headers::list_values;
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

/// Whether a 304 is about the stored response (RFC 9111 §4.3.4). "If the new response contains one or more strong
/// validators, then each of those strong validators identifies a selected representation for update": if the stored
/// response has none of them, "the cache MUST NOT use the new response to update any stored responses". Weak ones
/// have to correspond too. A 304 without any is about what was asked (we depart from the clause, which has it
/// update only what lacks a validator itself: many servers leave them out).
pub(crate) fn confirms(stored: &HeaderMap, of_304: &HeaderMap) -> bool {
    let modified = |headers| date(headers, &header::LAST_MODIFIED);
    let same_date = || match of_304.get(header::LAST_MODIFIED) {
        Some(theirs) => {
            stored.get(header::LAST_MODIFIED) == Some(theirs) || modified(stored) == modified(of_304)
        }
        None => true,
    };
    match (stored.get(header::ETAG), of_304.get(header::ETAG)) {
        (Some(ours), Some(theirs)) if ours == theirs => true,
        (Some(ours), Some(theirs)) if is_weak(theirs) => opaque(ours.as_bytes()) == opaque(theirs.as_bytes()),
        (Some(_), Some(_)) => false,
        // What was asked by date is confirmed by date, though the server has tags by now.
        (None, Some(_)) => of_304.contains_key(header::LAST_MODIFIED) && same_date(),
        (_, None) => same_date(),
    }
}

/// The stored head after a 304. RFC 9111 §3.2: fields of the 304 replace the stored ones of the same name, known or
/// not, `Content-Type` too, and never `Content-Length`. What says how the bytes are coded or which part they are
/// stays: "Implementations MAY automatically omit such header fields from updates", and the stored bytes were
/// looked into and are served by what they came with. So stay digests of the content: that of a 304 is empty
/// (RFC 9530 §2). And so does a `Vary` of which the 304 says nothing but what a missing body spares: servers that
/// compress add `Accept-Encoding` to what they could compress, and to no 304. The stored one goes for caches
/// downstream, and a page that has not changed shall change no file.
pub(crate) fn freshened(stored: &StoredHead, kept_of_304: &StoredHead) -> StoredHead {
    const OF_THE_CONTENT: [HeaderName; 5] = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("content-digest"),
    ];
    let varies_as_before = varies_as_before(&stored.headers, &kept_of_304.headers);
    let stays =
        |name: &HeaderName| OF_THE_CONTENT.contains(name) || (name == header::VARY && varies_as_before);
    let mut head = stored.clone();
    for name in kept_of_304.headers.keys().filter(|name| !stays(name)) {
        head.headers.remove(name);
        for value in kept_of_304.headers.get_all(name) {
            head.headers.append(name, value.clone());
        }
    }
    if kept_of_304.expires_after.is_some() {
        head.expires_after = kept_of_304.expires_after;
    }
    if !kept_of_304.tags.is_empty() {
        head.tags = kept_of_304.tags.clone();
    }
    head
}

/// Whether the fields that `Vary` of a 304 names are those of the stored response, `Accept-Encoding` aside.
fn varies_as_before(stored: &HeaderMap, of_304: &HeaderMap) -> bool {
    let names = |headers| -> BTreeSet<String> {
        list_values(headers, &header::VARY)
            .map(str::to_ascii_lowercase)
            .collect()
    };
    let (before, mut now) = (names(stored), names(of_304));
    if before.contains(header::ACCEPT_ENCODING.as_str()) {
        now.insert(header::ACCEPT_ENCODING.as_str().to_owned());
    }
    before == now
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

/// A tag that is ours for a coded form of the page stands for the page: its bytes decode to the same, and one client
/// may hold what another coding brought it. (§8.8.3.3 has a tag for each coding, as we do; that they
/// are compared as one is on purpose, and makes no difference but that a client keeps what it has.)
///
/// RFC 9110 §13.2.2: If-None-Match, and only without it If-Modified-Since, against the validators of
/// the response that would be sent. If-Match and If-Unmodified-Since are for origins (§13.1.1).
pub(crate) fn client_condition(
    client: &HeaderMap,
    etag: Option<&HeaderValue>,
    modified: impl FnOnce() -> Option<SystemTime>,
) -> Condition {
    let mut tags = client.get_all(header::IF_NONE_MATCH).iter().peekable();
    let is_unchanged = if tags.peek().is_some() {
        // The same bytes are the same tag, even where they lack the quotes that they should have.
        tags.any(|line| {
            let bytes = line.as_bytes();
            bytes.trim_ascii() == b"*"
                || etag.is_some_and(|etag| etag == line || lists_weakly(bytes, etag.as_bytes()))
        })
    } else {
        only_date(client, &header::IF_MODIFIED_SINCE)
            .is_some_and(|since| modified().is_some_and(|modified| modified <= since))
    };
    match is_unchanged {
        true => Condition::NotModified,
        false => Condition::Send,
    }
}

/// RFC 9111 §4.3.2: "If […] the Last-Modified header field is not present in a stored response, a cache SHOULD use the
/// stored response's Date field value", which is `dated`.
pub(crate) fn modified(response: &HeaderMap, dated: Option<SystemTime>) -> Option<SystemTime> {
    match response.contains_key(header::LAST_MODIFIED) {
        true => date(response, &header::LAST_MODIFIED),
        false => dated,
    }
}

/// RFC 9110 §13.1.3: a condition that "is not a valid HTTP-date", or has "more than one member", is ignored.
fn only_date(client: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    date(client, name).filter(|_| is_one_line(client, name))
}

fn is_one_line(client: &HeaderMap, name: &HeaderName) -> bool {
    client.get_all(name).iter().nth(1).is_none()
}

/// RFC 9110 §13.1.5: whether a range may be sent. A strong ETag that is the response's, or its exact
/// Last-Modified; anything else asks for the whole.
pub(crate) fn range_is_wanted(client: &HeaderMap, etag: Option<&HeaderValue>, response: &HeaderMap) -> bool {
    let Some(condition) = client.get(header::IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().starts_with(b"\"") {
        return etag.is_some_and(|etag| etag == condition) && is_one_line(client, &header::IF_RANGE);
    }
    let (Some(condition), Some(modified)) = (
        only_date(client, &header::IF_RANGE),
        date(response, &header::LAST_MODIFIED),
    ) else {
        return false;
    };
    // §8.8.2.2: a date is a strong validator only of a response with "a Date value that is at least one second after
    // the Last-Modified value"; within one second there may have been two pages.
    let is_strong = date(response, &header::DATE).is_some_and(|date| modified < date);
    condition == modified && is_strong
}

fn is_weak(etag: &HeaderValue) -> bool {
    etag.as_bytes().starts_with(b"W/")
}

/// Weak comparison (RFC 9110 §8.8.3.2) with each entity tag of a list; commas and any byte above 0x7F may stand
/// inside a tag.
fn lists_weakly(line: &[u8], etag: &[u8]) -> bool {
    let wanted = opaque(etag);
    let mut rest = line;
    loop {
        while let Some((b' ' | b'\t' | b',', after)) = rest.split_first() {
            rest = after;
        }
        rest = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(inner) = rest.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let (tag, after) = inner.split_at(end);
        if Some(tag) == wanted || Some(unmarked(tag)) == wanted {
            return true;
        }
        rest = after.get(1..).unwrap_or(b"");
    }
}

/// Takes the suffixes of our codings off the tags by which a request on its way to the backend is conditional, which
/// knows only its own. Not off those in `If-Range`: of what a client has in a coding the backend's bytes are no rest,
/// so that a tag which the backend does not know is the right one. An origin whose own tags end so gets another
/// one back: a 304 the less, and a change under `If-Match` refused; it is to be proxied without `compress`.
pub(crate) fn unmark_conditions(headers: &mut HeaderMap) {
    for name in [header::IF_NONE_MATCH, header::IF_MATCH] {
        if let header::Entry::Occupied(mut lines) = headers.entry(name) {
            for line in lines.iter_mut() {
                if let Some(plain) = without_marks(line.as_bytes())
                    && let Ok(plain) = HeaderValue::from_bytes(&plain)
                {
                    *line = plain;
                }
            }
        }
    }
}

/// A list of entity tags without our suffixes; nothing if there is none in it. What is no list of tags is left alone.
fn without_marks(line: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = line.split(|byte| *byte == b'"').collect();
    // Every second part stands between quotes.
    let is_paired = parts.len() % 2 == 1;
    let mut is_changed = false;
    for tag in parts.iter_mut().skip(1).step_by(2).filter(|_| is_paired) {
        let plain = unmarked(tag);
        is_changed |= plain.len() != tag.len();
        *tag = plain;
    }
    is_changed.then(|| parts.join(&b"\""[..]))
}

fn opaque(etag: &[u8]) -> Option<&[u8]> {
    etag.strip_prefix(b"W/")
        .unwrap_or(etag)
        .strip_prefix(b"\"")?
        .strip_suffix(b"\"")
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
    use crate::head::Ready;
    use crate::tags::Tags;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    fn all(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn if_none_match_compares_weakly() {
        for (lines, etag, expected) in [
            (&["\"a\""][..], "\"a\"", Condition::NotModified),
            (&["W/\"a\""], "\"a\"", Condition::NotModified),
            (&["\"a\""], "W/\"a\"", Condition::NotModified),
            (&["W/\"a\""], "W/\"a\"", Condition::NotModified),
            (&["\"x,y\", W/\"a\""], "\"a\"", Condition::NotModified),
            (&["\"x\"", " ,\"a\""], "\"a\"", Condition::NotModified),
            (&["\"\""], "\"\"", Condition::NotModified),
            (&["\"x\", \"\u{fc}\""], "\"\u{fc}\"", Condition::NotModified),
            (&["a"], "a", Condition::NotModified),
            (&["*"], "\"a\"", Condition::NotModified),
            // Of a coded form of it.
            (&["\"a;br\""], "\"a\"", Condition::NotModified),
            (&["W/\"a;zst\""], "\"a\"", Condition::NotModified),
            (&["\"x\", \"a;gz\""], "W/\"a\"", Condition::NotModified),
            (&["\"a;gz\""], "\"a;gz\"", Condition::NotModified),
            (&["\"a;gz;br\""], "\"a;gz\"", Condition::NotModified),
            (&["\"a;gz;br\""], "\"a\"", Condition::Send),
            (&["\"a\""], "\"a;gz\"", Condition::Send),
            (&["\"a;br\""], "\"a;gz\"", Condition::Send),
            (&["\"a;deflate\""], "\"a\"", Condition::Send),
            (&["\"b\""], "\"a\"", Condition::Send),
            (&["\"A\""], "\"a\"", Condition::Send),
            (&["w/\"a\""], "\"a\"", Condition::Send),
            (&["a"], "\"a\"", Condition::Send),
            (&["\"a\""], "a", Condition::Send),
            (&["\"x\" \"a"], "\"a\"", Condition::Send),
            (&[""], "\"a\"", Condition::Send),
        ] {
            let etag = HeaderValue::from_bytes(etag.as_bytes()).unwrap();
            let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
            let found = client_condition(&all(&lines), Some(&etag), || None);
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        let asks = |since| ("if-modified-since", since);
        let both = [("last-modified", DATE), ("date", LATER)];
        for (client, response, expected) in [
            (vec![asks(DATE)], &both[..], Condition::NotModified),
            (vec![asks(LATER)], &both, Condition::NotModified),
            (
                vec![asks("Sunday, 06-Nov-94 08:49:37 GMT")],
                &both,
                Condition::NotModified,
            ),
            (
                vec![asks("Sun Nov  6 08:49:37 1994")],
                &both,
                Condition::NotModified,
            ),
            (vec![asks(EARLIER)], &both, Condition::Send),
            (vec![asks("0")], &both, Condition::Send),
            (vec![asks(DATE), asks(LATER)], &both, Condition::Send),
            (
                vec![asks(DATE), ("if-none-match", "\"x\"")],
                &both,
                Condition::Send,
            ),
            (
                vec![asks(DATE), ("if-none-match", "*")],
                &both,
                Condition::NotModified,
            ),
            (vec![("if-unmodified-since", EARLIER)], &both, Condition::Send),
            (vec![("if-match", "\"x\"")], &both, Condition::Send),
            // Without a Last-Modified it is the Date that counts.
            (vec![asks(DATE)], &[("date", DATE)], Condition::NotModified),
            (vec![asks(LATER)], &[("date", DATE)], Condition::NotModified),
            (vec![asks(EARLIER)], &[("date", DATE)], Condition::Send),
            (vec![asks(DATE)], &[("date", "whenever")], Condition::Send),
            (
                vec![asks(DATE)],
                &[("date", DATE), ("last-modified", "0")],
                Condition::Send,
            ),
            (vec![asks(DATE)], &[], Condition::Send),
        ] {
            let response = all(response);
            let dated = || super::modified(&response, date(&response, &header::DATE));
            let found = client_condition(&all(&client), None, dated);
            assert_eq!(found, expected, "{client:?} of {response:?}");
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let modified = [("last-modified", DATE), ("date", LATER)];
        for (conditions, etag, response, expected) in [
            (&["\"a\""][..], "\"a\"", &modified[..], true),
            (&["\"b\""], "\"a\"", &modified, false),
            (&["\"a;br\""], "\"a\"", &modified, false),
            (&["W/\"a\""], "W/\"a\"", &modified, false),
            (&["W/\"a\""], "\"a\"", &modified, false),
            (&["\"a\""], "W/\"a\"", &modified, false),
            (&["\"a\"", "\"a\""], "\"a\"", &modified, false),
            (&["*"], "\"a\"", &modified, false),
            (&["a"], "a", &modified, false),
            (&[DATE], "\"a\"", &modified, true),
            (&[EARLIER], "\"a\"", &modified, false),
            (&[LATER], "\"a\"", &modified, false),
            (&[DATE, DATE], "\"a\"", &modified, false),
            // Two pages may have been made within the second.
            (
                &[DATE],
                "\"a\"",
                &[("last-modified", DATE), ("date", DATE)],
                false,
            ),
            (&[DATE], "\"a\"", &[("last-modified", DATE)], false),
            (&[DATE], "\"a\"", &[("date", DATE)], false),
            (&[], "\"a\"", &[], true),
        ] {
            let etag = HeaderValue::from_str(etag).unwrap();
            let client: Vec<_> = conditions.iter().map(|line| ("if-range", *line)).collect();
            assert_eq!(
                range_is_wanted(&all(&client), Some(&etag), &all(response)),
                expected,
                "{conditions:?}"
            );
        }
    }

    #[test]
    fn a_backend_is_asked_by_its_own_tags() {
        for (sent, expected) in [
            ("\"a;br\"", "\"a\""),
            ("W/\"a;zst\"", "W/\"a\""),
            ("\"a;br\", \"b;gz\",W/\"c\"", "\"a\", \"b\",W/\"c\""),
            ("\"a;gz;br\"", "\"a;gz\""),
            ("\"x,y;br\"", "\"x,y\""),
            ("\"a\"", "\"a\""),
            ("\"a;br;\"", "\"a;br;\""),
            ("*", "*"),
            ("a;br", "a;br"),
            ("\"a;br", "\"a;br"),
            ("", ""),
        ] {
            for name in ["if-none-match", "if-match"] {
                let mut headers = headers(name, sent);
                unmark_conditions(&mut headers);
                assert_eq!(headers[name], expected, "{name}: {sent}");
            }
            let mut range = headers("if-range", sent);
            unmark_conditions(&mut range);
            assert_eq!(range["if-range"], sent);
        }
    }

    #[test]
    fn a_304_is_about_what_has_its_validators() {
        let (a, weak, b) = (("etag", "\"a\""), ("etag", "W/\"a\""), ("etag", "\"b\""));
        let (then, later) = (("last-modified", DATE), ("last-modified", LATER));
        for (stored, of_304, expected) in [
            (vec![a], vec![a], true),
            (vec![a, then], vec![a, later], true),
            (vec![a], vec![weak], true),
            (vec![weak], vec![weak], true),
            (vec![("etag", "x")], vec![("etag", "x")], true),
            (vec![a], vec![b], false),
            (vec![a, then], vec![b, then], false),
            (vec![weak], vec![a], false),
            (vec![a], vec![("etag", "W/\"b\"")], false),
            (vec![then], vec![then], true),
            (
                vec![then],
                vec![("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT")],
                true,
            ),
            (vec![a, then], vec![then], true),
            (vec![then], vec![later], false),
            (vec![then], vec![then, a], true),
            (vec![then], vec![a], false),
            (vec![then], vec![later, a], false),
            // Without a validator it is about what was asked.
            (vec![a, then], vec![], true),
            (vec![], vec![], true),
        ] {
            assert_eq!(
                confirms(&all(&stored), &all(&of_304)),
                expected,
                "{stored:?} by {of_304:?}"
            );
        }
    }

    #[test]
    fn a_304_updates_all_that_does_not_describe_the_bytes() {
        let head = |headers: HeaderMap, expires_after| StoredHead {
            status: StatusCode::OK,
            headers,
            expires_after,
            tags: Tags::default(),
            ready: Ready::default(),
        };
        let stays = [
            "content-encoding",
            "content-length",
            "content-range",
            "content-md5",
            "content-digest",
        ];
        let changes = [
            "cache-control",
            "cdn-cache-control",
            "content-foo",
            "content-location",
            "content-security-policy",
            "content-type",
            "etag",
            "last-modified",
            "repr-digest",
            "x-unknown",
        ];
        let fields = |value| -> Vec<_> {
            stays
                .into_iter()
                .chain(changes)
                .map(|name| (name, value))
                .collect()
        };
        let mut old = fields("old");
        old.extend([("x-kept", "old"), ("x-two", "old"), ("x-two", "older")]);
        let mut new = fields("new");
        new.extend([("x-two", "new"), ("x-added", "new")]);
        let (stored, of_304) = (head(all(&old), Some(60)), head(all(&new), None));

        let merged = freshened(&stored, &of_304);

        for (names, expected) in [
            (&stays[..], "old"),
            (&changes, "new"),
            (&["x-kept"], "old"),
            (&["x-two", "x-added"], "new"),
        ] {
            for name in names {
                let values: Vec<_> = merged.headers.get_all(*name).iter().collect();
                assert_eq!(values, [expected], "{name}");
            }
        }
        assert_eq!(merged.expires_after, Some(60));
        let of_304 = head(HeaderMap::new(), Some(5));
        assert_eq!(freshened(&stored, &of_304).expires_after, Some(5));
    }

    #[test]
    fn a_304_without_accept_encoding_in_vary_changes_nothing() {
        let head = |lines: &[&'static str]| StoredHead {
            status: StatusCode::OK,
            headers: all(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>()),
            expires_after: None,
            tags: Tags::default(),
            ready: Ready::default(),
        };
        for (stored, of_304, expected) in [
            (
                &["RSC, Accept-Encoding"][..],
                &["RSC"][..],
                &["RSC, Accept-Encoding"][..],
            ),
            (
                &["RSC, Accept-Encoding"],
                &["rsc, accept-encoding"],
                &["RSC, Accept-Encoding"],
            ),
            (
                &["a", "Accept-Encoding, b"],
                &["B, A"],
                &["a", "Accept-Encoding, b"],
            ),
            (&["Accept-Encoding"], &[""], &["Accept-Encoding"]),
            (&["RSC, Accept-Encoding"], &[], &["RSC, Accept-Encoding"]),
            // The 304 says more, or less.
            (&["RSC"], &["RSC, Accept-Encoding"], &["RSC, Accept-Encoding"]),
            (&["Accept-Encoding"], &["RSC"], &["RSC"]),
            (
                &["RSC, Accept-Encoding"],
                &["Accept-Encoding"],
                &["Accept-Encoding"],
            ),
            (&["Accept-Encoding"], &["*"], &["*"]),
            (&[], &["RSC"], &["RSC"]),
        ] {
            let merged = freshened(&head(stored), &head(of_304));
            let lines: Vec<_> = merged.headers.get_all("vary").iter().collect();
            assert_eq!(lines, expected, "{stored:?} by {of_304:?}");
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
