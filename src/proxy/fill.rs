//! A fill: one fetch, its body to disk and to everyone who asked, and its commit.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Body;
use http::header::{self};
use http::{HeaderName, Request, Response, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::flight::{Ending, FillHead, FlightKey, Growth, Handover, Lead, Progress, Settled};
use crate::head::StoredHead;
use crate::headers::strip_hop_by_hop;
use crate::outcome::Reason;
use crate::policy::fill::FillRequest;
use crate::policy::freshness::{Lifetime, generated};
use crate::policy::store::{Owner, Storable, may_store, owner, stored_head};
use crate::policy::{validate, vary};
use crate::proxy::Engine;
use crate::proxy::intake::Intake;
use crate::proxy::memory::{MAX_NEGATIVE, Negative};
use crate::proxy::visit::Visit;
use crate::snapshot::{BodyWriter, Candidate, CommitError, Kept, Snapshot, Store};

/// See the module.
pub(super) struct Fill {
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<Store>,
    pub(super) visit: Arc<Visit>,
    pub(super) request: FillRequest,
    /// What is to be validated.
    pub(super) stale: Option<Arc<Snapshot>>,
    pub(super) flight: FlightKey,
    /// The number of the last invalidation before the fetch.
    pub(super) epoch: u64,
    pub(super) permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// What the head of the answer says about the rest.
struct Opening {
    head: Arc<FillHead>,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Snapshot,
    /// In memory, for this many seconds.
    Memory(u64),
}

impl Fill {
    /// Runs to its end whoever goes away; only when nobody has read for `fill_timeout` it stops.
    pub(super) async fn run(self, lead: Lead, handover: oneshot::Sender<Handover>) {
        let patience = self.engine.waits.fill;
        tokio::select! {
            () = self.fetch(&lead, handover) => {}
            () = lead.abandoned(patience) => {
                tracing::debug!(key = self.visit.key.line(), "a fill that nobody reads is given up");
            }
        }
    }

    async fn fetch(&self, lead: &Lead, handover: oneshot::Sender<Handover>) {
        let requested = self.engine.clock.now();
        let response = match self.engine.upstream.fetch(self.to_backend()).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(key = self.visit.key.line(), error = %crate::error::chain(&error), "a fill got no answer");
                lead.report(Progress::Over(Ending::Failed(error.reason())));
                return;
            }
        };
        // Nobody asked for another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lead.report(Progress::Over(Ending::Failed(Reason::Unreachable)));
            return;
        }
        let now = self.engine.clock.now();
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(stale) = &self.stale
        {
            let ending = self.freshen(stale, response.headers(), requested, now).await;
            lead.report(Progress::Over(ending));
            return;
        }
        let verdict = may_store(
            response.status(),
            response.headers(),
            &self.visit.asked(&self.request, now),
            &self.engine.rules.store,
        );
        let (names, keep) = match verdict {
            Storable::Snapshot(names) => (names, Keep::Snapshot),
            Storable::Memory(seconds) => {
                self.take_out_stale().await;
                (vary_names(&response, self), Keep::Memory(seconds))
            }
            Storable::No(reason) => {
                if takes_back(reason) {
                    self.take_out_stale().await;
                }
                return self.give_up(lead, handover, response, reason);
            }
        };
        let store = Arc::clone(&self.store);
        let writer = match tokio::task::spawn_blocking(move || store.body_writer()).await {
            Ok(Ok(writer)) => writer,
            Ok(Err(error)) => {
                self.disk_failed(&error);
                return self.hand_over(lead, handover, response, Reason::Disk);
            }
            Err(_) => return,
        };
        match self.open(&response, names, keep, &writer, (requested, now)) {
            Ok(opening) => self.take_in(lead, opening, response.into_body(), writer).await,
            Err(error) => {
                self.disk_failed(&error);
                self.hand_over(lead, handover, response, Reason::Disk);
            }
        }
    }

    fn to_backend(&self) -> Request<Body> {
        let visit = &self.visit;
        let body = visit.body.clone().map_or_else(Body::empty, Body::from);
        let mut request = Request::new(body);
        *request.method_mut() = visit.method().clone();
        *request.headers_mut() = self.request.headers.clone();
        if let Some(stale) = &self.stale {
            validate::add_conditions(&stale.rendering.head, request.headers_mut());
        }
        // Both come from a parsed URI, so together they are one.
        *request.uri_mut() = self.path_and_query().parse().unwrap_or(Uri::from_static("/"));
        request
    }

    fn path_and_query(&self) -> String {
        let path = &self.visit.target.path;
        match self.request.query.as_str() {
            "" => path.to_string(),
            query => format!("{path}?{query}"),
        }
    }

    /// The answer is not stored: who began the fill gets it, if it can be theirs.
    fn give_up(
        &self,
        lead: &Lead,
        handover: oneshot::Sender<Handover>,
        response: Response<Body>,
        reason: Reason,
    ) {
        if reason != Reason::ServerError {
            let own = self.visit.own_line(&self.request);
            let now = self.engine.clock.unix_seconds();
            self.engine
                .memory
                .remember(self.flight, &self.visit.key, &own, (reason, now));
        }
        match owner(response.status(), response.headers(), reason) {
            Owner::First => self.hand_over(lead, handover, response, reason),
            Owner::Asker => {
                drop(handover);
                lead.close();
                lead.report(Progress::Over(Ending::GiveUp(reason)));
            }
        }
    }

    fn hand_over(
        &self,
        lead: &Lead,
        handover: oneshot::Sender<Handover>,
        mut response: Response<Body>,
        reason: Reason,
    ) {
        lead.close();
        strip_hop_by_hop(response.headers_mut());
        // Who began the fill may have gone away; then nobody gets it.
        let _ = handover.send((response, reason));
        lead.report(Progress::Over(Ending::GiveUp(reason)));
    }

    fn open(
        &self,
        response: &Response<Body>,
        names: Vec<HeaderName>,
        keep: Keep,
        writer: &BodyWriter,
        (requested, now): (SystemTime, SystemTime),
    ) -> io::Result<Opening> {
        let rules = &self.engine.rules.store;
        let head = stored_head(response.status(), response.headers(), now, rules);
        let lifetime = Lifetime::of(&head, rules.default_ttl);
        let length = response.headers().get(header::CONTENT_LENGTH);
        let head = FillHead {
            lifetime: match keep {
                Keep::Snapshot => lifetime.seconds(),
                Keep::Memory(seconds) => Some(seconds),
            },
            generated: generated(response.headers(), lifetime, requested, now),
            length: length.and_then(|value| value.to_str().ok()?.parse().ok()),
            sent: vary::select(&names, &self.request.headers),
            names,
            head,
            prefix: writer.reader()?,
        };
        Ok(Opening {
            head: Arc::new(head),
            keep,
        })
    }

    async fn take_in(&self, lead: &Lead, opening: Opening, body: Body, writer: BodyWriter) {
        let head = &opening.head;
        let report = |growth| lead.report(Progress::Body(Arc::clone(head), growth));
        report(Growth::Growing(0));
        let (writer, length) = match self.body(lead, head, body, writer).await {
            Intake::Whole(writer, length) => (writer, length),
            Intake::Lost => return,
        };
        report(Growth::Whole(length));
        let settled = match opening.keep {
            Keep::Snapshot => self.commit(head, *writer).await,
            Keep::Memory(seconds) => self.remember_missing(head, length, seconds).await,
        };
        if let Settled::NotKept(reason) = settled {
            self.engine.tally.not_kept(reason);
        }
        // Before anybody hears of it: whoever comes next may begin another.
        lead.close();
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        report(Growth::Settled(length, settled));
    }

    async fn commit(&self, head: &Arc<FillHead>, writer: BodyWriter) -> Settled {
        let kept = Kept::New(writer.finish());
        let (names, head_to_store, born) = (head.names.clone(), head.head.clone(), head.generated);
        match self.commit_kept(names, head_to_store, born, kept).await {
            Ok(()) => Settled::Kept,
            Err(reason) => Settled::NotKept(reason),
        }
    }

    pub(super) async fn commit_kept(
        &self,
        names: Vec<HeaderName>,
        head: StoredHead,
        born: u64,
        kept: Kept,
    ) -> Result<(), Reason> {
        let (store, visit) = (Arc::clone(&self.store), Arc::clone(&self.visit));
        let (sent, url, epoch) = (self.request.headers.clone(), self.path_and_query(), self.epoch);
        let committed = tokio::task::spawn_blocking(move || {
            let candidate = Candidate {
                key: &visit.key,
                method: visit.method().as_str(),
                url: &url,
                names: &names,
                select: &|names| vary::select(names, &sent),
                head,
                generated: born,
                epoch,
            };
            store.commit(candidate, kept)
        });
        match committed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let reason = match &error {
                    CommitError::Invalidated => Reason::Invalidated,
                    CommitError::ReadOnly => Reason::ReadOnly,
                    CommitError::Variants => Reason::Variants,
                    CommitError::Disk(cause) => {
                        self.disk_failed(cause);
                        Reason::Disk
                    }
                };
                tracing::debug!(
                    key = self.visit.key.line(),
                    reason = reason.as_str(),
                    "a page was served and not kept"
                );
                Err(reason)
            }
            Err(_) => Err(Reason::Disk),
        }
    }

    async fn remember_missing(&self, head: &Arc<FillHead>, length: u64, seconds: u64) -> Settled {
        if length > MAX_NEGATIVE {
            return Settled::NotKept(Reason::TooLarge);
        }
        let prefix = head.prefix.clone();
        let limit = usize::try_from(length).unwrap_or(0);
        let Ok(Ok(body)) = tokio::task::spawn_blocking(move || prefix.read_at(0, limit)).await else {
            return Settled::NotKept(Reason::Disk);
        };
        let own = self.visit.own_line(&self.request);
        let subject = crate::pattern::Subject {
            line: self.visit.key.line(),
            own: Some(&own),
        };
        if self.store.is_overtaken(self.epoch, subject) {
            return Settled::NotKept(Reason::Invalidated);
        }
        let now = self.engine.clock.unix_seconds();
        let negative = Negative {
            head: head.head.clone(),
            body: body.into(),
            generated: now,
            until: now.saturating_add(seconds),
        };
        self.engine
            .memory
            .keep_negative(&self.visit.key, &own, head.sent.clone(), negative);
        Settled::Kept
    }

    /// The page that was stored is no more, or is not for everybody any more.
    pub(super) async fn take_out_stale(&self) {
        if self.stale.is_none() {
            return;
        }
        let (store, key) = (Arc::clone(&self.store), self.visit.key.clone());
        let line = key.line().to_owned();
        let discarded = tokio::task::spawn_blocking(move || store.discard(&key)).await;
        if let Ok(Err(error)) = discarded {
            tracing::error!(key = line, %error, "cannot remove a page that is no more");
        }
    }

    pub(super) fn disk_failed(&self, error: &io::Error) {
        self.engine.disk_trouble.say(|| {
            tracing::error!(
                dir = %self.store.root().display(),
                %error,
                "snapshots cannot be written; pages are served and not stored until that is mended"
            );
        });
    }
}

/// Whether an answer that is not stored says that the page is nobody's any more. A redirect or an error may
/// be for a while.
fn takes_back(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoStore | Reason::Private | Reason::SetCookie | Reason::VaryStar | Reason::Nonce
    )
}

/// A page that is not there varies by what its answer names, too.
fn vary_names(response: &Response<Body>, fill: &Fill) -> Vec<HeaderName> {
    match vary::Vary::of(response.headers(), &fill.engine.rules.store.vary_ignore) {
        vary::Vary::Fields(names) => {
            let mut names = names;
            names.extend_from_slice(&fill.request.unkeyed);
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            names.dedup();
            names
        }
        vary::Vary::Star => Vec::new(),
    }
}
