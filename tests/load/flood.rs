//! Floods of made-up addresses, hosts, and languages: disk, memory and the visitor's hits stay as they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::figures::{self, Disk, Usage, probe};
use crate::server::{SITE, Server, Setup, until};
use crate::wire::{Wire, request};
use crate::{note, raise_open_files, scaled};

const FLOODERS: usize = 24;
const DISK_LIMIT: u64 = 64 << 20;
/// Ours beside the snapshots, and what is being written.
const DISK_TOLERANCE: u64 = 8 << 20;
const RSS_TOLERANCE_KIB: u64 = 64 << 10;

/// One kind of request that nobody asks twice.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Queries,
    Hosts,
    Missing,
    Variants,
}

impl Flood {
    fn size(self) -> usize {
        match self {
            Self::Queries => scaled(100_000, 1500),
            Self::Hosts | Self::Missing => scaled(20_000, 300),
            Self::Variants => scaled(5000, 200),
        }
    }

    fn head(self, number: usize) -> String {
        match self {
            Self::Queries => request(&format!("/flood?q={number}"), SITE, ""),
            Self::Hosts => request("/flood", &format!("h{number}.test"), ""),
            Self::Missing => request(&format!("/nowhere/{number}"), SITE, ""),
            Self::Variants => request("/variants", SITE, &format!("Accept-Language: x-{number}\r\n")),
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Missing => 404,
            _ => 200,
        }
    }

    /// Everybody pours at once; ends when all of it is answered.
    async fn pour(self, server: &Server) {
        let next = Arc::<AtomicUsize>::default();
        let mut flooders = JoinSet::new();
        for _ in 0..FLOODERS {
            let (address, next) = (server.address.clone(), Arc::clone(&next));
            flooders.spawn(async move {
                let mut wire = Wire::open(&address).await.unwrap();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= self.size() {
                        return;
                    }
                    wire.send(&self.head(number)).await.unwrap();
                    let answer = wire.answer().await.unwrap();
                    assert_eq!(answer.status, self.status(), "{self:?} {number}: {answer:?}");
                }
            });
        }
        flooders.join_all().await;
    }
}

struct Bounds {
    snapshots: usize,
    hosts: usize,
}

impl Bounds {
    fn check(&self, disk: &Disk, dir: &std::path::Path, flood: Flood) {
        assert!(disk.bytes <= DISK_LIMIT + DISK_TOLERANCE, "{flood:?}: {disk}");
        assert!(disk.snapshots <= self.snapshots, "{flood:?}: {disk}");
        let folders = std::fs::read_dir(dir).unwrap().flatten();
        let hosts = folders.filter(|entry| entry.file_name().to_string_lossy().contains(".test"));
        let hosts = hosts.count();
        assert!(hosts <= self.hosts, "{flood:?}: {hosts} hosts");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_leave_disk_and_memory_flat_and_do_not_push_out_what_is_asked_for() {
    if !figures::are_there() {
        return;
    }
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(0).await;
    let bounds = Bounds {
        snapshots: scaled(5000, 500),
        hosts: scaled(100, 10),
    };
    let mut setup = Setup::new(dir.path(), &backend.url());
    // The host is a part of the key.
    setup.settings.clear();
    let mut server = setup
        .with("DURABILITY", "none")
        .with("DISK_LIMIT", &DISK_LIMIT.to_string())
        .with("MAX_SNAPSHOTS", &bounds.snapshots.to_string())
        .with("MAX_HOSTS", &bounds.hosts.to_string())
        .start()
        .await;
    let count = scaled(2000, 200);
    probe(&server, count).await;
    let quiet = probe(&server, count).await;
    let before = Usage::of(&server);
    note(format_args!("before: {before}  {}", Disk::of(dir.path())));
    note(format_args!("        {quiet}"));

    for flood in [Flood::Queries, Flood::Hosts, Flood::Missing, Flood::Variants] {
        let since = Instant::now();
        let visitor = async {
            tokio::task::yield_now().await;
            probe(&server, count).await
        };
        let ((), during) = tokio::join!(flood.pour(&server), visitor);
        let took = since.elapsed();
        let usage = Usage::of(&server);
        let disk = Disk::of(dir.path());
        note(format_args!(
            "{:>7} {flood:?} in {took:.1?}: {usage}  {disk}",
            flood.size()
        ));
        note(format_args!("        during: {}", during.against(&quiet)));
        // What is over goes in the background.
        until("the bounds to be kept", async || {
            let disk = Disk::of(dir.path());
            (disk.bytes <= DISK_LIMIT + DISK_TOLERANCE && disk.snapshots <= bounds.snapshots).then_some(())
        })
        .await;
        let disk = Disk::of(dir.path());
        bounds.check(&disk, dir.path(), flood);
        let grown = usage.rss_kib.saturating_sub(before.rss_kib);
        assert!(grown < RSS_TOLERANCE_KIB, "{flood:?}: {grown} KiB more");
    }
    note(format_args!(
        "after:  {}",
        probe(&server, count).await.against(&quiet)
    ));
    // Hosts beyond the limit are said, once a minute.
    let rest = server.log.complaints(&["max_hosts"]);
    assert_eq!(rest, Vec::<String>::new());
    assert_eq!(server.stop().await, Some(0));
}
