//! Whether a new rendering may take the place of a page that is stored. A backend that is half down says 200 and sends
//! nothing, or half a page; what was whole is worth more than that.

use http::StatusCode;
use http::header;

use crate::head::{Rendered, StoredHead};
use crate::policy::store::{is_html, media_type};

/// What of a body is looked at to see how it ends, in bytes: comments may stand behind the page.
const END_BYTES: usize = 16 << 10;

/// By what a page is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastGood {
    /// A page that is shorter than so many per cent of the one before is refused; 0 is off.
    pub(crate) least_percent: u64,
}

/// What is wrong with a rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It has no body.
    Empty,
    /// It does not end as a page, and the one before does.
    Cut,
    /// It is much shorter than the one before.
    Small,
}

impl Flaw {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Cut => "cut",
            Self::Small => "small",
        }
    }
}

impl LastGood {
    /// What keeps `new` from taking the place of `old`. A redirect, an error and a page of another type say something,
    /// and may.
    pub(crate) fn flaw(self, old: &Rendered<'_>, new: &Rendered<'_>) -> Option<Flaw> {
        if !is_page(old.head.status)
            || !is_page(new.head.status)
            || !is_html(&media_type(&old.head.headers))
            || old.length == 0
        {
            return None;
        }
        if new.length == 0 {
            return Some(Flaw::Empty);
        }
        let is_coded = |head: &StoredHead| head.headers.contains_key(header::CONTENT_ENCODING);
        if !is_html(&media_type(&new.head.headers)) || is_coded(old.head) || is_coded(new.head) {
            return None;
        }
        let ends = |rendered: &Rendered<'_>| (rendered.end)(END_BYTES).is_some_and(|end| ends_as_page(&end));
        // The old one is read only where it matters.
        if !ends(new) && ends(old) {
            return Some(Flaw::Cut);
        }
        let is_small = u128::from(new.length) * 100 < u128::from(old.length) * u128::from(self.least_percent);
        is_small.then_some(Flaw::Small)
    }
}

/// Whether a stored page is one that a rendering without a flaw alone may replace.
pub(crate) fn is_worth_keeping(head: &StoredHead) -> bool {
    is_page(head.status) && is_html(&media_type(&head.headers))
}

/// RFC 9110 §15.3: those whose content is the page.
fn is_page(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION)
}

/// `</html>`, white space and comments behind it apart.
fn ends_as_page(end: &[u8]) -> bool {
    let mut left = end.trim_ascii_end();
    while let Some(before) = left.strip_suffix(b"-->") {
        let Some(at) = memchr::memmem::rfind(before, b"<!--") else {
            return false;
        };
        left = before.get(..at).unwrap_or_default().trim_ascii_end();
    }
    let Some(tag) = left.strip_suffix(b">") else {
        return false;
    };
    let tag = tag.trim_ascii_end();
    let name = tag
        .len()
        .checked_sub(b"</html".len())
        .and_then(|at| tag.get(at..));
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"</html"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Ready;
    use crate::headers::header_map;
    use crate::tags::Tags;

    #[test]
    fn a_page_ends_with_html_whatever_stands_behind_it() {
        for (text, expected) in [
            ("<html></html>", true),
            ("</HTML>\n\n", true),
            ("</html >", true),
            ("</html><!-- rendered in 3 ms -->\n<!--\n-->\n", true),
            ("</html><!-- a > b -->", true),
            ("<html><body>half a pa", false),
            ("</html", false),
            ("</html><p>", false),
            ("cut --> in a comment's end", false),
            ("no beginning -->", false),
            ("</xhtml>", false),
            ("", false),
        ] {
            assert_eq!(ends_as_page(text.as_bytes()), expected, "{text}");
        }
    }

    const HTML: &[(&str, &str)] = &[("content-type", "text/html; charset=utf-8")];

    fn judged(
        (old_status, old_fields, old): (u16, &[(&'static str, &'static str)], &str),
        (status, fields, new): (u16, &[(&'static str, &'static str)], &str),
        least_percent: u64,
    ) -> Option<Flaw> {
        let head = |status, fields| StoredHead {
            status: StatusCode::from_u16(status).unwrap(),
            headers: header_map(fields),
            expires_after: None,
            tags: Tags::default(),
            ready: Ready::default(),
        };
        let (old_head, new_head) = (head(old_status, old_fields), head(status, fields));
        let rendered = |head, text: &str| (head, text.len() as u64, text.as_bytes().to_vec());
        let ((old_head, old_length, old), (new_head, new_length, new)) =
            (rendered(&old_head, old), rendered(&new_head, new));
        LastGood { least_percent }.flaw(
            &Rendered {
                head: old_head,
                length: old_length,
                end: &|_| Some(old.clone()),
            },
            &Rendered {
                head: new_head,
                length: new_length,
                end: &|_| Some(new.clone()),
            },
        )
    }

    #[test]
    fn what_is_empty_cut_or_small_does_not_replace_a_whole_page() {
        let whole = "<html>a whole page</html>";
        let (json, gzip) = (
            &[("content-type", "application/json")][..],
            &[HTML[0], ("content-encoding", "gzip")][..],
        );
        for (old, new, percent, expected) in [
            ((200, HTML, whole), (200, HTML, whole), 0, None),
            ((200, HTML, whole), (200, HTML, ""), 0, Some(Flaw::Empty)),
            ((200, HTML, whole), (200, &[][..], ""), 0, Some(Flaw::Empty)),
            ((200, HTML, whole), (200, HTML, "<html>a who"), 0, Some(Flaw::Cut)),
            ((200, HTML, "a fragment"), (200, HTML, "another"), 0, None),
            ((200, HTML, "a fragment"), (200, HTML, ""), 0, Some(Flaw::Empty)),
            ((200, HTML, ""), (200, HTML, ""), 0, None),
            ((200, HTML, whole), (404, HTML, ""), 0, None),
            ((200, HTML, whole), (301, HTML, ""), 0, None),
            ((200, HTML, whole), (204, HTML, ""), 0, None),
            ((404, HTML, whole), (200, HTML, "x"), 0, None),
            ((200, json, whole), (200, HTML, "x"), 0, None),
            ((200, HTML, whole), (200, json, "{}"), 0, None),
            ((200, HTML, whole), (200, gzip, "x"), 0, None),
            ((200, HTML, whole), (200, HTML, "</html>"), 0, None),
            ((200, HTML, whole), (200, HTML, "</html>"), 50, Some(Flaw::Small)),
            ((200, HTML, whole), (200, HTML, "<html>a wh</html>"), 50, None),
        ] {
            assert_eq!(judged(old, new, percent), expected, "{old:?} {new:?} {percent}");
        }
    }
}
