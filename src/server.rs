//! The accept loop: what `axum::serve` is not.
//!
//! [`Server`] serves a router over HTTP/1.1 and HTTP/2 by prior knowledge, with `TCP_NODELAY` set and
//! with limits on what a client may hold: connections, head size, header fields, and time. At its end it
//! drains.
//!
//! # Time
//! A connection is in one of four states, each with its own patience (`watch`):
//! - waiting for a request head, from the first byte of it, or from the connection's start:
//!   [`ServerLimits::header_timeout`], then 408 if a part of the head had come, and the end;
//! - idle between requests: [`ServerLimits::idle_timeout`], then the end;
//! - a request in flight: as long as it takes the application, which bounds its own waits;
//! - written to, but not reading: [`ServerLimits::write_timeout`], then the end. In HTTP/2 a single
//!   stream that is not read is reset (`streams`).
//!
//! hyper's `header_read_timeout` could not tell the first two apart: it runs from the end of the last
//! response until the next head is complete, so that ten seconds for a head would close idle
//! connections after ten seconds too. Nor does it cover the bytes that tell HTTP/1.1 from HTTP/2, for
//! which hyper-util's `auto` builder waits without any. It is off.
//!
//! # Upgrades
//! An upgraded connection leaves hyper's hands, and this loop's: it counts towards
//! [`ServerLimits::max_connections`] as long as its socket is open, but no timeout here applies to it
//! any more, and a drain does not wait for it. Whoever took it over ends it, or the runtime does.

mod app;
mod connection;
mod streams;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as channel};
use tokio::task::JoinSet;

use app::App;
use connection::Protocols;
use watch::{Activity, Watched};

/// How long accepting pauses when the system has no file descriptor or memory for a connection.
const BACK_OFF: Duration = Duration::from_millis(200);

/// How often such a failure is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Beyond this a timeout would overflow clocks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What clients may hold of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// How long a request head may take from its first byte, and the first one from the connection's
    /// start. Default 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests. Default 75 s.
    pub idle_timeout: Duration,
    /// How long a client may leave what it is sent unread, the connection or a stream of it in HTTP/2.
    /// Default 60 s.
    pub write_timeout: Duration,
    /// The largest request head, in bytes; more is 431. The target may take half of it; more is 414.
    /// Default 64 KiB, at least 8 KiB.
    pub max_head: usize,
    /// How many header fields a request may have; more is 431. Default 100.
    pub max_header_fields: usize,
    /// How many connections are open at once, upgraded ones included; further ones wait in the system's
    /// queue. Default 10 000, at least 1.
    pub max_connections: usize,
    /// How long a drain waits for requests in flight before it cuts them. Default 30 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            max_head: 64 << 10,
            max_header_fields: 100,
            max_connections: 10_000,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerLimits {
    fn within_reason(self) -> Self {
        Self {
            header_timeout: self.header_timeout.min(LONGEST),
            idle_timeout: self.idle_timeout.min(LONGEST),
            write_timeout: self.write_timeout.min(LONGEST),
            shutdown_timeout: self.shutdown_timeout.min(LONGEST),
            // hyper panics below this.
            max_head: self.max_head.max(8 << 10),
            max_header_fields: self.max_header_fields,
            max_connections: self.max_connections.clamp(1, Semaphore::MAX_PERMITS),
        }
    }
}

/// What a drain found, not counting upgraded connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were open when the shutdown began, idle ones included.
    pub open: usize,
    /// Those of them that were cut, because they were still busy after
    /// [`ServerLimits::shutdown_timeout`].
    pub cut: usize,
}

/// A router, a listener, and limits.
///
/// Every request carries the client's address as [`axum::extract::ConnectInfo`]`<SocketAddr>`. A handler
/// that panics makes a 500, and ends nothing but its request.
///
/// ```
/// use phantom_frame::server::{Server, ServerLimits};
///
/// # async fn run() -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
/// let interrupted = async { drop(tokio::signal::ctrl_c().await) };
/// let drained = Server::new(listener, app, ServerLimits::default()).run(interrupted).await;
/// println!("{} connections closed", drained.open);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: App,
    limits: ServerLimits,
}

impl Server {
    /// A server that does not run yet, though clients can already connect to its listener.
    pub fn new(listener: TcpListener, app: Router, limits: ServerLimits) -> Self {
        Self {
            listener,
            app: App::of_router(app),
            limits: limits.within_reason(),
        }
    }

    /// A server that does not run yet, with one handler for all that is asked, such as
    /// [`Proxy::answer`](crate::Proxy::answer). Its answers are completed as a router's are: with their
    /// `Content-Length`, and without content to HEAD.
    pub fn with_handler<H, F>(listener: TcpListener, handler: H, limits: ServerLimits) -> Self
    where
        H: Fn(Request<Body>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self {
            listener,
            app: App::of_handler(handler),
            limits: limits.within_reason(),
        }
    }

    /// Serves until `shutdown` completes, then drains: the listener closes, idle connections close,
    /// requests in flight are finished, and what is left after [`ServerLimits::shutdown_timeout`] is cut.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and cuts every connection that is not upgraded.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self {
            listener,
            app,
            limits,
        } = self;
        let (begin_drain, draining) = channel::channel(false);
        let connections = Connections {
            slots: Arc::new(Semaphore::new(limits.max_connections)),
            protocols: Arc::new(Protocols::new(app, &limits)),
            limits: Arc::new(limits),
            tasks: JoinSet::new(),
            draining,
            failures: Failures::default(),
        };
        let connections = connections.accept_until(listener, shutdown).await;
        // Fails only if no connection is left to be told.
        let _ = begin_drain.send(true);
        connections.drain().await
    }
}

/// The open connections.
struct Connections {
    slots: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    limits: Arc<ServerLimits>,
    tasks: JoinSet<()>,
    draining: channel::Receiver<bool>,
    failures: Failures,
}

impl Connections {
    /// Consumes the listener, so that it is closed when the drain begins.
    async fn accept_until(mut self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Self {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return self,
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                }
                accepted = accept(&listener, &self.slots) => match accepted {
                    Ok((stream, peer, slot)) => self.serve(stream, peer, slot),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        self.failures.log(&error);
                        tokio::select! {
                            () = &mut shutdown => return self,
                            () = tokio::time::sleep(BACK_OFF) => {}
                        }
                    }
                }
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        // Without it every streamed response waits out Nagle's algorithm, some 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "connection is gone already");
            return;
        }
        let activity = Arc::new(Activity::new());
        let stream = Watched::new(stream, slot, Arc::clone(&activity));
        let protocols = Arc::clone(&self.protocols);
        let limits = Arc::clone(&self.limits);
        let draining = self.draining.clone();
        self.tasks.spawn(async move {
            connection::serve(&protocols, stream, peer, &activity, &limits, draining).await;
        });
    }

    async fn drain(mut self) -> Drained {
        // Those that ended before and have not been reaped are not open.
        while self.tasks.try_join_next().is_some() {}
        let open = self.tasks.len();
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(self.limits.shutdown_timeout, all_ended).await;
        let cut = if in_time.is_ok() { 0 } else { self.tasks.len() };
        self.tasks.shutdown().await;
        Drained { open, cut }
    }
}

/// Waits for a free slot before it accepts: what is not accepted costs us nothing.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

/// Errors that say something of the connection that was to be accepted, and nothing of the next.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Failures to accept, which come by the thousand.
#[derive(Default)]
struct Failures {
    logged: Option<Instant>,
    since: u64,
}

impl Failures {
    fn log(&mut self, error: &io::Error) {
        self.since += 1;
        if self.logged.is_some_and(|logged| logged.elapsed() < LOG_EVERY) {
            return;
        }
        tracing::error!(%error, failures = self.since, "cannot accept connections; raise the limit on open files?");
        self.logged = Some(Instant::now());
        self.since = 0;
    }
}
