//! What a page, a style sheet or a sitemap leads to.

use std::sync::Arc;

use http::{StatusCode, header};

use super::PrerenderOptions;
use super::links::Links;
use super::plan::{Job, Kind, Origin};
use super::run::Found;
use super::site::{Link, Site};
use super::sitemap::Sitemap;
use crate::proxy::Ordered;

/// The largest page that is searched for links, in bytes.
pub(crate) const MOST_READ: usize = 8 << 20;
/// Sitemaps between a sitemap and the one that was asked for.
const MOST_NESTED: usize = 4;

pub(super) async fn look_through(
    options: &PrerenderOptions,
    site: &Arc<Site>,
    job: &Job,
    ordered: &Ordered,
) -> Found {
    let is_of = |kinds: &[&str]| {
        let said = ordered.headers.get(header::CONTENT_TYPE);
        let said = said.and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let kind = said.split(';').next().unwrap_or("").trim();
        kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    };
    let is_page = ordered.response == StatusCode::OK;
    let is_coded = ordered.headers.contains_key(header::CONTENT_ENCODING);
    let body = ordered.body.clone().filter(|_| is_page);
    let (site, job, most) = (Arc::clone(site), job.clone(), options.max_pages);
    let read: Box<dyn FnOnce() -> Found + Send> = match (job.kind, body) {
        (Kind::Sitemap, Some(body)) => Box::new(move || sitemap(&site, &job, &body, most)),
        (Kind::Sitemap, None) => {
            let is_redirect = ordered.headers.contains_key(header::LOCATION);
            return Found {
                problem: (!is_redirect).then(|| "there is no sitemap".into()),
                ..Found::default()
            };
        }
        (Kind::Page, Some(body)) if options.crawl && !is_coded => {
            let max_depth = options.max_depth;
            if is_of(&["text/html", "application/xhtml+xml"]) {
                Box::new(move || linked(&site, &job, Links::in_html(&body, most), max_depth))
            } else if is_of(&["text/css"]) {
                Box::new(move || linked(&site, &job, Links::in_css(&body, most), max_depth))
            } else {
                return Found::default();
            }
        }
        (Kind::Page, _) => return Found::default(),
    };
    // A reader that panics costs what it would have found.
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn linked(site: &Site, job: &Job, links: Links, max_depth: usize) -> Found {
    let mut found = Found {
        beyond: links.beyond,
        ..Found::default()
    };
    let base = links.base.and_then(|base| site.follow(&job.address, &base));
    let base = match base {
        Some(Link::Own(base)) => base,
        None => job.address.clone(),
        // All that is relative is another site's.
        Some(Link::Foreign) => return found,
    };
    let here: Arc<str> = site.shown(&job.address).into();
    for link in &links.found {
        match site.follow(&base, link) {
            Some(Link::Own(address)) if address != job.address => {
                if job.depth >= max_depth {
                    found.beyond += 1;
                    continue;
                }
                found.jobs.push(Job {
                    origin: Origin::Linked,
                    depth: job.depth + 1,
                    ..job.leads_to(address, &here)
                });
            }
            _ => {}
        }
    }
    found
}

fn sitemap(site: &Site, job: &Job, body: &[u8], most: usize) -> Found {
    let mut found = Found::default();
    let sitemap = match Sitemap::read(body, most) {
        Ok(sitemap) => sitemap,
        Err(problem) => {
            found.problem = Some(problem);
            return found;
        }
    };
    let here: Arc<str> = site.shown(&job.address).into();
    let sitemaps = sitemap.sitemaps.iter().map(|address| (address, Kind::Sitemap));
    let pages = sitemap.pages.iter().map(|address| (address, Kind::Page));
    for (address, kind) in sitemaps.chain(pages) {
        let nested = usize::from(kind == Kind::Sitemap);
        match site.follow(&job.address, address) {
            Some(Link::Own(_)) if job.depth + nested > MOST_NESTED => found.beyond += 1,
            Some(Link::Own(address)) => found.jobs.push(Job {
                kind,
                depth: (job.depth + nested) * nested,
                ..job.leads_to(address, &here)
            }),
            _ => found.foreign += 1,
        }
    }
    if found.jobs.is_empty() && found.foreign > 0 {
        found.problem = Some("every address in it is of another site; is `public_url` right?".into());
    }
    found
}
