//! The one set of words for what became of a request and why: `Cache-Status` (RFC 9211), the log, the
//! statistics and the command line all print these.

/// What was done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Answered from a stored response, without the backend.
    Hit,
    /// Answered from a stored response that should have been validated: the backend failed, or it is renewed
    /// behind the answer.
    Stale,
    /// The backend said that the stored response still holds (304).
    Revalidated,
    /// Fetched from the backend to be stored.
    Miss,
    /// Answered from a fetch that another request had begun.
    Collapsed,
    /// Forwarded as it is, past the cache.
    Pass,
    /// Became a tunnel to the backend, or asked for one.
    Tunnel,
    /// Answered by the proxy itself: a request that it does not accept, or may not forward.
    Refused,
    /// The backend gave no answer that could be passed on.
    Failed,
}

impl Outcome {
    /// Every outcome there is.
    pub const ALL: &'static [Self] = &[
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Miss,
        Self::Collapsed,
        Self::Pass,
        Self::Tunnel,
        Self::Refused,
        Self::Failed,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Pass => "pass",
            Self::Tunnel => "tunnel",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident = $word:literal, $fwd:ident, $advice:literal; )+) => {
        /// Why a response came from the backend, was not stored, or was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word for it, as `Cache-Status` says it in `detail`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// What an operator can do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),+ }
            }

            /// RFC 9211 §2.2: why the request went forward.
            pub(crate) fn forward(self) -> Forward {
                match self { $(Self::$name => Forward::$fwd),+ }
            }
        }
    };
}

/// The `fwd` parameter of `Cache-Status` (RFC 9211 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

reasons! {
    /// The method is not one whose responses are stored, as HEAD is not where the page is not.
    Method = "method", Method, "only GET and HEAD are looked up, and HEAD stores nothing; name another method in `include_paths` (\"POST /search\") to store its answers";
    /// The path matches `exclude_paths`.
    Excluded = "excluded", Bypass, "narrow the pattern in `exclude_paths`";
    /// `include_paths` is set and the path matches none of it.
    NotIncluded = "not-included", Bypass, "add a pattern for the path to `include_paths`";
    /// The request carries credentials in a header field.
    Authorization = "authorization", Bypass, "nothing: what is asked for with credentials is never shared, but for what says `public`, `s-maxage` or `must-revalidate` where `fill = \"transparent\"`; `bypass_headers` adds to the fields that count";
    /// The request carries a cookie that may be somebody's identity.
    Cookie = "cookie", Bypass, "name cookies that do not change the page in `ignore_cookies`, those that do in `key_cookies`, or set `bypass_cookies` to the only ones that count";
    /// A query parameter looks like a key to something.
    SecretQuery = "secret-query", Bypass, "nothing: what a token, a code or a signature opens is never shared; `bypass_query` adds to the names that count";
    /// The host is neither that of `public_url` nor one of `aliases`.
    Host = "host", Bypass, "add the host to `aliases`, or correct `public_url`";
    /// A range of a page that is not stored.
    Range = "range", Partial, "nothing: the whole page, once stored, answers ranges";
    /// A GET or HEAD request with a body, or a body too large for a key.
    RequestBody = "request-body", Bypass, "a request body is part of the key only for methods named in `include_paths`, up to 1 MiB";
    /// The request does not accept what a page fill asks for.
    Accept = "accept", Bypass, "the request's Accept admits neither HTML nor anything; let the page at this address name Accept in `Vary`, or name Accept in `key_headers`";
    /// The key function failed, or what it reads could not be found out.
    Key = "key", Bypass, "let the key function return a key for every request, with fields and parameters left out too, and read few of them";
    /// The backend said `no-store`.
    NoStore = "no-store", UriMiss, "the backend sends `Cache-Control: no-store`; change it there";
    /// The backend said `private`.
    Private = "private", UriMiss, "the backend sends `Cache-Control: private`; change it there";
    /// The answer sets a cookie.
    SetCookie = "set-cookie", UriMiss, "the backend sets a cookie with the page; stop that there, or name a cookie that may be dropped in `ignore_set_cookies`, or set `set_cookie = \"strip\"` for the path";
    /// The answer varies by everything.
    VaryStar = "vary-star", UriMiss, "the backend sends `Vary: *`; change it there";
    /// The status is not one that is stored without explicit freshness.
    Status = "status", UriMiss, "answers with this status are stored only with explicit freshness (`Cache-Control: max-age=…`); 428, 429, 431 and 511 never";
    /// A server error.
    ServerError = "server-error", UriMiss, "errors are stored only with explicit freshness; mend the backend";
    /// Already expired when it came, with nothing to validate it by.
    Expired = "expired", UriMiss, "the backend sends a lifetime of zero, or one that is no number of seconds, and no validator; raise it there, or set `ttl` for the path; where it sends none, raise `default_ttl`";
    /// JSON without explicit freshness.
    Json = "json", UriMiss, "JSON is stored when the backend gives it a lifetime or `include_paths` names its path";
    /// A stream or another type that has no end or no meaning as a page.
    ContentType = "content-type", UriMiss, "nothing: event streams, multipart and gRPC are passed through";
    /// A Content-Security-Policy with a nonce.
    Nonce = "nonce", UriMiss, "the page's Content-Security-Policy carries a nonce, which must not be repeated; use hashes instead";
    /// HTML with a form field that holds a CSRF token.
    CsrfField = "csrf-field", UriMiss, "the page's HTML carries a CSRF token, which must not be shared; load the token with a request of its own";
    /// A redirect to the request's own URL.
    SelfRedirect = "self-redirect", UriMiss, "the backend redirects the page to itself; set `public_url` so that it sees the right scheme and host";
    /// Not a complete final response: 206, 304 or the like, unasked.
    Partial = "partial", UriMiss, "the backend answered a whole-page request with part of one; mend the backend";
    /// The stored coding is not one the client accepts.
    Encoding = "encoding", Bypass, "the backend encodes even when asked not to; turn its compression off";
    /// Larger than `max_body`.
    TooLarge = "too-large", UriMiss, "raise `max_body`";
    /// More variants than `max_variants`.
    Variants = "variants", VaryMiss, "raise `max_variants`, or let the backend vary by less";
    /// A status that is not known, and `must-understand`.
    MustUnderstand = "must-understand", UriMiss, "the backend sends `must-understand` with a status that has no known meaning to a cache; change it there";
    /// Asked for less often than `min_uses` says.
    MinUses = "min-uses", UriMiss, "nothing: the page is stored when it has been asked for `min_uses` times";
    /// Stale, and being renewed behind this answer.
    Revalidating = "revalidating", Stale, "nothing: `stale-while-revalidate` lets the page be served while it is renewed";
    /// `only-if-cached`, and nothing is stored that may be used.
    OnlyIfCached = "only-if-cached", UriMiss, "nothing here: the client wants nothing that is not stored";
    /// The client's `Cache-Control` or `Pragma` asks for more than what is stored.
    ClientDirective = "client-directive", Request, "turn `trust_client_cache_control` off to have the Cache-Control of requests ignored";
    /// A 200 without a whole HTML page, where one is stored.
    Rejected = "rejected", UriMiss, "nothing: the stored page stays, and `phantom-frame ls --rejected` lists what came; mend the backend, or invalidate the page to take whatever comes; `keep_last_good = false` turns it off";
    /// No room under `disk_limit` for a body that is being fetched, or pages come faster than others can go.
    DiskLimit = "disk-limit", UriMiss, "raise `disk_limit`, or lower `max_body` or `max_fills`";
    /// Pages of `max_hosts` other hosts are stored.
    Hosts = "hosts", Bypass, "set `public_url`, so that the host is no part of the key; or raise `max_hosts`";
    /// The backend broke off.
    Incomplete = "incomplete", UriMiss, "the backend ended the body too soon; see its log";
    /// An invalidation came while the page was being fetched.
    Invalidated = "invalidated", UriMiss, "nothing: the next request stores the page";
    /// The snapshot could not be written.
    Disk = "disk", UriMiss, "see the log for the file system's error: space, permissions";
    /// The directory is only read here.
    ReadOnly = "read-only", UriMiss, "nothing, if it is meant: another process writes this directory, and only that one stores pages";
    /// A file was changed by hand a moment ago.
    Foreign = "foreign-change", UriMiss, "nothing: a snapshot changed by another program is looked at again after two seconds";
    /// More fills at once than `max_fills`.
    Busy = "busy", Bypass, "raise `max_fills`";
    /// The connection or the answer did not come in time.
    Timeout = "timeout", UriMiss, "make the backend faster, or raise `response_timeout` or `connect_timeout`";
    /// The backend could not be reached, or its answer was not HTTP.
    Unreachable = "unreachable", UriMiss, "see whether the backend runs at `proxy_url`";
    /// A handler, a key function or another function of the application panicked.
    Panic = "panic", Request, "see the log for the panic, and mend what panicked; no other request is touched by it";
    /// The request came back to this process.
    Loop = "loop", Request, "`proxy_url` leads back to this server: point it at the backend";
    /// A malformed request.
    BadRequest = "bad-request", Request, "nothing here: the client sent a target, a method, a Host or a body that cannot be understood";
    /// The request's body stood still.
    RequestTimeout = "request-timeout", Request, "nothing here: the client stopped sending its request's body; `body_timeout` says how long it may";
    /// `forward_get_only` is on.
    GetOnly = "get-only", Method, "turn `forward_get_only` off to have other methods forwarded";
    /// `enable_websocket` is off.
    UpgradeOff = "upgrade-off", Request, "turn `enable_websocket` on to have upgrades tunnelled";
    /// The request asks for a tunnel.
    Upgrade = "upgrade", Request, "nothing: tunnels are never stored";
    /// `frozen` is on, and the method is neither GET nor HEAD.
    FrozenMethod = "frozen-method", Method, "nothing, if it is meant: where `frozen` is on there is no backend that could take it";
    /// `frozen` is on, and the request asks for a tunnel.
    FrozenUpgrade = "frozen-upgrade", Request, "nothing, if it is meant: where `frozen` is on there is no backend that a tunnel could lead to";
    /// `frozen` is on, and nothing is stored that could answer.
    NotStored = "not-stored", UriMiss, "render the page into the directory (`prerender`), and deploy that; `/404.html` or `/404`, stored, is shown in place of what is missing";
    /// `frozen` is on, and what is stored is not what was sealed.
    Damaged = "damaged", UriMiss, "see the log for the file, and `phantom-frame verify`; take the directory's commit again, or accept an edit with `reseal`";
    /// `frozen` is on, and the path's own page answers for a query that is not stored.
    OtherQuery = "other-query", UriMiss, "nothing, if the query changes nothing; else render the page with it into the directory";
    /// `frozen` is on, and another rendering answers than the one that the request's fields select.
    OtherVariant = "other-variant", VaryMiss, "nothing, if it is meant; else render the variant into the directory";
    /// `frozen` is on, and the page of another host answers, or one that is nobody's in particular.
    OtherHost = "other-host", UriMiss, "set `public_url` where the pages are rendered, so that the host is no part of the key";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_are_valid_tokens() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(
            words
                .iter()
                .all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        );
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
