//! Tags, conditions and ranges of coded pages.

use crate::rig::{Answer, Backend, Proxy, get, head, request};

use super::{CODINGS, accepting, compressing, decoded, page, ready, text};

async fn one_page() -> (Backend, Proxy) {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    (backend, proxy)
}

#[tokio::test]
async fn a_tag_of_any_form_is_the_page_s() {
    let (backend, proxy) = one_page().await;
    for (accepted, tag) in [("br", "\"x;br\""), ("gzip", "\"x;gz\""), ("identity", "\"x\"")] {
        for known in [
            "\"x\"",
            "W/\"x\"",
            "\"x;br\"",
            "\"x;zst\"",
            "W/\"x;gz\"",
            "\"y\", \"x;br\"",
            "*",
        ] {
            for asked in [
                accepting("/", accepted),
                head("/").with("Accept-Encoding", accepted),
            ] {
                let told = proxy.send(asked.with("If-None-Match", known)).await;
                told.assert(304, "").assert_hit();
                assert_eq!(told.field("etag"), Some(tag), "{accepted} for who has {known}");
                assert_eq!(told.fields.all("vary"), ["accept-encoding"]);
                assert!(!told.fields.has("content-encoding"), "{told:?}");
            }
        }
        for other in ["\"y\"", "\"y;br\"", "\"x;deflate\"", "\"x;br;\"", "\"x;br;br\""] {
            let whole = proxy
                .send(accepting("/", accepted).with("If-None-Match", other))
                .await;
            assert_eq!((whole.status, decoded(&whole)), (200, text("x")), "{other}");
        }
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_weak_tag_stays_one_and_what_is_no_tag_is_not_said_of_a_coded_form() {
    for (stored, coded) in [("W/\"x\"", Some("W/\"x;gz\"")), ("x", None)] {
        let backend = Backend::with("/", Answer::page(text("x")).with("ETag", stored)).await;
        let proxy = compressing(&backend).start().await;
        ready(&proxy, "/").await;
        let hit = proxy.send(accepting("/", "gzip")).await;
        assert_eq!(hit.field("etag"), coded);
        assert_eq!(proxy.get("/").await.field("etag"), Some(stored));
    }
}

#[tokio::test]
async fn ranges_are_of_the_page_as_it_is() {
    let (backend, proxy) = one_page().await;
    let body = text("x");
    let ranged = |range| accepting("/", "br, gzip").with("Range", range);
    let part = proxy.send(ranged("bytes=10-19")).await;
    part.assert(206, &body[10..20]).assert_hit();
    assert_eq!(part.field("etag"), Some("\"x\""));
    assert_eq!(part.fields.all("vary"), ["accept-encoding"]);
    assert_eq!(
        part.field("content-range"),
        Some(&*format!("bytes 10-19/{}", body.len()))
    );
    assert!(!part.fields.has("content-encoding"), "{part:?}");

    let rest = proxy.send(ranged("bytes=10-19").with("If-Range", "\"x\"")).await;
    rest.assert(206, &body[10..20]);
    // What a client has of a coded form has no rest.
    for (_, suffix) in CODINGS {
        let tag = format!("\"x;{suffix}\"");
        let whole = proxy.send(ranged("bytes=10-19").with("If-Range", &tag)).await;
        assert_eq!((whole.status, decoded(&whole)), (200, text("x")), "{tag}");
    }
    let beyond = proxy.send(ranged("bytes=999999-")).await;
    assert_eq!(beyond.status, 416);
    // What is no single range is none.
    let whole = proxy.send(ranged("bytes=0-1,3-4")).await;
    assert_eq!((whole.status, whole.field("content-encoding")), (200, Some("br")));
    // Nor is there one of a HEAD.
    let head = proxy
        .send(head("/").with("Accept-Encoding", "br").with("Range", "bytes=0-1"))
        .await;
    assert_eq!((head.status, head.field("content-encoding")), (200, Some("br")));
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn the_backend_is_asked_by_its_own_tags() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    let somebody = |request: crate::rig::client::Request| request.with("Cookie", "session=1");

    let mine = somebody(get("/")).with("If-None-Match", "\"x;br\", W/\"y;gz\"");
    assert!(!proxy.send(mine).await.cache().hit);
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"x\", W/\"y\""));

    let put = request("PUT", "/")
        .with("If-Match", "\"x;zst\"")
        .with("Content-Length", "0");
    proxy.send(put).await;
    assert_eq!(backend.last("/").field("if-match"), Some("\"x\""));

    // With the backend's bytes what the client has could not be put together.
    let rest = somebody(get("/"))
        .with("Range", "bytes=5-")
        .with("If-Range", "\"x;br\"");
    proxy.send(rest).await;
    assert_eq!(backend.last("/").field("if-range"), Some("\"x;br\""));
    assert_eq!(backend.last("/").field("range"), Some("bytes=5-"));
}

#[tokio::test]
async fn without_compression_a_tag_is_the_backend_s_own() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = Proxy::start(&backend).await;
    let mine = get("/")
        .with("Cookie", "session=1")
        .with("If-None-Match", "\"x;gz\"");
    proxy.send(mine).await;
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"x;gz\""));
}

#[tokio::test]
async fn the_fill_of_a_page_is_not_conditional_by_a_coded_form() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| match request.field("if-none-match") {
        Some("\"x\"") => Answer::new(304)
            .with("ETag", "\"x\"")
            .with("Cache-Control", "max-age=60"),
        _ => page("x").with("Cache-Control", "max-age=60"),
    });
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    proxy.clock().advance(61);
    let told = proxy
        .send(accepting("/", "br").with("If-None-Match", "\"x;br\""))
        .await;
    told.assert(304, "").assert_revalidated();
    assert_eq!(backend.last("/").field("if-none-match"), Some("\"x\""));
    assert_eq!(told.field("etag"), Some("\"x;br\""));
}
