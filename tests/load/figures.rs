//! What a server costs, and how long a visitor waits.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::backend::page;
use crate::server::{Server, files};
use crate::wire::Wire;

/// Whether the system tells what a process uses.
pub(crate) fn are_there() -> bool {
    let there = Path::new("/proc/self/status").exists();
    if !there {
        crate::note("skipped: this system has no /proc");
    }
    there
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) rss_kib: u64,
    pub(crate) descriptors: usize,
    threads: u64,
}

impl Usage {
    pub(crate) fn of(server: &Server) -> Self {
        let proc = format!("/proc/{}", server.id());
        let status = fs::read_to_string(format!("{proc}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self {
            rss_kib: number("VmRSS:"),
            descriptors: fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            threads: number("Threads:"),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.rss_kib as f64 / 1024.0;
        write!(
            f,
            "RSS {mib:>6.1} MiB  descriptors {:>6}  threads {:>3}",
            self.descriptors, self.threads
        )
    }
}

/// What a directory takes, as `du` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    /// Sidecars.
    pub(crate) snapshots: usize,
}

impl Disk {
    pub(crate) fn of(dir: &Path) -> Self {
        let paths = files(dir);
        let is_sidecar = |path: &&std::path::PathBuf| {
            path.extension().is_some_and(|extension| extension == "toml")
                && !path.ends_with("phantom-frame.toml")
        };
        // Some may be gone by now.
        let blocks = paths.iter().filter_map(|path| fs::metadata(path).ok());
        Self {
            bytes: blocks.map(|metadata| metadata.blocks() * 512).sum(),
            files: paths.len(),
            snapshots: paths.iter().filter(is_sidecar).count(),
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "disk {mib:>6.1} MiB  {:>6} files  {:>6} snapshots",
            self.files, self.snapshots
        )
    }
}

/// The page that the visitor asks for.
pub(crate) const PROBED: &str = "/page/probe";

/// How long hits took, sorted.
pub(crate) struct Latency(Vec<Duration>);

impl Latency {
    fn at(&self, percent: usize) -> Duration {
        let nth = (self.0.len() * percent / 100).min(self.0.len() - 1);
        self.0[nth]
    }

    /// Against those of `idle`.
    pub(crate) fn against(&self, idle: &Self) -> String {
        let ratio = |percent| self.at(percent).as_secs_f64() / idle.at(percent).as_secs_f64();
        format!("{self}  ({:.1} and {:.1} times idle)", ratio(50), ratio(99))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.at(percent).as_secs_f64() * 1000.0;
        write!(
            f,
            "{} hits: p50 {:.2} ms  p99 {:.2} ms  longest {:.2} ms",
            self.0.len(),
            ms(50),
            ms(99),
            ms(100)
        )
    }
}

/// A visitor with four connections who asks `count` times for a page that is stored, and gets it each time.
pub(crate) async fn probe(server: &Server, count: usize) -> Latency {
    const CONNECTIONS: usize = 4;
    let expected = page(PROBED);
    // The first time it may have to be stored.
    let mut wire = Wire::open(&server.address).await.unwrap();
    wire.get(PROBED).await.unwrap();
    let mut visitors = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, expected) = (server.address.clone(), expected.clone());
        visitors.spawn(async move {
            let mut wire = Wire::open(&address).await.unwrap();
            let mut times = Vec::new();
            for _ in 0..count / CONNECTIONS {
                let since = Instant::now();
                let answer = wire.get(PROBED).await.unwrap();
                times.push(since.elapsed());
                assert!(answer.says("hit"), "{answer:?}");
                assert!(answer.body == expected, "another page's bytes");
            }
            times
        });
    }
    let mut times = visitors.join_all().await.concat();
    times.sort();
    Latency(times)
}
