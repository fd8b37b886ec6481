//! Pages that are rendered beside the server: what `[prerender]` names, and what the control server is told.

use std::cell::Cell;
use std::time::Duration;

use phantom_frame::config::ServerSettings;
use phantom_frame::prerender::{Event, PrerenderOptions, Renderer, Summary};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::shutdown::Shutdown;

/// Between one look whether the backend is there and the next, at most.
const LONGEST: Duration = Duration::from_secs(10);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many pages that failed are named.
const NAMED: usize = 20;

/// Until an end is asked for.
pub(super) async fn ahead(settings: &ServerSettings, renderer: &Renderer, stop: &Shutdown) {
    let at_start = async {
        if settings
            .prerender
            .as_ref()
            .is_some_and(PrerenderOptions::names_pages)
        {
            at_start(settings, renderer).await;
        }
    };
    let failures = Failures::default();
    let by_request = renderer.run(
        |event| failures.note(&event),
        |summary| {
            failures.forget();
            log("rendered by request", summary);
        },
    );
    tokio::select! {
        _ = async { tokio::join!(at_start, by_request) } => {}
        () = stop.requested() => {}
    }
}

async fn at_start(settings: &ServerSettings, renderer: &Renderer) {
    until_reachable(&settings.proxy.proxy_url).await;
    let failures = Failures::default();
    let result = renderer.ahead(|event| match event {
        Event::Reading => {
            tracing::info!(
                "what is rendered at the start waits until the snapshot directory has been read through"
            );
        }
        event => failures.note(&event),
    });
    match result.await {
        Ok(summary) => log("rendered at the start", &summary),
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "nothing is rendered at the start");
        }
    }
}

/// How many pages of a run have failed.
#[derive(Default)]
struct Failures(Cell<usize>);

impl Failures {
    /// Names those that fail, as long as there are few.
    fn note(&self, event: &Event<'_>) {
        let Event::Page(page, ..) = event else {
            return;
        };
        if !page.is_failure() || self.0.replace(self.0.get() + 1) >= NAMED {
            return;
        }
        let reason = page.reason().map(|reason| reason.as_str());
        tracing::warn!(
            url = page.url,
            status = page.status,
            reason,
            problem = page.problem,
            "a page could not be rendered"
        );
    }

    fn forget(&self) {
        self.0.set(0);
    }
}

fn log(what: &str, summary: &Summary) {
    let not_stored: u64 = summary.not_stored.values().sum();
    tracing::info!(
        pages = summary.pages(),
        new = summary.new,
        changed = summary.changed,
        same = summary.same,
        kept = summary.kept,
        tombstones = summary.tombstones,
        not_stored,
        missing = summary.missing,
        failed = summary.failed(),
        "{what}"
    );
}

/// Connects, or says why that does not succeed. An address that is none is somebody else's to refuse.
pub(super) async fn reach(url: &str, patience: Duration) -> Result<(), String> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Ok(());
    };
    let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    match timeout(patience, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    }
}

/// A backend often starts beside its proxy.
async fn until_reachable(url: &str) {
    let mut pause = Duration::from_millis(100);
    let mut is_told = false;
    while reach(url, PATIENCE).await.is_err() {
        if !is_told {
            tracing::info!("what is rendered at the start waits until the backend can be reached");
            is_told = true;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}
