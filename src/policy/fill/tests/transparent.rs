//! Tables of what a transparent fill sends: the client's own request, identity excepted.

use super::*;

#[test]
fn a_transparent_fill_is_what_a_pass_sends_without_identity_and_conditions() {
    let asked = Asked {
        fields: VISITOR,
        mode: FillMode::Transparent,
        ..Asked::default()
    };
    let mut rules = KeyRules::by_host();
    rules.cookies = vec!["_ga".into()];
    let sent = asked.fill(&rules);
    for (name, expected) in [
        ("host", Some("example.com")),
        ("cookie", Some("_ga=2")),
        ("authorization", None),
        ("accept-language", Some("de")),
        ("x-forwarded-for", Some("192.0.2.7")),
        ("x-forwarded-host", Some("example.com")),
        ("x-anything", Some("1")),
        ("range", None),
        ("if-none-match", None),
        ("if-match", None),
        ("te", None),
        ("x-hop", None),
        ("accept-encoding", Some("identity")),
        ("user-agent", Some("curl")),
        ("accept", Some("application/json")),
        ("via", Some("1.1 pf")),
    ] {
        let found = sent.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(sent.class, Class::Other);
    assert_eq!(sent.rendered, Rendered::ForNobody);
}

#[test]
fn a_transparent_fill_is_selected_by_what_vary_names_alone() {
    let ask = |fields: &[(&'static str, &'static str)], learned: &[HeaderName]| {
        let asked = Asked {
            fields,
            learned,
            mode: FillMode::Transparent,
            ..Asked::default()
        };
        asked.fill(&KeyRules::by_host())
    };
    let plain = ask(&[("rsc", "1"), ("x-anything", "1")], &[]);
    // What the client sends tells no fills apart before an answer has named it.
    let learned: HeaderName = "x-anything".parse().unwrap();
    let named = ask(&[("x-anything", "1")], std::slice::from_ref(&learned));
    assert_ne!(named.sent, ask(&[], &[learned]).sent);
    assert!(plain.unkeyed.is_empty() && named.unkeyed.is_empty());
    assert_eq!(plain.rendered, Rendered::ForClient);
}

#[test]
fn a_transparent_fill_sends_what_is_compared() {
    let learned = ["x-theme".parse().unwrap()];
    let asked = Asked {
        fields: &[
            ("accept-language", "en;x=\"<script>\", DE;q=0.5"),
            ("x-theme", "a"),
            ("x-theme", "b"),
        ],
        learned: &learned,
        mode: FillMode::Transparent,
        ..Asked::default()
    };
    let sent = asked.fill(&KeyRules::by_host());
    assert_eq!(sent.headers["accept-language"], "en,de");
    let lines: Vec<_> = sent.headers.get_all("x-theme").iter().collect();
    assert_eq!(lines, ["a,b"]);
    assert!(sent.unkeyed.is_empty());
}

#[test]
fn credentials_go_out_if_they_are_to_and_select_nothing() {
    let asked = Asked {
        mode: FillMode::Transparent,
        ..Asked::default()
    };
    let without = asked.fill(&KeyRules::by_host());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Basic c2VjcmV0"));
    let fill = without
        .clone()
        .with_credentials(&Credentials::set_aside(&mut headers, &[header::AUTHORIZATION]));
    assert_eq!(fill.headers["authorization"], "Basic c2VjcmV0");
    assert_eq!((&fill.sent, &fill.unkeyed), (&without.sent, &without.unkeyed));
    assert!(!format!("{fill:?}").contains("c2VjcmV0"), "{fill:?}");
}
