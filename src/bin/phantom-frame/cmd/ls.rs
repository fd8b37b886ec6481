//! `phantom-frame ls`

use std::cmp::Reverse;
use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Freshness, Row, State};
use serde_json::{Value, json};

use super::tree;
use crate::args::Order;
use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Form, HEADING, Out, count, plain, size, span};

pub(super) fn run(
    artefact: &Artefact,
    pattern: Option<&str>,
    order: &Order,
    form: Form,
) -> anyhow::Result<ExitCode> {
    if order.rejected {
        return rejected(artefact, pattern, form);
    }
    let mut rows = Vec::new();
    let unread = busy("listing", artefact, Ahead::Renderings, || {
        artefact.list(pattern, &mut |row| rows.push(row))
    })?;
    sort(&mut rows, order);
    let mut out = Out::new();
    if form == Form::Json {
        rows.iter()
            .for_each(|row| out.item("snapshots", &row_as_json(row)));
        let directory = artefact.directory().display().to_string();
        out.rest("snapshots", &json!({ "directory": directory, "unread": unread }));
    } else if order.tree {
        tree::print(&mut out, &rows);
    } else {
        table(&mut out, &rows, order);
    }
    out.finish().context("cannot print the list")?;
    if rows.is_empty() && form == Form::Text {
        output::note(&format!(
            "nothing is stored in {}",
            artefact.directory().display()
        ));
    }
    for folder in &unread {
        output::warn(&format!("cannot be read: {}", plain(folder)));
    }
    Ok(ExitCode::from(u8::from(!unread.is_empty())))
}

fn rejected(artefact: &Artefact, pattern: Option<&str>, form: Form) -> anyhow::Result<ExitCode> {
    let rejected = artefact.rejected(pattern)?;
    let mut out = Out::new();
    if form == Form::Json {
        let rows = rejected.iter().map(|one| {
            json!({
                "page": one.page,
                "line": one.line,
                "why": one.why,
                "at": one.at,
                "age": one.age,
                "bytes": one.bytes,
                "stored_bytes": one.stored_bytes,
                "seal": one.seal,
            })
        });
        let directory = artefact.directory().display().to_string();
        out.json(&json!({ "directory": directory, "rejected": rows.collect::<Vec<_>>() }));
    } else if !rejected.is_empty() {
        out.line(format_args!(
            "{HEADING} AGE  WHY          SIZE      STORED  PAGE{HEADING:#}"
        ));
        for one in &rejected {
            out.line(format_args!(
                "{:>4}  {:<5}  {:>10}  {:>10}  {}",
                span(one.age),
                plain(&one.why),
                size(one.bytes),
                size(one.stored_bytes),
                plain(&one.page)
            ));
        }
    }
    out.finish().context("cannot print the list")?;
    if rejected.is_empty() && form == Form::Text {
        output::note("nothing was rejected");
    }
    Ok(ExitCode::SUCCESS)
}

fn sort(rows: &mut [Row], order: &Order) {
    let path = |row: &Row| (row.page(), row.variant.clone());
    match order.by.as_str() {
        "size" => rows.sort_by_key(|row| Reverse(row.bytes)),
        // What nobody knows comes last.
        "age" => rows.sort_by_key(|row| Reverse(row.freshness.age)),
        "status" => rows.sort_by_key(|row| row.status),
        "state" => rows.sort_by_key(|row| (Reverse(row.freshness.state), row.freshness.left)),
        _ => rows.sort_by_cached_key(path),
    }
    if order.reverse {
        rows.reverse();
    }
}

fn table(out: &mut Out, rows: &[Row], order: &Order) {
    if rows.is_empty() {
        return;
    }
    let freshness: Vec<String> = rows.iter().map(|row| freshness(&row.freshness)).collect();
    let width = freshness.iter().map(String::len).max().unwrap_or(0).max(9);
    out.line(format_args!(
        "{HEADING}STATUS        SIZE   AGE  {:width$}  PAGE{HEADING:#}",
        "FRESHNESS"
    ));
    for (row, freshness) in rows.iter().zip(&freshness) {
        let age = row.freshness.age.map_or("-".into(), span);
        out.line(format_args!(
            "{:>6}  {:>10}  {age:>4}  {freshness:width$}  {}{}{}{}",
            row.status,
            size(row.bytes),
            plain(&row.page()),
            selected(row),
            if row.is_torn {
                "  (its body is missing)"
            } else {
                ""
            },
            tags(row, order),
        ));
    }
    let bytes = rows.iter().map(|row| row.bytes).sum();
    out.line(format_args!(
        "{HEADING}{}, {}{HEADING:#}",
        count(rows.len() as u64, "snapshot"),
        size(bytes)
    ));
}

fn tags(row: &Row, order: &Order) -> String {
    match order.tags && !row.tags.is_empty() {
        true => format!("  ({})", plain(&row.tags.join(", "))),
        false => String::new(),
    }
}

/// The state, and for how long it has been or will be.
pub(super) fn freshness(freshness: &Freshness) -> String {
    let state = freshness.state.as_str();
    match (freshness.state, freshness.left) {
        (State::Fresh | State::Stale | State::WhileRevalidated, Some(left)) => {
            format!("{state} {}", span(left.unsigned_abs()))
        }
        _ => state.to_owned(),
    }
}

/// What tells the rendering from others of its page.
pub(super) fn selected(row: &Row) -> String {
    let in_name = ["host", "scheme"];
    let parts = row
        .parts
        .iter()
        .filter(|(name, _)| !in_name.contains(&name.as_str()));
    let all: Vec<String> = parts
        .chain(&row.variant)
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    match all.is_empty() {
        true => String::new(),
        false => format!("  [{}]", plain(&all.join(", "))),
    }
}

/// As machines read it.
pub(super) fn row_as_json(row: &Row) -> Value {
    let map = |pairs: &[(String, String)]| -> Value {
        let pairs = pairs.iter().map(|(name, value)| (name.clone(), json!(value)));
        Value::Object(pairs.collect())
    };
    let freshness = &row.freshness;
    json!({
        "line": row.line,
        "page": row.page(),
        "parts": map(&row.parts),
        "variant": map(&row.variant),
        "status": row.status,
        "tags": row.tags,
        "bytes": row.bytes,
        "state": freshness.state.as_str(),
        "age": freshness.age,
        "left": freshness.left,
        "lifetime": freshness.lifetime,
        "given_by": freshness.given_by,
        "serves_when_down": freshness.serves_when_down,
        "generated": freshness.generated,
        "rule": row.rule,
        "file": row.file,
        "torn": row.is_torn,
    })
}
