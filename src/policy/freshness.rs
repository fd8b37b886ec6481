//! How long a response is fresh, when it was generated (RFC 9111 §4.2), and what its date fields say.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use http::{StatusCode, header};

use crate::clock::{http_date, unix_seconds};
use crate::config::Ttl;
use crate::head::StoredHead;
use crate::policy::cache_control::CacheControl;

/// What the operator says of lifetimes. Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LifetimeRules {
    /// Where the backend says nothing.
    pub(crate) default_ttl: Ttl,
    /// Whatever the backend says.
    pub(crate) ttl: Option<Ttl>,
    /// In place of the backend's `stale-while-revalidate`.
    pub(crate) while_revalidate: Option<u64>,
    /// In place of the backend's `stale-if-error`.
    pub(crate) if_error: Option<u64>,
}

impl LifetimeRules {
    /// The operator's lifetime, of pages: an error lasts for as long as the backend says, and no longer.
    pub(crate) fn ttl_of(&self, status: StatusCode) -> Option<Ttl> {
        self.ttl.filter(|_| status.as_u16() < 400)
    }
}

#[cfg(test)]
impl From<Ttl> for LifetimeRules {
    /// As the backend says, and for want of that this.
    fn from(default_ttl: Ttl) -> Self {
        Self {
            default_ttl,
            ttl: None,
            while_revalidate: None,
            if_error: None,
        }
    }
}

/// A freshness lifetime and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// By the origin, in seconds.
    Explicit(u64),
    /// By nobody: for how long it has not changed makes it likely (RFC 9111 §4.2.2). In seconds, at least one.
    Heuristic(u64),
    /// By us, for want of one, or in its place.
    Granted(Ttl),
}

/// What of an answer decides its lifetime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stated<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// What the directives among them come to.
    pub(crate) control: CacheControl,
    /// See [`expires_after`].
    pub(crate) expires_after: Option<u64>,
    /// When the origin generated it, in seconds since 1970, if that is known.
    pub(crate) generated: Option<u64>,
}

impl<'a> Stated<'a> {
    pub(crate) fn by(head: &'a StoredHead, generated: Option<u64>) -> Self {
        Self {
            status: head.status,
            headers: &head.headers,
            control: *CacheControl::of_stored(head),
            expires_after: head.expires_after,
            generated,
        }
    }
}

impl Lifetime {
    /// Computed when a response is used, so that changed rules act at once.
    ///
    /// The operator's `ttl` first. Then RFC 9111 §4.2.1, in its order: s-maxage, max-age, Expires minus Date; of
    /// the directives that are in force, and RFC 9213 §2.2 has a targeted field take the place of `Expires` too.
    pub(crate) fn of(stated: &Stated<'_>, rules: &LifetimeRules) -> Self {
        if let Some(ttl) = rules.ttl_of(stated.status) {
            return Self::Granted(ttl);
        }
        let control = &stated.control;
        let expires_after = stated.expires_after.filter(|_| !control.is_targeted);
        if let Some(seconds) = control.s_maxage.or(control.max_age).or(expires_after) {
            return Self::Explicit(seconds);
        }
        let grants_nothing = matches!(rules.default_ttl, Ttl::For(ttl) if ttl.as_secs() == 0);
        match heuristic(stated).filter(|_| grants_nothing) {
            Some(seconds) => Self::Heuristic(seconds),
            None => Self::Granted(rules.default_ttl),
        }
    }

    /// Whether it is counted from `Expires` alone. RFC 9111 §3.2: a 304 without one leaves the stored one as it is,
    /// which is a point in time, and prolongs nothing.
    pub(crate) fn is_by_expires(stated: &Stated<'_>, rules: &LifetimeRules) -> bool {
        let control = &stated.control;
        stated.expires_after.is_some()
            && rules.ttl_of(stated.status).is_none()
            && !control.is_targeted
            && control.s_maxage.is_none()
            && control.max_age.is_none()
    }

    /// In seconds; `None` is until invalidated.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Self::Explicit(seconds) | Self::Heuristic(seconds) => Some(seconds),
            Self::Granted(Ttl::For(duration)) => Some(duration.as_secs()),
            Self::Granted(Ttl::Forever) => None,
        }
    }
}

/// RFC 9111 §4.2.2: "caches are encouraged to use a heuristic expiration value that is no more than some fraction
/// of the interval since that time. A typical setting of this fraction might be 10%". Not beyond a day: nobody has
/// promised anything, and a tenth of the years for which a page has stood would outlast its next change by months.
fn heuristic(stated: &Stated<'_>) -> Option<u64> {
    const LONGEST: u64 = 24 * 60 * 60;
    // "heuristics can only be used on responses without explicit freshness whose status codes are defined as
    // heuristically cacheable […] and on responses without explicit freshness that have been marked as explicitly
    // cacheable (e.g., with a public response directive)".
    let is_allowed = stated.control.public || is_heuristically_cacheable(stated.status);
    let modified = date(stated.headers, &LAST_MODIFIED).filter(|_| is_allowed)?;
    let unchanged = stated.generated?.checked_sub(unix_seconds(modified))?;
    Some((unchanged / 10).min(LONGEST)).filter(|seconds| *seconds > 0)
}

/// RFC 9110 §15.1.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// `Expires` less `Date` in seconds, if the response has an `Expires`. RFC 9111 §5.3: "A cache recipient MUST
/// interpret invalid date formats, especially the value "0", as representing a time in the past"; so are two that
/// differ.
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
    // 1970 as a sidecar's time says that the page was invalidated.
    let earliest = now_seconds.min(1);
    let apparent = date(headers, &DATE)
        .and_then(|date| now.duration_since(date).ok())
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let delay = now.duration_since(requested).unwrap_or(Duration::ZERO).as_secs();
    let corrected = age(headers).saturating_add(delay);
    now_seconds.saturating_sub(apparent.max(corrected)).max(earliest)
}

/// RFC 9111 §5.1: "a cache encountering a message with a list-based Age field value SHOULD use the first member of
/// the field value, discarding subsequent ones"; what is no number then "SHOULD" be ignored: it is no age, and makes
/// nothing stale.
fn age(headers: &HeaderMap) -> u64 {
    let members = headers
        .get_all(AGE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members
        .map(|member| member.trim_ascii())
        .find(|member| !member.is_empty())
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        // §1.2.2: one too large to be held is the largest.
        .map_or(0, |digits| digits.parse().unwrap_or(u64::MAX).min(1 << 31))
}

/// `Date`, `Age` and `Expires` as they came, for those who get an answer while it comes: what another cache or the
/// origin says of it is not ours to change.
///
/// RFC 9110 §6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST
/// record the time it was received and append a corresponding Date header field".
pub(crate) fn dates_as_they_came(headers: &HeaderMap, now: SystemTime) -> HeaderMap {
    let mut dates = HeaderMap::new();
    for name in [header::DATE, header::AGE, header::EXPIRES] {
        for value in headers.get_all(&name) {
            dates.append(&name, value.clone());
        }
    }
    if !dates.contains_key(DATE)
        && let Ok(value) = HeaderValue::from_str(&http_date(unix_seconds(now)))
    {
        dates.insert(DATE, value);
    }
    dates
}

/// A date field. RFC 9110 §5.6.7 has three formats of it, all of which count; RFC 9111 §4.2: "Although all date
/// formats are specified to be case-sensitive, a cache recipient SHOULD match the field value case-insensitively".
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    let usual = usual_case(text);
    httpdate::parse_http_date(&usual)
        .ok()
        .or_else(|| on_its_weekday(&usual))
}

/// A date that names the wrong day of the week: day, month and year are what counts, and caches have always read it
/// so.
fn on_its_weekday(text: &str) -> Option<SystemTime> {
    const WEEKDAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let end = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let (named, rest) = text.split_at(end);
    let is_short = named.len() == 3;
    let names = || {
        WEEKDAYS.iter().map(|name| {
            if is_short {
                name.get(..3).unwrap_or(name)
            } else {
                name
            }
        })
    };
    names().find(|name| *name == named)?;
    names().find_map(|name| httpdate::parse_http_date(&format!("{name}{rest}")).ok())
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
    use crate::headers::header_map;
    use http::StatusCode;

    const NOW: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn stated(headers: &HeaderMap) -> Stated<'_> {
        Stated {
            status: StatusCode::OK,
            headers,
            control: CacheControl::of(headers),
            expires_after: expires_after(headers, from_unix_seconds(NOW)),
            generated: Some(NOW),
        }
    }

    fn lifetime(fields: &[(&'static str, &'static str)]) -> Lifetime {
        Lifetime::of(&stated(&header_map(fields)), &Ttl::Forever.into())
    }

    const NOTHING: Ttl = Ttl::For(Duration::ZERO);

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
                vec![("cache-control", "max-age=5"), ("cache-control", "S-MaxAge=9")],
                Lifetime::Explicit(9),
            ),
            (vec![expires, expires], Lifetime::Explicit(60)),
            (
                vec![expires, ("date", "Sun, 06 Nov 1994 08:50:00 GMT")],
                Lifetime::Explicit(37),
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
    fn a_targeted_field_stands_above_all_and_takes_the_place_of_expires() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:37 GMT");
        let general = ("cache-control", "s-maxage=5");
        for (targeted, expected) in [
            ("max-age=7", Lifetime::Explicit(7)),
            ("max-age=7, s-maxage=9", Lifetime::Explicit(9)),
            ("max-age=0", Lifetime::Explicit(0)),
            ("none", Lifetime::Granted(Ttl::Forever)),
            ("max-age=\"7\"", Lifetime::Explicit(5)),
            ("", Lifetime::Explicit(5)),
        ] {
            let fields = [expires, general, ("cdn-cache-control", targeted)];
            assert_eq!(lifetime(&fields), expected, "{targeted}");
        }
    }

    #[test]
    fn the_operator_s_ttl_replaces_what_the_backend_says() {
        let minute = Ttl::For(Duration::from_secs(60));
        let rules = LifetimeRules {
            ttl: Some(minute),
            ..NOTHING.into()
        };
        for fields in [
            vec![],
            vec![("cache-control", "max-age=5, s-maxage=9")],
            vec![("cache-control", "no-cache")],
            vec![("cdn-cache-control", "max-age=5")],
            vec![("expires", "0")],
            vec![("last-modified", "Sun, 06 Nov 1994 00:00:00 GMT")],
        ] {
            let headers = header_map(&fields);
            let lifetime = Lifetime::of(&stated(&headers), &rules);
            assert_eq!(lifetime, Lifetime::Granted(minute), "{fields:?}");
        }
    }

    #[test]
    fn expires_is_a_date_in_any_of_three_formats_and_any_case_or_in_the_past() {
        for (expires, expected) in [
            ("Sun, 06 Nov 1994 08:49:38 GMT", 1),
            ("SUN, 06 nov 1994 08:49:38 gmt", 1),
            ("Sun, 06 Nov 1994 08:49:38 gMT", 1),
            ("Sunday, 06-Nov-94 08:49:38 GMT", 1),
            ("SUNDAY, 06-NOV-94 08:49:38 GMT", 1),
            ("Sun Nov  6 08:49:38 1994", 1),
            ("sun nov  6 08:49:38 1994", 1),
            // Beyond 32 bits, signed and not, and the last that HTTP can write.
            ("Tue, 19 Jan 2038 14:14:08 GMT", 1_363_411_471),
            ("Sun, 07 Feb 2106 06:28:16 GMT", 3_510_855_519),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 252_618_189_022),
            ("0", 0),
            ("-1", 0),
            ("", 0),
            ("60", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:36 GMT", 0),
            ("Fri, 31 Dec 10000 23:59:59 GMT", 0),
            ("Wed, 18 Aug 2060 02:01:18 UTC", 0),
            ("Wed, 18 Aug 2060 02:01:18 AEST", 0),
            ("Wed, 18 Aug 2060 02:01:18", 0),
            ("Wed 18 Aug 2060 02:01:18 GMT", 0),
            ("Wed, 18  Aug  2060 02:01:18 GMT", 0),
            ("Wed, 18-Aug-2060 02:01:18 GMT", 0),
            ("Wed, 18 Aug 60 02:01:18 GMT", 0),
            ("Wed, 18 Aug 2060 2:01:18 GMT", 0),
            ("Wed, 18 Aug 2060 02.01.18 GMT", 0),
            ("Wed, 31 Feb 2060 02:01:18 GMT", 0),
            // 18 August 2060 is a Wednesday, and none is a Wodensday.
            ("Mon, 18 Aug 2060 02:01:18 GMT", 2_075_908_301),
            ("Mon Aug 18 02:01:18 2060", 2_075_908_301),
            ("Wod, 18 Aug 2060 02:01:18 GMT", 0),
        ] {
            let fields = header_map(&[("expires", expires)]);
            let found = expires_after(&fields, from_unix_seconds(NOW));
            assert_eq!(found, Some(expected), "{expires}");
        }
        assert_eq!(expires_after(&HeaderMap::new(), from_unix_seconds(NOW)), None);
    }

    #[test]
    fn what_has_not_changed_for_long_is_fresh_for_a_tenth_of_that_where_nobody_says_otherwise() {
        let day_before = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        let heuristic = |status: u16, fields: &[(&'static str, &'static str)], default_ttl: Ttl| {
            let headers = header_map(fields);
            let stated = Stated {
                status: StatusCode::from_u16(status).unwrap(),
                ..stated(&headers)
            };
            match Lifetime::of(&stated, &default_ttl.into()) {
                Lifetime::Heuristic(seconds) => Some(seconds),
                _ => None,
            }
        };
        for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(heuristic(status, &[day_before], NOTHING), Some(8640), "{status}");
        }
        let public = ("cache-control", "public");
        for status in [201, 202, 302, 303, 307, 403, 500, 502, 503, 504, 599] {
            assert_eq!(heuristic(status, &[day_before], NOTHING), None, "{status}");
            assert_eq!(
                heuristic(status, &[day_before, public], NOTHING),
                Some(8640),
                "{status}"
            );
        }
        for (modified, expected) in [
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:49:28 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:38 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(86_400)),
            ("yesterday", None),
        ] {
            let fields = [("last-modified", modified)];
            assert_eq!(heuristic(200, &fields, NOTHING), expected, "{modified}");
        }
        for fields in [
            vec![],
            vec![day_before, ("cache-control", "max-age=0")],
            vec![day_before, ("expires", "0")],
        ] {
            assert_eq!(heuristic(200, &fields, NOTHING), None, "{fields:?}");
        }
        for granted in [Ttl::Forever, Ttl::For(Duration::from_secs(60))] {
            assert_eq!(heuristic(200, &[day_before], granted), None, "{granted:?}");
        }
        // A file's time that another program set says nothing of when it was.
        let page = header_map(&[day_before]);
        let unknown = Stated {
            generated: None,
            ..stated(&page)
        };
        let lifetime = Lifetime::of(&unknown, &NOTHING.into());
        assert_eq!(lifetime, Lifetime::Granted(NOTHING));
    }

    #[test]
    fn age_and_date_move_the_birth_of_a_lifetime_that_is_not_ours() {
        let now = from_unix_seconds(NOW);
        for (fields, expected) in [
            (vec![("age", "10")], NOW - 10),
            (vec![("age", "0010")], NOW - 10),
            (vec![("age", "10, 20")], NOW - 10),
            (vec![("age", "10"), ("age", "20")], NOW - 10),
            (vec![("age", ""), ("age", ",10")], NOW - 10),
            (vec![("age", "x, 20")], NOW),
            (vec![("age", "x"), ("age", "20")], NOW),
            (vec![("age", "-10")], NOW),
            (vec![("age", "+10")], NOW),
            (vec![("age", "1.5")], NOW),
            (vec![("age", "10;a=b")], NOW),
            (vec![("age", "\"10\"")], NOW),
            // Never 1970, which a sidecar has where a page was invalidated.
            (vec![("age", "2147483648")], 1),
            (vec![("age", "99999999999999999999999")], 1),
            (vec![("date", "Sun, 06 Nov 1994 08:49:07 GMT")], NOW - 30),
            (vec![("date", "Sun, 06 Nov 1994 08:59:07 GMT")], NOW),
            (vec![("date", "yesterday")], NOW),
            (
                vec![("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "40")],
                NOW - 40,
            ),
        ] {
            let headers = header_map(&fields);
            for lifetime in [Lifetime::Explicit(60), Lifetime::Heuristic(60)] {
                let born = generated(&headers, lifetime, now, now);
                assert_eq!(born, expected, "{fields:?}");
            }
            assert_eq!(
                generated(&headers, Lifetime::Granted(Ttl::Forever), now, now),
                NOW
            );
        }
        let asked = from_unix_seconds(NOW - 3);
        let headers = header_map(&[("age", "10")]);
        assert_eq!(generated(&headers, Lifetime::Explicit(60), asked, now), NOW - 13);
    }

    #[test]
    fn dates_are_passed_on_as_they_came() {
        let now = from_unix_seconds(NOW);
        let came = header_map(&[
            ("date", "whenever"),
            ("expires", "0"),
            ("expires", "-1"),
            ("age", "x, 7"),
            ("etag", "\"1\""),
        ]);
        let dates = dates_as_they_came(&came, now);
        let mut expected = came.clone();
        expected.remove("etag");
        assert_eq!(dates, expected);
        let none = dates_as_they_came(&HeaderMap::new(), now);
        assert_eq!(none, header_map(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]));
    }
}
