//! A directory that another process writes: its pages are served, and nothing is changed.

use std::fs::File;

use phantom_frame::{Reason, RefreshError};

use crate::rig::{Answer, Backend, Proxy};

/// A proxy on a directory with a stored `/page`, whose lock somebody else holds.
async fn beside_a_writer(backend: &Backend) -> (Proxy, File) {
    let mut proxy = Proxy::start(backend).await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let lock = proxy.take_lock().await;
    proxy.start_again().await;
    (proxy, lock)
}

#[tokio::test]
async fn its_pages_are_served_and_others_pass() {
    let mut backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let (proxy, _lock) = beside_a_writer(&backend).await;
    let tree = proxy.contents();

    proxy.get("/page").await.assert(200, "/page").assert_hit();
    for _ in 0..2 {
        let response = proxy.get("/other").await;
        response.assert(200, "/other").assert_not_stored(Reason::ReadOnly);
    }

    assert!(proxy.contents() == tree, "nothing is written");
    backend.stop().await;
    proxy.get("/page").await.assert_hit();
}

#[tokio::test]
async fn an_invalidation_says_that_somebody_else_has_to_do_it() {
    let backend = Backend::with_page("x").await;
    let (proxy, _lock) = beside_a_writer(&backend).await;

    let refused = proxy.trigger().refresh().await;

    assert!(matches!(refused, Err(RefreshError::ReadOnly)), "{refused:?}");
    assert_eq!(proxy.pages().len(), 2);
}

#[tokio::test]
async fn what_the_writer_does_shows_here() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let (proxy, _lock) = beside_a_writer(&backend).await;
    proxy.get("/page").await.assert_hit();

    for file in proxy.pages() {
        std::fs::remove_file(proxy.dir().join(file)).unwrap();
    }

    crate::rig::eventually("the deletion to show", async || {
        (!proxy.get("/page").await.cache().hit).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_lock_dies_with_its_owner() {
    let backend = Backend::with_page("x").await;
    let (proxy, lock) = beside_a_writer(&backend).await;
    proxy.get("/other").await.assert_not_stored(Reason::ReadOnly);

    drop(lock);

    // Without a restart: the lock is asked for once a second.
    crate::rig::eventually("the directory to be taken over", async || {
        proxy.get("/other").await.cache().stored.then_some(())
    })
    .await;
    proxy.get("/other").await.assert_hit();
}
