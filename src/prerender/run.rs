//! A run: pages are ordered as fast as the pace allows, and what they lead to joins the plan.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, header};

#[cfg(feature = "crawl")]
use super::follow::look_through;
use super::pace::{Leave, Pace};
use super::plan::{Job, Kind, Origin, Plan};
use super::renderer::{pattern, stored};
use super::report::{Event, PageReport, Summary};
use super::site::{Link, Site};
use super::{PrerenderOptions, TRIES};
use crate::clock::system_now;
use crate::config::Scope;
use crate::error::Error;
use crate::outcome::Reason;
use crate::proxy::{Address, Became, Ordered, Proxy};

/// What is asked for.
pub(super) struct Seed {
    pub(super) address: Address,
    kind: Kind,
}

impl Seed {
    pub(super) fn page(address: Address) -> Self {
        Self {
            address,
            kind: Kind::Page,
        }
    }
}

/// What the options ask for by name.
///
/// # Errors
/// That is nothing, or cannot be.
pub(super) fn named(site: &Site, options: &PrerenderOptions) -> Result<Vec<Seed>, Error> {
    if cfg!(not(feature = "crawl")) && (options.crawl || !options.sitemaps.is_empty()) {
        let what = "links and sitemaps cannot be followed: this was built without the feature `crawl`";
        return Err(Error::config("prerender", what));
    }
    let mut seeds = Vec::new();
    for text in &options.pages {
        match text.contains('*') {
            true => drop(pattern(text)?),
            false => seeds.push(Seed::page(site.asked(text)?)),
        }
    }
    #[cfg(feature = "crawl")]
    for text in &options.sitemaps {
        seeds.push(Seed {
            address: site.asked(text)?,
            kind: Kind::Sitemap,
        });
    }
    if options.pages.is_empty() && options.sitemaps.is_empty() {
        seeds.extend(site.home().filter(|_| options.crawl).map(Seed::page));
    }
    if seeds.is_empty() && options.pages.is_empty() {
        let error = Error::config("prerender", "there is nothing to prerender");
        return Err(error.with_hint(
            "name pages or a sitemap, or have the site crawled, for which `public_url` says where it begins",
        ));
    }
    Ok(seeds)
}

/// What the options ask for, by patterns of what is stored too.
///
/// # Errors
/// As [`named`].
pub(super) async fn seeds(proxy: &Proxy, options: &PrerenderOptions) -> Result<Vec<Seed>, Error> {
    let mut seeds = named(&Site::of(proxy), options)?;
    for text in options.pages.iter().filter(|text| text.contains('*')) {
        until_ready(proxy).await;
        let found = stored(proxy, text)?.pages;
        seeds.extend(found.into_iter().map(Seed::page));
    }
    Ok(seeds)
}

async fn until_ready(proxy: &Proxy) {
    while !proxy.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn run(
    proxy: &Proxy,
    options: &PrerenderOptions,
    seeds: Vec<Seed>,
    mut observe: impl FnMut(Event<'_>),
) -> Summary {
    let mut run = Run {
        site: Arc::new(Site::of(proxy)),
        plan: Plan::new(options.max_pages.max(1)),
        pace: Pace::new(options.concurrency, options.max_rps, Instant::now()),
        summary: Summary::default(),
        done: 0,
    };
    for seed in seeds {
        run.plan.add(Job {
            address: seed.address,
            kind: seed.kind,
            found_on: None,
            origin: Origin::Named,
            depth: 0,
            tries: 0,
        });
    }
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
    run.summary
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
pub(super) struct Found {
    pub(super) jobs: Vec<Job>,
    pub(super) foreign: u64,
    /// For `max_depth`.
    pub(super) beyond: u64,
    pub(super) problem: Option<String>,
}

impl Run {
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
        Kind::Page if options.crawl => (options.scope, super::follow::MOST_READ),
        Kind::Page => (options.scope, 0),
    }
}

#[cfg(not(feature = "crawl"))]
async fn look_through(_: &PrerenderOptions, _: &Arc<Site>, _: &Job, _: &Ordered) -> Found {
    Found::default()
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
