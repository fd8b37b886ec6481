//! What a look at a site says to whoever sets up a proxy for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::outcome::Reason;
use crate::snapshot::sidecar::quote;

use super::check::{CheckSummary, CheckedPage, Verdict};

/// Something that keeps pages from being stored, or from being right where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// `cookies`, `vary`, `nonce`, `csrf`, `host`, `cache`, `noise`.
    pub kind: &'static str,
    /// What is so, and what helps.
    pub text: String,
    /// Where, in the order in which they were looked at.
    pub pages: Vec<String>,
}

/// What to know, and how to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// What to know.
    pub warnings: Vec<Warning>,
    /// What starts the proxy.
    pub command: Vec<String>,
    /// A configuration to begin with.
    pub config: String,
}

/// What these pages come to.
pub fn advice(summary: &CheckSummary, pages: &[CheckedPage]) -> Advice {
    let cookies = by(pages, |page| page.cookies.clone());
    let html = pages.iter().filter(|page| page.is_html()).count();
    let mut warnings = Vec::new();
    for (cookie, of) in &cookies {
        let all = if of.len() >= html && html > 1 {
            ", on every page"
        } else {
            ""
        };
        let text = format!(
            "the backend sets the cookie `{cookie}`{all}: such pages are not stored. If nothing on the page depends on \
             it, `ignore_set_cookies` drops it"
        );
        warnings.push(warning("cookies", text, of));
    }
    warnings.extend(vary(pages));
    let marked = |reason| move |page: &&CheckedPage| page.marked == Some(reason);
    for (kind, reason) in [("nonce", Reason::Nonce), ("csrf", Reason::CsrfField)] {
        let of = names(pages.iter().filter(marked(reason)));
        if !of.is_empty() {
            warnings.push(warning(kind, reason.advice().to_owned(), &of));
        }
    }
    let of = names(pages.iter().filter(|page| !page.own_host.is_empty()));
    if !of.is_empty() {
        warnings.push(warning("host", own_host(summary, pages), &of));
    }
    let of = names(pages.iter().filter(|page| page.is_cached));
    if !of.is_empty() {
        let text =
            "these come from a cache (`Age`), so this is a look at that cache: name the backend itself";
        warnings.push(warning("cache", text.into(), &of));
    }
    let noisy = |page: &&CheckedPage| !page.noises.is_empty() && page.verdict == Verdict::Stored;
    let of = names(pages.iter().filter(noisy));
    if !of.is_empty() {
        let text = "two renderings differ: each new one changes the file, and visitors share what was made for the first \
                    (`phantom-frame noise` says where)";
        warnings.push(warning("noise", text.into(), &of));
    }
    Advice {
        warnings,
        command: command(summary),
        config: config(summary, &cookies),
    }
}

fn warning(kind: &'static str, text: String, pages: &[String]) -> Warning {
    Warning {
        kind,
        text,
        pages: pages.to_vec(),
    }
}

fn names<'a>(pages: impl Iterator<Item = &'a CheckedPage>) -> Vec<String> {
    pages.map(|page| page.page.clone()).collect()
}

/// The pages that have something, by what they have.
fn by(pages: &[CheckedPage], has: impl Fn(&CheckedPage) -> Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in pages {
        for what in has(page) {
            let pages = found.entry(what).or_default();
            if pages.last() != Some(&page.page) {
                pages.push(page.page.clone());
            }
        }
    }
    found
}

/// Fields that the same pages name are told of together.
fn vary(pages: &[CheckedPage]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut alike: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (name, of) in by(pages, |page| page.varies_by.clone()) {
        match varies(&name) {
            Some(text) => warnings.push(warning("vary", text.to_owned(), &of)),
            None => alike.entry(of).or_default().push(format!("`{name}`")),
        }
    }
    for (of, names) in alike {
        let text = match names.as_slice() {
            [name] => format!("pages vary by {name}: each of its values is a rendering of its own"),
            _ => format!(
                "pages vary by {}: each combination of their values is a rendering of its own",
                names.join(", ")
            ),
        };
        warnings.push(warning("vary", text, &of));
    }
    warnings
}

/// What there is to say of a field that is not like others.
fn varies(name: &str) -> Option<&'static str> {
    Some(match name {
        "*" => "`Vary: *` says that no two answers are alike: such pages are not stored",
        "cookie" => {
            "pages vary by `Cookie`: what is stored is the page of visitors without one; `key_cookies` names \
                     cookies that select one of few renderings"
        }
        "accept-encoding" => {
            "pages vary by `Accept-Encoding`, which counts for nothing here: the backend is asked for \
                              pages as they are"
        }
        "user-agent" => "pages vary by `User-Agent`, which counts for nothing here (`vary_ignore`)",
        _ => return None,
    })
}

fn own_host(summary: &CheckSummary, pages: &[CheckedPage]) -> String {
    let example = pages.iter().find_map(|page| page.own_host.first());
    let example = example.map_or("", String::as_str);
    match &summary.public {
        Some(public) => format!(
            "pages name the backend's own host ({example}), where visitors see {public}: have the backend make links \
             of `X-Forwarded-Host` and `X-Forwarded-Proto`, or of a setting of its own"
        ),
        None => format!(
            "pages name the host that they were asked at ({example}). Where that comes from the request, it will be \
             that of visitors; `check --public-url https://example.com` tells"
        ),
    }
}

/// The port of visitors; the default is that of many backends.
fn port(summary: &CheckSummary) -> u16 {
    match summary.backend.rsplit(':').next() {
        Some("3000") => 8080,
        _ => 3000,
    }
}

fn command(summary: &CheckSummary) -> Vec<String> {
    let mut command = vec![
        "phantom-frame".to_owned(),
        "--backend".into(),
        summary.backend.clone(),
        "--port".into(),
        port(summary).to_string(),
    ];
    if let Some(public) = &summary.public {
        command.extend(["--public-url".to_owned(), public.clone()]);
    }
    command
}

fn config(summary: &CheckSummary, cookies: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::from("[server]\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "proxy_url = {}", quote(&summary.backend));
    let _ = writeln!(text, "proxy_port = {}", port(summary));
    match &summary.public {
        Some(public) => drop(writeln!(text, "public_url = {}", quote(public))),
        None => text.push_str(
            "# The address that visitors use: pages are rendered for it.\n#public_url = \"https://example.com\"\n",
        ),
    }
    text.push_str("snapshot_dir = \"snapshots\"\n");
    let cookies: Vec<String> = cookies.keys().map(|name| quote(name)).collect();
    if !cookies.is_empty() {
        let _ = write!(
            text,
            "# Set by the backend; those that no page depends on go in here.\n#ignore_set_cookies = [{}]\n",
            cookies.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(name: &str, varies_by: &[&str]) -> CheckedPage {
        CheckedPage {
            page: name.into(),
            found_on: None,
            verdict: Verdict::Stored,
            status: Some(200),
            kind: "text/html".into(),
            bytes: 0,
            took: Duration::ZERO,
            varies_by: varies_by.iter().map(|name| (*name).to_owned()).collect(),
            cookies: Vec::new(),
            is_cached: false,
            marked: None,
            own_host: Vec::new(),
            noises: Vec::new(),
        }
    }

    #[test]
    fn fields_that_the_same_pages_vary_by_are_told_of_once() {
        let pages = [
            page("/", &["rsc", "next-url", "accept-encoding"]),
            page("/a", &["rsc", "next-url"]),
            page("/b", &["accept-language"]),
        ];
        let told: Vec<_> = vary(&pages)
            .into_iter()
            .map(|warning| (warning.text, warning.pages.join(" ")))
            .collect();
        let told: Vec<_> = told.iter().map(|(text, pages)| (&**text, &**pages)).collect();
        assert_eq!(
            told,
            [
                (
                    "pages vary by `Accept-Encoding`, which counts for nothing here: the backend is asked for pages as \
                     they are",
                    "/"
                ),
                (
                    "pages vary by `next-url`, `rsc`: each combination of their values is a rendering of its own",
                    "/ /a"
                ),
                (
                    "pages vary by `accept-language`: each of its values is a rendering of its own",
                    "/b"
                ),
            ]
        );
    }

    #[test]
    fn the_configuration_is_one_whatever_a_site_says() {
        let summary = CheckSummary {
            backend: "http://localhost:3000".into(),
            ..CheckSummary::default()
        };
        let cookies = BTreeMap::from([("a\"]\n\u{7f}#\u{1b}".to_owned(), Vec::new())]);
        let text = config(&summary, &cookies);
        let parsed: toml::Table = toml::from_str(&text.replace("#ignore", "ignore")).unwrap();
        let server = parsed["server"].as_table().unwrap();
        assert_eq!(server["proxy_port"].as_integer(), Some(8080));
        assert_eq!(
            server["ignore_set_cookies"][0].as_str(),
            Some("a\"]\n\u{7f}#\u{1b}")
        );
    }
}
