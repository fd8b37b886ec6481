//! Links as they stand in pages, style sheets, fields and arguments: which name a host, and which (RFC 3986, and as
//! browsers read `http` and `https`, WHATWG URL: a backslash is a slash, and line breaks are not there).

use std::borrow::Cow;

use http::uri::Authority;

use crate::headers::normal_host;

/// What a link says of where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference<'a> {
    Absolute(Absolute<'a>),
    /// It names no host, though it may name the scheme (`https:/a`).
    Relative {
        scheme: Option<&'static str>,
        rest: &'a str,
    },
    /// To what is no page: mail, data, a script. Nor is what has a user in it, or no host where one must be.
    Other,
}

/// A link that names a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absolute<'a> {
    /// Nothing in `//host/path`.
    pub(crate) scheme: Option<&'static str>,
    /// With its port, as it is written.
    host: &'a str,
    rest: &'a str,
}

impl<'a> Reference<'a> {
    pub(crate) fn of(link: &'a str) -> Self {
        let link = link.trim_matches(is_space);
        let (scheme, rest) = match link.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => match known(scheme) {
                Some(scheme) => (Some(scheme), rest),
                None => return Self::Other,
            },
            _ => (None, link),
        };
        let behind = rest.trim_start_matches(['/', '\\']);
        if rest.len() - behind.len() < 2 {
            return Self::Relative { scheme, rest };
        }
        let end = behind.find(['/', '\\', '?', '#']).unwrap_or(behind.len());
        let (host, rest) = behind.split_at(end);
        match is_host(host) {
            true => Self::Absolute(Absolute { scheme, host, rest }),
            false => Self::Other,
        }
    }

    pub(crate) fn absolute(self) -> Option<Absolute<'a>> {
        match self {
            Self::Absolute(absolute) => Some(absolute),
            Self::Relative { .. } | Self::Other => None,
        }
    }
}

impl<'a> Absolute<'a> {
    /// The host in its [normal form](normal_host). Without a scheme of its own a link has that of where it stands.
    pub(crate) fn host(&self, scheme: &str) -> String {
        normal_host(self.host, self.scheme.unwrap_or(scheme))
    }

    /// What comes behind the host, from the root (RFC 9110 §4.2.3: an empty path is `/`).
    pub(crate) fn rooted(&self) -> Cow<'a, str> {
        match self.rest.strip_prefix('\\') {
            _ if self.rest.starts_with('/') => Cow::Borrowed(self.rest),
            rest => Cow::Owned(format!("/{}", rest.unwrap_or(self.rest))),
        }
    }
}

/// A link without the line breaks that a browser takes out wherever they stand.
pub(crate) fn cleaned(link: &str) -> Cow<'_, str> {
    let is_break = |char| matches!(char, '\t' | '\n' | '\r');
    match link.trim_matches(is_space) {
        link if link.contains(is_break) => Cow::Owned(link.replace(is_break, "")),
        link => Cow::Borrowed(link),
    }
}

fn is_space(char: char) -> bool {
    char <= ' '
}

fn is_scheme(text: &str) -> bool {
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|char: char| char.is_ascii_alphabetic()) && text.bytes().all(is_of_scheme)
}

fn known(scheme: &str) -> Option<&'static str> {
    ["https", "http"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))
}

fn is_host(text: &str) -> bool {
    // A reference to a character is not resolved where a page is read.
    let is_plain = !text.contains(['@', '&']);
    is_plain && Authority::try_from(text).is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_names_a_host_is_told_from_one_that_does_not() {
        for (link, expected) in [
            ("http://a.test:80/b?c#d", Some(("a.test", "/b?c#d"))),
            ("HTTPS://A.test", Some(("a.test", "/"))),
            ("https://a.test:80/b", Some(("a.test:80", "/b"))),
            (" //a.test?b", Some(("a.test", "/?b"))),
            ("//a.test:443/b", Some(("a.test", "/b"))),
            ("//[::1]:8080/b", Some(("[::1]:8080", "/b"))),
            ("\\\\a.test\\b", Some(("a.test", "/b"))),
            ("///a.test#b", Some(("a.test", "/#b"))),
            ("http:////a.test//b", Some(("a.test", "//b"))),
            ("h\nttp://a.te\r\n\tst/b\n", Some(("a.test", "/b"))),
            ("/a//b", None),
            ("a", None),
            ("http:a", None),
            ("https:/a", None),
            ("//", None),
            ("http://", None),
            ("http://:80/", None),
            ("http://user@a.test/", None),
            ("//a&amp;b/", None),
            ("//a b/", None),
            ("mailto:a@b.test", None),
            ("ftp://a.test/", None),
        ] {
            let link = cleaned(link);
            let found = Reference::of(&link).absolute();
            let found = found.map(|found| (found.host("https"), found.rooted().into_owned()));
            let expected = expected.map(|(host, rest)| (host.to_owned(), rest.to_owned()));
            assert_eq!(found, expected, "{link}");
        }
    }

    #[test]
    fn what_names_no_host_is_relative_or_no_page() {
        let relative = |scheme, rest| Reference::Relative { scheme, rest };
        for (link, expected) in [
            ("", relative(None, "")),
            (" a/b ", relative(None, "a/b")),
            ("/a:b", relative(None, "/a:b")),
            ("\\a", relative(None, "\\a")),
            ("?a:b", relative(None, "?a:b")),
            ("1:b", relative(None, "1:b")),
            ("HTTP:a", relative(Some("http"), "a")),
            ("https:/a?b", relative(Some("https"), "/a?b")),
            ("mailto:a@b.test", Reference::Other),
            ("data:text/html,//a", Reference::Other),
            ("tel:1", Reference::Other),
            ("a:b", Reference::Other),
            ("http://", Reference::Other),
            ("//user@a.test", Reference::Other),
        ] {
            assert_eq!(Reference::of(link), expected, "{link}");
        }
    }
}
