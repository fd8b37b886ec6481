//! Invalidation: [`RefreshTrigger`] takes a pattern to every proxy that it drives.
//!
//! An invalidation is in force when the call returns; the files go in the background, and the
//! awaitable forms wait for that.

#[cfg(feature = "watch")]
pub(crate) mod watch;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{broadcast, oneshot};

use crate::pattern::KeyPattern;

/// What subscribers of a [`RefreshTrigger`] are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshMessage {
    /// Everything was invalidated.
    All,
    /// What matches this pattern was invalidated; of a tag, `tag:` and its name.
    Pattern(String),
}

/// What an invalidation does with the snapshots that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshMode {
    /// Deletes them.
    #[default]
    Delete,
    /// Keeps them, to be validated before they are used again; they still serve while the backend is
    /// down.
    Stale,
}

/// What an awaited invalidation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Refreshed {
    /// Snapshots removed, or marked in [`RefreshMode::Stale`]; answers held in memory only count too.
    pub removed: u64,
}

/// Why an invalidation did not do all that it promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The text is not a pattern; nothing was invalidated.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// A directory is only read here and was not invalidated; the process that writes it has to do it.
    #[error("another process writes the snapshot directory; it was not invalidated from here")]
    ReadOnly,
    /// The directory is all there is here ([`Settings::frozen`](crate::Settings::frozen)); nothing was invalidated.
    #[error(
        "nothing is invalidated here: only what is stored is served (`frozen`), and nothing of it grows stale"
    )]
    Frozen,
    /// In force in this process, but not recorded or not removed on disk: a restart may bring it back.
    #[error("in force now, but the disk refused: a restart may bring the snapshots back")]
    Disk(#[source] io::Error),
}

/// One invalidation, as the targets get it.
#[derive(Debug, Clone)]
pub(crate) struct Invalidation {
    pub(crate) patterns: Arc<[KeyPattern]>,
    pub(crate) mode: RefreshMode,
}

/// What a target answers at once: the invalidation is in force.
pub(crate) struct Ticket {
    pub(crate) removed: u64,
    /// Answers when the files are gone.
    pub(crate) done: oneshot::Receiver<io::Result<()>>,
}

/// Something that holds snapshots.
pub(crate) trait Target: Send + Sync {
    fn invalidate(&self, invalidation: &Invalidation) -> Result<Ticket, RefreshError>;
}

/// Invalidates snapshots, from code. Clones drive the same proxies; one trigger may drive several.
#[derive(Clone)]
pub struct RefreshTrigger {
    shared: Arc<Shared>,
}

struct Shared {
    targets: Mutex<Vec<Weak<dyn Target>>>,
    messages: broadcast::Sender<RefreshMessage>,
}

const SUBSCRIBER_BACKLOG: usize = 1024;

impl RefreshTrigger {
    /// A trigger that drives nothing yet; see [`create_proxy_with_trigger`](crate::create_proxy_with_trigger).
    pub fn new() -> Self {
        let (messages, _) = broadcast::channel(SUBSCRIBER_BACKLOG);
        Self {
            shared: Arc::new(Shared {
                targets: Mutex::default(),
                messages,
            }),
        }
    }

    /// Invalidates everything. In force when the call returns; failures of the disk are logged.
    pub fn trigger(&self) {
        drop(self.begin(&["*"], RefreshMode::Delete));
    }

    /// Invalidates what matches `pattern`: `*` matches any run of characters; `/a` is a path with
    /// every query, `GET:/a` a key, `tag:news` what the backend tagged so. In force when the call returns; a text that is no pattern, and
    /// failures of the disk, are logged.
    pub fn trigger_by_key_match(&self, pattern: &str) {
        drop(self.begin(&[pattern], RefreshMode::Delete));
    }

    /// Invalidates every page that the backend tagged so (`Cache-Tag`, `Surrogate-Key`, `xkey`); the same as the
    /// pattern `tag:…`. In force when the call returns; a text that is no tag, and failures of the disk, are logged.
    pub fn trigger_by_tag(&self, tag: &str) {
        self.trigger_by_key_match(&of_tag(tag));
    }

    /// Invalidates everything and waits until it is gone from disk.
    ///
    /// # Errors
    /// When the directory is read-only here, or the disk refuses.
    ///
    /// # Cancel safety
    /// The invalidation is in force once this is polled; dropping the future only stops the waiting.
    pub async fn refresh(&self) -> Result<Refreshed, RefreshError> {
        self.refresh_matching(&["*"], RefreshMode::Delete).await
    }

    /// Invalidates what matches any of `patterns`, all of them at one instant, and waits until it is
    /// gone from disk, or marked there.
    ///
    /// # Errors
    /// When a text is no pattern (nothing is invalidated then), the directory is read-only here, or
    /// the disk refuses.
    ///
    /// # Cancel safety
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_matching(
        &self,
        patterns: &[&str],
        mode: RefreshMode,
    ) -> Result<Refreshed, RefreshError> {
        Self::finish(self.begin(patterns, mode)?).await
    }

    /// Invalidates every page that the backend tagged with any of `tags`, as
    /// [`refresh_matching`](Self::refresh_matching) does.
    ///
    /// # Errors
    /// As [`refresh_matching`](Self::refresh_matching).
    ///
    /// # Cancel safety
    /// As [`refresh`](Self::refresh).
    pub async fn refresh_tags(&self, tags: &[&str], mode: RefreshMode) -> Result<Refreshed, RefreshError> {
        let patterns: Vec<String> = tags.iter().map(|tag| of_tag(tag)).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        self.refresh_matching(&patterns, mode).await
    }

    /// Waits until what was begun is gone from disk, or marked there.
    pub(crate) async fn finish(tickets: Vec<Ticket>) -> Result<Refreshed, RefreshError> {
        let mut refreshed = Refreshed::default();
        let mut failure = None;
        for ticket in tickets {
            refreshed.removed += ticket.removed;
            // A store that is gone has nothing left to remove.
            if let Ok(Err(error)) = ticket.done.await {
                failure = Some(RefreshError::Disk(error));
            }
        }
        failure.map_or(Ok(refreshed), Err)
    }

    /// Subscribes to what this trigger is told. A receiver that falls 1024 messages behind is told so
    /// by [`RecvError::Lagged`](broadcast::error::RecvError::Lagged).
    pub fn subscribe(&self) -> broadcast::Receiver<RefreshMessage> {
        self.shared.messages.subscribe()
    }

    pub(crate) fn attach(&self, target: &Arc<dyn Target>) {
        let mut targets = self.targets();
        targets.retain(|known| known.strong_count() > 0);
        targets.push(Arc::downgrade(target));
    }

    /// In force when it returns; what fails is logged.
    pub(crate) fn begin(&self, patterns: &[&str], mode: RefreshMode) -> Result<Vec<Ticket>, RefreshError> {
        let result = self.apply(patterns, mode);
        match &result {
            Err(error @ RefreshError::Disk(_)) => {
                tracing::error!(?patterns, error = %crate::error::chain(error), "invalidation failed");
            }
            // Nothing is broken here: it was asked of the wrong place, or in the wrong words.
            Err(error) => {
                tracing::warn!(?patterns, error = %crate::error::chain(error), "invalidation refused");
            }
            Ok(_) => {}
        }
        result
    }

    fn apply(&self, patterns: &[&str], mode: RefreshMode) -> Result<Vec<Ticket>, RefreshError> {
        let compiled = patterns
            .iter()
            .map(|text| {
                KeyPattern::parse(text).map_err(|error| RefreshError::Pattern {
                    pattern: (*text).into(),
                    why: error.to_string(),
                })
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let invalidation = Invalidation {
            patterns: compiled,
            mode,
        };
        let targets: Vec<_> = self.targets().iter().filter_map(Weak::upgrade).collect();
        // Every target gets it, even if an earlier one refuses.
        let outcomes: Vec<_> = targets
            .iter()
            .map(|target| target.invalidate(&invalidation))
            .collect();
        for pattern in invalidation.patterns.iter() {
            let message = match pattern {
                KeyPattern::All => RefreshMessage::All,
                pattern => RefreshMessage::Pattern(pattern.as_str().into()),
            };
            // Nobody listening is not an error.
            let _ = self.shared.messages.send(message);
        }
        outcomes.into_iter().collect()
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Weak<dyn Target>>> {
        self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pattern of a tag.
pub(crate) fn of_tag(tag: &str) -> String {
    format!("{}{tag}", crate::pattern::TAG)
}

impl Default for RefreshTrigger {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RefreshTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTrigger").finish_non_exhaustive()
    }
}
