//! Single flight: one fill for a key however many ask at once.
//!
//! The fill runs in a task of its own, so that no client that goes away stops it. Everyone who asked,
//! the first one too, has a [`Seat`] and reads what the fill has so far, from memory while that is little and
//! then from its file; the fill runs at the
//! disk's pace and waits for no reader. When the disk fails or the body grows too large, that
//! prefix stays readable and the rest goes to each seat through a small queue of its own.

mod content;
mod reading;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, Response};
use tokio::sync::{mpsc, oneshot, watch};

use crate::head::{StoredHead, VariantKey};
use crate::outcome::Reason;
use crate::pattern::Subject;
use crate::policy::accept::Class;
use crate::tags::{Tagged, TagsUnknown};

pub(crate) use content::Content;

/// What tells one fill from another: the key, and what is sent beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey(pub(crate) [u8; 32]);

/// The head of a fill's answer that may be stored.
#[derive(Debug)]
pub(crate) struct FillHead {
    pub(crate) head: StoredHead,
    /// `Date`, `Age` and `Expires` as they came.
    pub(crate) dates: HeaderMap,
    /// When the head came, in seconds since 1970.
    pub(crate) came: u64,
    /// Seconds since 1970.
    pub(crate) generated: u64,
    /// Seconds; `None` is until invalidated.
    pub(crate) lifetime: Option<u64>,
    /// As the backend said it.
    pub(crate) length: Option<u64>,
    /// The fields by which the answer varies, and what the fill sent of them.
    pub(crate) names: Vec<HeaderName>,
    pub(crate) sent: VariantKey,
    /// Of a missing page: whom alone the answer is for.
    pub(crate) class: Option<Class>,
    pub(crate) content: Content,
}

/// How far a fill has come.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// No head yet.
    Waiting,
    /// The body comes in.
    Body(Arc<FillHead>, Growth),
    /// Over without a body to share.
    Over(Ending),
}

/// How much of the body is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    Growing(u64),
    /// All of it, not yet committed.
    Whole(u64),
    /// All of it, and what became of it.
    Settled(u64, Settled),
    /// The file ends here; the rest comes through the queues of those who had a seat.
    Spilled(u64),
    /// The backend broke off.
    Broken(u64),
}

/// What became of a whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Kept,
    NotKept(Reason),
}

/// An end without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The stored response was found to hold: look again.
    Validated,
    /// There was no need: look again.
    Again,
    /// No answer.
    Failed(Reason),
    /// A server error, where something is stored: who may have that gets it, and who began the fill else the error.
    Errored,
    /// An answer that is nobody else's: each has to ask for its own.
    GiveUp(Reason),
}

/// What the fill hands to the client that began it, where nobody else may have it.
pub(crate) type Handover = (Response<Body>, Reason);

/// The fills under way.
#[derive(Default)]
pub(crate) struct FlightTable {
    flights: Mutex<HashMap<FlightKey, Entry>>,
    next: AtomicU64,
}

struct Entry {
    number: u64,
    line: Box<str>,
    own: Box<str>,
    progress: Arc<watch::Sender<Progress>>,
    queues: Queues,
}

/// What comes through a queue.
#[derive(Debug, Clone)]
enum Piece {
    Data(Bytes),
    /// The whole body has come. A queue that only closes was cut off.
    End,
}

/// The fill's end of a seat.
struct Place {
    queue: mpsc::Sender<Piece>,
    /// How often the reader has taken something, so that one who reads slowly is told from one who does
    /// not read.
    taken: Arc<AtomicU64>,
}

type Queues = Arc<Mutex<Vec<Place>>>;

/// Takes a place in. Before there is more room, those of readers that went away are cleared: there are at
/// most twice as many as there were readers at once.
fn take_place(places: &mut Vec<Place>, place: Place) {
    if places.len() == places.capacity() {
        places.retain(|place| !place.queue.is_closed());
        places.reserve(places.len() + 1);
    }
    places.push(place);
}

/// Whether a request began a fill or joined one.
pub(crate) enum Joined {
    Leader(Lead, Seat, oneshot::Sender<Handover>),
    Follower(Seat),
}

/// The fill's side. Dropping it ends the flight; those who still wait see that it failed.
pub(crate) struct Lead {
    table: Arc<FlightTable>,
    key: FlightKey,
    number: u64,
    progress: Arc<watch::Sender<Progress>>,
    queues: Queues,
}

/// A reader's side.
pub(crate) struct Seat {
    pub(crate) progress: watch::Receiver<Progress>,
    queue: mpsc::Receiver<Piece>,
    taken: Arc<AtomicU64>,
    /// Only with the client that began the fill.
    pub(crate) handover: Option<oneshot::Receiver<Handover>>,
}

/// Chunks that wait for a slow reader once the file cannot hold them.
const QUEUE: usize = 8;
/// Bytes read at once.
const CHUNK: usize = 128 << 10;

impl FlightTable {
    /// Joins the fill under way for `key`, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: FlightKey, subject: Subject<'_>) -> Joined {
        let mut flights = self.flights();
        let (queue_in, queue) = mpsc::channel(QUEUE);
        let taken = Arc::new(AtomicU64::new(0));
        let place = Place {
            queue: queue_in,
            taken: Arc::clone(&taken),
        };
        if let Some(entry) = flights.get(&key) {
            take_place(&mut lock(&entry.queues), place);
            return Joined::Follower(Seat {
                progress: entry.progress.subscribe(),
                queue,
                taken,
                handover: None,
            });
        }
        let (sender, progress) = watch::channel(Progress::Waiting);
        let sender = Arc::new(sender);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let queues: Queues = Arc::new(Mutex::new(vec![place]));
        let (give, take) = oneshot::channel();
        flights.insert(
            key,
            Entry {
                number,
                line: subject.line.into(),
                own: subject.own.unwrap_or(subject.line).into(),
                progress: Arc::clone(&sender),
                queues: Arc::clone(&queues),
            },
        );
        let lead = Lead {
            table: Arc::clone(self),
            key,
            number,
            progress: sender,
            queues,
        };
        let seat = Seat {
            progress,
            queue,
            taken,
            handover: Some(take),
        };
        Joined::Leader(lead, seat, give)
    }

    /// Takes matching fills out: they go on for those who have a seat, and nobody joins them any more.
    pub(crate) fn take_out(&self, is_match: impl Fn(Subject<'_>) -> bool) {
        self.flights().retain(|_, entry| {
            // Before its head has come, an answer may have any tag.
            let head = match &*entry.progress.borrow() {
                Progress::Body(head, _) => Some(Arc::clone(head)),
                _ => None,
            };
            let tags: &dyn Tagged = head.as_ref().map_or(&TagsUnknown, |head| &head.head.tags);
            !is_match(Subject {
                line: &entry.line,
                own: Some(&entry.own),
                tags,
            })
        });
    }

    /// How many read, or wait to.
    #[cfg(test)]
    pub(crate) fn seats(&self) -> usize {
        let flights = self.flights();
        flights
            .values()
            .map(|entry| entry.progress.receiver_count())
            .sum()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<FlightKey, Entry>> {
        lock(&self.flights)
    }
}

impl Lead {
    pub(crate) fn report(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    /// Nobody joins from now on.
    pub(crate) fn close(&self) {
        let mut flights = self.table.flights();
        if flights
            .get(&self.key)
            .is_some_and(|entry| entry.number == self.number)
        {
            flights.remove(&self.key);
        }
    }

    /// Returns when for `patience` nobody has had a seat.
    pub(crate) async fn abandoned(&self, patience: Duration) {
        loop {
            self.progress.closed().await;
            tokio::time::sleep(patience).await;
            if self.progress.receiver_count() == 0 {
                return;
            }
        }
    }

    /// The queues of those who have a seat. No others are made: the flight is closed first.
    pub(crate) fn spill(&self) -> Spill {
        self.close();
        Spill(std::mem::take(&mut *lock(&self.queues)))
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.close();
    }
}

/// See [`Lead::spill`].
pub(crate) struct Spill(Vec<Place>);

impl Spill {
    /// Gives `chunk` to every reader, side by side. One that takes nothing for `patience` is cut off.
    /// False when nobody is left.
    pub(crate) async fn send(&mut self, chunk: &Bytes, patience: Duration) -> bool {
        self.give(&Piece::Data(chunk.clone()), patience).await
    }

    /// Tells every reader that this was all.
    pub(crate) async fn end(mut self, patience: Duration) {
        self.give(&Piece::End, patience).await;
    }

    async fn give(&mut self, piece: &Piece, patience: Duration) -> bool {
        let gifts = self.0.drain(..).map(|place| place.give(piece.clone(), patience));
        self.0 = join_all(gifts).await.into_iter().flatten().collect();
        !self.0.is_empty()
    }
}

impl Place {
    /// Itself again, if the reader is still there.
    async fn give(self, piece: Piece, patience: Duration) -> Option<Self> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        let queue = self.queue.clone();
        loop {
            match tokio::time::timeout(patience, queue.reserve()).await {
                Ok(Ok(permit)) => {
                    permit.send(piece);
                    return Some(self);
                }
                Ok(Err(_)) => return None,
                Err(_) => {
                    let now = self.taken.load(Ordering::Relaxed);
                    if std::mem::replace(&mut taken, now) == now {
                        return None;
                    }
                }
            }
        }
    }
}

impl Seat {
    /// The progress once it is another than `Waiting`.
    pub(crate) async fn settled(&mut self) -> Progress {
        let waited = self
            .progress
            .wait_for(|progress| !matches!(progress, Progress::Waiting))
            .await;
        match waited {
            Ok(progress) => progress.clone(),
            Err(_) => Progress::Over(Ending::Failed(Reason::Unreachable)),
        }
    }

    /// The end of a body that is whole but not committed.
    pub(crate) async fn committed(&mut self) -> Settled {
        let is_settled = |progress: &Progress| !matches!(progress, Progress::Body(_, Growth::Whole(_)));
        match self.progress.wait_for(is_settled).await.as_deref() {
            Ok(Progress::Body(_, Growth::Settled(_, settled))) => *settled,
            _ => Settled::NotKept(Reason::Disk),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded stays whole at every step, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_went_away_keep_no_places() {
        let table = Arc::new(FlightTable::default());
        let subject = Subject::line("GET:/");
        let key = FlightKey([0; 32]);
        let Joined::Leader(lead, first, _handover) = table.join(key, subject) else {
            panic!("nobody flies yet");
        };
        let mut staying = Vec::new();
        for n in 0..1_000 {
            let Joined::Follower(seat) = table.join(key, subject) else {
                panic!("a flight is under way");
            };
            if n % 100 == 0 {
                staying.push(seat);
            }
        }
        assert!(lock(&lead.queues).len() <= 32, "{}", lock(&lead.queues).len());
        let open = lead
            .spill()
            .0
            .iter()
            .filter(|place| !place.queue.is_closed())
            .count();
        assert_eq!(open, 1 + staying.len());
        drop(first);
    }
}
