//! Where requests go: the base that precedes each path, and the texts that name it.

use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

use super::UpstreamError;
use crate::error::Error;

/// The setting that names the backend.
const SETTING: &str = "proxy_url";

/// The backend's address and base path.
#[derive(Debug, Clone)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or a path without a slash at its end.
    path: String,
    host: HeaderValue,
}

impl Base {
    /// # Errors
    /// A configuration error on `proxy_url`.
    pub(super) fn new(uri: &Uri) -> Result<Self, Error> {
        let wrong = |what: &str| Error::config(SETTING, format!("`{uri}` {what}"));
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => scheme.clone(),
            _ => return Err(wrong("is neither an http nor an https URL")),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(wrong("names no host"));
        };
        if authority.as_str().contains('@') {
            // Not repeated in the message: it may hold a password.
            return Err(Error::config(
                SETTING,
                "credentials in the backend's URL are not supported",
            ));
        }
        if uri.query().is_some() {
            return Err(wrong("holds a query"));
        }
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|error| wrong("has a host that cannot be sent").with_source(error))?;
        Ok(Self {
            path: uri.path().trim_end_matches('/').to_owned(),
            authority: authority.clone(),
            scheme,
            host,
        })
    }

    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The `Host` of a request that brings none.
    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// The backend's URL for a request's target. Its path and query are copied, never parsed: what is
    /// normalised on the way is a page stored under another's key (CVE-2025-27415).
    pub(super) fn join(&self, target: &Uri) -> Result<Uri, UpstreamError> {
        let joined = match target.path_and_query().map(PathAndQuery::as_str) {
            // `OPTIONS *` asks about the server, whatever the base path.
            Some("*") => PathAndQuery::from_static("*"),
            Some(path) => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                parse(format!("{}{slash}{path}", self.path))?
            }
            None => parse(format!("{}/", self.path))?,
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(joined);
        Uri::from_parts(parts).map_err(|error| UpstreamError::Target { source: error.into() })
    }

    /// A joined URL as an error names it: without its query.
    pub(super) fn describe(&self, url: &Uri) -> String {
        format!("{}://{}{}", self.scheme, self.authority, url.path())
    }

    /// What tells this backend from another: host in lower case, no default port.
    pub(super) fn identity(&self) -> String {
        let default_port = if self.is_https() { 443 } else { 80 };
        let host = self.authority.host().to_ascii_lowercase();
        match self.authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{}://{host}:{port}{}", self.scheme, self.path),
            None => format!("{}://{host}{}", self.scheme, self.path),
        }
    }
}

fn parse(text: String) -> Result<PathAndQuery, UpstreamError> {
    PathAndQuery::try_from(text).map_err(|error| UpstreamError::Target { source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Result<Base, Error> {
        Base::new(&text.parse().map_err(|_| Error::config(SETTING, "unparsable"))?)
    }

    #[test]
    fn a_target_is_joined_byte_for_byte() {
        for (base_url, target, expected) in [
            (
                "http://b",
                "/a/%2e%2e/b//c?x=%2F;y",
                "http://b/a/%2e%2e/b//c?x=%2F;y",
            ),
            ("http://b/", "/../x/./y", "http://b/../x/./y"),
            ("http://b/base/", "//x?", "http://b/base//x?"),
            ("http://b/base", "/", "http://b/base/"),
            (
                "https://b:8443/a/b",
                "/C%zz?q=?&&",
                "https://b:8443/a/b/C%zz?q=?&&",
            ),
            ("http://b", "http://elsewhere:1/x?y", "http://b/x?y"),
            ("http://b", "http://elsewhere?y", "http://b/?y"),
            ("http://b", "*", "http://b*"),
        ] {
            let joined = base(base_url)
                .expect(base_url)
                .join(&target.parse().expect(target))
                .expect(target);
            assert_eq!(joined.to_string(), expected, "{base_url} + {target}");
        }
    }

    #[test]
    fn a_target_that_outgrows_a_uri_is_an_error() {
        let base = base(&format!("http://b/{}", "x".repeat(40_000))).expect("base");
        let target = format!("/{}", "y".repeat(40_000)).parse().expect("target");
        assert!(matches!(base.join(&target), Err(UpstreamError::Target { .. })));
    }

    #[test]
    fn an_identity_ignores_what_makes_no_difference() {
        for (url, identity) in [
            ("http://Example.COM:80/", "http://example.com"),
            ("http://example.com:443/a/", "http://example.com:443/a"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(base(url).expect(url).identity(), identity);
        }
    }

    #[test]
    fn an_unusable_base_is_an_error_on_proxy_url() {
        for url in ["ftp://b", "/just/a/path", "http://u:secret@b", "http://b/?q"] {
            let error = base(url).expect_err(url);
            assert_eq!(error.setting(), Some("proxy_url"));
            assert!(!error.to_string().contains("secret"));
        }
    }
}
