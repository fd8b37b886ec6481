//! Whether a stored response may answer (RFC 9111 §4), and in what state it is.

use crate::config::Ttl;
use crate::head::{Generated, StoredHead};
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::Lifetime;

/// What may be done with a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Answer from it.
    Fresh(Standing),
    /// Ask the backend first.
    Validate(Standing),
}

/// Age and what is left, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) age: u64,
    /// Negative when stale; `None` is until invalidated.
    pub(crate) ttl: Option<i64>,
    pub(crate) lifetime: Option<u64>,
}

/// `now` in seconds since 1970.
pub(crate) fn reuse(head: &StoredHead, generated: Generated, now: u64, default_ttl: Ttl) -> Reuse {
    let lifetime = Lifetime::of(head, default_ttl);
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
    // RFC 9111 §5.2.2.4: no-cache "MUST NOT be used to satisfy any other request without forwarding it
    // for validation".
    if CacheControl::of(&head.headers).no_cache {
        return Reuse::Validate(standing);
    }
    match standing.ttl {
        None => Reuse::Fresh(standing),
        // A birth ahead of now is a clock that was stepped back: nothing can be counted from it.
        Some(_) if born > now => Reuse::Validate(standing),
        // RFC 9111 §4.2: fresh while "freshness_lifetime > current_age".
        Some(left) if left > 0 => Reuse::Fresh(standing),
        Some(_) => Reuse::Validate(standing),
    }
}

/// RFC 9111 §4.2.4: whether a stored response may answer when the backend cannot be asked.
///
/// Where another program set the file's time, nothing says that the lifetime is over: a checkout of
/// pages with a lifetime serves without a backend. Where an operator invalidated and kept, `s-maxage`
/// has not run out either; only the directives that demand validation of any stale answer forbid it.
/// An explicit stale directive beside `s-maxage` wins (we depart from RFC 9111 §5.2.2.10): frameworks
/// send the two together and mean it.
pub(crate) fn may_serve_stale(head: &StoredHead, generated: Generated, standing: &Standing) -> bool {
    let control = CacheControl::of(&head.headers);
    let demands_validation = control.must_revalidate || control.proxy_revalidate || control.no_cache;
    match generated {
        Generated::Unmarked => true,
        Generated::Invalidated => !demands_validation,
        Generated::At(_) => {
            let staleness = standing
                .ttl
                .map_or(0, |ttl| ttl.saturating_neg().max(0).unsigned_abs());
            let permitted = control.stale_if_error.max(control.stale_while_revalidate);
            // §5.2.2.10: s-maxage "incorporates the semantics of proxy-revalidate".
            let allowed = permitted.map_or(control.s_maxage.is_none(), |seconds| staleness <= seconds);
            !demands_validation && allowed
        }
    }
}

fn difference(left: u64, right: u64) -> i64 {
    let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    clamp(left).saturating_sub(clamp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::time::Duration;

    fn head(control: &'static str) -> StoredHead {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static(control));
        StoredHead {
            status: StatusCode::OK,
            headers,
            expires_after: None,
        }
    }

    fn is_fresh(control: &'static str, generated: Generated, now: u64, ttl: Ttl) -> bool {
        matches!(reuse(&head(control), generated, now, ttl), Reuse::Fresh(_))
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

    #[test]
    fn stale_answers_are_forbidden_by_the_directives_that_say_so() {
        let minute_over = Standing {
            age: 61,
            ttl: Some(-60),
            lifetime: Some(1),
        };
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
                may_serve_stale(&head, Generated::At(1), &minute_over),
                expired,
                "{control}"
            );
            assert_eq!(
                may_serve_stale(&head, Generated::Invalidated, &minute_over),
                invalidated,
                "{control}"
            );
            assert!(
                may_serve_stale(&head, Generated::Unmarked, &minute_over),
                "{control}"
            );
        }
    }
}
