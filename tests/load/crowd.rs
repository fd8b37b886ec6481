//! Ten thousand idle connections, a thousand tunnels, slow clients and slow backends at the same time: each costs
//! kilobytes, the visitor gets hits, and when they are gone so is what they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::backend::Backend;
use crate::figures::{self, Disk, PROBED, Usage, probe};
use crate::server::{SITE, Server, Setup, until};
use crate::wire::{Wire, request};
use crate::{is_long, note, raise_open_files, scaled};

/// What one connection may cost, whatever it does, and what a crowd may cost beside that.
const KIB_EACH: u64 = 64;
const KIB_TOGETHER: u64 = 96 << 10;
const KIB_SLACK: u64 = 16 << 10;

/// Below the time after which an idle connection is closed.
const STILL_HERE: Duration = Duration::from_secs(30);

/// Clients of one kind.
struct Crowd {
    tasks: JoinSet<()>,
    /// How many of them are where they are meant to be.
    there: Arc<AtomicUsize>,
    size: usize,
}

impl Crowd {
    fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            there: Arc::default(),
            size: 0,
        }
    }

    /// Adds `count` clients; each is given its number, and says when it is there.
    fn add<F>(&mut self, count: usize, client: impl Fn(usize, Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for number in 0..count {
            self.tasks
                .spawn(client(number, Place(Some(Arc::clone(&self.there)))));
        }
        self.size += count;
    }

    async fn gathered(&mut self, what: &str) {
        until(what, async || {
            self.check(what);
            (self.there.load(Ordering::SeqCst) >= self.size).then_some(())
        })
        .await;
    }

    /// None has failed so far.
    fn check(&mut self, what: &str) {
        while let Some(ended) = self.tasks.try_join_next() {
            assert!(ended.is_ok(), "{what}: {ended:?}");
        }
    }
}

/// A client's place in its crowd.
struct Place(Option<Arc<AtomicUsize>>);

impl Place {
    /// Counts the first time.
    fn arrive(&mut self) {
        if let Some(there) = self.0.take() {
            there.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Asks once in a while, and otherwise stays.
async fn idle(address: String, mut there: Place) {
    let mut wire = Wire::open(&address).await.unwrap();
    loop {
        let answer = wire.get(PROBED).await.unwrap();
        assert!(answer.says("hit"), "{answer:?}");
        there.arrive();
        sleep(STILL_HERE).await;
    }
}

/// Says something every other second, and hears it.
async fn tunnel(address: String, number: usize, mut there: Place, echoes: Arc<AtomicUsize>) {
    let mut wire = Wire::open(&address).await.unwrap();
    let answer = wire.upgrade("/tunnel/echo").await.unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    let said = format!("{number:08} ").repeat(64).into_bytes();
    loop {
        wire.stream.write_all(&said).await.unwrap();
        assert!(wire.take(said.len()).await.unwrap() == said, "another's words");
        there.arrive();
        echoes.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_secs(2)).await;
    }
}

/// A byte of its head a second, until it is told that this takes too long; then again.
async fn slow_head(address: String, mut there: Place, told: Arc<AtomicUsize>) {
    loop {
        let mut wire = Wire::open(&address).await.unwrap();
        there.arrive();
        for byte in request("/page/slow", SITE, "").chars() {
            tokio::select! {
                answer = wire.head() => {
                    assert_eq!(answer.unwrap().status, 408);
                    told.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                () = sleep(Duration::from_secs(1)) => {}
            }
            if wire.send(byte.encode_utf8(&mut [0; 4])).await.is_err() {
                break;
            }
        }
    }
}

/// A byte of its body a second.
async fn slow_upload(address: String, mut there: Place) {
    let mut wire = Wire::open(&address).await.unwrap();
    let head = "POST /upload HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1000000\r\n\r\n";
    wire.send(head).await.unwrap();
    loop {
        wire.send("x").await.unwrap();
        there.arrive();
        sleep(Duration::from_secs(1)).await;
    }
}

/// A few kilobytes of a page a second; `None`: its head, and nothing more.
async fn slow_reader(address: String, path: String, mut there: Place, pace: Option<usize>) {
    let mut wire = Wire::open_narrow(&address).await.unwrap();
    wire.send(&request(&path, SITE, "")).await.unwrap();
    let answer = wire.head().await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    there.arrive();
    let Some(pace) = pace else {
        return std::future::pending().await;
    };
    let mut bytes = vec![0; pace];
    loop {
        wire.stream.read_exact(&mut bytes).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
}

/// A tunnel whose backend sends without end to a client that never reads.
async fn deaf_tunnel(address: String, mut there: Place) {
    let mut wire = Wire::open_narrow(&address).await.unwrap();
    let answer = wire.upgrade("/tunnel/flood").await.unwrap();
    assert_eq!(answer.status, 101, "{answer:?}");
    there.arrive();
    std::future::pending().await
}

/// Waits for what does not come.
async fn patient(address: String, path: String, mut there: Place) {
    let mut wire = Wire::open(&address).await.unwrap();
    wire.send(&request(&path, SITE, "")).await.unwrap();
    there.arrive();
    let _ = wire.answer().await;
}

/// Everybody, and how many echoes and 408s there were.
struct Everybody {
    kinds: Vec<(&'static str, Crowd)>,
    echoes: Arc<AtomicUsize>,
    told: Arc<AtomicUsize>,
}

impl Everybody {
    fn size(&self) -> usize {
        self.kinds.iter().map(|(_, crowd)| crowd.size).sum()
    }

    /// Lets kind after kind come, and says what each costs.
    async fn gather(server: &Server) -> Self {
        let mut everybody = Self {
            kinds: Vec::new(),
            echoes: Arc::default(),
            told: Arc::default(),
        };
        let own = || server.address.clone();

        let mut crowd = Crowd::new();
        // Not more at once than the system's queue holds.
        let wave = 500;
        let mut left = scaled(10_000, 200);
        while left > 0 {
            crowd.add(left.min(wave), |_, there| idle(own(), there));
            left = left.saturating_sub(wave);
            crowd.gathered("idle connections").await;
        }
        everybody.arrived(server, "idle connections", crowd);

        let mut crowd = Crowd::new();
        let echoes = Arc::clone(&everybody.echoes);
        crowd.add(scaled(1000, 20), |number, there| {
            tunnel(own(), number, there, Arc::clone(&echoes))
        });
        crowd.gathered("tunnels").await;
        everybody.arrived(server, "tunnels with traffic", crowd);

        let slow = scaled(100, 4);
        let mut crowd = Crowd::new();
        let told = Arc::clone(&everybody.told);
        crowd.add(slow, |_, there| slow_head(own(), there, Arc::clone(&told)));
        crowd.add(slow, |_, there| slow_upload(own(), there));
        crowd.gathered("slow senders").await;
        everybody.arrived(server, "slow heads and uploads", crowd);

        let read = |path: &str, pace| {
            let path = path.to_owned();
            move |_: usize, there| slow_reader(own(), path.clone(), there, pace)
        };
        let mut crowd = Crowd::new();
        crowd.add(slow, read("/big/hot", Some(16 << 10)));
        crowd.gathered("slow readers of a file").await;
        everybody.arrived(server, "slow readers, hit", crowd);

        let mut crowd = Crowd::new();
        crowd.add(slow, read("/big/cold", Some(16 << 10)));
        crowd.gathered("slow readers of a fill").await;
        everybody.arrived(server, "slow readers, fill", crowd);

        let mut crowd = Crowd::new();
        let deaf = scaled(25, 2);
        crowd.add(deaf, read("/big/hot", None));
        crowd.add(deaf, read("/big/another", None));
        crowd.add(deaf, read("/big/pass", None));
        crowd.add(deaf, |_, there| deaf_tunnel(own(), there));
        crowd.gathered("readers that never read").await;
        everybody.arrived(server, "never reading: hit, fill, pass, tunnel", crowd);

        let mut crowd = Crowd::new();
        crowd.add(slow, |n, there| patient(own(), format!("/never/{n}"), there));
        crowd.add(slow, |n, there| patient(own(), format!("/drip/{n}"), there));
        crowd.gathered("slow backends").await;
        everybody.arrived(server, "slow backends: never, a byte a second", crowd);
        everybody
    }

    fn arrived(&mut self, server: &Server, name: &'static str, crowd: Crowd) {
        note(format_args!(
            "  + {:>6} {name:<40} {}",
            crowd.size,
            Usage::of(server)
        ));
        self.kinds.push((name, crowd));
    }

    /// Nobody has failed so far.
    fn check(&mut self) {
        for (name, crowd) in &mut self.kinds {
            crowd.check(name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_costs_kilobytes_each_delays_nobody_and_leaves_nothing() {
    if !figures::are_there() {
        return;
    }
    raise_open_files();
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start(scaled(50_000_000, 8_000_000)).await;
    let setup = Setup::new(dir.path(), &backend.url())
        .with("MAX_CONNECTIONS", "12500")
        .with("HEADER_TIMEOUT", if is_long() { "10s" } else { "2s" })
        .with("RESPONSE_TIMEOUT", "300s")
        .with("BODY_TIMEOUT", "300s")
        .with("FILL_TIMEOUT", "2s");
    let mut server = setup.start().await;
    let mut wire = Wire::open(&server.address).await.unwrap();
    wire.get("/big/hot").await.unwrap();
    drop(wire);
    let count = scaled(4000, 400);
    probe(&server, count).await;
    let idle = probe(&server, count).await;
    note(format_args!("before: {idle}"));

    let (mut before, mut first) = (Usage::of(&server), None);
    for wave in 1..=2 {
        note(format_args!("wave {wave}:  {:<40} {before}", ""));
        let mut everybody = Everybody::gather(&server).await;
        let during = probe(&server, count).await;
        everybody.check();
        let at = Usage::of(&server);
        let size = everybody.size() as u64;
        note(format_args!("  = {size:>6} {:<40} {at}", "at once"));
        note(format_args!("  visitor: {}", during.against(&idle)));
        let (echoes, told) = (&everybody.echoes, &everybody.told);
        until("those slow with their heads to be told", async || {
            (told.load(Ordering::SeqCst) > 0).then_some(())
        })
        .await;
        note(format_args!(
            "  {} echoes, {} answers 408; {}",
            echoes.load(Ordering::SeqCst),
            told.load(Ordering::SeqCst),
            Disk::of(dir.path())
        ));
        let grown = at.rss_kib.saturating_sub(before.rss_kib);
        assert!(
            grown < size * KIB_EACH + KIB_TOGETHER,
            "{grown} KiB for {size} connections"
        );
        drop(everybody);
        until("descriptors to be given back", async || {
            (Usage::of(&server).descriptors <= before.descriptors + 8).then_some(())
        })
        .await;
        let after = Usage::of(&server);
        note(format_args!("  after:   {:<40} {after}", ""));
        // The allocator keeps what the first wave took, for the next: that must fit in there, or nearly.
        let kept = after.rss_kib.saturating_sub(before.rss_kib);
        if let Some(first) = first {
            assert!(
                kept < first / 2 + KIB_SLACK,
                "{first} KiB after the first wave, {kept} KiB more after the next"
            );
        }
        first.get_or_insert(kept);
        before = after;
    }
    note(format_args!(
        "after:  {}",
        probe(&server, count).await.against(&idle)
    ));
    assert_eq!(server.log.complaints(&[]), Vec::<String>::new());
    assert_eq!(server.stop().await, Some(0));
}
