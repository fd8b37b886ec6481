//! Pages that are rendered beside the server: what `[prerender]` names, and what the control server is told.

use std::time::Duration;

use phantom_frame::Proxy;
use phantom_frame::config::ServerSettings;
use phantom_frame::prerender::{Event, PrerenderOptions, Renderer, Summary, prerender};
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
pub(super) async fn ahead(settings: &ServerSettings, proxy: &Proxy, renderer: &Renderer, stop: &Shutdown) {
    let options = settings.prerender.clone().unwrap_or_default();
    let rendering = async {
        if let Some(options) = &settings.prerender {
            at_start(settings, proxy, options).await;
        }
        renderer
            .run(&options, |summary| log("rendered by request", summary))
            .await;
    };
    tokio::select! {
        () = rendering => {}
        () = stop.requested() => {}
    }
}

async fn at_start(settings: &ServerSettings, proxy: &Proxy, options: &PrerenderOptions) {
    until_reachable(&settings.proxy.proxy_url).await;
    let mut named = 0;
    let result = prerender(proxy, options, |event| {
        if let Event::Page(page, ..) = event
            && page.is_failure()
        {
            named += 1;
            if named <= NAMED {
                let reason = page.reason().map(|reason| reason.as_str());
                tracing::warn!(
                    url = page.url,
                    status = page.status,
                    reason,
                    problem = page.problem,
                    "a page could not be rendered"
                );
            }
        }
    });
    match result.await {
        Ok(summary) => log("rendered at the start", &summary),
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "nothing is rendered at the start");
        }
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
        not_stored,
        missing = summary.missing,
        failed = summary.failed(),
        "{what}"
    );
}

/// A backend often starts beside its proxy.
async fn until_reachable(url: &str) {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return;
    };
    let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let mut pause = Duration::from_millis(100);
    while !matches!(
        timeout(PATIENCE, TcpStream::connect((host, port))).await,
        Ok(Ok(_))
    ) {
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}
