//! What is stored, rendered anew behind a server: the old pages answer until the new ones are there.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::uri::PathAndQuery;
use tokio::sync::Notify;

use super::report::Summary;
use super::run::{Seed, run};
use super::{Event, PrerenderOptions, Scope, read_only};
use crate::error::{Error, ErrorKind};
use crate::invalidate::RefreshMode;
use crate::key::{line_of, parts_of};
use crate::pattern::KeyPattern;
use crate::proxy::{Address, Proxy};

/// Renders stored pages anew when it is told to, one run after the other.
#[derive(Debug)]
pub struct Renderer {
    proxy: Proxy,
    /// To be rendered: what is asked for twice is rendered once.
    pending: Mutex<HashSet<Address>>,
    more: Notify,
}

/// What is stored and matches a pattern.
#[derive(Default)]
pub(super) struct Stored {
    /// What an order can ask for.
    pub(super) pages: Vec<Address>,
    /// What else there is, as lines: other methods, variants, and what visitors' fields are part of the key of.
    others: Vec<String>,
}

impl Renderer {
    /// For this proxy. Nothing is rendered unless [`run`](Self::run) is polled.
    pub fn new(proxy: Proxy) -> Self {
        Self {
            proxy,
            pending: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Has what is stored and matches rendered anew, and says how many pages that are. Variants, and pages of which
    /// visitors' fields are part of the key, cannot be rendered without those visitors: they are to be validated
    /// before they are used again. Waits for the disk.
    ///
    /// # Errors
    /// A text that is no pattern, or a directory that this process does not write.
    pub fn begin(&self, patterns: &[&str]) -> Result<usize, Error> {
        let mut found = Stored::default();
        for pattern in patterns {
            let of_it = stored(&self.proxy, pattern)?;
            found.pages.extend(of_it.pages);
            found.others.extend(of_it.others);
        }
        if !self.proxy.is_writer() {
            return Err(read_only(&self.proxy));
        }
        if !found.others.is_empty() {
            let others: Vec<&str> = found.others.iter().map(String::as_str).collect();
            let marked = self.proxy.trigger().begin(&others, RefreshMode::Stale);
            marked.map_err(|error| {
                Error::new(ErrorKind::Directory, "cannot mark pages to be validated").with_source(error)
            })?;
        }
        let pages: HashSet<Address> = found.pages.into_iter().collect();
        let count = pages.len();
        self.pending().extend(pages);
        self.more.notify_one();
        Ok(count)
    }

    /// Renders what [`begin`](Self::begin) takes in, as fast as the options say, until it is dropped. Tells of each
    /// run.
    pub async fn run(&self, options: &PrerenderOptions, mut observe: impl FnMut(&Summary)) {
        let options = PrerenderOptions {
            scope: Scope::All,
            crawl: false,
            // What is stored is bounded elsewhere.
            max_pages: usize::MAX,
            ..options.clone()
        };
        loop {
            self.more.notified().await;
            let pages = std::mem::take(&mut *self.pending());
            if pages.is_empty() {
                continue;
            }
            let mut seeds: Vec<Seed> = pages.into_iter().map(Seed::page).collect();
            seeds.sort_by(|one, other| one.address.target.as_str().cmp(other.address.target.as_str()));
            let summary = run(&self.proxy, &options, seeds, |event| {
                if let Event::Page(page, ..) = event
                    && page.is_failure()
                {
                    tracing::warn!(
                        url = page.url,
                        became = page.became.as_str(),
                        "a page could not be rendered"
                    );
                }
            });
            observe(&summary.await);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashSet<Address>> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is stored and matches, as far as the directory has been read through.
///
/// # Errors
/// A text that is no pattern.
pub(super) fn stored(proxy: &Proxy, pattern: &str) -> Result<Stored, Error> {
    let compiled = self::pattern(pattern)?;
    let public = proxy.site().0.public.clone();
    let mut found = Stored::default();
    for key in proxy.matching(&compiled) {
        let line = key.own.as_deref().unwrap_or(line_of(&key.key));
        let page = address(
            line,
            &key.key,
            public.as_ref().map(|(scheme, host)| (&**scheme, &**host)),
        );
        if key.has_variants || page.is_none() {
            found.others.push(line_of(&key.key).to_owned());
        }
        found.pages.extend(page);
    }
    Ok(found)
}

/// # Errors
/// A text that is no pattern.
pub(super) fn pattern(text: &str) -> Result<KeyPattern, Error> {
    KeyPattern::parse(text)
        .map_err(|cause| Error::config("prerender", format!("`{text}` is no pattern: {cause}")))
}

/// Where a visitor of whom nothing is known finds the page; nothing if none does.
fn address(line: &str, key: &str, public: Option<(&str, &str)>) -> Option<Address> {
    let target = line
        .strip_prefix("GET:")
        .filter(|target| target.starts_with('/'))?;
    let (mut scheme, mut host) = public.unwrap_or_default();
    for (name, value) in parts_of(key) {
        match name {
            "host" => host = value,
            "scheme" => scheme = value,
            "line" => {}
            // A field or a cookie, that this is the page of.
            _ => return None,
        }
    }
    Some(Address {
        scheme: if scheme == "https" { "https" } else { "http" },
        host: host.into(),
        target: PathAndQuery::try_from(target).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_back_to_its_page_unless_somebody_is_part_of_it() {
        let public = Some(("https", "example.com"));
        for (key, public, expected) in [
            ("GET:/a?b", public, Some("https example.com /a?b")),
            ("GET:/a\nhost 3:x:1\nscheme 4:http", None, Some("http x:1 /a")),
            ("POST:/a", public, None),
            ("product-7", public, None),
            ("GET:/a\nheader.x-theme 4:dark", public, None),
            ("GET:/a\ncookie.currency 64:0", public, None),
        ] {
            let found = address(line_of(key), key, public);
            let found = found.map(|found| format!("{} {} {}", found.scheme, found.host, found.target));
            assert_eq!(found.as_deref(), expected, "{key}");
        }
    }
}
