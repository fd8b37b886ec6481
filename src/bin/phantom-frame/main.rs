//! The command-line server.
fn main() {}
