//! The demo's console: the same page from the backend and through the proxy, side by side, with the
//! requests and the snapshot directory as they change.
//!
//! It acts on the demo (purge, edit, stop), so it answers only a browser that shows the demo's own
//! pages: `Host` against rebound names, `Origin` against other sites' forms.

mod probe;
mod requests;
mod tree;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};

use crate::demo::backend::Backend;
use crate::demo::site::Site;
use crate::invalidate::{RefreshMode, RefreshTrigger};

use probe::Probe;
use requests::Requests;

/// Where the console is.
pub(super) const PATH: &str = "/_phantom/";

/// What the console shows and acts on.
pub(super) struct Parts {
    pub(super) site: Site,
    pub(super) backend: Arc<Backend>,
    pub(super) trigger: RefreshTrigger,
    pub(super) directory: PathBuf,
    /// The demo's own address.
    pub(super) address: SocketAddr,
}

struct Console {
    parts: Parts,
    probe: Probe,
    requests: Arc<Requests>,
}

type Shared = State<Arc<Console>>;
type Arguments = Query<HashMap<String, String>>;

/// The console under its path, the proxy everywhere else.
pub(super) fn in_front_of(proxy: Router, parts: Parts) -> Router {
    let requests = Arc::<Requests>::default();
    let console = Arc::new(Console {
        parts,
        probe: Probe::new(),
        requests: Arc::clone(&requests),
    });
    let proxy = proxy.layer(middleware::from_fn_with_state(requests, requests::record));
    Router::new()
        .route("/_phantom/", get(page))
        .route("/_phantom/console.css", get(stylesheet))
        .route("/_phantom/console.js", get(script))
        .route("/_phantom/mark.svg", get(mark))
        .route("/_phantom/state", get(state))
        .route("/_phantom/file", get(file))
        .route("/_phantom/fetch", get(fetch))
        .route("/_phantom/purge", post(purge))
        .route("/_phantom/edit", post(edit))
        .route("/_phantom/backend/start", post(start))
        .route("/_phantom/backend/stop", post(stop))
        .route("/_phantom", get(async || Redirect::permanent(PATH)))
        .route("/_phantom/{*rest}", any(async || StatusCode::NOT_FOUND))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&console), guard))
        .with_state(console)
        .fallback_service(proxy)
}

const FIELDS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
        ),
    ),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

async fn guard(State(console): Shared, request: Request, next: Next) -> Response {
    let mut response = if console.may_ask(&request) {
        next.run(request).await
    } else {
        let why = "The console answers its own page only.\n";
        (StatusCode::FORBIDDEN, why).into_response()
    };
    response.headers_mut().extend(FIELDS);
    response
}

impl Console {
    fn may_ask(&self, request: &Request) -> bool {
        let field = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let Some(host) = field(HOST).or_else(|| Some(request.uri().authority()?.as_str())) else {
            return false;
        };
        let port = self.parts.address.port();
        let own = host == self.parts.address.to_string() || host == format!("localhost:{port}");
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let same_origin = field(ORIGIN).and_then(|origin| origin.strip_prefix("http://")) == Some(host);
        own && (reads || same_origin)
    }
}

async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("console.html"))
}

async fn stylesheet() -> Response {
    asset("text/css; charset=utf-8", include_str!("console.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("console.js"))
}

async fn mark() -> Response {
    asset("image/svg+xml", include_str!("mark.svg"))
}

fn asset(content_type: &'static str, body: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

async fn state(State(console): Shared) -> Response {
    let Parts {
        site,
        backend,
        directory,
        ..
    } = &console.parts;
    let tree = tree::walk(directory.clone()).await;
    json_answer(&json!({
        "backend": {
            "running": backend.is_running(),
            "address": backend.address().to_string(),
            "renders": site.renders(),
        },
        "directory": directory.display().to_string(),
        "files": tree.files.iter().map(tree::File::as_json).collect::<Vec<_>>(),
        "more_files": tree.is_cut,
        "requests": console.requests.as_json(),
    }))
}

async fn file(State(console): Shared, Query(arguments): Arguments) -> Response {
    let Some(path) = arguments.get("path") else {
        return refusal(StatusCode::BAD_REQUEST, "`path` is missing");
    };
    match tree::read(console.parts.directory.clone(), path.clone()).await {
        Some(text) => json_answer(&json!({ "text": text })),
        None => refusal(StatusCode::NOT_FOUND, "there is no such file any more"),
    }
}

/// One request to the backend or to the proxy, by the same client, so that the times can be compared.
async fn fetch(State(console): Shared, Query(arguments): Arguments) -> Response {
    let address = match arguments.get("from").map(String::as_str) {
        Some("backend") => console.parts.backend.address(),
        Some("proxy") => console.parts.address,
        _ => return refusal(StatusCode::BAD_REQUEST, "`from` is `backend` or `proxy`"),
    };
    // The console itself is none of the pages: it would ask itself without end.
    let is_page = |path: &&String| path.starts_with('/') && !path.starts_with("/_phantom");
    match arguments.get("path").filter(is_page) {
        Some(path) => json_answer(&console.probe.fetch(address, path).await),
        None => refusal(StatusCode::BAD_REQUEST, "`path` is that of a page of the site"),
    }
}

async fn purge(State(console): Shared, Query(arguments): Arguments) -> Response {
    let pattern = match arguments.get("path") {
        Some(path) => format!("GET:{path}"),
        None => "*".into(),
    };
    let trigger = &console.parts.trigger;
    match trigger
        .refresh_matching(&[pattern.as_str()], RefreshMode::Delete)
        .await
    {
        Ok(refreshed) => json_answer(&json!({ "removed": refreshed.removed })),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &crate::error::chain(&error)),
    }
}

async fn edit(State(console): Shared, Query(arguments): Arguments) -> Response {
    let path = arguments.get("path").map_or("", String::as_str);
    match console.parts.site.edit_page(path) {
        Some(edition) => json_answer(&json!({ "edition": edition })),
        None => refusal(StatusCode::NOT_FOUND, "this page cannot be edited"),
    }
}

async fn start(State(console): Shared) -> Response {
    match console.parts.backend.resume() {
        Ok(()) => json_answer(&json!({ "running": true })),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn stop(State(console): Shared) -> Response {
    console.parts.backend.stop().await;
    json_answer(&json!({ "running": false }))
}

fn json_answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, json_answer(&json!({ "error": why }))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt;

    use super::super::site::Pace;
    use super::*;

    const OWN: &str = "127.0.0.1:4000";

    struct Rig {
        router: Router,
        dir: tempfile::TempDir,
    }

    /// The console beside a proxy that only answers what it is.
    fn rig() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Pace::Instant);
        let parts = Parts {
            backend: Arc::new(Backend::start(site.router()).unwrap()),
            site,
            trigger: RefreshTrigger::new(),
            directory: dir.path().to_owned(),
            address: OWN.parse().unwrap(),
        };
        let proxy = Router::new().fallback(async || "the proxy");
        Rig {
            router: in_front_of(proxy, parts),
            dir,
        }
    }

    impl Rig {
        async fn ask(
            &self,
            method: &str,
            path: &str,
            host: &str,
            origin: Option<&str>,
        ) -> (StatusCode, String) {
            let mut request = Request::builder().method(method).uri(path).header(HOST, host);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn json(&self, method: &str, path: &str) -> Value {
            let (_, body) = self.ask(method, path, OWN, Some("http://127.0.0.1:4000")).await;
            serde_json::from_str(&body).unwrap()
        }
    }

    #[tokio::test]
    async fn the_console_is_under_its_path_and_the_proxy_everywhere_else() {
        let rig = rig();
        for path in ["/_phantom/", "/_phantom/console.js", "/_phantom/console.css"] {
            assert_eq!(rig.ask("GET", path, OWN, None).await.0, StatusCode::OK, "{path}");
        }
        let (status, _) = rig.ask("GET", "/_phantom/nowhere", OWN, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        for path in ["/", "/_phantoms", "/journal"] {
            let (_, body) = rig.ask("GET", path, "anything.example", None).await;
            assert_eq!(body, "the proxy", "{path}");
        }
    }

    #[tokio::test]
    async fn an_action_is_taken_from_the_consoles_own_page_only() {
        let rig = rig();
        let table = [
            (OWN, Some("http://127.0.0.1:4000"), StatusCode::OK),
            ("localhost:4000", Some("http://localhost:4000"), StatusCode::OK),
            (OWN, Some("http://localhost:4000"), StatusCode::FORBIDDEN),
            (OWN, Some("http://127.0.0.1:4001"), StatusCode::FORBIDDEN),
            (OWN, Some("null"), StatusCode::FORBIDDEN),
            (OWN, None, StatusCode::FORBIDDEN),
            (
                "rebound.example:4000",
                Some("http://rebound.example:4000"),
                StatusCode::FORBIDDEN,
            ),
        ];
        for (host, origin, expected) in table {
            let (status, _) = rig.ask("POST", "/_phantom/edit?path=/", host, origin).await;
            assert_eq!(status, expected, "{host} {origin:?}");
        }
        let (status, _) = rig
            .ask("GET", "/_phantom/state", "rebound.example:4000", None)
            .await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn every_page_of_the_picker_is_a_page_of_the_site() {
        let site = Site::new(Pace::Instant);
        let html = include_str!("console.html");
        let paths: Vec<_> = html
            .split("<option value=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(paths.len() > 10, "{paths:?}");
        for path in paths {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let status = site.router().oneshot(request).await.unwrap().status();
            let known_to_miss = path == "/no-such-path";
            assert_eq!(status == StatusCode::NOT_FOUND, known_to_miss, "{path}");
        }
    }

    #[tokio::test]
    async fn the_backend_answers_until_it_is_stopped_and_again_when_it_is_started() {
        let rig = rig();
        let fetch = "/_phantom/fetch?from=backend&path=/about";
        assert_eq!(rig.json("GET", fetch).await["status"], 200);
        rig.json("POST", "/_phantom/backend/stop").await;
        assert_eq!(
            rig.json("GET", "/_phantom/state").await["backend"]["running"],
            false
        );
        assert!(rig.json("GET", fetch).await["error"].is_string());
        rig.json("POST", "/_phantom/backend/start").await;
        assert_eq!(rig.json("GET", fetch).await["status"], 200);
    }

    #[tokio::test]
    async fn only_files_of_the_tree_can_be_read() {
        let rig = rig();
        let snapshots = rig.dir.path().join("snapshots");
        std::fs::create_dir(&snapshots).unwrap();
        std::fs::write(snapshots.join("a.toml"), "status = 200\n").unwrap();
        let text = rig.json("GET", "/_phantom/file?path=snapshots/a.toml").await;
        assert_eq!(text["text"], "status = 200\n");
        for path in ["/etc/passwd", "snapshots/../../etc/passwd", "snapshots"] {
            let answer = rig.json("GET", &format!("/_phantom/file?path={path}")).await;
            assert!(answer["error"].is_string(), "{path}");
        }
    }
}
