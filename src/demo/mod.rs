//! `phantom-frame demo`: an embedded site behind the proxy, and a console that shows what becomes of it.
//!
//! The console lives beside the proxy on the same listener, under `/_phantom/`; every other path is
//! the proxy's. The site is a real HTTP backend on a port of its own, and can be stopped.

mod backend;
mod console;
mod site;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::config::CreateProxyConfig;
use crate::error::{Error, ErrorKind};
use crate::proxy::Proxy;
use crate::server::{Server, ServerLimits};

use backend::Backend;
pub use site::{Pace, Site};

/// How long what is in flight may take at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a demo can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DemoOptions {
    /// Where the snapshots go; a directory given here stays. Default: a temporary one, removed at the end.
    pub dir: Option<PathBuf>,
    /// The port on loopback. Default 0: a free one.
    pub port: u16,
    /// How long the site takes to render. Default: as real ones do.
    pub pace: Pace,
}

/// A demo that is set up and listens, and answers once it is [run](Self::run).
pub struct Demo {
    site: Site,
    backend: Arc<Backend>,
    proxy: Proxy,
    router: Router,
    listener: TcpListener,
    address: SocketAddr,
    directory: Directory,
}

enum Directory {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// Sets a demo up and runs it until `shutdown` is ready. A caller that wants to say where it is
/// begins with [`Demo::start`].
///
/// # Errors
/// As [`Demo::start`].
pub async fn run(
    options: DemoOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    Demo::start(options).await?.run(shutdown).await
}

impl Demo {
    /// Starts the site, and puts the proxy and the console in front of it.
    ///
    /// # Errors
    /// When the port is taken, or the directory cannot be used.
    pub async fn start(options: DemoOptions) -> Result<Self, Error> {
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = TcpListener::bind(bind)
            .await
            .map_err(|source| cannot_listen(bind, source))?;
        let address = listener
            .local_addr()
            .map_err(|source| cannot_listen(bind, source))?;
        let site = Site::new(options.pace);
        let backend = Backend::start(site.router()).map(Arc::new).map_err(|source| {
            Error::new(ErrorKind::Bind, "cannot start the demo's site").with_source(source)
        })?;
        let directory = match options.dir {
            Some(path) => Directory::Given(path),
            None => Directory::Temporary(
                tempfile::Builder::new()
                    .prefix("phantom-frame-demo-")
                    .tempdir()
                    .map_err(|source| {
                        Error::directory("make a directory in", std::env::temp_dir(), source)
                    })?,
            ),
        };
        let proxy = Proxy::new(proxy_config(&backend, directory.path(), address))?;
        let console = console::Parts {
            site: site.clone(),
            backend: Arc::clone(&backend),
            trigger: proxy.trigger(),
            directory: directory.path().to_owned(),
            address,
        };
        let router = console::in_front_of(proxy.router(), console);
        Ok(Self {
            site,
            backend,
            proxy,
            router,
            listener,
            address,
            directory,
        })
    }

    /// The console's address, to be opened in a browser.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, console::PATH)
    }

    /// The address that the console and the proxy listen on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the site itself.
    pub fn backend_address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// Where the snapshots are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The site, to edit it and to count its work.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Console and proxy, without the listener.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Serves until `shutdown` is ready, then ends the fills, stops the site and removes a temporary
    /// directory.
    ///
    /// # Errors
    /// When a temporary directory cannot be removed.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let limits = ServerLimits {
            shutdown_timeout: PATIENCE,
            ..ServerLimits::default()
        };
        Server::new(self.listener, self.router, limits)
            .run(shutdown)
            .await;
        self.proxy.shut_down(PATIENCE).await;
        // Before its directory goes, which it would take for a foreign change.
        drop(self.proxy);
        self.backend.stop().await;
        match self.directory {
            Directory::Given(_) => Ok(()),
            Directory::Temporary(dir) => remove(dir).await,
        }
    }
}

/// Removes the directory. What still watches it may write its marker again, for a moment.
async fn remove(dir: TempDir) -> Result<(), Error> {
    let path = dir.keep();
    let mut tries = 0;
    loop {
        match tokio::fs::remove_dir_all(&path).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 20 => tries += 1,
            Err(error) => return Err(Error::directory("remove", path, error)),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo")
            .field("address", &self.address)
            .field("backend", &self.backend.address())
            .field("directory", &self.directory.path())
            .finish_non_exhaustive()
    }
}

/// The site's name and public address are constants, so that the snapshots are the same files on
/// whichever ports the demo runs.
fn proxy_config(backend: &Backend, directory: &Path, address: SocketAddr) -> CreateProxyConfig {
    CreateProxyConfig::new(format!("http://{}", backend.address()))
        .with_snapshot_dir(directory)
        .with(|settings| {
            settings.site = Some("karstein-hut".into());
            settings.public_url = Some("http://karstein-hut.example".into());
            settings.aliases = vec![address.to_string(), format!("localhost:{}", address.port())];
        })
}

fn cannot_listen(address: SocketAddr, source: io::Error) -> Error {
    Error::new(ErrorKind::Bind, format!("cannot listen on {address}"))
        .with_source(source)
        .with_hint("choose another port, or 0 for a free one")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{SinkExt, StreamExt};
    use tokio::sync::oneshot;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    fn options(dir: Option<PathBuf>) -> DemoOptions {
        DemoOptions {
            dir,
            port: 0,
            pace: Pace::Instant,
        }
    }

    /// Starts a demo, asks for its console, stops it, and tells where its snapshots were.
    async fn run_once(dir: Option<PathBuf>) -> PathBuf {
        let demo = Demo::start(options(dir)).await.unwrap();
        let (directory, url) = (demo.directory().to_owned(), demo.url());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(demo.run(async { drop(stopped.await) }));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let console = client.get(url).send().await.unwrap();
        assert_eq!(console.status(), 200);
        assert!(directory.is_dir());
        drop(stop);
        tokio::time::timeout(Duration::from_secs(10), running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        directory
    }

    #[tokio::test]
    async fn a_temporary_directory_goes_with_the_demo_and_a_given_one_stays() {
        assert!(!run_once(None).await.exists());
        let given = tempfile::tempdir().unwrap();
        assert!(run_once(Some(given.path().to_owned())).await.is_dir());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let mut options = options(None);
        options.port = address.port();
        let error = Demo::start(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bind);
        assert!(error.to_string().contains(&address.to_string()));
    }

    #[tokio::test]
    async fn the_site_echoes_over_a_websocket_until_its_backend_stops() {
        let backend = Backend::start(Site::new(Pace::Instant).router()).unwrap();
        let url = format!("ws://{}/ws", backend.address());
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        socket.send(Message::text("halloo")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("halloo"));
        backend.stop().await;
        assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    }
}
