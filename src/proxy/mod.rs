//! The story of a request.
//!
//! [`Engine::answer`] reads the target, asks `policy::request` for the road, and takes it: a refusal, a
//! tunnel, a pass, or a lookup (`visit`), which ends in a hit or in a fill (`fill`) that everyone who
//! asks meanwhile shares.

mod fill;
mod found;
mod freshen;
mod frozen;
mod give_up;
mod handle;
mod intake;
mod invalidation;
mod memory;
mod order;
mod pass;
mod recall;
mod refresh;
mod rendition;
mod respond;
mod seat;
mod share;
mod stale;
mod tally;
mod target;
mod teller;
mod trace;
mod visit;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::check::{RuleBook, Rules};
use crate::flight::FlightTable;
use crate::headers::list_values;
use crate::outcome::Reason;
use crate::policy::identity::Identity;
use crate::policy::request::{BodyPresence, Facts, Route, route};
use crate::snapshot::{Frozen, Store};
use crate::throttle::Throttle;
use crate::token::TokenHash;
use crate::upstream::Upstream;

pub use handle::Proxy;
pub(crate) use handle::{http_backend, in_process_backend, or_uncached};
use memory::Memory;
pub use order::Became;
pub(crate) use order::{Address, Ordered};
use refresh::Renewals;
#[cfg(feature = "cli")]
pub(crate) use rendition::{Decided, Rendition, Sight};
use respond::{Verdict, refusal};
use stale::Pauses;
pub use tally::Statistics;
use tally::Tally;
pub(crate) use target::Target;
pub(crate) use trace::Trace;

/// Everything that answering a request takes.
pub(crate) struct Engine {
    rules: RuleBook,
    upstream: Upstream,
    /// `None`: the directory cannot be used, and nothing is stored.
    store: Option<Arc<Store>>,
    /// Set: nothing but what is stored is served.
    frozen: Option<Arc<Frozen>>,
    flights: Arc<FlightTable>,
    memory: Arc<Memory>,
    clock: Clock,
    tally: Tally,
    /// One permit for each fill under way.
    fills: Arc<Semaphore>,
    renewals: Renewals,
    pauses: Pauses,
    waits: Waits,
    via: Via,
    /// Who is told what is decided about a request.
    debug: Option<TokenHash>,
    disk_trouble: Throttle,
    backend_trouble: Throttle,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// Nobody reads a fill.
    fill: Duration,
    /// A fill that nobody reads because it is a renewal.
    renewal: Duration,
    /// A reader takes nothing.
    body: Duration,
    /// A tunnel is silent.
    tunnel: Duration,
}

/// Our element of `Via` (RFC 9110 §7.6.3).
struct Via {
    value: HeaderValue,
    pseudonym: String,
}

impl Via {
    /// Named after the snapshot directory: only a loop meets it again, and it is the same at every start,
    /// so that a page that echoes it stays the same.
    fn new(directory: &str) -> Self {
        let mut name = blake3::hash(directory.as_bytes()).to_hex().to_string();
        name.truncate(8);
        let pseudonym = format!("phantom-frame-{name}");
        let value = HeaderValue::from_str(&format!("1.1 {pseudonym}"));
        Self {
            value: value.unwrap_or(HeaderValue::from_static("1.1 phantom-frame")),
            pseudonym,
        }
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        list_values(headers, &header::VIA)
            .filter_map(|element| element.split_ascii_whitespace().nth(1))
            .any(|name| name == self.pseudonym)
    }
}

impl Engine {
    /// Says each failure at debug, and once a minute that there are some: under load an outage would fill the log.
    fn backend_failed(&self, asked: &str, error: &(dyn std::error::Error + 'static)) {
        let error = crate::error::chain(error);
        tracing::debug!(asked, error, "the backend gave no whole answer");
        self.backend_trouble.say(|| {
            tracing::warn!(
                asked,
                error,
                "the backend gives no whole answers; further ones are said at debug"
            );
        });
    }

    /// Answers a request, and says in the response, the statistics and the log how.
    async fn handle(self: Arc<Self>, mut request: Request<Body>, trace: Trace) -> Response<Body> {
        let started = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let version = request.version();
        // RFC 9110 §7.8: in HTTP/1.0 it means nothing.
        if version < Version::HTTP_11 {
            request.headers_mut().remove(header::UPGRADE);
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let rules = Arc::clone(self.rules.of(method.as_str(), uri.path()));
        // What panics is the application's: a key function, a clock. It costs this request, whoever serves.
        // Made where it is awaited: a future that is moved before has its room twice.
        let answer = AssertUnwindSafe(Arc::clone(&self).answer(request, Arc::clone(&rules), trace.clone()))
            .catch_unwind()
            .await;
        let (mut response, verdict) = answer.unwrap_or_else(|_panic| {
            tracing::error!(%method, path = uri.path(), "answering a request panicked");
            self.no_answer(Reason::Panic, &method)
        });
        // What the backend spoke says nothing about what we speak.
        *response.version_mut() = Version::HTTP_11;
        let is_broken = matches!(verdict.reason, Some(Reason::BadRequest | Reason::RequestTimeout));
        // Where one request's end is in doubt, so is the next one's beginning.
        if is_broken && version <= Version::HTTP_11 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        verdict.write_to(response.headers_mut());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            if let Some(source) = verdict.source() {
                let status = response.status();
                rules.response.shape(status, response.headers_mut(), source);
            }
            trace.outcome(&verdict);
            trace.write_to(response.headers_mut());
        }
        self.tally.count(&verdict);
        tracing::debug!(
            %method,
            path = uri.path(),
            rule = %rules.origin,
            outcome = verdict.outcome.as_str(),
            reason = verdict.reason.map(Reason::as_str),
            status = response.status().as_u16(),
            ms = started.map(|started| started.elapsed().as_millis()),
            "request"
        );
        response
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
        rules: Arc<Rules>,
        trace: Trace,
    ) -> (Response<Body>, Verdict) {
        let target = match Target::of(&request, &self.rules.general().site) {
            Ok(target) => target.traced(trace.clone()),
            Err(reason) => return self.refuse(reason, request.method()),
        };
        trace.note(|| trace::target(request.method(), &target));
        trace.note(|| trace::rule(rules.origin));
        let body = if request.body().is_end_stream() {
            BodyPresence::Absent
        } else {
            BodyPresence::Present
        };
        let facts = Facts {
            method: request.method(),
            path: target.path(),
            query: target.query(),
            headers: request.headers(),
            body,
            host: target.standing,
        };
        if let Some(frozen) = self.frozen.clone() {
            let road = frozen::decide(&facts, &rules);
            let (parts, _) = request.into_parts();
            let asked = (parts.method, parts.headers);
            return Box::pin(self.show(frozen, asked, (road, target, rules))).await;
        }
        if self.via.is_in(request.headers()) {
            return self.refuse(Reason::Loop, request.method());
        }
        let route = route(&facts, &rules.request);
        trace.note(|| trace::route(&route, &facts, &rules.request.filters));
        match route {
            Route::Refuse(reason) => self.refuse(reason, request.method()),
            // What is no hit has a box of its own: every request would carry its room along.
            Route::Tunnel => Box::pin(self.tunnel(request, &target)).await,
            Route::Pass(reason) => Box::pin(self.pass(request, &target, reason)).await,
            Route::Somebody(somebody) => {
                if let Identity::Cookie(name) = somebody {
                    self.tally.cookie(name);
                }
                let reason = somebody.reason();
                Box::pin(self.pass(request, &target, reason)).await
            }
            Route::Lookup(included) => self.look_up(request, target, (included, rules)).await,
        }
    }

    fn refuse(&self, reason: Reason, method: &Method) -> (Response<Body>, Verdict) {
        (refusal(reason, method), Verdict::refused(reason))
    }
}
