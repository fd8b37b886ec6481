//! Logs, on stderr.

use std::fmt::{self, Write};
use std::io::IsTerminal;

use anyhow::anyhow;
use phantom_frame::config::{Loaded, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

/// Begins to log as `log` and `log_format` say.
pub(crate) fn start(loaded: &Loaded) -> anyhow::Result<()> {
    let settings = loaded.settings();
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| loaded.refuse("log", format!("`{}` cannot be used: {error}", settings.log)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let begun = match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder
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
    begun.map_err(|error| anyhow!(error).context("cannot begin to log"))
}

/// Writes control characters as escapes. tracing-subscriber does that for the message alone, and not for
/// line breaks: a client's path could otherwise write lines of its own.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char.is_control() {
                true => write!(self.0, "{}", char.escape_default())?,
                false => self.0.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_cannot_write_lines_of_its_own() {
        let mut line = String::new();
        write!(Escaped(&mut line), "/a\r\n\u{1b}[31m\u{9b}é").unwrap();
        assert_eq!(line, "/a\\r\\n\\u{1b}[31m\\u{9b}é");
    }
}
