//! What is to be rendered anew: the pages stay until they are, and what nobody can order is to be validated.

use std::io;
use std::sync::Arc;

use crate::key::Key;
use crate::pattern::KeyPattern;

use super::{Matching, Store};

/// What of a key is to be validated before it is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    All,
    /// The page itself is another's to see to.
    Variants,
}

impl Store {
    /// The keys that match, by their text.
    pub(crate) fn found_by(&self, pattern: &KeyPattern) -> Vec<Matching> {
        let keys = self.index.all();
        let matching = keys.iter().filter(|entry| pattern.is_match(entry.subject()));
        let mut found: Vec<Matching> = matching
            .map(|entry| Matching {
                key: entry.key.clone(),
                own: entry.subject().own.map(Into::into),
                has_variants: entry.with_fields() > 0,
                is_tombstone: entry.is_tombstone(),
            })
            .collect();
        found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        found
    }

    /// Fills under way of what matches were begun before this, and neither keep what they bring nor answer who comes
    /// after it. What is stored stays as it is.
    pub(crate) fn overtake(&self, patterns: &Arc<[KeyPattern]>) {
        self.take_number(|ledger| ledger.enter_foreign(Arc::clone(patterns)));
        self.tell(patterns);
    }

    /// Marks a key, in memory and on disk. Not in the log: who asks for it waits for the disk.
    ///
    /// # Errors
    /// Those of the file system; it is marked in memory all the same.
    pub(crate) fn mark_to_validate(&self, text: &str, marked: Marked) -> io::Result<()> {
        let key = Key::from_text(text);
        let _stripe = self.stripe(key.hash.short());
        let entry = {
            let _ledger = self.ledger();
            let Some(entry) = self.index.get(&key) else {
                return Ok(());
            };
            let entry = (*entry).clone();
            self.index.insert(match marked {
                Marked::All => entry.invalidated(),
                Marked::Variants => entry.with_variants_invalidated(),
            });
            self.index.get(&key)
        };
        self.let_others_in();
        self.mark_key(&key, entry.as_deref())
    }
}
