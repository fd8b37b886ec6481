//! Sitemaps (sitemaps.org): sets of URLs, indexes of sitemaps, and plain lists, gzipped or not.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::links::decoded;

/// The protocol's own limit on a sitemap, uncompressed.
pub(super) const MAX_BYTES: usize = 50 << 20;

/// Elements within elements; a sitemap has three, and what extensions put there.
const DEEPEST: usize = 32;

/// What a sitemap leads to, as it is written there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sitemap {
    pub(super) sitemaps: Vec<String>,
    pub(super) pages: Vec<String>,
}

impl Sitemap {
    /// At most `most` addresses of each kind.
    ///
    /// # Errors
    /// What it is instead of a sitemap.
    pub(super) fn read(bytes: &[u8], most: usize) -> Result<Self, String> {
        // By what it is, not by what it is called: some servers undo the coding, and others name it twice.
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            MultiGzDecoder::new(bytes)
                .take(MAX_BYTES as u64 + 1)
                .read_to_end(&mut plain)
                .map_err(|error| format!("the sitemap is gzipped and broken: {error}"))?;
            if plain.len() > MAX_BYTES {
                return Err(format!("the sitemap is larger than {} MiB", MAX_BYTES >> 20));
            }
            return Self::of_text(&String::from_utf8_lossy(&plain), most);
        }
        Self::of_text(&String::from_utf8_lossy(bytes), most)
    }

    fn of_text(text: &str, most: usize) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        match text.starts_with('<') {
            true => Self::of_xml(text, most),
            false => Self::of_lines(text, most),
        }
    }

    fn of_lines(text: &str, most: usize) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let pages: Vec<String> = lines.take(most).map(str::to_owned).collect();
        match pages.iter().all(|page| page.starts_with("http")) && !pages.is_empty() {
            true => Ok(Self {
                pages,
                ..Self::default()
            }),
            false => Err("this is no sitemap: neither XML nor a list of URLs".into()),
        }
    }

    fn of_xml(text: &str, most: usize) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let (mut found, mut kind) = (Self::default(), None);
        // The names of the elements that are open, without their prefixes.
        let mut open: Vec<String> = Vec::new();
        let mut location = String::new();
        // What comes behind is not read.
        while found.pages.len().max(found.sitemaps.len()) < most {
            let event = reader
                .read_event()
                .map_err(|error| format!("the sitemap is no XML: {error}"))?;
            match event {
                Event::Start(start) => {
                    let name = start.local_name().into_inner().to_owned();
                    kind = kind.or_else(|| Kind::of(&name));
                    if open.is_empty() && kind.is_none() {
                        return Err(format!("this is no sitemap: it begins with <{name}>"));
                    }
                    if open.len() >= DEEPEST {
                        return Err(format!(
                            "this is no sitemap: its elements are more than {DEEPEST} deep"
                        ));
                    }
                    found.pages.extend(alternate(&start));
                    open.push(name);
                    location.clear();
                }
                Event::Empty(empty) => found.pages.extend(alternate(&empty)),
                Event::Text(text) => location.push_str(&text),
                Event::CData(data) => location.push_str(&data),
                Event::GeneralRef(name) => location.push_str(&decoded(&format!("&{};", &*name))),
                Event::End(_) => {
                    let address = location.trim();
                    if is_at(&open, ["sitemapindex", "sitemap", "loc"]) {
                        found.sitemaps.push(address.to_owned());
                    } else if is_at(&open, ["urlset", "url", "loc"]) {
                        found.pages.push(address.to_owned());
                    }
                    open.pop();
                    location.clear();
                }
                Event::Eof if open.is_empty() && kind.is_some() => return Ok(found),
                Event::Eof => return Err("the sitemap ends too soon".into()),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn is_at(open: &[String], path: [&str; 3]) -> bool {
    open.len() == path.len() && open.iter().zip(path).all(|(name, wanted)| name == wanted)
}

enum Kind {
    Index,
    Set,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "sitemapindex" => Some(Self::Index),
            "urlset" => Some(Self::Set),
            _ => None,
        }
    }
}

/// `<xhtml:link rel="alternate" hreflang="de" href="…"/>`: the same page in another language.
fn alternate(element: &quick_xml::events::BytesStart<'_>) -> Option<String> {
    if element.local_name().into_inner() != "link" {
        return None;
    }
    let address = element.try_get_attribute("href").ok()??;
    Some(decoded(&address.value))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const SET: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="i" xmlns:xhtml="x">
          <url><loc> https://example.com/a?b=1&amp;c=2 </loc><lastmod>2026-01-01</lastmod>
            <image:image><image:loc>https://example.com/i.png</image:loc></image:image>
            <xhtml:link rel="alternate" hreflang="de" href="https://example.com/de?x&amp;y"/></url>
          <url><loc><![CDATA[https://example.com/c]]></loc></url>
        </urlset>"#;

    fn set() -> Sitemap {
        let pages = ["a?b=1&c=2", "de?x&y", "c"].map(|page| format!("https://example.com/{page}"));
        Sitemap {
            pages: pages.into(),
            ..Sitemap::default()
        }
    }

    #[test]
    fn sitemaps_are_read_plain_gzipped_and_as_lists() {
        assert_eq!(Sitemap::read(SET.as_bytes(), 9), Ok(set()));
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(SET.as_bytes()).unwrap();
        let gzipped = coder.finish().unwrap();
        assert_eq!(Sitemap::read(&gzipped, 9), Ok(set()));
        let broken = Sitemap::read(&gzipped[..gzipped.len() / 2], 9).unwrap_err();
        assert!(broken.contains("broken"), "{broken}");
        let list = "\u{feff}https://example.com/a\r\n\r\nhttps://example.com/b\n";
        assert_eq!(Sitemap::read(list.as_bytes(), 9).unwrap().pages.len(), 2);
        assert_eq!(Sitemap::read(SET.as_bytes(), 1).unwrap().pages.len(), 1);
    }

    #[test]
    fn what_is_behind_the_last_address_that_is_wanted_is_not_read() {
        let url = "<url><loc>/a</loc></url>";
        let text = format!("<urlset>{}</broken>", url.repeat(3));
        assert_eq!(Sitemap::read(text.as_bytes(), 3).unwrap().pages.len(), 3);
        assert!(Sitemap::read(text.as_bytes(), 4).is_err());
        let list = "https://example.com/a\n".repeat(3) + "broken";
        assert_eq!(Sitemap::read(list.as_bytes(), 3).unwrap().pages.len(), 3);
        assert!(Sitemap::read(list.as_bytes(), 4).is_err());
    }

    #[test]
    fn an_index_leads_to_sitemaps() {
        let index = "<sitemapindex><sitemap><loc>/one.xml</loc></sitemap><sitemap><loc>/two.xml.gz</loc>\
                     </sitemap></sitemapindex>";
        let found = Sitemap::read(index.as_bytes(), 9).unwrap();
        assert_eq!(found.sitemaps, ["/one.xml", "/two.xml.gz"]);
        assert!(found.pages.is_empty());
    }

    #[test]
    fn what_is_no_sitemap_is_said() {
        for (text, expected) in [
            ("<!doctype html><html><body>", "begins with <html>"),
            ("<urlset><url><loc>/a", "too soon"),
            ("<urlset></set>", "no XML"),
            (&format!("<urlset>{}", "<url>".repeat(DEEPEST)), "32 deep"),
            ("nothing", "neither"),
            ("", "neither"),
            ("<?xml version=\"1.0\"?>", "too soon"),
        ] {
            let error = Sitemap::read(text.as_bytes(), 9).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
