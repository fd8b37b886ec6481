//! Hashed assets stay while a page that names them is there.

use phantom_frame::{Reason, RefreshMode};

use super::{bounded, until_stored};
use crate::rig::{Answer, Backend, Proxy, Recorded, Response, Setup, eventually, get};

const MOST: usize = 8;
const APP: &str = "/app.3f9a2c1b.js";
const SHEET: &str = "/site-12ab34cd.css";
/// Only the sheet names it.
const FONT: &str = "/inter-9c8d7e6f.woff2";
const ASSETS: [&str; 3] = [APP, SHEET, FONT];
const PAGE: &str = "<link href=\"/site-12ab34cd.css\"><script src=\"/app.3f9a2c1b.js\"></script>";
const LISTED: &str = "\nassets = [\n  \"/app.3f9a2c1b.js\",\n  \"/site-12ab34cd.css\",\n]\n";

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(answer);
    backend
}

fn answer(request: &Recorded) -> Answer {
    let of_kind = |kind: &str| Answer::new(200).with("Content-Type", kind);
    match request.path() {
        "/page" => Answer::page(PAGE),
        SHEET => of_kind("text/css").body("@font-face{src:url(./inter-9c8d7e6f.woff2)}"),
        FONT => of_kind("font/woff2").body("font"),
        path if path.ends_with(".js") => of_kind("text/javascript").body("script"),
        path => Answer::page(path.to_owned()),
    }
}

fn small(backend: &Backend) -> Setup {
    bounded(backend, |settings| settings.max_snapshots = MOST)
}

/// The assets, and then the page: nobody asks for any of them again.
async fn warm(proxy: &Proxy) {
    for target in ASSETS.iter().chain(&["/page"]) {
        proxy.warm(target).await;
        proxy.clock().advance(1);
    }
}

/// What was to be rendered again, once it is a hit.
async fn again(proxy: &Proxy, target: &str) -> Response {
    proxy.get(target).await;
    let hit = proxy.get(target).await;
    hit.assert_hit();
    hit
}

/// More pages than may be, each of them used, and `used` with every one.
async fn flood(proxy: &Proxy, used: &str) {
    for n in 0..3 * MOST {
        proxy.warm(&format!("/flood/{n}")).await;
        proxy.get(used).await.assert_hit();
        proxy.clock().advance(1);
        until_stored(proxy, MOST).await;
    }
}

#[tokio::test]
async fn what_a_stored_page_names_is_not_evicted() {
    let backend = site().await;
    let proxy = small(&backend).start().await;
    let of_other = || get(APP).host("other.test");
    proxy.warm("/plain.js").await;
    proxy.send(of_other()).await.assert_stored();
    proxy.send(of_other()).await.assert_hit();
    proxy.clock().advance(1);
    warm(&proxy).await;

    flood(&proxy, "/page").await;

    for asset in ASSETS {
        proxy.get(asset).await.assert_hit();
    }
    assert_eq!(backend.count(SHEET) + backend.count(FONT), 2);
    proxy.get("/plain.js").await.assert_stored();
    proxy.send(of_other()).await.assert_stored();
    assert_eq!(backend.count("/plain.js"), 2, "it is no hashed one, and went");
    assert_eq!(backend.count(APP), 3, "another site's page says nothing of it");
}

#[tokio::test]
async fn a_restart_knows_what_pages_name() {
    let backend = site().await;
    let mut proxy = small(&backend).start().await;
    warm(&proxy).await;
    proxy.restart().await;
    proxy.until_ready().await;

    flood(&proxy, "/page").await;

    for asset in ASSETS {
        proxy.get(asset).await.assert_hit();
        assert_eq!(backend.count(asset), 1);
    }
}

#[tokio::test]
async fn with_the_page_its_assets_may_go() {
    for (mode, page) in [
        (RefreshMode::Delete, None),
        (
            RefreshMode::Stale,
            Some("<script src=\"/new.0011aabb.js\"></script>"),
        ),
    ] {
        let backend = site().await;
        let proxy = small(&backend).start().await;
        warm(&proxy).await;
        proxy.warm("/used").await;
        let refreshed = proxy.trigger().refresh_matching(&["/page"], mode).await;
        assert!(refreshed.is_ok(), "{refreshed:?}");
        if let Some(page) = page {
            backend.on("/page", Answer::page(page));
            again(&proxy, "/page").await.assert(200, page);
        }

        flood(&proxy, page.map_or("/used", |_| "/page")).await;

        for asset in ASSETS {
            proxy.get(asset).await.assert_stored();
            assert_eq!(backend.count(asset), 2, "{mode:?}: nobody names it");
        }
    }
}

#[tokio::test]
async fn gc_leaves_what_pages_name() {
    let backend = site().await;
    let mut proxy = bounded(&backend, |_| {}).start().await;
    for asset in ASSETS {
        proxy.warm(asset).await;
        proxy.clock().advance(1);
    }
    for n in 0..30 {
        proxy.warm(&format!("/{n}")).await;
        proxy.clock().advance(1);
    }
    proxy.warm("/page").await;
    proxy.stop().await;
    let limited = small(&backend).dir_of(&proxy).clock(proxy.clock().clone());
    let mut limited = eventually("the directory to be free", async || {
        limited.clone().try_start().await.ok()
    })
    .await;
    limited.stop().await;

    let done = limited.artefact(|artefact| artefact.collect()).await;

    let done = done.expect("the lock");
    assert!((4..=MOST as u64).contains(&done.snapshots), "{done:?}");
    limited.start_again().await;
    for target in ASSETS.iter().chain(&["/page"]) {
        limited.get(target).await.assert_hit();
        assert_eq!(backend.count(target), 1);
    }
}

#[tokio::test]
async fn an_invalidation_and_rm_take_them_all_the_same() {
    let backend = site().await;
    let mut proxy = small(&backend).start().await;
    warm(&proxy).await;

    let refreshed = proxy
        .trigger()
        .refresh_matching(&["/app.*"], RefreshMode::Delete)
        .await;

    assert_eq!(refreshed.expect("a pattern").removed, 1);
    proxy.get("/page").await.assert_hit();
    proxy.get(APP).await.assert_stored();
    proxy.stop().await;
    let removed = proxy.artefact(|artefact| artefact.remove("/site-*")).await;
    assert!(removed.is_ok(), "{removed:?}");
    let pages = proxy.pages();
    assert!(
        !pages.iter().any(|file| file.contains("site-12ab34cd")),
        "{pages:?}"
    );
    assert!(pages.iter().any(|file| file.contains("/page.")), "{pages:?}");
}

#[tokio::test]
async fn a_pinned_page_keeps_its_assets_beyond_the_limit() {
    let backend = site().await;
    let proxy = bounded(&backend, |settings| settings.max_snapshots = 3)
        .configured(|config| config.with_pinned(vec!["/page".to_owned()]))
        .start()
        .await;
    warm(&proxy).await;
    // One that comes while room is looked for may be taken in, to go again.
    eventually("other pages to be refused", async || {
        proxy.get("/other").await.assert(200, "/other");
        (proxy.counted(Reason::DiskLimit) > 0).then_some(())
    })
    .await;
    until_stored(&proxy, 4).await;

    for target in ASSETS.iter().chain(&["/page"]) {
        proxy.get(target).await.assert_hit();
        assert_eq!(backend.count(target), 1);
    }
}

#[tokio::test]
async fn the_sidecar_lists_them_and_the_same_page_gives_the_same_lines() {
    for padding in [0, 200_000] {
        let backend = Backend::start().await;
        let body = format!("{PAGE}{}", "x".repeat(padding));
        let answer = move |request: &Recorded| match request.field("if-none-match") {
            Some(_) if request.path() == "/validated" => Answer::new(304).with("ETag", "\"1\""),
            _ => Answer::page(body.clone()).with("ETag", "\"1\""),
        };
        backend.fallback(answer);
        let proxy = Setup::over(&backend).start().await;
        for page in ["page", "validated"] {
            let target = format!("/{page}");
            proxy.warm(&target).await;
            let sidecar = || proxy.sidecar(&format!("site.test/{page}.")).1;
            let before = sidecar();
            assert!(before.ends_with(LISTED), "{before}");

            let trigger = proxy.trigger();
            let refreshed = trigger.refresh_matching(&[&*target], RefreshMode::Stale).await;
            assert!(refreshed.is_ok(), "{refreshed:?}");
            again(&proxy, &target).await;

            assert_eq!(backend.count(&target), 2);
            assert_eq!(sidecar(), before, "{target}, with {padding} bytes more");
        }
    }
}

#[tokio::test]
async fn a_sidecar_without_them_is_read_and_has_them_from_the_next_rendering() {
    let backend = site().await;
    let mut proxy = Setup::over(&backend).start().await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let (path, text) = proxy.sidecar("site.test/page.");
    std::fs::write(&path, text.replace(LISTED, "\n")).expect("a sidecar");
    proxy.start_again().await;
    proxy.until_ready().await;

    proxy.get("/page").await.assert(200, PAGE).assert_hit();
    let refreshed = proxy
        .trigger()
        .refresh_matching(&["/page"], RefreshMode::Stale)
        .await;
    assert!(refreshed.is_ok(), "{refreshed:?}");
    again(&proxy, "/page").await.assert(200, PAGE);

    assert_eq!(proxy.sidecar("site.test/page.").1, text);
}
