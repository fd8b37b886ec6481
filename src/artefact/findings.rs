//! What can be wrong in a directory, and what may be done about each.

use std::path::PathBuf;

use super::listing::shown;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// In a word.
    pub kind: FindingKind,
    /// The file or folder, from the directory.
    pub path: String,
    /// In a sentence.
    pub detail: String,
    /// What was done about it.
    pub fixed: Option<String>,
}

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// A body is not what its sidecar seals: changed by hand, or damaged.
    Seal,
    /// A sidecar without its body.
    NoBody,
    /// A body that no sidecar names.
    NoSidecar,
    /// A variant whose key has no sidecar of its own, without which nobody finds it.
    NoBase,
    /// A sidecar or a folder that cannot be read, or is none.
    Unreadable,
    /// A sidecar that is another key's or another site's.
    Foreign,
    /// A commit that is not finished, or that never was.
    Pending,
    /// Two names that differ in case only: one of them is lost on some file systems.
    Case,
    /// A name that is not of the layout, or no regular file.
    Outside,
}

impl FindingKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::NoBody => "no-body",
            Self::NoSidecar => "no-sidecar",
            Self::NoBase => "no-base",
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::Pending => "pending",
            Self::Case => "case",
            Self::Outside => "outside",
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Renderings in their place.
    pub snapshots: u64,
    /// Bytes of bodies whose seal was compared.
    pub bytes: u64,
    /// What was found.
    pub findings: u64,
    /// And not put right.
    pub left: u64,
}

/// What may be done about a finding without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Moved to a folder of its own.
    SetAside,
    /// The body, and its sidecar with it.
    SetPairAside,
    /// Whose it is nobody knows.
    Leave,
}

/// A finding, and what may be done about it.
pub(super) struct Fault {
    pub(super) kind: FindingKind,
    pub(super) path: PathBuf,
    pub(super) detail: String,
    pub(super) remedy: Remedy,
    /// The sidecar that it is about.
    pub(super) sidecar: Option<PathBuf>,
}

impl Fault {
    pub(super) fn new(kind: FindingKind, path: PathBuf, remedy: Remedy, detail: impl Into<String>) -> Self {
        Self {
            kind,
            path,
            detail: detail.into(),
            remedy,
            sidecar: None,
        }
    }

    pub(super) fn into_finding(self, fixed: Option<String>) -> Finding {
        Finding {
            kind: self.kind,
            path: shown(&self.path),
            detail: self.detail,
            fixed,
        }
    }
}
