//! The site as a backend of its own: a TCP port that can go away and come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

const BACKLOG: u32 = 1024;
const STOP_DEADLINE: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A site behind an HTTP server on loopback, started and stopped as often as wanted.
pub(super) struct Backend {
    router: Router,
    address: SocketAddr,
    /// A runtime of its own, so that stopping ends whatever the site has spawned (WebSockets too) and
    /// cuts every connection, as ending a process would.
    running: Mutex<Option<Runtime>>,
}

impl Backend {
    /// Starts on a free port.
    pub(super) fn start(router: Router) -> io::Result<Self> {
        let (runtime, address) = launch(router.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self {
            router,
            address,
            running: Mutex::new(Some(runtime)),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    /// Starts again on the same port; nothing if it runs.
    pub(super) fn resume(&self) -> io::Result<()> {
        let mut running = self.running();
        if running.is_none() {
            *running = Some(launch(self.router.clone(), self.address)?.0);
        }
        Ok(())
    }

    /// Closes the port and cuts the connections.
    pub(super) async fn stop(&self) {
        let Some(runtime) = self.running().take() else {
            return;
        };
        let stopping = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_DEADLINE));
        // A panic in there has still dropped the runtime.
        let _ = stopping.await;
    }

    fn running(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // A runtime that is merely dropped blocks, which a task may not.
        if let Some(runtime) = self.running().take() {
            runtime.shutdown_background();
        }
    }
}

fn launch(router: Router, address: SocketAddr) -> io::Result<(Runtime, SocketAddr)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("demo-site")
        .enable_all()
        .build()?;
    let listening = || {
        let _guard = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    match listening() {
        Ok((listener, address)) => {
            runtime.spawn(serve(listener, router));
            Ok((runtime, address))
        }
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

async fn serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, as a rule: it passes.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without this, every streamed answer waits for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A connection that breaks is the client's affair.
            let _ = server
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::demo::site::{Pace, Site};

    #[tokio::test]
    async fn stopping_cuts_connections_and_frees_the_port_for_the_next_start() {
        let backend = Backend::start(Site::new(Pace::Instant).router()).unwrap();
        let address = backend.address();
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET /events HTTP/1.1\r\nHost: hut\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut head = [0; 15];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");

        backend.stop().await;
        assert!(!backend.is_running());
        let mut rest = Vec::new();
        // An end or a reset, but no stream that goes on.
        let _ = client.read_to_end(&mut rest).await;
        assert!(TcpStream::connect(address).await.is_err());

        backend.resume().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
    }
}
