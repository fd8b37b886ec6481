//! A run: pages are ordered as fast as the pace allows, and what they lead to joins the plan.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, StatusCode, header};

use super::pace::{Leave, Pace};
use super::plan::{Job, Kind, Origin, Plan};
use super::report::{Event, PageReport, Summary};
use super::site::{Link, Site};
use super::{PrerenderOptions, TRIES};
use crate::clock::system_now;
use crate::error::{Error, ErrorKind};
use crate::outcome::Reason;
use crate::pattern::KeyPattern;
use crate::proxy::{Became, Ordered, Proxy, Scope};

pub(super) async fn run(
    proxy: &Proxy,
    options: &PrerenderOptions,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Summary, Error> {
    let (rules, backend) = proxy.site();
    let mut run = Run {
        site: Arc::new(Site::new(rules, &backend)),
        plan: Plan::new(options.max_pages.max(1)),
        pace: Pace::new(options.concurrency, options.max_rps, Instant::now()),
        summary: Summary::default(),
        done: 0,
    };
    run.seed(proxy, options).await?;
    let mut under_way = FuturesUnordered::new();
    loop {
        let mut wake = None;
        while !run.plan.is_empty() {
            let now = Instant::now();
            match run.pace.leave(under_way.len(), now) {
                Leave::Now => {
                    let Some(job) = run.plan.next() else { break };
                    run.pace.begun(now);
                    under_way.push(render(proxy, options, Arc::clone(&run.site), job));
                }
                Leave::At(at) => {
                    wake = Some(at);
                    break;
                }
                Leave::Later => break,
            }
        }
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = under_way.next(), if !under_way.is_empty() => run.take_in(done, &mut observe),
            () = timer, if wake.is_some() => {}
            else => break,
        }
    }
    run.summary.beyond += run.plan.beyond;
    Ok(run.summary)
}

struct Run {
    site: Arc<Site>,
    plan: Plan,
    pace: Pace,
    summary: Summary,
    done: usize,
}

/// One job, done.
struct Done {
    job: Job,
    ordered: Ordered,
    found: Found,
    took: Duration,
}

/// What a job leads to.
#[derive(Default)]
struct Found {
    jobs: Vec<Job>,
    foreign: u64,
    /// For `max_depth`.
    beyond: u64,
    problem: Option<String>,
}

impl Run {
    async fn seed(&mut self, proxy: &Proxy, options: &PrerenderOptions) -> Result<(), Error> {
        let named = |address, kind| Job {
            address,
            kind,
            found_on: None,
            origin: Origin::Named,
            depth: 0,
            tries: 0,
        };
        for text in &options.pages {
            if !text.contains('*') {
                self.plan.add(named(self.site.asked(text)?, Kind::Page));
                continue;
            }
            for line in stored(proxy, text).await? {
                self.plan.add(named(self.site.asked(&line)?, Kind::Page));
            }
        }
        #[cfg(feature = "crawl")]
        {
            for text in &options.sitemaps {
                self.plan.add(named(self.site.asked(text)?, Kind::Sitemap));
            }
            if options.crawl && options.pages.is_empty() && options.sitemaps.is_empty() {
                let home = self.site.home().map(|home| named(home, Kind::Page));
                home.into_iter().for_each(|job| self.plan.add(job));
            }
        }
        if self.plan.is_empty() && options.pages.is_empty() {
            let error = Error::new(ErrorKind::Config, "there is nothing to prerender");
            return Err(error.with_hint(
                "name pages or a sitemap, or have the site crawled, for which `public_url` says where it begins",
            ));
        }
        Ok(())
    }

    fn take_in(&mut self, done: Done, observe: &mut impl FnMut(Event<'_>)) {
        let Done {
            mut job,
            ordered,
            found,
            took,
        } = done;
        let mut problem = found.problem;
        if is_refusal(&ordered) {
            let now = Instant::now();
            let named = wait_of(ordered.retry_after.as_ref(), system_now());
            let wait = self.pace.refused(named, now);
            job.tries += 1;
            if let Some(wait) = wait.filter(|_| job.tries < TRIES) {
                observe(Event::Waiting(wait));
                return self.plan.again(job);
            }
            problem = Some(format!("the backend is too busy, after {} requests", job.tries));
        } else if !ordered.was_asked {
            self.pace.was_not_needed();
        } else if ordered.became == Became::Failed(Reason::Timeout) {
            self.pace.slow_down();
        } else {
            self.pace.answered(took);
        }
        found.jobs.into_iter().for_each(|job| self.plan.add(job));
        self.summary.foreign += found.foreign;
        self.summary.beyond += found.beyond;
        self.done += 1;
        let page = PageReport {
            url: self.site.shown(&job.address),
            found_on: job.found_on.as_deref().map(str::to_owned),
            became: ordered.became,
            status: ordered.status.map(|status| status.as_u16()),
            problem,
            took,
            is_linked: job.origin != Origin::Named,
        };
        self.summary.count(&page);
        observe(Event::Page(&page, self.done, self.plan.known()));
    }
}

/// The pages that are stored and match.
async fn stored(proxy: &Proxy, pattern: &str) -> Result<Vec<String>, Error> {
    let error = |why: String| Error::new(ErrorKind::Config, format!("`{pattern}` {why}"));
    let compiled = KeyPattern::parse(pattern).map_err(|cause| error(format!("is no pattern: {cause}")))?;
    if proxy.site().0.public.is_none() {
        return Err(error("is a pattern, and nothing says of which host".into())
            .with_hint("set `public_url`: without it each host has pages of its own"));
    }
    while !proxy.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let found = proxy.stored_lines(&compiled);
    Ok(found
        .into_iter()
        .filter(|line| line.starts_with("GET:/"))
        .collect())
}

async fn render(proxy: &Proxy, options: &PrerenderOptions, site: Arc<Site>, job: Job) -> Done {
    let begun = Instant::now();
    let ordered = proxy.order(&job.address, wanted(options, job.kind)).await;
    let took = begun.elapsed();
    let mut found = look_through(options, &site, &job, &ordered).await;
    found.jobs.extend(redirected(&site, &job, &ordered));
    Done {
        job,
        ordered,
        found,
        took,
    }
}

/// With so many bytes of the body.
fn wanted(options: &PrerenderOptions, kind: Kind) -> (Scope, usize) {
    match kind {
        #[cfg(feature = "crawl")]
        Kind::Sitemap => (Scope::All, super::sitemap::MAX_BYTES),
        #[cfg(feature = "crawl")]
        Kind::Page if options.crawl => (options.scope, MOST_READ),
        Kind::Page => (options.scope, 0),
    }
}

/// The largest page that is searched for links, in bytes.
#[cfg(feature = "crawl")]
const MOST_READ: usize = 8 << 20;
/// Sitemaps between a sitemap and the one that was asked for.
#[cfg(feature = "crawl")]
const MOST_NESTED: usize = 4;

#[cfg(feature = "crawl")]
async fn look_through(options: &PrerenderOptions, site: &Arc<Site>, job: &Job, ordered: &Ordered) -> Found {
    use super::links::Links;

    let is_of = |kinds: &[&str]| {
        let said = ordered.headers.get(header::CONTENT_TYPE);
        let said = said.and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let kind = said.split(';').next().unwrap_or("").trim();
        kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    };
    let is_page = ordered.status == Some(StatusCode::OK) || ordered.became == Became::Same;
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
                Box::new(move || linked(&site, &job, Links::in_html(&body), max_depth))
            } else if is_of(&["text/css"]) {
                Box::new(move || linked(&site, &job, Links::in_css(&body), max_depth))
            } else {
                return Found::default();
            }
        }
        (Kind::Page, _) => return Found::default(),
    };
    // A reader that panics costs what it would have found.
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

#[cfg(not(feature = "crawl"))]
async fn look_through(_: &PrerenderOptions, _: &Arc<Site>, _: &Job, _: &Ordered) -> Found {
    Found::default()
}

#[cfg(feature = "crawl")]
fn linked(site: &Site, job: &Job, links: super::links::Links, max_depth: usize) -> Found {
    let mut found = Found::default();
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

#[cfg(feature = "crawl")]
fn sitemap(site: &Site, job: &Job, body: &[u8], most: usize) -> Found {
    let mut found = Found::default();
    let sitemap = match super::sitemap::Sitemap::read(body, most) {
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

/// Where a redirect leads, if that is within the site.
fn redirected(site: &Site, job: &Job, ordered: &Ordered) -> Option<Job> {
    if !matches!(ordered.status?.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = ordered.headers.get(header::LOCATION)?;
    let Some(Link::Own(address)) = site.follow(&job.address, location.to_str().ok()?) else {
        return None;
    };
    let here: Arc<str> = site.shown(&job.address).into();
    Some(job.leads_to(address, &here))
}

/// The backend wants to be left alone, or there is no room for one more fill.
fn is_refusal(ordered: &Ordered) -> bool {
    let says_so = matches!(ordered.status.map(|status| status.as_u16()), Some(429 | 503));
    (says_so && ordered.was_asked) || ordered.became == Became::NotStored(Reason::Busy)
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn wait_of(field: Option<&HeaderValue>, now: SystemTime) -> Option<Duration> {
    let text = field?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_named_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let value = HeaderValue::from_static(value);
            let expected = expected.map(Duration::from_secs);
            assert_eq!(wait_of(Some(&value), now), expected, "{value:?}");
        }
        assert_eq!(wait_of(None, now), None);
    }
}
