//! A seat's body: the written prefix from the file, and what the file could not hold from the queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::{CHUNK, FillHead, Growth, Piece, Progress, Seat};

impl Seat {
    /// The body as it comes.
    pub(crate) fn into_body(self, head: Arc<FillHead>) -> Body {
        let reading = Reading {
            seat: self,
            head,
            position: 0,
        };
        Body::from_stream(stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

struct Reading {
    seat: Seat,
    head: Arc<FillHead>,
    position: u64,
}

/// What a reader does next.
enum Step {
    Read(u64),
    Queue,
    End,
    Break,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let position = self.position;
        let step = {
            let progress = self
                .seat
                .progress
                .wait_for(|progress| step(progress, position).is_some())
                .await;
            match progress.as_deref().map(|progress| step(progress, position)) {
                Ok(Some(step)) => step,
                // The fill is gone without a word.
                _ => Step::Break,
            }
        };
        match step {
            Step::Read(end) => self.read(end).await.map(Some),
            Step::Queue => {
                self.seat.taken.fetch_add(1, Ordering::Relaxed);
                match self.seat.queue.recv().await {
                    Some(Piece::Data(chunk)) => Ok(Some(chunk)),
                    Some(Piece::End) => Ok(None),
                    None => Err(broken()),
                }
            }
            Step::End => Ok(None),
            Step::Break => {
                // What was read before goes out first: a connection that is cut flushes nothing.
                tokio::task::yield_now().await;
                Err(broken())
            }
        }
    }

    async fn read(&mut self, end: u64) -> io::Result<Bytes> {
        self.seat.taken.fetch_add(1, Ordering::Relaxed);
        let limit = usize::try_from(end - self.position).unwrap_or(CHUNK).min(CHUNK);
        let bytes = self.head.content.read(self.position, limit).await?;
        if bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the fill's file is shorter than was written",
            ));
        }
        self.position += bytes.len() as u64;
        Ok(bytes)
    }
}

/// `None`: wait. The last piece waits until the page is committed, so that who has a whole response in
/// hand has the snapshot on disk.
fn step(progress: &Progress, position: u64) -> Option<Step> {
    let Progress::Body(head, growth) = progress else {
        return Some(Step::Break);
    };
    let (length, at_end) = match growth {
        Growth::Growing(length) if head.length != Some(*length) => (*length, None),
        Growth::Growing(length) | Growth::Whole(length) => {
            let is_last_piece = length - position <= CHUNK as u64;
            return (!is_last_piece).then_some(Step::Read(*length));
        }
        Growth::Settled(length, _) => (*length, Some(Step::End)),
        Growth::Spilled(length) => (*length, Some(Step::Queue)),
        Growth::Broken(length) => (*length, Some(Step::Break)),
    };
    if position < length {
        return Some(Step::Read(length));
    }
    at_end
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the backend broke off")
}
