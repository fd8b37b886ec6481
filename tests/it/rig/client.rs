//! A client that sends exactly what it is told and shows exactly what came.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use phantom_frame::Reason;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::gate::within;
use super::message::{Body, Fields, Framing, Head, Piece, Reader, response_framing};

pub(crate) use super::message::End;

/// The host that requests name unless a test says otherwise.
pub(crate) const HOST: &str = "site.test";

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

pub(crate) fn request(method: &str, target: &str) -> Request {
    Request {
        method: method.into(),
        target: target.into(),
        fields: vec![("Host".into(), HOST.into())],
        body: Vec::new(),
    }
}

pub(crate) fn get(target: &str) -> Request {
    request("GET", target)
}

pub(crate) fn head(target: &str) -> Request {
    request("HEAD", target)
}

pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Request {
    let body = body.as_ref();
    let mut request = request("POST", target).with("Content-Length", &body.len().to_string());
    request.body = body.to_vec();
    request
}

impl Request {
    /// One more field, after those there are.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Bytes after the head, which the fields have to announce.
    #[must_use]
    pub(crate) fn with_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    #[must_use]
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.fields.retain(|(name, _)| name != "Host");
        self.fields.insert(0, ("Host".into(), host.into()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response as it came.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.text().chars().take(200).collect();
        write!(f, "{}{:?}\n\n{body}\n({:?})", self.status, self.fields, self.end)
    }
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `Age` in seconds.
    pub(crate) fn age(&self) -> Option<u64> {
        self.field("age").map(|age| age.parse().expect("Age is a number"))
    }

    /// What the proxy's own entry in `Cache-Status` says.
    #[track_caller]
    pub(crate) fn cache(&self) -> CacheStatus {
        let value = self.fields.all("cache-status").join(", ");
        CacheStatus::parse(&value).unwrap_or_else(|| panic!("no Cache-Status of ours in {self:?}"))
    }

    /// Complete, with this status and body.
    #[track_caller]
    pub(crate) fn assert(&self, status: u16, body: &str) -> &Self {
        assert_eq!(self.status, status, "the status of {self:?}");
        assert_eq!(self.text(), body, "the body of {self:?}");
        assert_eq!(self.end, End::Complete, "the end of {self:?}");
        self
    }

    /// Answered from a stored response.
    #[track_caller]
    pub(crate) fn assert_hit(&self) -> &Self {
        let cache = self.cache();
        assert!(cache.hit, "expected a hit: {self:?}");
        assert_eq!(cache.fwd, None, "a hit is not forwarded: {self:?}");
        assert!(!cache.is_stale(), "expected a fresh hit: {self:?}");
        self
    }

    /// Fetched and kept.
    #[track_caller]
    pub(crate) fn assert_stored(&self) -> &Self {
        let cache = self.cache();
        assert!(
            !cache.hit && cache.fwd.is_some() && cache.stored,
            "expected a miss that is stored: {self:?}"
        );
        self
    }

    /// Came from the backend and was not kept, for this reason.
    #[track_caller]
    pub(crate) fn assert_not_stored(&self, reason: Reason) -> &Self {
        let cache = self.cache();
        assert!(
            !cache.hit && cache.fwd.is_some() && !cache.stored,
            "expected an answer that is not stored ({}): {self:?}",
            reason.as_str()
        );
        assert_eq!(
            cache.detail.as_deref(),
            Some(reason.as_str()),
            "the reason why {self:?} is not stored"
        );
        self
    }

    /// Answered from somebody else's fetch.
    #[track_caller]
    pub(crate) fn assert_collapsed(&self) -> &Self {
        let cache = self.cache();
        assert!(
            !cache.hit && cache.fwd.is_some() && cache.collapsed,
            "expected a collapsed answer: {self:?}"
        );
        self
    }

    /// From the store, though it should have been validated and could not.
    #[track_caller]
    pub(crate) fn assert_stale(&self) -> &Self {
        let cache = self.cache();
        assert!(cache.is_stale(), "expected a stale answer: {self:?}");
        self
    }

    /// The backend confirmed the stored response.
    #[track_caller]
    pub(crate) fn assert_revalidated(&self) -> &Self {
        let cache = self.cache();
        assert_eq!(
            cache.fwd.as_deref(),
            Some("stale"),
            "expected a validation: {self:?}"
        );
        assert_eq!(
            cache.fwd_status,
            Some(304),
            "the backend's answer to the validation: {self:?}"
        );
        self
    }

    /// Refused or failed by the proxy itself, for this reason.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, reason: Reason) -> &Self {
        assert_eq!(self.status, status, "the status of {self:?}");
        assert_eq!(
            self.cache().detail.as_deref(),
            Some(reason.as_str()),
            "the reason of {self:?}"
        );
        self
    }
}

/// The proxy's entry in `Cache-Status` (RFC 9211).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    pub(crate) hit: bool,
    pub(crate) fwd: Option<String>,
    pub(crate) fwd_status: Option<u16>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    pub(crate) ttl: Option<i64>,
    pub(crate) detail: Option<String>,
}

impl CacheStatus {
    /// A hit only because the backend gave no better answer, which `detail` says.
    pub(crate) fn is_stale(&self) -> bool {
        let why = [Reason::Unreachable, Reason::Timeout, Reason::ServerError];
        self.hit && why.iter().any(|why| self.detail.as_deref() == Some(why.as_str()))
    }

    /// The last entry of the list, which is the one nearest to the client, if it is ours.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let entry = split_outside_quotes(value, ',').pop()?;
        let mut parts = split_outside_quotes(&entry, ';').into_iter();
        if unquote(&parts.next()?) != "phantom-frame" {
            return None;
        }
        let parameters: BTreeMap<String, String> = parts
            .map(|part| match part.split_once('=') {
                Some((name, value)) => (name.trim().to_owned(), unquote(value)),
                None => (part.trim().to_owned(), "?1".to_owned()),
            })
            .collect();
        let is = |name: &str| parameters.get(name).is_some_and(|value| value == "?1");
        let text = |name: &str| parameters.get(name).cloned();
        Some(Self {
            hit: is("hit"),
            fwd: text("fwd"),
            fwd_status: text("fwd-status").and_then(|status| status.parse().ok()),
            stored: is("stored"),
            collapsed: is("collapsed"),
            ttl: text("ttl").and_then(|ttl| ttl.parse().ok()),
            detail: text("detail"),
        })
    }
}

fn split_outside_quotes(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c == at && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn unquote(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

/// Where requests go. Each uses a connection of its own unless the test keeps one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    addr: SocketAddr,
}

impl Client {
    pub(crate) fn to(addr: SocketAddr) -> Self {
        Self { addr }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = within("a connection", TcpStream::connect(self.addr))
            .await
            .expect("the server accepts connections");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (read, write) = stream.into_split();
        Connection {
            reader: Reader::new(read),
            write,
        }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request) -> Response {
        self.open(request).await.finish().await
    }

    pub(crate) async fn get(&self, target: &str) -> Response {
        self.send(get(target)).await
    }

    /// Sends one request and reads the head of the answer.
    pub(crate) async fn open(&self, request: Request) -> Exchange {
        self.begin(&request).await.head().await
    }

    /// Sends one request and reads nothing yet.
    pub(crate) async fn begin(&self, request: &Request) -> Begun {
        let mut connection = self.connect().await;
        connection.write(&request.bytes()).await;
        Begun {
            connection,
            method: request.method.clone(),
        }
    }

    /// Sends these bytes and reads one whole answer.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Response {
        let mut connection = self.connect().await;
        connection.write(bytes).await;
        let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        connection.response(&String::from_utf8_lossy(method)).await
    }
}

/// An open connection.
pub(crate) struct Connection {
    reader: Reader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Connection {
    /// Sends bytes as they are. A peer that is gone shows when the answer is read.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = within("the server to read", self.write.write_all(bytes)).await;
    }

    /// Ends the sending direction.
    pub(crate) async fn shut_down(&mut self) {
        let _ = self.write.shutdown().await;
    }

    /// Sends one request on this connection and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Response {
        self.write(&request.bytes()).await;
        self.response(&request.method).await
    }

    /// Reads one whole response, as an answer to `method`.
    #[track_caller]
    pub(crate) fn response(&mut self, method: &str) -> impl Future<Output = Response> {
        let caller = std::panic::Location::caller();
        async move {
            let head = within("a response head", self.next_head())
                .await
                .unwrap_or_else(|| panic!("the connection ended without a response (at {caller})"));
            let (status, mut body) = begin_body(method, &head);
            let mut bytes = Vec::new();
            let end = loop {
                match within("more of the body", body.piece(&mut self.reader)).await {
                    Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
                    Piece::End(end) => break end,
                }
            };
            Response {
                status,
                fields: head.fields,
                body: bytes,
                end,
            }
        }
    }

    async fn next_head(&mut self) -> Option<Head> {
        loop {
            let head = self.reader.head().await.expect("a well-formed response head")?;
            // Interim responses are passed over; 101 is a final one.
            if !matches!(status_of(&head), 100 | 102..=199) {
                return Some(head);
            }
        }
    }

    /// The next bytes as they come, after a 101 or instead of a response; nothing at the end.
    pub(crate) async fn bytes(&mut self) -> Option<Vec<u8>> {
        within("bytes", self.reader.raw()).await
    }

    /// Exactly `count` bytes as they come.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let Some(mut bytes) = self.bytes().await else {
                panic!("the connection ended after {} of {count} bytes", all.len());
            };
            let rest = bytes.split_off(bytes.len().min(count - all.len()));
            all.extend_from_slice(&bytes);
            self.reader.ahead = rest;
        }
        all
    }

    /// All bytes up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.bytes().await {
            all.extend_from_slice(&bytes);
        }
        all
    }
}

/// A request whose answer has not been looked at. Dropping it goes away.
pub(crate) struct Begun {
    connection: Connection,
    method: String,
}

impl Begun {
    /// Reads the head of the answer.
    pub(crate) async fn head(mut self) -> Exchange {
        let head = within("a response head", self.connection.next_head())
            .await
            .expect("a response before the connection ends");
        let (status, body) = begin_body(&self.method, &head);
        Exchange {
            connection: self.connection,
            head,
            status,
            body,
            bytes: Vec::new(),
            end: None,
        }
    }
}

/// A response being read. Dropping it goes away in the middle.
pub(crate) struct Exchange {
    connection: Connection,
    head: Head,
    pub(crate) status: u16,
    body: Body,
    bytes: Vec<u8>,
    end: Option<End>,
}

impl Exchange {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    /// Reads until `count` bytes of the body are there, or the end; what is there.
    pub(crate) async fn at_least(&mut self, count: usize) -> &[u8] {
        while self.bytes.len() < count && self.end.is_none() {
            self.next().await;
        }
        &self.bytes
    }

    async fn next(&mut self) {
        let piece = self.body.piece(&mut self.connection.reader);
        match within("more of the body", piece).await {
            Piece::Bytes(bytes) => self.bytes.extend_from_slice(&bytes),
            Piece::End(end) => self.end = Some(end),
        }
    }

    /// Reads the rest.
    pub(crate) async fn finish(mut self) -> Response {
        let end = loop {
            match self.end {
                Some(end) => break end,
                None => self.next().await,
            }
        };
        Response {
            status: self.status,
            fields: self.head.fields,
            body: self.bytes,
            end,
        }
    }

    /// The connection, for what follows a 101.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }
}

fn begin_body(method: &str, head: &Head) -> (u16, Body) {
    let status = status_of(head);
    let framing = match status {
        101 => Framing::None,
        _ => response_framing(method, status, &head.fields),
    };
    (status, Body::new(framing))
}

fn status_of(head: &Head) -> u16 {
    head.line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {:?}", head.line))
}
