//! The demo's site, rendered, committed, reviewed, cloned and served without it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use phantom_frame::demo::{Pace, Site};
use reqwest::Method;
use serde_json::Value;

use crate::git::Repository;
use crate::note;
use crate::server::{Client, SITE, Server, Setup, files};

/// Nobody listens there.
const NO_BACKEND: &str = "http://127.0.0.1:9";

/// What a person or a pipeline types in the repository.
struct Shell<'a> {
    repository: &'a Repository,
    backend: &'a str,
}

impl Shell<'_> {
    /// Exit code and stdout.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args(arguments)
            .arg(format!("--backend={}", self.backend))
            .arg(format!("--public-url=http://{SITE}"))
            .args(["--snapshots=snapshots", "--log=warn"])
            .current_dir(&self.repository.0)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        note(format_args!(
            "{arguments:?}: {}\n{stdout}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
        (output.status.code(), stdout)
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, stdout) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stdout}");
        stdout
    }

    fn snapshots(&self) -> Vec<Value> {
        let json: Value = serde_json::from_str(&self.succeeds(&["ls", "--json"])).unwrap();
        json["snapshots"].as_array().unwrap().clone()
    }
}

/// Takes the right to write away, and gives it back to whoever removes the files.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(dir: &Path) -> Self {
        for file in files(dir) {
            fs::set_permissions(file, Permissions::from_mode(0o444)).unwrap();
        }
        set_folders(dir, 0o555);
        Self(dir.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        set_folders(&self.0, 0o755);
    }
}

fn set_folders(dir: &Path, mode: u32) {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_folders(&path, mode);
        }
    }
    fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
}

async fn demo() -> (Site, String) {
    let site = Site::new(Pace::Instant);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = site.router();
    // Ends with the test.
    tokio::spawn(async move { axum::serve(listener, router).await });
    (site, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_is_committed_reviewed_cloned_and_served_without_its_backend() {
    if Command::new("git").arg("--version").output().is_err() {
        note("skipped: there is no git here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let repository = Repository(home.path().join("site"));
    fs::create_dir(&repository.0).unwrap();
    repository.git(&["init", "--quiet"]);
    let (site, backend) = demo().await;
    let shell = Shell {
        repository: &repository,
        backend: &backend,
    };

    // Rendered, committed, rendered again: nothing has changed.
    shell.succeeds(&["prerender", "--crawl"]);
    repository.commit();
    let count = shell.snapshots().len();
    assert!(count > 10, "{count} pages");
    let rendered = site.renders();
    shell.succeeds(&["prerender", "--crawl", "--all"]);
    assert!(site.renders() > rendered, "they were rendered again");
    assert_eq!(repository.status(), "");
    let same = format!("{count} pages: {count} same\n");
    assert_eq!(shell.run(&["diff"]), (Some(0), same.clone()));

    one_page_changes(&site, &shell, count);
    assert_eq!(shell.run(&["diff"]), (Some(0), same));
    assert_eq!(repository.status(), "", "diff writes nothing");

    let clone = Repository(home.path().join("clone"));
    let from = repository.0.to_str().unwrap();
    repository.git(&["clone", "--quiet", from, clone.0.to_str().unwrap()]);
    let rendered = site.renders();
    served_frozen(&clone, count).await;
    assert_eq!(site.renders(), rendered, "the backend was asked");
    // Elsewhere, it is the same cache: whoever renders there has nothing to commit.
    let shell = Shell {
        repository: &clone,
        backend: &backend,
    };
    shell.succeeds(&["prerender", "--crawl", "--all"]);
    assert_eq!(clone.status(), "");
}

/// The change is shown, taken and committed; it and nothing else.
fn one_page_changes(site: &Site, shell: &Shell<'_>, count: usize) {
    let repository = shell.repository;
    site.edit_page("/about").unwrap();
    let (code, stdout) = shell.run(&["diff"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.starts_with("changed     /about\n--- stored"), "{stdout}");
    let summary = format!("\n{count} pages: {} same, 1 changed; ", count - 1);
    assert!(stdout.contains(&summary), "{stdout}");
    assert_eq!(repository.status(), "", "diff writes nothing");

    let accepted = shell.succeeds(&["accept"]);
    assert!(accepted.starts_with("accepted    /about\n"), "{accepted}");
    let changed = repository.git(&["diff", "--stat", "--stat-width=200"]);
    let names: Vec<&str> = changed
        .lines()
        .map(|line| line.trim().split(' ').next().unwrap())
        .collect();
    let [body, sidecar, "2"] = names.as_slice() else {
        panic!("the page's files and no other: {changed}");
    };
    for (name, extension) in [(body, ".html"), (sidecar, ".toml")] {
        assert!(
            name.starts_with("snapshots/about.") && name.ends_with(extension),
            "{changed}"
        );
    }
    let (code, stdout) = shell.run(&["diff", "--against=HEAD", "--stat"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("  /about\n") && stdout.contains(&summary),
        "{stdout}"
    );
    repository.commit();
    assert_eq!(shell.run(&["diff", "--against=HEAD"]).0, Some(0));
}

/// Every page of a fresh checkout that nobody may write, with nobody behind.
async fn served_frozen(clone: &Repository, count: usize) {
    let dir = clone.0.join("snapshots");
    let shell = Shell {
        repository: clone,
        backend: NO_BACKEND,
    };
    let pages = shell.snapshots();
    assert_eq!(pages.len(), count, "all of it is committed");
    let (before, read_only) = (files(&dir), ReadOnly::new(&dir));
    let mut server = Setup::new(&dir, NO_BACKEND).with("FROZEN", "true").start().await;
    for page in &pages {
        is_served(&server, &dir, page).await;
    }
    let client = Client::new();
    let about = format!("{}/about", server.address);
    let posted = client.ask(Method::POST, &about, &[]).await.unwrap();
    assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"));
    let nothing = client.get(&server.address, "/nothing", None).await.unwrap();
    assert_eq!(nothing.status, 404);
    assert_eq!(server.refresh(&client, "").await, Some(409));
    let complaints = server.log.complaints(&["invalidation refused"]);
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!(server.stop().await, Some(0));
    assert_eq!(files(&dir), before, "nothing was written");
    drop(read_only);
    assert_eq!(clone.status(), "");
}

/// Whole, its head alone, and a part of it.
async fn is_served(server: &Server, dir: &Path, page: &Value) {
    let path = page["page"].as_str().unwrap();
    let path = path.strip_prefix(&format!("http://{SITE}")).unwrap_or(path);
    let file = page["file"].as_str().unwrap();
    let committed = match file.ends_with(".toml") {
        // A redirect has no body.
        true => Vec::new(),
        false => fs::read(dir.join(file)).unwrap(),
    };
    let (client, url) = (Client::new(), format!("{}{path}", server.address));

    let whole = client.ask(Method::GET, &url, &[]).await.unwrap();
    assert_eq!(u64::from(whole.status), page["status"], "{path}");
    assert!(whole.body == committed, "{path}: other bytes than {file}");
    assert!(whole.says("hit"), "{path}: {whole:?}");
    let head = client.ask(Method::HEAD, &url, &[]).await.unwrap();
    assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
    for name in ["content-type", "content-length", "etag", "location"] {
        assert_eq!(head.header(name), whole.header(name), "{path}: {name}");
    }
    if whole.status == 200 {
        let part = client
            .ask(Method::GET, &url, &[("range", "bytes=2-5")])
            .await
            .unwrap();
        assert_eq!(
            (part.status, part.body.as_slice()),
            (206, &committed[2..6]),
            "{path}"
        );
    }
}
