//! What an invalidation reaches in one proxy: its store, the fills under way, what it knows in memory.

use std::sync::Arc;

use crate::flight::FlightTable;
use crate::pattern::KeyPattern;
use crate::snapshot::{Listener, Store};

use crate::invalidate::{Invalidation, RefreshError, Target, Ticket};

/// A store as a trigger drives it, and what hears of its invalidations as long as this lives.
pub(crate) struct StoreTarget {
    store: Arc<Store>,
    _listener: Arc<Listener>,
}

impl StoreTarget {
    /// Has every invalidation of `store`, whoever asked for it, reach `flights` and `memory` too.
    pub(crate) fn new(
        store: Arc<Store>,
        flights: &Arc<FlightTable>,
        memory: &Arc<impl Forgets + 'static>,
    ) -> Self {
        let (flights, memory) = (Arc::clone(flights), Arc::clone(memory));
        let listener: Arc<Listener> = Arc::new(move |patterns: &[KeyPattern]| {
            flights.take_out(|subject| patterns.iter().any(|pattern| pattern.is_match(subject)));
            memory.forget(patterns)
        });
        store.on_invalidation(&listener);
        Self {
            store,
            _listener: listener,
        }
    }
}

impl Target for StoreTarget {
    fn invalidate(&self, invalidation: &Invalidation) -> Result<Ticket, RefreshError> {
        if self.store.is_frozen() {
            return Err(RefreshError::Frozen);
        }
        if !(self.store.may_write() && self.store.is_still_writable()) {
            return Err(RefreshError::ReadOnly);
        }
        let removal = self.store.invalidate(invalidation);
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
