//! A directory of a million snapshots: the first hit, the scan behind it, what the index takes, patterns over all of it,
//! and pages that make room.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::directory::{self, COMMENTS};
use crate::figures::{self, Usage};
use crate::server::{Client, Server, Setup};
use crate::wire::Wire;
use crate::{note, raise_open_files, scaled};

/// Nobody is there.
const BACKEND: &str = "http://127.0.0.1:9";
/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);

fn setup(dir: &Path, max_snapshots: usize) -> Setup {
    Setup::new(dir, BACKEND)
        .with("MAX_SNAPSHOTS", &max_snapshots.to_string())
        .with("DISK_LIMIT", "0")
        .with("MEMORY_LIMIT", "0")
        .with("LOG", "info,phantom_frame::snapshot=debug")
}

/// The last event that says so, once there is one.
async fn told(server: &Server, text: &str) -> serde_json::Value {
    let since = Instant::now();
    loop {
        if let Some(event) = server.log.find(text).pop() {
            return event;
        }
        assert!(since.elapsed() < PATIENCE, "waited for {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long each of the hits on a page took.
async fn hit(server: &Server, number: usize, is_over: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let mut wire = Wire::open(&server.address).await.unwrap();
    tokio::spawn(async move {
        let (path, expected) = (directory::path(number), directory::body(number));
        let mut times = Vec::new();
        while !is_over.load(Ordering::SeqCst) || times.is_empty() {
            let since = Instant::now();
            let answer = wire.get(&path).await.unwrap();
            times.push(since.elapsed());
            assert!(answer.says("hit"), "{path}: {answer:?}");
            assert_eq!(answer.body, expected.as_bytes());
        }
        times.sort();
        times
    })
}

/// Runs `work` while a visitor asks for a page that it does not touch.
async fn beside_hits(server: &Server, what: &str, work: impl Future<Output = String>) {
    let is_over = Arc::<AtomicBool>::default();
    let visitor = hit(server, directory::YOUNGEST, Arc::clone(&is_over)).await;
    let said = work.await;
    is_over.store(true, Ordering::SeqCst);
    let times = visitor.await.unwrap();
    let ms = |at: usize| times[at.min(times.len() - 1)].as_secs_f64() * 1000.0;
    note(format!(
        "{what}: {said}; {} hits meanwhile, p50 {:.2} p99 {:.2} longest {:.2} ms",
        times.len(),
        ms(times.len() / 2),
        ms(times.len() * 99 / 100),
        ms(times.len()),
    ));
}

/// Invalidates; what the store says of it.
async fn invalidate(server: &Server, pattern: &str) -> String {
    let since = Instant::now();
    let status = server
        .refresh(&Client::new(), &format!("?pattern={pattern}"))
        .await;
    let waited = since.elapsed();
    // Of many files it may say that they are not gone yet.
    assert!(matches!(status, Some(200 | 503) | None), "{status:?}");
    let in_force = server.log.find("an invalidation is in force").pop();
    let figure = |name: &str| in_force.as_ref().and_then(|event| number(&event[name])).unwrap();
    format!(
        "{} removed, in force after {} ms, files gone after {} ms",
        figure("removed"),
        figure("ms"),
        waited.as_millis()
    )
}

/// Those of 128 bits are written as texts.
fn number(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

async fn memory_of_nothing(dir: &Path) -> u64 {
    let mut server = setup(&dir.join("nothing"), 0).start().await;
    told(&server, "read the snapshot directory").await;
    let rss_kib = Usage::of(&server).rss_kib;
    server.kill();
    rss_kib
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_very_many_pages_is_served_at_once_and_stays_in_hand() {
    raise_open_files();
    if !figures::are_there() {
        return;
    }
    let count = scaled(1_000_000, 4000);
    let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = temporary.path().join("snapshots");
    directory::fill(&dir, count);
    let empty_kib = memory_of_nothing(temporary.path()).await;

    let mut server = setup(&dir, 0).start().await;
    let probed = count / 2 + 3;
    let mut wire = Wire::open(&server.address).await.unwrap();
    let answer = wire.get(&directory::path(probed)).await.unwrap();
    let first_hit = server.started.elapsed();
    assert!(answer.says("hit"), "{answer:?}");
    note(format!(
        "{count} pages: first hit {} ms after the start",
        first_hit.as_millis()
    ));

    beside_hits(&server, "start-up scan", async {
        let scanned = told(&server, "read the snapshot directory").await;
        assert_eq!(scanned["snapshots"], count);
        let ms = number(&scanned["ms"]).unwrap().max(1);
        format!("{} a second, {ms} ms", count as u64 * 1000 / ms)
    })
    .await;
    let bytes = (Usage::of(&server).rss_kib - empty_kib) * 1024;
    note(format!("memory: {} bytes a page", bytes / count as u64));

    beside_hits(&server, "nothing at all", async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        "idle".into()
    })
    .await;
    for pattern in ["*/comments/none-*", "GET:/blog/category-01*", "*/comments/*"] {
        beside_hits(&server, pattern, invalidate(&server, pattern)).await;
    }
    let gone = wire.get(&directory::path(COMMENTS)).await.unwrap();
    assert!(!gone.says("hit"), "{gone:?}");
    assert_eq!(server.log.complaints(&["the backend"]), Vec::<String>::new());
    server.kill();

    // A twentieth has to go.
    let left = count - count / COMMENTS - count / 100 * 9 / 10;
    make_room(&dir, left * 19 / 20).await;
}

/// Starts the server with a lower limit; meanwhile small invalidations find out how long its thread is held.
async fn make_room(dir: &Path, most: usize) {
    let server = setup(dir, most).start().await;
    let client = Client::new();
    beside_hits(&server, "eviction", async {
        let mut longest = Duration::ZERO;
        let since = Instant::now();
        told(&server, "read the snapshot directory").await;
        while server.log.find("have made room").is_empty() && since.elapsed() < PATIENCE {
            let asked = Instant::now();
            assert_eq!(server.refresh(&client, "?pattern=/nowhere").await, Some(200));
            longest = longest.max(asked.elapsed());
        }
        let evicted = told(&server, "have made room").await;
        let (evicted, stored) = (&evicted["evicted"], evicted["snapshots"].as_u64().unwrap());
        assert!(stored <= most as u64, "{stored} of {most}");
        format!(
            "{evicted} evicted; an invalidation waits {} ms at most",
            longest.as_millis()
        )
    })
    .await;
}
