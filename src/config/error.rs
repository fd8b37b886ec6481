//! [`ConfigError`]: what is wrong with a configuration, where, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that cannot be used: one message, the place in the file, and a remedy.
///
/// `Display` gives `file:line:column: message`; the parts are there for a finer rendering.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    label: Option<String>,
    hint: Option<String>,
    place: Option<Box<Place>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: None,
            hint: None,
            place: None,
            source: None,
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<Option<String>>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }

    pub(crate) fn with_label(self, label: impl Into<String>) -> Self {
        Self {
            label: Some(label.into()),
            ..self
        }
    }

    pub(crate) fn at(self, place: impl Into<Option<Place>>) -> Self {
        Self {
            place: place.into().map(Box::new),
            ..self
        }
    }

    pub(crate) fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write beside the place, where that adds something.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Where it is written, if it is written in a file.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: SourceFile,
    span: Range<usize>,
}

impl Place {
    /// The file, as it was given.
    pub fn file(&self) -> &Path {
        &self.file.path
    }

    /// The file's text, in which secrets are replaced by as many asterisks.
    pub fn text(&self) -> &str {
        &self.file.text
    }

    /// The bytes of [`text`](Self::text) that are meant.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        1 + self.before().matches('\n').count()
    }

    /// The character in its line, counted from 1.
    pub fn column(&self) -> usize {
        let line = self.before().rsplit('\n').next().unwrap_or("");
        1 + line.chars().count()
    }

    fn before(&self) -> &str {
        self.file.text.get(..self.span.start).unwrap_or("")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.file.path.display(),
            self.line(),
            self.column()
        )
    }
}

/// A configuration file's path, and its text without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    path: PathBuf,
    text: Arc<str>,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        Self {
            path: path.into(),
            text: masked(text).into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let end = self.text.len();
        Place {
            span: span.start.min(end)..span.end.min(end),
            file: self.clone(),
        }
    }
}

/// The settings whose values are not shown.
const SECRETS: [&str; 2] = ["control_auth", "debug_token"];

/// The text with every byte of a secret as an asterisk, so that offsets stay and no message shows it.
/// Works on lines, because a file that is no TOML has no structure to ask.
fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let behind = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            let (_, value) = rest.split_once('=').filter(|_| !rest.starts_with("_file"))?;
            Some(value)
        };
        let value = SECRETS
            .into_iter()
            .filter_map(behind)
            .max_by_key(|value| value.len());
        let value = value.unwrap_or("");
        let shown = line.len() - value.len();
        masked.push_str(line.get(..shown).unwrap_or(""));
        masked.extend(value.bytes().map(|byte| match byte {
            b'\n' | b'\r' | b' ' | b'\t' => char::from(byte),
            _ => '*',
        }));
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_and_offsets_stay() {
        for (text, expected) in [
            (
                "a = 1\ncontrol_auth = \"ü\"\r\nb = 2",
                "a = 1\ncontrol_auth = ****\r\nb = 2",
            ),
            ("server.control_auth=x", "server.control_auth=*"),
            ("\"control_auth\" = 7", "\"control_auth\" = *"),
            ("debug_token = 'x'", "debug_token = ***"),
            ("control_auth_file = \"a\"", "control_auth_file = \"a\""),
            ("# control_auth is a token", "# control_auth is a token"),
        ] {
            assert_eq!(masked(text), expected);
            assert_eq!(masked(text).len(), text.len());
        }
        for key in crate::config::keys().iter().filter(|key| key.is_secret()) {
            let line = format!("{} = x", key.name());
            assert!(masked(&line).ends_with("= *"), "{line}");
        }
    }

    #[test]
    fn a_place_is_said_as_editors_read_it() {
        let file = SourceFile::new("config.toml", "a\nbé = 1\n");
        assert_eq!(file.place(6..7).to_string(), "config.toml:2:4");
        assert_eq!(file.place(99..120).to_string(), "config.toml:3:1");
        let error = ConfigError::new("no good").at(file.place(0..1));
        assert_eq!(error.to_string(), "config.toml:1:1: no good");
    }
}
