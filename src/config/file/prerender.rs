//! `[prerender]`: what is rendered at the start.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigFile, Spans, in_order, scalar};
use crate::config::error::ConfigError;
use crate::config::given::Given;
use crate::config::prerender::{PrerenderOptions, Scope};

const KEYS: [&str; 8] = [
    "pages",
    "sitemaps",
    "crawl",
    "scope",
    "concurrency",
    "max_rps",
    "max_pages",
    "max_depth",
];

impl ConfigFile {
    /// With the places of what is named, for errors that are found when it is read.
    pub(super) fn prerender_section(
        &self,
        table: &DeTable<'_>,
        spans: &mut Spans,
    ) -> Result<PrerenderOptions, ConfigError> {
        let mut options = PrerenderOptions::default();
        for (name, value) in in_order(table) {
            match &**name.get_ref() {
                "pages" => options.pages = self.list("pages", value, spans)?,
                "sitemaps" => options.sitemaps = self.list("sitemaps", value, spans)?,
                "crawl" => options.crawl = self.switch("crawl", value)?,
                "scope" => options.scope = self.scope(value)?,
                "concurrency" => options.concurrency = self.number("concurrency", value)?,
                "max_rps" => options.max_rps = self.number("max_rps", value)?,
                "max_pages" => options.max_pages = self.number("max_pages", value)?,
                "max_depth" => options.max_depth = self.number("max_depth", value)?,
                _ => return Err(self.unknown_key(name, "[prerender]", KEYS)),
            }
        }
        Ok(options)
    }

    fn number(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<usize, ConfigError> {
        let given = scalar(value.get_ref());
        let number = match given {
            Given::Integer(number) => usize::try_from(number).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.misfit(name, "a number", &given.describe(), value.span()))
    }

    fn scope(&self, value: &Spanned<DeValue<'_>>) -> Result<Scope, ConfigError> {
        let given = scalar(value.get_ref());
        let known = [Scope::Missing, Scope::Stale, Scope::All];
        let found = match &given {
            Given::Text(text) => known.into_iter().find(|scope| scope.as_str() == text),
            _ => None,
        };
        let expected = "\"missing\", \"stale\" or \"all\"";
        found.ok_or_else(|| self.misfit("scope", expected, &given.describe(), value.span()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<Option<PrerenderOptions>, ConfigError> {
        parse(Path::new("config.toml"), text).map(|file| file.prerender)
    }

    #[test]
    fn the_section_is_read() {
        assert_eq!(read("[server]").unwrap(), None);
        assert_eq!(read("[prerender]").unwrap(), Some(PrerenderOptions::default()));
        let text = "[prerender]\npages = [\"/\"]\nsitemaps = [\"/sitemap.xml\"]\ncrawl = true\nscope = \"all\"\n\
                    concurrency = 2\nmax_rps = 5\nmax_pages = 100\nmax_depth = 3\n";
        let expected = PrerenderOptions {
            pages: vec!["/".into()],
            sitemaps: vec!["/sitemap.xml".into()],
            crawl: true,
            scope: Scope::All,
            concurrency: 2,
            max_rps: 5,
            max_pages: 100,
            max_depth: 3,
        };
        assert_eq!(read(text).unwrap(), Some(expected));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, expected) in [
            (
                "prerender = 1",
                "`prerender` must be a section begun with `[prerender]`",
            ),
            ("[prerender]\nurls = []", "unknown key `urls` in [prerender]"),
            ("[prerender]\npages = \"/\"", "`pages` must be a list of texts"),
            (
                "[prerender]\nscope = \"new\"",
                "`scope` must be \"missing\", \"stale\" or \"all\"",
            ),
            ("[prerender]\nmax_rps = -1", "`max_rps` must be a number"),
            ("[prerender]\ncrawl = 1", "`crawl` must be true or false"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
