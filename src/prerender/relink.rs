//! A page or a style sheet with some of its addresses written otherwise, and otherwise byte for byte as it was: of a
//! page only those tags are written anew that hold one, and those style sheets in it.

use std::cell::Cell;

use lol_html::html_content::{ContentType, Element, TextChunk};
use lol_html::{HtmlRewriter, MemorySettings, Settings, element, text};

use super::css;
use super::links::{ELEMENTS, MEMORY, candidates_of};

/// Where an address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It says what the page is called elsewhere (canonical, alternate), not where somebody goes from here.
    Name,
    Link,
}

/// Says how an address, as it is written, is to be written; nothing if as it is.
pub(crate) type Change<'a> = dyn Fn(&str, Standing) -> Option<String> + 'a;

/// Attributes that hold one address.
const SINGLE: [&str; 4] = ["href", "src", "data", "poster"];

/// A page; nothing if nothing in it changes, or it cannot be read to its end.
pub(crate) fn relinked(html: &[u8], change: &Change<'_>) -> Option<Vec<u8>> {
    let changed = Cell::new(false);
    let style = Cell::new(String::new());
    let mut out = Vec::with_capacity(html.len());
    let settings = Settings::new()
        .with_strict(false)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY))
        .append_element_content_handler(element!(ELEMENTS, |element: &mut Element<'_, '_>| {
            if change_element(element, change) {
                changed.set(true);
            }
            Ok(())
        }))
        .append_element_content_handler(text!("style", |chunk: &mut TextChunk<'_>| {
            let mut sheet = style.take();
            sheet.push_str(chunk.as_str());
            if !chunk.last_in_text_node() {
                chunk.remove();
            } else if let Some(new) = in_css(&sheet, change) {
                chunk.replace(&new, ContentType::Html);
                changed.set(true);
                sheet.clear();
            } else {
                chunk.replace(&sheet, ContentType::Html);
                sheet.clear();
            }
            style.set(sheet);
            Ok(())
        }));
    let mut rewriter = HtmlRewriter::new(settings, |bytes: &[u8]| out.extend_from_slice(bytes));
    rewriter.write(html).ok()?;
    rewriter.end().ok()?;
    changed.get().then_some(out)
}

/// A style sheet; nothing if nothing in it changes.
pub(crate) fn in_css(sheet: &str, change: &Change<'_>) -> Option<String> {
    exchanged(sheet, css::addresses(sheet), &|address| {
        change(address, Standing::Link)
    })
}

fn change_element(element: &mut Element<'_, '_>, change: &Change<'_>) -> bool {
    let relations = element
        .get_attribute("rel")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_name = element.tag_name() == "link"
        && relations
            .split_ascii_whitespace()
            .any(|relation| matches!(relation, "canonical" | "alternate"));
    let standing = if is_name { Standing::Name } else { Standing::Link };
    let change = |address: &str| change(address, standing);
    let mut has_changed = false;
    let mut set = |element: &mut Element<'_, '_>, name: &str, value: Option<String>| {
        if let Some(value) = value {
            // The name is one that is there.
            has_changed |= element.set_attribute(name, &value).is_ok();
        }
    };
    for name in SINGLE {
        let value = element.get_attribute(name);
        let new = value.and_then(|value| exchanged(&value, [value.trim()], &change));
        set(element, name, new);
    }
    for name in ["srcset", "imagesrcset"] {
        let value = element.get_attribute(name);
        let new = value.and_then(|value| exchanged(&value, candidates_of(&value), &change));
        set(element, name, new);
    }
    let value = element.get_attribute("style");
    let new = value.and_then(|value| exchanged(&value, css::addresses(&value), &change));
    set(element, "style", new);
    has_changed
}

/// A text in which some of these parts of it stand otherwise.
fn exchanged<'a>(
    text: &'a str,
    parts: impl IntoIterator<Item = &'a str>,
    change: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    for part in parts {
        let Some(new) = change(part) else {
            continue;
        };
        let at = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        out.push_str(text.get(done..at)?);
        out.push_str(&new);
        done = at + part.len();
    }
    if done == 0 {
        return None;
    }
    out.push_str(text.get(done..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooted(address: &str, standing: Standing) -> Option<String> {
        let rest = address.strip_prefix("http://back.test")?;
        (standing == Standing::Link).then(|| format!("/{}", rest.trim_start_matches('/')))
    }

    #[test]
    fn what_changes_is_written_anew_and_nothing_else() {
        let html = b"<!DOCTYPE html>\r\n<P Class=x  id = 'y'>&nbsp;\xff</p>\
            <a  href=http://back.test/a?b&amp;c>a</a><a href='/own' >b</a>\
            <link rel=canonical href=\"http://back.test/a\">\
            <img src=x.png srcset='http://back.test/1.png 1x, /2.png 2x'>\
            <style>p{background:url(http://back.test/p.png)}</style><style>q{}</style>\
            <script>var a = \"http://back.test/s\"</script><i style='background:url(\"http://back.test/i\")'>";
        let out = relinked(html, &rooted).unwrap();
        let expected = b"<!DOCTYPE html>\r\n<P Class=x  id = 'y'>&nbsp;\xff</p>\
            <a href=\"/a?b&amp;c\">a</a><a href='/own' >b</a>\
            <link rel=canonical href=\"http://back.test/a\">\
            <img src=x.png srcset=\"/1.png 1x, /2.png 2x\">\
            <style>p{background:url(/p.png)}</style><style>q{}</style>\
            <script>var a = \"http://back.test/s\"</script><i style=\"background:url(&quot;/i&quot;)\">";
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
        assert!(out == expected);
    }

    #[test]
    fn what_does_not_change_is_left_alone() {
        for html in [
            &b"<a href=/a>"[..],
            b"",
            b"<a href=",
            b"<style>a{b:url(/c)}</style>",
        ] {
            assert_eq!(relinked(html, &rooted), None);
        }
        assert_eq!(in_css("a{b:url(/c)}", &rooted), None);
        let css = in_css(
            "@import 'http://back.test/a.css';b{c:url( http://back.test )}",
            &rooted,
        );
        assert_eq!(css.as_deref(), Some("@import '/a.css';b{c:url( / )}"));
    }
}
