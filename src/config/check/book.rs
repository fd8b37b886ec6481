//! Which rules count for which paths.

use std::fmt;
use std::sync::Arc;

use super::{Rules, limits, path_patterns, restricted, rules, token};
use crate::config::rule::{Audience, PathRule};
use crate::config::{CreateProxyConfig, Settings};
use crate::error::Error;
use crate::pattern::PathPattern;
use crate::policy::fill::FillCredentials;
use crate::policy::filter::Filters;

/// The rules of a proxy: of each `[[rule]]`, and of the paths that none of them names.
#[derive(Clone)]
pub(crate) struct RuleBook {
    general: Arc<Rules>,
    special: Vec<(Vec<PathPattern>, Arc<Rules>)>,
}

/// Where rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The settings of the proxy.
    Server,
    /// A `[[rule]]`, counted from 1, and its line in the file.
    Rule { number: usize, line: Option<usize> },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Rule { number, line: None } => write!(f, "rule {number}"),
            Self::Rule {
                number,
                line: Some(line),
            } => write!(f, "rule {number} in line {line}"),
        }
    }
}

impl RuleBook {
    /// Where nothing is stored.
    pub(crate) fn restricted(settings: &Settings) -> Self {
        Self {
            general: Arc::new(restricted(settings)),
            special: Vec::new(),
        }
    }

    /// The rules of the paths that no `[[rule]]` names, and of all that is not about a path.
    pub(crate) fn general(&self) -> &Arc<Rules> {
        &self.general
    }

    /// The largest body that any of them stores, in bytes.
    pub(crate) fn largest_body(&self) -> u64 {
        let special = self.special.iter().map(|(_, rules)| rules.store.max_body);
        special.fold(self.general.store.max_body, u64::max)
    }

    /// The rules for this path.
    pub(crate) fn of(&self, method: &str, path: &str) -> &Arc<Rules> {
        let is_named =
            |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.is_match(method, path));
        let special = self.special.iter().find(|(patterns, _)| is_named(patterns));
        special.map_or(&self.general, |(_, rules)| rules)
    }
}

/// Checks all settings that the proxy's decisions depend on.
///
/// # Errors
/// The first setting that cannot work, by name and, in a rule, by its number.
pub(crate) fn rule_book(config: &CreateProxyConfig) -> Result<RuleBook, Error> {
    limits(&config.settings)?;
    if let Some(secret) = &config.settings.debug_token {
        token("debug_token", "the debug token", secret.expose())?;
    }
    let general = Arc::new(rules(config)?);
    let special = config.rules.iter().enumerate().map(|(at, rule)| {
        let patterns = patterns(rule);
        let compiled = patterns.and_then(|patterns| Ok((special(rule, (at, &patterns), config)?, patterns)));
        let (rules, patterns) = compiled.map_err(|error| error.in_rule(at))?;
        Ok((patterns, Arc::new(rules)))
    });
    Ok(RuleBook {
        general,
        special: special.collect::<Result<_, Error>>()?,
    })
}

fn patterns(rule: &PathRule) -> Result<Vec<PathPattern>, Error> {
    if rule.patterns.is_empty() {
        return Err(Error::config("match", "a rule names no paths")
            .with_hint("write the paths that it is for: match = [\"/blog/*\"]"));
    }
    path_patterns("match", &rule.patterns)
}

fn special(
    rule: &PathRule,
    (at, patterns): (usize, &[PathPattern]),
    config: &CreateProxyConfig,
) -> Result<Rules, Error> {
    let settings = rule.applied_to(&config.settings);
    limits(&settings)?;
    let mut rules = rules(&CreateProxyConfig {
        settings,
        rules: Vec::new(),
        ..config.clone()
    })?;
    rules.origin = Origin::Rule {
        number: at + 1,
        line: rule.line,
    };
    match rule.cache {
        Some(true) => {
            rules.request.filters = Filters {
                include: patterns.to_vec(),
                exclude: Vec::new(),
            };
        }
        Some(false) => rules.request.filters.exclude.extend_from_slice(patterns),
        None => {}
    }
    rules.store.audience = rule.audience;
    if rule.audience == Audience::Everyone {
        let somebodys = rules.request.identity.everyone();
        rules.fill.credentials = FillCredentials::LeftOut;
        rules.store.vary.ignored.extend(somebodys.clone());
        rules.fill.aside.extend(somebodys);
    }
    Ok(rules)
}
