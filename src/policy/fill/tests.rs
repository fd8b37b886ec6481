//! Tables of what a fill sends, by mode and by what is configured.

mod transparent;

use super::*;
use crate::headers::header_map;
use crate::policy::forward::Trust;
use std::sync::Arc;

fn rules(mode: FillMode) -> FillRules {
    FillRules {
        mode,
        accept: HeaderValue::from_static("text/html,*/*;q=0.8"),
        user_agent: HeaderValue::from_static("nobody"),
        unkeyed: vec!["traceparent".parse().unwrap(), "x-trace".parse().unwrap()],
        preset: NameList::new(PRESET_HEADERS.iter().copied()),
        credentials: FillCredentials::LeftOut,
        aside: vec![header::AUTHORIZATION],
    }
}

struct Asked<'a> {
    fields: &'a [(&'static str, &'static str)],
    learned: &'a [HeaderName],
    apart: Option<Class>,
    mode: FillMode,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self {
            fields: &[],
            learned: &[],
            apart: None,
            mode: FillMode::Canonical,
        }
    }
}

impl Asked<'_> {
    fn fill(&self, key_rules: &KeyRules) -> FillRequest {
        let headers = header_map(self.fields);
        let source = KeySource {
            method: "GET",
            path: "/",
            query: "a=1&b=2",
            scheme: "https",
            host: "example.com",
            headers: &headers,
            body: None,
        };
        let asker = Asker {
            peer: Some("192.0.2.7".parse().unwrap()),
            trust: Trust::Stranger,
            scheme: "https",
            host: "example.com",
        };
        let question = Question {
            source: &source,
            asker: &asker,
            learned: self.learned,
            apart: self.apart,
        };
        let via = HeaderValue::from_static("1.1 pf");
        fill_request(&question, &rules(self.mode), key_rules, &via).unwrap()
    }
}

fn fill(
    fields: &[(&'static str, &'static str)],
    learned: &[HeaderName],
    key_rules: &KeyRules,
) -> FillRequest {
    let asked = Asked {
        fields,
        learned,
        ..Asked::default()
    };
    asked.fill(key_rules)
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

const VISITOR: &[(&str, &str)] = &[
    ("host", "evil.example"),
    ("cookie", "session=1; _ga=2"),
    ("authorization", "Basic x"),
    ("accept-language", "de"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-anything", "1"),
    ("range", "bytes=0-1"),
    ("if-none-match", "\"a\""),
    ("if-match", "\"a\""),
    ("te", "trailers"),
    ("connection", "x-hop"),
    ("x-hop", "1"),
    ("accept-encoding", "gzip"),
    ("user-agent", "curl"),
    ("accept", "application/json"),
];

#[test]
fn nothing_of_the_visitor_is_sent() {
    let nobody = fill(&[], &[], &KeyRules::by_host());
    let visitor = fill(VISITOR, &[], &KeyRules::by_host());
    assert_eq!(visitor.headers, nobody.headers);
    assert_eq!(visitor.sent, nobody.sent);
    assert_eq!(nobody.headers["accept"], "text/html,*/*;q=0.8");
    assert_eq!(nobody.headers["user-agent"], "nobody");
    assert_eq!(
        names(&nobody.headers),
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
fn fields_that_no_fill_carries_are_not_learnt_either() {
    let learned: Vec<HeaderName> = VISITOR
        .iter()
        .map(|(name, _)| name.parse().unwrap())
        .filter(|name: &HeaderName| !["accept-language", "x-anything", "x-hop"].contains(&name.as_str()))
        .filter(|name| *name != header::USER_AGENT && *name != header::ACCEPT)
        .collect();
    let nobody = fill(&[], &[], &KeyRules::by_host());
    let visitor = fill(VISITOR, &learned, &KeyRules::by_host());
    assert_eq!(visitor.headers, nobody.headers);
    assert_eq!(visitor.sent, nobody.sent);
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
        &KeyRules::by_host(),
    );
    assert_eq!(sent.unkeyed, ["accept-language", "rsc"]);
    assert_eq!(sent.headers["accept-language"], "de,en");
    assert_eq!(sent.headers["rsc"], "1");
}

#[test]
fn a_learned_field_that_the_client_does_not_send_is_not_sent() {
    let sent = fill(&[], &[header::ACCEPT], &KeyRules::by_host());
    assert!(!sent.headers.contains_key("accept"), "{:?}", sent.headers);
    assert!(sent.unkeyed.is_empty());
    assert_ne!(sent.sent, fill(&[], &[], &KeyRules::by_host()).sent);
}

#[test]
fn key_headers_and_key_cookies_go_out_as_part_of_the_key() {
    let mut rules = KeyRules::by_host();
    rules.headers = vec!["x-device".parse().unwrap(), header::ACCEPT_LANGUAGE];
    rules.cookies = vec!["theme".into()];
    let fields = [
        ("x-device", "tv"),
        ("accept-language", "EN;q=0.1, de"),
        ("cookie", "a=1; theme=dark"),
    ];
    let sent = fill(&fields, &[header::ACCEPT_LANGUAGE], &rules);
    assert_eq!(sent.headers["x-device"], "tv");
    assert_eq!(sent.headers["accept-language"], "de,en");
    assert_eq!(sent.headers["cookie"], "theme=dark");
    assert!(sent.unkeyed.is_empty() && sent.sent.0.is_empty());
}

#[test]
fn languages_go_out_as_one_of_the_site_s_wherever_they_are_named() {
    for mode in [FillMode::Canonical, FillMode::Transparent] {
        for (value, expected) in [("de-CH-1996, en;q=0.3", Some("de-CH")), ("fr", None)] {
            let mut keyed = KeyRules::by_host();
            keyed.languages = Languages::new(["en", "de-CH"]);
            let learned = keyed.clone();
            keyed.headers = vec![header::ACCEPT_LANGUAGE];
            for (rules, names) in [(keyed, &[][..]), (learned, &[header::ACCEPT_LANGUAGE][..])] {
                let asked = Asked {
                    fields: &[("accept-language", value)],
                    learned: names,
                    mode,
                    ..Asked::default()
                };
                let sent = asked.fill(&rules).headers;
                let sent = sent.get("accept-language").map(|value| value.to_str().unwrap());
                assert_eq!(sent, expected, "{value} {mode:?}");
            }
        }
    }
}

#[test]
fn unkeyed_fields_go_along_unchanged_and_select_nothing() {
    let fields = [("traceparent", "00-1"), ("x-trace", "a"), ("x-trace", "b")];
    let sent = fill(&fields, &["x-trace".parse().unwrap()], &KeyRules::by_host());
    assert_eq!(sent.headers["traceparent"], "00-1");
    let lines: Vec<_> = sent.headers.get_all("x-trace").iter().collect();
    assert_eq!(lines, ["a", "b"]);
    assert!(sent.unkeyed.is_empty() && sent.sent.0.is_empty());
}

#[test]
fn with_a_custom_key_what_it_does_not_read_is_left_out() {
    let mut rules = KeyRules::by_host();
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
    assert_eq!((sent.query.as_str(), sent.target.as_str()), ("b=2", "/?b=2"));
    assert_eq!(sent.headers["accept-language"], "de");
    assert!(!sent.headers.contains_key("x-echo") && !sent.headers.contains_key("cookie"));
}

#[test]
fn a_missing_page_is_asked_for_again_as_scripts_ask() {
    let page = fill(VISITOR, &[], &KeyRules::by_host());
    assert_eq!((page.purpose, page.class), (Purpose::Page, Class::Document));
    let asked = Asked {
        fields: VISITOR,
        apart: Some(Class::Other),
        ..Asked::default()
    };
    let missing = asked.fill(&KeyRules::by_host());
    assert_eq!((missing.purpose, missing.class), (Purpose::Missing, Class::Other));
    assert_eq!(missing.headers["accept"], "*/*");
    assert_eq!(missing.headers["sec-fetch-dest"], "empty");
    assert_eq!(missing.headers.len(), page.headers.len() + 1);
}

#[test]
fn a_target_that_is_none_is_refused() {
    assert_eq!(target("/a", "b").unwrap().as_str(), "/a?b");
    assert_eq!(target("//a", "").unwrap().as_str(), "//a");
    for (path, query) in [("/a b", ""), ("/a", "b#c"), ("/a", "\u{1}"), ("a", "")] {
        assert_eq!(
            target(path, query).err(),
            Some(Reason::BadRequest),
            "{path}?{query}"
        );
    }
}

#[test]
fn key_headers_carry_no_disguise() {
    let mut key_rules = KeyRules::by_host();
    key_rules.headers = vec!["content_length".parse().unwrap(), "x_theme".parse().unwrap()];
    let sent = fill(&[("content_length", "7"), ("x_theme", "dark")], &[], &key_rules);
    assert!(!sent.headers.contains_key("content_length"));
    assert_eq!(sent.headers["x_theme"], "dark");
}

#[test]
fn a_field_is_new_to_a_key_unless_every_fill_may_have_carried_it() {
    let mut key_rules = KeyRules::by_host();
    let fields = &[("rsc", "1"), ("accept-language", "de"), ("accept", "text/html")];
    let learned = [header::ACCEPT];
    let is_new = |fill: &FillRequest| {
        ["rsc", "accept-language", "accept", "user-agent"].map(|name| fill.is_new(&name.parse().unwrap()))
    };
    let canonical = fill(fields, &learned, &key_rules);
    assert_eq!(is_new(&canonical), [true, true, false, false]);
    let transparent = Asked {
        fields,
        mode: FillMode::Transparent,
        ..Asked::default()
    };
    assert_eq!(is_new(&transparent.fill(&key_rules)), [false; 4]);
    key_rules.custom = Some(Arc::new(|info| info.path.to_owned()));
    assert_eq!(is_new(&fill(fields, &learned, &key_rules)), [false; 4]);
}
