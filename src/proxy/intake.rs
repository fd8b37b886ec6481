//! How a fill's body comes in: to disk, and past it when the disk cannot hold it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderMap;
use http_body_util::BodyExt;

use crate::flight::{FillHead, Growth, Lead, Progress};
use crate::outcome::Reason;
use crate::policy::markup::Scanner;
use crate::proxy::fill::Fill;
use crate::proxy::teller::Teller;
use crate::snapshot::{BodyWriter, WriteError};

/// How long a page's head waits for the first piece of its body.
const LOOK_AHEAD: Duration = Duration::from_millis(100);

/// A body as it comes from the backend, looked through on the way.
pub(super) struct Incoming {
    body: Body,
    scanner: Option<Scanner>,
    /// What came before its turn, and has been looked through.
    ahead: Option<Piece>,
}

pub(super) type Piece = Option<Result<Bytes, axum::Error>>;

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Self {
        Self {
            body,
            scanner: Scanner::for_response(headers),
            ahead: None,
        }
    }

    /// Looks through the first piece of a page before anybody has its head: until then, what must not be
    /// shared need not be. Most pages that have a token say so in their first kilobytes. A backend that sends
    /// its head early and its body late is not waited for.
    pub(super) async fn look_ahead(&mut self) -> Option<Reason> {
        let scanner = self.scanner.as_mut()?;
        let piece = tokio::time::timeout(LOOK_AHEAD, next_chunk(&mut self.body))
            .await
            .ok()?;
        let found = match &piece {
            Some(Ok(chunk)) => scanner.read(chunk),
            _ => None,
        };
        self.ahead = Some(piece);
        found
    }

    /// The next piece, and why the page must not be shared, if it is the one that says so.
    pub(super) async fn next(&mut self) -> (Piece, Option<Reason>) {
        if let Some(piece) = self.ahead.take() {
            return (piece, None);
        }
        let piece = next_chunk(&mut self.body).await;
        let found = match (&piece, &mut self.scanner) {
            (Some(Ok(chunk)), Some(scanner)) => scanner.read(chunk),
            _ => None,
        };
        (piece, found)
    }

    /// The body again, from its beginning.
    pub(super) fn into_body(self) -> Body {
        match self.ahead {
            None => self.body,
            Some(first) => {
                let rest = stream::unfold(self.body, |mut body| async {
                    next_chunk(&mut body).await.map(|piece| (piece, body))
                });
                Body::from_stream(stream::StreamExt::chain(stream::iter(first), rest))
            }
        }
    }
}

/// How the body came in.
pub(super) enum Intake {
    /// With its file, if it has got one.
    Whole(Option<Box<BodyWriter>>, u64),
    /// Broken, spilled or abandoned: there is nothing to commit.
    Lost,
}

impl Fill {
    /// Writes the body as it comes, telling the readers.
    pub(super) async fn body(
        &self,
        lead: &Lead,
        head: &Arc<FillHead>,
        (mut incoming, teller): (Incoming, &mut Teller<'_>),
    ) -> Intake {
        let mut writer: Option<Box<BodyWriter>> = None;
        let mut length = 0;
        loop {
            let (piece, found) = teller.next(&mut incoming).await;
            let chunk = match piece {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    self.engine.backend_failed(self.visit.key.line(), &error);
                    self.not_kept(Reason::Incomplete);
                    teller.tell(Growth::Broken(length));
                    return Intake::Lost;
                }
                None if head.length.is_some_and(|said| said != length) => {
                    self.not_kept(Reason::Incomplete);
                    teller.tell(Growth::Broken(length));
                    return Intake::Lost;
                }
                None => return Intake::Whole(writer, length),
            };
            let is_too_large = length + chunk.len() as u64 > self.visit.rules.store.max_body;
            if let Some(reason) = found.or(is_too_large.then_some(Reason::TooLarge)) {
                if found.is_some() {
                    self.take_out_stale().await;
                }
                self.remember(reason);
                self.not_kept(reason);
                // The room it takes is others'; its readers have a descriptor.
                drop(writer);
                self.spill(lead, head, length, chunk, incoming.body).await;
                return Intake::Lost;
            }
            if !head.content.take(&chunk) {
                match self.write(head, writer, &chunk).await {
                    Some(Ok(back)) => writer = Some(back),
                    Some(Err(error)) => {
                        self.not_kept(self.not_written(&error));
                        self.spill(lead, head, length, chunk, incoming.body).await;
                        return Intake::Lost;
                    }
                    None => return Intake::Lost,
                }
            }
            length += chunk.len() as u64;
            teller.tell(Growth::Growing(length));
        }
    }

    /// Writes a piece to the file, which begins with what was in memory. Nothing if that panicked.
    async fn write(
        &self,
        head: &Arc<FillHead>,
        writer: Option<Box<BodyWriter>>,
        chunk: &Bytes,
    ) -> Option<Result<Box<BodyWriter>, WriteError>> {
        let (store, head, chunk) = (Arc::clone(&self.store), Arc::clone(head), chunk.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => {
                    let mut writer = Box::new(store.body_writer()?);
                    writer.write(&head.content.in_memory())?;
                    head.content.go_on_in(writer.reader()?);
                    writer
                }
            };
            writer.write(&chunk)?;
            Ok(writer)
        });
        written.await.ok()
    }

    fn not_written(&self, error: &WriteError) -> Reason {
        match error {
            WriteError::NoRoom => Reason::DiskLimit,
            WriteError::Disk(error) => {
                self.disk_failed(error);
                Reason::Disk
            }
        }
    }

    /// The file ends here; those who have a seat get the rest through their queues.
    async fn spill(&self, lead: &Lead, head: &Arc<FillHead>, length: u64, first: Bytes, mut body: Body) {
        let mut readers = lead.spill();
        lead.report(Progress::Body(Arc::clone(head), Growth::Spilled(length)));
        let mut sent = length;
        let mut chunk = first;
        loop {
            sent += chunk.len() as u64;
            if !readers.send(&chunk, self.engine.waits.body).await {
                return;
            }
            chunk = match next_chunk(&mut body).await {
                Some(Ok(chunk)) => chunk,
                Some(Err(_)) => return,
                None => break,
            };
        }
        if head.length.is_none_or(|said| said == sent) {
            readers.end(self.engine.waits.body).await;
        }
    }
}

/// The next piece of the body.
async fn next_chunk(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match body.frame().await? {
            // Trailers are not stored.
            Ok(frame) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Some(Ok(data)),
                _ => {}
            },
            Err(error) => return Some(Err(error)),
        }
    }
}
