//! The backend: where a request goes that no snapshot answers.
//!
//! A backend is a server behind `proxy_url`, spoken to in HTTP/1.1 over pooled connections (`fetch`,
//! `connect`), or an axum router in this process, called as a function (`in_process`). Both keep the
//! same two deadlines (`body`): one for the response head, one for every pause in a body. After a 101
//! the connection becomes a `tunnel`.
//!
//! Nothing here knows what a snapshot is or what may be stored, and nothing changes a message beyond
//! what it takes to address it: header fields are the caller's.

mod body;
mod connect;
mod fetch;
mod framing;
mod in_process;
mod target;
#[cfg(test)]
mod test_rig;
pub(crate) mod tunnel;

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, Uri};

use crate::error::Error;
use crate::outcome::Reason;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The longest wait; whatever is configured beyond it would overflow clocks, and nobody sees its end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What it takes to reach a backend over TCP.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamOptions {
    /// Scheme and authority, and a base path that goes before every request's path.
    pub(crate) base: Uri,
    /// How long name, connection and TLS handshake may take together.
    pub(crate) connect_timeout: Duration,
    /// How long the backend may take from the last byte of the request to its response head.
    pub(crate) response_timeout: Duration,
    /// How long each pause in a body may be, in the response's and in the request's.
    pub(crate) body_timeout: Duration,
    /// A PEM file with further certificate authorities.
    pub(crate) ca_file: Option<PathBuf>,
}

/// How long a backend may keep us waiting once it is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// For the response head, from the last byte of the request.
    pub(crate) response: Duration,
    /// For each piece of a body.
    pub(crate) body: Duration,
}

/// A backend. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Upstream {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Http(Arc<fetch::HttpBackend>),
    InProcess(Arc<in_process::InProcess>),
    Overheard(Arc<Overheard>),
}

/// A backend to which somebody listens in.
struct Overheard {
    listener: Listener,
    /// Who answers; nobody ever, where there is none.
    behind: Option<Upstream>,
}

/// Hears each request as it would go over the wire, but for `Host`, where nobody has set it.
pub(crate) type Listener = Box<dyn Fn(&Request<Body>) + Send + Sync>;

impl Upstream {
    /// A backend over TCP. Connects to nothing yet, and needs no runtime.
    ///
    /// # Errors
    /// On `proxy_url`: a scheme that is not http or https (or https without the `tls` feature), no
    /// host, credentials in the URL. On `backend_ca`: a file that cannot be read, that holds no
    /// certificate, or no certificate authority at all for an https backend.
    pub(crate) fn http(options: UpstreamOptions) -> Result<Self, Error> {
        let backend = Backend::Http(Arc::new(fetch::HttpBackend::new(options)?));
        Ok(Self { backend })
    }

    /// A router of this process.
    pub(crate) fn in_process(router: Router, waits: Waits) -> Self {
        let backend = Backend::InProcess(Arc::new(in_process::InProcess::new(router, waits)));
        Self { backend }
    }

    /// The same, with somebody who listens in; without one behind it, what is asked is never answered.
    pub(crate) fn overheard(behind: Option<Self>, listener: Listener) -> Self {
        let backend = Backend::Overheard(Arc::new(Overheard { listener, behind }));
        Self { backend }
    }

    /// What tells one backend from another: the URL, without a default port, or `in-process:<n>`.
    pub(crate) fn identity(&self) -> String {
        match &self.backend {
            Backend::Http(backend) => backend.identity(),
            Backend::InProcess(backend) => backend.identity().to_owned(),
            Backend::Overheard(overheard) => match &overheard.behind {
                Some(behind) => behind.identity(),
                None => "nobody".to_owned(),
            },
        }
    }

    /// Whether the backend is a router. An upgrade's `OnUpgrade` is then left in the request, so that
    /// the handler takes over the client's own connection: there is nothing to splice.
    pub(crate) fn is_in_process(&self) -> bool {
        matches!(&self.backend, Backend::InProcess(_))
    }

    /// Asks the backend and returns its final response, or its 101 with the upgrade in the extensions.
    ///
    /// Only path and query of the request's target count; they arrive byte for byte, behind the base
    /// path. `Host` is as the caller set it, else the backend's own. Redirects are not followed. The
    /// response keeps the version that the backend spoke.
    ///
    /// A GET or HEAD without a body whose pooled connection turns out to have been closed is sent once
    /// more, on a new connection; nothing else is ever sent twice.
    ///
    /// # Errors
    /// See [`UpstreamError`]. The body of the response fails when it pauses for longer than
    /// `body_timeout`, is cut, or is not as long as it said: it never just ends.
    ///
    /// # Cancel safety
    /// Dropping the future, or the response's body, abandons the exchange and closes its connection.
    pub(crate) async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, UpstreamError> {
        match &self.backend {
            Backend::Http(backend) => backend.fetch(request).await,
            Backend::InProcess(backend) => backend.fetch(request).await,
            Backend::Overheard(overheard) => {
                (overheard.listener)(&request);
                match &overheard.behind {
                    Some(behind) => Box::pin(behind.fetch(request)).await,
                    None => std::future::pending().await,
                }
            }
        }
    }
}

/// Why there is no response. URLs are given without their query, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The connection did not come about within `connect_timeout`.
    #[error("no connection for {url} in time")]
    ConnectTimeout { url: String, source: BoxError },
    /// The response head did not come within `response_timeout`.
    #[error("no response from {url} in time")]
    Timeout { url: String },
    /// No connection, one that broke before the response head, or an answer that is not HTTP.
    #[error("no response from {url}")]
    Unreachable { url: String, source: BoxError },
    /// The in-process handler panicked.
    #[error("the handler of {url} panicked")]
    Panicked { url: String },
    /// The client stopped sending the request's body.
    #[error("the body of the request for {url} did not come in time")]
    UploadStalled { url: String },
    /// The client went away, or sent nonsense, in the middle of the request's body.
    #[error("the body of the request for {url} broke off")]
    UploadCut { url: String, source: BoxError },
    /// With the base path, the target is no URI any more: too long.
    #[error("the request's target does not fit into a URI")]
    Target { source: BoxError },
}

impl UpstreamError {
    /// The word for it. `BadRequest` and `RequestTimeout` where the request is at fault, not the backend.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::ConnectTimeout { .. } | Self::Timeout { .. } => Reason::Timeout,
            Self::UploadStalled { .. } => Reason::RequestTimeout,
            Self::Unreachable { .. } => Reason::Unreachable,
            Self::Panicked { .. } => Reason::Panic,
            Self::UploadCut { .. } | Self::Target { .. } => Reason::BadRequest,
        }
    }

    /// Whether the client is at fault: a 4xx, and nothing to be said against the backend.
    pub(crate) fn is_clients_fault(&self) -> bool {
        matches!(
            self,
            Self::UploadStalled { .. } | Self::UploadCut { .. } | Self::Target { .. }
        )
    }
}
