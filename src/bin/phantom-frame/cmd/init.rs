//! `phantom-frame init`

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::Init;
use crate::framework::{self, Framework, PLAIN};
use crate::output::{self, Unusable};
use crate::print::{Out, plain};
use crate::whole::{self, Existing};

const NAME: &str = "config.toml";

pub(crate) fn run(asked: &Init) -> anyhow::Result<ExitCode> {
    let shown = plain(&asked.dir.to_string_lossy());
    if !asked.dir.is_dir() {
        return Err(Unusable {
            what: format!("{shown} is no directory"),
            hint: "name the directory of the project".into(),
        }
        .into());
    }
    let path = match asked.dir.as_os_str() == "." {
        true => NAME.to_owned(),
        false => plain(&asked.dir.join(NAME).to_string_lossy()),
    };
    let (framework, reason) = choose(asked);
    match whole::write(&asked.dir, NAME, &framework.config(), asked.existing) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let (what, hint) = match asked.existing {
                Existing::Kept => (
                    "there already",
                    "--force replaces it; or move it away, or name another directory",
                ),
                Existing::Replaced => ("a link or a folder", "move it away, or name another directory"),
            };
            return Err(Unusable {
                what: format!("{path} is {what}, and was left as it is"),
                hint: hint.into(),
            }
            .into());
        }
        written => written.with_context(|| format!("cannot write {path}"))?,
    }
    let mut out = Out::new();
    out.line(format_args!("{reason}"));
    out.line(format_args!(
        "wrote {path}: http://localhost:{} in front of {}",
        framework.port,
        framework.backend()
    ));
    out.line(format_args!("next: phantom-frame {path}"));
    out.finish().context("cannot print what was written")?;
    Ok(ExitCode::SUCCESS)
}

/// For which framework, and why that one.
fn choose(asked: &Init) -> (&'static Framework, String) {
    if let Some(framework) = asked.framework.as_deref().and_then(Framework::named) {
        return (framework, format!("for {}, as asked", framework.title()));
    }
    let found = framework::find(&asked.dir);
    let Some(first) = found.first() else {
        let reason = "found no framework that is known: --framework names one".to_owned();
        return (&PLAIN, reason);
    };
    for other in found.iter().skip(1) {
        output::note(&format!(
            "also found {} ({}): --framework {} is for that",
            other.framework.title(),
            other.file,
            other.framework.name
        ));
    }
    let reason = format!("found {} ({})", first.framework.title(), first.file);
    (first.framework, reason)
}
