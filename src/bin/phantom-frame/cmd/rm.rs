//! `phantom-frame rm`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Removed};
use serde_json::json;

use super::ls::{row_as_json, selected};
use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Out, count, plain, size};

pub(super) fn run(
    artefact: &Artefact,
    pattern: &str,
    dry_run: bool,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let mut out = Out::new();
    let removed = match dry_run {
        true => busy("looking", artefact, Ahead::Renderings, || {
            artefact.would_remove(pattern, &mut |row| match is_json {
                true => out.item("rows", &row_as_json(&row)),
                false => out.line(format_args!(
                    "{}{}  {}",
                    plain(&row.page()),
                    selected(&row),
                    plain(&row.file)
                )),
            })
        })?,
        // What went is not counted beside what goes.
        false => busy("removing", artefact, Ahead::Told, || artefact.remove(pattern))?,
    };
    if is_json {
        let rest = json!({
            "snapshots": removed.snapshots,
            "pages": removed.pages,
            "bytes": removed.bytes,
            "failed": removed.failed,
        });
        out.rest("rows", &rest);
    } else {
        out.line(format_args!("{}", said(&removed, dry_run)));
    }
    out.finish().context("cannot print what was removed")?;
    for failed in &removed.failed {
        output::warn(&format!("cannot be removed: {}", plain(failed)));
    }
    if removed.is_beside_a_server && removed.pages > 0 {
        output::note("another process writes the directory: it takes what went for invalidated");
    }
    Ok(ExitCode::from(u8::from(!removed.failed.is_empty())))
}

fn said(removed: &Removed, dry_run: bool) -> String {
    if removed.pages == 0 {
        return "nothing matches".into();
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    format!(
        "{verb} {} of {}, {}",
        count(removed.snapshots, "snapshot"),
        count(removed.pages, "page"),
        size(removed.bytes)
    )
}
