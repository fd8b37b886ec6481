//! Coded forms of bodies: `.phantom/derived/<hh>/<stem>.<seal16>.<br|zst|gz>`.
//!
//! The name has the seal of the body that a form is of, so a form never outlives its body: what the index does not
//! have under key, variant and seal is nobody's, and goes. Nothing is synced. A form is served only once it was
//! decoded and found to be the sealed body, in the very state of its file; what is torn or was changed is removed and
//! made again. So nothing here can be wrong, only missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::coding::{Coding, Codings};
use crate::fsops::FileId;
use crate::head::{Seal, VariantId};
use crate::key::{Key, KeyHash};

use super::Store;
use super::compress::{Level, is_of};
use super::forms::{Coded, Form, FormSets};
use super::found::Snapshot;
use super::hot::Piece;
use super::layout::{DERIVED, Stem, derived_of_body, parse_derived};
use super::scan::Looked;
use super::usage::blocks;

/// A form of the strong level is dated so, in seconds since 1970: a restart need not make it again. Where the time is
/// lost it does, once.
const STRONG_AT: u64 = 2;
/// Renderings that went, whose files are removed in one go while others wait.
const ORPHANS: usize = 64;

impl Store {
    /// Has the forms made that are wanted of a snapshot and not there, or not of the strong level, if that was not
    /// asked for lately.
    pub(crate) fn want_forms(&self, snapshot: &Snapshot, wanted: Codings) {
        let Some((open, level)) = snapshot.forms.sets().open(wanted) else {
            return;
        };
        let may_be_kept = self.is_writable() || self.is_frozen();
        let Some(body) = snapshot.body.as_ref().filter(|_| may_be_kept) else {
            return;
        };
        if snapshot.forms.is_due(self.now_u32())
            && let Some(name) = super::layout::parse_file_name(&body.path)
            && !self.coder.ask((name.short_hash, name.variant), open, level)
        {
            // There is no room: another hit asks.
            snapshot.forms.ask_again();
        }
    }

    /// The form, once its file was found to decode to the sealed body; one that does not is removed. Blocks.
    pub(crate) fn check_form(&self, snapshot: &Snapshot, coding: Coding) -> Option<Arc<Form>> {
        let _one = snapshot.forms.checking();
        if let Some(form) = snapshot.forms.checked(coding) {
            return Some(Arc::clone(form));
        }
        if !snapshot.forms.sets().ready.has(coding) {
            return None;
        }
        let (seal, length) = snapshot.sealed()?;
        let body = snapshot.body.as_ref()?;
        let path = self.root.join(derived_of_body(&body.path, &seal, coding)?);
        let piece = Piece {
            seal,
            coding: Some(coding),
        };
        let held = || (self.is_frozen() && self.hot.get(&piece).is_some()).then_some(body.id);
        let Some(file) = self.form_file(&path, coding, (&seal, length)).or_else(held) else {
            self.drop_form(snapshot, &path, coding);
            return None;
        };
        snapshot.forms.note_checked(Form {
            coding,
            body: Arc::new(body.form(path, file, piece)),
            etag: snapshot.etag.as_ref().and_then(|etag| coding.mark(etag)),
        })
    }

    /// The state of a file that holds this body in this coding.
    pub(super) fn form_file(
        &self,
        path: &Path,
        coding: Coding,
        (seal, length): (&Seal, u64),
    ) -> Option<FileId> {
        // What is not smaller than the body is none of ours.
        let (bytes, file) = self.fs.read_small(path, length).ok()?;
        let is_whole = bytes.len() as u64 == file.size();
        (is_whole && is_of(&bytes, coding, seal, length)).then_some(file)
    }

    /// A form that is gone, or not what it should be.
    fn drop_form(&self, snapshot: &Snapshot, path: &Path, coding: Coding) {
        tracing::debug!(path = %path.display(), "a coded form is gone or not what it should be; it is made again");
        snapshot.forms.set(snapshot.forms.sets().without(coding));
        snapshot.forms.ask_again();
        let Some(name) = parse_derived(path) else {
            return;
        };
        let _stripe = self.stripe(name.short);
        if self.is_writable()
            && let Err(error) = self.fs.remove_file(path)
        {
            self.trouble
                .say(|| tracing::warn!(path = %path.display(), %error, "cannot remove a coded form"));
        }
        self.change_forms((name.short, name.variant, name.seal), |forms| {
            forms.without(coding)
        });
    }

    /// Changes what index and memory know of the forms of a body, if it is still the one. The caller has the key's
    /// stripe.
    pub(super) fn change_forms(
        &self,
        (short, id, seal): (u64, Option<VariantId>, u64),
        change: impl Fn(FormSets) -> FormSets,
    ) -> bool {
        let sizes = self.sizes_on_disk(short, id, seal);
        let ledger = self.ledger();
        let entry = self.index.get_short(short);
        let known = entry.as_ref().and_then(|entry| Some((entry, entry.variant(id)?)));
        let Some((entry, variant)) = known.filter(|(_, variant)| variant.coded.seal == seal) else {
            return false;
        };
        let forms = change(variant.coded.forms);
        let taken = forms
            .ready
            .iter()
            .filter_map(|coding| *sizes.get(coding as usize)?);
        let coded = Coded {
            seal,
            blocks: taken.map(blocks).fold(0, u32::saturating_add),
            forms,
        };
        if coded != variant.coded {
            self.index.insert((**entry).clone().with_coded(id, coded));
        }
        if let Some(parsed) = self.parsed.get(&KeyHash::of(&entry.key), id)
            && parsed
                .sealed()
                .is_some_and(|(known, _)| known.first_bits() == seal)
        {
            parsed.forms.set(forms);
        }
        drop(ledger);
        true
    }

    fn sizes_on_disk(
        &self,
        short: u64,
        id: Option<VariantId>,
        seal: u64,
    ) -> [Option<u64>; Coding::ALL.len()] {
        let entry = self.index.get_short(short);
        let stem = entry.map(|entry| Stem::of(&Key::from_text(&*entry.key)));
        Coding::ALL.map(|coding| {
            let path = stem.as_ref()?.derived(id, seal, coding);
            self.fs.stat(&self.root.join(path)).ok().map(|file| file.size())
        })
    }

    /// Removes the files of renderings that went. The caller has no stripe.
    pub(super) fn remove_orphans(&self) {
        while self.remove_some_orphans() {}
    }

    /// A slice of them, for who has others waiting; whether there are more.
    pub(super) fn remove_some_orphans(&self) -> bool {
        let (orphans, are_all) = self.index.take_orphans(ORPHANS);
        for orphan in orphans {
            if !self.is_writable() {
                continue;
            }
            let key = Key::from_text(&*orphan.key);
            let (stem, short) = (Stem::of(&key), key.hash.short());
            let _stripe = self.stripe(short);
            for coding in orphan.ready.iter() {
                let path = self.root.join(stem.derived(orphan.id, orphan.seal, coding));
                let is_known = self.has_form((short, orphan.id, orphan.seal), coding);
                if !is_known && let Err(error) = self.fs.remove_file(&path) {
                    self.trouble
                        .say(|| tracing::warn!(path = %path.display(), %error, "cannot remove a coded form"));
                }
            }
        }
        !are_all
    }

    fn has_form(&self, (short, id, seal): (u64, Option<VariantId>, u64), coding: Coding) -> bool {
        let entry = self.index.get_short(short);
        let variant = entry.as_ref().and_then(|entry| entry.variant(id));
        variant.is_some_and(|variant| variant.coded.seal == seal && variant.coded.forms.ready.has(coding))
    }

    /// After the directory was read through: enters the forms that are there, and removes those that are nobody's.
    /// Where something could not be read, it may be what they are of.
    pub(super) fn sweep_derived(&self, looked: Looked) {
        let Ok(folders) = self.fs.read_dir(&self.private(DERIVED)) else {
            return;
        };
        for folder in folders {
            let Ok(mut files) = self.fs.read_dir(&folder.path) else {
                continue;
            };
            // Those of one body stand together.
            files.sort_by(|a, b| a.path.cmp(&b.path));
            for forms in files.chunk_by(|a, b| a.path.with_extension("") == b.path.with_extension("")) {
                let paths: Vec<&Path> = forms.iter().map(|form| form.path.as_path()).collect();
                self.sweep_forms(&paths, looked);
            }
        }
    }

    /// Files that say of themselves that they are forms of one body.
    fn sweep_forms(&self, paths: &[&Path], looked: Looked) {
        let mut found = FormSets::default();
        let mut owner = None;
        for path in paths {
            if let (Some(name), Ok(file)) = (parse_derived(path), self.fs.stat(path)) {
                owner = Some((name.short, name.variant, name.seal));
                found.ready = found.ready.with(name.coding);
                if file.modified_at() == strong_time() {
                    found.strong = found.strong.with(name.coding);
                }
            }
        }
        let Some(owner) = owner else {
            return;
        };
        let _stripe = self.stripe(owner.0);
        let is_owned = self.change_forms(owner, |forms| FormSets {
            ready: forms.ready.or(found.ready),
            strong: forms.strong.or(found.strong),
            ..forms
        });
        if is_owned || looked == Looked::Failed || !self.is_writable() {
            return;
        }
        for path in paths {
            if let Err(error) = self.fs.remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a coded form of a page that is gone");
            }
        }
    }

    /// Puts a form in its place, in the state that the index knows from then on. Nothing if its page went meanwhile.
    pub(super) fn place_form(
        &self,
        (key, id, seal): (&Key, Option<VariantId>, &Seal),
        (coding, level): (Coding, Level),
        bytes: &[u8],
    ) -> std::io::Result<()> {
        let owner = (key.hash.short(), id, seal.first_bits());
        let path: PathBuf = self.root.join(Stem::of(key).derived(id, owner.2, coding));
        let mut file = self.fs.temporary(&self.tmp())?;
        self.fs.write(file.as_file_mut(), &path, bytes)?;
        if level == Level::Strong {
            self.fs.set_modified(file.as_file(), &path, strong_time())?;
        }
        let _stripe = self.stripe(owner.0);
        self.fs.persist(file, &path)?;
        let is_entered = self.change_forms(owner, |forms| FormSets {
            ready: forms.ready.with(coding),
            strong: match level {
                Level::Fast => forms.strong.less(coding.into()),
                Level::Strong => forms.strong.with(coding),
            },
            ..forms
        });
        if level == Level::Strong {
            // What was checked is another file.
            self.forget(&key.hash, id);
        }
        match is_entered {
            true => Ok(()),
            false => self.fs.remove_file(&path),
        }
    }
}

fn strong_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(STRONG_AT)
}
