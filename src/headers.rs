//! Header fields by what becomes of them: those that belong to one connection, those never stored,
//! those that name the client's address.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::language::Languages;
use crate::pattern::Glob;

mod set;

pub(crate) use set::FieldSet;

/// Directives for the caches that a site's operator runs (RFC 9213 §3); this is one.
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Fields about the very bytes that were stored (RFC 9530 §2 and §3, RFC 3230, RFC 1864): of other bytes they are wrong.
pub(crate) const OF_THE_BYTES: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// How an answer came about (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fields of one connection (RFC 9110 §7.6.1), whatever `Connection` lists.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    // RFC 9111 §3.1: of the proxy, and not to be stored.
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What `Connection` cannot take away from a message: a sender that lists these would change what the
/// message means.
const NEVER_DROPPED: [HeaderName; 19] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    // Who may store it, for how long, and for whom it is.
    header::CACHE_CONTROL,
    CDN_CACHE_CONTROL,
    header::PRAGMA,
    header::EXPIRES,
    header::DATE,
    header::AGE,
    header::VARY,
    header::ETAG,
    header::LAST_MODIFIED,
    // What the bytes are, and where they lead.
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::LOCATION,
];

/// Fields that say where a request came from. Those of strangers are dropped and ours put in their place.
const FORWARDING: [&str; 26] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-originating-ip",
    "x-envoy-external-address",
    "x-azure-clientip",
    "x-appengine-user-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "x-host",
    "x-url-scheme",
    "x-scheme",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-http-host-override",
    "front-end-https",
    "x-arr-ssl",
];

/// The request field that asks this proxy alone what it decides; nobody else ever sees it.
pub(crate) const DEBUG: HeaderName = HeaderName::from_static("phantom-frame-debug");

/// End-to-end fields that no fill carries for a client's sake: somebody's identity, what the fill says
/// itself, what asks for less than the whole page, and what is not the backend's affair. None of them is ever
/// an axis.
const NEVER_ON_A_FILL: [HeaderName; 16] = [
    DEBUG,
    header::COOKIE,
    header::AUTHORIZATION,
    header::HOST,
    header::CONTENT_LENGTH,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::VIA,
    header::TRAILER,
    header::MAX_FORWARDS,
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
    for name in listed(headers) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes what `Connection` lists of the fields that would otherwise go on: no backend sees them, so
/// nothing is selected by them. What the way to the backend takes from the others stays for it.
pub(crate) fn strip_listed(headers: &mut HeaderMap) {
    for name in listed(headers) {
        if !is_hop_by_hop(&name) && !is_forwarding(&name) {
            headers.remove(name);
        }
    }
}

/// The fields that `Connection` lists, and may.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    list_values(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !NEVER_DROPPED.contains(name))
        .collect()
}

/// Whether the field belongs to one connection, whatever `Connection` lists.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Whether the field says where a request came from.
pub(crate) fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.contains('_') {
        // CGI's variables and all that descends from them know no difference between the two.
        true => names_origin(&name.replace('_', "-")),
        false => names_origin(name),
    }
}

fn names_origin(name: &str) -> bool {
    name.starts_with("x-forwarded") || FORWARDING.contains(&name)
}

/// Whether a fill may carry the client's field of this name, whoever names it.
pub(crate) fn is_sendable(name: &HeaderName) -> bool {
    !NEVER_ON_A_FILL.contains(name) && !is_forwarding(name) && !is_hop_by_hop(name) && !is_disguise(name)
}

/// A field as it goes out on fills: its lines as one (RFC 9110 §5.3), without whitespace around them, a list of
/// tokens without whitespace in it (§5.6.1), and `Accept-Language` in its normal form. A value that is anything
/// else, such as an address, a quoted string or a sentence, keeps what stands between.
pub(crate) fn normal_value(
    name: &HeaderName,
    headers: &HeaderMap,
    languages: &Languages,
) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(|line| line.as_bytes().trim_ascii())
        .collect();
    if lines.is_empty() {
        return None;
    }
    let elements = || {
        let elements = lines.iter().flat_map(|line| line.split(|byte| *byte == b','));
        elements.map(<[u8]>::trim_ascii)
    };
    let mut value = match elements().all(is_token) {
        true => elements().collect::<Vec<_>>().join(&b","[..]),
        false => lines.join(&b", "[..]),
    };
    if *name == header::ACCEPT_LANGUAGE {
        value = languages.normal(&String::from_utf8_lossy(&value))?.into_bytes();
    }
    HeaderValue::from_bytes(&value).ok()
}

/// RFC 9110 §5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_of_token)
}

/// The same as text, for keys and for comparing variants (RFC 9111 §4.1): two values have one text only
/// if they go out as the same bytes.
pub(crate) fn normal_text(name: &HeaderName, headers: &HeaderMap, languages: &Languages) -> Option<Box<str>> {
    let value = normal_value(name, headers, languages)?;
    let mut text = String::with_capacity(value.len());
    for byte in value.as_bytes() {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' | b' '..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&other.escape_ascii().to_string()),
        }
    }
    Some(text.into())
}

/// The weight among a list element's parameters in thousandths (RFC 9110 §12.4.2), 1000 without one. One
/// that is no number is 0.
pub(crate) fn weight(parameters: &str) -> u32 {
    let said = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(said) = said else { return 1000 };
    let weight: f32 = said.parse().unwrap_or(0.0);
    // Clamped, so the cast loses nothing but the fraction; what is no number becomes 0.
    (weight.clamp(0.0, 1.0) * 1000.0).round() as u32
}

/// Whether the field is `Content_Length` or the like: what CGI and its heirs (WSGI, Rack, PHP) take for
/// the field that is spelled with a hyphen, and would believe instead of ours.
pub(crate) fn is_disguise(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.contains('_') && {
        let meant = name.replace('_', "-");
        meant == "content-length" || HOP_BY_HOP.contains(&meant.as_str()) || names_origin(&meant)
    }
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

/// A request's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookie<'a> {
    /// As sent; where there is no `=`, all there is, which some take for a name and others for a value
    /// (RFC 6265bis §5.7).
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl Cookie<'_> {
    /// `name=value`, as it was sent.
    pub(crate) fn pair(&self) -> Vec<u8> {
        match self.value {
            Some(value) => [self.name, b"=", value].concat(),
            None => self.name.to_vec(),
        }
    }
}

/// The request's cookies, as they are sent.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let (name, value) = pair.split_at(at);
                Cookie {
                    name: name.trim_ascii(),
                    value: value.get(1..),
                }
            }
            None => Cookie {
                name: pair,
                value: None,
            },
        })
}

/// A host in lower case, without the scheme's own port.
pub(crate) fn normal_host(host: &str, scheme: &str) -> String {
    let host = host.to_ascii_lowercase();
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    host.strip_suffix(own_port).map_or(host.clone(), str::to_owned)
}

/// A header value from text of ours; text that cannot be one (a control character) is left out.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// A list of names that may end in `*`, matched in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameList {
    exact: Vec<Box<str>>,
    wild: Vec<Glob>,
}

impl NameList {
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self::default();
        for name in names {
            let name = name.to_ascii_lowercase();
            if name.contains('*') {
                list.wild.push(Glob::new(&name));
            } else {
                list.exact.push(name.into());
            }
        }
        list.exact.sort_unstable();
        list.exact.dedup();
        list
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        // Most names are in lower case as they come.
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        self.exact.binary_search_by(|known| (**known).cmp(&name)).is_ok()
            || self.wild.iter().any(|pattern| pattern.is_match(&name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

/// Fields as tests write them, in their order.
#[cfg(test)]
pub(crate) fn header_map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
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
    fn connection_takes_nothing_that_a_message_is_judged_by() {
        for name in NEVER_DROPPED {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::from_str(name.as_str()).unwrap());
            headers.insert(&name, HeaderValue::from_static("1"));
            strip_hop_by_hop(&mut headers);
            assert!(headers.contains_key(&name), "{name}");
        }
        for name in HOP_BY_HOP {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("1"));
            strip_hop_by_hop(&mut headers);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_underscore_does_not_hide_a_field() {
        for (name, expected) in [
            ("content_length", true),
            ("transfer_encoding", true),
            ("x_forwarded_for", true),
            ("x-forwarded_proto", true),
            ("x_real-ip", true),
            ("content-length", false),
            ("x_api_key", false),
        ] {
            assert_eq!(is_disguise(&HeaderName::from_static(name)), expected, "{name}");
        }
    }

    #[test]
    fn no_fill_carries_a_disguise() {
        for (name, expected) in [
            ("content_length", false),
            ("transfer_encoding", false),
            ("transfer-encoding", false),
            ("x_api_key", true),
            ("x-api-key", true),
        ] {
            assert_eq!(is_sendable(&HeaderName::from_static(name)), expected, "{name}");
        }
    }

    #[test]
    fn cookies_are_split_as_browsers_join_them() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; b = x=y;; bare"));
        headers.append("cookie", HeaderValue::from_static("c="));
        let pairs: Vec<_> = cookies(&headers)
            .map(|cookie| (cookie.name, cookie.value))
            .collect();
        type Pair<'a> = (&'a [u8], Option<&'a [u8]>);
        let expected: [Pair<'_>; 4] = [
            (b"a", Some(b"1")),
            (b"b", Some(b" x=y")),
            (b"bare", None),
            (b"c", Some(b"")),
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn values_have_one_text_only_if_they_go_out_as_the_same_bytes() {
        let name = HeaderName::from_static("x-a");
        let text = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, HeaderValue::from_bytes(line).unwrap());
            }
            normal_text(&name, &headers, &Languages::default())
        };
        assert_eq!(text(&[b"a", b" b "]), text(&[b"a, b"]));
        assert_eq!(text(&[b"a ,b", b"c"]), text(&[b"a,b,\tc"]));
        for (one, other) in [
            (&b"a b,c"[..], &b"a b, c"[..]),
            (b"/a,b", b"/a, b"),
            (b"\"a,b\"", b"\"a, b\""),
            (b"a,,b", b"a, ,b"),
            (b"a,b", b"a b"),
        ] {
            assert_ne!(text(&[one]), text(&[other]), "{}", one.escape_ascii());
        }
        assert_ne!(text(&[b"\xff"]), text(&[b"\\xff"]));
        assert_ne!(text(&["\u{e4}".as_bytes()]), text(&[b"\\xc3\\xa4"]));
        assert_ne!(text(&[b"\\"]), text(&[b"\\\\"]));
        assert_ne!(text(&[b""]), text(&[]));
    }

    #[test]
    fn weights_are_read_in_any_spelling() {
        for (parameters, expected) in [
            ("", 1000),
            ("q=0.5", 500),
            (" Q = 0.25 ", 250),
            ("level=1;q=0", 0),
            ("q=0.000", 0),
            ("q=7", 1000),
            ("q=", 0),
            ("q=nan", 0),
        ] {
            assert_eq!(weight(parameters), expected, "{parameters}");
        }
    }

    #[test]
    fn name_lists_match_in_any_case_and_by_star() {
        let list = NameList::new(["_ga", "_ga_*", "CF-*"]);
        for (name, expected) in [("_ga", true), ("_GA_X1", true), ("cf-ray", true), ("ga", false)] {
            assert_eq!(list.contains(name), expected, "{name}");
        }
    }
}
