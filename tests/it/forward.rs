//! What is not cached streams through both ways, with what belongs to one connection left out.

use phantom_frame::Reason;

use crate::rig::backend::Step;
use crate::rig::client::HOST;
use crate::rig::{Answer, Backend, Gate, Proxy, Setup, get, head, post, request};

#[tokio::test]
async fn fields_of_one_connection_are_not_forwarded() {
    let backend = Backend::with(
        "/",
        Answer::page("x")
            .with("Connection", "X-Backend-Hop")
            .with("X-Backend-Hop", "1")
            .with("Keep-Alive", "timeout=5")
            .with("Proxy-Connection", "keep-alive")
            .with("X-Stays", "1"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let request = post("/", "body")
        .with("Connection", "X-Client-Hop, close")
        .with("Connection", "x-second")
        .with("X-Client-Hop", "1")
        .with("X-Second", "1")
        .with("Keep-Alive", "300")
        .with("Proxy-Connection", "keep-alive")
        .with("TE", "deflate")
        .with("X-Stays", "1");
    let response = proxy.send(request).await;

    response.assert(200, "x");
    let seen = backend.last("/");
    for name in ["x-client-hop", "x-second", "keep-alive", "proxy-connection", "te"] {
        assert!(
            !seen.fields.has(name),
            "{name} should not reach the backend: {seen:?}"
        );
    }
    assert!(!seen.fields.lists("connection", "x-client-hop"), "{seen:?}");
    assert_eq!((seen.field("x-stays"), seen.text().as_str()), (Some("1"), "body"));
    for name in ["x-backend-hop", "keep-alive", "proxy-connection"] {
        assert!(
            !response.fields.has(name),
            "{name} should not reach the client: {response:?}"
        );
    }
    assert_eq!(response.field("x-stays"), Some("1"));
}

#[tokio::test]
async fn connection_cannot_take_away_what_a_message_means() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let request = post("/", "body")
        .with(
            "Connection",
            "Host, Content-Length, Authorization, Cookie, Cache-Control",
        )
        .with("Authorization", "Basic x")
        .with("Cookie", "a=b")
        .with("Cache-Control", "no-cache");
    proxy.send(request).await.assert(200, "x");

    let seen = backend.last("/");
    assert_eq!(seen.field("host"), Some(HOST));
    assert_eq!(seen.field("authorization"), Some("Basic x"));
    assert_eq!(seen.field("cookie"), Some("a=b"));
    assert_eq!(seen.field("cache-control"), Some("no-cache"));
    assert_eq!(seen.text(), "body");
}

#[tokio::test]
async fn repeated_fields_survive_both_ways() {
    let backend = Backend::with(
        "/",
        Answer::page("x")
            .with("Set-Cookie", "a=1")
            .with("Link", "<a>")
            .with("Set-Cookie", "b=2")
            .with("Link", "<b>")
            .with("WWW-Authenticate", "Basic")
            .with("WWW-Authenticate", "Bearer"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let request = post("/", "")
        .with("X-Many", "1")
        .with("X-Between", "b")
        .with("X-Many", "2, 3");
    let response = proxy.send(request).await;

    assert_eq!(backend.last("/").fields.all("x-many"), ["1", "2, 3"]);
    assert_eq!(response.fields.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.fields.all("link"), ["<a>", "<b>"]);
    assert_eq!(response.fields.all("www-authenticate"), ["Basic", "Bearer"]);
}

#[tokio::test]
async fn a_request_that_passes_arrives_as_it_is() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let request = request("PUT", "/a/../b//c?x=%2f&y")
        .with("Accept", "application/json")
        .with("Accept-Encoding", "gzip")
        .with("User-Agent", "test/1")
        .with("Origin", "http://site.test")
        .with("X-Empty", "")
        .with("Content-Length", "0");
    proxy.send(request).await.assert_not_stored(Reason::Method);

    let seen = backend.requests().pop().unwrap();
    assert_eq!(seen.method, "PUT");
    assert_eq!(seen.target, "/a/../b//c?x=%2f&y");
    for (name, value) in [
        ("host", HOST),
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("user-agent", "test/1"),
        ("origin", "http://site.test"),
        ("x-empty", ""),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_under_which_address() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    proxy
        .send(post("/", "").host("site.test:8443"))
        .await
        .assert(200, "x");

    let seen = backend.last("/");
    for (name, value) in [
        ("host", "site.test:8443"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "site.test:8443"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8443"),
    ] {
        assert_eq!(seen.fields.all(name), [value], "{name}");
    }
    assert!(
        seen.field("via").is_some_and(|via| via.starts_with("1.1 ")),
        "{seen:?}"
    );
}

const FORGED: [(&str, &str); 8] = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("X-Forwarded-Port", "1"),
    ("X-Forwarded-Ssl", "on"),
    ("X-Real-IP", "203.0.113.7"),
    ("Front-End-Https", "on"),
    ("Forwarded", "for=203.0.113.7"),
];

#[tokio::test]
async fn what_strangers_say_about_where_they_come_from_is_not_believed() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let request = FORGED
        .iter()
        .fold(post("/", ""), |request, (name, value)| request.with(name, value));
    proxy.send(request).await.assert(200, "x");

    let seen = backend.last("/");
    for (name, value) in FORGED {
        assert!(
            !seen.fields.all(name).contains(&value),
            "{name}: {value} was believed: {seen:?}"
        );
    }
    assert_eq!(seen.fields.all("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_believed_and_extended() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
    })
    .await;

    let request = post("/", "")
        .with("X-Forwarded-For", "203.0.113.7, 10.0.0.1")
        .with("X-Forwarded-Proto", "https");
    proxy.send(request).await.assert(200, "x");

    let seen = backend.last("/");
    assert_eq!(
        seen.fields.all("x-forwarded-for").join(", "),
        "203.0.113.7, 10.0.0.1, 127.0.0.1"
    );
    assert_eq!(seen.fields.all("x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn a_request_that_comes_back_to_us_is_a_508() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("x").held(&gate)).await;
    let proxy = Proxy::start(&backend).await;
    // What our own Via looks like to a proxy behind us.
    let begun = proxy.client().begin(&post("/", "")).await;
    gate.arrivals(1).await;
    let via = backend.last("/").field("via").expect("Via").to_owned();
    gate.open();
    begun.head().await.finish().await.assert(200, "x");

    let response = proxy.send(get("/").with("Via", &via)).await;

    response.assert_refused(508, Reason::Loop);
    assert_eq!(backend.count("/"), 1);
    // Somebody else's Via is nobody's loop.
    proxy
        .send(get("/").with("Via", "1.1 somebody-else"))
        .await
        .assert(200, "x");
}

#[tokio::test]
async fn a_proxy_in_front_of_itself_answers_508_instead_of_calling_itself_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let proxy = Setup::over_url(format!("http://{addr}")).start().await;
    // Everything that is sent to the address ends at the proxy.
    let to = proxy.addr();
    let relay = tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut to) = tokio::net::TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    });

    for request in [get("/"), post("/", "")] {
        let response = proxy.send(request).await;
        assert_eq!(response.status, 508, "{response:?}");
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());
    relay.abort();
}

#[tokio::test]
async fn a_download_streams_through() {
    let gate = Gate::new();
    let backend = Backend::with(
        "/file",
        Answer::page("first")
            .with("Cache-Control", "no-store")
            .wait(&gate)
            .body("rest")
            .chunked(),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let mut download = proxy.client().open(get("/file")).await;
    assert_eq!(download.at_least(5).await, b"first", "before the backend goes on");
    gate.open();

    download.finish().await.assert(200, "firstrest");
}

#[tokio::test]
async fn an_event_stream_s_first_event_arrives_before_its_end() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    backend.on(
        "/events",
        Answer::new(200)
            .with("Content-Type", "text/event-stream")
            .body("data: one\n\n")
            .wait(&gate)
            .body("data: two\n\n")
            .chunked(),
    );
    let proxy = Proxy::start(&backend).await;

    for round in 1..=2 {
        // As an EventSource asks, and as curl does.
        let request = match round {
            1 => get("/events").with("Accept", "text/event-stream"),
            _ => get("/events"),
        };
        let mut events = proxy.client().open(request).await;
        assert_eq!(events.field("content-type"), Some("text/event-stream"));
        assert_eq!(events.at_least(11).await, b"data: one\n\n");
        assert_eq!(backend.count("/events"), round);
        if round == 2 {
            gate.open();
            events.finish().await.assert(200, "data: one\n\ndata: two\n\n");
        }
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_streams_through() {
    let backend = Backend::start().await;
    backend.on_fn("/upload", |request| Answer::page(request.body.clone()));
    let proxy = Proxy::start(&backend).await;

    let mut connection = proxy.client().connect().await;
    connection
        .write(
            b"POST /upload HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        )
        .await;
    backend
        .until("the first piece of the upload", |requests| {
            requests.first().is_some_and(|request| request.body == b"first")
        })
        .await;
    connection.write(b"4\r\nrest\r\n0\r\n\r\n").await;

    connection.response("POST").await.assert(200, "firstrest");
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_completes_at_the_backend() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;
    for (path, sent) in [
        (
            "/chunked",
            &b"POST /chunked HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"[..],
        ),
        (
            "/length",
            &b"POST /length HTTP/1.1\r\nHost: site.test\r\nContent-Length: 100\r\n\r\nfirst"[..],
        ),
        (
            "/malformed",
            &b"POST /malformed HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\nzz\r\n"[..],
        ),
    ] {
        let mut connection = proxy.client().connect().await;
        connection.write(sent).await;
        backend.until_count(path, 1).await;
        drop(connection);
        backend
            .until("the upload to end", |requests| {
                requests
                    .iter()
                    .any(|request| request.path() == path && request.body_end.is_some())
            })
            .await;
        assert_eq!(backend.last(path).body_end, Some(crate::rig::End::Cut), "{path}");
    }
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_does_not_reach_the_backend() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy
        .client()
        .raw(
            b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
              5\r\nabcde\r\n0\r\n\r\n",
        )
        .await;

    if response.status == 400 {
        assert_eq!(backend.total(), 0);
        return;
    }
    let seen = backend.last("/");
    assert_eq!(seen.text(), "abcde");
    assert!(
        !(seen.fields.has("content-length") && seen.fields.has("transfer-encoding")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_large_body_goes_through_both_ways() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| Answer::page(request.body.clone()));
    let proxy = Proxy::start(&backend).await;
    let body: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 253) as u8).collect();

    let response = proxy.send(post("/", &body)).await;

    assert!(response.body == body, "{} bytes came back", response.body.len());
}

#[tokio::test]
async fn a_request_that_is_no_get_is_not_sent_twice() {
    // The backend takes the request and closes without an answer.
    let backend = Backend::with("/", Answer::raw([Step::Close])).await;
    let proxy = Proxy::start(&backend).await;

    proxy
        .send(post("/", "order=1"))
        .await
        .assert_refused(502, Reason::Unreachable);

    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn answers_without_content_pass() {
    let backend = Backend::start().await;
    backend.on("/204", Answer::new(204).with("X-A", "1"));
    backend.on("/304", Answer::new(304).with("ETag", "\"a\""));
    let proxy = Proxy::start(&backend).await;

    let response = proxy.send(request("DELETE", "/204")).await;
    response.assert(204, "");
    assert_eq!(response.field("x-a"), Some("1"));
    proxy
        .send(
            get("/304")
                .with("Cookie", "session=1")
                .with("If-None-Match", "\"a\""),
        )
        .await
        .assert(304, "");
    assert_eq!(backend.last("/304").field("if-none-match"), Some("\"a\""));
    proxy
        .send(head("/304").with("Cookie", "session=1"))
        .await
        .assert(304, "");
}

#[tokio::test]
async fn interim_responses_do_not_confuse() {
    let backend = Backend::with(
        "/",
        Answer::page("x").interim(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    proxy.warm("/").await.assert(200, "x");
}

#[tokio::test]
async fn with_forward_get_only_other_methods_are_405() {
    let backend = Backend::with_page("x").await;
    let proxy = Setup::over(&backend)
        .configured(|config| config.with_forward_get_only(true))
        .start()
        .await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = proxy.send(request(method, "/").with("Content-Length", "0")).await;
        response.assert_refused(405, Reason::GetOnly);
        assert!(
            response.fields.lists("allow", "GET") && response.fields.lists("allow", "HEAD"),
            "{response:?}"
        );
    }
    assert_eq!(backend.total(), 0);
    proxy.warm("/").await;
    proxy.send(head("/")).await.assert(200, "").assert_hit();
    proxy.send(head("/cold")).await.assert(200, "");
}

#[tokio::test]
async fn connect_is_refused() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy
        .client()
        .raw(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", backend.addr()).as_bytes())
        .await;

    assert!((400..=599).contains(&response.status), "{response:?}");
    assert_eq!(backend.total(), 0);
}

#[tokio::test]
async fn a_base_path_of_the_backend_comes_before_the_path() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let proxy = Setup::over_url(format!("{}/base", backend.url())).start().await;

    proxy.warm("/a?b=1").await.assert(200, "/base/a?b=1");
    proxy.send(post("/a", "")).await.assert(200, "/base/a");
}

#[tokio::test]
async fn an_old_backend_s_version_is_not_ours() {
    let backend = Backend::start().await;
    let old: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nold";
    backend.on(
        "/",
        Answer::raw([Step::Send(bytes::Bytes::from_static(old)), Step::Close]),
    );
    let proxy = Proxy::start(&backend).await;

    for method in ["GET", "POST"] {
        let mut connection = proxy.client().connect().await;
        let request = format!("{method} / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
        connection.write(request.as_bytes()).await;
        let start = connection.exactly(12).await;
        assert_eq!(start, b"HTTP/1.1 200", "{method}");
    }
}
