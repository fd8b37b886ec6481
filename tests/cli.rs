//! What the commands say, and how the server begins and ends.
//!
//! Reviewed outputs are in `tests/cli/`. After a change that is meant,
//! `TRYCMD=overwrite cargo test --test cli` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "cli/compare.rs"]
mod compare;
#[path = "cli/frozen.rs"]
mod frozen;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/looks.rs"]
mod looks;
#[path = "cli/prerender.rs"]
mod prerender;
#[path = "cli/served/mod.rs"]
mod served;
#[path = "cli/ship.rs"]
mod ship;
#[path = "cli/terminal.rs"]
mod terminal;

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

/// A server over an empty directory, in front of a backend that takes connections and answers what the
/// test writes.
struct Running {
    process: Child,
    log: BufReader<ChildStderr>,
    address: String,
    control: String,
    backend: TcpListener,
    dir: TempDir,
}

impl Running {
    fn start(shutdown_timeout: &str) -> Self {
        Self::with(&[&format!("--shutdown-timeout={shutdown_timeout}")], &[])
    }

    fn with(flags: &[&str], settings: &[(&str, &str)]) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut process = command(&backend, &dir)
            .arg("--log-format=json")
            .args(flags)
            .envs(settings.iter().copied())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let serving = event(&mut log, "serving");
        let address = |name: &str| serving[name].as_str().unwrap().replace("http://", "");
        Self {
            process,
            address: address("address"),
            control: address("control"),
            log,
            backend,
            dir,
        }
    }

    /// A request that the server is busy with until the backend answers, which it never does. Returns
    /// both ends once the backend has it.
    fn request(&self) -> (TcpStream, TcpStream) {
        let client = begin(&self.address, GET);
        (client, self.accept())
    }

    /// The backend's end of a request, up to the end of its head.
    fn accept(&self) -> TcpStream {
        loop {
            // A connection that says nothing was the look whether the backend is there.
            let (mut backend, _) = self.backend.accept().unwrap();
            if read_head(&mut backend).ends_with("\r\n\r\n") {
                return backend;
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

    /// Ends it; what else it has logged.
    fn rest_of_log(mut self) -> String {
        self.signal("TERM");
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        self.process.wait().unwrap();
        text
    }
}

/// A test that has seen enough leaves nothing behind.
impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\npage";

fn command(backend: &TcpListener, dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phantom-frame"));
    command
        .args(["--bind=127.0.0.1", "--port=0", "--control-port=0"])
        .arg(format!("--backend=http://{}", backend.local_addr().unwrap()))
        .arg("--snapshots")
        .arg(dir.path())
        .stderr(Stdio::piped());
    command
}

fn begin(address: &str, request: impl AsRef<[u8]>) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(request.as_ref()).unwrap();
    client
}

fn ask(address: &str, request: impl AsRef<[u8]>) -> String {
    rest(&mut begin(address, request))
}

/// All that comes; a reset is an end too.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
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
fn a_directory_that_is_not_there_is_made_where_the_server_was_started() {
    let start = tempfile::tempdir().unwrap();
    for (dir, flags) in [("snapshots", &[][..]), ("pages", &["--snapshots=pages"])] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args([
                "--bind=127.0.0.1",
                "--port=0",
                "--control-port=0",
                "--log-format=json",
            ])
            .args(flags)
            .current_dir(start.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        event(&mut BufReader::new(process.stderr.take().unwrap()), "serving");
        assert!(start.path().join(dir).join("phantom-frame.toml").exists());
        process.kill().unwrap();
        process.wait().unwrap();
    }
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

#[test]
fn what_is_in_flight_is_finished_and_nobody_new_is_let_in() {
    let mut server = Running::start("60s");
    let (mut client, mut backend) = server.request();
    let mut refresh = begin(
        &server.control,
        "POST /refresh-cache HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 17\r\n\r\n",
    );
    server.signal("TERM");
    event(&mut server.log, "stopping: finishing what is in flight");
    // The listener is closed soon, not at once.
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::yield_now();
    }
    refresh.write_all(b"{\"pattern\": \"/a\"}").unwrap();
    assert!(
        rest(&mut refresh).starts_with("HTTP/1.1 200"),
        "a control call is finished"
    );
    backend.write_all(PAGE).unwrap();
    let answer = rest(&mut client);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("page"),
        "{answer}"
    );
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn it_is_not_ready_from_the_signal_on_and_serves_for_the_delay() {
    let mut server = Running::with(
        &["--shutdown-timeout=60s"],
        &[("PHANTOM_FRAME_SHUTDOWN_DELAY", "1h")],
    );
    let ready = || ask(&server.control, GET.replace("GET /", "GET /readyz"));
    assert!(ready().starts_with("HTTP/1.1 200"), "{}", ready());
    server.signal("TERM");
    event(&mut server.log, "stopping: finishing what is in flight");
    let ready = ask(&server.control, GET.replace("GET /", "GET /readyz"));
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let healthy = ask(&server.control, GET.replace("GET /", "GET /healthz"));
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
    let (mut client, mut backend) = server.request();
    backend.write_all(PAGE).unwrap();
    assert!(rest(&mut client).ends_with("page"));
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(143));
}

#[test]
fn readiness_can_be_asked_while_visitors_are_finished() {
    let mut server = Running::start("60s");
    let (mut client, mut backend) = server.request();
    server.signal("TERM");
    event(&mut server.log, "stopping: finishing what is in flight");
    let ready = ask(&server.control, GET.replace("GET /", "GET /readyz"));
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    backend.write_all(PAGE).unwrap();
    assert!(rest(&mut client).ends_with("page"));
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn what_has_no_end_ends_with_the_process() {
    let server = Running::start("300ms");
    // A stream of events.
    let mut stream = begin(&server.address, GET);
    let mut events = server.accept();
    events
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        .unwrap();
    assert!(read_head(&mut stream).contains("text/event-stream"));
    // A tunnel.
    let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut tunnel = begin(&server.address, upgrade);
    let mut inside = server.accept();
    inside
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut tunnel).starts_with("HTTP/1.1 101"));
    // A fill that nobody reads.
    let left = begin(&server.address, GET.replace("GET /", "GET /left"));
    let _left = server.accept();
    drop(left);
    server.signal("TERM");
    rest(&mut stream);
    assert_eq!(rest(&mut tunnel), "");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_signal_while_it_starts_ends_it() {
    for _ in 0..5 {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut process = command(&backend, &dir).spawn().unwrap();
        // It listens for signals before it takes the directory.
        while !dir.path().join(".phantom/lock").exists() {
            assert_eq!(process.try_wait().unwrap(), None);
            std::thread::yield_now();
        }
        let kill = format!("kill -TERM {}", process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert_eq!(process.wait().unwrap().code(), Some(0));
    }
}

/// Requests that would write lines, or colours, of their own.
const HOSTILE: [&[u8]; 6] = [
    b"GET /a%0aWARN%20forged HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /\xc2\x9b31m\xe2\x80\xaeevil HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /\x1b[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: local\x1b[31mhost\r\nConnection: close\r\n\r\n",
    b"G\x1bET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 \xc2\x9b31m\r\nX: \x1b\r\nConnection: close\r\n\r\n",
];

fn assert_harmless(log: &str) {
    let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!log.contains(deceptive), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("WARN")), "{log}");
    assert!(log.contains("evil"), "the requests are in the log: {log}");
}

#[test]
fn log_lines_are_what_we_write_whatever_clients_send() {
    let server = Running::with(&["--log=debug", "--shutdown-timeout=1s"], &[]);
    // Nobody is there to answer what is let through.
    let address = server.address.clone();
    let asking = std::thread::spawn(move || HOSTILE.map(|request| ask(&address, request)));
    server.backend.set_nonblocking(true).unwrap();
    while !asking.is_finished() {
        // Whoever is let through is turned away.
        drop(server.backend.accept());
        std::thread::yield_now();
    }
    asking.join().unwrap();
    let log = server.rest_of_log();
    assert_harmless(&log);
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }

    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut process = command(&backend, &dir)
        .args(["--log=debug", "--shutdown-timeout=1s"])
        .spawn()
        .unwrap();
    drop(backend);
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let banner = log
        .by_ref()
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("phantom-frame"));
    let banner = banner.unwrap();
    let address = banner.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    for request in HOSTILE {
        ask(address, request);
    }
    let kill = format!("kill -TERM {}", process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    process.wait().unwrap();
    assert_harmless(&text);
}

/// A command on the directory of a server that runs.
fn beside(server: &Running, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
        .args(arguments)
        .arg("--snapshots")
        .arg(server.dir.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn commands_work_beside_a_server_that_cannot_be_asked_or_say_who_does_it() {
    let server = Running::start("1s");
    let (mut client, mut backend) = server.request();
    backend.write_all(PAGE).unwrap();
    assert!(rest(&mut client).ends_with("page"));

    std::fs::remove_file(server.dir.path().join(".phantom/server.json")).unwrap();

    let (code, stdout, stderr) = beside(&server, &["ls"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(
        stdout.contains("http://localhost/\n1 snapshot, 4 B\n"),
        "{stdout}"
    );
    let (code, stdout, _) = beside(&server, &["verify"]);
    assert_eq!((code, &*stdout), (Some(0), "1 snapshot, 4 B: all is well\n"));
    for (command, hint) in [
        (&["gc"][..], "a server finishes, sweeps and evicts by itself"),
        (&["verify", "--fix"], "or have it drop what is damaged"),
        (&["reseal"], "stop the server, seal what was changed"),
    ] {
        let (code, stdout, stderr) = beside(&server, command);
        assert_eq!((code, &*stdout), (Some(2), ""));
        assert!(
            stderr.starts_with("error: another process writes the snapshot directory"),
            "{stderr}"
        );
        assert!(stderr.contains(hint), "{stderr}");
    }
    let (code, stdout, stderr) = beside(&server, &["rm", "/"]);
    assert_eq!((code, &*stdout), (Some(0), "removed 1 snapshot of 1 page, 4 B\n"));
    assert_eq!(
        stderr,
        "note: another process writes the directory: it takes what went for invalidated\n"
    );
    let (_, stdout, stderr) = beside(&server, &["ls"]);
    assert!(
        stdout.is_empty() && stderr.starts_with("note: nothing is stored in"),
        "{stdout}{stderr}"
    );
}

#[test]
fn a_closed_pipe_ends_the_printing_and_nothing_else() {
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["verify"],
        &["show", "/about"],
        &["show", "--body", "/about"],
    ] {
        let mut process = Command::new(env!("CARGO_BIN_EXE_phantom-frame"))
            .args(arguments)
            .args(["--config", "site.toml"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/artefact.in"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stdout.take());
        let output = process.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn tokens_are_in_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    // As editors write it.
    std::fs::write(&token, "s3cret-token\n").unwrap();
    let token_file = format!("--control-auth-file={}", token.display());
    let server = Running::with(&["--log=trace", "--shutdown-timeout=1s", &token_file], &[]);
    let refresh = |token: &str| {
        let request = format!(
            "POST /refresh-cache HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        ask(&server.control, request)
    };
    let refused = refresh("wr0ng-token");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(refresh("s3cret-token").starts_with("HTTP/1.1 200"));
    let known = GET.replace(
        "\r\n\r\n",
        "\r\nAuthorization: Bearer v1sitor\r\nCookie: session=c00kie\r\n\r\n",
    );
    let mut client = begin(&server.address, known);
    server.accept().write_all(PAGE).unwrap();
    assert!(rest(&mut client).starts_with("HTTP/1.1 200"));
    let log = server.rest_of_log();
    assert!(log.contains("invalidated by request"), "{log}");
    for secret in ["s3cret", "wr0ng", "v1sitor", "c00kie"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}
