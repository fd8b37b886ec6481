//! The snapshot directory as an artefact: what a command reads in it, and does to it, without a backend.
//!
//! Reading takes no lock and starts nothing (`snapshot::Survey`). What is said of a page (whether it is fresh, by which
//! rule) is what the proxy would decide: the same rules, asked by the same functions. What changes files is done by
//! the store's own hands (`snapshot::upkeep`). `address` is what a URL on the command line means, `listing` what there is, `page` all of one
//! page, `inspector` looks for `findings`, `repair` is what is done about them, `removal` and `upkeep` the rest.

mod address;
mod explain;
mod findings;
mod inspector;
#[cfg(feature = "cli")]
mod kept;
mod listing;
mod page;
mod rejected;
mod removal;
mod repair;
#[cfg(feature = "cli")]
mod side;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use crate::config::CreateProxyConfig;
use crate::config::check::{self, RuleBook};
use crate::error::{Error, ErrorKind};
use crate::pattern::KeyPattern;
use crate::snapshot::{Store, StoreOptions, Survey};

pub use explain::{Answered, Asked, Explained, Question, Sent, explain};
#[cfg(feature = "cli")]
pub(crate) use kept::KeptPage;

pub use crate::snapshot::Progress;
pub use findings::{Finding, FindingKind, Verified};
pub use listing::{Freshness, Row, State};
pub use page::{BodyState, CodedForm, Page};
pub use rejected::Rejection;
pub use removal::Removed;
#[cfg(feature = "cli")]
pub(crate) use side::{Side, SideState, Stored};
pub use upkeep::{Collected, Sealed, Tombstone};

/// A site's snapshot directory and the rules that its pages are judged by.
pub struct Artefact {
    survey: Survey,
    rules: RuleBook,
    options: StoreOptions,
}

impl Artefact {
    /// Opens the directory of a configuration to look at it: takes no lock, starts and writes nothing.
    ///
    /// # Errors
    /// A setting that cannot work; no snapshot directory, or another format's or site's.
    pub fn open(config: &CreateProxyConfig) -> Result<Self, Error> {
        let settings = &config.settings;
        let rules = check::rule_book(config)?;
        let site = check::site_name(settings);
        let pinned = check::pinned(settings)?;
        let survey = Survey::of(
            &settings.snapshot_dir,
            site.as_deref(),
            &pinned,
            config.disk_faults.clone(),
        )?;
        Ok(Self {
            options: StoreOptions {
                dir: survey.root().to_owned(),
                site,
                backend: settings.proxy_url.clone(),
                durability: settings.durability,
                bounds: check::bounds(settings, &rules),
                pinned,
                memory_bytes: 0,
                clock: config.clock.clone(),
                faults: config.disk_faults.clone(),
                seen: survey.seen(),
            },
            survey,
            rules,
        })
    }

    /// The directory, without links on the way.
    pub fn directory(&self) -> &Path {
        self.survey.root()
    }

    /// How far a command is: how many renderings have been looked at since it was opened, or what it says that it counts.
    pub fn progress(&self) -> Arc<Progress> {
        self.survey.seen()
    }

    /// How many renderings there are to look at, by the names of files.
    pub fn expected(&self) -> u64 {
        let mut count = 0;
        self.survey.each_folder(&mut |listed| {
            if let Ok(listed) = listed {
                count += listed.entries().iter().filter(|entry| entry.is_sidecar()).count() as u64;
            }
        });
        count
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.options.clock.unix_seconds()
    }

    /// The store, with the lock if nobody else has it.
    fn attach(&self) -> Result<Arc<Store>, Error> {
        Store::attach(self.options.clone())
    }

    /// The store, with the lock.
    ///
    /// # Errors
    /// Somebody else has it.
    fn take(&self, instead: &str) -> Result<Arc<Store>, Error> {
        let store = self.attach()?;
        if store.is_writable() {
            return Ok(store);
        }
        let dir = self.directory().display();
        Err(Error::new(
            ErrorKind::Locked,
            format!("another process writes the snapshot directory {dir}"),
        )
        .with_hint(instead))
    }
}

impl std::fmt::Debug for Artefact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artefact")
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

/// A pattern from a command line; nothing is everything.
fn pattern(text: Option<&str>) -> Result<KeyPattern, Error> {
    let Some(text) = text else {
        return Ok(KeyPattern::All);
    };
    KeyPattern::parse(text).map_err(|error| {
        Error::new(ErrorKind::Config, format!("`{text}` is not a pattern"))
            .with_hint("write a path with `*` for any run of characters (\"/blog/*\"), a key (\"GET:/blog?page=2\") or a tag (\"tag:news\")")
            .with_source(error)
    })
}
