//! A prerender server: a reverse proxy whose cache is a directory of files.

pub mod clock;
pub mod config;
mod error;
mod fsops;
mod invalidate;
mod outcome;
mod pattern;

pub use clock::Clock;
pub use config::{CreateProxyConfig, Durability, RequestInfo, Settings, Ttl};
pub use error::{Error, ErrorKind};
pub use invalidate::{RefreshError, RefreshMessage, RefreshMode, RefreshTrigger, Refreshed};
pub use outcome::{Outcome, Reason};

/// The 0.1 line's module of this name.
pub mod cache {
    pub use crate::invalidate::{RefreshMessage, RefreshTrigger};
}

#[doc(hidden)]
pub use fsops::FaultPlan;
