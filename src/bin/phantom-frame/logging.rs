//! Logs, on stderr.

use std::fmt::{self, Write};
use std::io::{self, IsTerminal};

use anyhow::anyhow;
use phantom_frame::config::{Loaded, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

/// Begins to log as `log` and `log_format` say.
pub(crate) fn start(loaded: &Loaded) -> anyhow::Result<()> {
    start_with(loaded, &loaded.settings().log)
}

/// The same, of a command that says itself what it does: warnings alone, unless `log` was set.
pub(crate) fn start_quiet(loaded: &Loaded) -> anyhow::Result<()> {
    match loaded.origin("log").as_str() {
        "default" => start_with(loaded, "warn,phantom_frame::locked=error"),
        _ => start(loaded),
    }
}

fn start_with(loaded: &Loaded, filter: &str) -> anyhow::Result<()> {
    let settings = loaded.settings();
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| loaded.refuse("log", format!("`{}` cannot be used: {error}", settings.log)))?;
    // Where nobody reads the log, to say so there would panic, and cost a request each time.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false);
    let begun = match settings.log_format {
        LogFormat::Json => builder
            .with_writer(|| EscapedJson(io::stderr()))
            .json()
            .flatten_event(true)
            .try_init(),
        LogFormat::Text => builder
            .with_writer(io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .fmt_fields(
                format::debug_fn(|writer, field, value| match field.name() {
                    "message" => write!(Escaped(writer), "{value:?}"),
                    name => {
                        write!(writer, "{name}=")?;
                        write!(Escaped(writer), "{value:?}")
                    }
                })
                .delimited(" "),
            )
            .try_init(),
    };
    begun.map_err(|error| anyhow!(error).context("cannot begin to log"))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is an event like others: in the form of the log, and escaped.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let said = panic.payload_as_str().unwrap_or("something that is no text");
    let place = panic.location().map(ToString::to_string);
    tracing::error!(panic = said, place, "panicked");
}

/// What a terminal could take for more than a character: control characters, and marks that turn the
/// direction of text or are not seen.
pub(crate) fn is_deceptive(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Writes them as JSON's escapes where a serialiser does not: it escapes what JSON has to.
struct EscapedJson<W>(W);

impl<W: io::Write> io::Write for EscapedJson<W> {
    /// Called once a line, with all of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut escaped = String::with_capacity(line.len());
        for char in String::from_utf8_lossy(line).chars() {
            match char != '\n' && is_deceptive(char) {
                // Writing to a String cannot fail.
                true => drop(write!(escaped, "\\u{:04x}", u32::from(char))),
                false => escaped.push(char),
            }
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes what is deceptive as escapes. tracing-subscriber does that for the message alone, and not for
/// line breaks: a client's path could otherwise write lines of its own.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match is_deceptive(char) {
                true => write!(self.0, "{}", char.escape_default())?,
                false => self.0.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_clients_send_cannot_write_lines_of_its_own() {
        let mut line = String::new();
        write!(Escaped(&mut line), "/a\r\n\u{1b}[31m\u{9b}é\u{202e}").unwrap();
        assert_eq!(line, "/a\\r\\n\\u{1b}[31m\\u{9b}é\\u{202e}");
    }

    #[test]
    fn json_escapes_what_terminals_obey_too() {
        let mut line = Vec::new();
        EscapedJson(&mut line)
            .write_all("{\"path\":\"\u{9b}é\u{202e}\u{7f}\"}\n".as_bytes())
            .unwrap();
        assert_eq!(line, "{\"path\":\"\\u009bé\\u202e\\u007f\"}\n".as_bytes());
    }
}
