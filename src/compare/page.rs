//! What became of a page between one rendering and another.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header;

use crate::artefact::{self, SideState, Stored};
use crate::head::StoredHead;
use crate::outcome::Reason;

use super::hunks::{DiffLine, Hunk, Side, changes, hunks};
use super::lines::{Kind, MOST_READ, lines};

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is the same.
    Same,
    /// It is another rendering.
    Changed,
    /// There was none.
    New,
    /// The backend says 404 or 410, or the new side has it not.
    Gone,
    /// It is rendered, and would not be stored any more.
    NotStored(Reason),
    /// No answer, a server error, or one that could not be compared.
    Failed(Reason),
    /// Left as it is, and why.
    Left(&'static str),
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Gone => "gone",
            Self::NotStored(_) => "not-stored",
            Self::Failed(_) => "failed",
            Self::Left(_) => "left",
        }
    }

    /// Why, where that has a reason.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::NotStored(reason) | Self::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether it is not as it was, or nobody knows.
    pub fn is_difference(self) -> bool {
        !matches!(self, Self::Same | Self::Left(_))
    }
}

/// Length and seal of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// Bytes.
    pub length: u64,
    /// blake3, in hex; nothing where the body is not there.
    pub seal: Option<String>,
}

/// What differs between two bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyDiff {
    /// Nothing.
    Same,
    /// These lines.
    Lines(Vec<Hunk>),
    /// Only white space that means nothing to a reader.
    Space(Extent, Extent),
    /// Bytes that are no text, or too many.
    Bytes(Extent, Extent),
}

/// A page, compared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageDiff {
    /// The page, as `show` takes it.
    pub page: String,
    /// The fields that select the rendering among others, with their values.
    pub variant: Vec<(String, String)>,
    /// The stored file, from the directory; nothing for a page that is not stored.
    pub file: Option<String>,
    /// What became of it.
    pub standing: Standing,
    /// The old status, and the new one.
    pub status: (Option<u16>, Option<u16>),
    /// What differs between the heads, as they are stored.
    pub head: Vec<DiffLine>,
    /// What differs between the bodies.
    pub body: BodyDiff,
    /// The stored body is not what was sealed: it was changed by hand, and this compares it as it is.
    pub is_edited: bool,
    /// What the rendering took.
    pub took: Duration,
}

impl PageDiff {
    pub(super) fn of(stored: &Stored, standing: Standing) -> Self {
        Self {
            page: stored.page.clone(),
            variant: stored.selecting.clone(),
            file: Some(stored.file.clone()),
            standing,
            status: (None, None),
            head: Vec::new(),
            body: BodyDiff::Same,
            is_edited: false,
            took: Duration::ZERO,
        }
    }

    /// Lines that went, and that came.
    pub fn lines(&self) -> (u64, u64) {
        let body = match &self.body {
            BodyDiff::Lines(hunks) => hunks.as_slice(),
            _ => &[],
        };
        let all = self.head.iter().chain(body.iter().flat_map(|hunk| &hunk.lines));
        all.fold((0, 0), |(minus, plus), line| match line.side {
            Side::Before => (minus + 1, plus),
            Side::After => (minus, plus + 1),
            Side::Both => (minus, plus),
        })
    }
}

/// How many pages became what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many, by the word for it.
    pub pages: BTreeMap<&'static str, u64>,
    /// Lines that went.
    pub removed: u64,
    /// Lines that came.
    pub added: u64,
    /// Folders that could not be read.
    pub unread: Vec<String>,
}

impl Summary {
    /// Counts one more page.
    pub fn count(&mut self, page: &PageDiff) {
        *self.pages.entry(page.standing.as_str()).or_default() += 1;
        let (removed, added) = page.lines();
        self.removed += removed;
        self.added += added;
    }

    /// How many became that.
    pub fn of(&self, word: &str) -> u64 {
        self.pages.get(word).copied().unwrap_or(0)
    }

    /// How many were looked at.
    pub fn total(&self) -> u64 {
        self.pages.values().sum()
    }

    /// How many are not as they were, or failed.
    pub fn differences(&self) -> u64 {
        self.total() - self.of("same") - self.of("left")
    }

    /// Whether all is as it was, as far as it could be read.
    pub fn is_clean(&self) -> bool {
        self.differences() == 0 && self.unread.is_empty()
    }
}

/// Whether validators count: those of a rendering that is otherwise the same are not stored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validators {
    Count,
    Apart,
}

/// Compares what is on both sides.
pub(super) fn compare(
    page: &mut PageDiff,
    (before, after): (&artefact::Side, &artefact::Side),
    validators: Validators,
) {
    page.status = (
        Some(before.head.status.as_u16()),
        Some(after.head.status.as_u16()),
    );
    page.is_edited |= before.state == SideState::Changed;
    page.head = changes(
        &head_lines(&before.head, validators),
        &head_lines(&after.head, validators),
    );
    page.body = bodies(before, after);
    page.standing = match page.head.is_empty() && page.body == BodyDiff::Same {
        true => Standing::Same,
        false => Standing::Changed,
    };
}

/// Tells of all that the one side has, where the other has nothing.
pub(super) fn alone(page: &mut PageDiff, side: &artefact::Side, which: Side) {
    let status = Some(side.head.status.as_u16());
    let (head, body) = (head_lines(&side.head, Validators::Count), text_of(side));
    page.status = match which {
        Side::Before => (status, None),
        _ => (None, status),
    };
    let nothing = Extent {
        length: 0,
        seal: None,
    };
    let (before, after) = match which {
        Side::Before => (head, Vec::new()),
        _ => (Vec::new(), head),
    };
    page.head = changes(&before, &after);
    page.body = match (body, which) {
        (Some(lines), Side::Before) => BodyDiff::Lines(hunks(&lines, &[])),
        (Some(lines), _) => BodyDiff::Lines(hunks(&[], &lines)),
        (None, Side::Before) => BodyDiff::Bytes(extent(side), nothing),
        (None, _) => BodyDiff::Bytes(nothing, extent(side)),
    };
}

fn head_lines(head: &StoredHead, validators: Validators) -> Vec<String> {
    let is_apart = |name: &header::HeaderName| {
        validators == Validators::Apart && (*name == header::ETAG || *name == header::LAST_MODIFIED)
    };
    let fields = head.headers.iter().filter(|(name, _)| !is_apart(name));
    let mut fields: Vec<_> = fields.collect();
    // Those of one name stay in their order.
    fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    let mut lines = vec![format!("HTTP {}", head.status.as_u16())];
    lines.extend(fields.into_iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {value}")
    }));
    let tags: Vec<_> = head.tags.iter().collect();
    if !tags.is_empty() {
        lines.push(format!("tags: {}", tags.join(", ")));
    }
    lines.extend(
        head.expires_after
            .map(|seconds| format!("expires: {seconds} seconds after the date")),
    );
    lines
}

fn bodies(before: &artefact::Side, after: &artefact::Side) -> BodyDiff {
    let is_there = before.state != SideState::Missing && after.state != SideState::Missing;
    if is_there && before.seal == after.seal {
        return BodyDiff::Same;
    }
    let (Some(old), Some(new)) = (text_of(before), text_of(after)) else {
        return BodyDiff::Bytes(extent(before), extent(after));
    };
    match hunks(&old, &new) {
        hunks if hunks.is_empty() && is_there => BodyDiff::Space(extent(before), extent(after)),
        hunks if hunks.is_empty() => BodyDiff::Bytes(extent(before), extent(after)),
        hunks => BodyDiff::Lines(hunks),
    }
}

/// Nothing where it is no text.
fn text_of(side: &artefact::Side) -> Option<Vec<String>> {
    if side.state == SideState::Missing {
        return None;
    }
    let body = side.body.as_ref().filter(|body| body.len() <= MOST_READ)?;
    match Kind::of(&side.head.headers, body) {
        Kind::Bytes if !body.is_empty() => None,
        kind => Some(lines(kind, body)),
    }
}

fn extent(side: &artefact::Side) -> Extent {
    Extent {
        length: side.length,
        seal: (side.state != SideState::Missing).then(|| side.seal.hex()),
    }
}
