//! [`Proxy`]: a proxy as a program holds it.

mod backend;
#[cfg(feature = "cli")]
mod onlooker;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tokio::sync::Semaphore;

use crate::config::check::{self, SiteRules};
use crate::config::{CreateProxyConfig, Scope};
use crate::error::Error;
use crate::flight::FlightTable;
use crate::invalidate::{RefreshTrigger, Target};
use crate::outcome::Reason;
use crate::pattern::KeyPattern;
use crate::proxy::frozen::{self, Directory};
use crate::proxy::invalidation::StoreTarget;
use crate::proxy::memory::Memory;
use crate::proxy::order::{Address, Ordered};
use crate::proxy::refresh::Renewals;
use crate::proxy::respond::refusal;
use crate::proxy::stale::Pauses;
use crate::proxy::tally::{Statistics, Tally};
use crate::proxy::visit::may_write;
use crate::proxy::{Engine, Trace, Via, Waits};
use crate::snapshot::{Frozen, Marked, Matching, Store, StoreOptions};
use crate::throttle::Throttle;
use crate::token::TokenHash;
use crate::upstream::Upstream;

pub(crate) use backend::{http_backend, in_process_backend};

/// A proxy: its router, its trigger, its statistics, and its end.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use phantom_frame::{CreateProxyConfig, Proxy};
///
/// let proxy = Proxy::new(CreateProxyConfig::new("http://localhost:8080".into()))?;
/// let app = proxy.router();
/// proxy.trigger().refresh().await?;
/// proxy.shut_down(std::time::Duration::from_secs(10)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Proxy {
    engine: Arc<Engine>,
    trigger: RefreshTrigger,
    /// What the trigger drives; it lives as long as the proxy.
    target: Option<Arc<dyn Target>>,
    max_fills: u32,
}

impl Proxy {
    /// A proxy in front of `proxy_url`. Works outside a runtime.
    ///
    /// # Errors
    /// A setting that cannot work, or a snapshot directory that cannot be used.
    pub fn new(config: CreateProxyConfig) -> Result<Self, Error> {
        Self::with_trigger(config, RefreshTrigger::new())
    }

    /// As [`new`](Self::new), driven by an existing trigger.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_trigger(config: CreateProxyConfig, trigger: RefreshTrigger) -> Result<Self, Error> {
        let upstream = http_backend(&config)?;
        Self::build(&config, upstream, trigger)
    }

    /// A proxy in front of a router in this process: its handlers' responses are cached without a TCP
    /// hop. `proxy_url` is not used.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_process(router: Router, config: CreateProxyConfig) -> Result<Self, Error> {
        Self::in_process_with_trigger(router, config, RefreshTrigger::new())
    }

    /// As [`in_process`](Self::in_process), driven by an existing trigger.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_process_with_trigger(
        router: Router,
        config: CreateProxyConfig,
        trigger: RefreshTrigger,
    ) -> Result<Self, Error> {
        Self::build(&config, in_process_backend(router, &config), trigger)
    }

    /// In front of this backend.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn over(config: &CreateProxyConfig, upstream: Upstream) -> Result<Self, Error> {
        Self::build(config, upstream, RefreshTrigger::new())
    }

    fn build(config: &CreateProxyConfig, upstream: Upstream, trigger: RefreshTrigger) -> Result<Self, Error> {
        let rules = check::rule_book(config)?;
        let settings = &config.settings;
        let options = StoreOptions {
            dir: settings.snapshot_dir.clone(),
            site: check::site_name(settings),
            backend: upstream.identity(),
            durability: settings.durability,
            bounds: check::bounds(settings, &rules),
            pinned: check::pinned(settings)?,
            memory_bytes: settings.memory_limit,
            clock: config.clock.clone(),
            faults: config.disk_faults.clone(),
            seen: Arc::default(),
        };
        let kept = match settings.frozen {
            true => Directory::Shown(Arc::new(Frozen::open(options)?)),
            false => Directory::Kept(Store::open(options)?),
        };
        let via = kept.id().unwrap_or_else(|| upstream.identity());
        Ok(Self::assemble(config, rules, upstream, (kept, &via), trigger))
    }

    fn assemble(
        config: &CreateProxyConfig,
        rules: check::RuleBook,
        upstream: Upstream,
        (directory, via): (Directory, &str),
        trigger: RefreshTrigger,
    ) -> Self {
        let settings = &config.settings;
        let (store, frozen) = directory.into_parts();
        let flights = Arc::new(FlightTable::default());
        let memory = Arc::new(Memory::new(check::whole_seconds(settings.pass_ttl)));
        let target = store.clone().map(|store| {
            let target: Arc<dyn Target> = Arc::new(StoreTarget::new(store, &flights, &memory));
            trigger.attach(&target);
            target
        });
        let max_fills = u32::try_from(settings.max_fills.clamp(1, 1 << 20)).unwrap_or(1);
        let engine = Engine {
            rules,
            via: Via::new(via),
            upstream,
            store,
            frozen,
            debug: settings
                .debug_token
                .as_ref()
                .map(|token| TokenHash::of(token.expose().as_bytes())),
            flights,
            memory,
            clock: config.clock.clone(),
            tally: Tally::default(),
            fills: Arc::new(Semaphore::new(max_fills as usize)),
            renewals: Renewals::default(),
            pauses: Pauses::default(),
            waits: Waits {
                fill: settings.fill_timeout,
                // As long as a visitor would wait for a head and a piece of the body.
                renewal: settings
                    .fill_timeout
                    .max(settings.response_timeout.saturating_add(settings.body_timeout)),
                body: settings.body_timeout,
                tunnel: settings.tunnel_timeout,
            },
            disk_trouble: Throttle::default(),
            backend_trouble: Throttle::default(),
        };
        Self {
            engine: Arc::new(engine),
            trigger,
            target,
            max_fills,
        }
    }

    /// The proxy as a router; it takes every path and method, so it nests and serves as a fallback.
    pub fn router(&self) -> Router {
        let proxy = Arc::new(self.clone());
        Router::new().fallback(move |request: Request<Body>| proxy.answer(request))
    }

    /// Answers one request, as the [`router`](Self::router) does: for a [`Server`](crate::server::Server) that has
    /// nothing to route.
    pub fn answer(
        &self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let trace = Trace::asked_for(&mut request, self.engine.debug.as_ref());
        Arc::clone(&self.engine).handle(request, trace)
    }

    /// As [`answer`](Self::answer), with what is decided on the way.
    pub(crate) fn answer_traced(
        &self,
        mut request: Request<Body>,
    ) -> (
        Trace,
        impl Future<Output = Response<Body>> + Send + 'static + use<>,
    ) {
        Trace::asked_for(&mut request, None);
        let trace = Trace::listening();
        let answer = Arc::clone(&self.engine).handle(request, trace.clone());
        (trace, answer)
    }

    #[cfg(test)]
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Has a page rendered, unless it need not be; with so many bytes of its body at most.
    pub(crate) async fn order(&self, address: &Address, wanted: (Scope, usize)) -> Ordered {
        Arc::clone(&self.engine).order(address, wanted).await
    }

    /// Whether what is stored is all there is.
    pub(crate) fn is_frozen(&self) -> bool {
        self.engine.frozen.is_some()
    }

    /// Under which address the site is seen, and what tells its backend from another.
    pub(crate) fn site(&self) -> (&SiteRules, String) {
        (&self.engine.rules.general().site, self.engine.upstream.identity())
    }

    /// What is stored and matches, as far as the directory has been read through.
    pub(crate) fn matching(&self, pattern: &KeyPattern) -> Vec<Matching> {
        self.engine
            .store
            .as_ref()
            .map_or_else(Vec::new, |store| store.found_by(pattern))
    }

    /// Fills that were begun before this commit nothing that matches.
    pub(crate) fn overtake(&self, patterns: &Arc<[KeyPattern]>) {
        if let Some(store) = &self.engine.store {
            store.overtake(patterns);
        }
    }

    /// Has these keys be validated before they are used again. Waits for the disk.
    ///
    /// # Errors
    /// The disk refuses one; all are marked in memory.
    pub(crate) fn mark_to_validate(&self, keys: &[(Box<str>, Marked)]) -> io::Result<()> {
        let Some(store) = &self.engine.store else {
            return Ok(());
        };
        let marked = keys
            .iter()
            .map(|(key, marked)| store.mark_to_validate(key, *marked));
        marked.fold(Ok(()), io::Result::and)
    }

    /// Whether this process writes the directory, as far as it knows.
    pub(crate) fn is_writer(&self) -> bool {
        self.engine
            .store
            .as_ref()
            .is_some_and(|store| store.is_writable())
    }

    /// Whether this process writes the directory. May wait for the disk.
    pub(crate) async fn may_write(&self) -> bool {
        match &self.engine.store {
            Some(store) if !self.is_frozen() => may_write(store).await,
            _ => false,
        }
    }

    /// What invalidates this proxy's snapshots.
    pub fn trigger(&self) -> RefreshTrigger {
        self.trigger.clone()
    }

    /// Requests so far.
    pub fn statistics(&self) -> Statistics {
        self.engine.tally.statistics()
    }

    /// How many responses are stored, as far as the directory has been read through.
    pub fn snapshot_count(&self) -> usize {
        self.engine.store.as_ref().map_or(0, |store| store.count())
    }

    /// How many bytes of bodies are in memory: those that are held in front of the files (`memory_limit`), and
    /// those that are still being sent.
    pub fn body_memory(&self) -> u64 {
        self.engine
            .store
            .as_ref()
            .map_or(0, |store| store.hot().bytes_in_hand())
    }

    /// What is stored, as invalidation patterns see it (`GET:/path?query`, or what a key function
    /// returned), sorted, as far as the directory has been read through.
    pub fn stored_keys(&self) -> Vec<String> {
        self.engine
            .store
            .as_ref()
            .map_or_else(Vec::new, |store| store.lines())
    }

    /// Whether the directory has been read through since the start. Serving does not wait for it, and where it is
    /// frozen nothing does.
    pub fn is_ready(&self) -> bool {
        let is_scanned = |store: &Arc<Store>| store.is_scanned();
        self.is_frozen() || self.engine.store.as_ref().is_none_or(is_scanned)
    }

    /// The snapshot directory; `None` where none can be used.
    pub fn snapshot_dir(&self) -> Option<&Path> {
        self.engine.store.as_ref().map(|store| store.root())
    }

    /// Waits until the fills under way are done and invalidated files are gone, at most for `patience`.
    /// Says whether all was done. Stop the server first: requests that come meanwhile begin no fill, and
    /// pass.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        let finish = async {
            let all = self.engine.fills.acquire_many(self.max_fills).await;
            if let Some(store) = &self.engine.store {
                // A store that is gone has nothing left to do.
                let _ = store.barrier().await;
            }
            drop(all);
        };
        tokio::time::timeout(patience, finish).await.is_ok()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("backend", &self.engine.upstream.identity())
            .field("snapshot_dir", &self.snapshot_dir())
            .field("is_driven", &self.target.is_some())
            .finish_non_exhaustive()
    }
}

/// The router of a proxy, or of one that stores nothing where the configuration cannot work as a whole,
/// or of one that can only say so.
pub(crate) fn or_uncached(
    config: &CreateProxyConfig,
    upstream: Result<Upstream, Error>,
    trigger: RefreshTrigger,
) -> Router {
    let upstream = match upstream {
        Ok(upstream) => upstream,
        Err(error) => {
            tracing::error!(error = %crate::error::chain(&error), "the backend cannot be proxied");
            return Router::new().fallback(|request: Request<Body>| async move {
                refusal(Reason::Unreachable, request.method())
            });
        }
    };
    match Proxy::build(config, upstream.clone(), trigger.clone()) {
        Ok(proxy) => proxy.router(),
        Err(error) if config.settings.frozen => {
            tracing::error!(error = %crate::error::chain(&error), "nothing can be shown");
            Router::new().fallback(|request: Request<Body>| async move { frozen::nothing(&request) })
        }
        Err(error) => {
            tracing::error!(error = %crate::error::chain(&error), "nothing is stored");
            let rules =
                check::rule_book(config).unwrap_or_else(|_| check::RuleBook::restricted(&config.settings));
            let identity = upstream.identity();
            Proxy::assemble(config, rules, upstream, (Directory::Unusable, &identity), trigger).router()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_no_room_for_what_a_hit_does_not_do() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = CreateProxyConfig::new("http://127.0.0.1:9".into());
        config.settings.snapshot_dir = directory.path().to_owned();
        let proxy = Proxy::new(config).unwrap();
        let size = size_of_val(&proxy.answer(Request::new(Body::empty())));
        assert!(size < 8 << 10, "{size} bytes are moved for each request");
    }
}
