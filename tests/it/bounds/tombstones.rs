//! What the operator has said of a page does not make room for others.

use phantom_frame::artefact::Tombstone;

use super::{bounded, on_disk, site, until_stored};
use crate::rig::{Backend, Proxy, eventually};

/// As many tombstones as this, and nothing else, in a directory for ten pages.
async fn buried(backend: &Backend, count: usize) -> Proxy {
    let setup = bounded(backend, |settings| {
        settings.max_snapshots = 10;
        settings.public_url = Some("https://site.test".into());
    });
    let proxy = setup.start().await;
    proxy.until_ready().await;
    for n in 0..count {
        let url = format!("/gone{n}");
        let placed = proxy.artefact(move |artefact| artefact.tombstone(&url, &Tombstone::Gone));
        placed.await.expect("a tombstone");
    }
    eventually("the server to notice", async || {
        (proxy.stored() == count).then_some(())
    })
    .await;
    proxy
}

#[tokio::test]
async fn tombstones_stand_whatever_else_is_stored() {
    let backend = site().await;
    let mut proxy = buried(&backend, 1).await;
    proxy.clock().advance(1);

    for n in 0..30 {
        // Used later than it was.
        proxy.warm(&format!("/p{n}")).await;
        proxy.clock().advance(1);
    }
    until_stored(&proxy, 10).await;

    assert_eq!(proxy.get("/gone0").await.status, 410);
    assert_eq!(backend.count("/gone0"), 0);
    proxy.stop().await;
    let collected = proxy.artefact(|artefact| artefact.collect()).await;
    let collected = collected.expect("the lock");
    assert_eq!((collected.snapshots, collected.evicted), (10, 0));
    assert_eq!(proxy.files_with("tombstone = true").len(), 1);
    assert_eq!(on_disk(&proxy).len(), 9);
}

#[tokio::test]
async fn tombstones_alone_may_be_more_than_there_may_be() {
    let backend = site().await;
    let mut proxy = buried(&backend, 12).await;

    proxy.get("/page").await.assert(200, "/page");
    assert_eq!(proxy.get("/gone11").await.status, 410);
    proxy.stop().await;

    let collected = proxy.artefact(|artefact| artefact.collect()).await;
    let collected = collected.expect("the lock");
    assert_eq!(collected.snapshots, 12, "what else there is goes");
}
