//! The snapshots as a site of plain files, for any server of files.
//!
//! `plan` decides which page becomes which file, by `names`; `pages` looks where their links lead and writes those
//! anew that lead to the site by its own address; `hosts` is what hosts of such sites read beside the files; `tree`
//! writes, and touches nothing in the folder that it has not written itself.
//!
//! Not part of the API: what the command prints may change with it.

mod hosts;
mod names;
mod pages;
mod plan;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::artefact::{Artefact, KeptPage};
use crate::error::{Error, ErrorKind};

use pages::Linker;
use plan::{HEADERS, MISSING, Plan, REDIRECTS};
use tree::{Put, Tree};

/// Where to, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder of the export; made where it is missing.
    pub dir: PathBuf,
    /// Links to the site by its own address, or its backend's, become links from the root.
    pub rewrites_links: bool,
    /// Nothing is written.
    pub is_dry: bool,
    /// What is in the way is replaced, whoever has written it.
    pub is_forced: bool,
}

/// What came of it. Files are named from the folder, encoded as in a URL; pages by their path.
#[derive(Debug, Default)]
pub struct Exported {
    /// Files that were written, or would be.
    pub written: Vec<String>,
    /// Files that are as they were.
    pub unchanged: u64,
    /// Files of an export before, whose pages are gone.
    pub removed: Vec<String>,
    /// Files that stand in the way and were left alone, and why.
    pub kept: Vec<(String, String)>,
    /// Lines in `_redirects`.
    pub redirects: u64,
    /// There is a `404.html`.
    pub has_missing_page: bool,
    /// Pages that are in no file.
    pub left_out: Vec<LeftOut>,
    /// Pages with renderings beside the one that was exported.
    pub several: Vec<String>,
    /// Links to what is not there.
    pub dead: Strays,
    /// Links to the backend by its own address, as they are in the export.
    pub origin: Strays,
    /// What of the snapshot directory could not be read.
    pub unread: Vec<String>,
    /// Nothing that is stored could be a file: nothing was written, and nothing of an earlier export removed.
    pub is_empty: bool,
}

/// A page that is in no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Path and query.
    pub url: String,
    /// In a word.
    pub why: Why,
    /// In more of them.
    pub detail: String,
}

/// Why a page is in no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has a query.
    Query,
    /// It is stored only for who sends certain fields.
    Variant,
    /// No file can have its name.
    Name,
    /// Another page has its place.
    Clash,
    /// Its body is coded.
    Coded,
    /// It is no page, by its status.
    Status,
    /// A rule keeps its path from being stored.
    Excluded,
    /// Its bytes are not the sealed ones.
    Damaged,
    /// It is another host's.
    Host,
}

impl Why {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Variant => "variant",
            Self::Name => "name",
            Self::Clash => "clash",
            Self::Coded => "coded",
            Self::Status => "status",
            Self::Excluded => "excluded",
            Self::Damaged => "damaged",
            Self::Host => "host",
        }
    }

    /// Whether a page is lost that a site of files could have.
    fn is_loss(self) -> bool {
        matches!(self, Self::Name | Self::Clash | Self::Coded | Self::Damaged)
    }
}

/// Links that lead somewhere they should not: the first hundred that were met, and how many there are on all pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strays {
    /// By the link, as it is written.
    pub named: BTreeMap<String, On>,
    /// Times that a link is on a page.
    pub total: u64,
    /// Times of those that are not named.
    pub unnamed: u64,
}

/// Where a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct On {
    /// The first page that has it, by name.
    pub first: String,
    /// How many pages have it.
    pub pages: u64,
}

impl Strays {
    /// Links that are named. A template that is broken has as many links that lead nowhere as there are pages.
    const MOST: usize = 100;

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn add(&mut self, page: &str, link: &str) {
        self.total += 1;
        if let Some(on) = self.named.get_mut(link) {
            on.pages += 1;
            if *page < *on.first {
                on.first = page.to_owned();
            }
        } else if self.named.len() < Self::MOST {
            let first = page.to_owned();
            self.named.insert(link.to_owned(), On { first, pages: 1 });
        } else {
            self.unnamed += 1;
        }
    }
}

impl Exported {
    /// Whether there are pages, every one that can be a file is one, every link leads somewhere, and nothing stood in
    /// the way.
    pub fn is_whole(&self) -> bool {
        let is_lost = self.left_out.iter().any(|one| one.why.is_loss());
        let is_stray = !self.dead.is_empty() || !self.origin.is_empty();
        !is_lost && !is_stray && self.kept.is_empty() && self.unread.is_empty() && !self.is_empty
    }

    fn put(&mut self, file: &Path, put: Put) {
        let name = names::written(file);
        match put {
            Put::Written => self.written.push(name),
            Put::Unchanged => self.unchanged += 1,
            Put::Kept(why) => self.kept.push((name, why)),
        }
    }
}

/// Exports what is stored. Needs no lock; a server may be at work.
///
/// # Errors
/// Pages of several hosts of which none is named, or a folder that cannot be used.
pub fn export(artefact: &Artefact, options: &Options) -> Result<Exported, Error> {
    let mut exported = Exported::default();
    let pages = gather(artefact, &mut exported)?;
    let mut plan = Plan::of(pages);
    exported.left_out.append(&mut plan.left_out);
    exported.several.append(&mut plan.several);
    exported.redirects = plan.redirects.len() as u64;
    exported.has_missing_page = plan.files.contains_key(Path::new(MISSING));
    // A directory that is the wrong one, or not filled yet, is not to empty a site.
    exported.is_empty = plan.files.is_empty() && plan.redirects.is_empty();
    if exported.is_empty {
        return Ok(exported);
    }
    let linker = Linker::new(artefact, &plan, options);
    let own = [
        (REDIRECTS, hosts::redirects(&plan, &linker)),
        (HEADERS, hosts::headers(&plan)),
    ];
    linker.judge_redirects(&mut exported);
    let mut tree = Tree::open(artefact.directory(), options)?;
    let written = own.iter().filter(|(_, text)| !text.is_empty());
    let is_wanted = |file: &Path| {
        plan.files.contains_key(file) || written.clone().any(|(name, _)| file == Path::new(name))
    };
    // A page that could not be read may be the one that a file was written for.
    match exported.unread.is_empty() {
        true => tree.prune(&is_wanted, &mut exported),
        false => tree.spare(),
    }
    let progress = artefact.progress();
    progress.begin(plan.files.len() as u64);
    for (file, entry) in &plan.files {
        progress.one_more();
        let page = &entry.page;
        match artefact.bytes_of(page).ok().flatten() {
            Some(bytes) => {
                let bytes = linker.look_through(page, bytes, &mut exported);
                let put = tree.put(file, &bytes);
                exported.put(file, put);
            }
            None => {
                tree.keep(file);
                exported.left_out.push(LeftOut {
                    url: page.url.clone(),
                    why: Why::Damaged,
                    detail: "its bytes are not the sealed ones: `phantom-frame verify` says more".into(),
                });
            }
        }
    }
    for (name, text) in written {
        let put = tree.put(Path::new(name), text.as_bytes());
        exported.put(Path::new(name), put);
    }
    tree.finish()?;
    Ok(exported)
}

/// The pages of the site, by their address.
///
/// # Errors
/// Pages of several hosts, of which none is named.
fn gather(artefact: &Artefact, exported: &mut Exported) -> Result<BTreeMap<String, Vec<KeptPage>>, Error> {
    let mut all = Vec::new();
    exported.unread = artefact.each_kept(&hosts::is_told, &mut |page| all.push(page));
    let hosts: BTreeSet<String> = all
        .iter()
        .filter_map(|page| Some(page.host.as_ref()?.1.clone()))
        .collect();
    let (rules, _) = artefact.site_rules();
    let is_public = rules.public.is_some() && all.iter().any(|page| page.host.is_none());
    let named = artefact.site_name().filter(|name| hosts.contains(*name));
    let host = match (is_public, named, hosts.len()) {
        (true, ..) | (_, _, 0) => None,
        (_, Some(name), _) => Some(name.to_owned()),
        (_, None, 1) => hosts.first().cloned(),
        _ => {
            let names: Vec<&str> = hosts.iter().map(String::as_str).take(10).collect();
            let what = format!("the directory holds pages of several hosts: {}", names.join(", "));
            return Err(Error::new(ErrorKind::Config, what).with_hint("name one with `site` (`--site HOST`)"));
        }
    };
    let mut pages: BTreeMap<String, Vec<KeptPage>> = BTreeMap::new();
    for page in all {
        if page.host.as_ref().map(|(_, host)| host) == host.as_ref() {
            // Most have one.
            let renderings = pages.entry(page.url.clone());
            renderings.or_insert_with(|| Vec::with_capacity(1)).push(page);
        } else {
            exported.left_out.push(LeftOut {
                url: page.url,
                why: Why::Host,
                detail: page.host.map_or_else(
                    || "it is no host's in particular".to_owned(),
                    |(_, host)| format!("it is of {host}"),
                ),
            });
        }
    }
    // By either scheme it is one page, and what visitors saw last is under https.
    for renderings in pages.values_mut() {
        renderings.sort_by_key(|page| page.host.as_ref().is_some_and(|(scheme, _)| *scheme == "http"));
        let scheme = renderings.first().and_then(|page| Some(page.host.as_ref()?.0));
        renderings.retain(|page| page.host.as_ref().map(|(scheme, _)| *scheme) == scheme);
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_links_are_named_with_the_first_page_and_all_are_counted() {
        let mut strays = Strays::default();
        assert!(strays.is_empty());
        for page in 0..3 {
            for link in 0..150 {
                strays.add(&format!("/{page}"), &format!("/none/{link:03}"));
            }
        }
        assert_eq!(
            (strays.named.len(), strays.total, strays.unnamed),
            (100, 450, 150)
        );
        let on = On {
            first: "/0".into(),
            pages: 3,
        };
        assert_eq!(strays.named.get("/none/099"), Some(&on));
        assert!(!strays.is_empty() && !strays.named.contains_key("/none/100"));
    }
}
