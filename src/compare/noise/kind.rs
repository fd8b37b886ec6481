//! What a piece of text that is never the same twice looks like.

use crate::policy::markup::is_csrf_field;

/// What noise looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NoiseKind {
    /// Of a Content-Security-Policy.
    Nonce,
    /// In a field or a `<meta>` of a known name.
    CsrfToken,
    /// A cookie that is set.
    Cookie,
    /// In the address of an asset.
    BuildId,
    /// A date, a time of day, or seconds since 1970.
    Time,
    /// A UUID.
    Uuid,
    /// Letters and digits without a meaning.
    RandomId,
    /// A number.
    Number,
    /// Words.
    Text,
    /// Tags or lines that are there once.
    Structure,
    /// White space.
    Space,
    /// What is no text.
    Bytes,
}

impl NoiseKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nonce => "nonce",
            Self::CsrfToken => "csrf-token",
            Self::Cookie => "cookie",
            Self::BuildId => "build-id",
            Self::Time => "time",
            Self::Uuid => "uuid",
            Self::RandomId => "random-id",
            Self::Number => "number",
            Self::Text => "text",
            Self::Structure => "structure",
            Self::Space => "white-space",
            Self::Bytes => "bytes",
        }
    }

    /// Whether what it is is nobody's to read.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::Nonce | Self::CsrfToken | Self::Cookie)
    }
}

/// Where a piece stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Near<'a> {
    pub(super) attribute: Option<&'a str>,
    /// What the tag says that it is called.
    pub(super) name: Option<&'a str>,
}

/// Words, and each character between them.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match is_of_word(first) {
            true => rest.find(|char| !is_of_word(char)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind;
    }
    words
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | ':' | '+' | '~')
}

/// What both look like.
pub(super) fn kind_of((one, other): (&str, &str), near: &Near<'_>) -> NoiseKind {
    let name = near.name.map(str::to_ascii_lowercase);
    let is_both = |is_one: fn(&str) -> bool| is_one(one) && is_one(other);
    let is_address = matches!(near.attribute, Some("src" | "href" | "srcset" | "imagesrcset"));
    if near.attribute == Some("nonce") || is_both(|text| text.starts_with("nonce-")) {
        return NoiseKind::Nonce;
    }
    if name.is_some_and(|name| is_csrf_field(name.as_bytes())) {
        return NoiseKind::CsrfToken;
    }
    match () {
        () if is_both(is_uuid) => NoiseKind::Uuid,
        () if is_both(is_time) => NoiseKind::Time,
        () if is_both(is_random) && is_address => NoiseKind::BuildId,
        () if is_both(is_number) => NoiseKind::Number,
        () if is_both(is_random) => NoiseKind::RandomId,
        () => NoiseKind::Text,
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    lengths.eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_time(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits == text.len() {
        // Seconds or milliseconds, between 2001 and 2286.
        return matches!(digits, 10 | 13) && text.starts_with('1');
    }
    let parts = |by: char| text.split(by).count();
    let is_made_of = |char: char| char.is_ascii_digit() || "-:.+TZ".contains(char);
    let is_clock = parts(':') >= 2 || parts('-') == 3;
    digits >= 3
        && is_clock
        && text.starts_with(|char: char| char.is_ascii_digit())
        && text.chars().all(is_made_of)
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|char| char.is_ascii_digit() || matches!(char, '.' | '-'))
}

/// Long enough, with a digit or a capital in the middle of it, and nothing that words have.
fn is_random(text: &str) -> bool {
    let is_plain = text
        .chars()
        .all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.' | ':'));
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let capitals = text.bytes().skip(1).filter(u8::is_ascii_uppercase).count();
    text.len() >= 6 && is_plain && has_letter && (has_digit || capitals >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_apart_by_what_they_look_like() {
        let id = "0b9f1a6e-52f1-4f8d-9a5b-7b2b8a1a7c11";
        for (one, other, expected) in [
            ("nonce-a1", "nonce-b2", NoiseKind::Nonce),
            (id, &id.replace('1', "2"), NoiseKind::Uuid),
            ("10:00:01", "10:00:02", NoiseKind::Time),
            ("2026-11-23", "2026-11-24", NoiseKind::Time),
            ("1763884800", "1763884801", NoiseKind::Time),
            ("1763884800123", "1763884801456", NoiseKind::Time),
            ("41", "42", NoiseKind::Number),
            ("0.52", "0.07", NoiseKind::Number),
            ("a8f9e01c", "77c0ffee", NoiseKind::RandomId),
            ("hello", "world", NoiseKind::Text),
            ("41", "many", NoiseKind::Text),
            ("", "x", NoiseKind::Text),
        ] {
            assert_eq!(kind_of((one, other), &Near::default()), expected, "{one} {other}");
        }
    }

    #[test]
    fn words_and_what_is_between_them_are_all_of_a_text() {
        let text = "a=b;c-d é/ü  ";
        assert_eq!(words(text).concat(), text);
        assert_eq!(words(text).len(), 11);
    }
}
