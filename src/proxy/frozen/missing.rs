//! The page that stands for what is missing. Visitors make up addresses without number: what the search for it came to is
//! remembered for a second, and then it is looked at as any page is.

use std::sync::Arc;

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use super::{Found, Sought, Whose, find};
use crate::key::Key;
use crate::outcome::{Outcome, Reason};
use crate::policy::frozen::{MISSING_PAGES, for_another_page, may_stand_for_missing};
use crate::proxy::Engine;
use crate::proxy::respond::Verdict;
use crate::snapshot::{Frozen, Look, Missing, Shown, Snapshot};

/// For so many seconds it is not asked whether there is another by now.
const HOLDS: u64 = 1;

impl Engine {
    /// The page that stands for what is missing, if one is stored.
    pub(super) async fn show_missing(
        &self,
        frozen: &Arc<Frozen>,
        method: &Method,
        sought: &Sought,
        reason: Reason,
    ) -> (Response<Body>, Verdict) {
        let page_at = |place: usize| self.missing_page(sought, MISSING_PAGES[place]);
        let own = page_at(0).own_key();
        let now = self.clock.unix_seconds();
        let known = own.as_ref().and_then(|own| frozen.missing(own));
        let known = known.filter(|known| now.saturating_sub(known.at) <= HOLDS && known.at <= now);
        match known.as_deref() {
            Some(Missing { page: None, .. }) => return self.show_nothing(method, reason),
            Some(Missing {
                page: Some((place, key)),
                ..
            }) => {
                let page = page_at(*place);
                if let Shown::Selected(snapshot) | Shown::InPlace(snapshot) =
                    page.look(frozen, key, Look::AtOnce)
                    && let Some(response) = self
                        .show_as_missing(frozen, method, &page, (&snapshot, key))
                        .await
                {
                    return (response, Verdict::new(Outcome::Hit).with_reason(Some(reason)));
                }
            }
            None => {}
        }
        for place in 0..MISSING_PAGES.len() {
            let page = Arc::new(page_at(place));
            let Found::Page(snapshot, key, _) = find(frozen, &page).await else {
                continue;
            };
            if let Some(response) = self
                .show_as_missing(frozen, method, &page, (&snapshot, &key))
                .await
            {
                note(frozen, own.as_ref(), Some((place, key)), now);
                return (response, Verdict::new(Outcome::Hit).with_reason(Some(reason)));
            }
        }
        note(frozen, own.as_ref(), None, now);
        self.show_nothing(method, reason)
    }

    fn missing_page(&self, sought: &Sought, path: &str) -> Sought {
        Sought {
            rules: Arc::clone(self.rules.of("GET", path)),
            target: sought.target.clone(),
            path: path.to_owned(),
            query: String::new(),
            client: for_another_page(&sought.client),
        }
    }

    /// Nothing where the page is none that may stand for others, or has changed meanwhile.
    async fn show_as_missing(
        &self,
        frozen: &Frozen,
        method: &Method,
        page: &Sought,
        (snapshot, key): (&Arc<Snapshot>, &Key),
    ) -> Option<Response<Body>> {
        if !may_stand_for_missing(snapshot.rendering.head.status) {
            return None;
        }
        let mut response = self.show_page(frozen, method, page, (snapshot, key)).await?;
        *response.status_mut() = StatusCode::NOT_FOUND;
        as_missing(response.headers_mut());
        Some(response)
    }

    fn show_nothing(&self, method: &Method, reason: Reason) -> (Response<Body>, Verdict) {
        let (response, _) = self.refuse(Reason::NotStored, method);
        (response, Verdict::refused(reason))
    }
}

fn note(frozen: &Frozen, own: Option<&Key>, page: Option<(usize, Key)>, at: u64) {
    if let Some(own) = own {
        frozen.note_missing(own, Missing { page, at });
    }
}

impl Sought {
    /// The key that the page has as this client asks this host for it: with that, what is found is a function of the files.
    fn own_key(&self) -> Option<Key> {
        let whose = Whose::Host(self.target.site_scheme, &self.target.site_host);
        self.key(whose, &self.query, &self.client)
    }
}

/// What is said of the page itself is not said of every address that has none.
fn as_missing(headers: &mut HeaderMap) {
    for name in [
        header::ETAG,
        header::LAST_MODIFIED,
        header::EXPIRES,
        header::ACCEPT_RANGES,
        header::CONTENT_LOCATION,
    ] {
        headers.remove(name);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}
