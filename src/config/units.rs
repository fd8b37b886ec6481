//! Durations and sizes as people write them, and back.
//!
//! What [`duration_text`] and [`size_text`] write is exact: reading it gives the same value.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::fmt::friendly::SpanParser;
use jiff::{SignedDuration, SpanRelativeTo};

/// Why a text is neither a duration nor a size, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("is not a duration")]
    NotADuration,
    #[error("has no unit")]
    NoUnit,
    #[error("is negative")]
    Negative,
    #[error("uses months or years, whose length varies")]
    Calendar,
    #[error("is not a size")]
    NotASize,
    #[error("is more than can be counted in 64 bits")]
    TooLarge,
}

impl UnitError {
    /// What to write instead of `text`.
    pub(crate) fn hint(self, text: &str) -> String {
        match self {
            Self::NotADuration | Self::Negative => {
                "write a duration such as \"60s\", \"5 min\", \"1h 30m\" or \"7 days\"".into()
            }
            Self::NoUnit => {
                let number = text.trim();
                format!("add a unit: \"{number}s\" for seconds, \"{number}ms\", \"{number}m\", \"{number}h\"")
            }
            Self::Calendar => "count in weeks, days, hours, minutes or seconds".into(),
            Self::NotASize | Self::TooLarge => {
                "write a size such as \"64MiB\" or \"10 MB\", or a number of bytes".into()
            }
        }
    }
}

/// Reads `60s`, `5 min`, `1h30m`, `7 days`, `PT60S`. A day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::NoUnit);
    }
    let span = SpanParser::new()
        .parse_span(text)
        .or_else(|error| text.parse::<jiff::Span>().map_err(|_| error))
        .map_err(|_| UnitError::NotADuration)?;
    if span.is_negative() {
        return Err(UnitError::Negative);
    }
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(UnitError::Calendar);
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours())
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or(UnitError::NotADuration)
}

/// Writes a duration as [`duration`] reads it: `60s` as `1m`.
pub(crate) fn duration_text(duration: Duration) -> String {
    let Ok(signed) = SignedDuration::try_from(duration) else {
        return format!("{}s", duration.as_secs());
    };
    format!("{signed:#}")
}

/// Reads `64MiB`, `10 MB`, `1.5 GiB`, `4096`; the result is in bytes.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let size: ByteSize = text.parse().map_err(|_| UnitError::NotASize)?;
    // ByteSize saturates instead of refusing.
    if size.as_u64() == u64::MAX {
        return Err(UnitError::TooLarge);
    }
    Ok(size.as_u64())
}

/// Writes a size as [`size`] reads it, in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 8] = [
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("KB", 1_000),
    ];
    UNITS
        .iter()
        .find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes}B"),
            |(name, unit)| format!("{}{name}", bytes / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("60s", Ok(seconds(60))),
            ("60 s", Ok(seconds(60))),
            (" 60 seconds ", Ok(seconds(60))),
            ("5 min", Ok(seconds(300))),
            ("5m", Ok(seconds(300))),
            ("1h30m", Ok(seconds(5400))),
            ("1h 30m", Ok(seconds(5400))),
            ("1 hour, 30 minutes", Ok(seconds(5400))),
            ("1.5h", Ok(seconds(5400))),
            ("7 days", Ok(seconds(604_800))),
            ("2w", Ok(seconds(1_209_600))),
            ("250ms", Ok(Duration::from_millis(250))),
            ("0.5s", Ok(Duration::from_millis(500))),
            ("PT1M", Ok(seconds(60))),
            ("0s", Ok(Duration::ZERO)),
            ("0", Ok(Duration::ZERO)),
            ("60", Err(UnitError::NoUnit)),
            ("-5s", Err(UnitError::Negative)),
            ("5s ago", Err(UnitError::Negative)),
            ("1 month", Err(UnitError::Calendar)),
            ("1 year", Err(UnitError::Calendar)),
            ("", Err(UnitError::NotADuration)),
            ("soon", Err(UnitError::NotADuration)),
            ("1h 30", Err(UnitError::NotADuration)),
            ("99999999999999999999s", Err(UnitError::NotADuration)),
            ("9999999999999h", Err(UnitError::NotADuration)),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, expected) in [
            ("64MiB", Ok(64 << 20)),
            ("64 MiB", Ok(64 << 20)),
            ("10 MB", Ok(10_000_000)),
            ("10mb", Ok(10_000_000)),
            ("1.5 GiB", Ok(3 << 29)),
            ("4096", Ok(4096)),
            ("0", Ok(0)),
            ("12B", Ok(12)),
            ("", Err(UnitError::NotASize)),
            ("-1", Err(UnitError::NotASize)),
            ("big", Err(UnitError::NotASize)),
            ("64 Mibs", Err(UnitError::NotASize)),
            ("99999999999 EiB", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(size(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for millis in [0, 1, 999, 1000, 1500, 60_000, 3_600_000, 5_400_000, 604_800_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&duration_text(value)), Ok(value), "{millis}");
        }
        for value in [
            0,
            1,
            1000,
            1023,
            1024,
            64 << 20,
            10_000_000,
            1 << 40,
            (1 << 40) + 1,
        ] {
            assert_eq!(size(&size_text(value)), Ok(value), "{value}");
        }
        assert_eq!(duration_text(Duration::from_secs(5400)), "1h 30m");
        assert_eq!(size_text(64 << 20), "64MiB");
    }
}
