//! A run: pages are ordered as fast as the pace allows, and what they lead to joins the plan.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, header};

use super::PrerenderOptions;
use super::drive::{Heard, Work, drive};
#[cfg(feature = "crawl")]
use super::follow::look_through;
use super::pace::Paced;
use super::plan::{Job, Kind, Origin, Plan};
use super::renderer::{pattern, stored};
use super::report::{Event, PageReport, Summary};
use super::site::{Link, Site};
use crate::clock::system_now;
use crate::config::Scope;
use crate::error::Error;
use crate::outcome::Reason;
use crate::proxy::{Address, Became, Ordered, Proxy};

/// Redirects in a row that are followed, as browsers and libraries have it.
const MOST_HOPS: u32 = 10;
/// Between one look whether the directory has been read through and the next.
const PAUSE: Duration = Duration::from_millis(5);
/// After so many looks it is told that there is a wait.
const SOON: usize = 200;

/// What is done about redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    Followed,
    /// The pages are all there is to do.
    Left,
}

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
pub(super) async fn seeds(
    proxy: &Proxy,
    options: &PrerenderOptions,
    observe: &mut impl FnMut(Event<'_>),
) -> Result<Vec<Seed>, Error> {
    let mut seeds = named(&Site::of(proxy), options)?;
    for text in options.pages.iter().filter(|text| text.contains('*')) {
        until(|| proxy.is_ready(), PAUSE, || observe(Event::Reading)).await;
        let found = stored(proxy, text)?;
        let found = found.pages.into_iter().chain(found.tombstones);
        seeds.extend(found.map(Seed::page));
    }
    Ok(seeds)
}

/// Has it told once that it is not ready soon.
async fn until(is_ready: impl Fn() -> bool, pause: Duration, mut tell: impl FnMut()) {
    let mut looks = 0;
    while !is_ready() {
        looks += 1;
        if looks == SOON {
            tell();
        }
        tokio::time::sleep(pause).await;
    }
}

pub(super) async fn run(
    proxy: &Proxy,
    options: &PrerenderOptions,
    (seeds, redirects): (Vec<Seed>, Redirects),
    paced: &Arc<Paced>,
    observe: impl FnMut(Event<'_>),
) -> Summary {
    let site = Arc::new(Site::of(proxy));
    let mut run = Run {
        site: Arc::clone(&site),
        plan: Plan::new(options.max_pages.max(1)),
        summary: Summary::default(),
        done: 0,
        observe,
    };
    for seed in seeds {
        run.plan.add(Job {
            address: seed.address,
            kind: seed.kind,
            found_on: None,
            origin: Origin::Named,
            depth: 0,
            hops: 0,
        });
    }
    let ask = |job| render(proxy, (options, redirects), Arc::clone(&site), job);
    drive(paced, &mut run, ask).await;
    run.summary.beyond += run.plan.beyond;
    run.summary
}

struct Run<F> {
    site: Arc<Site>,
    plan: Plan,
    summary: Summary,
    done: usize,
    observe: F,
}

/// What came of a job.
struct Answered {
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

impl<F: FnMut(Event<'_>)> Work for Run<F> {
    type Job = Job;
    type Found = Answered;

    fn next(&mut self) -> Option<Job> {
        self.plan.next()
    }

    fn done(&mut self, job: Job, answered: Answered, tries: u32) {
        let Answered { ordered, found, took } = answered;
        let problem = match is_refusal(&ordered) {
            true => Some(format!("the backend is too busy, after {tries} requests")),
            false => found.problem,
        };
        found.jobs.into_iter().for_each(|job| self.plan.add(job));
        self.summary.foreign += found.foreign;
        self.summary.beyond += found.beyond;
        let status = ordered.status.map(|status| status.as_u16());
        self.report(&job, (ordered.became, status, problem, took));
    }

    fn left_out(&mut self, job: Job) {
        let problem = Some("not asked for: the backend is too busy".to_owned());
        let became = Became::Failed(Reason::Busy);
        self.report(&job, (became, None, problem, Duration::ZERO));
    }

    fn waits(&mut self, wait: Duration) {
        (self.observe)(Event::Waiting(wait));
    }
}

impl<F: FnMut(Event<'_>)> Run<F> {
    fn report(
        &mut self,
        job: &Job,
        (became, status, problem, took): (Became, Option<u16>, Option<String>, Duration),
    ) {
        self.done += 1;
        let page = PageReport {
            url: self.site.shown(&job.address),
            found_on: job.found_on.as_deref().map(str::to_owned),
            became,
            status,
            problem,
            took,
            is_linked: job.origin != Origin::Named,
        };
        self.summary.count(&page);
        (self.observe)(Event::Page(&page, self.done, self.plan.known()));
    }
}

async fn render(
    proxy: &Proxy,
    (options, redirects): (&PrerenderOptions, Redirects),
    site: Arc<Site>,
    job: Job,
) -> (Answered, Heard) {
    let begun = Instant::now();
    let ordered = proxy.order(&job.address, wanted(options, job.kind)).await;
    let took = begun.elapsed();
    let mut found = look_through(options, &site, &job, &ordered).await;
    if redirects == Redirects::Followed {
        follow_redirect(&site, &job, &ordered, &mut found);
    }
    let heard = match is_refusal(&ordered) {
        true => Heard::Refusal(wait_of(ordered.retry_after.as_ref(), system_now())),
        false if !ordered.was_asked => Heard::Nothing,
        false if ordered.became == Became::Failed(Reason::Timeout) => Heard::Late,
        false => Heard::Answer(took),
    };
    let answered = Answered { ordered, found, took };
    (answered, heard)
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

/// Within the site, and not for ever.
fn follow_redirect(site: &Site, job: &Job, ordered: &Ordered, found: &mut Found) {
    let Some(address) = redirected(site, job, ordered) else {
        return;
    };
    if job.hops < MOST_HOPS {
        let here: Arc<str> = site.shown(&job.address).into();
        let hops = job.hops + 1;
        found.jobs.push(Job {
            hops,
            ..job.leads_to(address, &here)
        });
    } else if job.origin == Origin::Named {
        found.problem = Some(format!("{MOST_HOPS} redirects lead here, and it is one more"));
    } else {
        found.beyond += 1;
    }
}

fn redirected(site: &Site, job: &Job, ordered: &Ordered) -> Option<Address> {
    if !matches!(ordered.status?.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = ordered.headers.get(header::LOCATION)?;
    match site.follow(&job.address, location.to_str().ok()?)? {
        Link::Own(address) => Some(address),
        Link::Foreign => None,
    }
}

/// The backend wants to be left alone, or there is no room for one more fill.
fn is_refusal(ordered: &Ordered) -> bool {
    let says_so = matches!(ordered.status.map(|status| status.as_u16()), Some(429 | 503));
    (says_so && ordered.was_asked) || ordered.became == Became::NotStored(Reason::Busy)
}

/// RFC 9110 §10.2.3: seconds, or a date.
pub(crate) fn wait_of(field: Option<&HeaderValue>, now: SystemTime) -> Option<Duration> {
    let text = field?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::body::Body;
    use http::Response;

    use super::super::MOST_PATIENCE;
    use super::*;
    use crate::prerender::pace::Pace;

    /// A site where everything is answered so; and how often it was.
    fn site(answer: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> (Router, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::new(answer), Arc::clone(&asked));
        let router = Router::new().fallback(move |uri: http::Uri| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&answer);
            async move { answer(&uri.to_string()) }
        });
        (router, asked)
    }

    async fn ran(router: Router, pages: usize, (redirects, patience): (Redirects, Duration)) -> Summary {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::CreateProxyConfig::new(String::new()).with(|settings| {
            settings.public_url = Some("https://example.com".into());
            settings.snapshot_dir = dir.path().join("snapshots");
        });
        let proxy = Proxy::in_process(router, config).unwrap();
        let options = PrerenderOptions {
            concurrency: 1,
            pages: (0..pages).map(|page| format!("/{page}")).collect(),
            ..PrerenderOptions::default()
        };
        let seeds = named(&Site::of(&proxy), &options).unwrap();
        let pace = Pace::new(1, 0, Instant::now()).with_patience(patience);
        run(&proxy, &options, (seeds, redirects), &Paced::with(pace), |_| {}).await
    }

    #[tokio::test]
    async fn a_run_ends_when_the_backend_still_wants_to_be_left_alone_after_the_longest_wait() {
        let (router, asked) = site(|_| {
            let answer = Response::builder().status(503).header("retry-after", "86400");
            answer.body(Body::empty()).unwrap()
        });
        let summary = ran(router, 5, (Redirects::Followed, Duration::ZERO)).await;
        assert_eq!((summary.failed(), summary.pages()), (5, 5));
        // One, and one more after the wait.
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn redirects_are_followed_ten_times_or_not_at_all() {
        let endless = || {
            site(|uri| {
                let answer = Response::builder()
                    .status(301)
                    .header("location", format!("{uri}0"));
                answer.body(Body::empty()).unwrap()
            })
        };
        for (redirects, expected, failed) in [(Redirects::Followed, 11, 1), (Redirects::Left, 1, 0)] {
            let (router, asked) = endless();
            let summary = ran(router, 1, (redirects, MOST_PATIENCE)).await;
            assert_eq!(
                (asked.load(Ordering::SeqCst), summary.failed()),
                (expected, failed)
            );
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_long_is_told_once() {
        for (rounds, expected) in [(0, 0), (SOON / 2, 0), (2 * SOON, 1)] {
            let (looks, told) = (Cell::new(0), Cell::new(0));
            let is_ready = || {
                looks.set(looks.get() + 1);
                looks.get() > rounds
            };
            until(is_ready, Duration::ZERO, || told.set(told.get() + 1)).await;
            assert_eq!(told.get(), expected, "{rounds}");
        }
    }

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
