//! Whether a redirect leads to where it came from.

use std::borrow::Cow;

use http::header::{self, HeaderMap};

use crate::headers::normal_host;
use crate::link::Reference;
use crate::policy::store::Asked;

/// Whether `Location`, resolved against the address that was asked (RFC 3986 §5), is that address: a loop
/// for everyone it is served to.
pub(crate) fn leads_to_itself(headers: &HeaderMap, asked: &Asked<'_>) -> bool {
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let Some(target) = location.and_then(|location| on_the_same_origin(location, asked)) else {
        return false;
    };
    let target = &*target;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, query),
        // RFC 3986 §5.2.2: an empty path keeps the path, and without a query of its own the query too.
        None if target.is_empty() => (target, asked.query),
        None => (target, ""),
    };
    resolved(path, asked.path) == without_dots(asked.path) && query == asked.query
}

/// Path and query of `location`, if it is on the origin that was asked.
fn on_the_same_origin<'a>(location: &'a str, asked: &Asked<'_>) -> Option<Cow<'a, str>> {
    let is_same = |scheme: Option<&str>| scheme.is_none_or(|scheme| scheme == asked.scheme);
    match Reference::of(location.split('#').next().unwrap_or_default()) {
        Reference::Absolute(link) if is_same(link.scheme) => {
            let is_own = link.host(asked.scheme) == normal_host(asked.host, asked.scheme);
            is_own.then(|| link.rooted())
        }
        Reference::Relative { scheme, rest } if is_same(scheme) => Some(Cow::Borrowed(rest)),
        _ => None,
    }
}

fn resolved(path: &str, base: &str) -> String {
    if path.is_empty() {
        return without_dots(base);
    }
    if path.starts_with('/') {
        return without_dots(path);
    }
    let folder = base.rfind('/').map_or("/", |at| base.get(..=at).unwrap_or("/"));
    without_dots(&format!("{folder}{path}"))
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                // The first is what stands before the leading slash.
                kept.truncate(kept.len().saturating_sub(1).max(1));
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::credentials::Credentials;
    use crate::policy::filter::Included;
    use http::HeaderValue;
    use std::time::SystemTime;

    #[test]
    fn a_location_is_resolved_before_it_is_compared() {
        for (path, query, location, expected) in [
            ("/a", "b", "/a?b", true),
            ("/a", "b", "https://example.com/a?b", true),
            ("/a", "b", "HTTPS://Example.com:443/a?b", true),
            ("/a", "b", "//example.com/a?b#x", true),
            ("/a", "b", "http://example.com/a?b", false),
            ("/a", "b", "https://example.com:8443/a?b", false),
            ("/a", "b", "https://www.example.com/a?b", false),
            ("/a", "b", "https:/a?b", true),
            ("/a", "b", "http:/a?b", false),
            ("/a", "b", "https://example.com?b", false),
            ("/a", "b", "https://user@example.com/a?b", false),
            ("/a", "b", "/a", false),
            ("/a", "b", "/a?c", false),
            ("/a", "b", "?b", true),
            ("/a", "b", "", true),
            ("/a", "b", "#top", true),
            ("/a", "b", "a?b", true),
            ("/x/a", "", "a", true),
            ("/x/a", "", "./a", true),
            ("/x/a", "", "../x/a", true),
            ("/x/a", "", "../a", false),
            ("/x/", "", ".", true),
            ("/x/a", "", "/x/y/../a", true),
            ("/x/a", "", "/x/a/", false),
            ("/", "", "https://example.com", true),
            ("/", "", "..", true),
            ("/", "", "/?", true),
            ("/a:b", "", "/a:b", true),
            ("/", "", "mailto:somebody", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("location", HeaderValue::from_static(location));
            let asked = Asked {
                scheme: "https",
                host: "example.com",
                path,
                query,
                included: Included::ByDefault,
                unkeyed: &[],
                credentials: &Credentials::NONE,
                now: SystemTime::UNIX_EPOCH,
            };
            assert_eq!(
                leads_to_itself(&headers, &asked),
                expected,
                "{path}?{query} -> {location}"
            );
        }
    }
}
