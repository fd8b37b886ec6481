//! The control server and the watcher under attack and fault.
