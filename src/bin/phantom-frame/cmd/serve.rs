//! `phantom-frame [serve] [CONFIG]`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use phantom_frame::config::ConfigError;

use super::{block_on, run};
use crate::args::{self, Serve};
use crate::print::{Out, plain};
use crate::{logging, output};

pub(crate) fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let loaded = match serve.sources.load() {
        Ok(loaded) => loaded,
        Err(error) => return Err(explained(error, serve.config.as_deref())),
    };
    if serve.print_config {
        let mut out = Out::new();
        out.raw(loaded.print().as_bytes());
        out.finish().context("cannot print the configuration")?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start(&loaded)?;
    block_on(run::serve(&loaded))
}

/// `phantom-frame dmeo` is read as a configuration file's name: says so.
fn explained(error: ConfigError, config: Option<&Path>) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    match config {
        Some(path) if path.extension().is_none() && path.components().count() == 1 && !path.exists() => {
            let names = args::names().join("`, `");
            output::warn(&format!(
                "`{}` is not a command, and so taken for a configuration file; the commands are `{names}`",
                plain(&path.to_string_lossy())
            ));
            error
        }
        _ => error,
    }
}
