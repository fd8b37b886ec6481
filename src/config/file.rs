//! The TOML file: `[server]` with the keys of [`keys`](super::keys::keys), `[[rule]]`, `[[watch]]` and `[prerender]`.
//!
//! It is read as spanned values and not through serde: so an unknown key, a wrong type and a value that
//! cannot work are all said in the same way, with the place and the nearest thing that would do.

mod prerender;
mod rule;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, SourceFile};
use super::given::{Given, Misfit};
use super::keys::{self, Key};
use super::prerender::PrerenderOptions;
use super::server::WatchRule;
use super::units;
use rule::RuleSection;

/// A file that was read: what it says, and where.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) source: SourceFile,
    pub(crate) values: Vec<(&'static Key, Given)>,
    pub(crate) rules: Vec<RuleSection>,
    pub(crate) watch: Vec<WatchRule>,
    pub(crate) prerender: Option<PrerenderOptions>,
    pub(crate) spans: HashMap<&'static str, Spans>,
}

/// Where a key's value is, and, in a list, each of its elements.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) value: Range<usize>,
    pub(crate) elements: Vec<(String, Range<usize>)>,
}

impl Spans {
    fn of(value: &Spanned<DeValue<'_>>) -> Self {
        Self {
            value: value.span(),
            elements: Vec::new(),
        }
    }

    /// The element that `message` quotes, or else the whole value.
    pub(crate) fn blamed_by(&self, message: &str) -> Range<usize> {
        let quoted = |text: &str| {
            !text.is_empty()
                && (message.contains(&format!("`{text}`")) || message.contains(&format!("\"{text}\"")))
        };
        let element = self.elements.iter().find(|(text, _)| quoted(text));
        element.map_or_else(|| self.value.clone(), |(_, span)| span.clone())
    }
}

const SECTIONS: [&str; 4] = ["server", "rule", "watch", "prerender"];
const WATCH_KEYS: [&str; 3] = ["paths", "invalidate", "settle"];

/// Reads and parses the file; what its values mean together is judged later.
pub(crate) fn read(path: &Path) -> Result<ConfigFile, ConfigError> {
    let attempt = || format!("cannot read the configuration file {}", path.display());
    let bytes = std::fs::read(path).map_err(|error| {
        ConfigError::new(attempt())
            .with_source(error)
            .with_hint("without a file, the defaults, flags and PHANTOM_FRAME_* variables count".to_owned())
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|error| ConfigError::new(attempt()).with_source(error.utf8_error()))?;
    parse(path, &text)
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<ConfigFile, ConfigError> {
    let mut file = ConfigFile {
        source: SourceFile::new(path, text),
        values: Vec::new(),
        rules: Vec::new(),
        watch: Vec::new(),
        prerender: None,
        spans: HashMap::new(),
    };
    let document = DeTable::parse(text).map_err(|error| file.syntax(&error))?;
    for (name, value) in in_order(document.get_ref()) {
        match (&**name.get_ref(), value.get_ref()) {
            ("server", DeValue::Table(table)) => file.server(table)?,
            ("rule", DeValue::Array(rules)) => {
                for rule in rules.iter() {
                    let rule = file.rule_section(rule)?;
                    file.rules.push(rule);
                }
            }
            ("watch", DeValue::Array(rules)) => {
                for rule in rules.iter() {
                    let rule = file.watch_rule(rule)?;
                    file.watch.push(rule);
                }
                file.note_watch(value);
            }
            ("prerender", DeValue::Table(table)) => {
                let mut spans = Spans::of(value);
                file.prerender = Some(file.prerender_section(table, &mut spans)?);
                file.spans.insert("prerender", spans);
            }
            ("server", _) => return Err(file.not_a_section(name, "[server]")),
            ("rule", _) => return Err(file.not_a_section(name, "[[rule]]")),
            ("watch", _) => return Err(file.not_a_section(name, "[[watch]]")),
            ("prerender", _) => return Err(file.not_a_section(name, "[prerender]")),
            _ => return Err(file.unknown_section(name, value)),
        }
    }
    Ok(file)
}

impl ConfigFile {
    fn server(&mut self, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in in_order(table) {
            let Some(key) = keys::find(name.get_ref()) else {
                return Err(self.unknown_key(name, "[server]", keys::keys().iter().map(Key::name)));
            };
            let (given, spans) = self.given(key, value)?;
            self.spans.insert(key.name(), spans);
            self.values.push((key, given));
        }
        Ok(())
    }

    fn given(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<(Given, Spans), ConfigError> {
        let mut spans = Spans::of(value);
        let given = match value.get_ref() {
            DeValue::Array(list) => Given::List(self.texts(key.name(), list.iter(), &mut spans)?),
            value => scalar(value),
        };
        Ok((given, spans))
    }

    fn watch_rule(&self, rule: &Spanned<DeValue<'_>>) -> Result<WatchRule, ConfigError> {
        let DeValue::Table(table) = rule.get_ref() else {
            return Err(self.error(
                rule.span(),
                "`watch` must hold sections, each begun with `[[watch]]`",
            ));
        };
        let mut read = WatchRule {
            paths: Vec::new(),
            invalidate: Vec::new(),
            settle: WatchRule::DEFAULT_SETTLE,
        };
        for (name, value) in in_order(table) {
            match &**name.get_ref() {
                "paths" => read.paths = self.list("paths", value, &mut Spans::default())?,
                "invalidate" => read.invalidate = self.list("invalidate", value, &mut Spans::default())?,
                "settle" => {
                    let given = scalar(value.get_ref());
                    let Given::Text(text) = &given else {
                        return Err(self.misfit("settle", "a duration", &given.describe(), value.span()));
                    };
                    read.settle = units::duration(text).map_err(|error| {
                        self.misfit("settle", "a duration", &given.describe(), value.span())
                            .with_hint(error.hint(text))
                    })?;
                }
                _ => return Err(self.unknown_key(name, "[[watch]]", WATCH_KEYS)),
            }
        }
        for (name, list) in [("paths", &read.paths), ("invalidate", &read.invalidate)] {
            if list.is_empty() {
                return Err(self
                    .error(
                        rule.span(),
                        &format!("this [[watch]] section says nothing in `{name}`"),
                    )
                    .with_hint(
                        "for example paths = [\"content/**/*.md\"] and invalidate = [\"/blog/*\"]".to_owned(),
                    ));
            }
        }
        Ok(read)
    }

    fn list(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        spans: &mut Spans,
    ) -> Result<Vec<String>, ConfigError> {
        match value.get_ref() {
            DeValue::Array(list) => self.texts(name, list.iter(), spans),
            other => {
                let given = scalar(other);
                let hint = match &given {
                    Given::Text(text) => Some(format!("put it in brackets: [\"{text}\"]")),
                    _ => None,
                };
                Err(self
                    .misfit(name, "a list of texts", &given.describe(), value.span())
                    .with_hint(hint))
            }
        }
    }

    fn texts<'a>(
        &self,
        name: &str,
        list: impl Iterator<Item = &'a Spanned<DeValue<'a>>>,
        spans: &mut Spans,
    ) -> Result<Vec<String>, ConfigError> {
        list.map(|element| match element.get_ref() {
            DeValue::String(text) => {
                spans.elements.push((text.to_string(), element.span()));
                Ok(text.to_string())
            }
            other => Err(self.misfit(name, "a list of texts", &scalar(other).describe(), element.span())),
        })
        .collect()
    }

    /// Notes where the rules stand, for errors that are found when the watching begins.
    fn note_watch(&mut self, value: &Spanned<DeValue<'_>>) {
        let mut spans = Spans::of(value);
        let rules = value
            .get_ref()
            .as_array()
            .into_iter()
            .flat_map(|rules| rules.iter());
        for (number, rule) in rules.enumerate() {
            if number == 0 {
                spans.value = rule.span();
            }
            let lists = rule
                .get_ref()
                .as_table()
                .into_iter()
                .flat_map(|table| table.values());
            for element in lists.filter_map(|list| list.get_ref().as_array()).flatten() {
                if let Some(text) = element.get_ref().as_str() {
                    spans.elements.push((text.to_owned(), element.span()));
                }
            }
        }
        self.spans.insert("watch", spans);
    }

    /// A value that does not fit its key.
    pub(crate) fn refuse(&self, key: &Key, given: &Given, misfit: Misfit) -> ConfigError {
        let span = self.spans.get(key.name()).map(|spans| spans.value.clone());
        self.refuse_at(key, given, misfit, span.unwrap_or(0..0))
    }

    fn refuse_at(&self, key: &Key, given: &Given, misfit: Misfit, span: Range<usize>) -> ConfigError {
        self.misfit(key.name(), misfit.expected, &key.describe(given), span)
            .with_hint(misfit.hint)
    }

    fn misfit(&self, name: &str, expected: &str, found: &str, span: Range<usize>) -> ConfigError {
        self.error(span, &format!("`{name}` must be {expected}, not {found}"))
            .with_label(format!("expected {expected}"))
    }

    fn error(&self, span: Range<usize>, message: &str) -> ConfigError {
        ConfigError::new(message).at(self.source.place(span))
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let end = self.source.place(usize::MAX..usize::MAX).span();
        self.error(
            error.span().unwrap_or(end),
            &format!("this is not TOML: {}", error.message()),
        )
        .with_hint(
            "texts stand in quotes, lists in brackets: key = \"text\", key = [\"a\", \"b\"]".to_owned(),
        )
    }

    fn unknown_key(
        &self,
        name: &Spanned<impl AsRef<str>>,
        section: &str,
        known: impl IntoIterator<Item = &'static str> + Clone,
    ) -> ConfigError {
        let text = name.get_ref().as_ref();
        // A flag's name is as good a guess as a slip: `port` for `proxy_port`.
        let of_flag = keys::of_flag(text).filter(|near| known.clone().into_iter().any(|key| key == *near));
        let hint = match of_flag.or_else(|| nearest(text, known.clone())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the keys are {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        self.error(name.span(), &format!("unknown key `{text}` in {section}"))
            .with_label("unknown key")
            .with_hint(hint)
    }

    fn unknown_section(&self, name: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> ConfigError {
        let text = name.get_ref().as_ref();
        let is_section = value.get_ref().is_table()
            || value
                .get_ref()
                .as_array()
                .is_some_and(|list| list.iter().any(|element| element.get_ref().is_table()));
        if !is_section && keys::find(text).is_some() {
            return self
                .error(name.span(), &format!("`{text}` stands outside of any section"))
                .with_hint("put the line `[server]` above it".to_owned());
        }
        let what = if is_section { "section" } else { "key" };
        let hint = match nearest(text, SECTIONS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the sections are [server], [[rule]], [[watch]] and [prerender]".into(),
        };
        self.error(name.span(), &format!("unknown {what} `{text}`"))
            .with_label(format!("unknown {what}"))
            .with_hint(hint)
    }

    fn not_a_section(&self, name: &Spanned<impl AsRef<str>>, header: &str) -> ConfigError {
        let text = name.get_ref().as_ref();
        self.error(
            name.span(),
            &format!("`{text}` must be a section begun with `{header}`"),
        )
        .with_hint(format!("write `{header}` on a line of its own"))
    }
}

fn scalar(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix())
                .map_or(Given::Other("number of more than 64 bits"), Given::Integer)
        }
        DeValue::Boolean(value) => Given::Switch(*value),
        DeValue::Float(_) => Given::Other("number with a point"),
        DeValue::Datetime(_) => Given::Other("date"),
        DeValue::Array(_) => Given::Other("list"),
        DeValue::Table(_) => Given::Other("section"),
    }
}

/// The entries as they stand in the file, so that the first mistake is the one that is said.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<toml::de::DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// The known word that `text` was probably meant to be.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&text, word), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(2) && *distance < text.len())
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ConfigFile, ConfigError> {
        parse(Path::new("config.toml"), text)
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_a_remedy() {
        for (text, message, hint) in [
            (
                "[server]\nproxy_prt = 3000",
                "config.toml:2:1: unknown key `proxy_prt` in [server]",
                "did you mean `proxy_port`?",
            ),
            (
                "[server]\nproxy-port = 3000",
                "config.toml:2:1: unknown key `proxy-port` in [server]",
                "did you mean `proxy_port`?",
            ),
            (
                "[server]\nbackend = \"http://localhost\"",
                "config.toml:2:1: unknown key `backend` in [server]",
                "did you mean `proxy_url`?",
            ),
            (
                "[servr]\nproxy_port = 3000",
                "config.toml:1:2: unknown section `servr`",
                "did you mean `server`?",
            ),
            (
                "[rule]\npaths = []",
                "config.toml:1:2: `rule` must be a section begun with `[[rule]]`",
                "write `[[rule]]` on a line of its own",
            ),
            (
                "[[watches]]\npaths = []",
                "config.toml:1:3: unknown section `watches`",
                "did you mean `watch`?",
            ),
            (
                "proxy_port = 3000",
                "config.toml:1:1: `proxy_port` stands outside of any section",
                "put the line `[server]` above it",
            ),
            (
                "prot = 3000",
                "config.toml:1:1: unknown key `prot`",
                "the sections are [server], [[rule]], [[watch]] and [prerender]",
            ),
            (
                "[[server]]\nproxy_port = 3000",
                "config.toml:1:3: `server` must be a section begun with `[server]`",
                "write `[server]` on a line of its own",
            ),
            (
                "[watch]\npaths = []",
                "config.toml:1:2: `watch` must be a section begun with `[[watch]]`",
                "write `[[watch]]` on a line of its own",
            ),
            (
                "[server]\ninclude_paths = [\"/a\",\n  7]",
                "config.toml:3:3: `include_paths` must be a list of texts, not 7",
                "",
            ),
            (
                "[[watch]]\npaths = [\"a.md\"]",
                "config.toml:1:1: this [[watch]] section says nothing in `invalidate`",
                "for example paths = [\"content/**/*.md\"] and invalidate = [\"/blog/*\"]",
            ),
            (
                "[[watch]]\npaths = \"a.md\"",
                "config.toml:2:9: `paths` must be a list of texts, not \"a.md\"",
                "put it in brackets: [\"a.md\"]",
            ),
            (
                "[[watch]]\npath = [\"a.md\"]",
                "config.toml:2:1: unknown key `path` in [[watch]]",
                "did you mean `paths`?",
            ),
            (
                "[[watch]]\npaths = [\"a\"]\ninvalidate = [\"/\"]\nsettle = 1",
                "config.toml:4:10: `settle` must be a duration, not 1",
                "",
            ),
            (
                "[server]\nproxy_url = http://localhost",
                "config.toml:2:13: this is not TOML: string values must be quoted, expected literal string",
                "texts stand in quotes, lists in brackets: key = \"text\", key = [\"a\", \"b\"]",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
            assert_eq!(error.hint().unwrap_or(""), hint, "{text}");
        }
    }

    #[test]
    fn no_message_shows_the_token() {
        for text in [
            "[server]\ncontrol_auth = hunter2",
            "[server]\ncontrol_auth = \"hunter2",
            "[server]\ncontrol_auth = [\"hunter2\"]\nx = 1",
            "[server]\ncontrol_auth = \"hunter2\"\nx = 1",
            "[server]\ndebug_token = hunter2",
            "[server]\ndebug_token = \"hunter2\"\nx = 1",
            "[[rule]]\nmatch = [\"/\"]\ndebug_token = \"hunter2\"",
        ] {
            let error = parsed(text).unwrap_err();
            let place = error.place().unwrap();
            assert!(!place.text().contains("hunter2"), "{}", place.text());
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn watch_rules_are_read() {
        let file = parsed(
            "[[watch]]\npaths = [\"content/{slug}.md\"]\ninvalidate = [\"/blog/{slug}\", \"/\"]\n\
             [[watch]]\npaths = [\"theme/**\"]\ninvalidate = [\"*\"]\nsettle = \"3s\"\n",
        )
        .unwrap();
        let [first, second] = &file.watch[..] else {
            panic!("{:?}", file.watch);
        };
        assert_eq!(first.invalidate, ["/blog/{slug}", "/"]);
        assert_eq!(first.settle, WatchRule::DEFAULT_SETTLE);
        assert_eq!(second.settle.as_secs(), 3);
        // The element that an error quotes is where it points.
        let span = file.spans["watch"].blamed_by("`theme/**` is no pattern");
        assert_eq!(file.source.place(span).line(), 5);
    }
}
