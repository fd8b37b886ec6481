//! Removing what matches a pattern, as a person with `rm` would, but whole pages and no hand edits.
//!
//! No lock is waited for: files are the truth, and a server that has the lock and cannot be asked to do it notices that they went, which
//! counts as an invalidation there. What it is fetching at that moment it may still store.

use std::sync::Arc;

use crate::error::Error;
use crate::pattern::KeyPattern;
use crate::snapshot::{Emptied, Found, Listed, Store};

use super::{Artefact, Row, pattern};

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

/// Takes the renderings of a page, or says why not.
type Take<'a> = dyn FnMut(&[Found], &Listed) -> Result<(), String> + 'a;

impl Artefact {
    /// What [`remove`](Self::remove) would take.
    ///
    /// # Errors
    /// What is no pattern.
    pub fn would_remove(&self, matching: &str, each: &mut dyn FnMut(Row)) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        let pattern = pattern(Some(matching))?;
        self.each_matching(&pattern, &mut removed, &mut |found, listed| {
            found
                .iter()
                .filter_map(|found| self.row(found, listed))
                .for_each(&mut *each);
            Ok(())
        });
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
        let mut emptied = Emptied::default();
        let mut removed = Removed {
            is_beside_a_server: !store.is_writable(),
            ..Removed::default()
        };
        self.each_matching(&pattern, &mut removed, &mut |found, listed| {
            emptied.note(store, listed.path());
            store.take_away(found).map_err(|error| error.to_string())
        });
        emptied.finish(store);
        Ok(removed)
    }

    /// Hands over the renderings of each page that matches; counts those that `take` took.
    fn each_matching(&self, pattern: &KeyPattern, removed: &mut Removed, take: &mut Take<'_>) {
        let mut bytes = Vec::new();
        self.survey.each_folder(&mut |listed| {
            let listed = match listed {
                Ok(listed) => listed,
                Err((path, error)) => {
                    return removed.failed.push(format!("{}: {error}", path.display()));
                }
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
                let Some(first) = found.first() else {
                    continue;
                };
                match take(&found, listed) {
                    Ok(()) => removed.count(&found),
                    Err(error) => removed.failed.push(format!("{}: {error}", first.key.line())),
                }
            }
        });
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
