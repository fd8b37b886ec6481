//! The commands that work on the directory alone: opened, and handed over.

use std::process::ExitCode;

use phantom_frame::artefact::Artefact;

use super::{explain, ls, rm, show, upkeep, verify};
use crate::args::{Inspect, Site};
use crate::server::Server;
use crate::{logging, output};

pub(crate) fn run(site: Site, asked: &Inspect) -> anyhow::Result<ExitCode> {
    let form = site.form();
    let loaded = site.sources.load()?;
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start_quiet(&loaded)?;
    let config = loaded.settings().proxy_config();
    let open = || Artefact::open(&config).map_err(|error| loaded.blame(error));
    let server = || Server::of(&loaded);
    match asked {
        Inspect::Ls { pattern, order } => ls::run(&open()?, pattern.as_deref(), order, form),
        Inspect::Show { url, what } => show::run(&open()?, url, *what, form),
        Inspect::Explain(question) => explain::run((&loaded, &config), question, form),
        Inspect::Verify(care) => verify::run(&open()?, *care, form),
        Inspect::Rm {
            pattern,
            dry_run: true,
        } => rm::would_run(&open()?, pattern, form),
        Inspect::Rm {
            pattern,
            dry_run: false,
        } => rm::run(&open()?, server()?.as_ref(), pattern, form),
        Inspect::Gc => upkeep::gc(&open()?, server()?.as_ref(), form),
        Inspect::Reseal { pattern } => {
            upkeep::reseal((&open()?, server()?.as_ref()), pattern.as_deref(), form)
        }
        Inspect::Tombstone { url, tombstone } => {
            upkeep::tombstone((&open()?, server()?.as_ref()), url, tombstone, form)
        }
    }
}
