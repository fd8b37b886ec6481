//! Renditions: what a fill would bring, and what would become of it; nothing is stored.
//!
//! A rendition goes the road of a visit up to the store, which its engine does not have: so it has the key, the
//! rules and the request that a fill has, and its answer is judged by the same functions.

#![cfg_attr(
    not(feature = "cli"),
    expect(dead_code, reason = "only commands look without storing")
)]

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;

use crate::head::{Seal, StoredHead};
use crate::key::Key;
use crate::outcome::{Outcome, Reason};
use crate::policy::markup::Scanner;
use crate::policy::store::{Storable, may_store, stored_head};
use crate::proxy::Engine;
use crate::proxy::order::{Address, unasked};
use crate::proxy::respond::Verdict;
use crate::proxy::visit::{Learnt, Visit};

/// As whom a page is looked at, and how much of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// What a visitor sends.
    pub(crate) fields: HeaderMap,
    /// By which the page is known to vary.
    pub(crate) names: Vec<HeaderName>,
    /// Bytes of the body that are kept; a longer one is told by length and seal alone.
    pub(crate) limit: usize,
}

/// What would become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    Snapshot,
    /// 404 or 410.
    Missing,
    Not(Reason),
    /// No answer, a server error, or a body that did not come to its end.
    Failed(Reason),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) decided: Decided,
    /// Nothing where there was no answer.
    pub(crate) status: Option<StatusCode>,
    /// As they came.
    pub(crate) headers: HeaderMap,
    /// As it would be stored, whether it would be or not.
    pub(crate) head: Option<StoredHead>,
    /// What would select it among the key's renderings.
    pub(crate) varies_by: Vec<HeaderName>,
    /// Nothing where it was not asked for.
    pub(crate) key: Option<Key>,
    /// Nothing where it was longer than the limit, or not read.
    pub(crate) body: Option<Bytes>,
    /// Of what was read.
    pub(crate) length: u64,
    pub(crate) seal: Seal,
    /// From the request to the last byte.
    pub(crate) took: Duration,
}

impl Rendition {
    fn nothing(decided: Decided) -> Self {
        Self {
            decided,
            status: None,
            headers: HeaderMap::new(),
            head: None,
            varies_by: Vec::new(),
            key: None,
            body: None,
            length: 0,
            seal: Seal::of(b""),
            took: Duration::ZERO,
        }
    }

    /// Whether the backend was asked.
    pub(crate) fn was_asked(&self) -> bool {
        self.status.is_some() || self.key.is_some()
    }

    /// As the backend said it.
    pub(crate) fn retry_after(&self) -> Option<&HeaderValue> {
        self.headers.get(header::RETRY_AFTER)
    }
}

/// A rendition, on its visit.
#[derive(Clone)]
pub(super) struct Look {
    sight: Arc<Sight>,
    seen: Arc<Mutex<Option<Rendition>>>,
}

impl Look {
    fn seen(&self) -> MutexGuard<'_, Option<Rendition>> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn is_looked_at(request: &Request<Body>) -> bool {
    request.extensions().get::<Look>().is_some()
}

/// A body as far as it was read.
struct Read {
    body: Option<Bytes>,
    length: u64,
    seal: Seal,
    /// What it showed that its head did not.
    verdict: Option<Decided>,
}

impl Engine {
    /// Has a page rendered, and keeps nothing of it.
    pub(crate) async fn render(self: Arc<Self>, address: &Address, sight: Sight) -> Rendition {
        let look = Look {
            sight: Arc::new(sight),
            seen: Arc::default(),
        };
        let fields = look.sight.fields.clone();
        let visit = Arc::clone(&self).carry_out(address, &fields, look.clone());
        let answer = AssertUnwindSafe(visit).catch_unwind().await;
        let seen = look.seen().take();
        seen.unwrap_or_else(|| {
            Rendition::nothing(match answer {
                Ok((_, verdict)) => match (verdict.outcome, verdict.reason) {
                    (Outcome::Refused | Outcome::Failed, reason) => {
                        Decided::Failed(reason.unwrap_or(Reason::BadRequest))
                    }
                    (_, reason) => Decided::Not(reason.unwrap_or(Reason::Key)),
                },
                Err(_panic) => Decided::Failed(Reason::Panic),
            })
        })
    }

    /// In the place of a lookup and a fill.
    pub(super) async fn look_at(&self, visit: &Arc<Visit>) -> (Response<Body>, Verdict) {
        let Some(look) = visit.parts.extensions.get::<Look>() else {
            return unasked(Reason::Disk);
        };
        let learnt = Learnt {
            names: look.sight.names.clone(),
            ..Learnt::default()
        };
        let request = match self.fill_request(visit, &learnt).await {
            Ok(request) => request,
            Err(reason) => return unasked(reason),
        };
        let mut ask = Request::new(Body::empty());
        *ask.headers_mut() = request.headers.clone();
        *ask.uri_mut() = Uri::from(request.target.clone());
        let begun = Instant::now();
        let mut rendition = Rendition {
            key: Some(visit.key.clone()),
            ..Rendition::nothing(Decided::Failed(Reason::Unreachable))
        };
        match self.upstream.fetch(ask).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let now = self.clock.now();
                let rules = &visit.rules.store;
                let verdict = may_store(parts.status, &parts.headers, &visit.asked(&request, now), rules);
                let (decided, names) = decided(parts.status, verdict);
                rendition.head = Some(stored_head(parts.status, &parts.headers, now, rules));
                let limits = (look.sight.limit, rules.max_body);
                let read = read(&parts.headers, body, (decided, limits)).await;
                rendition.decided = read.verdict.unwrap_or(decided);
                rendition.varies_by = names;
                rendition.status = Some(parts.status);
                rendition.headers = parts.headers;
                (rendition.body, rendition.length, rendition.seal) = (read.body, read.length, read.seal);
            }
            Err(error) => {
                self.backend_failed(visit.key.line(), &error);
                rendition.decided = Decided::Failed(error.reason());
            }
        }
        rendition.took = begun.elapsed();
        *look.seen() = Some(rendition);
        unasked(Reason::Disk)
    }
}

fn decided(status: StatusCode, verdict: Storable) -> (Decided, Vec<HeaderName>) {
    let is_missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    match verdict {
        // A filter may name methods and paths, never a status; an error that says how long it is one is stored.
        Storable::Snapshot(names) if !status.is_server_error() => (Decided::Snapshot, names),
        Storable::Memory(names, _) => (Decided::Missing, names),
        Storable::No(_) if is_missing => (Decided::Missing, Vec::new()),
        Storable::Snapshot(names) => (Decided::Failed(Reason::ServerError), names),
        Storable::No(_) if status.is_server_error() => (Decided::Failed(Reason::ServerError), Vec::new()),
        Storable::No(reason) => (Decided::Not(reason), Vec::new()),
    }
}

/// Reads what would be stored to its end, and of anything else no more than is wanted: it may have no end.
async fn read(headers: &HeaderMap, mut body: Body, (decided, (limit, max)): (Decided, (usize, u64))) -> Read {
    let mut scanner = Scanner::for_response(headers);
    let (mut kept, mut hasher, mut length) = (Some(BytesMut::new()), blake3::Hasher::new(), 0u64);
    let mut verdict = None;
    let is_kept = decided == Decided::Snapshot;
    let most = match is_kept {
        true => max,
        false => (limit as u64).min(max),
    };
    if decided == Decided::Not(Reason::ContentType) {
        kept = None;
        body = Body::empty();
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            verdict = Some(Decided::Failed(Reason::Incomplete));
            break;
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        hasher.update(&data);
        let found = scanner.as_mut().and_then(|scanner| scanner.read(&data));
        if let Some(reason) = found.filter(|_| is_kept && verdict.is_none()) {
            verdict = Some(Decided::Not(reason));
        }
        kept = kept.filter(|kept| kept.len() + data.len() <= limit);
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&data);
        }
        if length > most {
            let too_large = Decided::Not(Reason::TooLarge);
            verdict = verdict.or(is_kept.then_some(too_large));
            break;
        }
    }
    Read {
        body: kept.map(BytesMut::freeze),
        length,
        seal: Seal(hasher.finalize()),
        verdict,
    }
}
