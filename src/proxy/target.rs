//! The one parsed target that serves key, log and backend (RFC 9112 §3.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Version};

use crate::config::check::SiteRules;
use crate::headers::{list_values, normal_host};
use crate::key::KeySource;
use crate::outcome::Reason;
use crate::policy::forward::{Asker, Trust};
use crate::policy::request::HostStanding;
use crate::proxy::trace::Trace;

/// What a request asks for, and where.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Path and query, as they were sent.
    asked: PathAndQuery,
    /// The host as the visitor sent it.
    pub(crate) own_host: Arc<str>,
    /// The host that a page is kept for: `public_url`'s, or the visitor's in lower case.
    pub(crate) site_host: Arc<str>,
    /// The scheme under which the visitor sees the site, as far as it can be believed.
    pub(crate) own_scheme: &'static str,
    pub(crate) site_scheme: &'static str,
    pub(crate) standing: HostStanding,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) trust: Trust,
    /// Where it is noted what is decided about it.
    pub(super) trace: Trace,
}

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Target {
    pub(crate) fn of(request: &Request<Body>, rules: &SiteRules) -> Result<Self, Reason> {
        let uri = request.uri();
        // `OPTIONS *` and CONNECT's authority are no paths; no resource of the backend is meant.
        let is_of_http = uri
            .scheme()
            .is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let asked = uri
            .path_and_query()
            .filter(|asked| asked.path().starts_with('/') && is_of_http && has_one_framing(request.headers()))
            .ok_or(Reason::BadRequest)?;
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip().to_canonical());
        let is_trusted = peer.is_some_and(|peer| {
            rules
                .trusted_proxies
                .iter()
                .any(|network| network.contains(&peer))
        });
        let trust = if is_trusted {
            Trust::Trusted
        } else {
            Trust::Stranger
        };
        let mut own_host = host(request)?;
        let mut own_scheme = "http";
        if is_trusted {
            if let Some(claimed) = first(request.headers(), &X_FORWARDED_HOST).filter(|host| is_host(host)) {
                own_host = claimed;
            }
            if first(request.headers(), &X_FORWARDED_PROTO)
                .is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
            {
                own_scheme = "https";
            }
        }
        let own_host: Arc<str> = own_host.into();
        let (site_scheme, site_host, standing) = site(&own_host, own_scheme, rules);
        Ok(Self {
            asked: asked.clone(),
            own_host,
            site_host,
            own_scheme,
            site_scheme,
            standing,
            peer,
            trust,
            trace: Trace::default(),
        })
    }

    pub(crate) fn path(&self) -> &str {
        self.asked.path()
    }

    /// Without the question mark; empty where there is none.
    pub(crate) fn query(&self) -> &str {
        self.asked.query().unwrap_or_default()
    }

    /// What a key is made of for this target, with the query that is left of it and no body.
    pub(crate) fn source<'a>(
        &'a self,
        method: &'a str,
        query: &'a str,
        headers: &'a HeaderMap,
    ) -> KeySource<'a> {
        KeySource {
            method,
            path: self.path(),
            query,
            scheme: self.site_scheme,
            host: &self.site_host,
            headers,
            body: None,
        }
    }

    pub(super) fn traced(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// As who sees the site by `scheme` asks for it.
    pub(super) fn seen_by(self, scheme: &'static str, rules: &SiteRules) -> Self {
        let (site_scheme, site_host, standing) = site(&self.own_host, scheme, rules);
        Self {
            own_scheme: scheme,
            site_scheme,
            site_host,
            standing,
            ..self
        }
    }

    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            peer: self.peer,
            trust: self.trust,
            scheme: self.own_scheme,
            host: &self.own_host,
        }
    }
}

/// RFC 9112 §6: where the body ends, in one reading. hyper takes `gzip, chunked` and `chunked, chunked`,
/// undoes the last coding and no other; HTTP/2 may repeat a length. What is read in one way here and may
/// be read in another behind us is nothing to forward.
fn has_one_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let (coding, length) = (codings.next(), lengths.next());
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    let is_number =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let is_single = codings.next().is_none() && lengths.next().is_none();
    let is_either = coding.is_none() || length.is_none();
    is_single && is_either && coding.is_none_or(is_chunked) && length.is_none_or(is_number)
}

/// RFC 9112 §3.2.2: an absolute-form target wins over `Host`. §3.2: none in HTTP/1.1, whatever the form,
/// several, or a malformed one are a bad request.
fn host(request: &Request<Body>) -> Result<&str, Reason> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Reason::BadRequest);
    }
    let line = match line {
        Some(line) => {
            let host = line.to_str().map_err(|_| Reason::BadRequest)?;
            if !is_host(host) {
                return Err(Reason::BadRequest);
            }
            Some(host)
        }
        None => None,
    };
    match (request.uri().authority(), line) {
        (_, None) if request.version() == Version::HTTP_11 => Err(Reason::BadRequest),
        (Some(authority), _) if is_host(authority.as_str()) => Ok(authority.as_str()),
        (Some(_), _) => Err(Reason::BadRequest),
        (None, Some(host)) => Ok(host),
        (None, None) if request.version() < Version::HTTP_11 => Ok("localhost"),
        (None, None) => Err(Reason::BadRequest),
    }
}

/// RFC 9110 §7.2: `uri-host [ ":" port ]`. A comma, which RFC 3986 would allow in a name, is what joins
/// two lines of `Host`.
fn is_host(text: &str) -> bool {
    is_plain(text) || is_authority(text)
}

/// Nearly every host: letters, digits, hyphens and dots, and perhaps a port.
fn is_plain(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !name.is_empty()
        && name.bytes().all(is_of_name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.len() <= 4 || port.parse::<u16>().is_ok())
}

fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let is_name = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(','),
    };
    // A sign, which `parse` takes, is none of a port's; that it is empty is allowed.
    let is_port = |port: &str| {
        port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
    };
    let rest = text.strip_prefix(host).unwrap_or("@");
    is_name && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn site(host: &Arc<str>, scheme: &'static str, rules: &SiteRules) -> (&'static str, Arc<str>, HostStanding) {
    let Some((public_scheme, public_host)) = &rules.public else {
        return (scheme, normal(host, scheme), HostStanding::Ours);
    };
    let public_scheme = if public_scheme == "https" { "https" } else { "http" };
    let is_ours = **host == **public_host || {
        let normal = normal_host(host, public_scheme);
        *normal == **public_host || rules.aliases.contains(&normal)
    };
    let standing = if is_ours {
        HostStanding::Ours
    } else {
        HostStanding::Foreign
    };
    (public_scheme, Arc::clone(public_host), standing)
}

/// [`normal_host`], which most hosts are as they come.
fn normal(host: &Arc<str>, scheme: &str) -> Arc<str> {
    let may_end_in_own_port = host.ends_with(":80") || host.ends_with(":443");
    match may_end_in_own_port || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => normal_host(host, scheme).into(),
        false => Arc::clone(host),
    }
}

fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    list_values(headers, name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(public: Option<&str>, trusted: &[&str]) -> SiteRules {
        SiteRules {
            public: public.map(|host| ("https".to_owned(), host.into())),
            aliases: vec!["www.example.com".into()],
            trusted_proxies: trusted.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn target(uri: &str, fields: &[(&str, &str)], rules: &SiteRules) -> Result<Target, Reason> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: SocketAddr = "10.1.2.3:4".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        Target::of(&request, rules)
    }

    #[test]
    fn what_is_taken_for_a_plain_host_is_one() {
        for (text, expected) in [
            ("example.com", true),
            ("EXAMPLE.com:8080", true),
            ("127.0.0.1:", true),
            ("-", true),
            ("..", true),
            ("a:0000", true),
            ("a:65535", true),
            ("a:65536", false),
            ("a:000080", true),
            ("", false),
            (":80", false),
            ("a_b", false),
            ("a:b", false),
            ("a:1:2", false),
            ("[::1]", false),
            ("a,b", false),
        ] {
            assert_eq!(is_plain(text), expected, "{text}");
            assert!(!expected || is_authority(text), "{text}");
        }
    }

    #[test]
    fn hosts_that_are_none_are_bad_requests() {
        let rules = rules(None, &[]);
        for fields in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "user@a")],
            &[("host", "a/b")],
            &[("host", "a:port")],
            &[("host", "a:65536")],
            &[("host", "a:+80")],
            &[("host", "a,b")],
            &[("host", "[::1")],
            &[("host", "[::1]x")],
            &[("host", "[localhost]")],
            &[("host", "::1")],
        ] {
            assert_eq!(
                target("/", fields, &rules).err(),
                Some(Reason::BadRequest),
                "{fields:?}"
            );
        }
        assert!(target("*", &[("host", "a")], &rules).is_err());
        assert!(target("http://a/", &[], &rules).is_err());
        assert!(target("ftp://a/", &[("host", "a")], &rules).is_err());
        for host in ["a", "a.", "a:", "a:0", "a_b.c-d:65535", "[::1]", "[::1]:80"] {
            let found = target("/", &[("host", host)], &rules).unwrap();
            assert_eq!(&*found.own_host, host);
        }
    }

    #[test]
    fn a_body_has_one_framing_in_one_spelling() {
        let rules = rules(None, &[]);
        for (fields, expected) in [
            (&[("content-length", "5")][..], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "+5")], false),
            (&[("content-length", "")], false),
            (&[("transfer-encoding", "chunked, chunked")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                false,
            ),
            (
                &[("transfer-encoding", "chunked"), ("content-length", "5")],
                false,
            ),
        ] {
            let fields: Vec<_> = [("host", "a")].iter().chain(fields).copied().collect();
            assert_eq!(target("/", &fields, &rules).is_ok(), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_absolute_form_wins() {
        let found = target("http://real.example/x", &[("host", "other")], &rules(None, &[])).unwrap();
        assert_eq!((&*found.own_host, found.path()), ("real.example", "/x"));
    }

    #[test]
    fn forwarded_host_and_scheme_are_believed_from_trusted_proxies_only() {
        let fields = [
            ("host", "inner:80"),
            ("x-forwarded-host", "Example.com"),
            ("x-forwarded-proto", "https"),
        ];
        let stranger = target("/", &fields, &rules(None, &["192.0.2.0/24"])).unwrap();
        assert_eq!((&*stranger.site_host, stranger.site_scheme), ("inner", "http"));
        let trusted = target("/", &fields, &rules(None, &["10.0.0.0/8"])).unwrap();
        assert_eq!(
            (&*trusted.site_host, trusted.site_scheme),
            ("example.com", "https")
        );
    }

    #[test]
    fn with_a_public_url_other_hosts_are_foreign() {
        let rules = rules(Some("example.com"), &[]);
        for (host, standing) in [
            ("example.com", HostStanding::Ours),
            ("EXAMPLE.com:443", HostStanding::Ours),
            ("www.example.com", HostStanding::Ours),
            ("WWW.example.com:443", HostStanding::Ours),
            ("www.example.com:8080", HostStanding::Foreign),
            ("other.com", HostStanding::Foreign),
            ("example.com:8080", HostStanding::Foreign),
        ] {
            let found = target("/", &[("host", host)], &rules).unwrap();
            assert_eq!(found.standing, standing, "{host}");
            assert_eq!(&*found.site_host, "example.com");
        }
    }
}
