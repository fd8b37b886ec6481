//! The folder: what is written, what is left alone, and where nothing is done at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use phantom_frame::ErrorKind;

use super::{exported, folder, html, read, start, store, to, try_export};
use crate::rig::{Backend, Proxy};

async fn three_pages() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    for page in ["/", "/a", "/b/c"] {
        backend.on(page, html(&format!("page {page}")));
    }
    let mut proxy = start(&backend).await;
    store(&mut proxy, &["/", "/a", "/b/c"]).await;
    (backend, proxy)
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).expect("a file").modified().expect("a time")
}

fn date(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_modified(long_ago()).expect("a time");
}

#[tokio::test]
async fn what_is_the_same_is_not_written_again_and_what_is_gone_is_removed() {
    let (backend, mut proxy) = three_pages().await;
    let (_dir, site) = folder();
    assert_eq!(exported(&proxy, &site).await.written.len(), 3);
    for file in [
        "index.html",
        "a/index.html",
        "b/c/index.html",
        ".phantom-export/manifest.json",
    ] {
        date(&site.join(file));
    }

    let again = exported(&proxy, &site).await;
    assert_eq!((again.written.len(), again.unchanged), (0, 3), "{again:?}");
    assert_eq!(modified(&site.join("a/index.html")), long_ago());
    assert_eq!(modified(&site.join(".phantom-export/manifest.json")), long_ago());

    backend.on("/a", html("changed"));
    proxy.trigger().refresh().await.expect("an invalidation");
    store(&mut proxy, &["/", "/a"]).await;
    let after = exported(&proxy, &site).await;
    assert_eq!(
        (after.written.as_slice(), after.unchanged),
        (&["a/index.html".to_owned()][..], 1)
    );
    assert_eq!(after.removed, ["b/c/index.html"]);
    assert_eq!(read(&site, "a/index.html"), "changed");
    assert_eq!(modified(&site.join("index.html")), long_ago());
    assert!(!site.join("b").exists(), "nor the folders");
    assert!(!site.join(".phantom-export/tmp").exists());
}

#[tokio::test]
async fn what_somebody_else_has_written_stays_and_is_named() {
    let (_backend, mut proxy) = three_pages().await;
    let (_dir, site) = folder();
    exported(&proxy, &site).await;
    fs::write(site.join("a/index.html"), "edited").expect("an edit");
    fs::write(site.join("b/c/index.html"), "edited").expect("an edit");
    fs::write(site.join("own.txt"), "mine").expect("a file");
    proxy.trigger().refresh().await.expect("an invalidation");
    store(&mut proxy, &["/", "/a"]).await;

    for _ in 0..2 {
        let kept = exported(&proxy, &site).await;
        let names: Vec<_> = kept.kept.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!(names, ["b/c/index.html", "a/index.html"], "{kept:?}");
        assert!(!kept.is_whole());
        assert_eq!(read(&site, "a/index.html"), "edited");
        assert_eq!(read(&site, "b/c/index.html"), "edited");
    }

    let mut options = to(&site);
    options.is_forced = true;
    let forced = try_export(&proxy, options).await.expect("an export");
    assert_eq!(forced.kept.len(), 1, "{forced:?}");
    assert_eq!(read(&site, "a/index.html"), "page /a");
    assert_eq!(read(&site, "b/c/index.html"), "edited", "nothing takes its place");
    assert_eq!(read(&site, "own.txt"), "mine", "it is in nobody's way");
}

#[tokio::test]
async fn folders_that_are_not_an_export_s_are_refused() {
    let (_backend, proxy) = three_pages().await;
    let (dir, site) = folder();
    let full = dir.path().join("full");
    fs::create_dir(&full).expect("a folder");
    fs::write(full.join("x"), "mine").expect("a file");
    let inside = dir.path().join("link");
    symlink(proxy.dir(), &inside).expect("a link");
    let before = proxy.contents();
    let snapshots = proxy.dir();
    let above = snapshots.parent().expect("a folder").to_owned();
    let among = "the snapshots are there";
    for (refused, why) in [
        (snapshots.clone(), among),
        (snapshots.join("out"), among),
        (above, among),
        (inside.join("out"), among),
        (full.clone(), "no export has written it"),
        (dir.path().join("full/x"), "the folder of the export"),
    ] {
        let error = try_export(&proxy, to(&refused)).await.expect_err("a refusal");
        assert_eq!(
            error.kind(),
            ErrorKind::Directory,
            "{}: {error}",
            refused.display()
        );
        assert!(error.to_string().contains(why), "{}: {error}", refused.display());
    }
    assert!(proxy.contents() == before);
    assert_eq!(fs::read_dir(&full).expect("the folder").count(), 1);

    let mut options = to(&full);
    options.is_forced = true;
    try_export(&proxy, options).await.expect("an export");
    assert_eq!(
        (read(&full, "x"), read(&full, "index.html")),
        ("mine".into(), "page /".into())
    );
    assert!(!site.exists());
}

#[tokio::test]
async fn no_link_in_the_folder_is_followed() {
    let (_backend, proxy) = three_pages().await;
    let (dir, site) = folder();
    exported(&proxy, &site).await;
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("c")).expect("a folder");
    fs::write(outside.join("c/index.html"), "theirs").expect("a file");
    fs::write(outside.join("a"), "theirs").expect("a file");
    fs::remove_dir_all(site.join("b")).expect("a folder");
    symlink(&outside, site.join("b")).expect("a link");
    fs::remove_file(site.join("a/index.html")).expect("a file");
    symlink(outside.join("a"), site.join("a/index.html")).expect("a link");

    for is_forced in [false, true] {
        let mut options = to(&site);
        options.is_forced = is_forced;
        let exported = try_export(&proxy, options).await.expect("an export");
        let names: Vec<_> = exported.kept.iter().map(|(file, _)| file.as_str()).collect();
        assert!(names.contains(&"b/c/index.html"), "{exported:?}");
        assert_eq!(read(&outside, "c/index.html"), "theirs");
        assert_eq!(read(&outside, "a"), "theirs");
        // The link itself is a thing in the way.
        let is_link = fs::symlink_metadata(site.join("a/index.html"))
            .expect("it")
            .is_symlink();
        assert_eq!(is_link, !is_forced);
    }
}

#[tokio::test]
async fn a_manifest_that_names_files_elsewhere_is_none() {
    let (_backend, proxy) = three_pages().await;
    let (dir, site) = folder();
    exported(&proxy, &site).await;
    let victim = dir.path().join("out/victim");
    fs::write(&victim, "mine").expect("a file");
    let hash = blake3::hash(b"mine").to_hex();
    for name in ["../victim", "%2e%2e/victim", "/victim"] {
        let manifest = format!("{{\"format\": 1, \"files\": {{\"{name}\": \"{hash}\"}}}}");
        fs::write(site.join(".phantom-export/manifest.json"), manifest).expect("a manifest");
        let error = try_export(&proxy, to(&site)).await.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Directory, "{error}");
        assert_eq!(read(dir.path(), "out/victim"), "mine");
    }
}

#[tokio::test]
async fn files_of_pages_that_cannot_be_read_now_stay() {
    let (_backend, mut proxy) = three_pages().await;
    let (_root, dir) = folder();
    exported(&proxy, &dir).await;
    proxy.stop().await;
    let sidecars: Vec<_> = proxy
        .pages()
        .into_iter()
        .filter(|file| file.ends_with(".toml"))
        .collect();
    let files = |dir: &Path| {
        let mut files: Vec<_> = walk(dir).into_iter().collect();
        files.sort();
        files
    };
    let before = files(&dir);
    for sidecar in sidecars {
        fs::write(proxy.dir().join(sidecar), "<<<<<<< HEAD").expect("a merge");
    }

    let done = exported(&proxy, &dir).await;

    assert_eq!(done.unread.len(), 3, "{done:?}");
    assert!(done.removed.is_empty() && !done.is_whole(), "{done:?}");
    assert_eq!(files(&dir), before);
}

/// All files, but the manifest.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let paths = paths.filter(|path| !path.ends_with(".phantom-export"));
    paths
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path],
        })
        .collect()
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (backend, mut proxy) = three_pages().await;
    let (_dir, site) = folder();
    let mut dry = to(&site);
    dry.is_dry = true;
    let would = try_export(&proxy, dry.clone()).await.expect("an export");
    assert_eq!(would.written.len(), 3);
    assert!(!site.exists() && !site.parent().expect("a folder").exists());

    exported(&proxy, &site).await;
    backend.on("/a", html("changed"));
    proxy.trigger().refresh().await.expect("an invalidation");
    store(&mut proxy, &["/", "/a"]).await;
    let would = try_export(&proxy, dry).await.expect("an export");
    assert_eq!(
        (would.written.len(), would.removed.len(), would.unchanged),
        (1, 1, 1)
    );
    assert_eq!(read(&site, "a/index.html"), "page /a");
    assert_eq!(read(&site, "b/c/index.html"), "page /b/c");
}
