//! A backend over https: pages, tunnels, and a certificate that nobody vouches for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use phantom_frame::Reason;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Proxy, Setup, get, post};

/// TLS in front of a backend, under a certificate of its own for `localhost`.
struct Secured {
    port: u16,
    ca: PathBuf,
    _dir: TempDir,
    task: JoinHandle<()>,
}

impl Secured {
    async fn over(backend: &Backend) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, cert.pem()).expect("the certificate's file");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("the address").port();
        let task = tokio::spawn(terminate(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            backend.addr(),
        ));
        Self {
            port,
            ca,
            _dir: dir,
            task,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Secured {
    /// A proxy that knows who has signed its certificate.
    async fn trusted(&self) -> Proxy {
        let ca = self.ca.clone();
        Setup::over_url(self.url())
            .with(move |settings| settings.backend_ca = Some(ca.clone()))
            .start()
            .await
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, backend: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust us ends it here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            if let Ok(mut backend) = TcpStream::connect(backend).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut backend).await;
            }
        });
    }
}

#[tokio::test]
async fn pages_come_over_https() {
    let backend = Backend::with("/", Answer::page("secured")).await;
    backend.on_fn("/echo", |request| Answer::page(request.body.clone()));
    let secured = Secured::over(&backend).await;
    let proxy = secured.trusted().await;

    proxy.warm("/").await.assert(200, "secured");
    proxy.send(post("/echo", "sent")).await.assert(200, "sent");

    assert_eq!(backend.count("/"), 1);
    assert_eq!(backend.last("/").field("host"), Some("site.test"));
}

#[tokio::test]
async fn a_tunnel_goes_over_https() {
    let backend = Backend::with(
        "/ws",
        Answer::raw([
            Step::Send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello"
                    .into(),
            ),
            Step::Echo,
            Step::Send("bye".into()),
            Step::Close,
        ]),
    )
    .await;
    let secured = Secured::over(&backend).await;
    let proxy = secured.trusted().await;

    let request = get("/ws").with("Connection", "Upgrade").with("Upgrade", "echo");
    let exchange = proxy.client().open(request).await;
    assert_eq!(exchange.status, 101);
    let mut connection = exchange.into_connection();
    connection.write(b"words").await;
    assert_eq!(connection.exactly(10).await, b"hellowords");
    connection.shut_down().await;
    assert_eq!(connection.rest().await, b"bye");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let backend = Backend::with_page("not to be seen").await;
    let secured = Secured::over(&backend).await;
    let proxy = Setup::over_url(secured.url()).start().await;

    proxy.get("/").await.assert_refused(502, Reason::Unreachable);

    assert_eq!(backend.total(), 0);
}
