//! A request that may be answered from what is stored: lookup, reuse, and a seat in the fill if need be.
//!
//! A visit goes in rounds. A round ends with an answer, with a pass, or with something learnt (the
//! fields by which the page varies, a snapshot that was validated or committed meanwhile) that makes
//! another lookup worth it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Limited};

use crate::config::check::Rules;
use crate::flight::FlightKey;
use crate::head::{Generated, Rendered, StoredHead, VariantKey};
use crate::headers::strip_listed;
use crate::key::{Key, KeySource, target_line};
use crate::language::Languages;
use crate::outcome::{Forward, Reason};
use crate::policy::accept::{Class, class};
use crate::policy::client::Wishes;
use crate::policy::credentials::{Credentials, is_shared_despite_credentials};
use crate::policy::fill::{FillCredentials, FillRequest};
use crate::policy::filter::Included;
use crate::policy::forward::Asker;
use crate::policy::request::needs_accept_axis;
use crate::policy::store::Asked;
use crate::policy::{validate, vary};
use crate::proxy::Engine;
use crate::proxy::order::{Order, by_order, look};
use crate::proxy::rendition::is_looked_at;
use crate::proxy::respond::Verdict;
use crate::proxy::target::Target;
use crate::proxy::trace;
use crate::snapshot::{Lookup, Snapshot, Store};

/// The largest request body that is made part of a key, in bytes.
const MAX_KEY_BODY: usize = 1 << 20;
/// Lookups a visit makes at most before it passes.
const MAX_ROUNDS: usize = 6;

/// A request on its way through the cache.
pub(super) struct Visit {
    pub(super) parts: Parts,
    pub(super) target: Target,
    pub(super) included: Included,
    pub(super) rules: Arc<Rules>,
    pub(super) key: Key,
    /// Without the ignored parameters.
    pub(super) query: String,
    /// Of methods that have one.
    pub(super) body: Option<Bytes>,
    /// Set aside from `parts`.
    pub(super) credentials: Credentials,
    pub(super) class: Class,
    pub(super) languages: Languages,
    pub(super) wishes: Wishes,
    /// Of the operator's, who is no visitor.
    pub(super) order: Option<Order>,
}

impl Visit {
    /// GET for HEAD.
    pub(super) fn method(&self) -> &Method {
        lookup_method(&self.parts.method)
    }

    /// Whether the backend must not be asked twice for it: the method is not safe (RFC 9110 §9.2.1), though
    /// somebody has named it among those that are stored.
    pub(super) fn asks_once(&self) -> bool {
        !self.parts.method.is_safe()
    }

    pub(super) fn select(&self, names: &[HeaderName]) -> VariantKey {
        vary::select(names, &self.parts.headers, &self.languages)
    }

    pub(super) fn source(&self) -> KeySource<'_> {
        source(&self.parts, &self.target, &self.query, self.body.as_ref())
    }

    /// Who asks, under the address that the key stands for.
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker {
            scheme: self.target.site_scheme,
            host: &self.target.site_host,
            ..self.target.asker()
        }
    }

    /// Why a rendering may not take the place of the last good one, in a word.
    pub(super) fn flaw(&self, old: &Rendered<'_>, new: &Rendered<'_>) -> Option<&'static str> {
        let is_accepted = self.order.as_ref().is_some_and(Order::is_accepted);
        let rule = self.rules.store.last_good.filter(|_| !is_accepted)?;
        Some(rule.flaw(old, new)?.as_str())
    }

    /// Of its credentials, those that its fill carries.
    pub(super) fn carried(&self) -> Option<&Credentials> {
        let is_carried = self.rules.fill.credentials == FillCredentials::Carried;
        Some(&self.credentials).filter(|credentials| is_carried && !credentials.is_empty())
    }

    /// Whether an answer with this head, rendered for others, may be its own (RFC 9111 §3.5).
    pub(super) fn may_share(&self, head: &StoredHead) -> bool {
        self.carried().is_none() || is_shared_despite_credentials(&head.headers)
    }

    /// What `fill` asks, for judging its answer.
    pub(super) fn asked<'a>(&'a self, fill: &'a FillRequest, now: SystemTime) -> Asked<'a> {
        Asked {
            scheme: self.target.site_scheme,
            host: &self.target.site_host,
            path: self.target.path(),
            query: &fill.query,
            included: self.included,
            unkeyed: &fill.unkeyed,
            credentials: &fill.credentials,
            now,
        }
    }

    /// The line of what the fill asks for.
    pub(super) fn own_line(&self, fill: &FillRequest) -> String {
        target_line(self.method().as_str(), self.target.path(), &fill.query)
    }
}

fn lookup_method(method: &Method) -> &Method {
    if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    }
}

fn source<'a>(parts: &'a Parts, target: &'a Target, query: &'a str, body: Option<&Bytes>) -> KeySource<'a> {
    let method = lookup_method(&parts.method).as_str();
    KeySource {
        body: body.map(|bytes| blake3::hash(bytes)),
        ..target.source(method, query, &parts.headers)
    }
}

/// What earlier rounds have taught.
#[derive(Default)]
pub(super) struct Learnt {
    pub(super) names: Vec<HeaderName>,
    /// The page is missing, and what is known of that is for the other class of visitors than this one.
    pub(super) apart: Option<Class>,
    /// The backend has just said that what is stored holds.
    pub(super) validated: bool,
    /// The backend was asked while this visit waited, as its client wished.
    pub(super) is_settled: bool,
    /// What might have answered, were it not for the client's wishes: how the request went forward.
    pub(super) demanded: Option<Forward>,
    /// What is stored and has to be validated.
    pub(super) stale: Option<Stale>,
    /// When somebody was last answered from what is stored, before this visit, in seconds since 1970.
    pub(super) used: Option<u64>,
    /// This visit has counted among the uses of the key, and they are enough.
    pub(super) is_wanted: bool,
    /// The file changed under the last answer.
    pub(super) changed: bool,
}

/// What is stored and has to be validated.
pub(super) struct Stale {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) generated: Generated,
}

/// How a round ends.
pub(super) enum Round {
    Answer(Response<Body>, Verdict),
    Again,
    Pass(Reason),
    /// Passes, and sees whether the answer could be stored by now.
    Probe(Reason, FlightKey, FillRequest),
}

impl Engine {
    pub(super) async fn look_up(
        self: Arc<Self>,
        request: Request<Body>,
        target: Target,
        (included, rules): (Included, Arc<Rules>),
    ) -> (Response<Body>, Verdict) {
        let store = self.store.clone();
        if store.is_none() && !is_looked_at(&request) {
            return Box::pin(self.pass(request, &target, Reason::Disk)).await;
        }
        let wishes = Wishes::of(request.headers(), rules.request.client_directives);
        // RFC 9111 §5.2.1.5: "MUST NOT store any part of either this request or any response to it".
        if wishes.no_store {
            return Box::pin(self.pass(request, &target, Reason::ClientDirective)).await;
        }
        let (mut parts, body) = request.into_parts();
        strip_listed(&mut parts.headers);
        let keyed = match parts.method {
            Method::GET | Method::HEAD => Ok(None),
            _ => Box::pin(key_body(body, self.waits.body)).await,
        };
        let body = match keyed {
            Ok(body) => body,
            Err(KeyBody::TooLarge(body)) => {
                let request = Request::from_parts(parts, body);
                return Box::pin(self.pass(request, &target, Reason::RequestBody)).await;
            }
            Err(KeyBody::Broken) => return self.refuse(Reason::BadRequest, &parts.method),
            Err(KeyBody::Late) => return self.refuse(Reason::RequestTimeout, &parts.method),
        };
        let credentials = Credentials::set_aside(&mut parts.headers, &rules.fill.aside);
        let query = rules.key.keep_query(target.query()).into_owned();
        let key = rules.key.key(&source(&parts, &target, &query, body.as_ref()));
        let Some(key) = key else {
            let body = body.map_or_else(Body::empty, Body::from);
            credentials.put_back(&mut parts.headers);
            let request = Request::from_parts(parts, body);
            return Box::pin(self.pass(request, &target, Reason::Key)).await;
        };
        let visit = Arc::new(Visit {
            class: class(&parts.headers),
            languages: rules.key.languages.clone(),
            order: parts.extensions.get().cloned(),
            wishes,
            rules,
            parts,
            target,
            included,
            key,
            query,
            body,
            credentials,
        });
        visit.target.trace.key(&visit.key, &visit);
        let Some(store) = store else {
            return Box::pin(self.look_at(&visit)).await;
        };
        match &visit.order {
            Some(order) => Box::pin(by_order(&store, (&visit, order), self.visit(&store, &visit))).await,
            None => self.visit(&store, &visit).await,
        }
    }

    /// Goes round until there is an answer.
    async fn visit(self: &Arc<Self>, store: &Arc<Store>, visit: &Arc<Visit>) -> (Response<Body>, Verdict) {
        let mut learnt = Learnt::default();
        if visit.rules.refresh_ahead > 0 {
            // A lookup is a use.
            learnt.used = store.used_at(&visit.key);
        }
        for _ in 0..MAX_ROUNDS {
            match self.round(store, visit, &mut learnt).await {
                Round::Answer(response, verdict) => return (response, verdict),
                Round::Again => {}
                Round::Pass(reason) => {
                    let stale = learnt.stale.take();
                    return Box::pin(self.pass_or_stale(visit, reason, stale)).await;
                }
                Round::Probe(reason, flight, request) => {
                    return Box::pin(self.probe(visit, (reason, flight), &request)).await;
                }
            }
        }
        // Something changes faster than it can be looked up.
        Box::pin(self.pass_visit(visit, Reason::Foreign)).await
    }

    pub(super) async fn pass_visit(&self, visit: &Visit, reason: Reason) -> (Response<Body>, Verdict) {
        let body = visit.body.clone().map_or_else(Body::empty, Body::from);
        let mut parts = visit.parts.clone();
        visit.credentials.put_back(&mut parts.headers);
        self.pass(Request::from_parts(parts, body), &visit.target, reason)
            .await
    }

    async fn round(self: &Arc<Self>, store: &Arc<Store>, visit: &Arc<Visit>, learnt: &mut Learnt) -> Round {
        let found = look(store, visit).await;
        visit.target.trace.note(|| trace::lookup(&found, store));
        let rule = visit.rules.request.accept;
        if needs_accept_axis(&visit.parts.method, &visit.parts.headers, rule)
            && !found.varies_by(&header::ACCEPT)
        {
            return Round::Pass(Reason::Accept);
        }
        let is_new = matches!(found, Lookup::Nothing);
        learnt.stale = match found {
            Lookup::Found(snapshot, generated) => {
                match self.use_found(store, visit, learnt, (snapshot, generated)).await {
                    Ok(round) => return round,
                    Err(stale) => {
                        // A variant is validated with what selects it: a 304 to anything else would be
                        // another variant's.
                        if let Some(stale) = &stale {
                            learnt.names = stale.snapshot.variant.names();
                        }
                        stale
                    }
                }
            }
            Lookup::NoVariant(names) => {
                if !store.has_room(&visit.key, visit.select(&names).id(), visit.rules.max_variants) {
                    return Round::Pass(Reason::Variants);
                }
                learnt.names = names.to_vec();
                None
            }
            Lookup::Settling => return Round::Pass(Reason::Foreign),
            Lookup::Nothing => None,
        };
        if let Some(round) = self.recall(visit, learnt) {
            return round;
        }
        if visit.wishes.only_if_cached {
            return Round::Pass(Reason::OnlyIfCached);
        }
        // A range of a page that is not there: a fill would fetch all of it for a part.
        if learnt.stale.is_none() && validate::single_range(&visit.parts.headers).is_some() {
            return Round::Pass(Reason::Range);
        }
        if is_new && !learnt.is_wanted && visit.order.is_none() {
            let uses = self.memory.use_of(&visit.key, visit.rules.min_uses);
            if uses < visit.rules.min_uses {
                return Round::Pass(Reason::MinUses);
            }
            learnt.is_wanted = true;
        }
        if !may_write(store).await {
            return Round::Pass(Reason::ReadOnly);
        }
        Box::pin(self.take_seat(store, visit, learnt)).await
    }
}

/// Whether this process may write; who does not yet asks the disk.
pub(super) async fn may_write(store: &Arc<Store>) -> bool {
    if store.is_writable() {
        return true;
    }
    let store = Arc::clone(store);
    let asked = tokio::task::spawn_blocking(move || store.may_write());
    asked.await.unwrap_or(false)
}

pub(super) async fn find(store: &Arc<Store>, visit: &Arc<Visit>) -> Lookup {
    if let Some(found) = store.lookup_parsed(&visit.key, &|names| visit.select(names)) {
        return found;
    }
    let (in_store, visit) = (Arc::clone(store), Arc::clone(visit));
    let look_up = move || in_store.lookup(&visit.key, &|names| visit.select(names));
    store.crew().run(look_up).await.unwrap_or(Lookup::Nothing)
}

enum KeyBody {
    TooLarge(Body),
    Broken,
    Late,
}

/// The body of a request whose method is stored by name.
async fn key_body(body: Body, patience: Duration) -> Result<Option<Bytes>, KeyBody> {
    let known = axum::body::HttpBody::size_hint(&body).exact();
    if known.is_none_or(|length| length > MAX_KEY_BODY as u64) {
        return Err(KeyBody::TooLarge(body));
    }
    let collected = tokio::time::timeout(patience, Limited::new(body, MAX_KEY_BODY).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(Some(collected.to_bytes())),
        Ok(Err(_)) => Err(KeyBody::Broken),
        Err(_) => Err(KeyBody::Late),
    }
}
