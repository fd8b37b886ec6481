//! Whether a stored response may answer (RFC 9111 §4), and in what state it is.

use http::StatusCode;

use crate::config::Ttl;
use crate::head::{Generated, Rendering, RenderingOrigin, StoredHead};
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::{Lifetime, LifetimeRules, Stated};

/// What may be done with a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Answer from it.
    Fresh(Standing),
    /// Stale; answer from it, and have it renewed behind the answer (RFC 5861 §3).
    WhileRevalidated(Standing),
    /// Ask the backend first.
    Validate(Standing),
}

impl Reuse {
    pub(crate) fn standing(self) -> Standing {
        match self {
            Self::Fresh(standing) | Self::WhileRevalidated(standing) | Self::Validate(standing) => standing,
        }
    }
}

/// Age and what is left, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) age: u64,
    /// Negative when stale; `None` is until invalidated.
    pub(crate) ttl: Option<i64>,
    pub(crate) lifetime: Option<u64>,
}

impl Standing {
    /// Seconds since the lifetime was over; `None` before that.
    pub(crate) fn staleness(&self) -> Option<u64> {
        self.ttl.filter(|ttl| *ttl <= 0).map(i64::unsigned_abs)
    }
}

/// A rendering's [`reuse`]. A tombstone is the operator's word, and no lifetime's: it stands until it is taken away.
pub(crate) fn reuse_rendering(
    rendering: &Rendering,
    generated: Generated,
    now: u64,
    rules: &LifetimeRules,
) -> Reuse {
    match (rendering.origin, generated) {
        (RenderingOrigin::Backend, _) => reuse(&rendering.head, generated, now, rules),
        (RenderingOrigin::Operator, generated) => Reuse::Fresh(Standing {
            age: match generated {
                Generated::At(born) => now.saturating_sub(born),
                Generated::Unmarked | Generated::Invalidated => 0,
            },
            ttl: None,
            lifetime: None,
        }),
    }
}

/// `now` in seconds since 1970.
pub(crate) fn reuse(head: &StoredHead, generated: Generated, now: u64, rules: &LifetimeRules) -> Reuse {
    let born = match generated {
        Generated::At(born) => Some(born),
        Generated::Unmarked | Generated::Invalidated => None,
    };
    let lifetime = Lifetime::of(&Stated::by(head, born), rules);
    let standing = |age: u64| Standing {
        age,
        ttl: lifetime.seconds().map(|lifetime| difference(lifetime, age)),
        lifetime: lifetime.seconds(),
    };
    let Generated::At(born) = generated else {
        let standing = Standing {
            ttl: (lifetime.seconds().is_some() || generated == Generated::Invalidated).then_some(0),
            ..standing(0)
        };
        // A time set by another program says nothing about the response: what is kept until
        // invalidated stands, a lifetime cannot be counted.
        return match (generated, lifetime) {
            (Generated::Unmarked, Lifetime::Granted(Ttl::Forever)) => Reuse::Fresh(standing),
            _ => Reuse::Validate(standing),
        };
    };
    let standing = standing(now.saturating_sub(born));
    let bonds = Bonds::of(head, rules);
    // RFC 9111 §5.2.2.4: no-cache "MUST NOT be used to satisfy any other request without forwarding it
    // for validation". The operator's own lifetime stands in its place.
    if bonds.no_cache {
        return Reuse::Validate(standing);
    }
    match standing.ttl {
        None => Reuse::Fresh(standing),
        // A birth ahead of now is a clock that was stepped back: nothing can be counted from it.
        Some(_) if born > now => Reuse::Validate(Standing {
            ttl: Some(0),
            ..standing
        }),
        // RFC 9111 §4.2: fresh while "freshness_lifetime > current_age".
        Some(left) if left > 0 => Reuse::Fresh(standing),
        Some(_) if bonds.lets_renew_behind(&standing) => Reuse::WhileRevalidated(standing),
        Some(_) => Reuse::Validate(standing),
    }
}

/// What a stored response says of being used stale, and the operator in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bonds {
    no_cache: bool,
    /// RFC 9111 §5.2.2.2 and §5.2.2.8: once stale, it "MUST NOT be reused without successful validation".
    revalidate: bool,
    /// §5.2.2.10: s-maxage "incorporates the semantics of proxy-revalidate".
    s_maxage: bool,
    while_revalidate: Option<u64>,
    if_error: Option<u64>,
}

impl Bonds {
    /// With a lifetime set by the operator (`rules.ttl`), neither `no-cache` nor `s-maxage` is the backend's
    /// word on it any more; `must-revalidate` is about what comes after, and stands.
    pub(crate) fn of(head: &StoredHead, rules: &LifetimeRules) -> Self {
        let control = CacheControl::of_stored(head);
        let is_said = rules.ttl_of(head.status).is_none();
        Self {
            no_cache: control.no_cache && is_said,
            revalidate: control.must_revalidate || control.proxy_revalidate,
            s_maxage: control.s_maxage.is_some() && is_said,
            while_revalidate: rules.while_revalidate.or(control.stale_while_revalidate),
            if_error: rules.if_error.or(control.stale_if_error),
        }
    }

    /// RFC 9111 §4.2.4: "MUST NOT generate a stale response if it is prohibited by an explicit in-protocol
    /// directive".
    fn demands_validation(&self) -> bool {
        self.no_cache || self.revalidate
    }

    /// Whether nothing keeps a stale response from a client that takes it so (RFC 9111 §5.2.1.2).
    pub(crate) fn let_it_be_stale(&self) -> bool {
        !self.demands_validation() && !self.s_maxage
    }

    /// RFC 5861 §3: "MAY serve the response in which it appears after it becomes stale, up to the indicated
    /// number of seconds". The directive beside an `s-maxage` wins: see [`may_serve_stale`].
    fn lets_renew_behind(&self, standing: &Standing) -> bool {
        !self.demands_validation() && is_within(standing, self.while_revalidate)
    }
}

/// Zero seconds are none: they turn it off.
fn is_within(standing: &Standing, window: Option<u64>) -> bool {
    let (Some(staleness), Some(window)) = (standing.staleness(), window) else {
        return false;
    };
    window > 0 && staleness <= window
}

/// RFC 9111 §4.2.4: whether a stored response may answer when the backend cannot be asked or fails
/// ([`is_failure`]).
///
/// Where another program set the file's time, nothing says that the lifetime is over: a checkout of
/// pages with a lifetime serves without a backend. Where an operator invalidated and kept, `s-maxage`
/// has not run out either; only the directives that demand validation of any stale answer forbid it.
/// An explicit stale directive beside `s-maxage` wins, and so does the operator's setting in its place (we
/// depart from RFC 9111 §5.2.2.10): frameworks send the two together and mean it.
pub(crate) fn may_serve_stale(
    head: &StoredHead,
    generated: Generated,
    standing: &Standing,
    rules: &LifetimeRules,
) -> bool {
    // An old error is no better than a new one.
    if head.status.is_server_error() {
        return false;
    }
    let bonds = Bonds::of(head, rules);
    match generated {
        Generated::Unmarked => true,
        Generated::Invalidated => !bonds.demands_validation(),
        // Fresh, and its validation failed because a client wanted it.
        Generated::At(_) if standing.staleness().is_none() => !bonds.no_cache,
        Generated::At(_) => {
            let windows = [bonds.if_error, bonds.while_revalidate];
            let allowed = match windows {
                // Nothing limits it: §4.2.4 lets a cache that is "disconnected" serve it.
                [None, None] => !bonds.s_maxage,
                _ => windows.iter().any(|window| is_within(standing, *window)),
            };
            !bonds.demands_validation() && allowed
        }
    }
}

/// RFC 5861 §4: "an error is any situation that would result in a 500, 502, 503, or 504 HTTP response status
/// code". RFC 9111 §4.3.3 has a cache that is told so "act as if the server failed to respond".
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a fresh response is so near its end that it is worth renewing already: in its last
/// `refresh_ahead` seconds, and in the second half of its lifetime.
pub(crate) fn is_due(standing: &Standing, refresh_ahead: u64) -> bool {
    let (Some(lifetime), Some(left)) = (standing.lifetime, standing.ttl) else {
        return false;
    };
    let last = refresh_ahead.min(lifetime / 2);
    u64::try_from(left).is_ok_and(|left| (1..=last).contains(&left))
}

fn difference(left: u64, right: u64) -> i64 {
    let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    clamp(left).saturating_sub(clamp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Ready;
    use crate::tags::Tags;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::time::Duration;

    fn head(control: &'static str) -> StoredHead {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static(control));
        StoredHead {
            status: StatusCode::OK,
            headers,
            expires_after: None,
            tags: Tags::default(),
            ready: Ready::default(),
        }
    }

    fn is_fresh(control: &'static str, generated: Generated, now: u64, ttl: Ttl) -> bool {
        matches!(
            reuse(&head(control), generated, now, &ttl.into()),
            Reuse::Fresh(_)
        )
    }

    #[test]
    fn fresh_until_the_lifetime_has_passed() {
        let minute = Ttl::For(Duration::from_secs(60));
        for (control, generated, now, ttl, expected) in [
            ("max-age=10", Generated::At(100), 109, Ttl::Forever, true),
            ("max-age=10", Generated::At(100), 110, Ttl::Forever, false),
            ("max-age=10", Generated::At(200), 110, Ttl::Forever, false),
            ("", Generated::At(100), u64::MAX, Ttl::Forever, true),
            ("", Generated::At(100), 159, minute, true),
            ("", Generated::At(100), 160, minute, false),
            ("no-cache", Generated::At(100), 100, Ttl::Forever, false),
            ("", Generated::Unmarked, 100, Ttl::Forever, true),
            ("", Generated::Unmarked, 100, minute, false),
            ("max-age=10", Generated::Unmarked, 100, Ttl::Forever, false),
            ("", Generated::Invalidated, 100, Ttl::Forever, false),
        ] {
            assert_eq!(
                is_fresh(control, generated, now, ttl),
                expected,
                "{control} {generated:?} {now}"
            );
        }
    }

    fn stale_by(staleness: i64) -> Standing {
        Standing {
            age: 1,
            ttl: Some(-staleness),
            lifetime: Some(1),
        }
    }

    fn as_said() -> LifetimeRules {
        Ttl::Forever.into()
    }

    #[test]
    fn a_page_is_renewed_behind_the_visit_within_its_window_only() {
        let at = Generated::At(100);
        // Fresh until 110.
        for (control, generated, now, expected) in [
            ("max-age=10, stale-while-revalidate=5", at, 109, "fresh"),
            ("max-age=10, stale-while-revalidate=5", at, 110, "behind"),
            ("max-age=10, stale-while-revalidate=5", at, 115, "behind"),
            ("max-age=10, stale-while-revalidate=5", at, 116, "validate"),
            ("max-age=10, stale-while-revalidate=0", at, 110, "validate"),
            ("max-age=10, stale-if-error=5", at, 110, "validate"),
            ("max-age=10", at, 110, "validate"),
            ("s-maxage=10, stale-while-revalidate=5", at, 115, "behind"),
            (
                "max-age=10, stale-while-revalidate=5, must-revalidate",
                at,
                110,
                "validate",
            ),
            (
                "max-age=10, stale-while-revalidate=5, proxy-revalidate",
                at,
                110,
                "validate",
            ),
            (
                "max-age=10, stale-while-revalidate=5, no-cache",
                at,
                110,
                "validate",
            ),
            (
                "max-age=10, stale-while-revalidate=5",
                Generated::At(200),
                110,
                "validate",
            ),
            (
                "max-age=10, stale-while-revalidate=5",
                Generated::Unmarked,
                110,
                "validate",
            ),
            (
                "max-age=10, stale-while-revalidate=5",
                Generated::Invalidated,
                110,
                "validate",
            ),
        ] {
            let found = match reuse(&head(control), generated, now, &as_said()) {
                Reuse::Fresh(_) => "fresh",
                Reuse::WhileRevalidated(_) => "behind",
                Reuse::Validate(_) => "validate",
            };
            assert_eq!(found, expected, "{control} {generated:?} {now}");
        }
    }

    #[test]
    fn the_operator_s_windows_are_in_the_place_of_the_backend_s() {
        let operator = |while_revalidate, if_error| LifetimeRules {
            while_revalidate,
            if_error,
            ..as_said()
        };
        let (long, short) = (
            "max-age=1, stale-while-revalidate=60, stale-if-error=60",
            "max-age=1",
        );
        for (control, rules, staleness, behind, on_error) in [
            (long, operator(Some(5), None), 6, false, true),
            (long, operator(Some(5), Some(5)), 6, false, false),
            (long, operator(Some(0), Some(0)), 0, false, false),
            (short, operator(Some(60), None), 60, true, true),
            (short, operator(None, Some(60)), 60, false, true),
            (short, operator(None, Some(60)), 61, false, false),
            (short, operator(None, Some(0)), 0, false, false),
            ("s-maxage=1", operator(None, Some(60)), 60, false, true),
            ("s-maxage=1", operator(Some(60), None), 60, true, true),
            (
                "s-maxage=1, must-revalidate",
                operator(Some(60), Some(60)),
                1,
                false,
                false,
            ),
            (
                "max-age=1, proxy-revalidate",
                operator(Some(60), Some(60)),
                1,
                false,
                false,
            ),
            ("no-cache", operator(Some(60), Some(60)), 1, false, false),
        ] {
            let (head, standing) = (head(control), stale_by(staleness));
            let bonds = Bonds::of(&head, &rules);
            assert_eq!(
                bonds.lets_renew_behind(&standing),
                behind,
                "{control} {staleness}"
            );
            let served = may_serve_stale(&head, Generated::At(1), &standing, &rules);
            assert_eq!(served, on_error, "{control} {staleness}");
        }
    }

    #[test]
    fn a_lifetime_of_the_operator_s_takes_the_place_of_no_cache_and_s_maxage() {
        let rules = LifetimeRules {
            ttl: Some(Ttl::For(Duration::from_secs(60))),
            ..as_said()
        };
        for (control, expected) in [
            ("no-cache", true),
            ("s-maxage=1", true),
            ("must-revalidate", false),
            ("proxy-revalidate", false),
        ] {
            let served = may_serve_stale(&head(control), Generated::At(1), &stale_by(1), &rules);
            assert_eq!(served, expected, "{control}");
        }
    }

    #[test]
    fn a_fresh_page_outlives_a_validation_that_fails() {
        let fresh = Standing {
            age: 1,
            ttl: Some(1),
            lifetime: Some(2),
        };
        for (control, expected) in [
            ("max-age=2, must-revalidate", true),
            ("s-maxage=2", true),
            ("no-cache", false),
        ] {
            let served = may_serve_stale(&head(control), Generated::At(1), &fresh, &as_said());
            assert_eq!(served, expected, "{control}");
        }
    }

    #[test]
    fn a_page_is_due_in_its_last_seconds() {
        let standing = |lifetime: Option<u64>, ttl| Standing {
            age: 1,
            ttl,
            lifetime,
        };
        for (lifetime, left, refresh_ahead, expected) in [
            (Some(60), Some(11), 10, false),
            (Some(60), Some(10), 10, true),
            (Some(60), Some(1), 10, true),
            (Some(60), Some(0), 10, false),
            (Some(60), Some(-1), 10, false),
            (Some(60), Some(31), 600, false),
            (Some(60), Some(30), 600, true),
            (Some(60), Some(1), 0, false),
            (Some(1), Some(1), 10, false),
            (None, None, 10, false),
        ] {
            let due = is_due(&standing(lifetime, left), refresh_ahead);
            assert_eq!(due, expected, "{lifetime:?} {left:?} {refresh_ahead}");
        }
    }

    #[test]
    fn stale_answers_are_forbidden_by_the_directives_that_say_so() {
        let minute_over = stale_by(60);
        for (control, expired, invalidated) in [
            ("max-age=1", true, true),
            ("max-age=1, stale-if-error=59", false, true),
            ("s-maxage=1, stale-while-revalidate=60", true, true),
            (
                "s-maxage=1, stale-while-revalidate=60, must-revalidate",
                false,
                false,
            ),
            ("max-age=1, must-revalidate", false, false),
            ("max-age=1, proxy-revalidate", false, false),
            ("s-maxage=1", false, true),
            ("no-cache", false, false),
        ] {
            let head = head(control);
            assert_eq!(
                may_serve_stale(&head, Generated::At(1), &minute_over, &as_said()),
                expired,
                "{control}"
            );
            assert_eq!(
                may_serve_stale(&head, Generated::Invalidated, &minute_over, &as_said()),
                invalidated,
                "{control}"
            );
            assert!(
                may_serve_stale(&head, Generated::Unmarked, &minute_over, &as_said()),
                "{control}"
            );
        }
    }
}
