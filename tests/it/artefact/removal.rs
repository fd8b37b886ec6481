//! `rm`: whole pages, no hand edits, and a server beside it that notices.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use phantom_frame::artefact::Artefact;
use phantom_frame::{CreateProxyConfig, FaultPlan};

use super::{assert_aside, below, rows, site, two_languages};
use crate::rig::{Answer, Backend, Proxy, Setup, eventually};

#[tokio::test]
async fn what_is_removed_beside_a_server_is_fetched_again_and_the_rest_is_not() {
    let (backend, proxy) = site().await;
    for path in ["/blog/one", "/blog/two?page=2", "/about"] {
        proxy.warm(path).await;
    }
    let before = proxy.contents();
    let would = |artefact: phantom_frame::artefact::Artefact| {
        let mut pages = Vec::new();
        let removed = artefact.would_remove("/blog/*", &mut |row| pages.push(row.page()));
        (removed.expect("a pattern"), pages)
    };
    let (removed, pages) = proxy.artefact(would).await;
    let expected = ["http://site.test/blog/one", "http://site.test/blog/two?page=2"];
    assert_eq!(pages, expected);
    assert_eq!((removed.pages, removed.snapshots), (2, 2));
    assert_eq!(proxy.contents(), before, "a dry run removes nothing");

    let removed = proxy.artefact(|artefact| artefact.remove("/blog/*")).await;

    let removed = removed.expect("a pattern");
    assert_eq!((removed.pages, removed.snapshots), (2, 2));
    assert_eq!(
        removed.bytes,
        "page /blog/one".len() as u64 + "page /blog/two?page=2".len() as u64
    );
    assert!(removed.is_beside_a_server);
    assert!(!proxy.dir().join("site.test/blog").exists(), "empty folders go");
    eventually("the server to notice", async || {
        (!proxy.get("/blog/one").await.cache().hit).then_some(())
    })
    .await;
    assert_eq!(backend.count("/blog/one"), 2);
    proxy.get("/about").await.assert_hit();
    assert_eq!(backend.count("/about"), 1);
}

#[tokio::test]
async fn variants_go_with_their_page_and_hand_edits_are_kept() {
    let (proxy, _) = two_languages().await;
    let body = proxy.pages().into_iter().find(|path| path.ends_with(".html"));
    fs::write(proxy.dir().join(body.expect("a body")), "by hand").expect("an edit");

    let removed = proxy.artefact(|artefact| artefact.remove("GET:/page")).await;

    let removed = removed.expect("a pattern");
    assert_eq!((removed.pages, removed.is_beside_a_server), (1, false));
    assert_eq!(proxy.pages(), Vec::<String>::new());
    assert_aside(&proxy, "by hand");
}

#[tokio::test]
async fn compressed_forms_go_with_their_page() {
    let backend = Backend::start().await;
    let text = "words and words and words ".repeat(200);
    backend.fallback(move |_| Answer::page(text.clone()));
    let setup = Setup::over(&backend).with(|settings| settings.compress = vec!["gzip".into()]);
    let mut proxy = setup.start().await;
    proxy.warm("/page").await;
    let forms = |proxy: &Proxy| {
        proxy
            .files_with("page.")
            .into_iter()
            .filter(|path| path.ends_with(".gz"))
            .count()
    };
    eventually("a form to be made", async || (forms(&proxy) == 1).then_some(())).await;
    proxy.stop().await;
    let pages = proxy
        .artefact(|artefact| artefact.show("http://site.test/page"))
        .await;
    assert_eq!(pages.expect("the page")[0].forms[0].coding, "gzip");

    let removed = proxy.artefact(|artefact| artefact.remove("*")).await;

    assert_eq!(removed.expect("a pattern").pages, 1);
    assert_eq!(forms(&proxy), 0);
}

#[tokio::test]
async fn what_is_no_pattern_removes_nothing() {
    let (_backend, proxy) = site().await;
    proxy.warm("/a").await;
    for pattern in ["", "/a\n*"] {
        let refused = proxy.artefact(move |artefact| artefact.remove(pattern)).await;
        assert!(refused.is_err(), "{pattern:?}");
    }
    let missed = proxy.artefact(|artefact| artefact.remove("/ab")).await;
    assert_eq!(missed.expect("a pattern").pages, 0);
    let listed = rows(&proxy, None).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].file, below(&proxy, &proxy.body_file("site.test/a.")));
}

#[tokio::test]
async fn a_folder_is_asked_for_once_however_many_pages_it_had() {
    let (_backend, mut proxy) = site().await;
    for page in 0..20 {
        proxy.warm(&format!("/blog/{page}")).await;
        proxy.warm(&format!("/blog/{page}/more")).await;
    }
    proxy.warm("/about").await;
    proxy.stop().await;
    let asked: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    let plan: FaultPlan = {
        let (asked, dir) = (Arc::clone(&asked), proxy.dir());
        Arc::new(move |operation, path: &Path| {
            let path = path.strip_prefix(&dir).unwrap_or(path).display().to_string();
            asked.lock().expect("a list").push((operation, path));
            Ok(())
        })
    };
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into())
        .with_snapshot_dir(proxy.dir())
        .with_disk_faults(plan);
    let artefact = Artefact::open(&config).expect("the directory");

    let removed = artefact.remove("/blog/*");

    assert_eq!(removed.expect("a pattern").pages, 40);
    let asked = asked.lock().expect("a list");
    let of = |wanted: &str| {
        let paths = asked.iter().filter(|(operation, _)| *operation == wanted);
        paths.map(|(_, path)| path.as_str()).collect::<Vec<_>>()
    };
    let mut folders = of("rmdir");
    folders.sort_unstable();
    let mut expected: Vec<_> = (0..20).map(|page| format!("site.test/blog/{page}")).collect();
    expected.extend(["site.test".to_owned(), "site.test/blog".to_owned()]);
    expected.sort_unstable();
    assert_eq!(folders, expected);
    assert!(proxy.dir().join("site.test").is_dir() && !proxy.dir().join("site.test/blog").exists());
    assert_eq!(of("unlink").len(), 80, "two files a page, and no compressed form");
}

#[tokio::test]
async fn pages_go_side_by_side_where_the_disk_takes_its_time() {
    let (_backend, mut proxy) = site().await;
    for page in 0..6 {
        proxy.warm(&format!("/blog/{page}")).await;
    }
    let edited = proxy.body_file("site.test/blog/3.");
    fs::write(&edited, "by hand").expect("an edit");
    proxy.stop().await;
    /// Longer than anybody asks whether they have met.
    const PATIENCE: Duration = Duration::from_secs(3);
    // Bodies whose removal has begun: the first one waits for a second.
    let met: Arc<(Mutex<usize>, Condvar)> = Arc::default();
    let plan: FaultPlan = {
        let met = Arc::clone(&met);
        Arc::new(move |operation, path: &Path| {
            if operation == "unlink" && path.extension().is_some_and(|extension| extension == "html") {
                let (begun, more) = &*met;
                let mut begun = begun.lock().expect("a count");
                *begun += 1;
                more.notify_all();
                drop(more.wait_timeout_while(begun, PATIENCE, |begun| *begun < 2));
            }
            Ok(())
        })
    };
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into())
        .with_snapshot_dir(proxy.dir())
        .with_disk_faults(plan);
    let artefact = Artefact::open(&config).expect("the directory");

    let removing = tokio::task::spawn_blocking(move || artefact.remove("/blog/*"));

    eventually("two to be on their way at once", async || {
        (*met.0.lock().expect("a count") >= 2).then_some(())
    })
    .await;
    let removed = removing.await.expect("it ends").expect("a pattern");
    assert_eq!((removed.pages, removed.failed.len()), (6, 0));
    assert_eq!(proxy.pages(), Vec::<String>::new());
    assert!(
        !proxy.dir().join("site.test").exists(),
        "folders go behind all that was in them"
    );
    assert_aside(&proxy, "by hand");
}
