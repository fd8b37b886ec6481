//! What a page leads to and is made of: links, other addresses of the same, and assets.
//!
//! Followed are `a` and `area` (but for `rel="nofollow"`, with which a page marks what is not to be crawled:
//! filters, sessions, what an address does), canonical and alternate addresses, and whatever a browser would load.
//! `robots.txt` and robots fields are about search engines and not read. Forms are not sent.

use std::cell::RefCell;
use std::collections::HashSet;

use lol_html::html_content::{Element, TextChunk};
use lol_html::{HtmlRewriter, MemorySettings, Settings, element, text};

use super::css;

/// Memory for one page, in bytes; a tag that takes more ends the reading.
const MEMORY: usize = 4 << 20;

/// Elements that may lead somewhere.
const ELEMENTS: &str = "a[href],area[href],link[href],base[href],script[src],img,source,video,audio[src],\
    track[src],iframe[src],frame[src],embed[src],object[data],input[src],image[href],use[href],[style]";

/// Kinds of `link` that a browser loads, or that are pages.
const RELATIONS: [&str; 12] = [
    "alternate",
    "apple-touch-icon",
    "canonical",
    "icon",
    "manifest",
    "mask-icon",
    "modulepreload",
    "next",
    "prefetch",
    "preload",
    "prev",
    "stylesheet",
];

/// The addresses in a page, as they are written, each of them once.
#[derive(Debug)]
pub(crate) struct Links {
    /// What they are relative to, if not the page.
    pub(crate) base: Option<String>,
    pub(crate) found: Vec<String>,
    /// For want of room; one that is there twice is two of them.
    pub(crate) beyond: u64,
    seen: HashSet<Box<str>>,
    most: usize,
}

impl Links {
    fn at_most(most: usize) -> Self {
        Self {
            base: None,
            found: Vec::new(),
            beyond: 0,
            seen: HashSet::new(),
            most,
        }
    }

    /// So many at most of those in HTML, as far as it can be read, in the order in which they stand there.
    pub(crate) fn in_html(html: &[u8], most: usize) -> Self {
        let links = RefCell::new(Self::at_most(most));
        let style = RefCell::new(String::new());
        let settings = Settings::new()
            .with_strict(false)
            .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY))
            .append_element_content_handler(element!(ELEMENTS, |element: &mut Element<'_, '_>| {
                links.borrow_mut().add(element);
                Ok(())
            }))
            .append_element_content_handler(text!("style", |chunk: &mut TextChunk<'_>| {
                let mut style = style.borrow_mut();
                style.push_str(chunk.as_str());
                if chunk.last_in_text_node() {
                    links.borrow_mut().take(css::addresses(&style));
                    style.clear();
                }
                Ok(())
            }));
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        // What was found up to an error counts.
        match rewriter.write(html) {
            Ok(()) => drop(rewriter.end()),
            Err(_) => drop(rewriter),
        }
        links.into_inner()
    }

    /// So many at most of those in a style sheet.
    pub(crate) fn in_css(css: &[u8], most: usize) -> Self {
        let mut links = Self::at_most(most);
        links.take(css::addresses(&String::from_utf8_lossy(css)));
        links
    }

    fn take<'a>(&mut self, addresses: impl IntoIterator<Item = &'a str>) {
        for address in addresses {
            if self.seen.contains(address) {
                continue;
            }
            if self.found.len() >= self.most {
                self.beyond += 1;
                continue;
            }
            self.seen.insert(address.into());
            self.found.push(address.to_owned());
        }
    }

    fn add(&mut self, element: &Element<'_, '_>) {
        let value = |name: &str| element.get_attribute(name).map(|value| decoded(&value));
        let has_relation = |wanted: &[&str]| {
            let relations = value("rel").unwrap_or_default().to_ascii_lowercase();
            relations
                .split_ascii_whitespace()
                .any(|relation| wanted.contains(&relation))
        };
        let tag = element.tag_name();
        match &*tag {
            "base" if self.base.is_none() => self.base = value("href"),
            "a" | "area" if has_relation(&["nofollow"]) => {}
            "link" if !has_relation(&RELATIONS) => {}
            "base" => {}
            "object" => self.take(value("data").as_deref()),
            "a" | "area" | "link" | "image" | "use" => self.take(value("href").as_deref()),
            _ => self.take(value("src").as_deref()),
        }
        if tag == "video" {
            self.take(value("poster").as_deref());
        }
        for name in ["srcset", "imagesrcset"] {
            self.take(candidates_of(&value(name).unwrap_or_default()));
        }
        self.take(css::addresses(&value("style").unwrap_or_default()));
    }
}

/// The addresses in a `srcset`: each ends at white space, or at a comma where no descriptor follows.
fn candidates_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|char: char| char.is_ascii_whitespace() || char == ',');
        let end = rest.find(|char: char| char.is_ascii_whitespace());
        let (address, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let whole = address.trim_end_matches(',');
        rest = match whole.len() < address.len() {
            true => behind,
            false => behind.split_once(',').map_or("", |(_, next)| next),
        };
        (!whole.is_empty()).then_some(whole)
    })
}

/// `#x10FFFF;`, and a few zeros.
const LONGEST_REFERENCE: usize = 12;

/// Character references, as far as they stand in addresses: numbers, and the five names that XML knows.
pub(crate) fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        // No reference is longer, but for zeros that nobody writes.
        let end = behind
            .bytes()
            .take(LONGEST_REFERENCE)
            .position(|byte| byte == b';');
        let reference = end.and_then(|end| Some((named(behind.get(..end)?)?, behind.get(end + 1..)?)));
        match reference {
            Some((char, behind)) => {
                out.push(char);
                rest = behind;
            }
            None => {
                out.push('&');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

fn named(name: &str) -> Option<char> {
    let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16),
            None => number(&name[1..], 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_links_other_addresses_and_assets() {
        let html = br#"<!doctype html><html><head>
            <base href="/base/"><base href="/other/">
            <link rel="Canonical" href="/a?x=1&amp;y=2">
            <link rel="alternate" hreflang="de" href="/de">
            <link rel="dns-prefetch" href="//cdn.example"><link href="/none">
            <link rel="preload stylesheet" href="/style.css" as="style">
            <link rel=preload as=image imagesrcset="/s.png 1x, /l.png 2x" href="/s.png">
            <script src="/script.js"></script><script>var a = "<a href=/not>";</script>
            <style>body { background: url("/ground.png") }</style>
            </head><body style="background:url(/body.png)">
            <a href="/one">1</a><a href=/two rel="noopener">2</a><a rel="external nofollow" href="/three">3</a><a name=x>
            <map><area href="/four"></map>
            <img src="/img.png" srcset="/img-1.png 100w,/img-2.png 200w, /img,3.png,/img-4.png 2x">
            <picture><source srcset="/p.avif"></picture>
            <video src="/v.mp4" poster="/poster.jpg"><track src="/t.vtt"></video><audio src="/a.ogg"></audio>
            <iframe src="/frame"></iframe><object data="/o.svg"></object><input type=image src="/i.png">
            <svg><use href="/sprite.svg#x"/></svg><form action="/send"></form>
            <!-- <a href="/commented"> -->"#;
        let links = Links::in_html(html, 99);
        assert_eq!(links.base.as_deref(), Some("/base/"));
        let expected = "/a?x=1&y=2 /de /style.css /s.png /l.png /script.js /ground.png /body.png /one /two \
            /four /img.png /img-1.png /img-2.png /img,3.png,/img-4.png /p.avif /v.mp4 /poster.jpg /t.vtt /a.ogg \
            /frame /o.svg /i.png /sprite.svg#x";
        assert_eq!(links.found.join(" "), expected);
    }

    #[test]
    fn what_is_no_html_leads_nowhere_and_harms_nobody() {
        for html in [
            &b""[..],
            b"<",
            b"<a href=",
            b"\xff\xfe<a hr\xffef",
            b"<a href=\"&#x110000;&#;&;&amp\">",
        ] {
            let links = Links::in_html(html, 99);
            assert!(links.found.len() <= 1, "{links:?}");
        }
    }

    #[test]
    fn references_in_addresses_are_decoded() {
        for (text, expected) in [
            ("/a?b&amp;c", "/a?b&c"),
            ("&#47;a&#x2F;b", "/a/b"),
            ("/a?b&c=d;e", "/a?b&c=d;e"),
            ("&quot;&apos;&lt;&gt;&", "\"'<>&"),
            (
                "&x&üüüüüü&amp;&#0000000000000047;",
                "&x&üüüüüü&&#0000000000000047;",
            ),
        ] {
            assert_eq!(decoded(text), expected);
        }
        // Quadratic, it would go on for hours.
        let many = "&".repeat(4 << 20);
        assert_eq!(decoded(&format!("{many};")).len(), many.len() + 1);
    }

    #[test]
    fn each_address_is_found_once_and_no_more_of_them_than_there_is_room_for() {
        let html = "<a href=/a><a href=/a><p style='background:url(/b)'><img srcset='/b 1x,/c 2x,/d 3x'>";
        let links = Links::in_html(html.as_bytes(), 3);
        assert_eq!((links.found.join(" "), links.beyond), ("/a /b /c".into(), 1));
        let links = Links::in_css(b"url(a)url(b)url(a)url(c)", 2);
        assert_eq!((links.found.join(" "), links.beyond), ("a b".into(), 1));
    }
}
