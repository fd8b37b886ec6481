//! What a client's `Cache-Control` and `Pragma` ask for (RFC 9111 §5.2.1, §5.4).
//!
//! Directives of requests are the client's preferences, and "caches MAY implement" them (§5.2.1): any client
//! that is obeyed can send every request of theirs to the backend. So by default only `only-if-cached` is,
//! which spares the backend.

use http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

use crate::head::{Generated, StoredHead};
use crate::policy::cache_control::{directives, seconds};
use crate::policy::freshness::LifetimeRules;
use crate::policy::request::ClientDirectives;
use crate::policy::reuse::{Bonds, Reuse, Standing};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    /// §5.2.1.7: nothing goes to the backend.
    pub(crate) only_if_cached: bool,
    /// §5.2.1.5: nothing of this request or its answer is stored.
    pub(crate) no_store: bool,
    no_cache: bool,
    /// Seconds, all three; without a number `max-stale` is without limit.
    max_age: Option<u64>,
    min_fresh: Option<u64>,
    max_stale: Option<u64>,
}

/// What a stored response is good for, to one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What it is for everybody.
    Stands(Reuse),
    /// Stale, and the client takes it so (§5.2.1.2).
    TakenStale(Standing),
    /// It might answer, and the client wants the backend to be asked.
    Validate(Standing),
}

/// What every client may ask for, believed or not.
pub(crate) fn only_if_cached(headers: &HeaderMap) -> bool {
    Wishes::of(headers, ClientDirectives::Ignored).only_if_cached
}

impl Wishes {
    pub(crate) fn of(headers: &HeaderMap, rule: ClientDirectives) -> Self {
        let mut wishes = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in directives(&String::from_utf8_lossy(line.as_bytes())) {
                wishes.add(
                    &directive.name.to_ascii_lowercase(),
                    directive.argument.as_deref(),
                );
            }
        }
        // §5.4: Pragma counts "when the Cache-Control header field is not also present in that request".
        if !headers.contains_key(CACHE_CONTROL) {
            wishes.no_cache = headers.get_all(PRAGMA).iter().any(|line| {
                directives(&String::from_utf8_lossy(line.as_bytes()))
                    .iter()
                    .any(|directive| directive.name.eq_ignore_ascii_case("no-cache"))
            });
        }
        match rule {
            ClientDirectives::Obeyed => wishes,
            ClientDirectives::Ignored => Self {
                only_if_cached: wishes.only_if_cached,
                ..Self::default()
            },
        }
    }

    /// Of two values the one that asks for more counts.
    fn add(&mut self, name: &str, argument: Option<&str>) {
        let least = |known: Option<u64>, new: u64| Some(known.map_or(new, |known| known.min(new)));
        match name {
            "only-if-cached" => self.only_if_cached = true,
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "max-age" => self.max_age = least(self.max_age, seconds(argument)),
            "min-fresh" => self.min_fresh = self.min_fresh.max(Some(seconds(argument))),
            // §5.2.1.2: "If no value is assigned to max-stale, then the client will accept a stale response of
            // any age."
            "max-stale" => {
                let limit = argument.map_or(u64::MAX, |argument| seconds(Some(argument)));
                self.max_stale = least(self.max_stale, limit);
            }
            _ => {}
        }
    }

    /// Whether a response that is fresh is fresh enough.
    pub(crate) fn accept_fresh(&self, standing: &Standing) -> bool {
        // §5.2.1.4: no-cache "prefers [a] stored response not be used to satisfy the request without successful
        // validation".
        if self.no_cache {
            return false;
        }
        // §5.2.1.1: "prefers a response whose age is less than or equal to" max-age.
        if self.max_age.is_some_and(|most| standing.age > most) {
            return false;
        }
        // §5.2.1.3: "a response whose freshness lifetime is no less than its current age plus the specified time".
        match (self.min_fresh, standing.ttl) {
            (Some(least), Some(left)) => u64::try_from(left).is_ok_and(|left| left >= least),
            _ => true,
        }
    }

    /// Whether a response that is stale is not too stale.
    fn accept_stale(&self, standing: &Standing) -> bool {
        let is_accepted = |staleness| self.max_stale.is_some_and(|most| staleness <= most);
        self.accept_fresh(standing) && standing.staleness().is_some_and(is_accepted)
    }

    /// What is to be done with a stored response for this client.
    pub(crate) fn choose(
        &self,
        reuse: Reuse,
        (head, generated): (&StoredHead, Generated),
        rules: &LifetimeRules,
    ) -> Choice {
        match reuse {
            Reuse::Fresh(standing) if !self.accept_fresh(&standing) => Choice::Validate(standing),
            // §5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to
            // receive a stale response."
            Reuse::WhileRevalidated(standing) if !self.accept_behind(&standing) => Choice::Validate(standing),
            // What was invalidated, or bears another program's time, is not stale by a number of seconds.
            Reuse::Validate(standing)
                if matches!(generated, Generated::At(_))
                    && self.accept_stale(&standing)
                    // §4.2.4: no wish of a client's makes up for what the response forbids.
                    && Bonds::of(head, rules).let_it_be_stale() =>
            {
                Choice::TakenStale(standing)
            }
            reuse => Choice::Stands(reuse),
        }
    }

    /// Whether a response that is renewed behind the answer will do.
    fn accept_behind(&self, standing: &Standing) -> bool {
        match (self.max_stale, self.max_age) {
            (Some(_), _) => self.accept_stale(standing),
            (None, Some(_)) => false,
            (None, None) => self.accept_fresh(standing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Ready;
    use crate::headers::header_map;
    use crate::tags::Tags;
    use http::StatusCode;

    fn wishes(fields: &[(&'static str, &'static str)]) -> Wishes {
        Wishes::of(&header_map(fields), ClientDirectives::Obeyed)
    }

    #[test]
    fn directives_are_read_in_every_spelling() {
        let none = Wishes::default();
        for (line, expected) in [
            (
                "no-cache",
                Wishes {
                    no_cache: true,
                    ..none
                },
            ),
            (
                "No-Store, ONLY-IF-CACHED",
                Wishes {
                    no_store: true,
                    only_if_cached: true,
                    ..none
                },
            ),
            (
                "max-age=5, max-age=3, min-fresh=\"7\", min-fresh=2",
                Wishes {
                    max_age: Some(3),
                    min_fresh: Some(7),
                    ..none
                },
            ),
            (
                "max-age=nonsense",
                Wishes {
                    max_age: Some(0),
                    ..none
                },
            ),
            (
                "max-stale",
                Wishes {
                    max_stale: Some(u64::MAX),
                    ..none
                },
            ),
            (
                "max-stale=9, max-stale",
                Wishes {
                    max_stale: Some(9),
                    ..none
                },
            ),
            (
                "max-stale=x",
                Wishes {
                    max_stale: Some(0),
                    ..none
                },
            ),
            ("a=\"no-cache, no-store\", private, must-revalidate", none),
        ] {
            assert_eq!(wishes(&[("cache-control", line)]), expected, "{line}");
        }
    }

    #[test]
    fn pragma_counts_where_there_is_no_cache_control() {
        for (fields, expected) in [
            (vec![("pragma", "no-cache")], true),
            (vec![("pragma", "x, No-Cache")], true),
            (vec![("pragma", "cache")], false),
            (vec![("pragma", "no-cache"), ("cache-control", "foo")], false),
            (vec![("pragma", "x"), ("cache-control", "no-cache")], true),
        ] {
            assert_eq!(wishes(&fields).no_cache, expected, "{fields:?}");
        }
    }

    #[test]
    fn who_is_not_believed_may_only_spare_the_backend() {
        let line = "no-cache, no-store, max-age=0, min-fresh=9, max-stale, only-if-cached";
        let wishes = Wishes::of(&header_map(&[("cache-control", line)]), ClientDirectives::Ignored);
        let expected = Wishes {
            only_if_cached: true,
            ..Wishes::default()
        };
        assert_eq!(wishes, expected);
        let pragma = header_map(&[("pragma", "no-cache")]);
        assert_eq!(Wishes::of(&pragma, ClientDirectives::Ignored), Wishes::default());
    }

    /// 40 s old, and this much is left.
    fn standing(ttl: Option<i64>) -> Standing {
        Standing {
            age: 40,
            ttl,
            lifetime: ttl.and_then(|ttl| u64::try_from(40 + ttl).ok()),
        }
    }

    fn chosen(wish: &'static str, stored: &'static str, reuse: Reuse, generated: Generated) -> &'static str {
        let head = StoredHead {
            status: StatusCode::OK,
            headers: header_map(&[("cache-control", stored)]),
            expires_after: None,
            tags: Tags::default(),
            ready: Ready::default(),
        };
        let rules = crate::config::Ttl::Forever.into();
        match wishes(&[("cache-control", wish)]).choose(reuse, (&head, generated), &rules) {
            Choice::Stands(_) => "stands",
            Choice::TakenStale(_) => "taken",
            Choice::Validate(_) => "validate",
        }
    }

    #[test]
    fn a_fresh_response_is_used_if_it_is_fresh_enough() {
        for (wish, ttl, expected) in [
            ("foo", Some(60), "stands"),
            ("no-cache", Some(60), "validate"),
            ("no-cache", None, "validate"),
            ("max-age=40", Some(60), "stands"),
            ("max-age=39", Some(60), "validate"),
            ("max-age=39, max-stale", Some(60), "validate"),
            ("max-age=0", None, "validate"),
            ("min-fresh=60", Some(60), "stands"),
            ("min-fresh=61", Some(60), "validate"),
            ("min-fresh=61", None, "stands"),
            ("max-stale=0", Some(60), "stands"),
        ] {
            let reuse = Reuse::Fresh(standing(ttl));
            assert_eq!(chosen(wish, "", reuse, Generated::At(1)), expected, "{wish}");
        }
    }

    #[test]
    fn a_stale_response_is_used_if_client_and_response_let_it_be() {
        let at = Generated::At(1);
        for (wish, stored, generated, expected) in [
            ("foo", "", at, "stands"),
            ("max-stale", "", at, "taken"),
            ("max-stale=10", "", at, "taken"),
            ("max-stale=9", "", at, "stands"),
            ("max-stale=10, max-age=40", "", at, "taken"),
            ("max-stale=10, max-age=39", "", at, "stands"),
            ("max-stale, min-fresh=1", "", at, "stands"),
            ("max-stale, no-cache", "", at, "stands"),
            ("max-stale", "must-revalidate", at, "stands"),
            ("max-stale", "proxy-revalidate", at, "stands"),
            ("max-stale", "no-cache", at, "stands"),
            ("max-stale", "s-maxage=30", at, "stands"),
            ("max-stale", "", Generated::Invalidated, "stands"),
            ("max-stale", "", Generated::Unmarked, "stands"),
        ] {
            let reuse = Reuse::Validate(standing(Some(-10)));
            assert_eq!(
                chosen(wish, stored, reuse, generated),
                expected,
                "{wish}; {stored}"
            );
        }
    }

    #[test]
    fn a_response_that_is_renewed_behind_is_stale_to_the_client_too() {
        for (wish, expected) in [
            ("foo", "stands"),
            ("no-cache", "validate"),
            ("max-age=600", "validate"),
            ("max-age=600, max-stale", "stands"),
            ("max-stale=10", "stands"),
            ("max-stale=9", "validate"),
            ("min-fresh=1", "validate"),
        ] {
            let reuse = Reuse::WhileRevalidated(standing(Some(-10)));
            assert_eq!(chosen(wish, "", reuse, Generated::At(1)), expected, "{wish}");
        }
    }
}
