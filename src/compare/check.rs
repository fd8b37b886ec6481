//! A look at a site that nothing is known of: what of it could be stored, why the rest could not, and how to begin.

mod found;

use std::sync::Arc;
use std::time::Duration;

use http::header;

use crate::config::CreateProxyConfig;
use crate::error::Error;
use crate::headers::list_values;
use crate::link::{Reference, cleaned};
use crate::outcome::Reason;
use crate::policy::markup::Scanner;
use crate::policy::store::{cookie_name, is_html, media_type};
use crate::prerender::{Heard, Link, Links, Paced, Site};
use crate::proxy::{Address, Decided, Proxy, Rendition, Sight};

use super::again::heard;
use super::lines::MOST_READ;
use super::noise::{Noise, between, failure, renditions};
use super::paced::{Jobs, Told, in_turn};
use super::{Event, Options};
use found::Found;

/// Addresses of one page that are followed, at most.
const MOST_LINKS: usize = 500;
/// Addresses of the backend's own host that are named of one page.
const MOST_NAMED: usize = 5;

/// What became of a page that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It would be stored.
    Stored,
    /// 404 or 410.
    Missing,
    /// It would not, and why.
    NotStored(Reason),
    /// No answer, or a server error.
    Failed(Reason),
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Missing => "missing",
            Self::NotStored(_) => "not-stored",
            Self::Failed(_) => "failed",
        }
    }

    /// Why.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::NotStored(reason) | Self::Failed(reason) => Some(reason),
            Self::Stored | Self::Missing => None,
        }
    }
}

/// A page of the site.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CheckedPage {
    /// As a person writes it.
    pub page: String,
    /// The page that leads to it; none for the first.
    pub found_on: Option<String>,
    /// What would become of it.
    pub verdict: Verdict,
    /// The answer's, where there was one.
    pub status: Option<u16>,
    /// Its type, without parameters.
    pub kind: String,
    /// Bytes of the body.
    pub bytes: u64,
    /// How long the backend took.
    pub took: Duration,
    /// Fields by which renderings of it would be told apart.
    pub varies_by: Vec<String>,
    /// Names of the cookies that it sets.
    pub cookies: Vec<String>,
    /// It comes from a cache (`Age`).
    pub is_cached: bool,
    /// A nonce or a CSRF field, in whatever else it would be refused for.
    pub marked: Option<Reason>,
    /// Addresses in it that name the backend's own host.
    pub own_host: Vec<String>,
    /// What differs from one rendering to the next, and would be stored.
    pub noises: Vec<Noise>,
}

impl CheckedPage {
    /// Whether it is a page that people read.
    pub fn is_html(&self) -> bool {
        is_html(&self.kind)
    }
}

/// What a look came to, beside its pages.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CheckSummary {
    /// Scheme and authority of the backend.
    pub backend: String,
    /// The address of visitors, where one was given.
    pub public: Option<String>,
    /// Addresses that were found and not looked at.
    pub left_out: u64,
}

/// The backend of a URL: `http://localhost:3000` of `http://localhost:3000/blog`.
///
/// # Errors
/// What is no URL of a site.
pub fn backend_of(url: &str) -> Result<String, Error> {
    let wrong = || {
        Error::config("prerender", format!("`{url}` is no URL of a site"))
            .with_hint("write it with its scheme: http://localhost:3000")
    };
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let scheme = uri
        .scheme_str()
        .filter(|scheme| matches!(*scheme, "http" | "https"));
    match (scheme, uri.authority()) {
        (Some(scheme), Some(authority)) if !authority.as_str().contains('@') => {
            Ok(format!("{scheme}://{authority}"))
        }
        _ => Err(wrong()),
    }
}

#[derive(Debug, Clone)]
struct Stop {
    address: Address,
    found_on: Option<Arc<str>>,
}

/// Looks at the pages that a URL leads to, so many at most, without a directory. `config` has that URL's
/// [`backend`](backend_of).
///
/// # Errors
/// A setting that cannot work, or a URL that is none of the site's.
pub async fn check(
    config: &CreateProxyConfig,
    url: &str,
    (options, limit, pause): (&Options, usize, Duration),
    mut observe: impl FnMut(Event<'_, CheckedPage>),
) -> Result<CheckSummary, Error> {
    let proxy = Proxy::onlooker(config, None)?;
    let site = Arc::new(Site::of(&proxy));
    let backend = backend_of(url)?;
    let public = proxy.site().0.public.clone();
    let mut summary = CheckSummary {
        public: public.map(|(scheme, host)| format!("{scheme}://{host}")),
        backend: backend.clone(),
        left_out: 0,
    };
    let first = Stop {
        address: site.asked(url)?,
        found_on: None,
    };
    let mut found = Found::new(first.address.clone(), limit.max(1));
    let ask = |stop: Stop| look(&proxy, Arc::clone(&site), (stop, backend.clone()), pause);
    let mut done = 0;
    in_turn(
        &Paced::new(&options.pace()),
        Jobs::of([first]),
        ask,
        |told, jobs| {
            let page = match told {
                Told::Waiting(wait) => return observe(Event::Waiting(wait)),
                Told::Done(_, (page, links)) => {
                    found.take(&page, links);
                    page
                }
                Told::LeftOut(stop) => CheckedPage::nothing(&site, &stop, Verdict::Failed(Reason::Busy)),
            };
            done += 1;
            // As many as there are seats for, so that pages which are found later still come before assets.
            while jobs.known() < found.limit {
                let next = match jobs.known() > done {
                    true => found.next_page(),
                    false => found.next(),
                };
                let Some(next) = next else { break };
                jobs.add(next);
            }
            observe(Event::Done(&page, done, jobs.known()));
        },
    )
    .await;
    summary.left_out = found.left();
    Ok(summary)
}

async fn look(
    proxy: &Proxy,
    site: Arc<Site>,
    (stop, backend): (Stop, String),
    pause: Duration,
) -> ((CheckedPage, Vec<Address>), Heard) {
    let sight = Sight {
        limit: MOST_READ,
        ..Sight::default()
    };
    let (first, second) = renditions(proxy, &stop.address, sight, pause).await;
    let heard = heard(second.as_ref().unwrap_or(&first));
    let nothing = CheckedPage::nothing(&site, &stop, Verdict::Failed(Reason::Panic));
    let read = tokio::task::spawn_blocking(move || {
        let mut page = CheckedPage::nothing(&site, &stop, verdict(&first));
        page.fill_in(&first);
        if let Some(reason) = second.as_ref().and_then(failure) {
            page.verdict = Verdict::Failed(reason);
        }
        if let Some(second) = &second {
            page.noises = between(&first, second);
            page.noises.retain(|noise| !noise.is_left_out);
        }
        let links = page.follow(&site, &stop, (&first, &backend));
        (page, links)
    });
    (read.await.unwrap_or((nothing, Vec::new())), heard)
}

fn verdict(rendition: &Rendition) -> Verdict {
    match (failure(rendition), rendition.decided) {
        (Some(reason), _) | (None, Decided::Failed(reason)) => Verdict::Failed(reason),
        (None, Decided::Snapshot) => Verdict::Stored,
        (None, Decided::Missing) => Verdict::Missing,
        (None, Decided::Not(reason)) => Verdict::NotStored(reason),
    }
}

impl CheckedPage {
    fn nothing(site: &Site, stop: &Stop, verdict: Verdict) -> Self {
        Self {
            page: site.shown(&stop.address),
            found_on: stop.found_on.as_deref().map(str::to_owned),
            verdict,
            status: None,
            kind: String::new(),
            bytes: 0,
            took: Duration::ZERO,
            varies_by: Vec::new(),
            cookies: Vec::new(),
            is_cached: false,
            marked: None,
            own_host: Vec::new(),
            noises: Vec::new(),
        }
    }

    fn fill_in(&mut self, rendition: &Rendition) {
        let headers = &rendition.headers;
        self.status = rendition.status.map(|status| status.as_u16());
        self.kind = media_type(headers);
        (self.bytes, self.took) = (rendition.length, rendition.took);
        self.varies_by = match rendition.decided {
            Decided::Snapshot => rendition.varies_by.iter().map(ToString::to_string).collect(),
            _ => list_values(headers, &header::VARY)
                .map(str::to_ascii_lowercase)
                .collect(),
        };
        let cookies = headers.get_all(header::SET_COOKIE).iter();
        self.cookies = cookies
            .map(|line| String::from_utf8_lossy(cookie_name(line.as_bytes())).into_owned())
            .collect();
        self.is_cached = headers.contains_key(header::AGE);
        let scanner = Scanner::for_response(headers);
        let body = rendition.body.as_deref().unwrap_or_default();
        self.marked = scanner.and_then(|mut scanner| scanner.read(body));
        if let Decided::Not(reason @ (Reason::Nonce | Reason::CsrfField)) = rendition.decided {
            self.marked = Some(reason);
        }
    }

    /// Where it leads within the site.
    fn follow(&mut self, site: &Site, stop: &Stop, (rendition, backend): (&Rendition, &str)) -> Vec<Address> {
        let mut links = Vec::new();
        let location = rendition.headers.get(header::LOCATION);
        links.extend(
            location
                .and_then(|location| location.to_str().ok())
                .map(str::to_owned),
        );
        let mut base = stop.address.clone();
        if self.is_html()
            && let Some(body) = &rendition.body
        {
            let found = Links::in_html(body, MOST_LINKS);
            if let Some(Link::Own(address)) = found.base.and_then(|base| site.follow(&stop.address, &base)) {
                base = address;
            }
            links.extend(found.found);
        }
        let is_of_backend = |link: &&String| names_host(link, backend);
        self.own_host = links
            .iter()
            .filter(is_of_backend)
            .take(MOST_NAMED)
            .cloned()
            .collect();
        let own = |link: &String| match site.follow(&base, link) {
            Some(Link::Own(address)) => Some(address),
            _ => None,
        };
        links.iter().filter_map(own).collect()
    }
}

/// Whether an absolute address is of the backend's own host.
fn names_host(link: &str, backend: &str) -> bool {
    let Some(backend) = Reference::of(backend).absolute() else {
        return false;
    };
    let own = backend.scheme.unwrap_or("http");
    let link = cleaned(link);
    let link = Reference::of(&link).absolute();
    link.is_some_and(|link| link.host(own) == backend.host(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_scheme_and_authority_of_a_url() {
        for (url, expected) in [
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("https://example.com/blog?x", Some("https://example.com")),
            ("localhost:3000", None),
            ("/blog", None),
            ("ftp://example.com/", None),
            ("http://user@example.com/", None),
        ] {
            assert_eq!(backend_of(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn addresses_of_the_backend_are_told_from_others() {
        let backend = "http://localhost:80";
        for (link, expected) in [
            ("http://localhost/a", true),
            ("http://LOCALHOST:80/a", true),
            ("https://localhost/a", true),
            ("//localhost/a", true),
            ("http://localhost/ü", true),
            ("http://localhost:81/a", false),
            ("/a", false),
            ("http://example.com/localhost", false),
        ] {
            assert_eq!(names_host(link, backend), expected, "{link}");
        }
    }
}
