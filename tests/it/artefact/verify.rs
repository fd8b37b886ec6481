//! What is found to be wrong, and what is done about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use phantom_frame::artefact::Artefact;
use phantom_frame::{CreateProxyConfig, ErrorKind, FaultPlan};

use super::{below, findings, short, site};
use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually, get};

/// A page with its two files, by their paths.
async fn stored(proxy: &Proxy, name: &str) -> (PathBuf, PathBuf) {
    proxy.warm(&format!("/{name}")).await;
    let stem = format!("site.test/{name}.");
    (proxy.body_file(&stem), proxy.sidecar(&stem).0)
}

/// Everything that can be wrong, once; what `verify` is to say of it.
async fn spoilt(proxy: &mut Proxy) -> Vec<(String, String)> {
    let (edited, _) = stored(proxy, "edited").await;
    let (body_gone, bodiless) = stored(proxy, "bodiless").await;
    let (orphan, sidecar_gone) = stored(proxy, "orphan").await;
    let (lost, garbage) = stored(proxy, "garbage").await;
    let (_, whole) = stored(proxy, "whole").await;
    let (unfinished, committed) = stored(proxy, "unfinished").await;
    let (piped, piped_sidecar) = stored(proxy, "piped").await;
    proxy.stop().await;
    let dir = proxy.dir();
    let seal = |sidecar: &Path| {
        let text = fs::read_to_string(sidecar).expect("a sidecar");
        let (_, seal) = text.split_once("seal = \"").expect("a seal");
        seal[..16].to_owned()
    };
    let stem = committed
        .file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let pending = dir
        .join(".phantom/pending")
        .join(format!("{stem}.{}", seal(&committed)));
    let never = dir.join(".phantom/pending/never.0123456789abcdef.0123456789abcdef");
    let copy = dir
        .join("site.test/copied")
        .join(whole.file_name().expect("a name"));
    let upper = whole.with_file_name("WHOLE.txt");
    let also_upper = whole.with_file_name("Whole.txt");
    let readme = dir.join("README.md");

    fs::write(&edited, "by hand").expect("an edit");
    fs::remove_file(&body_gone).expect("a body");
    fs::remove_file(&sidecar_gone).expect("a sidecar");
    fs::write(&garbage, "<<<<<<< HEAD").expect("an edit");
    fs::rename(&unfinished, &pending).expect("a move");
    fs::write(&never, "body").expect("a body");
    fs::create_dir(copy.parent().expect("a folder")).expect("a folder");
    fs::copy(&whole, &copy).expect("a copy");
    fs::write(&upper, "").expect("a file");
    fs::write(&also_upper, "").expect("a file");
    fs::write(&readme, "read me").expect("a file");
    fs::remove_file(&piped).expect("a body");
    std::os::unix::fs::symlink("/etc/passwd", &piped).expect("a link");
    let mut expected: Vec<(String, String)> = [
        ("seal", edited),
        ("no-body", bodiless),
        ("no-sidecar", orphan),
        ("unreadable", garbage),
        ("no-sidecar", lost),
        ("pending", pending),
        ("pending", never),
        ("foreign", copy),
        ("outside", upper),
        ("case", also_upper),
        ("outside", readme),
        ("outside", piped),
    ]
    .map(|(kind, path)| (kind.to_owned(), below(proxy, &path)))
    .to_vec();
    expected.sort();
    assert!(piped_sidecar.exists());
    expected
}

#[tokio::test]
async fn everything_that_is_wrong_is_found() {
    let (_backend, mut proxy) = site().await;
    assert_eq!(findings(&proxy).await, []);

    let expected = spoilt(&mut proxy).await;

    let before = proxy.contents();
    assert_eq!(findings(&proxy).await, expected);
    assert_eq!(proxy.contents(), before, "looking changes nothing");
}

#[tokio::test]
async fn what_is_put_right_loses_nothing_and_what_is_not_of_the_layout_is_left() {
    let (backend, mut proxy) = site().await;
    spoilt(&mut proxy).await;

    let repair = |artefact: Artefact| {
        let mut left = Vec::new();
        let verified = artefact.repair(&mut |finding| {
            if finding.fixed.is_none() {
                left.push(short(&finding));
            }
        });
        (verified.expect("the lock"), left)
    };
    let (verified, mut left) = proxy.artefact(repair).await;

    left.sort();
    let outside = |path: &str| ("outside".to_owned(), path.to_owned());
    let expected = [
        ("case".to_owned(), "site.test/Whole.txt".to_owned()),
        outside("README.md"),
        outside("site.test/WHOLE.txt"),
    ];
    assert_eq!(left, expected);
    assert_eq!(verified.left, 3);
    assert_eq!(findings(&proxy).await, expected);
    // Nobody's bytes are gone.
    for text in [
        "by hand",
        "<<<<<<< HEAD",
        "page /orphan",
        "page /garbage",
        "/bodiless",
    ] {
        let kept = proxy.files_with(text);
        let is_aside = |path: &String| path.contains(".phantom/displaced/2");
        assert!(kept.iter().any(is_aside), "{text}: {kept:?}");
    }
    assert_eq!(
        fs::read_to_string(proxy.dir().join("README.md")).expect("it"),
        "read me"
    );

    proxy.start_again().await;
    let before = backend.total();
    for path in ["/whole", "/unfinished"] {
        let response = proxy.get(path).await;
        response.assert_hit();
        response.assert(200, &format!("page {path}"));
    }
    assert_eq!(
        backend.total(),
        before,
        "what was whole, or could be made so, is served"
    );
    let fetched = proxy.get("/edited").await;
    fetched.assert_stored();
    assert_eq!(backend.count("/edited"), 2, "what was set aside is fetched anew");
}

#[tokio::test]
async fn variants_outlive_the_rendering_that_names_them() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(format!("in {language}")).with("Vary", "Accept-Language")
    });
    let mut proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    let german = get("/page").with("Accept-Language", "de");
    for ask in [get("/page"), german.clone()] {
        eventually("it to be stored", async || {
            proxy.send(ask.clone()).await.cache().hit.then_some(())
        })
        .await;
    }
    proxy.stop().await;
    let base = proxy
        .pages()
        .into_iter()
        .find(|path| !path.contains('~') && path.ends_with(".html"));
    fs::write(proxy.dir().join(base.expect("a body")), "by hand").expect("an edit");

    let verified = proxy.artefact(|artefact| artefact.repair(&mut |_| {})).await;

    assert_eq!(verified.expect("the lock").left, 0);
    assert_eq!(findings(&proxy).await, []);
    proxy.start_again().await;
    let before = backend.total();
    proxy.send(german).await.assert_hit();
    assert_eq!(backend.total(), before);
}

#[tokio::test]
async fn nothing_is_put_right_under_a_server_s_hands() {
    let (_backend, proxy) = site().await;
    let (body, _) = stored(&proxy, "page").await;
    fs::write(body, "by hand").expect("an edit");
    let before = proxy.contents();

    let refused = proxy.artefact(|artefact| artefact.repair(&mut |_| {})).await;

    let error = refused.expect_err("the server has the lock");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("phantom-frame rm")),
        "{error:?}"
    );
    assert_eq!(proxy.contents(), before);
}

#[tokio::test]
async fn what_was_changed_a_moment_ago_is_looked_at_again_before_it_is_said() {
    let (_backend, mut proxy) = site().await;
    let (body, _) = stored(&proxy, "page").await;
    proxy.stop().await;
    let whole = fs::read(&body).expect("the body");
    fs::write(&body, "half of what another program writes").expect("a write");
    let looks = Arc::new(AtomicU32::new(0));
    let plan: FaultPlan = {
        let (looks, body) = (Arc::clone(&looks), body.clone());
        Arc::new(move |operation, path: &Path| {
            let is_body = operation == "open" && path.file_name() == body.file_name();
            // It is done when it is looked at for the second time.
            if is_body && looks.fetch_add(1, Ordering::SeqCst) == 1 {
                fs::write(&body, &whole).expect("a write");
            }
            Ok(())
        })
    };
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into())
        .with_snapshot_dir(proxy.dir())
        .with_disk_faults(plan);
    let artefact = Artefact::open(&config).expect("the directory");

    let mut found = Vec::new();
    let verified = artefact.verify(&mut |finding| found.push(short(&finding)));

    assert_eq!((found, verified.snapshots), (vec![], 1));
    assert_eq!(looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_at_work_is_nothing_wrong() {
    let (backend, proxy) = site().await;
    // Replacements, which go by way of `pending/`, while the directory is looked through again and again.
    let version = Arc::new(AtomicU32::new(0));
    let next = Arc::clone(&version);
    backend.fallback(move |request| {
        let number = next.fetch_add(1, Ordering::SeqCst);
        Answer::page(format!("{} {number}", request.target)).with("Cache-Control", "max-age=1")
    });
    let work = async {
        for _ in 0..40 {
            for page in 0..5 {
                let response = proxy.get(&format!("/{page}")).await;
                assert_eq!(response.status, 200);
            }
            proxy.clock().advance(2);
        }
    };
    let looks = async {
        for _ in 0..10 {
            assert_eq!(findings(&proxy).await, []);
        }
    };
    tokio::join!(work, looks);
    let fetched = version.load(Ordering::SeqCst);
    assert!(fetched > 150, "pages were replaced meanwhile: {fetched}");
}
