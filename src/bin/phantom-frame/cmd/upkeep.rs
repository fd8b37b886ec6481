//! `phantom-frame gc`, `reseal` and `tombstone`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Sealed, Tombstone};
use serde_json::{Value, json};

use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Out, count, plain, size};

pub(super) fn gc(artefact: &Artefact, is_json: bool) -> anyhow::Result<ExitCode> {
    let done = busy("collecting", artefact, Ahead::Renderings, || artefact.collect())?;
    let mut out = Out::new();
    if is_json {
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
    if done.is_partial {
        output::warn("not all of the directory could be read; what was invalidated stays in force");
    }
    Ok(ExitCode::from(u8::from(done.is_partial)))
}

pub(super) fn reseal(artefact: &Artefact, pattern: Option<&str>, is_json: bool) -> anyhow::Result<ExitCode> {
    let mut out = Out::new();
    let (mut resealed, mut failed): (Vec<Sealed>, Vec<Sealed>) = (Vec::new(), Vec::new());
    let mut each = |sealed: Sealed| match sealed.result {
        Ok(_) => resealed.push(sealed),
        Err(_) => failed.push(sealed),
    };
    busy("sealing", artefact, Ahead::Renderings, || {
        artefact.reseal(pattern, &mut each)
    })?;
    if is_json {
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
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn sealed_as_json(sealed: &Sealed) -> Value {
    match &sealed.result {
        Ok(bytes) => json!({ "line": sealed.line, "file": sealed.file, "bytes": bytes }),
        Err(error) => json!({ "line": sealed.line, "file": sealed.file, "error": error }),
    }
}

pub(super) fn tombstone(
    artefact: &Artefact,
    url: &str,
    tombstone: &Tombstone,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let file = artefact.tombstone(url, tombstone)?;
    let mut out = Out::new();
    match is_json {
        true => out.json(&json!({ "file": file })),
        false => out.line(format_args!("{}", plain(&file))),
    }
    out.finish().context("cannot print where it is")?;
    Ok(ExitCode::SUCCESS)
}
