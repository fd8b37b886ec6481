//! A directory that somebody prepared: nothing in it is followed, believed or waited for.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod place;
mod sidecar;
mod taken_away;
