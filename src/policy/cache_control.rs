//! The cache directives of a response that are in force here: `Cache-Control` (RFC 9111 §5.2), or in its place
//! `CDN-Cache-Control` (RFC 9213).

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

pub(crate) use crate::head::CacheControl;
use crate::head::StoredHead;
use crate::headers::CDN_CACHE_CONTROL;

impl CacheControl {
    /// RFC 9213 §2.2: "the cache MUST select the first (in target-list order) field with a valid, non-empty
    /// value […] and it MUST ignore the Cache-Control and Expires header fields in that response, unless no
    /// valid, non-empty value is available".
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::targeted(headers).unwrap_or_else(|| Self::general(headers))
    }

    /// Those of what is stored, taken apart once.
    pub(crate) fn of_stored(head: &StoredHead) -> &Self {
        head.ready.control.get_or_init(|| Self::of(&head.headers))
    }

    /// The longest lifetime that any cache may read in the directives, in seconds.
    pub(crate) fn longest(headers: &HeaderMap) -> u64 {
        let ours = Self::of(headers);
        let ours = [ours.max_age, ours.s_maxage].into_iter().flatten();
        let lines = headers.get_all(CACHE_CONTROL).iter();
        let said = lines.flat_map(|line| {
            let line = String::from_utf8_lossy(line.as_bytes());
            let lifetimes = directives(&line).into_iter().filter(|directive| {
                let is = |name| directive.name.eq_ignore_ascii_case(name);
                is("max-age") || is("s-maxage")
            });
            // Where the grammar does not have it, too: others may not mind.
            let read = lifetimes.map(|directive| seconds(directive.argument.as_deref()));
            read.collect::<Vec<_>>()
        });
        said.chain(ours).max().unwrap_or(0)
    }

    fn general(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in directives(&String::from_utf8_lossy(line.as_bytes())) {
                found.add(&directive);
            }
        }
        found
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let name = directive.name.to_ascii_lowercase();
        if let Some(known) = self.seconds_of(&name) {
            // RFC 9111 §4.2.1: a number with something behind it is invalid, and so stale.
            let seconds = match directive.form {
                Form::Valued => seconds(directive.argument.as_deref()),
                Form::Plain | Form::Other => 0,
            };
            *known = Some(shorter(*known, seconds));
        } else if let Some(flag) = self.permission(&name) {
            *flag |= directive.form == Form::Plain;
        } else if let Some(flag) = self.demand(&name) {
            *flag = true;
        }
    }

    /// RFC 9213 §2.1: "If a targeted field in a given response is empty, or a parsing error is encountered, that
    /// field MUST be ignored by the cache". Several lines are one field; parameters say nothing.
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<&[u8]> = headers
            .get_all(CDN_CACHE_CONTROL)
            .iter()
            .map(|line| line.as_bytes())
            .collect();
        if lines.is_empty() {
            return None;
        }
        let members: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let mut found = Self {
            is_targeted: true,
            ..Self::default()
        };
        for (name, member) in &members {
            found.add_member(name.as_str(), member)?;
        }
        (!members.is_empty()).then_some(found)
    }

    /// `None` if the value is of a type that the directive cannot have. RFC 9213 §2.1: "Implementations SHOULD NOT
    /// consume values that violate these inferred constraints"; a field half of which is a guess is no valid one.
    fn add_member(&mut self, name: &str, member: &ListEntry) -> Option<()> {
        let value = match member {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        if let Some(known) = self.seconds_of(name) {
            let seconds = i64::from(value?.as_integer()?);
            // RFC 9111 §1.2.2: not negative; one that is, is stale.
            *known = Some(u64::try_from(seconds).unwrap_or(0).min(LONGEST));
        } else if let Some(flag) = self.permission(name) {
            *flag = value.and_then(BareItem::as_boolean) == Some(true);
        } else if let Some(flag) = self.demand(name) {
            // Whatever its value: what forbids counts.
            *flag = true;
        }
        Some(())
    }

    /// Where a directive with a number goes.
    fn seconds_of(&mut self, name: &str) -> Option<&mut Option<u64>> {
        match name {
            "max-age" => Some(&mut self.max_age),
            "s-maxage" => Some(&mut self.s_maxage),
            "stale-while-revalidate" => Some(&mut self.stale_while_revalidate),
            "stale-if-error" => Some(&mut self.stale_if_error),
            _ => None,
        }
    }

    /// Where a directive goes that forbids or limits.
    fn demand(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "no-store" => Some(&mut self.no_store),
            "no-cache" => Some(&mut self.no_cache),
            "private" => Some(&mut self.private),
            "must-revalidate" => Some(&mut self.must_revalidate),
            "proxy-revalidate" => Some(&mut self.proxy_revalidate),
            _ => None,
        }
    }

    /// Where a directive goes that lifts something: `public` what nobody said, `must-understand` a `no-store`
    /// (RFC 9111 §5.2.2.3).
    fn permission(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "public" => Some(&mut self.public),
            "must-understand" => Some(&mut self.must_understand),
            _ => None,
        }
    }
}

/// RFC 9111 §4.2.1: "either the first occurrence should be used or the response should be considered stale". The
/// shorter one is both: fresh while the first says so too, then stale.
fn shorter(known: Option<u64>, new: u64) -> u64 {
    known.map_or(new, |known| known.min(new))
}

/// RFC 9111 §1.2.2: a number too large is the largest; one that cannot be read is stale (§4.2.1
/// "encouraged to consider responses that have invalid freshness information to be stale").
pub(super) fn seconds(argument: Option<&str>) -> u64 {
    let Some(digits) = argument.map(str::trim) else {
        return 0;
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    digits.parse().unwrap_or(u64::MAX).min(LONGEST)
}

/// RFC 9111 §1.2.2: "2147483648 (2^31) or the greatest positive integer it can conveniently represent".
const LONGEST: u64 = 1 << 31;

/// A directive of `Cache-Control`.
pub(super) struct Directive<'a> {
    pub(super) name: &'a str,
    pub(super) argument: Option<String>,
    form: Form,
}

/// Whether a directive stands where the grammar has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A name alone between commas.
    Plain,
    /// A name and its value between commas.
    Valued,
    /// Anything else.
    Other,
}

/// Takes a line apart. RFC 9110 §5.6.4: inside a quoted string separators are text. Where a line is
/// malformed, what may forbid something counts, and nothing else: `;` and spaces separate as commas do, and a
/// quote that is never closed hides nothing.
pub(super) fn directives(line: &str) -> Vec<Directive<'_>> {
    let mut found = Vec::new();
    let mut rest = line;
    let mut has_open_quote = false;
    loop {
        let start = rest.trim_start_matches(SEPARATORS);
        if start.is_empty() {
            return found;
        }
        let (before, _) = rest.split_at(rest.len() - start.len());
        let is_first = rest.len() == line.len();
        let end = start
            .find(|c| c == '=' || SEPARATORS.contains(&c))
            .unwrap_or(start.len());
        let (name, after) = start.split_at(end);
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        let value = value.map(|value| value.trim_start_matches([' ', '\t']));
        has_open_quote |= value.is_some_and(opens_quote);
        let (argument, after) = value.map_or((None, after), argument);
        let ends = after.trim_start_matches([' ', '\t']);
        let is_of_grammar = !has_open_quote
            && !before.contains(';')
            && (is_first || before.contains(','))
            && (ends.is_empty() || ends.starts_with(','));
        let form = match (is_of_grammar, value) {
            (true, None) => Form::Plain,
            (true, Some(_)) => Form::Valued,
            (false, _) => Form::Other,
        };
        found.push(Directive { name, argument, form });
        rest = after;
    }
}

/// Whether a quoted string begins that has no end.
fn opens_quote(text: &str) -> bool {
    text.strip_prefix('"').is_some_and(|text| quoted(text).is_none())
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

    fn parse(lines: &[&str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
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
    fn what_lifts_something_counts_only_where_the_grammar_has_it() {
        for (line, expected) in [
            ("%", true),
            (" % , max-age=1", true),
            ("max-age=1,%", true),
            ("a=\"b, c\", %", true),
            ("max-age=1 %", false),
            ("max-age=1; %", false),
            ("% max-age=1", false),
            ("%=1", false),
            ("a=\"%\"", false),
            ("a=\"b, %", false),
            ("a=\"b, %, c\"", false),
        ] {
            for name in ["public", "must-understand", "Public", "MUST-UNDERSTAND"] {
                let line = line.replace('%', name);
                let found = parse(&[&line]);
                assert_eq!(found.public || found.must_understand, expected, "{line}");
            }
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
            ("max-age = 60 ,public", Some(60)),
            (",,max-age=60,,", Some(60)),
            ("max-age=60;x", Some(0)),
            ("max-age=60; public", Some(0)),
            ("max-age=\"60\";x", Some(0)),
            ("max-age=60 x", Some(0)),
            ("public; max-age=60", Some(0)),
            ("public max-age=60", Some(0)),
            ("a=\"b, max-age=60", Some(0)),
            ("max-age=60;x, max-age=30", Some(0)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            ("max-age=60, max-age=30", Some(30)),
            ("s-maxage=60", None),
            ("xmax-age=60", None),
        ] {
            assert_eq!(parse(&[line]).max_age, expected, "{line}");
        }
    }

    #[test]
    fn the_longest_lifetime_is_that_which_any_cache_reads() {
        for (line, expected) in [
            ("public", 0),
            ("max-age=60, s-maxage=30", 60),
            ("max-age=30, S-MaxAge=60", 60),
            ("max-age=60;x", 60),
            ("public max-age=60", 60),
            ("stale-if-error=90, max-age=60", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(line));
            assert_eq!(CacheControl::longest(&headers), expected, "{line}");
            headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static("max-age=45"));
            assert_eq!(CacheControl::longest(&headers), expected.max(45), "{line}");
        }
    }

    fn parse_both(general: &'static str, targeted: &[&'static str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(general));
        for line in targeted {
            headers.append(CDN_CACHE_CONTROL, HeaderValue::from_static(line));
        }
        CacheControl::of(&headers)
    }

    #[test]
    fn a_valid_targeted_field_replaces_cache_control() {
        let max_age = |seconds| CacheControl {
            is_targeted: true,
            max_age: Some(seconds),
            ..CacheControl::default()
        };
        let none = CacheControl {
            is_targeted: true,
            ..CacheControl::default()
        };
        for (lines, expected) in [
            (&["max-age=60"][..], max_age(60)),
            (&["foobar, max-age=60;a=b, x=(1 2)"], max_age(60)),
            (&["foo", "max-age=60"], max_age(60)),
            (&["max-age=1, max-age=60"], max_age(60)),
            (&["max-age=0"], max_age(0)),
            (&["max-age=-1"], max_age(0)),
            (&["max-age=007"], max_age(7)),
            (&["max-age=2147483649"], max_age(1 << 31)),
            (&["max-age=999999999999999"], max_age(1 << 31)),
            // RFC 9213 §3.1: "'none' is not a registered cache directive; it is here to avoid sending a header
            // field with an empty value, which would be ignored".
            (&["none"], none),
            (&["x=\"no-store\""], none),
            (&["public=?0"], none),
            (&["public"], CacheControl { public: true, ..none }),
            (
                &["no-store"],
                CacheControl {
                    no_store: true,
                    ..none
                },
            ),
            (
                &["no-store=5"],
                CacheControl {
                    no_store: true,
                    ..none
                },
            ),
            (
                &["private=\"a\""],
                CacheControl {
                    private: true,
                    ..none
                },
            ),
            (
                &["no-cache, must-understand"],
                CacheControl {
                    no_cache: true,
                    must_understand: true,
                    ..none
                },
            ),
        ] {
            assert_eq!(parse_both("no-store, s-maxage=5", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_targeted_field_that_is_none_is_not_there() {
        for lines in [
            &[""][..],
            &[" "],
            &["max-age=10000, &&&&&"],
            &["MaX-aGe=60"],
            &["max-age =60"],
            &["max-age= 60"],
            &["max-age=\"60\""],
            &["max-age=1.5"],
            &["max-age=abc"],
            &["max-age"],
            &["max-age=(60)"],
            &["max-age=1000000000000000"],
            &["max-age=60,"],
            &["max-age=60", ""],
            &["stale-if-error=x, max-age=60"],
        ] {
            let found = parse_both("no-store, s-maxage=5", lines);
            assert_eq!(found, parse(&["no-store, s-maxage=5"]), "{lines:?}");
        }
    }
}
