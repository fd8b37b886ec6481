//! A proxy on port 0 over a temporary directory, with a clock and a disk that the test holds.
//!
//! Everything that the rig calls in the library is called here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use phantom_frame::artefact::{Artefact, Explained, Question, explain};
use phantom_frame::server::{Server, ServerLimits};
use phantom_frame::{
    Clock, CreateProxyConfig, Error, FaultPlan, Proxy as Engine, Reason, RefreshTrigger, RequestInfo,
    Settings,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::backend::Backend;
use super::client::{Client, Request, Response};
use super::gate::{DEADLINE, eventually, within};

/// A clock that stands still until the test moves it. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct TestClock {
    seconds: Arc<AtomicU64>,
    ticks: bool,
}

impl TestClock {
    /// Stands at this second.
    pub(crate) fn standing() -> Self {
        Self {
            seconds: Arc::new(AtomicU64::new(unix_seconds(SystemTime::now()))),
            ticks: false,
        }
    }

    /// Goes on as the system's does, and is only put forward by the test: for what is compared with
    /// the times of files.
    pub(crate) fn ticking() -> Self {
        Self {
            seconds: Arc::default(),
            ticks: true,
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Puts the clock back.
    pub(crate) fn step_back(&self, seconds: u64) {
        self.seconds.fetch_sub(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.seconds.load(Ordering::SeqCst));
        if self.ticks {
            SystemTime::now() + offset
        } else {
            UNIX_EPOCH + offset
        }
    }

    fn of_proxy(&self) -> Clock {
        let clock = self.clone();
        Clock::from_fn(move || clock.now())
    }
}

pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Makes file operations of the store fail.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    inner: Arc<Mutex<FaultState>>,
}

#[derive(Default)]
struct FaultState {
    /// How many operations have been asked for.
    asked: usize,
    /// Operations from this one on fail, until so many have.
    from: Option<usize>,
    to: usize,
    only: Option<&'static str>,
    error: Option<io::ErrorKind>,
    failed: Vec<(String, PathBuf)>,
}

impl Faults {
    /// Fails operations number `n` and, if `lasting`, all after it, counted from now.
    pub(crate) fn fail_nth(&self, n: usize, error: io::ErrorKind, last: Lasting) {
        let mut state = self.state();
        let from = state.asked + n;
        state.from = Some(from);
        state.to = match last {
            Lasting::Once => from,
            Lasting::ForGood => usize::MAX,
        };
        state.only = None;
        state.error = Some(error);
    }

    /// Fails every operation of this name from now on.
    pub(crate) fn fail_all(&self, operation: &'static str, error: io::ErrorKind) {
        let mut state = self.state();
        state.from = Some(0);
        state.to = usize::MAX;
        state.only = Some(operation);
        state.error = Some(error);
    }

    /// The disk is whole again.
    pub(crate) fn mend(&self) {
        self.state().from = None;
    }

    /// How many operations there have been.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    /// What has failed, as operation and path.
    pub(crate) fn failed(&self) -> Vec<(String, PathBuf)> {
        self.state().failed.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, FaultState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> FaultPlan {
        let faults = self.clone();
        Arc::new(move |operation, path: &Path| {
            let mut state = faults.state();
            let number = state.asked;
            state.asked += 1;
            let hit = state.from.is_some_and(|from| (from..=state.to).contains(&number))
                && match state.only {
                    Some(only) => only == operation,
                    // A visitor who reads from a file that cannot be read is cut off.
                    None => operation != "read-prefix",
                };
            if !hit {
                return Ok(());
            }
            state.failed.push((operation.to_owned(), path.to_owned()));
            Err(io::Error::from(state.error.unwrap_or(io::ErrorKind::Other)).into())
        })
    }
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    Once,
    ForGood,
}

type Configure = Arc<dyn Fn(CreateProxyConfig) -> CreateProxyConfig + Send + Sync>;

/// What a proxy is started from.
#[derive(Clone)]
pub(crate) struct Setup {
    backend: String,
    dir: Arc<TempDir>,
    clock: TestClock,
    configure: Vec<Configure>,
    trigger: Option<RefreshTrigger>,
    faults: Faults,
}

impl Setup {
    pub(crate) fn over(backend: &Backend) -> Self {
        Self::over_url(backend.url())
    }

    pub(crate) fn over_url(backend: String) -> Self {
        Self {
            backend,
            dir: Arc::new(TempDir::with_prefix("phantom-frame-test-").expect("a temporary directory")),
            clock: TestClock::standing(),
            configure: Vec::new(),
            trigger: None,
            faults: Faults::default(),
        }
    }

    /// Changes settings; may be called again.
    #[must_use]
    pub(crate) fn with(self, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        let change = Arc::new(change);
        self.configured(move |config| {
            let change = change.clone();
            config.with(|settings| change(settings))
        })
    }

    #[must_use]
    pub(crate) fn configured(
        mut self,
        change: impl Fn(CreateProxyConfig) -> CreateProxyConfig + Send + Sync + 'static,
    ) -> Self {
        self.configure.push(Arc::new(change));
        self
    }

    #[must_use]
    pub(crate) fn key_fn(self, f: fn(&RequestInfo<'_>) -> String) -> Self {
        self.configured(move |config| config.with_cache_key_fn(f))
    }

    #[must_use]
    pub(crate) fn clock(mut self, clock: TestClock) -> Self {
        self.clock = clock;
        self
    }

    /// On the directory of another proxy.
    #[must_use]
    pub(crate) fn dir_of(mut self, other: &Proxy) -> Self {
        self.dir = other.setup.dir.clone();
        self
    }

    #[must_use]
    pub(crate) fn trigger(mut self, trigger: RefreshTrigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The snapshot directory, which exists once a proxy has been started.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    fn config(&self) -> CreateProxyConfig {
        let config = CreateProxyConfig::new(self.backend.clone())
            .with_snapshot_dir(self.snapshots())
            .with_clock(self.clock.of_proxy())
            .with_disk_faults(self.faults.plan())
            // What is done behind the answers would be in the way of who counts files and their operations.
            .with(|settings| settings.compress = Vec::new());
        let config = match memory_limit() {
            Some(limit) => config.with(|settings| settings.memory_limit = limit),
            None => config,
        };
        self.configure
            .iter()
            .fold(config, |config, change| change(config))
    }

    fn open(&self) -> Result<Engine, Error> {
        let config = self.config();
        match &self.trigger {
            Some(trigger) => Engine::with_trigger(config, trigger.clone()),
            None => Engine::new(config),
        }
    }

    pub(crate) async fn start(self) -> Proxy {
        match self.try_start().await {
            Ok(proxy) => proxy,
            Err(error) => panic!("the proxy does not start: {error:?}"),
        }
    }

    pub(crate) async fn try_start(self) -> Result<Proxy, Error> {
        let running = Running::start(self.open()?).await;
        Ok(Proxy {
            setup: self,
            running: Some(running),
        })
    }
}

/// `PHANTOM_TEST_MEMORY`, in bytes, for every proxy whose test says nothing of `memory_limit`: with 0, bodies come
/// from the files alone, and nothing else is different.
pub(crate) fn memory_limit() -> Option<u64> {
    let limit = std::env::var("PHANTOM_TEST_MEMORY").ok()?;
    Some(limit.parse().expect("PHANTOM_TEST_MEMORY is a number of bytes"))
}

/// A server over any router.
pub(crate) struct Serving {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    pub(crate) async fn start(router: Router) -> Self {
        Self::over(|listener| Server::new(listener, router, ServerLimits::default())).await
    }

    async fn over(server: impl FnOnce(TcpListener) -> Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("the proxy's address");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server(listener);
        let task = tokio::spawn(async move {
            let shutdown = async move {
                // Stopped either way, told or dropped.
                let _ = stopped.await;
            };
            server.run(shutdown).await;
        });
        Self { addr, stop, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        within("the server to drain", self.task)
            .await
            .expect("the server's task");
    }
}

struct Running {
    proxy: Engine,
    serving: Serving,
}

impl Running {
    /// As the program serves it, without a router.
    async fn start(proxy: Engine) -> Self {
        let handler = {
            let proxy = proxy.clone();
            move |request| proxy.answer(request)
        };
        let server = |listener| Server::with_handler(listener, handler, ServerLimits::default());
        let serving = Serving::over(server).await;
        Self { proxy, serving }
    }
}

/// See the module.
pub(crate) struct Proxy {
    setup: Setup,
    running: Option<Running>,
}

impl Proxy {
    /// With default settings.
    pub(crate) async fn start(backend: &Backend) -> Self {
        Setup::over(backend).start().await
    }

    pub(crate) async fn with(
        backend: &Backend,
        change: impl Fn(&mut Settings) + Send + Sync + 'static,
    ) -> Self {
        Setup::over(backend).with(change).start().await
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the proxy runs")
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running().serving.addr
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.addr())
    }

    /// The service itself, past the socket.
    pub(crate) fn router(&self) -> Router {
        self.running().proxy.router()
    }

    pub(crate) async fn get(&self, target: &str) -> Response {
        self.client().get(target).await
    }

    pub(crate) async fn send(&self, request: Request) -> Response {
        self.client().send(request).await
    }

    /// The proxy, as the program that holds it has it.
    pub(crate) fn engine(&self) -> Engine {
        self.running().proxy.clone()
    }

    pub(crate) fn trigger(&self) -> RefreshTrigger {
        self.running().proxy.trigger()
    }

    pub(crate) fn statistics(&self) -> phantom_frame::Statistics {
        self.running().proxy.statistics()
    }

    pub(crate) fn clock(&self) -> &TestClock {
        &self.setup.clock
    }

    /// The proxy's own settings, for a command beside it or after it.
    pub(crate) fn config(&self) -> CreateProxyConfig {
        self.setup.config()
    }

    /// What a command makes of the directory, beside the proxy or after it, by the proxy's own settings.
    pub(crate) async fn artefact<T: Send + 'static>(
        &self,
        command: impl FnOnce(Artefact) -> T + Send + 'static,
    ) -> T {
        let artefact = Artefact::open(&self.setup.config()).expect("the directory");
        let done = tokio::task::spawn_blocking(move || command(artefact)).await;
        done.expect("the command")
    }

    /// How a request is answered, by a command beside the proxy with its settings.
    pub(crate) async fn explain(&self, question: &Question) -> Explained {
        let explained = within("an explanation", explain(&self.setup.config(), question)).await;
        explained.expect("an explanation")
    }

    /// How many renderings are stored, as the proxy counts them.
    pub(crate) fn stored(&self) -> usize {
        self.running().proxy.snapshot_count()
    }

    /// Waits until the directory is watched and has been read through.
    pub(crate) async fn until_ready(&self) {
        let is_ready = async || self.running().proxy.is_ready().then_some(());
        eventually("the directory to be read", is_ready).await;
    }

    /// Bytes of bodies in memory, as the proxy counts them.
    pub(crate) fn body_memory(&self) -> u64 {
        self.running().proxy.body_memory()
    }

    /// How many answers had this reason not to be stored.
    pub(crate) fn counted(&self, reason: Reason) -> u64 {
        let reasons = self.running().proxy.statistics().reasons;
        reasons.get(&reason).copied().unwrap_or(0)
    }

    /// What the directory takes on disk, in bytes, as `du` sees it, the proxy's own folder included.
    pub(crate) fn disk_usage(&self) -> u64 {
        disk_usage(&self.dir())
    }

    pub(crate) fn faults(&self) -> Faults {
        self.setup.faults()
    }

    /// Stops in good order; the directory stays.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.serving.stop().await;
            let done = running.proxy.shut_down(DEADLINE).await;
            assert!(done, "the proxy did not finish in {DEADLINE:?}");
            drop(running.proxy);
            self.lock_is_free().await;
        }
    }

    /// The store ends with its last job, a moment after its proxy; unless somebody else has the lock.
    async fn lock_is_free(&self) {
        for _ in 0..200 {
            let lock = fs::File::open(self.dir().join(".phantom/lock"));
            if lock.is_err() || lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The directory is another process' for as long as the file lives. This one's proxy is stopped; its store ends with
    /// its last job.
    pub(crate) async fn take_lock(&self) -> fs::File {
        let lock = fs::File::options()
            .read(true)
            .write(true)
            .open(self.dir().join(".phantom/lock"))
            .expect("the lock's file");
        eventually("the lock to be free", async || lock.try_lock().ok()).await;
        lock
    }

    /// Starts again on the same directory.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.running.is_none(), "the proxy still runs");
        let proxy = match self.setup.open() {
            Ok(proxy) => proxy,
            Err(error) => panic!("the proxy does not start again: {error:?}"),
        };
        self.running = Some(Running::start(proxy).await);
    }

    /// Stops and starts again on the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Leaves invalidations in the log (`delete /a`, `stale /b`), as a process does that died as soon as they were in
    /// force: of a minute from now, which is later than any file.
    pub(crate) fn leave_in_log(&self, invalidations: &[&str]) {
        let later = unix_seconds(SystemTime::now()) + 60;
        let lines = invalidations
            .iter()
            .map(|line| format!("{later}000000000 {line}\n"));
        let log = self.dir().join(".phantom/invalidations");
        fs::write(log, lines.collect::<String>()).expect("the log");
    }

    /// Of some paths, each stored without variants, these alone are gone, from the directory and for visitors.
    pub(crate) async fn assert_gone(&self, paths: &[&str], gone: &[&str], what: &str) {
        assert_eq!(self.pages().len(), 2 * (paths.len() - gone.len()), "{what}");
        for path in paths {
            let hit = self.get(path).await.cache().hit;
            assert_eq!(hit, !gone.contains(path), "{path} after {what}");
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.setup.snapshots()
    }

    /// The files of the tree, as relative paths and sorted, without the proxy's own folder.
    pub(crate) fn files(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }

    /// As [`files`](Self::files), with what is in them.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        walk(&self.dir(), "", &mut found);
        found
    }

    /// Every file there is that holds this, the proxy's own folder included, by name or by content.
    pub(crate) fn files_with(&self, needle: &str) -> Vec<String> {
        files_with(&self.dir(), needle)
    }

    /// The snapshots' files: without the directory's marker and git's.
    pub(crate) fn pages(&self) -> Vec<String> {
        let mut files = self.files();
        files.retain(|file| file.contains('/') || file.matches('.').count() >= 2);
        files
    }

    /// The one sidecar whose path starts with `stem`, and its text.
    #[track_caller]
    pub(crate) fn sidecar(&self, stem: &str) -> (PathBuf, String) {
        let path = self.only_file(stem, |file| file.ends_with(".toml"));
        let text = fs::read_to_string(&path).expect("the sidecar");
        (path, text)
    }

    /// The one body file whose path starts with `stem`.
    #[track_caller]
    pub(crate) fn body_file(&self, stem: &str) -> PathBuf {
        self.only_file(stem, |file| !file.ends_with(".toml"))
    }

    #[track_caller]
    fn only_file(&self, stem: &str, kind: impl Fn(&str) -> bool) -> PathBuf {
        let found: Vec<_> = self
            .pages()
            .into_iter()
            .filter(|file| file.starts_with(stem) && kind(file))
            .collect();
        match found.as_slice() {
            [one] => self.dir().join(one),
            _ => panic!(
                "expected one file at {stem}…, found {found:?} among {:?}",
                self.files()
            ),
        }
    }

    /// Fetches `target` twice: a stored miss and a hit. What other tests take for granted.
    #[track_caller]
    pub(crate) fn warm(&self, target: &str) -> impl Future<Output = Response> {
        let caller = std::panic::Location::caller();
        let client = self.client();
        let target = target.to_owned();
        async move {
            let miss = client.get(&target).await;
            assert!(
                miss.cache().stored,
                "{target} should be stored first (at {caller}): {miss:?}"
            );
            let hit = client.get(&target).await;
            assert!(
                hit.cache().hit,
                "{target} should be a hit then (at {caller}): {hit:?}"
            );
            assert_eq!(hit.body, miss.body, "the hit's body (at {caller})");
            hit
        }
    }
}

fn disk_usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // What goes while we look takes nothing.
    let own = fs::symlink_metadata(path).map_or(0, |file| file.blocks() * 512);
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

/// As [`Proxy::files_with`], in any directory.
pub(crate) fn files_with(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let content = match is_folder {
                true => Vec::new(),
                false => fs::read(&path).unwrap_or_default(),
            };
            if [name.as_encoded_bytes(), &content]
                .iter()
                .any(|text| memchr::memmem::find(text, needle.as_bytes()).is_some())
            {
                found.push(path.display().to_string());
            }
            if is_folder {
                folders.push(path);
            }
        }
    }
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefix.is_empty() && (name == ".phantom" || name == ".git") {
            continue;
        }
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &format!("{path}/"), found),
            // Reading a pipe would never end.
            Ok(kind) if !kind.is_file() => {
                found.insert(path, Vec::new());
            }
            // A file that goes while we look is not there.
            Ok(_) => {
                if let Ok(bytes) = fs::read(entry.path()) {
                    found.insert(path, bytes);
                }
            }
            Err(_) => {}
        }
    }
}
