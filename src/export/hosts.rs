//! What hosts of static sites read beside the files: `_redirects` and `_headers`, in the form that Netlify and
//! Cloudflare Pages share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use http::header::{self, HeaderName};

use super::pages::Linker;
use super::plan::{Entry, Plan, is_typed_by_name};

/// What a server of files says by itself, or what is of the bytes on their way.
const OF_THE_SERVER: [HeaderName; 14] = [
    header::ACCEPT_RANGES,
    header::AGE,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::SERVER,
    header::TRANSFER_ENCODING,
    header::VARY,
    header::VIA,
];

/// A line for each redirect.
pub(super) fn redirects(plan: &Plan, linker: &Linker<'_>) -> String {
    let mut text = String::new();
    for redirect in &plan.redirects {
        let to = linker.target(redirect);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {to} {}", redirect.from, redirect.status);
    }
    text
}

/// The fields of each file, and once those that all of them have.
pub(super) fn headers(plan: &Plan) -> String {
    let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, entry) in &plan.files {
        // With another meaning in this file.
        if entry.served_at.contains(['*', ' ']) || entry.served_at.contains("/:") {
            continue;
        }
        fields.insert(&entry.served_at, lines(entry, file));
    }
    let common: Vec<String> = match fields.values().next() {
        Some(first) if fields.len() == plan.files.len() && fields.len() > 1 => {
            let is_common = |line: &&String| fields.values().all(|lines| lines.contains(line));
            first.iter().filter(is_common).cloned().collect()
        }
        _ => Vec::new(),
    };
    let mut text = String::new();
    let blocks = [("/*", common.clone())].into_iter();
    let blocks = blocks.chain(fields.into_iter().map(|(url, lines)| {
        let own = lines.into_iter().filter(|line| !common.contains(line));
        (url, own.collect())
    }));
    for (url, lines) in blocks.filter(|(_, lines)| !lines.is_empty()) {
        let _ = writeln!(text, "{url}");
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// What is said of a page that its file does not say; what is no text is not said.
fn lines(entry: &Entry, file: &Path) -> Vec<String> {
    let is_typed = is_typed_by_name(&entry.page, file);
    let is_said = |name: &HeaderName| is_typed && *name == header::CONTENT_TYPE;
    let fields = entry.page.headers.iter();
    let fields = fields.filter(|(name, _)| !OF_THE_SERVER.contains(name) && !is_said(name));
    let line = |(name, value): (&HeaderName, &http::HeaderValue)| {
        let value = value.to_str().ok().filter(|value| !value.is_empty())?;
        Some(format!("{name}: {value}"))
    };
    fields.filter_map(line).collect()
}
