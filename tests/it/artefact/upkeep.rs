//! `gc`, `reseal` and `tombstone`.

use std::fs;

use phantom_frame::ErrorKind;
use phantom_frame::artefact::{Artefact, Sealed, Tombstone};

use super::{findings, rows, site};
use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually};

#[tokio::test]
async fn what_a_crash_left_is_finished_and_swept() {
    let (backend, mut proxy) = site().await;
    proxy.warm("/page").await;
    let body = proxy.body_file("site.test/page.");
    let (sidecar, text) = proxy.sidecar("site.test/page.");
    proxy.stop().await;
    let (_, seal) = text.split_once("seal = \"").expect("a seal");
    let stem = sidecar
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let pending = proxy.dir().join(".phantom/pending");
    fs::rename(&body, pending.join(format!("{stem}.{}", &seal[..16]))).expect("a move");
    fs::write(pending.join("never.0123456789abcdef.0123456789abcdef"), "").expect("a file");
    fs::write(proxy.dir().join(".phantom/tmp/abc"), "half").expect("a file");

    let derived = proxy.dir().join(".phantom/derived/01");
    fs::create_dir_all(&derived).expect("a folder");
    fs::write(derived.join("page.0123456789abcdef.0123456789abcdef.br"), "").expect("a file");

    let done = proxy
        .artefact(|artefact| artefact.collect())
        .await
        .expect("the lock");

    assert_eq!((done.pending, done.temporaries, done.evicted), (2, 1, 0));
    assert_eq!((done.forms, done.is_partial), (1, false));
    assert_eq!(done.snapshots, 1);
    assert_eq!(findings(&proxy).await, []);
    proxy.start_again().await;
    let before = backend.total();
    proxy.get("/page").await.assert_hit();
    assert_eq!(backend.total(), before);
}

#[tokio::test]
async fn what_is_over_the_limit_goes_by_gc_and_by_nothing_else() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)));
    let mut proxy = Setup::over(&backend).start().await;
    for page in 0..30 {
        proxy.warm(&format!("/{page}")).await;
    }
    proxy.stop().await;
    let setup = Setup::over(&backend)
        .dir_of(&proxy)
        .with(|settings| settings.max_snapshots = 10);
    let mut limited = setup.clone().start().await;
    limited.stop().await;
    // A server that was stopped at once may not have begun.
    let left = rows(&limited, None).await.len();

    let repaired = limited.artefact(|artefact| artefact.repair(&mut |_| {})).await;
    assert_eq!(
        repaired.expect("the lock").snapshots,
        left as u64,
        "repairing evicts nothing"
    );
    let done = limited
        .artefact(|artefact| artefact.collect())
        .await
        .expect("the lock");

    assert!((1..=10).contains(&done.snapshots), "{done:?}");
    assert_eq!(done.evicted, left as u64 - done.snapshots);
    assert_eq!(rows(&limited, None).await.len() as u64, done.snapshots);
}

#[tokio::test]
async fn gc_leaves_a_server_its_directory() {
    let (_backend, proxy) = site().await;
    let refused = proxy.artefact(|artefact| artefact.collect()).await;
    let error = refused.expect_err("the server has the lock");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("another process writes"), "{error}");
}

fn reseal(artefact: Artefact) -> Vec<Sealed> {
    let mut sealed = Vec::new();
    artefact
        .reseal(Some("/page"), &mut |one| sealed.push(one))
        .expect("a directory");
    sealed
}

async fn tagged() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    let answer = |_: &crate::rig::Recorded| {
        Answer::page("as it was")
            .with("ETag", "\"1\"")
            .with("X-Kept", "1")
    };
    backend.fallback(answer);
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    proxy.until_ready().await;
    (backend, proxy)
}

#[tokio::test]
async fn a_hand_edit_that_is_sealed_is_served_from_the_next_start() {
    let (backend, mut proxy) = tagged().await;
    proxy.warm("/page").await;
    proxy.warm("/other").await;
    proxy.stop().await;
    for page in ["page", "other"] {
        fs::write(proxy.body_file(&format!("site.test/{page}.")), "by hand").expect("an edit");
    }

    let sealed = proxy.artefact(reseal).await;

    let lines: Vec<_> = sealed
        .iter()
        .map(|one| (one.line.as_str(), one.result.clone()))
        .collect();
    assert_eq!(lines, [("GET:/page", Ok(7))], "only what was asked for");
    assert_eq!(proxy.artefact(reseal).await, [], "once is enough");
    proxy.start_again().await;
    let before = backend.total();
    let hit = proxy.get("/page").await;
    hit.assert_hit();
    hit.assert(200, "by hand");
    assert_ne!(hit.field("etag"), Some("\"1\""), "the old bytes' tag is gone");
    assert_eq!(hit.field("x-kept"), Some("1"));
    assert_eq!(backend.total(), before);
}

#[tokio::test]
async fn nothing_is_sealed_while_a_server_writes() {
    let (_backend, proxy) = tagged().await;
    proxy.warm("/page").await;
    fs::write(proxy.body_file("site.test/page."), "by hand").expect("an edit");
    let before = proxy.contents();

    let refused = proxy
        .artefact(|artefact| artefact.reseal(None, &mut |sealed| panic!("{sealed:?}")))
        .await;

    let error = refused.expect_err("the server has the lock");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("stop the server")),
        "{error:?}"
    );
    assert_eq!(proxy.contents(), before);
}

#[tokio::test]
async fn a_time_that_another_program_set_stays_nobody_s() {
    let (backend, mut proxy) = tagged().await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let (sidecar, text) = proxy.sidecar("site.test/page.");
    fs::write(&sidecar, text).expect("as git writes it");
    let time = fs::metadata(&sidecar)
        .and_then(|file| file.modified())
        .expect("a time");
    fs::write(proxy.body_file("site.test/page."), "by hand").expect("an edit");

    assert_eq!(proxy.artefact(reseal).await.len(), 1);

    let now = fs::metadata(&sidecar)
        .and_then(|file| file.modified())
        .expect("a time");
    assert_eq!(now, time);
    let listed = rows(&proxy, None).await;
    assert_eq!(listed[0].freshness.age, None);
    proxy.start_again().await;
    let before = backend.total();
    proxy.get("/page").await.assert(200, "by hand");
    assert_eq!(backend.total(), before, "kept until invalidated, it is fresh");
}

#[tokio::test]
async fn a_tombstone_answers_at_once_after_a_restart_and_without_a_backend() {
    let (mut backend, mut proxy) = site().await;
    proxy.warm("/gone").await;
    proxy.warm("/moved").await;
    fs::write(proxy.body_file("site.test/moved."), "by hand").expect("an edit");

    for (url, tombstone) in [
        ("http://site.test/gone", Tombstone::Gone),
        ("http://site.test/moved", Tombstone::Moved("/new?a=1".into())),
        ("http://site.test/never", Tombstone::Gone),
    ] {
        let placed = proxy
            .artefact(move |artefact| artefact.tombstone(url, &tombstone))
            .await;
        assert!(placed.is_ok(), "{placed:?}");
    }

    eventually("the server to notice", async || {
        let response = proxy.get("/gone").await;
        (response.status == 410 && response.cache().hit).then_some(())
    })
    .await;
    assert_eq!(
        proxy.files_with("tombstone = true").len(),
        3,
        "what they are stands in the files"
    );
    let kept = proxy.files_with("by hand");
    assert!(
        kept.iter().all(|path| path.contains(".phantom/displaced/")),
        "{kept:?}"
    );
    assert_eq!((kept.len(), findings(&proxy).await), (1, vec![]));
    proxy.stop().await;
    backend.stop().await;
    proxy.start_again().await;
    for path in ["/gone", "/never"] {
        let response = proxy.get(path).await;
        response.assert(410, "");
        response.assert_hit();
    }
    let moved = proxy.get("/moved").await;
    assert_eq!((moved.status, moved.field("location")), (301, Some("/new?a=1")));
    moved.assert_hit();
}

#[tokio::test]
async fn a_tombstone_is_one_page_s() {
    let (_backend, proxy) = site().await;
    let before = proxy.contents();
    for (url, tombstone, said) in [
        ("/gone", Tombstone::Gone, "does not say whose page"),
        ("gone", Tombstone::Gone, "does not say whose page"),
        (
            "http://site.test/a",
            Tombstone::Moved("a b".into()),
            "cannot be a location",
        ),
    ] {
        let refused = proxy
            .artefact(move |artefact| artefact.tombstone(url, &tombstone))
            .await;
        let error = refused.expect_err(url).to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(proxy.contents(), before);
}
