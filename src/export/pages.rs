//! Where the links of a page lead, and how they are written in the export.

use std::borrow::Cow;
use std::collections::HashSet;

use http::uri::PathAndQuery;
use memchr::memmem;

use super::plan::{Plan, Redirect, is_html, kind_of};
use super::{Exported, Options};
use crate::artefact::{Artefact, KeptPage};
use crate::headers::normal_host;
use crate::link::{Reference, cleaned};
use crate::prerender::{Link, Links, MOST_READ, Site, Standing, in_css, relinked};
use crate::proxy::Address;

/// Links of one page that are looked at.
const MOST_LINKS: usize = 100_000;

/// See the module.
pub(super) struct Linker<'a> {
    plan: &'a Plan,
    site: Site,
    public: Option<(&'static str, String)>,
    /// Hosts of the site, in their normal form.
    own: HashSet<String>,
    /// The backend's, where it is no address of the site.
    backend: Option<String>,
    moved: HashSet<String>,
    rewrites: bool,
}

impl<'a> Linker<'a> {
    pub(super) fn new(artefact: &Artefact, plan: &'a Plan, options: &Options) -> Self {
        let (rules, backend) = artefact.site_rules();
        let public = rules.public.as_ref().map(|(scheme, host)| {
            let scheme = if scheme == "https" { "https" } else { "http" };
            (scheme, host.to_string())
        });
        let mut own: HashSet<String> = rules.aliases.iter().cloned().collect();
        own.extend(public.as_ref().map(|(_, host)| host.clone()));
        let hosts = plan.files.values().filter_map(|entry| entry.page.host.as_ref());
        own.extend(hosts.map(|(scheme, host)| normal_host(host, scheme)));
        let backend = Reference::of(backend)
            .absolute()
            .map(|backend| backend.host("http"));
        Self {
            plan,
            site: Site::new(rules, artefact.site_rules().1),
            public,
            backend: backend.filter(|host| !own.contains(host)),
            own,
            moved: plan
                .redirects
                .iter()
                .map(|one| bare(&one.from).to_owned())
                .collect(),
            rewrites: options.rewrites_links,
        }
    }

    /// The bytes of a page for the export; says which links lead nowhere, and which to the backend.
    pub(super) fn look_through(&self, page: &KeptPage, bytes: Vec<u8>, exported: &mut Exported) -> Vec<u8> {
        let is_css = kind_of(page) == "text/css";
        let is_text = is_html(page) || is_css;
        if !is_text || bytes.len() > MOST_READ {
            return self.told(page, bytes, exported);
        }
        let links = match is_css {
            true => Links::in_css(&bytes, MOST_LINKS),
            false => Links::in_html(&bytes, MOST_LINKS),
        };
        self.judge(page, &links, exported);
        let change = |link: &str, standing: Standing| self.rooted(link, standing);
        let is_affected = || links.found.iter().any(|link| self.is_absolute(link));
        let is_at_home = || !self.leads_away(page, &links);
        let new = match (self.rewrites && is_affected() && is_at_home(), is_css) {
            (false, _) => None,
            (true, true) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|sheet| in_css(sheet, &change))
                .map(String::into_bytes),
            (true, false) => relinked(&bytes, &change),
        };
        self.told(page, new.unwrap_or(bytes), exported)
    }

    /// Whether all that is relative leads to another site.
    fn leads_away(&self, page: &KeptPage, links: &Links) -> bool {
        let here = self.address_of(&page.url, page.host.as_ref());
        let base = links.base.as_deref().zip(here);
        base.is_some_and(|(base, here)| {
            self.site.follow(&here, base) == Some(Link::Foreign) && !self.is_absolute(base)
        })
    }

    fn judge(&self, page: &KeptPage, links: &Links, exported: &mut Exported) {
        let Some(here) = self.address_of(&page.url, page.host.as_ref()) else {
            return;
        };
        let base = links
            .base
            .as_deref()
            .and_then(|base| self.site.follow(&here, base));
        let base = match base {
            Some(Link::Own(base)) => Some(base),
            None => Some(here.clone()),
            Some(Link::Foreign) => None,
        };
        for link in &links.found {
            let base = match &base {
                Some(base) => base,
                None if Reference::of(link).absolute().is_some() => &here,
                // All that is relative is another site's.
                None => continue,
            };
            let leads_nowhere = match self.site.follow(base, link) {
                Some(Link::Own(address)) => !self.is_there(address.target.path()),
                // Without a public address, the backend's is another site's.
                Some(Link::Foreign) => self.is_backends(link) && !self.is_there(&path_in(link)),
                None => false,
            };
            if leads_nowhere {
                exported.dead.add(&page.url, link);
            }
        }
    }

    /// Says which redirects lead nowhere.
    pub(super) fn judge_redirects(&self, exported: &mut Exported) {
        for redirect in &self.plan.redirects {
            let to = self.target(redirect);
            let is_here = match Reference::of(&cleaned(&to)) {
                Reference::Absolute(to) => {
                    let host = to.host("https");
                    self.own.contains(&host) || self.backend.as_ref() == Some(&host)
                }
                Reference::Relative { .. } => true,
                Reference::Other => false,
            };
            if self.is_backends(&to) {
                exported.origin.add(&redirect.from, &to);
            }
            if is_here && !self.is_there(&path_in(&to)) {
                exported.dead.add(&redirect.from, &to);
            }
        }
    }

    /// Whether a server of files has something for the path.
    fn is_there(&self, path: &str) -> bool {
        self.plan.resolve(path).is_some() || self.moved.contains(bare(path))
    }

    /// Says where the backend's address stands in what is exported.
    fn told(&self, page: &KeptPage, bytes: Vec<u8>, exported: &mut Exported) -> Vec<u8> {
        let kind = kind_of(page);
        let is_text = kind.starts_with("text/")
            || ["javascript", "json", "xml"]
                .iter()
                .any(|end| kind.ends_with(end));
        if let (Some(backend), true) = (&self.backend, is_text) {
            let mut found: Vec<String> = memmem::find_iter(&bytes, &format!("//{backend}"))
                .map(|at| address_at(&bytes, at))
                .collect();
            found.sort();
            found.dedup();
            for link in &found {
                exported.origin.add(&page.url, link);
            }
        }
        bytes
    }

    fn address_of(&self, url: &str, host: Option<&(&'static str, String)>) -> Option<Address> {
        let (scheme, host) = match (&self.public, host) {
            (Some((scheme, host)), _) => (*scheme, host.as_str()),
            (None, Some((scheme, host))) => (*scheme, host.as_str()),
            (None, None) => ("http", "localhost"),
        };
        Some(Address {
            scheme,
            host: host.into(),
            target: PathAndQuery::try_from(url).ok()?,
        })
    }

    fn is_absolute(&self, link: &str) -> bool {
        self.rooted(link, Standing::Link).is_some()
    }

    fn is_backends(&self, link: &str) -> bool {
        let link = cleaned(link);
        let host = Reference::of(&link).absolute().map(|link| link.host("http"));
        host.is_some() && host == self.backend
    }

    /// A link to the site by its own address, or the backend's, as one from the root. What a page is called elsewhere
    /// stays what it is, unless that is the backend's.
    pub(super) fn rooted(&self, link: &str, standing: Standing) -> Option<String> {
        let link = cleaned(link);
        let link = Reference::of(&link).absolute()?;
        let host = link.host("https");
        let is_backend = self.backend.as_ref() == Some(&host);
        let is_own = self.own.contains(&host) && standing == Standing::Link;
        if !is_backend && !is_own {
            return None;
        }
        let rooted = link.rooted();
        // That would name a host.
        let is_another = rooted.get(1..).is_some_and(|rest| rest.starts_with(['/', '\\']));
        (!is_another).then(|| rooted.into_owned())
    }

    /// Where a redirect leads, as `_redirects` says it, where a space ends it.
    pub(super) fn target(&self, redirect: &Redirect) -> String {
        cleaned(&self.leads_to(redirect)).replace(' ', "%20")
    }

    fn leads_to(&self, redirect: &Redirect) -> String {
        let to = &*redirect.to;
        if self.rewrites
            && let Some(rooted) = self.rooted(to, Standing::Link)
        {
            return rooted;
        }
        if !matches!(Reference::of(&cleaned(to)), Reference::Relative { .. }) {
            return to.to_owned();
        }
        let here = self.address_of(&redirect.from, redirect.page_host.as_ref());
        match here.and_then(|here| self.site.follow(&here, to)) {
            Some(Link::Own(address)) => address.target.to_string(),
            _ => to.to_owned(),
        }
    }
}

fn path_in(link: &str) -> String {
    let link = cleaned(link);
    let rest = match Reference::of(&link) {
        Reference::Absolute(link) => link.rooted(),
        Reference::Relative { rest, .. } => rest.into(),
        Reference::Other => Cow::Borrowed(&*link),
    };
    let path = rest.split(['?', '#']).next().unwrap_or("");
    if path.is_empty() { "/" } else { path }.to_owned()
}

/// The address that is written around a place, for who reads a report.
fn address_at(bytes: &[u8], at: usize) -> String {
    const LONGEST: usize = 120;
    let is_end =
        |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'(' | b')' | b'\\') || *byte <= b' ';
    let before = bytes.get(at.saturating_sub(6)..at).unwrap_or_default();
    let scheme = [&b"https:"[..], b"http:"]
        .into_iter()
        .find(|scheme| before.ends_with(scheme));
    let begin = at - scheme.map_or(0, <[u8]>::len);
    let rest = bytes.get(begin..).unwrap_or_default();
    let end = rest
        .iter()
        .take(LONGEST)
        .position(is_end)
        .unwrap_or(rest.len().min(LONGEST));
    String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned()
}

fn bare(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_text_is_read_to_its_end() {
        let text = b"var a = \"http://back.test/a?b\"; // see //back.test";
        assert_eq!(address_at(text, 14), "http://back.test/a?b");
        assert_eq!(address_at(text, text.len() - 11), "//back.test");
    }
}
