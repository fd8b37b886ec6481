//! A backend that does what it is told, also what no server should: on raw TCP, because a library
//! would mend what a test wants broken. It records every request as it came.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::gate::{Gate, within};
use super::message::{Body, End, Fields, Head, Piece, Reader, request_framing};

/// A request as it arrived; its body as far as it has.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// As sent, query and all.
    pub(crate) target: String,
    pub(crate) fields: Fields,
    pub(crate) raw_head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// How the body ended; nothing while it is still coming.
    pub(crate) body_end: Option<End>,
}

impl Recorded {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One thing that a backend does when it answers.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Gate),
    /// Closes the connection in good order.
    Close,
    /// Closes it with a reset.
    Reset,
    /// Closes the sending direction only.
    ShutDown,
    /// Sends back what comes, until the peer sends no more.
    Echo,
    /// Adds what comes to the recorded body, until the peer sends no more.
    Receive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framed {
    Length,
    Chunked,
    UntilClose,
    /// Said by the fields themselves, right or wrong.
    AsGiven,
}

/// What a backend answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    before_head: Vec<Step>,
    body: Vec<Step>,
    framed: Framed,
    raw: bool,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            before_head: Vec::new(),
            body: Vec::new(),
            framed: Framed::Length,
            raw: false,
        }
    }

    /// 200 with an HTML body and nothing that says how long it may be kept.
    pub(crate) fn page(body: impl Into<Bytes>) -> Self {
        Self::new(200)
            .with("Content-Type", "text/html; charset=utf-8")
            .body(body)
    }

    /// These steps and nothing else: the test writes the bytes of the response itself.
    pub(crate) fn raw(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            raw: true,
            body: steps.into_iter().collect(),
            ..Self::new(0)
        }
    }

    /// One more field, as spelled, after those there are.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Adds to the body.
    #[must_use]
    pub(crate) fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Send(bytes.into()))
    }

    /// Adds a step between the pieces of the body.
    #[must_use]
    pub(crate) fn step(mut self, step: Step) -> Self {
        self.body.push(step);
        self
    }

    /// Holds what follows of the body until the gate is open.
    #[must_use]
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Holds the head, and with it everything, until the gate is open.
    #[must_use]
    pub(crate) fn held(mut self, gate: &Gate) -> Self {
        self.before_head.push(Step::Wait(gate.clone()));
        self
    }

    /// Sends an interim response (`103`) first.
    #[must_use]
    pub(crate) fn interim(mut self, bytes: &'static [u8]) -> Self {
        self.before_head.push(Step::Send(Bytes::from_static(bytes)));
        self
    }

    #[must_use]
    pub(crate) fn chunked(mut self) -> Self {
        self.framed = Framed::Chunked;
        self
    }

    /// The end of the connection ends the body.
    #[must_use]
    pub(crate) fn until_close(mut self) -> Self {
        self.framed = Framed::UntilClose;
        self
    }

    /// Says this length, whatever the body's is.
    #[must_use]
    pub(crate) fn claiming_length(mut self, length: u64) -> Self {
        self.framed = Framed::AsGiven;
        self.with("Content-Length", &length.to_string())
    }

    fn steps(&self, request: &Recorded) -> Vec<Step> {
        if self.raw {
            return self.body.clone();
        }
        let mut steps = self.before_head.clone();
        let bodiless = request.method == "HEAD" || matches!(self.status, 100..=199 | 204 | 304);
        steps.push(Step::Send(self.head(bodiless)));
        if bodiless {
            return steps;
        }
        for step in &self.body {
            steps.push(match step {
                Step::Send(bytes) if self.framed == Framed::Chunked => Step::Send(chunk(bytes)),
                other => other.clone(),
            });
        }
        match self.framed {
            Framed::Chunked => steps.push(Step::Send(Bytes::from_static(b"0\r\n\r\n"))),
            Framed::UntilClose => steps.push(Step::Close),
            Framed::Length | Framed::AsGiven => {}
        }
        steps
    }

    fn head(&self, bodiless: bool) -> Bytes {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let told = self.status >= 200 && !matches!(self.status, 204 | 304);
        match self.framed {
            Framed::Length if told => {
                head.push_str(&format!("Content-Length: {}\r\n", self.length()));
            }
            Framed::Chunked if told => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framed::UntilClose if !bodiless => head.push_str("Connection: close\r\n"),
            _ => {}
        }
        head.push_str("\r\n");
        Bytes::from(head)
    }

    fn length(&self) -> usize {
        self.body
            .iter()
            .map(|step| match step {
                Step::Send(bytes) => bytes.len(),
                _ => 0,
            })
            .sum()
    }
}

fn chunk(bytes: &Bytes) -> Bytes {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}

type Make = Arc<dyn Fn(&Recorded) -> Answer + Send + Sync>;

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, Make>>,
    fallback: Mutex<Option<Make>>,
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<usize>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn answer(&self, request: &Recorded) -> Answer {
        let make = lock(&self.routes)
            .get(request.path())
            .cloned()
            .or_else(|| lock(&self.fallback).clone());
        match make {
            Some(make) => make(request),
            None => Answer::new(404)
                .with("Content-Type", "text/html")
                .body(format!("no route for {}", request.target)),
        }
    }

    fn record(&self, request: Recorded) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(request);
        let index = requests.len() - 1;
        drop(requests);
        self.changed.send_replace(());
        index
    }

    fn amend(&self, index: usize, change: impl FnOnce(&mut Recorded)) {
        if let Some(request) = lock(&self.requests).get_mut(index) {
            change(request);
        }
        self.changed.send_replace(());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module. Ends when it is dropped.
pub(crate) struct Backend {
    shared: Arc<Shared>,
    addr: SocketAddr,
    /// Bound and never listening: keeps the port ours while the backend is stopped.
    _port: TcpSocket,
    serving: Option<JoinHandle<()>>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.addr)
    }
}

impl Backend {
    /// Answers 404 to everything until it is told more.
    pub(crate) async fn start() -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let addr = port.local_addr().expect("the backend's address");
        let mut backend = Self {
            shared: Arc::default(),
            addr,
            _port: port,
            serving: None,
        };
        backend.start_again();
        backend
    }

    /// A backend with this page at every address.
    pub(crate) async fn with_page(body: &'static str) -> Self {
        let backend = Self::start().await;
        backend.fallback(move |_| Answer::page(body));
        backend
    }

    /// A backend with this answer at `path`.
    pub(crate) async fn with(path: &str, answer: Answer) -> Self {
        let backend = Self::start().await;
        backend.on(path, answer);
        backend
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Answers requests for `path`, whatever their method and query, from now on.
    pub(crate) fn on(&self, path: &str, answer: Answer) {
        self.on_fn(path, move |_| answer.clone());
    }

    /// As [`on`](Self::on), by the request.
    pub(crate) fn on_fn(&self, path: &str, make: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) {
        lock(&self.shared.routes).insert(path.into(), Arc::new(make));
    }

    /// Answers what no route does.
    pub(crate) fn fallback(&self, make: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.fallback) = Some(Arc::new(make));
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.requests).clone()
    }

    /// The requests for `path`, whatever their query.
    pub(crate) fn requests_for(&self, path: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| request.path() == path);
        requests
    }

    /// How many requests for `path` have come.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests_for(path).len()
    }

    /// How many requests have come in all.
    pub(crate) fn total(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// How many connections have been accepted.
    pub(crate) fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// The newest request for `path`.
    #[track_caller]
    pub(crate) fn last(&self, path: &str) -> Recorded {
        self.requests_for(path)
            .pop()
            .unwrap_or_else(|| panic!("the backend has had no request for {path}"))
    }

    /// Waits until the requests satisfy `condition`.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&[Recorded]) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let shared = &self.shared;
        within(what, async move {
            while !condition(&lock(&shared.requests)) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        })
        .await;
    }

    /// Waits until `count` requests for `path` have come.
    pub(crate) async fn until_count(&self, path: &str, count: usize) {
        self.until(&format!("{count} requests for {path}"), |requests| {
            requests.iter().filter(|request| request.path() == path).count() >= count
        })
        .await;
    }

    /// Refuses connections from now on; open ones are cut. The port stays reserved.
    pub(crate) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Cancelled, as it was told.
            let _ = serving.await;
        }
    }

    /// Serves on the same port again.
    pub(crate) fn start_again(&mut self) {
        if self.serving.is_some() {
            return;
        }
        let listener = socket(self.addr).listen(1024).expect("the backend listens");
        self.serving = Some(tokio::spawn(accept(listener, self.shared.clone())));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

/// Two sockets may be bound to one port when both say so; only one of ours ever listens.
fn socket(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("SO_REUSEPORT");
    socket.bind(addr).expect("the backend's port");
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting this task drops the set, and that ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        *lock(&shared.connections) += 1;
        connections.spawn(serve(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let (read, write) = stream.into_split();
    let mut connection = Connection {
        reader: Reader::new(read),
        write: Some(write),
        shared,
    };
    while let Ok(Some(head)) = connection.reader.head().await {
        if !connection.exchange(head).await {
            return;
        }
    }
}

struct Connection {
    reader: Reader<OwnedReadHalf>,
    write: Option<OwnedWriteHalf>,
    shared: Arc<Shared>,
}

impl Connection {
    /// One request and its answer; whether another may follow.
    async fn exchange(&mut self, head: Head) -> bool {
        let mut words = head.line.split(' ');
        let framing = request_framing(&head.fields);
        let request = Recorded {
            method: words.next().unwrap_or("").to_owned(),
            target: words.next().unwrap_or("").to_owned(),
            fields: head.fields,
            raw_head: head.raw,
            body: Vec::new(),
            body_end: None,
        };
        let close = request.fields.lists("connection", "close");
        let index = self.shared.record(request);
        let mut body = Body::new(framing);
        let end = loop {
            match body.piece(&mut self.reader).await {
                Piece::Bytes(bytes) => self
                    .shared
                    .amend(index, |request| request.body.extend_from_slice(&bytes)),
                Piece::End(end) => break end,
            }
        };
        self.shared.amend(index, |request| request.body_end = Some(end));
        if end == End::Cut {
            return false;
        }
        let request = lock(&self.shared.requests)[index].clone();
        let answer = self.shared.answer(&request);
        for step in answer.steps(&request) {
            if !self.take(step, index).await {
                return false;
            }
        }
        !close
    }

    /// Takes one step; whether the connection goes on.
    async fn take(&mut self, step: Step, index: usize) -> bool {
        let Some(write) = &mut self.write else {
            return false;
        };
        match step {
            Step::Send(bytes) => write.write_all(&bytes).await.is_ok(),
            Step::Wait(gate) => {
                gate.pass().await;
                true
            }
            Step::Close => false,
            Step::ShutDown => write.shutdown().await.is_ok(),
            Step::Reset => {
                // What was written is on its way before the reset overtakes it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let stream: &TcpStream = write.as_ref();
                stream.set_zero_linger().expect("SO_LINGER");
                // Dropped, this half would close in good order first.
                if let Some(write) = self.write.take() {
                    write.forget();
                }
                false
            }
            Step::Echo => {
                while let Some(bytes) = self.reader.raw().await {
                    if write.write_all(&bytes).await.is_err() {
                        return false;
                    }
                }
                true
            }
            Step::Receive => {
                while let Some(bytes) = self.reader.raw().await {
                    self.shared
                        .amend(index, |request| request.body.extend_from_slice(&bytes));
                }
                true
            }
        }
    }
}
