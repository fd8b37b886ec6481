//! From the path of a file to the patterns that it invalidates. Pure.
//!
//! Wildcards match leftmost-first: `{a}-{b}.md` takes `x-y-z.md` for `x` and `y-z`. Since no two of
//! them touch, that finds a match whenever there is one, without ever going back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Name and text of what was captured.
pub(super) type Captures = BTreeMap<Box<str>, String>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RuleError {
    #[error("{0} is empty: it names nothing")]
    Empty(&'static str),
    #[error("`{0}` names no file")]
    NoFile(String),
    #[error("in `{0}`, `**` has to stand alone between two slashes")]
    Depth(String),
    #[error("in `{0}`, `..` comes after a wildcard")]
    Parent(String),
    #[error("in `{0}`, `{{` and `}}` have to enclose a name of letters, digits and `_`")]
    Brace(String),
    #[error("in `{0}`, two wildcards touch: what each of them matches is not defined")]
    Touching(String),
    #[error("in `{text}`, `{{{name}}}` occurs twice")]
    Twice { text: String, name: String },
    #[error("`{target}` uses `{{{name}}}`, which `{source_text}` does not capture")]
    Unknown {
        target: String,
        name: String,
        source_text: String,
    },
    #[error("`{target}` is not a pattern: {why}")]
    Pattern { target: String, why: String },
}

/// One of a rule's `paths`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) text: String,
    /// The directory before the first wildcard.
    pub(super) root: PathBuf,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of directories, none included.
    Depth,
    Name(Name),
}

/// What one component of a path has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    first: String,
    rest: Vec<(Wild, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wild {
    /// `*`: any text, none included.
    Any,
    /// `{name}`: some text.
    Capture(Box<str>),
}

impl Source {
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, RuleError> {
        let mut segments = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(|part| (part, Segment::parse(part, text)))
            .peekable();
        let mut root = match text.starts_with('/') {
            true => PathBuf::from("/"),
            false => base.to_owned(),
        };
        let mut rest = Vec::new();
        while let Some((part, segment)) = segments.next() {
            let segment = segment?;
            let is_last = segments.peek().is_none();
            if rest.is_empty() && !is_last && segment.is_fixed() {
                root.push(part);
            } else if part == ".." {
                return Err(RuleError::Parent(text.into()));
            } else if segment != Segment::Depth || rest.last() != Some(&Segment::Depth) {
                rest.push(segment);
            }
        }
        if rest.is_empty() || text.ends_with('/') {
            return Err(RuleError::NoFile(text.into()));
        }
        if rest.last() == Some(&Segment::Depth) {
            rest.push(Segment::Name(Name::anything()));
        }
        let source = Self {
            text: text.into(),
            root,
            segments: rest,
        };
        let mut names = BTreeSet::new();
        for name in source.captured() {
            if !names.insert(name) {
                return Err(RuleError::Twice {
                    text: text.into(),
                    name: name.into(),
                });
            }
        }
        Ok(source)
    }

    /// The file that it names, if it has no wildcard.
    pub(super) fn fixed(&self) -> Option<PathBuf> {
        match self.segments.as_slice() {
            [Segment::Name(name)] if name.rest.is_empty() => Some(self.root.join(&name.first)),
            _ => None,
        }
    }

    pub(super) fn captured(&self) -> impl Iterator<Item = &str> {
        let names = self.segments.iter().filter_map(|segment| match segment {
            Segment::Depth => None,
            Segment::Name(name) => Some(name),
        });
        names
            .flat_map(|name| &name.rest)
            .filter_map(|(wild, _)| match wild {
                Wild::Any => None,
                Wild::Capture(name) => Some(&**name),
            })
    }

    /// What a file below the root is matched with.
    pub(super) fn matches(&self, path: &Path) -> Option<Captures> {
        let end = self.segments.len();
        let found = self.walk(path)?.into_iter().find(|(at, _)| *at == end);
        found.map(|(_, captures)| captures)
    }

    /// Whether something below this directory can be matched, and what is captured by then.
    pub(super) fn matches_below(&self, dir: &Path) -> Option<Captures> {
        let end = self.segments.len();
        let found = self.walk(dir)?.into_iter().find(|(at, _)| *at < end);
        found.map(|(_, captures)| captures)
    }

    /// The segments that may come next once the path is behind us, all of them at the same time: a
    /// `**` is over and goes on.
    fn walk(&self, path: &Path) -> Option<Vec<(usize, Captures)>> {
        let mut states = Vec::new();
        self.enter(0, Captures::new(), &mut states);
        for component in path.strip_prefix(&self.root).ok()?.components() {
            let Component::Normal(component) = component else {
                return None;
            };
            let component = component.to_string_lossy();
            let mut next = Vec::new();
            for (at, captures) in states {
                match self.segments.get(at) {
                    Some(Segment::Depth) if !component.starts_with('.') => {
                        self.enter(at, captures, &mut next);
                    }
                    Some(Segment::Name(name)) => {
                        if let Some(captures) = name.matches(&component, captures) {
                            self.enter(at + 1, captures, &mut next);
                        }
                    }
                    _ => {}
                }
            }
            states = next;
        }
        Some(states)
    }

    fn enter(&self, at: usize, captures: Captures, states: &mut Vec<(usize, Captures)>) {
        if states.iter().any(|(known, _)| *known == at) {
            return;
        }
        if self.segments.get(at) == Some(&Segment::Depth) {
            self.enter(at + 1, captures.clone(), states);
        }
        states.push((at, captures));
    }
}

impl Segment {
    fn parse(part: &str, whole: &str) -> Result<Self, RuleError> {
        match part {
            "**" => Ok(Self::Depth),
            part if part.contains("**") => Err(RuleError::Depth(whole.into())),
            part => Name::parse(part, whole).map(Self::Name),
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self, Self::Name(name) if name.rest.is_empty())
    }
}

impl Name {
    fn anything() -> Self {
        Self {
            first: String::new(),
            rest: vec![(Wild::Any, String::new())],
        }
    }

    fn parse(part: &str, whole: &str) -> Result<Self, RuleError> {
        let mut name = Self {
            first: String::new(),
            rest: Vec::new(),
        };
        for piece in pieces(part, whole)? {
            let wild = match piece {
                Piece::Capture(name) => Wild::Capture(name),
                Piece::Text(text) => {
                    let mut wilds = text.split('*').peekable();
                    while let Some(text) = wilds.next() {
                        name.push(text);
                        if wilds.peek().is_some() {
                            name.rest.push((Wild::Any, String::new()));
                        }
                    }
                    continue;
                }
            };
            name.rest.push((wild, String::new()));
        }
        let all_but_last = name.rest.len().saturating_sub(1);
        if name
            .rest
            .iter()
            .take(all_but_last)
            .any(|(_, text)| text.is_empty())
        {
            return Err(RuleError::Touching(whole.into()));
        }
        Ok(name)
    }

    fn push(&mut self, text: &str) {
        match self.rest.last_mut() {
            Some((_, last)) => last.push_str(text),
            None => self.first.push_str(text),
        }
    }

    /// As in a shell, a wildcard does not match the dot that hides a file: editors keep their own there.
    fn matches(&self, component: &str, mut captures: Captures) -> Option<Captures> {
        let mut left = component.strip_prefix(self.first.as_str())?;
        let Some(((last, suffix), middle)) = self.rest.split_last() else {
            return left.is_empty().then_some(captures);
        };
        if self.first.is_empty() && component.starts_with('.') {
            return None;
        }
        let mut take = |wild: &Wild, text: &str| match wild {
            Wild::Any => Some(()),
            Wild::Capture(_) if text.is_empty() => None,
            Wild::Capture(name) => {
                captures.insert(name.clone(), text.into());
                Some(())
            }
        };
        for (wild, text) in middle {
            // A capture is not empty, so what follows it begins after the first character.
            let from = match wild {
                Wild::Any => 0,
                Wild::Capture(_) => left.chars().next()?.len_utf8(),
            };
            let at = from + left.get(from..)?.find(text.as_str())?;
            take(wild, left.get(..at)?)?;
            left = left.get(at + text.len()..)?;
        }
        take(last, left.strip_suffix(suffix.as_str())?)?;
        Some(captures)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Capture(Box<str>),
}

/// Text and `{name}`s in turn.
pub(super) fn pieces(text: &str, whole: &str) -> Result<Vec<Piece>, RuleError> {
    let wrong = || RuleError::Brace(whole.into());
    let mut found = Vec::new();
    let mut left = text;
    while let Some(at) = left.find(['{', '}']) {
        let (before, brace) = left.split_at(at);
        let (name, after) = brace
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'))
            .ok_or_else(wrong)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(wrong());
        }
        if !before.is_empty() {
            found.push(Piece::Text(before.into()));
        }
        found.push(Piece::Capture(name.into()));
        left = after;
    }
    if !left.is_empty() {
        found.push(Piece::Text(left.into()));
    }
    Ok(found)
}

#[cfg(test)]
pub(super) fn source(text: &str) -> Source {
    Source::parse(text, Path::new("/base")).unwrap()
}

#[cfg(test)]
pub(super) fn captures(pairs: &[(&str, &str)]) -> Captures {
    pairs
        .iter()
        .map(|(name, text)| ((*name).into(), (*text).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_files() {
        for (pattern, file, expected) in [
            ("content/**/*.md", "content/a.md", true),
            ("content/**/*.md", "content/a/b/c.md", true),
            ("content/**/*.md", "content/a/b/c.mdx", false),
            ("content/**/*.md", "content/.git/c.md", false),
            ("content/**/*.md", "content/a/.#c.md", false),
            ("content/**", "content/a", true),
            ("content/**", "content/a/b", true),
            ("content/**/**", "content/a/b", true),
            ("content/*", "content/a/b", false),
            ("content/*/b", "content/a/b", true),
            ("content/**/posts/*/x", "content/posts/posts/a/x", true),
            ("content/**/posts/*/x", "content/a/posts/x", false),
            ("content/a*c*.md", "content/abcd.md", true),
            ("content/a*c*.md", "content/ac.md", true),
            ("content/a*c*.md", "content/abd.md", false),
            ("content/aba*aba", "content/aba", false),
            ("content/[slug].tsx", "content/[slug].tsx", true),
            ("content/site.json", "content/site.json", true),
            ("content/.env", "content/.env", true),
            ("*.md", "a.md", true),
            ("*.md", "x/a.md", false),
            ("./content//*.md", "content/a.md", true),
            ("../other/*.md", "../other/a.md", true),
            ("/abs/*.md", "/abs/a.md", true),
            ("content/*.md", "elsewhere/a.md", false),
            ("content/{slug}.md", "content/.md", false),
        ] {
            let path = Path::new("/base").join(file);
            assert_eq!(
                source(pattern).matches(&path).is_some(),
                expected,
                "{pattern} on {file}"
            );
        }
    }

    #[test]
    fn captures_are_taken() {
        for (pattern, file, expected) in [
            ("c/{slug}.md", "c/hello.md", &[("slug", "hello")][..]),
            ("c/{slug}.md", "c/a.md.md", &[("slug", "a.md")]),
            (
                "c/{lang}/**/{slug}.md",
                "c/de/x/y/a.md",
                &[("lang", "de"), ("slug", "a")],
            ),
            (
                "c/{date}-{slug}.md",
                "c/1-2-a.md",
                &[("date", "1"), ("slug", "2-a")],
            ),
            ("c/{a}--{b}", "c/----x", &[("a", "-"), ("b", "-x")]),
            ("c/**/{dir}/index.md", "c/a/b/index.md", &[("dir", "b")]),
        ] {
            let path = Path::new("/base").join(file);
            assert_eq!(
                source(pattern).matches(&path),
                Some(captures(expected)),
                "{pattern} on {file}"
            );
        }
    }

    #[test]
    fn directories_that_lead_to_files_are_told_from_those_that_do_not() {
        for (pattern, dir, expected) in [
            ("c/{lang}/{slug}.md", "c", Some(&[][..])),
            ("c/{lang}/{slug}.md", "c/de", Some(&[("lang", "de")])),
            ("c/{lang}/{slug}.md", "c/de/x", None),
            ("c/**/{slug}.md", "c/x/y", Some(&[])),
            ("c/**/{slug}.md", "c/.git", None),
            ("c/*.md", "c/x", None),
            ("c/*.md", "d", None),
        ] {
            let dir = Path::new("/base").join(dir);
            let expected = expected.map(captures);
            assert_eq!(
                source(pattern).matches_below(&dir),
                expected,
                "{pattern} on {}",
                dir.display()
            );
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (path, expected) in [
            ("", "names no file"),
            ("content/", "names no file"),
            ("content/a**/b", "stand alone"),
            ("content/*/../b", "comes after a wildcard"),
            ("content/{slug.md", "enclose a name"),
            ("content/slug}.md", "enclose a name"),
            ("content/{}.md", "enclose a name"),
            ("content/{a,b}.md", "enclose a name"),
            ("content/{a}{b}", "touch"),
            ("content/{a}*x", "touch"),
            ("content/{a}/{a}.md", "occurs twice"),
        ] {
            let error = Source::parse(path, Path::new("/base")).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
}
