//! The rules of the house that a compiler does not know (ARCHITECTURE.md): who may import whom, and
//! what is done in one place only. Read off the sources, without their comments, strings and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up; a file imports lower levels and its own folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Plain vocabulary. These may name each other.
    Words,
    /// Pure decisions.
    Rules,
    /// Disk and wire.
    Hands,
    Helpers,
    Flow,
    Doors,
    /// Doors that stand in for each other, over the control server.
    Relays,
    /// What takes several doors.
    Errands,
    Facade,
}

/// Every module has its level here; the longest name that fits counts.
const LEVELS: &[(&str, Level)] = &[
    ("assets", Level::Words),
    ("config", Level::Words),
    ("error", Level::Words),
    ("outcome", Level::Words),
    ("clock", Level::Words),
    ("coding", Level::Words),
    ("key", Level::Words),
    ("pattern", Level::Words),
    ("head", Level::Words),
    ("headers", Level::Words),
    ("interim", Level::Words),
    ("language", Level::Words),
    ("link", Level::Words),
    ("fsops", Level::Words),
    ("short", Level::Words),
    ("tags", Level::Words),
    ("throttle", Level::Words),
    ("token", Level::Words),
    ("trailers", Level::Words),
    // Knows nothing of what it drives: stores implement its trait.
    ("invalidate", Level::Words),
    ("policy", Level::Rules),
    ("snapshot", Level::Hands),
    ("upstream", Level::Hands),
    ("serve", Level::Helpers),
    ("flight", Level::Helpers),
    // Makes the option sets of rules and hands out of the settings.
    ("config::check", Level::Helpers),
    ("proxy", Level::Flow),
    ("artefact", Level::Doors),
    ("control", Level::Doors),
    // Takes any router; doors and programs run on it.
    ("server", Level::Helpers),
    ("prerender", Level::Doors),
    // Reads as the commands on the directory do, and finds links as prerendering does.
    ("export", Level::Errands),
    ("demo", Level::Doors),
    // Reads as the commands on the directory do, and asks at the pace of prerendering.
    ("compare", Level::Errands),
    // Does what commands on the directory do, and prerendering, where the control server takes them.
    ("command", Level::Relays),
    // Checks any of them; only compiled for tests and fuzz targets.
    ("fuzzing", Level::Facade),
    // Calls any of them; only compiled for tests and benchmarks.
    ("bench", Level::Facade),
    ("lib", Level::Facade),
];

/// Pairs that must not know each other although the levels would let them.
const STRANGERS: &[(&str, &str)] = &[
    ("snapshot", "policy"),
    ("upstream", "policy"),
    ("snapshot", "upstream"),
    ("upstream", "snapshot"),
    ("policy", "snapshot"),
    ("policy", "upstream"),
];

/// What only these files may say, and why.
const PLACES: &[(&[&str], &[&str], &str)] = &[
    (
        &["std::fs", "tokio::fs", "fs::File::open", "std::{fs", "tokio::{fs"],
        &[
            "fsops",
            // Configuration and certificate files, the watched tree, and the demo, which looks at the
            // directory as a stranger would.
            "config/load.rs",
            "config/file.rs",
            "upstream/connect",
            "invalidate/watch/",
            "demo/",
            "bin/",
        ],
        "the store's disk is reached through fsops, where tests make it fail",
    ),
    (
        &["SystemTime::now"],
        &["clock.rs", "bin/", "demo/"],
        "the wall clock is read through clock, which tests hold",
    ),
    (
        &[
            "derive(Serialize",
            "derive(Deserialize",
            "Serialize)]",
            "Deserialize)]",
            "serde::Serialize",
            "serde::Deserialize",
        ],
        &["snapshot/sidecar.rs", "config/file.rs", "bin/"],
        "formats are shapes of their own, so that no change of a type changes a file",
    ),
    (
        &[
            "StatusCode::BAD_GATEWAY",
            "StatusCode::GATEWAY_TIMEOUT",
            "StatusCode::SERVICE_UNAVAILABLE",
            "StatusCode::LOOP_DETECTED",
            "StatusCode::NOT_IMPLEMENTED",
            "StatusCode::INTERNAL_SERVER_ERROR",
        ],
        &[
            "proxy/respond.rs",
            "control",
            "server",
            "prerender",
            "export",
            "demo",
            "bin/",
        ],
        "only respond turns an error into a status",
    ),
];

/// What policy never says: it is pure.
const IMPURE: &[&str] = &[
    ".await",
    "async ",
    "tokio",
    "Instant",
    "SystemTime::now",
    ".now()",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
];

const LONGEST: usize = 400;
/// Of files that are tests.
const LONGEST_TESTS: usize = 500;

struct Source {
    /// Relative to `src`.
    path: String,
    /// `policy::store`; `policy` for its mod.rs; empty for what is not of the library.
    module: String,
    raw: String,
    /// Without comments, strings and tests.
    code: String,
}

impl Source {
    fn folder(&self) -> &str {
        self.module.split("::").next().unwrap_or("")
    }

    fn is_of_the_library(&self) -> bool {
        !self.path.starts_with("bin/")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    assert!(!paths.is_empty(), "no sources under {}", root.display());
    paths
        .into_iter()
        .map(|path| {
            let raw = fs::read_to_string(&path).expect("a source file");
            let path = path
                .strip_prefix(&root)
                .expect("below src")
                .to_string_lossy()
                .into_owned();
            let module = path
                .trim_end_matches(".rs")
                .trim_end_matches("/mod")
                .replace('/', "::");
            let code = match is_test(&path) {
                true => String::new(),
                false => without_tests(&without_comments_and_strings(&raw)),
            };
            Source {
                path,
                module,
                raw,
                code,
            }
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.ends_with("/properties.rs")
        || path.contains("/properties/")
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .expect("a source folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn level_of(module: &str) -> Option<Level> {
    LEVELS
        .iter()
        .filter(|(name, _)| module == *name || module.starts_with(&format!("{name}::")))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, level)| *level)
}

#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_module_has_a_level() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|source| source.is_of_the_library() && level_of(&source.module).is_none())
        .map(|source| format!("{}: give the module a level in tests/tidy.rs", source.path))
        .collect();
    assert_none(&broken);
}

#[test]
fn imports_go_down() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_of_the_library()) {
        let Some(level) = level_of(&source.module) else {
            continue;
        };
        for import in imports(source) {
            let folder = import.split("::").next().unwrap_or("");
            if folder == source.folder() {
                continue;
            }
            match level_of(&import) {
                Some(other) if other < level => {}
                Some(Level::Words) if level == Level::Words => {}
                Some(other) => broken.push(format!(
                    "{} ({level:?}) imports crate::{import} ({other:?})",
                    source.path
                )),
                None if level == Level::Facade => {}
                None => broken.push(format!(
                    "{} imports crate::{import}, which is no module with a level: name the module it is in",
                    source.path
                )),
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn strangers_stay_strangers() {
    let mut broken = Vec::new();
    for source in sources() {
        for import in imports(&source) {
            let folder = import.split("::").next().unwrap_or("");
            if STRANGERS.contains(&(source.folder(), folder)) {
                broken.push(format!("{} imports crate::{import}", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn policy_is_pure() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.folder() == "policy") {
        for text in IMPURE {
            for line in lines_with(&source.code, text) {
                broken.push(format!("{}:{line}: says `{}`", source.path, text.trim()));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn some_things_are_done_in_one_place() {
    let mut broken = Vec::new();
    for source in sources() {
        for (texts, places, why) in PLACES {
            if places.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            for text in *texts {
                for line in lines_with(&source.code, text) {
                    broken.push(format!("{}:{line}: says `{text}`, but {why}", source.path));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn files_are_short() {
    let broken: Vec<_> = sources()
        .iter()
        .filter_map(|source| {
            let before_tests = source.raw.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let lines = before_tests.lines().count();
            let longest = match is_test(&source.path) {
                true => LONGEST_TESTS,
                false => LONGEST,
            };
            (lines > longest).then(|| format!("{}: {lines} lines; {longest} is the limit", source.path))
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut files: BTreeMap<String, String> = sources()
        .into_iter()
        .map(|source| (format!("src/{}", source.path), source.raw))
        .collect();
    for folder in ["tests", "examples", "benches"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        if root.join(folder).is_dir() {
            collect(&root.join(folder), &mut paths);
        }
        for path in paths {
            let name = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .into_owned();
            files.insert(name, fs::read_to_string(&path).expect("a source file"));
        }
    }
    let mut broken = Vec::new();
    for (path, raw) in &files {
        let code = without_comments_and_strings(raw);
        for text in ["#[allow(", "#![allow(", "#[ignore"] {
            for line in lines_with(&code, text) {
                broken.push(format!("{path}:{line}: says {text}"));
            }
        }
        for line in lines_with(&code, "#[expect(") {
            let at = raw.lines().skip(line - 1).take(6).collect::<String>();
            if !at.contains("reason = ") {
                broken.push(format!("{path}:{line}: expects a lint without a reason"));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn modules_open_with_what_they_are_for() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|source| !source.raw.starts_with("//!"))
        .map(|source| format!("{}: begin with a sentence on what the file is for", source.path))
        .collect();
    assert_none(&broken);
}

/// Where functions take a bool, and why.
const BOOLS: &[&str] = &[
    // Documented so before there was a rule.
    "config/create.rs",
    "config/rule.rs",
    // What is set, and what an event is sure of.
    "invalidate/watch/event.rs",
    "invalidate/watch/worker.rs",
];

#[test]
fn no_function_takes_a_bool() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_of_the_library()) {
        if BOOLS.contains(&source.path.as_str()) {
            continue;
        }
        for (name, parameters) in functions(&source.code) {
            let flat: String = parameters.split_whitespace().collect();
            if [":bool", "(bool,", ",bool,", ",bool)"]
                .iter()
                .any(|text| flat.contains(text))
            {
                broken.push(format!(
                    "{}: `{name}` takes a bool: have an enum, or two functions",
                    source.path
                ));
            }
        }
    }
    assert_none(&broken);
}

/// Each function of some code, with the text of its parameters.
fn functions(code: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = code.get(at + "fn ".len()..).unwrap_or("");
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        let (name, mut rest) = rest.split_at(end);
        if rest.starts_with('<') {
            rest = rest.get(closing(rest, ['<', '>'])..).unwrap_or("");
        }
        if !name.is_empty() && rest.starts_with('(') {
            found.push((name, rest.get(..closing(rest, ['(', ')'])).unwrap_or("")));
        }
    }
    found
}

/// Where what begins with a bracket ends.
fn closing(text: &str, [open, close]: [char; 2]) -> usize {
    let mut depth = 0;
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        match c {
            _ if c == open => depth += 1,
            _ if c == close && last != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
        last = c;
    }
    text.len()
}

/// The lines, counted from 1, on which the code says `text` as a word of its own.
fn lines_with(code: &str, text: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(text).any(|(at, _)| {
                let before = line.get(..at).and_then(|before| before.chars().next_back());
                let is_word = text.starts_with(|c: char| c.is_alphanumeric());
                !is_word || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        })
        .map(|(index, _)| index + 1)
        .collect()
}

/// What a file names as `crate::…`, or through `super` as something outside its folder.
fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let code: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
    for (at, _) in code.match_indices("crate::") {
        paths(code.get(at + "crate::".len()..).unwrap_or(""), "", &mut found);
    }
    let is_root_of_folder = !source.path.contains('/') || source.path.ends_with("/mod.rs");
    if is_root_of_folder {
        for (at, _) in code.match_indices("super::") {
            paths(code.get(at + "super::".len()..).unwrap_or(""), "", &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// `a::b`, `{a, b::{c, d}}`: each path, as far as it is made of modules.
fn paths(text: &str, prefix: &str, found: &mut Vec<String>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let item = group.get(start..at).unwrap_or("");
                    if !item.trim().is_empty() {
                        paths(item, prefix, found);
                    }
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let name: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let path = match prefix {
        "" => name.clone(),
        prefix => format!("{prefix}::{name}"),
    };
    let rest = text.get(name.len()..).unwrap_or("");
    match rest.strip_prefix("::") {
        Some(rest) if name.starts_with(|c: char| c.is_lowercase()) => paths(rest, &path, found),
        _ if name.is_empty() || name == "self" => found.push(prefix.to_owned()),
        _ => found.push(path),
    }
}

/// The code up to its tests, which may import what they like.
fn without_tests(code: &str) -> String {
    let end = code.find("#[cfg(test)]\nmod tests").unwrap_or(code.len());
    code.get(..end).unwrap_or(code).to_owned()
}

/// Blanks comments and what is inside strings, and keeps the lines.
fn without_comments_and_strings(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' if is_raw_string(rest) && !ends_in_word(&kept) => raw_string(rest),
            '\'' => char_literal(rest),
            _ => 0,
        };
        if length == 0 {
            kept.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or("");
            continue;
        }
        let (gone, after) = rest.split_at(length);
        kept.push(' ');
        kept.extend(gone.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    kept
}

fn ends_in_word(text: &str) -> bool {
    text.chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let here = text.get(at..).unwrap_or("");
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_raw_string(text: &str) -> bool {
    text.get(1..)
        .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
}

fn raw_string(text: &str) -> usize {
    let hashes = text
        .get(1..)
        .map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 2;
    text.get(start..)
        .and_then(|body| body.find(&end))
        .map_or(text.len(), |at| start + at + end.len())
}

/// The length of a character literal, 0 for a lifetime.
fn char_literal(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((_, _))) => text
            .char_indices()
            .skip(3)
            .find(|(_, c)| *c == '\'')
            .map_or(0, |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[test]
fn the_reader_of_sources_reads_them_right() {
    let text = "use crate::{policy::{self, store::Storable}, key::Key}; // crate::no\n\
                let a = \"crate::no\"; let b = '\"'; let c: &'a str = r#\"crate::no\"#; /* crate::no */\n\
                crate::head::StoredHead::new(); pub(in crate::serve) fn d() {}\n\
                #[cfg(test)]\nmod tests { use crate::no; }\n";
    let source = Source {
        path: "proxy/fill.rs".into(),
        module: "proxy::fill".into(),
        raw: text.into(),
        code: without_tests(&without_comments_and_strings(text)),
    };
    assert_eq!(
        imports(&source),
        [
            "head::StoredHead",
            "key::Key",
            "policy",
            "policy::store::Storable",
            "serve"
        ]
    );
    assert_eq!(
        functions("fn a<T: Fn() -> (bool, T)>(b: Vec<T>, (c, d): (u8, bool)) -> bool { e() }"),
        [("a", "(b: Vec<T>, (c, d): (u8, bool))")]
    );
    assert_eq!(level_of("config::check"), Some(Level::Helpers));
    assert_eq!(level_of("config::file"), Some(Level::Words));
    assert_eq!(level_of("keys"), None);
}
