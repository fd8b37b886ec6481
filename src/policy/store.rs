//! What a fill's answer may become (RFC 9111 §3).

mod kind;
mod owner;

use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

use crate::clock::unix_seconds;
use crate::config::SetCookie;
use crate::config::rule::Audience;
use crate::head::{Ready, StoredHead};
use crate::headers::{NameList, list_values, strip_hop_by_hop, weight};
use crate::outcome::Reason;
use crate::policy::cache_control::CacheControl;
use crate::policy::credentials::{Credentials, is_shared_despite_credentials};
use crate::policy::filter::Included;
use crate::policy::freshness::{Lifetime, LifetimeRules, Stated, expires_after};
use crate::policy::last_good::LastGood;
use crate::policy::redirect::leads_to_itself;
use crate::policy::vary::{Vary, VaryRules};
use crate::tags::Tags;

#[cfg(feature = "cli")]
pub(crate) use kind::media_type_of;
use kind::{has_nonce, is_endless, is_personal_by_kind};
pub(crate) use kind::{is_html, media_type};
pub(crate) use owner::{Owner, cookie_name, owner};

/// What is kept of answers, as configured.
#[derive(Debug, Clone)]
pub(crate) struct StoreRules {
    pub(crate) lifetimes: LifetimeRules,
    pub(crate) audience: Audience,
    pub(crate) set_cookie: SetCookie,
    /// Seconds; 0 is off.
    pub(crate) not_found_ttl: u64,
    pub(crate) ignore_set_cookies: NameList,
    pub(crate) volatile: NameList,
    pub(crate) vary: VaryRules,
    pub(crate) max_body: u64,
    /// Nothing: whatever comes replaces what is stored.
    pub(crate) last_good: Option<LastGood>,
}

/// The question that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Scheme, host, path and query, for a redirect to itself.
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// Empty if there is none.
    pub(crate) query: &'a str,
    pub(crate) included: Included,
    /// Fields that went out for the client's sake without being part of the key: whether the answer
    /// names them in `Vary` or not, only those who send the same values get it.
    pub(crate) unkeyed: &'a [HeaderName],
    /// What went out of the client's credentials.
    pub(crate) credentials: &'a Credentials,
    /// When the answer came.
    pub(crate) now: SystemTime,
}

/// What an answer may become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Storable {
    /// A snapshot on disk, selected by these fields.
    Snapshot(Vec<HeaderName>),
    /// An entry of the memory table, selected by these fields, for this many seconds.
    Memory(Vec<HeaderName>, u64),
    /// Nothing.
    No(Reason),
}

/// Decides on the head alone, before fields that `Connection` lists are dropped: they still count.
pub(crate) fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
) -> Storable {
    match veto(status, headers, asked, rules).and_then(|names| is_shared(headers, asked).map(|()| names)) {
        Err(reason) => Storable::No(reason),
        Ok(names) => by_lifetime(status, headers, asked, rules, names),
    }
}

/// Whether what is stored may stay so by what a 304 says, on its own and merged into the stored head: what forbids
/// it, else the fields that select the answer from now on.
pub(crate) fn may_stay(
    merged: &StoredHead,
    of_304: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
) -> Result<Vec<HeaderName>, Reason> {
    veto(merged.status, of_304, asked, rules)?;
    let names = veto(merged.status, &merged.headers, asked, rules)?;
    is_shared(&merged.headers, asked).map(|()| names)
}

/// RFC 9111 §3: "if the cache is shared: the Authorization header field is not present in the request […] or a
/// response directive is present that explicitly allows shared caching".
fn is_shared(headers: &HeaderMap, asked: &Asked<'_>) -> Result<(), Reason> {
    match asked.credentials.is_empty() || is_shared_despite_credentials(headers) {
        true => Ok(()),
        false => Err(Reason::Authorization),
    }
}

/// What forbids storing, whatever the lifetime; else the fields that select the answer.
fn veto(
    status: StatusCode,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
) -> Result<Vec<HeaderName>, Reason> {
    may_store_status(status, headers)?;
    is_for_all(status, headers, rules)?;
    let mut names = match Vary::of(headers, &rules.vary) {
        Vary::Star => return Err(Reason::VaryStar),
        Vary::Fields(names) => names,
    };
    names.extend_from_slice(asked.unkeyed);
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if is_endless(headers) {
        return Err(Reason::ContentType);
    }
    if has_nonce(headers) {
        return Err(Reason::Nonce);
    }
    if status.is_redirection() && leads_to_itself(headers, asked) {
        return Err(Reason::SelfRedirect);
    }
    let too_long = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .is_some_and(|length| length > rules.max_body);
    if too_long {
        return Err(Reason::TooLarge);
    }
    Ok(names)
}

fn may_store_status(status: StatusCode, headers: &HeaderMap) -> Result<(), Reason> {
    // RFC 9111 §3: "the response status code is final". A 206 or 304 that nobody asked for is no page.
    if status.is_informational() || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return Err(Reason::Partial);
    }
    // RFC 6585 §3, §4, §5, §6: "Responses with the [428, 429, 431, 511] status code MUST NOT be stored by a cache."
    // They say something about one client.
    if matches!(status.as_u16(), 428 | 429 | 431 | 511) {
        return Err(Reason::Status);
    }
    // RFC 9110 §15.3.6: a server "MUST NOT generate content in a 205 response". What comes with content, or may, is
    // something else.
    let is_empty = headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length == "0");
    match status == StatusCode::RESET_CONTENT && !is_empty {
        true => Err(Reason::Status),
        false => Ok(()),
    }
}

/// What of the directives and cookies says that an answer is not for a cache that many share. The operator's
/// word that a page is everyone's stands above the backend's.
fn is_for_all(status: StatusCode, headers: &HeaderMap, rules: &StoreRules) -> Result<(), Reason> {
    let control = CacheControl::of(headers);
    // RFC 9111 §3: "if […] the must-understand cache directive is present: the cache understands the response
    // status code".
    if control.must_understand && !is_understood(status) {
        return Err(Reason::MustUnderstand);
    }
    if rules.audience == Audience::Everyone {
        return Ok(());
    }
    // §5.2.2.3: such a cache "SHOULD ignore the no-store directive if it understands and implements the status
    // code's caching requirements".
    if control.no_store && !control.must_understand {
        return Err(Reason::NoStore);
    }
    if control.private {
        return Err(Reason::Private);
    }
    let sets_cookie = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .any(|line| !is_ignored_cookie(line.as_bytes(), &rules.ignore_set_cookies));
    match rules.set_cookie {
        SetCookie::Refuse if sets_cookie => Err(Reason::SetCookie),
        SetCookie::Refuse | SetCookie::Strip => Ok(()),
    }
}

/// RFC 9110 §15: the statuses whose meaning, to a cache too, is known here.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn by_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
    names: Vec<HeaderName>,
) -> Storable {
    let stated = Stated {
        status,
        headers,
        control: CacheControl::of(headers),
        expires_after: expires_after(headers, asked.now),
        generated: Some(unix_seconds(asked.now)),
    };
    let own = rules.lifetimes.ttl_of(status);
    // The operator's lifetime is that of pages that are stored; it makes none of what is no page.
    let theirs = LifetimeRules {
        ttl: None,
        ..rules.lifetimes
    };
    let said = Lifetime::of(&stated, &theirs);
    let explicit = match said {
        Lifetime::Granted(_) => None,
        said => said.seconds().filter(|seconds| *seconds > 0 || own.is_none()),
    };
    let no_cache = own.is_none() && stated.control.no_cache;
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        // A longer explicit lifetime is not granted: what is missing may come, and addresses that do
        // not exist are without number.
        return match explicit.unwrap_or(rules.not_found_ttl).min(rules.not_found_ttl) {
            _ if no_cache => Storable::No(Reason::Status),
            0 => Storable::No(Reason::Status),
            seconds => Storable::Memory(names, seconds),
        };
    }
    if explicit.is_none()
        && let Err(reason) = is_kept_without_a_word(status)
    {
        return Storable::No(reason);
    }
    // RFC 9111 §4.2.2: a heuristic lifetime is nobody's word.
    let has_word = explicit.is_some() && matches!(said, Lifetime::Explicit(_));
    let is_named = asked.included == Included::ByPattern || rules.audience == Audience::Everyone;
    if !has_word && !is_named && is_personal_by_kind(headers, asked.path) {
        return Storable::No(Reason::Json);
    }
    let needs_validator = no_cache || Lifetime::of(&stated, &rules.lifetimes).seconds() == Some(0);
    if needs_validator && !has_validator(headers) {
        return Storable::No(Reason::Expired);
    }
    if needs_validator && !is_page(status) {
        return Storable::No(Reason::Status);
    }
    Storable::Snapshot(names)
}

/// Whether an answer that states no lifetime is a page all the same.
fn is_kept_without_a_word(status: StatusCode) -> Result<(), Reason> {
    // RFC 9110 §15: one beyond 599 is to be processed "as if it had a 5xx (Server Error) status code".
    if status.as_u16() >= 500 {
        return Err(Reason::ServerError);
    }
    match is_page(status) {
        true => Ok(()),
        false => Err(Reason::Status),
    }
}

/// What is kept for want of a lifetime.
fn is_page(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 300 | 301 | 308)
}

/// What is kept of the fields. Hop-by-hop and volatile ones go, so that the same page gives the same
/// file; `Expires` becomes a lifetime.
pub(crate) fn stored_head(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
    rules: &StoreRules,
) -> StoredHead {
    let expires_after = expires_after(headers, now);
    let mut kept = headers.clone();
    strip_hop_by_hop(&mut kept);
    let tags = Tags::take(&mut kept);
    for name in [
        header::SET_COOKIE,
        header::CONTENT_LENGTH,
        header::EXPIRES,
        header::DATE,
        header::AGE,
        header::TRAILER,
        header::ACCEPT_RANGES,
    ] {
        kept.remove(name);
    }
    let volatile: Vec<HeaderName> = kept
        .keys()
        .filter(|name| rules.volatile.contains(name.as_str()))
        .cloned()
        .collect();
    for name in volatile {
        kept.remove(name);
    }
    StoredHead {
        status,
        headers: kept,
        expires_after,
        tags,
        ready: Ready::default(),
    }
}

/// Whether `Set-Cookie` sets a cookie that may be dropped.
fn is_ignored_cookie(line: &[u8], ignored: &NameList) -> bool {
    std::str::from_utf8(cookie_name(line)).is_ok_and(|name| ignored.contains(name))
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// Whether the stored coding is one that the client accepts: what came unasked in a coding is served
/// only to those who can read it.
pub(crate) fn accepts_coding(stored: &HeaderMap, client: &HeaderMap) -> bool {
    let lines = stored.get_all(header::CONTENT_ENCODING);
    lines.iter().all(|line| {
        // What is no text is no coding that anybody could have named.
        line.to_str()
            .is_ok_and(|codings| codings.split(',').all(|coding| accepts(coding.trim(), client)))
    })
}

/// RFC 9110 §12.5.3: a coding that the field names, else what it says of `*`. Without the field any would do; who
/// does not send it most often reads none.
fn accepts(coding: &str, client: &HeaderMap) -> bool {
    let said_of = |wanted: &str| {
        list_values(client, &header::ACCEPT_ENCODING).find_map(|range| {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            let is_it = name.trim().eq_ignore_ascii_case(wanted);
            is_it.then(|| weight(parameters) > 0)
        })
    };
    coding.is_empty()
        || coding.eq_ignore_ascii_case("identity")
        || said_of(coding).or_else(|| said_of("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FillMode, Ttl};
    use crate::headers::header_map;
    use http::HeaderValue;
    use std::time::Duration;

    fn rules() -> StoreRules {
        StoreRules {
            lifetimes: Ttl::Forever.into(),
            audience: Audience::AsSaid,
            set_cookie: SetCookie::Refuse,
            not_found_ttl: 60,
            ignore_set_cookies: NameList::new(["AWSALB"]),
            volatile: NameList::new(["x-request-id"]),
            vary: VaryRules {
                ignored: vec![header::USER_AGENT],
                mode: FillMode::Canonical,
            },
            max_body: 1000,
            last_good: None,
        }
    }

    fn decide(status: u16, fields: &[(&'static str, &'static str)]) -> Storable {
        decide_with(status, fields, &rules(), Included::ByDefault)
    }

    fn decide_with(
        status: u16,
        fields: &[(&'static str, &'static str)],
        rules: &StoreRules,
        included: Included,
    ) -> Storable {
        let asked = Asked {
            scheme: "https",
            host: "example.com",
            path: "/a",
            query: "b",
            included,
            unkeyed: &[],
            credentials: &Credentials::NONE,
            now: SystemTime::UNIX_EPOCH,
        };
        may_store(
            StatusCode::from_u16(status).unwrap(),
            &header_map(fields),
            &asked,
            rules,
        )
    }

    fn stored() -> Storable {
        Storable::Snapshot(Vec::new())
    }

    #[test]
    fn statuses_without_explicit_freshness() {
        for (status, expected) in [
            (200, stored()),
            (203, stored()),
            (300, stored()),
            (301, stored()),
            (308, stored()),
            (204, Storable::No(Reason::Status)),
            (206, Storable::No(Reason::Partial)),
            (302, Storable::No(Reason::Status)),
            (304, Storable::No(Reason::Partial)),
            (307, Storable::No(Reason::Status)),
            (400, Storable::No(Reason::Status)),
            (404, Storable::Memory(Vec::new(), 60)),
            (410, Storable::Memory(Vec::new(), 60)),
            (500, Storable::No(Reason::ServerError)),
            (503, Storable::No(Reason::ServerError)),
        ] {
            assert_eq!(decide(status, &[]), expected, "{status}");
        }
        assert_eq!(decide(302, &[("cache-control", "max-age=9")]), stored());
        assert_eq!(
            decide(404, &[("cache-control", "max-age=9")]),
            Storable::Memory(Vec::new(), 9)
        );
    }

    #[test]
    fn what_forbids_storing() {
        for (field, reason) in [
            (("cache-control", "max-age=60, No-Store"), Reason::NoStore),
            (("cache-control", "private"), Reason::Private),
            (("set-cookie", "session=1"), Reason::SetCookie),
            (("vary", "accept, *"), Reason::VaryStar),
            (("cache-control", "max-age=0"), Reason::Expired),
            (("cache-control", "no-cache"), Reason::Expired),
            (("expires", "0"), Reason::Expired),
            (("content-type", "application/json; charset=utf-8"), Reason::Json),
            (("content-type", "text/event-stream"), Reason::ContentType),
            (
                ("content-security-policy", "script-src 'Nonce-abc'"),
                Reason::Nonce,
            ),
            (("content-length", "1001"), Reason::TooLarge),
        ] {
            assert_eq!(decide(200, &[]), stored());
            assert_eq!(decide(200, &[field]), Storable::No(reason), "{field:?}");
        }
        assert_eq!(decide(200, &[("set-cookie", "AWSALB=1; Path=/")]), stored());
        let with_validator = [("cache-control", "no-cache"), ("etag", "\"1\"")];
        assert_eq!(decide(200, &with_validator), stored());
    }

    #[test]
    fn any_final_status_is_stored_for_a_stated_lifetime() {
        let lifetime = [("cache-control", "max-age=9")];
        for status in [
            200, 201, 202, 203, 204, 226, 299, 300, 301, 302, 303, 307, 308, 399, 400, 401, 403, 405, 414,
            418, 451, 499, 500, 501, 502, 503, 504, 599, 600, 999,
        ] {
            assert_eq!(decide(status, &lifetime), stored(), "{status}");
        }
        for status in [404, 410] {
            assert_eq!(
                decide(status, &lifetime),
                Storable::Memory(Vec::new(), 9),
                "{status}"
            );
        }
        for status in [100, 103, 199, 206, 304] {
            assert_eq!(
                decide(status, &lifetime),
                Storable::No(Reason::Partial),
                "{status}"
            );
        }
        for status in [205, 428, 429, 431, 511] {
            assert_eq!(
                decide(status, &lifetime),
                Storable::No(Reason::Status),
                "{status}"
            );
        }
        assert_eq!(decide(205, &[lifetime[0], ("content-length", "0")]), stored());
        assert_eq!(decide(600, &[]), Storable::No(Reason::ServerError));
    }

    #[test]
    fn who_must_understand_a_status_and_does_not_stores_nothing() {
        for (status, control, expected) in [
            (200, "must-understand, max-age=9", stored()),
            (503, "must-understand, max-age=9", stored()),
            (200, "must-understand, no-store, max-age=9", stored()),
            (200, "no-store, max-age=9", Storable::No(Reason::NoStore)),
            (
                599,
                "max-age=9, Must-Understand",
                Storable::No(Reason::MustUnderstand),
            ),
            (
                299,
                "must-understand, no-store, max-age=9",
                Storable::No(Reason::MustUnderstand),
            ),
            (200, "must-understand, private", Storable::No(Reason::Private)),
            (206, "must-understand, max-age=9", Storable::No(Reason::Partial)),
        ] {
            let decided = decide(status, &[("cache-control", control)]);
            assert_eq!(decided, expected, "{status} {control}");
        }
    }

    #[test]
    fn the_operator_s_lifetime_stands_in_place_of_the_stated_one_and_makes_no_page() {
        let mut rules = rules();
        rules.lifetimes.ttl = Some(Ttl::For(Duration::from_secs(60)));
        let decide = |status, fields: &[_]| decide_with(status, fields, &rules, Included::ByDefault);
        for control in ["no-cache", "max-age=0", "max-age=0, must-revalidate, no-cache"] {
            let said = [("cache-control", control)];
            assert_eq!(decide(200, &said), stored(), "{control}");
            assert_eq!(decide(302, &said), Storable::No(Reason::Status), "{control}");
            // An error is no page: as without it.
            for status in [403, 404, 500] {
                assert_eq!(
                    decide(status, &said),
                    self::decide(status, &said),
                    "{status} {control}"
                );
            }
        }
        assert_eq!(decide(200, &[("expires", "0")]), stored());
        assert_eq!(decide(302, &[("cache-control", "max-age=9")]), stored());
        for (control, reason) in [("no-store", Reason::NoStore), ("private", Reason::Private)] {
            assert_eq!(decide(200, &[("cache-control", control)]), Storable::No(reason));
        }
        let data = ("content-type", "application/json");
        for (control, expected) in [("max-age=0", Storable::No(Reason::Json)), ("max-age=9", stored())] {
            assert_eq!(
                decide(200, &[data, ("cache-control", control)]),
                expected,
                "{control}"
            );
        }
        rules.lifetimes.ttl = Some(Ttl::For(Duration::ZERO));
        let zero = decide_with(
            200,
            &[("cache-control", "max-age=9")],
            &rules,
            Included::ByDefault,
        );
        assert_eq!(zero, Storable::No(Reason::Expired));
    }

    #[test]
    fn what_is_everyone_s_is_stored_whatever_says_whose_it_is() {
        let mut everyone = rules();
        everyone.audience = Audience::Everyone;
        let decide = |fields: &[_]| decide_with(200, fields, &everyone, Included::ByDefault);
        for (field, reason) in [
            (("cache-control", "no-store"), Reason::NoStore),
            (("cache-control", "private=\"x-a\", max-age=9"), Reason::Private),
            (("set-cookie", "session=1"), Reason::SetCookie),
            (("content-type", "application/json"), Reason::Json),
        ] {
            let otherwise = decide_with(200, &[field], &rules(), Included::ByDefault);
            assert_eq!(otherwise, Storable::No(reason), "{field:?}");
            assert_eq!(decide(&[field]), stored(), "{field:?}");
        }
        for (field, reason) in [
            (("vary", "cookie, *"), Reason::VaryStar),
            (("cache-control", "no-cache"), Reason::Expired),
            (("content-type", "text/event-stream"), Reason::ContentType),
            (
                ("content-security-policy", "script-src 'nonce-abc'"),
                Reason::Nonce,
            ),
        ] {
            assert_eq!(decide(&[field]), Storable::No(reason), "{field:?}");
        }
        let unknown = [("cache-control", "must-understand, max-age=9")];
        assert_eq!(
            decide_with(599, &unknown, &everyone, Included::ByDefault),
            Storable::No(Reason::MustUnderstand)
        );
    }

    #[test]
    fn cookies_that_are_stripped_forbid_nothing() {
        let mut strip = rules();
        strip.set_cookie = SetCookie::Strip;
        let decide = |fields: &[_]| decide_with(200, fields, &strip, Included::ByDefault);
        let cookie = ("set-cookie", "session=1");
        assert_eq!(decide(&[cookie]), stored());
        let private = [cookie, ("cache-control", "private")];
        assert_eq!(decide(&private), Storable::No(Reason::Private));
    }

    #[test]
    fn an_answer_to_credentials_is_stored_if_it_says_that_it_is_for_all() {
        let mut request = header_map(&[("authorization", "Basic x")]);
        let credentials = Credentials::set_aside(&mut request, &[header::AUTHORIZATION]);
        let decide = |control: &'static str| {
            let asked = Asked {
                scheme: "https",
                host: "example.com",
                path: "/a",
                query: "",
                included: Included::ByDefault,
                unkeyed: &[],
                credentials: &credentials,
                now: SystemTime::UNIX_EPOCH,
            };
            let said = header_map(&[("cache-control", control), ("etag", "\"1\"")]);
            let merged = StoredHead {
                status: StatusCode::OK,
                headers: said.clone(),
                expires_after: None,
                tags: Tags::default(),
                ready: Ready::default(),
            };
            // A 304 that repeats nothing leaves what is stored as it is.
            let stays = may_stay(&merged, &HeaderMap::new(), &asked, &rules());
            let stored = may_store(StatusCode::OK, &said, &asked, &rules());
            (stored, stays)
        };
        for control in ["public", "s-maxage=9", "must-revalidate, max-age=9"] {
            assert_eq!(decide(control), (stored(), Ok(Vec::new())), "{control}");
        }
        for control in ["max-age=9", "no-cache", ""] {
            let reason = Reason::Authorization;
            assert_eq!(decide(control), (Storable::No(reason), Err(reason)), "{control}");
        }
    }

    #[test]
    fn a_coding_is_for_those_who_accept_all_of_it() {
        for (stored, accepted, expected) in [
            (&[][..], None, true),
            (&["identity"], None, true),
            (&["gzip"], None, false),
            (&["gzip"], Some(""), false),
            (&["GZIP"], Some("br, gzip;q=0.1"), true),
            (&["gzip"], Some("gzip;q=0, *"), false),
            (&["gzip"], Some("br, *;q=0.5"), true),
            (&["gzip"], Some("*;q=0"), false),
            (&["gzip, br"], Some("gzip"), false),
            (&["gzip", "br"], Some("gzip"), false),
            (&["gzip", "br"], Some("gzip, br"), true),
            (&["what is this"], Some("gzip"), false),
        ] {
            let mut head = HeaderMap::new();
            for line in stored {
                head.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            let mut client = HeaderMap::new();
            if let Some(accepted) = accepted {
                client.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            }
            assert_eq!(
                accepts_coding(&head, &client),
                expected,
                "{stored:?} for {accepted:?}"
            );
        }
        let mut head = HeaderMap::new();
        head.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_bytes(b"\xff").unwrap(),
        );
        assert!(!accepts_coding(&head, &header_map(&[("accept-encoding", "*")])));
    }

    #[test]
    fn json_is_stored_with_a_lifetime_or_by_name() {
        let json = [("content-type", "application/json")];
        assert_eq!(decide_with(200, &json, &rules(), Included::ByPattern), stored());
        assert_eq!(decide(200, &[json[0], ("cache-control", "max-age=9")]), stored());
    }

    #[test]
    fn a_default_lifetime_of_zero_stores_only_what_can_be_validated_or_is_explicit() {
        let mut rules = rules();
        rules.lifetimes = Ttl::For(Duration::ZERO).into();
        let decide = |fields: &[_]| decide_with(200, fields, &rules, Included::ByDefault);
        assert_eq!(decide(&[]), Storable::No(Reason::Expired));
        assert_eq!(decide(&[("etag", "\"1\"")]), stored());
        assert_eq!(decide(&[("cache-control", "max-age=9")]), stored());
    }

    #[test]
    fn a_redirect_to_itself_is_a_loop() {
        for (status, location, expected) in [
            (301, "/a?b", Storable::No(Reason::SelfRedirect)),
            (301, "/a", stored()),
            (200, "/a?b", stored()),
        ] {
            assert_eq!(decide(status, &[("location", location)]), expected, "{location}");
        }
    }

    #[test]
    fn a_field_sent_for_the_client_selects_the_answer_named_or_not() {
        let sent = [HeaderName::from_static("next-url")];
        let asked = Asked {
            scheme: "https",
            host: "example.com",
            path: "/",
            query: "",
            included: Included::ByDefault,
            unkeyed: &sent,
            credentials: &Credentials::NONE,
            now: SystemTime::UNIX_EPOCH,
        };
        let vary = header_map(&[("vary", "RSC")]);
        let expected = ["next-url", "rsc"].map(HeaderName::from_static).to_vec();
        assert_eq!(
            may_store(StatusCode::OK, &vary, &asked, &rules()),
            Storable::Snapshot(expected)
        );
    }

    #[test]
    fn only_what_belongs_to_the_page_is_kept() {
        let head = stored_head(
            StatusCode::OK,
            &header_map(&[
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("x-request-id", "7"),
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("set-cookie", "AWSALB=1"),
                ("content-length", "3"),
                ("link", "a"),
                ("link", "b"),
            ]),
            SystemTime::UNIX_EPOCH,
            &rules(),
        );
        assert_eq!(head.expires_after, Some(60));
        assert_eq!(head.headers, header_map(&[("link", "a"), ("link", "b")]));
    }
}
