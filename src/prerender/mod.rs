//! Prerendering: pages are fetched and stored before anybody asks for them.
//!
//! Each page is an order (`proxy::order`), so what is stored, and as what, is decided by the rules that hold for
//! visitors. Here is which pages, and how fast: `plan` holds what is to be done and what has been, `site` reads
//! addresses, `links` and `sitemap` find more of them, `drive` asks, and `pace` holds back where the backend wants it.
//!
//! Nothing is kept from one run to the next: what is stored and fresh is not asked for again, so a run that was
//! broken off is resumed by another one.

#[cfg(feature = "crawl")]
mod css;
mod drive;
#[cfg(feature = "crawl")]
mod follow;
#[cfg(feature = "crawl")]
mod links;
mod pace;
mod plan;
#[cfg(feature = "cli")]
mod relink;
mod renderer;
mod report;
mod run;
mod site;
#[cfg(feature = "crawl")]
mod sitemap;

use std::sync::Arc;
use std::time::Duration;

pub use crate::config::{PrerenderOptions, Scope};
pub use crate::proxy::Became;
pub use renderer::Renderer;
pub use report::{Event, PageReport, Summary};

#[cfg(test)]
pub(crate) use pace::Pace;
pub(crate) use pace::Paced;
pub(crate) use site::Site;
#[cfg(feature = "cli")]
pub(crate) use {
    drive::{Heard, Work, drive},
    follow::MOST_READ,
    links::Links,
    relink::{Standing, in_css, relinked},
    run::wait_of,
    site::Link,
};

use crate::config::CreateProxyConfig;
use crate::config::check::rule_book;
use crate::error::{Error, ErrorKind};
use crate::proxy::Proxy;

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
    at_pace(proxy, options, &Paced::new(options), observe).await
}

async fn at_pace(
    proxy: &Proxy,
    options: &PrerenderOptions,
    paced: &Arc<Paced>,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Summary, Error> {
    if !proxy.may_write().await {
        return Err(read_only(proxy));
    }
    let seeds = run::seeds(proxy, options, &mut observe).await?;
    let seeds = (seeds, run::Redirects::Followed);
    Ok(run::run(proxy, options, seeds, paced, observe).await)
}

/// Whether this could be done for a site with this configuration. Touches no directory.
///
/// # Errors
/// A configuration that cannot work, an address that is none of the site's or cannot be read, or nothing to do.
pub fn check(config: &CreateProxyConfig, options: &PrerenderOptions) -> Result<(), Error> {
    let rules = rule_book(config)?;
    let site = Site::new(&rules.general().site, &config.settings.proxy_url);
    run::named(&site, options).map(drop)
}

fn read_only(proxy: &Proxy) -> Error {
    if proxy.is_frozen() {
        let what = "nothing is rendered: only what is stored is served (`frozen`), and no backend is asked";
        return Error::new(ErrorKind::Frozen, what).with_hint("render without `frozen` (`--frozen=false`)");
    }
    let directory = match proxy.snapshot_dir() {
        Some(directory) => directory.display().to_string(),
        None => "the snapshot directory".into(),
    };
    let what = format!("cannot prerender into {directory}: this process may not write there");
    Error::new(ErrorKind::Locked, what).with_hint(
        "most likely a server runs on it, and no control server answers where its `.phantom/server.json` says: have that one render (`POST /refresh-cache?mode=render` on its control \
         port, or `[prerender]` in its configuration), stop it, or prerender into another directory",
    )
}

/// The longest that a backend is waited for when it says how long.
const MOST_PATIENCE: Duration = Duration::from_secs(300);
