//! What a fill sends: the one place that decides it.
//!
//! A fill depends on the key and on nothing else of the visitor who happened to come first, so the same
//! site gives the same files whoever visits. Fixed values, named inputs, nothing more.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::head::VariantKey;
use crate::headers::{NameList, cookies, is_forwarding, value};
use crate::key::{KeyRules, KeySource};
use crate::policy::forward::origin_headers;
use crate::policy::vary;

/// A browser's Accept for a page.
pub(crate) const ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// A User-Agent without a version: backends that look at it see a browser, and none in particular.
const USER_AGENT: &str = "Mozilla/5.0 (compatible; phantom-frame)";

/// Fields of front-end frameworks that select what is rendered at an address: sent where the client
/// sent them, and axes of what is stored. Each by its name: a pattern would let strangers make up axes.
pub const PRESET_HEADERS: &[&str] = &[
    "rsc",
    "next-router-state-tree",
    "next-router-prefetch",
    "next-router-segment-prefetch",
    "next-url",
    "hx-boosted",
    "hx-current-url",
    "hx-history-restore-request",
    "hx-request",
    "hx-target",
    "hx-trigger",
    "hx-trigger-name",
    "x-inertia",
    "x-inertia-error-bag",
    "x-inertia-except-once-props",
    "x-inertia-infinite-scroll-merge-intent",
    "x-inertia-partial-component",
    "x-inertia-partial-data",
    "x-inertia-partial-except",
    "x-inertia-reset",
    "x-inertia-version",
    "turbo-frame",
    "x-pjax",
    "x-pjax-container",
    "x-up-fail-mode",
    "x-up-fail-target",
    "x-up-mode",
    "x-up-target",
    "x-up-version",
];

/// What a fill sends, as configured.
#[derive(Clone)]
pub(crate) struct FillRules {
    pub(crate) preset: NameList,
}

/// The request of a fill.
#[derive(Debug, Clone)]
pub(crate) struct FillRequest {
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// Preset and learned fields that are in `headers` for the client's sake: they select the answer.
    pub(crate) unkeyed: Vec<HeaderName>,
    /// Those, and the learned ones that the client does not send.
    axes: Vec<HeaderName>,
}

impl FillRequest {
    /// What tells one fill of a key from another.
    pub(crate) fn sent(&self) -> VariantKey {
        vary::select(&self.axes, &self.headers)
    }
}

/// Builds the fill for the client's request `source`; `learned` are the fields that an earlier answer
/// for this key named in `Vary`.
pub(crate) fn fill_request(
    source: &KeySource<'_>,
    learned: &[HeaderName],
    rules: &FillRules,
    key_rules: &KeyRules,
    via: &HeaderValue,
) -> FillRequest {
    let mut headers = fixed(source, via);
    let mut query = source.query.to_owned();
    if key_rules.custom.is_some() {
        let reduced = reduce(source, key_rules);
        for name in reduced.headers.keys() {
            copy(&reduced.headers, name, &mut headers);
        }
        query = reduced.query;
    }
    for name in &key_rules.headers {
        copy(source.headers, name, &mut headers);
    }
    keyed_cookies(source.headers, &key_rules.cookies, &mut headers);
    let (mut unkeyed, mut axes) = (Vec::new(), Vec::new());
    let preset = source
        .headers
        .keys()
        .filter(|name| rules.preset.contains(name.as_str()));
    for name in preset.chain(learned) {
        if !is_sendable(name) || key_rules.headers.contains(name) || axes.contains(name) {
            continue;
        }
        axes.push(name.clone());
        if copy_normalised(source.headers, name, &mut headers) {
            unkeyed.push(name.clone());
        }
    }
    for names in [&mut unkeyed, &mut axes] {
        names.sort_by(|a: &HeaderName, b: &HeaderName| a.as_str().cmp(b.as_str()));
    }
    FillRequest {
        query,
        headers,
        unkeyed,
        axes,
    }
}

fn fixed(source: &KeySource<'_>, via: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(host) = value(source.host) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if source.body.is_some() {
        // The body is the key's, and so is what it means.
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            copy(source.headers, &name, &mut headers);
        }
    }
    origin_headers(&mut headers, source.scheme, source.host);
    headers.insert(header::VIA, via.clone());
    headers
}

/// Fields that no fill carries, whoever names them.
fn is_sendable(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 12] = [
        header::COOKIE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::RANGE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::ACCEPT_ENCODING,
    ];
    !NEVER.contains(name) && !is_forwarding(name)
}

/// Replaces `name` by the client's lines, if it has any.
fn copy(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) {
    let mut lines = from.get_all(name).iter();
    if let Some(first) = lines.next() {
        to.insert(name, first.clone());
        for line in lines {
            to.append(name, line.clone());
        }
    }
}

/// Sends a field as it is compared, so that two clients with the same variant cause the same fill.
/// A learned field that the client does not send is not sent either. Says whether it went out.
fn copy_normalised(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) -> bool {
    match vary::value(name, from).as_deref().and_then(value) {
        Some(value) => {
            to.insert(name, value);
            true
        }
        None => {
            to.remove(name);
            false
        }
    }
}

fn keyed_cookies(from: &HeaderMap, names: &[Box<str>], to: &mut HeaderMap) {
    let wanted = names.iter().filter_map(|name| {
        let (name, value) = cookies(from).find(|(cookie, _)| *cookie == name.as_bytes())?;
        Some([name, b"=", value].concat())
    });
    let pairs: Vec<Vec<u8>> = wanted.collect();
    if !pairs.is_empty() {
        set_cookies(to, &pairs);
    }
}

struct Reduced {
    query: String,
    headers: HeaderMap,
}

/// With a custom key function, what the key depends on is found by taking away: each query parameter
/// and each field goes whose absence leaves the key as it is.
fn reduce(source: &KeySource<'_>, rules: &KeyRules) -> Reduced {
    let wanted = rules.line(source);
    let is_same = |query: &str, headers: &HeaderMap| {
        rules.line(&KeySource {
            query,
            headers,
            ..*source
        }) == wanted
    };
    let mut headers = source.headers.clone();
    let names: Vec<HeaderName> = source.headers.keys().cloned().collect();
    for name in names {
        let mut without = headers.clone();
        without.remove(&name);
        let forbidden = !is_sendable(&name) && name != header::COOKIE;
        if forbidden || is_same(source.query, &without) {
            headers = without;
        }
    }
    reduce_cookies(&mut headers, |headers| is_same(source.query, headers));
    let mut parameters: Vec<&str> = source.query.split('&').collect();
    let mut at = 0;
    while at < parameters.len() {
        let mut without = parameters.clone();
        without.remove(at);
        if is_same(&without.join("&"), &headers) {
            parameters = without;
        } else {
            at += 1;
        }
    }
    Reduced {
        query: parameters.join("&"),
        headers,
    }
}

/// Of the cookies only those stay without which the key would be another.
fn reduce_cookies(headers: &mut HeaderMap, is_same: impl Fn(&HeaderMap) -> bool) {
    let mut pairs: Vec<Vec<u8>> = cookies(headers)
        .map(|(name, value)| [name, b"=", value].concat())
        .collect();
    let mut at = 0;
    while at < pairs.len() {
        let mut without = pairs.clone();
        without.remove(at);
        let mut fewer = headers.clone();
        set_cookies(&mut fewer, &without);
        if is_same(&fewer) {
            pairs = without;
        } else {
            at += 1;
        }
    }
    set_cookies(headers, &pairs);
}

fn set_cookies(headers: &mut HeaderMap, pairs: &[Vec<u8>]) {
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&pairs.join(&b"; "[..]))
        && !pairs.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
}

/// Whether a request that accepts this can be answered with a page: it admits HTML, or anything, or
/// does not say.
pub(crate) fn accepts_page(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    crate::headers::list_values(headers, &header::ACCEPT).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("").to_ascii_lowercase();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        !refused
            && matches!(
                kind.as_str(),
                "*/*" | "text/*" | "text/html" | "application/xhtml+xml"
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::HostInKey;
    use std::sync::Arc;

    fn key_rules() -> KeyRules {
        KeyRules {
            host: HostInKey::Part,
            headers: Vec::new(),
            cookies: Vec::new(),
            ignore_query: NameList::default(),
            custom: None,
        }
    }

    fn fill(
        fields: &[(&'static str, &'static str)],
        learned: &[HeaderName],
        key_rules: &KeyRules,
    ) -> FillRequest {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let source = KeySource {
            method: "GET",
            path: "/",
            query: "a=1&b=2",
            scheme: "https",
            host: "example.com",
            headers: &headers,
            body: None,
        };
        let rules = FillRules {
            preset: NameList::new(PRESET_HEADERS.iter().copied()),
        };
        fill_request(
            &source,
            learned,
            &rules,
            key_rules,
            &HeaderValue::from_static("1.1 pf"),
        )
    }

    #[test]
    fn nothing_of_the_visitor_is_sent() {
        let visitor = [
            ("cookie", "session=1; _ga=2"),
            ("authorization", "Basic x"),
            ("accept-language", "de"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-anything", "1"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"a\""),
            ("user-agent", "curl"),
            ("accept", "application/json"),
        ];
        let nobody = fill(&[], &[], &key_rules());
        assert_eq!(fill(&visitor, &[], &key_rules()).headers, nobody.headers);
        let names: Vec<_> = nobody.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "host",
                "accept",
                "accept-encoding",
                "user-agent",
                "x-forwarded-proto",
                "x-forwarded-host",
                "x-forwarded-port",
                "via"
            ]
        );
    }

    #[test]
    fn preset_and_learned_fields_go_out_and_are_remembered() {
        let sent = fill(
            &[
                ("rsc", "1"),
                ("accept-language", "DE;q=0.9, en;q=0.5"),
                ("x-other", "1"),
            ],
            &[header::ACCEPT_LANGUAGE, header::COOKIE],
            &key_rules(),
        );
        assert_eq!(sent.unkeyed, ["accept-language", "rsc"]);
        assert_eq!(sent.headers["accept-language"], "de,en");
        assert_eq!(sent.headers["rsc"], "1");
    }

    #[test]
    fn key_headers_and_key_cookies_go_out_as_part_of_the_key() {
        let mut rules = key_rules();
        rules.headers = vec!["x-device".parse().unwrap()];
        rules.cookies = vec!["theme".into()];
        let sent = fill(&[("x-device", "tv"), ("cookie", "a=1; theme=dark")], &[], &rules);
        assert_eq!(sent.headers["x-device"], "tv");
        assert_eq!(sent.headers["cookie"], "theme=dark");
        assert!(sent.unkeyed.is_empty());
    }

    #[test]
    fn with_a_custom_key_what_it_does_not_read_is_left_out() {
        let mut rules = key_rules();
        rules.custom = Some(Arc::new(|info| {
            let language = info
                .headers
                .get("accept-language")
                .map(|value| value.to_str().unwrap());
            let b = info
                .query
                .split('&')
                .find(|parameter| parameter.starts_with("b="));
            format!("{}:{b:?}:{language:?}", info.path)
        }));
        let sent = fill(
            &[("accept-language", "de"), ("x-echo", "1"), ("cookie", "_ga=1")],
            &[],
            &rules,
        );
        assert_eq!(sent.query, "b=2");
        assert_eq!(sent.headers["accept-language"], "de");
        assert!(!sent.headers.contains_key("x-echo") && !sent.headers.contains_key("cookie"));
    }

    #[test]
    fn pages_are_for_those_who_accept_one() {
        for (accept, expected) in [
            ("text/html,*/*;q=0.8", true),
            ("image/avif,*/*;q=0.8", true),
            ("application/json", false),
            ("text/x-component", false),
            ("text/html;q=0, application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", HeaderValue::from_static(accept));
            assert_eq!(accepts_page(&headers), expected, "{accept}");
        }
    }
}
