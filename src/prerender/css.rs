//! The addresses in a style sheet: `url(…)` and `@import "…"`. No parser: what is an address in a comment too is
//! followed too, and leads nowhere at worst.

/// In the order in which they stand there.
pub(super) fn addresses(css: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = css;
    while let Some((at, word)) = next(rest) {
        let behind = rest[at + word.len()..].trim_start();
        let address = match word {
            "url(" => match quoted(behind) {
                Some(address) => Some(address),
                None => behind.split(')').next(),
            },
            _ => quoted(behind),
        };
        if let Some(address) = address {
            let address = address.trim();
            // What is loaded from within a sheet is never part of a page, and an escape is not undone.
            if !address.is_empty() && !address.contains('\\') {
                found.push(address.to_owned());
            }
        }
        rest = &rest[at + word.len()..];
    }
    found
}

fn next(text: &str) -> Option<(usize, &'static str)> {
    let lower = |word: &'static str| Some((position(text, word)?, word));
    match (lower("url("), lower("@import")) {
        (Some(url), Some(import)) => Some(url.min(import)),
        (url, import) => url.or(import),
    }
}

/// In any case. The words are ASCII, so a place where one begins is one where a character begins.
fn position(text: &str, word: &str) -> Option<usize> {
    text.as_bytes()
        .windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|char| matches!(char, '"' | '\''))?;
    text[1..].split_once(quote).map(|(address, _)| address)
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
            ("url(\"a", "\"a"),
            ("url(a\\)b)", ""),
        ] {
            assert_eq!(addresses(css).join(" "), expected, "{css}");
        }
    }
}
