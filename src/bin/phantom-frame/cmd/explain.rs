//! `phantom-frame explain`

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::CreateProxyConfig;
use phantom_frame::artefact::{Answered, Explained, Question, Sent, explain};
use phantom_frame::config::{Loaded, keys};
use serde_json::{Value, json};

use super::{Ended, block_on};
use crate::print::{Form, HEADING, Out, STRONG, count, plain, size};

pub(super) fn run(
    (loaded, config): (&Loaded, &CreateProxyConfig),
    question: &Question,
    form: Form,
) -> anyhow::Result<ExitCode> {
    block_on(async {
        let explained = explain(config, question)
            .await
            .map_err(|error| loaded.blame(error))?;
        let settings = settings(loaded, &explained);
        let mut out = Out::new();
        match form {
            Form::Json => out.json(&as_json(&explained, &settings)),
            Form::Text => text(&mut out, question, &explained, &settings),
        }
        out.finish().context("cannot print the explanation")?;
        let is_whole = |answer: &Answered| answer.broken.is_none() && !matches!(answer.status, 502 | 504);
        Ok(match explained.answer.as_ref().is_none_or(is_whole) {
            true => Ended::AsAsked,
            false => Ended::WithFailures,
        })
    })
}

/// Where the settings that are named come from.
fn settings<'a>(loaded: &Loaded, explained: &'a Explained) -> BTreeMap<&'a str, String> {
    let advice = explained.reason.map_or("", |reason| reason.advice());
    let texts = explained.steps.iter().map(String::as_str).chain([advice]);
    let named = texts.flat_map(|text| text.split('`').skip(1).step_by(2));
    let is_setting = |name: &&str| keys().iter().any(|key| key.name() == *name);
    named
        .filter(is_setting)
        .map(|name| (name, loaded.origin(name)))
        .collect()
}

fn text(out: &mut Out, question: &Question, explained: &Explained, settings: &BTreeMap<&str, String>) {
    out.line(format_args!("{STRONG}{}{STRONG:#}", plain(&question.url)));
    for (at, step) in explained.steps.iter().enumerate() {
        let (what, rest) = step.split_once(": ").unwrap_or(("", step));
        out.line(format_args!(
            "{:>4}  {HEADING}{what:<9}{HEADING:#} {}",
            at + 1,
            plain(rest)
        ));
    }
    if let Some(key) = &explained.key {
        heading(out, "key");
        for line in key.split("\\n") {
            out.line(format_args!("  {}", plain(line)));
        }
    }
    let said = match explained.answer {
        Some(_) => "the backend is asked",
        None => "the backend would be asked",
    };
    for sent in &explained.asked {
        request(out, sent, said);
    }
    if let Some(answer) = &explained.answer {
        heading(out, "answer");
        out.line(format_args!("  {}, {}", answer.status, size(answer.bytes)));
        if let Some(cache_status) = &answer.cache_status {
            out.line(format_args!("  cache-status: {}", plain(cache_status)));
        }
        if let Some(broken) = &answer.broken {
            out.line(format_args!("  broke off: {}", plain(broken)));
        }
    }
    if let Some(reason) = explained.reason {
        heading(out, "what to do");
        out.line(format_args!("  {}: {}", reason.as_str(), reason.advice()));
    }
    if !settings.is_empty() {
        heading(out, "settings");
        for (name, origin) in settings {
            out.line(format_args!("  {name}: {}", plain(origin)));
        }
    }
}

fn heading(out: &mut Out, what: &str) {
    out.line(format_args!("\n{HEADING}{what}{HEADING:#}"));
}

fn request(out: &mut Out, sent: &Sent, said: &str) {
    heading(out, said);
    out.line(format_args!("  {} {}", plain(&sent.method), plain(&sent.target)));
    for (name, value) in &sent.headers {
        let value = value.as_deref().unwrap_or("(not shown)");
        out.line(format_args!("  {}: {}", plain(name), plain(value)));
    }
    for (what, names) in [
        ("in place of the visitor's own", &sent.replaced),
        ("left out", &sent.left_out),
    ] {
        if !names.is_empty() {
            let fields = count(names.len() as u64, "field");
            out.line(format_args!("  {what}, {fields}: {}", plain(&names.join(", "))));
        }
    }
}

fn as_json(explained: &Explained, settings: &BTreeMap<&str, String>) -> Value {
    let asked = explained.asked.iter().map(|sent| {
        json!({
            "method": sent.method,
            "target": sent.target,
            "headers": sent.headers,
            "replaced": sent.replaced,
            "left_out": sent.left_out,
        })
    });
    let answer = explained.answer.as_ref().map(|answer| {
        json!({
            "status": answer.status,
            "cache_status": answer.cache_status,
            "bytes": answer.bytes,
            "broken": answer.broken,
        })
    });
    json!({
        "key": explained.key,
        "steps": explained.steps,
        "reason": explained.reason.map(|reason| reason.as_str()),
        "advice": explained.reason.map(|reason| reason.advice()),
        "settings": settings,
        "asked": asked.collect::<Vec<_>>(),
        "answer": answer,
    })
}
