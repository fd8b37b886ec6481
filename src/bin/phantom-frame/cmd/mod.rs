//! One file per command.

mod accept;
mod check;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod demo;
mod diff;
mod explain;
pub(crate) mod export;
mod fill;
pub(crate) mod init;
pub(crate) mod inspect;
mod ls;
pub(crate) mod man;
mod noise;
pub(crate) mod prerender;
mod rm;
mod run;
pub(crate) mod serve;
mod show;
mod tree;
mod upkeep;
mod verify;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::runtime::Builder;

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    AsAsked,
    /// To the end, but not all is well.
    WithFailures,
    /// By a second signal, with its exit code.
    Forced(u8),
}

/// Runs a command's async part; whatever still blocks a thread after it does not hold up the exit.
fn block_on(command: impl Future<Output = anyhow::Result<Ended>>) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    Ok(match ended? {
        Ended::AsAsked => ExitCode::SUCCESS,
        Ended::WithFailures => ExitCode::FAILURE,
        Ended::Forced(code) => ExitCode::from(code),
    })
}
