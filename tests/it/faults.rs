//! A disk that fails: the visitor gets the page all the same, and what is on disk is never half a page.

use std::io::ErrorKind;

use phantom_frame::{ErrorKind as Kind, Reason, RefreshError, RefreshMode};

use crate::rig::proxy::Lasting;
use crate::rig::{Answer, Backend, Gate, Proxy, Setup, get};

/// What a disk can say.
const KINDS: [ErrorKind; 2] = [ErrorKind::StorageFull, ErrorKind::PermissionDenied];

/// Operations that one request causes at most, with room to spare.
const OPERATIONS: usize = 40;

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        Answer::page(format!("page {} ", request.target).repeat(100)).with("ETag", "\"1\"")
    });
    backend
}

fn page(target: &str) -> String {
    format!("page {target} ").repeat(100)
}

#[tokio::test]
async fn whichever_operation_of_a_fill_fails_the_visitor_gets_the_page() {
    let backend = site().await;
    for last in [Lasting::Once, Lasting::ForGood] {
        let kind = match last {
            Lasting::Once => ErrorKind::StorageFull,
            Lasting::ForGood => ErrorKind::ReadOnlyFilesystem,
        };
        let mut proxy = Proxy::start(&backend).await;
        let mut touched = 0;
        for n in 0..OPERATIONS {
            let target = format!("/{last:?}/{n}");
            proxy.faults().fail_nth(n, kind, last);
            let response = proxy.get(&target).await;
            response.assert(200, &page(&target));
            touched = proxy.faults().failed().len();
            proxy.faults().mend();

            // With the disk whole again caching goes on.
            proxy.get(&target).await.assert(200, &page(&target));
            proxy.get(&target).await.assert(200, &page(&target)).assert_hit();
        }
        assert!(touched > 5, "only {touched} operations of a fill pass the gate");

        // And what is on disk is right, for a process that knows nothing of this.
        proxy.restart().await;
        for n in 0..OPERATIONS {
            let target = format!("/{last:?}/{n}");
            proxy.get(&target).await.assert(200, &page(&target)).assert_hit();
        }
    }
}

#[tokio::test]
async fn whichever_operation_of_a_replacement_fails_there_is_the_old_page_or_the_new_one() {
    for n in 0..OPERATIONS {
        let mut backend = Backend::with("/", Answer::page("old").with("Cache-Control", "max-age=60")).await;
        let mut proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);
        backend.on("/", Answer::page("new page").with("Cache-Control", "max-age=60"));

        proxy.faults().fail_nth(n, KINDS[n % 2], Lasting::ForGood);
        let response = proxy.get("/").await;
        assert_eq!(response.status, 200, "operation {n}: {response:?}");
        assert_eq!(response.text(), "new page", "operation {n}: {response:?}");

        // The process ends here, and another finds what it left.
        proxy.stop().await;
        proxy.faults().mend();
        backend.stop().await;
        proxy.start_again().await;
        // Stale or fresh, but one of the two and whole.
        let found = proxy.get("/").await;
        assert!(
            ["old", "new page"].contains(&found.text().as_str()) && found.cache().hit,
            "operation {n} left {found:?}"
        );
    }
}

#[tokio::test]
async fn whichever_operation_of_a_hit_fails_the_visitor_gets_the_page() {
    let backend = site().await;
    for n in 0..10 {
        let mut proxy = Proxy::start(&backend).await;
        proxy.warm("/cold").await;
        // Nothing in memory.
        proxy.restart().await;
        proxy.faults().fail_nth(n, ErrorKind::Other, Lasting::ForGood);

        proxy.get("/cold").await.assert(200, &page("/cold"));

        proxy.faults().mend();
        proxy.get("/cold").await.assert(200, &page("/cold"));
        proxy.get("/cold").await.assert(200, &page("/cold")).assert_hit();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_as_the_reason() {
    let backend = site().await;
    // A full disk still makes files, as long as it has inodes.
    for operation in ["create", "write"] {
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/before").await;
        proxy.faults().fail_all(operation, ErrorKind::StorageFull);
        // Whose head was out before the disk was asked.
        proxy.get("/first").await.assert(200, &page("/first"));
        assert_eq!(proxy.counted(Reason::Disk), 1, "{operation}");

        for _ in 0..2 {
            let response = proxy.get("/page").await;
            response
                .assert(200, &page("/page"))
                .assert_not_stored(Reason::Disk);
        }
        proxy.get("/before").await.assert_hit();

        proxy.faults().mend();
        proxy.warm("/page").await;
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_page_spoils_it_for_nobody() {
    let middle = Gate::new();
    let rest = "x".repeat(500_000);
    let backend = Backend::with("/", Answer::page("first ").wait(&middle).body(rest.clone())).await;
    let proxy = Proxy::start(&backend).await;
    let mut leader = proxy.client().open(get("/")).await;
    leader.at_least(6).await;
    let mut follower = proxy.client().open(get("/")).await;
    follower.at_least(6).await;

    proxy.faults().fail_all("write", ErrorKind::StorageFull);
    middle.open();

    // Read side by side: neither may hold up the other.
    let (leader, follower) = tokio::join!(leader.finish(), follower.finish());
    for response in [leader, follower] {
        assert_eq!(response.end, crate::rig::End::Complete);
        assert!(
            response.text() == format!("first {rest}"),
            "{} bytes",
            response.body.len()
        );
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());
    proxy.faults().mend();
    proxy.warm("/").await;
}

#[tokio::test]
async fn an_invalidation_that_the_disk_refuses_is_in_force_and_says_so() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    for operation in ["unlink", "open-append", "write", "sync"] {
        proxy.get("/page").await;
        proxy.get("/page").await.assert_hit();
        let before = backend.total();
        proxy.faults().fail_all(operation, ErrorKind::Other);

        let refreshed = proxy
            .trigger()
            .refresh_matching(&["/page"], RefreshMode::Delete)
            .await;

        let response = proxy.get("/page").await;
        proxy.faults().mend();
        assert!(!response.cache().hit, "after `{operation}` failed: {response:?}");
        assert_eq!(backend.total(), before + 1, "{operation}");
        let failed = proxy.faults().failed().iter().any(|(name, _)| name == operation);
        if failed && operation == "unlink" {
            assert!(
                matches!(refreshed, Err(RefreshError::Disk(_))),
                "after `{operation}` failed: {refreshed:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_an_error_that_names_it() {
    let backend = site().await;
    let setup = Setup::over(&backend);
    std::fs::write(setup.snapshots(), "a file").unwrap();
    let path = setup.snapshots();

    let Err(error) = setup.try_start().await else {
        panic!("a file is no directory");
    };

    assert_eq!(error.kind(), Kind::Directory);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
