//! What a visit does with a snapshot that it has found: a hit, a stale answer, or a question to the backend.

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, HeaderMap};
use http::{Method, Response};

use crate::config::check::Rules;
use crate::head::{Generated, RenderingOrigin};
use crate::key::Key;
use crate::outcome::{Forward, Outcome, Reason};
use crate::policy::client::Choice;
use crate::policy::freshness::Stated;
use crate::policy::reuse::{Reuse, Standing, is_due, reuse_rendering};
use crate::policy::shape::unsaid_cache_control;
use crate::policy::store::accepts_coding;
use crate::proxy::Engine;
use crate::proxy::refresh::Cause;
use crate::proxy::respond::Verdict;
use crate::proxy::trace::{self, Trace};
use crate::proxy::visit::{Learnt, Round, Stale, Visit};
use crate::serve::{self, Times};
use crate::snapshot::{Snapshot, Store};

/// Who is answered from a snapshot, and by which rules.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) method: &'a Method,
    pub(super) fields: &'a HeaderMap,
    pub(super) rules: &'a Rules,
    pub(super) trace: &'a Trace,
}

impl Engine {
    /// Answers from a snapshot if it may; else says what there is to validate, if anything.
    pub(super) async fn use_found(
        self: &Arc<Self>,
        store: &Arc<Store>,
        visit: &Arc<Visit>,
        learnt: &mut Learnt,
        (snapshot, generated): (Arc<Snapshot>, Generated),
    ) -> Result<Round, Option<Stale>> {
        if !accepts_coding(&snapshot.rendering.head.headers, &visit.parts.headers) {
            return Ok(Round::Pass(Reason::Encoding));
        }
        if !visit.may_share(&snapshot.rendering.head) {
            return Ok(Round::Pass(Reason::Authorization));
        }
        let now = self.clock.unix_seconds();
        let reuse = reuse_at(now, visit, &snapshot, generated);
        let trace = &visit.target.trace;
        trace.note(|| trace::standing(&reuse, visit, &snapshot.rendering.head, now));
        let used = match learnt.validated {
            true => Some((revalidated(learnt, &reuse.standing()), None)),
            false => self.choose(store, visit, learnt, (&snapshot, generated, reuse)),
        };
        let Some((mut verdict, renewal)) = used else {
            return Err(Some(Stale { snapshot, generated }));
        };
        let times = match verdict.outcome {
            Outcome::Stale => Times::of_stale(generated, now, &snapshot.rendering.head),
            _ => Times::of(generated, now),
        };
        match self.serve(store, visit, &snapshot, times).await {
            Ok(response) => {
                // Only once the file is open: what comes in may replace it, or take it out.
                if let Some(cause) = renewal {
                    let reason = self.renew(store, visit, &snapshot, cause);
                    verdict.reason = verdict.reason.and(Some(reason));
                }
                Ok(Round::Answer(response, verdict))
            }
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
        store: &Arc<Store>,
        visit: &Visit,
        snapshot: &Arc<Snapshot>,
        times: Times,
    ) -> Result<Response<Body>, serve::Changed> {
        let client = Client {
            method: &visit.parts.method,
            fields: &visit.parts.headers,
            rules: &visit.rules,
            trace: &visit.target.trace,
        };
        self.serve_to(store, (client, &visit.key), snapshot, times).await
    }

    /// The answer that is a snapshot, in the form that the client reads.
    ///
    /// # Errors
    /// The file is another than the one that was checked.
    pub(super) async fn serve_to(
        &self,
        store: &Arc<Store>,
        (client, key): (Client<'_>, &Key),
        snapshot: &Arc<Snapshot>,
        times: Times,
    ) -> Result<Response<Body>, serve::Changed> {
        let asked = (client.method, client.fields);
        let chosen = serve::chosen(store, snapshot, &client.rules.codings, asked).await;
        client.trace.note(|| chosen.as_text());
        let (method, fields) = asked;
        let mut answer = serve::answer(store, snapshot, method, fields, (times, &chosen)).await;
        if answer.is_err()
            && let Some(identity) = chosen.instead()
        {
            // The next visit sees what became of the form.
            store.forget_parsed(key, &snapshot.variant);
            answer = serve::answer(store, snapshot, method, fields, (times, &identity)).await;
        }
        let mut response = answer?;
        let stated = Stated::by(&snapshot.rendering.head, Some(times.generated()));
        if let Some(value) = unsaid_cache_control(&stated, &client.rules.store.lifetimes) {
            response.headers_mut().insert(header::CACHE_CONTROL, value);
        }
        Ok(response)
    }

    /// In what state a snapshot is now.
    pub(super) fn reuse_of(&self, visit: &Visit, snapshot: &Snapshot, generated: Generated) -> Reuse {
        reuse_at(self.clock.unix_seconds(), visit, snapshot, generated)
    }

    /// How it is used without asking the backend, if it may be, and why it is renewed behind that.
    fn choose(
        &self,
        store: &Store,
        visit: &Visit,
        learnt: &mut Learnt,
        (snapshot, generated, reuse): (&Arc<Snapshot>, Generated, Reuse),
    ) -> Option<(Verdict, Option<Cause>)> {
        let rules = &visit.rules.store.lifetimes;
        let head = &snapshot.rendering.head;
        if let Some(order) = &visit.order {
            let verdict = visit.choose_by_order(order, learnt, (&snapshot.rendering, reuse))?;
            return Some((verdict, None));
        }
        // Nobody else's directives say anything against the operator's word.
        let is_settled = learnt.is_settled || snapshot.rendering.origin == RenderingOrigin::Operator;
        let choice = match is_settled {
            true => Choice::Stands(reuse),
            false => visit.wishes.choose(reuse, (head, generated), rules),
        };
        let standing = reuse.standing();
        let stale = |reason| Verdict::stale(&standing, reason);
        match choice {
            Choice::TakenStale(_) => return Some((stale(Reason::ClientDirective), None)),
            Choice::Stands(Reuse::Fresh(_)) => {
                let is_due = is_due(&standing, visit.rules.refresh_ahead) && was_used(learnt, generated);
                let cause = (is_due && may_renew(visit)).then_some(Cause::Ahead);
                return Some((Verdict::hit(&standing), cause));
            }
            // Who cannot store has nothing renewed.
            Choice::Stands(Reuse::WhileRevalidated(_)) if store.is_writable() && may_renew(visit) => {
                return Some((stale(Reason::Revalidating), Some(Cause::Stale)));
            }
            Choice::Validate(_) => {
                learnt.demanded = Some(match reuse {
                    // RFC 9211 §2.2: a fresh response could be selected, "but the request's semantics […] did
                    // not allow its use".
                    Reuse::Fresh(_) => Forward::Request,
                    _ => Forward::Stale,
                });
            }
            Choice::Stands(_) => {}
        }
        let reason = self.paused(store, visit, (snapshot, generated), &standing)?;
        Some((stale(reason), None))
    }
}

fn reuse_at(now: u64, visit: &Visit, snapshot: &Snapshot, generated: Generated) -> Reuse {
    let rules = &visit.rules.store.lifetimes;
    reuse_rendering(&snapshot.rendering, generated, now, rules)
}

/// What is not safe is not sent behind anybody's back, and neither are anybody's credentials.
fn may_renew(visit: &Visit) -> bool {
    !visit.asks_once() && visit.carried().is_none()
}

/// Whether somebody was answered from it since it was generated, before this visit.
fn was_used(learnt: &Learnt, generated: Generated) -> bool {
    let Generated::At(born) = generated else {
        return false;
    };
    learnt.used.is_some_and(|used| used > born)
}

/// The backend has just said that it holds.
fn revalidated(learnt: &Learnt, standing: &Standing) -> Verdict {
    Verdict {
        ttl: standing.ttl,
        forward_status: Some(304),
        reason: learnt.demanded.map(|_| Reason::ClientDirective),
        ..Verdict::new(Outcome::Revalidated).with_forward(learnt.demanded.unwrap_or(Forward::Stale))
    }
}
