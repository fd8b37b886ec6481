//! The command-line server.

mod args;
mod busy;
mod cmd;
mod framework;
mod logging;
mod open_files;
mod output;
mod print;
mod server;
mod shutdown;
mod whole;

use std::process::ExitCode;

use args::Invocation;

/// Every answer allocates and frees some dozens of small pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = match args::parse() {
        Invocation::Serve(serve) => cmd::serve::run(serve),
        Invocation::Demo(demo) => cmd::demo::run(demo),
        Invocation::Export(asked) => cmd::export::run(asked),
        Invocation::Init(asked) => cmd::init::run(&asked),
        Invocation::Inspect(site, asked) => cmd::inspect::run(site, &asked),
        Invocation::Compare(site, asked) => cmd::compare::run(site, &asked),
        Invocation::Completions(shell) => cmd::completions::run(args::command(), shell),
        Invocation::Man { dir } => cmd::man::run(args::command(), dir.as_deref()),
        Invocation::Prerender(prerender) => cmd::prerender::run(*prerender),
    };
    result.unwrap_or_else(|error| output::report(&error))
}
