//! `phantom-frame check URL`

mod page;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use phantom_frame::Reason;
use phantom_frame::compare::{Advice, CheckSummary, CheckedPage, Event, Verdict, advice, backend_of, check};
use phantom_frame::config::Loaded;
use serde_json::{Value, json};

use super::Ended;
use super::compare::{Progress, blamed, paced};
use super::noise::noise_as_json;
use crate::args::Twice;
use crate::output;
use crate::print::{Form, HEADING, Out, STRONG, count, plain, size};
use crate::whole::{self, Existing};

const GOOD: Style = AnsiColor::Green.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
/// So many pages are named for one warning.
const NAMED: usize = 3;

/// All that was found.
struct Found<'a> {
    url: &'a str,
    summary: CheckSummary,
    pages: Vec<CheckedPage>,
    advice: Advice,
}

pub(super) async fn run(
    loaded: &Loaded,
    (url, html): (&str, Option<&Path>),
    twice: &Twice,
    form: Form,
) -> anyhow::Result<Ended> {
    let backend = backend_of(url)?;
    let config = loaded.settings().proxy_config();
    let config = config.with(|settings| settings.proxy_url.clone_from(&backend));
    let (progress, mut pages) = (Progress::new(), Vec::new());
    let options = paced(None, (twice.concurrency, twice.max_rps));
    let how = (&options, twice.limit, twice.pause);
    let summary = check(&config, url, how, |event| match event {
        Event::Done(page, done, known) => {
            progress.done(&page.page, (done, known), || pages.push(page.clone()));
        }
        Event::Waiting(wait) => progress.waiting(wait),
        _ => {}
    });
    let summary = summary.await;
    progress.end();
    let summary = summary.map_err(blamed(loaded))?;
    let found = Found {
        advice: advice(&summary, &pages),
        url,
        summary,
        pages,
    };
    if let Some(file) = html {
        write(file, &page::html(&found)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut out = Out::new();
    match form {
        Form::Json => out.json(&as_json(&found)),
        Form::Text => text(&mut out, &found),
    }
    out.finish().context("cannot print what was found")?;
    if let Some(file) = html {
        output::note(&format!("written to {}", plain(&file.display().to_string())));
    }
    Ok(match found.is_well() {
        true => Ended::AsAsked,
        false => Ended::WithFailures,
    })
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    whole::write(folder.unwrap_or(Path::new(".")), name, text, Existing::Replaced)
}

impl Found<'_> {
    fn with(&self, word: &str) -> u64 {
        let pages = self.pages.iter();
        pages.filter(|page| page.verdict.as_str() == word).count() as u64
    }

    /// Something can be stored, and no page failed; a link that leads nowhere is none.
    fn is_well(&self) -> bool {
        let first = self.pages.first();
        let is_there = first.is_some_and(|page| page.verdict != Verdict::Missing);
        self.with("stored") > 0 && self.with("failed") == 0 && is_there
    }

    fn sums(&self) -> String {
        let words = [
            ("stored", "can be stored"),
            ("not-stored", "cannot"),
            ("missing", "missing"),
            ("failed", "failed"),
        ];
        let words = words.iter().filter(|(word, _)| self.with(word) > 0);
        let counts: Vec<_> = words
            .map(|(word, said)| format!("{} {said}", self.with(word)))
            .collect();
        let left_out = match self.summary.left_out {
            0 => String::new(),
            more => format!("; {more} more were found and not looked at (--limit)"),
        };
        format!(
            "{}: {}{left_out}",
            count(self.pages.len() as u64, "page"),
            counts.join(", ")
        )
    }

    /// Why pages are not stored, each reason once.
    fn reasons(&self) -> BTreeMap<&'static str, Reason> {
        let reasons = self.pages.iter().filter_map(|page| page.verdict.reason());
        reasons.map(|reason| (reason.as_str(), reason)).collect()
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// What is worth a word beside the verdict.
fn remarks(page: &CheckedPage) -> String {
    let mut remarks: Vec<String> = Vec::new();
    remarks.extend(page.verdict.reason().map(|reason| reason.as_str().to_owned()));
    if page.verdict == Verdict::Missing {
        remarks.extend(page.found_on.as_ref().map(|from| format!("linked from {from}")));
    }
    if page.verdict == Verdict::Stored && !page.varies_by.is_empty() {
        // Frameworks name several on every page; the summary has them all.
        remarks.push(match page.varies_by.as_slice() {
            few if few.len() <= 2 => format!("varies by {}", few.join(", ")),
            many => format!("varies by {} fields", many.len()),
        });
    }
    if !page.noises.is_empty() {
        let mut kinds: Vec<_> = page.noises.iter().map(|noise| noise.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        remarks.push(format!("not the same twice: {}", kinds.join(", ")));
    }
    plain(&remarks.join("; "))
}

fn text(out: &mut Out, found: &Found<'_>) {
    out.line(format_args!(
        "{HEADING}            STATUS      SIZE       TIME  PAGE{HEADING:#}"
    ));
    for page in &found.pages {
        let style = match page.verdict {
            Verdict::Stored => GOOD,
            Verdict::Failed(_) => BAD,
            _ => DOUBTFUL,
        };
        let status = page.status.map_or("-".into(), |status| status.to_string());
        let remarks = match remarks(page) {
            remarks if remarks.is_empty() => remarks,
            remarks => format!("  ({remarks})"),
        };
        out.line(format_args!(
            "{style}{:<10}{style:#}  {status:>6}  {:>8}  {:>6} ms  {}{remarks}",
            page.verdict.as_str(),
            size(page.bytes),
            millis(page.took),
            plain(&page.page),
        ));
    }
    out.line(format_args!("{STRONG}{}{STRONG:#}", found.sums()));
    for (word, reason) in found.reasons() {
        out.line(format_args!(
            "\n{DOUBTFUL}{word}{DOUBTFUL:#}: {}",
            reason.advice()
        ));
    }
    for warning in &found.advice.warnings {
        let more = match warning.pages.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let pages: Vec<_> = warning.pages.iter().take(NAMED).map(|page| plain(page)).collect();
        let (kind, text) = (warning.kind, plain(&warning.text));
        out.line(format_args!(
            "\n{DOUBTFUL}{kind}{DOUBTFUL:#}: {text}\n  {}{more}",
            pages.join("  ")
        ));
    }
    out.line(format_args!(
        "\n{STRONG}To begin{STRONG:#}\n  {}\n\nor, with this as config.toml, phantom-frame config.toml\n",
        plain(&found.advice.command.join(" "))
    ));
    for line in found.advice.config.lines() {
        out.line(format_args!("  {}", plain(line)));
    }
}

fn as_json(found: &Found<'_>) -> Value {
    let page = |page: &CheckedPage| {
        json!({
            "page": page.page,
            "found_on": page.found_on,
            "verdict": page.verdict.as_str(),
            "reason": page.verdict.reason().map(|reason| reason.as_str()),
            "status": page.status,
            "type": page.kind,
            "bytes": page.bytes,
            "ms": millis(page.took),
            "varies_by": page.varies_by,
            "cookies": page.cookies,
            "cached": page.is_cached,
            "marked": page.marked.map(|reason| reason.as_str()),
            "own_host": page.own_host,
            "noise": page.noises.iter().map(noise_as_json).collect::<Vec<_>>(),
        })
    };
    let warnings = found.advice.warnings.iter();
    let warnings =
        warnings.map(|warning| json!({ "kind": warning.kind, "text": warning.text, "pages": warning.pages }));
    json!({
        "url": found.url,
        "backend": found.summary.backend,
        "public_url": found.summary.public,
        "pages": found.pages.iter().map(page).collect::<Vec<_>>(),
        "left_out": found.summary.left_out,
        "warnings": warnings.collect::<Vec<_>>(),
        "command": found.advice.command,
        "config": found.advice.config,
    })
}
