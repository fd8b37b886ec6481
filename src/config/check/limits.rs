//! Numbers, and which pages the limits leave alone.

use crate::config::{Settings, Ttl};
use crate::error::Error;
use crate::pattern::KeyPattern;
use crate::snapshot::Pinned;

/// Numbers that cannot work.
///
/// # Errors
/// The first of them, by name.
pub(crate) fn limits(settings: &Settings) -> Result<(), Error> {
    for (setting, value) in [
        ("connect_timeout", settings.connect_timeout),
        ("response_timeout", settings.response_timeout),
        ("body_timeout", settings.body_timeout),
        ("fill_timeout", settings.fill_timeout),
        ("tunnel_timeout", settings.tunnel_timeout),
    ] {
        if value.is_zero() {
            return Err(Error::config(
                setting,
                format!("`{setting}` is zero, so nothing would ever come in time"),
            )
            .with_hint("write a duration such as \"30s\""));
        }
    }
    for (setting, value) in [
        ("max_fills", settings.max_fills),
        ("max_variants", settings.max_variants),
        ("max_hosts", settings.max_hosts),
    ] {
        if value == 0 {
            return Err(Error::config(
                setting,
                format!("`{setting}` is zero, so nothing would ever be stored"),
            )
            .with_hint("to store nothing, write exclude_paths = [\"*\"]"));
        }
    }
    if settings.min_uses == 0 {
        return Err(Error::config(
            "min_uses",
            "`min_uses` is zero, and nothing is stored before it is asked for",
        )
        .with_hint("write 1 to have a page stored the first time that it is asked for"));
    }
    if settings.keep_last_good_percent > 100 {
        return Err(Error::config(
            "keep_last_good_percent",
            "`keep_last_good_percent` is more than 100, so no page could ever become shorter",
        )
        .with_hint("write a number such as 30, or 0 to let a page be of any length"));
    }
    for (setting, ttl) in [("default_ttl", Some(settings.default_ttl)), ("ttl", settings.ttl)] {
        let Some(Ttl::For(ttl)) = ttl else {
            continue;
        };
        if ttl.as_secs() > 1 << 31 {
            return Err(
                Error::config(setting, format!("`{setting}` is longer than 68 years"))
                    .with_hint("write \"forever\""),
            );
        }
        if ttl.as_secs() == 0 && !ttl.is_zero() {
            let what = format!("`{setting}` is shorter than a second, and lifetimes are counted in seconds");
            return Err(Error::config(setting, what).with_hint("write \"1s\", or 0 for no lifetime"));
        }
    }
    Ok(())
}

/// The pages that stay.
///
/// # Errors
/// A text that is no pattern.
pub(crate) fn pinned(settings: &Settings) -> Result<Pinned, Error> {
    let parse = |text: &String| {
        KeyPattern::parse(text).map_err(|error| {
            Error::config("pinned", format!("`{text}` in `pinned` is not a pattern"))
                .with_hint("write a path with `*` for any run of characters (\"/blog/*\"), a key (\"GET:/\") or a tag (\"tag:front\")")
                .with_source(error)
        })
    };
    let patterns = settings.pinned.iter().map(parse);
    Ok(Pinned::new(patterns.collect::<Result<_, _>>()?))
}
