//! A prerender server: a reverse proxy whose cache is a directory of files.

#[doc(hidden)]
pub mod artefact;
mod assets;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod bench;
mod clock;
mod coding;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod command;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod compare;
pub mod config;
pub mod control;
#[cfg(feature = "demo")]
pub mod demo;
mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod export;
mod flight;
mod fsops;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod headers;
mod interim;
mod invalidate;
mod key;
mod language;
mod link;
mod outcome;
mod pattern;
mod policy;
pub mod prerender;
mod proxy;
mod serve;
pub mod server;
mod short;
mod snapshot;
mod tags;
mod throttle;
mod token;
mod trailers;
mod upstream;

pub use clock::Clock;
pub use config::{CreateProxyConfig, Durability, FillMode, PathRule, RequestInfo, SetCookie, Settings, Ttl};
pub use control::create_control_router;
pub use error::{Error, ErrorKind};
pub use invalidate::{RefreshError, RefreshMessage, RefreshMode, RefreshTrigger, Refreshed};
pub use outcome::{Outcome, Reason};
pub use proxy::{Proxy, Statistics};

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
    pub use crate::policy::markup::CSRF_FIELDS;
}

#[doc(hidden)]
pub use fsops::{DiskFault, FaultPlan};

/// Creates a proxy: a router and the trigger that invalidates what it stores.
///
/// Works outside a runtime and never panics: a configuration that cannot work as a whole is logged and
/// proxied without storing anything. See [`Proxy::new`] for errors instead.
pub fn create_proxy(config: CreateProxyConfig) -> (axum::Router, RefreshTrigger) {
    let trigger = RefreshTrigger::new();
    (create_proxy_with_trigger(config, trigger.clone()), trigger)
}

/// As [`create_proxy`], driven by an existing trigger; one trigger may drive several proxies.
pub fn create_proxy_with_trigger(config: CreateProxyConfig, refresh_trigger: RefreshTrigger) -> axum::Router {
    proxy::or_uncached(&config, proxy::http_backend(&config), refresh_trigger)
}

/// As [`create_proxy`], in front of a router in this process: caching one's own handlers needs no TCP
/// hop. `proxy_url` is not used.
pub fn create_proxy_for(router: axum::Router, config: CreateProxyConfig) -> (axum::Router, RefreshTrigger) {
    let trigger = RefreshTrigger::new();
    let upstream = proxy::in_process_backend(router, &config);
    (
        proxy::or_uncached(&config, Ok(upstream), trigger.clone()),
        trigger,
    )
}

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
