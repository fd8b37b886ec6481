//! `phantom-frame completions`

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

use crate::print::Out;

/// How clap_complete's script for bash names the commands of a program with a hyphen where it looks them up, and how
/// where it finds which one it is (clap-rs/clap#6421): without this, none has its flags completed.
const MISSPELT: &str = "phantom__subcmd__frame";
const SPELT: &str = "phantom__frame";

pub(crate) fn run(mut command: Command, shell: Shell) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    // Whole before any of it is printed: the generators panic where they cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == Shell::Bash {
        script = script.replace(MISSPELT, SPELT);
    }
    let mut out = Out::new();
    out.raw(script.as_bytes());
    out.finish().context("cannot print the completions")?;
    Ok(ExitCode::SUCCESS)
}
