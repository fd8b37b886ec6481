//! What is stored, rendered anew behind a server: the old pages answer until the new ones are there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::uri::PathAndQuery;
use tokio::sync::Notify;

use super::pace::Paced;
use super::report::Summary;
use super::run::{Redirects, Seed, run};
use super::{Event, PrerenderOptions, Scope, at_pace, read_only};
use crate::error::{Error, ErrorKind};
use crate::key::{line_of, parts_of};
use crate::pattern::KeyPattern;
use crate::proxy::{Address, Proxy};
use crate::snapshot::Marked;

/// Renders stored pages anew when it is told to, one run after the other.
#[derive(Debug)]
pub struct Renderer {
    proxy: Proxy,
    options: PrerenderOptions,
    paced: Arc<Paced>,
    /// To be rendered: what is asked for twice is rendered once.
    pending: Mutex<HashSet<Address>>,
    more: Notify,
}

/// What is stored and matches a pattern.
#[derive(Default)]
pub(super) struct Stored {
    /// What an order can ask for.
    pub(super) pages: Vec<Address>,
    /// Of these, what an order leaves as it is.
    pub(super) tombstones: Vec<Address>,
    /// What else there is, as keys: other methods, variants, and what visitors' fields are part of the key of.
    others: Vec<(Box<str>, Marked)>,
}

impl Renderer {
    /// For this proxy, as fast as the options say. Nothing is rendered unless [`run`](Self::run) is polled.
    pub fn new(proxy: Proxy, options: PrerenderOptions) -> Self {
        Self {
            paced: Paced::new(&options),
            proxy,
            options,
            pending: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Has what is stored and matches rendered anew, and says how many pages that are; tombstones stay, and are told of
    /// in the run's summary alone. Fills that are under way do not count as that. Variants, and pages of which visitors' fields are part of the key, cannot be rendered
    /// without those visitors: they are to be validated before they are used again. Waits for the disk.
    ///
    /// # Errors
    /// A text that is no pattern, a directory that this process does not write, or one that has not been read through
    /// yet ([`ErrorKind::NotReady`]).
    pub fn begin(&self, patterns: &[&str]) -> Result<usize, Error> {
        let patterns: Arc<[KeyPattern]> = patterns
            .iter()
            .map(|text| pattern(text))
            .collect::<Result<_, _>>()?;
        if !self.proxy.is_writer() {
            return Err(read_only(&self.proxy));
        }
        if !self.proxy.is_ready() {
            let what = "nothing is rendered: the snapshot directory has not been read through yet";
            return Err(Error::new(ErrorKind::NotReady, what));
        }
        // First, or what a fill under way stores behind the list is neither overtaken nor rendered.
        self.proxy.overtake(&patterns);
        let mut found = Stored::default();
        for pattern in patterns.iter() {
            let of_it = matching(&self.proxy, pattern);
            found.pages.extend(of_it.pages);
            found.tombstones.extend(of_it.tombstones);
            found.others.extend(of_it.others);
        }
        found.others.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        found.others.dedup();
        self.proxy.mark_to_validate(&found.others).map_err(|error| {
            Error::new(ErrorKind::Directory, "cannot mark pages to be validated").with_source(error)
        })?;
        let pages: HashSet<Address> = found.pages.into_iter().collect();
        let count = pages.len();
        self.pending().extend(pages.into_iter().chain(found.tombstones));
        self.more.notify_one();
        Ok(count)
    }

    /// Renders what the options name, as [`prerender`](super::prerender) does, at one pace with [`run`](Self::run).
    ///
    /// # Errors
    /// As [`prerender`](super::prerender).
    pub async fn ahead(&self, observe: impl FnMut(Event<'_>)) -> Result<Summary, Error> {
        at_pace(&self.proxy, &self.options, &self.paced, observe).await
    }

    /// Renders what [`begin`](Self::begin) takes in until it is dropped. Tells of what happens, and of each run when it
    /// is over.
    pub async fn run(&self, mut observe: impl FnMut(Event<'_>), mut ended: impl FnMut(&Summary)) {
        let options = PrerenderOptions {
            scope: Scope::All,
            crawl: false,
            // What is stored is bounded elsewhere.
            max_pages: usize::MAX,
            ..self.options.clone()
        };
        loop {
            self.more.notified().await;
            let pages = std::mem::take(&mut *self.pending());
            if pages.is_empty() {
                continue;
            }
            let mut seeds: Vec<Seed> = pages.into_iter().map(Seed::page).collect();
            seeds.sort_by(|one, other| one.address.target.as_str().cmp(other.address.target.as_str()));
            let seeds = (seeds, Redirects::Left);
            let summary = run(&self.proxy, &options, seeds, &self.paced, &mut observe);
            ended(&summary.await);
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
    Ok(matching(proxy, &self::pattern(pattern)?))
}

fn matching(proxy: &Proxy, pattern: &KeyPattern) -> Stored {
    let public = proxy.site().0.public.clone();
    let public = public.as_ref().map(|(scheme, host)| (&**scheme, &**host));
    let mut found = Stored::default();
    for key in proxy.matching(pattern) {
        let line = key.own.as_deref().unwrap_or(line_of(&key.key));
        match address(line, &key.key, public) {
            Some(page) if key.is_tombstone => found.tombstones.push(page),
            None if key.is_tombstone => {}
            Some(page) => {
                found.pages.push(page);
                if key.has_variants {
                    found.others.push((key.key, Marked::Variants));
                }
            }
            None => found.others.push((key.key, Marked::All)),
        }
    }
    found
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
