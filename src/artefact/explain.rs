//! Why a request is answered as it is: the request itself, with what the proxy decides about it written down.
//!
//! Nothing is decided here. A proxy of the same settings answers the request over a copy of what is stored under its
//! address, in a folder that goes afterwards: nobody waits for the directory's lock, and nothing in it changes. Its
//! backend is the real one only where that was wished; else what it would be asked is noted, and the explanation ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;

use crate::coding::Coding;
use crate::config::CreateProxyConfig;
use crate::config::check;
use crate::error::{Error, ErrorKind};
use crate::head::Generated;
use crate::headers::{CACHE_STATUS, FieldSet};
use crate::outcome::Reason;
use crate::proxy::{Proxy, http_backend};
use crate::snapshot::MARKER;
use crate::upstream::Upstream;

use super::address::{method_and_url, request_for, wrong};
use super::{Artefact, BodyState};

/// How long what goes on behind an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be explained.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Question {
    /// A path, a full URL, or a key.
    pub url: String,
    /// Instead of the key's, or GET.
    pub method: Option<String>,
    /// Fields of the request, besides `Host`, which is the site's unless it is among them.
    pub headers: Vec<(String, String)>,
    /// Who is asked where nothing that is stored answers.
    pub asked: Asked,
}

/// Who is asked where nothing that is stored answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody: what the backend would be asked is all that is said.
    Nobody,
    /// The backend, with this very request if it passes.
    Backend,
}

impl Question {
    /// Of a visitor who sends nothing but this; the backend is not asked.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: None,
            headers: Vec::new(),
            asked: Asked::Nobody,
        }
    }
}

/// What was decided about a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explained {
    /// The key text; none where none was made.
    pub key: Option<String>,
    /// What was decided, in order.
    pub steps: Vec<String>,
    /// Why nothing that is stored answers, or why the answer is not stored.
    pub reason: Option<Reason>,
    /// What the backend was asked, or would be.
    pub asked: Vec<Sent>,
    /// The answer; none where it would be the backend's.
    pub answer: Option<Answered>,
}

/// A request to the backend.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Sent {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its fields; no value of those that say who somebody is.
    pub headers: Vec<(String, Option<String>)>,
    /// Of the visitor's fields, those that go with another value.
    pub replaced: Vec<String>,
    /// And those that do not go.
    pub left_out: Vec<String>,
}

/// How a request was answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answered {
    /// The status code.
    pub status: u16,
    /// `Cache-Status` (RFC 9211).
    pub cache_status: Option<String>,
    /// Bytes of the body that came, and whether it came to its end.
    pub bytes: u64,
    /// Why the body broke off.
    pub broken: Option<String>,
}

/// Says how the proxy of these settings answers a request, and why. Needs a runtime.
///
/// # Errors
/// A setting that cannot work; what is no address or no request; a copy of what is stored that cannot be made.
pub async fn explain(config: &CreateProxyConfig, question: &Question) -> Result<Explained, Error> {
    let rules = check::rule_book(config)?;
    let request = request(&rules.general().site, question)?;
    let folder = tempfile::tempdir().map_err(|error| {
        Error::new(ErrorKind::Directory, "cannot make a temporary folder")
            .with_hint("name one that can be written with TMPDIR")
            .with_source(error)
    })?;
    let mut steps = Vec::new();
    let mut of_it = config.clone();
    // A frozen directory is never written.
    if !config.settings.frozen {
        if config.settings.snapshot_dir.join(MARKER).exists() {
            let artefact = Artefact::open(config)?;
            steps = artefact.copy_of(&question.url, folder.path())?;
        }
        of_it.settings.snapshot_dir = folder.path().to_owned();
    }
    let path = request.uri().path();
    let secrets = rules
        .of(request.method().as_str(), path)
        .request
        .identity
        .bypass_headers
        .clone();
    let heard = Arc::new(Heard::of(request.headers(), secrets));
    let behind = match question.asked {
        Asked::Nobody => None,
        Asked::Backend => Some(http_backend(config)?),
    };
    let listener = Arc::clone(&heard);
    let upstream = Upstream::overheard(behind, Box::new(move |request| listener.note(request)));
    let proxy = Proxy::over(&of_it, upstream)?;
    let (trace, answer) = proxy.answer_traced(request);
    let answer = tokio::select! {
        biased;
        answer = answer => Some(read(answer).await),
        () = heard.is_enough(question.asked) => None,
    };
    if question.asked == Asked::Backend {
        proxy.shut_down(PATIENCE).await;
    }
    let (key, decided, reason) = trace.read();
    steps.extend(decided);
    Ok(Explained {
        key,
        steps,
        reason,
        asked: heard.taken(),
        answer,
    })
}

fn request(site: &check::SiteRules, question: &Question) -> Result<Request<Body>, Error> {
    let Some((method, url)) = method_and_url(&question.url) else {
        return Err(wrong(&question.url));
    };
    let method = question.method.as_deref().unwrap_or(method);
    let mut request = request_for(site, (method, url), &question.url)?;
    let no_field = |name: &str| {
        Error::new(ErrorKind::Config, format!("`{name}` cannot be sent as a field"))
            .with_hint("write it as -H \"Name: value\"")
    };
    let mut own = HeaderMap::new();
    for (name, value) in &question.headers {
        let field = HeaderName::try_from(name).map_err(|_| no_field(name))?;
        let value = HeaderValue::try_from(value).map_err(|_| no_field(name))?;
        own.append(field, value);
    }
    request.headers_mut().extend(own);
    // A visitor of this machine, whose proxy fields count if it is among those that are believed.
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    request.extensions_mut().insert(ConnectInfo(peer));
    Ok(request)
}

/// The answer, to the end of its body: a page is stored by then.
async fn read(answer: Response<Body>) -> Answered {
    let field = answer.headers().get(CACHE_STATUS);
    let mut said = Answered {
        status: answer.status().as_u16(),
        cache_status: field.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        bytes: 0,
        broken: None,
    };
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => said.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(error) => {
                said.broken = Some(crate::error::chain(&error));
                break;
            }
        }
    }
    said
}

/// What the backend is asked.
struct Heard {
    visitor: HeaderMap,
    /// Fields whose values say who somebody is, besides those that always do.
    secrets: FieldSet,
    sent: Mutex<Vec<Sent>>,
    is_asked: Notify,
}

impl Heard {
    fn of(visitor: &HeaderMap, secrets: FieldSet) -> Self {
        Self {
            visitor: visitor.clone(),
            secrets,
            sent: Mutex::default(),
            is_asked: Notify::new(),
        }
    }

    fn note(&self, request: &Request<Body>) {
        let sent = sent(request, &self.visitor, &self.secrets);
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sent);
        self.is_asked.notify_one();
    }

    /// Nobody will answer.
    async fn is_enough(&self, asked: Asked) {
        match asked {
            Asked::Nobody => self.is_asked.notified().await,
            Asked::Backend => std::future::pending().await,
        }
    }

    fn taken(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn sent(request: &Request<Body>, visitor: &HeaderMap, secrets: &FieldSet) -> Sent {
    let fields = request.headers();
    let differs = |name: &&HeaderName| !fields.get_all(*name).iter().eq(visitor.get_all(*name).iter());
    let (replaced, left_out): (Vec<_>, Vec<_>) = visitor
        .keys()
        .filter(differs)
        .partition(|name| fields.contains_key(*name));
    let names = |names: Vec<&HeaderName>| {
        let mut names: Vec<_> = names.into_iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    };
    let target = request.uri().path_and_query();
    Sent {
        method: request.method().to_string(),
        target: target.map_or_else(|| "/".to_owned(), ToString::to_string),
        headers: fields
            .iter()
            .map(|(name, value)| (name.to_string(), shown(name, value, secrets)))
            .collect(),
        replaced: names(replaced),
        left_out: names(left_out),
    }
}

/// The value, unless it says who somebody is.
fn shown(name: &HeaderName, value: &HeaderValue, secrets: &FieldSet) -> Option<String> {
    let is_secret = secrets.contains(name)
        || matches!(
            *name,
            header::COOKIE | header::AUTHORIZATION | header::PROXY_AUTHORIZATION
        );
    (!is_secret).then(|| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl Artefact {
    /// Copies what is stored under an address, as far as it is what was sealed, and says what is not.
    fn copy_of(&self, url: &str, to: &std::path::Path) -> Result<Vec<String>, Error> {
        let copying = |error| Error::directory("copy what is stored to", to, error);
        let mut steps = Vec::new();
        let mut files = Vec::new();
        let copied = self.find(&self.address(url)?, &mut |found, _| {
            // An invalidation stands against it.
            let Some(clock) = self.survey.clock(&found) else {
                return;
            };
            let state = self.body_state(&found);
            if !matches!(state, BodyState::Sealed | BodyState::None) {
                let body = found.body().unwrap_or_default();
                steps.push(format!(
                    "directory: {} is {}, and not served as it is",
                    body.display(),
                    state.as_str()
                ));
                return;
            }
            let time = (clock == Generated::Invalidated).then_some(UNIX_EPOCH);
            files.push((found.stem.sidecar(found.id), time));
            files.extend(found.body().map(|body| (body, None)));
            let seal = found
                .sidecar
                .rendering
                .as_ref()
                .and_then(|rendering| rendering.body.as_ref());
            files.extend(seal.into_iter().flat_map(|sealed| {
                let forms = Coding::ALL.into_iter();
                forms.map(|coding| {
                    (
                        found.stem.derived(found.id, sealed.seal.first_bits(), coding),
                        None,
                    )
                })
            }));
        });
        match copied {
            Err(error) if error.kind() == ErrorKind::Absent => return Ok(steps),
            copied => copied?,
        }
        for (file, time) in files {
            match self.survey.copy(&file, to, time) {
                // A form that was never made.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => copied.map_err(copying)?,
            }
        }
        Ok(steps)
    }
}
