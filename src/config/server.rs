//! [`ServerSettings`]: what the server is told, beside the proxy's own [`Settings`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::{CreateProxyConfig, PathRule, PrerenderOptions, Settings, check};
use crate::error::Error;

/// A text that is never shown: its `Debug` form is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Files, and what their change invalidates: a `[[watch]]` section of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchRule {
    /// Files, relative to a base directory: `content/posts/{slug}.md`. `**` is any number of
    /// directories, `*` any text within a name, `{name}` such a text that is not empty and can be used
    /// in `invalidate`. Wildcards do not match a dot at the beginning of a name, and directories behind
    /// symbolic links are not entered.
    pub paths: Vec<String>,
    /// Patterns as for [`RefreshTrigger::trigger_by_key_match`](crate::RefreshTrigger::trigger_by_key_match),
    /// with the captures of `paths`.
    pub invalidate: Vec<String>,
    /// They are invalidated at once and, so that a page that was rendered before the backend had taken
    /// the change in does not stay, again when nothing has changed for this long. Default 1 s.
    pub settle: Duration,
}

impl WatchRule {
    /// What [`settle`](Self::settle) is unless it is set.
    pub const DEFAULT_SETTLE: Duration = Duration::from_secs(1);

    /// A rule with the default `settle`.
    pub fn new(
        paths: impl IntoIterator<Item = impl Into<String>>,
        invalidate: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            invalidate: invalidate.into_iter().map(Into::into).collect(),
            settle: Self::DEFAULT_SETTLE,
        }
    }
}

/// Everything that the server can be told: the configuration file's keys, and what they are by default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerSettings {
    /// The proxy's own settings.
    pub proxy: Settings,
    /// The port that visitors use; 0 takes a free one. Default 3000.
    pub proxy_port: u16,
    /// The address that visitors use. Default 0.0.0.0: every IPv4 address of this machine.
    pub proxy_bind: IpAddr,
    /// The port of the control server; 0 takes a free one. Default 17809.
    pub control_port: u16,
    /// The address of the control server. Default 127.0.0.1; any address that is not loopback needs
    /// `control_auth`.
    pub control_bind: IpAddr,
    /// The bearer token that the control server asks for. Default none.
    pub control_auth: Option<Secret>,
    /// A file that holds the token; white space around it is cut off. Default none.
    pub control_auth_file: Option<PathBuf>,
    /// How long a client may take to send a request head. Default 10 s.
    pub header_timeout: Duration,
    /// The largest request head, in bytes. Default 64 KiB, at least 8 KiB.
    pub max_head: u64,
    /// How many connections are served at once; others wait. Default 10 000.
    pub max_connections: usize,
    /// How long visitors are still accepted after SIGTERM, while `/readyz` says 503 already: as long as a
    /// load balancer takes to notice. Default 0.
    pub shutdown_delay: Duration,
    /// How long requests and fills may go on after SIGTERM and `shutdown_delay` before they are cut.
    /// Default 30 s.
    pub shutdown_timeout: Duration,
    /// What is logged: a level, or directives as `tracing` writes them
    /// (`info,phantom_frame=debug`). Default `info`.
    pub log: String,
    /// The form of log lines. Default text.
    pub log_format: LogFormat,
    /// Settings for some of the paths; the first rule that names a path counts. Default none.
    pub rules: Vec<PathRule>,
    /// The content that is watched. Default none.
    pub watch: Vec<WatchRule>,
    /// What is rendered at the start, once the backend can be reached: the section `[prerender]`. Default none.
    pub prerender: Option<PrerenderOptions>,
    /// The folder of the configuration file, which relative paths in it start from; empty means the
    /// working directory.
    pub base_dir: PathBuf,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            proxy: Settings::default(),
            proxy_port: 3000,
            proxy_bind: Ipv4Addr::UNSPECIFIED.into(),
            control_port: 17809,
            control_bind: Ipv4Addr::LOCALHOST.into(),
            control_auth: None,
            control_auth_file: None,
            header_timeout: Duration::from_secs(10),
            max_head: 64 << 10,
            max_connections: 10_000,
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
            log: "info".into(),
            log_format: LogFormat::default(),
            rules: Vec::new(),
            watch: Vec::new(),
            prerender: None,
            base_dir: PathBuf::new(),
        }
    }
}

impl ServerSettings {
    /// Whether the server could start with these settings. The proxy's own settings are judged where
    /// the proxy is made.
    ///
    /// # Errors
    /// When a setting cannot work, or two cannot work together; the error names the setting.
    pub fn check(&self) -> Result<(), Error> {
        self.check_control()?;
        self.check_ports()?;
        self.check_limits()?;
        check_log(&self.log)?;
        if !self.proxy.frozen {
            check::backend_url(&self.proxy.proxy_url)?;
        }
        check::rule_book(&self.proxy_config()).map(|_| ())
    }

    /// What of it is the proxy's.
    pub fn proxy_config(&self) -> CreateProxyConfig {
        let mut config = CreateProxyConfig::from(self.proxy.clone());
        config.rules.clone_from(&self.rules);
        config
    }

    fn check_control(&self) -> Result<(), Error> {
        match &self.control_auth {
            Some(Secret(token)) => {
                let setting = match self.control_auth_file {
                    Some(_) => "control_auth_file",
                    None => "control_auth",
                };
                check::token(setting, "the control server's token", token)
            }
            None if !self.control_bind.is_loopback() => Err(Error::config(
                "control_bind",
                format!(
                    "the control server would listen on {} without a token: anybody there could empty the cache",
                    self.control_bind
                ),
            )
            .with_hint("set `control_auth` (or `control_auth_file`), or keep `control_bind` at 127.0.0.1")),
            _ => Ok(()),
        }
    }

    fn check_ports(&self) -> Result<(), Error> {
        if self.proxy_port == 0 {
            return Ok(());
        }
        if self.control_port == self.proxy_port && overlap(self.control_bind, self.proxy_bind) {
            return Err(Error::config(
                "control_port",
                format!(
                    "proxy and control server cannot both listen on port {}",
                    self.control_port
                ),
            )
            .with_hint("give `control_port` another number"));
        }
        let is_asked = !self.proxy.frozen;
        match is_asked && own_address(&self.proxy.proxy_url, self.proxy_bind, self.proxy_port) {
            true => Err(Error::config(
                "proxy_url",
                format!(
                    "the backend {} is where phantom-frame itself would listen: it would ask itself for ever",
                    self.proxy.proxy_url
                ),
            )
            .with_hint(
                "point `proxy_url` (`--backend`) at the backend's own port, or give phantom-frame another \
                 one with `proxy_port` (`--port`)",
            )),
            false => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Error> {
        const HEAD: std::ops::RangeInclusive<u64> = 8 << 10..=16 << 20;
        if !HEAD.contains(&self.max_head) {
            return Err(Error::config(
                "max_head",
                "the largest request head must be between 8 KiB and 16 MiB",
            )
            .with_hint("64KiB is the default, and plenty"));
        }
        if self.max_connections == 0 {
            return Err(Error::config(
                "max_connections",
                "with no connections at all nobody could be served",
            ));
        }
        Ok(())
    }
}

/// A word alone that is no level would be taken for a module's name, and silence everything.
fn check_log(directives: &str) -> Result<(), Error> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let stray = directives.split(',').map(str::trim).find(|directive| {
        !directive.contains(['=', '[', ':'])
            && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
    });
    stray.map_or(Ok(()), |word| {
        Err(
            Error::config("log", format!("`{word}` is no log level")).with_hint(format!(
                "the levels are {}; a module has its own as in `info,phantom_frame=debug`",
                LEVELS.join(", ")
            )),
        )
    })
}

/// Whether two sockets of one port would get in each other's way.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// Whether `url` leads to the socket itself, as far as that can be told without asking a name server.
fn own_address(url: &str, bind: IpAddr, port: u16) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let default_port = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    if uri.port_u16().unwrap_or(default_port) != port {
        return false;
    }
    let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
    if host.eq_ignore_ascii_case("localhost") {
        return bind.is_loopback() || bind.is_unspecified();
    }
    host.parse::<IpAddr>().is_ok_and(|host| {
        host == bind || host.is_unspecified() || (host.is_loopback() && bind.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blamed(change: impl FnOnce(&mut ServerSettings)) -> Option<&'static str> {
        let mut settings = ServerSettings::default();
        change(&mut settings);
        settings.check().err().and_then(|error| error.setting())
    }

    #[test]
    fn the_defaults_can_start() {
        assert_eq!(blamed(|_| ()), None);
    }

    #[test]
    fn an_open_control_server_needs_a_token() {
        let open = |settings: &mut ServerSettings| settings.control_bind = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(blamed(open), Some("control_bind"));
        assert_eq!(
            blamed(|settings| {
                open(settings);
                settings.control_auth = Some(Secret("token".into()));
            }),
            None
        );
        for token in ["", " ", "a\nb", " a"] {
            assert_eq!(
                blamed(|settings| settings.control_auth = Some(Secret(token.into()))),
                Some("control_auth"),
                "{token:?}"
            );
        }
    }

    #[test]
    fn the_backend_is_never_the_proxy_itself() {
        for (url, bind, is_itself) in [
            ("http://localhost:3000", "0.0.0.0", true),
            ("http://LOCALHOST:3000/app", "127.0.0.1", true),
            ("http://127.0.0.1:3000", "0.0.0.0", true),
            ("http://[::1]:3000", "::", true),
            ("http://0.0.0.0:3000", "127.0.0.1", true),
            ("http://10.0.0.7:3000", "10.0.0.7", true),
            ("http://10.0.0.8:3000", "10.0.0.7", false),
            ("http://localhost:3000", "10.0.0.7", false),
            ("http://localhost:3001", "0.0.0.0", false),
            ("http://backend:3000", "0.0.0.0", false),
            ("http://localhost", "0.0.0.0", false),
            ("nonsense", "0.0.0.0", false),
        ] {
            let bind = bind.parse().unwrap();
            assert_eq!(own_address(url, bind, 3000), is_itself, "{url} on {bind}");
        }
        assert!(own_address("http://localhost", Ipv4Addr::UNSPECIFIED.into(), 80));
        assert!(own_address(
            "https://localhost",
            Ipv4Addr::UNSPECIFIED.into(),
            443
        ));
    }

    #[test]
    fn where_no_backend_is_asked_its_address_does_not_matter() {
        for url in ["http://localhost:3000", "nonsense"] {
            let set = |settings: &mut ServerSettings| settings.proxy.proxy_url = url.into();
            assert_eq!(blamed(set), Some("proxy_url"), "{url}");
            let frozen = |settings: &mut ServerSettings| {
                set(settings);
                settings.proxy.frozen = true;
            };
            assert_eq!(blamed(frozen), None, "{url}");
        }
    }

    #[test]
    fn one_port_is_not_given_twice() {
        assert_eq!(
            blamed(|settings| settings.control_port = 3000),
            Some("control_port")
        );
        assert_eq!(
            blamed(|settings| {
                settings.control_port = 0;
                settings.proxy_port = 0;
            }),
            None
        );
    }

    #[test]
    fn a_misspelt_level_does_not_silence_the_log() {
        for (log, accepted) in [
            ("info", true),
            ("WARN", true),
            ("info,phantom_frame=debug", true),
            ("inof", false),
            ("info,", false),
            ("", false),
        ] {
            assert_eq!(check_log(log).is_ok(), accepted, "{log:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let settings = ServerSettings {
            control_auth: Some(Secret("hunter2".into())),
            ..ServerSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
