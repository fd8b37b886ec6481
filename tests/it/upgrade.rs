//! Upgrades go past the cache and become tunnels, once the backend has agreed.

use phantom_frame::Reason;

use crate::rig::backend::Step;
use crate::rig::client::{Connection, Request};
use crate::rig::{Answer, Backend, Gate, Proxy, Setup, get};

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

fn upgrade(path: &str) -> Request {
    get(path).with("Connection", "Upgrade").with("Upgrade", "echo")
}

/// Asks for a tunnel at `/ws` and gets it.
async fn tunnel(proxy: &Proxy) -> Connection {
    let exchange = proxy.client().open(upgrade("/ws")).await;
    assert_eq!(exchange.status, 101);
    assert_eq!(exchange.field("upgrade"), Some("echo"));
    assert!(
        exchange
            .field("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    exchange.into_connection()
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let backend = Backend::with("/ws", Answer::raw([Step::Send(AGREED.into()), Step::Echo])).await;
    let proxy = Proxy::start(&backend).await;
    let mut connection = tunnel(&proxy).await;

    for word in ["one", "two", "three"] {
        connection.write(word.as_bytes()).await;
        assert_eq!(connection.exactly(word.len()).await, word.as_bytes());
    }
    let large: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    connection.write(&large).await;
    assert!(connection.exactly(large.len()).await == large);

    let seen = backend.last("/ws");
    assert_eq!(seen.field("upgrade"), Some("echo"));
    assert!(seen.fields.lists("connection", "upgrade"), "{seen:?}");
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn bytes_sent_early_are_not_lost() {
    let gate = Gate::new();
    let backend = Backend::with(
        "/ws",
        Answer::raw([
            Step::Wait(gate.clone()),
            // The backend's first bytes come in one piece with its 101.
            Step::Send(format!("{AGREED}hello").into()),
            Step::Echo,
        ]),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let mut connection = proxy.client().connect().await;
    connection
        .write(b"GET /ws HTTP/1.1\r\nHost: site.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly")
        .await;
    gate.arrivals(1).await;
    gate.open();

    let response = connection.response("GET").await;
    assert_eq!(response.status, 101);
    assert_eq!(connection.exactly(10).await, b"helloearly");
}

#[tokio::test]
async fn either_side_may_stop_sending_first() {
    let backend = Backend::start().await;
    backend.on(
        "/client-first",
        Answer::raw([
            Step::Send(AGREED.into()),
            Step::Echo,
            Step::Send("and goodbye".into()),
            Step::Close,
        ]),
    );
    backend.on(
        "/backend-first",
        Answer::raw([
            Step::Send(AGREED.into()),
            Step::Send("all I have".into()),
            Step::ShutDown,
            Step::Receive,
            Step::Close,
        ]),
    );
    let proxy = Proxy::start(&backend).await;

    let mut connection = proxy
        .client()
        .open(upgrade("/client-first"))
        .await
        .into_connection();
    connection.write(b"words").await;
    connection.shut_down().await;
    assert_eq!(connection.rest().await, b"wordsand goodbye");

    let mut connection = proxy
        .client()
        .open(upgrade("/backend-first"))
        .await
        .into_connection();
    assert_eq!(connection.rest().await, b"all I have");
    connection.write(b"still talking").await;
    connection.shut_down().await;
    backend
        .until("what the client sent afterwards", |requests| {
            requests.iter().any(|request| request.body == b"still talking")
        })
        .await;
}

#[tokio::test]
async fn a_refusal_is_relayed_as_an_ordinary_answer() {
    let backend = Backend::with(
        "/ws",
        Answer::new(403).with("X-Why", "origin").body("not from there"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let mut connection = proxy.client().connect().await;
    let response = connection.send(&upgrade("/ws")).await;

    response.assert(403, "not from there");
    assert_eq!(response.field("x-why"), Some("origin"));
    assert_eq!(response.cache().detail.as_deref(), Some(Reason::Upgrade.as_str()));
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upgrade_goes_past_a_stored_page() {
    let backend = Backend::with("/ws", Answer::page("page")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/ws").await;
    backend.on("/ws", Answer::raw([Step::Send(AGREED.into()), Step::Echo]));

    let mut connection = tunnel(&proxy).await;
    connection.write(b"x").await;
    assert_eq!(connection.exactly(1).await, b"x");

    proxy.get("/ws").await.assert(200, "page").assert_hit();
}

#[tokio::test]
async fn an_upgrade_without_connection_is_an_ordinary_request() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    for (n, request) in [
        get("/0").with("Upgrade", "websocket"),
        get("/1")
            .with("Connection", "keep-alive")
            .with("Upgrade", "websocket"),
        get("/2").with("Connection", "Upgrade"),
        get("/3").with("Connection", "Upgrade").with("Upgrade", ""),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.send(request).await.assert(200, "page").assert_stored();
        let path = format!("/{n}");
        assert!(!backend.last(&path).fields.has("upgrade"), "{path}");
        proxy.get(&path).await.assert_hit();
    }
}

#[tokio::test]
async fn h2c_is_never_tunnelled() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;

    let request = get("/")
        .with("Connection", "Upgrade, HTTP2-Settings")
        .with("Upgrade", "h2c")
        .with("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    let response = proxy.send(request).await;

    response.assert(200, "page").assert_stored();
    let seen = backend.last("/");
    assert!(
        !seen.fields.has("upgrade") && !seen.fields.has("http2-settings"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn only_protocols_that_are_listed_are_tunnelled() {
    let backend = Backend::start().await;
    backend.on_fn("/ws", |request| match request.field("upgrade") {
        Some(_) => Answer::raw([Step::Send(AGREED.into()), Step::Echo]),
        None => Answer::page("page"),
    });
    let proxy = Proxy::with(&backend, |settings| {
        settings.upgrade_protocols = vec!["websocket".into()];
    })
    .await;

    proxy.send(upgrade("/ws")).await.assert(200, "page");
    let request = get("/ws")
        .with("Connection", "Upgrade")
        .with("Upgrade", "WebSocket");
    assert_eq!(proxy.client().open(request).await.status, 101);
}

#[tokio::test]
async fn an_answer_101_that_nobody_asked_for_is_no_tunnel() {
    let backend = Backend::with("/", Answer::raw([Step::Send(AGREED.into()), Step::Echo])).await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy.get("/").await;

    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn with_websockets_off_upgrades_are_501() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .configured(|config| config.with_websocket_enabled(false))
        .start()
        .await;

    let request = get("/")
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket");
    proxy.send(request).await.assert_refused(501, Reason::UpgradeOff);

    assert_eq!(backend.total(), 0);
    proxy.warm("/").await;
}

#[tokio::test]
async fn an_upgrade_to_a_backend_that_is_down_is_a_502() {
    let mut backend = Backend::with_page("page").await;
    backend.stop().await;
    let proxy = Proxy::start(&backend).await;

    proxy
        .send(upgrade("/ws"))
        .await
        .assert_refused(502, Reason::Unreachable);
}

#[tokio::test]
async fn a_websocket_library_talks_through_the_proxy() {
    use axum::extract::ws::{Message, WebSocketUpgrade};
    use axum::routing::any;
    use futures_util::{SinkExt, StreamExt};

    let echo = any(|upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Text(_) = &message
                    && socket.send(message).await.is_err()
                {
                    return;
                }
            }
        })
    });
    let site = crate::rig::Serving::start(axum::Router::new().route("/ws", echo)).await;
    let proxy = Setup::over_url(format!("http://{}", site.addr())).start().await;

    let url = format!("ws://{}/ws", proxy.addr());
    let (mut socket, response) = crate::rig::within("the handshake", tokio_tungstenite::connect_async(url))
        .await
        .expect("a WebSocket");
    assert_eq!(response.status(), 101);
    for word in ["hello", "again"] {
        socket.send(word.into()).await.unwrap();
        let reply = crate::rig::within("an echo", socket.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(reply.into_text().unwrap().as_str(), word);
    }
    socket.close(None).await.unwrap();
}
