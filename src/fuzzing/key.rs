//! From a request to its key.

use std::sync::LazyLock;

use axum::body::Body;
use http::header::HeaderMap;
use http::{HeaderName, Method, Request, Uri};

use crate::config::CreateProxyConfig;
use crate::config::check::{Rules, rules};
use crate::headers::{cookies, normal_text, normal_value};
use crate::key::{Key, target_line};
use crate::proxy::Target;

use super::add_field;

/// Names that the key is configured to look at.
const FIELDS: [&str; 2] = ["x-key", "accept-language"];
const COOKIE: &str = "theme";

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let config = CreateProxyConfig::new("http://localhost:8080".into()).with(|settings| {
        settings.key_headers = FIELDS.map(str::to_owned).to_vec();
        settings.key_cookies = vec![COOKIE.into()];
        settings.ignore_query = vec!["utm_*".into()];
    });
    rules(&config).expect("these rules are right")
});

/// Two requests, an empty line between them, each of a line `METHOD target` and of fields.
///
/// What is asked for is taken as it was sent; the key's text can be taken apart again into what it was
/// made of; two requests that differ in any of that have two keys.
pub fn target(data: &[u8]) {
    let end = data
        .windows(2)
        .position(|bytes| bytes == b"\n\n")
        .unwrap_or(data.len());
    let (one, other) = data.split_at(end);
    let one = Asked::read(one);
    let other = Asked::read(other.trim_ascii_start());
    if let (Some(one), Some(other)) = (one, other) {
        assert_eq!(
            one.key.text == other.key.text,
            one.parts == other.parts,
            "{:?} and {:?}",
            one.key.text,
            other.key.text
        );
    }
}

/// A request that has a key.
struct Asked {
    key: Key,
    parts: Parts,
}

/// What a key is made of, as bytes of the request.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    method: String,
    path: String,
    query: String,
    host: String,
    scheme: &'static str,
    fields: Vec<Option<Vec<u8>>>,
    cookie: Option<Vec<u8>>,
}

impl Asked {
    /// Nothing for what is no request, or one without a target.
    fn read(text: &[u8]) -> Option<Self> {
        let request = request(text)?;
        let target = Target::of(&request, &RULES.site).ok()?;
        assert!(target.path().starts_with('/'), "{:?}", target.path());
        assert_eq!(target.path(), request.uri().path());
        assert_eq!(target.query(), request.uri().query().unwrap_or(""));
        let query = RULES.key.keep_query(target.query()).into_owned();
        check_kept(target.query(), &query);
        let method = match *request.method() {
            Method::HEAD => "GET",
            ref method => method.as_str(),
        };
        let key = RULES.key.key(&target.source(method, &query, request.headers()))?;
        let parts = Parts {
            method: method.into(),
            path: target.path().into(),
            query,
            host: target.site_host.to_string(),
            scheme: target.site_scheme,
            fields: FIELDS.map(|name| sent(request.headers(), name)).to_vec(),
            cookie: cookies(request.headers())
                .find(|cookie| cookie.name == COOKIE.as_bytes())
                .map(|cookie| cookie.value.unwrap_or_default().to_vec()),
        };
        assert_eq!(key.part("host"), Some(&*parts.host));
        assert_eq!(key.part("scheme"), Some(parts.scheme));
        assert_eq!(key.line(), target_line(method, &parts.path, &parts.query));
        let expected = parts.expected(request.headers());
        assert_eq!(taken_apart(&key.text), expected, "{:?}", key.text);
        Some(Self { key, parts })
    }
}

impl Parts {
    /// Names and values behind the first line.
    fn expected(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let mut parts = vec![
            ("host".to_owned(), self.host.clone()),
            ("scheme".to_owned(), self.scheme.to_owned()),
        ];
        for name in FIELDS {
            let text = normal_text(&HeaderName::from_static(name), headers, &RULES.key.languages);
            parts.extend(text.map(|text| (format!("header.{name}"), text.into())));
        }
        if let Some(value) = &self.cookie {
            let hash = blake3::hash(value).to_hex().to_string();
            parts.push((format!("cookie.{COOKIE}"), hash));
        }
        parts
    }
}

fn request(text: &[u8]) -> Option<Request<Body>> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    let at = line.iter().position(|byte| *byte == b' ')?;
    let (method, target) = line.split_at(at);
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(target.get(1..)?).ok()?;
    for line in lines {
        add_field(request.headers_mut(), line);
    }
    Some(request)
}

/// What is left of a query are its own parameters in their order, and all but the ignored ones.
fn check_kept(query: &str, kept: &str) {
    let is_ignored = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or("");
        name.to_ascii_lowercase().starts_with("utm_")
    };
    let expected: Vec<&str> = query.split('&').filter(|part| !is_ignored(part)).collect();
    assert_eq!(kept, expected.join("&"), "of {query:?}");
}

/// As it goes out on a fill.
fn sent(headers: &HeaderMap, name: &'static str) -> Option<Vec<u8>> {
    let value = normal_value(&HeaderName::from_static(name), headers, &RULES.key.languages)?;
    Some(value.as_bytes().to_vec())
}

/// Reads `name length:value` by its lengths, as somebody would who does not trust the values.
fn taken_apart(text: &str) -> Vec<(String, String)> {
    let (_, mut rest) = text.split_once('\n').expect("a part behind the line");
    let mut parts = Vec::new();
    loop {
        let (name, after) = rest.split_once(' ').expect("a name");
        let (length, after) = after.split_once(':').expect("a length");
        let length: usize = length.parse().expect("a number");
        let value = after.get(..length).expect("as long as it says");
        parts.push((name.to_owned(), value.to_owned()));
        match after.get(length..).unwrap_or("").strip_prefix('\n') {
            Some(more) => rest = more,
            None => {
                assert_eq!(after.len(), length, "nothing behind the last part of {text:?}");
                return parts;
            }
        }
    }
}
