//! Orders: pages that the operator has rendered, before any visitor asks for them.
//!
//! An order goes the road of a visit, so that the same rules decide what is stored, and as what. It differs in
//! three things. What is stored is used, or asked about, as the order says; a tombstone stays what it is. Nothing passes: what is no fill is not
//! asked for, and neither does the memory of earlier attempts hold it back. And whoever orders gets every answer,
//! because it was rendered for nobody and nobody is who they are.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;

use crate::config::Scope;
use crate::head::{Rendering, RenderingOrigin};
use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::request::{BodyPresence, Facts, Route, route};
use crate::policy::reuse::{Reuse, Standing};
use crate::proxy::Engine;
use crate::proxy::fill::Fill;
use crate::proxy::respond::{Keeping, Verdict};
use crate::proxy::target::Target;
use crate::proxy::visit::{Learnt, Visit, find};
use crate::snapshot::{Lookup, Store};

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Became {
    /// Stored, where nothing was.
    New,
    /// Stored in place of another rendering.
    Changed,
    /// Rendered again, and the same.
    Same,
    /// Stored, and not asked for.
    Kept,
    /// A tombstone, which stays: the backend is not asked.
    Tombstone,
    /// Not stored, by the rules that hold for visitors.
    NotStored(Reason),
    /// The backend says 404 or 410.
    Missing,
    /// No answer, a server error, or one that could not be kept although it should.
    Failed(Reason),
}

impl Became {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Kept => "kept",
            Self::Tombstone => "tombstone",
            Self::NotStored(_) => "not-stored",
            Self::Missing => "missing",
            Self::Failed(_) => "failed",
        }
    }
}

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) scheme: &'static str,
    /// As a visitor sends it in `Host`.
    pub(crate) host: Box<str>,
    pub(crate) target: PathAndQuery,
}

/// An order and what came of it.
pub(crate) struct Ordered {
    pub(crate) became: Became,
    /// What the backend answered, or what of it is stored; nothing where there was no answer.
    pub(crate) status: Option<StatusCode>,
    /// That of the response that the rest is of.
    #[cfg_attr(
        not(feature = "crawl"),
        expect(dead_code, reason = "only what is crawled leads further")
    )]
    pub(crate) response: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Nothing where it was longer than what was asked for.
    #[cfg_attr(
        not(feature = "crawl"),
        expect(dead_code, reason = "only what is crawled leads further")
    )]
    pub(crate) body: Option<Bytes>,
    /// As the backend said it.
    pub(crate) retry_after: Option<HeaderValue>,
    /// Whether the backend was asked.
    pub(crate) was_asked: bool,
}

/// Whether what is stored may be asked about with its validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    Sent,
    LeftOut,
}

/// An order, on its visit.
#[derive(Clone)]
pub(super) struct Order {
    scope: Scope,
    conditions: Conditions,
    /// Bytes of the body that are wanted.
    limit: usize,
    seen: Arc<Mutex<Seen>>,
}

/// What is seen of an order's fill.
#[derive(Default)]
struct Seen {
    status: Option<StatusCode>,
    retry_after: Option<HeaderValue>,
    not_kept: Option<Reason>,
    change: Option<Became>,
    is_broken: bool,
    body: Option<Bytes>,
}

impl Order {
    pub(super) fn sends_conditions(&self) -> bool {
        self.conditions == Conditions::Sent
    }

    /// Whether the operator has seen what comes, and takes it, be it the better page or not.
    pub(super) fn is_accepted(&self) -> bool {
        self.conditions == Conditions::LeftOut
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Has a page rendered, unless it need not be.
    pub(crate) async fn order(self: Arc<Self>, address: &Address, (scope, limit): (Scope, usize)) -> Ordered {
        let order = Order {
            scope,
            conditions: Conditions::Sent,
            limit,
            seen: Arc::default(),
        };
        self.order_as(address, &HeaderMap::new(), order).await
    }

    /// Has the rendering for who sends these fields made and stored anew, whatever is stored.
    #[cfg(feature = "cli")]
    pub(crate) async fn order_anew(self: Arc<Self>, address: &Address, fields: &HeaderMap) -> Ordered {
        let order = Order {
            scope: Scope::All,
            conditions: Conditions::LeftOut,
            limit: 0,
            seen: Arc::default(),
        };
        self.order_as(address, fields, order).await
    }

    async fn order_as(self: Arc<Self>, address: &Address, fields: &HeaderMap, order: Order) -> Ordered {
        let visit = Arc::clone(&self).carry_out(address, fields, order.clone());
        let answer = AssertUnwindSafe(visit).catch_unwind().await;
        let (response, verdict) = answer.unwrap_or_else(|_panic| {
            tracing::error!(path = address.target.path(), "rendering a page panicked");
            self.no_answer(Reason::Panic, &Method::GET)
        });
        let seen = std::mem::take(&mut *order.seen());
        let is_ours = matches!(
            verdict.outcome,
            Outcome::Pass | Outcome::Refused | Outcome::Failed | Outcome::Stale
        );
        let status = seen.status.or((!is_ours).then(|| response.status()));
        let became = became(&verdict, &seen, status);
        tracing::debug!(path = address.target.path(), ?became, "ordered");
        Ordered {
            became,
            status,
            was_asked: seen.status.is_some() || verdict.outcome == Outcome::Failed,
            response: response.status(),
            headers: response.into_parts().0.headers,
            body: seen.body,
            retry_after: seen.retry_after,
        }
    }

    /// Makes the visit of somebody of whom nothing is known but these fields, for `purpose`.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        address: &Address,
        fields: &HeaderMap,
        purpose: impl Clone + Send + Sync + 'static,
    ) -> (Response<Body>, Verdict) {
        let rules = Arc::clone(self.rules.of("GET", address.target.path()));
        let refused = |reason| self.refuse(reason, &Method::GET);
        let Ok(host) = HeaderValue::from_str(&address.host) else {
            return refused(Reason::BadRequest);
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from(address.target.clone());
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        headers.insert(header::ACCEPT, rules.fill.accept.clone());
        // As it is stored, in whatever coding that is.
        let codings = HeaderValue::from_static("identity, *;q=0.1");
        headers.insert(header::ACCEPT_ENCODING, codings);
        headers.extend(fields.clone());
        request.extensions_mut().insert(purpose);
        let target = match Target::of(&request, &self.rules.general().site) {
            Ok(target) => target.seen_by(address.scheme, &self.rules.general().site),
            Err(reason) => return refused(reason),
        };
        let facts = Facts {
            method: request.method(),
            path: target.path(),
            query: target.query(),
            headers: request.headers(),
            body: BodyPresence::Absent,
            host: target.standing,
        };
        match route(&facts, &rules.request) {
            Route::Lookup(included) => self.look_up(request, target, (included, rules)).await,
            Route::Refuse(reason) => refused(reason),
            Route::Pass(reason) => unasked(reason),
            Route::Somebody(somebody) => unasked(somebody.reason()),
            Route::Tunnel => unasked(Reason::Upgrade),
        }
    }
}

/// Makes a visit for an order, to the end of the body, with a look at what is stored before and after.
pub(super) async fn by_order(
    store: &Arc<Store>,
    (visit, order): (&Arc<Visit>, &Order),
    made: impl Future<Output = (Response<Body>, Verdict)>,
) -> (Response<Body>, Verdict) {
    let before = stored(store, visit).await;
    let (response, verdict) = made.await;
    let (parts, body) = response.into_parts();
    // Its last piece waits for the commit.
    let body = read(body, order.limit).await;
    let after = stored(store, visit).await;
    let mut seen = order.seen();
    seen.change = match (before, after) {
        (_, None) => None,
        (_, Some(after)) if after.origin == RenderingOrigin::Operator => Some(Became::Tombstone),
        (None, Some(_)) => Some(Became::New),
        (Some(before), Some(after)) if before == after => Some(Became::Same),
        (Some(_), Some(_)) => Some(Became::Changed),
    };
    match body {
        Ok(body) => seen.body = body,
        Err(Broken) => seen.is_broken = true,
    }
    drop(seen);
    (Response::from_parts(parts, Body::empty()), verdict)
}

impl Visit {
    /// How an order uses a snapshot that it finds, if it does not have the backend asked.
    pub(super) fn choose_by_order(
        &self,
        order: &Order,
        learnt: &mut Learnt,
        (rendering, reuse): (&Rendering, Reuse),
    ) -> Option<Verdict> {
        let standing: Standing = reuse.standing();
        let is_enough = match (order.scope, reuse) {
            _ if rendering.origin == RenderingOrigin::Operator => true,
            (Scope::Missing, _) | (Scope::Stale, Reuse::Fresh(_)) => true,
            (Scope::Stale | Scope::All, _) => learnt.is_settled,
        };
        if !is_enough {
            learnt.demanded = Some(Forward::Request);
        }
        is_enough.then(|| Verdict::hit(&standing))
    }
}

impl Fill {
    /// Tells an order what its fill is answered.
    pub(super) fn show(&self, response: &Response<Body>) {
        if let Some(order) = &self.visit.order {
            let mut seen = order.seen();
            seen.status = Some(response.status());
            seen.retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        }
    }

    /// Counts an answer that could be stored and was not.
    pub(super) fn not_kept(&self, reason: Reason) {
        self.engine.tally.not_kept(reason);
        self.note_for_order(reason);
    }

    /// The same, where the answer itself will say it.
    pub(super) fn note_for_order(&self, reason: Reason) {
        if let Some(order) = &self.visit.order {
            order.seen().not_kept = Some(reason);
        }
    }
}

/// In place of a pass: nobody is asked for what would not be stored.
pub(super) fn unasked(reason: Reason) -> (Response<Body>, Verdict) {
    (Response::new(Body::empty()), Verdict::pass(reason))
}

/// What is stored. An order that looks at a page is no use of it.
pub(super) async fn look(store: &Arc<Store>, visit: &Arc<Visit>) -> Lookup {
    match &visit.order {
        Some(_) => peek(store, visit).await,
        None => find(store, visit).await,
    }
}

async fn peek(store: &Arc<Store>, visit: &Arc<Visit>) -> Lookup {
    if let Some(found) = store.peek_parsed(&visit.key, &|names| visit.select(names)) {
        return found;
    }
    let (in_store, visit) = (Arc::clone(store), Arc::clone(visit));
    let look_up = move || in_store.peek(&visit.key, &|names| visit.select(names));
    store.crew().run(look_up).await.unwrap_or(Lookup::Nothing)
}

async fn stored(store: &Arc<Store>, visit: &Arc<Visit>) -> Option<Rendering> {
    match peek(store, visit).await {
        Lookup::Found(snapshot, _) => Some(snapshot.rendering.clone()),
        Lookup::NoVariant(_) | Lookup::Settling | Lookup::Nothing => None,
    }
}

/// The body did not come to its end.
struct Broken;

/// Takes a body in; of one that is longer than `limit` nothing is kept.
async fn read(mut body: Body, limit: usize) -> Result<Option<Bytes>, Broken> {
    let mut whole = Some(BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Broken)?.into_data() else {
            continue;
        };
        whole = whole.filter(|whole| whole.len() + data.len() <= limit);
        if let Some(whole) = &mut whole {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.map(BytesMut::freeze))
}

fn became(verdict: &Verdict, seen: &Seen, status: Option<StatusCode>) -> Became {
    let reason = verdict.reason.unwrap_or(Reason::Incomplete);
    let is_missing = matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::GONE));
    match verdict.outcome {
        // A visitor's fill that it followed came to that.
        Outcome::Pass
            if matches!(
                reason,
                Reason::ServerError | Reason::Unreachable | Reason::Timeout
            ) =>
        {
            Became::Failed(reason)
        }
        Outcome::Pass | Outcome::Tunnel => Became::NotStored(reason),
        Outcome::Stale | Outcome::Refused | Outcome::Failed => Became::Failed(reason),
        _ if seen.status.is_none() && seen.change == Some(Became::Tombstone) => Became::Tombstone,
        _ if is_missing => Became::Missing,
        _ if seen.is_broken => Became::Failed(Reason::Incomplete),
        Outcome::Hit if seen.status.is_none() => Became::Kept,
        Outcome::Miss | Outcome::Collapsed if status.is_some_and(|status| status.is_server_error()) => {
            Became::Failed(Reason::ServerError)
        }
        Outcome::Miss | Outcome::Collapsed if verdict.keeping == Keeping::NotStored => match reason {
            Reason::Disk | Reason::Rejected => Became::Failed(reason),
            _ => Became::NotStored(reason),
        },
        _ => match (seen.not_kept, seen.change) {
            (Some(reason @ (Reason::Disk | Reason::Incomplete | Reason::Rejected)), _) => {
                Became::Failed(reason)
            }
            (Some(reason), _) => Became::NotStored(reason),
            (None, Some(change)) => change,
            (None, None) => Became::NotStored(Reason::Invalidated),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::Router;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::proxy::Proxy;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_order_that_follows_a_visitor_s_fill_fails_where_that_does() {
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::BAD_GATEWAY] {
            let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
            let (count, held) = (Arc::clone(&asked), Arc::clone(&gate));
            let site = Router::new().fallback(move || {
                let (count, held) = (Arc::clone(&count), Arc::clone(&held));
                async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _open = held.acquire().await;
                    status
                }
            });
            let dir = tempfile::tempdir().unwrap();
            let config = crate::CreateProxyConfig::new(String::new()).with(|settings| {
                settings.public_url = Some("https://example.com".into());
                settings.snapshot_dir = dir.path().join("snapshots");
            });
            let proxy = Proxy::in_process(site, config).unwrap();
            let seats = async |wanted: usize| {
                while proxy.engine().flights.seats() != wanted {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let visit = Request::builder().uri("/a").header(header::HOST, "example.com");
            let visit = tokio::spawn(proxy.answer(visit.body(Body::empty()).unwrap()));
            tokio::time::timeout(PATIENCE, seats(1)).await.unwrap();
            let address = Address {
                scheme: "https",
                host: "example.com".into(),
                target: PathAndQuery::from_static("/a"),
            };
            let ordering = proxy.clone();
            let order = tokio::spawn(async move { ordering.order(&address, (Scope::Stale, 0)).await });
            // It waits with the visitor.
            tokio::time::timeout(PATIENCE, seats(2)).await.unwrap();

            gate.add_permits(1);

            assert_eq!(visit.await.unwrap().status(), status);
            let ordered = order.await.unwrap();
            assert_eq!(ordered.became, Became::Failed(Reason::ServerError));
            assert!(!ordered.was_asked, "it has asked for nothing itself");
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn what_became_of_a_page_is_told_by_the_answer_the_commit_and_the_files() {
        let miss = Verdict::new(Outcome::Miss);
        let stored = miss.with_keeping(Keeping::Stored);
        let because = |reason| miss.with_reason(Some(reason));
        for (verdict, status, not_kept, change, expected) in [
            (stored, 200, None, Some(Became::New), Became::New),
            (stored, 200, None, Some(Became::Changed), Became::Changed),
            (stored, 301, None, Some(Became::Same), Became::Same),
            (stored, 404, None, None, Became::Missing),
            (
                Verdict::new(Outcome::Hit),
                0,
                None,
                Some(Became::Tombstone),
                Became::Tombstone,
            ),
            (stored, 200, None, None, Became::NotStored(Reason::Invalidated)),
            // The old page is still there.
            (
                stored,
                200,
                Some(Reason::TooLarge),
                Some(Became::Same),
                Became::NotStored(Reason::TooLarge),
            ),
            (
                stored,
                200,
                Some(Reason::Disk),
                None,
                Became::Failed(Reason::Disk),
            ),
            (
                stored,
                500,
                None,
                Some(Became::New),
                Became::Failed(Reason::ServerError),
            ),
            (
                because(Reason::NoStore),
                200,
                None,
                None,
                Became::NotStored(Reason::NoStore),
            ),
            (because(Reason::NoStore), 410, None, None, Became::Missing),
            (
                because(Reason::NoStore),
                503,
                None,
                None,
                Became::Failed(Reason::ServerError),
            ),
            (
                because(Reason::Disk),
                200,
                None,
                None,
                Became::Failed(Reason::Disk),
            ),
            // A visitor's fill that it followed.
            (
                Verdict::pass(Reason::ServerError),
                0,
                None,
                None,
                Became::Failed(Reason::ServerError),
            ),
            (
                Verdict::pass(Reason::Excluded),
                200,
                None,
                None,
                Became::NotStored(Reason::Excluded),
            ),
        ] {
            let seen = Seen {
                status: StatusCode::from_u16(status).ok(),
                not_kept,
                change,
                ..Seen::default()
            };
            assert_eq!(
                became(&verdict, &seen, seen.status),
                expected,
                "{verdict:?} {status}"
            );
        }
    }
}
