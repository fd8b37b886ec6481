//! Bodies in memory, in front of the files: never another answer than theirs, and no memory for what is gone.

use std::fs;

use axum::body::Body;
use phantom_frame::{Reason, RefreshMode};
use tower::ServiceExt;

use crate::rig::client::Request;
use crate::rig::h2::{H2, StreamEnd};
use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually, get, head, remove_all};

const MEMORY: u64 = 64 << 20;
/// What is in hand besides what is held.
const ALLOWANCE: u64 = 32 << 20;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

async fn with_memory(backend: &Backend, limit: u64) -> Proxy {
    Proxy::with(backend, move |settings| settings.memory_limit = limit).await
}

/// Asks until an answer takes no look at the disk.
async fn heat(proxy: &Proxy, path: &str) {
    proxy.until_ready().await;
    eventually("the page to be answered from memory", async || {
        let before = proxy.faults().asked();
        proxy.get(path).await.assert_hit();
        (proxy.faults().asked() == before && proxy.body_memory() > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_page_in_memory_is_answered_while_the_disk_fails_in_everything() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)).with("ETag", "\"1\""));
    let mut proxy = with_memory(&backend, MEMORY).await;
    for path in ["/hot", "/cold"] {
        proxy.get(path).await.assert_stored();
    }
    // The watcher hears of files that were written, and looks at them; of these it never does.
    proxy.stop().await;
    proxy.start_again().await;
    heat(&proxy, "/hot").await;

    proxy
        .faults()
        .fail_nth(0, std::io::ErrorKind::Other, crate::rig::proxy::Lasting::ForGood);

    proxy.get("/hot").await.assert(200, "page /hot").assert_hit();
    proxy.send(head("/hot")).await.assert(200, "").assert_hit();
    let part = get("/hot").with("Range", "bytes=0-3");
    proxy.send(part).await.assert(206, "page").assert_hit();
    let known = get("/hot").with("If-None-Match", "\"1\"");
    proxy.send(known).await.assert(304, "").assert_hit();
    assert_eq!(backend.count("/hot"), 1);
    let touched = proxy.faults().failed();
    assert!(
        !touched
            .iter()
            .any(|(_, path)| path.to_string_lossy().contains("hot.")),
        "{touched:?}"
    );
    // The other one has to be read.
    let cold = proxy.get("/cold").await;
    cold.assert(200, "page /cold");
    assert!(!cold.cache().hit, "{cold:?}");
}

/// What a client may ask of a page.
fn requests(length: usize) -> Vec<Request> {
    let at = |range: &str| get("/page").with("Range", range);
    let end = length - 1;
    let mut requests = vec![
        get("/page"),
        head("/page"),
        head("/page").with("Range", "bytes=0-1"),
    ];
    requests.extend(
        [
            "bytes=0-0",
            "bytes=65535-65537",
            "bytes=100-",
            "bytes=-100",
            "BYTES=5-9",
            "bytes=0-1,4-5",
            "lines=1-2",
            "bytes=9-5",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ]
        .map(at),
    );
    requests.push(at(&format!("bytes={end}-{length}")));
    requests.push(at(&format!("bytes={length}-")));
    requests.push(at(&format!("bytes=-{}", length + 1)));
    for (name, value) in [
        ("If-None-Match", "\"1\""),
        ("If-None-Match", "\"2\""),
        ("If-Modified-Since", "Tue, 03 Jan 2023 03:04:05 GMT"),
        ("If-Modified-Since", "Sun, 01 Jan 2023 03:04:05 GMT"),
    ] {
        requests.push(get("/page").with(name, value));
        requests.push(head("/page").with(name, value));
        requests.push(at("bytes=1-2").with(name, value));
    }
    for value in ["\"1\"", "\"2\"", "Mon, 02 Jan 2023 03:04:05 GMT"] {
        requests.push(at("bytes=1-2").with("If-Range", value));
        requests.push(at(&format!("bytes={length}-")).with("If-Range", value));
    }
    requests
}

#[tokio::test]
async fn from_memory_read_whole_or_streamed_an_answer_is_the_same() {
    // Up to 256 KiB a page that is not held is read whole; a larger one is streamed.
    for length in [200 << 10, 300 << 10] {
        let backend = Backend::with(
            "/page",
            Answer::page(bytes(length))
                .with("ETag", "\"1\"")
                .with("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT")
                .with("Cache-Control", "max-age=600"),
        )
        .await;
        let clock = TestClock::standing();
        let start = async |limit| {
            let setup = Setup::over(&backend).clock(clock.clone());
            let proxy = setup
                .with(move |settings| settings.memory_limit = limit)
                .start()
                .await;
            proxy.get("/page").await.assert_stored();
            proxy
        };
        let (memory, file) = (start(MEMORY).await, start(0).await);
        heat(&memory, "/page").await;
        for request in requests(length) {
            let (first, second) = (
                memory.send(request.clone()).await,
                file.send(request.clone()).await,
            );
            first.assert_hit();
            assert_eq!(first.status, second.status, "{request:?}");
            assert_eq!(
                format!("{:?}", first.fields),
                format!("{:?}", second.fields),
                "{request:?}"
            );
            assert!(
                first.body == second.body && first.end == second.end,
                "{request:?}"
            );
        }
        assert!(memory.get("/page").await.body == bytes(length));
        eventually("nobody to have bytes of the file in hand", async || {
            (file.body_memory() == 0).then_some(())
        })
        .await;
        assert_eq!(backend.count("/page"), 2);
    }
}

#[tokio::test]
async fn head_over_http_2_has_no_body_from_memory_either() {
    let backend = Backend::with_page("page").await;
    for limit in [MEMORY, 0] {
        let proxy = with_memory(&backend, limit).await;
        proxy.warm("/").await;
        for (method, body) in [(&b"HEAD"[..], &b""[..]), (b"GET", b"page")] {
            let mut connection = H2::connect(proxy.addr()).await;
            let fields: [(&[u8], &[u8]); 4] = [
                (b":method", method),
                (b":scheme", b"http"),
                (b":authority", b"site.test"),
                (b":path", b"/"),
            ];
            let stream = connection.begin(&fields, None).await;
            let end = connection.end_of(stream).await;
            assert_eq!(end, StreamEnd::Answered(200, body.to_vec()), "memory {limit}");
        }
    }
    assert_eq!(backend.total(), 2);
}

/// What takes a page out of memory.
#[derive(Clone, Copy, Debug)]
enum Out {
    Invalidated,
    Replaced,
    TakenBack,
    BodyDeleted,
    SidecarDeleted,
    FolderDeleted,
    Edited,
    Evicted,
}

#[tokio::test]
async fn what_is_gone_takes_no_memory() {
    for out in [
        Out::Invalidated,
        Out::Replaced,
        Out::TakenBack,
        Out::BodyDeleted,
        Out::SidecarDeleted,
        Out::FolderDeleted,
        Out::Edited,
        Out::Evicted,
    ] {
        let backend = Backend::start().await;
        backend.fallback(|request| match request.path() {
            "/a/page" => Answer::page(bytes(10_000)),
            // Without a body to be held.
            _ => Answer::page(""),
        });
        let proxy = Setup::over(&backend)
            .clock(TestClock::ticking())
            .with(move |settings| {
                settings.memory_limit = MEMORY;
                if matches!(out, Out::Evicted) {
                    settings.max_snapshots = 20;
                }
            })
            .start()
            .await;
        proxy.get("/a/page").await.assert_stored();
        heat(&proxy, "/a/page").await;
        let held = proxy.body_memory();
        assert!((10_000..20_000).contains(&held), "{held}");

        let body = proxy.body_file("site.test/a/page.");
        match out {
            Out::Invalidated => {
                // In force, and out of memory, before any file is gone.
                proxy.trigger().refresh().await.expect("the invalidation");
                assert_eq!(proxy.body_memory(), 0, "{out:?}");
            }
            Out::Replaced | Out::TakenBack => {
                let answer = match out {
                    Out::Replaced => Answer::page("new"),
                    _ => Answer::new(404),
                };
                backend.on("/a/page", answer);
                let mark = proxy.trigger();
                let mark = mark.refresh_matching(&["*"], RefreshMode::Stale);
                mark.await.expect("the invalidation");
                // Kept, to be validated, and so still held.
                assert_eq!(proxy.body_memory(), held, "{out:?}");
                proxy.get("/a/page").await;
            }
            Out::BodyDeleted => fs::remove_file(&body).expect("the file system"),
            Out::SidecarDeleted => {
                fs::remove_file(proxy.sidecar("site.test/a/page.").0).expect("the file system");
            }
            Out::FolderDeleted => {
                remove_all(&proxy.dir().join("site.test/a")).await;
            }
            Out::Edited => fs::write(&body, "by hand").expect("the file system"),
            Out::Evicted => {
                // The one that has not been used for longest goes.
                for n in 0..20 {
                    proxy.clock().advance(2);
                    proxy.warm(&format!("/b/{n}")).await;
                }
            }
        }

        eventually(&format!("{out:?}: nothing to be in memory"), async || {
            (proxy.body_memory() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_hand_edit_ends_what_is_answered_from_memory() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .clock(TestClock::ticking())
        .with(|settings| settings.memory_limit = MEMORY)
        .start()
        .await;
    proxy.get("/page").await.assert_stored();
    heat(&proxy, "/page").await;

    fs::write(proxy.body_file("site.test/page."), "by hand").expect("the file system");

    eventually("the edit to be noticed", async || {
        let response = proxy.get("/page").await;
        response.assert(200, "page");
        (!response.cache().hit).then_some(response)
    })
    .await
    .assert_not_stored(Reason::Foreign);
}

#[tokio::test]
async fn one_page_s_end_takes_no_other_with_the_same_bytes() {
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("the same"));
    let proxy = with_memory(&backend, MEMORY).await;
    for path in ["/one", "/two"] {
        proxy.get(path).await.assert_stored();
        heat(&proxy, path).await;
    }

    proxy
        .trigger()
        .refresh_matching(&["/one"], RefreshMode::Delete)
        .await
        .expect("the invalidation");

    proxy.get("/two").await.assert(200, "the same").assert_hit();
    assert_eq!(backend.count("/two"), 1);
    proxy.get("/one").await.assert_stored();
}

/// Asks for a page and reads nothing of its body.
async fn slow(proxy: &Proxy, path: &str) -> Body {
    let request = http::Request::get(path)
        .header("host", "site.test")
        .body(Body::empty());
    let answered = proxy.router().oneshot(request.expect("a request")).await;
    let response = answered.expect("an answer");
    assert_eq!(response.status(), 200);
    let status = response.headers().get("cache-status").expect("Cache-Status");
    assert!(
        status.to_str().is_ok_and(|status| status.contains("hit")),
        "{status:?}"
    );
    response.into_body()
}

#[tokio::test]
async fn readers_who_do_not_read_keep_no_more_memory_than_is_allowed() {
    const PAGES: usize = 300;
    let length = 200 << 10;
    let page = move |path: &str| {
        let mut page = bytes(length);
        page.extend_from_slice(path.as_bytes());
        page
    };
    for limit in [0, 4 << 20] {
        let backend = Backend::start().await;
        backend.fallback(move |request| Answer::page(page(&request.target)));
        let proxy = with_memory(&backend, limit).await;
        let mut readers = Vec::new();
        for n in 0..PAGES {
            let path = format!("/{n}");
            proxy.get(&path).await.assert_stored();
            readers.push((slow(&proxy, &path).await, path));
        }

        // 60 MB are waited for.
        let held = proxy.body_memory();
        assert!((ALLOWANCE / 2..=limit + ALLOWANCE).contains(&held), "{held}");
        for (reader, path) in readers {
            let whole = axum::body::to_bytes(reader, usize::MAX).await.expect("the body");
            assert!(whole == page(&path), "{path}");
        }
        assert!(proxy.body_memory() <= limit, "{}", proxy.body_memory());
        // And whoever comes then finds the memory free.
        proxy.get("/0").await.assert_hit();
        assert_eq!(backend.total(), PAGES);
    }
}
