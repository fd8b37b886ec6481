//! What a request gets where there is no backend (`frozen`): what is stored answers everybody, or nothing does.
//!
//! Identity decides nothing here. What is in the directory was rendered for nobody, so that anybody may have it; and
//! whoever would get a page of their own elsewhere gets nobody's, because there is no other. Neither do lifetimes or
//! directives: nobody could be asked whether a page still holds.

use http::header::{self, HeaderName};
use http::{HeaderMap, Method, StatusCode};

use crate::head::VariantKey;
use crate::outcome::Reason;
use crate::policy::request::{Facts, RequestRules, asks_for_upgrade};

/// The road of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    /// It is answered by what is said of the reason.
    Refuse(Reason),
    Look,
    /// The page counts as not stored.
    Absent(Reason),
}

/// Decides the road. Whose request it is, and for which host, changes nothing.
pub(crate) fn road(facts: &Facts<'_>, rules: &RequestRules) -> Road {
    if !matches!(*facts.method, Method::GET | Method::HEAD) {
        return Road::Refuse(Reason::FrozenMethod);
    }
    if asks_for_upgrade(facts.headers, &rules.upgrade_protocols) {
        return Road::Refuse(Reason::FrozenUpgrade);
    }
    // What is never to be stored may be there from before that was said.
    match rules.filters.judge(facts.method.as_str(), facts.path) {
        Ok(_) => Road::Look,
        Err(reason) => Road::Absent(reason),
    }
}

/// How far what answers is from what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Distance {
    pub(crate) has_other_query: bool,
    pub(crate) is_other_variant: bool,
    pub(crate) is_of_other_host: bool,
}

impl Distance {
    /// The most that can be wrong with it.
    pub(crate) fn reason(self) -> Option<Reason> {
        match self {
            Self {
                has_other_query: true,
                ..
            } => Some(Reason::OtherQuery),
            Self {
                is_other_variant: true,
                ..
            } => Some(Reason::OtherVariant),
            Self {
                is_of_other_host: true,
                ..
            } => Some(Reason::OtherHost),
            _ => None,
        }
    }
}

/// Where the page is that stands for what is missing.
pub(crate) const MISSING_PAGES: [&str; 3] = ["/404.html", "/404", "/404/"];

/// Whether what is stored there is such a page: a redirect or an error of the server is none.
pub(crate) fn may_stand_for_missing(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// What of a request counts for a page in place of the one that it asked for: no condition, no range.
pub(crate) fn for_another_page(client: &HeaderMap) -> HeaderMap {
    let kept = [header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];
    let fields = client.iter().filter(|(name, _)| kept.contains(name));
    fields
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Which of the variants answers where the selected one is not there, and no rendering without the fields: the first
/// of those that differ in preferences alone and in as little as any. A field that says what is asked for (`RSC`,
/// `HX-Request`) is no preference: a fragment is no page.
pub(crate) fn nearest(wanted: &VariantKey, known: &[VariantKey]) -> Option<usize> {
    let scored = known.iter().enumerate();
    let scored =
        scored.filter_map(|(place, variant)| Some((score(wanted, variant)?, std::cmp::Reverse(place))));
    scored.max().map(|(_, place)| place.0)
}

/// Nothing where it is no answer.
fn score(wanted: &VariantKey, variant: &VariantKey) -> Option<i32> {
    let mut score = 0;
    for (name, value) in &variant.0 {
        let asked = wanted.0.iter().find(|(own, _)| own == name);
        let asked = asked.and_then(|(_, value)| value.as_deref());
        match (asked, value.as_deref()) {
            (asked, value) if asked == value => score += 100,
            _ if !is_preference(name) => return None,
            (Some(asked), Some(value)) if *name == header::ACCEPT_LANGUAGE => score += likeness(asked, value),
            _ => {}
        }
    }
    Some(score)
}

fn is_preference(name: &HeaderName) -> bool {
    const HINTS: [&str; 5] = ["save-data", "dpr", "width", "viewport-width", "device-memory"];
    *name == header::ACCEPT_LANGUAGE || name.as_str().starts_with("sec-ch-") || HINTS.contains(&name.as_str())
}

/// How near a rendering for `value` is to who asked for `asked`, both in their normal form: the sooner the language
/// that it was rendered for is named, the nearer.
fn likeness(asked: &str, value: &str) -> i32 {
    const MOST: i32 = 50;
    let first = value.split(',').next().unwrap_or(value);
    let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
    let place = asked
        .split(',')
        .position(|tag| tag == first)
        .map(|place| 2 * place)
        .or_else(|| {
            let same = asked.split(',').position(|tag| primary(tag) == primary(first))?;
            Some(2 * same + 1)
        });
    place.map_or(0, |place| (MOST - i32::try_from(place).unwrap_or(MOST)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{NameList, header_map};
    use crate::pattern::PathPattern;
    use crate::policy::filter::Filters;
    use crate::policy::identity::CookieRule;
    use crate::policy::request::{BodyPresence, HostStanding};

    fn rules() -> RequestRules {
        RequestRules {
            filters: Filters {
                include: Vec::new(),
                exclude: vec![PathPattern::parse("/admin/*").unwrap()],
            },
            ..RequestRules::strict(CookieRule::Only(NameList::new(["session"])))
        }
    }

    #[test]
    fn every_request_that_reads_is_looked_up() {
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        let somebody = [("cookie", "session=1"), ("authorization", "Basic x")];
        for (method, path, fields, expected) in [
            ("GET", "/", &[][..], Road::Look),
            ("HEAD", "/", &[], Road::Look),
            ("GET", "/", &somebody, Road::Look),
            ("GET", "/", &[("accept", "application/json")], Road::Look),
            ("GET", "/", &[("upgrade", "websocket")], Road::Look),
            ("GET", "/", &upgrade, Road::Refuse(Reason::FrozenUpgrade)),
            ("POST", "/", &upgrade, Road::Refuse(Reason::FrozenMethod)),
            ("POST", "/", &[], Road::Refuse(Reason::FrozenMethod)),
            ("OPTIONS", "/", &[], Road::Refuse(Reason::FrozenMethod)),
            ("GET", "/admin/x", &[], Road::Absent(Reason::Excluded)),
        ] {
            let (method, headers) = (method.parse().unwrap(), header_map(fields));
            let facts = Facts {
                method: &method,
                path,
                query: "token=1",
                headers: &headers,
                body: BodyPresence::Absent,
                host: HostStanding::Foreign,
            };
            assert_eq!(road(&facts, &rules()), expected, "{method} {path} {fields:?}");
        }
    }

    fn variant(fields: &[(&'static str, &str)]) -> VariantKey {
        let field =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), Some((*value).into()));
        VariantKey(fields.iter().map(field).collect())
    }

    #[test]
    fn the_nearest_variant_differs_in_preferences_alone() {
        let language = |value| variant(&[("accept-language", value)]);
        let english_fragment = variant(&[("accept-language", "en"), ("hx-request", "true")]);
        let known = [
            language("de,en"),
            english_fragment.clone(),
            language("en"),
            language("fr-ca"),
        ];
        for (wanted, expected) in [
            (language("en"), Some(2)),
            (language("it,en"), Some(2)),
            (language("de-at,de,en"), Some(0)),
            (language("fr"), Some(3)),
            (language("it"), Some(0)),
            (variant(&[]), Some(0)),
            (english_fragment, Some(1)),
            (
                variant(&[("accept-language", "it"), ("hx-request", "true")]),
                Some(1),
            ),
        ] {
            assert_eq!(nearest(&wanted, &known), expected, "{wanted:?}");
        }
        let fragments = [variant(&[("rsc", "1")])];
        assert_eq!(nearest(&variant(&[]), &fragments), None);
        assert_eq!(nearest(&variant(&[]), &[]), None);
    }

    #[test]
    fn of_several_distances_the_query_counts_first() {
        let far = Distance {
            has_other_query: true,
            is_other_variant: true,
            is_of_other_host: true,
        };
        for (distance, expected) in [
            (Distance::default(), None),
            (far, Some(Reason::OtherQuery)),
            (
                Distance {
                    has_other_query: false,
                    ..far
                },
                Some(Reason::OtherVariant),
            ),
            (
                Distance {
                    is_of_other_host: true,
                    ..Distance::default()
                },
                Some(Reason::OtherHost),
            ),
        ] {
            assert_eq!(distance.reason(), expected);
        }
    }
}
