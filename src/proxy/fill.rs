//! A fill: one fetch, its body to disk and to everyone who asked, and its commit.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Body;
use http::header::{self};
use http::response::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::clock::unix_seconds;
use crate::flight::{Content, FillHead, FlightKey, Growth, Handover, Lead, Progress, Settled};
use crate::head::StoredHead;
use crate::interim::Sender;
use crate::outcome::Reason;
use crate::policy::assets::{Finder, MOST_BYTES};
use crate::policy::fill::{FillRequest, Purpose};
use crate::policy::freshness::{Lifetime, Stated, dates_as_they_came, generated};
use crate::policy::store::{Storable, may_store, stored_head};
use crate::policy::{last_good, validate};
use crate::proxy::Engine;
use crate::proxy::give_up::takes_back;
use crate::proxy::intake::{Incoming, Intake};
use crate::proxy::order::Order;
use crate::proxy::teller::Teller;
use crate::proxy::trace;
use crate::proxy::visit::Visit;
use crate::snapshot::{BodyWriter, Candidate, CommitError, Kept, Snapshot, Store, WriteError};

/// See the module.
pub(super) struct Fill {
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<Store>,
    pub(super) visit: Arc<Visit>,
    pub(super) request: FillRequest,
    /// What is stored and may answer, should this fill fail.
    pub(super) seen: Option<Arc<Snapshot>>,
    /// The same, where this fill asks for just that: it is validated, or taken out.
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

/// An answer, and whom it is handed to if nobody else may have it.
pub(super) type Handed = (Response<Body>, oneshot::Sender<Handover>);

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
        let (request, trace) = (self.to_backend(), &self.visit.target.trace);
        trace.note(|| trace::fill(request.headers()));
        let response = match self.engine.upstream.fetch(request).await {
            Ok(response) => response,
            Err(error) => {
                self.engine.backend_failed(self.visit.key.line(), &error);
                return self.fail(lead, error.reason());
            }
        };
        self.show(&response);
        // Nobody asked for another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.fail(lead, Reason::Unreachable);
        }
        let now = self.engine.clock.now();
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(stale) = self.to_validate()
        {
            let ending = self.freshen(stale, response.headers(), requested, now).await;
            trace.note(|| trace::validated(&ending));
            lead.close();
            lead.report(Progress::Over(ending));
            return;
        }
        let handed = (response, handover);
        let is_page = |seen: &Arc<Snapshot>| !seen.rendering.head.status.is_server_error();
        let has_page = self.seen.as_ref().is_some_and(is_page);
        if has_page && handed.0.status().is_server_error() && !self.visit.asks_once() {
            return self.errs(lead, handed);
        }
        if let Some((handed, kept)) = self.judge(lead, handed, now).await {
            self.receive(lead, handed, kept, (requested, now)).await;
        }
    }

    /// What the answer becomes by its head; one that becomes nothing is over with.
    async fn judge(
        &self,
        lead: &Lead,
        (response, handover): Handed,
        now: SystemTime,
    ) -> Option<(Handed, (Vec<HeaderName>, Keep))> {
        let verdict = may_store(
            response.status(),
            response.headers(),
            &self.visit.asked(&self.request, now),
            &self.visit.rules.store,
        );
        let trace = &self.visit.target.trace;
        trace.note(|| trace::answer(response.status(), &verdict));
        match verdict {
            Storable::Memory(names, seconds) => {
                self.take_out_stale().await;
                Some(((response, handover), (names, Keep::Memory(seconds))))
            }
            verdict if self.request.purpose == Purpose::Missing => {
                let reason = match verdict {
                    Storable::No(reason) => reason,
                    _ => Reason::Accept,
                };
                match response.status().is_server_error() {
                    true => self.ends_for_all(lead, (response, handover), reason),
                    false => self.leave_to_each(lead, (response, handover), reason),
                }
                None
            }
            Storable::Snapshot(names) => Some(((response, handover), (names, Keep::Snapshot))),
            Storable::No(reason) => {
                if takes_back(reason) {
                    self.take_out_stale().await;
                }
                self.give_up(lead, (response, handover), reason);
                None
            }
        }
    }

    /// Has the body come in, unless it must not be shared or there is no room for it.
    async fn receive(
        &self,
        lead: &Lead,
        (response, handover): Handed,
        (names, keep): (Vec<HeaderName>, Keep),
        times: (SystemTime, SystemTime),
    ) {
        let (parts, body) = response.into_parts();
        let mut incoming = Incoming::new(&parts.headers, body);
        if let Some(reason) = incoming.look_ahead().await {
            self.take_out_stale().await;
            let response = Response::from_parts(parts, incoming.into_body());
            return self.leave_to_each(lead, (response, handover), reason);
        }
        // Nobody waits for a disk to have the head, but one that fails is asked first, so that it can be said.
        if self.store.is_refusing()
            && let Err(error) = self.try_disk().await
        {
            self.disk_failed(&error);
            let response = Response::from_parts(parts, incoming.into_body());
            return self.hand_over_unstored(lead, handover, response, &names);
        }
        let opening = self.open(&parts, names, keep, times);
        self.take_in(lead, opening, incoming).await;
    }

    async fn try_disk(&self) -> io::Result<()> {
        let store = Arc::clone(&self.store);
        let tried = tokio::task::spawn_blocking(move || store.try_disk());
        match tried.await.map_err(io::Error::other)? {
            Err(WriteError::Disk(error)) => Err(error),
            // Room under the limit is another question, and the fill's to ask.
            Ok(()) | Err(WriteError::NoRoom) => Ok(()),
        }
    }

    fn to_backend(&self) -> Request<Body> {
        let visit = &self.visit;
        let body = visit.body.clone().map_or_else(Body::empty, Body::from);
        let mut request = Request::new(body);
        *request.method_mut() = visit.method().clone();
        *request.headers_mut() = self.request.headers.clone();
        if let Some(stale) = self.to_validate() {
            validate::add_conditions(&stale.rendering.head, request.headers_mut());
        }
        *request.uri_mut() = Uri::from(self.request.target.clone());
        // Of who began it; nobody else's answer is still to begin when they come.
        if let Some(sender) = visit.parts.extensions.get::<Sender>() {
            request.extensions_mut().insert(sender.clone());
        }
        request
    }

    /// Of methods other than GET a condition would make the backend refuse the request (RFC 9110 §13.1.2).
    fn to_validate(&self) -> Option<&Arc<Snapshot>> {
        let order = self.visit.order.as_ref();
        let may_ask = order.is_none_or(Order::sends_conditions) && *self.visit.method() == Method::GET;
        self.stale.as_ref().filter(|_| may_ask)
    }

    fn open(
        &self,
        response: &Parts,
        names: Vec<HeaderName>,
        keep: Keep,
        (requested, now): (SystemTime, SystemTime),
    ) -> Opening {
        let rules = &self.visit.rules.store;
        let head = stored_head(response.status, &response.headers, now, rules);
        let lifetime = Lifetime::of(&Stated::by(&head, Some(unix_seconds(now))), &rules.lifetimes);
        let length = response.headers.get(header::CONTENT_LENGTH);
        let head = FillHead {
            lifetime: match keep {
                Keep::Snapshot => lifetime.seconds(),
                Keep::Memory(seconds) => Some(seconds),
            },
            dates: dates_as_they_came(&response.headers, now),
            came: unix_seconds(now),
            generated: generated(&response.headers, lifetime, requested, now),
            length: length.and_then(|value| value.to_str().ok()?.parse().ok()),
            sent: self.request.select(&names),
            class: match keep {
                Keep::Snapshot => None,
                Keep::Memory(_) => Some(self.request.class),
            },
            names,
            head,
            content: Content::within(self.store.hot().budget()),
        };
        Opening {
            head: Arc::new(head),
            keep,
        }
    }

    async fn take_in(&self, lead: &Lead, opening: Opening, incoming: Incoming) {
        let head = &opening.head;
        let mut teller = match self.may_be_refused(opening.keep) {
            true => Teller::holding(lead, head),
            false => Teller::open(lead, head),
        };
        let (writer, length) = match self.body(lead, head, (incoming, &mut teller)).await {
            Intake::Whole(writer, length) => (writer, length),
            Intake::Lost => return,
        };
        teller.tell(Growth::Whole(length));
        let settled = match opening.keep {
            Keep::Snapshot => teller.settled(self.commit(head, writer)).await,
            Keep::Memory(seconds) => self.remember_missing(head, length, seconds).await,
        };
        match settled {
            Settled::Kept => self.settle(),
            // What the answers will say is counted with them.
            Settled::NotKept(Reason::Rejected) if teller.is_holding() => {
                self.note_for_order(Reason::Rejected)
            }
            Settled::NotKept(reason) => self.not_kept(reason),
        }
        // Before anybody hears of it: whoever comes next may begin another.
        lead.close();
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        teller.tell(Growth::Settled(length, settled));
    }

    /// Whether it may yet show that a page is stored which is worth more.
    fn may_be_refused(&self, keep: Keep) -> bool {
        let stored = self.stale.as_ref().map(|stale| &stale.rendering.head);
        keep == Keep::Snapshot
            && self.visit.rules.store.last_good.is_some()
            && stored.is_some_and(last_good::is_worth_keeping)
    }

    async fn commit(&self, head: &Arc<FillHead>, writer: Option<Box<BodyWriter>>) -> Settled {
        let (store, filled) = (Arc::clone(&self.store), Arc::clone(head));
        let finder = Finder::for_response(&head.head.headers, &self.request);
        let kept = move || match writer {
            Some(writer) => {
                let assets = Finder::find_by(finder, || writer.beginning(MOST_BYTES))?;
                Ok(Kept::New(writer.finish(assets)))
            }
            None => {
                let body = filled.content.in_memory();
                if body.is_empty() {
                    return Ok(Kept::Nothing);
                }
                let mut writer = store.body_writer()?;
                writer.write(&body)?;
                let assets = Finder::find_by(finder, || Ok::<_, WriteError>(body))?;
                Ok(Kept::New(writer.finish(assets)))
            }
        };
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
        kept: impl FnOnce() -> Result<Kept, WriteError> + Send + 'static,
    ) -> Result<(), Reason> {
        let (store, visit) = (Arc::clone(&self.store), Arc::clone(&self.visit));
        let (request, epoch) = (self.request.clone(), self.epoch);
        let to_commit = Arc::clone(&store);
        let committed = store.crew().run(move || {
            let store = to_commit;
            let kept = kept()?;
            let length = match &kept {
                Kept::Nothing => 0,
                Kept::New(body) => body.length,
                Kept::Same(body, _) => body.length,
            };
            let codings = visit.rules.codings.wanted(&head, length);
            let candidate = Candidate {
                key: &visit.key,
                method: visit.method().as_str(),
                url: request.target.as_str(),
                names: &names,
                select: &|names| request.select(names),
                is_new: &|name| request.is_new(name),
                head,
                generated: born,
                epoch,
                max_variants: visit.rules.max_variants,
                judge: &|old, new| visit.flaw(old, new),
                codings,
            };
            store.commit(candidate, kept)
        });
        match committed.await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                let reason = match &error {
                    CommitError::Invalidated => Reason::Invalidated,
                    CommitError::ReadOnly => Reason::ReadOnly,
                    CommitError::Variants => Reason::Variants,
                    CommitError::Hosts => Reason::Hosts,
                    CommitError::NoRoom => Reason::DiskLimit,
                    CommitError::Rejected => Reason::Rejected,
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
            None => Err(Reason::Disk),
        }
    }

    /// The page that was stored is no more, or is not for everybody any more. What somebody's credentials are told
    /// is no word on that.
    pub(super) async fn take_out_stale(&self) {
        if self.stale.is_none() || !self.request.credentials.is_empty() {
            return;
        }
        let (store, key) = (Arc::clone(&self.store), self.visit.key.clone());
        let line = key.line().to_owned();
        let discarded = tokio::task::spawn_blocking(move || store.discard(&key)).await;
        if let Ok(Err(error)) = discarded {
            self.engine.disk_trouble.say(|| {
                tracing::error!(key = line, %error, "cannot remove a page that is no more");
            });
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
