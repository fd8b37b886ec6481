//! The cache key: request -> key text -> blake3.
//!
//! Line 1 is `METHOD:/path?query`, raw bytes as sent, or what the custom key function returned. Further
//! parts follow, each on a line with its length, so that no value can pretend to be another part.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::header::{self, HeaderMap, HeaderName};

use crate::config::{CacheKeyFn, RequestInfo};
use crate::headers::{NameList, cookies, normal_text};
use crate::language::Languages;
use crate::short::Short;

/// blake3 of the key text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(blake3::Hash);

impl KeyHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// The first 64 bits, which name the files.
    pub(crate) fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.short())
    }
}

/// A key, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    pub(crate) hash: KeyHash,
}

impl Key {
    pub(crate) fn from_text(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Self {
            hash: KeyHash::of(&text),
            text,
        }
    }

    /// What patterns see.
    pub(crate) fn line(&self) -> &str {
        line_of(&self.text)
    }

    /// The value of the part called `name`, where the text has it.
    pub(crate) fn part(&self, name: &str) -> Option<&str> {
        part_of(&self.text, name)
    }
}

/// The value of the part called `name` of a key text.
pub(crate) fn part_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    parts_of(text).find_map(|(found, value)| (found == name).then_some(value))
}

/// The parts of a key text behind its line, by name.
pub(crate) fn parts_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('\n').skip(1).filter_map(|part| {
        let (found, rest) = part.split_once(' ')?;
        let (_, value) = rest.split_once(':')?;
        Some((found, value))
    })
}

/// Line 1 of a key text.
pub(crate) fn line_of(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(line, _)| line)
}

/// What of a request makes its key, as configured.
#[derive(Clone)]
pub(crate) struct KeyRules {
    /// `public_url` is set: host and scheme are the same for all.
    pub(crate) host: HostInKey,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) cookies: Vec<Box<str>>,
    pub(crate) ignore_query: NameList,
    /// The only parameters that count, if set.
    pub(crate) keep_query: Option<NameList>,
    pub(crate) query_order: QueryOrder,
    pub(crate) languages: Languages,
    pub(crate) custom: Option<CacheKeyFn>,
}

/// `sort_query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryOrder {
    AsSent,
    ByName,
}

/// Whether host and scheme are part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostInKey {
    Part,
    Fixed,
}

/// The parts of a request that a key is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySource<'a> {
    /// GET for HEAD.
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Without the ignored parameters; see [`KeyRules::keep_query`].
    pub(crate) query: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// blake3 of the request's body, for methods that have one.
    pub(crate) body: Option<blake3::Hash>,
}

impl KeyRules {
    /// Host, path and query.
    #[cfg(test)]
    pub(crate) fn by_host() -> Self {
        Self {
            host: HostInKey::Part,
            headers: Vec::new(),
            cookies: Vec::new(),
            ignore_query: NameList::default(),
            keep_query: None,
            query_order: QueryOrder::AsSent,
            languages: Languages::default(),
            custom: None,
        }
    }

    /// The query without the parameters that change nothing, in order if it is to be; otherwise byte for byte as
    /// it was.
    pub(crate) fn keep_query<'q>(&self, query: &'q str) -> std::borrow::Cow<'q, str> {
        let is_as_sent = self.ignore_query.is_empty()
            && self.keep_query.is_none()
            && self.query_order == QueryOrder::AsSent;
        if is_as_sent || query.is_empty() {
            return query.into();
        }
        let is_kept = |parameter: &&str| {
            let name = parameter_name(parameter);
            let counts = self.keep_query.as_ref().is_none_or(|names| names.contains(name));
            counts && !self.ignore_query.contains(name)
        };
        let mut kept: Vec<&str> = query.split('&').filter(is_kept).collect();
        if self.query_order == QueryOrder::ByName {
            kept.sort_by_key(|parameter| parameter_name(parameter));
        }
        kept.join("&").into()
    }

    /// Line 1 of the key; `None` where the key function panics, which ends nothing but its call.
    pub(crate) fn line(&self, source: &KeySource<'_>) -> Option<String> {
        let Some(custom) = &self.custom else {
            return Some(target_line(source.method, source.path, source.query));
        };
        let info = RequestInfo {
            method: source.method,
            path: source.path,
            query: source.query,
            headers: source.headers,
        };
        // What the function breaks of its own by panicking is its own affair; of ours it has only
        // references that cannot be written through.
        catch_unwind(AssertUnwindSafe(|| custom(&info))).ok()
    }

    /// The key; `None` where the key function gives none.
    pub(crate) fn key(&self, source: &KeySource<'_>) -> Option<Key> {
        let mut text = self.line(source)?;
        let line_length = text.len();
        let line_is_single = !text.contains('\n');
        if self.host == HostInKey::Part {
            // Of the usual key this is all that follows.
            text.reserve_exact(part_length("host", source.host) + part_length("scheme", source.scheme));
            part(&mut text, ["host", ""], source.host);
            part(&mut text, ["scheme", ""], source.scheme);
        }
        for name in &self.headers {
            if let Some(value) = normal_text(name, source.headers, &self.languages) {
                let said = ["header.", name.as_str()];
                match *name {
                    header::COOKIE => part(&mut text, said, &blake3::hash(value.as_bytes()).to_hex()),
                    _ => part(&mut text, said, &value),
                }
            }
        }
        for name in &self.cookies {
            let found = cookies(source.headers).find(|cookie| cookie.name == name.as_bytes());
            if let Some(cookie) = found {
                // No cookie value is written to disk.
                let value = cookie.value.unwrap_or_default();
                part(&mut text, ["cookie.", name], &blake3::hash(value).to_hex());
            }
        }
        if let Some(hash) = source.body {
            part(&mut text, ["body", ""], &hash.to_hex());
            // What the bytes mean goes out with them.
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
                if let Some(value) = normal_text(&name, source.headers, &self.languages) {
                    part(&mut text, ["header.", name.as_str()], &value);
                }
            }
        }
        if !line_is_single {
            // A custom key with a line break in it could spell another key's parts; its length, last,
            // tells them apart.
            part(&mut text, ["line", ""], &line_length.to_string());
        }
        Some(Key::from_text(text))
    }
}

/// Adds a part, with its length.
fn part(text: &mut String, [kind, name]: [&str; 2], value: &str) {
    let mut length = Short::<20>::new();
    length.push_number(value.len() as u64);
    for piece in [
        "\n",
        kind,
        name,
        " ",
        length.text().unwrap_or_default(),
        ":",
        value,
    ] {
        text.push_str(piece);
    }
}

/// What [`part`] adds.
fn part_length(name: &str, value: &str) -> usize {
    let digits = value.len().checked_ilog10().unwrap_or(0) as usize + 1;
    name.len() + digits + value.len() + "\n :".len()
}

fn parameter_name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// `METHOD:/path?query`, without `?` when the query is empty.
pub(crate) fn target_line(method: &str, path: &str, query: &str) -> String {
    let mut line = String::with_capacity(method.len() + path.len() + query.len() + 2);
    line.push_str(method);
    line.push(':');
    line.push_str(path);
    if !query.is_empty() {
        line.push('?');
        line.push_str(query);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::sync::Arc;

    fn rules() -> KeyRules {
        KeyRules {
            host: HostInKey::Fixed,
            ..KeyRules::by_host()
        }
    }

    fn source<'a>(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> KeySource<'a> {
        KeySource {
            method: "GET",
            path,
            query,
            scheme: "http",
            host: "example.com",
            headers,
            body: None,
        }
    }

    #[test]
    fn the_target_is_taken_as_it_was_sent() {
        let headers = HeaderMap::new();
        for (path, query, text) in [
            ("/", "", "GET:/"),
            ("/a/../b//%2F;x", "", "GET:/a/../b//%2F;x"),
            ("/a", "b=1&a=2", "GET:/a?b=1&a=2"),
        ] {
            assert_eq!(&*rules().key(&source(path, query, &headers)).unwrap().text, text);
        }
    }

    #[test]
    fn parts_carry_their_length_so_that_none_can_be_forged() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", "1\\nheader.x-b 1:2".parse().unwrap());
        let mut rules = rules();
        rules.host = HostInKey::Part;
        rules.headers = vec!["x-a".parse().unwrap()];
        let key = rules.key(&source("/", "", &headers)).unwrap();
        assert_eq!(
            &*key.text,
            "GET:/\nhost 11:example.com\nscheme 4:http\nheader.x-a 18:1\\\\nheader.x-b 1:2"
        );
        assert_eq!(key.part("host"), Some("example.com"));
    }

    #[test]
    fn bytes_that_are_no_text_are_nobodys_text() {
        let mut rules = rules();
        rules.headers = vec!["x-a".parse().unwrap()];
        let key = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            let headers = HeaderMap::from_iter([(HeaderName::from_static("x-a"), value)]);
            rules.key(&source("/", "", &headers)).unwrap().text
        };
        assert_ne!(key(b"\xff"), key(b"\\xff"));
        assert_ne!(key(b"\xff"), key(b"\xfe"));
    }

    #[test]
    fn a_custom_key_with_line_breaks_is_no_other_key() {
        let headers = HeaderMap::new();
        let custom = |line: &'static str| {
            let mut rules = rules();
            rules.custom = Some(Arc::new(move |_: &RequestInfo<'_>| line.to_owned()));
            rules
        };
        let mut forged = custom("x");
        forged.host = HostInKey::Part;
        let honest = forged.key(&source("/", "", &headers)).unwrap();
        let spelled = custom("x\nhost 11:example.com\nscheme 4:http").key(&source("/", "", &headers));
        assert_ne!(honest.text, spelled.unwrap().text);
    }

    #[test]
    fn a_key_function_that_panics_gives_no_key() {
        let headers = HeaderMap::new();
        let mut rules = rules();
        rules.custom = Some(Arc::new(|info| match info.path {
            "/bad" => panic!("no key"),
            path => path.to_owned(),
        }));
        assert_eq!(rules.key(&source("/bad", "", &headers)), None);
        assert!(rules.key(&source("/good", "", &headers)).is_some());
    }

    #[test]
    fn languages_are_in_the_key_in_their_normal_form() {
        let mut rules = rules();
        rules.headers = vec![header::ACCEPT_LANGUAGE];
        let key = |rules: &KeyRules, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-language", value.parse().unwrap());
            rules.key(&source("/", "", &headers)).unwrap().text
        };
        assert_eq!(key(&rules, "en;q=0.5, DE"), key(&rules, "de,en;q=0.1"));
        assert_ne!(key(&rules, "de"), key(&rules, "en"));
        rules.languages = Languages::new(["en"]);
        assert_eq!(key(&rules, "en-GB"), key(&rules, "fr, en;q=0.1"));
        assert_eq!(&*key(&rules, "fr"), "GET:/");
    }

    #[test]
    fn ignored_parameters_are_cut_out_and_the_rest_is_untouched() {
        let mut rules = rules();
        rules.ignore_query = NameList::new(["utm_*", "fbclid"]);
        for (query, kept) in [
            ("utm_source=x&a=1&fbclid=2", "a=1"),
            ("b=%20&&a", "b=%20&&a"),
            ("utm_a=1", ""),
        ] {
            assert_eq!(rules.keep_query(query), kept);
        }
    }

    #[test]
    fn of_a_query_only_what_counts_is_kept() {
        let mut rules = rules();
        rules.keep_query = Some(NameList::new(["page", "sort_*"]));
        for (query, kept) in [
            ("page=2", "page=2"),
            ("x=1&page=2&y&sort_by=a", "page=2&sort_by=a"),
            ("Page=2&page", "Page=2&page"),
            ("pages=2&%70age=2", ""),
            ("page=%20;x&&", "page=%20;x"),
            ("", ""),
        ] {
            assert_eq!(rules.keep_query(query), kept, "{query}");
        }
        // What changes nothing changes nothing, though it is named among what does.
        rules.ignore_query = NameList::new(["sort_dir"]);
        assert_eq!(rules.keep_query("sort_dir=1&sort_by=a"), "sort_by=a");
        rules.keep_query = Some(NameList::default());
        assert_eq!(rules.keep_query("page=2&x"), "");
    }

    #[test]
    fn parameters_are_sorted_by_name_alone() {
        let mut rules = rules();
        assert_eq!(rules.keep_query("b=1&a=2"), "b=1&a=2");
        rules.query_order = QueryOrder::ByName;
        for (query, sorted) in [
            ("b=1&a=2", "a=2&b=1"),
            // The order of equal names is a list's.
            ("t=2&a=1&t=1", "a=1&t=2&t=1"),
            ("a=&a&A=1", "A=1&a=&a"),
            ("%62=1&a=2", "%62=1&a=2"),
            ("ab=1&a=2", "a=2&ab=1"),
            ("b&&a", "&a&b"),
            ("", ""),
        ] {
            assert_eq!(rules.keep_query(query), sorted, "{query}");
            assert_eq!(rules.keep_query(sorted), sorted, "{query}");
        }
        rules.ignore_query = NameList::new(["utm_*"]);
        assert_eq!(rules.keep_query("b=1&utm_a=1&a=2"), "a=2&b=1");
    }

    #[test]
    fn a_cookie_is_in_the_key_by_its_hash_only() {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "theme=dark; other=1".parse().unwrap());
        let mut rules = rules();
        rules.cookies = vec!["theme".into()];
        let key = rules.key(&source("/", "", &headers)).unwrap();
        assert!(key.text.contains("cookie.theme 64:") && !key.text.contains("dark"));
        rules.headers = vec![header::COOKIE];
        let key = rules.key(&source("/", "", &headers)).unwrap();
        assert!(key.text.contains("header.cookie 64:") && !key.text.contains("dark"));
    }
}
