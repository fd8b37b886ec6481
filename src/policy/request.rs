//! Where a request goes: refused, through a tunnel, past the cache, or to it.

use http::Method;
use http::header::{self, HeaderMap};

use crate::headers::has_token;
use crate::outcome::Reason;
use crate::policy::accept::accepts_page;
use crate::policy::filter::{Filters, Included};
use crate::policy::identity::{Identity, IdentityRules, identity};

/// What of a request decides its road.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: BodyPresence,
    pub(crate) host: HostStanding,
}

/// Whether a request has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPresence {
    Absent,
    Present,
}

/// Whether the request's host is one that pages are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostStanding {
    Ours,
    Foreign,
}

/// What requests may do, as configured.
#[derive(Debug, Clone)]
pub(crate) struct RequestRules {
    pub(crate) filters: Filters,
    pub(crate) identity: IdentityRules,
    pub(crate) upgrades: Upgrades,
    pub(crate) methods: Methods,
    /// Accept is part of the key, so every value of it has its own pages.
    pub(crate) accept: AcceptRule,
    /// In lower case; `*` is any but h2c.
    pub(crate) upgrade_protocols: Vec<String>,
    pub(crate) after_unsafe: AfterUnsafe,
    pub(crate) client_directives: ClientDirectives,
}

/// `invalidate_after_unsafe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterUnsafe {
    /// What is stored under the path is to be validated.
    Validate,
    Nothing,
}

/// `trust_client_cache_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientDirectives {
    /// But for `only-if-cached`.
    Ignored,
    Obeyed,
}

/// `enable_websocket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrades {
    Tunnelled,
    Refused,
}

/// `forward_get_only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    All,
    ReadOnly,
}

/// Whether a request must accept pages to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptRule {
    Pages,
    Anything,
}

/// The road of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Refuse(Reason),
    Tunnel,
    Pass(Reason),
    /// Passes, because it may be somebody's.
    Somebody(Identity<'a>),
    Lookup(Included),
}

/// Decides the road. A range or a condition changes nothing here: a stored page answers both.
pub(crate) fn route<'a>(facts: &Facts<'a>, rules: &RequestRules) -> Route<'a> {
    // A CONNECT tunnel would reach whatever host it names.
    if facts.method == Method::CONNECT {
        return Route::Refuse(Reason::BadRequest);
    }
    let is_read = matches!(*facts.method, Method::GET | Method::HEAD);
    if rules.methods == Methods::ReadOnly && !is_read {
        return Route::Refuse(Reason::GetOnly);
    }
    if asks_for_upgrade(facts.headers, &rules.upgrade_protocols) {
        return match rules.upgrades {
            Upgrades::Tunnelled => Route::Tunnel,
            Upgrades::Refused => Route::Refuse(Reason::UpgradeOff),
        };
    }
    let included = match rules.filters.judge(facts.method.as_str(), facts.path) {
        Ok(included) => included,
        Err(reason) => return Route::Pass(reason),
    };
    if is_read && facts.body == BodyPresence::Present {
        return Route::Pass(Reason::RequestBody);
    }
    if facts.host == HostStanding::Foreign {
        return Route::Pass(Reason::Host);
    }
    match identity(facts.headers, facts.query, &rules.identity) {
        Some(somebody) => Route::Somebody(somebody),
        None => Route::Lookup(included),
    }
}

/// Whether the request accepts no page, so that it passes unless its page is known to vary by Accept.
pub(crate) fn needs_accept_axis(method: &Method, headers: &HeaderMap, rule: AcceptRule) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    rule == AcceptRule::Pages && is_read && !accepts_page(headers)
}

#[cfg(test)]
impl RequestRules {
    /// With something of everything that can be refused.
    pub(super) fn strict(cookies: super::identity::CookieRule) -> Self {
        Self {
            filters: Filters::default(),
            identity: IdentityRules {
                bypass_headers: [header::AUTHORIZATION].into_iter().collect(),
                bypass_query: crate::headers::NameList::new(["token"]),
                cookies,
            },
            upgrades: Upgrades::Tunnelled,
            methods: Methods::All,
            accept: AcceptRule::Pages,
            upgrade_protocols: vec!["*".into()],
            after_unsafe: AfterUnsafe::Validate,
            client_directives: ClientDirectives::Ignored,
        }
    }
}

/// RFC 9110 §7.8: a non-empty `Upgrade` that `Connection` names, for a protocol that may be tunnelled.
/// Any other is ignored and the request is an ordinary one; h2c above all, which would open a road
/// around every rule.
pub(super) fn asks_for_upgrade(headers: &HeaderMap, allowed: &[String]) -> bool {
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return false;
    }
    let mut protocols = crate::headers::list_values(headers, &header::UPGRADE).peekable();
    protocols.peek().is_some()
        && protocols.all(|protocol| {
            let protocol = protocol.to_ascii_lowercase();
            let name = protocol.split('/').next().unwrap_or_default();
            allowed.iter().any(|known| match known.as_str() {
                "*" => name != "h2c",
                known => known == protocol || known == name,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::NameList;
    use crate::policy::identity::CookieRule;
    use http::HeaderValue;

    fn rules() -> RequestRules {
        RequestRules::strict(CookieRule::AllBut {
            ignored: NameList::default(),
            keyed: Vec::new(),
        })
    }

    fn routed(
        method: Method,
        fields: &[(&'static str, &'static str)],
        rules: &RequestRules,
    ) -> Route<'static> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let facts = Facts {
            method: &method,
            path: "/",
            query: "",
            headers: &headers,
            body: BodyPresence::Absent,
            host: HostStanding::Ours,
        };
        match route(&facts, rules) {
            Route::Refuse(reason) => Route::Refuse(reason),
            Route::Tunnel => Route::Tunnel,
            Route::Pass(reason) => Route::Pass(reason),
            Route::Somebody(somebody) => Route::Pass(somebody.reason()),
            Route::Lookup(included) => Route::Lookup(included),
        }
    }

    #[test]
    fn an_upgrade_is_one_that_connection_names_and_that_is_allowed() {
        let rules = rules();
        let looked_up = Route::Lookup(Included::ByDefault);
        for (fields, expected) in [
            (
                vec![("connection", "Upgrade"), ("upgrade", "websocket")],
                Route::Tunnel,
            ),
            (
                vec![("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket")],
                Route::Tunnel,
            ),
            (vec![("upgrade", "websocket")], looked_up),
            (vec![("connection", "upgrade")], looked_up),
            (vec![("connection", "upgrade"), ("upgrade", "")], looked_up),
            (
                vec![("connection", "upgrade, http2-settings"), ("upgrade", "h2c")],
                looked_up,
            ),
            (
                vec![("connection", "upgrade"), ("upgrade", "websocket, h2c")],
                looked_up,
            ),
        ] {
            assert_eq!(routed(Method::GET, &fields, &rules), expected, "{fields:?}");
        }
        let mut listed = rules.clone();
        listed.upgrade_protocols = vec!["websocket".into()];
        let other = [("connection", "upgrade"), ("upgrade", "tls/1.3")];
        assert_eq!(routed(Method::GET, &other, &rules), Route::Tunnel);
        assert_eq!(routed(Method::GET, &other, &listed), looked_up);
    }

    #[test]
    fn refusals() {
        let mut rules = rules();
        assert_eq!(
            routed(Method::CONNECT, &[], &rules),
            Route::Refuse(Reason::BadRequest)
        );
        rules.methods = Methods::ReadOnly;
        rules.upgrades = Upgrades::Refused;
        assert_eq!(routed(Method::POST, &[], &rules), Route::Refuse(Reason::GetOnly));
        assert_eq!(
            routed(Method::HEAD, &[], &rules),
            Route::Lookup(Included::ByDefault)
        );
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(
            routed(Method::GET, &upgrade, &rules),
            Route::Refuse(Reason::UpgradeOff)
        );
    }
}
