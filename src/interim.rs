//! Interim answers (1xx, RFC 9110 §15.2) on their way from a backend to a client.
//!
//! hyper's server writes none, so they are written beside it: the client's socket takes them from here when hyper
//! flushes it with nothing left to write, which during a request is before its answer's first byte. The answer waits
//! until they are out.

use std::future::poll_fn;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use http::StatusCode;
use http::header::{self, HeaderMap};

use crate::headers::strip_hop_by_hop;

/// Interim answers of one HTTP/1.1 connection. There is one request at a time.
#[derive(Clone, Default)]
pub(crate) struct Interims(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    /// The request that is being answered; those before it are over.
    current: Option<u64>,
    next: u64,
    waiting: Vec<u8>,
    connection: Option<Waker>,
    answer: Option<Waker>,
}

/// What may wait for a client at once, in bytes; more is dropped.
const MOST: usize = 32 << 10;

impl Interims {
    /// A request whose answer has not begun: until [`end`](Self::end) interim ones may go before it.
    pub(crate) fn begin(&self) -> Sender {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.current = Some(number);
        drop(queue);
        Sender {
            interims: self.clone(),
            number,
        }
    }

    /// Waits until what was sent is written; after that nothing more is for this request.
    pub(crate) async fn end(&self) {
        let is_done = {
            let mut queue = self.queue();
            queue.current = None;
            queue.waiting.is_empty()
        };
        if is_done {
            return;
        }
        poll_fn(|context| {
            let mut queue = self.queue();
            if queue.waiting.is_empty() {
                queue.answer = None;
                return Poll::Ready(());
            }
            queue.answer = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Has `write` take what waits; it says how much it took. Called when nothing else is to be written.
    pub(crate) fn write_with<E>(
        &self,
        waker: &Waker,
        mut write: impl FnMut(&[u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<(), E>> {
        let mut queue = self.queue();
        while !queue.waiting.is_empty() {
            let Poll::Ready(written) = write(&queue.waiting) else {
                return Poll::Pending;
            };
            // A socket that takes nothing takes nothing more: hyper finds that out.
            let written = match written? {
                0 => queue.waiting.len(),
                written => written.min(queue.waiting.len()),
            };
            queue.waiting.drain(..written);
        }
        if !queue
            .connection
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            queue.connection = Some(waker.clone());
        }
        if let Some(answer) = queue.answer.take() {
            answer.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where interim answers to one request go, as an extension of it.
#[derive(Clone)]
pub(crate) struct Sender {
    interims: Interims,
    number: u64,
}

impl Sender {
    /// Passes one on, if the request's own answer has not begun. `100` and `101` are of one connection, and are not
    /// passed on.
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        if !status.is_informational()
            || matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS)
        {
            return;
        }
        let bytes = head(status, headers);
        let mut queue = self.interims.queue();
        if queue.current != Some(self.number) || queue.waiting.len() + bytes.len() > MOST {
            return;
        }
        queue.waiting.extend_from_slice(&bytes);
        if let Some(connection) = &queue.connection {
            connection.wake_by_ref();
        }
    }
}

/// An interim answer has no content (RFC 9110 §15.2), and says nothing of its length.
fn head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    strip_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    // A fill's are for nobody, and what keeps cookies takes them from final answers.
    headers.remove(header::SET_COOKIE);
    let reason = status.canonical_reason().unwrap_or("");
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in &headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn written(interims: &Interims) -> String {
        let mut written = Vec::new();
        let polled = interims.write_with(Waker::noop(), |bytes| {
            // A socket that takes little at once.
            let some = bytes.get(..7).unwrap_or(bytes);
            written.extend_from_slice(some);
            Poll::Ready(Ok::<_, ()>(some.len()))
        });
        assert_eq!(polled, Poll::Ready(Ok(())));
        String::from_utf8(written).unwrap()
    }

    fn hints() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append("link", HeaderValue::from_static("</a.css>; rel=preload"));
        headers.append("connection", HeaderValue::from_static("x-hop"));
        headers.append("x-hop", HeaderValue::from_static("1"));
        headers.append("content-length", HeaderValue::from_static("5"));
        headers.append("set-cookie", HeaderValue::from_static("a=b"));
        headers
    }

    #[test]
    fn an_interim_answer_is_written_without_what_is_of_the_backend_s_connection() {
        let interims = Interims::default();
        let sender = interims.begin();
        sender.send(StatusCode::from_u16(103).unwrap(), &hints());
        assert_eq!(
            written(&interims),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
        assert_eq!(written(&interims), "");
    }

    #[test]
    fn what_comes_too_late_or_is_not_to_be_passed_on_is_dropped() {
        let interims = Interims::default();
        let first = interims.begin();
        for status in [100, 101, 200] {
            first.send(StatusCode::from_u16(status).unwrap(), &hints());
        }
        assert_eq!(written(&interims), "");
        let second = interims.begin();
        first.send(StatusCode::PROCESSING, &hints());
        assert_eq!(written(&interims), "", "the request before");
        second.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(written(&interims), "HTTP/1.1 102 Processing\r\n\r\n");
        assert!(futures_util::FutureExt::now_or_never(interims.end()).is_some());
        second.send(StatusCode::PROCESSING, &hints());
        assert_eq!(written(&interims), "", "its answer has begun");
    }

    #[test]
    fn the_answer_waits_until_what_was_sent_is_written() {
        let interims = Interims::default();
        interims.begin().send(StatusCode::PROCESSING, &hints());
        let mut end = Box::pin(interims.end());
        assert!(futures_util::FutureExt::now_or_never(end.as_mut()).is_none());
        assert!(!written(&interims).is_empty());
        assert!(futures_util::FutureExt::now_or_never(end).is_some());
    }

    #[test]
    fn what_waits_is_bounded() {
        let interims = Interims::default();
        let sender = interims.begin();
        for _ in 0..10_000 {
            sender.send(StatusCode::PROCESSING, &hints());
        }
        assert!(written(&interims).len() <= MOST);
    }
}
