//! `[[rule]]`: settings for some of the paths, with the same keys and the same errors as in `[server]`.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::{ConfigFile, Spans, in_order, scalar};
use crate::config::error::ConfigError;
use crate::config::given::Given;
use crate::config::keys::{self, Key};
use crate::config::rule::{Audience, PathRule};
use crate::config::{ServerSettings, Settings};
use crate::pattern::PathPattern;

/// A section as it was read, and where.
#[derive(Debug)]
pub(crate) struct RuleSection {
    pub(crate) rule: PathRule,
    /// The settings in it, as they stand in the file.
    pub(crate) values: Vec<(&'static Key, Given)>,
    pub(crate) header: Range<usize>,
    spans: HashMap<&'static str, Spans>,
}

impl RuleSection {
    /// Where the value of `setting` stands that `message` is about; the section, where nothing in it is.
    pub(crate) fn blamed_by(&self, setting: Option<&str>, message: &str) -> Range<usize> {
        let own = setting.and_then(|setting| self.spans.get(setting));
        // It may be what [server] says that does not go with a value here, which is then named as well.
        let quoted = |name: &&str| message.contains(&format!("`{name}`"));
        let mut names = self.values.iter().map(|(key, _)| key.name());
        let spans = own.or_else(|| self.spans.get(names.find(quoted)?));
        spans.map_or_else(|| self.header.clone(), |spans| spans.blamed_by(message))
    }
}

/// What a rule has beside settings.
const OWN_KEYS: [&str; 3] = ["match", "cache", "public"];

impl ConfigFile {
    pub(super) fn rule_section(&self, section: &Spanned<DeValue<'_>>) -> Result<RuleSection, ConfigError> {
        let DeValue::Table(table) = section.get_ref() else {
            return Err(self.error(
                section.span(),
                "`rule` must hold sections, each begun with `[[rule]]`",
            ));
        };
        let (mut patterns, mut cache, mut audience) = (Vec::new(), None, Audience::AsSaid);
        let (mut values, mut spans) = (Vec::new(), HashMap::new());
        for (name, value) in in_order(table) {
            match &**name.get_ref() {
                "match" => {
                    let mut of_match = Spans::of(value);
                    patterns = self.list("match", value, &mut of_match)?;
                    spans.insert("match", of_match);
                }
                "cache" => cache = Some(self.switch("cache", value)?),
                "public" if self.switch("public", value)? => audience = Audience::Everyone,
                "public" => {}
                _ => {
                    let key = self.key_of_a_rule(name)?;
                    let (given, of_value) = self.given(key, value)?;
                    spans.insert(key.name(), of_value);
                    values.push((key, given));
                }
            }
        }
        if patterns.is_empty() {
            return Err(self
                .error(section.span(), "this [[rule]] section names no paths in `match`")
                .with_hint("for example match = [\"/blog/*\", \"/\"]".to_owned()));
        }
        let mut scratch = ServerSettings::default();
        for (key, given) in &values {
            let place = spans.get(key.name()).map(|spans| spans.value.clone());
            let set = key.field.set(&mut scratch, given);
            set.map_err(|misfit| self.refuse_at(key, given, misfit, place.unwrap_or(section.span())))?;
        }
        let mut rule = PathRule::new(patterns).with(setting_all(values.clone()));
        rule.cache = cache;
        rule.audience = audience;
        rule.line = Some(self.source.place(section.span()).line());
        Ok(RuleSection {
            rule,
            values,
            header: section.span(),
            spans,
        })
    }

    fn key_of_a_rule(&self, name: &Spanned<impl AsRef<str>>) -> Result<&'static Key, ConfigError> {
        let text = name.get_ref().as_ref();
        let per_path = keys::keys().iter().filter(|key| key.is_per_path());
        match keys::find(text) {
            Some(key) if key.is_per_path() => Ok(key),
            Some(_) => Err(self
                .error(
                    name.span(),
                    &format!("`{text}` cannot be set for some of the paths"),
                )
                .with_label("belongs under [server]")
                .with_hint("move it to the section [server]".to_owned())),
            None => {
                let known = OWN_KEYS.into_iter().chain(per_path.map(Key::name));
                Err(self.unknown_key(name, "[[rule]]", known))
            }
        }
    }

    pub(super) fn switch(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<bool, ConfigError> {
        let given = scalar(value.get_ref());
        given.switch().map_err(|misfit| {
            self.misfit(name, misfit.expected, &given.describe(), value.span())
                .with_hint(misfit.hint)
        })
    }

    /// A word on each rule that no request can reach, because earlier ones name all of its paths.
    pub(crate) fn shadowed_rules(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (at, section) in self.rules.iter().enumerate() {
            let earlier = self.rules.get(..at).unwrap_or_default();
            let covering = |pattern: &String| earlier.iter().find(|rule| rule.covers(pattern));
            let found: Option<Vec<_>> = section.rule.patterns.iter().map(covering).collect();
            let Some(found) = found else { continue };
            let mut lines: Vec<_> = found.iter().filter_map(|rule| rule.rule.line).collect();
            lines.sort_unstable();
            lines.dedup();
            let lines: Vec<_> = lines.iter().map(|line| format!("line {line}")).collect();
            warnings.push(format!(
                "{}: this rule never counts: the one in {} names its paths already, and the first that \
                 does counts",
                self.source.place(section.header.clone()),
                lines.join(" and the one in ")
            ));
        }
        warnings
    }
}

impl RuleSection {
    /// Whether the rule matches whatever `pattern` does. Of a pattern's characters only another's star can
    /// stand for its star, so matching its text is matching all that it matches.
    fn covers(&self, pattern: &str) -> bool {
        let (methods, path): (&[&str], &str) = match pattern.split_once([' ', ':']) {
            Some((method, path)) if !method.contains(['/', '*']) => (&[method], path.trim_start()),
            Some((method, _)) if !method.contains('/') => return self.has(pattern),
            _ => (&["GET"], pattern),
        };
        let own: Vec<_> = self
            .rule
            .patterns
            .iter()
            .filter_map(|own| PathPattern::parse(own).ok())
            .collect();
        let is_covered = |method: &&str| own.iter().any(|own| own.is_match(method, path));
        self.has(pattern) || methods.iter().all(is_covered)
    }

    fn has(&self, pattern: &str) -> bool {
        self.rule.patterns.iter().any(|own| own == pattern)
    }
}

/// Puts these values, which fit, into settings.
fn setting_all(values: Vec<(&'static Key, Given)>) -> impl Fn(&mut Settings) + Send + Sync + 'static {
    move |settings| {
        let mut server = ServerSettings {
            proxy: std::mem::take(settings),
            ..ServerSettings::default()
        };
        for (key, given) in &values {
            // They were set once when they were read.
            let _ = key.field.set(&mut server, given);
        }
        *settings = server.proxy;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::file::parse;
    use crate::config::{SetCookie, Ttl};

    fn parsed(text: &str) -> Result<ConfigFile, ConfigError> {
        parse(Path::new("config.toml"), text)
    }

    #[test]
    fn rules_are_read() {
        let file = parsed(
            "[[rule]]\nmatch = [\"/blog/*\", \"POST /search\"]\ncache = true\npublic = true\nttl = \"10m\"\n\
             set_cookie = \"strip\"\nkey_headers = [\"X-A\"]\nkeep_query = [\"q\"]\nsort_query = true\n\
             max_variants = 3\nmax_body = \"1KiB\"\nclient_cache_control = \"no-cache\"\n\n\
             [[rule]]\nmatch = [\"/a\"]\ncache = false\npublic = false\n\n[[rule]]\nmatch = [\"/b\"]\n",
        )
        .unwrap();
        let [first, second, third] = &file.rules[..] else {
            panic!("{:?}", file.rules);
        };
        assert_eq!(first.rule.patterns, ["/blog/*", "POST /search"]);
        assert_eq!(
            (first.rule.cache, first.rule.audience),
            (Some(true), Audience::Everyone)
        );
        assert_eq!(
            (second.rule.cache, second.rule.audience),
            (Some(false), Audience::AsSaid)
        );
        assert_eq!((third.rule.cache, third.rule.audience), (None, Audience::AsSaid));
        let lines: Vec<_> = file.rules.iter().map(|section| section.rule.line).collect();
        assert_eq!(lines, [Some(1), Some(14), Some(19)]);
        let mut expected = Settings {
            ttl: Some(Ttl::For(Duration::from_secs(600))),
            set_cookie: SetCookie::Strip,
            key_headers: vec!["X-A".into()],
            keep_query: Some(vec!["q".into()]),
            sort_query: true,
            max_variants: 3,
            max_body: 1024,
            client_cache_control: Some("no-cache".into()),
            // What it does not set is as it was.
            site: Some("site".into()),
            ..Settings::default()
        };
        let server = Settings {
            site: Some("site".into()),
            ..Settings::default()
        };
        assert_eq!(first.rule.applied_to(&server), expected);
        expected = server.clone();
        assert_eq!(second.rule.applied_to(&server), expected);
    }

    #[test]
    fn every_key_that_is_per_path_can_be_set() {
        let mut settings = ServerSettings::default();
        for key in keys::keys().iter().filter(|key| key.is_per_path()) {
            let value = match key.field.show(&mut settings) {
                Some(value) => value.to_string(),
                None if key.is_list() => "[\"a\"]".to_owned(),
                None if key.name().contains("cache_control") => "\"no-cache\"".to_owned(),
                None => "\"1s\"".to_owned(),
            };
            let text = format!("[[rule]]\nmatch = [\"/\"]\n{} = {value}\n", key.name());
            let file = parsed(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(file.rules[0].values.len(), 1);
        }
    }

    #[test]
    fn what_is_wrong_in_a_rule_is_said_with_its_place_and_a_remedy() {
        for (lines, message, hint) in [
            (
                "ttl = \"1h\"",
                "config.toml:3:1: this [[rule]] section names no paths in `match`",
                "for example match = [\"/blog/*\", \"/\"]",
            ),
            (
                "match = []",
                "config.toml:3:1: this [[rule]] section names no paths in `match`",
                "for example match = [\"/blog/*\", \"/\"]",
            ),
            (
                "match = \"/blog/*\"",
                "config.toml:4:9: `match` must be a list of texts, not \"/blog/*\"",
                "put it in brackets: [\"/blog/*\"]",
            ),
            (
                "match = [\"/\", 7]",
                "config.toml:4:15: `match` must be a list of texts, not 7",
                "",
            ),
            (
                "match = [\"/\"]\ncache = \"false\"",
                "config.toml:5:9: `cache` must be true or false, not \"false\"",
                "write it without quotes: false",
            ),
            (
                "match = [\"/\"]\npublic = 1",
                "config.toml:5:10: `public` must be true or false, not 1",
                "",
            ),
            (
                "match = [\"/\"]\nttl = 60",
                "config.toml:5:7: `ttl` must be a duration or \"forever\", not 60",
                "add a unit: \"60s\" for seconds, \"60ms\", \"60m\", \"60h\"",
            ),
            (
                "match = [\"/\"]\nset_cookie = \"drop\"",
                "config.toml:5:14: `set_cookie` must be \"refuse\" or \"strip\", not \"drop\"",
                "",
            ),
            (
                "match = [\"/\"]\nkey_cookies = \"theme\"",
                "config.toml:5:15: `key_cookies` must be a list of texts, not \"theme\"",
                "put it in brackets: [\"theme\"]",
            ),
            (
                "mach = [\"/\"]",
                "config.toml:4:1: unknown key `mach` in [[rule]]",
                "did you mean `match`?",
            ),
            (
                "match = [\"/\"]\ndefault-ttl = \"1h\"",
                "config.toml:5:1: unknown key `default-ttl` in [[rule]]",
                "did you mean `default_ttl`?",
            ),
            (
                "match = [\"/\"]\nproxy_port = 3000",
                "config.toml:5:1: `proxy_port` cannot be set for some of the paths",
                "move it to the section [server]",
            ),
        ] {
            let error = parsed(&format!("[server]\n\n[[rule]]\n{lines}\n")).unwrap_err();
            assert_eq!(error.to_string(), message, "{lines}");
            assert_eq!(error.hint().unwrap_or(""), hint, "{lines}");
        }
        for (text, message) in [
            (
                "rule = [1]",
                "config.toml:1:9: `rule` must hold sections, each begun with `[[rule]]`",
            ),
            (
                "[rule]\nmatch = [\"/\"]",
                "config.toml:1:2: `rule` must be a section begun with `[[rule]]`",
            ),
            (
                "[[rules]]\nmatch = [\"/\"]",
                "config.toml:1:3: unknown section `rules`",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_rule_that_no_request_reaches_is_worth_a_word() {
        for (earlier, later, is_shadowed) in [
            (&["/a"][..], &["/a"][..], true),
            (&["*"], &["/a", "/b/*"], true),
            (&["/*"], &["/a"], true),
            (&["/a/*"], &["/a/b/*"], true),
            (&["/a*"], &["/a", "/ab"], true),
            (&["/a", "/b"], &["/b", "/a"], true),
            (&["GET /a"], &["/a"], true),
            (&["/a"], &["GET /a"], true),
            (&["POST *"], &["POST /a"], true),
            (&["* /a"], &["* /a"], true),
            (&["/a"], &["/a", "/b"], false),
            (&["/a/b/*"], &["/a/*"], false),
            (&["/a"], &["/a*"], false),
            (&["*"], &["POST /a"], false),
            (&["POST *"], &["/a"], false),
        ] {
            let section = |paths: &[&str]| format!("[[rule]]\nmatch = {paths:?}\n");
            let file = parsed(&format!("{}{}", section(earlier), section(later))).unwrap();
            let expected: &[&str] = match is_shadowed {
                true => &[
                    "config.toml:3:1: this rule never counts: the one in line 1 names its paths already, and the \
                     first that does counts",
                ],
                false => &[],
            };
            assert_eq!(file.shadowed_rules(), expected, "{earlier:?} {later:?}");
        }
    }
}
