//! The control server's routes: `POST /refresh-cache`, `POST /commands/NAME`, `GET /healthz`, `GET /readyz`.
//!
//! "Everything" is the default of an empty request, so every other request that does not say in so
//! many words what it wants is refused: a webhook that posts its own JSON must not empty the cache.
//!
//! Without a token, being able to connect is the permission. A browser lends that to any page its user
//! looks at; so requests that a page sent (`Origin`), and those for another host than this one (a name
//! that was pointed at loopback, DNS rebinding), are refused.

mod command;
mod guard;
mod wish;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};

pub use command::{Commands, Lines};
use guard::Guard;
use wish::{Mode, Wish};

use crate::error::{Error, ErrorKind};
use crate::invalidate::{RefreshError, RefreshMode, RefreshTrigger, Refreshed};

const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 10_000 });
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

const ENDPOINTS: [&str; 4] = [
    "POST /refresh-cache",
    "POST /commands/NAME",
    "GET /healthz",
    "GET /readyz",
];
const ELSEWHERE: &str = "send the request to the control server of the process that writes the directory";
const FROZEN: &str = "change the directory where its pages are rendered, and deploy that";
const ON_DISK: &str = "repeat the request when the disk works again";
const ACCEPTED: &str = "no body and no query for everything; else ?pattern=/blog/* (repeatable), or JSON \
    {\"pattern\": \"/blog/*\"} or {\"patterns\": [\"/a\", \"/b\"]}; of tags, tag and tags in place of them; and ?mode=delete, ?mode=stale or ?mode=render";

/// See [`ControlOptions::render`].
pub type Render = Arc<dyn Fn(&[&str]) -> Result<usize, Error> + Send + Sync>;

/// What a control router is told.
#[derive(Clone)]
#[non_exhaustive]
pub struct ControlOptions {
    /// What `Authorization: Bearer …` has to say. None: whoever can connect, browsers excepted. An
    /// empty one lets nobody in.
    pub token: Option<String>,
    /// What `/readyz` answers: 200 or 503. Default: always ready.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Hosts, without port, that a request may be for when there is no token, in addition to
    /// `localhost` and loopback addresses.
    pub allowed_hosts: Vec<String>,
    /// What `mode=render` calls with its patterns: begins to render what is stored and matches, and says how many
    /// pages these are. May block. Default: none, and that mode is refused.
    pub render: Option<Render>,
    /// What `/commands/NAME` does, for the commands of the program. Default: none, and there are none.
    #[doc(hidden)]
    pub commands: Option<Arc<dyn Commands>>,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            token: None,
            ready: Arc::new(|| true),
            allowed_hosts: Vec::new(),
            render: None,
            commands: None,
        }
    }
}

impl fmt::Debug for ControlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlOptions")
            .field("token", &self.token.as_ref().map(|_| "(set)"))
            .field("allowed_hosts", &self.allowed_hosts)
            .finish_non_exhaustive()
    }
}

/// The control routes, to be served or to be merged into an application. With `auth`, requests to
/// `/refresh-cache` need `Authorization: Bearer <auth>`; without, they have to be for `localhost` or a
/// loopback address, and not from a web page.
pub fn create_control_router(trigger: RefreshTrigger, auth: Option<String>) -> Router {
    let options = ControlOptions {
        token: auth,
        ..ControlOptions::default()
    };
    routes(trigger, options)
}

/// The control routes as a server of their own: whatever else is asked for is answered with the list
/// of endpoints.
pub fn create_control_router_with(trigger: RefreshTrigger, options: ControlOptions) -> Router {
    // Not in `create_control_router`: two routers with a fallback cannot be merged.
    routes(trigger, options).fallback(|| async { not_found() })
}

fn routes(trigger: RefreshTrigger, options: ControlOptions) -> Router {
    if options
        .token
        .as_deref()
        .is_some_and(|token| token.trim().is_empty())
    {
        tracing::error!("the control token is empty: nobody can use /refresh-cache");
    }
    let control = Arc::new(Control {
        trigger,
        guard: Guard::new(options.token.as_deref(), options.allowed_hosts),
        ready: options.ready,
        render: options.render,
        commands: options.commands,
    });
    Router::new()
        .route("/refresh-cache", any(refresh_cache))
        .route("/commands/{name}", any(command::carry_out))
        .route("/healthz", any(healthz))
        .route("/readyz", any(readyz))
        .with_state(control)
}

struct Control {
    trigger: RefreshTrigger,
    guard: Guard,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    render: Option<Render>,
    commands: Option<Arc<dyn Commands>>,
}

async fn healthz(State(control): State<Arc<Control>>, method: Method) -> Result<Response, Refusal> {
    only(&[Method::GET, Method::HEAD], &method)?;
    let healthy = match &control.commands {
        Some(commands) => json!({ "status": "ok", "id": commands.id() }),
        None => json!({ "status": "ok" }),
    };
    Ok(answer(StatusCode::OK, &healthy))
}

async fn readyz(State(control): State<Arc<Control>>, method: Method) -> Result<Response, Refusal> {
    only(&[Method::GET, Method::HEAD], &method)?;
    Ok(if (control.ready)() {
        answer(StatusCode::OK, &json!({ "status": "ready" }))
    } else {
        answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready" }))
    })
}

async fn refresh_cache(State(control): State<Arc<Control>>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    only(&[Method::POST], &parts.method)?;
    control.guard.admit(&parts)?;
    let mut wish = Wish::from_query(&parts.uri)?;
    wish.add_body(&read(body, MAX_BODY_BYTES).await?)?;
    let patterns = wish.patterns.unwrap_or_else(|| vec!["*".into()]);
    let mode = match wish.mode {
        Mode::Refresh(mode) => mode,
        Mode::Render => return render(&control, patterns).await,
    };
    let refreshed = tokio::time::timeout(
        REFRESH_TIMEOUT,
        refresh(control.trigger.clone(), patterns.clone(), mode),
    )
    .await
    .map_err(|_| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "in force now, but the disk did not answer in time: a restart may bring the snapshots back",
            "repeat the request when the disk answers again",
        )
    })??;
    let mode = match mode {
        RefreshMode::Delete => "delete",
        RefreshMode::Stale => "stale",
    };
    tracing::info!(
        ?patterns,
        mode,
        removed = refreshed.removed,
        "invalidated by request"
    );
    let answered = json!({ "removed": refreshed.removed, "patterns": patterns, "mode": mode });
    Ok(answer(StatusCode::OK, &answered))
}

/// Answers when it has begun.
async fn render(control: &Control, patterns: Vec<String>) -> Result<Response, Refusal> {
    let Some(render) = control.render.clone() else {
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "nothing renders pages here",
            "a program that serves these routes says with `ControlOptions::render` how that is done",
        ));
    };
    let asked = patterns.clone();
    let begun = tokio::task::spawn_blocking(move || {
        let texts: Vec<_> = asked.iter().map(String::as_str).collect();
        render(&texts)
    });
    let pages = match begun.await {
        Ok(Ok(pages)) => pages,
        Ok(Err(error)) => return Err(Refusal::of_render(&error)),
        Err(_) => {
            let error = "rendering panicked";
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                error,
                "see the log",
            ));
        }
    };
    tracing::info!(?patterns, pages, "rendering by request");
    let answered = json!({ "rendering": pages, "patterns": patterns, "mode": "render" });
    Ok(answer(StatusCode::ACCEPTED, &answered))
}

/// Waits for the disk on no thread that others need.
async fn refresh(
    trigger: RefreshTrigger,
    patterns: Vec<String>,
    mode: RefreshMode,
) -> Result<Refreshed, Refusal> {
    let begun = tokio::task::spawn_blocking(move || {
        let texts: Vec<_> = patterns.iter().map(String::as_str).collect();
        trigger.begin(&texts, mode)
    });
    let refreshed = match begun.await {
        Ok(Ok(tickets)) => RefreshTrigger::finish(tickets).await,
        Ok(Err(error)) => Err(error),
        Err(error) => Err(RefreshError::Disk(std::io::Error::other(error))),
    };
    refreshed.map_err(|error| Refusal::of_refresh(&error))
}

async fn read(body: Body, limit: usize) -> Result<axum::body::Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {} KiB", limit / 1024),
            "use a wildcard, or several requests",
        )),
        Ok(Err(_)) => Err(Refusal::unclear("the body broke off")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
            ACCEPTED,
        )),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}

/// An answer that is not what was wished for.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: String,
    hint: &'static str,
    allow: Option<HeaderValue>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>, hint: &'static str) -> Self {
        Self {
            status,
            error: error.into(),
            hint,
            allow: None,
        }
    }

    fn unclear(error: impl Into<String>) -> Self {
        let error = format!("nothing invalidated: {}", error.into());
        Self::new(StatusCode::BAD_REQUEST, error, ACCEPTED)
    }

    fn of_render(error: &Error) -> Self {
        let text = crate::error::chain(error);
        match error.kind() {
            ErrorKind::Config => Self::unclear(text),
            ErrorKind::NotReady => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                text,
                "repeat the request when `GET /readyz` answers 200",
            ),
            ErrorKind::Locked => Self::new(StatusCode::CONFLICT, text, ELSEWHERE),
            ErrorKind::Frozen => Self::new(StatusCode::CONFLICT, text, FROZEN),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, ON_DISK),
        }
    }

    fn of_refresh(error: &RefreshError) -> Self {
        let text = crate::error::chain(error);
        match error {
            RefreshError::Pattern { .. } => Self::unclear(text),
            RefreshError::ReadOnly => Self::new(StatusCode::CONFLICT, text, ELSEWHERE),
            RefreshError::Frozen => Self::new(StatusCode::CONFLICT, text, FROZEN),
            RefreshError::Disk(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, ON_DISK),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = answer(self.status, &json!({ "error": self.error, "hint": self.hint }));
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"phantom-frame\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn only(allowed: &[Method], method: &Method) -> Result<(), Refusal> {
    if allowed.contains(method) {
        return Ok(());
    }
    let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    Err(Refusal {
        allow: HeaderValue::from_str(&list).ok(),
        ..Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("the method has to be {list}"),
            "the endpoints are POST /refresh-cache, POST /commands/NAME, GET /healthz, GET /readyz",
        )
    })
}

fn not_found() -> Response {
    let listed = json!({
        "error": "there is no such endpoint on the control port",
        "hint": "the site itself is on the proxy port",
        "endpoints": ENDPOINTS,
    });
    answer(StatusCode::NOT_FOUND, &listed)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests;
