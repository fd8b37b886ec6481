//! `phantom-frame verify`

use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::artefact::{Artefact, Finding, FindingKind};
use serde_json::{Value, json};

use crate::args::Care;
use crate::busy::{Ahead, busy};
use crate::output;
use crate::print::{Form, Out, STRONG, count, plain, size};

pub(super) fn run(artefact: &Artefact, care: Care, form: Form) -> anyhow::Result<ExitCode> {
    let mut out = Out::new();
    let mut has_edits = false;
    let mut each = |finding: Finding| {
        has_edits |= finding.kind == FindingKind::Seal;
        match form {
            Form::Json => out.item("findings", &finding_as_json(&finding)),
            Form::Text => line(&mut out, &finding),
        }
    };
    let verified = busy("verifying", artefact, Ahead::Renderings, || match care {
        Care::Fixed => artefact.repair(&mut each),
        Care::Told => Ok(artefact.verify(&mut each)),
    })?;
    let checked = format!(
        "{}, {}",
        count(verified.snapshots, "snapshot"),
        size(verified.bytes)
    );
    if form == Form::Json {
        let rest = json!({
            "directory": artefact.directory().display().to_string(),
            "snapshots": verified.snapshots,
            "bytes": verified.bytes,
            "left": verified.left,
        });
        out.rest("findings", &rest);
    } else {
        out.line(format_args!(
            "{STRONG}{}{STRONG:#}",
            match (verified.findings, verified.left) {
                (0, _) => format!("{checked}: all is well"),
                (found, left) if care == Care::Fixed =>
                    format!("{checked}: {}, {left} left", count(found, "finding")),
                (found, _) => format!("{checked}: {}", count(found, "finding")),
            }
        ));
    }
    out.finish().context("cannot print what was found")?;
    if has_edits && care == Care::Told {
        output::note(
            "`phantom-frame reseal` accepts what was changed by hand; `verify --fix` moves it aside",
        );
    }
    Ok(ExitCode::from(u8::from(verified.left > 0)))
}

fn line(out: &mut Out, finding: &Finding) {
    out.line(format_args!(
        "{STRONG}{:<10}{STRONG:#}  {}: {}",
        finding.kind.as_str(),
        plain(&finding.path),
        plain(&finding.detail)
    ));
    if let Some(fixed) = &finding.fixed {
        out.line(format_args!("            {}", plain(fixed)));
    }
}

fn finding_as_json(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.as_str(),
        "path": finding.path,
        "detail": finding.detail,
        "fixed": finding.fixed,
    })
}
