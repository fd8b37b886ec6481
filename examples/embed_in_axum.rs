//! The proxy as one part of a larger axum application: `/admin` is the application's own, everything
//! else comes from a backend elsewhere and is kept in `target/snapshots/embed_in_axum`.
//!
//! ```text
//! cargo run --example embed_in_axum
//! curl -i http://127.0.0.1:3000/hello               # Cache-Status: fwd=uri-miss, stored
//! curl -i http://127.0.0.1:3000/hello               # hit
//! curl -X POST http://127.0.0.1:3000/admin/refresh
//! ```

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Html;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use phantom_frame::{CreateProxyConfig, RefreshTrigger, create_proxy};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Stands for the server that renders your pages.
    let backend = TcpListener::bind("127.0.0.1:0").await?;
    let backend_url = format!("http://{}", backend.local_addr()?);
    tokio::spawn(async { axum::serve(backend, Router::new().fallback(render)).await });

    let config = CreateProxyConfig::new(backend_url)
        .with_snapshot_dir("target/snapshots/embed_in_axum")
        .with(|settings| settings.public_url = Some("http://127.0.0.1:3000".into()));
    let (proxy, trigger) = create_proxy(config);

    let admin = Router::new()
        .route("/health", get(async || "fine\n"))
        .route("/refresh", post(refresh))
        .with_state(trigger);
    let app = Router::new().nest("/admin", admin).fallback_service(proxy);

    // Without this, streamed answers wait for the client's delayed acknowledgements.
    let listener = TcpListener::bind("127.0.0.1:3000").await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

async fn render(uri: Uri) -> Html<String> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Html(format!(
        "<!doctype html><h1>This is {}</h1>\n",
        uri.path().replace('<', "")
    ))
}

async fn refresh(State(trigger): State<RefreshTrigger>) -> Result<String, StatusCode> {
    match trigger.refresh().await {
        Ok(refreshed) => Ok(format!("{} snapshots removed\n", refreshed.removed)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
