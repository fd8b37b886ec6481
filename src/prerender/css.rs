//! The addresses in a style sheet: `url(…)` and `@import "…"`. No parser: what is an address in a comment too is
//! followed too, and leads nowhere at worst.

use memchr::{memchr, memchr3_iter};

/// The longest address, in bytes; what is longer is data.
const LONGEST: usize = 4096;

/// In the order in which they stand there. Each byte is looked at a few times, whatever the text.
pub(super) fn addresses(css: &str) -> impl Iterator<Item = &str> {
    let mut ends = [b')', b'"', b'\''].map(End::new);
    let mut from = 0;
    let places = memchr3_iter(b'u', b'U', b'@', css.as_bytes());
    places.filter_map(move |at| {
        if at < from {
            return None;
        }
        let begin = at + word_at(css, at)?.len();
        let behind = css.get(begin..)?.trim_start();
        let begin = css.len() - behind.len();
        let quote = behind.bytes().next().filter(|byte| matches!(byte, b'"' | b'\''));
        let (begin, closing) = match quote {
            Some(quote) => (begin + 1, quote),
            None if css.as_bytes().get(at) == Some(&b'@') => return None,
            None => (begin, b')'),
        };
        let end = ends.iter_mut().find(|end| end.byte == closing)?;
        let end = end.behind(css, begin)?;
        from = end;
        let address = css
            .get(begin..end)
            .filter(|address| address.len() <= LONGEST)?
            .trim();
        // An escape is not undone; and what is not quoted holds neither of the others.
        let is_address = |address: &str| match quote {
            Some(_) => !address.contains('\\'),
            None => !address.contains(['\\', '(', '"', '\'']),
        };
        Some(address).filter(|address| !address.is_empty() && is_address(address))
    })
}

/// In any case. The words are ASCII, so a place where one begins is one where a character begins.
fn word_at(css: &str, at: usize) -> Option<&'static str> {
    let text = css.as_bytes().get(at..)?;
    let is_there = |word: &&str| {
        let begin = text.get(..word.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()))
    };
    ["url(", "@import"].into_iter().find(is_there)
}

/// The next of one byte, looked for once.
struct End {
    byte: u8,
    next: Option<usize>,
    /// Up to here it has been looked for.
    known: usize,
}

impl End {
    fn new(byte: u8) -> Self {
        Self {
            byte,
            next: None,
            known: 0,
        }
    }

    fn behind(&mut self, css: &str, begin: usize) -> Option<usize> {
        if self.next.is_some_and(|next| next >= begin) {
            return self.next;
        }
        if begin >= self.known {
            let found = memchr(self.byte, css.as_bytes().get(begin..)?);
            self.next = found.map(|found| begin + found);
            self.known = self.next.map_or(css.len() + 1, |next| next + 1);
            return self.next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_leads_to_its_fonts_images_and_other_sheets() {
        for (css, expected) in [
            ("@import 'a.css'; @import url(\"b.css\");", "a.css b.css"),
            ("x{background:URL( /c.png ),url('d (1).png')}", "/c.png d (1).png"),
            ("x{background:url()}y{content:\"url\"}", ""),
            ("ü{background:url(ü.png)", "ü.png"),
            ("@import", ""),
            ("url(", ""),
            ("url(\"a", ""),
            ("url(\"a);url(b)", "b"),
            ("url(a", ""),
            ("url(url(url(a)", ""),
            ("url(a url(b) url(c)", "c"),
            ("url('url(a)') url(  b  )", "url(a) b"),
            ("@import url(a) @import b 'c'", "a"),
            ("url(a\\)b)", ""),
        ] {
            assert_eq!(addresses(css).collect::<Vec<_>>().join(" "), expected, "{css}");
        }
    }

    #[test]
    fn what_never_ends_is_looked_through_once_and_what_is_long_is_no_address() {
        const MANY: usize = 1 << 20;
        // Quadratic, any of these would go on for hours.
        for (word, end, expected) in [
            ("url(", "", 0),
            ("url(", ")", 0),
            ("url(\"", "", 0),
            ("url( ", "", 0),
            ("@import \"", "", 0),
            ("url(a)", "", MANY),
        ] {
            let css = word.repeat(MANY) + end;
            let found = addresses(&css);
            let longest = found.map(|address| address.len().min(LONGEST + 1));
            let (count, longest) = longest.fold((0, 0), |(count, most), len| (count + 1, most.max(len)));
            assert!(longest <= LONGEST, "{word}");
            assert!(expected == 0 || count == expected, "{word}: {count}");
        }
        let long = "a".repeat(LONGEST);
        let css = format!("url({long}) url({long}a) url(b)");
        let found: Vec<usize> = addresses(&css).map(str::len).collect();
        assert_eq!(found, [LONGEST, 1]);
    }
}
