//! What of an HTML page must not be shared although its head does not say so: a form field that holds a
//! CSRF token, and a nonce.
//!
//! The page is read tag by tag, as a browser does (WHATWG HTML §13.2.5) and in pieces as it comes, so a name
//! that is only shown, in text or in a code sample, is none. What scripts hold in their own text is not
//! looked at.

use http::header::{self, HeaderMap};
use memchr::memchr;

use crate::outcome::Reason;
use crate::policy::store::{is_html, media_type};

/// Names of form fields and `<meta>` elements that hold a CSRF token, in lower case; of a name with brackets
/// (`user[_token]`) the last part counts.
pub const CSRF_FIELDS: &[&str] = &[
    "csrfmiddlewaretoken",
    "authenticity_token",
    "csrf-token",
    "csrf-param",
    "csrf_token",
    "csrftoken",
    "csrf",
    "_csrf",
    "_csrf_token",
    "_csrf-token",
    "_csrftoken",
    "__csrftoken",
    "_csrf-frontend",
    "_csrf-backend",
    "csrf_test_name",
    "__csrf_magic",
    "csrfkey",
    "_token",
    "__requestverificationtoken",
    "__ncforminfo",
    "xsrf",
    "_xsrf",
    "xsrf-token",
    "xsrf_token",
    "x-csrf-token",
    "x-xsrf-token",
    "anticsrf",
    "anti-csrf-token",
    "synchronizer_token",
    "craft_csrf_token",
    "ccm_token",
    "form_token",
    "form_key",
    "_formkey",
    "_wpnonce",
    "sesskey",
    "logintoken",
    "wpedittoken",
    "wplogintoken",
    "javax.faces.viewstate",
    "jakarta.faces.viewstate",
];

/// Bytes that are kept of a tag's or an attribute's name: longer ones are none that matter.
const MAX_NAME: usize = 16;
/// Bytes that are kept of a value: a Content-Security-Policy is the longest that is looked at.
const MAX_VALUE: usize = 8 << 10;
/// Elements whose content is text, whatever it looks like.
const RAW: &[&[u8]] = &[
    b"script",
    b"style",
    b"textarea",
    b"title",
    b"xmp",
    b"iframe",
    b"noframes",
];

/// Reads a page as it comes.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    state: State,
    tag: Tag,
    attribute: Vec<u8>,
    value: Vec<u8>,
    /// The element whose text is being skipped.
    raw: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// Behind `<`.
    Open,
    /// Behind `</`.
    Close,
    /// Behind `<!`, and so many dashes.
    Declaration(u8),
    /// In a comment, behind so many dashes; 3 is `--!`.
    Comment(u8),
    /// To the next `>`.
    Bogus,
    TagName,
    BeforeAttribute,
    Attribute,
    AfterAttribute,
    BeforeValue,
    Value(Quote),
    /// In the text of `raw`, behind so many bytes of its end tag.
    Raw(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// What has been seen of a tag.
#[derive(Debug, Default)]
struct Tag {
    name: Vec<u8>,
    is_end: bool,
    /// The last byte before `>` is `/`.
    is_closed: bool,
    is_field: bool,
    is_empty: bool,
    has_nonce: bool,
}

impl Scanner {
    /// For a response with these fields; none where its body is no HTML, or is coded so that it cannot be
    /// read here. A body without a type may be HTML.
    pub(crate) fn for_response(headers: &HeaderMap) -> Option<Self> {
        let kind = media_type(headers);
        let is_html = kind.is_empty() || is_html(&kind);
        let is_coded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        (is_html && !is_coded).then(Self::default)
    }

    /// Reads the next piece; says why the page must not be shared once it has come to the reason.
    pub(crate) fn read(&mut self, piece: &[u8]) -> Option<Reason> {
        let mut rest = piece;
        while let Some((byte, after)) = self.skip(rest).split_first() {
            rest = after;
            // So that every second byte of UTF-16 does not hide a tag.
            if *byte == 0 {
                continue;
            }
            if let Some(reason) = self.step(*byte) {
                return Some(reason);
            }
        }
        None
    }

    /// Leaves out what cannot change the state.
    fn skip<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let next = match self.state {
            State::Text | State::Raw(0) => memchr(b'<', bytes),
            State::Comment(0) => memchr(b'-', bytes),
            State::Bogus => memchr(b'>', bytes),
            State::Value(Quote::Double) if !self.wants_value() => memchr(b'"', bytes),
            State::Value(Quote::Single) if !self.wants_value() => memchr(b'\'', bytes),
            _ => return bytes,
        };
        next.and_then(|at| bytes.get(at..)).unwrap_or_default()
    }

    fn step(&mut self, byte: u8) -> Option<Reason> {
        match self.state {
            State::Text if byte == b'<' => self.state = State::Open,
            State::Text => {}
            State::Open => self.open(byte),
            State::Close => match byte {
                b'>' => self.state = State::Text,
                byte if byte.is_ascii_alphabetic() => {
                    self.begin_tag(byte);
                    self.tag.is_end = true;
                }
                _ => self.state = State::Bogus,
            },
            State::Declaration(dashes) => {
                self.state = match (byte, dashes) {
                    (b'-', 0) => State::Declaration(1),
                    // `<!-->` is a whole comment.
                    (b'-', _) => State::Comment(2),
                    (b'>', _) => State::Text,
                    _ => State::Bogus,
                }
            }
            State::Comment(dashes) => {
                self.state = match byte {
                    b'-' => State::Comment(if dashes == 3 { 1 } else { (dashes + 1).min(2) }),
                    b'>' if dashes >= 2 => State::Text,
                    b'!' if dashes == 2 => State::Comment(3),
                    _ => State::Comment(0),
                }
            }
            State::Bogus if byte == b'>' => self.state = State::Text,
            State::Bogus => {}
            State::Raw(matched) => self.raw(byte, matched),
            _ => return self.in_tag(byte),
        }
        None
    }

    fn open(&mut self, byte: u8) {
        match byte {
            b'/' => self.state = State::Close,
            b'!' => self.state = State::Declaration(0),
            b'?' => self.state = State::Bogus,
            b'<' => {}
            byte if byte.is_ascii_alphabetic() => self.begin_tag(byte),
            _ => self.state = State::Text,
        }
    }

    fn begin_tag(&mut self, byte: u8) {
        self.tag = Tag::default();
        self.tag.name.push(byte.to_ascii_lowercase());
        self.state = State::TagName;
    }

    /// Looks for the end tag of the element whose text is being skipped.
    fn raw(&mut self, byte: u8, matched: usize) {
        let wanted = match matched {
            0 => Some(b'<'),
            1 => Some(b'/'),
            n => self.raw.get(n - 2).copied(),
        };
        self.state = match wanted {
            Some(wanted) if wanted == byte.to_ascii_lowercase() => State::Raw(matched + 1),
            None if byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>') => {
                self.tag = Tag {
                    is_end: true,
                    ..Tag::default()
                };
                match byte {
                    b'>' => State::Text,
                    _ => State::BeforeAttribute,
                }
            }
            _ if byte == b'<' => State::Raw(1),
            _ => State::Raw(0),
        };
    }

    fn in_tag(&mut self, byte: u8) -> Option<Reason> {
        let is_space = byte.is_ascii_whitespace();
        match (self.state, byte) {
            (State::Value(Quote::Double), b'"') | (State::Value(Quote::Single), b'\'') => self.end_value(),
            (State::Value(Quote::Double | Quote::Single), byte) => self.keep_of_value(byte),
            (State::Value(Quote::None), _) if is_space => self.end_value(),
            (State::Value(Quote::None), b'>') => {
                self.end_value();
                return self.end_tag();
            }
            (State::Value(Quote::None), byte) => self.keep_of_value(byte),
            (State::BeforeValue, b'"') => self.state = State::Value(Quote::Double),
            (State::BeforeValue, b'\'') => self.state = State::Value(Quote::Single),
            (State::BeforeValue, _) if is_space => {}
            (_, b'>') => {
                self.end_attribute();
                return self.end_tag();
            }
            (State::BeforeValue, byte) => {
                self.state = State::Value(Quote::None);
                self.keep_of_value(byte);
            }
            (State::Attribute | State::AfterAttribute, b'=') => self.state = State::BeforeValue,
            (_, b'/') => {
                self.end_attribute();
                self.tag.is_closed = true;
                self.state = State::BeforeAttribute;
            }
            (State::TagName, byte) if !is_space => {
                if self.tag.name.len() < MAX_NAME {
                    self.tag.name.push(byte.to_ascii_lowercase());
                }
            }
            (State::Attribute, byte) if !is_space => self.keep_of_name(byte),
            (State::Attribute | State::AfterAttribute, _) if is_space => self.state = State::AfterAttribute,
            (_, _) if is_space => self.state = State::BeforeAttribute,
            (_, byte) => {
                self.end_attribute();
                self.keep_of_name(byte);
                self.tag.is_closed = false;
                self.state = State::Attribute;
            }
        }
        None
    }

    fn keep_of_name(&mut self, byte: u8) {
        if self.attribute.len() < MAX_NAME {
            self.attribute.push(byte.to_ascii_lowercase());
        }
    }

    fn keep_of_value(&mut self, byte: u8) {
        let is_first = self.value.is_empty();
        if self.wants_value() && self.value.len() < MAX_VALUE && !(is_first && byte.is_ascii_whitespace()) {
            self.value.push(byte.to_ascii_lowercase());
        }
    }

    /// Whether more of the value is looked at; of some only whether there is any.
    fn wants_value(&self) -> bool {
        match self.attribute.as_slice() {
            b"name" | b"content" => true,
            b"nonce" | b"value" => self.value.is_empty(),
            _ => false,
        }
    }

    fn end_value(&mut self) {
        let value = self.value.trim_ascii();
        match self.attribute.as_slice() {
            b"name" => self.tag.is_field |= is_csrf_field(value),
            b"nonce" => self.tag.has_nonce |= !value.is_empty(),
            b"content" => {
                self.tag.is_empty |= value.is_empty();
                // A Content-Security-Policy in a `<meta>`.
                self.tag.has_nonce |=
                    self.tag.name == b"meta" && memchr::memmem::find(value, b"'nonce-").is_some();
            }
            b"value" => self.tag.is_empty |= value.is_empty(),
            _ => {}
        }
        self.end_attribute();
        self.tag.is_closed = false;
        self.state = State::BeforeAttribute;
    }

    fn end_attribute(&mut self) {
        self.attribute.clear();
        self.value.clear();
    }

    fn end_tag(&mut self) -> Option<Reason> {
        let tag = std::mem::take(&mut self.tag);
        self.state = State::Text;
        if tag.is_end {
            return None;
        }
        if tag.has_nonce {
            return Some(Reason::Nonce);
        }
        // An anchor's name is no field's, and an empty field is filled by a script of the page.
        if tag.is_field && !tag.is_empty && tag.name != b"a" {
            return Some(Reason::CsrfField);
        }
        if !tag.is_closed && RAW.contains(&tag.name.as_slice()) {
            self.raw = tag.name;
            self.state = State::Raw(0);
        }
        None
    }
}

/// `value` in lower case.
pub(crate) fn is_csrf_field(value: &[u8]) -> bool {
    let own = match value.strip_suffix(b"]") {
        Some(inner) => inner.rsplit(|byte| *byte == b'[').next().unwrap_or_default(),
        None => value,
    };
    CSRF_FIELDS.iter().any(|field| field.as_bytes() == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// In one piece, byte by byte, and cut at every place.
    #[track_caller]
    fn finds(page: &str, expected: Option<Reason>) {
        let whole = Scanner::default().read(page.as_bytes());
        assert_eq!(whole, expected, "{page}");
        let mut scanner = Scanner::default();
        let single = page.bytes().find_map(|byte| scanner.read(&[byte]));
        assert_eq!(single, expected, "byte by byte: {page}");
        for cut in 0..page.len() {
            let (first, second) = page.as_bytes().split_at(cut);
            let mut scanner = Scanner::default();
            let found = scanner.read(first).or_else(|| scanner.read(second));
            assert_eq!(found, expected, "cut at {cut}: {page}");
        }
    }

    #[test]
    fn fields_with_a_token_are_found_in_any_spelling() {
        for page in [
            "<input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\"x\">",
            "<INPUT NAME=CSRFMiddlewareToken VALUE=x>",
            "<input name = 'authenticity_token'\n\tvalue='x' />",
            "<input name=_csrf>",
            "<input value=x name=_csrf/>x<input value=x name=_csrf />",
            "<input\u{c}name=\"_token\"value=\"x\">",
            "<input value=\"a>b\" name=\"_token\">",
            "<input data-x='\"' name='_token' value='x'>",
            "<meta name=\"csrf-token\" content=\"x\">",
            "<meta content='x' name='csrf-param'>",
            "<input name=\"user[_token]\" value=\"x\">",
            "<input name=__RequestVerificationToken type=hidden value=x>",
            "<input name=\"__ncforminfo\" value=\"x\"/>",
            "<p>a < b <input name=_csrf value=1>",
            "<<input name=_csrf value=1>",
            "<!-- x --><input name=_csrf value=1>",
            "<!--><input name=_csrf value=1>",
            "<!-- x --!><input name=_csrf value=1>",
            "<!doctype html><?xml x?></ x><input name=_csrf value=1>",
            "<script>a<b \"</script ><input name=_csrf value=1>",
            "<script>if (a</s) \"<\"</SCRIPT><input name=_csrf value=1>",
            "<script src=x /><input name=_csrf value=1>",
            "<title>a \" b</title><input name=_csrf value=1>",
            "<textarea name=_token>x</textarea>",
            "<input =name name=_csrf value=1>",
            "<input name=\" _csrf \" value=1>",
            "<form><button name=_token value=1>",
        ] {
            finds(page, Some(Reason::CsrfField));
        }
    }

    #[test]
    fn a_name_that_is_only_shown_is_none() {
        for page in [
            "<code>&lt;input name=&quot;csrfmiddlewaretoken&quot;&gt;</code>",
            "<code>&lt;input name=\"_csrf\" value=\"x\"&gt;</code>",
            "<p>name=\"authenticity_token\"</p>",
            "<!-- <input name=\"_csrf\" value=\"x\"> -->",
            "<script>f('<input name=\"_csrf\" value=\"x\">')</script>",
            "<textarea><input name=\"_csrf\" value=\"x\"></textarea>",
            "<a name=\"csrf_token\">The CSRF token</a>",
            "<input name=\"_csrf\" value=\"\">",
            "<meta name=csrf-token content=''>",
            "<input name=\"csrf_hint\" value=\"x\">",
            "<input data-name=\"_csrf\" value=\"x\">",
            "<input id=\"_csrf\" value=\"name=_csrf\">",
            "<input title='name=\"_csrf\"'>",
            "</input name=_csrf>",
            "<input name=\"_csrf\"",
        ] {
            finds(page, None);
        }
    }

    #[test]
    fn a_nonce_is_found_where_browsers_read_one() {
        for page in [
            "<script nonce=\"r4nd0m\">f()</script>",
            "<STYLE NONCE=r4nd0m>",
            "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'self' 'Nonce-abc'\">",
        ] {
            finds(page, Some(Reason::Nonce));
        }
        for page in [
            "<script nonce=\"\">f()</script>",
            "<script nonce>f()</script>",
            "<script data-nonce=\"x\">f()</script>",
            "<p>script-src 'nonce-abc'</p>",
            "<meta http-equiv=\"Content-Security-Policy\" content=\"script-src 'sha256-abc='\">",
        ] {
            finds(page, None);
        }
    }

    #[test]
    fn sixteen_bit_pages_are_read_too() {
        let page: Vec<u8> = "<input name=_csrf value=1>"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(Scanner::default().read(&page), Some(Reason::CsrfField));
    }

    #[test]
    fn only_html_that_can_be_read_is_looked_at() {
        for (kind, coding, expected) in [
            ("text/html; charset=utf-8", "", true),
            ("Application/XHTML+XML", "", true),
            ("", "", true),
            ("text/plain", "", false),
            ("application/json", "", false),
            ("text/html", "gzip", false),
            ("text/html", "Identity", true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("content-type", kind), ("content-encoding", coding)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(
                Scanner::for_response(&headers).is_some(),
                expected,
                "{kind} {coding}"
            );
        }
    }
}
