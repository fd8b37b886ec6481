//! Hosts: while no `public_url` is set, whoever makes up a `Host` field makes up a site.
//!
//! Pages of so many hosts are stored and no more. When all places are taken, a host that nobody has
//! asked for in a while gives way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::key::Key;

use super::Store;
use super::evict::{Victim, believed};
use super::index::HostHold;
use super::write::CommitError;

/// A host none of whose pages was used for so many seconds gives way.
const IDLE: u32 = 600;
/// Such a host is looked for once in so many seconds.
const BETWEEN: u64 = 60;

impl Store {
    /// Whether pages of the key's host may be stored. Where not, that may change in a while.
    pub(crate) fn admits_host(self: &Arc<Self>, key: &Key) -> bool {
        let Some(host) = key.part("host") else {
            return true;
        };
        if self.index.has_host_room(host, self.options.bounds.hosts) {
            return true;
        }
        self.hosts_full.say(|| {
            tracing::warn!(
                host,
                max_hosts = self.options.bounds.hosts,
                "pages of as many hosts are stored as may be; requests for others pass. Set `public_url`, so that the host is no part of the key, or raise `max_hosts`"
            );
        });
        let now = self.options.clock.unix_seconds();
        let last = self.hosts_searched.load(Ordering::Relaxed);
        if now.abs_diff(last) >= BETWEEN
            && self
                .hosts_searched
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let store = Arc::clone(self);
            // Idle when it was asked, not when the look begins.
            let now = self.now_u32();
            self.look_over(move || store.evict_idle_host(now));
        }
        false
    }

    /// The host's place, until the key that is being committed is in the index.
    pub(super) fn hold_host(&self, key: &Key) -> Result<Option<HostHold<'_>>, CommitError> {
        let Some(host) = key.part("host") else {
            return Ok(None);
        };
        let held = self.index.hold_host(host, self.options.bounds.hosts);
        held.map(Some).ok_or(CommitError::Hosts)
    }

    /// The host that was used longest ago, if that is long enough.
    fn evict_idle_host(self: &Arc<Self>, now: u32) {
        // What was used since is not ahead of the clock.
        let clock = self.now_u32();
        let mut used: HashMap<Box<str>, u32> = HashMap::new();
        self.index.for_each(|_, entry| {
            let Some(host) = entry.host() else {
                return;
            };
            let at = match self.stays(entry) {
                // Its host stays.
                true => now,
                false => believed(entry.life.used_at().max(entry.life.stored_at()), clock),
            };
            match used.get_mut(host) {
                Some(latest) => *latest = at.max(*latest),
                None => {
                    used.insert(host.into(), at);
                }
            }
        });
        let idle = used
            .iter()
            .filter(|(_, at)| now.saturating_sub(**at) >= IDLE)
            .min_by_key(|(_, at)| **at);
        let Some((idle, _)) = idle else {
            return;
        };
        let mut victims = VecDeque::new();
        self.index.for_each(|short, entry| {
            if entry.host() == Some(idle) {
                victims.push_back(Victim::of(short, entry, clock));
            }
        });
        tracing::info!(host = %idle, pages = victims.len(), "a host that nobody asks for gives way to another (`max_hosts`)");
        self.evict_these(victims);
    }
}
