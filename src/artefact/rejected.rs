//! Renderings that were refused in favour of what is stored.

use crate::error::Error;
use crate::key::line_of;
use crate::pattern::Subject;
use crate::tags::Untagged;

use super::listing::{page_of, parts};
use super::{Artefact, pattern};

/// A rendering that did not take the place of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// The page, as `show` takes it.
    pub page: String,
    /// What patterns see: `GET:/path?query`, or what a key function returned.
    pub line: String,
    /// `empty`, `cut` or `small`.
    pub why: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// How many seconds ago.
    pub age: u64,
    /// Length of the body that came.
    pub bytes: u64,
    /// Length of the one that stayed.
    pub stored_bytes: u64,
    /// The beginning of the seal of what came.
    pub seal: String,
}

impl Artefact {
    /// What was rejected of pages that match, the latest last: as far back as the log goes, which is bounded.
    ///
    /// # Errors
    /// What is no pattern.
    pub fn rejected(&self, matching: Option<&str>) -> Result<Vec<Rejection>, Error> {
        let pattern = pattern(matching)?;
        let mut refused = self.survey.refused();
        refused.retain(|refused| {
            pattern.is_match(Subject {
                line: line_of(&refused.key),
                own: Some(&refused.own),
                tags: &Untagged,
            })
        });
        let rejections = refused.into_iter().map(|refused| {
            let line = line_of(&refused.key);
            Rejection {
                page: page_of(line, &parts(&refused.key)),
                line: line.to_owned(),
                why: refused.why,
                at: refused.at,
                age: self.now().saturating_sub(refused.at),
                bytes: refused.length,
                stored_bytes: refused.kept,
                seal: refused.seal,
            }
        });
        Ok(rejections.collect())
    }
}
