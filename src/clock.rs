//! The only caller of `SystemTime::now`: everything else is told what time it is, so that tests can
//! let a year pass.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a proxy takes the wall-clock time from. The default is the system's clock; a library user's
/// tests may hold their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that asks `now` each time.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Whole seconds since 1970; 0 for a clock that stands before it.
    pub(crate) fn unix_seconds(&self) -> u64 {
        unix_seconds(self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::from_fn(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The system's time, whatever clock a proxy holds: what file systems write into inodes.
pub(crate) fn system_now() -> SystemTime {
    SystemTime::now()
}

/// Whole seconds since 1970; 0 for a time before it.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// A date as HTTP writes it, whose years have four digits: a later time is the last of them.
pub(crate) fn http_date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(from_unix_seconds(seconds.min(LAST)))
}

/// The time `seconds` after 1970, or 1970 where there is no such time.
pub(crate) fn from_unix_seconds(seconds: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}
