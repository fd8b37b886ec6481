//! Results, on stdout: a closed pipe ends the printing and nothing else.

use std::fmt;
use std::io::{self, BufWriter, Write as _};

use anstyle::Style;

use crate::logging::is_deceptive;

/// What stands over columns.
pub(crate) const HEADING: Style = Style::new().dimmed();
/// What a line is about.
pub(crate) const STRONG: Style = Style::new().bold();

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A person.
    Text,
    /// A program.
    Json,
}

impl Form {
    /// As `--json` says.
    pub(crate) fn of(is_json: bool) -> Self {
        match is_json {
            true => Self::Json,
            false => Self::Text,
        }
    }
}

/// See the module.
pub(crate) struct Out {
    stream: BufWriter<anstream::Stdout>,
    failed: Option<io::Error>,
    /// How many items of a list there are so far.
    items: u64,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self {
            stream: BufWriter::with_capacity(64 << 10, anstream::stdout()),
            failed: None,
            items: 0,
        }
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        self.text(format_args!("{line}\n"));
    }

    /// Prints what may not be a line.
    pub(crate) fn text(&mut self, text: fmt::Arguments<'_>) {
        if self.failed.is_none() {
            self.failed = self.stream.write_fmt(text).err();
        }
    }

    /// Prints bytes as they are, whatever they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        if self.failed.is_none() {
            let written = self.stream.flush().and_then(|()| stdout.write_all(bytes));
            self.failed = written.and_then(|()| stdout.flush()).err();
        }
    }

    /// Prints one JSON document.
    pub(crate) fn json(&mut self, document: &serde_json::Value) {
        self.line(format_args!("{}", harmless(&format!("{document:#}"))));
    }

    /// One item of the list with which a JSON document begins; there may be more than are to be held at once.
    pub(crate) fn item(&mut self, list: &str, item: &serde_json::Value) {
        let item = harmless(&item.to_string());
        match self.items {
            0 => self.text(format_args!("{{\n  \"{list}\": [\n    {item}")),
            _ => self.text(format_args!(",\n    {item}")),
        }
        self.items += 1;
    }

    /// What else is in that document.
    pub(crate) fn rest(&mut self, list: &str, rest: &serde_json::Value) {
        match self.items {
            0 => self.text(format_args!("{{\n  \"{list}\": [")),
            _ => self.text(format_args!("\n  ")),
        }
        self.text(format_args!("]"));
        for (name, value) in rest.as_object().into_iter().flatten() {
            let value = harmless(&value.to_string());
            self.text(format_args!(",\n  \"{name}\": {value}"));
        }
        self.line(format_args!("\n}}"));
    }

    /// # Errors
    /// Nothing took what was printed, for another reason than that nobody reads any more.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let flushed = self.stream.flush();
        match self.failed.map_or(flushed, Err) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Text from files and URLs, in which a terminal could find more than characters.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match is_deceptive(char) {
            true => plain.extend(char.escape_default()),
            false => plain.push(char),
        }
    }
    plain
}

/// JSON in which a terminal finds nothing but characters: what a serialiser leaves as it is, as escapes.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char != '\n' && is_deceptive(char) {
            // Of those that stand beyond sixteen bits none is deceptive.
            true => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            false => text.push(char),
        }
    }
    text
}

/// `812 B`, `1.2 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    // In tenths, so that nothing is rounded twice.
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `5s`, `3m`, `2h`, `41d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 page`, `7 pages`.
pub(crate) fn count(number: u64, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(
            (count(1, "page"), count(0, "page")),
            ("1 page".into(), "0 pages".into())
        );
    }

    #[test]
    fn what_stands_in_files_moves_no_cursor() {
        assert_eq!(plain("/a\u{1b}[31m\u{202e}é"), "/a\\u{1b}[31m\\u{202e}é");
        assert_eq!(
            harmless("{\n\"\u{9b}31m\u{202e}é\"}"),
            "{\n\"\\u009b31m\\u202eé\"}"
        );
    }
}
