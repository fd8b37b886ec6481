//! The site of the demo: a small server-rendered application that knows nothing of a proxy.
//!
//! Its public pages are the same bytes whenever they are rendered, so that rendering them again
//! changes no file; what changes one is an edit ([`Site::edit_page`]), a guestbook entry, nothing else.

mod bell;
mod content;
mod forms;
mod pages;
mod streams;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::clock::Clock;

/// How long the site takes to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// As an application with a database behind it: 60 to 120 ms a page, the slow page 1.5 s.
    #[default]
    Natural,
    /// Not at all, for tests.
    Instant,
}

impl Pace {
    fn page(self, path: &str) -> Duration {
        let spread = path
            .bytes()
            .fold(0u64, |sum, byte| (sum * 31 + u64::from(byte)) % 61);
        self.scale(Duration::from_millis(60 + spread))
    }

    /// Between two pieces of the slow page, of which there are ten.
    fn piece(self) -> Duration {
        self.scale(Duration::from_millis(165))
    }

    fn scale(self, natural: Duration) -> Duration {
        match self {
            Self::Natural => natural,
            Self::Instant => Duration::ZERO,
        }
    }
}

/// The site. Clones share its state: edits, guestbook, sessions, counters.
#[derive(Clone)]
pub struct Site {
    state: Arc<SiteState>,
}

struct SiteState {
    pace: Pace,
    clock: Clock,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// Edits so far, by path.
    editions: BTreeMap<&'static str, u32>,
    /// Renderings so far, by path; what has no page counts under its own name.
    renders: BTreeMap<&'static str, u64>,
    guestbook: forms::Guestbook,
    sessions: forms::Sessions,
}

const NOT_FOUND: &str = "404";

impl Site {
    /// The site as it is before anybody edited or signed anything.
    pub fn new(pace: Pace) -> Self {
        Self {
            state: Arc::new(SiteState {
                pace,
                clock: Clock::default(),
                contents: Mutex::default(),
            }),
        }
    }

    /// The application.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(home))
            .route("/journal", get(journal))
            .route("/journal/{slug}", get(article))
            .route("/about", get(about))
            .route("/old", get(old))
            .route("/slow", get(streams::slow))
            .route("/guestbook", get(forms::guestbook).post(forms::sign))
            .route("/login", get(forms::login).post(forms::sign_in))
            .route("/account", get(forms::account))
            .route("/logout", get(forms::sign_out))
            .route("/echo", get(streams::echo_page))
            .route("/ws", get(streams::echo))
            .route("/live", get(streams::live_page))
            .route("/events", get(streams::events))
            .route("/api/weather", get(weather))
            .route("/api/time", get(time))
            .route("/assets/{name}", get(asset))
            .route("/assets/bell.wav", get(bell_sound))
            .fallback(not_found)
            .layer(DefaultBodyLimit::max(16 << 10))
            .with_state(Arc::clone(&self.state))
    }

    /// Edits the page at `path`, so that it reads differently from now on. `None` if there is no page
    /// there that can be edited, otherwise how often it was edited.
    pub fn edit_page(&self, path: &str) -> Option<u32> {
        let path = content::editable(path)?;
        let mut contents = self.state.contents();
        let edition = contents.editions.entry(path).or_default();
        *edition = edition.saturating_add(1);
        Some(*edition)
    }

    /// How many pages were rendered so far.
    pub fn renders(&self) -> u64 {
        self.state.contents().renders.values().sum()
    }

    /// How often the page at `path` was rendered so far.
    pub fn renders_of(&self, path: &str) -> u64 {
        self.state.contents().renders.get(path).copied().unwrap_or(0)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("pace", &self.state.pace)
            .finish_non_exhaustive()
    }
}

impl SiteState {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a rendering and tells the page's edition.
    fn begin(&self, path: &'static str) -> u32 {
        let mut contents = self.contents();
        *contents.renders.entry(path).or_default() += 1;
        contents.editions.get(path).copied().unwrap_or(0)
    }

    /// Takes the time that rendering takes.
    async fn render(&self, path: &'static str) -> u32 {
        let edition = self.begin(path);
        tokio::time::sleep(self.pace.page(path)).await;
        edition
    }
}

type Shared = State<Arc<SiteState>>;

async fn home(State(site): Shared) -> Html<String> {
    Html(pages::home(site.render("/").await))
}

async fn journal(State(site): Shared) -> Html<String> {
    Html(pages::journal(site.render("/journal").await))
}

async fn article(state: Shared, Path(slug): Path<String>) -> Response {
    match content::ARTICLES.iter().find(|article| article.slug() == slug) {
        Some(article) => Html(pages::article(article, state.render(article.path).await)).into_response(),
        None => not_found(state).await,
    }
}

async fn about(State(site): Shared) -> Html<String> {
    Html(pages::about(site.render("/about").await))
}

async fn old() -> Response {
    (StatusCode::MOVED_PERMANENTLY, [(LOCATION, "/journal")]).into_response()
}

async fn weather(State(site): Shared) -> Response {
    let edition = site.render(content::WEATHER).await;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=5")];
    (headers, content::weather(edition)).into_response()
}

/// JSON without a lifetime: nothing says that it may be kept.
async fn time(State(site): Shared) -> Response {
    site.begin("/api/time");
    let body = format!("{{\"unix\":{}}}\n", site.clock.unix_seconds());
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn asset(state: Shared, uri: Uri) -> Response {
    let (content_type, body) = match uri.path() {
        "/assets/site.css" => ("text/css; charset=utf-8", include_str!("assets/site.css")),
        "/assets/site.js" => ("text/javascript; charset=utf-8", include_str!("assets/site.js")),
        "/assets/ridge.svg" => ("image/svg+xml", include_str!("assets/ridge.svg")),
        "/assets/mark.svg" => ("image/svg+xml", include_str!("assets/mark.svg")),
        _ => return not_found(state).await,
    };
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, body).into_response()
}

async fn bell_sound() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "audio/wav"),
        (CACHE_CONTROL, "public, max-age=3600"),
        (ETAG, "\"eight-strokes\""),
    ];
    (headers, bell::wav())
}

async fn not_found(State(site): Shared) -> Response {
    site.render(NOT_FOUND).await;
    (StatusCode::NOT_FOUND, Html(pages::not_found())).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderMap, Request};
    use tower::ServiceExt;

    use super::*;

    pub(super) struct Answer {
        pub(super) status: StatusCode,
        pub(super) headers: HeaderMap,
        pub(super) body: String,
    }

    impl Answer {
        pub(super) fn header(&self, name: &str) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().unwrap())
        }
    }

    pub(super) async fn ask(site: &Site, request: Request<Body>) -> Answer {
        let (head, body) = site.router().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(super) async fn get(site: &Site, path: &str) -> Answer {
        ask(site, Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(site: &Site, path: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        ask(site, request).await
    }

    fn public_pages() -> Vec<&'static str> {
        let mut pages = vec!["/", "/journal", "/about", "/slow", "/guestbook", "/login"];
        pages.extend(["/echo", "/live", "/api/weather", "/assets/site.css", "/nowhere"]);
        pages.extend(content::ARTICLES.iter().map(|article| article.path));
        pages
    }

    #[tokio::test]
    async fn public_pages_are_the_same_bytes_when_rendered_again_and_by_another_process() {
        let (site, other) = (Site::new(Pace::Instant), Site::new(Pace::Instant));
        for path in public_pages() {
            let first = get(&site, path).await;
            for again in [get(&site, path).await, get(&other, path).await] {
                assert_eq!(first.body, again.body, "{path}");
                assert_eq!(first.headers, again.headers, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn pages_say_nothing_of_caching_and_assets_and_weather_name_a_lifetime() {
        let site = Site::new(Pace::Instant);
        for path in ["/", "/journal", "/about", "/slow", "/guestbook", "/api/time"] {
            assert_eq!(get(&site, path).await.header("cache-control"), "", "{path}");
        }
        assert_eq!(
            get(&site, "/api/weather").await.header("cache-control"),
            "max-age=5"
        );
        assert!(
            get(&site, "/assets/site.css")
                .await
                .header("cache-control")
                .contains("max-age=3600")
        );
    }

    #[tokio::test]
    async fn an_edit_changes_its_page_and_no_other() {
        let site = Site::new(Pace::Instant);
        let edited = content::ARTICLES[0].path;
        let mut before = Vec::new();
        for path in public_pages() {
            before.push((path, get(&site, path).await.body));
        }
        assert_eq!(site.edit_page(edited), Some(1));
        assert_eq!(site.edit_page("/nowhere"), None);
        for (path, body) in before {
            let changed = get(&site, path).await.body != body;
            assert_eq!(changed, path == edited, "{path}");
        }
    }

    #[tokio::test]
    async fn renders_are_counted_by_page() {
        let site = Site::new(Pace::Instant);
        for path in ["/", "/about", "/", "/nowhere"] {
            get(&site, path).await;
        }
        assert_eq!(site.renders_of("/"), 2);
        assert_eq!(site.renders_of("/about"), 1);
        assert_eq!(site.renders(), 4);
    }

    #[tokio::test]
    async fn an_unknown_path_is_a_page_of_status_404_and_an_old_one_redirects() {
        let site = Site::new(Pace::Instant);
        for path in ["/nowhere", "/journal/nowhere", "/assets/nowhere.css"] {
            let answer = get(&site, path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert!(answer.body.contains("<h1>"), "{path}");
        }
        let moved = get(&site, "/old").await;
        assert_eq!(moved.status, StatusCode::MOVED_PERMANENTLY);
        assert_eq!(moved.header("location"), "/journal");
    }
}
