//! Answers that take their time or never end: a page that streams, an event stream, a WebSocket.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream::{self, Stream};

use super::{Shared, pages};

const MESSAGE_BYTES: usize = 64 << 10;

/// The first piece goes at once, the others as they are ready: 1.5 s in all.
pub(super) async fn slow(State(site): Shared) -> Response {
    let edition = site.begin("/slow");
    let pause = site.pace.piece();
    let pieces = pages::panorama(edition).into_iter().enumerate();
    let body = stream::unfold(pieces, move |mut rest| async move {
        let (n, piece) = rest.next()?;
        if n > 0 {
            tokio::time::sleep(pause).await;
        }
        Some((Ok::<_, Infallible>(piece), rest))
    });
    let content_type = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    (content_type, Body::from_stream(body)).into_response()
}

pub(super) async fn live_page(State(site): Shared) -> Html<String> {
    site.render("/live").await;
    Html(pages::live())
}

/// A reading of the anemometer every second.
pub(super) async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    Sse::new(stream::unfold((seconds, 0u64), |(mut seconds, n)| async move {
        seconds.tick().await;
        let wind = 14 + (n * 7 + n / 3) % 23;
        let event = Event::default()
            .id(n.to_string())
            .data(format!("{{\"reading\":{n},\"wind\":{wind}}}"));
        Some((Ok(event), (seconds, n + 1)))
    }))
}

pub(super) async fn echo_page(State(site): Shared) -> Html<String> {
    site.render("/echo").await;
    Html(pages::echo())
}

pub(super) async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MESSAGE_BYTES).on_upgrade(send_back)
}

async fn send_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
