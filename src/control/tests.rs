//! Tests of the control server, by requests.

mod access;
mod commands;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::*;
use crate::invalidate::{Invalidation, Target, Ticket};

/// Records what it is told and answers as it is told to.
#[derive(Default)]
struct Fake {
    told: Mutex<Vec<(Vec<String>, RefreshMode)>>,
    refuse: AtomicBool,
    disk_fails: AtomicBool,
}

impl Target for Fake {
    fn invalidate(&self, invalidation: &Invalidation) -> Result<Ticket, RefreshError> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(RefreshError::ReadOnly);
        }
        let patterns = invalidation
            .patterns
            .iter()
            .map(|pattern| pattern.as_str().into());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((patterns.collect(), invalidation.mode));
        let (sender, done) = oneshot::channel();
        let failed = self.disk_fails.load(Ordering::Relaxed);
        let _ = sender.send(if failed {
            Err(io::Error::other("I/O error"))
        } else {
            Ok(())
        });
        Ok(Ticket { removed: 3, done })
    }
}

struct Rig {
    fake: Arc<Fake>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

fn rig(options: ControlOptions) -> Rig {
    let fake = Arc::new(Fake::default());
    let trigger = RefreshTrigger::new();
    let target: Arc<dyn Target> = Arc::clone(&fake) as _;
    trigger.attach(&target);
    Rig {
        fake,
        router: create_control_router_with(trigger, options),
    }
}

fn with_token(token: &str) -> Rig {
    rig(ControlOptions {
        token: Some(token.into()),
        ..ControlOptions::default()
    })
}

impl Rig {
    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert!(
            parts.status.is_success() || parts.status == 503 || json["error"].is_string(),
            "{json}"
        );
        Answer {
            status: parts.status,
            headers: parts.headers,
            json,
        }
    }

    async fn refresh(&self, query: &str, body: &str) -> Answer {
        self.send(post(query).header(HOST, "localhost:17809"), body.to_owned())
            .await
    }

    fn told(&self) -> Vec<(Vec<String>, RefreshMode)> {
        std::mem::take(&mut self.fake.told.lock().unwrap())
    }
}

fn post(query: &str) -> http::request::Builder {
    Request::builder()
        .method("POST")
        .uri(format!("/refresh-cache{query}"))
}

#[tokio::test]
async fn what_is_asked_for_is_invalidated_and_told() {
    let rig = rig(ControlOptions::default());
    for (query, body, patterns, mode) in [
        ("", "", &["*"][..], RefreshMode::Delete),
        ("?", "", &["*"], RefreshMode::Delete),
        ("?mode=stale", "", &["*"], RefreshMode::Stale),
        ("?pattern=*", "", &["*"], RefreshMode::Delete),
        (
            "?pattern=/a%2Fb&pattern=GET:/c",
            "",
            &["/a/b", "GET:/c"],
            RefreshMode::Delete,
        ),
        ("", r#"{"pattern": "/a"}"#, &["/a"], RefreshMode::Delete),
        (
            "?mode=delete",
            r#"{"patterns": ["/a", "/b*"]}"#,
            &["/a", "/b*"],
            RefreshMode::Delete,
        ),
        (
            "?tag=news&pattern=/a&tag=post%207",
            "",
            &["tag:news", "/a", "tag:post 7"],
            RefreshMode::Delete,
        ),
        ("", r#"{"tag": "news"}"#, &["tag:news"], RefreshMode::Delete),
        (
            "?mode=stale",
            r#"{"tags": ["a", "b"]}"#,
            &["tag:a", "tag:b"],
            RefreshMode::Stale,
        ),
    ] {
        let answer = rig.refresh(query, body).await;
        assert_eq!(answer.status, 200, "{query} {body}: {}", answer.json);
        assert_eq!(answer.json["patterns"], json!(patterns));
        assert_eq!(answer.json["removed"], 3);
        let named = if mode == RefreshMode::Stale {
            "stale"
        } else {
            "delete"
        };
        assert_eq!(answer.json["mode"], named);
        let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(rig.told(), [(patterns, mode)]);
    }
}

#[tokio::test]
async fn nothing_removed_is_said_too() {
    let router = create_control_router(RefreshTrigger::new(), None);
    let request = post("").header(HOST, "127.0.0.1").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), 4096).await.unwrap();
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["removed"], 0);
}

#[tokio::test]
async fn what_is_unclear_invalidates_nothing_and_names_what_is_accepted() {
    let rig = rig(ControlOptions::default());
    assert_eq!(rig.refresh("", "").await.status, 200);
    rig.told();
    let many = json!({ "patterns": vec!["/a"; 1001] }).to_string();
    let deep = format!("{{\"pattern\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
    for (query, body) in [
        ("", "{}"),
        ("", "null"),
        ("", "[]"),
        ("", "\"*\""),
        ("", " "),
        ("", "not json"),
        ("", "pattern=/a"),
        ("", r#"{"pattern": ""}"#),
        ("", r#"{"pattern": null}"#),
        ("", r#"{"pattern": ["/a"]}"#),
        ("", r#"{"patterns": []}"#),
        ("", r#"{"tags": []}"#),
        ("", r#"{"tag": "a*"}"#),
        ("", r#"{"tags": "a"}"#),
        ("?tag=", ""),
        ("?tag=a", r#"{"tag": "a"}"#),
        ("", r#"{"patterns": "/a"}"#),
        ("", r#"{"patterns": ["/a", 1]}"#),
        ("", r#"{"patterns": ["/a", ""]}"#),
        ("", r#"{"event": "push"}"#),
        ("", r#"{"pattern": "/a", "event": "push"}"#),
        ("", &many),
        ("", &deep),
        ("?pattern=", ""),
        ("?pattern=/a&pattern=", ""),
        ("?pattern=%FF", ""),
        ("?patterns=/a", ""),
        ("?x", ""),
        ("?mode=all", ""),
        ("?mode=stale&mode=stale", ""),
        ("?pattern=/a", r#"{"pattern": "/a"}"#),
        ("?pattern=%0A", ""),
    ] {
        let answer = rig.refresh(query, body).await;
        assert_eq!(answer.status, 400, "{query} {body}");
        assert!(
            answer.json["hint"].as_str().unwrap().contains("patterns"),
            "{}",
            answer.json
        );
        assert_eq!(rig.told(), [], "{query} {body}");
    }
    let answer = rig.refresh("", &" ".repeat(MAX_BODY_BYTES + 1)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(rig.told(), []);
}

#[tokio::test]
async fn failures_of_an_invalidation_have_their_status() {
    let rig = rig(ControlOptions::default());
    rig.fake.disk_fails.store(true, Ordering::Relaxed);
    let answer = rig.refresh("", "").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.json["error"].as_str().unwrap().contains("in force now"),
        "{}",
        answer.json
    );
    rig.fake.refuse.store(true, Ordering::Relaxed);
    assert_eq!(rig.refresh("", "").await.status, 409);
}

#[tokio::test]
async fn health_needs_no_token_and_readiness_is_told() {
    let ready = Arc::new(AtomicBool::new(false));
    let rig = rig(ControlOptions {
        token: Some("t".into()),
        ready: Arc::new({
            let ready = Arc::clone(&ready);
            move || ready.load(Ordering::Relaxed)
        }),
        ..ControlOptions::default()
    });
    let get = |path: &str| Request::builder().uri(path.to_owned());
    assert_eq!(rig.send(get("/healthz"), "").await.status, 200);
    assert_eq!(rig.send(get("/readyz"), "").await.status, 503);
    ready.store(true, Ordering::Relaxed);
    assert_eq!(rig.send(get("/readyz"), "").await.status, 200);
}

#[tokio::test]
async fn other_methods_and_paths_say_what_there_is() {
    let rig = rig(ControlOptions::default());
    let get = rig.send(Request::builder().uri("/refresh-cache"), "").await;
    assert_eq!(
        (get.status.as_u16(), &get.headers[ALLOW]),
        (405, &HeaderValue::from_static("POST"))
    );
    let post = rig
        .send(Request::builder().method("POST").uri("/healthz"), "")
        .await;
    assert_eq!(
        (post.status.as_u16(), &post.headers[ALLOW]),
        (405, &HeaderValue::from_static("GET, HEAD"))
    );
    let other = rig.send(Request::builder().uri("/"), "").await;
    assert_eq!(other.status, 404);
    assert_eq!(other.json["endpoints"], json!(ENDPOINTS));
    assert_eq!(rig.told(), []);
}

#[tokio::test]
async fn the_documented_router_can_be_merged_into_an_application() {
    let app = Router::new().fallback(|| async { "app" });
    let app = app.merge(create_control_router(RefreshTrigger::new(), None));
    let request = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let rig = rig(ControlOptions::default());
    assert_eq!(rig.refresh("", r#"{"pattern": "/a"}"#).await.status, 200);
    rig.told();
    let never = futures_util::stream::pending::<io::Result<axum::body::Bytes>>();
    let request = post("").header(HOST, "localhost");
    let answer = rig.send(request, Body::from_stream(never)).await;
    assert_eq!(answer.status, 408);
    let broken = futures_util::stream::iter([Ok("{\"pattern\""), Err(io::Error::other("cut"))]);
    let request = post("").header(HOST, "localhost");
    assert_eq!(rig.send(request, Body::from_stream(broken)).await.status, 400);
    assert_eq!(rig.told(), []);
}

#[tokio::test]
async fn ten_thousand_calls_at_once_are_answered() {
    let rig = rig(ControlOptions::default());
    let calls = (0..10_000).map(|n| {
        let pattern = format!("?pattern=/{n}");
        let rig = &rig;
        async move { rig.refresh(&pattern, "").await.status }
    });
    let statuses = futures_util::future::join_all(calls).await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(rig.told().len(), 10_000);
}

#[tokio::test]
async fn rendering_is_begun_and_answered_with_a_count_where_somebody_renders() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let render: Render = Arc::new(move |patterns| {
        log.lock().unwrap().push(patterns.join(" "));
        match patterns {
            ["/locked"] => Err(Error::new(ErrorKind::Locked, "read-only")),
            ["/early"] => Err(Error::new(ErrorKind::NotReady, "not read through")),
            ["/broken"] => Err(Error::new(ErrorKind::Directory, "no space left on device")),
            ["panic"] => panic!("a renderer of somebody else's"),
            _ => Ok(7),
        }
    });
    let rig = rig(ControlOptions {
        render: Some(render),
        ..ControlOptions::default()
    });
    let begun = rig.refresh("?mode=render&pattern=/a&pattern=/b", "").await;
    assert_eq!(begun.status, 202);
    let expected = json!({ "rendering": 7, "patterns": ["/a", "/b"], "mode": "render" });
    assert_eq!(begun.json, expected);
    assert_eq!(
        rig.refresh("?mode=render", "").await.json["patterns"],
        json!(["*"])
    );
    assert_eq!(rig.refresh("?mode=render&pattern=/locked", "").await.status, 409);
    assert_eq!(rig.refresh("?mode=render&pattern=/early", "").await.status, 503);
    let broken = rig.refresh("?mode=render&pattern=/broken", "").await;
    assert_eq!(
        (broken.status.as_u16(), &broken.json["hint"]),
        (500, &json!("repeat the request when the disk works again"))
    );
    assert_eq!(rig.refresh("?mode=render&pattern=panic", "").await.status, 500);
    let expected = ["/a /b", "*", "/locked", "/early", "/broken", "panic"];
    assert_eq!(*asked.lock().unwrap(), expected);
    assert!(rig.told().is_empty(), "nothing is invalidated");

    let nobody = with_token("token");
    let request = post("?mode=render").header(AUTHORIZATION, "Bearer token");
    assert_eq!(nobody.send(request, "").await.status, 501);
    assert!(nobody.told().is_empty());
}
