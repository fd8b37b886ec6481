//! What a stored response says of its age and date.

use http::header::{self, HeaderMap, HeaderValue};

use crate::head::{Generated, StoredHead};
use crate::policy::cache_control::CacheControl;

/// When a stored response was generated, and what time it is: seconds since 1970, and never the other way round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    generated: u64,
    now: u64,
    /// By so much it counts as older than that says, in seconds.
    older: u64,
}

impl Times {
    /// Where nothing is known of when it was, or that lies ahead (a clock that was put back), it is now.
    pub(crate) fn of(generated: Generated, now: u64) -> Self {
        let generated = match generated {
            Generated::At(born) => born.min(now),
            Generated::Unmarked | Generated::Invalidated => now,
        };
        Self {
            generated,
            now,
            older: 0,
        }
    }

    /// Of what is served though it is not fresh. Where nothing is known of when it was, it counts as being at the end
    /// of every lifetime that is stated: a cache behind us would take it for new, and keep what was invalidated.
    pub(crate) fn of_stale(generated: Generated, now: u64, head: &StoredHead) -> Self {
        let is_known = matches!(generated, Generated::At(born) if born <= now);
        let stated = CacheControl::longest(&head.headers).max(head.expires_after.unwrap_or(0));
        Self {
            older: if is_known { 0 } else { stated },
            ..Self::of(generated, now)
        }
    }

    pub(crate) fn generated(self) -> u64 {
        self.generated
    }

    /// Writes `Age`, `Date` and, of a response that had one, `Expires`. `Date` is the origin's, whatever the age
    /// (RFC 9110 §6.6.1: "the date and time at which the message was originated"), and the lifetime that `Expires`
    /// gave counts from there.
    pub(crate) fn write_to(self, headers: &mut HeaderMap, head: &StoredHead) {
        headers.insert(
            header::AGE,
            HeaderValue::from(self.now - self.generated + self.older),
        );
        headers.insert(header::DATE, head.ready.date.at(self.generated));
        if let Some(seconds) = head.expires_after {
            let expires = self.generated.saturating_add(seconds.saturating_sub(self.older));
            headers.insert(header::EXPIRES, head.ready.expires.at(expires));
        }
    }
}
