//! What is said on stderr: errors with their causes and a hint, and what is served.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
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
                Some(
                    ErrorKind::Config
                    | ErrorKind::Directory
                    | ErrorKind::Foreign
                    | ErrorKind::Locked
                    | ErrorKind::Frozen,
                ) => UNUSABLE,
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
    /// Nothing where none is asked.
    pub(crate) backend: Option<&'a str>,
    pub(crate) directory: String,
    /// Nothing while they are still being counted, or are not.
    pub(crate) snapshots: Option<u64>,
    pub(crate) control: String,
}

impl Banner<'_> {
    pub(crate) fn print(&self) {
        let count = match (self.snapshots, self.backend) {
            (_, None) => "frozen: no backend, no writes".into(),
            (Some(1), _) => "1 page".into(),
            (Some(count), _) => format!("{count} pages"),
            (None, _) => "still counting".to_owned(),
        };
        let backend = self.backend.map_or(String::new(), |url| format!(" -> {url}"));
        let version = env!("CARGO_PKG_VERSION");
        anstream::eprintln!(
            "{STRONG}phantom-frame {version}{STRONG:#}  {HINT}{}{HINT:#}{backend}\n  \
             snapshots  {} ({count})\n  control    {}",
            self.address,
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
