//! `diff` and `accept`, as a person or a pipeline runs them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::read_head;

/// Pages that the test changes; fields and body.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, (String, String)>>>,
}

impl Site {
    /// Ends with the process.
    pub(crate) fn with(pages: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all: Arc<Mutex<BTreeMap<String, (String, String)>>> = Arc::default();
        let served = Arc::clone(&all);
        let count = Arc::new(AtomicUsize::new(100));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let (served, count) = (Arc::clone(&served), Arc::clone(&count));
                std::thread::spawn(move || {
                    loop {
                        let head = read_head(&mut stream);
                        let Some(path) = head.split(' ').nth(1) else {
                            return;
                        };
                        let page = served.lock().unwrap().get(path).cloned();
                        let (status, (fields, body)) = match page {
                            Some(page) => ("200 OK", page),
                            None => ("404 Not Found", Default::default()),
                        };
                        // Another one each time.
                        let number = count.fetch_add(1, Ordering::SeqCst).to_string();
                        let body = body.replace("%n", &number);
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
                        );
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let site = Self { address, pages: all };
        for (path, body) in pages {
            site.set(path, "", body);
        }
        site
    }

    pub(crate) fn set(&self, path: &str, fields: &str, body: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.insert(path.into(), (fields.into(), body.into()));
    }

    pub(crate) fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    pub(crate) fn command(&self, dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phantom-frame"));
        command
            .args(arguments)
            .args(["--public-url=https://example.com", "--log=warn"])
            .arg(format!("--backend=http://{}", self.address))
            .arg("--snapshots")
            .arg(dir);
        command
    }

    /// Exit code, stdout and stderr.
    pub(crate) fn run(&self, dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(self.command(dir, arguments).output().unwrap())
    }
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A site of three pages, rendered.
fn rendered() -> (Site, TempDir) {
    let site = Site::with(&[
        ("/", "<html><body><h1>Home</h1><a href=/a>a</a></body></html>"),
        ("/a", "<p>a"),
        ("/b", "<p>b"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let (code, _, stderr) = site.run(dir.path(), &["prerender", "/", "/a", "/b"]);
    assert_eq!(code, Some(0), "{stderr}");
    (site, dir)
}

#[test]
fn what_differs_is_shown_and_is_exit_code_1_until_it_is_accepted() {
    let (site, dir) = rendered();
    assert_eq!(
        site.run(dir.path(), &["diff"]),
        (Some(0), "3 pages: 3 same\n".into(), String::new())
    );
    site.set(
        "/",
        "X-Powered-By: x\r\n",
        "<html><body><h1>Welcome</h1><a href=/a>a</a></body></html>",
    );
    site.remove("/a");
    site.set("/b", "Set-Cookie: id=1\r\n", "<p>b");

    let (code, stdout, stderr) = site.run(dir.path(), &["diff"]);

    assert_eq!((code, &*stderr), (Some(1), ""));
    let expected = "\
changed     /
--- stored  index.b63416859d9259d0.html
+++ rendered
@@ head @@
+x-powered-by: x
@@ -1,7 +1,7 @@
 <html>
 <body>
 <h1>
-Home
+Welcome
 </h1>
 <a href=\"/a\">
 a

gone        /a  (404)

not-stored  /b  (set-cookie)

3 pages: 1 changed, 1 gone, 1 not stored; +2 -1 lines
";
    assert_eq!(stdout, expected);
    let (code, stdout, _) = site.run(dir.path(), &["diff", "--stat"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.starts_with("changed         +2 -1  /\ngone            +0 -0  /a  (404)\n"),
        "{stdout}"
    );
    let (code, stdout, _) = site.run(dir.path(), &["diff", "--json", "/"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["summary"]["changed"], 1);
    assert_eq!(json["pages"][0]["head"][0], "+x-powered-by: x");
    assert_eq!(json["pages"][0]["body"]["hunks"][0]["lines"][3], "-Home");

    let (code, stdout, stderr) = site.run(dir.path(), &["accept"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!(
        stdout,
        "accepted    /\nremoved     /a  (404)\nremoved     /b  (set-cookie)\n\
         3 pages: 1 changed, 1 gone, 1 not stored; +2 -1 lines\n"
    );
    let (code, stdout, _) = site.run(dir.path(), &["diff"]);
    assert_eq!((code, &*stdout), (Some(0), "1 page: 1 same\n"));
}

#[test]
fn a_comment_is_bounded_and_says_what_it_leaves_out() {
    let (site, dir) = rendered();
    let long: String = (0..20_000).map(|n| format!("<i>{n}</i>")).collect();
    site.set("/a", "", &format!("<p>a\n```\n````diff\n</details>{long}"));
    site.set("/b", "", "<p>c");
    let (code, stdout, _) = site.run(dir.path(), &["diff", "--format", "markdown"]);
    assert_eq!(code, Some(1));
    assert!(stdout.len() < 60_000, "{}", stdout.len());
    assert!(
        stdout.starts_with("**Snapshots**: 3 pages: 1 same, 2 changed; +"),
        "{stdout}"
    );
    assert!(stdout.contains("| changed | ` /b ` | +1 -1 |  |\n"), "{stdout}");
    assert!(
        stdout.contains("\n`````diff\n--- stored"),
        "longer than any in the page: {stdout}"
    );
    assert!(
        stdout.contains("Not all of it.") && stdout.contains("Of 1 page it is not shown"),
        "{stdout}"
    );
    site.set("/a", "", "<p>a");
    site.set("/b", "", "<p>b");
    let clean = site.run(dir.path(), &["diff", "--format", "markdown"]);
    assert_eq!(
        clean,
        (Some(0), "**Snapshots**: 3 pages: 3 same\n".into(), String::new())
    );
}

#[test]
fn what_the_backend_writes_is_no_command_to_the_terminal() {
    let (site, dir) = rendered();
    site.set(
        "/a",
        "X-A: \u{202e}\u{9b}31m\r\n",
        "<p>\u{1b}]0;title\u{7}\u{9b}31m</p>\u{1b}[2J",
    );
    for arguments in [
        &["diff"][..],
        &["diff", "--json"],
        &["diff", "--format=markdown"],
        &["diff", "--stat"],
        &["accept"],
    ] {
        let mut command = site.command(dir.path(), arguments);
        let (_, stdout, stderr) = said(command.env("NO_COLOR", "1").output().unwrap());
        for text in [&stdout, &stderr] {
            let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(deceptive), "{arguments:?}: {text:?}");
        }
        assert!(!stdout.is_empty());
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments);
    command.args(match arguments {
        ["commit", ..] => &["--quiet", "--no-gpg-sign"][..],
        _ => &[],
    });
    for (name, value) in [
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ] {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn a_revision_in_git_is_compared_with() {
    let (site, root) = rendered();
    let repository = tempfile::tempdir().unwrap();
    let snapshots = repository.path().join("the site").join("snapshots");
    std::fs::create_dir_all(snapshots.parent().unwrap()).unwrap();
    std::fs::rename(root.path(), &snapshots).unwrap();
    let (code, _, stderr) = site.run(&snapshots, &["diff", "--against", "HEAD"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("`HEAD` is no directory, and ") && stderr.contains(" is in no git repository"),
        "{stderr}"
    );
    git(repository.path(), &["init", "--quiet"]);
    git(repository.path(), &["commit", "--allow-empty", "-m", "nothing"]);
    let (code, _, stderr) = site.run(&snapshots, &["diff", "--against", "HEAD"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("`HEAD` has no the site/snapshots: "), "{stderr}");
    git(repository.path(), &["add", "."]);
    git(repository.path(), &["commit", "-m", "one"]);
    let clean = site.run(&snapshots, &["diff", "--against", "HEAD"]);
    assert_eq!(clean, (Some(0), "3 pages: 3 same\n".into(), String::new()));

    site.set("/b", "", "<p>other");
    assert_eq!(site.run(&snapshots, &["accept"]).0, Some(0));
    assert_eq!(site.run(&snapshots, &["rm", "/a"]).0, Some(0));
    let (code, stdout, _) = site.run(&snapshots, &["diff", "--against", "HEAD"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("gone        /a\n--- HEAD\n+++ nothing\n"),
        "{stdout}"
    );
    assert!(stdout.contains("\n-b\n+other\n"), "{stdout}");
    git(repository.path(), &["add", "."]);
    git(repository.path(), &["commit", "-m", "two"]);
    assert_eq!(site.run(&snapshots, &["diff", "--against", "HEAD"]).0, Some(0));
    assert_eq!(site.run(&snapshots, &["diff", "--against", "HEAD~1"]).0, Some(1));
    let status = Command::new("git")
        .arg("-C")
        .arg(repository.path())
        .args(["status", "--porcelain"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(status.stdout).unwrap(), "");

    let (code, _, stderr) = site.run(&snapshots, &["diff", "--against=/"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("/ is no snapshot directory: it has no phantom-frame.toml"),
        "{stderr}"
    );
    for (revision, why) in [
        (
            "--against=--output=x",
            "`--output=x` is no directory and no revision",
        ),
        ("--against=none", "git knows no such revision"),
        ("--against=HEAD:x", "git knows no such revision"),
    ] {
        let (code, _, stderr) = site.run(&snapshots, &["diff", revision]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
    let mut command = site.command(&snapshots, &["diff", "--against=HEAD"]);
    let (code, _, stderr) = said(command.env("PATH", "/nowhere").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("error: cannot run git"), "{stderr}");
}

#[test]
fn accept_says_who_has_the_lock_and_a_closed_pipe_is_no_panic() {
    let (site, dir) = rendered();
    let server = site
        .command(
            dir.path(),
            &["serve", "--port=0", "--control-port=0", "--bind=127.0.0.1"],
        )
        .stderr(Stdio::piped())
        .spawn();
    let mut server = server.unwrap();
    let mut line = String::new();
    let mut log = std::io::BufReader::new(server.stderr.take().unwrap());
    while !line.contains("control") {
        assert_ne!(
            std::io::BufRead::read_line(&mut log, &mut line).unwrap(),
            0,
            "{line}"
        );
    }
    std::fs::remove_file(dir.path().join(".phantom/server.json")).unwrap();
    assert_eq!(site.run(dir.path(), &["diff"]).0, Some(0));
    let (code, stdout, stderr) = site.run(dir.path(), &["accept"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((code, &*stdout), (Some(2), ""));
    assert!(
        stderr.contains("error: another process writes ") && stderr.contains("mode=render"),
        "{stderr}"
    );
    for arguments in [&["diff"][..], &["diff", "--json"], &["accept"]] {
        let mut process = site
            .command(dir.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let (code, _, stderr) = said(process.wait_with_output().unwrap());
        assert_eq!((code, &*stderr), (Some(0), ""), "{arguments:?}");
    }
}
