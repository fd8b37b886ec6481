//! The command-line server.

mod args;
mod cmd;
mod logging;
mod open_files;
mod output;
mod shutdown;

use std::process::ExitCode;

use args::Invocation;

fn main() -> ExitCode {
    let result = match args::parse() {
        Invocation::Serve(serve) => cmd::serve::run(serve),
        Invocation::Demo(demo) => cmd::demo::run(demo),
    };
    result.unwrap_or_else(|error| output::report(&error))
}
