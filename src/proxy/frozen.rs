//! The road of every request where `frozen` is set: what is in the directory is all there is.
//!
//! `policy::frozen` decides; here it is looked up, from what was asked for to what is next to it: without the fields
//! that are part of the key, without the query, for another host. Nothing is asked of the backend, which is none.

mod missing;

use std::sync::Arc;

use axum::body::Body;
use http::header::HeaderMap;
use http::{HeaderName, Method, Request, Response};

use crate::config::check::Rules;
use crate::head::{Generated, VariantKey};
use crate::headers::strip_listed;
use crate::key::{HostInKey, Key, KeyRules, KeySource};
use crate::outcome::{Outcome, Reason};
use crate::policy::frozen::{Distance, Road, nearest, road};
use crate::policy::request::Facts;
use crate::policy::vary;
use crate::proxy::found::Client;
use crate::proxy::respond::Verdict;
use crate::proxy::target::Target;
use crate::proxy::{Engine, trace};
use crate::serve::Times;
use crate::snapshot::{Choice, Frozen, Look, Shown, Snapshot, Store};

/// A file may change between being looked at and being read; so often it is looked at again.
const LOOKS: usize = 3;

/// The snapshot directory, as far as it can be used.
pub(super) enum Directory {
    /// Written, or read beside who writes it.
    Kept(Arc<Store>),
    Shown(Arc<Frozen>),
    Unusable,
}

impl Directory {
    /// A name that only this directory has. No request comes back from where none is sent.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Kept(store) => Some(store.directory_id()),
            Self::Shown(_) | Self::Unusable => None,
        }
    }

    pub(super) fn into_parts(self) -> (Option<Arc<Store>>, Option<Arc<Frozen>>) {
        match self {
            Self::Kept(store) => (Some(store), None),
            Self::Shown(frozen) => (Some(Arc::clone(frozen.store())), Some(frozen)),
            Self::Unusable => (None, None),
        }
    }
}

/// What is looked for, and for whom.
struct Sought {
    rules: Arc<Rules>,
    target: Target,
    /// Another than the target's where a page stands for it.
    path: String,
    query: String,
    client: HeaderMap,
}

/// What a look comes to.
enum Found {
    Page(Arc<Snapshot>, Key, Option<Reason>),
    Unusable(Reason),
    Nothing,
    /// It cannot be said without waiting.
    Later,
}

/// Whose page.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// By scheme and host.
    Host(&'a str, &'a str),
    Everybodys,
}

/// Where a page is looked for.
struct Place<'a> {
    whose: Whose<'a>,
    is_of_other_host: bool,
}

impl Engine {
    /// Answers from the directory, or says that nothing there does.
    pub(super) async fn show(
        self: Arc<Self>,
        frozen: Arc<Frozen>,
        (method, mut client): (Method, HeaderMap),
        (facts_road, target, rules): (Road, Target, Arc<Rules>),
    ) -> (Response<Body>, Verdict) {
        target.trace.note(|| trace::frozen(facts_road));
        strip_listed(&mut client);
        let query = rules.key.keep_query(target.query()).into_owned();
        let sought = Arc::new(Sought {
            path: target.path().to_owned(),
            query,
            client,
            rules,
            target,
        });
        match facts_road {
            Road::Refuse(reason) => self.refuse(reason, &method),
            Road::Absent(reason) => self.show_missing(&frozen, &method, &sought, reason).await,
            Road::Look => {
                for _ in 0..LOOKS {
                    match find(&frozen, &sought).await {
                        Found::Page(snapshot, key, reason) => {
                            let served = self.show_page(&frozen, &method, &sought, (&snapshot, &key)).await;
                            if let Some(response) = served {
                                return (response, Verdict::new(Outcome::Hit).with_reason(reason));
                            }
                        }
                        Found::Unusable(reason) => return self.refuse(reason, &method),
                        Found::Nothing | Found::Later => {
                            return self
                                .show_missing(&frozen, &method, &sought, Reason::NotStored)
                                .await;
                        }
                    }
                }
                self.refuse(Reason::Foreign, &method)
            }
        }
    }

    /// Nothing where the file has changed since it was looked at.
    async fn show_page(
        &self,
        frozen: &Frozen,
        method: &Method,
        sought: &Sought,
        (snapshot, key): (&Arc<Snapshot>, &Key),
    ) -> Option<Response<Body>> {
        let client = Client {
            method,
            fields: &sought.client,
            rules: &sought.rules,
            trace: &sought.target.trace,
        };
        // As from a server of files, where a page is as old as the answer: the times of files are those of whoever put
        // them there.
        let times = Times::of(Generated::Unmarked, self.clock.unix_seconds());
        let served = self
            .serve_to(frozen.store(), (client, key), snapshot, times)
            .await;
        if served.is_err() {
            frozen.store().forget_parsed(key, &snapshot.variant);
        }
        served.ok()
    }
}

/// The decision, before the request is taken apart.
pub(super) fn decide(facts: &Facts<'_>, rules: &Rules) -> Road {
    road(facts, &rules.request)
}

async fn find(frozen: &Arc<Frozen>, sought: &Arc<Sought>) -> Found {
    // To another thread and back takes more than the rest of a hit.
    match sought.find_in(frozen, Look::AtOnce) {
        Found::Later => {}
        found => return found,
    }
    let (frozen, sought) = (Arc::clone(frozen), Arc::clone(sought));
    let found = tokio::task::spawn_blocking(move || sought.find_in(&frozen, Look::Waiting));
    found.await.unwrap_or(Found::Nothing)
}

impl Sought {
    /// From what was asked for to what is next to it. What cannot be used ends the search: a page in its place would
    /// hide that.
    fn find_in(&self, frozen: &Frozen, how: Look) -> Found {
        let (scheme, host) = (self.target.site_scheme, &*self.target.site_host);
        let other = if scheme == "https" { "http" } else { "https" };
        let own = [
            Whose::Host(scheme, host),
            Whose::Host(other, host),
            Whose::Everybodys,
        ];
        let other_host = |whose| Place {
            whose,
            is_of_other_host: true,
        };
        let mut tried = Vec::new();
        // What the settings say comes first.
        let first = match self.rules.key.host {
            HostInKey::Part => Whose::Host(scheme, host),
            HostInKey::Fixed => Whose::Everybodys,
        };
        let first = Place {
            whose: first,
            is_of_other_host: false,
        };
        for place in [first].into_iter().chain(own.map(other_host)) {
            let found = self.find_of((frozen, how), &place, &mut tried);
            if !matches!(found, Found::Nothing) {
                return found;
            }
        }
        let home = match frozen.home(how) {
            Some(Some(home)) => home,
            Some(None) => return Found::Nothing,
            None => return Found::Later,
        };
        let other = if home.scheme == "https" { "http" } else { "https" };
        for scheme in [home.scheme, other] {
            let place = other_host(Whose::Host(scheme, &home.host));
            let found = self.find_of((frozen, how), &place, &mut tried);
            if !matches!(found, Found::Nothing) {
                return found;
            }
        }
        Found::Nothing
    }

    fn find_of(&self, (frozen, how): (&Frozen, Look), place: &Place<'_>, tried: &mut Vec<Key>) -> Found {
        let none = HeaderMap::new();
        for (query, fields) in [
            (&*self.query, &self.client),
            (&*self.query, &none),
            ("", &self.client),
            ("", &none),
        ] {
            let Some(key) = self
                .key(place.whose, query, fields)
                .filter(|key| !tried.contains(key))
            else {
                continue;
            };
            let (snapshot, is_other_variant) = match self.look(frozen, &key, how) {
                Shown::Selected(snapshot) => (snapshot, false),
                Shown::InPlace(snapshot) => (snapshot, true),
                Shown::Damaged => return Found::Unusable(Reason::Damaged),
                Shown::Settling => return Found::Unusable(Reason::Foreign),
                Shown::Later => return Found::Later,
                Shown::Nothing => {
                    tried.push(key);
                    continue;
                }
            };
            let distance = Distance {
                has_other_query: query != self.query,
                is_other_variant: is_other_variant || (fields.is_empty() && !self.client.is_empty()),
                is_of_other_host: place.is_of_other_host,
            };
            return Found::Page(snapshot, key, distance.reason());
        }
        Found::Nothing
    }

    fn look(&self, frozen: &Frozen, key: &Key, how: Look) -> Shown {
        let select = |names: &[HeaderName]| -> VariantKey {
            vary::select(names, &self.client, &self.rules.key.languages)
        };
        let choice = Choice {
            select: &select,
            nearest: &nearest,
        };
        frozen.look(key, &choice, how)
    }

    fn key(&self, whose: Whose<'_>, query: &str, fields: &HeaderMap) -> Option<Key> {
        let source = KeySource {
            path: &self.path,
            ..self.target.source("GET", query, fields)
        };
        let (host, source) = match whose {
            Whose::Host(scheme, host) => (
                HostInKey::Part,
                KeySource {
                    scheme,
                    host,
                    ..source
                },
            ),
            Whose::Everybodys => (HostInKey::Fixed, source),
        };
        let rules = &self.rules.key;
        if rules.host == host {
            return rules.key(&source);
        }
        let rules = KeyRules {
            host,
            ..rules.clone()
        };
        rules.key(&source)
    }
}

/// Where the directory cannot be opened, there is nothing at all to answer with.
pub(super) fn nothing(request: &Request<Body>) -> Response<Body> {
    super::respond::refusal(Reason::Disk, request.method())
}
