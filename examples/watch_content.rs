//! Pages that are rendered from files go when their file is saved.
//!
//! ```text
//! cargo run --example watch_content
//! curl -i http://127.0.0.1:3000/posts/hello         # twice: a miss, a hit
//! echo 'Hello again.' > target/watch_content/posts/hello.md
//! curl -i http://127.0.0.1:3000/posts/hello         # the new text
//! ```

use std::path::Path;

use axum::Router;
use axum::extract;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use phantom_frame::watch::{ContentWatcher, WatchRule};
use phantom_frame::{CreateProxyConfig, Settings, create_proxy_for};
use tokio::net::TcpListener;

const CONTENT: &str = "target/watch_content";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(Path::new(CONTENT).join("posts"))?;
    std::fs::write(Path::new(CONTENT).join("posts/hello.md"), "Hello.\n")?;

    let config = CreateProxyConfig::from(Settings::default())
        .with_snapshot_dir("target/snapshots/watch_content")
        .with(|settings| settings.public_url = Some("http://127.0.0.1:3000".into()));
    let site = Router::new().route("/posts/{slug}", get(post));
    let (app, trigger) = create_proxy_for(site, config);

    // What `{slug}` stands for in a file's name, it stands for in the pattern.
    let rules = [WatchRule::new(["posts/{slug}.md"], ["/posts/{slug}", "/posts"])];
    // Watches until it is dropped.
    let _watcher = ContentWatcher::start(&rules, Path::new(CONTENT), trigger)?;

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn post(extract::Path(slug): extract::Path<String>) -> Result<Html<String>, StatusCode> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !slug.chars().all(is_name) {
        return Err(StatusCode::NOT_FOUND);
    }
    let path = Path::new(CONTENT).join("posts").join(slug + ".md");
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(Html(format!(
        "<!doctype html><p>{}</p>\n",
        text.trim().replace('<', "&lt;")
    )))
}
