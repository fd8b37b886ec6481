//! Which of a key's variants a request selects (RFC 9111 §4.1).

use http::header::{self, HeaderMap, HeaderName};

use crate::head::VariantKey;
use crate::headers::list_values;

/// Fields that never make a variant: identity, whose page is that of visitors without it; codings,
/// which are served by other means.
const NEVER_AN_AXIS: [HeaderName; 4] = [
    header::COOKIE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::ACCEPT_ENCODING,
];

/// What a response's `Vary` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vary {
    /// By everything: no request selects it.
    Star,
    /// By these fields, sorted; none is by nothing.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// `ignored` fields are left out.
    pub(crate) fn of(headers: &HeaderMap, ignored: &[HeaderName]) -> Self {
        let mut fields = Vec::new();
        for token in list_values(headers, &header::VARY) {
            if token == "*" {
                return Self::Star;
            }
            match HeaderName::from_bytes(token.as_bytes()) {
                Ok(name) if NEVER_AN_AXIS.contains(&name) || ignored.contains(&name) => {}
                Ok(name) => fields.push(name),
                // A name that no request can carry is always absent.
                Err(_) => {}
            }
        }
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Self::Fields(fields)
    }
}

/// What `headers` select among the variants by `names`.
pub(crate) fn select(names: &[HeaderName], headers: &HeaderMap) -> VariantKey {
    VariantKey(
        names
            .iter()
            .map(|name| (name.clone(), value(name, headers)))
            .collect(),
    )
}

/// A field's value as it is compared (RFC 9111 §4.1: whitespace where it may stand, lines combined,
/// and what is known of the field's own syntax).
pub(crate) fn value(name: &HeaderName, headers: &HeaderMap) -> Option<Box<str>> {
    let mut lines = headers.get_all(name).iter().map(|line| match line.to_str() {
        Ok(text) => text.trim().to_owned(),
        Err(_) => line.as_bytes().escape_ascii().to_string(),
    });
    let mut value = lines.next()?;
    for line in lines {
        value.push_str(", ");
        value.push_str(&line);
    }
    if *name == header::ACCEPT_LANGUAGE {
        value = languages(&value);
    }
    Some(value.into())
}

/// The languages by falling weight, in lower case, weights dropped; those with weight 0 left out.
fn languages(value: &str) -> String {
    let mut ranges: Vec<(u32, String)> = value
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().filter(|tag| !tag.is_empty())?.to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(1000, thousandths);
            (weight > 0).then_some((weight, tag))
        })
        .collect();
    // Stable: equal weights keep the order in which they were sent.
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let tags: Vec<String> = ranges.into_iter().map(|(_, tag)| tag).collect();
    tags.join(",")
}

/// RFC 9110 §12.4.2: up to three digits behind the point.
fn thousandths(weight: &str) -> u32 {
    let weight: f32 = weight.parse().unwrap_or(0.0);
    // Clamped to 0..=1000, so the cast loses nothing but the fraction.
    (weight.clamp(0.0, 1.0) * 1000.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn names_are_sorted_and_identity_is_no_axis() {
        let vary = headers(&[
            ("vary", "RSC, Cookie, accept-encoding"),
            ("vary", "Accept-Language,rsc"),
        ]);
        let Vary::Fields(names) = Vary::of(&vary, &[]) else {
            panic!("not a star");
        };
        assert_eq!(names, ["accept-language", "rsc"]);
        assert_eq!(Vary::of(&headers(&[("vary", "rsc, *")]), &[]), Vary::Star);
    }

    #[test]
    fn languages_are_compared_by_order_of_weight() {
        for (a, b) in [
            ("de, en;q=0.5", "DE,en;q=0.4"),
            ("en;q=0.5,de", "de;q=0.9, en;q=0.1"),
            ("de,fr;q=0", "de"),
        ] {
            assert_eq!(languages(a), languages(b), "{a} and {b}");
        }
        assert_ne!(languages("de,en"), languages("en,de"));
    }

    #[test]
    fn absence_is_a_value_of_its_own() {
        let names = [header::ACCEPT_LANGUAGE];
        let absent = select(&names, &HeaderMap::new());
        let empty = select(&names, &headers(&[("accept-language", "")]));
        assert_ne!(absent, empty);
        assert_eq!(absent.id(), None);
        assert!(empty.id().is_some());
    }
}
