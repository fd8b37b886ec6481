//! What kind of answer a request can use, by its `Accept` and `Sec-Fetch-Dest`.

use http::header::{self, HeaderMap, HeaderName};

use crate::headers::{list_values, weight};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Who is told of a page that is not there. Backends answer a missing page as HTML to those who navigate
/// and as something shorter to scripts and images, and do not say so in `Vary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Someone who navigates, in a window or a frame.
    Document,
    /// A script's `fetch()`, an image, a program.
    Other,
}

/// A request's class. Without a word it is a document.
pub(crate) fn class(headers: &HeaderMap) -> Class {
    let names_html =
        !headers.contains_key(header::ACCEPT) || admits(headers, &["text/html", "application/xhtml+xml"]);
    let navigates = match headers.get(SEC_FETCH_DEST) {
        None => true,
        Some(destination) => matches!(
            destination.as_bytes(),
            b"document" | b"iframe" | b"frame" | b"object" | b"embed"
        ),
    };
    match names_html && navigates {
        true => Class::Document,
        false => Class::Other,
    }
}

/// Whether a request that accepts this can be answered with a page: it admits HTML, or anything, or
/// does not say.
pub(crate) fn accepts_page(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::ACCEPT)
        || admits(headers, &["*/*", "text/*", "text/html", "application/xhtml+xml"])
}

fn admits(headers: &HeaderMap, wanted: &[&str]) -> bool {
    list_values(headers, &header::ACCEPT).any(|range| {
        let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
        let kind = kind.trim();
        wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind)) && weight(parameters) > 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn pages_are_for_those_who_accept_one() {
        for (accept, expected) in [
            ("text/html,*/*;q=0.8", true),
            ("image/avif,*/*;q=0.8", true),
            ("Text/HTML ; q=0.1", true),
            ("application/json", false),
            ("text/x-component", false),
            ("text/html;q=0, application/json", false),
            ("text/html; Q=0.0", false),
        ] {
            assert_eq!(
                accepts_page(&header_map(&[("accept", accept)])),
                expected,
                "{accept}"
            );
        }
    }

    #[test]
    fn documents_are_those_who_navigate_and_read_html() {
        for (fields, expected) in [
            (vec![], Class::Document),
            (vec![("accept", "text/html,*/*;q=0.8")], Class::Document),
            (vec![("accept", "application/xhtml+xml")], Class::Document),
            (vec![("accept", "*/*")], Class::Other),
            (vec![("accept", "application/json")], Class::Other),
            (vec![("accept", "text/html;q=0, */*")], Class::Other),
            (vec![("sec-fetch-dest", "document")], Class::Document),
            (vec![("sec-fetch-dest", "iframe")], Class::Document),
            (vec![("sec-fetch-dest", "empty")], Class::Other),
            (
                vec![("accept", "text/html"), ("sec-fetch-dest", "image")],
                Class::Other,
            ),
            (
                vec![("accept", "*/*"), ("sec-fetch-dest", "document")],
                Class::Other,
            ),
        ] {
            assert_eq!(class(&header_map(&fields)), expected, "{fields:?}");
        }
    }
}
