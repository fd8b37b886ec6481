//! The real binary under load: ten thousand idle connections, tunnels, clients that are slow or never read, backends
//! that are slow or gone, floods of made-up addresses, and meanwhile a visitor who gets hits.
//!
//! What must hold is asserted; times are only said (`--nocapture`), for they are the machine's. `PHANTOM_LONG=1`
//! makes the crowds as large as they are meant to be.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod backend;
mod crowd;
mod directory;
mod figures;
mod flood;
mod limits;
mod outage;
mod scale;
#[expect(dead_code, reason = "shared with tests/kill, which needs more of it")]
#[path = "../kill/server.rs"]
mod server;
mod together;
mod wire;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether the crowds are to be as large as they are meant to be.
fn is_long() -> bool {
    std::env::var_os("PHANTOM_LONG").is_some_and(|value| value == "1")
}

/// `long` where there is time for it, else `short`.
fn scaled(long: usize, short: usize) -> usize {
    if is_long() { long } else { short }
}

/// Says what was measured, for whoever runs this with `--nocapture`.
fn note(text: impl std::fmt::Display) {
    eprintln!("load: {text}");
}

/// The clients and the backend are in this one process.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
