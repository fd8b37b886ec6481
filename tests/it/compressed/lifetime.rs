//! How long coded forms live: as long as the body that they are of.

use std::fs;

use phantom_frame::RefreshMode;

use crate::rig::{Answer, Backend, Proxy, eventually};

use super::{
    accepting, assert_kept, compressing, decoded, form, forms, page, patiently, ready, ready_in, size, text,
    written,
};

async fn one_page() -> (Backend, Proxy) {
    let backend = Backend::with("/", page("x").with("Cache-Control", "max-age=60")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    assert_eq!(forms(&proxy).len(), 3);
    (backend, proxy)
}

#[tokio::test]
async fn an_invalidation_takes_the_forms_along() {
    let (backend, proxy) = one_page().await;
    backend.on("/other", page("other"));
    ready(&proxy, "/other").await;
    assert_eq!(forms(&proxy).len(), 6);

    let matching = ["/"];
    let done = proxy
        .trigger()
        .refresh_matching(&matching, RefreshMode::Delete)
        .await;
    done.expect("an invalidation");

    assert_eq!(forms(&proxy).len(), 3, "those of the other page");
    backend.on("/", page("new"));
    let miss = proxy.send(accepting("/", "br")).await;
    miss.assert(200, &text("new")).assert_stored();
    let hit = ready_in(&proxy, "/", "br").await;
    assert_eq!(
        (decoded(&hit), hit.field("etag")),
        (text("new"), Some("\"new;br\""))
    );
    proxy.send(accepting("/other", "br")).await.assert_hit();
}

#[tokio::test]
async fn a_page_that_is_marked_keeps_its_forms_until_it_is_another() {
    let (backend, proxy) = one_page().await;
    let trigger = proxy.trigger();
    let marked = trigger.refresh_matching(&["*"], RefreshMode::Stale).await;
    marked.expect("an invalidation");
    assert_eq!(forms(&proxy).len(), 3);
    // The same page again: its forms are still right.
    let again = proxy.send(accepting("/", "gzip")).await;
    assert!(!again.cache().hit, "{again:?}");
    let hit = proxy.send(accepting("/", "gzip")).await;
    hit.assert_hit();
    assert_eq!(hit.field("content-encoding"), Some("gzip"));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_new_rendering_has_forms_of_its_own() {
    let (backend, proxy) = one_page().await;
    let before = forms(&proxy);
    backend.on("/", page("y").with("Cache-Control", "max-age=60"));
    proxy.clock().advance(61);

    let new = proxy.send(accepting("/", "br")).await;
    new.assert(200, &text("y")).assert_stored();
    assert!(!new.fields.has("content-encoding"));
    let hit = ready_in(&proxy, "/", "br").await;
    assert_eq!(decoded(&hit), text("y"));
    ready_in(&proxy, "/", "gzip").await;
    let after = forms(&proxy);
    assert_eq!(after.len(), 3);
    assert!(
        before.iter().all(|old| !after.contains(old)),
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn a_page_that_was_validated_keeps_its_forms() {
    let (backend, proxy) = one_page().await;
    let before = written(&proxy);
    backend.on(
        "/",
        Answer::new(304)
            .with("ETag", "\"x\"")
            .with("Cache-Control", "max-age=60")
            .with("X-New", "1"),
    );
    proxy.clock().advance(61);
    proxy.send(accepting("/", "zstd")).await.assert_revalidated();

    let hit = proxy.send(accepting("/", "zstd")).await;
    hit.assert_hit();
    assert_eq!(
        (hit.field("content-encoding"), hit.field("x-new")),
        (Some("zstd"), Some("1"))
    );
    assert_eq!(decoded(&hit), text("x"));
    assert_kept(&before, &written(&proxy));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_page_that_somebody_deletes_takes_its_forms_along() {
    let (_backend, proxy) = one_page().await;
    for file in proxy.pages() {
        fs::remove_file(proxy.dir().join(file)).expect("a file of the page");
    }
    eventually("the forms to go", async || forms(&proxy).is_empty().then_some(())).await;
    let miss = proxy.send(accepting("/", "br")).await;
    miss.assert(200, &text("x")).assert_stored();
}

#[tokio::test]
async fn a_body_that_was_changed_by_hand_has_no_forms() {
    let (backend, proxy) = one_page().await;
    fs::write(proxy.body_file("site.test/index."), "edited by hand").expect("the body");

    eventually("the old form not to be served", async || {
        let response = proxy.send(accepting("/", "br")).await;
        (!response.fields.has("content-encoding")).then_some(())
    })
    .await;
    backend.on("/", page("y"));
    // What changed a moment ago passes; then it is filled anew.
    let stored = patiently("the page to be filled", async || {
        let response = proxy.send(accepting("/", "br")).await;
        response.cache().stored.then_some(response)
    })
    .await;
    stored.assert(200, &text("y"));
    let hit = ready_in(&proxy, "/", "br").await;
    assert_eq!(decoded(&hit), text("y"));
}

#[tokio::test]
async fn a_page_that_was_asked_for_is_compressed_better_when_there_is_time() {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    let (br, zstd) = (form(&proxy, "br"), form(&proxy, "zst"));
    let fast = (size(&br), size(&zstd));
    let hit = patiently("smaller forms", async || {
        // Asked for once a minute.
        proxy.clock().advance(61);
        let hit = proxy.send(accepting("/", "br")).await;
        assert_eq!(decoded(&hit), text("x"));
        let is_smaller = size(&br) < fast.0 && size(&zstd) < fast.1;
        (is_smaller && hit.body.len() as u64 == size(&br)).then_some(hit)
    })
    .await;
    hit.assert_hit();
    assert_eq!(hit.field("etag"), Some("\"x;br\""));
    let zstd = ready_in(&proxy, "/", "zstd").await;
    assert_eq!(decoded(&zstd), text("x"));
    assert_eq!(forms(&proxy).len(), 3);
    assert_eq!(backend.count("/"), 1);
}
