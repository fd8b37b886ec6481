//! Tests of the control server, by requests.

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
async fn the_token_is_wanted_and_never_told() {
    let rig = with_token("s3cret");
    // Nothing else counts then, neither Host nor Origin.
    let with = |value: &str| {
        post("")
            .header(AUTHORIZATION, value)
            .header(ORIGIN, "https://a.test")
    };
    for right in ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret "] {
        assert_eq!(rig.send(with(right), "").await.status, 200, "{right}");
    }
    rig.told();
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Basic s3cret",
        "s3cret",
        "",
    ] {
        let answer = rig.send(with(wrong), "").await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(
            answer.headers[WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        assert!(!answer.json.to_string().contains("s3cret"));
    }
    assert_eq!(rig.send(post("").header(HOST, "localhost"), "").await.status, 401);
    let twice = with("Bearer s3cret").header(AUTHORIZATION, "Bearer x");
    assert_eq!(rig.send(twice, "").await.status, 401);
    assert_eq!(rig.told(), []);
    let options = ControlOptions {
        token: Some("s3cret".into()),
        ..ControlOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    for token in ["", "  "] {
        let rig = with_token(token);
        for value in ["Bearer", "Bearer ", "Bearer   "] {
            let request = post("").header(HOST, "localhost").header(AUTHORIZATION, value);
            assert_eq!(rig.send(request, "").await.status, 401);
        }
        assert_eq!(rig.refresh("", "").await.status, 401);
        assert_eq!(rig.told(), []);
    }
}

#[tokio::test]
async fn without_a_token_pages_and_foreign_hosts_are_refused() {
    let rig = rig(ControlOptions {
        allowed_hosts: vec!["cache".into()],
        ..ControlOptions::default()
    });
    for host in [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1:17809",
        "127.1.2.3",
        "[::1]:80",
        "cache:1",
    ] {
        assert_eq!(
            rig.send(post("").header(HOST, host), "").await.status,
            200,
            "{host}"
        );
    }
    rig.told();
    for host in [
        "example.com",
        "localhost.example.com",
        "10.0.0.1",
        "127.0.0.1.nip.io",
        "a@localhost",
        "[::]",
        "",
    ] {
        assert_eq!(
            rig.send(post("").header(HOST, host), "").await.status,
            421,
            "{host}"
        );
    }
    assert_eq!(rig.send(post(""), "").await.status, 421);
    let twice = post("").header(HOST, "localhost").header(HOST, "localhost");
    assert_eq!(rig.send(twice, "").await.status, 421);
    for origin in ["https://example.com", "null", "http://localhost:17809"] {
        let request = post("").header(HOST, "localhost").header(ORIGIN, origin);
        assert_eq!(rig.send(request, "").await.status, 403, "{origin}");
    }
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
async fn a_token_is_compared_byte_for_byte() {
    for token in ["pässwört", "a b", "Bearer x", "a=b/c+"] {
        let rig = with_token(token);
        let bearer = |token: &[u8]| {
            let value = [b"Bearer ", token].concat();
            post("").header(AUTHORIZATION, HeaderValue::from_bytes(&value).unwrap())
        };
        assert_eq!(
            rig.send(bearer(token.as_bytes()), "").await.status,
            200,
            "{token}"
        );
        rig.told();
        let upper = token.to_uppercase();
        let latin: Vec<u8> = token
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        for wrong in [
            upper.as_bytes(),
            b"",
            &token.as_bytes()[1..],
            &[token.as_bytes(), b"\xff"].concat(),
        ] {
            assert_eq!(rig.send(bearer(wrong), "").await.status, 401, "{token}");
        }
        if latin != token.as_bytes() {
            assert_eq!(
                rig.send(bearer(&latin), "").await.status,
                401,
                "{token} in Latin-1"
            );
        }
        assert_eq!(rig.told(), []);
    }
}

#[tokio::test]
async fn the_host_counts_whatever_its_port_and_form() {
    let rig = rig(ControlOptions::default());
    let absolute = |authority: &str| {
        Request::builder()
            .method("POST")
            .uri(format!("http://{authority}/refresh-cache"))
    };
    for own in ["localhost:1", "127.0.0.1", "[::1]:17809"] {
        assert_eq!(rig.send(absolute(own), "").await.status, 200, "{own}");
        assert_eq!(
            rig.send(post("").header(HOST, own), "").await.status,
            200,
            "{own}"
        );
    }
    rig.told();
    for foreign in [
        "evil.example",
        "evil.example:17809",
        "[2001:db8::1]",
        "127.0.0.1.evil.example",
        "localhost.evil",
    ] {
        let named = absolute(foreign).header(HOST, "localhost");
        assert_eq!(rig.send(named, "").await.status, 421, "{foreign}");
        assert_eq!(
            rig.send(post("").header(HOST, foreign), "").await.status,
            421,
            "{foreign}"
        );
    }
    assert_eq!(rig.told(), []);
}
