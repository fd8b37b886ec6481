//! How long a response is fresh, and when it was generated (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderName};

use crate::clock::unix_seconds;
use crate::config::Ttl;
use crate::head::StoredHead;
use crate::policy::cache_control::CacheControl;

/// A freshness lifetime and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// By the origin, in seconds.
    Explicit(u64),
    /// By us, for want of one.
    Granted(Ttl),
}

impl Lifetime {
    /// RFC 9111 §4.2.1, in its order: s-maxage, max-age, Expires minus Date. Computed when a response is
    /// used, so that a changed `default_ttl` acts at once.
    pub(crate) fn of(head: &StoredHead, default_ttl: Ttl) -> Self {
        let control = CacheControl::of(&head.headers);
        control
            .s_maxage
            .or(control.max_age)
            .or(head.expires_after)
            .map_or(Self::Granted(default_ttl), Self::Explicit)
    }

    /// In seconds; `None` is until invalidated.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Self::Explicit(seconds) => Some(seconds),
            Self::Granted(Ttl::For(duration)) => Some(duration.as_secs()),
            Self::Granted(Ttl::Forever) => None,
        }
    }
}

/// `Expires` less `Date` in seconds, if the response has an `Expires`. RFC 9111 §5.3: what is not a
/// date, "0" above all, is a time in the past.
pub(crate) fn expires_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let mut lines = headers.get_all(EXPIRES).iter();
    let first = lines.next()?;
    if lines.any(|line| line != first) {
        return Some(0);
    }
    let Some(expires) = date(headers, &EXPIRES) else {
        return Some(0);
    };
    let base = date(headers, &DATE).unwrap_or(now);
    Some(expires.duration_since(base).unwrap_or(Duration::ZERO).as_secs())
}

/// When the origin generated the response: the time it came less its corrected initial age
/// (RFC 9111 §4.2.3), in seconds since 1970. A lifetime that we grant starts when the response comes.
pub(crate) fn generated(
    headers: &HeaderMap,
    lifetime: Lifetime,
    requested: SystemTime,
    now: SystemTime,
) -> u64 {
    let now_seconds = unix_seconds(now);
    if let Lifetime::Granted(_) = lifetime {
        return now_seconds;
    }
    let apparent = date(headers, &DATE)
        .and_then(|date| now.duration_since(date).ok())
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let delay = now.duration_since(requested).unwrap_or(Duration::ZERO).as_secs();
    let corrected = age(headers).saturating_add(delay);
    now_seconds.saturating_sub(apparent.max(corrected))
}

/// RFC 9111 §5.1: the first value counts; what is no number is no age.
fn age(headers: &HeaderMap) -> u64 {
    headers
        .get(AGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(',').next())
        .map(str::trim)
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(0, |digits| digits.parse().unwrap_or(u64::MAX).min(1 << 31))
}

/// A date field. RFC 9111 §4.2: dates are compared without regard to case.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    httpdate::parse_http_date(&usual_case(text)).ok()
}

/// `SUN, 06 nov 1994 08:49:37 gmt` as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn usual_case(text: &str) -> String {
    let mut start = true;
    let mut usual = String::with_capacity(text.len());
    for character in text.chars() {
        usual.push(if start {
            character.to_ascii_uppercase()
        } else {
            character.to_ascii_lowercase()
        });
        start = !character.is_ascii_alphabetic();
    }
    usual.replace("Gmt", "GMT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix_seconds;
    use http::{HeaderValue, StatusCode};

    const NOW: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn lifetime(fields: &[(&'static str, &'static str)]) -> Lifetime {
        let headers = headers(fields);
        let head = StoredHead {
            status: StatusCode::OK,
            expires_after: expires_after(&headers, from_unix_seconds(NOW)),
            headers,
        };
        Lifetime::of(&head, Ttl::Forever)
    }

    #[test]
    fn the_first_of_s_maxage_max_age_and_expires_counts() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        for (fields, expected) in [
            (vec![], Lifetime::Granted(Ttl::Forever)),
            (vec![expires], Lifetime::Explicit(60)),
            (
                vec![expires, ("cache-control", "max-age=5")],
                Lifetime::Explicit(5),
            ),
            (
                vec![("cache-control", "max-age=5, s-maxage=9")],
                Lifetime::Explicit(9),
            ),
            (
                vec![expires, ("date", "Sun, 06 Nov 1994 08:50:00 GMT")],
                Lifetime::Explicit(37),
            ),
            (vec![("expires", "0")], Lifetime::Explicit(0)),
            (
                vec![("expires", "SUN, 06 nov 1994 08:49:38 gmt")],
                Lifetime::Explicit(1),
            ),
            (
                vec![expires, ("expires", "Sun, 06 Nov 1994 08:51:37 GMT")],
                Lifetime::Explicit(0),
            ),
            (vec![("cache-control", "max-age=nonsense")], Lifetime::Explicit(0)),
        ] {
            assert_eq!(lifetime(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn age_and_date_move_the_birth_of_an_explicit_lifetime_only() {
        let now = from_unix_seconds(NOW);
        for (fields, expected) in [
            (vec![("age", "10")], NOW - 10),
            (vec![("age", "10, 20")], NOW - 10),
            (vec![("age", "-10")], NOW),
            (vec![("age", "1.5")], NOW),
            (vec![("date", "Sun, 06 Nov 1994 08:49:07 GMT")], NOW - 30),
            (vec![("date", "Sun, 06 Nov 1994 08:59:07 GMT")], NOW),
        ] {
            let headers = headers(&fields);
            assert_eq!(
                generated(&headers, Lifetime::Explicit(60), now, now),
                expected,
                "{fields:?}"
            );
            assert_eq!(
                generated(&headers, Lifetime::Granted(Ttl::Forever), now, now),
                NOW
            );
        }
    }
}
