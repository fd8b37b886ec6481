//! phantom-frame as a child process, its log, and a client of it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HOST;

/// No wait is longer than this; a correct server never comes near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The host of the public URL.
pub(crate) const SITE: &str = "site.test";

/// How a server is started. Its directory and its backend outlive it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) backend: String,
    /// Settings by name, as environment variables.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// A program and arguments before the binary's own.
    pub(crate) wrapper: Vec<OsString>,
}

impl Setup {
    pub(crate) fn new(dir: &Path, backend: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            backend: backend.to_owned(),
            settings: vec![("PUBLIC_URL", format!("http://{SITE}"))],
            wrapper: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(OsString::from).collect();
        self
    }

    /// Returns when the server says that it serves.
    pub(crate) async fn start(&self) -> Server {
        let mut server = self.spawn();
        assert!(server.is_serving().await, "the server ended by itself");
        server
    }

    /// Returns at once.
    pub(crate) fn spawn(&self) -> Server {
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_phantom-frame").into());
        let (program, words) = words.split_first().unwrap();
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--bind=127.0.0.1", "--port=0", "--control-port=0"])
            .arg("--log-format=json")
            .arg(format!("--backend={}", self.backend))
            .arg("--snapshots")
            .arg(&self.dir)
            .stderr(Stdio::piped());
        for (name, value) in &self.settings {
            command.env(format!("PHANTOM_FRAME_{name}"), value);
        }
        let started = Instant::now();
        let mut process = command.spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.push(&line);
            }
        });
        Server {
            process,
            log,
            started,
            address: String::new(),
            control: String::new(),
        }
    }
}

/// The lines that a server has written.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<serde_json::Value>>);

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<serde_json::Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &str) {
        // What is no event (a panic, say) is kept as an error.
        let event = serde_json::from_str(line)
            .unwrap_or_else(|_| serde_json::json!({ "level": "ERROR", "message": line }));
        self.lines().push(event);
    }

    /// The events whose message holds `text`.
    pub(crate) fn find(&self, text: &str) -> Vec<serde_json::Value> {
        let is_match = |event: &&serde_json::Value| event["message"].as_str().unwrap_or("").contains(text);
        self.lines().iter().filter(is_match).cloned().collect()
    }

    /// Warnings and errors, but for those that hold one of `expected`.
    pub(crate) fn complaints(&self, expected: &[&str]) -> Vec<String> {
        let is_bad = |event: &&serde_json::Value| matches!(event["level"].as_str(), Some("WARN" | "ERROR"));
        let is_unexpected = |line: &String| !expected.iter().any(|text| line.contains(text));
        self.lines()
            .iter()
            .filter(is_bad)
            .map(ToString::to_string)
            .filter(is_unexpected)
            .collect()
    }
}

/// A running server. Killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) log: Arc<Log>,
    pub(crate) started: Instant,
    pub(crate) address: String,
    pub(crate) control: String,
}

impl Server {
    /// Waits until it says that it serves; false if it ends before.
    pub(crate) async fn is_serving(&mut self) -> bool {
        let (process, log) = (&mut self.process, &self.log);
        let serving = until("the server to say that it serves", async || {
            match log.find("serving").pop() {
                Some(serving) => Some(Some(serving)),
                None => process.try_wait().unwrap().map(|_| None),
            }
        });
        let Some(serving) = serving.await else {
            return false;
        };
        let text = |name: &str| serving[name].as_str().unwrap().to_owned();
        (self.address, self.control) = (text("address"), text("control"));
        true
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, and nothing of it is left when this returns.
    pub(crate) fn kill(&mut self) {
        // One that has ended by itself would be a failure that the log shows.
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        let id = i32::try_from(self.process.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let process = &mut self.process;
        until("the server to end", async || process.try_wait().unwrap())
            .await
            .code()
    }

    /// Invalidates; the status of the answer, if one came.
    pub(crate) async fn refresh(&self, client: &Client, query: &str) -> Option<u16> {
        let url = format!("{}/refresh-cache{query}", self.control);
        let answer = client.0.post(url).send().await.ok()?;
        let status = answer.status().as_u16();
        // In force is what has been answered to its end.
        answer.bytes().await.ok()?;
        Some(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A visitor with connections of its own, which asks for `site.test`.
#[derive(Clone)]
pub(crate) struct Client(reqwest::Client);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What our own element of `Cache-Status` says.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.header("cache-status")
            .split(';')
            .any(|part| part.trim() == word)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE)
            .build();
        Self(client.unwrap())
    }

    /// # Errors
    /// When the connection broke.
    pub(crate) async fn get(
        &self,
        server: &str,
        path: &str,
        language: Option<&str>,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.0.get(format!("{server}{path}"));
        send(match language {
            Some(language) => request.header("accept-language", language),
            None => request,
        })
        .await
    }

    /// # Errors
    /// When the connection broke.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let request = self.0.request(method, url);
        send(
            fields
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value)),
        )
        .await
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let answer = request.header(HOST, SITE).send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await?.to_vec();
    Ok(Answer {
        status,
        headers,
        body,
    })
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The files below `dir`, those of git left out.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        // A running server removes files meanwhile.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    files
}
