//! What a fill's answer may become (RFC 9111 §3).

use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

use crate::config::Ttl;
use crate::head::StoredHead;
use crate::headers::{NameList, cookies, list_values, strip_hop_by_hop, weight};
use crate::outcome::Reason;
use crate::policy::cache_control::CacheControl;
use crate::policy::fill::Rendered;
use crate::policy::filter::Included;
use crate::policy::freshness::{Lifetime, expires_after};
use crate::policy::redirect::leads_to_itself;
use crate::policy::vary::{Vary, VaryRules};

/// What is kept of answers, as configured.
#[derive(Debug, Clone)]
pub(crate) struct StoreRules {
    pub(crate) default_ttl: Ttl,
    /// Seconds; 0 is off.
    pub(crate) not_found_ttl: u64,
    pub(crate) ignore_set_cookies: NameList,
    pub(crate) volatile: NameList,
    pub(crate) vary: VaryRules,
    pub(crate) max_body: u64,
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
    match veto(status, headers, asked, rules) {
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
    veto(merged.status, &merged.headers, asked, rules)
}

/// What forbids storing, whatever the lifetime; else the fields that select the answer.
fn veto(
    status: StatusCode,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
) -> Result<Vec<HeaderName>, Reason> {
    // RFC 9111 §3: "the response status code is final". A 206 or 304 that nobody asked for is no page.
    if status.is_informational() || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return Err(Reason::Partial);
    }
    let control = CacheControl::of(headers);
    if control.no_store {
        return Err(Reason::NoStore);
    }
    if control.private {
        return Err(Reason::Private);
    }
    if headers
        .get_all(header::SET_COOKIE)
        .iter()
        .any(|line| !is_ignored_cookie(line.as_bytes(), &rules.ignore_set_cookies))
    {
        return Err(Reason::SetCookie);
    }
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

fn by_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    asked: &Asked<'_>,
    rules: &StoreRules,
    names: Vec<HeaderName>,
) -> Storable {
    let control = CacheControl::of(headers);
    let explicit = control
        .s_maxage
        .or(control.max_age)
        .or_else(|| expires_after(headers, asked.now));
    let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    if is_missing {
        // A longer explicit lifetime is not granted: what is missing may come, and addresses that do
        // not exist are without number.
        return match explicit.unwrap_or(rules.not_found_ttl).min(rules.not_found_ttl) {
            _ if control.no_cache => Storable::No(Reason::Status),
            0 => Storable::No(Reason::Status),
            seconds => Storable::Memory(names, seconds),
        };
    }
    let is_page = matches!(status.as_u16(), 200 | 203 | 300 | 301 | 308);
    if explicit.is_none() {
        if status.is_server_error() {
            return Storable::No(Reason::ServerError);
        }
        if !is_page {
            return Storable::No(Reason::Status);
        }
        let named = asked.included == Included::ByPattern;
        if !named && is_personal_by_kind(headers, asked.path) {
            return Storable::No(Reason::Json);
        }
    }
    let lifetime = explicit.map_or(Lifetime::Granted(rules.default_ttl), Lifetime::Explicit);
    let needs_validator = control.no_cache || lifetime.seconds() == Some(0);
    if needs_validator && !has_validator(headers) {
        return Storable::No(Reason::Expired);
    }
    if needs_validator && !is_page {
        return Storable::No(Reason::Status);
    }
    Storable::Snapshot(names)
}

/// Who gets an answer that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The client that began the fill.
    First,
    /// Nobody: it was rendered for nobody, and each client asks as itself.
    Asker,
}

/// A page that is rendered anew each time may read what a fill leaves out (a language, a preference),
/// so the one rendered for nobody is no answer to somebody, and the client's own request follows. But
/// one that sets a cookie may have used up what it was asked for, a one-time link above all: that
/// answer is the only one there will be. Unless all that it sets is what the client has already: that is no
/// login but a renewal, made for somebody without that cookie, and would take the client's own away.
///
/// A redirect without a lifetime goes to who began the fill for the same reason: one-time links end in one as
/// often as not, without a cookie too (a confirmed address, a cancelled subscription), and asked again they say
/// that they are used up. It shows nothing of anybody, and where it leads the client asks as itself. One that
/// says `no-store` or `private` says that it is made for who asks.
pub(crate) fn owner(
    status: StatusCode,
    headers: &HeaderMap,
    reason: Reason,
    rendered: Rendered,
    client: &HeaderMap,
) -> Owner {
    if rendered == Rendered::ForClient {
        return Owner::First;
    }
    if headers.contains_key(header::SET_COOKIE) {
        return match renews_only(headers, client) {
            true => Owner::Asker,
            false => Owner::First,
        };
    }
    let leads_on = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if leads_on && matches!(reason, Reason::Status | Reason::Expired) {
        return Owner::First;
    }
    let may_be_personal = matches!(
        reason,
        Reason::NoStore
            | Reason::Private
            | Reason::VaryStar
            | Reason::Json
            | Reason::Status
            | Reason::Expired
    );
    let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    match may_be_personal && !is_missing && !status.is_server_error() {
        true => Owner::Asker,
        false => Owner::First,
    }
}

/// Whether every cookie that `headers` set is one that the client has.
fn renews_only(headers: &HeaderMap, client: &HeaderMap) -> bool {
    headers.get_all(header::SET_COOKIE).iter().all(|line| {
        let name = cookie_name(line.as_bytes());
        cookies(client).any(|cookie| cookie.name == name)
    })
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
    }
}

/// Whether `Set-Cookie` sets a cookie that may be dropped.
fn is_ignored_cookie(line: &[u8], ignored: &NameList) -> bool {
    std::str::from_utf8(cookie_name(line)).is_ok_and(|name| ignored.contains(name))
}

fn cookie_name(line: &[u8]) -> &[u8] {
    let name = line.split(|byte| matches!(byte, b'=' | b';')).next();
    name.unwrap_or_default().trim_ascii()
}

/// In lower case, without parameters; empty where there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

/// Types that have no end, or no meaning as a page.
fn is_endless(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == "text/event-stream" || kind.starts_with("multipart/") || kind.starts_with("application/grpc")
}

/// Data is often somebody's, and so is what Astro's server islands render for a public page. The data
/// files of frameworks are documents in another form.
fn is_personal_by_kind(headers: &HeaderMap, path: &str) -> bool {
    if path.starts_with("/_server-islands/") {
        return true;
    }
    let is_data_file = path.starts_with("/_next/data/")
        || path.ends_with("/__data.json")
        || path.ends_with("/_payload.json");
    !is_data_file && is_json(headers)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    // A web app's manifest is a file of the site.
    kind != "application/manifest+json"
        && (kind == "application/json" || kind.ends_with("+json") || kind == "application/x-ndjson")
}

/// A nonce must be used once; a stored page would repeat it.
fn has_nonce(headers: &HeaderMap) -> bool {
    ["content-security-policy", "content-security-policy-report-only"]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .any(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(7)
                .any(|bytes| bytes == b"'nonce-")
        })
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// Whether the stored coding is one that the client accepts: what came unasked in a coding is served
/// only to those who can read it.
pub(crate) fn accepts_coding(stored: &HeaderMap, client: &HeaderMap) -> bool {
    let Some(coding) = stored
        .get(header::CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok())
    else {
        return true;
    };
    coding.split(',').map(str::trim).all(|coding| {
        coding.eq_ignore_ascii_case("identity")
            || list_values(client, &header::ACCEPT_ENCODING).any(|range| {
                let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
                name.trim().eq_ignore_ascii_case(coding) && weight(parameters) > 0
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FillMode;
    use http::HeaderValue;
    use std::time::Duration;

    fn rules() -> StoreRules {
        StoreRules {
            default_ttl: Ttl::Forever,
            not_found_ttl: 60,
            ignore_set_cookies: NameList::new(["AWSALB"]),
            volatile: NameList::new(["x-request-id"]),
            vary: VaryRules {
                ignored: vec![header::USER_AGENT],
                mode: FillMode::Canonical,
            },
            max_body: 1000,
        }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
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
            now: SystemTime::UNIX_EPOCH,
        };
        may_store(
            StatusCode::from_u16(status).unwrap(),
            &headers(fields),
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
    fn json_is_stored_with_a_lifetime_or_by_name() {
        let json = [("content-type", "application/json")];
        assert_eq!(decide_with(200, &json, &rules(), Included::ByPattern), stored());
        assert_eq!(decide(200, &[json[0], ("cache-control", "max-age=9")]), stored());
    }

    #[test]
    fn a_default_lifetime_of_zero_stores_only_what_can_be_validated_or_is_explicit() {
        let mut rules = rules();
        rules.default_ttl = Ttl::For(Duration::ZERO);
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
            now: SystemTime::UNIX_EPOCH,
        };
        let vary = headers(&[("vary", "RSC")]);
        let expected = ["next-url", "rsc"].map(HeaderName::from_static).to_vec();
        assert_eq!(
            may_store(StatusCode::OK, &vary, &asked, &rules()),
            Storable::Snapshot(expected)
        );
    }

    #[test]
    fn an_answer_that_may_be_for_somebody_is_not_handed_to_anybody() {
        for (status, fields, reason, expected) in [
            (200, vec![], Reason::NoStore, Owner::Asker),
            (202, vec![], Reason::Status, Owner::Asker),
            (302, vec![], Reason::Status, Owner::First),
            (307, vec![], Reason::Expired, Owner::First),
            (302, vec![], Reason::Private, Owner::Asker),
            (200, vec![], Reason::Json, Owner::Asker),
            (200, vec![("set-cookie", "a=1")], Reason::NoStore, Owner::First),
            (503, vec![], Reason::NoStore, Owner::First),
            (404, vec![], Reason::Status, Owner::First),
            (200, vec![], Reason::TooLarge, Owner::First),
        ] {
            let (status, headers) = (StatusCode::from_u16(status).unwrap(), headers(&fields));
            let owner = |rendered| owner(status, &headers, reason, rendered, &HeaderMap::new());
            assert_eq!(owner(Rendered::ForNobody), expected, "{status} {fields:?}");
            assert_eq!(owner(Rendered::ForClient), Owner::First, "{status} {fields:?}");
        }
    }

    #[test]
    fn nobody_s_renewal_of_a_cookie_does_not_replace_somebody_s() {
        for (set, client, expected) in [
            (
                &["csrftoken=new; Path=/"][..],
                "csrftoken=old; _ga=1",
                Owner::Asker,
            ),
            (&["csrftoken=new"], "_ga=1", Owner::First),
            // A link that logs in is used up.
            (&["csrftoken=new", "sessionid=1"], "csrftoken=old", Owner::First),
        ] {
            let mut headers = HeaderMap::new();
            for line in set {
                headers.append("set-cookie", HeaderValue::from_static(line));
            }
            let mut asked = HeaderMap::new();
            asked.insert("cookie", HeaderValue::from_static(client));
            let (reason, rendered) = (Reason::SetCookie, Rendered::ForNobody);
            let found = owner(StatusCode::OK, &headers, reason, rendered, &asked);
            assert_eq!(found, expected, "{set:?} for {client}");
        }
    }

    #[test]
    fn only_what_belongs_to_the_page_is_kept() {
        let head = stored_head(
            StatusCode::OK,
            &headers(&[
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
        assert_eq!(head.headers, headers(&[("link", "a"), ("link", "b")]));
    }
}
