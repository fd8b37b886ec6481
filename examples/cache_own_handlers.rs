//! Caches the handlers of this very process: the backend is an axum `Router`, with no TCP in between.
//!
//! ```text
//! cargo run --example cache_own_handlers
//! curl -i http://127.0.0.1:3000/report     # takes a second
//! curl -i http://127.0.0.1:3000/report     # does not
//! cat target/snapshots/cache_own_handlers/report.*.html
//! curl http://127.0.0.1:3000/now           # private to each visitor: never kept
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::serve::ListenerExt;
use phantom_frame::{CreateProxyConfig, Settings, create_proxy_for};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let handlers = Router::new()
        .route("/report", get(report))
        .route("/now", get(now));

    let config = CreateProxyConfig::from(Settings::default())
        .with_snapshot_dir("target/snapshots/cache_own_handlers")
        .with(|settings| settings.public_url = Some("http://127.0.0.1:3000".into()));
    // The trigger would invalidate; this report stays until its file is deleted.
    let (app, _trigger) = create_proxy_for(handlers, config);

    let listener = TcpListener::bind("127.0.0.1:3000").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

/// Nothing is said about caching: kept until it is invalidated.
async fn report() -> Html<String> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rows: String = (1..=12)
        .map(|month| format!("<tr><td>{month}</td><td>{}</td></tr>\n", month * month * 17))
        .collect();
    Html(format!(
        "<!doctype html>\n<h1>The year</h1>\n<table>\n{rows}</table>\n"
    ))
}

async fn now() -> impl IntoResponse {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ([(CACHE_CONTROL, "private")], format!("{}\n", since.as_secs()))
}
