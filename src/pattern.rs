//! The `*` wildcard with an optional method prefix, used by path filters and by invalidation.
//!
//! `*` matches any run of characters, `/` included; nothing else is special. The middle pieces are
//! found leftmost-first, which is complete for this language: a later choice can only leave less room.

use std::fmt;

use memchr::memmem;

#[cfg(any(test, feature = "bench", feature = "fuzzing"))]
use crate::tags::Untagged;
use crate::tags::{Tag, TagError, Tagged};

/// What a pattern can be matched against.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Line 1 of the key text.
    pub(crate) line: &'a str,
    /// The snapshot's own `METHOD:/path?query`, where the key is a custom one.
    pub(crate) own: Option<&'a str>,
    /// What the backend named with it.
    pub(crate) tags: &'a dyn Tagged,
}

impl<'a> Subject<'a> {
    /// A line alone.
    #[cfg(any(test, feature = "bench", feature = "fuzzing"))]
    pub(crate) fn line(line: &'a str) -> Self {
        Self {
            line,
            own: None,
            tags: &Untagged,
        }
    }

    /// The paths in it, which [`KeyPattern::Path`] sees.
    pub(crate) fn paths(self) -> impl Iterator<Item = &'a str> {
        [Some(self.line), self.own]
            .into_iter()
            .flatten()
            .filter_map(path_of)
    }
}

/// A compiled pattern of one piece of text.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    first: Box<str>,
    /// What comes behind the first star; without one, the first piece is all.
    rest: Option<Rest>,
}

#[derive(Debug, Clone)]
struct Rest {
    /// Made ready once, for the many keys that one pattern is held against.
    middle: Vec<memmem::Finder<'static>>,
    last: Box<str>,
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first && self.rest == other.rest
    }
}

impl Eq for Glob {}

impl PartialEq for Rest {
    fn eq(&self, other: &Self) -> bool {
        let needles = self.middle.iter().map(memmem::Finder::needle);
        self.last == other.last && needles.eq(other.middle.iter().map(memmem::Finder::needle))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        let Some(rest) = &self.rest else {
            return Ok(());
        };
        for piece in &rest.middle {
            write!(f, "*{}", String::from_utf8_lossy(piece.needle()))?;
        }
        write!(f, "*{}", rest.last)
    }
}

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        let Some((first, rest)) = text.split_once('*') else {
            return Self::itself(text);
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|piece| !piece.is_empty());
        Self {
            first: first.into(),
            rest: Some(Rest {
                middle: middle
                    .map(|piece| memmem::Finder::new(piece).into_owned())
                    .collect(),
                last: last.into(),
            }),
        }
    }

    /// This very text: a star in it is only a star.
    fn itself(text: &str) -> Self {
        Self {
            first: text.into(),
            rest: None,
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let Some(rest) = &self.rest else {
            return *text == *self.first;
        };
        let Some(text) = text.strip_prefix(&*self.first) else {
            return false;
        };
        let mut left = text.as_bytes();
        for piece in &rest.middle {
            let Some(at) = piece.find(left) else {
                return false;
            };
            left = left.get(at + piece.needle().len()..).unwrap_or_default();
        }
        left.ends_with(rest.last.as_bytes())
    }
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("the pattern is empty; write \"*\" for everything")]
    Empty,
    #[error("the pattern is longer than {MAX_LENGTH} characters")]
    TooLong,
    #[error("the pattern holds a control character")]
    Control,
    #[error("after the method `{0}` a path must follow that starts with `/` or `*`")]
    NoPath(String),
    #[error("a path pattern starts with `/` or `*`, or with a method and one of these: `GET {0}`?")]
    NotAPath(String),
    #[error("a path pattern sees no query, so with a `?` it would match nothing")]
    Query,
    #[error(transparent)]
    Tag(#[from] TagError),
}

const MAX_LENGTH: usize = 8192;
/// What a pattern of a tag begins with.
pub(crate) const TAG: &str = "tag:";

/// A path filter (`include_paths`, `exclude_paths`): sees method and path, never the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    method: Option<Glob>,
    path: Glob,
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.path),
            None => write!(f, "{}", self.path),
        }
    }
}

impl PathPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        check(text)?;
        let (method, path) = match split_method(text) {
            Some((method, path)) => (Some(Glob::new(method)), path),
            None => (None, text),
        };
        if !path.starts_with(['/', '*']) {
            return Err(match method {
                Some(_) => PatternError::NoPath(text.into()),
                None => PatternError::NotAPath(format!("/{text}")),
            });
        }
        if path.contains('?') {
            return Err(PatternError::Query);
        }
        Ok(Self {
            method,
            path: Glob::new(path),
        })
    }

    /// A pattern without a method covers GET and HEAD; one with GET covers HEAD too, whose answer is
    /// the GET's without its body.
    pub(crate) fn is_match(&self, method: &str, path: &str) -> bool {
        let method = if method == "HEAD" { "GET" } else { method };
        let method_fits = match &self.method {
            Some(glob) => glob.is_match(method) || (method == "GET" && glob.is_match("HEAD")),
            None => method == "GET",
        };
        method_fits && self.path.is_match(path)
    }
}

/// An invalidation pattern: sees keys. `/a` (no `?`) is the path of any method with every query;
/// `GET:/a` and `GET /a` are that key; `tag:news` is every page that the backend tagged so; a text that is nothing
/// of these is matched against line 1 as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPattern {
    /// Everything.
    All,
    /// The whole line.
    Line(LinePattern),
    /// The path of any method, with every query.
    Path(PathGlob),
    /// Path and query of any method.
    Target(PathGlob),
    /// What is tagged so, whatever its key.
    Tag(TagPattern),
}

/// See [`KeyPattern::Line`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinePattern {
    text: Box<str>,
    glob: Glob,
}

/// See [`KeyPattern::Tag`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagPattern {
    text: Box<str>,
    tag: Tag,
}

/// See [`KeyPattern::Path`] and [`KeyPattern::Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathGlob {
    text: Box<str>,
    glob: Glob,
}

impl KeyPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        check(text)?;
        if text.bytes().all(|byte| byte == b'*') {
            return Ok(Self::All);
        }
        if let Some(tag) = text.strip_prefix(TAG) {
            return Ok(Self::Tag(TagPattern {
                tag: Tag::parse(tag)?,
                text: text.into(),
            }));
        }
        if text.starts_with('/') {
            let glob = PathGlob {
                text: text.into(),
                glob: Glob::new(text),
            };
            return Ok(match text.contains('?') {
                true => Self::Target(glob),
                false => Self::Path(glob),
            });
        }
        let line = match split_method(text) {
            Some((method, path)) => format!("{method}:{path}"),
            None => text.to_owned(),
        };
        Ok(Self::Line(LinePattern {
            text: text.into(),
            glob: Glob::new(&line),
        }))
    }

    /// This very path, with every query: a star in it is only a star.
    pub(crate) fn path_itself(path: &str) -> Self {
        Self::Path(PathGlob {
            text: path.into(),
            glob: Glob::itself(path),
        })
    }

    /// This very line.
    pub(crate) fn line_itself(line: &str) -> Self {
        Self::Line(LinePattern {
            text: line.into(),
            glob: Glob::itself(line),
        })
    }

    pub(crate) fn is_match(&self, subject: Subject<'_>) -> bool {
        let one = |line: &str| match self {
            Self::All => true,
            Self::Line(pattern) => pattern.glob.is_match(line),
            Self::Path(pattern) => path_of(line).is_some_and(|path| pattern.glob.is_match(path)),
            Self::Target(pattern) => target_of(line).is_some_and(|target| pattern.glob.is_match(target)),
            Self::Tag(_) => false,
        };
        if let Self::Tag(pattern) = self {
            return subject.tags.has(&pattern.tag);
        }
        one(subject.line) || subject.own.is_some_and(one)
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::Line(pattern) => &pattern.text,
            Self::Path(pattern) | Self::Target(pattern) => &pattern.text,
            Self::Tag(pattern) => &pattern.text,
        }
    }

    /// Whether [`as_str`](Self::as_str), parsed, is this pattern again: not if it means a path itself
    /// whose stars are only stars, or that is longer than a pattern may be.
    pub(crate) fn is_as_written(&self) -> bool {
        Self::parse(self.as_str()).is_ok_and(|parsed| parsed == *self)
    }
}

/// Path and query in `METHOD:/path?query`; nothing for a custom key of another form.
fn target_of(line: &str) -> Option<&str> {
    let (method, target) = line.split_once(':')?;
    (is_method(method) && target.starts_with('/')).then_some(target)
}

fn path_of(line: &str) -> Option<&str> {
    let target = target_of(line)?;
    Some(target.split_once('?').map_or(target, |(path, _)| path))
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// `GET /a`, `GET:/a`, `GET *`: the method and the rest.
fn split_method(text: &str) -> Option<(&str, &str)> {
    let at = text.find([' ', ':'])?;
    let (method, rest) = text.split_at(at);
    let rest = rest.get(1..)?.trim_start_matches(' ');
    (is_method(method) && rest.starts_with(['/', '*'])).then_some((method, rest))
}

fn check(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(PatternError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PatternError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pattern: &str, method: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().is_match(method, path)
    }

    fn key(pattern: &str, line: &str) -> bool {
        KeyPattern::parse(pattern).unwrap().is_match(Subject::line(line))
    }

    #[test]
    fn filters_of_the_documentation() {
        for (pattern, method, path, expected) in [
            ("/api/*", "GET", "/api/users", true),
            ("/api/*", "HEAD", "/api/users", true),
            ("/api/*", "POST", "/api/users", false),
            ("/api/*", "GET", "/api", false),
            ("/*/users", "GET", "/v1/users", true),
            ("/*/users", "GET", "/a/b/users", true),
            ("/*/users", "GET", "/users", false),
            ("/public/*/assets", "GET", "/public/x/assets", true),
            ("GET *", "GET", "/anything", true),
            ("GET *", "POST", "/anything", false),
            ("POST *", "POST", "/x", true),
            ("GET /admin/stats", "GET", "/admin/stats", true),
            ("GET /admin/stats", "GET", "/admin/stats2", false),
            ("/api/*/private", "GET", "/api/x/private", true),
            ("/*/private/*", "GET", "/a/private/b", true),
            ("POST /*/users", "POST", "/v1/users", true),
            ("PUT /users/*", "PUT", "/users/7", true),
            ("*", "GET", "/", true),
            ("*", "DELETE", "/", false),
        ] {
            assert_eq!(
                filter(pattern, method, path),
                expected,
                "{pattern} on {method} {path}"
            );
        }
    }

    #[test]
    fn invalidation_patterns_of_the_documentation() {
        for (pattern, line, expected) in [
            ("GET:/api/*", "GET:/api/users", true),
            ("GET:/api/*", "POST:/api/users", false),
            ("*/users/*", "GET:/v1/users/7", true),
            ("POST:*", "POST:/x", true),
            ("POST:*", "GET:/x", false),
            ("GET:/api/users", "GET:/api/users", true),
            ("GET:/api/users", "GET:/api/users?id=1", false),
            ("GET /api/users", "GET:/api/users", true),
            ("/api/users", "GET:/api/users?id=1", true),
            ("/api/users", "POST:/api/users", true),
            ("/ab", "GET:/a", false),
            ("/a", "GET:/ab", false),
            ("/a", "GET:/a/b", false),
            ("/a?x=1", "GET:/a?x=1", true),
            ("/a?*", "GET:/a", false),
            ("/a?x=1", "GET:/b:/a?x=1", false),
            ("/a?x=1", "GET:/b?y=:/a?x=1", false),
            ("/api/*", "GET:/api/users?x=/y", true),
            ("*/api/*/users/*", "GET:/v/api/2/users/3", true),
            ("*", "anything", true),
            ("page-*", "page-7", true),
            ("*a*a", "a", false),
            ("*a*a", "aa", true),
        ] {
            assert_eq!(key(pattern, line), expected, "{pattern} on {line}");
        }
    }

    #[test]
    fn a_custom_key_is_also_found_by_its_url() {
        let pattern = KeyPattern::parse("/blog/*").unwrap();
        let subject = Subject {
            own: Some("GET:/blog/seven"),
            ..Subject::line("post-7")
        };
        assert!(pattern.is_match(subject));
    }

    #[test]
    fn a_tag_is_no_text_of_a_key() {
        let tags = crate::tags::Tags::of(["news"]);
        let tagged = Subject {
            tags: &tags,
            ..Subject::line("GET:/a")
        };
        for (pattern, is_tagged, expected) in [
            ("tag:news", true, true),
            ("tag:news", false, false),
            ("tag:new", true, false),
            ("/a", true, true),
        ] {
            let subject = match is_tagged {
                true => tagged,
                false => Subject::line("GET:/a"),
            };
            let pattern = KeyPattern::parse(pattern).unwrap();
            assert_eq!(pattern.is_match(subject), expected, "{}", pattern.as_str());
            assert!(pattern.is_as_written());
        }
        assert!(!key("tag:news", "tag:news"));
        assert!(key("*tag:news", "tag:news"), "a custom key is still found");
    }

    #[test]
    fn what_is_no_pattern_says_so() {
        for text in ["", "a\nb", "api/*", "GET api", "/a?b=1", "GET /a?*"] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "tag:", "tag:a*", "tag: a"] {
            assert!(KeyPattern::parse(text).is_err(), "{text:?}");
        }
    }
}
