//! Something that is said at most once in a while: a broken disk must not fill the log too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Once a minute.
const BETWEEN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Runs `say` unless it ran less than a minute ago.
    pub(crate) fn say(&self, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            *last = Some(Instant::now());
            drop(last);
            say();
        }
    }
}

/// The same for each of many files.
#[derive(Debug, Default)]
pub(crate) struct ThrottlePerFile(Mutex<HashMap<PathBuf, Instant>>);

/// So many files have a line of their own each minute.
const FILES: usize = 256;

impl ThrottlePerFile {
    /// Runs `say` unless it ran for `path`, or for too many others, less than a minute ago.
    pub(crate) fn say(&self, path: &Path, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= FILES {
            last.retain(|_, last| last.elapsed() < BETWEEN);
        }
        let is_due = match last.get(path) {
            Some(last) => last.elapsed() >= BETWEEN,
            None => last.len() < FILES,
        };
        if is_due {
            last.insert(path.to_owned(), Instant::now());
            drop(last);
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_named_once_and_so_many_at_most() {
        let throttle = ThrottlePerFile::default();
        let said = std::cell::Cell::new(0);
        for _ in 0..2 {
            for number in 0..2 * FILES {
                throttle.say(Path::new(&number.to_string()), || said.set(said.get() + 1));
            }
        }
        assert_eq!(said.get(), FILES);
    }
}
