//! What a forwarded request carries beside the client's own fields: `Via` and where it came from.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers::{has_token, is_disguise, is_forwarding, list_values, strip_hop_by_hop, value};

/// Who asked, as far as it can be believed.
#[derive(Debug, Clone)]
pub(crate) struct Asker<'a> {
    /// The peer's address; unknown where the server does not say.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) trust: Trust,
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
}

/// Whether the peer's forwarding fields are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is one of `trusted_proxies`.
    Trusted,
    Stranger,
}

/// Makes the fields of a client's request those of the request to the backend.
///
/// Forwarding fields of strangers are dropped whole, whatever they are called, and ours put in their
/// place; `Host` stays the client's own, which form and WebSocket origin checks compare with.
pub(crate) fn pass_headers(headers: &mut HeaderMap, asker: &Asker<'_>, via: &HeaderValue) {
    let earlier: Vec<String> = match asker.trust {
        Trust::Trusted => list_values(headers, &X_FORWARDED_FOR)
            .map(str::to_owned)
            .collect(),
        Trust::Stranger => Vec::new(),
    };
    // RFC 9110 §10.1.4: TE belongs to the connection, but that trailers are welcome is worth saying on.
    let trailers = has_token(headers, &header::TE, "trailers");
    one_length(headers);
    strip_hop_by_hop(headers);
    // The server in front of us has said 100 itself, so nobody waits for the backend's.
    headers.remove(header::EXPECT);
    let is_stranger = asker.trust == Trust::Stranger;
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_disguise(name) || (is_stranger && is_forwarding(name)))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    let client = asker.peer.map(|peer| peer.to_string());
    let path: Vec<String> = earlier.into_iter().chain(client.clone()).collect();
    set(headers, &X_FORWARDED_FOR, &path.join(", "));
    if is_stranger {
        set(headers, &X_REAL_IP, client.as_deref().unwrap_or(""));
    }
    origin_headers(headers, asker.scheme, asker.host);
    set(headers, &header::HOST, asker.host);
    headers.append(header::VIA, via.clone());
}

/// `X-Forwarded-Proto`, `-Host` and `-Port`: under which address the backend is to render.
pub(crate) fn origin_headers(headers: &mut HeaderMap, scheme: &str, host: &str) {
    set(headers, &HeaderName::from_static("x-forwarded-proto"), scheme);
    set(headers, &HeaderName::from_static("x-forwarded-host"), host);
    let port = match port_of(host) {
        Some(port) => port,
        None if scheme == "https" => "443",
        None => "80",
    };
    set(headers, &HeaderName::from_static("x-forwarded-port"), port);
}

/// The port in `host:port` or `[v6]:port`.
fn port_of(host: &str) -> Option<&str> {
    let (before, port) = host.rsplit_once(':')?;
    // The last colon of a bare IPv6 address is none of a port's.
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && (!before.contains(':') || before.ends_with(']'))).then_some(port)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// RFC 9112 §6.1: a length beside a transfer coding is no length. One that stays is written without the
/// zeros in front that some reader takes for octal.
fn one_length(headers: &mut HeaderMap) {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if !headers.contains_key(header::TRANSFER_ENCODING) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

/// RFC 9113 §8.2.3: cookies split over several fields in HTTP/2 are joined before HTTP/1.1.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

fn set(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    match value(text) {
        Some(value) if !text.is_empty() => {
            headers.insert(name, value);
        }
        _ => {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(fields: &[(&'static str, &'static str)], trust: Trust) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let asker = Asker {
            peer: Some("192.0.2.7".parse().unwrap()),
            trust,
            scheme: "https",
            host: "example.com:8443",
        };
        pass_headers(&mut headers, &asker, &HeaderValue::from_static("1.1 pf"));
        headers
    }

    #[test]
    fn a_stranger_s_forwarding_fields_are_replaced() {
        let headers = passed(
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-ssl", "off"),
                ("forwarded", "for=1.2.3.4"),
                ("front-end-https", "on"),
                ("x-real-ip", "1.2.3.4"),
                ("host", "evil"),
            ],
            Trust::Stranger,
        );
        for (name, expected) in [
            ("x-forwarded-for", Some("192.0.2.7")),
            ("x-real-ip", Some("192.0.2.7")),
            ("x-forwarded-ssl", None),
            ("forwarded", None),
            ("front-end-https", None),
            ("x-forwarded-proto", Some("https")),
            ("x-forwarded-host", Some("example.com:8443")),
            ("x-forwarded-port", Some("8443")),
            ("host", Some("example.com:8443")),
            ("via", Some("1.1 pf")),
        ] {
            assert_eq!(
                headers.get(name).map(|value| value.to_str().unwrap()),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_length_is_one_number_and_no_disguise_goes_along() {
        let headers = passed(&[("content-length", "0005")], Trust::Trusted);
        assert_eq!(headers["content-length"], "5");
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert!(!passed(&both, Trust::Stranger).contains_key("content-length"));
        for trust in [Trust::Trusted, Trust::Stranger] {
            let headers = passed(&[("content_length", "5"), ("x_forwarded_for", "1.2.3.4")], trust);
            assert!(
                headers.keys().all(|name| !name.as_str().contains('_')),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn a_trusted_proxy_s_path_is_extended() {
        let headers = passed(
            &[("x-forwarded-for", "1.2.3.4"), ("via", "2 cdn")],
            Trust::Trusted,
        );
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 192.0.2.7");
        assert_eq!(headers.get_all("via").iter().count(), 2);
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        let headers = passed(&[("cookie", "a=1"), ("cookie", "b=2")], Trust::Stranger);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
