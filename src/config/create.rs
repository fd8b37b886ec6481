//! [`CreateProxyConfig`]: a proxy's configuration as a program builds it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;

use super::{PathRule, Settings};
use crate::clock::Clock;

/// What a cache key function is told about a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestInfo<'a> {
    /// The method, `GET` for a HEAD request.
    pub method: &'a str,
    /// The path as sent, not decoded.
    pub path: &'a str,
    /// The query as sent, without `?`; empty if there is none.
    pub query: &'a str,
    /// The request's header fields.
    pub headers: &'a HeaderMap,
}

/// A cache key function.
pub(crate) type CacheKeyFn = Arc<dyn Fn(&RequestInfo<'_>) -> String + Send + Sync>;

/// The configuration of a proxy: [`Settings`] and, in a program, a key function and a clock.
#[derive(Clone)]
pub struct CreateProxyConfig {
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<PathRule>,
    pub(crate) cache_key_fn: Option<CacheKeyFn>,
    pub(crate) clock: Clock,
    pub(crate) disk_faults: Option<crate::fsops::FaultPlan>,
}

impl CreateProxyConfig {
    /// Default settings, and this backend.
    pub fn new(proxy_url: String) -> Self {
        Self::from(Settings {
            proxy_url,
            ..Settings::default()
        })
    }

    /// Default settings, and a directory that is all there is: no backend, no writes ([`Settings::frozen`]).
    pub fn frozen(snapshot_dir: impl Into<PathBuf>) -> Self {
        Self::from(Settings {
            frozen: true,
            snapshot_dir: snapshot_dir.into(),
            ..Settings::default()
        })
    }

    /// Sets [`Settings::include_paths`].
    #[must_use]
    pub fn with_include_paths(self, paths: Vec<String>) -> Self {
        self.with(|settings| settings.include_paths = paths)
    }

    /// Sets [`Settings::exclude_paths`].
    #[must_use]
    pub fn with_exclude_paths(self, paths: Vec<String>) -> Self {
        self.with(|settings| settings.exclude_paths = paths)
    }

    /// Sets [`Settings::pinned`].
    #[must_use]
    pub fn with_pinned(self, patterns: Vec<String>) -> Self {
        self.with(|settings| settings.pinned = patterns)
    }

    /// Sets [`Settings::enable_websocket`].
    #[must_use]
    pub fn with_websocket_enabled(self, enabled: bool) -> Self {
        self.with(|settings| settings.enable_websocket = enabled)
    }

    /// Sets [`Settings::forward_get_only`].
    #[must_use]
    pub fn with_forward_get_only(self, enabled: bool) -> Self {
        self.with(|settings| settings.forward_get_only = enabled)
    }

    /// Sets [`Settings::snapshot_dir`].
    #[must_use]
    pub fn with_snapshot_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.with(|settings| settings.snapshot_dir = dir.into())
    }

    /// Sets the cache key function: what it returns is line 1 of the key text. Two requests with the
    /// same key get the same page, so the key must hold whatever changes it.
    #[must_use]
    pub fn with_cache_key_fn(
        mut self,
        f: impl Fn(&RequestInfo<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.cache_key_fn = Some(Arc::new(f));
        self
    }

    /// Changes any of the settings.
    ///
    /// ```
    /// use phantom_frame::{CreateProxyConfig, Ttl};
    /// use std::time::Duration;
    ///
    /// let config = CreateProxyConfig::new("http://localhost:8080".into())
    ///     .with(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(600)));
    /// assert_eq!(config.settings().default_ttl, Ttl::For(Duration::from_secs(600)));
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Adds a rule for some of the paths. The first rule that names a path counts for it, in the order in which
    /// they were added.
    ///
    /// ```
    /// use phantom_frame::{CreateProxyConfig, PathRule, Ttl};
    /// use std::time::Duration;
    ///
    /// let config = CreateProxyConfig::new("http://localhost:8080".into())
    ///     .with_rule(PathRule::new(["/news/*"]).with(|settings| {
    ///         settings.default_ttl = Ttl::For(Duration::from_secs(60));
    ///     }))
    ///     .with_rule(PathRule::new(["/account/*"]).cache(false));
    /// ```
    #[must_use]
    pub fn with_rule(mut self, rule: PathRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets the clock, for tests that let time pass.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Asks `plan` before every file operation of the store, which fails with what it returns: for
    /// tests of full and broken disks.
    #[doc(hidden)]
    #[must_use]
    pub fn with_disk_faults(mut self, plan: crate::fsops::FaultPlan) -> Self {
        self.disk_faults = Some(plan);
        self
    }

    /// The settings as they stand.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl From<Settings> for CreateProxyConfig {
    fn from(settings: Settings) -> Self {
        Self {
            settings,
            rules: Vec::new(),
            cache_key_fn: None,
            clock: Clock::default(),
            disk_faults: None,
        }
    }
}

impl fmt::Debug for CreateProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateProxyConfig")
            .field("settings", &self.settings)
            .field("rules", &self.rules)
            .field("cache_key_fn", &self.cache_key_fn.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}
