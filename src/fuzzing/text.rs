//! Patterns and `Cache-Control`, against the plainest code that does the same.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};

use crate::pattern::{Glob, KeyPattern, PathPattern, Subject};
use crate::policy::cache_control::CacheControl;

/// A pattern, a method and a text to match, each on a line.
pub fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or("");
    let (pattern, method, subject) = (next(), next(), next());
    let globbed = Glob::new(pattern).is_match(subject);
    assert_eq!(globbed, matches(pattern, subject), "{pattern:?} on {subject:?}");
    if let Ok(filter) = PathPattern::parse(pattern) {
        let (expected, asked) = filters(pattern, method, subject);
        assert_eq!(
            filter.is_match(method, subject),
            expected,
            "{pattern:?} on {asked}"
        );
    }
    if let Ok(key) = KeyPattern::parse(pattern) {
        assert_eq!(
            key.is_match(Subject::line(subject)),
            invalidates(pattern, subject),
            "{pattern:?} on {subject:?}"
        );
        assert_eq!(KeyPattern::parse(key.as_str()), Ok(key), "{pattern:?} again");
    }
}

/// `*` is any run of characters, by trying all of them at once.
fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // reach[n]: what has been read of the pattern matches the first n characters.
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    for wanted in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match wanted {
                '*' => reach[at] || (at > 0 && next[at - 1]),
                wanted => at > 0 && reach[at - 1] && text[at - 1] == wanted,
            };
        }
        reach = next;
    }
    reach[text.len()]
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, 'A'..='Z' | '-'))
}

/// `GET /a` and `GET:/a`.
fn method_and_path(pattern: &str) -> Option<(&str, &str)> {
    let (method, path) = pattern.split_once([' ', ':'])?;
    let path = path.trim_start_matches(' ');
    (is_method(method) && path.starts_with(['/', '*'])).then_some((method, path))
}

fn filters(pattern: &str, method: &str, path: &str) -> (bool, String) {
    let read = if method == "HEAD" { "GET" } else { method };
    let expected = match method_and_path(pattern) {
        Some((wanted, rest)) => (wanted == read || (wanted, read) == ("HEAD", "GET")) && matches(rest, path),
        None => read == "GET" && matches(pattern, path),
    };
    (expected, format!("{method} {path:?}"))
}

fn invalidates(pattern: &str, line: &str) -> bool {
    if pattern.chars().all(|c| c == '*') {
        return true;
    }
    if let Some((method, path)) = method_and_path(pattern) {
        return matches(&format!("{method}:{path}"), line);
    }
    if pattern.starts_with("tag:") {
        return false;
    }
    if !pattern.starts_with('/') {
        return matches(pattern, line);
    }
    let Some((method, target)) = line.split_once(':') else {
        return false;
    };
    let path = target.split('?').next().unwrap_or("");
    let seen = if pattern.contains('?') { target } else { path };
    is_method(method) && target.starts_with('/') && matches(pattern, seen)
}

/// Lines of `Cache-Control`.
///
/// What forbids is found wherever it stands outside a quoted string that is closed, and nothing that
/// stands beside it takes it back. A number that does not stand between commas alone may be none.
pub fn cache_control(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut expected = Found::default();
    let mut is_well_formed = true;
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            continue;
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_plain = |part: &str| !part.trim_matches([' ', '\t']).contains([' ', '\t', ';', '"']);
        is_well_formed &= text.split(',').all(is_plain);
        expected.add(&text);
        headers.append(CACHE_CONTROL, value);
    }
    let found = CacheControl::of(&headers);
    let read = Found::from(found);
    if !is_well_formed {
        expected.allow_none(&read);
    }
    assert_eq!(read, expected, "{headers:?}");
    for word in ["no-store", "private", "no-cache", "max-age=0"] {
        let mut more = headers.clone();
        more.append(CACHE_CONTROL, HeaderValue::from_static(word));
        check_more(&found, &CacheControl::of(&more), word);
        for line in headers.get_all(CACHE_CONTROL) {
            let bytes = [line.as_bytes(), b", ", word.as_bytes()].concat();
            let Ok(value) = HeaderValue::from_bytes(&bytes) else {
                continue;
            };
            let alone = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
            check_more(&CacheControl::default(), &CacheControl::of(&alone), word);
        }
    }
}

fn check_more(before: &CacheControl, after: &CacheControl, word: &str) {
    let holds = match word {
        "no-store" => after.no_store,
        "private" => after.private,
        "no-cache" => after.no_cache,
        _ => after.max_age == Some(0),
    };
    assert!(holds, "{word} is not found: {after:?}");
    assert!(
        after.no_store >= before.no_store
            && after.private >= before.private
            && after.no_cache >= before.no_cache
            && after.must_revalidate >= before.must_revalidate,
        "{word} took something back: {before:?}, {after:?}"
    );
}

/// What forbids or limits.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    no_store: bool,
    private: bool,
    no_cache: bool,
    must_revalidate: bool,
    proxy_revalidate: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
}

impl From<CacheControl> for Found {
    fn from(found: CacheControl) -> Self {
        Self {
            no_store: found.no_store,
            private: found.private,
            no_cache: found.no_cache,
            must_revalidate: found.must_revalidate,
            proxy_revalidate: found.proxy_revalidate,
            max_age: found.max_age,
            s_maxage: found.s_maxage,
        }
    }
}

impl Found {
    /// Ages that are read as none may be.
    fn allow_none(&mut self, read: &Self) {
        for (expected, read) in [
            (&mut self.max_age, read.max_age),
            (&mut self.s_maxage, read.s_maxage),
        ] {
            if expected.is_some() && read == Some(0) {
                *expected = read;
            }
        }
    }

    /// A name ends at `=`, a space or a separator; an argument is a closed quoted string, or ends at a
    /// space or a separator.
    fn add(&mut self, line: &str) {
        let is_end = |c: &char| matches!(c, ',' | ';' | ' ' | '\t');
        let chars: Vec<char> = line.chars().collect();
        let skip = |at: usize, more: &dyn Fn(&char) -> bool| {
            at + chars.iter().skip(at).take_while(|c| more(c)).count()
        };
        let is_space = |c: &char| matches!(c, ' ' | '\t');
        let text =
            |from: usize, to: usize| chars.get(from..to).unwrap_or_default().iter().collect::<String>();
        let mut at = 0;
        while at < chars.len() {
            let end = skip(at, &|c| !is_end(c) && *c != '=');
            let name = text(at, end).to_lowercase();
            let equals = skip(end, &is_space);
            if chars.get(equals) != Some(&'=') {
                self.note(&name, None);
                at = (end + 1).max(at + 1);
                continue;
            }
            let from = skip(equals + 1, &is_space);
            let (argument, to) = match closed(&chars, from) {
                Some(closed) => closed,
                None => {
                    let to = skip(from, &|c| !is_end(c));
                    (text(from, to), to)
                }
            };
            self.note(&name, Some(&argument));
            at = to;
        }
    }

    fn note(&mut self, name: &str, argument: Option<&str>) {
        let seconds = || {
            let digits = argument.map_or("", str::trim);
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            let number = digits.bytes().fold(0_u64, |sum, digit| {
                sum.saturating_mul(10).saturating_add(u64::from(digit & 15))
            });
            if is_number { number.min(1 << 31) } else { 0 }
        };
        let least = |known: Option<u64>| Some(known.map_or(seconds(), |known| known.min(seconds())));
        match name {
            "no-store" => self.no_store = true,
            "private" => self.private = true,
            "no-cache" => self.no_cache = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "max-age" => self.max_age = least(self.max_age),
            "s-maxage" => self.s_maxage = least(self.s_maxage),
            _ => {}
        }
    }
}

/// A quoted string that begins at `from` and is closed: its text, and where it ends.
fn closed(chars: &[char], from: usize) -> Option<(String, usize)> {
    if chars.get(from) != Some(&'"') {
        return None;
    }
    let mut text = String::new();
    let mut at = from + 1;
    loop {
        match chars.get(at)? {
            '"' => return Some((text, at + 1)),
            '\\' => {
                text.push(*chars.get(at + 1)?);
                at += 2;
            }
            other => {
                text.push(*other);
                at += 1;
            }
        }
    }
}
