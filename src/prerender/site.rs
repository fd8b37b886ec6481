//! Addresses: what is asked for, and where a link leads, as a browser would have it (WHATWG URL), as far as that
//! can be within a site.

use std::collections::HashSet;

use http::uri::PathAndQuery;

use crate::config::check::SiteRules;
use crate::error::Error;
use crate::headers::normal_host;
use crate::link::{Absolute, Reference, cleaned};
use crate::proxy::{Address, Proxy};

/// Which addresses are of the site.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Scheme and host of `public_url`.
    public: Option<(&'static str, Box<str>)>,
    /// Other names of the same.
    names: HashSet<String>,
}

impl Site {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let (rules, backend) = proxy.site();
        Self::new(rules, &backend)
    }

    /// `backend` is an address of the site too, where a `public_url` says what its own is.
    pub(crate) fn new(rules: &SiteRules, backend: &str) -> Self {
        let mut names: HashSet<String> = rules.aliases.iter().cloned().collect();
        names.extend(
            Reference::of(backend)
                .absolute()
                .map(|backend| backend.host("http")),
        );
        let public = rules.public.as_ref();
        let public = public.map(|(scheme, host)| (known_scheme(scheme), Box::<str>::from(&**host)));
        if let Some((_, host)) = &public {
            names.insert(host.to_string());
        }
        Self { public, names }
    }

    /// The address at `/`, if there is only one.
    pub(crate) fn home(&self) -> Option<Address> {
        let (scheme, host) = self.public.clone()?;
        Some(Address {
            scheme,
            host,
            target: PathAndQuery::from_static("/"),
        })
    }

    /// What a person asks for by a path, a URL or a key.
    ///
    /// # Errors
    /// It is none of these, or of another site.
    pub(crate) fn asked(&self, text: &str) -> Result<Address, Error> {
        let path = match text.split_once([':', ' ']) {
            Some(("GET" | "HEAD", path)) if path.starts_with('/') => path,
            _ => text,
        };
        let absolute = Reference::of(path).absolute();
        if let Some((scheme, url)) = absolute.and_then(|url| Some((url.scheme?, url))) {
            let own = target(&url.rooted()).and_then(|target| self.own(scheme, url.host(scheme), target));
            return own.ok_or_else(|| {
                let own = self
                    .public
                    .as_ref()
                    .map(|(scheme, host)| format!("{scheme}://{host}"));
                unclear(text, "is no URL of this site").with_hint(match own {
                    Some(own) => {
                        format!("the site is {own} (`public_url`); other names of it go into `aliases`")
                    }
                    None => "a URL is `http://host/path`".into(),
                })
            });
        }
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(unclear(text, "is no page").with_hint(
                "give a path (`/blog/hello`), a URL (`https://example.com/blog/hello`) or a key (`GET:/blog/hello`); \
                 only GET is rendered",
            ));
        }
        let Some((scheme, host)) = self.public.clone() else {
            return Err(unclear(text, "is a path, and nothing says of which host").with_hint(
                "set `public_url` (or `--public-url https://example.com`), or give the whole URL: without it each \
                 host has pages of its own",
            ));
        };
        let target = target(path).ok_or_else(|| unclear(text, "cannot be asked for: it is no path"))?;
        Ok(Address { scheme, host, target })
    }

    /// Where a link on a page leads; nothing if that is no page.
    pub(crate) fn follow(&self, from: &Address, link: &str) -> Option<Link> {
        let link = cleaned(link);
        let rest = match Reference::of(link.split('#').next().unwrap_or("")) {
            Reference::Absolute(link) => return self.absolute(from, link),
            Reference::Relative { scheme, rest } if scheme.is_none_or(|scheme| scheme == from.scheme) => rest,
            Reference::Relative { .. } | Reference::Other => return None,
        };
        let target = match rest.as_bytes().first() {
            None => from.target.clone(),
            Some(b'/' | b'\\') => target(rest)?,
            Some(b'?') => target(&format!("{}{rest}", from.target.path()))?,
            Some(_) => {
                let path = from.target.path();
                let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
                target(&format!("{folder}{rest}"))?
            }
        };
        Some(Link::Own(Address {
            target,
            ..from.clone()
        }))
    }

    fn absolute(&self, from: &Address, link: Absolute<'_>) -> Option<Link> {
        let target = target(&link.rooted())?;
        let (scheme, host) = (link.scheme.unwrap_or(from.scheme), link.host(from.scheme));
        let own = match self.public {
            Some(_) => self.own(scheme, host, target),
            None => (host == normal_host(&from.host, from.scheme)).then(|| Address {
                target,
                ..from.clone()
            }),
        };
        Some(own.map_or(Link::Foreign, Link::Own))
    }

    fn own(&self, scheme: &'static str, host: String, target: PathAndQuery) -> Option<Address> {
        match self.public.clone() {
            Some((scheme, public)) => self.names.contains(&host).then_some(Address {
                scheme,
                host: public,
                target,
            }),
            None => Some(Address {
                scheme,
                host: host.into(),
                target,
            }),
        }
    }

    /// As a person writes it.
    pub(crate) fn shown(&self, address: &Address) -> String {
        match &self.public {
            Some(_) => address.target.to_string(),
            None => format!("{}://{}{}", address.scheme, address.host, address.target),
        }
    }
}

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Own(Address),
    /// To another site.
    Foreign,
}

fn unclear(text: &str, why: &str) -> Error {
    Error::config("prerender", format!("`{text}` {why}"))
}

fn known_scheme(scheme: &str) -> &'static str {
    match scheme.eq_ignore_ascii_case("https") {
        true => "https",
        false => "http",
    }
}

/// Path and query as a browser sends them: without `.` and `..`, and with what is no character of a URL encoded.
fn target(text: &str) -> Option<PathAndQuery> {
    let text = text.split('#').next().unwrap_or("");
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut out = without_dots(&encoded(&path.replace('\\', "/"), b"\"<>`{}"));
    if let Some(query) = query {
        out.push('?');
        out.push_str(&encoded(query, b"\"<>'"));
    }
    PathAndQuery::try_from(out).ok()
}

fn encoded(text: &str, also: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte <= b' ' || byte >= 0x7f || also.contains(&byte) {
            true => out.push_str(&format!("%{byte:02X}")),
            false => out.push(char::from(byte)),
        }
    }
    out
}

fn without_dots(path: &str) -> String {
    let is = |segment: &str, dots: &str| segment.to_ascii_lowercase().replace("%2e", ".") == dots;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            _ if is(segment, "..") => {
                kept.pop();
                if is_last {
                    kept.push("");
                }
            }
            _ if is(segment, ".") => {
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(public: Option<&str>) -> Site {
        let rules = SiteRules {
            public: public.map(|host| ("https".into(), host.into())),
            aliases: vec!["www.example.com".into()],
            trusted_proxies: Vec::new(),
        };
        Site::new(&rules, "http://localhost:3000")
    }

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let site = site(Some("example.com"));
        let from = site.asked("/blog/hello?page=2").unwrap();
        for (link, expected) in [
            ("/a", Some("/a")),
            ("a", Some("/blog/a")),
            ("./a/", Some("/blog/a/")),
            ("../a#part", Some("/a")),
            ("../../../a", Some("/a")),
            ("/x/%2e%2E/a", Some("/a")),
            ("/x/..", Some("/")),
            (".", Some("/blog/")),
            ("", Some("/blog/hello?page=2")),
            ("#part", Some("/blog/hello?page=2")),
            ("?page=3", Some("/blog/hello?page=3")),
            (" /a\n b ", Some("/a%20b")),
            ("/ü?q='ü'", Some("/%C3%BC?q=%27%C3%BC%27")),
            ("/a%2Fb?x=%20", Some("/a%2Fb?x=%20")),
            ("/a//b", Some("/a//b")),
            ("\\a\\b", Some("/a/b")),
            ("https://example.com", Some("/")),
            ("HTTP://EXAMPLE.COM:80/a", Some("/a")),
            ("//www.example.com/a?b", Some("/a?b")),
            ("https://localhost:3000/a", Some("/a")),
            ("https:a", Some("/blog/a")),
            ("https:/a", Some("/a")),
            ("https://example.com?a=1", Some("/?a=1")),
            ("https://other.example/a", None),
            ("//other.example", None),
            ("https://example.com:8443/", None),
        ] {
            let expected = expected.map_or(Link::Foreign, |target| {
                Link::Own(Address {
                    target: target.parse().unwrap(),
                    ..from.clone()
                })
            });
            assert_eq!(site.follow(&from, link), Some(expected), "{link:?}");
        }
        for link in [
            "mailto:a@example.com",
            "data:text/html,x",
            "javascript:void(0)",
            "https://user@example.com/",
            "http://",
            "http:a",
            "tel:1",
        ] {
            assert_eq!(site.follow(&from, link), None, "{link}");
        }
    }

    #[test]
    fn what_a_person_asks_for_is_a_path_a_url_or_a_key() {
        let site = site(Some("example.com"));
        for (text, expected) in [
            ("/", "/"),
            ("/a?b=1", "/a?b=1"),
            ("GET:/a?b", "/a?b"),
            ("GET /a", "/a"),
            ("http://example.com", "/"),
            ("http://localhost:3000/a", "/a"),
            ("/grüße", "/gr%C3%BC%C3%9Fe"),
        ] {
            let address = site.asked(text).unwrap();
            assert_eq!(site.shown(&address), expected, "{text}");
            assert_eq!((address.scheme, &*address.host), ("https", "example.com"));
        }
        for text in [
            "a",
            "//a",
            "POST:/a",
            "",
            "http://other.example/",
            "ftp://example.com/",
        ] {
            let error = site.asked(text).unwrap_err();
            assert!(error.hint().is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn without_a_public_url_a_page_is_of_the_host_that_it_is_asked_under() {
        let site = site(None);
        assert!(site.asked("/a").unwrap_err().to_string().contains("/a"));
        let address = site.asked("https://One.example:443/a").unwrap();
        assert_eq!(site.shown(&address), "https://one.example/a");
        let own = |link| matches!(site.follow(&address, link), Some(Link::Own(own)) if own.scheme == "https");
        assert!(own("http://one.example/b") && own("/b"));
        assert_eq!(
            site.follow(&address, "https://two.example/b"),
            Some(Link::Foreign)
        );
    }
}
