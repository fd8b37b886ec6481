//! `POST /commands/NAME`: what the program's commands do to a directory that this process writes.
//!
//! The answer comes line by line, as JSON: what is done, how far it is, and at last `done` or `error`. Whoever gets
//! neither knows that this process ended before it was done.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Control, Refusal, guard, only, read};
use crate::error::{Error, ErrorKind};

/// A list of pages may be long.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Lines of JSON. What sends them is bounded: a line a page of a run, or what one look at the directory finds.
pub type Lines = UnboundedReceiver<Value>;

/// What `/commands/NAME` does.
#[doc(hidden)]
pub trait Commands: Send + Sync {
    /// What tells this process from others, in `server.json` and in what `/healthz` says.
    fn id(&self) -> &str;

    /// What commands have to show, whatever the control token is: it stands in `server.json`, for who may read that.
    fn secret(&self) -> &str;

    /// Begins a command, within a runtime. Nothing where there is none of this name.
    fn begin(&self, name: &str, arguments: &Map<String, Value>) -> Option<Result<Lines, Error>>;
}

pub(super) async fn carry_out(
    State(control): State<Arc<Control>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    only(&[Method::POST], &parts.method)?;
    let commands = control.commands.as_ref().ok_or_else(nobody)?;
    guard::admit_command(&parts, commands.secret())?;
    let arguments = arguments(&read(body, MAX_BODY_BYTES).await?)?;
    let mut lines = commands
        .begin(&name, &arguments)
        .ok_or_else(nobody)?
        .map_err(|error| Refusal::of_command(&error))?;
    tracing::info!(command = name, "begun by request");
    let lines = stream::poll_fn(move |context| lines.poll_recv(context));
    let lines = futures_util::StreamExt::map(lines, |line| {
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{line}\n")))
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn arguments(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "nothing done: the body is no JSON object",
            "commands of the same version of phantom-frame know what to send",
        )),
    }
}

fn nobody() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "there is no such command here",
        "commands of the same version of phantom-frame know which there are",
    )
}

impl Refusal {
    fn of_command(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Config => Self::new(
                StatusCode::BAD_REQUEST,
                crate::error::chain(error),
                "correct what was asked for",
            ),
            _ => Self::of_render(error),
        }
    }
}
