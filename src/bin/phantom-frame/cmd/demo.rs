//! `phantom-frame demo`

use std::process::ExitCode;

use anyhow::Context as _;

use super::{Ended, block_on};
use crate::args;
use crate::shutdown::Shutdown;
use phantom_frame::demo::{Demo, DemoOptions};

pub(crate) fn run(demo: args::Demo) -> anyhow::Result<ExitCode> {
    block_on(serve(demo))
}

async fn serve(asked: args::Demo) -> anyhow::Result<Ended> {
    let stop = Shutdown::listen().context("cannot listen for signals")?;
    let mut options = DemoOptions::default();
    options.dir = asked.dir;
    options.port = asked.port;
    let demo = Demo::start(options).await?;
    anstream::eprintln!(
        "phantom-frame demo  {}\n  snapshots  {}\n  Ctrl-C ends it",
        demo.url(),
        demo.directory().display()
    );
    tokio::select! {
        ended = demo.run(stop.requested()) => ended.map(|()| Ended::AsAsked).map_err(Into::into),
        code = stop.forced() => Ok(Ended::Forced(code)),
    }
}
