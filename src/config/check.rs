//! Settings -> the validated option sets of the modules. Everything that can be wrong is found here,
//! by the name of its setting.

mod book;
mod fields;
mod limits;

use std::sync::Arc;

use http::Uri;
use http::header::{self, HeaderName};
use http::uri::{Authority, Scheme};
use ipnet::IpNet;

use crate::config::rule::Audience;
use crate::config::{CreateProxyConfig, FillMode, Settings};
use crate::error::Error;
use crate::headers::{NameList, VOLATILE_HEADERS, normal_host};
use crate::key::{HostInKey, KeyRules, QueryOrder};
use crate::pattern::PathPattern;
use crate::policy::coding::CodingRules;
use crate::policy::fill::{FillCredentials, FillRules, PRESET_HEADERS};
use crate::policy::filter::Filters;
use crate::policy::freshness::LifetimeRules;
use crate::policy::identity::{IGNORED_SET_COOKIES, IdentityRules};
use crate::policy::last_good::LastGood;
use crate::policy::request::{AcceptRule, AfterUnsafe, ClientDirectives, Methods, RequestRules, Upgrades};
use crate::policy::shape::ResponseRules;
use crate::policy::store::StoreRules;
use crate::snapshot::Bounds;

pub(crate) use book::{Origin, RuleBook, rule_book};
pub(crate) use fields::token;
use fields::{added, codings, header_names, header_value, identity, languages, stripped, unkeyed, vary};
pub(crate) use limits::{limits, pinned};

/// The rules of a proxy, checked.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) request: RequestRules,
    pub(crate) key: KeyRules,
    pub(crate) fill: FillRules,
    pub(crate) store: StoreRules,
    pub(crate) response: ResponseRules,
    pub(crate) codings: CodingRules,
    pub(crate) site: SiteRules,
    /// Seconds; 0 is off.
    pub(crate) refresh_ahead: u64,
    pub(crate) min_uses: usize,
    pub(crate) max_variants: usize,
    pub(crate) origin: Origin,
}

/// What of wrong settings can be kept where nothing is stored: what is refused, and who is believed.
pub(crate) fn restricted(settings: &Settings) -> Rules {
    let mut rules = Rules::default();
    rules.request.methods = methods(settings);
    rules.request.upgrades = upgrades(settings);
    rules.site.trusted_proxies = networks(&settings.trusted_proxies).unwrap_or_default();
    rules
}

fn methods(settings: &Settings) -> Methods {
    match settings.forward_get_only {
        true => Methods::ReadOnly,
        false => Methods::All,
    }
}

fn upgrades(settings: &Settings) -> Upgrades {
    match settings.enable_websocket {
        true => Upgrades::Tunnelled,
        false => Upgrades::Refused,
    }
}

impl Default for Rules {
    /// Those of the default settings; without a pattern or a URL, nothing in them can be wrong.
    fn default() -> Self {
        let defaults = CreateProxyConfig::from(Settings::default());
        match rules(&defaults) {
            Ok(rules) => rules,
            Err(error) => unreachable!("the default settings are right: {error}"),
        }
    }
}

/// Under which address the site is seen.
#[derive(Debug, Clone)]
pub(crate) struct SiteRules {
    /// Scheme and host of `public_url`.
    pub(crate) public: Option<(String, Arc<str>)>,
    /// In lower case, without the port of `public`'s scheme.
    pub(crate) aliases: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// Checks all settings that the proxy's decisions depend on.
///
/// # Errors
/// The first setting that cannot work, by name.
pub(crate) fn rules(config: &CreateProxyConfig) -> Result<Rules, Error> {
    let settings = &config.settings;
    let public = settings.public_url.as_deref().map(public_url).transpose()?;
    let keyed_cookies: Vec<Box<str>> = settings
        .key_cookies
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let key_headers = header_names("key_headers", &settings.key_headers)?;
    let identity = identity(settings, &keyed_cookies)?;
    let unkeyed = unkeyed(settings, &key_headers, &identity)?;
    let accept = match settings.fill {
        FillMode::Canonical if !key_headers.contains(&http::header::ACCEPT) => AcceptRule::Pages,
        _ => AcceptRule::Anything,
    };
    Ok(Rules {
        request: request_rules(settings, identity, accept)?,
        key: key_rules(config, (key_headers, keyed_cookies))?,
        fill: fill_rules(settings, unkeyed.clone())?,
        store: store_rules(settings, unkeyed)?,
        response: ResponseRules::new(
            stripped(&settings.strip_headers)?,
            added(&settings.add_headers)?,
            settings
                .client_cache_control
                .as_deref()
                .map(|text| header_value("client_cache_control", text))
                .transpose()?,
        ),
        codings: CodingRules::new(codings(&settings.compress)?, settings.compress_min_size),
        refresh_ahead: whole_seconds(settings.refresh_ahead),
        min_uses: settings.min_uses,
        max_variants: settings.max_variants,
        origin: Origin::Server,
        site: SiteRules {
            aliases: aliases(
                &settings.aliases,
                public.as_ref().map_or("http", |(scheme, _)| scheme),
            )?,
            public,
            trusted_proxies: networks(&settings.trusted_proxies)?,
        },
    })
}

fn key_rules(
    config: &CreateProxyConfig,
    (headers, cookies): (Vec<HeaderName>, Vec<Box<str>>),
) -> Result<KeyRules, Error> {
    let settings = &config.settings;
    Ok(KeyRules {
        host: match settings.public_url {
            Some(_) => HostInKey::Fixed,
            None => HostInKey::Part,
        },
        headers,
        cookies,
        ignore_query: NameList::new(settings.ignore_query.iter().map(String::as_str)),
        keep_query: settings
            .keep_query
            .as_ref()
            .map(|names| NameList::new(names.iter().map(String::as_str))),
        query_order: match settings.sort_query {
            true => QueryOrder::ByName,
            false => QueryOrder::AsSent,
        },
        languages: languages(&settings.languages)?,
        custom: config.cache_key_fn.clone(),
    })
}

fn fill_rules(settings: &Settings, unkeyed: Vec<HeaderName>) -> Result<FillRules, Error> {
    Ok(FillRules {
        mode: settings.fill,
        accept: header_value("fill_accept", &settings.fill_accept)?,
        user_agent: header_value("fill_user_agent", &settings.fill_user_agent)?,
        unkeyed,
        preset: NameList::new(PRESET_HEADERS.iter().copied()),
        credentials: match settings.fill {
            FillMode::Canonical => FillCredentials::LeftOut,
            FillMode::Transparent => FillCredentials::Carried,
        },
        aside: vec![header::AUTHORIZATION],
    })
}

fn store_rules(settings: &Settings, unkeyed: Vec<HeaderName>) -> Result<StoreRules, Error> {
    Ok(StoreRules {
        lifetimes: LifetimeRules {
            default_ttl: settings.default_ttl,
            ttl: settings.ttl,
            while_revalidate: settings.stale_while_revalidate.map(whole_seconds),
            if_error: settings.stale_if_error.map(whole_seconds),
        },
        audience: Audience::AsSaid,
        set_cookie: settings.set_cookie,
        not_found_ttl: whole_seconds(settings.not_found_ttl),
        ignore_set_cookies: extended(IGNORED_SET_COOKIES, &settings.ignore_set_cookies),
        volatile: match settings.fill {
            FillMode::Canonical => extended(VOLATILE_HEADERS, &settings.volatile_headers),
            FillMode::Transparent => NameList::default(),
        },
        vary: vary(settings, unkeyed)?,
        max_body: settings.max_body,
        last_good: settings.keep_last_good.then_some(LastGood {
            least_percent: settings.keep_last_good_percent as u64,
        }),
    })
}

fn request_rules(
    settings: &Settings,
    identity: IdentityRules,
    accept: AcceptRule,
) -> Result<RequestRules, Error> {
    Ok(RequestRules {
        filters: Filters {
            include: path_patterns("include_paths", &settings.include_paths)?,
            exclude: path_patterns("exclude_paths", &settings.exclude_paths)?,
        },
        identity,
        upgrades: upgrades(settings),
        methods: methods(settings),
        accept,
        upgrade_protocols: settings
            .upgrade_protocols
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect(),
        after_unsafe: match settings.invalidate_after_unsafe {
            true => AfterUnsafe::Validate,
            false => AfterUnsafe::Nothing,
        },
        client_directives: match settings.trust_client_cache_control {
            true => ClientDirectives::Obeyed,
            false => ClientDirectives::Ignored,
        },
    })
}

fn extended(builtin: &[&str], own: &[String]) -> NameList {
    NameList::new(builtin.iter().copied().chain(own.iter().map(String::as_str)))
}

fn path_patterns(setting: &'static str, texts: &[String]) -> Result<Vec<PathPattern>, Error> {
    let parse = |text: &String| {
        PathPattern::parse(text).map_err(|error| {
            Error::config(setting, format!("`{text}` in `{setting}` is not a path pattern"))
                .with_hint("write a path with `*` for any run of characters, a method before it if need be: \"/api/*\", \"POST /search\"")
                .with_source(error)
        })
    };
    texts.iter().map(parse).collect()
}

/// Rounded up: only zero is off.
pub(crate) fn whole_seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The backend's URL.
///
/// # Errors
/// When it is no http or https URL with a host, or holds what a base cannot.
pub(crate) fn backend_url(text: &str) -> Result<Uri, Error> {
    let uri = http_url("proxy_url", text)?;
    if uri.query().is_some() {
        return Err(
            Error::config("proxy_url", format!("`{text}` in `proxy_url` has a query"))
                .with_hint("write the backend's address only: \"http://localhost:8080\""),
        );
    }
    Ok(uri)
}

fn http_url(setting: &'static str, text: &str) -> Result<Uri, Error> {
    let wrong = |what: &str| {
        Error::config(setting, format!("`{text}` in `{setting}` {what}"))
            .with_hint("write scheme and host: \"http://localhost:8080\" or \"https://example.com\"")
    };
    let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {}
        Some(_) => return Err(wrong("is neither http nor https")),
        None => return Err(wrong("has no scheme")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.as_str().contains('@') {
        // Not repeated: what stands there may be a password.
        return Err(Error::config(
            setting,
            format!("the URL in `{setting}` holds a user name, which would be sent nowhere"),
        )
        .with_hint("leave out what stands before the `@`"));
    }
    if authority.host().is_empty() {
        return Err(wrong("has no host"));
    }
    Ok(uri)
}

/// Scheme and host, the port only where it is not the scheme's own.
fn public_url(text: &str) -> Result<(String, Arc<str>), Error> {
    let uri = http_url("public_url", text)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err(
            Error::config("public_url", format!("`{text}` in `public_url` has a path"))
                .with_hint("write scheme and host only: \"https://example.com\""),
        );
    }
    let scheme = uri.scheme_str().unwrap_or("http").to_owned();
    let host = uri
        .authority()
        .map(|authority| normal_host(authority.as_str(), &scheme))
        .unwrap_or_default();
    Ok((scheme, host.into()))
}

fn aliases(texts: &[String], scheme: &str) -> Result<Vec<String>, Error> {
    let check = |text: &String| match text.parse::<Authority>() {
        Ok(authority) if !text.contains('@') => Ok(normal_host(authority.as_str(), scheme)),
        _ => Err(
            Error::config("aliases", format!("`{text}` in `aliases` is not a host"))
                .with_hint("write hosts without a scheme: \"www.example.com\""),
        ),
    };
    texts.iter().map(check).collect()
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Error> {
    let parse = |text: &String| {
        text.parse()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            .map_err(|_| {
                Error::config(
                    "trusted_proxies",
                    format!("`{text}` in `trusted_proxies` is not an address or a network"),
                )
                .with_hint("write \"10.0.0.1\" or \"10.0.0.0/8\"")
            })
    };
    texts.iter().map(parse).collect()
}

/// The site's name: as set, or the host of `public_url`.
pub(crate) fn site_name(settings: &Settings) -> Option<String> {
    let host = || {
        let uri: Uri = settings.public_url.as_deref()?.parse().ok()?;
        Some(uri.host()?.to_ascii_lowercase())
    };
    settings.site.clone().or_else(host)
}

/// How much may be stored. A body may be as large as any rule lets it be.
pub(crate) fn bounds(settings: &Settings, rules: &RuleBook) -> Bounds {
    Bounds {
        disk_bytes: settings.disk_limit,
        snapshots: settings.max_snapshots as u64,
        hosts: settings.max_hosts,
        body_bytes: rules.largest_body(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ttl;

    fn fails(change: impl FnOnce(&mut Settings)) -> &'static str {
        let config = CreateProxyConfig::new("http://localhost:8080".into()).with(change);
        let result = backend_url(&config.settings.proxy_url)
            .and_then(|_| rules(&config).map(drop))
            .and_then(|()| limits(&config.settings));
        let error = result.expect_err("this cannot work");
        assert!(error.hint().is_some(), "{error}");
        error.setting().unwrap()
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert_eq!(fails(|s| s.proxy_url = "localhost:8080".into()), "proxy_url");
        assert_eq!(fails(|s| s.proxy_url = "ftp://x".into()), "proxy_url");
        assert_eq!(fails(|s| s.proxy_url = "http://u:p@x".into()), "proxy_url");
        assert_eq!(fails(|s| s.proxy_url = "http://x/?a".into()), "proxy_url");
        assert_eq!(fails(|s| s.public_url = Some("example.com".into())), "public_url");
        assert_eq!(
            fails(|s| s.public_url = Some("https://example.com/a".into())),
            "public_url"
        );
        assert_eq!(fails(|s| s.include_paths = vec!["api".into()]), "include_paths");
        assert_eq!(fails(|s| s.exclude_paths = vec![String::new()]), "exclude_paths");
        assert_eq!(fails(|s| s.key_headers = vec!["a b".into()]), "key_headers");
        assert_eq!(
            fails(|s| s.trusted_proxies = vec!["10.0.0.0/99".into()]),
            "trusted_proxies"
        );
        assert_eq!(fails(|s| s.aliases = vec!["http://x".into()]), "aliases");
        assert_eq!(fails(|s| s.fill_accept = String::new()), "fill_accept");
        assert_eq!(
            fails(|s| s.fill_user_agent = "a\r\nb: c".into()),
            "fill_user_agent"
        );
        for tag in ["", "de_CH", "de;q=1", "*", "de-", "abcdefghi"] {
            assert_eq!(fails(|s| s.languages = vec![tag.into()]), "languages", "{tag}");
        }
        for coding in ["deflate", "brotli", "identity", "*", ""] {
            assert_eq!(
                fails(|s| s.compress = vec!["br".into(), coding.into()]),
                "compress",
                "{coding}"
            );
        }
        assert_eq!(fails(|s| s.max_fills = 0), "max_fills");
        assert_eq!(fails(|s| s.max_hosts = 0), "max_hosts");
        assert_eq!(
            fails(|s| s.fill_timeout = std::time::Duration::ZERO),
            "fill_timeout"
        );
        let short = Ttl::For(std::time::Duration::from_millis(999));
        assert_eq!(fails(|s| s.default_ttl = short), "default_ttl");
        assert_eq!(fails(|s| s.ttl = Some(short)), "ttl");
    }

    #[test]
    fn fields_that_go_along_on_fills_say_nothing_of_who_asks() {
        for name in [
            "Cookie",
            "Authorization",
            "Proxy-Authorization",
            "X-Api-Key",
            "Host",
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "If-None-Match",
            "If-Range",
            "Range",
            "Accept-Encoding",
            "Connection",
            "Via",
            "no name",
        ] {
            assert_eq!(
                fails(|s| s.unkeyed_headers = vec![name.into()]),
                "unkeyed_headers",
                "{name}"
            );
        }
        let both = |s: &mut Settings| {
            s.unkeyed_headers = vec!["x-a".into()];
            s.key_headers = vec!["X-A".into()];
        };
        assert_eq!(fails(both), "unkeyed_headers");
        let config = CreateProxyConfig::new("http://localhost:8080".into())
            .with(|settings| settings.unkeyed_headers = vec!["traceparent".into()]);
        assert!(rules(&config).is_ok());
    }

    #[test]
    fn the_site_is_named_after_its_public_host() {
        let mut settings = Settings::default();
        assert_eq!(site_name(&settings), None);
        settings.public_url = Some("https://Example.com:8443".into());
        assert_eq!(site_name(&settings).as_deref(), Some("example.com"));
        settings.site = Some("shop".into());
        assert_eq!(site_name(&settings).as_deref(), Some("shop"));
    }
}
