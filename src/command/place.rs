//! `server.json`: whose it is, where that process takes commands, and what a command has to show: who can read the file may do
//! there what he may do to the directory.

use std::fmt::{self, Write};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

const FORMAT: u64 = 1;

/// Where commands are taken.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) control: SocketAddr,
    /// What tells that process from whoever else may answer there.
    pub(super) id: String,
    /// What commands show. It is nobody's but of who may read the file.
    pub(super) secret: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Of this process, which listens there.
    ///
    /// # Errors
    /// The system has nothing random.
    pub(super) fn here(listening: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            control: SocketAddr::new(reachable(listening.ip()), listening.port()),
            id: random::<8>()?,
            secret: random::<32>()?,
        })
    }

    pub(super) fn to_text(&self) -> String {
        let text = json!({
            "format": FORMAT,
            "pid": std::process::id(),
            "control": self.url(),
            "version": env!("CARGO_PKG_VERSION"),
            "id": self.id,
            "secret": self.secret,
        });
        format!("{text}\n")
    }

    /// Nothing where it is not of this format, or names no address.
    pub(super) fn read(text: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(text).ok()?;
        let is_known = said["format"].as_u64() == Some(FORMAT);
        let control = said["control"].as_str()?.strip_prefix("http://")?;
        let text = |name: &str| Some(said[name].as_str().filter(|text| !text.is_empty())?.to_owned());
        is_known.then_some(Self {
            control: control.parse().ok()?,
            id: text("id")?,
            secret: text("secret")?,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.control)
    }
}

/// In hexadecimal digits.
fn random<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut text = String::with_capacity(2 * BYTES);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
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
            let place = Place::here(listening.parse().unwrap()).unwrap();
            assert_eq!((place.id.len(), place.secret.len()), (16, 64));
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
            r#"{"format":2,"control":"http://127.0.0.1:1","id":"x","secret":"y"}"#,
            r#"{"format":1,"control":"http://example.com:1","id":"x","secret":"y"}"#,
            r#"{"format":1,"control":"https://127.0.0.1:1","id":"x","secret":"y"}"#,
            r#"{"format":1,"control":"http://127.0.0.1:1","id":"","secret":"y"}"#,
            r#"{"format":1,"control":"http://127.0.0.1:1","secret":"y"}"#,
            r#"{"format":1,"control":"http://127.0.0.1:1","id":"x"}"#,
        ] {
            assert_eq!(Place::read(text), None, "{text}");
        }
    }
}
