//! A directory, a disk that can be broken, a site whose pages say which version they are, and a proxy
//! between them: all in one process and without sockets, so that thousands of them take seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use phantom_frame::{Clock, CreateProxyConfig, DiskFault, Durability, ErrorKind, Proxy};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::rig::client::CacheStatus;
use crate::rig::log;
use crate::rig::proxy::memory_limit;
use crate::rig::{TestClock, eventually, within};

/// Which operations fail, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) nth: usize,
    pub(super) errno: i32,
    pub(super) lasts: Lasts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    Once,
    /// This one and all after it.
    ForGood,
    /// Of the writes, this one, after a few bytes.
    Short,
}

/// What has been asked of the disk since it was last mended.
#[derive(Default)]
struct Asked {
    fault: Option<Fault>,
    /// Operations of whatever kind.
    all: usize,
    count: usize,
    failed: Vec<String>,
}

/// A disk that does what it is told to.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Asked>>);

impl Disk {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same fault anew.
    pub(super) fn break_again(&self) {
        let mut asked = self.asked();
        (asked.count, asked.failed) = (0, Vec::new());
    }

    pub(super) fn break_at(&self, fault: Fault) {
        *self.asked() = Asked {
            fault: Some(fault),
            ..Asked::default()
        };
    }

    /// How often it was asked for something since it was broken.
    pub(super) fn asked_so_far(&self) -> usize {
        self.asked().all
    }

    /// Whole again; what has failed, by name.
    pub(super) fn mend(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked()).failed
    }

    pub(super) fn failed(&self) -> Vec<String> {
        self.asked().failed.clone()
    }

    fn answer(&self, operation: &str) -> Result<(), DiskFault> {
        let mut asked = self.asked();
        asked.all += 1;
        let Some(fault) = asked.fault else {
            return Ok(());
        };
        if fault.lasts == Lasts::Short && operation != "write" {
            return Ok(());
        }
        let number = asked.count;
        asked.count += 1;
        let is_hit = match fault.lasts {
            Lasts::ForGood => number >= fault.nth,
            Lasts::Once | Lasts::Short => number == fault.nth,
        };
        if !is_hit {
            return Ok(());
        }
        asked.failed.push(operation.to_owned());
        let error = io::Error::from_raw_os_error(fault.errno);
        Err(match fault.lasts {
            Lasts::Short => DiskFault::after(7, error),
            _ => error.into(),
        })
    }
}

/// What the site answers now.
#[derive(Clone, Debug)]
pub(super) struct Render {
    pub(super) version: u64,
    pub(super) varies: bool,
    pub(super) max_age: Option<u64>,
    pub(super) has_etag: bool,
    /// Even versions are of another content type.
    pub(super) changes_type: bool,
    pub(super) is_missing: bool,
}

/// One try of one fault.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) disk: Disk,
    pub(super) clock: TestClock,
    pub(super) render: Arc<Mutex<Render>>,
    /// A path of its own, by which its log lines are known.
    pub(super) path: String,
    pub(super) proxy: Option<Proxy>,
    /// The oldest version that may be served by this process, and by the next.
    pub(super) floor: u64,
    pub(super) floor_after_restart: u64,
    pub(super) what: String,
}

/// An answer, seen to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Page {
        version: u64,
        hit: bool,
    },
    Missing,
    /// 5xx, or the connection broke.
    Error,
}

const LINES: usize = 200;

fn page(path: &str, version: u64, language: &str) -> String {
    format!("{path} version {version} in {language}\n").repeat(LINES)
}

fn content_type(render: &Render, version: u64) -> &'static str {
    match render.changes_type && version.is_multiple_of(2) {
        true => "text/plain; charset=utf-8",
        false => "text/html; charset=utf-8",
    }
}

impl World {
    pub(super) fn new(what: String) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            dir: memory().unwrap_or_else(|| TempDir::with_prefix(PREFIX).unwrap()),
            disk: Disk::default(),
            clock: TestClock::standing(),
            render: Arc::new(Mutex::new(Render {
                version: 1,
                varies: false,
                max_age: None,
                has_etag: false,
                changes_type: false,
                is_missing: false,
            })),
            path: format!("/world-{number}/page"),
            proxy: None,
            floor: 1,
            floor_after_restart: 1,
            what,
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    pub(super) fn render(&self, change: impl FnOnce(&mut Render)) {
        change(&mut self.render.lock().unwrap());
    }

    fn site(&self) -> Router {
        let render = Arc::clone(&self.render);
        Router::new().fallback(move |request: Request<Body>| {
            let render = render.lock().unwrap().clone();
            async move { answer(&render, &request) }
        })
    }

    pub(super) fn try_start(&mut self) -> Result<(), phantom_frame::Error> {
        let (disk, clock) = (self.disk.clone(), self.clock.clone());
        let config = CreateProxyConfig::new("http://site.test".into())
            .with_snapshot_dir(self.root())
            .with_clock(Clock::from_fn(move || clock.now()))
            .with_disk_faults(Arc::new(move |operation, _: &Path| disk.answer(operation)))
            .with(|settings| {
                settings.durability = Durability::Full;
                settings.public_url = Some("http://site.test".into());
                settings.memory_limit = memory_limit().unwrap_or(settings.memory_limit);
            });
        self.proxy = Some(Proxy::in_process(self.site(), config)?);
        Ok(())
    }

    /// Starts, on a disk that is whole, and has read the directory through.
    pub(super) async fn start(&mut self) {
        // The threads of the one before may still hold the directory.
        let what = format!("{}: a start", self.what);
        eventually(&what, async || match self.try_start() {
            Ok(()) => Some(()),
            Err(error) if error.kind() == ErrorKind::Foreign => None,
            Err(error) => panic!("{}: does not start: {error:?}", self.what),
        })
        .await;
        self.is_ready().await;
    }

    pub(super) async fn is_ready(&self) {
        let proxy = self.proxy.as_ref().unwrap();
        eventually("the directory to be read", async || {
            proxy.is_ready().then_some(())
        })
        .await;
    }

    pub(super) async fn stop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            let done = proxy.shut_down(Duration::from_secs(10)).await;
            assert!(done, "{}: does not end", self.what);
        }
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(super) async fn get(&self) -> Seen {
        self.ask(Method::GET, None).await
    }

    /// Asks, and checks that what looks like a page is one: whole, of one version, that may be.
    pub(super) async fn ask(&self, method: Method, language: Option<&str>) -> Seen {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header(header::HOST, "site.test");
        if let Some(language) = language {
            request = request.header(header::ACCEPT_LANGUAGE, language);
        }
        let request = request.body(Body::empty()).unwrap();
        let router = self.proxy.as_ref().unwrap().router();
        let response = within("an answer", router.oneshot(request)).await.unwrap();
        self.see(response, language).await
    }

    async fn see(&self, response: Response<Body>, language: Option<&str>) -> Seen {
        let (head, body) = response.into_parts();
        let Ok(body) = within("the body", body.collect()).await else {
            return Seen::Error;
        };
        let body = body.to_bytes();
        let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        let what = &self.what;
        if let Some(length) = field("content-length") {
            assert_eq!(
                length,
                body.len().to_string(),
                "{what}: a short body that looks whole"
            );
        }
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                assert_eq!(body, "no such page", "{what}");
                return Seen::Missing;
            }
            status if status.is_server_error() => return Seen::Error,
            status => panic!("{what}: {status}"),
        }
        let version: u64 = field("x-version").unwrap().parse().unwrap();
        let render = self.render.lock().unwrap().clone();
        let language = match render.varies {
            true => language.unwrap_or("none"),
            false => "any",
        };
        let whole = page(&self.path, version, language);
        assert!(
            body == whole,
            "{what}: the body is not that of version {version}: {} bytes, not {}: {}",
            body.len(),
            whole.len(),
            String::from_utf8_lossy(&body)
                .chars()
                .take(60)
                .collect::<String>()
        );
        assert_eq!(
            field("content-type"),
            Some(content_type(&render, version)),
            "{what}"
        );
        assert!(
            (self.floor..=render.version).contains(&version),
            "{what}: version {version} is served, of {}..={}",
            self.floor,
            render.version
        );
        let cache = CacheStatus::parse(field("cache-status").unwrap()).unwrap();
        Seen::Page {
            version,
            hit: cache.hit,
        }
    }

    /// Asks until the page is a hit: caching goes on.
    pub(super) async fn until_stored(&self) {
        let what = format!("{}: the page to be stored again", self.what);
        // What changed a moment ago may be half of a pair, and is passed by for two seconds.
        let stored = async {
            loop {
                match self.get().await {
                    Seen::Page { hit: true, .. } => return,
                    Seen::Error => panic!("{}: an error with the disk whole", self.what),
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        within(&what, stored).await;
    }

    /// A page that is stored.
    pub(super) async fn warm(&self) {
        assert!(
            matches!(self.get().await, Seen::Page { hit: false, .. }),
            "{}: not there yet",
            self.what
        );
        self.until_stored().await;
    }

    /// What lies in the folders whose contents no restart may leave.
    pub(super) fn temporaries(&self) -> Vec<PathBuf> {
        let folders = ["tmp", "pending"].map(|name| self.root().join(".phantom").join(name));
        folders.iter().flat_map(|folder| files(folder)).collect()
    }

    /// Nothing is left behind, by who may still be at it.
    pub(super) async fn is_tidy(&self) {
        let what = format!("{}: {:?} to be gone", self.what, self.temporaries());
        eventually(&what, async || self.temporaries().is_empty().then_some(())).await;
    }

    /// The page's own files: bodies and sidecars.
    pub(super) fn pages(&self) -> Vec<PathBuf> {
        let folder = self.path.trim_start_matches('/').trim_end_matches("/page");
        files(&self.root().join(folder))
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        let dir = self.dir.path().to_str().unwrap().to_owned();
        log::trouble(|line| line.contains(&dir) || line.contains(&self.path))
    }
}

const PREFIX: &str = "phantom-frame-fault-";

/// A folder that no disk is behind, where there is such a thing: nothing is tested that survives a power
/// cut.
fn memory() -> Option<TempDir> {
    TempDir::with_prefix_in(PREFIX, "/dev/shm").ok()
}

/// Every file below `dir`.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn answer(render: &Render, request: &Request<Body>) -> Response<Body> {
    if *request.method() == Method::POST {
        return Response::new(Body::from("changed"));
    }
    if render.is_missing {
        let mut missing = Response::new(Body::from("no such page"));
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    }
    let asked = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let etag = format!("\"{}\"", render.version);
    let mut response = Response::builder()
        .header("content-type", content_type(render, render.version))
        .header("x-version", render.version);
    if render.has_etag {
        response = response.header("etag", &etag);
    }
    if render.varies {
        response = response.header("vary", "accept-language");
    }
    if let Some(seconds) = render.max_age {
        response = response.header("cache-control", format!("max-age={seconds}"));
    }
    if render.has_etag && asked(header::IF_NONE_MATCH) == Some(&etag) {
        return response.status(304).body(Body::empty()).unwrap();
    }
    let language = match render.varies {
        true => asked(header::ACCEPT_LANGUAGE).unwrap_or("none"),
        false => "any",
    };
    let body = Bytes::from(page(request.uri().path(), render.version, language));
    let third = body.len() / 3;
    let pieces = [
        body.slice(..third),
        body.slice(third..2 * third),
        body.slice(2 * third..),
    ];
    let pieces = stream::iter(pieces.map(Ok::<_, io::Error>));
    response.body(Body::from_stream(pieces)).unwrap()
}
