//! The server that writes the directory of a command, where there is one.

use anyhow::Context as _;
use phantom_frame::command::Remote;
use phantom_frame::config::Loaded;
use tokio::runtime::{Builder, Runtime};

use crate::output;

/// For commands that wait for nothing else.
pub(crate) struct Server {
    runtime: Runtime,
    remote: Remote,
}

impl Server {
    /// The one that can be reached from here and takes commands.
    pub(crate) fn of(loaded: &Loaded) -> anyhow::Result<Option<Self>> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let remote = runtime.block_on(find(loaded));
        Ok(remote.map(|remote| Self { runtime, remote }))
    }

    /// What it is asked, to the end.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(&Remote) -> T) -> T {
        self.runtime.block_on(question(&self.remote))
    }

    /// That it was not done from here.
    pub(crate) fn note(&self) {
        note(&self.remote);
    }
}

/// As [`Server::of`], within a runtime.
pub(crate) async fn find(loaded: &Loaded) -> Option<Remote> {
    Remote::find(&loaded.settings().proxy.snapshot_dir).await
}

pub(crate) fn note(remote: &Remote) {
    output::note(&format!("done by the server at {}", remote.url()));
}
