//! A validation that the backend answers with 304: what is stored holds, and is fresh again.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use http::header::HeaderMap;

use crate::clock::unix_seconds;
use crate::flight::Ending;
use crate::outcome::Reason;
use crate::policy::freshness::{Lifetime, Stated, generated};
use crate::policy::store::{may_stay, stored_head};
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
        if !validate::confirms(&stale.rendering.head.headers, headers) {
            // It says that another representation holds, which only the whole answer shows.
            self.take_out_stale().await;
            return Ending::Again;
        }
        let rules = &self.visit.rules.store;
        let answer = stored_head(StatusCode::NOT_MODIFIED, headers, now, rules);
        let head = validate::freshened(&stale.rendering.head, &answer);
        let stated = Stated::by(&head, Some(unix_seconds(now)));
        let lifetime = Lifetime::of(&stated, &rules.lifetimes);
        let born = generated(headers, lifetime, requested, now);
        let is_over = answer.expires_after.is_none() && Lifetime::is_by_expires(&stated, &rules.lifetimes);
        let born = match lifetime.seconds().filter(|_| is_over) {
            Some(seconds) => born.min(unix_seconds(now).saturating_sub(seconds)),
            None => born,
        };
        let asked = self.visit.asked(&self.request, now);
        match may_stay(&head, headers, &asked, rules) {
            Err(reason) => {
                self.take_out_stale().await;
                return Ending::GiveUp(reason);
            }
            Ok(names) if !names.iter().all(|name| stale.variant.has(name)) => {
                if !self.request.credentials.is_empty() {
                    return Ending::GiveUp(Reason::Authorization);
                }
                // By what it varies now, nobody can say whose it was.
                self.take_out_stale().await;
                return Ending::Again;
            }
            Ok(_) => {}
        }
        let kept = match (&stale.rendering.body, &stale.body) {
            (Some(sealed), Some(file)) => Kept::Same(sealed.clone(), file.id),
            _ => Kept::Nothing,
        };
        match self
            .commit_kept(stale.variant.names(), head, born, || Ok(kept))
            .await
        {
            // It holds, whether or not the disk takes note of it.
            Ok(()) | Err(Reason::Disk | Reason::ReadOnly) => {
                self.settle();
                Ending::Validated
            }
            Err(reason) => Ending::GiveUp(reason),
        }
    }
}
