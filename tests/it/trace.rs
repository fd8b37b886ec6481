//! The debug field: every decision about one request.

use std::time::Duration;

use phantom_frame::{PathRule, Reason, Ttl};

use crate::rig::backend::Step;
use crate::rig::client::Request;
use crate::rig::log::Log;
use crate::rig::{Answer, Backend, Gate, Proxy, Response, Setup, get, head, post};

const TOKEN: &str = "debug-token-of-the-test";

fn traced(request: Request) -> Request {
    request.with("Phantom-Frame-Debug", TOKEN)
}

fn listening(backend: &Backend) -> Setup {
    Setup::over(backend).with(|settings| settings.debug_token = Some(TOKEN.to_owned().into()))
}

/// The steps without their numbers, which count from 1.
#[track_caller]
fn steps(response: &Response) -> Vec<String> {
    let lines = response.fields.all("phantom-frame-trace");
    let numbered = lines.iter().enumerate().map(|(at, line)| {
        let (number, step) = line.split_once(' ').expect("a number");
        assert_eq!(number, (at + 1).to_string(), "{response:?}");
        step.to_owned()
    });
    numbered.collect()
}

#[track_caller]
fn assert_untraced(response: &Response) {
    for name in ["phantom-frame-trace", "phantom-frame-key", "phantom-frame-debug"] {
        assert!(!response.fields.has(name), "{response:?}");
    }
}

#[track_caller]
/// A star at the end stands for any.
fn fits(step: &str, expected: &str) -> bool {
    match expected.strip_suffix('*') {
        Some(start) => step.starts_with(start),
        None => step == expected,
    }
}

fn assert_steps(response: &Response, expected: &[&str]) {
    let steps = steps(response);
    assert_eq!(steps.len(), expected.len(), "{steps:#?}");
    for (step, expected) in steps.iter().zip(expected) {
        assert!(fits(step, expected), "expected {expected:?} in {steps:#?}");
    }
}

#[tokio::test]
async fn a_miss_and_a_hit_are_told_step_by_step() {
    let backend = Backend::with("/a", Answer::page("page").with("Cache-Control", "max-age=60")).await;
    let rule = PathRule::new(["/a"]).with(|settings| settings.key_headers = vec!["X-Theme".into()]);
    let proxy = listening(&backend)
        .configured(move |config| config.with_rule(rule.clone()))
        .start()
        .await;
    let asked = || traced(get("/a?q=1").with("X-Theme", "dark"));

    let miss = proxy.send(asked()).await;
    miss.assert(200, "page").assert_stored();
    assert_steps(
        &miss,
        &[
            "target: GET http://site.test/a?q=1",
            "rule: rule 1",
            "route: look up",
            "key: of method, path and query, scheme and host, field x-theme",
            "lookup: nothing is stored",
            "fill: sends host, accept, accept-encoding, user-agent, x-forwarded-proto, x-forwarded-host, \
             x-forwarded-port, via, x-theme",
            "answer: 200 is stored",
            "outcome: miss",
        ],
    );
    let key = "GET:/a?q=1\\nhost 9:site.test\\nscheme 4:http\\nheader.x-theme 4:dark";
    assert_eq!(miss.fields.all("phantom-frame-key"), [key]);

    proxy.clock().advance(3);
    let hit = proxy.send(asked()).await;
    hit.assert(200, "page").assert_hit();
    let file = proxy.body_file("site.test/a~q/");
    let file = file
        .strip_prefix(proxy.dir())
        .expect("below the directory")
        .display()
        .to_string();
    assert_steps(
        &hit,
        &[
            "target: GET http://site.test/a?q=1",
            "rule: rule 1",
            "route: look up",
            "key: of method, path and query, scheme and host, field x-theme",
            &format!("lookup: found {file}, generated at *"),
            "standing: fresh, age 3 s, lifetime 60 s by the backend, until *",
            "coding: identity, the page is not kept in others",
            "outcome: hit",
        ],
    );
    assert_eq!(hit.fields.all("phantom-frame-key"), [key]);
    assert_eq!(backend.count("/a"), 1);
}

#[tokio::test]
async fn every_road_is_told_with_its_reason() {
    let backend = Backend::with_page("page").await;
    backend.on("/private", Answer::page("page").with("Cache-Control", "private"));
    backend.on("/vary", Answer::page("page").with("Vary", "X-Theme"));
    backend.on(
        "/gone",
        Answer::new(404).with("Content-Type", "text/html").body("gone"),
    );
    backend.on_fn("/tag", |request| match request.field("if-none-match") {
        Some(_) => Answer::new(304),
        None => Answer::page("page").with("ETag", "\"1\""),
    });
    let proxy = listening(&backend)
        .with(|settings| {
            settings.default_ttl = Ttl::For(Duration::from_secs(60));
            settings.exclude_paths = vec!["/excluded".into()];
            settings.ignore_query = vec!["utm_*".into()];
        })
        .start()
        .await;
    proxy.warm("/tag").await;
    proxy.clock().advance(61);
    for (request, expected) in [
        (
            get("/excluded"),
            &[
                "route: pass, excluded by /excluded in `exclude_paths`",
                "outcome: pass, excluded",
            ][..],
        ),
        (post("/", "x"), &["route: pass, method", "outcome: pass, method"]),
        (
            get("/").with("Cookie", "a; session=1"),
            &["route: pass, cookie", "outcome: pass, cookie"],
        ),
        (
            get("/").with("Cookie", "session=1"),
            &["route: pass, cookie (session)", "pass: as it is, cookie"],
        ),
        (get("/?token=x"), &["route: pass, secret-query"]),
        (
            get("/?a=1&utm_b=2"),
            &["key: of method, path and query, which is cut or sorted to ?a=1, scheme and host"],
        ),
        (
            get("/private"),
            &[
                "answer: 200 is not stored, private",
                "pass: as it is, private",
                "outcome: pass, private",
            ],
        ),
        (
            get("/private"),
            &[
                "memory: it could not be stored lately, private",
                "outcome: pass, private",
            ],
        ),
        (
            get("/vary"),
            &["answer: 200 is stored, by x-theme", "outcome: miss"],
        ),
        (
            get("/vary").with("X-Theme", "dark"),
            &[
                "lookup: no such variant, by x-theme",
                "answer: 200 is stored, by x-theme",
            ],
        ),
        (
            get("/gone"),
            &["answer: 404 is remembered for 60 s", "outcome: miss"],
        ),
        (
            get("/gone"),
            &["memory: the page is known to be missing", "outcome: hit"],
        ),
        (
            get("/tag"),
            &[
                "standing: to be validated, age 61 s, lifetime 60 s by `default_ttl`, over since *",
                "answer: 304, it holds",
                "outcome: revalidated",
            ],
        ),
    ] {
        let response = proxy.send(traced(request)).await;
        let steps = steps(&response);
        let mut rest = steps.iter();
        for step in expected {
            assert!(rest.any(|found| fits(found, step)), "{step:?} in {steps:#?}");
        }
    }
    let refused = proxy
        .client()
        .raw(format!("GET / HTTP/1.1\r\nPhantom-Frame-Debug: {TOKEN}\r\n\r\n").as_bytes())
        .await;
    refused.assert_refused(400, Reason::BadRequest);
    assert_steps(&refused, &["outcome: refused, bad-request"]);
}

#[tokio::test]
async fn who_waits_for_another_s_fill_is_told_so() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("page").held(&gate)).await;
    let proxy = listening(&backend).start().await;
    let leader = proxy.client().begin(&get("/")).await;
    backend.until_count("/", 1).await;
    let follower = proxy.client().begin(&traced(get("/"))).await;
    // It has joined when it has said so; the gate may open before, and then it is a hit.
    gate.open();
    let follower = follower.head().await.finish().await;
    assert_untraced(&leader.head().await.finish().await);
    let steps = steps(&follower);
    match follower.cache().collapsed {
        true => assert!(
            steps
                .iter()
                .any(|step| step == "fill: that of another request, under way"),
            "{steps:#?}"
        ),
        false => assert!(
            steps.iter().any(|step| step.starts_with("lookup: found")),
            "{steps:#?}"
        ),
    }
}

#[tokio::test]
async fn no_value_of_a_cookie_or_credential_is_told() {
    const SECRET: &str = "hunter2hunter2";
    let backend = Backend::with_page("page").await;
    let proxy = listening(&backend)
        .with(|settings| settings.key_cookies = vec!["theme".into()])
        .start()
        .await;
    for request in [
        get("/").with("Cookie", &format!("theme={SECRET}")),
        get("/").with("Cookie", &format!("session={SECRET}")),
        get("/").with("Cookie", SECRET),
        get("/").with("Authorization", SECRET),
        get("/").with("X-Api-Key", SECRET),
    ] {
        let response = proxy.send(traced(request)).await;
        assert!(!steps(&response).is_empty());
        assert!(!format!("{:?}", response.fields).contains(SECRET), "{response:?}");
        assert!(!format!("{:?}", response.fields).contains(TOKEN), "{response:?}");
    }
    let themed = proxy.send(traced(get("/").with("Cookie", "theme=dark"))).await;
    let steps = steps(&themed);
    assert!(
        steps.contains(&"key: of method, path and query, scheme and host, cookie theme".to_owned()),
        "{steps:#?}"
    );
    assert!(
        steps.iter().any(|step| step.ends_with("cookie; cookies theme")),
        "{steps:#?}"
    );
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let backend = Backend::with_page("page").await;
    let deaf = Proxy::start(&backend).await;
    let proxy = listening(&backend).start().await;
    assert!(!steps(&proxy.send(traced(get("/"))).await).is_empty());
    for (proxy, request) in [
        (&proxy, get("/")),
        (&proxy, get("/").with("Phantom-Frame-Debug", "wrong")),
        (&proxy, get("/").with("Phantom-Frame-Debug", "")),
        (
            &proxy,
            get("/").with("Phantom-Frame-Debug", &TOKEN.to_uppercase()),
        ),
        (&proxy, traced(get("/").with("Phantom-Frame-Debug", "wrong"))),
        (&deaf, traced(get("/"))),
        (&deaf, get("/").with("Phantom-Frame-Debug", "")),
    ] {
        let response = proxy.send(request).await;
        response.assert(200, "page");
        assert_untraced(&response);
    }
}

#[tokio::test]
async fn the_field_reaches_no_backend_and_makes_no_page() {
    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let echo = format!("{:?}", request.field("phantom-frame-debug"));
        Answer::page(echo).with("Vary", "Phantom-Frame-Debug")
    });
    backend.on("/ws", Answer::raw([Step::Send(AGREED.into()), Step::Echo]));
    for token in [None, Some(TOKEN)] {
        for fill in [
            phantom_frame::FillMode::Canonical,
            phantom_frame::FillMode::Transparent,
        ] {
            let proxy = Setup::over(&backend)
                .with(move |settings| {
                    settings.debug_token = token.map(|token| token.to_owned().into());
                    settings.key_headers = vec!["Phantom-Frame-Debug".into()];
                    settings.fill = fill;
                })
                .start()
                .await;
            proxy
                .send(traced(get("/")))
                .await
                .assert(200, "None")
                .assert_stored();
            for value in ["wrong", TOKEN, "other"] {
                let sent = get("/").with("Phantom-Frame-Debug", value);
                proxy.send(sent.clone()).await.assert(200, "None").assert_hit();
                let somebody = sent.with("Cookie", "session=1");
                proxy.send(somebody).await.assert_not_stored(Reason::Cookie);
            }
            proxy
                .send(traced(post("/", "x")))
                .await
                .assert_not_stored(Reason::Method);
            proxy
                .send(traced(head("/new")))
                .await
                .assert_not_stored(Reason::Method);
            let upgrade = get("/ws").with("Connection", "Upgrade").with("Upgrade", "echo");
            let tunnel = proxy.client().open(traced(upgrade)).await;
            assert_eq!((tunnel.status, tunnel.field("phantom-frame-trace")), (101, None));
            assert_eq!(proxy.stored(), 1);
            assert!(proxy.files_with(TOKEN).is_empty());
        }
    }
    for request in backend.requests() {
        assert!(!request.fields.has("phantom-frame-debug"), "{request:?}");
    }
    let unkeyed = Setup::over(&backend).with(|settings| {
        settings.unkeyed_headers = vec!["Phantom-Frame-Debug".into()];
    });
    let error = unkeyed.try_start().await.err().expect("it is not sent");
    assert_eq!(error.setting(), Some("unkeyed_headers"));
}

#[tokio::test]
async fn an_empty_debug_token_refuses_to_start() {
    let backend = Backend::start().await;
    for token in ["", " ", "a\nb"] {
        let setup = Setup::over(&backend).with(move |settings| {
            settings.debug_token = Some(token.to_owned().into());
        });
        let error = setup.try_start().await.err().expect("it cannot work");
        assert_eq!(error.setting(), Some("debug_token"));
    }
}

#[tokio::test]
async fn what_is_told_is_bounded() {
    let backend = Backend::with_page("page").await;
    let proxy = listening(&backend).start().await;
    let long = format!("/?{}", "\u{7f}%22\\".repeat(2000));
    let response = proxy.send(traced(get(&long.replace('\u{7f}', "x")))).await;
    response.assert(200, "page").assert_stored();
    let key = response.field("phantom-frame-key").expect("a key");
    assert!(key.len() <= 4096 && key.ends_with("..."), "{}", key.len());
    let steps = steps(&response);
    assert!(steps.iter().all(|step| step.len() <= 1024), "{steps:#?}");
    assert!(steps.iter().map(String::len).sum::<usize>() + key.len() < 16 << 10);
    assert_eq!(steps.last().map(String::as_str), Some("outcome: miss"));
}

#[tokio::test]
async fn the_log_names_the_rule() {
    let backend = Backend::with_page("page").await;
    let rule = PathRule::new(["/log-of-a-rule"]);
    let proxy = Setup::over(&backend)
        .configured(move |config| config.with_rule(rule.clone()))
        .start()
        .await;
    let log = Log::watching(&["/log-of-a-rule", "/log-of-the-server"]);
    for (path, rule) in [
        ("/log-of-a-rule", "rule=rule 1"),
        ("/log-of-the-server", "rule=server"),
    ] {
        proxy.get(path).await.assert_stored();
        let lines = log.lines_with(&format!("path={path:?}"));
        assert!(lines.iter().any(|line| line.contains(rule)), "{lines:?}");
    }
}

#[tokio::test]
async fn a_cache_in_front_gives_a_trace_to_nobody_who_asks_without_the_token() {
    let page = Answer::page("page").with("Cache-Control", "public, max-age=60");
    let backend = Backend::with("/a", page.with("Vary", "Accept-Language")).await;
    let proxy = listening(&backend).start().await;
    for _ in 0..2 {
        let traced = proxy.send(traced(get("/a"))).await;
        let lines = traced.fields.all("vary");
        assert_eq!(lines, ["Accept-Language", "phantom-frame-debug"], "{traced:?}");
        let other = proxy.get("/a").await;
        assert_eq!(other.fields.all("vary"), ["Accept-Language"], "{other:?}");
    }
    let (_, sidecar) = proxy.sidecar("site.test/a.");
    assert!(!sidecar.contains("phantom-frame-debug"), "{sidecar}");
}
