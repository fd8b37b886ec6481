//! The one table of settings: name, flag, variable, help, and where the value lives.
//!
//! The file reader, the variables, the command line, `--print-config` and the documentation all go
//! through [`keys`], so that none of them can forget a setting or call it by another name.

use super::given::{Field, Given};
use super::server::ServerSettings;

/// One setting of the server.
#[derive(Debug)]
pub struct Key {
    name: &'static str,
    flag: Option<&'static str>,
    flag_alias: Option<&'static str>,
    group: &'static str,
    help: &'static str,
    per_path: bool,
    pub(crate) field: Field,
}

impl Key {
    /// The key in the configuration file.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The long flag without its dashes, for the main settings.
    pub fn flag(&self) -> Option<&'static str> {
        self.flag
    }

    /// Another name of the flag.
    pub fn flag_alias(&self) -> Option<&'static str> {
        self.flag_alias
    }

    /// The environment variable.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The heading under which the setting is explained.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// One line of explanation.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// What stands for the value in an explanation.
    pub fn value_name(&self) -> &'static str {
        match self.field {
            Field::Text(_) if self.name == "proxy_url" => "URL",
            Field::OptionalText(_) if self.name == "public_url" => "URL",
            Field::Text(_) | Field::OptionalText(_) | Field::Secret(_) => "TEXT",
            Field::Path(_) | Field::OptionalPath(_) => "PATH",
            Field::Switch(_) => "true|false",
            Field::Port(_) => "PORT",
            Field::Address(_) => "ADDRESS",
            Field::Count(_) => "NUMBER",
            Field::Size(_) => "SIZE",
            Field::Timeout(_) | Field::Duration(_) | Field::OptionalDuration(_) => "DURATION",
            Field::Ttl(_) | Field::OptionalTtl(_) => "DURATION|forever",
            Field::SetCookie(_) => "refuse|strip",
            Field::Durability(_) => "none|data|full",
            Field::LogFormat(_) => "text|json",
            Field::Fill(_) => "canonical|transparent",
            Field::List(_) | Field::OptionalList(_)
                if self.name.ends_with("_paths") || self.name == "pinned" =>
            {
                "PATTERN"
            }
            Field::List(_) | Field::OptionalList(_) => "LIST",
        }
    }

    /// The default as text, unless there is none.
    pub fn default_value(&self) -> Option<String> {
        let value = self.field.show(&mut ServerSettings::default())?;
        match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Array(list) if list.is_empty() => None,
            value => Some(value.to_string()),
        }
    }

    /// Whether the flag may be given more than once.
    pub fn is_list(&self) -> bool {
        matches!(self.field, Field::List(_) | Field::OptionalList(_))
    }

    /// Whether the flag alone means `true`.
    pub fn is_switch(&self) -> bool {
        matches!(self.field, Field::Switch(_))
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.field, Field::Secret(_))
    }

    /// What was given for it, as far as it may be said.
    pub(crate) fn describe(&self, given: &Given) -> String {
        match self.is_secret() {
            true => given.describe_type(),
            false => given.describe(),
        }
    }

    const fn flag_named(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Whether a `[[rule]]` may set it for some of the paths.
    pub fn is_per_path(&self) -> bool {
        self.per_path
    }

    const fn per_path(mut self) -> Self {
        self.per_path = true;
        self
    }

    const fn or_flag(mut self, alias: &'static str) -> Self {
        self.flag_alias = Some(alias);
        self
    }
}

pub(crate) const ENV_PREFIX: &str = "PHANTOM_FRAME_";

/// Every setting of the `[server]` section, in the order in which they are explained.
pub fn keys() -> &'static [Key] {
    &KEYS
}

pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The setting whose flag this is, written as a key or as a flag.
pub(crate) fn of_flag(text: &str) -> Option<&'static str> {
    let flag = text.replace('_', "-");
    let found = KEYS
        .iter()
        .find(|key| key.flag == Some(&*flag) || key.flag_alias == Some(&*flag));
    found.map(|key| key.name)
}

const fn key(group: &'static str, name: &'static str, field: Field, help: &'static str) -> Key {
    Key {
        name,
        flag: None,
        flag_alias: None,
        group,
        help,
        per_path: false,
        field,
    }
}

const WHERE: &str = "Addresses";
const WHAT: &str = "What is stored";
const TOLD: &str = "What clients are told";
const LONG: &str = "For how long";
const WHO: &str = "What is one page, and whose";
const LIMIT: &str = "Timeouts and limits";
const RUN: &str = "Log and control";

// One line a setting, however long.
#[rustfmt::skip]
static KEYS: [Key; 76] = [
    key(WHERE, "proxy_url", Field::Text(|s| &mut s.proxy.proxy_url), "The backend whose pages are served")
        .flag_named("backend")
        .or_flag("proxy-url"),
    key(WHERE, "proxy_port", Field::Port(|s| &mut s.proxy_port), "The port that visitors use; 0 takes a free one")
        .flag_named("port")
        .or_flag("proxy-port"),
    key(WHERE, "proxy_bind", Field::Address(|s| &mut s.proxy_bind), "The address that visitors use")
        .flag_named("bind")
        .or_flag("proxy-bind"),
    key(WHERE, "control_port", Field::Port(|s| &mut s.control_port), "The port of the control server; 0 takes a free one")
        .flag_named("control-port"),
    key(WHERE, "control_bind", Field::Address(|s| &mut s.control_bind), "The address of the control server; not loopback needs a token")
        .flag_named("control-bind"),
    key(WHERE, "public_url", Field::OptionalText(|s| &mut s.proxy.public_url), "The address under which visitors see the site")
        .flag_named("public-url"),
    key(WHERE, "aliases", Field::List(|s| &mut s.proxy.aliases), "Other hosts that mean that of public_url"),
    key(WHERE, "trusted_proxies", Field::List(|s| &mut s.proxy.trusted_proxies), "Addresses or networks whose X-Forwarded-* fields are believed")
        .flag_named("trusted-proxies"),
    key(WHERE, "backend_ca", Field::OptionalPath(|s| &mut s.proxy.backend_ca), "A PEM file of further authorities for an https backend"),
    key(WHAT, "snapshot_dir", Field::Path(|s| &mut s.proxy.snapshot_dir), "The directory of the snapshots")
        .flag_named("snapshots")
        .or_flag("snapshot-dir"),
    key(WHAT, "site", Field::OptionalText(|s| &mut s.proxy.site), "The site's name; a directory of another one is refused")
        .flag_named("site"),
    key(WHAT, "include_paths", Field::List(|s| &mut s.proxy.include_paths), "What is stored: \"/blog/*\", \"POST /search\"; none means all")
        .flag_named("include"),
    key(WHAT, "exclude_paths", Field::List(|s| &mut s.proxy.exclude_paths), "What is never stored; beats include")
        .flag_named("exclude"),
    key(WHAT, "pinned", Field::List(|s| &mut s.proxy.pinned), "What is never evicted, and kept to be validated where an invalidation would delete it: \"/\", \"tag:front\""),
    key(WHAT, "forward_get_only", Field::Switch(|s| &mut s.proxy.forward_get_only), "Refuse every method but GET and HEAD")
        .flag_named("forward-get-only"),
    key(WHAT, "frozen", Field::Switch(|s| &mut s.proxy.frozen), "Serve what is stored and nothing else: no backend, no writes, nothing grows stale")
        .flag_named("frozen"),
    key(WHAT, "enable_websocket", Field::Switch(|s| &mut s.proxy.enable_websocket), "Tunnel upgrades such as WebSockets; if not, answer 501")
        .flag_named("enable-websocket"),
    key(WHAT, "upgrade_protocols", Field::List(|s| &mut s.proxy.upgrade_protocols), "The protocols that may be tunnelled; \"*\" means any but h2c"),
    key(WHAT, "durability", Field::Durability(|s| &mut s.proxy.durability), "What is synced to disk before a snapshot counts as written")
        .flag_named("durability"),
    key(WHAT, "volatile_headers", Field::List(|s| &mut s.proxy.volatile_headers), "Response fields that are not stored, beside the built-in ones"),
    key(WHAT, "ignore_set_cookies", Field::List(|s| &mut s.proxy.ignore_set_cookies), "Cookies whose Set-Cookie is cut from a page instead of preventing it"),
    key(WHAT, "set_cookie", Field::SetCookie(|s| &mut s.proxy.set_cookie), "What becomes of a page that sets a cookie: it is not stored, or stored without it")
        .per_path(),
    key(TOLD, "compress", Field::List(|s| &mut s.proxy.compress), "The codings in which stored pages are kept ready, best first: br, zstd, gzip; none is off")
        .per_path(),
    key(TOLD, "compress_min_size", Field::Size(|s| &mut s.proxy.compress_min_size), "The smallest body that is compressed"),
    key(TOLD, "strip_headers", Field::List(|s| &mut s.proxy.strip_headers), "Response fields that no client gets")
        .per_path(),
    key(TOLD, "add_headers", Field::List(|s| &mut s.proxy.add_headers), "Response fields that every client gets, as \"Name: value\"")
        .per_path(),
    key(TOLD, "client_cache_control", Field::OptionalText(|s| &mut s.proxy.client_cache_control), "The Cache-Control of stored pages; unset: the backend's, or that each use is to be validated")
        .per_path(),
    key(TOLD, "trust_client_cache_control", Field::Switch(|s| &mut s.proxy.trust_client_cache_control), "Obey the Cache-Control of requests, so that clients can have pages fetched anew"),
    key(TOLD, "debug_token", Field::Secret(|s| &mut s.proxy.debug_token), "A token with which the request field Phantom-Frame-Debug gets the key and every decision"),
    key(LONG, "default_ttl", Field::Ttl(|s| &mut s.proxy.default_ttl), "The lifetime of a page that says nothing about it")
        .flag_named("default-ttl")
        .per_path(),
    key(LONG, "ttl", Field::OptionalTtl(|s| &mut s.proxy.ttl), "The lifetime of every page, whatever the backend says")
        .per_path(),
    key(LONG, "stale_while_revalidate", Field::OptionalDuration(|s| &mut s.proxy.stale_while_revalidate), "How long past its lifetime a page is served while it is renewed behind the visit; unset: as the backend says")
        .per_path(),
    key(LONG, "stale_if_error", Field::OptionalDuration(|s| &mut s.proxy.stale_if_error), "How long past its lifetime a page is served when the backend fails; unset: as the backend says")
        .per_path(),
    key(LONG, "refresh_ahead", Field::Duration(|s| &mut s.proxy.refresh_ahead), "How long before its end a popular page is renewed behind a visit; 0 is off")
        .per_path(),
    key(LONG, "not_found_ttl", Field::Duration(|s| &mut s.proxy.not_found_ttl), "How long a 404 or 410 is remembered, in memory")
        .per_path(),
    key(LONG, "pass_ttl", Field::Duration(|s| &mut s.proxy.pass_ttl), "How long it is remembered that a page cannot be stored"),
    key(LONG, "invalidate_after_unsafe", Field::Switch(|s| &mut s.proxy.invalidate_after_unsafe), "After a POST and its like, validate what is stored under that path"),
    key(LONG, "keep_last_good", Field::Switch(|s| &mut s.proxy.keep_last_good), "Keep a stored HTML page when the backend answers 200 with nothing, or with half a page"),
    key(LONG, "keep_last_good_percent", Field::Count(|s| &mut s.proxy.keep_last_good_percent), "Also when it is shorter than so many per cent of what is stored; 0 is off"),
    key(WHO, "fill", Field::Fill(|s| &mut s.proxy.fill), "What a fetch for the cache carries of the request: nothing that is not named, or all but identity")
        .flag_named("fill"),
    key(WHO, "fill_accept", Field::Text(|s| &mut s.proxy.fill_accept), "The Accept of a canonical fill"),
    key(WHO, "fill_user_agent", Field::Text(|s| &mut s.proxy.fill_user_agent), "The User-Agent of a canonical fill"),
    key(WHO, "unkeyed_headers", Field::List(|s| &mut s.proxy.unkeyed_headers), "Request fields that go along on a fill and change nothing, such as trace identifiers"),
    key(WHO, "languages", Field::List(|s| &mut s.proxy.languages), "The site's languages; Accept-Language is matched to one of them"),
    key(WHO, "key_headers", Field::List(|s| &mut s.proxy.key_headers), "Request fields that make another page")
        .per_path(),
    key(WHO, "key_cookies", Field::List(|s| &mut s.proxy.key_cookies), "Cookies that make another page")
        .per_path(),
    key(WHO, "ignore_query", Field::List(|s| &mut s.proxy.ignore_query), "Query parameters that change nothing, such as \"utm_*\"")
        .per_path(),
    key(WHO, "keep_query", Field::OptionalList(|s| &mut s.proxy.keep_query), "The only query parameters that change something; unset: all")
        .per_path(),
    key(WHO, "sort_query", Field::Switch(|s| &mut s.proxy.sort_query), "Sort query parameters by name, in key and fetch")
        .per_path(),
    key(WHO, "ignore_cookies", Field::List(|s| &mut s.proxy.ignore_cookies), "Cookies that change nothing, beside the built-in ones"),
    key(WHO, "vary_ignore", Field::List(|s| &mut s.proxy.vary_ignore), "Fields in Vary that are not looked at"),
    key(WHO, "bypass_cookies", Field::OptionalList(|s| &mut s.proxy.bypass_cookies), "The only cookies that say who asks; unset: all that are left")
        .per_path(),
    key(WHO, "bypass_headers", Field::List(|s| &mut s.proxy.bypass_headers), "Request fields that say who asks, beside the built-in ones"),
    key(WHO, "bypass_query", Field::List(|s| &mut s.proxy.bypass_query), "Query parameters that open something, beside the built-in ones"),
    key(LIMIT, "memory_limit", Field::Size(|s| &mut s.proxy.memory_limit), "How many bytes of bodies are held in memory in front of the files; 0 holds none")
        .flag_named("memory-limit"),
    key(LIMIT, "disk_limit", Field::Size(|s| &mut s.proxy.disk_limit), "How much disk the snapshots may take; 0 is no limit")
        .flag_named("disk-limit"),
    key(LIMIT, "max_snapshots", Field::Count(|s| &mut s.proxy.max_snapshots), "How many pages may be stored; 0 is no limit")
        .flag_named("max-snapshots"),
    key(LIMIT, "max_hosts", Field::Count(|s| &mut s.proxy.max_hosts), "How many hosts pages are kept for while public_url is not set"),
    key(LIMIT, "max_body", Field::Size(|s| &mut s.proxy.max_body), "The largest body that is stored")
        .flag_named("max-body")
        .per_path(),
    key(LIMIT, "max_variants", Field::Count(|s| &mut s.proxy.max_variants), "How many variants (Vary) a page may have, beside the one without any of the fields")
        .per_path(),
    key(LIMIT, "min_uses", Field::Count(|s| &mut s.proxy.min_uses), "How often a page is asked for before it is stored")
        .per_path(),
    key(LIMIT, "max_fills", Field::Count(|s| &mut s.proxy.max_fills), "How many pages are fetched at once; beyond that, requests pass"),
    key(LIMIT, "max_connections", Field::Count(|s| &mut s.max_connections), "How many connections are served at once; others wait"),
    key(LIMIT, "max_head", Field::Size(|s| &mut s.max_head), "The largest request head"),
    key(LIMIT, "header_timeout", Field::Timeout(|s| &mut s.header_timeout), "How long a client may take to send a request head"),
    key(LIMIT, "connect_timeout", Field::Timeout(|s| &mut s.proxy.connect_timeout), "How long a connection to the backend may take"),
    key(LIMIT, "response_timeout", Field::Timeout(|s| &mut s.proxy.response_timeout), "How long the backend may take until its response begins")
        .flag_named("response-timeout"),
    key(LIMIT, "body_timeout", Field::Timeout(|s| &mut s.proxy.body_timeout), "How long a body may stand still"),
    key(LIMIT, "fill_timeout", Field::Duration(|s| &mut s.proxy.fill_timeout), "How long a fetch goes on that nobody waits for any more"),
    key(LIMIT, "tunnel_timeout", Field::Timeout(|s| &mut s.proxy.tunnel_timeout), "How long a tunnel may stand still in both directions"),
    key(LIMIT, "shutdown_delay", Field::Duration(|s| &mut s.shutdown_delay), "How long visitors are still accepted after SIGTERM, for a load balancer to see that /readyz says 503"),
    key(LIMIT, "shutdown_timeout", Field::Duration(|s| &mut s.shutdown_timeout), "How long requests may go on after SIGTERM before they are cut")
        .flag_named("shutdown-timeout"),
    key(RUN, "control_auth", Field::Secret(|s| &mut s.control_auth), "The bearer token that the control server asks for"),
    key(RUN, "control_auth_file", Field::OptionalPath(|s| &mut s.control_auth_file), "A file that holds the control server's token")
        .flag_named("control-auth-file"),
    key(RUN, "log", Field::Text(|s| &mut s.log), "What is logged: info, or info,phantom_frame=debug")
        .flag_named("log"),
    key(RUN, "log_format", Field::LogFormat(|s| &mut s.log_format), "The form of log lines")
        .flag_named("log-format"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a struct, as its Debug form names them.
    fn fields(debug: &str) -> Vec<&str> {
        debug
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| !line.starts_with([' ', '}', ']']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn every_setting_is_in_the_table() {
        let settings = ServerSettings::default();
        let server = format!("{settings:#?}");
        let proxy = format!("{:#?}", settings.proxy);
        let mut expected = fields(&server);
        expected.retain(|name| !["proxy", "rules", "watch", "prerender", "base_dir"].contains(name));
        expected.extend(fields(&proxy));
        assert!(expected.len() > 40, "{expected:?}");
        expected.sort_unstable();
        let mut names: Vec<_> = KEYS.iter().map(Key::name).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn no_flag_is_given_twice() {
        let mut flags: Vec<_> = KEYS
            .iter()
            .flat_map(|key| [key.flag, key.flag_alias])
            .flatten()
            .collect();
        let count = flags.len();
        flags.sort_unstable();
        flags.dedup();
        assert_eq!(flags.len(), count);
    }

    #[test]
    fn secrets_have_no_flag() {
        for key in keys().iter().filter(|key| key.is_secret()) {
            assert_eq!(key.flag, None, "{} would be seen in `ps`", key.name);
        }
    }

    #[test]
    fn what_rules_may_set_is_said_where_rules_are_explained() {
        let explained = include_str!("rule.rs");
        for key in keys().iter().filter(|key| key.is_per_path()) {
            assert!(explained.contains(&format!("`{}`", key.name())), "{}", key.name());
        }
    }

    #[test]
    fn what_is_shown_is_what_was_set() {
        let mut settings = ServerSettings::default();
        for key in keys() {
            let Some(value) = key.field.show(&mut settings) else {
                continue;
            };
            let given = match value {
                toml::Value::String(text) => Given::Text(text),
                toml::Value::Integer(number) => Given::Integer(number),
                toml::Value::Boolean(value) => Given::Switch(value),
                toml::Value::Array(list) => Given::List(
                    list.iter()
                        .filter_map(|one| one.as_str().map(Into::into))
                        .collect(),
                ),
                other => panic!("{other}"),
            };
            assert_eq!(key.field.set(&mut settings, &given), Ok(()), "{}", key.name);
        }
        assert_eq!(settings, ServerSettings::default());
    }
}
