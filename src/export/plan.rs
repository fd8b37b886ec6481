//! Which page becomes which file. Decided before anything is written, from what the directory says: the same pages make
//! the same plan, in whatever order they are read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::names::{Place, type_of};
use super::{LeftOut, Why};
use crate::artefact::KeptPage;
use crate::head::{Seal, VariantKey};
use crate::policy::frozen::{MISSING_PAGES, may_stand_for_missing, nearest};
use crate::policy::store;

/// The page that servers show in place of one that is missing.
pub(super) const MISSING: &str = "404.html";
pub(super) const REDIRECTS: &str = "_redirects";
pub(super) const HEADERS: &str = "_headers";

/// A page that becomes a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) page: KeptPage,
    /// The address that servers of files end up at.
    pub(super) served_at: String,
}

/// A page that leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) from: String,
    /// As the page says it.
    pub(super) to: String,
    pub(super) status: u16,
    pub(super) page_host: Option<(&'static str, String)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) files: BTreeMap<PathBuf, Entry>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) left_out: Vec<LeftOut>,
    /// Pages with renderings beside the one that is exported.
    pub(super) several: Vec<String>,
    /// Paths in lower case, with the one that has it.
    folded: HashMap<String, PathBuf>,
}

impl Plan {
    /// Of pages by their address, each with all of its renderings.
    pub(super) fn of(pages: BTreeMap<String, Vec<KeptPage>>) -> Self {
        let mut plan = Self::default();
        let mut missing = Vec::new();
        for (url, renderings) in pages {
            if url.contains('?') {
                plan.leave_out(&url, Why::Query, "a file has no query");
                continue;
            }
            let count = renderings.len();
            let Some(page) = base(renderings) else {
                plan.leave_out(
                    &url,
                    Why::Variant,
                    "it is stored only for who sends certain fields",
                );
                continue;
            };
            if count > 1 {
                plan.several.push(url.clone());
            }
            if MISSING_PAGES.contains(&&*url) && may_stand_for_missing(page.status) && page.body.is_some() {
                missing.push((url.clone(), page.clone()));
            }
            plan.add(page);
        }
        plan.add_missing(missing);
        plan.part_files_from_folders();
        plan.part_redirects_from_files();
        // It has served.
        plan.folded = HashMap::new();
        plan
    }

    fn leave_out(&mut self, url: &str, why: Why, detail: impl Into<String>) {
        self.left_out.push(LeftOut {
            url: url.to_owned(),
            why,
            detail: detail.into(),
        });
    }

    fn add(&mut self, page: KeptPage) {
        let url = page.url.clone();
        if !page.may_be_stored {
            return self.leave_out(&url, Why::Excluded, "a rule keeps its path from being stored");
        }
        match (page.status.as_u16(), &page.location) {
            (200 | 203, _) => self.add_file(page),
            (301 | 302 | 303 | 307 | 308, Some(to)) => {
                if url.contains(['*', ' ']) || url.contains("/:") {
                    return self.leave_out(&url, Why::Name, "it has a meaning of its own in `_redirects`");
                }
                let redirect = Redirect {
                    from: url,
                    to: to.clone(),
                    // What hosts know; of a GET they mean the same.
                    status: if matches!(page.status.as_u16(), 301 | 308) {
                        301
                    } else {
                        302
                    },
                    page_host: page.host,
                };
                self.redirects.push(redirect);
            }
            // A server of files says so by itself.
            (404 | 410, _) => {}
            (status, _) => self.leave_out(&url, Why::Status, format!("its status is {status}")),
        }
    }

    fn add_file(&mut self, page: KeptPage) {
        let url = page.url.clone();
        if page.is_coded {
            return self.leave_out(
                &url,
                Why::Coded,
                "its bytes are coded, and a file does not say so",
            );
        }
        let place = match Place::of(&url) {
            Ok(place) => place,
            Err(why) => return self.leave_out(&url, Why::Name, format!("it {why}")),
        };
        let extension = place.extension();
        let is_html = is_html(&page);
        let has_own_name = matches!(extension.as_deref(), Some("html" | "htm" | "xhtml"));
        let (file, served_at) = if is_html && (place.is_folder || !has_own_name) {
            (place.index(), format!("{}/", url.trim_end_matches('/')))
        } else if place.is_folder {
            let detail = "a folder shows HTML only, and this is none";
            return self.leave_out(&url, Why::Name, detail);
        } else {
            (place.file(), url.clone())
        };
        self.insert(file, Entry { page, served_at });
    }

    /// Puts a page in its place; of two that want it, the one that is asked for as a folder stays, else the first.
    fn insert(&mut self, file: PathBuf, entry: Entry) {
        let url = entry.page.url.clone();
        if is_reserved(&file) {
            return self.leave_out(&url, Why::Name, "its name has a meaning of its own");
        }
        let folded = folded(&file);
        if let Some(other) = self.folded.get(&folded).filter(|other| **other != file) {
            let detail = format!("but for case it is the file {}", other.display());
            return self.leave_out(&url, Why::Clash, detail);
        }
        if let Some(known) = self.files.get(&file) {
            if seal(&known.page) == seal(&entry.page) {
                return;
            }
            let is_better = url.ends_with('/') && !known.page.url.ends_with('/');
            let (winner, loser) = match is_better {
                true => (url.clone(), known.page.url.clone()),
                false => (known.page.url.clone(), url),
            };
            let detail = format!("{winner} is another page in the same file, {}", file.display());
            self.leave_out(&loser, Why::Clash, detail);
            if !is_better {
                return;
            }
        }
        self.folded.insert(folded, file.clone());
        self.files.insert(file, entry);
    }

    fn add_missing(&mut self, mut missing: Vec<(String, KeptPage)>) {
        let rank = |url: &str| MISSING_PAGES.iter().position(|path| *path == url);
        missing.sort_by_key(|(url, _)| rank(url));
        let file = PathBuf::from(MISSING);
        if let Some((_, page)) = missing.into_iter().next()
            && !self.files.contains_key(&file)
        {
            let served_at = format!("/{MISSING}");
            self.insert(file, Entry { page, served_at });
        }
    }

    /// What would have to be a file and a folder is a folder: there are more pages in it.
    fn part_files_from_folders(&mut self) {
        let mut losers = Vec::new();
        for file in self.files.keys() {
            for folder in file
                .ancestors()
                .skip(1)
                .filter(|path| !path.as_os_str().is_empty())
            {
                if let Some(other) = self.folded.get(&folded(folder)) {
                    losers.push(other.clone());
                }
            }
        }
        for loser in losers {
            if let Some(entry) = self.files.remove(&loser) {
                let detail = format!("{} is a folder of other pages", loser.display());
                self.leave_out(&entry.page.url, Why::Clash, detail);
                self.folded.remove(&folded(&loser));
            }
        }
    }

    /// That a page is found with a slash and without is what servers of files see to themselves; said again, it would
    /// go round in circles.
    fn part_redirects_from_files(&mut self) {
        let redirects = std::mem::take(&mut self.redirects);
        for redirect in redirects {
            let bare = |url: &str| url.trim_end_matches('/').to_owned();
            let is_slash = bare(path_of(&redirect.to)) == bare(&redirect.from);
            match (self.resolve(&redirect.from), is_slash) {
                (None, _) => self.redirects.push(redirect),
                (Some(_), true) => {}
                (Some(file), false) => {
                    let detail = format!("{} is a page", file.display());
                    self.leave_out(&redirect.from, Why::Clash, detail);
                }
            }
        }
    }

    /// The file that a server shows for a path.
    pub(super) fn resolve(&self, path: &str) -> Option<&Path> {
        let place = Place::of(path).ok()?;
        let places = [
            Some(place.index()),
            (!place.is_folder && !place.is_root()).then(|| place.file()),
        ];
        let found = places
            .iter()
            .flatten()
            .find_map(|file| self.files.get_key_value(file));
        found.map(|(file, _)| file.as_path())
    }
}

/// The rendering for who sends nothing in particular.
fn base(mut renderings: Vec<KeptPage>) -> Option<KeptPage> {
    renderings.retain(|page| !page.has_fields);
    let place = match renderings.iter().position(|page| page.variant.id().is_none()) {
        Some(place) => place,
        None => {
            let variants: Vec<_> = renderings.iter().map(|page| page.variant.clone()).collect();
            nearest(&VariantKey::default(), &variants)?
        }
    };
    Some(renderings.swap_remove(place))
}

pub(super) fn is_html(page: &KeptPage) -> bool {
    store::is_html(&kind_of(page))
}

/// The content type without its parameters, in lower case.
pub(super) fn kind_of(page: &KeptPage) -> String {
    page.content_type().map_or(String::new(), store::media_type_of)
}

/// Whether servers would take the file for what it is.
pub(super) fn is_typed_by_name(page: &KeptPage, file: &Path) -> bool {
    let extension = file
        .extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let kind = kind_of(page);
    let value = page
        .content_type()
        .map_or(&b""[..], |value| value.as_bytes())
        .to_ascii_lowercase();
    let charset = memchr::memmem::find(&value, b"charset=");
    let is_utf8 = charset.is_none_or(|at| memchr::memmem::find(&value[at..], b"utf-8").is_some());
    let is_same =
        |known: &str| known == kind || (known == "text/javascript" && kind.ends_with("/javascript"));
    is_utf8
        && extension
            .and_then(|extension| type_of(&extension))
            .is_some_and(is_same)
}

fn is_reserved(file: &Path) -> bool {
    let first = file.components().next();
    let first = first.map(|name| name.as_os_str().to_ascii_lowercase());
    let reserved = [REDIRECTS, HEADERS, super::tree::OWN];
    first.is_some_and(|first| reserved.iter().any(|name| first == *name))
}

fn folded(file: &Path) -> String {
    file.to_string_lossy().to_lowercase()
}

fn seal(page: &KeptPage) -> Option<Seal> {
    page.body.as_ref().map(|(_, _, seal)| *seal)
}

fn path_of(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue, StatusCode, header};

    /// A page with a body of its own.
    fn page(url: &str, status: u16, kind: &'static str) -> KeptPage {
        KeptPage {
            url: url.to_owned(),
            host: None,
            has_fields: false,
            variant: VariantKey::default(),
            status: StatusCode::from_u16(status).unwrap(),
            head_fields: [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into(),
            is_coded: false,
            location: None,
            sidecar: PathBuf::new(),
            body: Some((url.into(), 1, Seal::of(url.as_bytes()))),
            may_be_stored: true,
        }
    }

    fn plan(pages: Vec<KeptPage>) -> Plan {
        let mut by_url: BTreeMap<String, Vec<KeptPage>> = BTreeMap::new();
        for page in pages {
            by_url.entry(page.url.clone()).or_default().push(page);
        }
        Plan::of(by_url)
    }

    type Pages<T> = Vec<(String, T)>;

    /// Files with their pages, and what is left out with the reason.
    fn shown(plan: &Plan) -> (Pages<String>, Pages<Why>) {
        let files = plan.files.iter();
        let files = files.map(|(file, entry)| (file.display().to_string(), entry.page.url.clone()));
        let left_out = plan.left_out.iter().map(|one| (one.url.clone(), one.why));
        (files.collect(), left_out.collect())
    }

    fn assert_plan(pages: Vec<KeptPage>, files: &[(&str, &str)], left_out: &[(&str, Why)]) {
        let (found, missing) = shown(&plan(pages));
        let own = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
        assert_eq!(found, files.iter().map(own).collect::<Vec<_>>());
        let own = |(url, why): &(&str, Why)| ((*url).to_owned(), *why);
        assert_eq!(missing, left_out.iter().map(own).collect::<Vec<_>>());
    }

    const HTML: &str = "text/html; charset=utf-8";

    #[test]
    fn pages_become_files_where_servers_look_for_them() {
        assert_plan(
            vec![
                page("/", 200, HTML),
                page("/blog/hello", 200, HTML),
                page("/blog/", 200, HTML),
                page("/a.html", 200, HTML),
                page("/v1.2", 200, HTML),
                page("/s.css", 200, "text/css"),
                page("/feed", 200, "application/rss+xml"),
                page("/%C3%BC", 200, HTML),
                page("/api/", 200, "application/json"),
                page("/x?y", 200, HTML),
                page("/a%2Fb", 200, HTML),
                page("/_headers", 200, "text/plain"),
                page("/gone", 410, HTML),
                page("/error", 500, HTML),
            ],
            &[
                ("a.html", "/a.html"),
                ("blog/hello/index.html", "/blog/hello"),
                ("blog/index.html", "/blog/"),
                ("feed", "/feed"),
                ("index.html", "/"),
                ("s.css", "/s.css"),
                ("v1.2/index.html", "/v1.2"),
                ("ü/index.html", "/%C3%BC"),
            ],
            &[
                ("/_headers", Why::Name),
                ("/a%2Fb", Why::Name),
                ("/api/", Why::Name),
                ("/error", Why::Status),
                ("/x?y", Why::Query),
            ],
        );
    }

    #[test]
    fn of_two_pages_in_one_place_one_stays_and_the_other_is_named() {
        assert_plan(
            vec![
                page("/a", 200, HTML),
                page("/a/", 200, HTML),
                page("/A/", 200, HTML),
                page("/index.html", 200, HTML),
                page("/", 200, HTML),
                page("/data", 200, "text/plain"),
                page("/data/x", 200, "text/plain"),
                page("/img", 200, "image/png"),
                page("/IMG/x.png", 200, "image/png"),
            ],
            &[
                ("A/index.html", "/A/"),
                ("IMG/x.png", "/IMG/x.png"),
                ("data/x", "/data/x"),
                ("index.html", "/"),
            ],
            &[
                ("/a", Why::Clash),
                ("/a/", Why::Clash),
                ("/index.html", Why::Clash),
                ("/img", Why::Clash),
                ("/data", Why::Clash),
            ],
        );
        let mut same = page("/b/", 200, HTML);
        same.body = page("/b", 200, HTML).body;
        assert_plan(vec![page("/b", 200, HTML), same], &[("b/index.html", "/b")], &[]);
    }

    #[test]
    fn the_page_for_what_is_missing_is_404_html() {
        assert_plan(vec![page("/404", 404, HTML)], &[("404.html", "/404")], &[]);
        assert_plan(
            vec![page("/404.html", 200, HTML), page("/404", 404, HTML)],
            &[("404.html", "/404.html")],
            &[],
        );
        assert_plan(
            vec![page("/404/", 200, HTML)],
            &[("404/index.html", "/404/"), ("404.html", "/404/")],
            &[],
        );
    }

    #[test]
    fn of_several_renderings_the_one_for_nobody_in_particular_is_taken() {
        let variant = |url: &str, field: &'static str| {
            let mut page = page(url, 200, HTML);
            page.variant = VariantKey(vec![(HeaderName::from_static(field), Some("x".into()))]);
            page
        };
        let keyed = KeptPage {
            has_fields: true,
            ..page("/a", 200, HTML)
        };
        let plan = plan(vec![
            variant("/a", "accept-language"),
            page("/a", 200, HTML),
            keyed,
            variant("/b", "accept-language"),
            variant("/c", "rsc"),
        ]);
        let (files, left_out) = shown(&plan);
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(left_out, [("/c".to_owned(), Why::Variant)]);
        assert_eq!(plan.several, ["/a"]);
    }

    #[test]
    fn redirects_are_kept_but_for_those_that_servers_make_themselves() {
        let moved = |url: &str, status, to: &'static str| {
            let mut page = page(url, status, HTML);
            page.location = Some(to.to_owned());
            page.body = None;
            page
        };
        let plan = plan(vec![
            page("/a/", 200, HTML),
            moved("/a", 308, "/a/"),
            moved("/b", 301, "/a/"),
            moved("/c", 307, "https://other.test/"),
            moved("/d*", 301, "/a/"),
            page("/e", 200, HTML),
            moved("/e/", 302, "/b"),
        ]);
        let redirects = &plan.redirects;
        let shown: Vec<_> = redirects
            .iter()
            .map(|one| (one.from.as_str(), one.to.as_str(), one.status))
            .collect();
        assert_eq!(shown, [("/b", "/a/", 301), ("/c", "https://other.test/", 302)]);
        let left_out: Vec<_> = plan
            .left_out
            .iter()
            .map(|one| (one.url.as_str(), one.why))
            .collect();
        assert_eq!(left_out, [("/d*", Why::Name), ("/e/", Why::Clash)]);
    }
}
