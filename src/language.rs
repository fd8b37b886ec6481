//! `Accept-Language` in the one form in which it is compared, keyed and sent.

use std::sync::Arc;

use crate::headers::weight;

/// The languages that the site has (`languages`); where none are named, every order of languages is a
/// preference of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Languages(Arc<[Box<str>]>);

/// Ranges of one field that are read: more than anybody speaks. What follows is nobody's preference.
const MAX_RANGES: usize = 32;

/// A language range and its weight in thousandths (RFC 9110 §12.5.4), in lower case.
type Range = (u32, String);

impl Languages {
    pub(crate) fn new<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }

    /// The normal form of a field value, which is its own normal form: the site's language that it asks
    /// for, `None` for none of them; or, where the site names no languages, those asked for by falling
    /// weight, in lower case, without weights and without those of weight 0.
    ///
    /// RFC 9110 §12.5.4: that the first of several equal weights is meant more "cannot be relied upon". Between
    /// them the site's own order decides; where it names none, the order stays for the backend to read.
    pub(crate) fn normal(&self, value: &str) -> Option<String> {
        let mut ranges = ranges(value);
        // Stable: equal weights keep the order in which they were sent.
        ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        if self.0.is_empty() {
            let wanted = ranges.iter().filter(|(weight, _)| *weight > 0);
            let names: Vec<&str> = wanted.map(|(_, range)| range.as_str()).collect();
            return Some(names.join(","));
        }
        let tags = self.0.iter().map(|tag| &**tag);
        let offered: Vec<&str> = tags.filter(|tag| !is_refused(tag, &ranges)).collect();
        let kept: Vec<&Range> = ranges.iter().filter(|(weight, _)| *weight > 0).collect();
        let found = kept.chunk_by(|one, other| one.0 == other.0).find_map(|equals| {
            let places = equals.iter().filter_map(|(_, range)| look_up(range, &offered));
            offered.get(places.min()?)
        });
        found.map(|tag| (*tag).to_owned())
    }
}

/// RFC 4647 §3.4: the range itself, then ever shorter ones; the place of what is found. `*` alone asks for nothing
/// in particular.
fn look_up(range: &str, offered: &[&str]) -> Option<usize> {
    let mut range = range;
    loop {
        if let Some(place) = offered.iter().position(|tag| tag.eq_ignore_ascii_case(range)) {
            return Some(place);
        }
        range = shorter(range)?;
    }
}

/// "the language range is progressively truncated from the end", a single letter or digit that is then
/// last with it.
fn shorter(range: &str) -> Option<&str> {
    let (rest, _) = range.rsplit_once('-')?;
    match rest.rsplit_once('-') {
        Some((before, last)) if last.len() == 1 => Some(before),
        _ => Some(rest),
    }
}

/// Whether the most particular range that covers `tag` has weight 0.
fn is_refused(tag: &str, ranges: &[Range]) -> bool {
    let covers = |range: &str| {
        range == "*"
            || tag.get(..range.len()).is_some_and(|start| {
                start.eq_ignore_ascii_case(range)
                    && matches!(tag.as_bytes().get(range.len()), None | Some(b'-'))
            })
    };
    let closest = ranges
        .iter()
        .filter(|(_, range)| covers(range))
        .max_by_key(|(_, range)| if range == "*" { 0 } else { range.len() });
    closest.is_some_and(|(weight, _)| *weight == 0)
}

fn ranges(value: &str) -> Vec<Range> {
    value
        .split(',')
        .filter_map(|range| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let tag = tag.trim();
            (!tag.is_empty()).then(|| (weight(parameters), tag.to_ascii_lowercase()))
        })
        .take(MAX_RANGES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_compared_by_order_of_weight() {
        let any = Languages::default();
        for (a, b) in [
            ("de, en;q=0.5", "DE,en;q=0.4"),
            ("en;q=0.5,de", "de;q=0.9, en;q=0.1"),
            ("de,fr;q=0", "de"),
            ("de;Q=0.3, en ; q=0.7", "en,de"),
            ("de,,", "de"),
        ] {
            assert_eq!(any.normal(a), any.normal(b), "{a} and {b}");
        }
        assert_ne!(any.normal("de,en"), any.normal("en,de"));
        assert_eq!(any.normal(""), Some(String::new()));
    }

    #[test]
    fn a_preference_becomes_one_of_the_site_s_languages() {
        let site = Languages::new(["en", "de-CH", "zh-Hant"]);
        for (value, expected) in [
            ("en", Some("en")),
            ("EN-us", Some("en")),
            ("de-ch", Some("de-CH")),
            ("de-CH-1996", Some("de-CH")),
            // RFC 4647 §3.4: a shorter range does not match a longer tag.
            ("de", None),
            ("fr, en;q=0.1", Some("en")),
            ("fr;q=0.9, de-CH;q=0.2, en;q=0.5", Some("en")),
            ("zh-Hant-CN-x-private1", Some("zh-Hant")),
            ("zh-Hant-x-a", Some("zh-Hant")),
            ("zh-Hans", None),
            ("*", None),
            ("*, de-CH;q=0.5", Some("de-CH")),
            ("en;q=0", None),
            ("en-GB, en;q=0", None),
            ("de-CH-1996, de-CH;q=0, en;q=0.1", Some("en")),
            ("de-CH, de;q=0", Some("de-CH")),
            ("de-CH, *;q=0", Some("de-CH")),
            ("en;q=nonsense", None),
            ("en;q=nan", None),
            ("", None),
            (";;q=1,,-", None),
        ] {
            assert_eq!(site.normal(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn between_equal_weights_the_site_s_order_decides() {
        let site = Languages::new(["de", "en", "fr"]);
        for (value, expected) in [
            ("en, de", "de"),
            ("de, en", "de"),
            ("fr;q=0.5, en;q=0.5, it;q=0.5", "en"),
            ("fr, en-US;q=0.9, de;q=0.9", "fr"),
            ("it, fr;q=0.5, en;q=0.5", "en"),
            ("en-GB, de;q=0.9", "en"),
        ] {
            assert_eq!(site.normal(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn of_a_long_list_the_first_ranges_are_read() {
        let many: Vec<String> = (0..MAX_RANGES).map(|n| format!("x{n}")).collect();
        let many = many.join(",");
        let longer = format!("{many},en,{many}");
        let any = Languages::default();
        assert_eq!(any.normal(&longer), Some(many.clone()));
        let site = Languages::new(["en"]);
        assert_eq!(site.normal(&longer), None);
        // What is refused behind that is not refused.
        let refused = format!("en-a,{}en;q=0", "en-b,".repeat(20_000));
        assert_eq!(site.normal(&refused).as_deref(), Some("en"));
    }

    #[test]
    fn what_is_normal_stays_as_it_is() {
        for site in [Languages::default(), Languages::new(["en", "de-CH"])] {
            for value in ["de-CH;q=0.4, en-GB, fr", "en", "fr;q=0.2,*", "DE-ch, en;q=0"] {
                if let Some(normal) = site.normal(value) {
                    assert_eq!(site.normal(&normal), Some(normal.clone()), "{value}");
                }
            }
        }
    }
}
