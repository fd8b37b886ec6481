//! What the commands say, and how the server begins and ends.
//!
//! Reviewed outputs are in `tests/cli/`. After a change that is meant,
//! `TRYCMD=overwrite cargo test --test cli` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

#[test]
fn commands_say_what_was_reviewed() {
    // The width of help, whatever the terminal of whoever runs this.
    trycmd::TestCases::new()
        .env("COLUMNS", "80")
        .env("NO_COLOR", "1")
        .case("tests/cli/*.trycmd");
}

/// A server over an empty directory, in front of a backend that takes connections and never answers.
struct Running {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
    backend: TcpListener,
    _dir: TempDir,
}

impl Running {
    fn start(shutdown_timeout: &str) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args([
                "--bind=127.0.0.1",
                "--port=0",
                "--control-port=0",
                "--log-format=json",
            ])
            .arg(format!("--backend=http://{}", backend.local_addr().unwrap()))
            .arg(format!("--shutdown-timeout={shutdown_timeout}"))
            .arg("--snapshots")
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let serving = event(&mut log, "serving");
        let address = serving["address"].as_str().unwrap().replace("http://", "");
        Self {
            process,
            log,
            address,
            backend,
            _dir: dir,
        }
    }

    /// A request that the server is busy with until the backend answers, which it never does. Returns
    /// both ends once the backend has it.
    fn request(&self) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(&self.address).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        loop {
            // A connection that says nothing was the look whether the backend is there.
            let (mut backend, _) = self.backend.accept().unwrap();
            if backend.read(&mut [0; 1]).unwrap() == 1 {
                return (client, backend);
            }
        }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

/// The first log line with this message.
fn event(log: &mut impl BufRead, message: &str) -> serde_json::Value {
    let mut lines = String::new();
    for line in log.lines() {
        let line = line.unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["message"] == message {
            return event;
        }
        lines.push_str(&line);
    }
    panic!("no line says {message:?}: {lines}");
}

#[test]
fn a_port_in_use_names_the_settings_that_change_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(["--bind=127.0.0.1", "--control-port=0"])
        .arg(format!("--port={port}"))
        .arg("--snapshots")
        .arg(dir.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{stderr}"
    );
    assert!(stderr.contains("`proxy_port` or `--port`"), "{stderr}");
}

#[test]
fn an_idle_server_ends_at_the_first_signal() {
    for signal in ["TERM", "INT"] {
        let server = Running::start("60s");
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn what_outlasts_the_shutdown_timeout_is_cut() {
    let server = Running::start("200ms");
    let (mut client, _backend) = server.request();
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    // Whether as an end or as a reset: nothing comes any more.
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut server = Running::start("60s");
        let _busy = server.request();
        server.signal("TERM");
        event(&mut server.log, "stopping: finishing what is in flight");
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(code), "{signal}");
    }
}
