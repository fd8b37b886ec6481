//! `phantom-frame noise [URL…]`

use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{Event, Noise, PageNoise, noise};
use phantom_frame::config::Loaded;
use serde_json::{Value, json};

use super::Ended;
use super::compare::{Progress, blamed, fields, named, paced};
use crate::args::Twice;
use crate::print::{Form, HEADING, Out, STRONG, count, plain};

const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

pub(super) async fn run(
    loaded: &Loaded,
    pages: &[String],
    twice: &Twice,
    form: Form,
) -> anyhow::Result<Ended> {
    let config = loaded.settings().proxy_config();
    // Pages that are named take none.
    let artefact = match (Artefact::open(&config), pages.is_empty()) {
        (Ok(artefact), _) => Some(Arc::new(artefact)),
        (Err(_), false) => None,
        (Err(error), true) => return Err(loaded.blame(error).into()),
    };
    let (progress, mut out) = (Progress::new(), Out::new());
    let options = paced(None, (twice.concurrency, twice.max_rps));
    let how = (&options, twice.limit, twice.pause);
    let summary = noise(&config, artefact.as_ref(), pages, how, |event| match event {
        Event::Done(page, done, known) => {
            progress.done(&page.page, (done, known), || match form {
                Form::Json => out.item("pages", &as_json(page)),
                Form::Text => text(&mut out, page),
            });
        }
        Event::Waiting(wait) => progress.waiting(wait),
        _ => {}
    });
    let summary = summary.await;
    progress.end();
    let summary = summary.map_err(blamed(loaded))?;
    if form == Form::Json {
        let rest = json!({
            "looked_at": summary.pages,
            "noisy": summary.noisy,
            "failed": summary.failed,
            "left_out": summary.left_out,
        });
        out.rest("pages", &rest);
    } else {
        let left_out = match summary.left_out {
            0 => String::new(),
            more => format!("; {more} more were not looked at (--limit)"),
        };
        let found = match (summary.noisy, summary.failed) {
            (0, 0) => "each is the same twice".to_owned(),
            (0, failed) => format!("{failed} failed"),
            (noisy, 0) => format!("{noisy} with noise"),
            (noisy, failed) => format!("{noisy} with noise, {failed} failed"),
        };
        let pages = count(summary.pages, "page");
        out.line(format_args!("{STRONG}{pages}: {found}{left_out}{STRONG:#}"));
    }
    out.finish().context("cannot print what differs")?;
    Ok(match summary.noisy + summary.failed {
        0 => Ended::AsAsked,
        _ => Ended::WithFailures,
    })
}

/// For people, only what is worth a look.
fn text(out: &mut Out, page: &PageNoise) {
    let name = named(&page.page, &page.variant);
    if let Some(reason) = page.failed {
        let reason = reason.as_str();
        out.line(format_args!("{BAD}failed{BAD:#}  {name}  ({reason})"));
        return;
    }
    if page.noises.is_empty() {
        return;
    }
    let not_stored = page.not_stored.map(|reason| reason.as_str());
    let not_stored = not_stored.map_or(String::new(), |reason| format!("  (not stored: {reason})"));
    out.line(format_args!("{STRONG}{name}{STRONG:#}{not_stored}"));
    for noise in &page.noises {
        out.line(format_args!("{}", line(noise)));
    }
    if page.untold > 0 {
        out.line(format_args!("  and {} more", page.untold));
    }
}

fn line(noise: &Noise) -> String {
    let style = if noise.is_left_out { HEADING } else { DOUBTFUL };
    let place = match noise.line {
        Some(line) => format!("{}, line {line}", noise.place),
        None => noise.place.clone(),
    };
    let seen = match (&*noise.seen.0, &*noise.seen.1) {
        ("", "") => String::new(),
        ("", other) => format!("  nothing | {other}"),
        (one, "") => format!("  {one} | nothing"),
        (one, other) => format!("  {one} | {other}"),
    };
    let stored = if noise.is_left_out { "  (not stored)" } else { "" };
    let kind = noise.kind.as_str();
    format!(
        "  {style}{kind:<11}{style:#}  {}{}{stored}",
        plain(&place),
        plain(&seen)
    )
}

fn as_json(page: &PageNoise) -> Value {
    json!({
        "page": page.page,
        "variant": fields(&page.variant),
        "status": page.status,
        "failed": page.failed.map(|reason| reason.as_str()),
        "not_stored": page.not_stored.map(|reason| reason.as_str()),
        "noise": page.noises.iter().map(noise_as_json).collect::<Vec<_>>(),
        "untold": page.untold,
    })
}

pub(super) fn noise_as_json(noise: &Noise) -> Value {
    json!({
        "kind": noise.kind.as_str(),
        "place": noise.place,
        "line": noise.line,
        "seen": [noise.seen.0, noise.seen.1],
        "stored": !noise.is_left_out,
    })
}
