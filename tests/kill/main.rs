//! The real binary as a process of its own: killed in the middle of a thousand fills and replacements,
//! on a disk that is full, and over a directory that git writes.
//!
//! `PHANTOM_LONG=1` makes twenty rounds of the kill loop instead of two.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod full_disk;
mod git;
mod repository;
mod server;
mod site;
mod storm;
mod strace;
mod two_processes;

/// Whether there is time for more than the ordinary.
fn is_long() -> bool {
    std::env::var_os("PHANTOM_LONG").is_some_and(|value| value == "1")
}

/// Says what was measured, for whoever runs this with `--nocapture`.
fn note(text: impl std::fmt::Display) {
    eprintln!("kill: {text}");
}
