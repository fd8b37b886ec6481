//! By a body, where there should be none.

use phantom_frame::Reason;

use super::{POISON, echo, over, poisoned};
use crate::rig::{Proxy, get, request};

#[tokio::test]
async fn a_body_makes_a_request_pass_and_leaves_nothing() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for method in ["GET", "HEAD"] {
        let poison = async |proxy: &Proxy| {
            let own = request(method, "/page")
                .with("Content-Length", "6")
                .with_body(POISON);
            proxy.send(own).await
        };
        let own = poisoned(&mut proxy, "/page", poison).await;
        own.assert_not_stored(Reason::RequestBody);
        let seen = backend.requests_for("/page");
        assert!(
            seen.iter()
                .any(|seen| seen.method == method && seen.text() == POISON)
        );
    }
}

#[tokio::test]
async fn trailers_make_a_request_pass_and_leave_nothing() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let poison = async |proxy: &Proxy| {
        let own = get("/page")
            .with("Transfer-Encoding", "chunked")
            .with("Trailer", "X-Forwarded-Host, X-Marker, Cookie")
            .with_body(
                "6\r\np0is0n\r\n0\r\nX-Forwarded-Host: p0is0n.test\r\nX-Marker: p0is0n\r\nCookie: p0is0n=1\r\n\r\n",
            );
        proxy.send(own).await
    };
    let own = poisoned(&mut proxy, "/page", poison).await;
    own.assert_not_stored(Reason::RequestBody);
}

/// A body that is said to be empty is none.
#[tokio::test]
async fn an_empty_body_leaves_nothing_either() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let poison = async |proxy: &Proxy| {
        let own = get("/page")
            .with("Transfer-Encoding", "chunked")
            .with("X-Marker", POISON)
            .with_body("0\r\nX-Marker: p0is0n\r\n\r\n");
        proxy.send(own).await
    };
    poisoned(&mut proxy, "/page", poison).await;
}
