//! Bodies as lines that a person can read, and that stay where they are when something else changes.

use http::HeaderMap;
use http::header;

use crate::policy::store::media_type;

use super::markup::{Tag, Token, What, tokens};

/// The longest body that is compared by its text, in bytes.
pub(super) const MOST_READ: usize = 2 << 20;
/// Longer lines are broken where they can be.
const WIDTH: usize = 160;
/// Or here.
const WIDEST: usize = 400;

/// What a body is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Html,
    Text,
    Bytes,
}

impl Kind {
    pub(super) fn of(headers: &HeaderMap, body: &[u8]) -> Self {
        let kind = media_type(headers);
        let is_coded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let is_text = kind.is_empty()
            || kind.starts_with("text/")
            || kind.ends_with("json")
            || kind.ends_with("xml")
            || kind.ends_with("javascript");
        match kind.as_str() {
            _ if is_coded || memchr::memchr(0, body).is_some() => Self::Bytes,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "" if std::str::from_utf8(body).is_err() => Self::Bytes,
            _ if is_text => Self::Text,
            _ => Self::Bytes,
        }
    }
}

/// The lines of a text.
pub(super) fn lines(kind: Kind, body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let mut lines = Vec::new();
    match kind {
        Kind::Bytes => {}
        Kind::Html => {
            for token in tokens(&text) {
                of_token(&token, &mut lines);
            }
        }
        Kind::Text => text
            .lines()
            .for_each(|line| broken(line.trim_end(), "", &mut lines)),
    }
    lines
}

fn of_token(token: &Token, lines: &mut Vec<String>) {
    match &token.what {
        What::Text(text) | What::Other(text) => broken(text, "", lines),
        What::Raw(_, line) => broken(line.trim(), "  ", lines),
        What::Tag(tag) => of_tag(tag, lines),
    }
}

fn of_tag(tag: &Tag, lines: &mut Vec<String>) {
    let end = if tag.is_end { "/" } else { "" };
    let attributes: Vec<String> = tag.attributes.iter().map(attribute).collect();
    let length: usize = attributes.iter().map(|one| one.len() + 1).sum();
    if length + tag.name.len() < WIDTH {
        let attributes: String = attributes.iter().map(|one| format!(" {one}")).collect();
        return lines.push(format!("<{end}{}{attributes}>", tag.name));
    }
    lines.push(format!("<{end}{}", tag.name));
    for one in &attributes {
        broken(one, "    ", lines);
    }
    lines.push(">".into());
}

fn attribute((name, value): &(String, Option<String>)) -> String {
    let Some(value) = value else {
        return name.clone();
    };
    let quote = if value.contains('"') { '\'' } else { '"' };
    let value = value.replace(['\r', '\n'], " ");
    format!("{name}={quote}{value}{quote}")
}

/// One line, or as many as it takes.
fn broken(text: &str, indent: &str, lines: &mut Vec<String>) {
    let mut rest = text;
    while rest.len() > WIDTH {
        let mut end = None;
        for (at, char) in rest.char_indices() {
            let behind = at + char.len_utf8();
            let is_break = matches!(char, ';' | ',' | '{' | '}' | '[' | ']' | '>' | ' ');
            if (at >= WIDTH / 2 && is_break) || behind >= WIDEST {
                end = Some(behind);
                break;
            }
        }
        let Some((line, behind)) = end.and_then(|end| rest.split_at_checked(end)) else {
            break;
        };
        lines.push(format!("{indent}{}", line.trim_end()));
        rest = behind;
    }
    lines.push(format!("{indent}{rest}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn what_a_body_is_is_said_by_its_type_and_by_its_bytes() {
        for (kind, coding, body, expected) in [
            ("text/html; charset=utf-8", "identity", &b"<p>"[..], Kind::Html),
            ("text/html", "br", b"<p>", Kind::Bytes),
            ("text/html", "identity", b"<\0p\0>\0", Kind::Bytes),
            ("application/ld+json", "identity", b"{}", Kind::Text),
            ("image/svg+xml", "identity", b"<svg/>", Kind::Text),
            ("text/javascript", "identity", b"1", Kind::Text),
            ("image/png", "identity", b"PNG", Kind::Bytes),
            ("", "identity", b"text", Kind::Text),
            ("", "identity", b"\xff", Kind::Bytes),
        ] {
            let headers = match kind {
                "" => HeaderMap::new(),
                kind => header_map(&[("content-type", kind), ("content-encoding", coding)]),
            };
            assert_eq!(Kind::of(&headers, body), expected, "{kind} {coding}");
        }
    }

    #[test]
    fn a_page_on_one_line_is_a_token_a_line() {
        let html = b"<html><body class=a><h1> One\n two </h1><script>a()</script></body></html>";
        assert_eq!(
            lines(Kind::Html, html),
            [
                "<html>",
                "<body class=\"a\">",
                "<h1>",
                "One two",
                "</h1>",
                "<script>",
                "  a()",
                "</script>",
                "</body>",
                "</html>"
            ]
        );
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        let long = "a".repeat(70) + ";" + &"b,".repeat(100) + &"é".repeat(600);
        let found = lines(Kind::Text, long.as_bytes());
        assert!(found.len() > 4, "{found:?}");
        assert!(found.iter().all(|line| line.len() <= WIDEST + 4), "{found:?}");
        assert_eq!(found.concat(), long);
        let tag = format!("<a href=\"{}\" title='x \"y\"' hidden>", "/long".repeat(40));
        let found = lines(Kind::Html, tag.as_bytes());
        assert_eq!(found.first().map(String::as_str), Some("<a"));
        assert!(found.contains(&"    title='x \"y\"'".to_owned()), "{found:?}");
        assert_eq!(found.last().map(String::as_str), Some(">"));
    }
}
