//! An answer that is not kept: who gets it, and what is remembered of it.

use axum::body::Body;
use http::{HeaderName, Response, header};
use tokio::sync::oneshot;

use crate::flight::{Ending, Handover, Lead, Progress};
use crate::headers::strip_hop_by_hop;
use crate::outcome::Reason;
use crate::pattern::Subject;
use crate::policy::store::{Owner, owner};
use crate::proxy::fill::{Fill, Handed};
use crate::proxy::memory::Subjected;
use crate::tags::{Tagged, Untagged};

impl Fill {
    /// The answer is not stored: who began the fill gets it, if it can be theirs.
    pub(super) fn give_up(&self, lead: &Lead, (response, handover): Handed, reason: Reason) {
        if !response.status().is_server_error() {
            self.remember(reason);
        }
        match self.owner_of(&response, reason) {
            Owner::First => self.hand_over(lead, handover, response, reason),
            Owner::Asker => self.ends_for_all(lead, (response, handover), reason),
        }
    }

    /// Who gets an answer that is not stored.
    pub(super) fn owner_of(&self, response: &Response<Body>, reason: Reason) -> Owner {
        if self.visit.order.is_some() {
            return Owner::First;
        }
        let client = &self.visit.parts.headers;
        let whose = (self.request.rendered, self.visit.rules.store.audience);
        owner(response.status(), response.headers(), reason, whose, client)
    }

    /// The answer is nobody's: each asks for their own.
    pub(super) fn leave_to_each(&self, lead: &Lead, handed: Handed, reason: Reason) {
        self.remember(reason);
        self.ends_for_all(lead, handed, reason);
    }

    /// Nobody gets the answer, unless who began the fill must not ask again.
    pub(super) fn ends_for_all(&self, lead: &Lead, (response, handover): Handed, reason: Reason) {
        if self.visit.asks_once() || self.visit.order.is_some() {
            return self.hand_over(lead, handover, response, reason);
        }
        drop(handover);
        lead.close();
        lead.report(Progress::Over(Ending::GiveUp(reason)));
    }

    /// That such answers are not stored, so that the next requests pass.
    pub(super) fn remember(&self, reason: Reason) {
        let found = (reason, self.engine.clock.unix_seconds());
        // A memo holds nothing that a tag could be of.
        self.subjected(&Untagged, |subject| {
            let memory = &self.engine.memory;
            memory.remember(self.flight, subject, found);
        });
    }

    /// What this fill finds, as the memory takes it.
    pub(super) fn subjected<T>(&self, tags: &dyn Tagged, then: impl FnOnce(&Subjected<'_>) -> T) -> T {
        let own = self.visit.own_line(&self.request);
        let subject = Subject {
            line: self.visit.key.line(),
            own: Some(&own),
            tags,
        };
        then(&Subjected {
            key: &self.visit.key,
            own: &own,
            is_overtaken: &|| self.store.is_overtaken(self.epoch, subject),
        })
    }

    /// The disk refuses a page: who began the fill gets it, if it is the variant that they asked for. Its cookies
    /// would not have been kept, and are nobody's.
    pub(super) fn hand_over_unstored(
        &self,
        lead: &Lead,
        handover: oneshot::Sender<Handover>,
        mut response: Response<Body>,
        names: &[HeaderName],
    ) {
        response.headers_mut().remove(header::SET_COOKIE);
        match self.visit.select(names) == self.request.select(names) {
            true => self.hand_over(lead, handover, response, Reason::Disk),
            false => self.ends_for_all(lead, (response, handover), Reason::Disk),
        }
    }

    pub(super) fn hand_over(
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
}

/// Whether an answer that is not stored says that the page is nobody's any more. A redirect or an error may
/// be for a while.
pub(super) fn takes_back(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoStore
            | Reason::Private
            | Reason::SetCookie
            | Reason::VaryStar
            | Reason::Nonce
            | Reason::CsrfField
    )
}
