//! The commands that work on the directory alone: opened, and handed over.

use std::process::ExitCode;

use phantom_frame::artefact::Artefact;

use super::{explain, ls, rm, show, upkeep, verify};
use crate::args::{Inspect, Site};
use crate::server::Server;
use crate::{logging, output};

pub(crate) fn run(site: Site, asked: &Inspect) -> anyhow::Result<ExitCode> {
    let loaded = site.sources.load()?;
    for warning in loaded.warnings() {
        output::warn(warning);
    }
    logging::start_quiet(&loaded)?;
    let config = loaded.settings().proxy_config();
    let open = || Artefact::open(&config).map_err(|error| loaded.blame(error));
    let server = || Server::of(&loaded);
    let is_json = site.json;
    match asked {
        Inspect::Ls { pattern, order } => ls::run(&open()?, pattern.as_deref(), order, is_json),
        Inspect::Show { url, body } => show::run(&open()?, url, *body, is_json),
        Inspect::Explain(question) => explain::run((&loaded, &config), question, is_json),
        Inspect::Verify { fix } => verify::run(&open()?, *fix, is_json),
        Inspect::Rm {
            pattern,
            dry_run: true,
        } => rm::would_run(&open()?, pattern, is_json),
        Inspect::Rm {
            pattern,
            dry_run: false,
        } => rm::run(&open()?, server()?.as_ref(), pattern, is_json),
        Inspect::Gc => upkeep::gc(&open()?, server()?.as_ref(), is_json),
        Inspect::Reseal { pattern } => {
            upkeep::reseal((&open()?, server()?.as_ref()), pattern.as_deref(), is_json)
        }
        Inspect::Tombstone { url, tombstone } => {
            upkeep::tombstone((&open()?, server()?.as_ref()), url, tombstone, is_json)
        }
    }
}
