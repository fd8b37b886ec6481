//! Header fields by what becomes of them: those that belong to one connection, those never stored,
//! those that name the client's address.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields of one connection (RFC 9110 §7.6.1), whatever `Connection` lists.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What `Connection` cannot take away from a message: a sender that lists these would change what the
/// message means.
const NEVER_DROPPED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CACHE_CONTROL,
];

/// Fields that say where a request came from. Those of strangers are dropped and ours put in their place.
const FORWARDING: [&str; 12] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-url-scheme",
    "x-scheme",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "front-end-https",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Response fields that say something about one answer, not about the page: they would make every
/// rendering differ. Shown in the README.
pub const VOLATILE_HEADERS: &[&str] = &[
    "age",
    "alt-svc",
    "cache-status",
    "cf-*",
    "connection",
    "date",
    "keep-alive",
    "nel",
    "proxy-status",
    "report-to",
    "request-id",
    "server-timing",
    "via",
    "x-amz-cf-id",
    "x-amz-cf-pop",
    "x-amzn-requestid",
    "x-amzn-trace-id",
    "x-cache",
    "x-cache-hits",
    "x-correlation-id",
    "x-github-request-id",
    "x-nextjs-cache",
    "x-nextjs-prerender",
    "x-request-id",
    "x-response-time",
    "x-runtime",
    "x-served-by",
    "x-timer",
    "x-trace-id",
    "x-vercel-*",
    "x-varnish",
];

/// Removes what belongs to one connection, in either direction.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = list_values(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !NEVER_DROPPED.contains(name))
        .collect();
    for name in listed {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether the field belongs to one connection, whatever `Connection` lists.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Whether the field says where a request came from.
pub(crate) fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded") || FORWARDING.contains(&name)
}

/// The comma-separated values of a field, all its lines, trimmed, the empty ones left out. Quotes are
/// not looked at: for lists of tokens.
pub(crate) fn list_values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Whether a list of tokens holds `token`, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list_values(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

/// Names and values of the request's cookies, as they are sent; what is not text is left out of the
/// names but never of the judgement (see `policy::identity`).
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let (name, value) = pair.split_at(at);
                (name.trim_ascii(), value.get(1..).unwrap_or_default())
            }
            None => (pair, &[][..]),
        })
}

/// A header value from text of ours; text that cannot be one (a control character) is left out.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// A list of names that may end in `*`, matched in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameList {
    exact: Vec<Box<str>>,
    wild: Vec<Box<str>>,
}

impl NameList {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self::default();
        for name in names {
            let name = name.to_ascii_lowercase();
            if name.contains('*') {
                list.wild.push(name.into());
            } else {
                list.exact.push(name.into());
            }
        }
        list.exact.sort_unstable();
        list.exact.dedup();
        list
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.exact
            .binary_search_by(|known| (**known).cmp(name.as_str()))
            .is_ok()
            || self.wild.iter().any(|pattern| wildcard(pattern, &name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

fn wildcard(pattern: &str, text: &str) -> bool {
    crate::pattern::Glob::new(pattern).is_match(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_takes_its_own_fields_and_never_the_message_s() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, Cookie"),
            ("x-hop", "1"),
            ("cookie", "a=b"),
            ("te", "trailers"),
            ("x-end", "2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["cookie", "x-end"]);
    }

    #[test]
    fn cookies_are_split_as_browsers_join_them() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; b = x=y;; bare"));
        headers.append("cookie", HeaderValue::from_static("c="));
        let pairs: Vec<_> = cookies(&headers).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"b", b" x=y"), (b"bare", b""), (b"c", b"")];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn name_lists_match_in_any_case_and_by_star() {
        let list = NameList::new(["_ga", "_ga_*", "CF-*"]);
        for (name, expected) in [("_ga", true), ("_GA_X1", true), ("cf-ray", true), ("ga", false)] {
            assert_eq!(list.contains(name), expected, "{name}");
        }
    }
}
