//! What clients are told beside what is stored: fields that are taken away, added, or said in place of the
//! backend's. Nothing of it is stored, so that a changed setting acts at once.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::policy::freshness::{Lifetime, LifetimeRules, Stated};
use crate::tags;

/// What is changed in responses, prepared.
#[derive(Debug, Clone)]
pub(crate) struct ResponseRules {
    /// What no client gets of the backend, among it what is said in its place.
    taken: Vec<HeaderName>,
    added: Vec<(HeaderName, HeaderValue)>,
    /// The `Cache-Control` of stored pages.
    cache_control: Option<HeaderValue>,
}

/// Where an answer of the backend comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// What is stored, or is being stored.
    Store,
    /// The backend, past the cache.
    Backend,
}

impl ResponseRules {
    /// `stripped` goes; of `added` each name takes the place of the backend's fields of that name. `Vary` comes to them:
    /// without what it says of variants and codings, caches behind this one would keep what is not for all.
    pub(crate) fn new(
        stripped: Vec<HeaderName>,
        added: Vec<(HeaderName, HeaderValue)>,
        cache_control: Option<HeaderValue>,
    ) -> Self {
        let mut taken = stripped;
        for (name, _) in &added {
            if !taken.contains(name) && *name != header::VARY {
                taken.push(name.clone());
            }
        }
        Self {
            taken,
            added,
            cache_control,
        }
    }

    /// Makes the fields of an answer those that a client gets.
    ///
    /// What is said of caching in place of the backend's word is said of what is stored alone: an answer that
    /// passed may be its client's own, and only the backend knows.
    /// Nor is it said of an error: what is missing now may be there in a moment, and a client that was told to keep
    /// it for a year would not ask again.
    pub(crate) fn shape(&self, status: StatusCode, headers: &mut HeaderMap, source: Source) {
        if source == Source::Backend {
            tags::strip(headers);
        }
        for name in &self.taken {
            headers.remove(name);
        }
        for (name, value) in &self.added {
            headers.append(name, value.clone());
        }
        let is_error = status.is_client_error() || status.is_server_error();
        if let (Source::Store, Some(value), false) = (source, &self.cache_control, is_error) {
            headers.insert(header::CACHE_CONTROL, value.clone());
            // RFC 9111 §5.3: a recipient that knows only Expires would go by it.
            headers.remove(header::EXPIRES);
        }
    }
}

/// The `Cache-Control` of a stored page of which the backend has said nothing and whose lifetime is ours alone.
///
/// RFC 9111 §4.2.2 would let every cache behind us guess a lifetime, and an invalidation here reaches none of
/// them; so each is to ask again before it uses what it has, and gets a 304 for it.
pub(crate) fn unsaid_cache_control(stated: &Stated<'_>, rules: &LifetimeRules) -> Option<HeaderValue> {
    const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
    if stated.headers.contains_key(header::CACHE_CONTROL) || stated.expires_after.is_some() {
        return None;
    }
    matches!(Lifetime::of(stated, rules), Lifetime::Granted(_)).then_some(ASK_EACH_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ttl;
    use crate::headers::header_map;
    use crate::policy::cache_control::CacheControl;

    fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        fields
    }

    fn added(fields: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_a_page_varies_by_is_added_to_and_never_replaced() {
        let rules = ResponseRules::new(Vec::new(), added(&[("vary", "x-mine")]), None);
        let mut headers = header_map(&[("vary", "accept-encoding")]);
        rules.shape(StatusCode::OK, &mut headers, Source::Store);
        assert_eq!(shown(&headers), [("vary", "accept-encoding"), ("vary", "x-mine")]);
    }

    #[test]
    fn fields_go_and_come_and_stored_pages_are_told_of_caching() {
        let rules = ResponseRules::new(
            vec![HeaderName::from_static("x-powered-by")],
            added(&[("link", "<a>"), ("link", "<b>"), ("x-frame-options", "DENY")]),
            Some(HeaderValue::from_static("max-age=5")),
        );
        for (source, came, expected) in [
            (
                Source::Store,
                vec![
                    ("x-powered-by", "1"),
                    ("x-powered-by", "2"),
                    ("link", "<c>"),
                    ("cache-control", "private"),
                    ("cache-control", "max-age=60"),
                    ("expires", "0"),
                    ("etag", "\"1\""),
                ],
                vec![
                    ("cache-control", "max-age=5"),
                    ("etag", "\"1\""),
                    ("link", "<a>"),
                    ("link", "<b>"),
                    ("x-frame-options", "DENY"),
                ],
            ),
            (
                Source::Backend,
                vec![
                    ("cache-control", "private"),
                    ("expires", "0"),
                    ("cache-tag", "news"),
                    ("surrogate-key", "news"),
                    ("xkey", "news"),
                    ("x-powered-by", "1"),
                ],
                vec![
                    ("cache-control", "private"),
                    ("expires", "0"),
                    ("link", "<a>"),
                    ("link", "<b>"),
                    ("x-frame-options", "DENY"),
                ],
            ),
        ] {
            let mut headers = header_map(&came);
            rules.shape(StatusCode::OK, &mut headers, source);
            assert_eq!(shown(&headers), expected, "{source:?}");
        }
    }

    #[test]
    fn a_page_that_the_backend_says_nothing_of_is_to_be_asked_for_each_time() {
        for (fields, expires_after, expected) in [
            (vec![], None, true),
            (vec![("etag", "\"1\"")], None, true),
            (vec![("cache-control", "max-age=60")], None, false),
            (vec![("cache-control", "public")], None, false),
            (vec![], Some(60), false),
        ] {
            let headers = header_map(&fields);
            let stated = Stated {
                status: StatusCode::OK,
                headers: &headers,
                control: CacheControl::of(&headers),
                expires_after,
                generated: None,
            };
            let said = unsaid_cache_control(&stated, &Ttl::Forever.into());
            assert_eq!(said.is_some(), expected, "{fields:?} {expires_after:?}");
        }
    }
}
