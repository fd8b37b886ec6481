//! `Cache-Control` of a response (RFC 9111 §5.2).

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// The directives that matter to a shared cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CacheControl {
    pub(crate) no_store: bool,
    /// Also in its qualified form: serving all but some fields is not worth the risk.
    pub(crate) no_cache: bool,
    /// Also in its qualified form.
    pub(crate) private: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    /// Seconds.
    pub(crate) max_age: Option<u64>,
    /// Seconds.
    pub(crate) s_maxage: Option<u64>,
    /// Seconds after the lifetime (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Option<u64>,
    /// Seconds after the lifetime (RFC 5861 §4).
    pub(crate) stale_if_error: Option<u64>,
}

impl CacheControl {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in directives(&String::from_utf8_lossy(line.as_bytes())) {
                found.add(&name.to_ascii_lowercase(), argument.as_deref());
            }
        }
        found
    }

    fn add(&mut self, name: &str, argument: Option<&str>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "max-age" => self.max_age = Some(shorter(self.max_age, seconds(argument))),
            "s-maxage" => self.s_maxage = Some(shorter(self.s_maxage, seconds(argument))),
            "stale-while-revalidate" => {
                self.stale_while_revalidate = Some(shorter(self.stale_while_revalidate, seconds(argument)));
            }
            "stale-if-error" => self.stale_if_error = Some(shorter(self.stale_if_error, seconds(argument))),
            _ => {}
        }
    }
}

/// RFC 9111 §4.2.1: where a directive appears twice with different values, the response is best
/// considered stale or the shorter one used; we use the shorter one.
fn shorter(known: Option<u64>, new: u64) -> u64 {
    known.map_or(new, |known| known.min(new))
}

/// RFC 9111 §1.2.2: a number too large is the largest; one that cannot be read is stale (§4.2.1
/// "encouraged to consider responses that have invalid freshness information to be stale").
fn seconds(argument: Option<&str>) -> u64 {
    let Some(digits) = argument.map(str::trim) else {
        return 0;
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    digits.parse().unwrap_or(u64::MAX).min(1 << 31)
}

/// Takes a line apart. RFC 9110 §5.6.4: inside a quoted string separators are text. Where a line is
/// malformed, what may forbid something counts: `;` and spaces separate as commas do, and a quote that is
/// never closed hides nothing.
fn directives(line: &str) -> Vec<(&str, Option<String>)> {
    let mut found = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches(SEPARATORS);
        if rest.is_empty() {
            return found;
        }
        let end = rest
            .find(|c| c == '=' || SEPARATORS.contains(&c))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (argument, after) = match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(after) => argument(after.trim_start_matches([' ', '\t'])),
            None => (None, after),
        };
        found.push((name, argument));
        rest = after;
    }
}

const SEPARATORS: [char; 4] = [',', ';', ' ', '\t'];

/// A token or a quoted string, and what follows it.
fn argument(text: &str) -> (Option<String>, &str) {
    if let Some((value, after)) = text.strip_prefix('"').and_then(quoted) {
        return (Some(value), after);
    }
    let end = text.find(SEPARATORS).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    (Some(token.to_owned()), rest)
}

/// What stands before the closing quote, and what behind it; nothing if there is none.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..).unwrap_or(""))),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parse(lines: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        CacheControl::of(&headers)
    }

    #[test]
    fn directives_in_every_spelling() {
        for line in [
            "no-store",
            "NO-STORE",
            " , no-store ,",
            "max-age=1, No-Store",
            "a=\"b\" junk, no-store",
            "max-age=60; no-store",
            "max-age=60 no-store",
            "public no-store",
            "a=\"b, no-store",
            "a=\"b\\\", no-store",
        ] {
            assert!(parse(&[line]).no_store, "{line}");
        }
        assert!(parse(&["max-age=3", "no-store"]).no_store);
        assert!(parse(&["private=\"x-a, x-b\""]).private);
        assert!(parse(&["no-cache=\"set-cookie\", max-age=3"]).no_cache);
    }

    #[test]
    fn a_directive_inside_a_quoted_string_is_not_one() {
        for line in ["a=\"no-store, private\"", "a=\"b\\\"no-store, private\""] {
            let parsed = parse(&[line]);
            assert!(!parsed.no_store && !parsed.private, "{line}");
        }
    }

    #[test]
    fn ages_in_every_spelling() {
        for (line, expected) in [
            ("max-age=60", Some(60)),
            ("Max-Age=\"60\"", Some(60)),
            ("max-age=007", Some(7)),
            ("max-age=-1", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age", Some(0)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            ("max-age=60, max-age=30", Some(30)),
            ("s-maxage=60", None),
            ("xmax-age=60", None),
        ] {
            assert_eq!(parse(&[line]).max_age, expected, "{line}");
        }
    }
}
