//! The command's end: the server that writes the directory, asked over its control port.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use super::place::Place;
use super::words;
use crate::artefact::{Collected, Progress, Removed, Sealed, Tombstone};
use crate::error::{Error, ErrorKind};
use crate::prerender::{Became, Event, PrerenderOptions, Summary};
use crate::proxy::Address;
use crate::snapshot::announced;

/// How long it may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may say nothing: it says every second how far it is.
const SILENCE: Duration = Duration::from_secs(30);
/// No line is as long: the last one has what could not be done, in bytes.
const LONGEST_LINE: usize = 64 << 20;

/// The server that writes a directory.
pub struct Remote {
    client: Client,
    place: Place,
}

impl Remote {
    /// The server that writes this directory now, if it says where it is to who asks, and answers there.
    pub async fn find(directory: &Path) -> Option<Self> {
        let place = Place::read(&announced(directory)?)?;
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(PATIENCE)
            .read_timeout(SILENCE)
            .pool_max_idle_per_host(0)
            .build();
        let remote = Self {
            client: client.ok()?,
            place,
        };
        match remote.id().await {
            Ok(id) if id == remote.place.id => Some(remote),
            Ok(_) => {
                tracing::debug!(url = remote.place.url(), "another one answers there");
                None
            }
            Err(error) => {
                tracing::debug!(url = remote.place.url(), %error, "nobody answers there");
                None
            }
        }
    }

    /// Where it takes commands.
    pub fn url(&self) -> String {
        self.place.url()
    }

    async fn id(&self) -> Result<String, reqwest::Error> {
        let asked = self.client.get(format!("{}/healthz", self.place.url()));
        let body = asked.timeout(PATIENCE).send().await?.bytes().await?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(words::owned(&said["id"]))
    }

    /// As [`Artefact::remove`](crate::artefact::Artefact::remove), and in force, with nothing under way, when it
    /// returns.
    ///
    /// # Errors
    /// Those of [`Artefact::remove`](crate::artefact::Artefact::remove); another token is needed, or the server
    /// ended meanwhile.
    pub async fn remove(&self, pattern: &str, progress: &Progress) -> Result<Removed, Error> {
        let asked = json!({ "pattern": pattern });
        let done = self.command("rm", &asked, &mut look(progress)).await?;
        Ok(words::removed(&done))
    }

    /// As [`Artefact::tombstone`](crate::artefact::Artefact::tombstone), and in force when it returns.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn tombstone(&self, url: &str, tombstone: &Tombstone) -> Result<String, Error> {
        let asked = words::tombstone_as_json(url, tombstone);
        let done = self.command("tombstone", &asked, &mut |_| {}).await?;
        Ok(words::owned(&done["file"]))
    }

    /// As [`Artefact::collect`](crate::artefact::Artefact::collect). What it writes at that moment is not counted as
    /// anything left.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn collect(&self, progress: &Progress) -> Result<Collected, Error> {
        let done = self.command("gc", &json!({}), &mut look(progress)).await?;
        Ok(words::collected(&done))
    }

    /// As [`Artefact::reseal`](crate::artefact::Artefact::reseal).
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub async fn reseal(
        &self,
        pattern: Option<&str>,
        progress: &Progress,
        each: &mut dyn FnMut(Sealed),
    ) -> Result<(), Error> {
        let asked = match pattern {
            Some(pattern) => json!({ "pattern": pattern }),
            None => json!({}),
        };
        let mut look = look(progress);
        let mut tell = |line: &Value| match line.get("sealed") {
            Some(sealed) => each(words::sealed(sealed)),
            None => look(line),
        };
        self.command("reseal", &asked, &mut tell).await.map(drop)
    }

    /// As [`prerender`](crate::prerender::prerender). Dropped, it is broken off there too.
    ///
    /// # Errors
    /// As [`prerender`](crate::prerender::prerender) and [`remove`](Self::remove).
    pub async fn prerender(
        &self,
        options: &PrerenderOptions,
        mut observe: impl FnMut(Event<'_>),
    ) -> Result<Summary, Error> {
        let mut summary = Summary::default();
        let mut each = |line: &Value| {
            if let Some(page) = line.get("page").and_then(words::page) {
                summary.count(&page);
                let of = |at: usize| usize::try_from(line["of"][at].as_u64().unwrap_or(0)).unwrap_or(0);
                observe(Event::Page(&page, of(0), of(1)));
            } else if let Some(wait) = line["waiting"].as_u64() {
                observe(Event::Waiting(Duration::from_millis(wait)));
            } else if line["reading"] == true {
                observe(Event::Reading);
            }
        };
        let asked = words::options_as_json(options);
        let done = self.command("prerender", &asked, &mut each).await?;
        words::add_rest(&mut summary, &done);
        Ok(summary)
    }

    /// Whether it does what it is asked.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub(crate) async fn may_ask(&self) -> Result<(), Error> {
        let asked = json!({});
        self.command("nothing", &asked, &mut |_| {}).await.map(drop)
    }

    /// As [`Proxy::order_anew`](crate::proxy::Proxy).
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub(crate) async fn order_anew(&self, address: &Address, fields: &HeaderMap) -> Result<Became, Error> {
        let asked = words::order_as_json(address, fields);
        let done = self.command("order", &asked, &mut |_| {}).await?;
        words::became(&done).ok_or_else(|| self.ended())
    }

    /// As [`Proxy::discard`](crate::proxy::Proxy).
    ///
    /// # Errors
    /// As [`remove`](Self::remove), and the disk refuses.
    pub(crate) async fn discard(&self, key: &str) -> Result<(), Error> {
        let asked = json!({ "key": key });
        self.command("discard", &asked, &mut |_| {}).await.map(drop)
    }

    /// Hands over what is said on the way; returns what it comes to.
    async fn command(&self, name: &str, asked: &Value, each: &mut dyn FnMut(&Value)) -> Result<Value, Error> {
        let request = self
            .client
            .post(format!("{}/commands/{name}", self.place.url()))
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.place.secret))
            .body(asked.to_string());
        let mut answer = request.send().await.map_err(|error| self.broken(error))?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer).await);
        }
        let mut pending = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(|error| self.broken(error))? {
            pending.extend_from_slice(&bytes);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line: Value = serde_json::from_slice(&line).unwrap_or_default();
                if let Some(done) = line.get("done") {
                    return Ok(done.clone());
                }
                if let Some(error) = line.get("error") {
                    return Err(words::error_of(error));
                }
                each(&line);
            }
            if pending.len() > LONGEST_LINE {
                break;
            }
        }
        Err(self.ended())
    }

    async fn refused(&self, answer: Response) -> Error {
        let status = answer.status();
        let said: Value = match answer.bytes().await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let url = self.place.url();
        let kind = match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::Config,
            StatusCode::CONFLICT => ErrorKind::Locked,
            _ => ErrorKind::Control,
        };
        let why = match said["error"].as_str() {
            Some(error) => error.to_owned(),
            None => status.to_string(),
        };
        let error = Error::new(kind, format!("the server at {url} refuses: {why}"));
        match said["hint"].as_str() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn broken(&self, cause: reqwest::Error) -> Error {
        self.ended().with_source(cause)
    }

    fn ended(&self) -> Error {
        let what = format!(
            "the server at {} did not say what came of it: not all may be done",
            self.place.url()
        );
        Error::new(ErrorKind::Control, what).with_hint("see its log, and repeat the command")
    }
}

/// How far it is there is how far it is here.
fn look(progress: &Progress) -> impl FnMut(&Value) {
    |line| {
        if let Some(now) = line["seen"].as_u64() {
            progress.reach(now);
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.place.url())
            .finish_non_exhaustive()
    }
}
