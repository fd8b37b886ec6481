//! SIGKILL in the middle of a thousand fills and replacements, again and again on one directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::server::{Client, Server, Setup, files, until};
use crate::site::{PAGES, Page, SECTIONS, Site};
use crate::{is_long, note};

const FILLS: usize = 1000;
/// More, because an empty page keeps nobody waiting, and who comes second to a page makes no fill.
const VISITORS: usize = 1200;
const LANGUAGES: [Option<&str>; 3] = [None, Some("de"), Some("fr")];
const DURABILITIES: [&str; 3] = ["data", "none", "full"];
/// From the start of the process to the first page.
const SERVING_WITHIN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_thousand_fills_it_never_serves_what_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (site, url) = Site::start().await;
    let setup = Setup::new(dir.path(), &url).with("MAX_FILLS", "4000");
    let mut dice = Dice(0x5eed);
    let rounds = if is_long() { 20 } else { 2 };
    for round in 0..rounds {
        let durability = DURABILITIES[round % DURABILITIES.len()];
        let setup = setup.clone().with("DURABILITY", durability);
        let mut server = setup.start().await;
        let server_is_up = server.started.elapsed();
        let storm = storm(&site, &mut server, &mut dice).await;
        let left = temporaries(dir.path());

        let mut server = setup.start().await;
        let up = first_page(&site, &server).await;
        assert!(up < SERVING_WITHIN, "serving {up:?} after its start");
        let since = Instant::now();
        until("what the killed server left to be swept", async || {
            temporaries(dir.path()).is_disjoint(&left).then_some(())
        })
        .await;
        let swept = since.elapsed();
        let hits = check_all(&site, &server).await;
        assert_eq!(server.log.complaints(&[]), Vec::<String>::new(), "after the kill");
        assert_eq!(server.stop().await, Some(0));
        audit(dir.path());
        note(format_args!(
            "round {round} ({durability}): up {server_is_up:?}, {storm}, {} temporaries left; then up {up:?}, \
             swept {swept:?}, {hits} of {PAGES} pages were hits",
            left.len()
        ));
    }
}

/// Fills, replacements and invalidations of everything by everyone, and the end in the middle of it.
async fn storm(site: &Arc<Site>, server: &mut Server, dice: &mut Dice) -> String {
    let client = Client::new();
    site.close_gate();
    // Half of the pages go, the other half are to be replaced.
    for section in 0..SECTIONS {
        let mode = ["delete", "stale"][section % 2];
        invalidate(site, server, &client, section, mode).await;
    }
    let killed = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut visitors = JoinSet::new();
    // Each begins with a page of its own.
    let first = dice.index(PAGES);
    for number in 0..VISITORS {
        let visitor = Visitor {
            site: Arc::clone(site),
            client: client.clone(),
            server: server.address.clone(),
            killed: Arc::clone(&killed),
            answered: Arc::clone(&answered),
            dice: Dice(dice.roll()),
        };
        visitors.spawn(visitor.run(Page((first + number) % PAGES)));
    }
    until("a thousand fills to be half done", async || {
        (site.waiting.load(Ordering::SeqCst) >= FILLS).then_some(())
    })
    .await;
    // Some of them are overtaken.
    invalidate(site, server, &client, 1, "stale").await;
    invalidate(site, server, &client, 2, "delete").await;
    site.open_gate();
    // At once, among the commits, or later, among everything.
    let longest = [150, 1500, 5000][dice.index(3)];
    let moment = Instant::now() + Duration::from_millis(dice.below(longest));
    let mut invalidations = 4;
    while Instant::now() < moment {
        match dice.below(8) {
            0 => {
                let section = dice.index(SECTIONS);
                let mode = ["delete", "stale"][dice.index(2)];
                invalidate(site, server, &client, section, mode).await;
            }
            _ => invalidate_page(site, server, &client, Page(dice.index(PAGES))).await,
        }
        invalidations += 1;
        tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
    }
    killed.store(true, Ordering::SeqCst);
    server.kill();
    while let Some(ended) = visitors.join_next().await {
        ended.unwrap();
    }
    assert_eq!(
        server.log.complaints(&[]),
        Vec::<String>::new(),
        "before the kill"
    );
    let (answers, renderings) = (
        answered.load(Ordering::SeqCst),
        site.renderings.swap(0, Ordering::SeqCst),
    );
    format!("{answers} answers, {renderings} renderings, {invalidations} invalidations")
}

/// Every page of a section changes, and what was before is invalidated.
async fn invalidate(site: &Site, server: &Server, client: &Client, section: usize, mode: &str) {
    let pages = (0..PAGES).filter(|page| page % SECTIONS == section).map(Page);
    let changed: Vec<_> = pages.map(|page| (page, site.change(page))).collect();
    let query = format!("?pattern=/s{section}/*&mode={mode}");
    assert_eq!(server.refresh(client, &query).await, Some(200));
    for (page, version) in changed {
        site.confirm(page, version);
    }
}

async fn invalidate_page(site: &Site, server: &Server, client: &Client, page: Page) {
    let version = site.change(page);
    let query = format!("?pattern={}", page.path());
    assert_eq!(server.refresh(client, &query).await, Some(200));
    site.confirm(page, version);
}

/// Someone who asks for page after page until the server is killed.
struct Visitor {
    site: Arc<Site>,
    client: Client,
    server: String,
    killed: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    dice: Dice,
}

impl Visitor {
    async fn run(mut self, first: Page) {
        let mut page = first;
        while !self.killed.load(Ordering::SeqCst) {
            let language = LANGUAGES[self.dice.index(LANGUAGES.len())];
            let floor = self.site.floor(page);
            match self.client.get(&self.server, &page.path(), language).await {
                Ok(answer) => {
                    self.site.check(page, language, floor, &answer);
                    self.answered.fetch_add(1, Ordering::SeqCst);
                }
                // What was under way at the kill breaks, and nothing else does.
                Err(error) => assert!(self.killed.load(Ordering::SeqCst), "{page:?}: {error:?}"),
            }
            // Some pages are wanted more than others.
            let among = [PAGES, 40][self.dice.index(2)];
            page = Page(self.dice.index(among));
        }
    }
}

/// Asks until there is an answer; the time since the start of the process.
async fn first_page(site: &Site, server: &Server) -> Duration {
    let page = Page(1);
    let answer = Client::new()
        .get(&server.address, &page.path(), None)
        .await
        .unwrap();
    let up = server.started.elapsed();
    site.check(page, None, site.floor(page), &answer);
    up
}

/// Looks at every page in every language; how many pages were there.
async fn check_all(site: &Arc<Site>, server: &Server) -> usize {
    const READERS: usize = 32;
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (site, address) = (Arc::clone(site), server.address.clone());
        readers.spawn(async move {
            let client = Client::new();
            let mut hits = 0;
            for page in (reader..PAGES).step_by(READERS).map(Page) {
                let languages = if page.is_translated() {
                    &LANGUAGES[..]
                } else {
                    &[None]
                };
                for language in languages {
                    let floor = site.floor(page);
                    let answer = client.get(&address, &page.path(), *language).await.unwrap();
                    site.check(page, *language, floor, &answer);
                    hits += usize::from(language.is_none() && answer.says("hit"));
                }
            }
            hits
        });
    }
    readers.join_all().await.into_iter().sum()
}

/// Of the server's own files, those that no crash may leave behind for good.
fn temporaries(dir: &Path) -> BTreeSet<PathBuf> {
    let folders = ["tmp", "pending"].map(|name| dir.join(".phantom").join(name));
    folders.iter().flat_map(|folder| files(folder)).collect()
}

/// Every sidecar's body is there as it is sealed, and there is no body without a sidecar.
fn audit(dir: &Path) {
    let private = dir.join(".phantom");
    let (own, pages): (Vec<_>, Vec<_>) = files(dir)
        .into_iter()
        .partition(|path| path.starts_with(&private));
    let mut bodies: BTreeSet<PathBuf> = BTreeSet::new();
    let mut sealed = BTreeSet::new();
    for path in pages {
        let name = path.file_name().unwrap().to_str().unwrap();
        if [".gitignore", ".gitattributes", "phantom-frame.toml"].contains(&name) {
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "toml") {
            bodies.insert(path);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let sidecar: toml::Table = text.parse().unwrap();
        let Some(body) = sidecar.get("body") else {
            continue;
        };
        let body = path.with_file_name(body.as_str().unwrap());
        let Ok(bytes) = fs::read(&body) else {
            let ls = std::process::Command::new("sh").arg("-c").arg(format!("stat -c '%y %z %n' {}*; date +%T.%N; find {} -name '.ph*' -prune -o -name '{}*'; find {}/.phantom", path.to_str().unwrap().split('~').next().unwrap(), dir.display(), name.split('.').next().unwrap(), dir.display())).output().unwrap();
            panic!(
                "a sidecar without its body: {}\n{text}{}",
                path.display(),
                String::from_utf8_lossy(&ls.stdout)
            );
        };
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            sidecar["seal"].as_str().unwrap(),
            "{}",
            body.display()
        );
        sealed.insert(body);
    }
    assert_eq!(bodies, sealed, "bodies, and those that a sidecar names");
    let passing = ["tmp", "pending", "displaced"].map(|name| private.join(name));
    let is_passing = |path: &&PathBuf| passing.iter().any(|folder| path.starts_with(folder));
    let left: Vec<_> = own.iter().filter(is_passing).collect();
    assert_eq!(
        left,
        Vec::<&PathBuf>::new(),
        "left by a server that nothing disturbed"
    );
}

/// Numbers without a pattern (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }
}
