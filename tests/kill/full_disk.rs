//! A disk that takes no more: pages go on being served whole, and are stored again when it does.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::note;
use crate::server::{Client, Server, Setup, until};
use crate::site::{Page, Site};

/// The one error that a full disk is worth, once a minute.
const COMPLAINT: &str = "snapshots cannot be written";
/// What compresses pages meets the same disk.
const CODER: &str = "a page cannot be compressed";
const COUNT: usize = 64;

/// Pages of all lengths.
fn pages(from: usize) -> impl Iterator<Item = Page> {
    let pages = (from..).map(Page);
    pages.filter(|page| !page.is_short_lived()).take(COUNT)
}

/// Asks for each page; how many were stored before.
async fn visit(site: &Site, server: &Server, pages: impl Iterator<Item = Page>) -> usize {
    let client = Client::new();
    let mut hits = 0;
    for page in pages {
        let answer = client.get(&server.address, &page.path(), None).await.unwrap();
        site.check(page, None, site.floor(page), &answer);
        hits += usize::from(answer.says("hit"));
    }
    hits
}

/// Visits until every page is a hit.
async fn until_all_are_stored(site: &Site, server: &Server, from: usize) {
    until("all pages to be stored", async || {
        (visit(site, server, pages(from)).await == COUNT).then_some(())
    })
    .await;
}

fn assert_one_complaint(server: &Server) {
    let said = server.log.find(COMPLAINT).len();
    let minutes = usize::try_from(server.started.elapsed().as_secs() / 60).unwrap();
    assert!(
        (1..=1 + minutes).contains(&said),
        "said {said} times that the disk refuses"
    );
    assert_eq!(server.log.complaints(&[COMPLAINT, CODER]), Vec::<String>::new());
}

/// Without privileges: a limit on the length of files, in the middle of which longer pages fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_the_disk_refuses_are_served_whole_and_stored_when_it_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let (site, url) = Site::start().await;
    // Without a handler, writing beyond the limit would end the process.
    let server = Setup::new(dir.path(), &url)
        .wrapped(&["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .start()
        .await;
    let limit = |bytes: Option<u64>| {
        let id = Pid::from_raw(i32::try_from(server.id()).unwrap());
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(id, Resource::Fsize, limit).unwrap();
    };
    until_all_are_stored(&site, &server, 0).await;
    for (limit_bytes, from) in [(0, 100), (8_000, 200), (100_000, 300)] {
        limit(Some(limit_bytes));
        visit(&site, &server, pages(from)).await;
        let kept = visit(&site, &server, pages(from)).await;
        assert!(
            kept < COUNT,
            "{kept} pages were stored with a limit of {limit_bytes}"
        );
        assert_eq!(
            visit(&site, &server, pages(0)).await,
            COUNT,
            "what is stored stays so"
        );
        limit(None);
        until_all_are_stored(&site, &server, from).await;
    }
    assert_one_complaint(&server);
}

/// The real thing: a small file system of the server's own, which ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_served_whole_while_the_disk_is_full_and_stored_when_there_is_space() {
    const MOUNT: &str = "mount -t tmpfs -o size=4m tmpfs \"$0\" && exec \"$@\"";
    let dir = tempfile::tempdir().unwrap();
    let namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT];
    let mut words = namespace.map(OsStr::new).to_vec();
    words.push(dir.path().as_os_str());
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        note("skipped: no file system may be mounted here");
        return;
    }
    let (site, url) = Site::start().await;
    let mut setup = Setup::new(dir.path(), &url);
    setup.wrapper = words.into_iter().map(Into::into).collect();
    let mut server = setup.start().await;
    // The mount as the server sees it.
    let seen =
        PathBuf::from(format!("/proc/{}/root", server.id())).join(dir.path().strip_prefix("/").unwrap());
    let ballast = seen.join("ballast");

    visit(&site, &server, pages(0)).await;
    let kept = visit(&site, &server, pages(0)).await;
    // It takes what there is space for.
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    let refused = visit(&site, &server, pages(500)).await + visit(&site, &server, pages(500)).await;
    assert!(refused < 2 * COUNT, "{refused} pages were stored on a full disk");
    assert!(
        visit(&site, &server, pages(0)).await >= kept,
        "what is stored stays so"
    );

    fs::remove_file(&ballast).unwrap();
    assert_eq!(server.refresh(&Client::new(), "").await, Some(200));
    until("pages to be stored again", async || {
        (visit(&site, &server, pages(500)).await >= COUNT / 2).then_some(())
    })
    .await;
    assert_one_complaint(&server);
    assert_eq!(server.stop().await, Some(0));
    note("the disk was full and is mended");
}
