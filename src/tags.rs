//! Tags: what a backend says a page is made of, so that all pages of one thing can be invalidated by its name.
//!
//! They are the backend's word to its cache: no client gets the fields, and the names stand in the sidecar, sorted, so
//! that the order in which a backend happens to name them changes nothing.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName};

/// The fields in which backends name tags: with commas between them, and with spaces.
pub(crate) const FIELDS: [HeaderName; 3] = [
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("xkey"),
];

/// A longer one is dropped, as by those whose fields these are.
const MAX_LENGTH: usize = 1024;
/// The most of one rendering: the first of them, sorted.
const MAX_TAGS: usize = 1000;

/// Something that may have tags.
pub(crate) trait Tagged: Sync {
    fn has(&self, tag: &Tag) -> bool;
}

/// What has none.
pub(crate) struct Untagged;

/// What is not known yet may have any.
pub(crate) struct TagsUnknown;

impl Tagged for Untagged {
    fn has(&self, _: &Tag) -> bool {
        false
    }
}

impl Tagged for TagsUnknown {
    fn has(&self, _: &Tag) -> bool {
        true
    }
}

/// What a page is made of, as the index has it, a tag or an asset: of a million pages the texts are not kept. A clash costs a
/// page that is rendered again, or an asset that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PartHash(u32);

impl PartHash {
    /// The bit that says which it is.
    const ASSET: u32 = 1 << 31;

    fn of_tag(text: &str) -> Self {
        Self(first_bits(&blake3::hash(text.as_bytes())) & !Self::ASSET)
    }

    /// Of the asset at this path, of this host where keys name one.
    pub(crate) fn of_asset(host: Option<&str>, path: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(host.unwrap_or_default().as_bytes());
        hasher.update(path.as_bytes());
        Self(first_bits(&hasher.finalize()) | Self::ASSET)
    }

    pub(crate) fn is_of_asset(self) -> bool {
        self.0 & Self::ASSET != 0
    }
}

fn first_bits(hash: &blake3::Hash) -> u32 {
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    text: Box<str>,
    hash: PartHash,
}

/// Why a text is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagError {
    #[error("the tag is empty")]
    Empty,
    #[error("a tag has no space at its ends")]
    Space,
    #[error("the tag is longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error("the tag holds a control character")]
    Control,
    #[error("a tag is matched whole; `*` stands for nothing in it")]
    Wildcard,
}

impl Tag {
    /// # Errors
    /// What no page can have.
    pub(crate) fn parse(text: &str) -> Result<Self, TagError> {
        if text.contains('*') {
            return Err(TagError::Wildcard);
        }
        check(text)?;
        Ok(Self {
            text: text.into(),
            hash: PartHash::of_tag(text),
        })
    }

    pub(crate) fn hash(&self) -> PartHash {
        self.hash
    }
}

fn check(text: &str) -> Result<(), TagError> {
    if text.is_empty() {
        return Err(TagError::Empty);
    }
    if text.trim() != text {
        return Err(TagError::Space);
    }
    if text.len() > MAX_LENGTH {
        return Err(TagError::TooLong);
    }
    match text.chars().any(char::is_control) {
        true => Err(TagError::Control),
        false => Ok(()),
    }
}

/// The tags of a rendering, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tags(Box<[Box<str>]>);

/// Those of what is no rendering.
pub(crate) static NO_TAGS: LazyLock<Tags> = LazyLock::new(Tags::default);

impl Tags {
    /// Those that are tags.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut tags: Vec<&str> = texts.into_iter().filter(|text| check(text).is_ok()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags.truncate(MAX_TAGS);
        Self(tags.into_iter().map(Into::into).collect())
    }

    /// Takes the fields away, and says what they name.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let mut lines = Vec::new();
        for (name, separator) in FIELDS.iter().zip([',', ' ', ' ']) {
            let values = headers.get_all(name).iter();
            lines.extend(
                values.filter_map(|value| Some((std::str::from_utf8(value.as_bytes()).ok()?, separator))),
            );
        }
        let words = lines
            .iter()
            .flat_map(|(line, separator)| line.split([*separator, '\t']));
        let tags = Self::of(words.map(str::trim));
        strip(headers);
        tags
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tag| &**tag)
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = PartHash> {
        self.iter().map(PartHash::of_tag)
    }

    /// Bytes of the names.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(str::len).sum()
    }
}

impl Tagged for Tags {
    fn has(&self, tag: &Tag) -> bool {
        self.0.binary_search(&tag.text).is_ok()
    }
}

/// Takes the fields away.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in FIELDS {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    fn named(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = header_map(fields);
        let tags = Tags::take(&mut headers);
        assert!(FIELDS.iter().all(|name| !headers.contains_key(name)));
        tags.iter().map(str::to_owned).collect()
    }

    #[test]
    fn each_field_has_its_separator_and_order_and_repetition_say_nothing() {
        for (fields, expected) in [
            (vec![("cache-tag", "b, a ,,b")], vec!["a", "b"]),
            (vec![("cache-tag", "two words,one")], vec!["one", "two words"]),
            (vec![("surrogate-key", "b  a\tc")], vec!["a", "b", "c"]),
            (vec![("xkey", "b a"), ("xkey", "c")], vec!["a", "b", "c"]),
            (
                vec![("xkey", "x"), ("cache-tag", "y"), ("surrogate-key", "z x")],
                vec!["x", "y", "z"],
            ),
            (vec![("cache-tag", "")], vec![]),
            (vec![("x-other", "a")], vec![]),
        ] {
            assert_eq!(named(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_many_is_dropped() {
        let long = "x".repeat(MAX_LENGTH + 1);
        assert!(Tags::of([long.as_str()]).is_empty());
        let many: Vec<String> = (0..2 * MAX_TAGS).map(|number| number.to_string()).collect();
        assert_eq!(Tags::of(many.iter().map(String::as_str)).iter().count(), MAX_TAGS);
    }

    #[test]
    fn a_tag_is_found_by_text_and_by_hash() {
        let tags = Tags::of(["news", "post-7"]);
        for (text, expected) in [("news", true), ("post-7", true), ("new", false), ("News", false)] {
            let tag = Tag::parse(text).unwrap();
            assert_eq!(tags.has(&tag), expected, "{text}");
            assert_eq!(tags.hashes().any(|hash| hash == tag.hash()), expected, "{text}");
        }
        for (text, error) in [
            ("", TagError::Empty),
            (" a", TagError::Space),
            ("a\nb", TagError::Control),
            ("a*", TagError::Wildcard),
        ] {
            assert_eq!(Tag::parse(text), Err(error), "{text:?}");
        }
    }
}
