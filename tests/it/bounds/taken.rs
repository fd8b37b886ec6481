//! What others do to the directory leaves the count true, and what cannot go is not in the way.

use std::fs;
use std::io;
use std::sync::Arc;

use phantom_frame::Reason;

use crate::rig::{Answer, Backend, Gate, Proxy, eventually, get, remove_all};

use super::{bounded, names, on_disk, site, until_stored};

#[tokio::test]
async fn pages_that_cannot_be_removed_do_not_keep_others_from_going() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 40)
        .configured(|config| {
            config.with_disk_faults(Arc::new(|operation, path: &std::path::Path| {
                match operation == "unlink" && path.to_string_lossy().contains("/stuck") {
                    true => Err(io::Error::from(io::ErrorKind::PermissionDenied).into()),
                    false => Ok(()),
                }
            }))
        })
        .start()
        .await;
    for n in 0..20 {
        proxy.get(&format!("/stuck{n}")).await.assert_stored();
    }
    proxy.clock().advance(1);

    for n in 0..40 {
        proxy.get(&format!("/p{n}")).await.assert_stored();
        proxy.clock().advance(1);
    }

    until_stored(&proxy, 40).await;
    proxy.get("/p39").await.assert_hit();
    proxy.get("/stuck0").await.assert_hit();
    assert_eq!(proxy.counted(Reason::DiskLimit), 0);
}

#[tokio::test]
async fn folders_that_others_delete_are_counted_no_more() {
    const PAGES: usize = 20;
    let backend = site().await;
    // Each page takes four blocks, and the host one.
    let proxy = bounded(&backend, |settings| settings.disk_limit = 100 * 4096)
        .start()
        .await;
    for round in 0..4 {
        for n in 0..PAGES {
            proxy
                .get(&format!("/{round}-a{n}/b{n}/page"))
                .await
                .assert_stored();
        }
        assert_eq!(proxy.stored(), PAGES, "round {round}");

        remove_all(&proxy.dir().join("site.test")).await;
        eventually("the pages to be gone", async || {
            (proxy.stored() == 0).then_some(())
        })
        .await;
    }
    for n in 0..PAGES {
        proxy.get(&format!("/c{n}/d{n}/page")).await.assert_stored();
    }
    barrier(&proxy).await;
    for n in 0..PAGES {
        proxy.get(&format!("/c{n}/d{n}/page")).await.assert_hit();
    }
}

/// What the store's own thread had to do is done, and what that led to.
async fn barrier(proxy: &Proxy) {
    for _ in 0..2 {
        let nothing = phantom_frame::RefreshMode::Delete;
        proxy
            .trigger()
            .refresh_matching(&["/nothing"], nothing)
            .await
            .expect("an invalidation");
    }
}

#[tokio::test]
async fn a_folder_that_is_moved_away_takes_its_pages_along_though_another_is_in_its_place() {
    let backend = site().await;
    let proxy = bounded(&backend, |_| {}).start().await;
    for target in ["/a/page", "/a/b/page", "/ab/page"] {
        proxy.warm(target).await;
    }
    let elsewhere = tempfile::tempdir().expect("a directory");
    let folder = proxy.dir().join("site.test/a");

    fs::rename(&folder, elsewhere.path().join("a")).expect("on one file system");
    fs::create_dir(&folder).expect("a folder");

    eventually("both pages to be gone", async || {
        (proxy.stored() == 1).then_some(())
    })
    .await;
    proxy.get("/ab/page").await.assert_hit();
    proxy.get("/a/b/page").await.assert_stored();
}

#[tokio::test]
async fn a_sidecar_that_lies_about_its_body_pushes_nobody_out() {
    let backend = site().await;
    let mut proxy = bounded(&backend, |_| {}).start().await;
    for target in ["/good", "/lie"] {
        proxy.warm(target).await;
    }
    proxy.stop().await;
    let (path, text) = proxy.sidecar("site.test/lie.");
    let lie = text.replace("length = 4", "length = 10000000");
    assert_ne!(text, lie);
    fs::write(path, lie).expect("the sidecar");

    let setup = bounded(&backend, |settings| settings.disk_limit = 1 << 20).dir_of(&proxy);
    let proxy = eventually("the directory to be free", async || {
        setup.clone().try_start().await.ok()
    })
    .await;
    barrier(&proxy).await;

    assert_eq!(on_disk(&proxy), names(["good", "lie"]));
    proxy.get("/good").await.assert_hit();
    proxy.get("/lie").await.assert(200, "/lie");
}

#[tokio::test]
async fn a_body_that_went_past_the_disk_gives_its_room_back_at_once() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let large = Answer::page(vec![b'a'; 100_000]).body(vec![b'b'; 100_000]);
    backend.on("/large", large.wait(&gate).body("end").chunked());
    backend.on("/other", Answer::page(vec![b'c'; 100_000]).chunked());
    let proxy = bounded(&backend, |settings| {
        settings.disk_limit = 1 << 20;
        settings.max_body = 128 << 10;
    })
    .start()
    .await;
    let mut large = proxy.client().open(get("/large")).await;
    large.at_least(200_000).await;
    assert_eq!(proxy.counted(Reason::TooLarge), 1);

    proxy.get("/other").await.assert_stored();

    proxy.get("/other").await.assert_hit();
    gate.open();
    assert_eq!(large.finish().await.body.len(), 200_003);
}
