//! Pages in a content coding: which one is sent to whom, under which tag, and what becomes of them.

mod conditions;
mod files;
mod lifetime;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use phantom_frame::{FillMode, PathRule, Reason, Settings};

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Response, Setup, eventually_within, get, head};

/// In the order of the default settings: as fields name them, and as tags and files do.
const CODINGS: [(&str, &str); 3] = [("br", "br"), ("zstd", "zst"), ("gzip", "gz")];

/// Some 30 KB that become smaller, but are no mere repetition; another page for each name.
fn text(name: &str) -> String {
    let line = |n: u32| format!("<li>{name}: {} of {n}</li>\n", n.wrapping_mul(2_654_435_761));
    (0..1000).map(line).collect()
}

/// A page with a tag.
fn page(name: &str) -> Answer {
    Answer::page(text(name)).with("ETag", &format!("\"{name}\""))
}

/// A proxy that compresses, with syncs left out, which these tests do not need.
fn compressing(backend: &Backend) -> Setup {
    Setup::over(backend).with(|settings| {
        settings.compress = CODINGS.map(|(token, _)| token.to_owned()).into();
        settings.durability = phantom_frame::Durability::None;
    })
}

fn accepting(target: &str, codings: &str) -> Request {
    get(target).with("Accept-Encoding", codings)
}

/// As [`eventually`](crate::rig::eventually), with more patience: what compresses has the lowest priority, and
/// gives way to everything else on the machine.
#[track_caller]
fn patiently<T, F: AsyncFnMut() -> Option<T>>(what: &str, question: F) -> impl Future<Output = T> {
    eventually_within(Duration::from_secs(60), what, question)
}

/// Waits until a hit on `target` is in this coding.
#[track_caller]
fn ready_in(proxy: &Proxy, target: &str, coding: &str) -> impl Future<Output = Response> {
    let client = proxy.client();
    let request = accepting(target, coding);
    let wanted = coding.to_owned();
    patiently("a page in a coding", async move || {
        let response = client.send(request.clone()).await;
        (response.field("content-encoding") == Some(&wanted)).then_some(response)
    })
}

/// Stores `target` and waits until it is there in every coding.
async fn ready(proxy: &Proxy, target: &str) {
    proxy.get(target).await.assert_stored();
    for (token, _) in CODINGS {
        ready_in(proxy, target, token).await;
    }
}

/// The body as its own coding says.
fn decoded(response: &Response) -> String {
    let (coded, mut plain) = (&response.body[..], String::new());
    let read = match response.field("content-encoding") {
        Some("br") => brotli::Decompressor::new(coded, 4096).read_to_string(&mut plain),
        Some("zstd") => zstd::stream::read::Decoder::new(coded)
            .expect("zstd")
            .read_to_string(&mut plain),
        Some("gzip") => flate2::read::GzDecoder::new(coded).read_to_string(&mut plain),
        _ => return response.text(),
    };
    read.expect("a body in the coding that it says");
    plain
}

/// The coded forms on disk, sorted.
fn forms(proxy: &Proxy) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![proxy.dir().join(".phantom/derived")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

fn form(proxy: &Proxy, suffix: &str) -> PathBuf {
    let mut found = forms(proxy);
    found.retain(|path| path.extension().is_some_and(|extension| extension == suffix));
    match found.as_slice() {
        [one] => one.clone(),
        _ => panic!("expected one form in {suffix}, found {found:?}"),
    }
}

/// When each form was written.
fn written(proxy: &Proxy) -> Vec<SystemTime> {
    let time = |path: &PathBuf| {
        fs::metadata(path)
            .and_then(|file| file.modified())
            .expect("a form")
    };
    forms(proxy).iter().map(time).collect()
}

/// None was made again, but those that were compressed better meanwhile, which their times say.
#[track_caller]
fn assert_kept(before: &[SystemTime], after: &[SystemTime]) {
    let strong = SystemTime::UNIX_EPOCH + Duration::from_secs(2);
    let is_kept = |(before, after): (&SystemTime, &SystemTime)| before == after || *after == strong;
    assert!(
        before.len() == after.len() && before.iter().zip(after).all(is_kept),
        "{before:?} {after:?}"
    );
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a form").len()
}

#[tokio::test]
async fn a_stored_page_is_sent_in_the_coding_that_a_client_reads() {
    let backend = Backend::with("/", page("x").with("Cache-Control", "max-age=60")).await;
    let proxy = compressing(&backend).start().await;
    let first = proxy.send(accepting("/", "br, zstd, gzip")).await;
    first.assert(200, &text("x")).assert_stored();
    assert!(
        !first.fields.has("content-encoding") && !first.fields.has("vary"),
        "{first:?}"
    );

    for (token, suffix) in CODINGS {
        let hit = ready_in(&proxy, "/", token).await;
        hit.assert_hit();
        assert_eq!((hit.status, decoded(&hit)), (200, text("x")), "{token}");
        assert_eq!(hit.field("etag"), Some(&*format!("\"x;{suffix}\"")));
        assert_eq!(hit.fields.all("vary"), ["accept-encoding"]);
        assert_eq!(hit.field("content-length"), Some(&*hit.body.len().to_string()));
        assert_eq!(hit.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(hit.field("cache-control"), Some("max-age=60"));
        assert!(!hit.fields.has("accept-ranges"), "no part of it is sent: {hit:?}");
        assert!(hit.body.len() < text("x").len() / 2);
    }
    let plain = proxy.get("/").await;
    plain.assert(200, &text("x")).assert_hit();
    assert_eq!(plain.field("etag"), Some("\"x\""));
    assert_eq!(plain.fields.all("vary"), ["accept-encoding"]);
    assert_eq!(backend.count("/"), 1);
    assert_eq!(backend.last("/").field("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn the_best_coding_is_chosen_by_quality_and_then_by_the_order_of_the_settings() {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    for (accepted, expected) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, zstd", Some("zstd")),
        ("br;q=0.8, gzip;q=0.9", Some("gzip")),
        ("x-gzip", Some("gzip")),
        ("*", Some("br")),
        ("br;q=0, *;q=0.1", Some("zstd")),
        ("identity;q=0, gzip", Some("gzip")),
        ("identity, br;q=0.5", None),
        ("br;q=0", None),
        ("*;q=0", None),
        ("deflate", None),
        ("", None),
    ] {
        let hit = proxy.send(accepting("/", accepted)).await;
        hit.assert_hit();
        assert_eq!(hit.field("content-encoding"), expected, "{accepted}");
        assert_eq!(decoded(&hit), text("x"), "{accepted}");
        assert!(hit.fields.lists("vary", "accept-encoding"), "{accepted}");
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_head_says_what_a_get_would() {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    for accepted in ["br", "zstd", "gzip", "identity"] {
        let got = proxy.send(accepting("/", accepted)).await;
        let head = proxy.send(head("/").with("Accept-Encoding", accepted)).await;
        head.assert(200, "").assert_hit();
        for name in [
            "content-encoding",
            "content-length",
            "etag",
            "vary",
            "content-type",
        ] {
            assert_eq!(head.field(name), got.field(name), "{name} for {accepted}");
        }
    }
}

#[tokio::test]
async fn what_must_not_be_changed_or_does_not_become_smaller_is_sent_as_it_came() {
    let backend = Backend::start().await;
    let kind = |kind| Answer::new(200).with("Content-Type", kind).body(text("x"));
    let mut noise = vec![0; 20_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let with_lifetime = |answer: Answer| answer.with("Cache-Control", "max-age=60");
    for (target, answer) in [
        (
            "/no-transform",
            page("x").with("Cache-Control", "max-age=60, no-transform"),
        ),
        ("/coded", with_lifetime(page("x").with("Content-Encoding", "br"))),
        ("/image", with_lifetime(kind("image/png"))),
        ("/font", with_lifetime(kind("font/woff2"))),
        ("/untyped", with_lifetime(Answer::new(200).body(text("x")))),
        (
            "/missing",
            with_lifetime(Answer::new(404).with("Content-Type", "text/html").body(text("x"))),
        ),
        (
            "/gone-for-good",
            with_lifetime(
                Answer::new(301)
                    .with("Location", "/")
                    .with("Content-Type", "text/html")
                    .body(text("x")),
            ),
        ),
        ("/small", Answer::page("small")),
        (
            "/noise",
            Answer::new(200).with("Content-Type", "text/plain").body(noise),
        ),
    ] {
        backend.on(target, answer);
        let proxy = compressing(&backend).start().await;
        backend.on("/page", page("page"));
        let request = accepting(target, "br, gzip");
        proxy.send(request.clone()).await.assert_stored();
        proxy.send(request.clone()).await.assert_hit();
        // One page after the other: when this is done, so would be that.
        ready(&proxy, "/page").await;

        let hit = proxy.send(request).await;
        hit.assert_hit();
        let was_coded = (target == "/coded").then_some("br");
        assert_eq!(hit.field("content-encoding"), was_coded, "{target}");
        assert!(!hit.fields.has("vary"), "{target}: {hit:?}");
        assert_eq!(forms(&proxy).len(), 3, "{target}");
        assert_eq!(backend.count(target), 1, "{target}");
    }
}

#[tokio::test]
async fn types_that_compress_are_compressed() {
    let backend = Backend::start().await;
    for (target, kind) in [
        ("/a.css", "text/css"),
        ("/a.js", "application/javascript"),
        ("/a.svg", "image/svg+xml"),
        ("/a.wasm", "application/wasm"),
        ("/a.json", "application/problem+json"),
    ] {
        let answer = Answer::new(200)
            .with("Content-Type", kind)
            .with("Cache-Control", "max-age=60");
        backend.on(target, answer.body(text(target)));
        let proxy = compressing(&backend).start().await;
        ready(&proxy, target).await;
        let hit = proxy.send(accepting(target, "gzip")).await;
        assert_eq!(
            (decoded(&hit), hit.field("content-type")),
            (text(target), Some(kind))
        );
        // Without a tag of the backend it is one of the seal.
        assert!(
            hit.field("etag").is_some_and(|tag| tag.ends_with(";gz\"")),
            "{hit:?}"
        );
    }
}

#[tokio::test]
async fn digests_of_other_bytes_are_not_sent_and_vary_is_not_said_twice() {
    const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];
    let answer = DIGESTS
        .into_iter()
        .fold(page("x"), |answer, name| answer.with(name, "sha-256=:AA==:"));
    let backend = Backend::with("/", answer.with("Vary", "X-Theme, accept-encoding")).await;
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;

    let (coded, plain) = (proxy.send(accepting("/", "br")).await, proxy.get("/").await);
    coded.assert_hit();
    plain.assert_hit();
    for name in DIGESTS {
        assert!(plain.fields.has(name) && !coded.fields.has(name), "{name}");
    }
    for hit in [coded, plain] {
        assert_eq!(hit.fields.all("vary"), ["X-Theme, accept-encoding"]);
    }
}

#[tokio::test]
async fn each_variant_of_a_page_has_its_forms() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let theme = request.field("x-theme").unwrap_or("light");
        Answer::page(text(theme)).with("Vary", "X-Theme")
    });
    let proxy = compressing(&backend).start().await;
    ready(&proxy, "/").await;
    let dark = |coding| accepting("/", coding).with("X-Theme", "dark");
    proxy.send(dark("gzip")).await.assert_stored();
    let hit = patiently("the other variant in gzip", async || {
        let hit = proxy.send(dark("gzip")).await;
        hit.fields.has("content-encoding").then_some(hit)
    })
    .await;
    assert_eq!(decoded(&hit), text("dark"));
    assert_eq!(decoded(&proxy.send(accepting("/", "gzip")).await), text("light"));
    assert!(hit.fields.lists("vary", "x-theme") && hit.fields.lists("vary", "accept-encoding"));
}

#[tokio::test]
async fn pages_of_transparent_fills_are_coded_as_well() {
    let backend = Backend::with("/", page("x").with("Cache-Control", "max-age=60")).await;
    let proxy = compressing(&backend)
        .with(|settings| settings.fill = FillMode::Transparent)
        .start()
        .await;
    ready(&proxy, "/").await;
    let hit = proxy.send(accepting("/", "zstd")).await;
    hit.assert_hit();
    assert_eq!(
        (hit.field("content-encoding"), decoded(&hit)),
        (Some("zstd"), text("x"))
    );
}

#[tokio::test]
async fn settings_and_rules_say_in_what_pages_are_coded() {
    let backend = Backend::start().await;
    backend.fallback(|request| page(request.path()));
    let coded_in = |codings: &'static [&'static str]| {
        move |settings: &mut Settings| settings.compress = codings.iter().map(|&c| c.to_owned()).collect()
    };
    let proxy = compressing(&backend)
        .with(coded_in(&["gzip"]))
        .configured(move |config| {
            let off = PathRule::new(["/off/*"]).with(coded_in(&[]));
            let other = PathRule::new(["/other"]).with(coded_in(&["zstd", "br"]));
            config.with_rule(off).with_rule(other)
        })
        .start()
        .await;
    let said = async |target: &str| {
        let hit = proxy.send(accepting(target, "br, gzip, zstd")).await;
        hit.assert_hit();
        hit.field("content-encoding").map(str::to_owned)
    };
    for target in ["/off/a", "/other", "/"] {
        proxy.get(target).await.assert_stored();
    }
    ready_in(&proxy, "/", "gzip").await;
    ready_in(&proxy, "/other", "br").await;
    ready_in(&proxy, "/other", "zstd").await;
    assert_eq!(said("/").await.as_deref(), Some("gzip"));
    assert_eq!(said("/other").await.as_deref(), Some("zstd"));
    assert_eq!(said("/off/a").await, None);
    assert!(!proxy.get("/off/a").await.fields.has("vary"));
    assert_eq!(forms(&proxy).len(), 3);
    assert_eq!(proxy.counted(Reason::Encoding), 0);
}

#[tokio::test]
async fn a_body_below_the_least_size_is_not_coded() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page("x".repeat(request.path().len() * 100)));
    let proxy = compressing(&backend)
        .with(|settings| settings.compress_min_size = 400)
        .start()
        .await;
    proxy.warm("/12").await;
    ready(&proxy, "/123").await;
    assert!(!proxy.get("/12").await.fields.has("vary"));
    assert_eq!(forms(&proxy).len(), 3);
}

#[tokio::test]
async fn who_reads_along_is_told_the_coding_and_why() {
    let backend = Backend::with("/", page("x")).await;
    let proxy = compressing(&backend)
        .with(|settings| settings.debug_token = Some("a-token-to-read-along".to_owned().into()))
        .start()
        .await;
    let steps = async |request: Request| {
        let response = proxy
            .send(request.with("Phantom-Frame-Debug", "a-token-to-read-along"))
            .await;
        let steps = response.fields.all("phantom-frame-trace");
        let step = steps
            .iter()
            .find_map(|step| Some(step.split_once("coding: ")?.1.to_owned()));
        step.unwrap_or_default()
    };
    ready(&proxy, "/").await;
    assert_eq!(steps(accepting("/", "br")).await, "br, by Accept-Encoding");
    assert_eq!(steps(get("/")).await, "identity, by Accept-Encoding");
    let range = accepting("/", "br").with("Range", "bytes=0-1");
    assert_eq!(steps(range).await, "identity, a range is asked for");
}
