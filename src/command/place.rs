//! `server.json`: whose it is, and where that process takes commands. It holds no secret.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

const FORMAT: u64 = 1;

/// Where commands are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) control: SocketAddr,
    /// What tells that process from whoever else may answer there.
    pub(super) id: String,
}

impl Place {
    /// Of this process, which listens there.
    pub(super) fn here(listening: SocketAddr) -> Self {
        let control = SocketAddr::new(reachable(listening.ip()), listening.port());
        let id = RandomState::new().hash_one((std::process::id(), control));
        Self {
            control,
            id: format!("{id:016x}"),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let text = json!({
            "format": FORMAT,
            "pid": std::process::id(),
            "control": self.url(),
            "version": env!("CARGO_PKG_VERSION"),
            "id": self.id,
        });
        format!("{text}\n")
    }

    /// Nothing where it is not of this format, or names no address.
    pub(super) fn read(text: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(text).ok()?;
        let is_known = said["format"].as_u64() == Some(FORMAT);
        let control = said["control"].as_str()?.strip_prefix("http://")?;
        is_known.then_some(Self {
            control: control.parse().ok()?,
            id: said["id"].as_str().filter(|id| !id.is_empty())?.to_owned(),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.control)
    }
}

/// Where a client on this machine reaches who listens at this address.
fn reachable(listening: IpAddr) -> IpAddr {
    match listening {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_names_what_a_client_can_reach() {
        for (listening, url) in [
            ("127.0.0.1:17809", "http://127.0.0.1:17809"),
            ("0.0.0.0:17809", "http://127.0.0.1:17809"),
            ("[::]:1", "http://[::1]:1"),
            ("192.0.2.7:80", "http://192.0.2.7:80"),
        ] {
            let place = Place::here(listening.parse().unwrap());
            assert_eq!(place.url(), url);
            assert_eq!(Place::read(&place.to_text()), Some(place));
        }
    }

    #[test]
    fn what_is_not_understood_names_nobody() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"format":2,"control":"http://127.0.0.1:1","id":"x"}"#,
            r#"{"format":1,"control":"http://example.com:1","id":"x"}"#,
            r#"{"format":1,"control":"https://127.0.0.1:1","id":"x"}"#,
            r#"{"format":1,"control":"http://127.0.0.1:1","id":""}"#,
            r#"{"format":1,"control":"http://127.0.0.1:1"}"#,
        ] {
            assert_eq!(Place::read(text), None, "{text}");
        }
    }
}
