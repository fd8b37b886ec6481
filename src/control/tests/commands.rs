//! `/commands/NAME`: who may, what is understood, and how the answer comes.

use serde_json::Map;

use super::*;

/// Knows one command, and remembers what it was told.
#[derive(Default)]
struct Known(Mutex<Vec<Map<String, Value>>>);

impl Commands for Known {
    fn id(&self) -> &str {
        "this one"
    }

    fn secret(&self) -> &str {
        "s3cret"
    }

    fn begin(&self, name: &str, arguments: &Map<String, Value>) -> Option<Result<Lines, Error>> {
        if name != "known" {
            return None;
        }
        if arguments.contains_key("wrong") {
            return Some(Err(Error::new(ErrorKind::Config, "that is wrong")));
        }
        self.0.lock().unwrap().push(arguments.clone());
        let (lines, answer) = tokio::sync::mpsc::unbounded_channel();
        lines.send(json!({ "seen": 1 })).unwrap();
        lines.send(json!({ "done": {} })).unwrap();
        Some(Ok(answer))
    }
}

fn rig_of(token: Option<&str>) -> (Rig, Arc<Known>) {
    let known = Arc::new(Known::default());
    let rig = rig(ControlOptions {
        token: token.map(str::to_owned),
        commands: Some(Arc::clone(&known) as _),
        ..ControlOptions::default()
    });
    (rig, known)
}

fn bare(name: &str) -> http::request::Builder {
    Request::builder().method("POST").uri(format!("/commands/{name}"))
}

fn command(name: &str) -> http::request::Builder {
    bare(name).header(AUTHORIZATION, "Bearer s3cret")
}

#[tokio::test]
async fn a_command_answers_line_by_line() {
    let (rig, known) = rig_of(None);
    let request = command("known")
        .header(HOST, "localhost")
        .body(Body::from("{\"a\": 1}"));
    let answer = rig.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/x-ndjson");
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
    let body = to_bytes(answer.into_body(), 4096).await.unwrap();
    assert_eq!(body, "{\"seen\":1}\n{\"done\":{}}\n");
    assert_eq!(known.0.lock().unwrap()[0]["a"], 1);
    let healthy = rig.send(Request::builder().uri("/healthz"), "").await;
    assert_eq!(healthy.json, json!({ "status": "ok", "id": "this one" }));
}

#[tokio::test]
async fn commands_are_for_who_knows_what_stands_in_the_directory() {
    // The control token is no key to them, nor is there being none.
    for token in [None, Some("token")] {
        let (rig, known) = rig_of(token);
        let local = || bare("known").header(HOST, "localhost");
        assert_eq!(rig.send(local(), "{}").await.status, 401);
        for value in ["Bearer wrong", "Bearer ", "s3cret", "Bearer token"] {
            let request = local().header(AUTHORIZATION, value);
            assert_eq!(rig.send(request, "{}").await.status, 401, "{value}");
        }
        let own = |builder: http::request::Builder| builder.header(HOST, "localhost");
        for (request, status) in [
            (own(command("known")).method("GET"), 405),
            (own(command("unknown")), 404),
        ] {
            assert_eq!(rig.send(request, "{}").await.status, status);
        }
        for body in ["", "[]", "null", "not json", "{\"wrong\": 1}"] {
            let answer = rig.send(own(command("known")), body.to_owned()).await;
            assert_eq!(answer.status, 400, "{body}");
        }
        assert!(known.0.lock().unwrap().is_empty());
        let request = command("known").body(Body::from("{}"));
        let answer = rig.router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn where_nothing_takes_commands_there_are_none() {
    let rig = rig(ControlOptions::default());
    let request = command("known").header(HOST, "localhost");
    assert_eq!(rig.send(request, "{}").await.status, 404);
}
