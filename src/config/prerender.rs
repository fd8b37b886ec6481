//! What is rendered before anybody asks for it: [`PrerenderOptions`].

/// Which pages are rendered, of those that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scope {
    /// Those of which nothing is stored.
    Missing,
    /// Those, and what is stored and not fresh.
    #[default]
    Stale,
    /// All of them. What is stored and has a validator is asked about with it, so that a backend may say that it
    /// holds.
    All,
}

impl Scope {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::All => "all",
        }
    }
}

/// What is to be rendered, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrerenderOptions {
    /// `/path?query` as a visitor sends it, a full URL, or a key (`GET:/path?query`); with a `*`, a pattern of
    /// what is stored. Paths take a `public_url`, which says whose they are.
    pub pages: Vec<String>,
    /// Sitemaps, sitemap indexes and lists of URLs, gzipped or not, given as pages are. Takes the feature `crawl`.
    pub sitemaps: Vec<String>,
    /// Whether links and assets in HTML and CSS are followed within the site. Without a page and a sitemap, it
    /// begins at `/`. Takes the feature `crawl`.
    pub crawl: bool,
    /// Which of them are rendered.
    pub scope: Scope,
    /// Pages under way at once. Default: 4.
    pub concurrency: usize,
    /// Requests a second at most; 0 is no limit. Default: 0.
    pub max_rps: usize,
    /// Pages at most, those included that redirects, links and sitemaps lead to. Default: 10,000.
    pub max_pages: usize,
    /// Links between a page that is crawled and what was asked for, at most. Default: 16.
    pub max_depth: usize,
}

impl PrerenderOptions {
    /// Whether they name something to render, and not only how that is done.
    pub fn names_pages(&self) -> bool {
        self.crawl || !self.pages.is_empty() || !self.sitemaps.is_empty()
    }
}

impl Default for PrerenderOptions {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            sitemaps: Vec::new(),
            crawl: false,
            scope: Scope::default(),
            concurrency: 4,
            max_rps: 0,
            max_pages: 10_000,
            max_depth: 16,
        }
    }
}
