//! What a backend may send instead of an answer: cut, broken, said twice, not said at all, or more than
//! was asked for. The client sees as much, nothing of it is stored, and the next answer is the next one's.

use std::time::Duration;

use bytes::Bytes;
use phantom_frame::Reason;

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, End, Gate, Proxy, Setup, get, head, post};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";
/// What would be served if bytes behind an answer were taken for one.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\npoison";

async fn start() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("right {}", request.target)));
    let proxy = Setup::over(&backend)
        .with(|settings| settings.response_timeout = Duration::from_secs(5))
        .start()
        .await;
    // A connection is kept from here on, for what follows to be sent over.
    proxy
        .get("/ok/first")
        .await
        .assert(200, "right /ok/first")
        .assert_stored();
    (backend, proxy)
}

/// On a fill, on a pass, and on a pass that may not be repeated.
fn kinds(path: &str) -> [crate::rig::client::Request; 3] {
    [get(path), get(path).with("Cookie", "session=1"), post(path, "x")]
}

/// Whatever came before: the next pages are what they are, and are all that is stored.
async fn assert_goes_on(proxy: &Proxy, case: &str) {
    for kind in ["fill", "again"] {
        let path = format!("/ok/{}/{kind}", blake3_of(case));
        let right = format!("right {path}");
        assert_eq!(proxy.get(&path).await.text(), right, "after {case}");
        let pass = proxy.send(get(&path).with("Cookie", "session=1")).await;
        assert_eq!(pass.text(), right, "after {case}");
    }
    let strays: Vec<_> = proxy
        .pages()
        .into_iter()
        .filter(|file| !file.starts_with("site.test/ok/"))
        .collect();
    assert_eq!(strays, Vec::<String>::new(), "after {case}");
}

/// A short name for a case, for its own addresses.
fn blake3_of(case: &str) -> String {
    blake3::hash(case.as_bytes()).to_hex()[..8].to_owned()
}

fn raw(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(Bytes::copy_from_slice(bytes.as_ref()))
}

#[tokio::test]
async fn what_is_no_answer_is_a_502() {
    let many = format!("{OK}{}Content-Length: 2\r\n\r\nhi", "X-Field: 1\r\n".repeat(1000));
    let huge = format!(
        "{OK}X-Field: {}\r\nContent-Length: 2\r\n\r\nhi",
        "x".repeat(300_000)
    );
    let with = |fields: &str| format!("{OK}{fields}\r\n\r\n2\r\nhi\r\n0\r\n\r\n{POISON}").into_bytes();
    let line = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\nhi").into_bytes();
    let cases: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"HTT".to_vec(),
        b"HTTP/1.1 200 O".to_vec(),
        format!("{OK}Content-Le").into_bytes(),
        b"220 mail.test ESMTP\r\n\r\n".to_vec(),
        b"<html>hi</html>\r\n\r\n".to_vec(),
        vec![0; 100],
        line("HTTP/1.1 099 X"),
        line("HTTP/1.1 000 X"),
        line("HTTP/1.1 20 X"),
        line("HTTP/1.1 2000 X"),
        line("HTTP/1.1 2x0 X"),
        line("HTTP/1.1  200 OK"),
        line("HTTP/1.2 200 OK"),
        line("HTTP/2 200 OK"),
        line("http/1.1 200 OK"),
        line("ICY 200 OK"),
        line("HTTP/1.1 200 O\rK"),
        many.into_bytes(),
        huge.into_bytes(),
        with("Content-Length: 5\r\nContent-Length: 6"),
        with("Content-Length: 5, 6"),
        with("Content-Length: -1"),
        with("Content-Length: +5"),
        with("Content-Length: 0x5"),
        with("Content-Length:"),
        with("Content-Length: five"),
        with("Content-Length: 99999999999999999999"),
        with("Content-Length: 2\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: chunked\r\nContent-Length: 2"),
        with("Transfer-Encoding: chunked, chunked"),
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: gzip, chunked"),
        with("Transfer-Encoding: identity"),
        with("Transfer-Encoding: chunked, identity"),
        with("Transfer-Encoding: xchunked"),
        with("Transfer-Encoding:"),
        with("X: a\rSet-Cookie: session=1"),
        with("X: a\r\n b"),
        with("X: a\0b"),
        with("X : a"),
        with(": a"),
        with("X"),
        with("X Y: a"),
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_vec(),
    ];
    for end in [Step::Close, Step::Reset] {
        let (backend, proxy) = start().await;
        for (number, bytes) in cases.iter().enumerate() {
            let path = format!("/{number}");
            let case: String = String::from_utf8_lossy(bytes).chars().take(120).collect();
            backend.on(&path, Answer::raw([raw(bytes), end.clone()]));
            for request in kinds(&path) {
                let response = proxy.send(request).await;
                assert_eq!(response.status, 502, "{case:?}: {response:?}");
                response.assert_refused(502, Reason::Unreachable);
            }
            assert_goes_on(&proxy, &format!("{case} {end:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_connection_whose_answer_had_two_readings_is_not_used_again() {
    let (backend, proxy) = start().await;
    let fields = "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    backend.on("/two", Answer::raw([raw(format!("{OK}{fields}"))]));
    let before = backend.connections();
    proxy.get("/two").await.assert_refused(502, Reason::Unreachable);
    proxy
        .send(post("/ok/post", "x"))
        .await
        .assert(200, "right /ok/post");
    assert_eq!(backend.connections(), before + 1);
}

#[tokio::test]
async fn a_body_that_breaks_is_seen_to_be_broken() {
    // What comes first, and what comes when that has been read.
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let long_extension = format!("5;{}\r\nagain\r\n0\r\n\r\n", "x".repeat(20_000));
    let cases: &[(&str, &str)] = &[
        ("Content-Length: 9\r\n\r\nfirst", "aga"),
        ("Content-Length: 9\r\n\r\nfirst", ""),
        (chunked, ""),
        (chunked, "5\r\naga"),
        (chunked, "5\r\nagain\r\n"),
        (chunked, "5\r\nagain\r\n0\r\n"),
        (chunked, "zz\r\nagain\r\n0\r\n\r\n"),
        (chunked, "-1\r\nagain\r\n0\r\n\r\n"),
        (chunked, "5\r\nagainX\r\n0\r\n\r\n"),
        (chunked, "5\nagain\n0\n\n"),
        (chunked, "fffffffffffffffff\r\nagain\r\n0\r\n\r\n"),
        (chunked, "fffffffffffffff0\r\nagain\r\n0\r\n\r\n"),
        (chunked, &long_extension),
        (chunked, "0\r\nX Y: 1\r\n\r\n"),
        (chunked, "0\r\n\nX: 1\r\n\r\n"),
        (chunked, POISON),
    ];
    for end in [Step::Close, Step::Reset] {
        let (backend, proxy) = start().await;
        for (number, (first, rest)) in cases.iter().enumerate() {
            let path = format!("/{number}");
            let case = format!("{first:?} {rest:.60?} {end:?}");
            for request in kinds(&path) {
                let gate = Gate::new();
                let steps = [
                    raw(format!("{OK}{first}")),
                    Step::Wait(gate.clone()),
                    raw(rest),
                    end.clone(),
                ];
                backend.on(&path, Answer::raw(steps));
                let mut exchange = proxy.client().open(request).await;
                assert_eq!(exchange.status, 200, "{case}");
                assert_eq!(exchange.at_least(5).await, b"first", "{case}");
                gate.open();
                let response = exchange.finish().await;
                assert_eq!(response.end, End::Cut, "{case}: {response:?}");
                assert!(!response.text().contains("poison"), "{case}: {response:?}");
            }
            assert_goes_on(&proxy, &case).await;
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_are_nobody_s_answer() {
    let cases: &[(&str, u16, &str)] = &[
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            "hi",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            200,
            "",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", 204, ""),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            204,
            "",
        ),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", 304, ""),
    ];
    for (number, (answer, status, body)) in cases.iter().enumerate() {
        for excess in [POISON, "\r\n\r\n", "x", "0\r\n\r\n"] {
            let (backend, proxy) = start().await;
            let path = format!("/ok/{number}");
            backend.on(&path, Answer::raw([raw(format!("{answer}{excess}"))]));
            // The POST first: a GET would be sent again where the connection turned out to be spoilt.
            for request in [
                post(&path, "x"),
                get(&path).with("Cookie", "session=1"),
                get(&path),
            ] {
                let response = proxy.send(request).await;
                response.assert(*status, body);
                if *status == 204 {
                    assert!(!response.fields.has("content-length"), "{response:?}");
                }
                assert_goes_on(&proxy, &format!("{answer:?} {excess:?}")).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whatever_comes() {
    let (backend, proxy) = start().await;
    for (number, fields) in [
        "Content-Length: 6\r\n\r\npoison",
        "Content-Length: 6\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "\r\n",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/{number}");
        backend.on(&path, Answer::raw([raw(format!("{OK}{fields}"))]));
        let request = head(&path).with("Cookie", "session=1");
        let mut connection = proxy.client().connect().await;
        connection.send(&request).await.assert(200, "");
        connection
            .send(&get("/ok/first"))
            .await
            .assert(200, "right /ok/first");
        assert_goes_on(&proxy, fields).await;
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let (backend, proxy) = start().await;
    let final_one = format!("{OK}Content-Length: 2\r\n\r\nhi");
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nSet-Cookie: a=b\r\nContent-Length: 7\r\n\r\n";
    for (number, interim) in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        "HTTP/1.1 102 Processing\r\n\r\n".to_owned(),
        "HTTP/1.1 199 X\r\n\r\n".to_owned(),
        hints.to_owned(),
        hints.repeat(2000),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/ok/{number}");
        backend.on(&path, Answer::raw([raw(format!("{interim}{final_one}"))]));
        proxy.send(post(&path, "x")).await.assert(200, "hi");
        let stored = proxy.warm(&path).await;
        assert!(
            !stored.fields.has("set-cookie") && !stored.fields.has("link"),
            "{stored:?}"
        );
        assert_goes_on(&proxy, interim).await;
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_a_504() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    let flood: Bytes = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000).into();
    let mut steps = vec![Step::Send(flood); 200];
    steps.push(Step::Wait(gate.clone()));
    backend.on("/", Answer::raw(steps));
    let proxy = Proxy::with(&backend, |settings| {
        settings.response_timeout = Duration::from_millis(300);
    })
    .await;

    for request in kinds("/") {
        proxy.send(request).await.assert_refused(504, Reason::Timeout);
    }
    gate.open();
    backend.on("/", Answer::page("page"));
    proxy.warm("/").await;
}

#[tokio::test]
async fn a_length_that_is_said_twice_is_said_once() {
    let (backend, proxy) = start().await;
    for (number, fields) in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 2,02",
        "Content-Length: 0002",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/ok/{number}");
        backend.on(&path, Answer::raw([raw(format!("{OK}{fields}\r\n\r\nhi"))]));
        for request in kinds(&path) {
            let response = proxy.send(request).await;
            response.assert(200, "hi");
            assert_eq!(response.fields.all("content-length"), ["2"], "{fields}");
        }
        proxy.warm(&path).await.assert(200, "hi");
    }
    assert_goes_on(&proxy, "two equal lengths").await;
}

#[tokio::test]
async fn what_is_said_about_the_connection_is_for_the_connection() {
    let (backend, proxy) = start().await;
    for (number, fields) in [
        "Connection: close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=0\r\n",
        "Connection: content-length\r\n",
    ]
    .iter()
    .enumerate()
    {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            // The backend says that it closes, and does not; or the reverse.
            for then in [None, Some(Step::Close)] {
                let path = format!("/ok/{number}{version}{}", then.is_some());
                let answer = format!(
                    "{version} 200 OK\r\nContent-Type: text/html\r\n{fields}Content-Length: 2\r\n\r\nhi"
                );
                backend.on(&path, Answer::raw(std::iter::once(raw(answer)).chain(then)));
                for request in kinds(&path).into_iter().take(2) {
                    let mut connection = proxy.client().connect().await;
                    let response = connection.send(&request).await;
                    response.assert(200, "hi");
                    for name in ["connection", "keep-alive", "x-hop"] {
                        assert!(!response.fields.has(name), "{response:?}");
                    }
                    connection.send(&request).await.assert(200, "hi");
                }
            }
        }
        assert_goes_on(&proxy, fields).await;
    }
}

#[tokio::test]
async fn an_odd_status_is_passed_on_and_not_stored() {
    let (backend, proxy) = start().await;
    for status in [299, 499, 599, 600, 999] {
        let path = format!("/{status}");
        let answer =
            format!("HTTP/1.1 {status} Odd\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi");
        backend.on(&path, Answer::raw([raw(answer)]));
        for request in kinds(&path) {
            proxy.send(request).await.assert(status, "hi");
        }
    }
    let without_a_reason = "HTTP/1.1 200\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    backend.on("/ok/no-reason", Answer::raw([raw(without_a_reason)]));
    proxy.warm("/ok/no-reason").await.assert(200, "hi");
    assert_goes_on(&proxy, "odd statuses").await;
}

#[tokio::test]
async fn parts_and_confirmations_that_nobody_asked_for_are_not_stored() {
    let (backend, proxy) = start().await;
    let fields =
        "Content-Type: text/html\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n";
    for (path, line, body) in [
        ("/206", "206 Partial Content\r\nContent-Range: bytes 0-1/9", "hi"),
        ("/304", "304 Not Modified", ""),
    ] {
        backend.on(
            path,
            Answer::raw([raw(format!("HTTP/1.1 {line}\r\n{fields}\r\n{body}"))]),
        );
        for _ in 0..2 {
            let response = proxy.get(path).await;
            assert_eq!(
                response.cache().detail.as_deref(),
                Some(Reason::Partial.as_str()),
                "{response:?}"
            );
            assert_eq!(response.text(), body);
        }
    }
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    backend.on("/101", Answer::raw([raw(format!("{switched}{POISON}"))]));
    for request in kinds("/101") {
        proxy.send(request).await.assert_refused(502, Reason::Unreachable);
    }
    assert_goes_on(&proxy, "parts").await;
}

/// 100,000 zeros, as gzip has them.
const BOMB: &str = "1f8b0800000000000203edc13101000000c2a0f54f6d0d0fa00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000008057037d9511d4a0860100";

#[tokio::test]
async fn a_bomb_stays_packed() {
    let member: Vec<u8> = (0..BOMB.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&BOMB[at..at + 2], 16).expect("hex"))
        .collect();
    // A gigabyte, once unpacked.
    let bomb = member.repeat(10_000);
    let (backend, proxy) = start().await;
    backend.on(
        "/ok/bomb",
        Answer::page(bomb.clone()).with("Content-Encoding", "gzip"),
    );
    let request = || get("/ok/bomb").with("Accept-Encoding", "gzip");
    for pass in [
        post("/ok/bomb", "x"),
        request().with("Cookie", "session=1"),
        request(),
    ] {
        let response = proxy.send(pass).await;
        assert_eq!(response.field("content-encoding"), Some("gzip"), "{response:?}");
        assert!(response.body == bomb, "{} bytes", response.body.len());
    }
    let hit = proxy.send(request()).await;
    hit.assert_hit();
    assert!(hit.body == bomb);
    let stored = proxy.contents();
    assert!(stored.values().any(|bytes| *bytes == bomb));
    assert_goes_on(&proxy, "a bomb").await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_goes_through_whole_and_is_not_stored() {
    let backend = Backend::start().await;
    let body = "x".repeat(100_000);
    backend.on("/length", Answer::page(body.clone()));
    backend.on("/chunked", Answer::page(body.clone()).chunked());
    backend.on("/small", Answer::page("small"));
    let proxy = Proxy::with(&backend, |settings| settings.max_body = 50_000).await;
    proxy.warm("/small").await;
    let before = proxy.pages();
    for path in ["/length", "/chunked"] {
        for _ in 0..2 {
            proxy.get(path).await.assert(200, &body);
        }
    }
    assert_eq!(proxy.pages(), before);
}
