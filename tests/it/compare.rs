//! What is stored, compared with what the backend renders now, and with other directories.

mod accept;
mod against;
mod check;
mod diff;
mod noise;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{BodyDiff, Event, Options, PageDiff, Side, Standing, Summary};

use crate::rig::{Answer, Backend, Proxy, Response, Setup, TestClock, get};

const HOST: &str = "example.com";

async fn start(backend: &Backend) -> Proxy {
    with_address(Setup::over(backend)).start().await
}

fn with_address(setup: Setup) -> Setup {
    let setup = setup.clock(TestClock::ticking());
    setup.with(|settings| settings.public_url = Some(format!("https://{HOST}")))
}

async fn visit(proxy: &Proxy, target: &str) -> Response {
    proxy.send(get(target).host(HOST)).await
}

/// A proxy on whose directory these pages are, stopped.
async fn stored(backend: &Backend, pages: &[&str]) -> Proxy {
    let mut proxy = start(backend).await;
    for page in pages {
        visit(&proxy, page).await.assert_stored();
    }
    proxy.stop().await;
    proxy
}

fn opened(proxy: &Proxy) -> Arc<Artefact> {
    Arc::new(Artefact::open(&proxy.config()).expect("the directory"))
}

/// What `diff` tells.
#[derive(Debug)]
struct Compared {
    pages: Vec<PageDiff>,
    summary: Summary,
}

impl Compared {
    async fn with(proxy: &Proxy, options: &Options) -> Self {
        let mut pages = Vec::new();
        let observe = |event: Event<'_, PageDiff>| {
            if let Event::Done(page, done, known) = event {
                pages.push(page.clone());
                assert!(done == pages.len() && known >= done);
            }
        };
        let compared = phantom_frame::compare::diff(&proxy.config(), &opened(proxy), options, observe).await;
        let summary = compared.expect("a comparison");
        assert_eq!(summary.total(), pages.len() as u64);
        Self { pages, summary }
    }

    async fn of(proxy: &Proxy, pattern: Option<&str>) -> Self {
        Self::with(proxy, &Options::of(pattern)).await
    }

    #[track_caller]
    fn page(&self, page: &str) -> &PageDiff {
        let mut pages = self.pages.iter();
        match pages.find(|one| one.page == page) {
            Some(page) => page,
            None => panic!("{page} is not in {self:?}"),
        }
    }

    #[track_caller]
    fn assert(&self, page: &str, standing: Standing) -> &Self {
        assert_eq!(self.page(page).standing, standing, "{:?}", self.page(page));
        self
    }
}

/// What differs in the body, line by line, without what stands around it.
fn changes(page: &PageDiff) -> Vec<String> {
    let BodyDiff::Lines(hunks) = &page.body else {
        panic!("{page:?}");
    };
    let lines = page.head.iter().chain(hunks.iter().flat_map(|hunk| &hunk.lines));
    lines
        .filter(|line| line.side != Side::Both)
        .map(|line| format!("{}{}", line.side.sign(), line.text))
        .collect()
}

/// Every file below a folder, the store's own too, with content and time.
fn everything(folder: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let about = entry.metadata().expect("an entry");
            match about.is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let time = about.modified().expect("a time");
                    let bytes = fs::read(entry.path()).expect("a file");
                    found.insert(entry.path().display().to_string(), (bytes, time));
                }
            }
        }
    }
    found
}

fn page(text: &str) -> Answer {
    Answer::page(text.to_owned()).with("Cache-Control", "max-age=60")
}
