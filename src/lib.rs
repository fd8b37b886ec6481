//! A prerender server: a reverse proxy whose cache is a directory of files.

mod clock;
pub mod config;
pub mod control;
mod error;
mod fsops;
mod head;
mod headers;
mod invalidate;
mod key;
mod outcome;
mod pattern;
mod policy;
pub mod server;
mod snapshot;
mod throttle;
mod upstream;

pub use clock::Clock;
pub use config::{CreateProxyConfig, Durability, RequestInfo, Settings, Ttl};
pub use control::create_control_router;
pub use error::{Error, ErrorKind};
pub use invalidate::{RefreshError, RefreshMessage, RefreshMode, RefreshTrigger, Refreshed};
pub use outcome::{Outcome, Reason};

/// The 0.1 line's module of this name.
pub mod cache {
    pub use crate::invalidate::{RefreshMessage, RefreshTrigger};
}

/// Invalidation by changes of the files that pages are made from.
#[cfg(feature = "watch")]
pub mod watch {
    pub use crate::config::WatchRule;
    pub use crate::invalidate::watch::ContentWatcher;
}

/// The built-in lists that settings of similar names add to.
pub mod defaults {
    pub use crate::headers::VOLATILE_HEADERS;
    pub use crate::policy::fill::PRESET_HEADERS;
    pub use crate::policy::identity::{BYPASS_HEADERS, BYPASS_QUERY, IGNORED_COOKIES, IGNORED_SET_COOKIES};
}

#[doc(hidden)]
pub use fsops::FaultPlan;
