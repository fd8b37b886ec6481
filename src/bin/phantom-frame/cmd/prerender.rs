//! `phantom-frame prerender [URL…]`

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use phantom_frame::config::Loaded;
use phantom_frame::prerender::{Became, Event, PageReport, PrerenderOptions, Summary, check, prerender};
use phantom_frame::{Error, Proxy, Reason};
use serde_json::{Value, json};

use super::{Ended, block_on};
use crate::args::{Limits, Names, Prerender};
use crate::busy::Teller;
use crate::logging;
use crate::output::{self, Unusable};
use crate::print::{Form, Out, STRONG, count, plain};
use crate::server;
use crate::shutdown::Shutdown;

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// So many pages are listed for each reason.
const LISTED: usize = 10;

pub(crate) fn run(asked: Prerender) -> anyhow::Result<ExitCode> {
    let loaded = asked.sources.load()?;
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start_quiet(&loaded)?;
    let options = options(
        (&asked.names, &asked.limits),
        loaded.settings().prerender.as_ref(),
    )?;
    check(&loaded.settings().proxy_config(), &options).map_err(|error| match error.setting() {
        // It is the command line that says so, not the file.
        Some("prerender") => anyhow::Error::from(error),
        _ => loaded.blame(error).into(),
    })?;
    block_on(fill(&loaded, options, Form::of(asked.json)))
}

/// Who names nothing means what `[prerender]` names; what it says of how holds where no flag says otherwise.
fn options(
    (names, limits): (&Names, &Limits),
    section: Option<&PrerenderOptions>,
) -> anyhow::Result<PrerenderOptions> {
    let mut options = section.cloned().unwrap_or_default();
    // An empty file is a name too: of nothing.
    let is_named =
        names.crawl || !(names.pages.is_empty() && names.sitemaps.is_empty() && names.from.is_empty());
    if is_named {
        options.pages.clone_from(&names.pages);
        for file in &names.from {
            options.pages.extend(lines_of(file)?);
        }
        options.sitemaps.clone_from(&names.sitemaps);
        options.crawl = names.crawl;
    }
    options.scope = limits.scope.unwrap_or(options.scope);
    options.concurrency = limits.concurrency.unwrap_or(options.concurrency);
    options.max_rps = limits.max_rps.unwrap_or(options.max_rps);
    options.max_pages = limits.max_pages.unwrap_or(options.max_pages);
    options.max_depth = limits.max_depth.unwrap_or(options.max_depth);
    Ok(options)
}

/// One page a line; empty lines and comments are left out.
fn lines_of(file: &Path) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|read| text = read),
    };
    read.map_err(|error| Unusable {
        what: format!("cannot read {}: {error}", file.display()),
        hint: "`--from` takes a file with a page a line".into(),
    })?;
    let lines = text.lines().map(str::trim);
    let pages = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(pages.map(str::to_owned).collect())
}

async fn fill(loaded: &Loaded, options: PrerenderOptions, form: Form) -> anyhow::Result<Ended> {
    let stop = Shutdown::listen().context("cannot listen for signals")?;
    tokio::select! {
        // The second signal, whatever is still under way.
        biased;
        code = stop.forced() => Ok(Ended::Forced(code)),
        ended = fill_until(&stop, loaded, &options, form) => ended,
    }
}

async fn fill_until(
    stop: &Shutdown,
    loaded: &Loaded,
    options: &PrerenderOptions,
    form: Form,
) -> anyhow::Result<Ended> {
    let settings = loaded.settings();
    let mut told = Told::new();
    if let Some(remote) = server::find(loaded).await {
        let run = async |told: &mut Told| remote.prerender(options, |event| told.take(event)).await;
        let ended = told.until(stop, run, form).await?;
        if !matches!(ended, Ended::Forced(_)) {
            server::note(&remote);
        }
        return Ok(ended);
    }
    let proxy = Proxy::new(settings.proxy_config()).map_err(|error: Error| loaded.blame(error))?;
    let run = async |told: &mut Told| prerender(&proxy, options, |event| told.take(event)).await;
    let ended = told.until(stop, run, form).await?;
    // What is under way is stored; a signal more ends that.
    proxy.shut_down(settings.shutdown_timeout).await;
    Ok(ended)
}

fn say(told: &Told, ended: Result<Summary, u8>, took: Duration, form: Form) -> anyhow::Result<Ended> {
    Ok(match ended {
        Ok(summary) => {
            let mut out = Out::new();
            match form {
                Form::Json => out.json(&as_json(&summary, &told.pages, Ended::AsAsked)),
                Form::Text => out.text(format_args!("{}", as_text(&summary, &told.pages, took))),
            }
            out.finish().context("cannot print what became of the pages")?;
            match summary.failed() {
                0 => Ended::AsAsked,
                _ => Ended::WithFailures,
            }
        }
        Err(code) => {
            if form == Form::Json {
                let mut summary = Summary::default();
                told.pages.iter().for_each(|page| summary.count(page));
                let mut out = Out::new();
                out.json(&as_json(&summary, &told.pages, Ended::Forced(code)));
                out.finish().context("cannot print what became of the pages")?;
            }
            let done = count(told.pages.len() as u64, "page");
            output::warn(&format!(
                "interrupted after {done}; the same with `--missing` goes on from there"
            ));
            Ended::Forced(code)
        }
    })
}

/// What has been told of the run so far.
struct Told {
    /// Hidden where stderr is no terminal; there is a line a page then.
    bar: ProgressBar,
    teller: Option<Teller>,
    pages: Vec<PageReport>,
}

impl Told {
    fn new() -> Self {
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pages  {per_sec}  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self {
            teller: bar.is_hidden().then(Teller::new),
            bar,
            pages: Vec::new(),
        }
    }

    /// Runs until it is done, or interrupted, and says what came of it.
    async fn until(
        &mut self,
        stop: &Shutdown,
        run: impl AsyncFnOnce(&mut Self) -> Result<Summary, Error>,
        form: Form,
    ) -> anyhow::Result<Ended> {
        let begun = Instant::now();
        let ended = tokio::select! {
            summary = run(self) => summary.map(Ok),
            code = stop.interrupted() => Ok(Err(code)),
        };
        self.bar.finish_and_clear();
        say(self, ended?, begun.elapsed(), form)
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Page(page, done, known) => {
                if let Some(teller) = &self.teller {
                    teller.at((done, known));
                }
                self.bar.set_length(known as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(plain(&page.url));
                let is_plain = matches!(
                    page.became,
                    Became::New | Became::Changed | Became::Same | Became::Tombstone
                );
                let is_told = match self.bar.is_hidden() {
                    true => page.became != Became::Kept || page.is_failure(),
                    false => !is_plain && page.became != Became::Kept || page.is_failure(),
                };
                if is_told {
                    self.bar.suspend(|| anstream::eprintln!("{}", line(page)));
                }
                self.pages.push(page.clone());
            }
            Event::Waiting(wait) if !wait.is_zero() => {
                let text = format!("the backend is busy: waiting {}", HumanDuration(wait));
                match self.bar.is_hidden() {
                    true => anstream::eprintln!("{text}"),
                    false => self.bar.set_message(text),
                }
            }
            Event::Reading => {
                let text = "reading the snapshot directory, for what matches";
                match self.bar.is_hidden() {
                    true => anstream::eprintln!("{text}"),
                    false => self.bar.set_message(text),
                }
            }
            _ => {}
        }
    }
}

fn line(page: &PageReport) -> String {
    let style = match page.became {
        _ if page.is_failure() => BAD,
        Became::NotStored(_) | Became::Missing => DOUBTFUL,
        _ => GOOD,
    };
    let status = page
        .status
        .map_or_else(|| "-".into(), |status| status.to_string());
    let word = page.became.as_str();
    format!(
        "{style}{word:<10}{style:#} {status:>3}  {}{}",
        plain(&page.url),
        remarks(page)
    )
}

/// Why, and where it was found, behind what cannot be seen from the word.
fn remarks(page: &PageReport) -> String {
    let mut remarks = Vec::new();
    remarks.extend(page.reason().map(|reason| reason.as_str().to_owned()));
    remarks.extend(page.problem.clone());
    if page.is_failure() || page.became == Became::Missing {
        remarks.extend(page.found_on.as_ref().map(|from| format!("found on {from}")));
    }
    match remarks.is_empty() {
        true => String::new(),
        false => format!("  ({})", plain(&remarks.join("; "))),
    }
}

fn as_text(summary: &Summary, pages: &[PageReport], took: Duration) -> String {
    let not_stored: u64 = summary.not_stored.values().sum();
    let tombstones = match summary.tombstones {
        1 => "tombstone",
        _ => "tombstones",
    };
    let counts = [
        (summary.new, "new"),
        (summary.changed, "changed"),
        (summary.same, "same"),
        (summary.kept, "kept"),
        (summary.tombstones, tombstones),
        (not_stored, "not stored"),
        (summary.missing - summary.missing_by_name, "missing"),
        (summary.failed(), "failed"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    let mut text = format!(
        "{STRONG}{}{STRONG:#} in {:.1} s: {}\n",
        count(summary.pages(), "page"),
        took.as_secs_f64(),
        counts.join(", ")
    );
    for word in summary.not_stored.keys() {
        let of_it =
            |page: &&PageReport| !page.is_failure() && page.reason().map(Reason::as_str) == Some(word);
        let advice = pages
            .iter()
            .find(of_it)
            .and_then(PageReport::reason)
            .map(Reason::advice);
        text.push_str(&format!(
            "\n{DOUBTFUL}not stored{DOUBTFUL:#}, {word}: {}\n",
            advice.unwrap_or("")
        ));
        list(&mut text, pages.iter().filter(of_it).map(|page| plain(&page.url)));
    }
    let is_dead_link = |page: &&PageReport| page.became == Became::Missing && !page.is_failure();
    let with_remarks = |page: &PageReport| {
        let status = page
            .status
            .map_or_else(String::new, |status| format!("  {status}"));
        format!("{}{status}{}", plain(&page.url), remarks(page))
    };
    if pages.iter().any(|page| is_dead_link(&page)) {
        text.push_str(&format!("\n{DOUBTFUL}links that lead nowhere{DOUBTFUL:#}\n"));
        list(&mut text, pages.iter().filter(is_dead_link).map(with_remarks));
    }
    if summary.failed() > 0 {
        text.push_str(&format!("\n{BAD}failed{BAD:#}\n"));
        list(
            &mut text,
            pages.iter().filter(|page| page.is_failure()).map(with_remarks),
        );
    }
    if summary.foreign > 0 {
        let count = summary.foreign;
        text.push_str(&format!(
            "\n{count} addresses in sitemaps are of other sites and were left out\n"
        ));
    }
    if summary.beyond > 0 {
        let count = summary.beyond;
        text.push_str(&format!(
            "\n{count} links were left out: --max-pages or --max-depth\n"
        ));
    }
    text
}

fn list(text: &mut String, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    for line in lines.iter().take(LISTED) {
        text.push_str(&format!("  {line}\n"));
    }
    if lines.len() > LISTED {
        text.push_str(&format!(
            "  and {} more (--json names them all)\n",
            lines.len() - LISTED
        ));
    }
}

fn as_json(summary: &Summary, pages: &[PageReport], ended: Ended) -> Value {
    let page = |page: &PageReport| {
        json!({
            "url": page.url,
            "became": page.became.as_str(),
            "status": page.status,
            "reason": page.reason().map(Reason::as_str),
            "problem": page.problem,
            "found_on": page.found_on,
            "ms": u64::try_from(page.took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({
        "summary": {
            "pages": summary.pages(),
            "new": summary.new,
            "changed": summary.changed,
            "same": summary.same,
            "kept": summary.kept,
            "tombstones": summary.tombstones,
            "not_stored": summary.not_stored,
            "missing": summary.missing,
            "failed": summary.failed(),
            "other_sites": summary.foreign,
            "left_out": summary.beyond,
        },
        "interrupted": matches!(ended, Ended::Forced(_)),
        "pages": pages.iter().map(page).collect::<Vec<_>>(),
    })
}
