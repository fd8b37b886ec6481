//! How a body grows, told to its readers. Of one that may yet be refused, in favour of the page that is stored, nothing is
//! told until it is whole, so that the head can say so; but nobody waits long for that.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::flight::{FillHead, Growth, Lead, Progress};
use crate::outcome::Reason;
use crate::proxy::intake::{Incoming, Piece};

/// For how long a head is held back.
const PATIENCE: Duration = Duration::from_millis(100);
/// And for how long for the disk, behind that.
const DISK: Duration = Duration::from_secs(1);
/// A body that is longer so far is told of.
const LENGTH: u64 = 64 << 10;

/// See the module.
pub(super) struct Teller<'a> {
    lead: &'a Lead,
    head: &'a Arc<FillHead>,
    /// Until when nothing is told.
    held: Option<Instant>,
    /// What has come.
    grown: Growth,
}

impl<'a> Teller<'a> {
    /// Tells all that comes.
    pub(super) fn open(lead: &'a Lead, head: &'a Arc<FillHead>) -> Self {
        let teller = Self {
            lead,
            head,
            held: None,
            grown: Growth::Growing(0),
        };
        teller.tell_all();
        teller
    }

    /// Holds back what may be held back.
    pub(super) fn holding(lead: &'a Lead, head: &'a Arc<FillHead>) -> Self {
        Self {
            lead,
            head,
            held: Some(Instant::now() + PATIENCE),
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
        self.held = None;
        self.tell_all();
    }

    fn tell_all(&self) {
        let head = Arc::clone(self.head);
        self.lead.report(Progress::Body(head, self.grown));
    }

    /// What becomes of the page, which a disk may take long to say: whoever waits for that for long is told the rest.
    pub(super) async fn settled<T>(&mut self, settling: impl Future<Output = T>) -> T {
        let mut settling = pin!(settling);
        if self.held.is_some() {
            if let Ok(settled) = timeout(DISK, settling.as_mut()).await {
                return settled;
            }
            self.held = None;
            self.tell_all();
        }
        settling.await
    }

    /// The next piece. Who waits for it for long has the head meanwhile.
    pub(super) async fn next(&mut self, incoming: &mut Incoming) -> (Piece, Option<Reason>) {
        if let Some(until) = self.held {
            if let Ok(next) = timeout_at(until, incoming.next()).await {
                return next;
            }
            self.held = None;
            self.tell_all();
        }
        incoming.next().await
    }
}
