//! Looks that wait for nothing: what was read and checked before answers, if the kernel says from its memory that the files are
//! in the states in which that was done. What it does not say is for a look that may wait.

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;

use crate::fsops::{FileId, is_absence};
use crate::head::VariantKey;
use crate::key::Key;
use crate::snapshot::found::Snapshot;
use crate::snapshot::layout::Stem;

use super::{Choice, Frozen, Shown};

/// What a base sidecar says, in one state of its file.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) file: FileId,
    pub(super) names: Arc<[HeaderName]>,
    pub(super) has_rendering: bool,
}

impl Frozen {
    /// What was seen before, if its files are as they were.
    pub(super) fn look_at_once(&self, key: &Key, choice: &Choice<'_>) -> Option<Shown> {
        let stem = Stem::of(key);
        let Some(file) = self.state_at_once(&self.store.root.join(stem.sidecar(None)))? else {
            return Some(Shown::Nothing);
        };
        let base = self.base(key, &file)?;
        let wanted = (choice.select)(&base.names);
        let at_once = |wanted: &VariantKey| match (wanted.id(), base.has_rendering) {
            (None, false) => Some(None),
            (None, true) => self.snapshot_at_once((key, &stem), wanted, Some(file)),
            (Some(_), _) => self.snapshot_at_once((key, &stem), wanted, None),
        };
        if let Some(snapshot) = at_once(&wanted)? {
            return Some(Shown::Selected(snapshot));
        }
        let other = match base.has_rendering {
            true => VariantKey::default(),
            false => {
                let known = self.variants.get(&key.hash)?;
                match (choice.nearest)(&wanted, &known) {
                    Some(place) => known.get(place)?.clone(),
                    None => return Some(Shown::Nothing),
                }
            }
        };
        at_once(&other)?.map(Shown::InPlace)
    }

    /// By which fields a key varies, if its base sidecar is in the state in which that was read.
    pub(super) fn base(&self, key: &Key, file: &FileId) -> Option<Base> {
        let parsed = self.store.parsed.get(&key.hash, None);
        let base = match parsed {
            Some(snapshot) => Base {
                file: snapshot.sidecar,
                names: snapshot.variant.names().into(),
                has_rendering: true,
            },
            None => self.bases.get(&key.hash)?,
        };
        (base.file == *file).then_some(base)
    }

    /// A rendering that is in memory, if its files are as they were; nothing if there is none.
    fn snapshot_at_once(
        &self,
        (key, stem): (&Key, &Stem),
        wanted: &VariantKey,
        file: Option<FileId>,
    ) -> Option<Option<Arc<Snapshot>>> {
        let (store, id) = (&self.store, wanted.id());
        let file = match file {
            Some(file) => file,
            None => match self.state_at_once(&store.root.join(stem.sidecar(id)))? {
                Some(file) => file,
                None => return Some(None),
            },
        };
        let snapshot = store.parsed.get(&key.hash, id)?;
        let is_known = store.is_own(key, id, &snapshot.sidecar) && snapshot.variant.is_same(wanted);
        let is_same = is_known
            && snapshot.sidecar == file
            && match &snapshot.body {
                Some(body) => self.state_at_once(&body.path)? == Some(body.id),
                None => true,
            };
        is_same.then_some(Some(snapshot))
    }

    /// Nothing where that takes waiting, or fails.
    fn state_at_once(&self, path: &Path) -> Option<Option<FileId>> {
        match self.store.fs.stat_now(path)? {
            Ok(file) => Some(Some(file)),
            Err(error) if is_absence(&error) => Some(None),
            Err(_) => None,
        }
    }
}
