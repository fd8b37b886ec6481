//! Interim answers: what a backend says before its answer reaches who asked (RFC 9110 §15.2).

use crate::rig::{Answer, Backend, Gate, Proxy, get};

const HINTS: &[u8] =
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
const AS_TOLD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// All that the proxy sends for a request, until it closes.
async fn all(proxy: &Proxy, request: &str) -> String {
    let mut connection = proxy.client().connect().await;
    connection.write(request.as_bytes()).await;
    String::from_utf8(connection.rest().await).expect("text")
}

fn closing(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n{more}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn hints_reach_who_begins_a_fill_and_the_page_is_stored() {
    let page = Answer::page("page")
        .with("Cache-Control", "max-age=60")
        .interim(HINTS);
    let backend = Backend::with("/", page).await;
    let proxy = Proxy::start(&backend).await;
    let first = all(&proxy, &closing("/", "")).await;
    let answer = first
        .strip_prefix(AS_TOLD)
        .expect("the hints, and then the answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(answer.ends_with("\r\n\r\npage"), "{first}");

    let second = all(&proxy, &closing("/", "")).await;
    assert!(
        second.starts_with("HTTP/1.1 200 OK\r\n"),
        "nothing is left of them: {second}"
    );
    assert!(second.contains("phantom-frame;hit"), "{second}");
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn hints_go_out_before_the_backend_has_answered() {
    let gate = Gate::new();
    let page = Answer::page("page").interim(HINTS).held(&gate);
    let backend = Backend::with("/", page).await;
    let proxy = Proxy::start(&backend).await;
    for more in ["", "Cookie: session=1\r\n"] {
        let mut connection = proxy.client().connect().await;
        connection.write(closing("/", more).as_bytes()).await;
        let hints = connection.exactly(AS_TOLD.len()).await;
        assert_eq!(String::from_utf8(hints).expect("text"), AS_TOLD, "{more}");
        gate.open();
        let answer = String::from_utf8(connection.rest().await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn whoever_shares_a_fill_or_speaks_http_1_0_gets_none() {
    let gate = Gate::new();
    let page = Answer::page("page").interim(HINTS).held(&gate);
    let backend = Backend::with("/", page.clone()).await;
    backend.on("/old", Answer::page("old").interim(HINTS));
    let proxy = Proxy::start(&backend).await;
    let leader = proxy.client().begin(&get("/")).await;
    gate.arrivals(1).await;
    let mut connection = proxy.client().connect().await;
    connection.write(closing("/", "").as_bytes()).await;
    gate.open();
    let follower = String::from_utf8(connection.rest().await).expect("text");
    assert!(follower.starts_with("HTTP/1.1 200 OK\r\n"), "{follower}");
    drop(leader);

    let old = all(&proxy, "GET /old HTTP/1.0\r\nHost: site.test\r\n\r\n").await;
    assert!(
        old.starts_with("HTTP/1.0 200 OK\r\n") || old.starts_with("HTTP/1.1 200 OK\r\n"),
        "{old}"
    );
}

#[tokio::test]
async fn hints_of_one_request_never_stand_before_the_answer_to_another() {
    let backend = Backend::with("/a", Answer::page("a").interim(HINTS)).await;
    backend.on("/b", Answer::page("b"));
    let proxy = Proxy::start(&backend).await;
    let mut connection = proxy.client().connect().await;
    let first = "GET /a HTTP/1.1\r\nHost: site.test\r\nCookie: session=1\r\n\r\n";
    let both = format!("{first}{}", closing("/b", ""));
    connection.write(both.as_bytes()).await;
    let all = String::from_utf8(connection.rest().await).expect("text");
    let after = all.strip_prefix(AS_TOLD).expect("the hints come first");
    assert_eq!(after.matches("HTTP/1.1 ").count(), 2, "{all}");
    assert!(!after.contains("103"), "{all}");
}
