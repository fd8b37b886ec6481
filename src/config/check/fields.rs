//! Settings that name request fields, or hold their values.

use http::{HeaderName, HeaderValue};

use crate::config::{FillMode, Settings};
use crate::error::Error;
use crate::headers::is_sendable;
use crate::language::Languages;
use crate::policy::identity::IdentityRules;
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
