//! From captures to patterns. Pure.

use std::collections::BTreeSet;

use super::rule::{Captures, Piece, RuleError, Source, pieces};
use crate::pattern::{KeyPattern, TAG};

/// Why a file's name cannot stand in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unusable;

/// One of a rule's `invalidate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pieces: Vec<Piece>,
}

impl Target {
    pub(super) fn parse(text: &str, sources: &[Source]) -> Result<Self, RuleError> {
        let target = Self {
            pieces: pieces(text, text)?,
        };
        for piece in &target.pieces {
            let Piece::Capture(name) = piece else { continue };
            if let Some(source) = sources
                .iter()
                .find(|source| source.captured().all(|known| known != &**name))
            {
                return Err(RuleError::Unknown {
                    target: text.into(),
                    name: name.to_string(),
                    source_text: source.text.clone(),
                });
            }
        }
        KeyPattern::parse(&target.fill(|_| "x".into())).map_err(|error| RuleError::Pattern {
            target: text.into(),
            why: error.to_string(),
        })?;
        Ok(target)
    }

    /// Patterns for what was captured: as it is, and in the two ways in which URLs are written (by
    /// browsers, by `encodeURIComponent`), since keys are URLs as they were sent. What was not captured
    /// becomes `*`.
    pub(super) fn patterns(&self, captures: &Captures) -> Result<BTreeSet<String>, Unusable> {
        let used = self.captures().filter_map(|name| captures.get(name));
        let mut plain = true;
        for text in used {
            if text
                .chars()
                .any(|c| c == '*' || c.is_control() || c == char::REPLACEMENT_CHARACTER)
            {
                return Err(Unusable);
            }
            // With one of these it would be another pattern.
            plain &= !text.contains(['?', '#']);
        }
        if self.is_of_tag() {
            // A tag is matched whole: where it is not known which, it may be any.
            let is_known = self.captures().all(|name| captures.contains_key(name));
            let tag = || self.fill(|name| captures.get(name).cloned().unwrap_or_default());
            return Ok(BTreeSet::from([if is_known { tag() } else { "*".to_owned() }]));
        }
        let fill = |encode: fn(&str) -> String| {
            self.fill(|name| captures.get(name).map_or_else(|| "*".into(), |text| encode(text)))
        };
        let mut patterns = BTreeSet::from([fill(encode_path), fill(encode_component)]);
        if plain {
            patterns.insert(fill(str::to_owned));
        }
        Ok(patterns)
    }

    fn captures(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(&**name),
            Piece::Text(_) => None,
        })
    }

    fn is_of_tag(&self) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with(TAG))
    }

    fn fill(&self, text_of: impl Fn(&str) -> String) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Capture(name) => text_of(name),
        });
        pieces.collect()
    }
}

/// As a browser writes a path, `%` included, which a link has to encode itself.
fn encode_path(text: &str) -> String {
    encode(text, |byte| {
        byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'}'
            )
    })
}

/// As `encodeURIComponent` writes it.
fn encode_component(text: &str) -> String {
    encode(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
    })
}

fn encode(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::rule::{captures, source};
    use super::*;

    #[test]
    fn patterns_hold_what_was_captured() {
        let sources = [source("c/{slug}.md")];
        for (target, slug, expected) in [
            ("/blog/{slug}", "hello", &["/blog/hello"][..]),
            ("/blog/{slug}", "a b", &["/blog/a b", "/blog/a%20b"]),
            ("/blog/{slug}", "é", &["/blog/%C3%A9", "/blog/é"]),
            ("/blog/{slug}", "a&b", &["/blog/a%26b", "/blog/a&b"]),
            ("/blog/{slug}", "100%", &["/blog/100%", "/blog/100%25"]),
            ("/blog/{slug}", "what?", &["/blog/what%3F"]),
            ("GET:/{slug}/{slug}", "x", &["GET:/x/x"]),
            ("/blog/*", "a*b", &["/blog/*"]),
            ("tag:post-{slug}", "what? é", &["tag:post-what? é"]),
            ("tag:news", "x", &["tag:news"]),
        ] {
            let target = Target::parse(target, &sources).unwrap();
            let patterns = target.patterns(&captures(&[("slug", slug)])).unwrap();
            assert_eq!(patterns.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        }
        let target = Target::parse("/blog/{slug}", &sources).unwrap();
        for slug in ["a*b", "a\nb", "a\u{fffd}"] {
            assert_eq!(target.patterns(&captures(&[("slug", slug)])), Err(Unusable));
        }
        let unknown = target.patterns(&Captures::new()).unwrap();
        assert_eq!(unknown, BTreeSet::from(["/blog/*".to_owned()]));
        let target = Target::parse("tag:post-{slug}", &sources).unwrap();
        let unknown = target.patterns(&Captures::new()).unwrap();
        assert_eq!(unknown, BTreeSet::from(["*".to_owned()]), "any of them");
    }

    #[test]
    fn what_is_no_target_says_why() {
        let sources = [source("a/{slug}.md"), source("b/*.md")];
        for (target, expected) in [
            ("/blog/{slg}", "which `a/{slug}.md` does not capture"),
            ("/blog/{slug}", "which `b/*.md` does not capture"),
            ("", "is not a pattern"),
            ("/a\n", "is not a pattern"),
            ("/{", "enclose a name"),
            ("tag:post-*", "matched whole"),
        ] {
            let error = Target::parse(target, &sources).unwrap_err().to_string();
            assert!(error.contains(expected), "{target}: {error}");
        }
    }
}
