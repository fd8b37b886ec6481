//! What a run tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outcome::Reason;
use crate::proxy::Became;

/// What became of one page.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageReport {
    /// `/path?query`; with scheme and host where no `public_url` says them.
    pub url: String,
    /// The page, redirect or sitemap that led to it; none for what was asked for.
    pub found_on: Option<String>,
    /// What became of it.
    pub became: Became,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// What is wrong with it beside that: a sitemap that cannot be read, a wait that would be too long.
    pub problem: Option<String>,
    /// From the request to the last byte.
    pub took: Duration,
    /// Nobody has asked for it by name: a link leads there.
    pub is_linked: bool,
}

impl PageReport {
    /// Whether the run has failed by it: no answer, a server error, a problem, or a page that is asked for by name
    /// or by a sitemap and is not there. A link that leads nowhere is none.
    pub fn is_failure(&self) -> bool {
        let is_one = match self.became {
            Became::Failed(_) => true,
            Became::Missing => !self.is_linked,
            _ => false,
        };
        is_one || self.problem.is_some()
    }

    /// Why it is not stored, where that has a reason.
    pub fn reason(&self) -> Option<Reason> {
        match self.became {
            Became::NotStored(reason) | Became::Failed(reason) => Some(reason),
            _ => None,
        }
    }
}

/// What happens in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A page is done; so many are, of so many that are known by now.
    Page(&'a PageReport, usize, usize),
    /// The backend is not asked for so long.
    Waiting(Duration),
    /// Patterns wait until the snapshot directory has been read through, which takes a while.
    Reading,
}

/// How many pages became what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Stored, where nothing was.
    pub new: u64,
    /// Stored in place of another rendering.
    pub changed: u64,
    /// Rendered again, and the same.
    pub same: u64,
    /// Stored, and not asked for.
    pub kept: u64,
    /// Tombstones, left as they are.
    pub tombstones: u64,
    /// Not stored, by reason.
    pub not_stored: BTreeMap<&'static str, u64>,
    /// 404 or 410.
    pub missing: u64,
    /// Of those, asked for by name or by a sitemap.
    pub missing_by_name: u64,
    /// No answer, a server error, or a problem.
    pub broken: u64,
    /// Addresses of other sites that links and sitemaps lead to.
    pub foreign: u64,
    /// Addresses left out for `max_pages` and `max_depth`.
    pub beyond: u64,
}

impl Summary {
    /// How many pages were looked at.
    pub fn pages(&self) -> u64 {
        let not_stored: u64 = self.not_stored.values().sum();
        let stored = self.new + self.changed + self.same + self.kept + self.tombstones;
        stored + not_stored + self.missing + self.broken
    }

    /// How many pages failed.
    pub fn failed(&self) -> u64 {
        self.missing_by_name + self.broken
    }

    /// Counts one more page.
    pub fn count(&mut self, page: &PageReport) {
        match page.became {
            Became::Missing => {
                self.missing += 1;
                self.missing_by_name += u64::from(page.is_failure());
            }
            _ if page.is_failure() => self.broken += 1,
            Became::New => self.new += 1,
            Became::Changed => self.changed += 1,
            Became::Same => self.same += 1,
            Became::Kept => self.kept += 1,
            Became::Tombstone => self.tombstones += 1,
            Became::NotStored(reason) | Became::Failed(reason) => {
                *self.not_stored.entry(reason.as_str()).or_default() += 1;
            }
        }
    }
}
