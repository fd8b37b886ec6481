//! Files that others delete, restore or edit, while the server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phantom_frame::Reason;

use crate::rig::{
    Answer, Backend, Proxy, Response, Setup, TestClock, eventually, eventually_within, remove_all,
};

/// A change by others takes effect within this.
const PROMISED: Duration = Duration::from_millis(100);
/// A machine that runs six builds may take longer without being wrong; much longer is wrong.
const TOLERATED: Duration = Duration::from_secs(1);

async fn site() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)));
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    (backend, proxy)
}

/// Asks until an answer satisfies `condition`, and checks how long that took.
async fn soon(what: &str, proxy: &Proxy, path: &str, condition: impl Fn(&Response) -> bool) -> Response {
    let start = Instant::now();
    let response = eventually(what, async || {
        let response = proxy.get(path).await;
        condition(&response).then_some(response)
    })
    .await;
    let took = start.elapsed();
    assert!(took < TOLERATED, "{what} took {took:?}; {PROMISED:?} is promised");
    response
}

#[tokio::test]
async fn a_deleted_page_is_fetched_again() {
    let (backend, proxy) = site().await;
    for what in ["body", "sidecar", "both"] {
        proxy.get("/a/page").await;
        let hit = proxy.get("/a/page").await;
        hit.assert_hit();
        let before = backend.total();
        let body = proxy.body_file("site.test/a/page.");
        let (sidecar, _) = proxy.sidecar("site.test/a/page.");
        if what != "sidecar" {
            fs::remove_file(&body).unwrap();
        }
        if what != "body" {
            fs::remove_file(&sidecar).unwrap();
        }

        soon(
            &format!("the deletion of the {what} to show"),
            &proxy,
            "/a/page",
            |response| !response.cache().hit,
        )
        .await
        .assert(200, "page /a/page");

        assert_eq!(backend.total(), before + 1, "{what}");
        eventually("the page to be stored again", async || {
            proxy.get("/a/page").await.cache().hit.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_deleted_folder_takes_its_pages_and_no_others() {
    let (_backend, proxy) = site().await;
    for path in ["/a/one", "/a/b/two", "/c/three"] {
        proxy.warm(path).await;
    }

    remove_all(&proxy.dir().join("site.test/a")).await;

    for path in ["/a/one", "/a/b/two"] {
        soon("the deletion to show", &proxy, path, |response| {
            !response.cache().hit
        })
        .await;
    }
    proxy.get("/c/three").await.assert_hit();
}

#[tokio::test]
async fn the_whole_directory_may_go_while_the_server_runs() {
    let (_backend, proxy) = site().await;
    proxy.warm("/one").await;

    remove_all(&proxy.dir()).await;

    soon("the deletion to show", &proxy, "/one", |response| {
        !response.cache().hit
    })
    .await
    .assert(200, "page /one");
    // Caching goes on, sooner or later, and no request fails meanwhile.
    eventually("pages to be stored again", async || {
        let response = proxy.get("/one").await;
        response.assert(200, "page /one");
        response.cache().hit.then_some(())
    })
    .await;
}

#[tokio::test]
async fn restored_files_are_hits() {
    let (backend, proxy) = site().await;
    proxy.warm("/page").await;
    let kept = proxy.contents();
    let before = backend.total();
    for path in proxy.pages() {
        fs::remove_file(proxy.dir().join(path)).unwrap();
    }
    eventually("the deletion to be noticed", async || {
        backend.on("/page", Answer::new(503));
        (!proxy.get("/page").await.cache().hit).then_some(())
    })
    .await;
    assert!(backend.total() > before);

    for (path, bytes) in kept {
        fs::write(proxy.dir().join(path), bytes).unwrap();
    }

    soon("the restored page to be a hit", &proxy, "/page", |response| {
        response.cache().hit
    })
    .await
    .assert(200, "page /page");
}

#[tokio::test]
async fn a_page_of_another_rendering_that_is_checked_out_is_served() {
    let (backend, proxy) = site().await;
    proxy.warm("/page").await;
    let old = proxy.contents();
    backend.on("/page", Answer::page("a newer page"));
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.warm("/page").await.assert(200, "a newer page");

    for (path, bytes) in old {
        replace(&proxy.dir().join(path), &bytes);
    }

    soon("the old page", &proxy, "/page", |response| {
        response.text() == "page /page"
    })
    .await
    .assert_hit();
    proxy.get("/page").await.assert(200, "page /page").assert_hit();
}

#[tokio::test]
async fn a_hand_edit_is_not_served_as_it_is_and_not_lost() {
    let (backend, proxy) = site().await;
    proxy.warm("/page").await;
    let body = proxy.body_file("site.test/page.");
    fs::write(&body, "edited by hand").unwrap();

    // At first it might be half of a checkout: it passes, and is left alone.
    let response = soon("the edit to be noticed", &proxy, "/page", |response| {
        !response.cache().hit
    })
    .await;
    response
        .assert(200, "page /page")
        .assert_not_stored(Reason::Foreign);
    assert_eq!(fs::read(&body).unwrap(), b"edited by hand");

    // Later it is moved out of the way before the page is stored again.
    eventually_within(
        Duration::from_secs(10),
        "the edit to be taken for one",
        async || {
            let response = proxy.get("/page").await;
            response.assert(200, "page /page");
            response.cache().stored.then_some(())
        },
    )
    .await;
    proxy.get("/page").await.assert(200, "page /page").assert_hit();
    let displaced = files_below(&proxy.dir().join(".phantom/displaced"));
    assert!(
        displaced
            .iter()
            .any(|path| fs::read(path).unwrap() == b"edited by hand"),
        "the edit should be in .phantom/displaced: {displaced:?}"
    );
    assert!(
        displaced
            .iter()
            .any(|path| path.to_string_lossy().contains("page")),
        "and be recognisable: {displaced:?}"
    );
    assert!(backend.count("/page") >= 3);
}

#[tokio::test]
async fn a_body_cut_short_by_others_is_never_served() {
    let (_backend, proxy) = site().await;
    proxy.warm("/page").await;
    let body = proxy.body_file("site.test/page.");

    fs::write(&body, "pag").unwrap();

    for _ in 0..20 {
        proxy.get("/page").await.assert(200, "page /page");
    }
}

#[tokio::test]
async fn a_body_of_the_same_length_by_others_is_not_served_after_a_restart_either() {
    let (_backend, mut proxy) = site().await;
    proxy.warm("/page").await;
    let body = proxy.body_file("site.test/page.");
    let modified = fs::metadata(&body).unwrap().modified().unwrap();
    proxy.stop().await;
    fs::write(&body, "PAGE /page").unwrap();
    fs::File::options()
        .write(true)
        .open(&body)
        .unwrap()
        .set_modified(modified)
        .unwrap();

    proxy.start_again().await;

    let response = proxy.get("/page").await;
    response.assert(200, "page /page");
    assert!(!response.cache().hit, "{response:?}");
}

#[tokio::test]
async fn a_sidecar_that_makes_no_sense_is_a_miss() {
    let (_backend, proxy) = site().await;
    proxy.warm("/page").await;
    let (sidecar, good) = proxy.sidecar("site.test/page.");
    let bad: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"<<<<<<< HEAD\n".to_vec(),
        vec![0xff; 100],
        good.replace("200", "20000").into_bytes(),
        good.replace("\"content-type\"", "\"content type\"").into_bytes(),
        good.replace("text/html", "text/html\\r\\nX-Injected: 1")
            .into_bytes(),
        format!("{good}\nsurprise = [[[[[[1]]]]]]\n").into_bytes(),
        vec![b'['; 1 << 20],
        b"a = \""
            .iter()
            .copied()
            .chain(std::iter::repeat_n(b'x', 8 << 20))
            .collect(),
        good.replace("GET:/page", "GET:/other").into_bytes(),
    ];
    for text in bad {
        fs::write(&sidecar, &text).unwrap();
        for _ in 0..3 {
            let response = proxy.get("/page").await;
            response.assert(200, "page /page");
            assert!(!response.fields.has("x-injected"), "{response:?}");
        }
        proxy.clock().advance(5);
        eventually("the page to be stored again", async || {
            let response = proxy.get("/page").await;
            response.assert(200, "page /page");
            response.cache().hit.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn links_pipes_and_folders_in_place_of_files_are_not_followed() {
    let (_backend, proxy) = site().await;
    let secret = proxy.dir().join("../secret");
    fs::write(&secret, "page /page").unwrap();
    for what in ["link", "folder", "pipe"] {
        proxy.get("/page").await;
        // Not from memory: what was taken away the round before may not have been noticed yet.
        eventually_within(Duration::from_secs(10), "the page to be stored", async || {
            let is_hit = proxy.get("/page").await.cache().hit;
            (is_hit && proxy.pages().len() == 2).then_some(())
        })
        .await;
        let body = proxy.body_file("site.test/page.");
        fs::remove_file(&body).unwrap();
        match what {
            "link" => std::os::unix::fs::symlink(&secret, &body).unwrap(),
            "folder" => fs::create_dir(&body).unwrap(),
            _ => {
                let made = std::process::Command::new("mkfifo").arg(&body).status();
                if !made.is_ok_and(|status| status.success()) {
                    return;
                }
            }
        }
        let ask = async || {
            let answer = tokio::time::timeout(Duration::from_secs(3), proxy.get("/page")).await;
            if answer.is_err() && what == "pipe" {
                // Lets go whoever waits at the other end, so that this test ends.
                drop(fs::File::options().read(true).write(true).open(&body));
            }
            let Ok(response) = answer else {
                panic!("a {what} in place of the body holds up the request");
            };
            response.assert(200, "page /page");
            response
        };
        // What is in memory is served until the watcher has seen it.
        eventually("the change to be noticed", async || {
            (!ask().await.cache().hit).then_some(())
        })
        .await;
        for _ in 0..3 {
            ask().await;
        }
        match what {
            "folder" => drop(fs::remove_dir(&body)),
            _ => drop(fs::remove_file(&body)),
        }
        proxy.clock().advance(5);
        assert_eq!(fs::read_to_string(&secret).unwrap(), "page /page", "{what}");
    }
}

#[tokio::test]
async fn a_sidecar_whose_time_is_zero_must_be_validated() {
    let backend = Backend::start().await;
    backend.on_fn("/page", |request| match request.field("if-none-match") {
        Some("\"1\"") => Answer::new(304).with("ETag", "\"1\""),
        _ => Answer::page("page").with("ETag", "\"1\""),
    });
    let mut backend = backend;
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    proxy.warm("/page").await;
    let (sidecar, _) = proxy.sidecar("site.test/page.");

    set_modified(&sidecar, UNIX_EPOCH);

    soon("the mark to show", &proxy, "/page", |response| {
        response.cache().fwd_status == Some(304)
    })
    .await
    .assert(200, "page")
    .assert_revalidated();
    proxy.get("/page").await.assert_hit();

    set_modified(&sidecar, UNIX_EPOCH);
    backend.stop().await;
    soon("the mark to show", &proxy, "/page", |response| {
        response.cache().is_stale()
    })
    .await
    .assert(200, "page")
    .assert_stale();
}

#[tokio::test]
async fn a_time_that_others_set_says_nothing_about_a_page_with_a_lifetime() {
    let backend = Backend::start().await;
    backend.on_fn("/lifetime", |request| match request.field("if-none-match") {
        Some("\"1\"") => Answer::new(304).with("ETag", "\"1\""),
        _ => Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=600"),
    });
    backend.on("/forever", Answer::page("page"));
    let mut proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    for path in ["/lifetime", "/forever"] {
        proxy.warm(path).await;
    }
    proxy.stop().await;
    // As git leaves it: now, and without the mark in the fraction of the second.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for stem in ["site.test/lifetime.", "site.test/forever."] {
        set_modified(&proxy.sidecar(stem).0, UNIX_EPOCH + Duration::from_secs(now));
    }
    proxy.start_again().await;

    proxy
        .get("/lifetime")
        .await
        .assert(200, "page")
        .assert_revalidated();
    proxy.get("/lifetime").await.assert_hit();
    proxy.get("/forever").await.assert(200, "page").assert_hit();
}

#[tokio::test]
async fn our_own_writes_are_no_foreign_changes() {
    let (backend, proxy) = site().await;
    for n in 0..50 {
        proxy.get(&format!("/{n}")).await.assert_stored();
    }
    // Time for echoes of our own writes to come back.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for n in 0..50 {
        proxy.get(&format!("/{n}")).await.assert_hit();
    }
    assert_eq!(backend.total(), 50);
}

/// Replaces a file as git does: a new one in its place.
fn replace(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("replacing");
    fs::write(&temporary, bytes).expect("the file system");
    fs::rename(&temporary, path).expect("the file system");
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options()
        .write(true)
        .open(path)
        .expect("the file system")
        .set_modified(time)
        .expect("the file system");
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files_below(&path),
            path => vec![path],
        })
        .collect()
}
