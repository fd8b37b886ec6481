//! What a look at a site has found, and in which order it is looked at.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::proxy::Address;

use super::{CheckedPage, Stop};

/// What was found and not looked at yet.
pub(super) struct Found {
    seen: HashSet<Address>,
    pages: VecDeque<Stop>,
    /// They say little, so they come last.
    assets: VecDeque<Stop>,
    pub(super) limit: usize,
}

impl Found {
    pub(super) fn new(first: Address, limit: usize) -> Self {
        Self {
            seen: HashSet::from([first]),
            pages: VecDeque::new(),
            assets: VecDeque::new(),
            limit,
        }
    }

    pub(super) fn take(&mut self, from: &CheckedPage, links: Vec<Address>) {
        let from: Arc<str> = from.page.as_str().into();
        for address in links {
            if self.seen.contains(&address) {
                continue;
            }
            self.seen.insert(address.clone());
            let queue = match is_asset(address.target.path()) {
                true => &mut self.assets,
                false => &mut self.pages,
            };
            queue.push_back(Stop {
                address,
                found_on: Some(Arc::clone(&from)),
            });
        }
    }

    /// The next one where pages are under way that may lead to others, which come before assets.
    pub(super) fn next_page(&mut self) -> Option<Stop> {
        self.pages.pop_front()
    }

    /// The next one where nothing is under way.
    pub(super) fn next(&mut self) -> Option<Stop> {
        self.next_page().or_else(|| self.assets.pop_front())
    }

    pub(super) fn left(&self) -> u64 {
        (self.pages.len() + self.assets.len()) as u64
    }
}

fn is_asset(path: &str) -> bool {
    const ENDINGS: [&str; 24] = [
        "avif",
        "css",
        "gif",
        "gz",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "map",
        "mjs",
        "mp3",
        "mp4",
        "ogg",
        "pdf",
        "png",
        "svg",
        "ttf",
        "txt",
        "webm",
        "webmanifest",
        "webp",
        "woff2",
        "zip",
    ];
    let last = path.rsplit('/').next().unwrap_or("");
    let ending = last
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_told_by_their_endings() {
        assert!(is_asset("/_next/static/a.b/main.JS"));
        assert!(!is_asset("/v1.2/docs") && !is_asset("/") && !is_asset("/a.js/b"));
    }
}
