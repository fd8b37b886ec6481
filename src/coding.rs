//! Content codings (RFC 9110 §8.4.1) in which a stored page is kept ready.

use http::HeaderValue;

/// A coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As `Content-Encoding` says it.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.token())
    }

    /// Behind the file name, and behind `;` in an entity tag.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }

    pub(crate) fn of_token(token: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|coding| coding.token().eq_ignore_ascii_case(token))
    }

    pub(crate) fn of_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.suffix() == suffix)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Codings(u8);

impl Codings {
    pub(crate) fn has(self, coding: Coding) -> bool {
        self.0 & coding.bit() != 0
    }

    #[must_use]
    pub(crate) fn with(self, coding: Coding) -> Self {
        Self(self.0 | coding.bit())
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_suffixes_name_one_coding_each() {
        let mut all = Codings::default();
        assert!(all.is_empty());
        for coding in Coding::ALL {
            assert_eq!(Coding::of_token(&coding.token().to_uppercase()), Some(coding));
            assert_eq!(Coding::of_suffix(coding.suffix()), Some(coding));
            assert!(!all.has(coding));
            all = all.with(coding);
            assert!(all.has(coding));
        }
        assert_eq!(Coding::of_token("identity"), None);
    }
}
