//! A directory of many snapshots.

use std::collections::BTreeSet;
use std::fs;

use phantom_frame::{Durability, RefreshMode, Settings};

use crate::rig::{Answer, Backend, Proxy, Setup, eventually};

/// More than are looked at in one go, in one folder and in more folders than one thread is enough for.
const FLAT: usize = 1300;
const FOLDERS: usize = 20;
const IN_EACH: usize = 10;
const ALL: usize = FLAT + FOLDERS * IN_EACH;

fn targets() -> Vec<String> {
    let flat = (0..FLAT).map(|n| format!("/flat/{n}"));
    let deep = (0..FOLDERS * IN_EACH).map(|n| format!("/deep/{}/comments/{n}", n % FOLDERS));
    flat.chain(deep).collect()
}

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    backend
}

fn setup(backend: &Backend, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Setup {
    Setup::over(backend).with(move |settings| {
        settings.durability = Durability::None;
        change(settings);
    })
}

/// A proxy that has stored every page.
async fn filled(backend: &Backend) -> Proxy {
    let proxy = setup(backend, |_| {}).start().await;
    for target in targets() {
        proxy.get(&target).await.assert(200, &target).assert_stored();
    }
    assert_eq!((proxy.stored(), backend.total()), (ALL, ALL));
    proxy
}

async fn invalidate(proxy: &Proxy, pattern: &str) {
    let trigger = proxy.trigger();
    trigger
        .refresh_matching(&[pattern], RefreshMode::Delete)
        .await
        .expect("the invalidation");
}

async fn until_stored(proxy: &Proxy, count: usize) {
    eventually("so many pages to be known", async || {
        (proxy.stored() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_page_of_a_large_directory_is_known_after_a_restart_however_its_sidecar_is_written() {
    let backend = site().await;
    let mut proxy = filled(&backend).await;
    let (edited, text) = proxy.sidecar("site.test/flat/7.");
    proxy.stop().await;
    // The same to any reader of TOML.
    let by_hand = text.replace(" = ", "  =  ") + "# kept\n";
    assert_ne!(by_hand, text);
    fs::write(&edited, by_hand).expect("the sidecar");
    let (broken, _) = proxy.sidecar("site.test/flat/8.");
    fs::write(&broken, "no sidecar").expect("another");
    let stray = edited.with_file_name("stray.toml");
    fs::write(&stray, "format = 1\n").expect("a file of somebody's");

    proxy.start_again().await;
    until_stored(&proxy, ALL - 1).await;

    for target in targets().iter().filter(|target| *target != "/flat/8").step_by(37) {
        proxy.get(target).await.assert(200, target).assert_hit();
    }
    proxy.get("/flat/7").await.assert(200, "/flat/7").assert_hit();
    assert_eq!(backend.total(), ALL);
    proxy.get("/flat/8").await.assert(200, "/flat/8").assert_stored();
    assert_eq!((proxy.stored(), backend.total()), (ALL, ALL + 1));
    assert!(stray.exists(), "what is not ours is left alone");
}

#[tokio::test]
async fn a_pattern_over_many_pages_takes_those_that_match_and_no_other() {
    let backend = site().await;
    let proxy = filled(&backend).await;
    let before: BTreeSet<_> = proxy.pages().into_iter().collect();

    invalidate(&proxy, "*/comments/*").await;

    let left: BTreeSet<_> = proxy.pages().into_iter().collect();
    assert_eq!(
        left,
        before
            .into_iter()
            .filter(|page| !page.contains("comments"))
            .collect()
    );
    assert_eq!(proxy.stored(), FLAT);
    proxy.get("/flat/1").await.assert(200, "/flat/1").assert_hit();
    let gone = "/deep/3/comments/3";
    proxy.get(gone).await.assert(200, gone).assert_stored();
    assert_eq!((backend.count("/flat/1"), backend.count(gone)), (1, 2));

    // The files of a thousand pages, and those of one behind them.
    invalidate(&proxy, "GET:/flat/1*").await;
    invalidate(&proxy, "/flat/2").await;
    let kept = |n: &usize| !n.to_string().starts_with('1') && *n != 2;
    assert_eq!(proxy.stored(), (0..FLAT).filter(kept).count() + 1);
    proxy.get("/flat/3").await.assert(200, "/flat/3").assert_hit();
    proxy
        .get("/flat/10")
        .await
        .assert(200, "/flat/10")
        .assert_stored();
}

#[tokio::test]
async fn a_lower_limit_at_the_next_start_is_reached_and_what_is_asked_for_stays() {
    const MOST: usize = 1000;
    let backend = site().await;
    let mut proxy = filled(&backend).await;
    proxy.stop().await;

    let lower = setup(&backend, |settings| settings.max_snapshots = MOST)
        .dir_of(&proxy)
        .start()
        .await;
    eventually("enough pages to be gone", async || {
        (lower.stored() == MOST - MOST / 50).then_some(())
    })
    .await;

    let bodies = lower.pages().into_iter().filter(|page| page.ends_with(".html"));
    assert_eq!(bodies.count(), MOST - MOST / 50);
    let mut hits = 0;
    for target in targets().iter().step_by(100) {
        let before = backend.total();
        let answer = lower.get(target).await;
        answer.assert(200, target);
        hits += usize::from(answer.cache().hit);
        assert_eq!(answer.cache().hit, backend.total() == before, "{target}");
    }
    assert!(hits > 0, "some are left");
}
