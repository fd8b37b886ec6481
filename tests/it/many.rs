//! A directory of many snapshots.
