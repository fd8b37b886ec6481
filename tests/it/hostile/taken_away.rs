//! A directory that is deleted under a running server, in whole or in part, and its lock with it.

use std::fs::{self, File};
use std::process::Command;

use phantom_frame::{Reason, RefreshError};

use crate::rig::{Answer, Backend, Proxy, eventually, remove_all};

async fn site() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    (backend, proxy)
}

/// The lock's file, as another process sees it.
fn lock(proxy: &Proxy) -> File {
    fs::create_dir_all(proxy.dir().join(".phantom")).unwrap();
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(proxy.dir().join(".phantom/lock"))
        .unwrap()
}

/// The lock, of the file that is there once `part` was deleted. The server, which notices the deletion, may be first; then
/// that is deleted as well.
async fn take_away(proxy: &Proxy, part: &str) -> File {
    eventually("the lock to be another's", async || {
        remove_all(&proxy.dir().join(part)).await;
        let other = lock(proxy);
        other.try_lock().is_ok().then_some(other)
    })
    .await
}

#[tokio::test]
async fn whatever_is_deleted_pages_are_served_and_stored_again() {
    for part in [
        ".",
        ".phantom",
        ".phantom/lock",
        ".phantom/tmp",
        ".phantom/pending",
        "site.test",
    ] {
        let (_backend, proxy) = site().await;
        let path = proxy.dir().join(part);
        remove_all(&path).await;

        proxy.get("/page").await.assert(200, "page /page");
        proxy.get("/new").await.assert(200, "page /new");
        eventually("the page to be stored again", async || {
            let page = proxy.get("/page").await;
            page.assert(200, "page /page");
            page.cache().hit.then_some(())
        })
        .await;
        proxy.trigger().refresh().await.unwrap();
        assert!(!proxy.get("/page").await.cache().hit, "{part}");
        // Ours, of the file that is there now.
        assert!(lock(&proxy).try_lock().is_err(), "{part}: nobody holds the lock");
    }
}

#[tokio::test]
async fn a_lock_that_was_deleted_and_taken_by_another_makes_a_reader() {
    for part in [".", ".phantom", ".phantom/lock"] {
        let (_backend, proxy) = site().await;
        let other = take_away(&proxy, part).await;

        let refused = proxy.trigger().refresh().await;
        assert!(
            matches!(refused, Err(RefreshError::ReadOnly)),
            "{part}: {refused:?}"
        );
        let before = proxy.contents();
        for _ in 0..2 {
            let response = proxy.get("/another").await;
            response.assert(200, "page /another");
            assert_eq!(
                response.cache().detail.as_deref(),
                Some(Reason::ReadOnly.as_str()),
                "{part}"
            );
        }
        assert!(proxy.contents() == before, "{part}: it is another's to write");

        // And back again when the other has ended.
        drop(other);
        eventually("the lock to be taken again", async || {
            proxy.get("/another").await.cache().hit.then_some(())
        })
        .await;
        proxy.trigger().refresh().await.unwrap();
    }
}

/// A fill under way when the lock goes is not committed.
#[tokio::test]
async fn a_commit_by_who_has_lost_the_lock_writes_nothing() {
    let middle = crate::rig::Gate::new();
    let (backend, proxy) = site().await;
    backend.on("/slow", Answer::page("first ").wait(&middle).body("second"));
    let mut exchange = proxy.client().open(crate::rig::get("/slow")).await;
    exchange.at_least(6).await;
    let before = proxy.contents();
    let other = take_away(&proxy, ".phantom/lock").await;

    middle.open();

    exchange.finish().await.assert(200, "first second");
    assert!(proxy.contents() == before, "it is another's to write");
    drop(other);
}

#[tokio::test]
async fn git_clean_takes_our_own_files_and_nothing_breaks() {
    if Command::new("git").arg("--version").output().is_err() {
        return;
    }
    let (_backend, proxy) = site().await;
    let git = |words: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(words)
            .current_dir(proxy.dir())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "git {words:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "rendered"]);
    proxy.warm("/not-committed").await;

    git(&["clean", "--quiet", "-fdx"]);

    proxy.get("/page").await.assert(200, "page /page").assert_hit();
    eventually("what was not committed to be fetched again", async || {
        let page = proxy.get("/not-committed").await;
        page.assert(200, "page /not-committed");
        page.cache().stored.then_some(())
    })
    .await;
    eventually("it to be stored", async || {
        proxy.get("/not-committed").await.cache().hit.then_some(())
    })
    .await;
    assert!(lock(&proxy).try_lock().is_err(), "nobody holds the lock");
}
