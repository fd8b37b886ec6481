//! The real binary killed at each file system call, and refused each, by strace's injection.
//!
//! Nothing is done without `PHANTOM_LONG=1` and without strace.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::server::{Client, DEADLINE, Server, Setup, files, until};
use crate::site::{Page, Site};
use crate::{is_long, note};

/// Calls that change files, and those that make what is done known to the next.
const CALLS: [&str; 18] = [
    "openat",
    "openat2",
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "fsync",
    "fdatasync",
    "syncfs",
    "mkdir",
    "mkdirat",
    "utimensat",
    "ftruncate",
    "flock",
    "close",
];
/// No thread makes one of them more often than this while something is done, but for those that go to
/// sockets too.
const MOST: usize = 60;
const SERVING_WITHIN: Duration = Duration::from_secs(3);

/// Of 4000 bytes, and of another type each time.
const CHANGING: Page = Page(22);
/// In the visitor's language.
const TRANSLATED: Page = Page(65);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Fill,
    Replacement,
    Invalidation,
    Start,
}

fn is_possible() -> bool {
    let possible = is_long()
        && Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .status()
            .is_ok_and(|status| status.success());
    if !possible {
        note("skipped: PHANTOM_LONG is not 1, or there is no strace");
    }
    possible
}

/// A tracer of a running server; it lets go when it is dropped.
struct Tracer {
    process: Child,
    server: u32,
}

impl Tracer {
    /// Returns when it holds every thread.
    fn attach(server: &Server, words: &[&str]) -> Self {
        let mut tracer = Command::new("strace")
            .args(["-f", "-o", "/dev/null"])
            .args(words)
            .arg(format!("--attach={}", server.id()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = tracer.stderr.take().unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with("attached\n") && !text.ends_with("threads\n") {
            assert!(said.read(&mut byte).unwrap() > 0, "strace: {text}");
            text.push(char::from(byte[0]));
        }
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self {
            process: tracer,
            server: server.id(),
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        // It may have ended with the server.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let deadline = Instant::now() + DEADLINE;
        while self.process.try_wait().unwrap().is_none() {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.server)).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            // Of a process whose first thread it has killed, strace may wait for ever for the others.
            if state.starts_with(['Z', 'X']) || state.is_empty() || Instant::now() > deadline {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

struct Rig {
    site: Arc<Site>,
    setup: Setup,
    dir: tempfile::TempDir,
    client: Client,
    kills: usize,
}

impl Rig {
    async fn new(durability: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (site, url) = Site::start().await;
        let setup = Setup::new(dir.path(), &url).with("DURABILITY", durability);
        Self {
            site,
            setup,
            dir,
            client: Client::new(),
            kills: 0,
        }
    }

    async fn get(&self, server: &Server, page: Page, language: Option<&str>) -> Result<bool, ()> {
        let floor = self.site.floor(page);
        let asked = self.client.get(&server.address, &page.path(), language).await;
        let answer = asked.map_err(drop)?;
        self.site.check(page, language, floor, &answer);
        Ok(answer.says("hit"))
    }

    async fn until_stored(&self, server: &Server, page: Page, language: Option<&str>) {
        until("the page to be stored", async || {
            let hit = self.get(server, page, language).await;
            hit.expect("an answer of a server that nothing disturbs")
                .then_some(())
        })
        .await;
    }

    /// Everything is stored, whole and new enough, and nothing else is left.
    async fn settle(&self, server: &Server) {
        for (page, language) in [(CHANGING, None), (TRANSLATED, None), (TRANSLATED, Some("de"))] {
            self.until_stored(server, page, language).await;
        }
        let folders = ["tmp", "pending"].map(|name| self.dir.path().join(".phantom").join(name));
        until("temporaries to be swept", async || {
            folders
                .iter()
                .all(|folder| files(folder).is_empty())
                .then_some(())
        })
        .await;
    }

    async fn refresh(&self, server: &Server, mode: &str) {
        let changed = [CHANGING, TRANSLATED].map(|page| (page, self.site.change(page)));
        if server.refresh(&self.client, &format!("?mode={mode}")).await == Some(200) {
            for (page, version) in changed {
                self.site.confirm(page, version);
            }
        }
    }

    /// What comes before the tracer.
    async fn prepare(&self, work: Work, server: &Server) {
        match work {
            Work::Fill => self.refresh(server, "delete").await,
            Work::Replacement => self.refresh(server, "stale").await,
            Work::Invalidation | Work::Start => {}
        }
    }

    /// What the server is killed in. Answers that come are right; some do not come.
    async fn act(&self, work: Work, server: &Server) {
        if work == Work::Invalidation {
            self.refresh(server, "delete").await;
        }
        for (page, language) in [(CHANGING, None), (TRANSLATED, Some("de"))] {
            // A connection that breaks is what a kill looks like.
            let _ = self.get(server, page, language).await;
        }
    }

    /// After a kill: up in time, and all is as if nothing had been.
    async fn restarted(&mut self) -> Server {
        self.kills += 1;
        let server = self.setup.start().await;
        let first = self.get(&server, CHANGING, None).await;
        assert!(first.is_ok());
        let up = server.started.elapsed();
        assert!(up < SERVING_WITHIN, "serving {up:?} after its start");
        self.settle(&server).await;
        assert_eq!(server.log.complaints(&[]), Vec::<String>::new(), "after a kill");
        server
    }

    /// Kills the server in `work` at each call of this name; how many there were.
    async fn kill_at_each(&mut self, mut server: Server, work: Work, call: &str) -> Server {
        for nth in 1..=MOST {
            self.prepare(work, &server).await;
            let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
            let tracer = Tracer::attach(&server, &["-e", &format!("trace={call}"), "-e", &inject]);
            self.act(work, &server).await;
            drop(tracer);
            if self.get(&server, CHANGING, None).await.is_ok() {
                self.settle(&server).await;
                return server;
            }
            until("the killed server to end", async || {
                server.has_ended().then_some(())
            })
            .await;
            server = self.restarted().await;
        }
        server
    }

    /// A body that was durable and not yet in place, files of fills that were, and an invalidation that
    /// was confirmed and not yet carried out.
    fn leave_work(&self) {
        let private = self.dir.path().join(".phantom");
        let (sidecar, table) = self.sidecar(CHANGING);
        let body = sidecar.with_file_name(table["body"].as_str().unwrap());
        let stem = sidecar.file_stem().unwrap().to_str().unwrap();
        let seal = table["seal"].as_str().unwrap().get(..16).unwrap();
        fs::rename(&body, private.join("pending").join(format!("{stem}.{seal}"))).unwrap();
        fs::write(private.join("tmp/left"), "half a pa").unwrap();
        fs::write(
            private.join("pending/page.0123456789abcdef.0123456789abcdef"),
            "whose?",
        )
        .unwrap();
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let version = self.site.change(TRANSLATED);
        let line = format!("\n{now} delete {}\n", TRANSLATED.path());
        fs::write(private.join("invalidations"), line).unwrap();
        self.site.confirm(TRANSLATED, version);
    }

    fn sidecar(&self, page: Page) -> (PathBuf, toml::Table) {
        let prefix = format!("{}.", page.0);
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&prefix) && name.ends_with(".toml") && !name.contains('~')
        };
        let path = files(self.dir.path()).into_iter().find(is_it).unwrap();
        let table = fs::read_to_string(&path).unwrap().parse().unwrap();
        (path, table)
    }

    /// Kills the server at each call of its start.
    async fn kill_starts(&mut self, mut server: Server, call: &str) -> Server {
        for nth in 1..=MOST {
            assert_eq!(server.stop().await, Some(0));
            self.leave_work();
            let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
            let trace = format!("trace={call}");
            let traced = self.setup.clone().wrapped(&[
                "strace",
                "-f",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
                "--",
            ]);
            let mut killed = traced.spawn();
            if killed.is_serving().await {
                self.act(Work::Start, &killed).await;
                until("the start to be over", async || {
                    (killed.has_ended() || !killed.log.find("read the snapshot directory").is_empty())
                        .then_some(())
                })
                .await;
                if !killed.has_ended() {
                    end_traced(&mut killed).await;
                    let server = self.restarted().await;
                    self.kills -= 1;
                    return server;
                }
            }
            server = self.restarted().await;
        }
        server
    }
}

/// Ends a server that strace started; strace ends with it, and not before.
async fn end_traced(tracer: &mut Server) {
    let id = tracer.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    for child in children.split_whitespace() {
        let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    }
    until("the traced server to end", async || {
        tracer.has_ended().then_some(())
    })
    .await;
}

async fn killed_at_every_call(work: Work) {
    if !is_possible() {
        return;
    }
    for durability in ["full", "none"] {
        let since = Instant::now();
        let mut rig = Rig::new(durability).await;
        let mut server = rig.setup.start().await;
        rig.settle(&server).await;
        for call in CALLS {
            let before = rig.kills;
            server = match work {
                Work::Start => rig.kill_starts(server, call).await,
                _ => rig.kill_at_each(server, work, call).await,
            };
            note(format_args!(
                "{work:?} ({durability}): {} kills at {call}",
                rig.kills - before
            ));
        }
        assert_eq!(server.stop().await, Some(0));
        note(format_args!(
            "{work:?} ({durability}): {} kills in {:?}",
            rig.kills,
            since.elapsed()
        ));
        assert!(rig.kills > 5, "{work:?}: {} kills only", rig.kills);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_kills_fills_at_every_call() {
    killed_at_every_call(Work::Fill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_kills_replacements_at_every_call() {
    killed_at_every_call(Work::Replacement).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_kills_invalidations_at_every_call() {
    killed_at_every_call(Work::Invalidation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_kills_starts_with_work_left_at_every_call() {
    killed_at_every_call(Work::Start).await;
}

/// Hits, whose files are opened and read by the file service, past what tests can break from within.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_refuses_the_calls_of_hits() {
    if !is_possible() {
        return;
    }
    let rig = Rig::new("none").await;
    let server = rig.setup.start().await;
    rig.settle(&server).await;
    for call in ["openat", "statx", "newfstatat", "fstat", "lstat"] {
        for error in ["EMFILE", "EIO", "EACCES", "ENOSPC"] {
            for when in ["1", "2", "3", "1+"] {
                let inject = format!("inject={call}:error={error}:when={when}");
                let tracer = Tracer::attach(&server, &["-e", &format!("trace={call}"), "-e", &inject]);
                for _ in 0..3 {
                    let answered = rig.get(&server, CHANGING, None).await;
                    assert!(answered.is_ok(), "{inject}: the page is served all the same");
                }
                drop(tracer);
                rig.until_stored(&server, CHANGING, None).await;
            }
        }
    }
    let (sidecar, table) = rig.sidecar(CHANGING);
    let body = sidecar.with_file_name(table["body"].as_str().unwrap());
    for error in ["EIO", "ESTALE"] {
        read_fails(&rig, &server, &body, error).await;
    }
}

/// A body that cannot be read to its end is cut off, not ended.
async fn read_fails(rig: &Rig, server: &Server, body: &Path, error: &str) {
    let inject = format!("inject=read,pread64:error={error}:when=1+");
    let path = format!("--trace-path={}", body.display());
    let tracer = Tracer::attach(server, &["-e", "trace=read,pread64", &path, "-e", &inject]);
    for _ in 0..3 {
        // An answer would have been looked at.
        let _ = rig.get(server, CHANGING, None).await;
    }
    drop(tracer);
    rig.until_stored(server, CHANGING, None).await;
}
