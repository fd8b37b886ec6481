//! The latest requests to the proxy, with what became of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

const KEPT: usize = 40;
const TARGET_CHARS: usize = 200;

#[derive(Default)]
pub(super) struct Requests(Mutex<Record>);

#[derive(Default)]
struct Record {
    count: u64,
    latest: VecDeque<Value>,
}

impl Requests {
    /// Newest first.
    pub(super) fn as_json(&self) -> Value {
        self.record().latest.iter().cloned().collect()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn record(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let target: String = target.chars().take(TARGET_CHARS).collect();
    let started = Instant::now();
    let response = next.run(request).await;
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    let fate = Fate::of(response.headers());
    let mut record = requests.record();
    record.count += 1;
    let entry = json!({
        "id": record.count,
        "method": method,
        "target": target,
        "status": response.status().as_u16(),
        "outcome": fate.word,
        "detail": fate.detail,
        "ms": ms,
    });
    record.latest.push_front(entry);
    record.latest.truncate(KEPT);
    drop(record);
    response
}

/// What `Cache-Status` (RFC 9211) tells of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fate {
    /// The outcome's word; empty if the answer did not come through the proxy.
    pub(super) word: &'static str,
    /// The reason, where there is one.
    pub(super) detail: String,
    pub(super) is_stored: bool,
}

impl Fate {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // Ours is the last: caches nearer to the origin come first (RFC 9211 §2).
        let field = headers.get_all("cache-status").iter().next_back();
        Self::parse(field.and_then(|value| value.to_str().ok()).unwrap_or_default())
    }

    fn parse(field: &str) -> Self {
        let member = field.rsplit(',').next().unwrap_or_default();
        let parameters: Vec<_> = member
            .split(';')
            .skip(1)
            .map(|parameter| parameter.trim().split_once('=').unwrap_or((parameter.trim(), "")))
            .collect();
        let get = |name| {
            parameters
                .iter()
                .find_map(|(known, value)| (*known == name).then_some(*value))
        };
        let is_stored = get("stored").is_some();
        let is_hit = get("hit").is_some();
        let detail = get("detail").unwrap_or_default().trim_matches('"');
        let word = match (get("fwd"), detail) {
            (Some(_), _) if is_hit => "stale",
            (None, _) if is_hit => "hit",
            (_, "unreachable" | "timeout") => "failed",
            (_, "get-only" | "upgrade-off" | "loop" | "bad-request") => "refused",
            (_, "upgrade") => "tunnel",
            (None, _) => "",
            (Some(_), _) if get("collapsed").is_some() => "collapsed",
            (Some("stale"), _) if get("fwd-status") == Some("304") => "revalidated",
            (Some("uri-miss" | "vary-miss" | "stale"), _) => "miss",
            (Some(_), _) => {
                if is_stored {
                    "miss"
                } else {
                    "pass"
                }
            }
        };
        Self {
            word,
            detail: detail.into(),
            is_stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_status_becomes_the_outcomes_word_and_a_reason() {
        let table = [
            ("phantom-frame;hit;ttl=-5", "hit", ""),
            ("phantom-frame; hit", "hit", ""),
            ("origin;fwd=uri-miss;stored, phantom-frame;hit", "hit", ""),
            (
                "phantom-frame;hit;fwd=stale;ttl=-5;detail=unreachable",
                "stale",
                "unreachable",
            ),
            ("phantom-frame;fwd=uri-miss;stored", "miss", ""),
            ("phantom-frame;fwd=uri-miss;collapsed", "collapsed", ""),
            (
                "phantom-frame;fwd=uri-miss;detail=set-cookie",
                "miss",
                "set-cookie",
            ),
            (
                "phantom-frame;fwd=uri-miss;detail=unreachable",
                "failed",
                "unreachable",
            ),
            ("phantom-frame;fwd=stale;fwd-status=304;stored", "revalidated", ""),
            ("phantom-frame;fwd=bypass;detail=\"cookie\"", "pass", "cookie"),
            ("phantom-frame;fwd=method", "pass", ""),
            ("", "", ""),
        ];
        for (field, word, detail) in table {
            let fate = Fate::parse(field);
            assert_eq!((fate.word, fate.detail.as_str()), (word, detail), "{field}");
            assert_eq!(fate.is_stored, field.ends_with("stored"), "{field}");
        }
    }
}
