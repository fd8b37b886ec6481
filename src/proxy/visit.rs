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

use crate::flight::FlightKey;
use crate::head::{Generated, VariantKey};
use crate::headers::strip_listed;
use crate::key::{Key, KeySource, target_line};
use crate::language::Languages;
use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::accept::{Class, class};
use crate::policy::fill::FillRequest;
use crate::policy::filter::Included;
use crate::policy::forward::Asker;
use crate::policy::request::needs_accept_axis;
use crate::policy::reuse::{Reuse, Standing, reuse};
use crate::policy::store::{Asked, accepts_coding};
use crate::policy::{validate, vary};
use crate::proxy::Engine;
use crate::proxy::respond::{Verdict, write_age};
use crate::proxy::target::Target;
use crate::serve;
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
    pub(super) key: Key,
    /// Without the ignored parameters.
    pub(super) query: String,
    /// Of methods that have one.
    pub(super) body: Option<Bytes>,
    pub(super) class: Class,
    pub(super) languages: Languages,
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

    /// What `fill` asks, for judging its answer.
    pub(super) fn asked<'a>(&'a self, fill: &'a FillRequest, now: SystemTime) -> Asked<'a> {
        Asked {
            scheme: self.target.site_scheme,
            host: &self.target.site_host,
            path: &self.target.path,
            query: &fill.query,
            included: self.included,
            unkeyed: &fill.unkeyed,
            now,
        }
    }

    /// The line of what the fill asks for.
    pub(super) fn own_line(&self, fill: &FillRequest) -> String {
        target_line(self.method().as_str(), &self.target.path, &fill.query)
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
    KeySource {
        method: lookup_method(&parts.method).as_str(),
        path: &target.path,
        query,
        scheme: target.site_scheme,
        host: &target.site_host,
        headers: &parts.headers,
        body: body.map(|bytes| blake3::hash(bytes)),
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
    /// The file changed under the last answer.
    changed: bool,
}

/// What is stored and has to be validated.
pub(super) struct Stale {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) generated: Generated,
    pub(super) standing: Standing,
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
        included: Included,
    ) -> (Response<Body>, Verdict) {
        let Some(store) = self.store.clone() else {
            return self.pass(request, &target, Reason::Disk).await;
        };
        let (mut parts, body) = request.into_parts();
        strip_listed(&mut parts.headers);
        let body = match key_body(&parts.method, body, self.waits.body).await {
            Ok(body) => body,
            Err(KeyBody::TooLarge(body)) => {
                return self
                    .pass(Request::from_parts(parts, body), &target, Reason::RequestBody)
                    .await;
            }
            Err(KeyBody::Broken) => return self.refuse(Reason::BadRequest, &parts.method),
            Err(KeyBody::Late) => return self.refuse(Reason::RequestTimeout, &parts.method),
        };
        let query = self.rules.key.keep_query(&target.query).into_owned();
        let key = self
            .rules
            .key
            .key(&source(&parts, &target, &query, body.as_ref()));
        let Some(key) = key else {
            let body = body.map_or_else(Body::empty, Body::from);
            let request = Request::from_parts(parts, body);
            return self.pass(request, &target, Reason::Key).await;
        };
        let visit = Arc::new(Visit {
            class: class(&parts.headers),
            languages: self.rules.key.languages.clone(),
            parts,
            target,
            included,
            key,
            query,
            body,
        });
        self.visit(&store, &visit).await
    }

    /// Goes round until there is an answer.
    async fn visit(self: &Arc<Self>, store: &Arc<Store>, visit: &Arc<Visit>) -> (Response<Body>, Verdict) {
        let mut learnt = Learnt::default();
        for _ in 0..MAX_ROUNDS {
            match self.round(store, visit, &mut learnt).await {
                Round::Answer(response, verdict) => return (response, verdict),
                Round::Again => {}
                Round::Pass(reason) => return self.pass_visit(visit, reason).await,
                Round::Probe(reason, flight, request) => {
                    return self.probe(visit, (reason, flight), &request).await;
                }
            }
        }
        // Something changes faster than it can be looked up.
        self.pass_visit(visit, Reason::Foreign).await
    }

    pub(super) async fn pass_visit(&self, visit: &Visit, reason: Reason) -> (Response<Body>, Verdict) {
        let body = visit.body.clone().map_or_else(Body::empty, Body::from);
        let request = Request::from_parts(visit.parts.clone(), body);
        self.pass(request, &visit.target, reason).await
    }

    async fn round(self: &Arc<Self>, store: &Arc<Store>, visit: &Arc<Visit>, learnt: &mut Learnt) -> Round {
        let found = find(store, visit).await;
        let rule = self.rules.request.accept;
        if needs_accept_axis(&visit.parts.method, &visit.parts.headers, rule)
            && !found.varies_by(&header::ACCEPT)
        {
            return Round::Pass(Reason::Accept);
        }
        let stale = match found {
            Lookup::Found(snapshot, generated) => {
                match self.use_found(store, visit, learnt, snapshot, generated).await {
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
                if !store.has_room(&visit.key, visit.select(&names).id()) {
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
        // A range of a page that is not there: a fill would fetch all of it for a part.
        if stale.is_none() && validate::single_range(&visit.parts.headers).is_some() {
            return Round::Pass(Reason::Range);
        }
        if !may_write(store).await {
            return Round::Pass(Reason::ReadOnly);
        }
        self.take_seat(store, visit, learnt, stale).await
    }

    /// Answers from a snapshot if it may; else says what there is to validate, if anything.
    async fn use_found(
        &self,
        store: &Store,
        visit: &Visit,
        learnt: &mut Learnt,
        snapshot: Arc<Snapshot>,
        generated: Generated,
    ) -> Result<Round, Option<Stale>> {
        let head = &snapshot.rendering.head;
        if !accepts_coding(&head.headers, &visit.parts.headers) {
            return Ok(Round::Pass(Reason::Encoding));
        }
        let now = self.clock.unix_seconds();
        let standing = match reuse(head, generated, now, self.rules.store.default_ttl) {
            Reuse::Fresh(standing) => standing,
            Reuse::Validate(standing) if learnt.validated => standing,
            Reuse::Validate(standing) => {
                return Err(Some(Stale {
                    snapshot,
                    generated,
                    standing,
                }));
            }
        };
        let verdict = if learnt.validated {
            Verdict {
                ttl: standing.ttl,
                forward_status: Some(304),
                ..Verdict::new(Outcome::Revalidated).with_forward(Forward::Stale)
            }
        } else {
            Verdict::hit(&standing)
        };
        match self.serve(visit, &snapshot, &standing).await {
            Ok(response) => Ok(Round::Answer(response, verdict)),
            Err(serve::Changed) => {
                store.forget_parsed(&visit.key, &snapshot.variant);
                if std::mem::replace(&mut learnt.changed, true) {
                    return Err(None);
                }
                Ok(Round::Again)
            }
        }
    }

    pub(super) async fn serve(
        &self,
        visit: &Visit,
        snapshot: &Snapshot,
        standing: &Standing,
    ) -> Result<Response<Body>, serve::Changed> {
        let mut response = serve::answer(snapshot, &visit.parts.method, &visit.parts.headers).await?;
        let expires_after = snapshot.rendering.head.expires_after;
        write_age(
            response.headers_mut(),
            standing.age,
            expires_after,
            self.clock.unix_seconds(),
        );
        Ok(response)
    }
}

/// Whether this process may write; who does not yet asks the disk.
async fn may_write(store: &Arc<Store>) -> bool {
    if store.is_writable() {
        return true;
    }
    let store = Arc::clone(store);
    let asked = tokio::task::spawn_blocking(move || store.may_write());
    asked.await.unwrap_or(false)
}

async fn find(store: &Arc<Store>, visit: &Arc<Visit>) -> Lookup {
    if let Some(found) = store.lookup_parsed(&visit.key, &|names| visit.select(names)) {
        return found;
    }
    let (store, visit) = (Arc::clone(store), Arc::clone(visit));
    let looked_up =
        tokio::task::spawn_blocking(move || store.lookup(&visit.key, &|names| visit.select(names)));
    looked_up.await.unwrap_or(Lookup::Nothing)
}

enum KeyBody {
    TooLarge(Body),
    Broken,
    Late,
}

/// The body of a request whose method is stored by name; none for GET and HEAD.
async fn key_body(method: &Method, body: Body, patience: Duration) -> Result<Option<Bytes>, KeyBody> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(None);
    }
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
