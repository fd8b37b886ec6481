//! Values as a source gives them, and the place that they go to.
//!
//! A file gives types, flags and variables give text; [`Field::set`] is the one way in for both.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::server::{LogFormat, Secret, ServerSettings};
use super::{Durability, FillMode, SetCookie, Ttl, units};

type At<T> = fn(&mut ServerSettings) -> &mut T;

/// The type of a setting, and where it lives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Text(At<String>),
    OptionalText(At<Option<String>>),
    Secret(At<Option<Secret>>),
    Path(At<PathBuf>),
    OptionalPath(At<Option<PathBuf>>),
    Switch(At<bool>),
    Port(At<u16>),
    Address(At<IpAddr>),
    Count(At<usize>),
    Size(At<u64>),
    /// A duration that cannot be zero.
    Timeout(At<Duration>),
    Duration(At<Duration>),
    OptionalDuration(At<Option<Duration>>),
    Ttl(At<Ttl>),
    OptionalTtl(At<Option<Ttl>>),
    SetCookie(At<SetCookie>),
    Durability(At<Durability>),
    LogFormat(At<LogFormat>),
    Fill(At<FillMode>),
    List(At<Vec<String>>),
    OptionalList(At<Option<Vec<String>>>),
}

/// A value as a source gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Text(String),
    Integer(i64),
    Switch(bool),
    List(Vec<String>),
    /// From a flag or a variable, where everything is text.
    Words(Vec<String>),
    /// Of a type that no setting has: its name.
    Other(&'static str),
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) expected: &'static str,
    pub(crate) hint: Option<String>,
}

impl Misfit {
    fn new(expected: &'static str) -> Self {
        Self { expected, hint: None }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl Given {
    /// For "must be …, not …".
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            Self::Words(words) => format!("\"{}\"", words.join(",")),
            Self::Integer(number) => number.to_string(),
            Self::Switch(value) => value.to_string(),
            Self::List(_) => "a list".into(),
            Self::Other(name) => format!("a {name}"),
        }
    }

    /// The same of a secret.
    pub(crate) fn describe_type(&self) -> String {
        match self {
            Self::Text(_) | Self::Words(_) => "this text".into(),
            Self::Integer(_) => "a number".into(),
            Self::Switch(_) | Self::List(_) | Self::Other(_) => self.describe(),
        }
    }

    fn text(&self, expected: &'static str) -> Result<&str, Misfit> {
        let text = match self {
            Self::Text(text) => text,
            Self::Words(words) => words.last().map_or("", |word| word),
            Self::Integer(_) | Self::Switch(_) => {
                return Err(Misfit::new(expected).with_hint("put it in quotes"));
            }
            Self::List(_) | Self::Other(_) => return Err(Misfit::new(expected)),
        };
        match text.trim().is_empty() {
            true => Err(Misfit::new(expected).with_hint("leave the setting out to get its default")),
            false => Ok(text),
        }
    }

    fn list(&self) -> Result<Vec<String>, Misfit> {
        match self {
            Self::List(list) | Self::Words(list) => Ok(list.clone()),
            Self::Text(text) => {
                Err(Misfit::new("a list of texts").with_hint(format!("put it in brackets: [\"{text}\"]")))
            }
            _ => Err(Misfit::new("a list of texts").with_hint("for example [\"/blog/*\", \"/\"]")),
        }
    }

    fn number(&self, expected: &'static str) -> Result<i64, Misfit> {
        match self {
            Self::Integer(number) => Ok(*number),
            Self::Words(_) => {
                let text = self.text(expected)?;
                text.trim().parse().map_err(|_| Misfit::new(expected))
            }
            Self::Text(text) if text.parse::<i64>().is_ok() => {
                Err(Misfit::new(expected).with_hint(format!("write it without quotes: {text}")))
            }
            _ => Err(Misfit::new(expected)),
        }
    }

    pub(crate) fn switch(&self) -> Result<bool, Misfit> {
        let expected = "true or false";
        match self {
            Self::Switch(value) => Ok(*value),
            Self::Words(_) => match self.text(expected)? {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Misfit::new(expected)),
            },
            Self::Text(text) if text == "true" || text == "false" => {
                Err(Misfit::new(expected).with_hint(format!("write it without quotes: {text}")))
            }
            _ => Err(Misfit::new(expected)),
        }
    }

    fn duration(&self, expected: &'static str) -> Result<Duration, Misfit> {
        let text = match self {
            Self::Integer(number) => number.to_string(),
            given => given.text(expected)?.to_owned(),
        };
        units::duration(&text).map_err(|error| Misfit::new(expected).with_hint(error.hint(&text)))
    }

    fn ttl(&self) -> Result<Ttl, Misfit> {
        match self {
            Self::Text(text) if text == "forever" => Ok(Ttl::Forever),
            Self::Words(words) if words.iter().eq(["forever"]) => Ok(Ttl::Forever),
            given => Ok(Ttl::For(given.duration("a duration or \"forever\"")?)),
        }
    }

    fn size(&self) -> Result<u64, Misfit> {
        let expected = "a size";
        let text = match self {
            Self::Integer(number) => number.to_string(),
            given => given.text(expected)?.to_owned(),
        };
        units::size(&text).map_err(|error| Misfit::new(expected).with_hint(error.hint(&text)))
    }

    fn one_of<T: Copy>(&self, expected: &'static str, choices: &[(&str, T)]) -> Result<T, Misfit> {
        let text = self.text(expected)?;
        choices
            .iter()
            .find_map(|(name, value)| (*name == text).then_some(*value))
            .ok_or_else(|| Misfit::new(expected))
    }
}

const DURABILITIES: [(&str, Durability); 3] = [
    ("none", Durability::None),
    ("data", Durability::Data),
    ("full", Durability::Full),
];

const FILL_MODES: [(&str, FillMode); 2] = [
    ("canonical", FillMode::Canonical),
    ("transparent", FillMode::Transparent),
];

const SET_COOKIES: [(&str, SetCookie); 2] = [("refuse", SetCookie::Refuse), ("strip", SetCookie::Strip)];

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Field {
    /// Puts what a source gives into its place.
    pub(crate) fn set(self, settings: &mut ServerSettings, given: &Given) -> Result<(), Misfit> {
        match self {
            Self::Text(at) => *at(settings) = given.text("a text")?.into(),
            Self::OptionalText(at) => *at(settings) = Some(given.text("a text")?.into()),
            // An empty token is refused later, with a better reason.
            Self::Secret(at) => {
                *at(settings) = Some(Secret::from(match given {
                    Given::Text(text) => text.clone(),
                    Given::Words(words) => words.concat(),
                    given => given.text("a text")?.to_owned(),
                }));
            }
            Self::Path(at) => *at(settings) = given.text("a path")?.into(),
            Self::OptionalPath(at) => *at(settings) = Some(given.text("a path")?.into()),
            Self::Switch(at) => *at(settings) = given.switch()?,
            Self::Port(at) => *at(settings) = port(given)?,
            Self::Address(at) => *at(settings) = address(given)?,
            Self::Count(at) => {
                let expected = "a number, not negative";
                *at(settings) =
                    usize::try_from(given.number(expected)?).map_err(|_| Misfit::new(expected))?;
            }
            Self::Size(at) => *at(settings) = given.size()?,
            Self::Timeout(at) => {
                let expected = "a duration longer than zero";
                *at(settings) = match given.duration(expected)? {
                    Duration::ZERO => return Err(Misfit::new(expected)),
                    duration => duration,
                };
            }
            Self::Duration(at) => *at(settings) = given.duration("a duration")?,
            Self::OptionalDuration(at) => *at(settings) = Some(given.duration("a duration")?),
            Self::Ttl(at) => *at(settings) = given.ttl()?,
            Self::OptionalTtl(at) => *at(settings) = Some(given.ttl()?),
            Self::SetCookie(at) => *at(settings) = given.one_of("\"refuse\" or \"strip\"", &SET_COOKIES)?,
            Self::Durability(at) => {
                *at(settings) = given.one_of("\"none\", \"data\" or \"full\"", &DURABILITIES)?;
            }
            Self::LogFormat(at) => *at(settings) = given.one_of("\"text\" or \"json\"", &LOG_FORMATS)?,
            Self::Fill(at) => {
                *at(settings) = given.one_of("\"canonical\" or \"transparent\"", &FILL_MODES)?;
            }
            Self::List(at) => *at(settings) = given.list()?,
            Self::OptionalList(at) => *at(settings) = Some(given.list()?),
        }
        Ok(())
    }

    /// The value as the file would have it; nothing if it is not set, or a secret.
    pub(crate) fn show(self, settings: &mut ServerSettings) -> Option<toml::Value> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned().into();
        Some(match self {
            Self::Text(at) => at(settings).clone().into(),
            Self::OptionalText(at) => at(settings).clone()?.into(),
            Self::Secret(_) => return None,
            Self::Path(at) => path(at(settings)),
            Self::OptionalPath(at) => path(at(settings).as_ref()?),
            Self::Switch(at) => (*at(settings)).into(),
            Self::Port(at) => i64::from(*at(settings)).into(),
            Self::Address(at) => at(settings).to_string().into(),
            Self::Count(at) => i64::try_from(*at(settings)).unwrap_or(i64::MAX).into(),
            Self::Size(at) => units::size_text(*at(settings)).into(),
            Self::Timeout(at) | Self::Duration(at) => units::duration_text(*at(settings)).into(),
            Self::OptionalDuration(at) => units::duration_text((*at(settings))?).into(),
            Self::Ttl(at) => ttl_text(*at(settings)).into(),
            Self::OptionalTtl(at) => ttl_text((*at(settings))?).into(),
            Self::SetCookie(at) => name_of(&SET_COOKIES, *at(settings)),
            Self::Durability(at) => name_of(&DURABILITIES, *at(settings)),
            Self::LogFormat(at) => name_of(&LOG_FORMATS, *at(settings)),
            Self::Fill(at) => name_of(&FILL_MODES, *at(settings)),
            Self::List(at) => at(settings).clone().into(),
            Self::OptionalList(at) => at(settings).clone()?.into(),
        })
    }

    /// Whether this is a secret, and there is one.
    pub(crate) fn is_set_secret(self, settings: &mut ServerSettings) -> bool {
        match self {
            Self::Secret(at) => at(settings).is_some(),
            _ => false,
        }
    }

    /// The path, if the setting is one.
    pub(crate) fn path_mut(self, settings: &mut ServerSettings) -> Option<&mut PathBuf> {
        match self {
            Self::Path(at) => Some(at(settings)),
            Self::OptionalPath(at) => at(settings).as_mut(),
            _ => None,
        }
    }
}

fn ttl_text(ttl: Ttl) -> String {
    match ttl {
        Ttl::Forever => "forever".into(),
        Ttl::For(duration) => units::duration_text(duration),
    }
}

fn name_of<T: PartialEq>(choices: &[(&str, T)], value: T) -> toml::Value {
    let name = choices.iter().find(|(_, choice)| *choice == value);
    name.map_or("", |(name, _)| *name).into()
}

fn port(given: &Given) -> Result<u16, Misfit> {
    let expected = "a port number from 0 to 65535";
    u16::try_from(given.number(expected)?).map_err(|_| Misfit::new(expected))
}

fn address(given: &Given) -> Result<IpAddr, Misfit> {
    let expected = "an IP address";
    let text = given.text(expected)?;
    text.trim().trim_matches(['[', ']']).parse().map_err(|_| {
        let misfit = Misfit::new(expected);
        match text {
            "localhost" => misfit.with_hint("write \"127.0.0.1\", or \"::1\""),
            "*" => misfit.with_hint("write \"0.0.0.0\", or \"::\""),
            text if text.parse::<std::net::SocketAddr>().is_ok() => {
                misfit.with_hint("the port has a setting of its own")
            }
            _ => misfit.with_hint("\"127.0.0.1\" is this machine alone, \"0.0.0.0\" everybody"),
        }
    })
}
