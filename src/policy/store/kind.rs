//! What the fields of an answer say of its kind: data, a stream, a page that may be used once.

use http::header::{self, HeaderMap, HeaderValue};

/// In lower case, without parameters; empty where there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .map(media_type_of)
        .unwrap_or_default()
}

/// The same of a `Content-Type`.
pub(crate) fn media_type_of(content_type: &HeaderValue) -> String {
    let value = content_type.to_str().ok();
    value
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

/// Whether a media type, as [`media_type`] gives it, is that of a page that people read.
pub(crate) fn is_html(kind: &str) -> bool {
    matches!(kind, "text/html" | "application/xhtml+xml")
}

/// Types that have no end, or no meaning as a page.
pub(super) fn is_endless(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    kind == "text/event-stream" || kind.starts_with("multipart/") || kind.starts_with("application/grpc")
}

/// Data is often somebody's, and so is what Astro's server islands render for a public page. The data
/// files of frameworks are documents in another form.
pub(super) fn is_personal_by_kind(headers: &HeaderMap, path: &str) -> bool {
    if path.starts_with("/_server-islands/") {
        return true;
    }
    let is_data_file = path.starts_with("/_next/data/")
        || path.ends_with("/__data.json")
        || path.ends_with("/_payload.json");
    !is_data_file && is_json(headers)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    // A web app's manifest is a file of the site.
    kind != "application/manifest+json"
        && (kind == "application/json" || kind.ends_with("+json") || kind == "application/x-ndjson")
}

/// A nonce must be used once; a stored page would repeat it.
pub(super) fn has_nonce(headers: &HeaderMap) -> bool {
    ["content-security-policy", "content-security-policy-report-only"]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .any(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(7)
                .any(|bytes| bytes == b"'nonce-")
        })
}
