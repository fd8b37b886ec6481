//! A snapshot directory under git, and edited by hand, while the server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::note;
use crate::server::{Answer, Client, Server, Setup, files, until};
use crate::site::{Page, Site};

/// Foreign changes take effect within 100 ms; a machine that runs other builds may take longer without
/// being wrong.
const TOLERATED: Duration = Duration::from_secs(2);

/// Not those that live for a second, nor those in several languages.
const NUMBERS: [usize; 6] = [1, 2, 3, 4, 6, 11];

/// A folder that git keeps.
pub(crate) struct Repository(pub(crate) PathBuf);

impl Repository {
    pub(crate) fn git(&self, words: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"])
            .args(words)
            .current_dir(&self.0)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "snapshots"]);
        self.git(&["commit", "--quiet", "--message", "rendered"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub(crate) fn status(&self) -> String {
        self.git(&["status", "--porcelain"])
    }
}

async fn ask(site: &Site, server: &Server, page: Page) -> Answer {
    let answer = Client::new()
        .get(&server.address, &page.path(), None)
        .await
        .unwrap();
    site.check(page, None, 1, &answer);
    answer
}

/// Renders what is not there, until all is.
async fn render_all(site: &Site, server: &Server) {
    for page in NUMBERS.map(Page) {
        until("a page to be stored", async || {
            ask(site, server, page).await.says("hit").then_some(())
        })
        .await;
    }
}

fn body_of(dir: &Path, page: Page) -> PathBuf {
    let prefix = format!("{}.", page.0);
    let is_body = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(&prefix) && !name.ends_with(".toml")
    };
    files(dir).into_iter().find(is_body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_and_hands_write_the_directory_while_the_server_runs() {
    if Command::new("git").arg("--version").output().is_err() {
        note("skipped: there is no git here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = Repository(home.path().to_owned());
    repository.git(&["init", "--quiet"]);
    let dir = home.path().join("snapshots");
    let (site, url) = Site::start().await;
    let setup = Setup::new(&dir, &url);
    let mut server = setup.start().await;

    // Rendered, committed, rendered again: nothing has changed.
    render_all(&site, &server).await;
    let old = repository.commit();
    assert_eq!(repository.status(), "");
    assert_eq!(server.refresh(&Client::new(), "").await, Some(200));
    assert_ne!(repository.status(), "", "the pages are gone");
    render_all(&site, &server).await;
    assert_eq!(repository.status(), "", "rendered again");
    assert_eq!(server.stop().await, Some(0));
    fs::remove_dir_all(&dir).unwrap();
    let server = setup.start().await;
    render_all(&site, &server).await;
    assert_eq!(repository.status(), "", "rendered again by a new server");

    // Another version of each page is committed; the older commit brings the old ones back.
    for page in NUMBERS.map(Page) {
        site.change(page);
    }
    assert_eq!(server.refresh(&Client::new(), "").await, Some(200));
    render_all(&site, &server).await;
    let new = repository.commit();
    for (commit, version) in [(&old, "1"), (&new, "2"), (&old, "1"), (&new, "2")] {
        repository.git(&["checkout", "--quiet", commit]);
        let since = Instant::now();
        for page in NUMBERS.map(Page) {
            until("the page that was checked out", async || {
                let answer = ask(&site, &server, page).await;
                (answer.says("hit") && answer.header("x-version") == version).then_some(())
            })
            .await;
        }
        let took = since.elapsed();
        assert!(took < TOLERATED, "the checkout took effect after {took:?}");
        note(format_args!("version {version} {took:?} after git checkout"));
        assert_eq!(repository.status(), "", "serving it changes nothing");
    }
    let complaints = server.log.complaints(&[]);
    assert_eq!(complaints, Vec::<String>::new());

    edited_by_hand(&site, &server, &dir).await;
}

/// An edit is passed by, then set aside and named, never lost.
async fn edited_by_hand(site: &Site, server: &Server, dir: &Path) {
    const EDIT: &str = "edited by hand";
    let page = Page(11);
    let body = body_of(dir, page);
    let rendered = fs::read(&body).unwrap();
    fs::write(&body, EDIT).unwrap();
    // Whoever asks gets the page; never the edit under a seal that is not its own, which `ask` checks.
    let since = Instant::now();
    until("the edit to be seen", async || {
        (!ask(site, server, page).await.says("hit")).then_some(())
    })
    .await;
    assert_eq!(
        fs::read_to_string(&body).unwrap(),
        EDIT,
        "it survives the next request"
    );
    until("the page to be stored anew", async || {
        ask(site, server, page).await.says("hit").then_some(())
    })
    .await;
    note(format_args!("an edit was set aside after {:?}", since.elapsed()));
    assert_eq!(fs::read(&body).unwrap(), rendered);
    let displaced = files(&dir.join(".phantom/displaced"));
    let [aside] = displaced.as_slice() else {
        panic!("one file was displaced: {displaced:?}");
    };
    assert_eq!(fs::read_to_string(aside).unwrap(), EDIT);
    let named = server.log.find("changed by hand");
    let [named] = named.as_slice() else {
        panic!("it is said once: {named:?}");
    };
    assert_eq!(named["moved_to"].as_str().map(Path::new), Some(aside.as_path()));
    assert_eq!(named["path"].as_str().map(Path::new), Some(body.as_path()));
}
