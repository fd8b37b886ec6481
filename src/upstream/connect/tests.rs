//! Tests of connecting, over real sockets.

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::super::test_rig::*;
use super::super::{Upstream, UpstreamError, UpstreamOptions};
use super::*;
use crate::outcome::Reason;

/// A certificate for localhost: a server that holds it, and a PEM file that vouches for it.
fn certified() -> (TlsAcceptor, tempfile::NamedTempFile) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a configuration");
    let pem = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(pem.path(), certified.cert.pem()).expect("written");
    (TlsAcceptor::from(Arc::new(config)), pem)
}

/// An https backend for one connection, which waits for the end of the client's bytes and echoes them.
async fn tls_backend() -> (UpstreamOptions, tempfile::NamedTempFile) {
    let (acceptor, pem) = certified();
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        if let Ok(stream) = acceptor.accept(stream).await {
            echo_at_the_end(stream).await;
        }
    });
    let options = UpstreamOptions {
        ca_file: Some(pem.path().to_owned()),
        ..options(&format!("https://localhost:{port}"))
    };
    (options, pem)
}

#[tokio::test]
async fn an_https_backend_certified_by_backend_ca_is_tunnelled_to() {
    let (options, _pem) = tls_backend().await;
    let upstream = Upstream::http(options).expect("an upstream");
    assert_early_bytes_and_half_close(front(upstream, LONG).await).await;
}

#[tokio::test]
async fn an_https_backend_that_nobody_vouches_for_is_unreachable() {
    let (options, _pem) = tls_backend().await;
    let (_, others) = certified();
    let upstream = Upstream::http(UpstreamOptions {
        ca_file: Some(others.path().to_owned()),
        ..options
    })
    .expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/", ""))
        .await
        .expect_err("no response");
    assert_eq!(error.reason(), Reason::Unreachable);
    assert!(
        crate::error::chain(&error).contains("certificate"),
        "{}",
        crate::error::chain(&error)
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_a_connect_timeout() {
    let (_listener, port) = listen().await;
    let (_, pem) = certified();
    let upstream = Upstream::http(UpstreamOptions {
        connect_timeout: Duration::from_millis(80),
        ca_file: Some(pem.path().to_owned()),
        ..options(&format!("https://127.0.0.1:{port}"))
    })
    .expect("an upstream");
    let error = upstream
        .fetch(request("GET", "/", ""))
        .await
        .expect_err("no response");
    assert!(matches!(error, UpstreamError::ConnectTimeout { .. }), "{error:?}");
}

#[test]
fn a_ca_file_that_certifies_nothing_is_an_error_on_backend_ca() {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    for path in [empty.path(), std::path::Path::new("/nonexistent/ca.pem")] {
        let result = Upstream::http(UpstreamOptions {
            ca_file: Some(path.to_owned()),
            ..options("https://localhost")
        });
        let error = result.err().expect("an error");
        assert_eq!(error.setting(), Some("backend_ca"));
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
