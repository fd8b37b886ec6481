//! A page taken apart for reading: tags, text and what stands between them, each with the line it stands on.
//!
//! This reads for people, not for browsers: nothing is corrected, and whatever the page is, it has an end.

use memchr::{memchr, memmem};

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The line, from 1, on which it begins.
    pub(super) at: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum What {
    Text(String),
    /// A comment, a doctype: as it stands there.
    Other(String),
    /// A line of what is no markup, and the element that it is in.
    Raw(&'static str, String),
    Tag(Tag),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Tag {
    /// In lower case.
    pub(super) name: String,
    pub(super) is_end: bool,
    /// In the order in which they stand there; names in lower case, values as they are written.
    pub(super) attributes: Vec<(String, Option<String>)>,
}

impl Tag {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(own, _)| own == name)?;
        found.1.as_deref()
    }
}

/// Elements whose content is no markup.
const RAW: [&str; 7] = [
    "script", "style", "textarea", "title", "xmp", "iframe", "noframes",
];

/// Takes a page apart.
pub(super) fn tokens(html: &str) -> Vec<Token> {
    let mut reader = Reader {
        html,
        at: 0,
        line: 1,
        counted: 0,
        tokens: Vec::new(),
    };
    while reader.at < html.len() {
        reader.step();
    }
    reader.tokens
}

struct Reader<'a> {
    html: &'a str,
    at: usize,
    /// Of what stands at `counted`.
    line: usize,
    counted: usize,
    tokens: Vec<Token>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.html.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, from: usize, what: What) {
        let passed = self.html.as_bytes().get(self.counted..from).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', passed).count();
        self.counted = self.counted.max(from);
        self.tokens.push(Token { at: self.line, what });
    }

    fn step(&mut self) {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let from = self.at;
        match bytes {
            [b'<', b'!', b'-', b'-', ..] => {
                let end = memmem::find(bytes.get(4..).unwrap_or_default(), b"-->");
                self.other(from, end.map_or(rest.len(), |end| end + 7));
            }
            [b'<', b'!' | b'?', ..] => {
                let end = memchr(b'>', bytes);
                self.other(from, end.map_or(rest.len(), |end| end + 1));
            }
            [b'<', b'/', name, ..] if name.is_ascii_alphabetic() => self.tag(from, "</"),
            [b'<', name, ..] if name.is_ascii_alphabetic() => self.tag(from, "<"),
            _ => {
                let end = memchr(b'<', bytes.get(1..).unwrap_or_default());
                let end = end.map_or(rest.len(), |end| end + 1);
                self.at += end;
                let text = folded(rest.get(..end).unwrap_or_default());
                if !text.is_empty() {
                    let lead = rest.len() - rest.trim_start().len();
                    self.push(from + lead, What::Text(text));
                }
            }
        }
    }

    fn other(&mut self, from: usize, length: usize) {
        let text = folded(self.rest().get(..length).unwrap_or_default());
        self.at += length;
        self.push(from, What::Other(text));
    }

    fn tag(&mut self, from: usize, opening: &str) {
        self.at += opening.len();
        let is_end = opening == "</";
        let mut tag = Tag {
            name: self.take(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>')),
            is_end,
            ..Tag::default()
        };
        tag.name.make_ascii_lowercase();
        loop {
            self.take(|byte| !byte.is_ascii_whitespace() && byte != b'/');
            match self.rest().as_bytes() {
                [] => break,
                [b'>', ..] => {
                    self.at += 1;
                    break;
                }
                _ => tag.attributes.push(self.attribute()),
            }
        }
        let raw = RAW.iter().find(|raw| **raw == tag.name && !is_end);
        self.push(from, What::Tag(tag));
        if let Some(raw) = raw {
            self.raw(raw);
        }
    }

    fn attribute(&mut self) -> (String, Option<String>) {
        // A `=` where a name should begin is one (WHATWG HTML §13.2.5.32).
        let first = self.at;
        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
        self.take(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'='));
        let name = self
            .html
            .get(first..self.at)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let behind = self.at;
        self.take(|byte| !byte.is_ascii_whitespace());
        if !self.rest().starts_with('=') {
            self.at = behind;
            return (name, None);
        }
        self.at += 1;
        self.take(|byte| !byte.is_ascii_whitespace());
        let quote = self
            .rest()
            .bytes()
            .next()
            .filter(|byte| matches!(byte, b'"' | b'\''));
        let value = match quote {
            Some(quote) => {
                self.at += 1;
                let value = self.take(|byte| byte == quote);
                self.at = (self.at + 1).min(self.html.len());
                value
            }
            None => self.take(|byte| byte.is_ascii_whitespace() || byte == b'>'),
        };
        (name, Some(value))
    }

    /// What comes before the first byte at which it ends, which is an ASCII one.
    fn take(&mut self, is_end: impl Fn(u8) -> bool) -> String {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| byte.is_ascii() && is_end(byte));
        let end = end.unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default().to_owned()
    }

    fn raw(&mut self, element: &'static str) {
        let rest = self.rest();
        let end = end_of_raw(rest, element);
        let mut from = self.at;
        for line in rest.get(..end).unwrap_or_default().split_inclusive('\n') {
            let text = line.trim_end();
            if !text.trim_start().is_empty() {
                self.push(from, What::Raw(element, text.to_owned()));
            }
            from += line.len();
        }
        self.at += end;
    }
}

/// Where the end tag of an element begins, or all ends.
fn end_of_raw(text: &str, element: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = memmem::find_iter(bytes, b"</");
    let is_it = |at: &usize| {
        let name = bytes.get(at + 2..at + 2 + element.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(element.as_bytes()))
    };
    ends.into_iter().find(is_it).unwrap_or(bytes.len())
}

/// Without white space at its ends, and with one blank for any within.
pub(super) fn folded(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> Vec<String> {
        let shown = |token: Token| {
            let what = match token.what {
                What::Text(text) => format!("text {text}"),
                What::Other(text) => format!("other {text}"),
                What::Raw(element, text) => format!("{element} {text}"),
                What::Tag(tag) => {
                    let end = if tag.is_end { "/" } else { "" };
                    format!("{end}{} {:?}", tag.name, tag.attributes)
                }
            };
            format!("{} {what}", token.at)
        };
        tokens(html).into_iter().map(shown).collect()
    }

    #[test]
    fn a_page_is_taken_apart_with_the_lines_of_its_source() {
        let html = "<!DOCTYPE html>\n<!-- a\n > b -->\n<P Class='a  b' id=x hidden>\n  one\n two 1 < 2\n</P\n>\
                    <script nonce=\"n\">\n if (a</b>1) c;\n\n d</SCRIPT><br/><a href=/x/>z";
        assert_eq!(
            shown(html),
            [
                "1 other <!DOCTYPE html>",
                "2 other <!-- a > b -->",
                "4 p [(\"class\", Some(\"a  b\")), (\"id\", Some(\"x\")), (\"hidden\", None)]",
                "5 text one two 1",
                "6 text < 2",
                "7 /p []",
                "8 script [(\"nonce\", Some(\"n\"))]",
                "9 script  if (a</b>1) c;",
                "11 script  d",
                "11 /script []",
                "11 br []",
                "11 a [(\"href\", Some(\"/x/\"))]",
                "11 text z",
            ]
        );
    }

    #[test]
    fn whatever_a_page_is_it_has_an_end() {
        for html in [
            "",
            "<",
            "</",
            "<a",
            "<a ",
            "<a b",
            "<a b=",
            "<a b='",
            "<a é=ü ß>ö<é",
            "<!--",
            "<!",
            "<script>",
            "<script></scripü",
            "<a =b ==>",
            "\u{0}<\u{0}",
        ] {
            let _ = tokens(html);
        }
        // Quadratic, it would go on for minutes.
        assert_eq!(tokens(&"<a b='".repeat(100_000)).len(), 1);
        assert_eq!(tokens(&"<!--".repeat(100_000)).len(), 1);
    }
}
