//! What is said on stderr: errors with their causes and a hint, and what is served.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use phantom_frame::config::ConfigError;
use phantom_frame::{Error, ErrorKind};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();
const STRONG: Style = Style::new().bold();

/// It cannot be carried out as it was asked: a command line or a configuration that cannot be used, a directory that
/// another process writes.
const UNUSABLE: u8 = 2;

/// An address that is not to be had, and the setting that would help.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub(crate) struct CannotListen {
    pub(crate) address: SocketAddr,
    pub(crate) hint: String,
}

/// What was asked for cannot be done, and what would help.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Unusable {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// Prints what was asked for. Who has closed the pipe has read enough.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

/// What somebody else wrote, as a terminal may have it: what would be a command to it is shown as it is written.
pub(crate) fn plain(text: &str) -> String {
    let is_command = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match is_command(char) {
            true => plain.extend(char.escape_unicode()),
            false => plain.push(char),
        }
    }
    plain
}

/// Says what went wrong; the exit code tells a configuration from a failure.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<ConfigError>() {
        Some(config) => {
            anstream::eprintln!("{}", snippet(config));
            causes(config.source());
            hint(config.hint());
            UNUSABLE
        }
        None => {
            anstream::eprintln!("{ERROR}error{ERROR:#}: {error}");
            causes(error.source());
            let public = error.downcast_ref::<Error>();
            let listening = error.downcast_ref::<CannotListen>();
            let unusable = error.downcast_ref::<Unusable>();
            hint(
                public
                    .and_then(Error::hint)
                    .or(listening.map(|error| &*error.hint))
                    .or(unusable.map(|error| &*error.hint)),
            );
            match public.map(Error::kind) {
                Some(ErrorKind::Config | ErrorKind::Directory | ErrorKind::Foreign | ErrorKind::Locked) => {
                    UNUSABLE
                }
                _ if unusable.is_some() => UNUSABLE,
                _ => 1,
            }
        }
    };
    ExitCode::from(code)
}

/// Says what is probably a mistake.
pub(crate) fn warn(text: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    anstream::eprintln!("{style}warning{style:#}: {text}");
}

/// Says what is worth knowing.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{HINT}note{HINT:#}: {text}");
}

/// What is served, from where, to where.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    pub(crate) address: String,
    pub(crate) backend: &'a str,
    pub(crate) directory: String,
    /// Nothing while they are still being counted.
    pub(crate) snapshots: Option<u64>,
    pub(crate) control: String,
}

impl Banner<'_> {
    pub(crate) fn print(&self) {
        let count = match self.snapshots {
            Some(1) => "1 page".into(),
            Some(count) => format!("{count} pages"),
            None => "still counting".to_owned(),
        };
        let version = env!("CARGO_PKG_VERSION");
        anstream::eprintln!(
            "{STRONG}phantom-frame {version}{STRONG:#}  {HINT}{}{HINT:#} -> {}\n  \
             snapshots  {} ({count})\n  control    {}",
            self.address,
            self.backend,
            self.directory,
            self.control,
        );
    }

    pub(crate) fn log(&self) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = self.address,
            backend = self.backend,
            directory = self.directory,
            snapshots = self.snapshots,
            control = self.control,
            "serving"
        );
    }
}

fn snippet(error: &ConfigError) -> String {
    let Some(place) = error.place() else {
        return format!("{ERROR}error{ERROR:#}: {}", error.message());
    };
    let title = Level::ERROR.primary_title(error.message());
    let renderer = Renderer::styled().term_width(80);
    let path = place.file().to_string_lossy().into_owned();
    let source = Snippet::source(place.text())
        .path(path)
        .annotation(AnnotationKind::Primary.span(place.span()).label(error.label()));
    renderer.render(&[title.element(source)])
}

fn causes(mut cause: Option<&(dyn StdError + 'static)>) {
    while let Some(error) = cause {
        anstream::eprintln!("  {error}");
        cause = error.source();
    }
}

fn hint(hint: Option<&str>) {
    if let Some(hint) = hint {
        anstream::eprintln!("{HINT}hint{HINT:#}: {hint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_a_command_to_a_terminal_is_shown() {
        for (text, expected) in [
            ("/grüße?a=1 (404)", "/grüße?a=1 (404)"),
            ("\x1b[31m\x07", "\\u{1b}[31m\\u{7}"),
            ("a\r\nb\u{9b}c\u{202e}", "a\\u{d}\\u{a}b\\u{9b}c\\u{202e}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
