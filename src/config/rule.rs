//! [`PathRule`]: settings for some of the paths.

use std::fmt;
use std::sync::Arc;

use super::Settings;

type Change = Arc<dyn Fn(&mut Settings) + Send + Sync>;

/// Settings for some of the paths: a `[[rule]]` section of the configuration file. The first rule whose patterns
/// match a request counts, alone; what it does not set is as in the settings of the proxy.
///
/// Of the settings only those count that are about a page: `default_ttl`, `ttl`, `not_found_ttl`, `set_cookie`,
/// `stale_while_revalidate`, `stale_if_error`, `refresh_ahead`, `ignore_query`, `keep_query`, `sort_query`,
/// `key_headers`, `key_cookies`, `bypass_cookies`, `max_variants`, `max_body`, `min_uses`, `strip_headers`,
/// `add_headers`, `client_cache_control`, `compress`.
#[derive(Clone)]
pub struct PathRule {
    pub(crate) patterns: Vec<String>,
    pub(crate) cache: Option<bool>,
    pub(crate) audience: Audience,
    /// In the configuration file.
    pub(crate) line: Option<usize>,
    changes: Vec<Change>,
}

/// For whom a rule's pages are, whatever the backend says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Audience {
    #[default]
    AsSaid,
    /// They are the same for everyone.
    Everyone,
}

impl PathRule {
    /// A rule for these paths (patterns as in `include_paths`) that changes nothing yet.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            patterns: patterns.into_iter().map(Into::into).collect(),
            cache: None,
            audience: Audience::AsSaid,
            line: None,
            changes: Vec::new(),
        }
    }

    /// Whether these paths are stored, whatever `include_paths` and `exclude_paths` say.
    #[must_use]
    pub fn cache(self, is_stored: bool) -> Self {
        Self {
            cache: Some(is_stored),
            ..self
        }
    }

    /// Says that these pages are the same for everyone: `private`, `no-store`, `Set-Cookie` and `Vary: Cookie` do not
    /// count, and visitors with cookies or credentials get them too. A CSP nonce and a CSRF field still forbid
    /// storing, and a secret in the query still passes.
    #[must_use]
    pub fn public(self) -> Self {
        Self {
            audience: Audience::Everyone,
            ..self
        }
    }

    /// Changes settings for these paths.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// The settings for these paths, where those of the proxy are `settings`.
    pub(crate) fn applied_to(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        for change in &self.changes {
            change(&mut settings);
        }
        settings
    }

    /// What it says, to be compared with another of which the functions are not the same ones.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn plain(&self) -> (Vec<String>, Option<bool>, Audience, Settings) {
        let settings = self.applied_to(&Settings::default());
        (self.patterns.clone(), self.cache, self.audience, settings)
    }
}

impl PartialEq for PathRule {
    /// Functions are equal if they are the same ones.
    fn eq(&self, other: &Self) -> bool {
        let same_changes = self.changes.len() == other.changes.len()
            && self
                .changes
                .iter()
                .zip(&other.changes)
                .all(|(one, other)| Arc::ptr_eq(one, other));
        self.patterns == other.patterns
            && self.cache == other.cache
            && self.audience == other.audience
            && self.line == other.line
            && same_changes
    }
}

impl Eq for PathRule {}

impl fmt::Debug for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathRule")
            .field("patterns", &self.patterns)
            .field("cache", &self.cache)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
