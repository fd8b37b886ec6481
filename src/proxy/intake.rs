//! How a fill's body comes in: to disk, and past it when the disk cannot hold it.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::flight::{FillHead, Growth, Lead, Progress};
use crate::outcome::Reason;
use crate::proxy::fill::Fill;
use crate::snapshot::BodyWriter;

/// How the body came in.
pub(super) enum Intake {
    Whole(Box<BodyWriter>, u64),
    /// Broken, spilled or abandoned: there is nothing to commit.
    Lost,
}

impl Fill {
    /// Writes the body as it comes, telling the readers.
    pub(super) async fn body(
        &self,
        lead: &Lead,
        head: &Arc<FillHead>,
        mut body: Body,
        mut writer: BodyWriter,
    ) -> Intake {
        let report = |growth| lead.report(Progress::Body(Arc::clone(head), growth));
        let mut length = 0;
        loop {
            let chunk = match next_chunk(&mut body).await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    tracing::warn!(key = self.visit.key.line(), error = %crate::error::chain(&error), "the backend broke off");
                    self.engine.tally.not_kept(Reason::Incomplete);
                    report(Growth::Broken(length));
                    return Intake::Lost;
                }
                None if head.length.is_some_and(|said| said != length) => {
                    self.engine.tally.not_kept(Reason::Incomplete);
                    report(Growth::Broken(length));
                    return Intake::Lost;
                }
                None => return Intake::Whole(Box::new(writer), length),
            };
            if length + chunk.len() as u64 > self.engine.rules.store.max_body {
                let own = self.visit.own_line(&self.request);
                let now = self.engine.clock.unix_seconds();
                self.engine
                    .memory
                    .remember(self.flight, &self.visit.key, &own, (Reason::TooLarge, now));
                self.engine.tally.not_kept(Reason::TooLarge);
                self.spill(lead, head, length, chunk, body).await;
                return Intake::Lost;
            }
            let data = chunk.clone();
            let written = tokio::task::spawn_blocking(move || {
                let result = writer.write(&data);
                (writer, result)
            });
            match written.await {
                Ok((back, Ok(()))) => writer = back,
                Ok((_, Err(error))) => {
                    self.disk_failed(&error);
                    self.engine.tally.not_kept(Reason::Disk);
                    self.spill(lead, head, length, chunk, body).await;
                    return Intake::Lost;
                }
                Err(_) => return Intake::Lost,
            }
            length += chunk.len() as u64;
            report(Growth::Growing(length));
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
