//! What hosts of static sites read beside the files: `_redirects` and `_headers`, in the form that Netlify and
//! Cloudflare Pages share.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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

/// Whether a host is told of the field.
pub(super) fn is_told(name: &HeaderName) -> bool {
    !OF_THE_SERVER.contains(name)
}

/// The fields of each file, and once those that all of them have.
pub(super) fn headers(plan: &Plan) -> String {
    let mut files: Vec<(&PathBuf, &Entry)> = plan.files.iter().collect();
    // With another meaning in this file.
    files.retain(|(_, entry)| !(entry.served_at.contains(['*', ' ']) || entry.served_at.contains("/:")));
    files.sort_by_key(|(_, entry)| &entry.served_at);
    let fields = |(file, entry): &(&PathBuf, &Entry)| lines(entry, file);
    let common = match files.len() == plan.files.len() && files.len() > 1 {
        true => common(files.iter().map(fields)),
        false => Vec::new(),
    };
    let mut text = String::new();
    block(&mut text, "/*", &common);
    for file in &files {
        let mut own = fields(file);
        own.retain(|line| !common.contains(line));
        block(&mut text, &file.1.served_at, &own);
    }
    text
}

/// The lines that all have.
fn common(mut all: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut common = all.next().unwrap_or_default();
    while !common.is_empty()
        && let Some(lines) = all.next()
    {
        common.retain(|line| lines.contains(line));
    }
    common
}

fn block(text: &mut String, url: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "{url}");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

/// What is said of a page that its file does not say; what is no text is not said.
fn lines(entry: &Entry, file: &Path) -> Vec<String> {
    let is_typed = is_typed_by_name(&entry.page, file);
    let is_said = |name: &HeaderName| is_typed && *name == header::CONTENT_TYPE;
    let fields = entry.page.head_fields.iter().filter(|(name, _)| !is_said(name));
    let line = |(name, value): &(HeaderName, http::HeaderValue)| {
        let value = value.to_str().ok().filter(|value| !value.is_empty())?;
        Some(format!("{name}: {value}"))
    };
    fields.filter_map(line).collect()
}
