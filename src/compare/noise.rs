//! What differs between one rendering of a page and the next, where nothing has changed.

mod between;
mod kind;

use std::sync::Arc;
use std::time::Duration;

use crate::artefact::Artefact;
use crate::config::CreateProxyConfig;
use crate::error::{Error, ErrorKind};
use crate::outcome::Reason;
use crate::prerender::{Heard, Paced};
use crate::proxy::{Address, Decided, Proxy, Rendition, Sight};

use super::again::{Job, heard, jobs};
use super::lines::MOST_READ;
use super::paced::{Jobs, Told, in_turn};
use super::{Event, Options};

pub(super) use between::between;
pub use kind::NoiseKind;

/// So much of one page is told.
const MOST_TOLD: usize = 200;

/// A place where two renderings differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Noise {
    /// What it looks like.
    pub kind: NoiseKind,
    /// `header etag`, `<script nonce>`, `<p>`, `text`.
    pub place: String,
    /// The line of the body, from 1.
    pub line: Option<usize>,
    /// What stood there first, and then; nothing of cookies and tokens.
    pub seen: (String, String),
    /// A field that is not stored, or a validator that alone is none: no noise in the directory.
    pub is_left_out: bool,
}

/// A page, rendered twice.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageNoise {
    /// The page, as `show` takes it.
    pub page: String,
    /// The fields that select the rendering among others, with their values.
    pub variant: Vec<(String, String)>,
    /// The status of the first answer.
    pub status: Option<u16>,
    /// Why nothing can be said of it.
    pub failed: Option<Reason>,
    /// Why it is not stored in any case.
    pub not_stored: Option<Reason>,
    /// What differs.
    pub noises: Vec<Noise>,
    /// Further places, as far as they were counted.
    pub untold: u64,
}

impl PageNoise {
    /// Whether the directory would change by it.
    pub fn is_noisy(&self) -> bool {
        self.noises.iter().any(|noise| !noise.is_left_out)
    }
}

/// How many pages were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoiseSummary {
    /// Rendered twice.
    pub pages: u64,
    /// With noise that would be stored.
    pub noisy: u64,
    /// Of which nothing can be said.
    pub failed: u64,
    /// Not looked at, for the limit.
    pub left_out: u64,
}

/// Renders each page twice, with so long a pause between the two, and tells what differs. Only reads, and stores nothing. Without
/// pages it is those that are stored, and not more than the limit.
///
/// # Errors
/// A setting that cannot work, what is no page of the site and no pattern of what is stored, and nothing to look at.
pub async fn noise(
    config: &CreateProxyConfig,
    artefact: Option<&Arc<Artefact>>,
    pages: &[String],
    (options, limit, pause): (&Options, usize, Duration),
    mut observe: impl FnMut(Event<'_, PageNoise>),
) -> Result<NoiseSummary, Error> {
    let id = artefact.and_then(|artefact| artefact.id());
    let proxy = Proxy::onlooker(config, id.as_deref())?;
    let mut all = Vec::new();
    let patterns: Vec<Option<&str>> = match pages {
        [] => vec![None],
        pages => pages.iter().map(|page| Some(&**page)).collect(),
    };
    for pattern in patterns {
        match artefact {
            Some(artefact) => all.extend(jobs(&proxy, artefact, pattern).await?.0),
            None => all.push(Job::unstored(&proxy, pattern.unwrap_or("*"))?),
        }
    }
    all.retain(|job| job.way.is_ok());
    if all.is_empty() {
        let error = Error::new(ErrorKind::Absent, "there is nothing to render");
        return Err(error.with_hint("name pages, or store some: `phantom-frame prerender`"));
    }
    let mut summary = NoiseSummary {
        left_out: all.len().saturating_sub(limit) as u64,
        ..NoiseSummary::default()
    };
    all.truncate(limit);
    let ask = |job: Job| twice(&proxy, job, pause);
    in_turn(&Paced::new(&options.pace()), Jobs::of(all), ask, |told, jobs| {
        let page = match told {
            Told::Done(_, page) => page,
            Told::LeftOut(job) => PageNoise::failed(&job, Reason::Busy),
            Told::Waiting(wait) => return observe(Event::Waiting(wait)),
        };
        summary.pages += 1;
        summary.failed += u64::from(page.failed.is_some());
        summary.noisy += u64::from(page.is_noisy());
        let done = usize::try_from(summary.pages).unwrap_or(usize::MAX);
        observe(Event::Done(&page, done, jobs.known()));
    })
    .await;
    Ok(summary)
}

impl PageNoise {
    fn failed(job: &Job, reason: Reason) -> Self {
        Self {
            page: job.stored.page.clone(),
            variant: job.stored.selecting.clone(),
            status: None,
            failed: Some(reason),
            not_stored: None,
            noises: Vec::new(),
            untold: 0,
        }
    }
}

async fn twice(proxy: &Proxy, job: Job, pause: Duration) -> (PageNoise, Heard) {
    let Ok((address, fields)) = &job.way else {
        return (PageNoise::failed(&job, Reason::Key), Heard::Nothing);
    };
    let sight = Sight {
        fields: fields.clone(),
        names: job.stored.variant.names(),
        limit: MOST_READ,
    };
    let (first, second) = renditions(proxy, address, sight, pause).await;
    let heard = heard(second.as_ref().unwrap_or(&first));
    let mut page = PageNoise::failed(&job, Reason::Panic);
    page.status = first.status.map(|status| status.as_u16());
    let compared = tokio::task::spawn_blocking(move || {
        let failed = failure(&first).or(second.as_ref().and_then(failure));
        let not_stored = match first.decided {
            Decided::Not(reason) => Some(reason),
            _ => None,
        };
        let noises = second.map(|second| between(&first, &second));
        (failed, not_stored, noises.unwrap_or_default())
    });
    if let Ok((failed, not_stored, mut noises)) = compared.await {
        page.untold = noises.len().saturating_sub(MOST_TOLD) as u64;
        noises.truncate(MOST_TOLD);
        (page.failed, page.not_stored, page.noises) = (failed, not_stored, noises);
    }
    (page, heard)
}

/// Two renderings, unless the first one shows that a second is of no use. Stamps have seconds, mostly.
pub(super) async fn renditions(
    proxy: &Proxy,
    address: &Address,
    sight: Sight,
    pause: Duration,
) -> (Rendition, Option<Rendition>) {
    let first = proxy.render(address, sight.clone()).await;
    if failure(&first).is_some() || first.status.is_none() {
        return (first, None);
    }
    tokio::time::sleep(pause).await;
    let second = proxy.render(address, sight).await;
    (first, Some(second))
}

pub(super) fn failure(rendition: &Rendition) -> Option<Reason> {
    match rendition.decided {
        Decided::Failed(reason) => Some(reason),
        _ if rendition.status.is_some_and(|status| status.as_u16() == 429) => Some(Reason::Busy),
        _ => None,
    }
}
