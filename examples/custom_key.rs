//! A cache key of one's own: one page for each language that the site speaks, whatever else a browser
//! puts into `Accept-Language` and into the query.
//!
//! ```text
//! cargo run --example custom_key
//! curl -i -H 'Accept-Language: de-AT,de;q=0.9' http://127.0.0.1:3000/?utm_source=mail
//! curl -i -H 'Accept-Language: de' http://127.0.0.1:3000/                 # a hit: the same key
//! curl -i -H 'Accept-Language: fr' http://127.0.0.1:3000/                 # English
//! ls target/snapshots/custom_key
//! ```

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::response::Html;
use axum::routing::get;
use phantom_frame::{CreateProxyConfig, RequestInfo, Settings, create_proxy_for};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = CreateProxyConfig::from(Settings::default())
        .with_snapshot_dir("target/snapshots/custom_key")
        .with(|settings| settings.public_url = Some("http://127.0.0.1:3000".into()))
        .with_cache_key_fn(key);
    let (app, _trigger) = create_proxy_for(Router::new().route("/", get(welcome)), config);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

/// Whatever changes the page belongs into the key; nothing that belongs to one visitor may be in it.
fn key(request: &RequestInfo<'_>) -> String {
    format!(
        "{}:/{}{}",
        request.method,
        language(request.headers),
        request.path
    )
}

fn language(headers: &HeaderMap) -> &'static str {
    let wanted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if wanted.is_some_and(|languages| languages.starts_with("de")) {
        "de"
    } else {
        "en"
    }
}

async fn welcome(headers: HeaderMap) -> Html<String> {
    let greeting = match language(&headers) {
        "de" => "Willkommen",
        _ => "Welcome",
    };
    // No `Vary` here: it would make a page for each spelling of `Accept-Language`, not for each language.
    Html(format!("<!doctype html><h1>{greeting}</h1>\n"))
}
