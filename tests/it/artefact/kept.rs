//! What a command does not know to be a snapshot's, or cannot read, it neither moves nor destroys.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use phantom_frame::artefact::{Artefact, Tombstone};
use phantom_frame::{CreateProxyConfig, FaultPlan};

use super::{assert_aside, below, findings, names, short, site, two_languages};
use crate::rig::{Proxy, Setup, eventually};

fn with_faults(proxy: &Proxy, plan: FaultPlan) -> Artefact {
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into())
        .with_snapshot_dir(proxy.dir())
        .with_disk_faults(plan);
    Artefact::open(&config).expect("the directory")
}

/// The file of `/page` with this ending that is of a variant or, without one, of the key itself.
fn file_of(folder: &Path, is_variant: impl Fn(&str) -> bool, ending: &str) -> PathBuf {
    let mut names = names(folder).into_iter();
    let name = names.find(|name| name.ends_with(ending) && is_variant(name));
    folder.join(name.expect("a file"))
}

/// What was copied from elsewhere with its time is as old as that.
fn edit_with_an_old_time(path: &Path, text: &str) {
    fs::write(path, text).expect("an edit");
    let file = fs::File::options().write(true).open(path).expect("the file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .expect("a time");
}

#[tokio::test]
async fn what_stands_beside_a_sidecar_that_cannot_be_read_is_left() {
    for is_base in [true, false] {
        let (proxy, folder) = two_languages().await;
        let unread = file_of(&folder, |name| name.contains('~') != is_base, ".toml");
        let expected = vec![("unreadable".to_owned(), below(&proxy, &unread))];
        let before = proxy.pages();
        let plan: FaultPlan = Arc::new(move |operation, path: &Path| {
            match operation == "open" && path.file_name() == unread.file_name() {
                true => Err(io::Error::from(io::ErrorKind::PermissionDenied).into()),
                false => Ok(()),
            }
        });
        let artefact = with_faults(&proxy, plan);

        let mut left = Vec::new();
        let verified = artefact.repair(&mut |finding| {
            assert_eq!(finding.fixed, None, "{finding:?}");
            left.push(short(&finding));
        });

        assert_eq!(verified.expect("the lock").left, 1);
        assert_eq!(left, expected, "base {is_base}");
        drop(artefact);
        assert_eq!(proxy.pages(), before);
        assert_eq!(findings(&proxy).await, [], "once it can be read, all is well");
    }
}

#[tokio::test]
async fn an_edit_that_kept_an_old_time_is_kept_when_its_page_is_removed() {
    let (_backend, mut proxy) = site().await;
    for page in ["/rm", "/whole"] {
        proxy.warm(page).await;
    }
    proxy.stop().await;
    edit_with_an_old_time(&proxy.body_file("site.test/rm."), "by hand");

    let removed = proxy.artefact(|artefact| artefact.remove("*")).await;

    assert_eq!(removed.expect("a pattern").pages, 2);
    assert_eq!(proxy.pages(), Vec::<String>::new());
    assert_aside(&proxy, "by hand");
    assert_eq!(
        proxy.files_with("page /whole"),
        Vec::<String>::new(),
        "no edit is kept"
    );
}

#[tokio::test]
async fn a_tombstone_keeps_what_was_changed_by_hand_in_the_variants_it_removes() {
    let (proxy, folder) = two_languages().await;
    let is_variant = |name: &str| name.contains('~');
    let edited = file_of(&folder, is_variant, ".html");
    let broken = folder.join("page.0.html");
    edit_with_an_old_time(&edited, "by hand");
    // Another variant's body, whose sidecar a merge broke.
    let name = edited.file_name().expect("a name").to_string_lossy().into_owned();
    let (stem, _) = name.split_once('~').expect("a variant");
    let orphan = broken.with_file_name(format!("{stem}~0000000a.html"));
    edit_with_an_old_time(&orphan, "of a broken sidecar");
    fs::write(orphan.with_extension("toml"), "<<<<<<< HEAD").expect("a merge");

    let placed = proxy
        .artefact(|artefact| artefact.tombstone("http://site.test/page", &Tombstone::Gone))
        .await;

    assert!(placed.is_ok(), "{placed:?}");
    assert_eq!(proxy.pages().len(), 1, "{:?}", proxy.pages());
    assert_aside(&proxy, "by hand");
    assert_aside(&proxy, "of a broken sidecar");
}

#[tokio::test]
async fn files_and_folders_of_somebody_s_own_are_left_whatever_their_case() {
    let (_backend, mut proxy) = site().await;
    proxy.warm("/page").await;
    let body = proxy.body_file("site.test/page.");
    proxy.stop().await;
    let dir = proxy.dir();
    let copy = body.to_string_lossy().replace("page.", "Page.");
    fs::copy(&body, &copy).expect("a copy");
    for name in ["Docs", "docs", ".Git", ".git"] {
        fs::create_dir(dir.join(name)).expect("a folder");
    }
    for name in ["README.md", "Readme.md", "Docs/a", ".Notes", ".notes"] {
        fs::write(dir.join(name), "mine").expect("a file");
    }
    let before = proxy.files_with("mine");

    let repair = |artefact: Artefact| {
        let mut fixed = Vec::new();
        let verified = artefact.repair(&mut |finding| {
            if finding.fixed.is_some() {
                fixed.push(short(&finding));
            }
        });
        verified.expect("the lock");
        fixed
    };
    let fixed = proxy.artefact(repair).await;

    let copy = below(&proxy, Path::new(&copy));
    let is_copy = |(_, path): &(String, String)| *path == copy;
    assert!(fixed.iter().all(is_copy), "{fixed:?}");
    assert!(
        !fixed.is_empty(),
        "it takes a snapshot's place on some file systems"
    );
    assert_eq!(proxy.files_with("mine"), before);
    assert!(dir.join("Docs").is_dir() && dir.join("docs").is_dir());
}

#[tokio::test]
async fn a_sidecar_that_names_another_page_s_body_moves_and_removes_it_by_no_command() {
    for command in ["repair", "remove"] {
        let (proxy, folder) = two_languages().await;
        let sidecar = file_of(&folder, |name| name.contains('~'), ".toml");
        let text = fs::read_to_string(&sidecar).expect("a sidecar");
        let own = sidecar.with_extension("html");
        let own_name = own.file_name().expect("a name").to_string_lossy().into_owned();
        // As it could be at the root, with the directory's marker for a body.
        let other = folder.join("phantom-frame-notes.txt");
        fs::write(&other, "somebody's").expect("a file");
        fs::write(&sidecar, text.replace(&own_name, "phantom-frame-notes.txt")).expect("an edit");
        fs::remove_file(file_of(&folder, |name| !name.contains('~'), ".toml")).expect("a sidecar");

        match command {
            "repair" => drop(proxy.artefact(|artefact| artefact.repair(&mut |_| {})).await),
            _ => drop(proxy.artefact(|artefact| artefact.remove("*")).await),
        }

        assert!(other.exists(), "{command}");
        assert!(!sidecar.exists(), "{command}");
    }
}

/// A sidecar that would not move is not replaced by one that says less.
#[tokio::test]
async fn what_cannot_be_moved_aside_stays_what_it_is() {
    let (proxy, folder) = two_languages().await;
    let base = file_of(&folder, |name| !name.contains('~'), ".toml");
    let text = fs::read_to_string(&base).expect("a sidecar");
    fs::write(base.with_extension("html"), "by hand").expect("an edit");
    let plan: FaultPlan = Arc::new(|operation, path: &Path| {
        let is_aside = path.components().any(|part| part.as_os_str() == "displaced");
        match operation == "rename" && is_aside {
            true => Err(io::Error::from(io::ErrorKind::PermissionDenied).into()),
            false => Ok(()),
        }
    });

    let mut fixed = Vec::new();
    let verified = with_faults(&proxy, plan).repair(&mut |finding| fixed.extend(finding.fixed));

    assert_eq!(verified.expect("the lock").left, 1);
    assert_eq!(fixed, Vec::<String>::new());
    assert_eq!(fs::read_to_string(&base).expect("the sidecar"), text);
    assert_eq!(
        fs::read(base.with_extension("html")).expect("the body"),
        b"by hand"
    );
}

#[tokio::test]
async fn what_would_not_go_or_be_read_is_named() {
    let (_backend, mut proxy) = site().await;
    for page in ["/a/one", "/b/two"] {
        proxy.warm(page).await;
    }
    proxy.stop().await;
    let refuse = |refused: &'static str| -> FaultPlan {
        Arc::new(move |operation, path: &Path| {
            let is_in = path.components().any(|part| part.as_os_str() == "a");
            match operation == refused && is_in {
                true => Err(io::Error::from(io::ErrorKind::PermissionDenied).into()),
                false => Ok(()),
            }
        })
    };

    let removed = with_faults(&proxy, refuse("unlink")).remove("/a/*");
    let removed = removed.expect("a pattern");
    assert_eq!((removed.pages, removed.failed.len()), (0, 1), "{removed:?}");
    assert!(removed.failed[0].starts_with("GET:/a/one: "), "{removed:?}");

    let artefact = with_faults(&proxy, refuse("readdir"));
    let mut rows = Vec::new();
    let unread = artefact.list(None, &mut |row| rows.push(row.line));
    let unread = unread.expect("a pattern");
    assert_eq!(rows, ["GET:/b/two"]);
    assert!(
        unread.len() == 1 && unread[0].contains("site.test/a: "),
        "{unread:?}"
    );
    let collected = artefact.collect().expect("the lock");
    assert!(collected.is_partial, "{collected:?}");
    drop(artefact);
    assert_eq!(super::rows(&proxy, None).await.len(), 2);
}

#[tokio::test]
async fn a_visit_leaves_another_page_s_body_that_a_sidecar_names() {
    let (_backend, mut proxy) = site().await;
    for page in ["/page", "/other"] {
        proxy.warm(page).await;
    }
    proxy.stop().await;
    let other = proxy.body_file("site.test/other.");
    let (sidecar, text) = proxy.sidecar("site.test/page.");
    let own = proxy.body_file("site.test/page.");
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    fs::write(&sidecar, text.replace(&name(&own), &name(&other))).expect("an edit");
    proxy.start_again().await;

    eventually("it to be stored again", async || {
        let page = proxy.get("/page").await;
        page.assert(200, "page /page");
        page.cache().hit.then_some(())
    })
    .await;

    assert_eq!(fs::read(&other).expect("the body"), b"page /other");
    proxy.get("/other").await.assert(200, "page /other").assert_hit();
}

#[tokio::test]
async fn what_is_kept_aside_is_bounded_by_the_configured_limit() {
    let (backend, mut proxy) = site().await;
    proxy.stop().await;
    let aside = proxy.dir().join(".phantom/displaced");
    fs::create_dir_all(&aside).expect("a folder");
    let large = aside.join("large.0123456789abcdef.0123456789abcdef");
    // Without a block of its own.
    let file = fs::File::create(&large).expect("a file");
    file.set_len(3 << 29).expect("a length");
    fs::set_permissions(&large, fs::Permissions::from_mode(0o644)).expect("a mode");
    for (limit, is_kept) in [(16_u64 << 30, true), (8 << 30, false)] {
        let limited = Setup::over(&backend)
            .dir_of(&proxy)
            .with(move |settings| settings.disk_limit = limit);
        let mut limited = limited.start().await;
        limited.warm("/page").await;
        limited.stop().await;
        fs::write(limited.body_file("site.test/page."), format!("by hand {limit}")).expect("an edit");

        let removed = limited.artefact(|artefact| artefact.remove("/page")).await;

        assert_eq!(removed.expect("a pattern").pages, 1);
        assert_aside(&limited, &format!("by hand {limit}"));
        assert_eq!(large.exists(), is_kept, "{limit}");
    }
}

#[tokio::test]
async fn what_is_changed_while_it_is_sealed_is_not_overwritten() {
    for what in ["sidecar", "body"] {
        let (_backend, mut proxy) = site().await;
        proxy.warm("/page").await;
        proxy.stop().await;
        let body = proxy.body_file("site.test/page.");
        let (sidecar, text) = proxy.sidecar("site.test/page.");
        fs::write(&body, "by hand").expect("an edit");
        let theirs = text.replace("status = 200", "status = 404");
        let is_done = AtomicBool::new(false);
        let (changed, new) = match what {
            "sidecar" => (sidecar.clone(), theirs.clone()),
            _ => (body.clone(), "by another".to_owned()),
        };
        // Between the look at the body and the new sidecar.
        let plan: FaultPlan = Arc::new(move |operation, path: &Path| {
            if operation == "write"
                && path.extension().is_some_and(|extension| extension == "toml")
                && path.file_name() != Some("phantom-frame.toml".as_ref())
                && !is_done.swap(true, Ordering::SeqCst)
            {
                fs::write(&changed, &new).expect("a write");
            }
            Ok(())
        });
        let artefact = with_faults(&proxy, plan);

        let mut sealed = Vec::new();
        let done = artefact.reseal(None, &mut |one| sealed.push(one));

        done.expect("the lock");
        let [one] = &sealed[..] else {
            panic!("{sealed:?}");
        };
        let error = one.result.as_ref().expect_err(what);
        assert!(error.contains("changed meanwhile"), "{error}");
        let now = fs::read_to_string(&sidecar).expect("the sidecar");
        let expected = if what == "sidecar" { theirs } else { text };
        assert_eq!(now, expected, "{what}");
    }
}
