//! `prerender`, and what a server renders by itself.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{ask, command, event, read_head};

/// Answers by path, and remembers who asked.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    /// Pages that are now what another one is.
    pub(super) changed: Arc<Mutex<HashMap<String, &'static str>>>,
}

impl Site {
    /// Ends with the process.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let changed = Arc::new(Mutex::new(HashMap::new()));
        let (log, now) = (Arc::clone(&asked), Arc::clone(&changed));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let (log, now) = (Arc::clone(&log), Arc::clone(&now));
                std::thread::spawn(move || {
                    loop {
                        let head = read_head(&mut stream);
                        let Some(path) = head.split(' ').nth(1).map(str::to_owned) else {
                            return;
                        };
                        let page = now.lock().unwrap().get(&path).copied();
                        let answer = answer(page.unwrap_or(&path));
                        log.lock().unwrap().push(path);
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        Self {
            address,
            asked,
            changed,
        }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn prerender(&self, dir: &Path, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args(["prerender", "--public-url=https://example.com", "--log=warn"])
            .arg(format!("--backend=http://{}", self.address))
            .arg("--snapshots")
            .arg(dir)
            .args(arguments)
            .output()
            .unwrap()
    }
}

fn answer(path: &str) -> String {
    let (status, fields, body) = match path {
        "/" => (
            "200 OK",
            "Cache-Control: max-age=60\r\n",
            "<a href='/a'><a href='/cart'><a href='/gone'>",
        ),
        "/a" => ("200 OK", "Cache-Control: max-age=60\r\n", "a"),
        "/cart" => ("200 OK", "Cache-Control: no-store\r\n", "cart"),
        "/evil.xml" => ("200 OK", "", "<x\x1b]0;title\x07>"),
        "/b" => ("200 OK", "Cache-Control: max-age=60\r\n", "b"),
        _ => ("404 Not Found", "", "nothing"),
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_crawl_says_what_became_of_each_page_and_is_resumed() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let crawl = site.prerender(dir.path(), &["--crawl", "--concurrency=1"]);

    assert_eq!(crawl.status.code(), Some(0), "{}", stderr(&crawl));
    assert_eq!(site.asked(), ["/", "/a", "/cart", "/gone"]);
    let text = stdout(&crawl);
    assert!(text.starts_with("4 pages in "), "{text}");
    assert!(text.contains(": 2 new, 1 not stored, 1 missing\n"), "{text}");
    assert!(
        text.contains("\nnot stored, no-store: the backend sends"),
        "{text}"
    );
    assert!(
        text.contains("\nlinks that lead nowhere\n  /gone  404  (found on /)\n"),
        "{text}"
    );
    // A line a page where nobody watches a bar.
    let lines = stderr(&crawl);
    for line in [
        "new        200  /a\n",
        "not-stored 200  /cart  (no-store)\n",
        "missing    404  /gone",
    ] {
        assert!(lines.contains(line), "{lines}");
    }

    let again = site.prerender(dir.path(), &["--crawl", "--missing", "--json", "--concurrency=1"]);
    assert_eq!(site.asked(), ["/cart", "/gone"]);
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["summary"]["kept"], 2);
    assert_eq!(json["summary"]["not_stored"]["no-store"], 1);
    assert_eq!(json["pages"][1]["url"], "/a");
    assert_eq!(json["pages"][1]["found_on"], "/");
    assert_eq!(json["pages"][3]["became"], "missing");
}

#[test]
fn a_page_that_was_named_and_is_not_there_is_exit_code_1() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let list = dir.path().join("pages.txt");
    std::fs::write(&list, "# the shop\n/a\n\n  /gone \n").unwrap();
    let output = site.prerender(
        dir.path().join("s").as_path(),
        &["--from", list.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains(": 1 new, 1 failed\n"), "{text}");
    assert!(text.ends_with("\nfailed\n  /gone  404\n"), "{text}");
}

#[test]
fn tombstones_stay_and_are_counted() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    assert_eq!(site.prerender(dir.path(), &["/a", "/b"]).status.code(), Some(0));
    let placed = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args([
            "tombstone",
            "/a",
            "--public-url=https://example.com",
            "--snapshots",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(placed.status.code(), Some(0), "{}", stderr(&placed));
    site.asked();

    let all = site.prerender(dir.path(), &["/a", "/b", "--all", "--concurrency=1"]);

    assert_eq!(all.status.code(), Some(0), "{}", stderr(&all));
    assert_eq!(site.asked(), ["/b"]);
    let text = stdout(&all);
    assert!(text.ends_with(": 1 same, 1 tombstone\n"), "{text}");
    assert!(stderr(&all).contains("tombstone  410  /a\n"), "{}", stderr(&all));
    let json = site.prerender(dir.path(), &["/a", "--all", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["summary"]["tombstones"], 1);
    assert_eq!(json["pages"][0]["became"], "tombstone");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let line = format!(
        "{} prerender --public-url=https://example.com --backend=http://{} --snapshots {} /a | true",
        env!("CARGO_BIN_EXE_phantom-frame"),
        site.address,
        dir.path().display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(!stderr(&output).contains("panic"), "{}", stderr(&output));
}

#[test]
fn beside_a_server_that_cannot_be_asked_it_says_what_to_do() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = command(&backend, &dir).arg("--log-format=json").spawn().unwrap();
    event(&mut BufReader::new(server.stderr.take().unwrap()), "serving");
    std::fs::remove_file(dir.path().join(".phantom/server.json")).unwrap();

    let output = site.prerender(dir.path(), &["/a"]);

    server.kill().unwrap();
    server.wait().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("mode=render"), "{text}");
    assert_eq!(site.asked(), [""; 0]);
}

/// With a configuration file in front of the site.
fn serve(
    site: &Site,
    dir: &TempDir,
    more: &str,
) -> (std::process::Child, BufReader<std::process::ChildStderr>) {
    let config = dir.path().join("config.toml");
    let text = format!(
        "[server]\nproxy_url = \"http://{}\"\npublic_url = \"https://example.com\"\nproxy_bind = \"127.0.0.1\"\n\
         proxy_port = 0\ncontrol_port = 0\nlog_format = \"json\"\n{more}",
        site.address
    );
    std::fs::write(&config, text).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(server.stderr.take().unwrap());
    (server, log)
}

#[test]
fn who_names_nothing_means_what_the_configuration_names() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[prerender]\npages = [\"/a\", \"/\"]\nmax_pages = 1\n").unwrap();
    let config = ["-c", config.to_str().unwrap()];
    let snapshots = dir.path().join("s");
    for (more, expected) in [(&[][..], "/a"), (&["/cart"], "/cart")] {
        let output = site.prerender(&snapshots, &[&config[..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(site.asked(), [expected]);
    }
}

#[test]
fn what_is_typed_holds_against_the_configuration_even_where_it_is_the_default() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let config = dir.path().join("config.toml");
    let section = "[prerender]\npages = [\"/a\", \"/\"]\nscope = \"all\"\nmax_pages = 1\n";
    std::fs::write(&config, section).unwrap();
    let list = dir.path().join("empty.txt");
    std::fs::write(&list, "# nothing today\n").unwrap();
    let config = ["-c", config.to_str().unwrap()];
    let snapshots = dir.path().join("s");
    let asked = |more: &[&str], code| {
        let output = site.prerender(&snapshots, &[&config[..], more].concat());
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        let mut asked = site.asked();
        asked.sort();
        asked
    };
    assert_eq!(asked(&["--max-pages=10000"], 0), ["/", "/a"]);
    assert_eq!(asked(&[], 0), ["/a"]);
    assert_eq!(asked(&["--stale"], 0), [""; 0]);
    // It names nothing, and not what the configuration names.
    assert_eq!(asked(&["--from", list.to_str().unwrap()], 2), [""; 0]);
}

#[test]
fn a_server_may_be_told_how_to_render_and_not_what() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let (mut server, mut log) = serve(&site, &dir, "[prerender]\nmax_rps = 5\n");
    event(&mut log, "serving");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_server_says_that_it_waits_for_the_backend() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site {
        address: away,
        ..site
    };
    let (mut server, mut log) = serve(&site, &dir, "[prerender]\npages = [\"/\"]\n");
    event(
        &mut log,
        "what is rendered at the start waits until the backend can be reached",
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

/// A run whose second page the backend never answers, once it has been asked for it.
fn hanging(dir: &TempDir, backend: &TcpListener, more: &[&str]) -> (Child, TcpStream) {
    let process = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(["prerender", "--public-url=https://example.com", "--log=warn"])
        .args(["--concurrency=1", "--shutdown-timeout=1h", "/a", "/b"])
        .arg(format!("--backend=http://{}", backend.local_addr().unwrap()))
        .arg("--snapshots")
        .arg(dir.path())
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stream, _) = backend.accept().unwrap();
    assert!(read_head(&mut stream).starts_with("GET /a "));
    stream.write_all(answer("/a").as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("GET /b "));
    (process, stream)
}

fn signal(process: &Child, name: &str) {
    let kill = format!("kill -{name} {}", process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn who_is_interrupted_says_how_far_it_came_and_ends_by_that_signal() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (backend, dir) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            tempfile::tempdir().unwrap(),
        );
        let (process, mut stream) = hanging(&dir, &backend, &["--json"]);
        signal(&process, name);
        let mut process = process;
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("interrupted after 1 page;") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0);
        }
        // What is under way is stored.
        stream.write_all(answer("/a").as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["interrupted"], true);
        assert_eq!(json["summary"]["new"], 1);
        assert_eq!(json["pages"][0]["url"], "/a");
        assert!(files(dir.path()).iter().any(|file| file.starts_with("b.")));
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let (backend, dir) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let (mut process, _stream) = hanging(&dir, &backend, &[]);
    signal(&process, "INT");
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("interrupted") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
    }
    // It waits for the page that is under way.
    signal(&process, "TERM");
    assert_eq!(process.wait().unwrap().code(), Some(143));
}

#[test]
fn what_the_backend_writes_is_no_command_to_the_terminal() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args([
            "prerender",
            "--public-url=https://example.com",
            "--sitemap=/evil.xml",
        ])
        .arg(format!("--backend=http://{}", site.address))
        .arg("--snapshots")
        .arg(dir.path())
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for text in [stdout(&output), stderr(&output)] {
        assert!(text.contains("\\u{1b}]0;title\\u{7}"), "{text:?}");
        assert!(!text.contains("\x1b]"), "{text:?}");
    }
}

#[test]
fn a_server_renders_at_the_start_and_when_it_is_told() {
    let (site, dir) = (Site::start(), tempfile::tempdir().unwrap());
    let (mut server, mut log) = serve(&site, &dir, "[prerender]\npages = [\"/\", \"/a\"]\n");

    let serving = event(&mut log, "serving");
    let started = event(&mut log, "rendered at the start");
    assert_eq!((&started["new"], &started["failed"]), (&2.into(), &0.into()));
    let control = serving["control"].as_str().unwrap().replace("http://", "");
    site.asked();

    let render = "POST /refresh-cache?mode=render HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                  Content-Length: 0\r\n\r\n";
    let answer = ask(&control, render);
    let rendered = event(&mut log, "rendered by request");

    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(answer.contains("\"rendering\":2"), "{answer}");
    assert_eq!((&rendered["same"], &rendered["failed"]), (&2.into(), &0.into()));
    let mut asked = site.asked();
    asked.sort();
    assert_eq!(asked, ["/", "/a"]);
}
