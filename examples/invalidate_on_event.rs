//! A page goes when what it shows changes: an event inside the application invalidates it.
//!
//! ```text
//! cargo run --example invalidate_on_event
//! curl -i http://127.0.0.1:3000/notices/today       # twice: a miss, a hit
//! curl -d 'The north path is open.' http://127.0.0.1:3000/edit
//! curl -i http://127.0.0.1:3000/notices/today       # the new text
//! ```

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use phantom_frame::{CreateProxyConfig, Settings, create_proxy_for};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The notice, and everybody who wants to know of a new one.
type Notice = Arc<watch::Sender<String>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (notice, mut changes) = watch::channel("Nothing today.".to_owned());
    let site = Router::new()
        .route("/notices/today", get(show))
        .route("/edit", post(edit))
        .with_state(Arc::new(notice));

    let config = CreateProxyConfig::from(Settings::default())
        .with_snapshot_dir("target/snapshots/invalidate_on_event")
        .with(|settings| settings.public_url = Some("http://127.0.0.1:3000".into()));
    let (app, trigger) = create_proxy_for(site, config);

    tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            // In force when the call returns, also against a rendering that has begun.
            trigger.trigger_by_key_match("/notices/*");
        }
    });
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn show(State(notice): State<Notice>) -> Html<String> {
    let text = notice.borrow().replace('<', "&lt;");
    Html(format!("<!doctype html><p>{text}</p>\n"))
}

async fn edit(State(notice): State<Notice>, text: String) -> StatusCode {
    notice.send_replace(text);
    StatusCode::NO_CONTENT
}
