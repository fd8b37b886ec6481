//! What an invalidation reaches in one proxy: its store, the fills under way, what it knows in memory.

use std::sync::Arc;

use crate::flight::FlightTable;
use crate::pattern::KeyPattern;
use crate::snapshot::Store;

use crate::invalidate::{Invalidation, RefreshError, Target, Ticket};

/// A store as a trigger drives it.
pub(crate) struct StoreTarget(pub(crate) Arc<Store>);

impl Target for StoreTarget {
    fn invalidate(&self, invalidation: &Invalidation) -> Result<Ticket, RefreshError> {
        if !self.0.may_write() {
            return Err(RefreshError::ReadOnly);
        }
        let removal = self.0.invalidate(invalidation);
        Ok(Ticket {
            removed: removal.removed,
            done: removal.done,
        })
    }
}

/// Something that knows answers without a file.
pub(crate) trait Forgets: Send + Sync {
    /// Drops what matches; returns how many answers that were.
    fn forget(&self, patterns: &[KeyPattern]) -> u64;
}

/// Has every invalidation of `store`, whoever asked for it, reach `flights` and `memory` too.
pub(crate) fn connect(store: &Store, flights: &Arc<FlightTable>, memory: &Arc<impl Forgets + 'static>) {
    let (flights, memory) = (Arc::downgrade(flights), Arc::downgrade(memory));
    store.on_invalidation(move |patterns| {
        if let Some(flights) = flights.upgrade() {
            flights.take_out(|subject| patterns.iter().any(|pattern| pattern.is_match(subject)));
        }
        memory.upgrade().map_or(0, |memory| memory.forget(patterns))
    });
}
