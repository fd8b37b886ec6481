//! Requests with `Authorization` in a cache that many share (RFC 9111 §3.5), where fills carry it.

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers::has_token;
use crate::policy::cache_control::CacheControl;

/// Fields of a request that are somebody's, set aside from the others: no key function sees them, nothing is keyed or
/// selected by them, and nothing of them is written.
#[derive(Clone)]
pub(crate) struct Credentials(Vec<(HeaderName, HeaderValue)>);

impl Credentials {
    pub(crate) const NONE: Self = Self(Vec::new());

    /// Takes those of these names out of `headers`.
    pub(crate) fn set_aside(headers: &mut HeaderMap, names: &[HeaderName]) -> Self {
        let mut aside = Vec::new();
        for name in names {
            for line in headers.get_all(name) {
                let mut line = line.clone();
                // What prints a request leaves it out.
                line.set_sensitive(true);
                aside.push((name.clone(), line));
            }
            headers.remove(name);
        }
        Self(aside)
    }

    /// Puts them into `headers`.
    pub(crate) fn put_back(&self, headers: &mut HeaderMap) {
        for (name, line) in &self.0 {
            headers.append(name, line.clone());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for (name, line) in &self.0 {
            for part in [name.as_str().as_bytes(), line.as_bytes()] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.0.len())
    }
}

/// RFC 9111 §3.5: "a shared cache MUST NOT use a cached response to a request with an Authorization header field to
/// satisfy any subsequent request unless the response contains […] must-revalidate, public, and s-maxage".
///
/// What was not rendered for credentials answers a request with them on the same condition: a page that greets
/// whom it knows is another for them. One that says that it varies by them is never the one for all.
pub(crate) fn is_shared_despite_credentials(headers: &HeaderMap) -> bool {
    let control = CacheControl::of(headers);
    let is_allowed = control.public || control.must_revalidate || control.s_maxage.is_some();
    is_allowed && !has_token(headers, &header::VARY, "authorization")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn an_answer_is_for_all_if_it_says_so() {
        for (fields, expected) in [
            (&[][..], false),
            (&[("cache-control", "max-age=60")], false),
            (&[("cache-control", "proxy-revalidate, max-age=60")], false),
            (&[("cache-control", "public")], true),
            (&[("cache-control", "max-age=60, Public")], true),
            (&[("cache-control", "s-maxage=60")], true),
            (&[("cache-control", "max-age=60, must-revalidate")], true),
            (&[("cache-control", "a=\"public\"")], false),
            (
                &[("cache-control", "public"), ("vary", "accept, Authorization")],
                false,
            ),
            (&[("cache-control", "public"), ("vary", "Accept")], true),
        ] {
            assert_eq!(
                is_shared_despite_credentials(&header_map(fields)),
                expected,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_is_set_aside_is_printed_nowhere_and_comes_back_whole() {
        let mut fields = header_map(&[
            ("authorization", "Basic c2VjcmV0"),
            ("x-a", "1"),
            ("authorization", "Bearer c2VjcmV0"),
        ]);
        let before = fields.clone();
        let credentials = Credentials::set_aside(&mut fields, &[header::AUTHORIZATION]);
        assert_eq!(fields, header_map(&[("x-a", "1")]));
        credentials.put_back(&mut fields);
        assert_eq!(fields, before);
        assert!(!format!("{credentials:?} {fields:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn lines_are_told_apart_in_the_hash() {
        let hash = |fields: &[(&'static str, &'static str)]| {
            let mut hasher = blake3::Hasher::new();
            Credentials::set_aside(&mut header_map(fields), &[header::AUTHORIZATION]).hash_into(&mut hasher);
            hasher.finalize()
        };
        let name = "authorization";
        assert_ne!(hash(&[(name, "ab")]), hash(&[(name, "a"), (name, "b")]));
        assert_ne!(hash(&[(name, "a")]), hash(&[(name, "b")]));
        assert_ne!(hash(&[(name, "")]), hash(&[]));
    }
}
