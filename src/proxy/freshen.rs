//! A validation that the backend answers with 304: what is stored holds, and is fresh again.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::HeaderMap;

use crate::flight::Ending;
use crate::outcome::Reason;
use crate::policy::cache_control::CacheControl;
use crate::policy::freshness::{Lifetime, generated};
use crate::policy::store::stored_head;
use crate::policy::validate;
use crate::proxy::fill::Fill;
use crate::snapshot::{Kept, Snapshot};

impl Fill {
    /// The backend says that what is stored holds.
    pub(super) async fn freshen(
        &self,
        stale: &Arc<Snapshot>,
        headers: &HeaderMap,
        requested: SystemTime,
        now: SystemTime,
    ) -> Ending {
        let rules = &self.engine.rules.store;
        let answer = stored_head(StatusCode::NOT_MODIFIED, headers, now, rules);
        let head = validate::freshened(&stale.rendering.head, &answer);
        let lifetime = Lifetime::of(&head, rules.default_ttl);
        let born = generated(headers, lifetime, requested, now);
        // What it answers is another variant, or nobody's any more.
        if self.request.select(&stale.variant.names()) != stale.variant {
            return Ending::Again;
        }
        if let Some(reason) = withdrawn(&head.headers) {
            self.take_out_stale().await;
            return Ending::GiveUp(reason);
        }
        let kept = match (&stale.rendering.body, &stale.body) {
            (Some(sealed), Some(file)) => Kept::Same(sealed.clone(), file.id),
            _ => Kept::Nothing,
        };
        match self.commit_kept(stale.variant.names(), head, born, kept).await {
            // It holds, whether or not the disk takes note of it.
            Ok(()) | Err(Reason::Disk | Reason::ReadOnly) => Ending::Validated,
            Err(reason) => Ending::GiveUp(reason),
        }
    }
}

/// What a 304 may say of a page that was stored.
fn withdrawn(headers: &HeaderMap) -> Option<Reason> {
    let control = CacheControl::of(headers);
    match (control.no_store, control.private) {
        (true, _) => Some(Reason::NoStore),
        (_, true) => Some(Reason::Private),
        _ => None,
    }
}
