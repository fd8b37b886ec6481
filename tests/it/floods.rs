//! Floods: thousands of queries, hosts, missing pages and variants that nobody will ask for again leave
//! disk and memory as they were.
//!
//! Each in a process of its own, whose memory is its own; the figures are printed.

use std::fs;
use std::process::Command;

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Setup, eventually, get};

/// Says that this process is one test's.
const ALONE: &str = "PHANTOM_FRAME_TEST_ALONE";
/// How many requests there are, in two halves.
const FLOOD: usize = 3000;
const MIB: u64 = 1 << 20;
/// The second half of a flood may leave so much more memory than the first.
const MEMORY: u64 = 24 * MIB;

/// Runs `test` in a process of its own, or says that this is that process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let this = std::env::current_exe().expect("the tests' binary");
    let output = Command::new(this)
        .args(["--exact", &format!("floods::{test}"), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("the tests' binary runs");
    let (text, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    for line in said.lines().filter(|line| line.starts_with("flood")) {
        eprintln!("{line}");
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{said}"
    );
    false
}

/// What this process has in memory, in bytes.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("this process's memory");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    pages * 4096
}

/// Small limits: what a flood would pass at once.
fn small(backend: &Backend) -> Setup {
    Setup::over(backend).with(|settings| {
        settings.durability = phantom_frame::Durability::None;
        settings.max_snapshots = 500;
        settings.disk_limit = 8 * MIB;
        settings.max_body = MIB / 4;
        settings.max_hosts = 20;
    })
}

/// Sends what `request` makes of each number, in two halves, and measures after each.
async fn flood(what: &str, proxy: &Proxy, count: usize, request: impl Fn(usize) -> Request) {
    let mut connection = proxy.client().connect().await;
    let mut measured = Vec::new();
    for half in 0..2 {
        for n in half * count / 2..(half + 1) * count / 2 {
            let response = connection.send(&request(n)).await;
            assert!(matches!(response.status, 200 | 404), "{response:?}");
        }
        let (files, disk) = eventually("the store to be under its limits", async || {
            let files = proxy.pages().len();
            let disk = proxy.disk_usage();
            (proxy.stored() <= 500 && disk <= 8 * MIB + MIB / 4).then_some((files, disk))
        })
        .await;
        measured.push((files, disk, memory()));
    }
    for (files, disk, memory) in &measured {
        eprintln!(
            "flood of {what}: {files} files, {} KiB on disk, {} KiB in memory",
            disk >> 10,
            memory >> 10
        );
    }
    let [first, second] = measured.as_slice() else {
        unreachable!("two halves");
    };
    assert!(second.0 <= 1024, "{measured:?}");
    assert!(second.2.saturating_sub(first.2) < MEMORY, "{measured:?}");
}

/// A page that is asked for now and then, before and after `between`.
async fn stays_hot(backend: &Backend, proxy: &Proxy, between: impl Future<Output = ()>) {
    proxy.warm("/hot").await;
    between.await;
    proxy.get("/hot").await.assert(200, "hot").assert_hit();
    assert_eq!(backend.count("/hot"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_queries() {
    if !is_alone("of_queries") {
        return;
    }
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("{}{}", request.target, "x".repeat(9000))));
    backend.on("/hot", Answer::page("hot"));
    let proxy = small(&backend).start().await;
    let queries = flood("queries", &proxy, FLOOD, |n| get(&format!("/search?q={n}")));
    stays_hot(&backend, &proxy, queries).await;
    assert_eq!(backend.count("/search"), FLOOD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_folders() {
    if !is_alone("of_folders") {
        return;
    }
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    backend.on("/hot", Answer::page("hot"));
    let proxy = small(&backend).start().await;
    // A page takes two blocks, and its folders four.
    let folders = flood("folders", &proxy, FLOOD / 4, |n| get(&format!("/{n}/a/b/c/page")));
    stays_hot(&backend, &proxy, folders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_hosts() {
    if !is_alone("of_hosts") {
        return;
    }
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    backend.on("/hot", Answer::page("hot"));
    let proxy = small(&backend).start().await;
    let hosts = flood("hosts", &proxy, FLOOD, |n| get("/").host(&format!("h{n}.test")));
    stays_hot(&backend, &proxy, hosts).await;
    let mut hosts: Vec<_> = proxy
        .pages()
        .iter()
        .filter_map(|file| Some(file.split_once('/')?.0.to_owned()))
        .collect();
    hosts.dedup();
    assert_eq!(hosts.len(), 20, "{hosts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_missing_pages() {
    if !is_alone("of_missing_pages") {
        return;
    }
    let backend = Backend::start().await;
    backend.fallback(|_| {
        Answer::new(404)
            .with("Content-Type", "text/html")
            .body(vec![b'x'; 2000])
    });
    backend.on("/hot", Answer::page("hot"));
    let proxy = small(&backend).start().await;
    let missing = flood("missing pages", &proxy, FLOOD, |n| get(&format!("/missing/{n}")));
    stays_hot(&backend, &proxy, missing).await;
    assert_eq!(proxy.stored(), 1, "what is not there has no file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_variants() {
    if !is_alone("of_variants") {
        return;
    }
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none");
        Answer::page(format!("{} {language}", request.target)).with("Vary", "Accept-Language")
    });
    backend.on("/hot", Answer::page("hot"));
    let proxy = small(&backend).start().await;
    let variants = flood("variants", &proxy, FLOOD, |n| {
        get(&format!("/page/{}", n % 100)).with("Accept-Language", &format!("x{n}"))
    });
    stays_hot(&backend, &proxy, variants).await;
}
