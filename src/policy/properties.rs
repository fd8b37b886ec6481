//! What the rules promise for any request and any answer.

mod answers;
mod lifetimes;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::config::check::{Rules, rules};
use crate::config::{CreateProxyConfig, RequestInfo, Ttl};
use crate::head::{Generated, StoredHead};
use crate::key::KeySource;

use super::fill::{FillRequest, PRESET_HEADERS, Question, Rendered, fill_request};
use super::forward::{Asker, Trust};
use super::identity::{BYPASS_HEADERS, IGNORED_SET_COOKIES, identity};
use super::request::{BodyPresence, Facts, HostStanding, Route, route};
use super::vary;

const KEYED: [&str; 2] = ["x-key", "accept-language"];

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let config = CreateProxyConfig::new("http://localhost:8080".into()).with(|settings| {
        settings.key_headers = KEYED.map(str::to_owned).to_vec();
        settings.key_cookies = vec!["theme".into()];
    });
    rules(&config).unwrap()
});

/// As `RULES`, with a key of the path, one parameter and one field.
static CUSTOM: LazyLock<Rules> = LazyLock::new(|| {
    let line = |info: &RequestInfo<'_>| {
        let page = info.query.split('&').find(|part| part.starts_with("page="));
        let device = info.headers.get("x-device").map(HeaderValue::as_bytes);
        format!("{}|{}|{device:?}", info.path, page.unwrap_or(""))
    };
    let config = CreateProxyConfig::new("http://localhost:8080".into()).with_cache_key_fn(line);
    rules(&config).unwrap()
});

const NAMES: &[&str] = &[
    "accept",
    "accept-encoding",
    "age",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "location",
    "origin",
    "pragma",
    "range",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-http-method-override",
    "x-original-url",
];

const VALUES: &[&str] = &[
    "",
    "*",
    "*/*",
    "1",
    "60",
    "-1",
    "close, upgrade",
    "gzip, br;q=0",
    "h2c",
    "websocket",
    "chunked",
    "bytes=0-1",
    "no-cache",
    "no-store",
    "private=\"x\"",
    "public, max-age=60, s-maxage=9999999999",
    "max-age=5, stale-if-error=7",
    "max-age=\"60\"",
    "s-maxage=0",
    "application/json",
    "text/html; charset=utf-8",
    "text/event-stream",
    "\"tag\"",
    "W/\"tag\"",
    "/",
    "http://example.com/",
    "accept-language, rsc, cookie",
    "session=1; theme=dark",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "de;q=0.5, en",
    "script-src 'nonce-abc'",
];

fn name() -> impl Strategy<Value = HeaderName> {
    let known = NAMES
        .iter()
        .chain(KEYED.iter())
        .chain(PRESET_HEADERS)
        .chain(BYPASS_HEADERS);
    let known: Vec<&str> = known.copied().collect();
    prop_oneof![
        select(known).prop_map(HeaderName::from_static),
        "[a-z][a-z0-9_.-]{0,16}".prop_map(|name| name.parse().unwrap()),
    ]
}

fn field_value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        3 => select(VALUES).prop_map(HeaderValue::from_static),
        1 => vec(any::<u8>(), 0..20)
            .prop_filter_map("can be a value", |bytes| HeaderValue::from_bytes(&bytes).ok()),
    ]
}

fn fields(most: usize) -> impl Strategy<Value = HeaderMap> {
    vec((name(), field_value()), 0..=most).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        select(vec![Method::GET, Method::HEAD, Method::POST, Method::CONNECT]),
        "[A-Za-z!-]{1,8}".prop_filter_map("is a token", |text| text.parse().ok()),
    ]
}

fn status() -> impl Strategy<Value = StatusCode> {
    (100_u16..1000).prop_map(|code| StatusCode::from_u16(code).unwrap())
}

fn with(headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> HeaderMap {
    let mut more = headers.clone();
    more.append(name, value.clone());
    more
}

fn source<'a>(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> KeySource<'a> {
    KeySource {
        method: "GET",
        path,
        query,
        scheme: "http",
        host: "site.test",
        headers,
        body: None,
    }
}

fn fill(path: &str, query: &str, headers: &HeaderMap, learned: &[HeaderName], rules: &Rules) -> FillRequest {
    let via = HeaderValue::from_static("1.1 phantom-frame");
    let asker = Asker {
        peer: Some([192, 0, 2, 7].into()),
        trust: Trust::Stranger,
        scheme: "http",
        host: "site.test",
    };
    let question = Question {
        source: &source(path, query, headers),
        asker: &asker,
        learned,
        apart: None,
    };
    fill_request(&question, &rules.fill, &rules.key, &via).unwrap()
}

#[track_caller]
fn assert_same(one: &FillRequest, other: &FillRequest, added: &HeaderName) {
    assert_eq!(one.headers, other.headers, "{added} changes the fill");
    assert_eq!(one.target, other.target, "{added} changes the target");
    assert_eq!(one.unkeyed, other.unkeyed, "{added} changes what selects");
    assert_eq!(one.sent, other.sent, "{added} changes the variant");
}

/// A road, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Road {
    Past,
    Lookup,
    Other,
}

proptest! {
    #[test]
    fn every_request_has_a_road(
        method in method(),
        path in "/[ -~]{0,20}",
        query in "[ -~]{0,20}",
        headers in fields(8),
        added in (name(), field_value()),
        body in any::<bool>(),
    ) {
        let road = |headers: &HeaderMap| {
            let facts = Facts {
                method: &method,
                path: &path,
                query: &query,
                headers,
                body: if body { BodyPresence::Present } else { BodyPresence::Absent },
                host: HostStanding::Ours,
            };
            match route(&facts, &RULES.request) {
                Route::Pass(_) | Route::Somebody(_) => Road::Past,
                Route::Lookup(_) => Road::Lookup,
                Route::Refuse(_) | Route::Tunnel => Road::Other,
            }
        };
        let more = with(&headers, &added.0, &added.1);
        // Whoever passes with fewer fields passes with more.
        if road(&headers) == Road::Past {
            prop_assert!(road(&more) != Road::Lookup, "what keeps it from the cache is lifted by {}", added.0);
        }
        if identity(&headers, &query, &RULES.request.identity).is_some() {
            prop_assert!(identity(&more, &query, &RULES.request.identity).is_some());
        }
    }

    #[test]
    fn a_field_that_nobody_named_changes_nothing_in_a_fill(
        headers in fields(8),
        learned in vec(name(), 0..3),
        added in (name(), field_value()),
    ) {
        let (name, value) = added;
        let is_named = PRESET_HEADERS.contains(&name.as_str())
            || KEYED.contains(&name.as_str())
            || learned.contains(&name);
        prop_assume!(!is_named);
        let before = fill("/a", "x=1", &headers, &learned, &RULES);
        let after = fill("/a", "x=1", &with(&headers, &name, &value), &learned, &RULES);
        assert_same(&before, &after, &name);
        for never in [header::AUTHORIZATION, header::RANGE, header::IF_NONE_MATCH, header::CONNECTION] {
            prop_assert!(!after.headers.contains_key(&never), "{never} is sent");
        }
    }

    #[test]
    fn a_cookie_that_nobody_named_changes_nothing_in_a_fill(
        headers in fields(4),
        name in "[a-z_]{1,8}",
        value in "[!-~&&[^;,]]{0,12}",
    ) {
        prop_assume!(name != "theme");
        let cookie = HeaderValue::from_str(&format!("{name}={value}")).unwrap();
        let before = fill("/a", "", &headers, &[], &RULES);
        let after = fill("/a", "", &with(&headers, &header::COOKIE, &cookie), &[], &RULES);
        assert_same(&before, &after, &header::COOKIE);
    }

    #[test]
    fn what_a_custom_key_does_not_look_at_changes_nothing_in_a_fill(
        headers in fields(6),
        added in (name(), field_value()),
        parameter in "[a-o]{1,6}=[0-9]{0,3}",
    ) {
        let (name, value) = added;
        prop_assume!(name != "x-device" && !PRESET_HEADERS.contains(&name.as_str()));
        let before = fill("/a", "page=2", &headers, &[], &CUSTOM);
        let after = fill("/a", &format!("{parameter}&page=2"), &with(&headers, &name, &value), &[], &CUSTOM);
        assert_same(&before, &after, &name);
    }

    #[test]
    fn a_variant_is_selected_by_its_fields_alone(
        names in vec(name(), 0..5),
        headers in fields(8),
        added in (name(), field_value()),
    ) {
        let languages = &RULES.key.languages;
        let selected = vary::select(&names, &headers, languages);
        prop_assert_eq!(selected.names(), names.clone());
        let more = with(&headers, &added.0, &added.1);
        if !names.contains(&added.0) {
            prop_assert_eq!(vary::select(&names, &more, languages), selected);
        }
    }
}
