//! Connections to the backend: TCP without Nagle's delay, TLS where the URL says so, all of it within
//! one deadline.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::Service;

use super::BoxError;
use crate::error::Error;

#[cfg(feature = "tls")]
type Transport = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Transport = HttpConnector;

type Stream = <Transport as Service<Uri>>::Response;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    transport: Transport,
    timeout: Duration,
}

impl Connector {
    /// A connector to a backend that is spoken to in the clear. `timeout` covers name and connection
    /// together; a name with several addresses shares it among them.
    ///
    /// # Errors
    /// A configuration error, if TLS, which is not used, cannot be set up.
    pub(super) fn plain(timeout: Duration) -> Result<Self, Error> {
        let http = tcp(timeout);
        #[cfg(feature = "tls")]
        let http = encrypted(http, rustls::RootCertStore::empty())?;
        Ok(Self {
            transport: http,
            timeout,
        })
    }

    /// A connector to a backend that the system's authorities certify, or those of the PEM file.
    /// `timeout` covers the handshake too.
    ///
    /// # Errors
    /// A configuration error on `backend_ca`.
    #[cfg(feature = "tls")]
    pub(super) fn tls(timeout: Duration, ca_file: Option<&Path>) -> Result<Self, Error> {
        Ok(Self {
            transport: encrypted(tcp(timeout), authorities(ca_file)?)?,
            timeout,
        })
    }

    /// # Errors
    /// Always: this build has no TLS.
    #[cfg(not(feature = "tls"))]
    pub(super) fn tls(_timeout: Duration, _ca_file: Option<&Path>) -> Result<Self, Error> {
        Err(
            Error::config("proxy_url", "this build cannot speak https to a backend")
                .with_hint("build with the `tls` feature"),
        )
    }
}

fn tcp(timeout: Duration) -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(timeout));
    http
}

#[cfg(feature = "tls")]
fn encrypted(http: HttpConnector, roots: rustls::RootCertStore) -> Result<Transport, Error> {
    // Named, not taken from the process: rustls panics when it has to guess between two providers,
    // which another crate of the program may bring about.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("proxy_url", "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // No ALPN: HTTP/1.1, which upgrades need, is what a server speaks that is offered nothing.
    Ok(Transport::from((http, config)))
}

#[cfg(feature = "tls")]
fn authorities(ca_file: Option<&Path>) -> Result<rustls::RootCertStore, Error> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    const SETTING: &str = "backend_ca";

    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a certificate authority of the system cannot be read");
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca_file {
        let wrong = |what: &str| Error::config(SETTING, format!("{what} {}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong("cannot read").with_source(error))?;
        let mut found = 0_usize;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong("not a PEM file:").with_source(error))?;
            roots
                .add(certificate)
                .map_err(|error| wrong("not a certificate authority in").with_source(error))?;
            found += 1;
        }
        if found == 0 {
            return Err(
                wrong("no certificate in").with_hint("a PEM file begins `-----BEGIN CERTIFICATE-----`")
            );
        }
    }
    if roots.is_empty() {
        return Err(Error::config(
            SETTING,
            "this system has no certificate authorities to check an https backend by",
        )
        .with_hint("install the system's CA certificates, or name a PEM file in `backend_ca`"));
    }
    Ok(roots)
}

impl Service<Uri> for Connector {
    type Response = TokioIo<BackendIo>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<BackendIo>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(ready!(self.transport.poll_ready(cx))?))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.transport.call(address);
        let timeout = self.timeout;
        Box::pin(async move {
            // HttpConnector's own timeout covers neither the name nor the handshake.
            match tokio::time::timeout(timeout, connecting).await {
                Ok(stream) => Ok(TokioIo::new(BackendIo {
                    stream: TokioIo::new(stream?),
                    history: History::default(),
                })),
                Err(late) => Err(io::Error::new(io::ErrorKind::TimedOut, late).into()),
            }
        })
    }
}

/// What has happened on a connection: only one that brought a response before can have ended for having
/// been idle, and only if nothing came back since the request went out.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Arc<Happened>);

#[derive(Debug, Default)]
struct Happened {
    answered: AtomicBool,
    /// A byte has come since the last one went out.
    heard: AtomicBool,
}

impl History {
    /// A response has come.
    pub(super) fn note_answer(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the connection that is described here was idle until the request.
    pub(super) fn was_idle(connected: &Connected) -> bool {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.get::<Self>().is_some_and(|history| {
            history.0.answered.load(Ordering::Relaxed) && !history.0.heard.load(Ordering::Relaxed)
        })
    }
}

/// A connection that keeps its history.
pub(super) struct BackendIo {
    stream: TokioIo<Stream>,
    history: History,
}

impl Connection for BackendIo {
    fn connected(&self) -> Connected {
        self.stream.inner().connected().extra(self.history.clone())
    }
}

impl AsyncRead for BackendIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.history.0.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for BackendIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.history.0.heard.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.history.0.heard.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
