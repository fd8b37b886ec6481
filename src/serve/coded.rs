//! Which form of a stored page a client gets: as it is, or in a coding that is ready; and what that changes in the head.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::coding::Coding;
use crate::headers::{OF_THE_BYTES, has_token};
use crate::policy::coding::{CodingRules, choose, may_be_coded};
use crate::policy::validate::single_range;
use crate::snapshot::{Form, Snapshot, Store};

/// The form that was chosen.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(super) form: Option<Arc<Form>>,
    why: Why,
}

/// Why it is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Why {
    /// There is no other: the page or the settings are not for it.
    #[default]
    Never,
    NotReady,
    /// Ranges are of the page as it is.
    Range,
    /// By what the client accepts.
    Accepted,
}

impl Chosen {
    /// What was decided, for who reads along.
    pub(crate) fn as_text(&self) -> String {
        let form = self.form.as_ref().map_or("identity", |form| form.coding.token());
        let why = match self.why {
            Why::Never => "the page is not kept in others",
            Why::NotReady => "no other is ready",
            Why::Range => "a range is asked for",
            Why::Accepted => "by Accept-Encoding",
        };
        format!("coding: {form}, {why}")
    }

    /// The page as it is, where the file of its form is gone.
    pub(crate) fn instead(&self) -> Option<Self> {
        let why = self.why;
        self.form.is_some().then_some(Self { form: None, why })
    }

    /// Whether another request for the page may get another form: exactly where one is ready.
    fn varies(&self) -> bool {
        matches!(self.why, Why::Range | Why::Accepted)
    }

    /// Makes the stored head that of the form.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        self.write_validators_to(headers);
        if let Some(form) = &self.form {
            headers.insert(header::CONTENT_ENCODING, form.coding.value());
            for name in OF_THE_BYTES {
                headers.remove(name);
            }
        }
    }

    /// The part of that which a 304 has.
    pub(super) fn write_validators_to(&self, headers: &mut HeaderMap) {
        let is_said = |token| has_token(headers, &header::VARY, token);
        if self.varies() && !is_said("*") && !is_said("accept-encoding") {
            headers.append(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
        }
        let Some(form) = &self.form else {
            return;
        };
        match &form.etag {
            Some(etag) => headers.insert(header::ETAG, etag.clone()),
            // One that is no tag has no place for the suffix, and is not this form's.
            None => headers.remove(header::ETAG),
        };
    }
}

/// Chooses among the forms that are ready, and has those made that are not.
pub(crate) async fn chosen(
    store: &Arc<Store>,
    snapshot: &Arc<Snapshot>,
    rules: &CodingRules,
    (method, client): (&Method, &HeaderMap),
) -> Chosen {
    if rules.is_off() || !is_coded(snapshot, rules) {
        return Chosen::default();
    }
    let wanted = rules.codings();
    store.want_forms(snapshot, wanted);
    loop {
        let ready = snapshot.forms.sets().ready.and(wanted);
        let none = |why| Chosen { form: None, why };
        if ready.is_empty() {
            return none(Why::NotReady);
        }
        let is_ok = snapshot.rendering.head.status == StatusCode::OK;
        // A strong level may take the place of a fast one under the same tag: parts of the two would not fit.
        if is_ok && *method == Method::GET && single_range(client).is_some() {
            return none(Why::Range);
        }
        let Some(coding) = choose(client, ready, rules) else {
            return none(Why::Accepted);
        };
        // One that is not what it should be is not ready any more.
        if let Some(form) = checked(store, snapshot, coding).await {
            return Chosen {
                form: Some(form),
                why: Why::Accepted,
            };
        }
        if snapshot.forms.sets().ready.has(coding) {
            return none(Why::Accepted);
        }
    }
}

/// Whether the page is one that is kept in codings; what is in its head is looked at once.
fn is_coded(snapshot: &Snapshot, rules: &CodingRules) -> bool {
    let is_of_size = |(_, length)| rules.is_of_size(length);
    let may_be = || may_be_coded(&snapshot.rendering.head);
    *snapshot.forms.may_be.get_or_init(may_be) && snapshot.sealed().is_some_and(is_of_size)
}

async fn checked(store: &Arc<Store>, snapshot: &Arc<Snapshot>, coding: Coding) -> Option<Arc<Form>> {
    if let Some(form) = snapshot.forms.checked(coding) {
        return Some(Arc::clone(form));
    }
    let (store, snapshot) = (Arc::clone(store), Arc::clone(snapshot));
    let check = tokio::task::spawn_blocking(move || store.check_form(&snapshot, coding));
    check.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn vary_names_the_field_once_and_only_where_there_is_a_choice() {
        for (why, stored, expected) in [
            (Why::Never, &[][..], &[][..]),
            (Why::NotReady, &["RSC"], &["RSC"]),
            (Why::Accepted, &[], &["accept-encoding"]),
            (Why::Range, &[], &["accept-encoding"]),
            (Why::Accepted, &["RSC"], &["RSC", "accept-encoding"]),
            (
                Why::Accepted,
                &["RSC, Accept-Encoding"],
                &["RSC, Accept-Encoding"],
            ),
            (Why::Accepted, &["*"], &["*"]),
        ] {
            let fields: Vec<_> = stored.iter().map(|value| ("vary", *value)).collect();
            let mut headers = header_map(&fields);
            Chosen { form: None, why }.write_to(&mut headers);
            let vary: Vec<_> = headers.get_all(header::VARY).iter().collect();
            assert_eq!(vary, expected, "{why:?} over {stored:?}");
        }
    }
}
