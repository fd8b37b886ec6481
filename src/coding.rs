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

    /// The entity tag of a page in this coding: the suffix before the closing quote. A value without one is no tag.
    pub(crate) fn mark(self, etag: &HeaderValue) -> Option<HeaderValue> {
        let inner = etag.as_bytes().strip_suffix(b"\"")?;
        let marked = [inner, b";", self.suffix().as_bytes(), b"\""].concat();
        // Without its quotes it would be another page's.
        let is_tag = inner.contains(&b'"');
        HeaderValue::from_bytes(&marked).ok().filter(|_| is_tag)
    }
}

/// What stands between the quotes of an entity tag, without the suffix of a coding.
pub(crate) fn unmarked(opaque: &[u8]) -> &[u8] {
    Coding::ALL
        .into_iter()
        .find_map(|coding| {
            opaque
                .strip_suffix(coding.suffix().as_bytes())?
                .strip_suffix(b";")
        })
        .unwrap_or(opaque)
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

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn less(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Coding> {
        Coding::ALL.into_iter().filter(move |coding| self.has(*coding))
    }

    pub(crate) fn to_bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl From<Coding> for Codings {
    fn from(coding: Coding) -> Self {
        Self(coding.bit())
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

    #[test]
    fn sets_are_sets() {
        let set = |codings: &[Coding]| codings.iter().fold(Codings::default(), |set, one| set.with(*one));
        let (both, one) = (set(&[Coding::Brotli, Coding::Gzip]), set(&[Coding::Gzip]));
        assert_eq!(both.less(one), Coding::Brotli.into());
        assert_eq!((both.and(one), both.or(one)), (one, both));
        assert_eq!(both.iter().collect::<Vec<_>>(), [Coding::Brotli, Coding::Gzip]);
        assert_eq!(Codings::from_bits(both.to_bits()), both);
    }

    #[test]
    fn a_tag_has_the_suffix_before_its_closing_quote() {
        for (tag, coding, marked) in [
            ("\"x\"", Coding::Brotli, Some("\"x;br\"")),
            ("W/\"x\"", Coding::Zstd, Some("W/\"x;zst\"")),
            ("\"\"", Coding::Gzip, Some("\";gz\"")),
            ("\"x;gz\"", Coding::Gzip, Some("\"x;gz;gz\"")),
            ("x", Coding::Gzip, None),
            ("x\"", Coding::Gzip, None),
            ("", Coding::Gzip, None),
        ] {
            let found = coding.mark(&HeaderValue::from_static(tag));
            assert_eq!(found, marked.map(HeaderValue::from_static), "{tag}");
        }
        for (opaque, expected) in [
            ("x;br", "x"),
            ("x;zst", "x"),
            ("x;gz", "x"),
            ("x;gz;gz", "x;gz"),
            ("x;GZ", "x;GZ"),
            ("x;gzip", "x;gzip"),
            ("xbr", "xbr"),
            (";br", ""),
            ("", ""),
        ] {
            assert_eq!(unmarked(opaque.as_bytes()), expected.as_bytes(), "{opaque}");
        }
    }
}
