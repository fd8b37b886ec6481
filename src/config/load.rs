//! Where settings come from: flag over variable over file over default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place};
use super::file::{self, ConfigFile};
use super::given::Given;
use super::keys::{self, ENV_PREFIX, Key};
use super::server::{Secret, ServerSettings};
use crate::error::{Error, ErrorKind};

/// What a configuration is made of, before it is read.
///
/// ```
/// use phantom_frame::config::Sources;
///
/// let loaded = Sources::default()
///     .with_env([("PHANTOM_FRAME_PROXY_PORT".into(), "8000".into())])
///     .with_flag("proxy_url", vec!["http://localhost:5173".into()])
///     .load()?;
/// assert_eq!(loaded.settings().proxy_port, 8000);
/// assert_eq!(loaded.settings().proxy.proxy_url, "http://localhost:5173");
/// # Ok::<(), phantom_frame::config::ConfigError>(())
/// ```
#[derive(Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    flags: Vec<(&'static str, Vec<String>)>,
}

impl Sources {
    /// Reads this file.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Uses those of these variables that begin with `PHANTOM_FRAME_`. In lists, commas separate.
    #[must_use]
    pub fn with_env(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |(name, _): &(OsString, OsString)| name.to_string_lossy().starts_with(ENV_PREFIX);
        self.env = variables.into_iter().filter(ours).collect();
        self
    }

    /// Sets a key of [`keys`](super::keys) as a flag does; lists take several values.
    #[must_use]
    pub fn with_flag(mut self, key: &'static str, values: Vec<String>) -> Self {
        self.flags.push((key, values));
        self
    }

    /// Reads, merges and checks.
    ///
    /// # Errors
    /// When something cannot be read, is unknown, or cannot work. The proxy's own settings are checked
    /// where the proxy is made; [`Loaded::blame`] gives such an error its place.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded::defaults();
        if let Some(path) = &self.file {
            loaded.take_in(path, file::read(path)?)?;
        }
        loaded.resolve_paths();
        loaded.read_env(&self.env)?;
        loaded.read_flags(self.flags)?;
        loaded.read_token()?;
        let checked = loaded.settings.check();
        checked.map_err(|error| loaded.blame(error))?;
        let shadowed = loaded.file.as_ref().map(ConfigFile::shadowed_rules);
        loaded.warnings.extend(shadowed.unwrap_or_default());
        Ok(loaded)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Env(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// A configuration as it is in force.
#[derive(Debug)]
pub struct Loaded {
    settings: ServerSettings,
    origins: BTreeMap<&'static str, Origin>,
    file: Option<ConfigFile>,
    warnings: Vec<String>,
}

impl Loaded {
    /// The settings; relative paths of the file are joined to its folder.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// What is probably a mistake and stops nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where a setting came from: `default`, `config.toml:7`, `PHANTOM_FRAME_SITE` or `--site`.
    pub fn origin(&self, key: &str) -> String {
        self.origin_of(key).to_string()
    }

    /// Where a setting stands in the file, if that is what counts.
    pub fn place(&self, key: &str) -> Option<Place> {
        let (Origin::File { .. }, Some(file)) = (self.origin_of(key), &self.file) else {
            return None;
        };
        let span = file.spans.get(key)?.value.clone();
        Some(file.source.place(span))
    }

    pub(crate) fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    pub(crate) fn origin_of(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Gives an error of the proxy, of the control server or of a listener its place in the file, or
    /// the name of the flag or variable at fault.
    pub fn blame(&self, error: Error) -> ConfigError {
        let key = error.setting().or(match error.kind() {
            ErrorKind::Directory | ErrorKind::Foreign => Some("snapshot_dir"),
            ErrorKind::Config
            | ErrorKind::Bind
            | ErrorKind::Locked
            | ErrorKind::Frozen
            | ErrorKind::Absent
            | ErrorKind::NotReady
            | ErrorKind::Control => None,
        });
        let message = error.to_string();
        let hint = error.hint().map(str::to_owned);
        let blamed = match self.in_its_rule(&error) {
            Some(place) => ConfigError::new(message).at(place),
            None => self.in_its_source(key, message),
        };
        // The context is said already; the cause is what it stands on.
        let blamed = match std::error::Error::source(&error) {
            Some(cause) => blamed.with_source(Cause::of(cause)),
            None => blamed,
        };
        blamed.with_hint(hint)
    }

    /// Where a value stands that cannot work in a rule, or not beside what the rule leaves as it is.
    fn in_its_rule(&self, error: &Error) -> Option<Place> {
        let file = self.file.as_ref()?;
        let section = file.rules.get(error.rule()?)?;
        let span = section.blamed_by(error.setting(), &error.to_string());
        Some(file.source.place(span))
    }

    fn in_its_source(&self, key: Option<&'static str>, message: String) -> ConfigError {
        match key.map(|key| (key, self.origin_of(key))) {
            Some((_, origin @ (Origin::Env(_) | Origin::Flag(_)))) => {
                ConfigError::new(format!("{origin}: {message}"))
            }
            Some((key, Origin::File { .. })) => {
                let place = self.file.as_ref().and_then(|file| {
                    let span = file.spans.get(key)?.blamed_by(&message);
                    Some(file.source.place(span))
                });
                ConfigError::new(message).at(place)
            }
            Some((key, Origin::Default)) => {
                ConfigError::new(format!("{message} (`{key}` has its default value)"))
            }
            None => ConfigError::new(message),
        }
    }

    /// An error about one setting that only the caller could find.
    pub fn refuse(&self, key: &'static str, message: impl Into<String>) -> ConfigError {
        self.blame(Error::config(key, message))
    }

    /// What this text would come to as `config.toml` here. Files that it names are not read.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn from_text(text: &str) -> Result<Self, ConfigError> {
        let mut loaded = Self::defaults();
        let path = Path::new("config.toml");
        loaded.take_in(path, file::parse(path, text)?)?;
        loaded.resolve_paths();
        let checked = loaded.settings.check();
        checked.map_err(|error| loaded.blame(error))?;
        Ok(loaded)
    }

    fn defaults() -> Self {
        Self {
            settings: ServerSettings::default(),
            origins: BTreeMap::new(),
            file: None,
            warnings: Vec::new(),
        }
    }

    fn take_in(&mut self, path: &Path, mut file: ConfigFile) -> Result<(), ConfigError> {
        for (key, given) in &file.values {
            let set = key.field.set(&mut self.settings, given);
            set.map_err(|misfit| file.refuse(key, given, misfit))?;
        }
        for (name, spans) in &file.spans {
            let line = file.source.place(spans.value.clone()).line();
            let path = file.source.path().to_owned();
            self.origins.insert(name, Origin::File { path, line });
        }
        self.settings.rules = file.rules.iter().map(|section| section.rule.clone()).collect();
        self.settings.watch = std::mem::take(&mut file.watch);
        self.settings.prerender = file.prerender.take();
        self.settings.base_dir = path.parent().map(Into::into).unwrap_or_default();
        self.file = Some(file);
        Ok(())
    }

    /// Paths of the file, and the default one, start from the file's folder; those of flags and
    /// variables from the working directory, as everywhere on a command line.
    fn resolve_paths(&mut self) {
        let base = self.settings.base_dir.clone();
        for key in keys::keys() {
            if let Some(path) = key.field.path_mut(&mut self.settings) {
                *path = base.join(&*path);
            }
        }
    }

    fn read_env(&mut self, variables: &[(OsString, OsString)]) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            let Some(key) = keys::keys().iter().find(|key| key.env() == name) else {
                self.warn_of(&name, &value.to_string_lossy());
                continue;
            };
            let value = value
                .to_str()
                .ok_or_else(|| ConfigError::new(format!("{name} is not UTF-8")))?;
            let words = match key.is_list() {
                true => value
                    .split(',')
                    .map(|word| word.trim().to_owned())
                    .filter(|word| !word.is_empty())
                    .collect(),
                false => vec![value.to_owned()],
            };
            self.set(key, Given::Words(words), Origin::Env(name))?;
        }
        Ok(())
    }

    /// Container platforms put variables of their own beside ours (`PHANTOM_FRAME_SERVICE_HOST`,
    /// `PHANTOM_FRAME_PORT=tcp://…`), so an unknown one is only worth a word if it looks like a slip.
    fn warn_of(&mut self, name: &str, value: &str) {
        let text = name.trim_start_matches(ENV_PREFIX).to_ascii_lowercase();
        let known = keys::keys().iter().map(Key::name);
        let near = keys::of_flag(&text).or_else(|| file::nearest(&text, known));
        if let Some(near) = near.filter(|_| !value.starts_with("tcp://")) {
            let near = near.to_ascii_uppercase();
            self.warnings.push(format!(
                "{name} is not a setting; did you mean {ENV_PREFIX}{near}?"
            ));
        }
    }

    fn read_flags(&mut self, flags: Vec<(&'static str, Vec<String>)>) -> Result<(), ConfigError> {
        for (name, values) in flags {
            let key =
                keys::find(name).ok_or_else(|| ConfigError::new(format!("there is no setting `{name}`")))?;
            let flag = key.flag().unwrap_or(name);
            self.set(key, Given::Words(values), Origin::Flag(flag))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &'static Key, given: Given, origin: Origin) -> Result<(), ConfigError> {
        key.field.set(&mut self.settings, &given).map_err(|misfit| {
            let found = key.describe(&given);
            ConfigError::new(format!("{origin} must be {}, not {found}", misfit.expected))
                .with_hint(misfit.hint)
        })?;
        self.origins.insert(key.name(), origin);
        Ok(())
    }

    /// The token's file, unless the token itself comes from nearer by.
    fn read_token(&mut self) -> Result<(), ConfigError> {
        let Some(path) = &self.settings.control_auth_file else {
            return Ok(());
        };
        let rank = |origin: &Origin| match origin {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Env(_) => 2,
            Origin::Flag(_) => 3,
        };
        let (token, file) = (
            self.origin_of("control_auth"),
            self.origin_of("control_auth_file"),
        );
        if rank(token) > rank(file) {
            self.settings.control_auth_file = None;
            return Ok(());
        }
        if self.settings.control_auth.is_some() && rank(token) == rank(file) {
            return Err(self.blame(
                Error::config(
                    "control_auth_file",
                    "`control_auth` and `control_auth_file` both give the control server's token",
                )
                .with_hint("keep one of them"),
            ));
        }
        let token = std::fs::read_to_string(path).map_err(|error| {
            self.blame(
                Error::config(
                    "control_auth_file",
                    format!("cannot read the control server's token from {}", path.display()),
                )
                .with_source(error),
            )
        })?;
        self.settings.control_auth = Some(Secret::from(token.trim().to_owned()));
        Ok(())
    }
}

/// An error's cause and the causes of that, kept as text: the error itself goes away.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    fn of(error: &dyn std::error::Error) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::time::Duration;

    use super::*;
    use crate::config::{PathRule, Settings, Ttl};

    fn with_file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn load(text: &str) -> Result<Loaded, ConfigError> {
        let (_dir, path) = with_file(text);
        Sources::default().with_file(path).load()
    }

    fn env(name: &str, value: &str) -> (OsString, OsString) {
        (name.into(), value.into())
    }

    /// As the 0.1 documentation has it.
    const DOCUMENTED: &str = r#"
[server]
# Control port for cache management endpoints (default: 17809)
control_port = 17809
# Proxy port for serving prerendered content (default: 3000)
proxy_port = 3000
# The backend URL to proxy requests to (default: http://localhost:8080)
proxy_url = "http://localhost:8080"
include_paths = ["/api/*", "/public/*", "GET /admin/stats"]
exclude_paths = ["/api/admin/*", "/api/*/private", "POST *", "PUT *", "DELETE *"]
enable_websocket = true
forward_get_only = false
control_auth = "your-secret-token-here"
"#;

    #[test]
    fn the_file_of_the_0_1_documentation_loads() {
        let loaded = load(DOCUMENTED).unwrap();
        let settings = loaded.settings();
        assert_eq!(
            settings.proxy.include_paths,
            ["/api/*", "/public/*", "GET /admin/stats"]
        );
        assert_eq!(settings.proxy.exclude_paths.len(), 5);
        assert_eq!(
            settings.control_auth.as_ref().unwrap().expose(),
            "your-secret-token-here"
        );
    }

    #[test]
    fn values_that_do_not_fit_say_what_would() {
        for (line, message, hint) in [
            (
                "proxy_port = \"3000\"",
                "`proxy_port` must be a port number from 0 to 65535, not \"3000\"",
                "write it without quotes: 3000",
            ),
            (
                "proxy_port = 70000",
                "`proxy_port` must be a port number from 0 to 65535, not 70000",
                "",
            ),
            (
                "proxy_url = 7",
                "`proxy_url` must be a text, not 7",
                "put it in quotes",
            ),
            (
                "site = \"\"",
                "`site` must be a text, not \"\"",
                "leave the setting out to get its default",
            ),
            (
                "enable_websocket = \"false\"",
                "`enable_websocket` must be true or false, not \"false\"",
                "write it without quotes: false",
            ),
            (
                "connect_timeout = 5",
                "`connect_timeout` must be a duration longer than zero, not 5",
                "add a unit: \"5s\" for seconds, \"5ms\", \"5m\", \"5h\"",
            ),
            (
                "connect_timeout = \"0s\"",
                "`connect_timeout` must be a duration longer than zero, not \"0s\"",
                "",
            ),
            (
                "default_ttl = \"for ever\"",
                "`default_ttl` must be a duration or \"forever\", not \"for ever\"",
                "write a duration such as \"60s\", \"5 min\", \"1h 30m\" or \"7 days\"",
            ),
            (
                "max_body = \"64 Foo\"",
                "`max_body` must be a size, not \"64 Foo\"",
                "write a size such as \"64MiB\" or \"10 MB\", or a number of bytes",
            ),
            (
                "max_body = -1",
                "`max_body` must be a size, not -1",
                "write a size such as \"64MiB\" or \"10 MB\", or a number of bytes",
            ),
            (
                "durability = \"paranoid\"",
                "`durability` must be \"none\", \"data\" or \"full\", not \"paranoid\"",
                "",
            ),
            (
                "proxy_bind = \"localhost\"",
                "`proxy_bind` must be an IP address, not \"localhost\"",
                "write \"127.0.0.1\", or \"::1\"",
            ),
            (
                "include_paths = \"/api/*\"",
                "`include_paths` must be a list of texts, not \"/api/*\"",
                "put it in brackets: [\"/api/*\"]",
            ),
            (
                "max_fills = 1.5",
                "`max_fills` must be a number, not negative, not a number with a point",
                "",
            ),
            (
                "control_auth = 123456",
                "`control_auth` must be a text, not a number",
                "put it in quotes",
            ),
            (
                "control_auth = \"\"",
                "the control server's token is empty",
                "give it a long random text, or leave the setting out",
            ),
            (
                "log = \"inof\"",
                "`inof` is no log level",
                "the levels are off, error, warn, info, debug, trace; a module has its own as in \
                 `info,phantom_frame=debug`",
            ),
            (
                "control_bind = \"0.0.0.0\"",
                "the control server would listen on 0.0.0.0 without a token: anybody there could empty the cache",
                "set `control_auth` (or `control_auth_file`), or keep `control_bind` at 127.0.0.1",
            ),
        ] {
            let error = load(&format!("[server]\n\n{line}\n")).unwrap_err();
            assert_eq!(error.message(), message, "{line}");
            assert_eq!(error.hint().unwrap_or(""), hint, "{line}");
            let place = error.place().unwrap();
            let value = line.find("= ").unwrap() + 3;
            assert_eq!((place.line(), place.column()), (3, value), "{line}");
        }
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let (_dir, path) = with_file("[server]\nproxy_port = 1\ncontrol_port = 1\nmax_fills = 1\n");
        let loaded = Sources::default()
            .with_file(&path)
            .with_env([
                env("PHANTOM_FRAME_PROXY_PORT", "2"),
                env("PHANTOM_FRAME_CONTROL_PORT", "2"),
                env("PHANTOM_FRAME_INCLUDE_PATHS", "/a/*, POST /b,"),
                env("PHANTOM_FRAME_DEFAULT_TTL", "forever"),
                env("OTHER", "2"),
            ])
            .with_flag("proxy_port", vec!["3".into()])
            .with_flag("exclude_paths", vec!["/x".into(), "/y,z".into()])
            .load()
            .unwrap();
        let settings = loaded.settings();
        assert_eq!((settings.proxy_port, settings.control_port), (3, 2));
        assert_eq!(settings.proxy.max_fills, 1);
        assert_eq!(settings.proxy.include_paths, ["/a/*", "POST /b"]);
        assert_eq!(settings.proxy.exclude_paths, ["/x", "/y,z"]);
        assert_eq!(settings.proxy.default_ttl, Ttl::Forever);
        assert_eq!(loaded.origin("proxy_port"), "--port");
        assert_eq!(loaded.origin("control_port"), "PHANTOM_FRAME_CONTROL_PORT");
        assert_eq!(loaded.origin("max_fills"), format!("{}:4", path.display()));
        assert_eq!(loaded.origin("max_body"), "default");
    }

    #[test]
    fn a_wrong_variable_or_flag_is_named() {
        let wrong = Sources::default().with_env([env("PHANTOM_FRAME_PROXY_PORT", "tcp://10.0.0.1:80")]);
        assert_eq!(
            wrong.load().unwrap_err().to_string(),
            "PHANTOM_FRAME_PROXY_PORT must be a port number from 0 to 65535, not \"tcp://10.0.0.1:80\""
        );
        let wrong = Sources::default().with_flag("default_ttl", vec!["60".into()]);
        let error = wrong.load().unwrap_err();
        assert_eq!(
            error.to_string(),
            "--default-ttl must be a duration or \"forever\", not \"60\""
        );
        let wrong = Sources::default().with_flag("proxy_url", vec!["http://localhost:3000".into()]);
        let error = wrong.load().unwrap_err().to_string();
        assert!(error.starts_with("--backend: the backend http://"), "{error}");
    }

    #[test]
    fn a_variable_that_looks_like_a_slip_is_worth_a_warning() {
        let loaded = Sources::default()
            .with_env([
                env("PHANTOM_FRAME_PROXY_PROT", "1"),
                env("PHANTOM_FRAME_SERVICE_HOST", "10.0.0.1"),
                env("PHANTOM_FRAME_SERVICE_PORT", "80"),
                env("PHANTOM_FRAME_PORT", "tcp://10.0.0.1:80"),
                env("PHANTOM_FRAME_PORT_80_TCP_ADDR", "10.0.0.1"),
            ])
            .load()
            .unwrap();
        assert_eq!(
            loaded.warnings(),
            ["PHANTOM_FRAME_PROXY_PROT is not a setting; did you mean PHANTOM_FRAME_PROXY_PORT?"]
        );
    }

    #[test]
    fn paths_of_the_file_start_from_its_folder() {
        let (dir, path) = with_file("[server]\nbackend_ca = \"ca.pem\"\n");
        let loaded = Sources::default()
            .with_file(&path)
            .with_env([env("PHANTOM_FRAME_CONTROL_AUTH", "token")])
            .load()
            .unwrap();
        let settings = loaded.settings();
        assert_eq!(settings.base_dir, dir.path());
        assert_eq!(settings.proxy.snapshot_dir, dir.path().join("snapshots"));
        assert_eq!(settings.proxy.backend_ca, Some(dir.path().join("ca.pem")));
        let loaded = Sources::default()
            .with_file(&path)
            .with_flag("snapshot_dir", vec!["here".into()])
            .load()
            .unwrap();
        assert_eq!(loaded.settings().proxy.snapshot_dir, Path::new("here"));
    }

    #[test]
    fn the_token_comes_from_the_nearest_source() {
        let (dir, path) = with_file("[server]\ncontrol_auth_file = \"token\"\n");
        let token = |loaded: &Loaded| {
            loaded
                .settings()
                .control_auth
                .as_ref()
                .map(|token| token.expose().to_owned())
        };
        let missing = Sources::default().with_file(&path).load().unwrap_err();
        assert_eq!(missing.place().unwrap().line(), 2);
        assert!(missing.source().is_some());
        std::fs::write(dir.path().join("token"), "of the file\n").unwrap();
        let loaded = Sources::default().with_file(&path).load().unwrap();
        assert_eq!(token(&loaded).as_deref(), Some("of the file"));
        let loaded = Sources::default()
            .with_file(&path)
            .with_env([env("PHANTOM_FRAME_CONTROL_AUTH", "of the variable")])
            .load()
            .unwrap();
        assert_eq!(token(&loaded).as_deref(), Some("of the variable"));
        std::fs::write(dir.path().join("token"), "\n").unwrap();
        let empty = Sources::default().with_file(&path).load().unwrap_err();
        assert_eq!(empty.message(), "the control server's token is empty");
        let empty = Sources::default().with_env([env("PHANTOM_FRAME_CONTROL_AUTH", "")]);
        assert!(empty.load().is_err());
        let both = load("[server]\ncontrol_auth = \"a\"\ncontrol_auth_file = \"token\"\n");
        assert_eq!(both.unwrap_err().place().unwrap().line(), 3);
    }

    #[test]
    fn an_error_of_the_proxy_is_given_its_place() {
        let loaded = load("[server]\ninclude_paths = [\n  \"/a/*\",\n  \"/api/*\",\n]\n").unwrap();
        let error = Error::config("include_paths", "`/api/*` is no pattern").with_hint("begin it with `/`");
        let blamed = loaded.blame(error);
        let place = blamed.place().unwrap();
        assert_eq!((place.line(), place.column()), (4, 3));
        assert_eq!(blamed.hint(), Some("begin it with `/`"));
        let by_default = loaded.refuse("max_body", "too much");
        assert_eq!(
            by_default.to_string(),
            "too much (`max_body` has its default value)"
        );
    }

    #[test]
    fn an_error_in_a_rule_is_given_its_place_there() {
        const RULES: &str = "[server]\nmax_variants = 3\nunkeyed_headers = [\"x-a\"]\n\n\
             [[rule]]\nmatch = [\"/a\"]\n\n[[rule]]\nmatch = [\"/b\", \"b\"]\n";
        const RULE: &str = "[server]\nunkeyed_headers = [\"x-a\"]\n\n[[rule]]\nmatch = [\"/a\"]\n";
        for (text, message, hint) in [
            (
                RULES.to_owned(),
                "`b` in `match` is not a path pattern",
                "write a path with `*` for any run of characters, a method before it if need be: \"/api/*\", \
                 \"POST /search\"",
            ),
            (
                format!("{RULE}max_variants = 0\n"),
                "`max_variants` is zero, so nothing would ever be stored",
                "to store nothing, write exclude_paths = [\"*\"]",
            ),
            (
                format!("{RULE}client_cache_control = \"a\\nb\"\n"),
                "`a\\nb` in `client_cache_control` is not a header field value",
                "write it as a browser sends it, in one line",
            ),
            (
                format!("{RULE}add_headers = [\"Link: a\", \"Set-Cookie: a=b\"]\n"),
                "`Set-Cookie: a=b` in `add_headers` would give every visitor the same cookie, in place of their own",
                "let the backend set cookies, in answers that are not stored",
            ),
            (
                format!("{RULE}add_headers = [\"Cache-Control: no-store\"]\n"),
                "`Cache-Control: no-store` in `add_headers` would be said of answers that are somebody's, too",
                "set `client_cache_control`, which is said of stored pages alone",
            ),
            (
                format!("{RULE}add_headers = [\"CDN-Cache-Control: max-age=60\"]\n"),
                "`CDN-Cache-Control: max-age=60` in `add_headers` would be said of answers that are somebody's, too",
                "set `client_cache_control`, which is said of stored pages alone",
            ),
            (
                format!("{RULE}add_headers = [\"Expires: Fri, 01 Jan 2100 00:00:00 GMT\"]\n"),
                "`Expires: Fri, 01 Jan 2100 00:00:00 GMT` in `add_headers` would be said of answers that are \
                 somebody's, too",
                "set `client_cache_control`, which is said of stored pages alone",
            ),
            (
                format!("{RULE}add_headers = [\"Content-Encoding: gzip\"]\n"),
                "`Content-Encoding: gzip` in `add_headers` would change how the message is framed",
                "write name and value: \"X-Frame-Options: DENY\"",
            ),
            (
                format!("{RULE}strip_headers = [\"X-A\", \"content-length\"]\n"),
                "without `content-length`, which `strip_headers` names, the message could not be read",
                "name only fields that say something about the page",
            ),
            // Right alone, and wrong beside what stands in [server].
            (
                format!("{RULE}key_headers = [\"x-a\"]\n"),
                "`x-a` is both in `unkeyed_headers` and in `key_headers`",
                "name it in `key_headers` if it changes the page, else in `unkeyed_headers`",
            ),
        ] {
            let error = load(&text).unwrap_err();
            assert_eq!(error.message(), message);
            assert_eq!(error.hint().unwrap_or(""), hint);
            let place = error.place().unwrap();
            let expected = match error.message() {
                message if message.contains("`match`") => (9, 16),
                message if message.contains("`Set-Cookie") => (6, 27),
                message if message.contains("`content-length") => (6, 25),
                message if message.contains("max_variants") => (6, 16),
                message if message.contains("client_cache_control") => (6, 24),
                _ => (6, 16),
            };
            assert_eq!((place.line(), place.column()), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_debug_token_refuses_to_start() {
        for (token, message) in [
            ("", "the debug token is empty"),
            ("  ", "the debug token is empty"),
            (
                " a",
                "the debug token begins or ends with white space, or holds a control character",
            ),
        ] {
            let error = load(&format!("[server]\ndebug_token = \"{token}\"\n")).unwrap_err();
            assert_eq!(error.message(), message);
            assert_eq!(error.place().unwrap().line(), 2);
        }
        let loaded = load("[server]\ndebug_token = \"hunter2\"\n").unwrap();
        let printed = loaded.print();
        assert!(printed.contains("# debug_token = \"***\"  # "), "{printed}");
        assert!(printed.contains("# control_auth is not set"), "{printed}");
        assert!(!printed.contains("hunter2"));
    }

    #[test]
    fn a_rule_that_never_counts_is_warned_of() {
        let loaded = load("[[rule]]\nmatch = [\"*\"]\n[[rule]]\nmatch = [\"/a\"]\n").unwrap();
        let [warning] = loaded.warnings() else {
            panic!("{:?}", loaded.warnings());
        };
        assert!(
            warning.contains("config.toml:3:1: this rule never counts"),
            "{warning}"
        );
    }

    #[test]
    fn what_is_printed_loads_again() {
        let text = "[server]\nproxy_url = \"http://localhost:8000\"\nsite = \"a \\\"b\\\"\"\n\
             default_ttl = \"1h30m\"\nmax_body = \"10 MB\"\nbypass_cookies = []\ncontrol_auth = \"hunter2\"\n\
             [[rule]]\nmatch = [\"/a\", \"POST /b\"]\ncache = true\npublic = true\nttl = \"90s\"\nkeep_query = []\n\
             [[rule]]\nmatch = [\"/c\"]\ncache = false\n\
             [[watch]]\npaths = [\"content/**\"]\ninvalidate = [\"/\"]\nsettle = \"2s\"\n\
             [prerender]\npages = [\"/\"]\ncrawl = true\nscope = \"all\"\nmax_rps = 5\n";
        let first = load(text).unwrap();
        let printed = first.print();
        assert!(!printed.contains("hunter2"));
        let (_dir, path) = with_file(&printed);
        let second = Sources::default().with_file(&path).load().unwrap();
        let mut expected = first.settings().clone();
        expected.control_auth = None;
        expected.base_dir = second.settings().base_dir.clone();
        let plain = |rules: &[PathRule]| rules.iter().map(PathRule::plain).collect::<Vec<_>>();
        assert_eq!(plain(&second.settings().rules), plain(&expected.rules));
        expected.rules.clone_from(&second.settings().rules);
        // What was relative to the first file's folder is written out.
        expected.watch[0].paths = vec![
            first
                .settings()
                .base_dir
                .join("content/**")
                .to_string_lossy()
                .into_owned(),
        ];
        assert_eq!(second.settings(), &expected);
        let loaded = Sources::default().load().unwrap();
        assert_eq!(loaded.settings().proxy, Settings::default());
    }

    /// The repository's own `config.toml`.
    const EXAMPLE: &str = include_str!("../../config.toml");

    #[test]
    fn the_example_is_complete_and_says_the_defaults() {
        let (_dir, path) = with_file(EXAMPLE);
        let loaded = Sources::default().with_file(&path).load().unwrap();
        let mut expected = ServerSettings {
            base_dir: loaded.settings().base_dir.clone(),
            ..ServerSettings::default()
        };
        expected.proxy.snapshot_dir = expected.base_dir.join("snapshots");
        assert_eq!(loaded.settings(), &expected);
        let mut defaults = ServerSettings::default();
        for key in keys::keys() {
            let has_default = key.field.show(&mut defaults).is_some();
            let live = EXAMPLE
                .lines()
                .any(|line| line.starts_with(&format!("{} = ", key.name())));
            let commented = EXAMPLE
                .lines()
                .any(|line| line.starts_with(&format!("#{} = ", key.name())));
            assert_eq!((live, commented), (has_default, !has_default), "{}", key.name());
        }
    }

    #[test]
    fn the_example_loads_with_its_comments_taken_off() {
        let text: Vec<_> = EXAMPLE
            .lines()
            .filter(|line| !line.starts_with("#control_auth_file"))
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with([' ', '#']) => rest,
                _ => line,
            })
            .collect();
        let loaded = load(&text.join("\n")).unwrap();
        assert!(!loaded.settings().rules.is_empty());
        assert_eq!(loaded.settings().watch.len(), 1);
        assert_eq!(loaded.settings().watch[0].settle, Duration::from_secs(1));
    }
}
