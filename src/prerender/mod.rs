//! Prerendering: pages are fetched and stored before anybody asks for them.
//!
//! Each page is an order (`proxy::order`), so what is stored, and as what, is decided by the rules that hold for
//! visitors. Here is which pages, and how fast: `plan` holds what is to be done and what has been, `site` reads
//! addresses, `links` and `sitemap` find more of them, and `pace` holds back where the backend wants it.
//!
//! Nothing is kept from one run to the next: what is stored and fresh is not asked for again, so a run that was
//! broken off is resumed by another one.

#[cfg(feature = "crawl")]
mod css;
#[cfg(feature = "crawl")]
mod links;
mod pace;
mod plan;
mod report;
mod run;
mod site;
#[cfg(feature = "crawl")]
mod sitemap;

use std::time::Duration;

pub use crate::proxy::{Became, Scope};
pub use report::{Event, PageReport, Summary};

use crate::error::{Error, ErrorKind};
use crate::proxy::Proxy;

/// What is to be rendered, and how fast.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrerenderOptions {
    /// `/path?query` as a visitor sends it, a full URL, or a key (`GET:/path?query`); with a `*`, a pattern of
    /// what is stored. Paths take a `public_url`, which says whose they are.
    pub pages: Vec<String>,
    /// Sitemaps, sitemap indexes and lists of URLs, gzipped or not, given as pages are.
    #[cfg(feature = "crawl")]
    pub sitemaps: Vec<String>,
    /// Whether links and assets in HTML and CSS are followed within the site. Without a page and a sitemap, it
    /// begins at `/`.
    #[cfg(feature = "crawl")]
    pub crawl: bool,
    /// Which of them are rendered.
    pub scope: Scope,
    /// Pages under way at once. Default: 4.
    pub concurrency: usize,
    /// Requests a second at most; 0 is no limit. Default: 0.
    pub max_rps: f64,
    /// Pages at most, those included that redirects, links and sitemaps lead to. Default: 10,000.
    pub max_pages: usize,
    /// Links between a page that is crawled and what was asked for, at most. Default: 16.
    pub max_depth: usize,
}

impl Default for PrerenderOptions {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            #[cfg(feature = "crawl")]
            sitemaps: Vec::new(),
            #[cfg(feature = "crawl")]
            crawl: false,
            scope: Scope::default(),
            concurrency: 4,
            max_rps: 0.0,
            max_pages: 10_000,
            max_depth: 16,
        }
    }
}

/// Renders pages, and tells `observe` of each as it is done.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use phantom_frame::prerender::{PrerenderOptions, prerender};
/// use phantom_frame::{CreateProxyConfig, Proxy};
///
/// let site = axum::Router::new().route("/", axum::routing::get(|| async { "home" }));
/// let config = CreateProxyConfig::new(String::new())
///     .with(|settings| settings.public_url = Some("https://example.com".into()));
/// let proxy = Proxy::in_process(site, config)?;
/// let mut options = PrerenderOptions::default();
/// options.pages = vec!["/".into()];
/// let summary = prerender(&proxy, &options, |_| {}).await?;
/// assert_eq!(summary.failed(), 0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// An address that is none of the site's or cannot be read, nothing to do, or a directory that this process cannot
/// write. Pages that fail are told in the summary.
///
/// # Cancel safety
/// What is under way when it is dropped is fetched to its end and stored.
pub async fn prerender(
    proxy: &Proxy,
    options: &PrerenderOptions,
    observe: impl FnMut(Event<'_>),
) -> Result<Summary, Error> {
    if !proxy.may_write().await {
        return Err(read_only(proxy));
    }
    run::run(proxy, options, observe).await
}

fn read_only(proxy: &Proxy) -> Error {
    let directory = match proxy.snapshot_dir() {
        Some(directory) => directory.display().to_string(),
        None => "the snapshot directory".into(),
    };
    let what = format!("cannot prerender into {directory}: this process may not write there");
    Error::new(ErrorKind::Directory, what).with_hint(
        "most likely a server runs on it: have that one render (`POST /refresh-cache?mode=render` on its control \
         port, or `[prerender]` in its configuration), stop it, or prerender into another directory",
    )
}

/// The longest that a backend is waited for when it says how long.
const MOST_PATIENCE: Duration = Duration::from_secs(300);
/// How often a page is asked for that the backend is too busy for.
const TRIES: u32 = 4;
