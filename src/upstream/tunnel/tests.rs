//! Tests of tunnels, over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::Upstream;
use super::super::test_rig::*;

#[tokio::test]
async fn a_tunnel_keeps_early_bytes_and_passes_on_a_half_close() {
    let base = backend(|_, stream| echo_at_the_end(stream)).await;
    let upstream = Upstream::http(options(&base)).expect("an upstream");
    assert_early_bytes_and_half_close(front(upstream, LONG).await).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let base = answering(
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
        Then::Hold,
    )
    .await;
    let mut client = front(Upstream::http(options(&base)).expect("an upstream"), LONG).await;
    client.write_all(UPGRADE).await.expect("written");
    let head = read_head(&mut client).await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let base = backend(|_, stream| echo_at_the_end(stream)).await;
    let mut client = front(Upstream::http(options(&base)).expect("an upstream"), SHORT).await;
    client.write_all(UPGRADE).await.expect("written");
    let mut all = Vec::new();
    let began = std::time::Instant::now();
    // Closed with bytes unread on either side, it may end as a reset.
    let _ = client.read_to_end(&mut all).await;
    assert!(began.elapsed() >= SHORT);
    assert!(all.ends_with(b"early from backend;"));
}
