//! Who may use `/refresh-cache`: the bearer of the token, or without one whoever can connect and is no
//! web page. And who may use `/commands`: who can read what the server keeps in its directory.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

use super::Refusal;
use crate::token::TokenHash;

/// Who may invalidate.
pub(super) struct Guard {
    token: Option<TokenHash>,
    allowed_hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(token: Option<&str>, allowed_hosts: Vec<String>) -> Self {
        Self {
            token: token.map(|token| TokenHash::of(token.as_bytes())),
            allowed_hosts,
        }
    }

    pub(super) fn admit(&self, parts: &Parts) -> Result<(), Refusal> {
        match &self.token {
            Some(token) => match bearer(&parts.headers) {
                Some(sent) if token.is(sent) => Ok(()),
                _ => Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "the control token is missing or wrong",
                    "send Authorization: Bearer <control_auth>",
                )),
            },
            None if parts.headers.contains_key(ORIGIN) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "requests of web pages are refused while there is no control token",
                "set control_auth and send it as Authorization: Bearer <control_auth>",
            )),
            None if !host(parts).is_some_and(|host| self.is_own(&host)) => Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "while there is no control token, the Host has to be localhost or a loopback address",
                "set control_auth and send it as Authorization: Bearer <control_auth>",
            )),
            None => Ok(()),
        }
    }

    fn is_own(&self, host: &Authority) -> bool {
        let name = host.host();
        let name = name.strip_suffix('.').unwrap_or(name);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
            || self
                .allowed_hosts
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own))
    }
}

/// Admits the bearer of the secret. What commands do is more than to invalidate: no connection is enough for that.
pub(super) fn admit_command(parts: &Parts, secret: &str) -> Result<(), Refusal> {
    match bearer(&parts.headers) {
        Some(sent) if TokenHash::of(secret.as_bytes()).is(sent) => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "what a command has to show is missing or wrong",
            "commands read it in .phantom/server.json of the snapshot directory",
        )),
    }
}

/// The one host that the request is for.
fn host(parts: &Parts) -> Option<Authority> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let authority = match (parts.uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, None) => return None,
        (Some(authority), _, None) => authority.clone(),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok()?,
    };
    (!authority.as_str().contains('@')).then_some(authority)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let mut parts = value.as_bytes().splitn(2, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.trim_ascii())
}
