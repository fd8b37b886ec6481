//! What is to be done, in the order in which it was found, and what has been.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::proxy::Address;

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) address: Address,
    pub(super) kind: Kind,
    /// Where it was found; nothing for what was asked for.
    pub(super) found_on: Option<Arc<str>>,
    pub(super) origin: Origin,
    /// Links, or sitemaps, between it and what was asked for.
    #[cfg_attr(
        not(feature = "crawl"),
        expect(dead_code, reason = "only what is crawled leads further")
    )]
    pub(super) depth: usize,
    /// Redirects between it and what was asked for, or linked to.
    pub(super) hops: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Page,
    #[cfg(feature = "crawl")]
    Sitemap,
}

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator, or a sitemap.
    Named,
    /// A link, or a page that is made of it.
    #[cfg(feature = "crawl")]
    Linked,
}

impl Job {
    /// The same, for what it leads to.
    pub(super) fn leads_to(&self, address: Address, found_on: &Arc<str>) -> Self {
        Self {
            address,
            found_on: Some(Arc::clone(found_on)),
            hops: 0,
            ..self.clone()
        }
    }
}

/// See the module.
pub(super) struct Plan {
    queue: VecDeque<Job>,
    seen: HashSet<Address>,
    max_pages: usize,
    /// Left out for want of room.
    pub(super) beyond: u64,
}

impl Plan {
    pub(super) fn new(max_pages: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            seen: HashSet::new(),
            max_pages,
            beyond: 0,
        }
    }

    /// Takes it in, unless it was there before.
    pub(super) fn add(&mut self, job: Job) {
        if self.seen.contains(&job.address) {
            return;
        }
        if self.seen.len() >= self.max_pages {
            self.beyond += 1;
            return;
        }
        self.seen.insert(job.address.clone());
        self.queue.push_back(job);
    }

    pub(super) fn next(&mut self) -> Option<Job> {
        self.queue.pop_front()
    }

    /// How many have been taken in.
    pub(super) fn known(&self) -> usize {
        self.seen.len()
    }
}
