//! Past the cache: requests forwarded as they are, and tunnels.

use axum::body::Body;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};

use crate::headers::{normal_host, strip_hop_by_hop};
use crate::link::Reference;
use crate::outcome::{Outcome, Reason};
use crate::pattern::KeyPattern;
use crate::policy::client::only_if_cached;
use crate::policy::forward::pass_headers;
use crate::policy::request::AfterUnsafe;
use crate::policy::validate::unmark_conditions;
use crate::proxy::Engine;
use crate::proxy::order::{Order, unasked};
use crate::proxy::respond::{Verdict, refusal};
use crate::proxy::target::Target;
use crate::upstream::UpstreamError;
use crate::upstream::tunnel::splice;

impl Engine {
    /// Forwards the request as it is, streaming both ways.
    pub(super) async fn pass(
        &self,
        request: Request<Body>,
        target: &Target,
        reason: Reason,
    ) -> (Response<Body>, Verdict) {
        target.trace.passed(reason);
        if request.extensions().get::<Order>().is_some() {
            return unasked(reason);
        }
        let method = request.method().clone();
        // RFC 9111 §5.2.1.7: nothing stored may answer, and the client wants nothing else.
        if matches!(method, Method::GET | Method::HEAD) && only_if_cached(request.headers()) {
            return self.refuse(Reason::OnlyIfCached, &method);
        }
        let (mut parts, body) = request.into_parts();
        // Whoever got a page of this path in a coding got it as an answer to a GET.
        if !self.rules.of("GET", target.path()).codings.is_off() {
            unmark_conditions(&mut parts.headers);
        }
        self.to_backend(&mut parts, target);
        match self.upstream.fetch(Request::from_parts(parts, body)).await {
            // Nobody asked for another protocol.
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.no_answer(Reason::Unreachable, &method)
            }
            Ok(mut response) => {
                strip_hop_by_hop(response.headers_mut());
                let status = response.status();
                let shown = shown_at(response.headers(), target);
                self.after_unsafe(&method, status, target, shown).await;
                (response, Verdict::pass(reason))
            }
            Err(error) => self.failed(&error, &method),
        }
    }

    /// Joins client and backend once the backend has agreed; a refusal is an ordinary answer.
    pub(super) async fn tunnel(
        &self,
        mut request: Request<Body>,
        target: &Target,
    ) -> (Response<Body>, Verdict) {
        let method = request.method().clone();
        let upgrade = request.headers().get(header::UPGRADE).cloned();
        // A handler in this process upgrades the client's connection itself.
        let client = (!self.upstream.is_in_process()).then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        self.to_backend(&mut parts, target);
        if let Some(upgrade) = &upgrade {
            as_upgrade(&mut parts.headers, upgrade.clone());
        }
        let mut response = match self.upstream.fetch(Request::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(error) => return self.failed(&error, &method),
        };
        let verdict = Verdict {
            outcome: Outcome::Tunnel,
            ..Verdict::pass(Reason::Upgrade)
        };
        let agreed = response.headers().get(header::UPGRADE).cloned();
        strip_hop_by_hop(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(client) = client {
                let backend = hyper::upgrade::on(&mut response);
                // Owned by nobody: it ends with either side, or by silence.
                tokio::spawn(splice(client, backend, self.waits.tunnel));
                *response.body_mut() = Body::empty();
            }
            if let Some(protocol) = agreed.or(upgrade) {
                as_upgrade(response.headers_mut(), protocol);
            }
        }
        (response, verdict)
    }

    pub(super) fn failed(&self, error: &UpstreamError, method: &Method) -> (Response<Body>, Verdict) {
        if error.is_clients_fault() {
            tracing::debug!(error = %crate::error::chain(error), "a request did not come in whole");
            return self.refuse(error.reason(), method);
        }
        self.backend_failed(method.as_str(), error);
        self.no_answer(error.reason(), method)
    }

    pub(super) fn no_answer(&self, reason: Reason, method: &Method) -> (Response<Body>, Verdict) {
        let verdict = Verdict {
            outcome: Outcome::Failed,
            ..Verdict::pass(reason)
        };
        (refusal(reason, method), verdict)
    }

    fn to_backend(&self, parts: &mut Parts, target: &Target) {
        pass_headers(&mut parts.headers, &target.asker(), &self.via.value);
        parts.uri = origin_form(&parts.uri);
        parts.version = http::Version::HTTP_11;
    }

    /// RFC 9111 §4.4: after an unsafe request that succeeded, what is stored under its path has to be
    /// validated, and so what is under the paths of `Location` and `Content-Location`, where a form's result
    /// is shown; a visitor's request never deletes a file.
    async fn after_unsafe(&self, method: &Method, status: StatusCode, target: &Target, shown: Vec<String>) {
        // A method that `include_paths` names asks for a page; it changes none.
        let rules = &self.rules.of(method.as_str(), target.path()).request;
        if rules.after_unsafe == AfterUnsafe::Nothing
            || rules.filters.judge(method.as_str(), target.path()) != Err(Reason::Method)
        {
            return;
        }
        let succeeded = status.is_success() || status.is_redirection();
        let changes = succeeded && !method.is_safe();
        let (true, Some(store)) = (changes, self.store.clone()) else {
            return;
        };
        let mut paths = shown;
        paths.push(target.path().to_owned());
        paths.sort_unstable();
        paths.dedup();
        let done = tokio::task::spawn_blocking(move || {
            if !(store.may_write() && store.is_still_writable()) {
                return;
            }
            for path in paths {
                store.mark(KeyPattern::path_itself(&path));
            }
        });
        if done.await.is_err() {
            tracing::error!("the invalidation after an unsafe request was interrupted");
        }
    }
}

/// Where the result of a request is shown, as far as its answer says.
fn shown_at(headers: &HeaderMap, target: &Target) -> Vec<String> {
    [header::LOCATION, header::CONTENT_LOCATION]
        .into_iter()
        .filter_map(|name| path_here(headers.get(name)?.to_str().ok()?, target))
        .collect()
}

/// The path of a URL reference; none if it is another site's (RFC 9111 §4.4: "the origin of the URI"), or
/// relative to the path.
fn path_here(reference: &str, target: &Target) -> Option<String> {
    let rest = match Reference::of(reference) {
        Reference::Absolute(link) => {
            let is_own = [
                (&target.own_host, target.own_scheme),
                (&target.site_host, target.site_scheme),
            ]
            .into_iter()
            .any(|(own, own_scheme)| {
                // A backend behind TLS that ends in front of it says `http:` of the same site.
                link.host(own_scheme) == normal_host(own, own_scheme)
            });
            Some(link.rooted()).filter(|_| is_own)?
        }
        Reference::Relative { scheme: None, rest } => rest.into(),
        Reference::Relative { .. } | Reference::Other => return None,
    };
    let path = rest.split(['?', '#']).next()?;
    path.starts_with('/').then(|| path.to_owned())
}

fn as_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Path and query, byte for byte; an absolute form loses its authority, which `Host` carries.
pub(super) fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path_and_query) => Uri::from(path_and_query.clone()),
        None => Uri::from_static("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::SiteRules;

    #[test]
    fn a_site_is_the_same_with_its_port_or_without() {
        let rules = SiteRules {
            public: Some(("https".into(), "site.test".into())),
            aliases: Vec::new(),
            trusted_proxies: Vec::new(),
        };
        let request = Request::get("/a").header("host", "inner.test:80");
        let target = Target::of(&request.body(Body::empty()).unwrap(), &rules).unwrap();
        for (reference, expected) in [
            ("/b?c", Some("/b")),
            ("https://site.test/b", Some("/b")),
            ("https://SITE.test:443/b", Some("/b")),
            ("http://site.test:80/b", Some("/b")),
            ("//site.test:443/b", Some("/b")),
            ("http://inner.test/b", Some("/b")),
            ("HTTPS://site.test", Some("/")),
            ("https://site.test:8443/b", None),
            ("https://user@site.test/b", None),
            ("https://other.test/b", None),
            ("b", None),
        ] {
            assert_eq!(path_here(reference, &target).as_deref(), expected, "{reference}");
        }
    }
}
