//! Bodies that are too large to be held: streamed from the file, in few large pieces, in bounded memory.

use std::fs;

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::rig::{Answer, Backend, End, Proxy, get};

const LENGTH: usize = 3_000_000;
const MOST: usize = 256 << 10;
const LEAST: usize = 16 << 10;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

async fn stored(length: usize) -> (Backend, Proxy) {
    let backend = Backend::with("/large", Answer::page(bytes(length))).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/large").await.assert_stored();
    (backend, proxy)
}

/// An answer whose body is read piece by piece.
async fn open(proxy: &Proxy, range: Option<&str>) -> Body {
    let request = http::Request::get("/large").header("host", "site.test");
    let request = match range {
        Some(range) => request.header("range", range),
        None => request,
    };
    let answered = proxy
        .router()
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    let response = answered.expect("an answer");
    let status = response.headers().get("cache-status").expect("Cache-Status");
    assert!(
        status.to_str().is_ok_and(|status| status.contains("hit")),
        "{status:?}"
    );
    response.into_body()
}

async fn piece(body: &mut Body) -> Option<Vec<u8>> {
    let frame = body.frame().await?.expect("a piece of the body");
    Some(frame.into_data().expect("bytes").to_vec())
}

#[tokio::test]
async fn a_large_body_comes_in_few_large_pieces() {
    let (backend, proxy) = stored(LENGTH).await;
    let mut body = open(&proxy, None).await;
    let (mut whole, mut pieces) = (Vec::new(), 0);

    while let Some(piece) = piece(&mut body).await {
        whole.extend_from_slice(&piece);
        pieces += 1;
    }

    assert!(whole == bytes(LENGTH));
    assert_eq!(pieces, LENGTH.div_ceil(MOST));
    assert_eq!(proxy.body_memory(), 0);
    assert_eq!(backend.count("/large"), 1);
}

#[tokio::test]
async fn the_more_bodies_stream_the_smaller_are_their_pieces() {
    const STREAMS: usize = 300;
    let (backend, proxy) = stored(LENGTH).await;
    let mut bodies = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..STREAMS {
        let mut body = open(&proxy, None).await;
        sizes.push(piece(&mut body).await.map_or(0, |piece| piece.len()));
        bodies.push(body);
    }

    assert_eq!((sizes[0], sizes[STREAMS - 1]), (MOST, LEAST), "{sizes:?}");
    let sum: usize = sizes.iter().map(|size| size * 3).sum();
    assert!(sum <= (32 << 20) + STREAMS * 3 * LEAST, "{sum}");
    // Pieces of every size make the same body.
    for index in [0, 50, STREAMS - 1] {
        let mut whole = bytes(sizes[index]);
        while let Some(piece) = piece(&mut bodies[index]).await {
            whole.extend_from_slice(&piece);
        }
        assert!(whole == bytes(LENGTH), "{index}");
    }

    drop(bodies);
    let first = piece(&mut open(&proxy, None).await).await;
    assert_eq!(first.map(|piece| piece.len()), Some(MOST));
    assert_eq!(backend.count("/large"), 1);
}

#[tokio::test]
async fn ranges_of_a_large_body_are_right_at_the_ends_of_pieces() {
    let (backend, proxy) = stored(LENGTH).await;
    let all = bytes(LENGTH);
    for (first, last) in [
        (0, MOST - 1),
        (MOST - 1, MOST),
        (MOST, 2 * MOST),
        (1, LENGTH - 2),
        (LENGTH - 1, LENGTH - 1),
    ] {
        let request = get("/large").with("Range", &format!("bytes={first}-{last}"));
        let response = proxy.send(request).await;
        response.assert_hit();
        assert_eq!(response.status, 206);
        assert_eq!(
            response.field("content-range"),
            Some(format!("bytes {first}-{last}/{LENGTH}").as_str())
        );
        assert!(response.body == all[first..=last], "{first} to {last}");
        let part = open(&proxy, Some(&format!("bytes={first}-{last}"))).await;
        assert!(!part.is_end_stream());
        let part = part.collect().await.expect("the part").to_bytes();
        assert!(part == all[first..=last], "{first} to {last}");
    }
    assert_eq!(backend.count("/large"), 1);
}

#[tokio::test]
async fn who_reads_a_large_body_gets_it_whole_though_the_page_is_invalidated() {
    let (backend, proxy) = stored(LENGTH).await;
    let mut body = open(&proxy, None).await;
    let mut whole = piece(&mut body).await.expect("the first piece");
    backend.on("/large", Answer::page("new"));

    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.get("/large").await.assert(200, "new").assert_stored();

    while let Some(piece) = piece(&mut body).await {
        whole.extend_from_slice(&piece);
    }
    assert!(whole == bytes(LENGTH));
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_is_no_complete_answer() {
    // More than goes into the sockets' buffers.
    let (_backend, proxy) = stored(24_000_000).await;
    let mut reading = proxy.client().open(get("/large")).await;
    assert_eq!(reading.status, 200);
    reading.at_least(1).await;

    fs::File::options()
        .write(true)
        .open(proxy.body_file("site.test/large."))
        .and_then(|file| file.set_len(1000))
        .expect("the file system");

    let cut = reading.finish().await;
    assert_ne!(cut.end, End::Complete);
    assert!(cut.body == bytes(cut.body.len()), "what came is right");
}
