//! What the documents say of the code is what the code says.
//!
//! The README's tables and lists between `<!-- begin NAME -->` and `<!-- end NAME -->` are made from the
//! code. After a change that is meant, `DOCS=overwrite cargo test --test docs` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use phantom_frame::config::{Key, keys};
use phantom_frame::{Reason, defaults};

#[test]
fn the_readme_has_every_setting_as_it_is() {
    let mut groups: Vec<(&str, Vec<&Key>)> = Vec::new();
    for key in keys() {
        match groups.last_mut() {
            Some((group, members)) if *group == key.group() => members.push(key),
            _ => groups.push((key.group(), vec![key])),
        }
    }
    let mut text = String::new();
    for (group, members) in groups {
        let _ = write!(text, "#### {group}\n\n");
        text += "| Key | Default | Flag | Variable | Meaning |\n|---|---|---|---|---|\n";
        for key in members {
            let default = key.default_value().map_or("–".into(), |value| code(&value));
            let flags = [key.flag(), key.flag_alias()].into_iter().flatten();
            let flags: Vec<_> = flags.map(|flag| code(&format!("--{flag}"))).collect();
            let flags = if flags.is_empty() {
                "–".into()
            } else {
                flags.join(", ")
            };
            let (name, env, help) = (code(key.name()), code(&key.env()), key.help());
            let _ = writeln!(text, "| {name} | {default} | {flags} | {env} | {} |", cell(help));
        }
        text.push('\n');
    }
    assert_region("settings", text.trim_end());
}

#[test]
fn the_readme_names_what_a_rule_may_set() {
    let per_path = keys().iter().filter(|key| key.is_per_path());
    let names: Vec<_> = per_path.map(|key| code(key.name())).collect();
    assert_region("rule-settings", &names.join(", "));
}

#[test]
fn the_readme_has_a_row_for_every_reason() {
    let meanings = meanings_of_reasons();
    assert_eq!(meanings.len(), Reason::ALL.len());
    let mut text = String::from("| `detail` | Meaning | What to do |\n|---|---|---|");
    for reason in Reason::ALL {
        let meaning = meanings.get(reason.as_str()).map_or("", String::as_str);
        assert!(!meaning.is_empty(), "{reason:?} has no description");
        let advice = capitalised(reason.advice());
        let _ = write!(
            text,
            "\n| {} | {} | {} |",
            code(reason.as_str()),
            cell(meaning),
            cell(&advice)
        );
    }
    assert_region("reasons", &text);
}

#[test]
fn the_readme_has_the_built_in_lists() {
    for (name, list) in [
        ("ignored-cookies", defaults::IGNORED_COOKIES),
        ("ignored-set-cookies", defaults::IGNORED_SET_COOKIES),
        ("bypass-headers", defaults::BYPASS_HEADERS),
        ("bypass-query", defaults::BYPASS_QUERY),
        ("preset-headers", defaults::PRESET_HEADERS),
        ("volatile-headers", defaults::VOLATILE_HEADERS),
        ("csrf-fields", defaults::CSRF_FIELDS),
    ] {
        let names: Vec<_> = list.iter().map(|name| code(name)).collect();
        assert_region(name, &names.join(", "));
    }
}

#[test]
fn the_map_in_architecture_md_is_of_these_sources() {
    let text = read("ARCHITECTURE.md");
    let (_, rest) = text
        .split_once("<!-- begin map -->\n```text\n")
        .expect("a map begins");
    let (map, _) = rest.split_once("```\n<!-- end map -->").expect("a map ends");
    // A section begins at the margin and goes on, indented, to the next.
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in map.lines().filter(|line| !line.trim().is_empty()) {
        if !line.starts_with(' ') {
            name = line.split_whitespace().next().unwrap_or("").into();
        }
        *sections.entry(name.clone()).or_default() += &format!("{line}\n");
    }
    let mut missing = Vec::new();
    let mut sources: Vec<PathBuf> = Vec::new();
    collect(&root().join("src"), &mut sources);
    for path in sources
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
    {
        let path = path
            .strip_prefix(root().join("src"))
            .expect("below src")
            .to_string_lossy()
            .into_owned();
        let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let own = stem.rsplit('/').next().unwrap_or(stem);
        let is_test = |part: &str| ["tests", "test_rig", "properties"].contains(&part);
        if stem.split('/').any(is_test) {
            continue;
        }
        let section = sections
            .iter()
            .filter(|(name, _)| stem == name.trim_end_matches(".rs") || path.starts_with(name.as_str()))
            .max_by_key(|(name, _)| name.len());
        let is_named = section.is_some_and(|(name, text)| {
            stem == name.trim_end_matches('/').trim_end_matches(".rs") || has_word(text, own)
        });
        if !is_named {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "not in the map: {missing:?}");
    let gone: Vec<_> = sections
        .keys()
        .filter(|name| !root().join("src").join(name.as_str()).exists())
        .collect();
    assert!(gone.is_empty(), "in the map, but not there: {gone:?}");
}

#[test]
fn links_lead_to_files_that_are_there() {
    let mut broken = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or("");
            if !target.contains("://") && !file.is_empty() && !root().join(file).exists() {
                broken.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// The demo's pages that are stored.
#[cfg(feature = "demo")]
const DEMO_PAGES: &[&str] = &[
    "/",
    "/journal",
    "/journal/a-night-with-the-perseids",
    "/journal/bread-at-2318-metres",
    "/journal/first-snow",
    "/journal/opening-the-north-path",
    "/journal/the-new-spring",
    "/about",
    "/old",
    "/slow",
    "/guestbook",
    "/login",
    "/echo",
    "/live",
    "/api/weather",
    "/assets/bell.wav",
    "/assets/mark.svg",
    "/assets/ridge.svg",
    "/assets/site.css",
    "/assets/site.js",
];

/// `snapshots/demo` is what the demo writes: the same files, byte for byte, on any port and machine.
#[cfg(feature = "demo")]
#[tokio::test]
async fn the_demo_writes_the_snapshots_that_are_committed() {
    use phantom_frame::demo::{Demo, DemoOptions, Pace};

    let dir = tempfile::tempdir().expect("a directory");
    let mut options = DemoOptions::default();
    options.dir = Some(dir.path().to_owned());
    options.pace = Pace::Instant;
    let demo = Demo::start(options).await.expect("a demo");
    for url in DEMO_PAGES {
        // What is still being committed when it is asked for again is answered when it is there.
        let mut outcomes = Vec::new();
        while outcomes.len() < 100 && !outcomes.last().is_some_and(|last: &String| last.contains(";hit")) {
            outcomes.push(ask(&demo, url).await);
        }
        let first = outcomes.first().map_or("", String::as_str);
        let last = outcomes.last().map_or("", String::as_str);
        assert!(first.contains(";stored"), "{url}: {first}");
        assert!(last.contains(";hit"), "{url}: {last}");
    }
    let (committed, written) = (root().join("snapshots/demo"), tree(dir.path()));
    if is_overwriting() {
        for path in tree(&committed).keys() {
            fs::remove_file(committed.join(path)).expect("a file that can be removed");
        }
        for (path, bytes) in &written {
            let path = committed.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file that can be written");
        }
    }
    let committed = tree(&committed);
    let names = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&committed));
    for (path, bytes) in &committed {
        assert!(
            written[path] == *bytes,
            "snapshots/demo/{path} is not what the demo writes; `DOCS=overwrite cargo test --test docs` writes it \
             anew"
        );
    }
}

/// Asks for a page of the demo, all of it, and returns what `Cache-Status` says.
#[cfg(feature = "demo")]
async fn ask(demo: &phantom_frame::demo::Demo, url: &str) -> String {
    use tower::ServiceExt as _;

    let request = http::Request::get(url)
        .header("host", demo.address().to_string())
        .body(axum::body::Body::empty())
        .expect("a request");
    let response = demo.router().oneshot(request).await.expect("an answer");
    let status = String::from_utf8_lossy(response.headers()["cache-status"].as_bytes()).into_owned();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    body.expect("a whole body");
    status
}

/// Every file but those of `.phantom`, by its path from `dir`.
#[cfg(feature = "demo")]
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut paths = Vec::new();
    collect(dir, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(dir)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            (name, path)
        })
        // Where files come and go behind the answers.
        .filter(|(name, _)| !name.starts_with(".phantom"))
        .map(|(name, path)| (name, fs::read(&path).expect("a file")))
        .collect()
}

/// What `outcome.rs` says of each reason, by its word.
fn meanings_of_reasons() -> BTreeMap<String, String> {
    let source = read("src/outcome.rs");
    let (_, listed) = source.split_once("\nreasons! {\n").expect("the reasons begin");
    let (listed, _) = listed.split_once("\n}\n").expect("the reasons end");
    let mut found = BTreeMap::new();
    let mut meaning = Vec::new();
    for line in listed.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning.push(text);
        } else if let Some(word) = line.split('"').nth(1) {
            found.insert(word.to_owned(), meaning.join(" "));
            meaning.clear();
        }
    }
    found
}

static README: Mutex<()> = Mutex::new(());

/// Compares what stands between the marks with what should, or writes it.
#[track_caller]
fn assert_region(name: &str, expected: &str) {
    let _alone = README.lock().unwrap_or_else(PoisonError::into_inner);
    let text = read("README.md");
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("\n<!-- end {name} -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    if is_overwriting() {
        let text = format!("{before}{begin}{expected}{end}{after}");
        fs::write(root().join("README.md"), text).expect("a README that can be written");
        return;
    }
    assert!(
        found == expected,
        "README.md, `{name}`, is not what the code says; `DOCS=overwrite cargo test --test docs` writes it \
         anew.\n--- README.md\n{found}\n--- the code\n{expected}"
    );
}

fn is_overwriting() -> bool {
    std::env::var_os("DOCS").is_some_and(|value| value == "overwrite")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), characters.as_str()),
        None => String::new(),
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|found| found == word)
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}
