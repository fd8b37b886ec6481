//! Settings as they are typed, their defaults, and [`CreateProxyConfig`], which carries them.
//!
//! [`Settings`] is the one list of what a proxy can be told; `config::check` turns it into the small
//! validated option sets that each module takes, so that a wrong value is found before anything starts.

pub(crate) mod check;
mod create;
mod error;
mod file;
mod given;
mod keys;
mod load;
mod prerender;
mod print;
pub(crate) mod rule;
mod server;
mod units;

pub(crate) use create::CacheKeyFn;
pub use create::{CreateProxyConfig, RequestInfo};
pub use error::{ConfigError, Place};
pub use keys::{Key, keys};
pub use load::{Loaded, Sources};
pub use prerender::{PrerenderOptions, Scope};
pub use rule::PathRule;
pub use server::{LogFormat, Secret, ServerSettings, WatchRule};

use std::path::PathBuf;
use std::time::Duration;

/// How long a response without explicit freshness is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Until it is invalidated.
    Forever,
    /// For this long, a second at least; zero stores only what carries explicit freshness.
    For(Duration),
}

/// What is synced before a snapshot counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing: a power cut may lose or empty snapshots, which are then misses.
    None,
    /// Body and sidecar: before the rename that commits them where they replace a snapshot; those of a new one within a
    /// second or so, with others.
    #[default]
    Data,
    /// Body and sidecar before the rename, always, and the directories too.
    Full,
}

/// What a fetch that may be stored carries of the request that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FillMode {
    /// Fixed values and named inputs: the page of nobody, whoever came first.
    #[default]
    Canonical,
    /// The client's end-to-end fields, identity excepted, as a plain RFC 9111 cache does. `Authorization` goes along;
    /// the answer is stored, and a stored one answers, only if it says `public`, `s-maxage` or `must-revalidate`
    /// (RFC 9111 §3.5).
    Transparent,
}

/// What becomes of an answer that sets a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetCookie {
    /// It is not stored.
    #[default]
    Refuse,
    /// It is stored without the `Set-Cookie`, which nobody gets from a fill.
    Strip,
}

/// Everything that a proxy can be told. Field names are the keys of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The backend: `http://host:port` or `https://…`, with an optional base path.
    /// Default `http://localhost:8080`.
    pub proxy_url: String,
    /// Paths whose responses are stored; empty means all. `*` matches any run of characters, an
    /// optional method comes first (`"POST /search"`).
    pub include_paths: Vec<String>,
    /// Paths whose responses are never stored; beats `include_paths`.
    pub exclude_paths: Vec<String>,
    /// Pages that are never evicted, and that an invalidation keeps, to be validated before their next use,
    /// where it would delete them: patterns as those of invalidations, tags (`tag:front`) too. The limits count
    /// them; where they alone are more, nothing else is stored. Default none.
    pub pinned: Vec<String>,
    /// Whether upgrades (WebSockets) are tunnelled; if not they are answered with 501. Default true.
    pub enable_websocket: bool,
    /// Protocols that may be tunnelled, in lower case; `*` means any but `h2c`. Default `["*"]`.
    pub upgrade_protocols: Vec<String>,
    /// Whether methods other than GET and HEAD are refused with 405. Default false.
    pub forward_get_only: bool,
    /// Whether the directory is all there is: no backend is asked, nothing is written, nothing grows stale. Default
    /// false.
    pub frozen: bool,

    /// Where the snapshots are. Default `snapshots`, relative to the configuration file or the
    /// working directory.
    pub snapshot_dir: PathBuf,
    /// The site's name, written into the directory; a directory of another name is refused.
    /// Default: the host of `public_url`, if that is set.
    pub site: Option<String>,
    /// The address under which visitors see the site (`https://example.com`). Fills are rendered for
    /// it, and host and scheme are no part of the key. Default: unset.
    pub public_url: Option<String>,
    /// Other hosts that mean `public_url`'s. Default none.
    pub aliases: Vec<String>,
    /// Addresses or networks (CIDR) whose `X-Forwarded-*` fields are believed. Default none.
    pub trusted_proxies: Vec<String>,
    /// What is synced when a snapshot is written. Default `data`.
    pub durability: Durability,

    /// The lifetime of a response without explicit freshness. Default forever.
    pub default_ttl: Ttl,
    /// The lifetime of every page that is stored, whatever the backend says: in place of `max-age`,
    /// `s-maxage`, `Expires`, `CDN-Cache-Control` and `no-cache`. `no-store` and `private` still forbid
    /// storing, and an error keeps the lifetime that it came with. Default unset: what the backend says.
    pub ttl: Option<Ttl>,
    /// How long after its lifetime a page is still served while it is renewed behind the visit (RFC 5861
    /// §3), in place of what the backend says. Default unset: what the backend says.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after its lifetime a page is served when the backend fails (RFC 5861 §4), in place of what
    /// the backend says. Default unset: what the backend says; and where that says nothing, without limit
    /// while the backend fails.
    pub stale_if_error: Option<Duration>,
    /// How long before the end of its lifetime a page that has been asked for more than once is renewed
    /// behind a visit; at most half its lifetime. Default zero: off.
    pub refresh_ahead: Duration,
    /// How long a 404 or 410 is remembered, in memory. Default 60 s; zero turns it off.
    pub not_found_ttl: Duration,
    /// How long a page that cannot be stored is remembered as such. Default 120 s; zero turns it off.
    pub pass_ttl: Duration,
    /// Whether an unsafe request that succeeded has what is stored under its path validated before it is
    /// used again (RFC 9111 §4.4). Default true.
    pub invalidate_after_unsafe: bool,
    /// Whether an HTML page stays, instead of being replaced, when the backend answers 200 with nothing or with half
    /// a page (the one that is stored ends with `</html>`, and it does not). The visitor gets what came; the same bytes
    /// once more are stored. A page that was invalidated is replaced by whatever comes. Default true.
    pub keep_last_good: bool,
    /// A new rendering that is shorter than so many per cent of the stored one counts as no whole page. Default 0:
    /// off.
    pub keep_last_good_percent: usize,
    /// What a fill carries of the request that caused it. Default `canonical`.
    pub fill: FillMode,
    /// The `Accept` of a canonical fill. Default: a browser's for a page.
    pub fill_accept: String,
    /// The `User-Agent` of a canonical fill. Default: a browser's without a version.
    pub fill_user_agent: String,
    /// Request fields that go along on a fill and change nothing (trace identifiers). Default none.
    pub unkeyed_headers: Vec<String>,
    /// The languages that the site has: `Accept-Language` is matched to one of them before it is
    /// compared or sent; between equal weights the first of them counts. Default none: it is sent with its
    /// languages in order.
    pub languages: Vec<String>,
    /// Request fields that change the page: part of the key, sent on fills. Default none.
    pub key_headers: Vec<String>,
    /// Cookies that change the page: part of the key, sent on fills. Default none.
    pub key_cookies: Vec<String>,
    /// Query parameters that change nothing: cut out of key and fill. `*` as in patterns. Default none.
    pub ignore_query: Vec<String>,
    /// The only query parameters that change the page; all others are cut out of key and fill. `*` as in
    /// patterns. Default unset: all count.
    pub keep_query: Option<Vec<String>>,
    /// Whether query parameters are sorted by name in key and fill; equal names keep their order. Default
    /// false: byte for byte as they came.
    pub sort_query: bool,
    /// Cookies that do not change the page, beside the built-in list. `*` as in patterns.
    pub ignore_cookies: Vec<String>,
    /// The only cookies that are somebody's identity. Default unset: every cookie that is neither
    /// ignored nor part of the key.
    pub bypass_cookies: Option<Vec<String>>,
    /// Request fields that are somebody's identity, beside the built-in list (Authorization and kin).
    pub bypass_headers: Vec<String>,
    /// Query parameters that are a key to something, beside the built-in list. `*` as in patterns.
    pub bypass_query: Vec<String>,
    /// Cookies whose `Set-Cookie` is dropped from a stored page, beside the built-in list of load
    /// balancers' cookies.
    pub ignore_set_cookies: Vec<String>,
    /// What becomes of an answer that sets a cookie which `ignore_set_cookies` does not name. Default
    /// `refuse`.
    pub set_cookie: SetCookie,
    /// Response fields that are never written to a sidecar, beside the built-in list.
    pub volatile_headers: Vec<String>,
    /// Fields in `Vary` that are not looked at. Default `["User-Agent"]`.
    pub vary_ignore: Vec<String>,

    /// Response fields that no client gets, wherever the answer came from. They are stored as they came.
    /// Default none.
    pub strip_headers: Vec<String>,
    /// Response fields that every client gets (`Name: value`), in place of the backend's of that name. They are
    /// not stored. Default none.
    pub add_headers: Vec<String>,
    /// The `Cache-Control` that clients get with what is stored. Default unset: the backend's, and `public,
    /// max-age=0, must-revalidate` where the lifetime is granted here alone.
    pub client_cache_control: Option<String>,
    /// Whether `Cache-Control` and `Pragma` of requests are obeyed (RFC 9111 §5.2.1), so that any client can
    /// send every request of theirs to the backend. Default false: only `only-if-cached` is.
    pub trust_client_cache_control: bool,
    /// A token; a request that carries it in `Phantom-Frame-Debug` is told its key and every decision in
    /// `Phantom-Frame-Trace`. Default unset: off.
    pub debug_token: Option<Secret>,

    /// The codings in which stored pages are kept ready, best first: `br`, `zstd`, `gzip`. Made in the background,
    /// of types that compress; an empty list turns it off. Default all three.
    pub compress: Vec<String>,
    /// The smallest body that is compressed, in bytes. Default 1 KiB.
    pub compress_min_size: u64,

    /// How many bytes of bodies are held in memory, in front of the files. Default 64 MiB; 0 holds none.
    pub memory_limit: u64,
    /// How much disk the snapshots may take, in bytes, counted as `du` counts (bodies, sidecars and
    /// folders, in blocks of 4 KiB); those that are asked for least go first. Bodies that are being fetched
    /// count as well: together they take at most an eighth of it, or `max_body` where that is more; one
    /// that finds no room is passed on and not stored. Bodies that were changed by hand and replaced are
    /// kept aside, up to another eighth. Default 10 GiB; 0 is no limit.
    pub disk_limit: u64,
    /// How many pages may be stored, variants included; those that are asked for least go first. Default
    /// 1,000,000; 0 is no limit.
    pub max_snapshots: usize,
    /// How many hosts pages are kept for while no `public_url` is set; requests for others pass. A host
    /// that nobody has asked for in ten minutes gives way to another. Default 100.
    pub max_hosts: usize,
    /// The largest body that is stored, in bytes. Default 64 MiB.
    pub max_body: u64,
    /// How many variants (`Vary`) one key may have, beside the page without any of the fields. Default 16.
    pub max_variants: usize,
    /// How often a page is asked for before it is stored; until then requests pass. Default 1: it is stored the
    /// first time.
    pub min_uses: usize,
    /// How many fills run at once; requests beyond that pass. Default 256.
    pub max_fills: usize,
    /// How long a connection to the backend may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the backend may take until its response head. Default 30 s.
    pub response_timeout: Duration,
    /// How long a body, of the backend or to a client, may stand still. Default 60 s.
    pub body_timeout: Duration,
    /// How long a fill goes on that nobody reads any more. Default 60 s.
    pub fill_timeout: Duration,
    /// How long a tunnel may stand still in both directions. Default 1 h.
    pub tunnel_timeout: Duration,
    /// A PEM file with further certificate authorities for an https backend. Default unset.
    pub backend_ca: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy_url: "http://localhost:8080".into(),
            include_paths: Vec::new(),
            exclude_paths: Vec::new(),
            pinned: Vec::new(),
            enable_websocket: true,
            upgrade_protocols: vec!["*".into()],
            forward_get_only: false,
            frozen: false,
            snapshot_dir: "snapshots".into(),
            site: None,
            public_url: None,
            aliases: Vec::new(),
            trusted_proxies: Vec::new(),
            durability: Durability::default(),
            default_ttl: Ttl::Forever,
            ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            refresh_ahead: Duration::ZERO,
            not_found_ttl: Duration::from_secs(60),
            pass_ttl: Duration::from_secs(120),
            invalidate_after_unsafe: true,
            keep_last_good: true,
            keep_last_good_percent: 0,
            fill: FillMode::default(),
            fill_accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into(),
            fill_user_agent: "Mozilla/5.0 (compatible; phantom-frame)".into(),
            unkeyed_headers: Vec::new(),
            languages: Vec::new(),
            key_headers: Vec::new(),
            key_cookies: Vec::new(),
            ignore_query: Vec::new(),
            keep_query: None,
            sort_query: false,
            ignore_cookies: Vec::new(),
            bypass_cookies: None,
            bypass_headers: Vec::new(),
            bypass_query: Vec::new(),
            ignore_set_cookies: Vec::new(),
            set_cookie: SetCookie::default(),
            volatile_headers: Vec::new(),
            vary_ignore: vec!["User-Agent".into()],
            strip_headers: Vec::new(),
            add_headers: Vec::new(),
            client_cache_control: None,
            trust_client_cache_control: false,
            debug_token: None,
            compress: ["br", "zstd", "gzip"].map(str::to_owned).to_vec(),
            compress_min_size: 1 << 10,
            memory_limit: 64 << 20,
            disk_limit: 10 << 30,
            max_snapshots: 1_000_000,
            max_hosts: 100,
            max_body: 64 << 20,
            max_variants: 16,
            min_uses: 1,
            max_fills: 256,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            fill_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(3600),
            backend_ca: None,
        }
    }
}
