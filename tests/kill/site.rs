//! A site whose every page says which version of itself it is, in the body from end to end and in the
//! head, so that a page that is cut, mixed, or under the head of another shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use tokio::sync::watch;

use crate::server::Answer;

/// Pages are at `/<section>/<number>`.
pub(crate) const SECTIONS: usize = 8;
pub(crate) const PAGES: usize = SECTIONS * 160;

/// Lengths of bodies. Pages of one address have one length, so that no length tells their versions.
const LENGTHS: [usize; 12] = [
    0, 300, 4_000, 1, 20_000, 9_000, 70_000, 2_000, 800, 300_000, 5_000, 30_000,
];

/// What was promised, and what is.
pub(crate) struct Site {
    /// What each page is rendered as from now on.
    versions: Vec<AtomicU64>,
    /// What each page may not be older than: an invalidation of what was before has been confirmed.
    floors: Vec<AtomicU64>,
    /// Nobody gets past the middle of a body until it is open.
    gate: watch::Sender<bool>,
    /// How many stand there, or stood.
    pub(crate) waiting: AtomicUsize,
    pub(crate) renderings: AtomicUsize,
}

/// One page, as visitors ask for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page(pub(crate) usize);

impl Page {
    pub(crate) fn path(self) -> String {
        format!("/s{}/{}", self.0 % SECTIONS, self.0)
    }

    fn of(path: &str) -> Option<Self> {
        let number = path.rsplit('/').next()?.parse().ok()?;
        let page = Self(number);
        (number < PAGES && page.path() == path).then_some(page)
    }

    /// A fifth of them are rendered in the visitor's language.
    pub(crate) fn is_translated(self) -> bool {
        self.0.is_multiple_of(5)
    }

    /// A seventh of them live for a second, and can be validated.
    pub(crate) fn is_short_lived(self) -> bool {
        self.0.is_multiple_of(7)
    }

    /// An eleventh of them change their type, and with it their file's name.
    fn content_type(self, version: u64) -> &'static str {
        match self.0.is_multiple_of(11) && version % 2 == 1 {
            true => "text/plain; charset=utf-8",
            false => "text/html; charset=utf-8",
        }
    }

    fn body(self, version: u64, language: &str) -> Vec<u8> {
        let word = format!("{} version {version:08} {language}\n", self.path());
        // Not by the section, so that each has pages of every length.
        let length = LENGTHS[(self.0 / SECTIONS) % LENGTHS.len()];
        word.into_bytes().into_iter().cycle().take(length).collect()
    }
}

impl Site {
    /// Serves on a port of its own until the runtime ends.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let site = Arc::new(Self {
            versions: (0..PAGES).map(|_| AtomicU64::new(1)).collect(),
            floors: (0..PAGES).map(|_| AtomicU64::new(1)).collect(),
            gate: watch::Sender::new(true),
            waiting: AtomicUsize::new(0),
            renderings: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(render).with_state(Arc::clone(&site));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (site, url)
    }

    pub(crate) fn close_gate(&self) {
        self.waiting.store(0, Ordering::SeqCst);
        self.gate.send_replace(false);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// The page changes; what it may not be older than once that is confirmed to be invalidated.
    pub(crate) fn change(&self, page: Page) -> u64 {
        self.versions[page.0].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// An invalidation of all before `version` was confirmed.
    pub(crate) fn confirm(&self, page: Page, version: u64) {
        self.floors[page.0].fetch_max(version, Ordering::SeqCst);
    }

    pub(crate) fn floor(&self, page: Page) -> u64 {
        self.floors[page.0].load(Ordering::SeqCst)
    }

    /// Panics unless the answer is this page: whole, of one version, that there is and that may be.
    pub(crate) fn check(&self, page: Page, language: Option<&str>, floor: u64, answer: &Answer) {
        let shown = || {
            let start: String = answer.text().chars().take(120).collect();
            let (length, status) = (answer.body.len(), answer.status);
            let path = page.path();
            format!(
                "{path} in {language:?}: {status} {:?}\n{length} bytes: {start}",
                answer.headers
            )
        };
        assert_eq!(answer.status, 200, "{}", shown());
        let version: u64 = answer.header("x-version").parse().unwrap();
        let now = self.versions[page.0].load(Ordering::SeqCst);
        assert!(version <= now, "a version that never was: {}", shown());
        assert!(
            version >= floor,
            "version {floor} was in force before the request: {}",
            shown()
        );
        let language = match page.is_translated() {
            true => language.unwrap_or("none"),
            false => "any",
        };
        assert!(
            answer.body == page.body(version, language),
            "not the bytes of version {version}: {}",
            shown()
        );
        assert_eq!(
            answer.header("content-type"),
            page.content_type(version),
            "{}",
            shown()
        );
        assert_eq!(answer.header("etag"), etag(version), "{}", shown());
    }
}

fn etag(version: u64) -> String {
    format!("\"v{version}\"")
}

async fn render(State(site): State<Arc<Site>>, request: Request) -> Response {
    let Some(page) = Page::of(request.uri().path()) else {
        let mut answer = Response::new(Body::from("no such page"));
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
        return answer;
    };
    site.renderings.fetch_add(1, Ordering::SeqCst);
    let version = site.versions[page.0].load(Ordering::SeqCst);
    let mut headers = HeaderMap::new();
    let mut say = |name: header::HeaderName, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    };
    say(header::CONTENT_TYPE, page.content_type(version));
    say(header::ETAG, &etag(version));
    say(header::HeaderName::from_static("x-version"), &version.to_string());
    if page.is_translated() {
        say(header::VARY, "Accept-Language");
    }
    if page.is_short_lived() {
        say(header::CACHE_CONTROL, "max-age=1");
    }
    let asked = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_known = asked(header::IF_NONE_MATCH) == Some(&etag(version));
    let language = match page.is_translated() {
        true => asked(header::ACCEPT_LANGUAGE).unwrap_or("none"),
        false => "any",
    };
    let mut answer = if is_known {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = http::StatusCode::NOT_MODIFIED;
        answer
    } else {
        let body = page.body(version, language);
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        Response::new(Body::from_stream(in_two(site, body)))
    };
    *answer.headers_mut() = headers;
    answer
}

/// The body in two halves, the gate between them.
fn in_two(site: Arc<Site>, body: Vec<u8>) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    let body = Bytes::from(body);
    let middle = body.len() / 2;
    let halves = [body.slice(..middle), body.slice(middle..)];
    stream::unfold((0, halves, site), |(part, halves, site)| async move {
        let chunk = halves.get(part)?.clone();
        if part == 1 {
            let mut gate = site.gate.subscribe();
            site.waiting.fetch_add(1, Ordering::SeqCst);
            // The gate lives as long as the site.
            let _ = gate.wait_for(|open| *open).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some((Ok(chunk), (part + 1, halves, site)))
    })
}
