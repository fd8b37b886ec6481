//! The commands that compare renderings, and what they tell on the way.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{Options, PageDiff, Standing, Summary};
use phantom_frame::config::Loaded;
use serde_json::{Value, json};

use super::{Ended, accept, block_on, check, diff, noise};
use crate::args::{Compare, Pages, Site};
use crate::busy::Teller;
use crate::print::plain;
use crate::shutdown::Shutdown;
use crate::{logging, output};

pub(crate) fn run(site: Site, asked: &Compare) -> anyhow::Result<ExitCode> {
    let form = site.form();
    let loaded = site.sources.load()?;
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start_quiet(&loaded)?;
    let open = || Artefact::open(&loaded.settings().proxy_config()).map_err(|error| loaded.blame(error));
    match asked {
        Compare::Diff {
            pages,
            against: Some(against),
            format,
        } => diff::against(&loaded, &open()?, (pages, against), (*format, form)),
        Compare::Diff { pages, format, .. } => {
            let artefact = Arc::new(open()?);
            block_on(stoppable(diff::again(&loaded, &artefact, pages, (*format, form))))
        }
        Compare::Noise { pages, twice } => block_on(stoppable(noise::run(&loaded, pages, twice, form))),
        Compare::Check { url, html, twice } => {
            let what = (url.as_str(), html.as_deref());
            block_on(stoppable(check::run(&loaded, what, twice, form)))
        }
        Compare::Accept { pages } => {
            let artefact = Arc::new(open()?);
            block_on(stoppable(accept::run(&loaded, &artefact, pages, form)))
        }
    }
}

/// Until it is done, or a signal comes.
async fn stoppable(command: impl Future<Output = anyhow::Result<Ended>>) -> anyhow::Result<Ended> {
    let stop = Shutdown::listen().context("cannot listen for signals")?;
    tokio::select! {
        biased;
        code = stop.interrupted() => {
            output::warn("interrupted");
            Ok(Ended::Forced(code))
        }
        ended = command => ended,
    }
}

pub(super) fn options(pages: &Pages) -> Options {
    paced(pages.pattern.as_deref(), (pages.concurrency, pages.max_rps))
}

pub(super) fn paced(pattern: Option<&str>, (concurrency, max_rps): (usize, usize)) -> Options {
    let mut options = Options::of(pattern);
    options.concurrency = concurrency;
    options.max_rps = max_rps;
    options
}

/// What the setting at fault is, where it is one.
pub(super) fn blamed(loaded: &Loaded) -> impl Fn(phantom_frame::Error) -> anyhow::Error {
    |error| match error.setting() {
        Some("prerender") | None => error.into(),
        Some(_) => loaded.blame(error).into(),
    }
}

/// A bar on a terminal; elsewhere a line now and then.
pub(super) struct Progress {
    bar: ProgressBar,
    teller: Option<Teller>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} pages  {wide_msg}") {
            bar.set_style(style);
        }
        let teller = (!is_terminal).then(Teller::new);
        Self { bar, teller }
    }

    /// One more is done; what it prints stands above the bar.
    pub(super) fn done<T>(&self, page: &str, (done, known): (usize, usize), print: impl FnOnce() -> T) -> T {
        if let Some(teller) = &self.teller {
            teller.at((done, known));
        }
        self.bar.set_length(known as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(plain(page));
        self.bar.suspend(print)
    }

    pub(super) fn waiting(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let text = format!("the backend is busy: waiting {}", HumanDuration(wait));
        match self.bar.is_hidden() {
            true => anstream::eprintln!("{text}"),
            false => self.bar.set_message(text),
        }
    }

    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// `/page [accept-language: de]`
pub(super) fn name(page: &PageDiff) -> String {
    named(&page.page, &page.variant)
}

pub(super) fn named(page: &str, variant: &[(String, String)]) -> String {
    let fields = variant.iter();
    let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
    match fields.is_empty() {
        true => plain(page),
        false => plain(&format!("{page} [{}]", fields.join(", "))),
    }
}

/// Why it is what it is, where the word does not say it.
pub(super) fn remark(page: &PageDiff) -> String {
    let mut remarks = Vec::new();
    match page.standing {
        Standing::Gone => remarks.extend(page.status.1.map(|status| status.to_string())),
        Standing::Left(why) => remarks.push(why.to_owned()),
        standing => remarks.extend(standing.reason().map(|reason| reason.as_str().to_owned())),
    }
    if let (Standing::Failed(_), Some(status)) = (page.standing, page.status.1) {
        remarks.push(status.to_string());
    }
    if page.is_edited {
        remarks.push("the stored body was changed by hand".into());
    }
    match remarks.is_empty() {
        true => String::new(),
        false => format!("  ({})", remarks.join("; ")),
    }
}

/// `4 pages: 2 same, 1 changed, 1 gone; 3 lines came, 2 went`
pub(super) fn sums(summary: &Summary) -> String {
    let words = ["same", "changed", "new", "gone", "not-stored", "failed", "left"];
    let counts = words.iter().filter(|word| summary.of(word) > 0);
    let counts = counts.map(|word| format!("{} {}", summary.of(word), word.replace('-', " ")));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let pages = crate::print::count(summary.total(), "page");
    let lines = match (summary.added, summary.removed) {
        (0, 0) => String::new(),
        (added, removed) => format!("; +{added} -{removed} lines"),
    };
    match counts.is_empty() {
        true => "nothing is stored".into(),
        false => format!("{pages}: {counts}{lines}"),
    }
}

pub(super) fn rest(summary: &Summary) -> Value {
    json!({
        "summary": summary.pages,
        "added": summary.added,
        "removed": summary.removed,
        "unread": summary.unread,
    })
}

pub(super) fn warn_of(unread: &[String]) {
    for folder in unread {
        output::warn(&format!("cannot be read: {}", plain(folder)));
    }
}

/// By name, as `ls` has them.
pub(super) fn fields(variant: &[(String, String)]) -> Value {
    let fields = variant.iter();
    fields
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What is said of a page but for what differs.
pub(super) fn as_json(page: &PageDiff) -> Value {
    let (removed, added) = page.lines();
    let why = match page.standing {
        Standing::Left(why) => Some(why),
        _ => None,
    };
    json!({
        "page": page.page,
        "variant": fields(&page.variant),
        "file": page.file,
        "standing": page.standing.as_str(),
        "reason": page.standing.reason().map(|reason| reason.as_str()),
        "why": why,
        "status": [page.status.0, page.status.1],
        "edited": page.is_edited,
        "removed": removed,
        "added": added,
        "ms": u64::try_from(page.took.as_millis()).unwrap_or(u64::MAX),
    })
}
