//! Parts of the road of a request that only the crate can call, for the benchmarks (`benches/parts.rs`).
//!
//! Not part of the API. What a part takes to be called is made here, so that the benchmarks know nothing
//! of its types.

use axum::body::Body;
use http::Request;
use http::header::HeaderMap;

use crate::config::CreateProxyConfig;
use crate::config::check::{Rules, rules};
use crate::pattern::{KeyPattern, Subject};
use crate::policy::cache_control::CacheControl;
use crate::proxy::Target;
use crate::snapshot::sidecar;

/// From a request to its key, under the default settings.
pub struct Keys(Rules);

impl Default for Keys {
    fn default() -> Self {
        let config = CreateProxyConfig::new("http://localhost:8080".into());
        Self(rules(&config).expect("the defaults are right"))
    }
}

impl Keys {
    /// The text of the key of a GET.
    pub fn of(&self, request: &Request<Body>) -> Option<Box<str>> {
        let target = Target::of(request, &self.0.site).ok()?;
        let query = self.0.key.keep_query(target.query());
        let source = target.source("GET", &query, request.headers());
        Some(self.0.key.key(&source)?.text)
    }
}

/// A pattern of an invalidation.
pub struct Pattern(KeyPattern);

impl Pattern {
    /// Nothing for what is no pattern.
    pub fn parse(text: &str) -> Option<Self> {
        KeyPattern::parse(text).ok().map(Self)
    }

    /// How many of these lines (`GET:/path?query`) it matches.
    pub fn count(&self, lines: &[String]) -> usize {
        let matched = lines.iter().filter(|line| self.0.is_match(Subject::line(line)));
        matched.count()
    }
}

/// The lifetime in `Cache-Control` and its kin.
pub fn cache_control(headers: &HeaderMap) -> Option<u64> {
    CacheControl::of(headers).max_age
}

/// The key in a sidecar that can be read.
pub fn sidecar(bytes: &[u8]) -> Option<Box<str>> {
    sidecar::from_bytes(bytes).ok().map(|read| read.key)
}
