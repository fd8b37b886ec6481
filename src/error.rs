//! The public error: what was attempted and on what, with the cause as `source`.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

/// What a caller can tell apart without reading the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting has a value that cannot work.
    Config,
    /// The snapshot directory cannot be used: not writable, not a directory, of another format.
    Directory,
    /// The snapshot directory belongs to another site or another backend.
    Foreign,
    /// An address cannot be listened on.
    Bind,
    /// Another process writes the snapshot directory, and what was asked for takes its lock.
    Locked,
    /// What was asked for is not stored.
    Absent,
    /// `frozen` is set, and what was asked for takes a backend, or writes.
    Frozen,
    /// The snapshot directory has not been read through since the start, so what is stored is not known yet.
    NotReady,
    /// The server that writes the snapshot directory did not do what it was asked.
    Control,
}

/// Why a proxy, a control server or a listener could not be made.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    hint: Option<String>,
    setting: Option<&'static str>,
    /// Which `[[rule]]` it stands in, counted from 0.
    rule: Option<usize>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            hint: None,
            setting: None,
            rule: None,
            source: None,
        }
    }

    /// A setting that cannot work: which one, and why.
    pub(crate) fn config(setting: &'static str, context: impl Into<String>) -> Self {
        Self {
            setting: Some(setting),
            ..Self::new(ErrorKind::Config, context)
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn in_rule(mut self, rule: usize) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Which of the rules for paths is at fault, counted from 0.
    pub fn rule(&self) -> Option<usize> {
        self.rule
    }

    pub(crate) fn directory(attempt: &str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::new(
            ErrorKind::Directory,
            format!("cannot {attempt} {}", path.into().display()),
        )
        .with_source(source)
    }

    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, where there is one thing to do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The configuration key at fault, as it is written in the file.
    pub fn setting(&self) -> Option<&'static str> {
        self.setting
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error and its causes in one line, for the log.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
