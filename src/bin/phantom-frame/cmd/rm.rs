//! `phantom-frame rm`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Removed};
use serde_json::json;

use super::ls::{row_as_json, selected};
use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Form, Out, count, plain, size};
use crate::server::Server;

/// `--dry-run`
pub(super) fn would_run(artefact: &Artefact, pattern: &str, form: Form) -> anyhow::Result<ExitCode> {
    let mut out = Out::new();
    let mut each = |row| match form {
        Form::Json => out.item("rows", &row_as_json(&row)),
        Form::Text => out.line(format_args!(
            "{}{}  {}",
            plain(&row.page()),
            selected(&row),
            plain(&row.file)
        )),
    };
    let removed = busy("looking", artefact, Ahead::Renderings, || {
        artefact.would_remove(pattern, &mut each)
    })?;
    say(out, &removed, "would remove", form)
}

pub(super) fn run(
    artefact: &Artefact,
    server: Option<&Server>,
    pattern: &str,
    form: Form,
) -> anyhow::Result<ExitCode> {
    let progress = artefact.progress();
    // What went is not counted beside what goes.
    let removed = busy("removing", artefact, Ahead::Told, || match server {
        Some(server) => server.ask(async |remote| remote.remove(pattern, &progress).await),
        None => artefact.remove(pattern),
    })?;
    let code = say(Out::new(), &removed, "removed", form)?;
    if let Some(server) = server {
        server.note();
    } else if removed.is_beside_a_server && removed.pages > 0 {
        output::note("another process writes the directory: it takes what went for invalidated");
    }
    Ok(code)
}

fn say(mut out: Out, removed: &Removed, verb: &str, form: Form) -> anyhow::Result<ExitCode> {
    if form == Form::Json {
        let rest = json!({
            "snapshots": removed.snapshots,
            "pages": removed.pages,
            "bytes": removed.bytes,
            "failed": removed.failed,
        });
        out.rest("rows", &rest);
    } else if removed.pages == 0 {
        out.line(format_args!("nothing matches"));
    } else {
        out.line(format_args!(
            "{verb} {} of {}, {}",
            count(removed.snapshots, "snapshot"),
            count(removed.pages, "page"),
            size(removed.bytes)
        ));
    }
    out.finish().context("cannot print what was removed")?;
    for failed in &removed.failed {
        output::warn(&format!("cannot be removed: {}", plain(failed)));
    }
    Ok(ExitCode::from(u8::from(!removed.failed.is_empty())))
}
