//! Sidecars that say what no sidecar says.

use std::fs;
use std::path::Path;

use crate::rig::log;
use crate::rig::{Answer, Backend, End, Proxy, Setup};

async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)).with("X-Field", "value"));
    backend
}

/// A proxy with `/page` and `/other` stored, its sidecar rewritten while it was stopped.
async fn with_sidecar(backend: &Backend, rewrite: impl FnOnce(&str, &Path) -> Vec<u8>) -> Proxy {
    let mut proxy = Setup::over(backend).start().await;
    proxy.warm("/page").await;
    proxy.warm("/other").await;
    proxy.stop().await;
    let (path, text) = proxy.sidecar("site.test/page.");
    let bytes = rewrite(&text, &path);
    fs::write(path, bytes).unwrap();
    proxy.start_again().await;
    proxy
}

fn with_line(text: &str, name: &str, line: &str) -> String {
    let lines = text
        .lines()
        .map(|old| match old.starts_with(&format!("{name} = ")) {
            true => line,
            false => old,
        });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// One more field of the page's.
fn with_field(text: &str, row: &str) -> String {
    text.replacen("headers = [\n", &format!("headers = [\n  {row},\n"), 1)
}

/// What is done to the text of a good sidecar.
fn hostile(good: &str) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, text: String| all.push((what.to_owned(), text.into_bytes()));
    add("empty", String::new());
    add("cut", good.chars().take(good.len() / 2).collect());
    add("huge", format!("{good}# {}", "x".repeat(2 << 20)));
    add("deep", format!("{good}deep = {}", "[".repeat(500_000)));
    add("deeper", format!("{good}{}", "[a.a.a.a.a.a]\n".repeat(20_000)));
    add(
        "merge markers",
        format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> other\n"),
    );
    add("a key twice", format!("{good}status = 200\n"));
    add("another format", with_line(good, "format", "format = 2"));
    for status in ["0", "99", "100", "101", "206", "304", "1000", "-200", "\"200\""] {
        add(
            "a status",
            with_line(good, "status", &format!("status = {status}")),
        );
    }
    for row in [
        "[\"x-split\", \"a\\r\\nset-cookie: a=b\"]",
        "[\"x-split\\r\\nset-cookie\", \"a=b\"]",
        "[\"x-nul\", \"a\\u0000b\"]",
        "[\"\", \"no name\"]",
        "[\"connection\", \"close\"]",
        "[\"transfer-encoding\", \"chunked\"]",
        "[\"Content-Length\", \"1\"]",
        "[\"upgrade\", \"websocket\"]",
        "[\"Set-Cookie\", \"session=stolen\"]",
        "[\"x-base64\", \"not base64!\", \"base64\"]",
        "[\"x-split\", \"DQpzZXQtY29va2llOiBh\", \"base64\"]",
        "[\"one cell\"]",
    ] {
        add("a field", with_field(good, row));
    }
    let fields: String = (0..60_000)
        .map(|number| format!("[\"{number:x}\",\"\"],"))
        .collect();
    add(
        "more fields than there can be",
        good.replacen("headers = [", &format!("headers = [{fields}"), 1),
    );
    for body in [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\u0000b",
        "page.html",
    ] {
        add(
            "a body elsewhere",
            with_line(good, "body", &format!("body = \"{body}\"")),
        );
    }
    for length in [
        "-1",
        "0",
        "1",
        "18446744073709551615",
        "99999999999999999999",
        "1.5",
    ] {
        add(
            "a length",
            with_line(good, "length", &format!("length = {length}")),
        );
    }
    for seal in ["", "00", &"0".repeat(64), &"z".repeat(64)] {
        add("a seal", with_line(good, "seal", &format!("seal = \"{seal}\"")));
    }
    add("a key", with_line(good, "key", "key = \"GET:/other\""));
    add("no key", with_line(good, "key", ""));
    all.push(("binary".into(), (0..=255).cycle().take(5000).collect()));
    all.push(("zeros".into(), vec![0; 4096]));
    all
}

#[tokio::test]
async fn a_sidecar_that_cannot_be_one_is_a_miss_and_a_line_in_the_log() {
    log::listen();
    let backend = site().await;
    let (_, good) = with_sidecar(&backend, |text, _| text.as_bytes().to_vec())
        .await
        .sidecar("site.test/page.");
    let table = hostile(&good);
    let mut tries = tokio::task::JoinSet::new();
    for (number, (what, _)) in table.into_iter().enumerate() {
        tries.spawn(async move {
            let backend = site().await;
            let proxy = with_sidecar(&backend, |text, _| hostile(text).swap_remove(number).1).await;
            for _ in 0..3 {
                let response = proxy.get("/page").await;
                response.assert(200, "page /page");
                assert_eq!(response.field("x-field"), Some("value"), "{number} {what}");
                assert_eq!(response.field("set-cookie"), None, "{number} {what}");
            }
            assert!(backend.count("/page") >= 2, "{number} {what} was believed");
            proxy.get("/other").await.assert(200, "page /other").assert_hit();
            let dir = proxy.dir();
            // The store before this one may hold the lock a moment longer.
            let is_of_a_file =
                |line: &str| line.contains(dir.to_str().unwrap()) && !line.contains("another process writes");
            let said = log::trouble(is_of_a_file);
            assert!(said.len() <= 1, "{number} {what}: {said:#?}");
        });
        if tries.len() >= 8 {
            tries.join_next().await.unwrap().unwrap();
        }
    }
    tries.join_all().await;
    assert_eq!(log::panics(), Vec::<String>::new());
}

/// Values that may be, however odd.
#[tokio::test]
async fn a_sidecar_of_odd_values_is_served_as_it_says() {
    log::listen();
    let backend = site().await;
    for (what, line) in [
        (
            "a lifetime beyond all dates",
            "expires_after = 9223372036854775807",
        ),
        ("a lifetime past the year 9999", "expires_after = 300000000000"),
        ("a key that is not known", "unknown = \"value\""),
    ] {
        let mut proxy = with_sidecar(&backend, |text, _| format!("{text}{line}\n").into_bytes()).await;
        let hit = proxy.get("/page").await;
        hit.assert(200, "page /page");
        assert_eq!(hit.end, End::Complete, "{what}");
        proxy.stop().await;
    }
    assert_eq!(log::panics(), Vec::<String>::new());
}

#[tokio::test]
async fn sidecars_under_names_that_are_not_theirs_are_nobodys() {
    let backend = site().await;
    let mut proxy = Setup::over(&backend).start().await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let (path, text) = proxy.sidecar("site.test/page.");
    let name = path.file_name().unwrap().to_str().unwrap();
    let stem = name.trim_end_matches(".toml");
    let mut strangers = Vec::new();
    for other in [
        format!("{stem}~.toml"),
        format!("{stem}~5c0d11aa.toml"),
        format!("{stem}~5c0d11aa~5c0d11aa.toml"),
        format!("{stem}~zzzzzzzz.toml"),
        "~.0123456789abcdef.toml".into(),
        ".0123456789abcdef.toml".into(),
        "page.0123456789abcdef.toml".into(),
        "page.0123456789abcdeg.toml".into(),
        "other.fedcba9876543210.toml".into(),
    ] {
        let other = path.with_file_name(other);
        fs::write(&other, &text).unwrap();
        strangers.push(other);
    }
    proxy.start_again().await;

    proxy.get("/page").await.assert(200, "page /page").assert_hit();
    proxy
        .get("/other")
        .await
        .assert(200, "page /other")
        .assert_stored();
    assert_eq!(backend.count("/page"), 1);
    for stranger in strangers {
        assert!(stranger.exists(), "{}: nobody's to delete", stranger.display());
    }
}

#[tokio::test]
async fn ten_thousand_variants_of_a_page_are_counted_and_go_with_it() {
    let backend = Backend::start().await;
    backend.on_fn("/page", |request| {
        let language = request.field("accept-language").unwrap_or("none");
        Answer::page(format!("page in {language}")).with("Vary", "Accept-Language")
    });
    let mut proxy = Setup::over(&backend).start().await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let (path, text) = proxy.sidecar("site.test/page.");
    let stem = path.to_str().unwrap().trim_end_matches(".toml").to_owned();
    for number in 0..10_000 {
        fs::write(format!("{stem}~{number:08x}.toml"), &text).unwrap();
    }
    proxy.start_again().await;

    proxy.get("/page").await.assert(200, "page in none").assert_hit();
    let de = proxy
        .send(crate::rig::get("/page").with("Accept-Language", "de"))
        .await;
    de.assert(200, "page in de");
    proxy.trigger().refresh().await.unwrap();
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_of_another_format_is_not_touched() {
    let backend = site().await;
    let mut proxy = Setup::over(&backend).start().await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let good = fs::read_to_string(proxy.dir().join("phantom-frame.toml")).unwrap();
    for marker in [
        "format = 2\n",
        "format = -1\n",
        "format = \"1\"\n",
        "",
        "\u{0}",
        "<<<<<<< HEAD\n",
        "site = []\nformat = [[1]]\n",
    ] {
        fs::write(proxy.dir().join("phantom-frame.toml"), marker).unwrap();
        let before = proxy.contents();
        let started = Setup::over(&backend).dir_of(&proxy).try_start().await;
        assert!(started.is_err(), "{marker:?}");
        assert!(proxy.contents() == before, "{marker:?}");
    }
    fs::write(proxy.dir().join("phantom-frame.toml"), good).unwrap();
    proxy.start_again().await;
    proxy.get("/page").await.assert_hit();
    proxy.get("/none").await.assert_stored();
}
