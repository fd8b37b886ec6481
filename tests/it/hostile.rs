//! Snapshot directories that somebody prepared.
