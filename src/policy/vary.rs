//! Which of a key's variants a request selects (RFC 9111 §4.1).

use http::header::{self, HeaderMap, HeaderName};

use crate::config::FillMode;
use crate::head::VariantKey;
use crate::headers::{is_forwarding, is_sendable, list_values, normal_text};
use crate::language::Languages;

/// How `Vary` is read, as configured.
#[derive(Debug, Clone)]
pub(crate) struct VaryRules {
    /// Fields that make no variant.
    pub(crate) ignored: Vec<HeaderName>,
    pub(crate) mode: FillMode,
}

/// What a response's `Vary` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vary {
    /// By everything: no request selects it.
    Star,
    /// By these fields, sorted; none is by nothing.
    Fields(Vec<HeaderName>),
}

/// Forwarding fields that a fill carries as constants of its key.
const OF_THE_KEY: [&str; 3] = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];

impl Vary {
    /// Fields that no fill carries make no variant: identity, whose page is that of visitors without it;
    /// codings, which are served by other means; where a request came from, which a fill says of nobody.
    /// Only a transparent fill says whose address it was for; what varies by that is for nobody else.
    pub(crate) fn of(headers: &HeaderMap, rules: &VaryRules) -> Self {
        // What is no text may hide a `*`.
        if headers
            .get_all(header::VARY)
            .iter()
            .any(|line| line.to_str().is_err())
        {
            return Self::Star;
        }
        let mut fields = Vec::new();
        for token in list_values(headers, &header::VARY) {
            if token == "*" {
                return Self::Star;
            }
            // A name that no request can carry is always absent.
            let Ok(name) = HeaderName::from_bytes(token.as_bytes()) else {
                continue;
            };
            let is_address = is_forwarding(&name) && !OF_THE_KEY.contains(&name.as_str());
            if is_address && rules.mode == FillMode::Transparent {
                return Self::Star;
            }
            if is_sendable(&name) && !rules.ignored.contains(&name) {
                fields.push(name);
            }
        }
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Self::Fields(fields)
    }
}

/// What `headers` select among the variants by `names`.
pub(crate) fn select(names: &[HeaderName], headers: &HeaderMap, languages: &Languages) -> VariantKey {
    VariantKey(
        names
            .iter()
            .map(|name| (name.clone(), normal_text(name, headers, languages)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;
    use http::HeaderValue;

    fn vary(fields: &[(&'static str, &'static str)], mode: FillMode) -> Vary {
        let rules = VaryRules {
            ignored: vec![header::USER_AGENT],
            mode,
        };
        Vary::of(&header_map(fields), &rules)
    }

    #[test]
    fn names_are_sorted_and_what_no_fill_carries_is_no_axis() {
        let said = [
            ("vary", "RSC, Cookie, accept-encoding, Range, Host, User-Agent"),
            ("vary", "Accept-Language,rsc, TE, X-Forwarded-Proto"),
        ];
        for mode in [FillMode::Canonical, FillMode::Transparent] {
            let Vary::Fields(names) = vary(&said, mode) else {
                panic!("not a star");
            };
            assert_eq!(names, ["accept-language", "rsc"]);
            assert_eq!(vary(&[("vary", "rsc, *")], mode), Vary::Star);
        }
    }

    #[test]
    fn a_line_that_is_no_text_may_hide_a_star() {
        let mut said = header_map(&[("vary", "accept")]);
        let rules = VaryRules {
            ignored: Vec::new(),
            mode: FillMode::Transparent,
        };
        assert_eq!(Vary::of(&said, &rules), Vary::Fields(vec![header::ACCEPT]));
        said.append(header::VARY, HeaderValue::from_bytes(b"*, \xff").unwrap());
        assert_eq!(Vary::of(&said, &rules), Vary::Star);
    }

    #[test]
    fn spellings_of_one_list_are_one_variant() {
        let name = [HeaderName::from_static("foo")];
        let languages = Languages::default();
        let of = |lines: &[&'static str]| {
            let fields: Vec<_> = lines.iter().map(|line| ("foo", *line)).collect();
            select(&name, &header_map(&fields), &languages)
        };
        for lines in [&["1, 2"][..], &[" 1 ,\t2 "], &["1", "2"], &[" 1", "2 "]] {
            assert_eq!(of(lines), of(&["1,2"]), "{lines:?}");
        }
        for lines in [
            &["2,1"][..],
            &["12"],
            &["1;2"],
            &["1 2"],
            &["\"1, 2\""],
            &["1,2,"],
        ] {
            assert_ne!(of(lines), of(&["1,2"]), "{lines:?}");
        }
    }

    #[test]
    fn the_client_s_address_is_said_by_transparent_fills_only() {
        for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded"] {
            let said = [("vary", name)];
            assert_eq!(vary(&said, FillMode::Canonical), Vary::Fields(Vec::new()));
            assert_eq!(vary(&said, FillMode::Transparent), Vary::Star);
        }
    }

    #[test]
    fn absence_is_a_value_of_its_own() {
        let names = [header::ACCEPT_LANGUAGE];
        let languages = Languages::default();
        let absent = select(&names, &HeaderMap::new(), &languages);
        let empty = select(&names, &header_map(&[("accept-language", "")]), &languages);
        assert_ne!(absent, empty);
        assert_eq!(absent.id(), None);
        assert!(empty.id().is_some());
    }
}
