//! Renderings compared: what is stored with what the backend renders now, with another directory, or one rendering
//! with the next.
//!
//! A page is rendered here as a fill would have it (`proxy::rendition`), and nothing of it is kept, so nothing here
//! needs the lock or changes a file; `accept` apart, which stores by orders as prerendering does. What is compared is
//! what would be stored: the fields that are kept, and the body. `lines` and `markup` make a body readable, `hunks` says
//! what differs, `page` what became of a page, and `paced` asks at the pace of prerendering.

mod accept;
mod advice;
mod again;
mod against;
mod check;
mod hunks;
mod lines;
mod markup;
mod noise;
mod paced;
mod page;

pub use accept::{Accepted, accept};
pub use advice::{Advice, Warning, advice};
pub use again::diff;
pub use against::diff_against;
pub use check::{CheckSummary, CheckedPage, Verdict, backend_of, check};
pub use hunks::{DiffLine, Hunk, Side};
pub use noise::{Noise, NoiseKind, NoiseSummary, PageNoise, noise};
pub use page::{BodyDiff, Extent, PageDiff, Standing, Summary};

use std::time::Duration;

use crate::prerender::PrerenderOptions;

/// Which pages, and how fast the backend is asked for them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// A pattern of what is stored; nothing is all. What has no `*` may be a page that is not stored yet.
    pub pattern: Option<String>,
    /// Pages under way at once; 0 is the default of prerendering.
    pub concurrency: usize,
    /// Requests a second at most; 0 is no limit.
    pub max_rps: usize,
}

impl Options {
    /// Of these pages, at the default pace.
    pub fn of(pattern: Option<&str>) -> Self {
        Self {
            pattern: pattern.map(str::to_owned),
            ..Self::default()
        }
    }

    fn pace(&self) -> PrerenderOptions {
        let mut options = PrerenderOptions {
            max_rps: self.max_rps,
            ..PrerenderOptions::default()
        };
        if self.concurrency > 0 {
            options.concurrency = self.concurrency;
        }
        options
    }
}

/// What happens on the way.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a, T> {
    /// One is done; so many are, of so many.
    Done(&'a T, usize, usize),
    /// The backend is not asked for so long.
    Waiting(Duration),
}
