//! How a body grows, told to its readers. Of one that may yet be refused, in favour of the page that is stored, nothing is
//! told until it is whole, so that the head can say so; but nobody waits long for that. Any other is held back as long as it comes
//! without a wait: a page that is there with its head is told of once, and sent in one piece.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use crate::flight::{FillHead, Growth, Lead, Progress};
use crate::outcome::Reason;
use crate::proxy::intake::{Incoming, Piece};

/// For how long the head of one that may be refused is held back.
const PATIENCE: Duration = Duration::from_millis(100);
/// And for how long for the disk, behind that.
const DISK: Duration = Duration::from_secs(1);
/// For how long any other head is held back for the disk.
const BRIEFLY: Duration = Duration::from_millis(2);
/// How often the connection gets a turn to pass on what it has.
const TURNS: usize = 2;
/// A body that is longer so far is told of.
const LENGTH: u64 = 64 << 10;

/// See the module.
pub(super) struct Teller<'a> {
    lead: &'a Lead,
    head: &'a Arc<FillHead>,
    held: Option<Held>,
    /// What has come.
    grown: Growth,
}

/// Why nothing is told.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// It may be refused; until then.
    InDoubt(Instant),
    /// All that came so far came at once.
    AtOnce,
}

impl<'a> Teller<'a> {
    /// Tells what does not come at once.
    pub(super) fn open(lead: &'a Lead, head: &'a Arc<FillHead>) -> Self {
        Self::held(lead, head, Held::AtOnce)
    }

    /// Holds back what may be held back.
    pub(super) fn holding(lead: &'a Lead, head: &'a Arc<FillHead>) -> Self {
        Self::held(lead, head, Held::InDoubt(Instant::now() + PATIENCE))
    }

    fn held(lead: &'a Lead, head: &'a Arc<FillHead>, held: Held) -> Self {
        Self {
            lead,
            head,
            held: Some(held),
            grown: Growth::Growing(0),
        }
    }

    /// Whether nobody has been told anything.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn tell(&mut self, growth: Growth) {
        self.grown = growth;
        let may_wait = match growth {
            Growth::Growing(length) => length <= LENGTH,
            Growth::Whole(_) => true,
            Growth::Settled(..) | Growth::Spilled(_) | Growth::Broken(_) => false,
        };
        if self.held.is_some() && may_wait {
            return;
        }
        self.tell_all();
    }

    fn tell_all(&mut self) {
        self.held = None;
        let head = Arc::clone(self.head);
        self.lead.report(Progress::Body(head, self.grown));
    }

    /// What becomes of the page, which a disk may take long to say: whoever waits for that for long is told the rest.
    pub(super) async fn settled<T>(&mut self, settling: impl Future<Output = T>) -> T {
        let mut settling = pin!(settling);
        if let Some(held) = self.held {
            let patience = match held {
                Held::InDoubt(_) => DISK,
                Held::AtOnce => BRIEFLY,
            };
            if let Ok(settled) = timeout(patience, settling.as_mut()).await {
                return settled;
            }
            self.tell_all();
        }
        settling.await
    }

    /// The next piece. Who waits for it for long has the head meanwhile.
    pub(super) async fn next(&mut self, incoming: &mut Incoming) -> (Piece, Option<Reason>) {
        let mut next = pin!(incoming.next());
        let come = match self.held {
            None => None,
            Some(Held::InDoubt(until)) => timeout_at(until, next.as_mut()).await.ok(),
            Some(Held::AtOnce) => at_once(next.as_mut()).await,
        };
        if let Some(come) = come {
            return come;
        }
        if self.held.is_some() {
            self.tell_all();
        }
        next.await
    }
}

/// What comes without a wait. A piece that the connection has read already takes it a turn to pass on.
async fn at_once<T>(mut coming: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for turn in 0..=TURNS {
        if turn > 0 {
            yield_now().await;
        }
        let come = poll_fn(|context| Poll::Ready(coming.as_mut().poll(context))).await;
        if let Poll::Ready(come) = come {
            return Some(come);
        }
    }
    None
}
