//! `phantom-frame gc`, `reseal` and `tombstone`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Sealed, Tombstone};
use serde_json::{Value, json};

use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Form, Out, count, plain, size};
use crate::server::Server;

pub(super) fn gc(artefact: &Artefact, server: Option<&Server>, form: Form) -> anyhow::Result<ExitCode> {
    let progress = artefact.progress();
    let done = busy("collecting", artefact, Ahead::Renderings, || match server {
        Some(server) => server.ask(async |remote| remote.collect(&progress).await),
        None => artefact.collect(),
    })?;
    let mut out = Out::new();
    if form == Form::Json {
        out.json(&json!({
            "snapshots": done.snapshots,
            "pending": done.pending,
            "temporaries": done.temporaries,
            "forms": done.forms,
            "evicted": done.evicted,
            "partial": done.is_partial,
        }));
    } else {
        let swept = [
            (done.pending, "unfinished commit"),
            (done.temporaries, "temporary file"),
            (done.forms, "compressed form"),
        ];
        for (number, of) in swept.into_iter().filter(|(number, _)| *number > 0) {
            out.line(format_args!("cleared {}", count(number, of)));
        }
        if done.evicted > 0 {
            out.line(format_args!("evicted {}", count(done.evicted, "snapshot")));
        }
        out.line(format_args!("{} stored", count(done.snapshots, "snapshot")));
    }
    out.finish().context("cannot print what was done")?;
    server.inspect(|server| server.note());
    if done.is_partial {
        output::warn("not all of the directory could be read; what was invalidated stays in force");
    }
    Ok(ExitCode::from(u8::from(done.is_partial)))
}

pub(super) fn reseal(
    (artefact, server): (&Artefact, Option<&Server>),
    pattern: Option<&str>,
    form: Form,
) -> anyhow::Result<ExitCode> {
    let mut out = Out::new();
    let (mut resealed, mut failed): (Vec<Sealed>, Vec<Sealed>) = (Vec::new(), Vec::new());
    let mut each = |sealed: Sealed| match sealed.result {
        Ok(_) => resealed.push(sealed),
        Err(_) => failed.push(sealed),
    };
    let progress = artefact.progress();
    busy("sealing", artefact, Ahead::Renderings, || match server {
        Some(server) => server.ask(async |remote| remote.reseal(pattern, &progress, &mut each).await),
        None => artefact.reseal(pattern, &mut each),
    })?;
    if form == Form::Json {
        let resealed: Vec<Value> = resealed.iter().map(sealed_as_json).collect();
        let failed: Vec<Value> = failed.iter().map(sealed_as_json).collect();
        out.json(&json!({ "resealed": resealed, "failed": failed }));
    } else {
        for sealed in &resealed {
            let bytes = sealed.result.as_ref().map_or(0, |bytes| *bytes);
            let (line, file) = (plain(&sealed.line), plain(&sealed.file));
            out.line(format_args!("resealed {line}  {file}  {}", size(bytes)));
        }
        if resealed.is_empty() && failed.is_empty() {
            out.line(format_args!("nothing was changed by hand"));
        }
        for sealed in &failed {
            let why = sealed.result.as_ref().err().map_or("", String::as_str);
            output::warn(&format!(
                "{} cannot be sealed: {}",
                plain(&sealed.file),
                plain(why)
            ));
        }
    }
    out.finish().context("cannot print what was sealed")?;
    server.inspect(|server| server.note());
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn sealed_as_json(sealed: &Sealed) -> Value {
    match &sealed.result {
        Ok(bytes) => json!({ "line": sealed.line, "file": sealed.file, "bytes": bytes }),
        Err(error) => json!({ "line": sealed.line, "file": sealed.file, "error": error }),
    }
}

pub(super) fn tombstone(
    (artefact, server): (&Artefact, Option<&Server>),
    url: &str,
    tombstone: &Tombstone,
    form: Form,
) -> anyhow::Result<ExitCode> {
    let file = match server {
        Some(server) => server.ask(async |remote| remote.tombstone(url, tombstone).await),
        None => artefact.tombstone(url, tombstone),
    }?;
    let mut out = Out::new();
    match form {
        Form::Json => out.json(&json!({ "file": file })),
        Form::Text => out.line(format_args!("{}", plain(&file))),
    }
    out.finish().context("cannot print where it is")?;
    server.inspect(|server| server.note());
    Ok(ExitCode::SUCCESS)
}
