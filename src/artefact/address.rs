//! What a URL on a command line means: `/path`, a full URL, or a key.

use axum::body::Body;
use http::header::HOST;
use http::{HeaderMap, Request, Uri};

use crate::config::check::SiteRules;
use crate::error::{Error, ErrorKind};
use crate::headers::normal_host;
use crate::key::{HostInKey, Key, KeySource};
use crate::pattern::{KeyPattern, Subject};
use crate::policy::request::HostStanding;
use crate::proxy::Target;
use crate::snapshot::{Entry, Found, Listed, folder_of, slug_of};

use super::Artefact;

/// See the module.
pub(super) struct Address {
    text: String,
    /// Line 1 of its keys.
    line: KeyPattern,
    /// Whose, where that was said and is part of the key.
    host: Option<(String, String)>,
    /// The key, where the address leaves none open.
    pub(super) exact: Option<Key>,
}

impl Artefact {
    /// # Errors
    /// What is no address, or not this site's.
    pub(super) fn address(&self, text: &str) -> Result<Address, Error> {
        match method_and_url(text) {
            Some((method, url)) => self.address_of(method, url, text),
            None if text.is_empty() => Err(wrong(text)),
            // What a key function returned.
            None => Ok(Address {
                text: text.to_owned(),
                line: KeyPattern::line_itself(text),
                host: None,
                exact: None,
            }),
        }
    }

    fn address_of(&self, method: &str, url: &str, text: &str) -> Result<Address, Error> {
        let site = &self.rules.general().site;
        let method = if method == "HEAD" { "GET" } else { method };
        let request = request_for(site, (method, url), text)?;
        let uri = request.uri().clone();
        // Where the host is part of the key and was not said, any may be meant.
        let is_open = uri.authority().is_none() && site.public.is_none();
        let target = Target::of(&request, site).map_err(|_| wrong(text))?;
        if target.standing == HostStanding::Foreign {
            let context = format!("`{text}` is not of this site, which is {}", target.site_host);
            return Err(Error::new(ErrorKind::Config, context)
                .with_hint("write the path only, or set `aliases` or `public_url`"));
        }
        let rules = &self.rules.of(method, target.path()).key;
        let is_fixed = rules.host == HostInKey::Fixed;
        let (scheme, host) = match uri.scheme_str() {
            Some(scheme) if !is_fixed => (scheme, normal_host(&target.own_host, scheme)),
            _ => (target.site_scheme, target.site_host.to_string()),
        };
        let query = rules.keep_query(target.query());
        let fields = HeaderMap::new();
        let source = KeySource {
            scheme,
            host: &host,
            ..target.source(method, &query, &fields)
        };
        let line = rules.line(&source).ok_or_else(|| wrong(text))?;
        let is_whole = !is_open && rules.headers.is_empty() && rules.cookies.is_empty() && method == "GET";
        Ok(Address {
            text: text.to_owned(),
            line: KeyPattern::line_itself(&line),
            host: (!is_open && !is_fixed).then(|| (scheme.to_owned(), host.clone())),
            exact: rules.key(&source).filter(|_| is_whole),
        })
    }

    /// The renderings that are stored under an address, in the order of their files.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(&self, address: &Address, each: &mut dyn FnMut(Found, &Listed)) -> Result<(), Error> {
        let slug = slug_of(address.line.as_str());
        // What a key function returned stands under another name than its URL's.
        if self.find_by(address, &|entry| entry.is_of_slug(&slug), each) == 0
            && (address.exact.is_some() || self.find_by(address, &|_| true, each) == 0)
        {
            return Err(self.absent(address));
        }
        Ok(())
    }

    /// How many there are among the files that may be theirs.
    fn find_by(
        &self,
        address: &Address,
        may_be: &dyn Fn(&Entry) -> bool,
        each: &mut dyn FnMut(Found, &Listed),
    ) -> usize {
        let mut bytes = Vec::new();
        let mut count = 0;
        let mut look = |listed: &Listed| {
            let sidecars = listed.entries().iter().filter(|entry| entry.is_sidecar());
            for entry in sidecars.filter(|entry| may_be(entry)) {
                let found = self.survey.read(listed, &entry.name, &mut bytes).ok();
                if let Some(found) = found.filter(|found| address.is_of(found)) {
                    count += 1;
                    each(found, listed);
                }
            }
        };
        match &address.exact {
            Some(key) => {
                if let Ok(listed) = self.survey.list(folder_of(key)) {
                    look(&listed);
                }
            }
            None => self.survey.each_folder(&mut |listed| {
                if let Ok(listed) = listed {
                    look(listed);
                }
            }),
        }
        count
    }

    pub(super) fn absent(&self, address: &Address) -> Error {
        let dir = self.directory().display();
        let context = format!("nothing is stored under `{}` in {dir}", address.text);
        Error::new(ErrorKind::Absent, context).with_hint("`phantom-frame ls` lists what is")
    }
}

impl Address {
    fn is_of(&self, found: &Found) -> bool {
        let is_of_host = self.host.as_ref().is_none_or(|(scheme, host)| {
            found.key.part("host") == Some(host) && found.key.part("scheme") == Some(scheme)
        });
        let is_match = |subject: Subject<'_>| self.line.is_match(subject);
        match &self.exact {
            Some(key) => found.key == *key,
            None => is_of_host && found.is_of(is_match),
        }
    }
}

/// The method, or GET, and the URL or path of what is written as an address; nothing of what is none, though it may be
/// what a key function returned.
pub(super) fn method_and_url(text: &str) -> Option<(&str, &str)> {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    if is_url || text.starts_with('/') {
        return Some(("GET", text));
    }
    let (method, path) = text.split_once([':', ' '])?;
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    (is_method && path.trim_start().starts_with('/')).then(|| (method, path.trim_start()))
}

/// A request for an address, which was written as `text`: of the site where no host was said.
///
/// # Errors
/// What is no address.
pub(super) fn request_for(
    site: &SiteRules,
    (method, url): (&str, &str),
    text: &str,
) -> Result<Request<Body>, Error> {
    let url = url.split('#').next().unwrap_or(url);
    let uri: Uri = url.parse().map_err(|_| wrong(text))?;
    let said = uri.authority().map(|authority| authority.as_str());
    let public = || site.public.as_ref().map(|(_, host)| &**host);
    let host = said.or_else(public).unwrap_or("localhost").to_owned();
    let request = Request::builder().method(method).uri(uri).header(HOST, host);
    request.body(Body::empty()).map_err(|_| wrong(text))
}

pub(super) fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{text}` is not an address"))
        .with_hint("write \"/path\", \"https://example.com/path\" or a key: \"GET:/path?query\"")
}
