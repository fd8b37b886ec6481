//! A client that times one request, whichever side it goes to.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};
use axum::http::{Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::requests::Fate;

const DEADLINE: Duration = Duration::from_secs(20);
const BODY_BYTES: usize = 1 << 20;

pub(super) struct Probe(Client<HttpConnector, Empty<Bytes>>);

impl Probe {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A connection for each request, or the first of a side would look slower than its second.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self(client)
    }

    /// The answer with its times in milliseconds, or `error`.
    pub(super) async fn fetch(&self, address: SocketAddr, path: &str) -> Value {
        match tokio::time::timeout(DEADLINE, self.attempt(address, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => json!({ "error": why }),
            Err(_) => json!({ "error": "no end within 20 s" }),
        }
    }

    async fn attempt(&self, address: SocketAddr, path: &str) -> Result<Value, String> {
        let uri: Uri = format!("http://{address}{path}")
            .parse()
            .map_err(|_| "not a path".to_owned())?;
        let request = Request::get(uri)
            .header(
                ACCEPT,
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            )
            .header(USER_AGENT, "Mozilla/5.0 (compatible; phantom-frame demo)")
            .body(Empty::new())
            .map_err(|error| root_cause(&error))?;
        let started = Instant::now();
        let (head, body) = self
            .0
            .request(request)
            .await
            .map_err(|error| root_cause(&error))?
            .into_parts();
        let first_ms = milliseconds(started);
        let body = Limited::new(body, BODY_BYTES)
            .collect()
            .await
            .map_err(|error| root_cause(&*error))?
            .to_bytes();
        let fate = Fate::of(&head.headers);
        Ok(json!({
            "outcome": fate.word,
            "detail": fate.detail,
            "is_stored": fate.is_stored,
            "first_ms": first_ms,
            "total_ms": milliseconds(started),
            "status": head.status.as_u16(),
            "reason": head.status.canonical_reason(),
            "content_type": head.headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes())),
            "headers": headers(&head.headers),
            "body": String::from_utf8_lossy(&body),
        }))
    }
}

/// The innermost cause: the layers around it say "client error" and the like.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let text = innermost.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn headers(headers: &HeaderMap) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect()
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
