//! Which hashed assets a page or a style sheet names.
//!
//! Looked for are names, not elements: whatever has the form of a hashed asset's address counts, wherever it stands (attributes, `srcset`,
//! `url()`, the data that a framework's script hydrates from). One that is only shown keeps an asset that nobody needs.

use std::collections::BTreeSet;

use http::header::{self, HeaderMap};
use memchr::memchr;

use crate::assets::{Assets, MAX_ASSETS, MAX_LENGTH, is_hashed};
use crate::policy::fill::FillRequest;
use crate::policy::store::{is_html, media_type};

/// What is read of a body, in bytes.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// What addresses are relative to.
#[derive(Debug, Clone)]
pub(crate) struct Finder {
    /// Of the site: those of others are not ours.
    authority: Option<Box<str>>,
    path: Box<str>,
}

impl Finder {
    /// For the answer to `request` with these fields; none where its body names nothing that can be read.
    pub(crate) fn for_response(headers: &HeaderMap, request: &FillRequest) -> Option<Self> {
        let kind = media_type(headers);
        let is_read = is_html(&kind) || kind == "text/css";
        let is_coded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let host = request.headers.get(header::HOST);
        let authority = host.and_then(|host| host.to_str().ok());
        (is_read && !is_coded).then(|| Self {
            authority: authority.map(Into::into),
            path: request.target.path().into(),
        })
    }

    /// Those in what `body` gives, which is asked for only where there may be any.
    pub(crate) fn find_by<B: AsRef<[u8]>, E>(
        finder: Option<Self>,
        body: impl FnOnce() -> Result<B, E>,
    ) -> Result<Assets, E> {
        match finder {
            Some(finder) => Ok(finder.find(body()?.as_ref())),
            None => Ok(Assets::default()),
        }
    }

    /// The first of those in the beginning of `body`.
    fn find(&self, body: &[u8]) -> Assets {
        let body = body.get(..MOST_BYTES).unwrap_or(body);
        let mut found = BTreeSet::new();
        let mut path = String::new();
        let mut rest = Rest { body, done: 0 };
        while let Some((before, word)) = rest.next_word() {
            if self.resolve(before, word, &mut path).is_some()
                && is_hashed(&path)
                && *path != *self.path
                && !found.contains(path.as_str())
            {
                found.insert(path.clone());
                if found.len() == MAX_ASSETS {
                    break;
                }
            }
        }
        Assets::of(found.iter().map(String::as_str))
    }

    /// Puts into `path` what a word stands for. One without a slash at its beginning is an address only where nothing else
    /// can stand, and what is behind an escape, a placeholder or a letter of another script is half of one.
    fn resolve(&self, before: &[u8], word: &str, path: &mut String) -> Option<()> {
        path.clear();
        if matches!(before, [.., b'\\' | b'}' | b')' | 0x80..]) {
            return None;
        }
        let is_of_site = |authority: &str| {
            let own = self.authority.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(authority))
        };
        let rooted = match word.split_once("//") {
            Some(("" | "http:" | "https:", rest)) => {
                let (authority, _) = rest.split_once('/')?;
                rest.strip_prefix(authority).filter(|_| is_of_site(authority))?
            }
            _ if word.contains(':') => return None,
            _ => word,
        };
        if rooted.len() > MAX_LENGTH {
            return None;
        }
        if !rooted.starts_with('/') {
            if !rooted.starts_with("./") && !rooted.starts_with("../") && !is_address_behind(before) {
                return None;
            }
            let (folder, _) = self.path.rsplit_once('/')?;
            if !folder.is_empty() {
                join(path, folder);
            }
        }
        join(path, rooted);
        Some(())
    }
}

/// RFC 3986 §5.2.4, for what ends in a name.
fn join(path: &mut String, segments: &str) {
    for segment in segments.strip_prefix('/').unwrap_or(segments).split('/') {
        match segment {
            "." => {}
            ".." => path.truncate(path.rfind('/').unwrap_or(0)),
            segment => {
                path.push('/');
                path.push_str(segment);
            }
        }
    }
}

/// `href=`, `url(`, with or without a quote.
fn is_address_behind(before: &[u8]) -> bool {
    let before = match before {
        [before @ .., b'"' | b'\''] => before,
        before => before,
    };
    matches!(before, [.., b'=' | b'('])
}

/// What has not been looked through.
struct Rest<'a> {
    body: &'a [u8],
    done: usize,
}

impl<'a> Rest<'a> {
    /// The next run of an address's characters that has a dot in it, without its query, and what is before it.
    fn next_word(&mut self) -> Option<(&'a [u8], &'a str)> {
        let rest = self.body.get(self.done..)?;
        let (left, right) = rest.split_at_checked(memchr(b'.', rest)?)?;
        let start = left
            .iter()
            .rposition(|byte| !is_of_path(*byte))
            .map_or(0, |at| at + 1);
        let length = right.iter().take_while(|byte| is_of_path(**byte)).count();
        let end = left.len() + length;
        let (from, to) = (self.done + start, self.done + end);
        self.done = to;
        if let Some(query) = self
            .body
            .get(to..)
            .filter(|rest| matches!(rest, [b'?' | b'#', ..]))
        {
            self.done += query.iter().take_while(|byte| !ends_address(**byte)).count();
        }
        let word = std::str::from_utf8(self.body.get(from..to)?).unwrap_or_default();
        Some((self.body.get(..from)?, word))
    }
}

fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'%' | b'+' | b'@' | b':')
}

fn ends_address(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'(' | b')' | b'\\' | b'`')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, body: &str) -> Vec<String> {
        let finder = Finder {
            authority: Some("site.test".into()),
            path: path.into(),
        };
        finder.find(body.as_bytes()).iter().map(str::to_owned).collect()
    }

    #[test]
    fn hashed_assets_of_the_site_are_found_wherever_they_stand() {
        for (path, body, expected) in [
            ("/", "", &[][..]),
            ("/", "no name. None at all.", &[]),
            ("/", "<script src=\"/app.3f9a2c1b.js\">", &["/app.3f9a2c1b.js"]),
            ("/", "<script src=/app.3f9a2c1b.js defer>", &["/app.3f9a2c1b.js"]),
            (
                "/",
                "<link href='/a.3f9a2c1b.css?v=9.12345678.js'>",
                &["/a.3f9a2c1b.css"],
            ),
            (
                "/",
                "/a.3f9a2c1b.js /b.3f9a2c1b.js /a.3f9a2c1b.js",
                &["/a.3f9a2c1b.js", "/b.3f9a2c1b.js"],
            ),
            (
                "/",
                "srcset=\"/s-3f9a2c1b.png 1x, /l-3f9a2c1b.png 2x\"",
                &["/l-3f9a2c1b.png", "/s-3f9a2c1b.png"],
            ),
            (
                "/",
                "push([1,\"HL[\\\"/_next/static/css/x.css\\\",\\\"style\\\"]\"])",
                &["/_next/static/css/x.css"],
            ),
            ("/", "[\\\"static/chunks/8069-3f9a2c1b.js\\\"]", &[]),
            (
                "/a/b",
                "<img src=\"img/x-3f9a2c1b.png\">",
                &["/a/img/x-3f9a2c1b.png"],
            ),
            ("/", "<img src=x-3f9a2c1b.png>", &["/x-3f9a2c1b.png"]),
            (
                "/",
                "\"\\/a\\/x-3f9a2c1b.png\" `${a}/x-3f9a2c1b.png` \"ä/x-3f9a2c1b.png\"",
                &[],
            ),
            ("/a/b", "<img src=../x-3f9a2c1b.png>", &["/x-3f9a2c1b.png"]),
            ("/a/b", "import(\"./x-3f9a2c1b.js\")", &["/a/x-3f9a2c1b.js"]),
            ("/a/b", "\"../../../x-3f9a2c1b.js\"", &["/x-3f9a2c1b.js"]),
            ("/s/a.css", "@import 'x-3f9a2c1b.css';", &[]),
            (
                "/s/a.css",
                "@font-face{src:url(x-3f9a2c1b.woff2)}",
                &["/s/x-3f9a2c1b.woff2"],
            ),
            ("/s/a.3f9a2c1b.css", "a{b:url('./a.3f9a2c1b.css')}", &[]),
            (
                "/",
                "<img src=\"https://SITE.test/x-3f9a2c1b.png\">",
                &["/x-3f9a2c1b.png"],
            ),
            (
                "/",
                "<img src=\"//site.test/x-3f9a2c1b.png\">",
                &["/x-3f9a2c1b.png"],
            ),
            ("/", "<img src=\"https://cdn.test/x-3f9a2c1b.png\">", &[]),
            ("/", "<img src=\"//cdn.test/x-3f9a2c1b.png\">", &[]),
            ("/", "<a href=\"mailto:x-3f9a2c1b.png\">", &[]),
            ("/", "<a href=\"/post-3f9a2c1b.html\">/app.js", &[]),
            ("/", "../..", &[]),
            ("/", "?.?", &[]),
        ] {
            assert_eq!(found(path, body), expected, "{path} {body}");
        }
    }

    #[test]
    fn no_more_is_read_and_kept_than_may_be() {
        let name = |n: usize| format!("/{n}.3f9a2c1b.js ");
        let many: String = (0..2 * MAX_ASSETS).map(name).collect();
        assert_eq!(found("/", &many).len(), MAX_ASSETS);
        assert!(found("/", &many).contains(&"/0.3f9a2c1b.js".to_owned()));
        let long = "x".repeat(MOST_BYTES) + " /a.3f9a2c1b.js";
        assert!(found("/", &long).is_empty());
        let path = format!("/{}.3f9a2c1b.js", "x".repeat(MAX_LENGTH));
        assert!(found("/", &path).is_empty());
    }
}
