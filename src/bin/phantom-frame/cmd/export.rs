//! `phantom-frame export DIR`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::Artefact;
use phantom_frame::export::{Exported, On, Options, Strays, export};
use serde_json::{Value, json};

use crate::args::Export;
use crate::busy::{Ahead, busy};
use crate::print::{Form, Out, count, plain};
use crate::{logging, output};

/// So many of a kind are named; `--json` has all.
const NAMED: usize = 20;

pub(crate) fn run(asked: Export) -> anyhow::Result<ExitCode> {
    let form = asked.site.form();
    let loaded = asked.site.sources.load()?;
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start_quiet(&loaded)?;
    let config = loaded.settings().proxy_config();
    let artefact = Artefact::open(&config).map_err(|error| loaded.blame(error))?;
    let exported = busy("exporting", &artefact, Ahead::Told, || {
        export(&artefact, &asked.options)
    })?;
    let mut out = Out::new();
    match form {
        Form::Json => out.json(&as_json(&exported)),
        Form::Text => print(&mut out, &exported, &asked.options),
    }
    out.finish().context("cannot print what was exported")?;
    if exported.is_empty {
        let directory = artefact.directory().display();
        output::warn(&format!(
            "nothing is stored in {directory} that could be a file: nothing was written, and nothing removed"
        ));
        output::note("`phantom-frame prerender` fills it; `phantom-frame ls` lists what is in it");
    }
    Ok(ExitCode::from(u8::from(!exported.is_whole())))
}

fn as_json(exported: &Exported) -> Value {
    let strays = |strays: &Strays| -> Vec<Value> {
        let named = strays.named.iter();
        named
            .map(|(link, on)| json!({ "link": link, "page": on.first, "pages": on.pages }))
            .collect()
    };
    let kept = exported.kept.iter();
    let kept: Vec<_> = kept
        .map(|(file, why)| json!({ "file": file, "why": why }))
        .collect();
    let left_out: Vec<_> = exported
        .left_out
        .iter()
        .map(|one| json!({ "url": one.url, "why": one.why.as_str(), "detail": one.detail }))
        .collect();
    json!({
        "written": exported.written,
        "unchanged": exported.unchanged,
        "removed": exported.removed,
        "kept": kept,
        "redirects": exported.redirects,
        "not_found": exported.has_missing_page,
        "left_out": left_out,
        "several": exported.several,
        "dead": strays(&exported.dead),
        "dead_total": exported.dead.total,
        "origin": strays(&exported.origin),
        "origin_total": exported.origin.total,
        "unread": exported.unread,
        "empty": exported.is_empty,
    })
}

fn print(out: &mut Out, exported: &Exported, options: &Options) {
    let would = if options.is_dry { "would be " } else { "" };
    out.line(format_args!(
        "{} {would}written, {} as before, {} {would}removed",
        count(exported.written.len() as u64, "file"),
        exported.unchanged,
        exported.removed.len(),
    ));
    let missing = match exported.has_missing_page {
        true => "404.html",
        false => "no 404.html: no such page is stored",
    };
    out.line(format_args!(
        "{}, {missing}",
        count(exported.redirects, "redirect")
    ));
    list(out, "left alone, in the way", &exported.kept, |(file, why)| {
        format!("{}: {why}", plain(file))
    });
    list(out, "left out", &exported.left_out, |one| {
        format!(
            "{}  {}: {}",
            plain(&one.url),
            one.why.as_str(),
            plain(&one.detail)
        )
    });
    list(
        out,
        "with other renderings, which are left out",
        &exported.several,
        |url| plain(url),
    );
    list_strays(out, "links that lead nowhere", &exported.dead);
    list_strays(out, "links to the backend", &exported.origin);
    list(out, "that could not be read", &exported.unread, |what| {
        plain(what)
    });
    if !exported.origin.is_empty() {
        output::note("`--rewrite-links` has links to the backend begin at the root");
    }
}

fn list_strays(out: &mut Out, heading: &str, strays: &Strays) {
    let named: Vec<(&String, &On)> = strays.named.iter().collect();
    list(out, heading, &named, |(link, on)| shown(link, on));
    if strays.unnamed > 0 {
        let unnamed = count(strays.unnamed, "link");
        out.line(format_args!("  and {unnamed} more, which are counted alone"));
    }
}

fn shown(link: &str, on: &On) -> String {
    let first = plain(&on.first);
    match on.pages.saturating_sub(1) {
        0 => format!("{}  on {first}", plain(link)),
        others => format!("{}  on {first} and {}", plain(link), count(others, "other page")),
    }
}

fn list<T>(out: &mut Out, heading: &str, items: &[T], shown: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    out.line(format_args!("{heading} ({}):", items.len()));
    for item in items.iter().take(NAMED) {
        out.line(format_args!("  {}", shown(item)));
    }
    if items.len() > NAMED {
        out.line(format_args!(
            "  and {} more, which --json names",
            items.len() - NAMED
        ));
    }
}
