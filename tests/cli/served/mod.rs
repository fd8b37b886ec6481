//! Commands that write, beside a server: it does what they ask for.

mod commands;

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::prerender::{Site, stderr, stdout};
use super::{ask, event, read_head};

const BINARY: &str = env!("CARGO_BIN_EXE_phantom-frame");
const TOKEN: &str = "PHANTOM_FRAME_CONTROL_AUTH";

/// A server on a directory, in front of a site.
struct Served {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
    control: String,
}

impl Served {
    fn start(world: &World, flags: &[&str]) -> Self {
        let mut process = Command::new(BINARY)
            .args([
                "--bind=127.0.0.1",
                "--port=0",
                "--control-port=0",
                "--log-format=json",
            ])
            .args(world.flags())
            .args(flags)
            .envs(world.token.map(|token| (TOKEN, token)))
            .env("PHANTOM_FRAME_PINNED", "/b")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let serving = event(&mut log, "serving");
        let address = |name: &str| serving[name].as_str().unwrap().replace("http://", "");
        Self {
            address: address("address"),
            control: address("control"),
            process,
            log,
        }
    }

    fn get(&self, path: &str) -> String {
        ask(
            &self.address,
            format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"),
        )
    }

    fn is_hit(&self, path: &str) -> bool {
        self.get(path).contains(";hit")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Its exit code.
    fn stop(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }

    /// What a command says of who did it.
    fn note(&self) -> String {
        format!("done by the server at http://{}", self.control)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A site and a directory.
struct World {
    site: Site,
    dir: TempDir,
    /// The control server's.
    token: Option<&'static str>,
}

impl World {
    fn new() -> Self {
        Self {
            site: Site::start(),
            dir: tempfile::tempdir().unwrap(),
            token: None,
        }
    }

    fn flags(&self) -> Vec<String> {
        vec![
            format!("--backend=http://{}", self.site.address),
            "--public-url=https://example.com".into(),
            format!("--snapshots={}", self.dir.path().display()),
        ]
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let (name, rest) = arguments.split_first().unwrap();
        Command::new(BINARY)
            .arg(name)
            .args(self.flags())
            .args(rest)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    fn server_json(&self) -> PathBuf {
        self.dir.path().join(".phantom/server.json")
    }

    /// The one file of a page that ends so.
    fn file(&self, page: &str, extension: &str) -> PathBuf {
        self.find(page, extension).unwrap()
    }

    fn find(&self, page: &str, extension: &str) -> Option<PathBuf> {
        let is_it = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&format!("{page}.")) && name.ends_with(extension)
        };
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| is_it(path))
    }
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}\n{}",
        stdout(output),
        stderr(output)
    );
}

#[test]
fn a_server_says_where_commands_are_taken_as_long_as_it_serves() {
    let world = World {
        token: Some("a-token-of-some-length"),
        ..World::new()
    };
    let mut server = Served::start(&world, &[]);

    let text = fs::read_to_string(world.server_json()).unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["format"], 1);
    assert_eq!(said["pid"], server.process.id());
    assert_eq!(said["control"], format!("http://{}", server.control));
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert!(!text.contains("token"), "{text}");

    assert_eq!(server.stop(), Some(0));
    assert!(!world.server_json().exists());
}

#[test]
fn who_only_reads_says_nothing_until_it_takes_over() {
    let world = World::new();
    let mut writer = Served::start(&world, &[]);
    let reader = Served::start(&world, &[]);
    let said = || fs::read_to_string(world.server_json()).unwrap();
    assert!(said().contains(&writer.control), "{}", said());

    writer.kill();
    assert!(said().contains(&writer.control), "a killed process leaves it");
    reader.get("/a");
    // It asks for the lock once a second.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reader.is_hit("/a") {
        assert!(Instant::now() < deadline, "{}", reader.get("/a"));
        std::thread::yield_now();
    }
    assert!(said().contains(&reader.control), "{}", said());
    let removed = world.run(&["rm", "/a"]);
    assert_code(&removed, 0);
    assert!(stderr(&removed).contains(&reader.note()), "{}", stderr(&removed));
}

#[test]
fn a_frozen_server_says_nothing() {
    let world = World::new();
    let mut server = Served::start(&world, &[]);
    server.get("/a");
    assert_eq!(server.stop(), Some(0));
    let frozen = Served::start(&world, &["--frozen"]);
    assert!(frozen.is_hit("/a"));
    assert!(!world.server_json().exists());
    let command =
        "POST /commands/rm HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 15\r\n\r\n";
    let answer = ask(&frozen.control, format!("{command}{{\"pattern\":\"*\"}}"));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(frozen.is_hit("/a"));
}

#[test]
fn commands_are_for_who_may_read_the_directory_and_for_nobody_who_can_only_connect() {
    let world = World {
        token: Some("a-token-of-some-length"),
        ..World::new()
    };
    let server = Served::start(&world, &[]);
    server.get("/a");
    let mode = fs::metadata(world.server_json()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let body = "{\"url\":\"/a\",\"status\":301,\"location\":\"https://evil.example/\"}";
    for shown in ["", "Authorization: Bearer a-token-of-some-length\r\n"] {
        let head = format!(
            "POST /commands/tombstone HTTP/1.1\r\nHost: localhost\r\n{shown}Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = ask(&server.control, format!("{head}{body}"));
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    assert!(server.is_hit("/a"), "nothing was done");
    // Without the control token: the directory is enough.
    assert_code(&world.run(&["rm", "/a"]), 0);
    assert!(!server.is_hit("/a"));
}

#[test]
fn a_server_says_it_again_where_it_was_deleted() {
    let world = World::new();
    let server = Served::start(&world, &[]);
    server.get("/a");
    fs::remove_dir_all(world.dir.path().join(".phantom")).unwrap();
    // What is stored needs the lock.
    let stored = server.get("/b");
    assert!(stored.contains(";stored"), "{stored}");
    assert!(world.server_json().exists());
    let removed = world.run(&["rm", "/a"]);
    assert_code(&removed, 0);
    assert!(stderr(&removed).contains(&server.note()), "{}", stderr(&removed));
}

#[test]
fn what_a_killed_server_left_is_not_believed() {
    let world = World::new();
    let mut server = Served::start(&world, &[]);
    server.get("/a");
    server.kill();
    assert!(world.server_json().exists());

    let removed = world.run(&["rm", "/a"]);
    assert_code(&removed, 0);
    assert_eq!(stdout(&removed), "removed 1 snapshot of 1 page, 1 B\n");
    assert_eq!(stderr(&removed), "");
    assert_code(&world.run(&["gc"]), 0);
    assert_code(&world.run(&["prerender", "/a"]), 0);
}

/// Answers everything as somebody else, and says what it was asked.
fn stranger() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (told, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let _ = told.send(read_head(&mut stream));
            let body = "{\"status\":\"ok\",\"id\":\"another\"}";
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (address, asked)
}

#[test]
fn a_server_that_cannot_be_asked_is_as_if_it_had_said_nothing() {
    let world = World {
        token: Some("a-token-of-some-length"),
        ..World::new()
    };
    let server = Served::start(&world, &[]);
    let said = fs::read_to_string(world.server_json()).unwrap();
    let (address, asked) = stranger();
    let away = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for text in [
        said.replace(&server.control, &address),
        said.replace(&server.control, &away),
        said.replace("\"format\":1", "\"format\":2"),
        "garbage".into(),
    ] {
        fs::write(world.server_json(), text).unwrap();
        // What went the round before may not have been noticed yet.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.is_hit("/a") || world.find("a", ".toml").is_none() {
            assert!(Instant::now() < deadline, "{}", server.get("/a"));
        }
        let removed = world.run(&["rm", "/a"]);
        assert_code(&removed, 0);
        assert_eq!(stdout(&removed), "removed 1 snapshot of 1 page, 1 B\n");
        let text = stderr(&removed);
        assert!(text.contains("another process writes the directory"), "{text}");
        for command in [&["gc"][..], &["reseal"], &["prerender", "/b"]] {
            let refused = world.run(command);
            assert_code(&refused, 2);
            assert!(stderr(&refused).contains("hint"), "{}", stderr(&refused));
        }
    }
    // Four commands, and none of them showed a stranger anything.
    for _ in 0..4 {
        let head = asked.recv().unwrap();
        assert!(head.starts_with("GET /healthz "), "{head}");
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
    }
    assert!(asked.try_recv().is_err());
}
