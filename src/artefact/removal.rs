//! Removing what matches a pattern, as a person with `rm` would, but whole pages and no hand edits.
//!
//! No lock is waited for: files are the truth, and a server that has the lock and cannot be asked to do it notices that they went, which
//! counts as an invalidation there. What it is fetching at that moment it may still store.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::error::Error;
use crate::pattern::KeyPattern;
use crate::snapshot::{Emptied, Found, Listed, Store};

use super::{Artefact, Row, pattern};

/// Pages that are gathered before they go.
const GATHERED: usize = 512;
/// So many go side by side: what removes a file may wait until the disk has taken back its blocks, and nothing else is
/// done meanwhile.
const THREADS: usize = 8;

/// What was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Removed {
    /// Renderings.
    pub snapshots: u64,
    /// Pages: keys, with all their variants.
    pub pages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// What would not go, and why.
    pub failed: Vec<String>,
    /// Another process has the directory's lock: it notices by itself.
    pub is_beside_a_server: bool,
}

impl Artefact {
    /// What [`remove`](Self::remove) would take.
    ///
    /// # Errors
    /// What is no pattern.
    pub fn would_remove(&self, matching: &str, each: &mut dyn FnMut(Row)) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let pattern = pattern(Some(matching))?;
        let unread = self.each_matching(&pattern, &mut |found, listed| {
            found
                .iter()
                .filter_map(|found| self.row(found, listed))
                .for_each(&mut *each);
            removed.count(&found);
        });
        removed.failed = unread;
        Ok(removed)
    }

    /// Removes what matches. Bodies that were changed by hand are moved to `.phantom/displaced/`.
    ///
    /// # Errors
    /// What is no pattern, or a directory that cannot be written.
    pub fn remove(&self, matching: &str) -> Result<Removed, Error> {
        pattern(Some(matching))?;
        self.remove_by(&self.attach()?, matching)
    }

    /// The same, by a store that is there already.
    pub(crate) fn remove_by(&self, store: &Arc<Store>, matching: &str) -> Result<Removed, Error> {
        let pattern = pattern(Some(matching))?;
        let mut leaving = Leaving {
            removed: Removed {
                is_beside_a_server: !store.is_writable(),
                ..Removed::default()
            },
            store,
            pages: Vec::with_capacity(GATHERED),
            emptied: Emptied::default(),
        };
        let unread = self.each_matching(&pattern, &mut |found, listed| {
            leaving.add(found, listed.path().to_owned());
        });
        let mut removed = leaving.finish();
        removed.failed.extend(unread);
        Ok(removed)
    }

    /// Hands over the renderings of each page that matches; returns what could not be looked through.
    fn each_matching(&self, pattern: &KeyPattern, each: &mut dyn FnMut(Vec<Found>, &Listed)) -> Vec<String> {
        let (mut unread, mut bytes) = (Vec::new(), Vec::new());
        self.survey.each_folder(&mut |listed| {
            let listed = match listed {
                Ok(listed) => listed,
                Err((path, error)) => return unread.push(format!("{}: {error}", path.display())),
            };
            for group in listed.groups() {
                let sidecars = group.iter().filter(|entry| entry.is_sidecar());
                let mut found: Vec<Found> = sidecars
                    .filter_map(|entry| self.survey.read(listed, &entry.name, &mut bytes).ok())
                    .collect();
                // Two keys whose first 64 bits are the same stand under one name only if their slugs are, too.
                let is_match = |found: &Found| found.is_of(|subject| pattern.is_match(subject));
                let keys: Vec<_> = found
                    .iter()
                    .filter(|found| is_match(found))
                    .map(|found| found.key.hash)
                    .collect();
                found.retain(|found| keys.contains(&found.key.hash));
                if !found.is_empty() {
                    each(found, listed);
                }
            }
        });
        unread
    }
}

/// Pages on their way out, in the order in which they were found.
struct Leaving<'a> {
    store: &'a Store,
    pages: Vec<Page>,
    emptied: Emptied,
    removed: Removed,
}

struct Page {
    found: Vec<Found>,
    folder: PathBuf,
    /// Why it would not go, where it would not.
    went: OnceLock<Result<(), String>>,
}

impl Leaving<'_> {
    fn add(&mut self, found: Vec<Found>, folder: PathBuf) {
        self.pages.push(Page {
            found,
            folder,
            went: OnceLock::new(),
        });
        if self.pages.len() == GATHERED {
            self.go();
        }
    }

    fn finish(mut self) -> Removed {
        self.go();
        self.emptied.finish(self.store);
        self.removed
    }

    fn go(&mut self) {
        let (store, pages, next) = (self.store, &self.pages, AtomicUsize::new(0));
        let work = || {
            while let Some(page) = pages.get(next.fetch_add(1, Ordering::Relaxed)) {
                let taken = store.take_away(&page.found);
                page.went.get_or_init(|| taken.map_err(|error| error.to_string()));
            }
        };
        thread::scope(|scope| {
            for _ in 1..THREADS.min(pages.len()) {
                let helper = thread::Builder::new().name("phantom-remove".into());
                if let Err(error) = helper.spawn_scoped(scope, work) {
                    tracing::debug!(%error, "fewer threads remove files");
                }
            }
            work();
        });
        for page in self.pages.drain(..) {
            self.emptied.note(self.store, &page.folder);
            match (page.went.into_inner(), page.found.first()) {
                (Some(Err(error)), Some(first)) => {
                    self.removed.failed.push(format!("{}: {error}", first.key.line()));
                }
                _ => self.removed.count(&page.found),
            }
        }
    }
}

impl Removed {
    fn count(&mut self, found: &[Found]) {
        self.pages += 1;
        for rendering in found.iter().filter_map(|found| found.sidecar.rendering.as_ref()) {
            self.snapshots += 1;
            self.bytes += rendering.body.as_ref().map_or(0, |body| body.length);
        }
    }
}
