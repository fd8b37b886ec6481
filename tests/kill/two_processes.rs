//! Two servers on one directory: one writes, the others read, and one of them takes over.

use std::fs;

use crate::server::{Client, Server, Setup, files, until};
use crate::site::{Page, Site};

/// Neither translated nor short-lived, of some length, the last of one that is not kept in memory while it comes.
const PAGES: [Page; 3] = [Page(9), Page(33), Page(73)];
const READER: &str = "another process writes this snapshot directory";

async fn get(site: &Site, server: &Server, page: Page) -> crate::server::Answer {
    let floor = site.floor(page);
    let answer = Client::new()
        .get(&server.address, &page.path(), None)
        .await
        .unwrap();
    site.check(page, None, floor, &answer);
    answer
}

async fn until_stored(site: &Site, server: &Server, page: Page) {
    until("the page to be stored", async || {
        get(site, server, page).await.says("hit").then_some(())
    })
    .await;
}

/// Everything changes and is invalidated, by who may.
async fn invalidate(site: &Site, server: &Server) {
    let versions = PAGES.map(|page| (page, site.change(page)));
    assert_eq!(server.refresh(&Client::new(), "").await, Some(200));
    for (page, version) in versions {
        site.confirm(page, version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writes_and_the_other_reads_until_the_writer_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (site, url) = Site::start().await;
    let setup = Setup::new(dir.path(), &url);
    let mut writer = setup.start().await;
    let reader = setup.start().await;
    assert_eq!(reader.log.find(READER).len(), 1);
    let [one, two, three] = PAGES;

    // What the one writes the other serves, and the other way round nothing is written.
    until_stored(&site, &writer, one).await;
    until_stored(&site, &reader, one).await;
    let passed = get(&site, &reader, two).await;
    assert!(passed.says("detail=read-only"), "{:?}", passed.headers);
    assert!(
        !get(&site, &writer, two).await.says("hit"),
        "nobody stored it before"
    );

    // An invalidation is the writer's to carry out, and shows at the reader.
    let refused = reader.refresh(&Client::new(), "").await;
    assert_eq!(refused, Some(409), "the reader cannot");
    let version = site.change(one);
    assert_eq!(writer.refresh(&Client::new(), "").await, Some(200));
    until("the invalidation to show at the reader", async || {
        let answer = Client::new()
            .get(&reader.address, &one.path(), None)
            .await
            .unwrap();
        site.check(one, None, 1, &answer);
        (answer.header("x-version") == version.to_string()).then_some(())
    })
    .await;
    site.confirm(one, version);

    // SIGKILL in the middle of a fill, whose file is left behind.
    site.close_gate();
    let (address, path) = (writer.address.clone(), three.path());
    let asked = tokio::spawn(async move { Client::new().get(&address, &path, None).await.is_err() });
    let tmp = dir.path().join(".phantom/tmp");
    until("a fill to be under way", async || {
        (!files(&tmp).is_empty()).then_some(())
    })
    .await;
    let left = files(&tmp);
    writer.kill();
    assert!(asked.await.unwrap(), "the connection broke");
    site.open_gate();

    for page in PAGES {
        until_stored(&site, &reader, page).await;
    }
    invalidate(&site, &reader).await;
    for page in PAGES {
        assert!(!get(&site, &reader, page).await.says("hit"));
        until_stored(&site, &reader, page).await;
    }
    until("what the killed one left to be swept", async || {
        left.iter().all(|path| !path.exists()).then_some(())
    })
    .await;

    // Whoever comes back reads.
    let again = setup.start().await;
    assert_eq!(again.log.find(READER).len(), 1);
    until_stored(&site, &again, one).await;
    invalidate(&site, &reader).await;
    assert_eq!(
        reader.log.complaints(&[READER, "invalidation refused"]),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_that_start_at_once_one_writes() {
    const MANY: usize = 5;
    let dir = tempfile::tempdir().unwrap();
    let (site, url) = Site::start().await;
    let setup = Setup::new(dir.path(), &url);
    let mut servers: Vec<Server> = (0..MANY).map(|_| setup.spawn()).collect();
    for server in &mut servers {
        assert!(server.is_serving().await);
    }
    let readers = |servers: &[Server]| {
        servers
            .iter()
            .filter(|server| !server.log.find(READER).is_empty())
            .count()
    };
    assert_eq!(readers(&servers), MANY - 1);

    let writer = servers
        .iter()
        .position(|server| server.log.find(READER).is_empty())
        .unwrap();
    for page in PAGES {
        until_stored(&site, &servers[writer], page).await;
        for server in &servers {
            until_stored(&site, server, page).await;
        }
    }
    // And so on until none is left.
    while servers.len() > 1 {
        let writer = servers
            .iter()
            .position(|server| server.log.find(READER).is_empty());
        servers.remove(writer.unwrap_or(0)).kill();
        let client = Client::new();
        until("another to take over", async || {
            for server in &servers {
                if server.refresh(&client, "?pattern=/none").await == Some(200) {
                    return Some(());
                }
                get(&site, server, Page(49)).await;
            }
            None
        })
        .await;
        for server in &servers {
            get(&site, server, PAGES[0]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_directory_to_another_reads() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("snapshots");
    let (site, url) = Site::start().await;
    let setup = Setup::new(&root, &url);
    let first = setup.start().await;
    until_stored(&site, &first, PAGES[0]).await;

    fs::remove_dir_all(&root).unwrap();
    let second = setup.start().await;

    assert_eq!(second.log.find(READER).len(), 0, "it found nobody's lock");
    assert_eq!(first.refresh(&Client::new(), "").await, Some(409));
    for page in PAGES {
        assert!(!get(&site, &first, page).await.says("stored"));
        until_stored(&site, &second, page).await;
        until_stored(&site, &first, page).await;
    }
    invalidate(&site, &second).await;
}
