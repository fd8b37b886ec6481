//! A directory that is all there is: no backend, no writes, and nothing grows stale.

mod operations;
mod places;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use phantom_frame::control::create_control_router;
use phantom_frame::{
    CreateProxyConfig, ErrorKind, Reason, RefreshError, RefreshMode, Settings, create_proxy,
};

use crate::rig::log::Log;
use crate::rig::{
    Answer, Backend, Proxy, Response, Serving, Setup, eventually_within, get, head, post, request,
};

/// A site with a few pages.
async fn site() -> Backend {
    let backend = Backend::start().await;
    for (path, control) in [
        ("/", "max-age=60"),
        ("/blog/hello", "no-cache"),
        ("/old", "max-age=0, must-revalidate"),
        ("/search", ""),
    ] {
        let answer = Answer::page(format!("page {path}"));
        let answer = match control {
            "" => answer,
            control => answer
                .with("Cache-Control", control)
                .with("ETag", "\"of-the-backend\""),
        };
        backend.on(path, answer);
    }
    backend.on(
        "/s.css",
        Answer::new(200).with("Content-Type", "text/css").body("body{}"),
    );
    backend.on("/moved", Answer::new(301).with("Location", "/blog/hello"));
    backend
}

/// A directory as a checkout has it: without our own folder, with times that say nothing.
fn check_out(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the folder").flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if name == ".phantom" {
            continue;
        }
        let to = to.join(&name);
        if path.is_dir() {
            check_out(&path, &to);
            continue;
        }
        fs::copy(&path, &to).expect("a copy");
        let file = fs::File::options().write(true).open(&to).expect("the copy");
        let some_time = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * 365 * 40);
        file.set_modified(some_time).expect("a time");
    }
}

/// The directory of `proxy`, checked out, and its backend's address, which must not be used.
fn checked_out(proxy: &Proxy, backend: &Backend, change: fn(&mut Settings)) -> Setup {
    let setup = Setup::over(backend)
        .with(|settings| settings.frozen = true)
        .with(change);
    check_out(&proxy.dir(), &setup.snapshots());
    setup
}

async fn frozen(proxy: &Proxy, backend: &Backend) -> Proxy {
    let proxy = checked_out(proxy, backend, |_| ()).start().await;
    backend_is_left_alone(backend);
    proxy
}

fn backend_is_left_alone(backend: &Backend) {
    // Whatever is asked of it from now on is a request too many.
    backend.fallback(|request| panic!("the backend was asked for {}", request.target));
}

#[track_caller]
fn assert_in_place(response: &Response, body: &str, reason: Reason) {
    response.assert(200, body);
    let cache = response.cache();
    assert_eq!((cache.hit, cache.fwd), (true, None), "{response:?}");
    assert_eq!(cache.detail.as_deref(), Some(reason.as_str()), "{response:?}");
}

fn set_writable(dir: &Path, mode: u32) {
    for entry in fs::read_dir(dir).expect("the folder").flatten() {
        if entry.path().is_dir() {
            set_writable(&entry.path(), mode);
        }
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("permissions");
}

#[tokio::test]
async fn every_page_is_served_whatever_its_lifetime_and_nothing_is_written_or_asked() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    let pages = ["/", "/blog/hello", "/old", "/search?q=a", "/s.css", "/moved"];
    let mut known = Vec::new();
    for page in pages {
        let response = proxy.get(page).await;
        assert!(response.cache().stored, "{response:?}");
        known.push(response);
    }
    // What has no body is answered before it is there.
    proxy.stop().await;
    let asked = backend.total();
    let setup = checked_out(&proxy, &backend, |_| ());
    set_writable(&setup.snapshots(), 0o555);

    let frozen = setup.start().await;
    let tree = frozen.contents();
    frozen.clock().advance(365 * 86_400);
    for (page, known) in pages.iter().zip(&known) {
        for _ in 0..2 {
            let response = frozen.get(page).await;
            response.assert(known.status, &known.text()).assert_hit();
            assert_eq!((response.age(), response.cache().ttl), (Some(0), None), "{page}");
            for field in ["content-type", "location", "etag"] {
                let is_ours = field == "etag" && known.field(field).is_none();
                assert!(
                    is_ours || response.field(field) == known.field(field),
                    "{page}: {field}"
                );
            }
        }
        frozen
            .send(head(page))
            .await
            .assert(known.status, "")
            .assert_hit();
    }

    assert_eq!(backend.total(), asked, "the backend is left alone");
    assert!(frozen.contents() == tree, "nothing is written");
    assert!(
        !frozen.dir().join(".phantom").exists(),
        "not even a folder of ours"
    );
    assert!(frozen.engine().is_ready());
    set_writable(&frozen.dir(), 0o755);
}

#[tokio::test]
async fn other_methods_and_upgrades_are_refused() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let proxy = frozen(&proxy, &backend).await;
    proxy.get("/").await.assert(200, "page /").assert_hit();

    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        let response = proxy.send(request(method, "/")).await;
        response.assert_refused(405, Reason::FrozenMethod);
        assert_eq!(response.field("allow"), Some("GET, HEAD"));
    }
    let response = proxy.send(post("/", "x")).await;
    response.assert_refused(405, Reason::FrozenMethod);
    let upgrade = get("/")
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket");
    proxy
        .send(upgrade)
        .await
        .assert_refused(501, Reason::FrozenUpgrade);
}

#[tokio::test]
async fn whoever_asks_gets_the_page_that_is_for_everybody() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let somebody = || {
        [
            get("/").with("Cookie", "session=1"),
            get("/").with("Authorization", "Basic eDp5"),
            get("/").with("Cache-Control", "no-cache, no-store"),
            get("/").with("Accept", "application/json"),
        ]
    };
    for request in somebody() {
        let response = proxy.send(request).await;
        assert!(
            !response.cache().hit || response.cache().detail.is_none(),
            "{response:?}"
        );
    }
    let proxy = frozen(&proxy, &backend).await;

    for request in somebody() {
        proxy.send(request).await.assert(200, "page /").assert_hit();
    }
}

#[tokio::test]
async fn what_is_not_stored_is_404_with_the_stored_page_for_that() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let bare = frozen(&proxy, &backend).await;
    let response = bare.get("/missing").await;
    response.assert(404, "404 there is no such page\n");
    response.assert_refused(404, Reason::NotStored);

    let page = Answer::page("not here")
        .with("Cache-Control", "max-age=600")
        .with("ETag", "\"404\"");
    backend.on("/404.html", page);
    proxy.warm("/404.html").await;
    let proxy = frozen(&proxy, &backend).await;

    for target in ["/missing", "/missing?q=1"] {
        let response = proxy
            .send(
                get(target)
                    .with("If-None-Match", "\"404\"")
                    .with("Range", "bytes=0-1"),
            )
            .await;
        response
            .assert(404, "not here")
            .assert_refused(404, Reason::NotStored);
        assert_eq!(response.field("cache-control"), Some("no-cache"));
        assert_eq!(response.field("etag"), None, "of the page, not of the address");
    }
    proxy.send(head("/missing")).await.assert(404, "");
    proxy.get("/404.html").await.assert(200, "not here").assert_hit();
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not_shown() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/blog/hello").await.assert_stored();
    let setup = checked_out(&proxy, &backend, |settings| {
        settings.exclude_paths = vec!["/blog/*".into()]
    });
    let frozen = setup.start().await;

    frozen
        .get("/blog/hello")
        .await
        .assert_refused(404, Reason::Excluded);
}

#[tokio::test]
async fn a_body_that_misses_its_seal_is_never_served() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    for path in ["/", "/blog/hello", "/old", "/search"] {
        proxy.get(path).await.assert_stored();
    }
    let setup = checked_out(&proxy, &backend, |_| ());
    let proxy = setup.start().await;
    proxy.get("/blog/hello").await.assert_hit();

    let now = SystemTime::now();
    let damage = |file: &Path, bytes: &[u8]| {
        fs::write(file, bytes).expect("damage");
        let long_ago = now - Duration::from_secs(86_400);
        let file = fs::File::options().write(true).open(file).expect("the file");
        file.set_modified(long_ago).expect("a time");
    };
    damage(&proxy.body_file("site.test/blog/hello"), b"page /blog/HELLO");
    damage(&proxy.sidecar("site.test/old").0, b"no sidecar");
    let (path, text) = proxy.sidecar("site.test/search");
    let other = text.replace("search.", "another.");
    assert_ne!(other, text, "the body is named");
    damage(&path, other.as_bytes());

    // What was changed a moment ago may be half of a checkout.
    let is_damage = |response: &Response| {
        let detail = response.cache().detail;
        assert!(!response.text().contains("HELLO"), "{response:?}");
        match response.status {
            500 => assert_eq!(detail.as_deref(), Some(Reason::Damaged.as_str())),
            503 => assert_eq!(detail.as_deref(), Some(Reason::Foreign.as_str())),
            _ => panic!("{response:?}"),
        }
    };
    is_damage(&proxy.get("/blog/hello").await);
    for path in ["/old", "/search", "/search?q=1"] {
        proxy.get(path).await.assert_refused(500, Reason::Damaged);
    }
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn another_checkout_shows_at_once() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let frozen = frozen(&proxy, &backend).await;
    frozen.get("/").await.assert(200, "page /").assert_hit();

    backend.on("/", Answer::page("another"));
    proxy.trigger().refresh().await.expect("an invalidation");
    proxy.warm("/").await;
    check_out(&proxy.dir(), &frozen.dir());

    frozen.get("/").await.assert(200, "another").assert_hit();
}

#[tokio::test]
async fn invalidation_is_refused_with_409() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let proxy = frozen(&proxy, &backend).await;
    let tree = proxy.contents();

    let refused = proxy.trigger().refresh().await;
    assert!(matches!(refused, Err(RefreshError::Frozen)), "{refused:?}");
    let log = Log::watching(&["/refused-where-frozen"]);
    let pattern = "/refused-where-frozen";
    let refused = proxy
        .trigger()
        .refresh_matching(&[pattern], RefreshMode::Stale)
        .await;
    assert!(matches!(refused, Err(RefreshError::Frozen)), "{refused:?}");
    let told = log.lines_with(pattern);
    assert!(
        told.iter().all(|line| line.starts_with("WARN ")) && told.len() == 1,
        "nobody has to act: {told:?}"
    );
    let control = Serving::start(create_control_router(proxy.trigger(), Some("t".into()))).await;
    let asked = post("/refresh-cache", "").with("Authorization", "Bearer t");
    let response = control.client().send(asked).await;
    assert_eq!(response.status, 409, "{response:?}");
    assert!(response.text().contains("frozen"), "{response:?}");

    proxy.get("/").await.assert(200, "page /").assert_hit();
    assert!(proxy.contents() == tree);
    control.stop().await;
}

#[tokio::test]
async fn conditions_and_ranges_are_answered() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let proxy = frozen(&proxy, &backend).await;

    let tag = proxy.get("/").await.field("etag").expect("a tag").to_owned();
    let unchanged = proxy.send(get("/").with("If-None-Match", &tag)).await;
    unchanged.assert(304, "").assert_hit();
    let part = proxy.send(get("/").with("Range", "bytes=0-3")).await;
    part.assert(206, "page").assert_hit();
}

#[tokio::test]
async fn pages_are_compressed_in_memory() {
    let backend = Backend::start().await;
    let text: String = (0..2000).map(|n| format!("<li>{}</li>", n * 7919)).collect();
    backend.on("/", Answer::page(text.clone()));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let setup = checked_out(&proxy, &backend, |settings| {
        settings.compress = vec!["gzip".into()];
        settings.memory_limit = 1 << 20;
    });
    let proxy = setup.start().await;
    let tree = proxy.contents();

    // What compresses gives way to everything else.
    let coded = eventually_within(Duration::from_secs(60), "the page to be compressed", async || {
        let response = proxy.send(get("/").with("Accept-Encoding", "gzip")).await;
        response.assert_hit();
        response.field("content-encoding").is_some().then_some(response)
    })
    .await;
    let mut decoded = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*coded.body);
    decoder.read_to_string(&mut decoded).expect("gzip");
    assert!(decoded == text && coded.body.len() < text.len());
    proxy.get("/").await.assert(200, &text).assert_hit();
    assert!(proxy.contents() == tree && !proxy.dir().join(".phantom").exists());
}

#[tokio::test]
async fn however_much_is_stored_the_first_answer_takes_the_same_few_operations() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let mut counts = Vec::new();
    for pages in [2, 60] {
        let proxy = Proxy::start(&backend).await;
        for page in 0..pages {
            proxy.get(&format!("/p{page}")).await.assert_stored();
        }
        let setup = checked_out(&proxy, &backend, |_| ());
        let faults = setup.faults();
        let proxy = setup.start().await;
        let opened = faults.asked();
        proxy.get("/p1").await.assert(200, "/p1").assert_hit();
        counts.push((opened, faults.asked() - opened));
    }
    assert_eq!(counts[0], counts[1], "to open, and to answer");
    assert!(counts[0].0 < 10 && counts[0].1 < 20, "{counts:?}");
}

#[tokio::test]
async fn without_a_directory_it_does_not_start_and_never_asks_a_backend() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = CreateProxyConfig::frozen(dir.path().join("none"));
    let error = phantom_frame::Proxy::new(config).expect_err("there is nothing to show");
    assert_eq!(error.kind(), ErrorKind::Directory);
    assert!(!dir.path().join("none").exists(), "it is not made");

    let backend = Backend::with_page("x").await;
    let config = CreateProxyConfig::frozen(dir.path().join("none")).with(|settings| {
        settings.proxy_url = backend.url();
    });
    let serving = Serving::start(create_proxy(config).0).await;
    let response = serving.client().get("/").await;
    assert_eq!((response.status, backend.connections()), (500, 0), "{response:?}");
    serving.stop().await;
}
