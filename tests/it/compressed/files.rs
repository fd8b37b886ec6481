//! The files of coded forms: never served unless they are right, found again, counted, and nobody's if they are.

use std::fs;

use crate::rig::{Backend, Proxy, eventually, remove_all};

use super::{
    CODINGS, accepting, assert_kept, compressing, decoded, form, forms, page, patiently, ready, ready_in,
    text, written,
};

/// With memory and without.
async fn one_page(memory_bytes: u64) -> (Backend, Proxy) {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend)
        .with(move |settings| settings.memory_limit = memory_bytes)
        .start()
        .await;
    ready(&proxy, "/").await;
    (backend, proxy)
}

#[tokio::test]
async fn a_damaged_form_is_never_served_and_is_made_again() {
    for damage in ["cut", "flipped", "longer", "another's", "gone", "a folder"] {
        for served_before in [false, true] {
            let (backend, mut proxy) = one_page(0).await;
            let path = form(&proxy, "br");
            let right = fs::read(&path).expect("the form");
            if !served_before {
                proxy.stop().await;
            }
            let mut wrong = right.clone();
            match damage {
                "cut" => wrong.truncate(right.len() / 2),
                "flipped" => wrong[right.len() / 2] ^= 0xff,
                "longer" => wrong.push(0),
                "another's" => wrong = fs::read(form(&proxy, "gz")).expect("another form"),
                _ => fs::remove_file(&path).expect("the form"),
            }
            match damage {
                "gone" => wrong.clear(),
                "a folder" => fs::create_dir(&path).expect("a folder"),
                _ => fs::write(&path, &wrong).expect("the form"),
            }
            if !served_before {
                proxy.start_again().await;
            }

            let answer = proxy.send(accepting("/", "br")).await;
            assert_eq!((answer.status, decoded(&answer)), (200, text("x")), "{damage}");
            if damage != "a folder" {
                let hit = ready_in(&proxy, "/", "br").await;
                assert_eq!(decoded(&hit), text("x"), "{damage}");
                assert_ne!(fs::read(&path).expect("the form"), wrong, "{damage}");
            }
            assert_eq!(backend.count("/"), 1, "{damage}");
        }
    }
}

#[tokio::test]
async fn who_removes_the_folder_of_the_forms_has_them_made_again() {
    for memory_bytes in [0, 1 << 20] {
        let (backend, proxy) = one_page(memory_bytes).await;
        remove_all(&proxy.dir().join(".phantom/derived")).await;
        for (token, _) in CODINGS {
            let hit = proxy.send(accepting("/", token)).await;
            hit.assert_hit();
            assert_eq!((hit.status, decoded(&hit)), (200, text("x")));
        }
        assert_eq!(backend.count("/"), 1);
    }
}

#[tokio::test]
async fn a_restart_finds_the_forms_that_are_there() {
    let (backend, mut proxy) = one_page(0).await;
    let before = written(&proxy);
    proxy.restart().await;
    for (token, _) in CODINGS {
        let hit = ready_in(&proxy, "/", token).await;
        hit.assert_hit();
        assert_eq!(decoded(&hit), text("x"), "{token}");
    }
    assert_kept(&before, &written(&proxy));
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn pages_that_were_found_without_forms_get_them() {
    let (backend, mut proxy) = one_page(0).await;
    proxy.stop().await;
    fs::remove_dir_all(proxy.dir().join(".phantom")).expect("what git does not keep");
    proxy.start_again().await;
    for (token, _) in CODINGS {
        assert_eq!(decoded(&ready_in(&proxy, "/", token).await), text("x"));
    }
    assert_eq!(forms(&proxy).len(), 3);
    assert!(
        backend.count("/") <= 2,
        "a page that another program's time is on may be asked about"
    );
}

#[tokio::test]
async fn forms_that_are_nobody_s_go_at_the_start() {
    let (_backend, mut proxy) = one_page(0).await;
    let own = forms(&proxy);
    proxy.stop().await;
    let one = &own[0];
    let name = one.file_name().and_then(|name| name.to_str()).expect("a name");
    let (stem, rest) = name.split_once('.').expect("a slug");
    let (hash, rest) = rest.split_once('.').expect("a hash");
    let (_, suffix) = rest.split_once('.').expect("a seal");
    let others = [
        format!("{stem}.{hash}.0123456789abcdef.{suffix}"),
        format!("{stem}.0123456789abcdef.{rest}"),
        format!("{stem}.{hash}~01234567.{rest}"),
    ];
    for other in &others {
        fs::copy(one, one.with_file_name(other)).expect("a copy");
    }
    fs::write(one.with_file_name("notes.txt"), "somebody's own").expect("a file");
    proxy.start_again().await;
    eventually("the others to go", async || {
        (forms(&proxy).len() == own.len() + 1).then_some(())
    })
    .await;
    assert!(own.iter().all(|form| form.exists()), "{:?}", forms(&proxy));
    let hit = ready_in(&proxy, "/", "br").await;
    assert_eq!(decoded(&hit), text("x"));
}

#[tokio::test]
async fn who_only_reads_serves_the_forms_and_makes_none() {
    let (backend, mut proxy) = one_page(0).await;
    backend.on("/other", page("other"));
    proxy.get("/other").await.assert_stored();
    ready_in(&proxy, "/other", "gzip").await;
    proxy.stop().await;
    let removed: Vec<_> = forms(&proxy)
        .into_iter()
        .filter(|form| form.to_string_lossy().contains("other"))
        .collect();
    for form in &removed {
        fs::remove_file(form).expect("a form");
    }
    let lock = proxy.take_lock().await;
    proxy.start_again().await;

    let hit = ready_in(&proxy, "/", "br").await;
    assert_eq!((hit.field("etag"), decoded(&hit)), (Some("\"x;br\""), text("x")));
    for _ in 0..3 {
        let plain = proxy.send(accepting("/other", "br, gzip")).await;
        plain.assert(200, &text("other")).assert_hit();
        assert!(!plain.fields.has("vary"), "{plain:?}");
    }
    // A damaged one is not served, and is left to who writes.
    fs::write(form(&proxy, "gz"), "damaged").expect("a form");
    let plain = proxy.send(accepting("/", "gzip")).await;
    plain.assert(200, &text("x")).assert_hit();
    assert_eq!(forms(&proxy).len(), 3);
    drop(lock);
}

#[tokio::test]
async fn forms_count_as_what_is_on_disk() {
    const LIMIT: u64 = 40 * 48 * 1024;
    /// Of the forms, and of the proxy's own.
    const FOLDERS: u64 = (256 + 16) * 4096;
    for is_compressing in [false, true] {
        let backend = Backend::start().await;
        backend.fallback(|request| page(request.path()));
        let setup = compressing(&backend).with(move |settings| {
            settings.disk_limit = LIMIT;
            if !is_compressing {
                settings.compress = Vec::new();
            }
        });
        let proxy = setup.start().await;
        for n in 0..80 {
            let target = format!("/p{n}");
            proxy.get(&target).await.assert(200, &text(&target));
            if is_compressing && proxy.get(&target).await.cache().hit {
                ready_in(&proxy, &target, "gzip").await;
            }
        }
        patiently("room to be made", async || {
            (proxy.disk_usage() <= LIMIT + FOLDERS).then_some(())
        })
        .await;
        let pages = proxy.stored();
        assert!(pages > 10, "{pages}");
        match is_compressing {
            // 30 KB and a sidecar, with three forms beside them or without.
            true => {
                assert!(pages < 40, "{pages} pages");
                assert!(
                    forms(&proxy).len() <= 3 * pages,
                    "{} forms of {pages} pages",
                    forms(&proxy).len()
                );
            }
            false => assert!(pages > 40, "{pages} pages"),
        }
    }
}

#[tokio::test]
async fn a_disk_that_takes_no_form_costs_no_answer() {
    let backend = Backend::start().await;
    backend.fallback(|request| page(request.path()));
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    proxy.get("/a").await.assert_stored();
    proxy.faults().fail_all("rename", std::io::ErrorKind::StorageFull);
    let hit = proxy.send(accepting("/a", "br")).await;
    hit.assert_hit();
    assert_eq!((hit.status, decoded(&hit)), (200, text("/a")));
    proxy.faults().mend();
    patiently("the forms to be made", async || {
        proxy.clock().advance(61);
        let hit = proxy.send(accepting("/a", "br")).await;
        assert_eq!(decoded(&hit), text("/a"));
        hit.fields.has("content-encoding").then_some(())
    })
    .await;
}
