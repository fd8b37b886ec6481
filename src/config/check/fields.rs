//! Settings that name request fields, or hold their values.

use http::header::{self, HeaderName, HeaderValue};

use super::extended;
use crate::coding::Coding;
use crate::config::{FillMode, Settings};
use crate::error::Error;
use crate::headers::{NameList, is_hop_by_hop, is_sendable};
use crate::language::Languages;
use crate::policy::identity::{BYPASS_HEADERS, BYPASS_QUERY, CookieRule, IGNORED_COOKIES, IdentityRules};
use crate::policy::vary::VaryRules;

pub(super) fn header_names(setting: &'static str, texts: &[String]) -> Result<Vec<HeaderName>, Error> {
    let parse = |text: &String| {
        text.parse().map_err(|_| {
            Error::config(
                setting,
                format!("`{text}` in `{setting}` is not a header field name"),
            )
            .with_hint("write names as in \"Accept-Language\"")
        })
    };
    texts.iter().map(parse).collect()
}

/// A transparent fill carries what `vary_ignore` has left out of sight, so it may not be.
pub(super) fn vary(settings: &Settings, unkeyed: Vec<HeaderName>) -> Result<VaryRules, Error> {
    let mut ignored = header_names("vary_ignore", &settings.vary_ignore)?;
    if settings.fill == FillMode::Transparent {
        ignored.clear();
    }
    ignored.extend(unkeyed);
    Ok(VaryRules {
        ignored,
        mode: settings.fill,
    })
}

/// Who is somebody.
pub(super) fn identity(settings: &Settings, keyed: &[Box<str>]) -> Result<IdentityRules, Error> {
    let own = header_names("bypass_headers", &settings.bypass_headers)?;
    // RFC 9111 §3.5 says when an answer to it may be shared, and a transparent fill carries it.
    let is_judged =
        |name: &HeaderName| settings.fill == FillMode::Transparent && *name == header::AUTHORIZATION;
    let builtin = BYPASS_HEADERS.iter().filter_map(|name| name.parse().ok());
    let builtin = builtin.filter(|name| !is_judged(name));
    let cookies = match &settings.bypass_cookies {
        Some(names) => CookieRule::Only(NameList::new(names.iter().map(String::as_str))),
        None => CookieRule::AllBut {
            ignored: extended(IGNORED_COOKIES, &settings.ignore_cookies),
            keyed: keyed.to_vec(),
        },
    };
    Ok(IdentityRules {
        bypass_headers: builtin.chain(own).collect(),
        bypass_query: extended(BYPASS_QUERY, &settings.bypass_query),
        cookies,
    })
}

/// Fields that go along on fills: none that says who asks, from where, or for less than the page.
pub(super) fn unkeyed(
    settings: &Settings,
    keyed: &[HeaderName],
    identity: &IdentityRules,
) -> Result<Vec<HeaderName>, Error> {
    const SETTING: &str = "unkeyed_headers";
    let names = header_names(SETTING, &settings.unkeyed_headers)?;
    for name in &names {
        if !is_sendable(name) || identity.bypass_headers.contains(name) {
            return Err(Error::config(
                SETTING,
                format!("`{name}` in `{SETTING}` would make a stored page somebody's, or part of one"),
            )
            .with_hint("name only fields that change nothing in the page, such as \"traceparent\""));
        }
        if keyed.contains(name) {
            return Err(Error::config(
                SETTING,
                format!("`{name}` is both in `{SETTING}` and in `key_headers`"),
            )
            .with_hint("name it in `key_headers` if it changes the page, else in `unkeyed_headers`"));
        }
    }
    Ok(names)
}

/// Checked for the form of language tags (RFC 5646 §2.1): letters and digits, eight at most between hyphens.
pub(super) fn languages(tags: &[String]) -> Result<Languages, Error> {
    let is_part =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match tags.iter().find(|tag| !tag.split('-').all(is_part)) {
        Some(tag) => Err(Error::config(
            "languages",
            format!("`{tag}` in `languages` is not a language tag"),
        )
        .with_hint("write tags as in \"en\" or \"de-CH\"")),
        None => Ok(Languages::new(tags.iter().map(String::as_str))),
    }
}

pub(super) fn header_value(setting: &'static str, text: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|_| !text.trim().is_empty());
    value.ok_or_else(|| {
        Error::config(
            setting,
            format!(
                "`{}` in `{setting}` is not a header field value",
                text.escape_debug()
            ),
        )
        .with_hint("write it as a browser sends it, in one line")
    })
}

/// A token that clients can send, and that not everybody sends.
///
/// # Errors
/// When it is empty, or cannot stand in a header field.
pub(crate) fn token(setting: &'static str, whose: &str, token: &str) -> Result<(), Error> {
    if token.trim().is_empty() {
        return Err(Error::config(setting, format!("{whose} is empty"))
            .with_hint("give it a long random text, or leave the setting out"));
    }
    match token.chars().any(char::is_control) || token.trim() != token {
        true => Err(Error::config(
            setting,
            format!("{whose} begins or ends with white space, or holds a control character"),
        )
        .with_hint("no client could send it; use letters, digits, `-` and `_`")),
        false => Ok(()),
    }
}

/// Without these nobody could read the body, or take it for what it is.
fn frames(name: &HeaderName) -> bool {
    let of_body = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::TRAILER,
    ];
    is_hop_by_hop(name) || of_body.contains(name)
}

/// What some cache in front keeps an answer by, whatever its `Cache-Control` says of whose it is.
fn tells_caches(name: &HeaderName) -> bool {
    // `Cache-Control`, `CDN-Cache-Control` and the targeted fields of single CDNs (RFC 9213 §2).
    let is_targeted = name.as_str().ends_with("cache-control");
    is_targeted || matches!(name.as_str(), "expires" | "surrogate-control" | "x-accel-expires")
}

/// Content codings by their names in `Content-Encoding`.
pub(super) fn codings(names: &[String]) -> Result<Vec<Coding>, Error> {
    let parse = |name: &String| {
        Coding::of_token(name).ok_or_else(|| {
            Error::config(
                "compress",
                format!(
                    "`{}` in `compress` is not a coding that pages are kept in",
                    name.escape_debug()
                ),
            )
            .with_hint("name some of \"br\", \"zstd\" and \"gzip\", the best first; [] turns compression off")
        })
    };
    names.iter().map(parse).collect()
}

/// Fields that no client is to get.
pub(super) fn stripped(names: &[String]) -> Result<Vec<HeaderName>, Error> {
    const SETTING: &str = "strip_headers";
    let stripped = header_names(SETTING, names)?;
    let said_to_caches = [header::CACHE_CONTROL, header::VARY];
    if let Some(name) = stripped.iter().find(|name| said_to_caches.contains(name)) {
        return Err(Error::config(
            SETTING,
            format!("without `{name}`, which `{SETTING}` names, caches behind this one would keep what is not for all"),
        )
        .with_hint("`client_cache_control` says something else of stored pages, and of those alone"));
    }
    match stripped.iter().find(|name| frames(name)) {
        Some(name) => Err(Error::config(
            SETTING,
            format!("without `{name}`, which `{SETTING}` names, the message could not be read"),
        )
        .with_hint("name only fields that say something about the page")),
        None => Ok(stripped),
    }
}

/// `Name: value`, of a field that is the operator's to set.
pub(super) fn added(lines: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    const SETTING: &str = "add_headers";
    let parse = |line: &String| {
        let wrong = |what: &str| {
            Error::config(
                SETTING,
                format!("`{}` in `{SETTING}` {what}", line.escape_debug()),
            )
            .with_hint("write name and value: \"X-Frame-Options: DENY\"")
        };
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("has no colon"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong("is not a header field"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong("is not a header field"))?;
        if frames(&name) {
            return Err(wrong("would change how the message is framed"));
        }
        if name == header::SET_COOKIE {
            return Err(
                wrong("would give every visitor the same cookie, in place of their own")
                    .with_hint("let the backend set cookies, in answers that are not stored"),
            );
        }
        if tells_caches(&name) {
            return Err(wrong("would be said of answers that are somebody's, too")
                .with_hint("set `client_cache_control`, which is said of stored pages alone"));
        }
        Ok((name, value))
    };
    lines.iter().map(parse).collect()
}
