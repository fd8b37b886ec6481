//! Coded forms of bodies: `.phantom/derived/<hh>/<stem>.<seal16>.<br|zst|gz>`.
//!
//! The name has the seal of the body that a form is of, so a form never outlives its body: what the index does not
//! have under key, variant and seal is nobody's, and goes. Nothing is synced. A form is served only once it was
//! decoded and found to be the sealed body, in the very state of its file; what is torn or was changed is removed and
//! made again. So nothing here can be wrong, only missing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::coding::{Coding, Codings};
use crate::fsops::FileId;
use crate::head::{Seal, Sidecar, VariantId};
use crate::key::Key;

use super::compress::{Level, is_of};
use super::found::{BodyFile, Snapshot};
use super::hot::Piece;
use super::index::{KeyEntry, VariantEntry};
use super::layout::{DERIVED, Stem, derived_of_body, parse_derived};
use super::scan::Looked;
use super::usage::blocks;
use super::{Store, lock};

/// A form of the strong level is dated so, in seconds since 1970: a restart need not make it again. Where the time is
/// lost it does, once.
const STRONG_AT: u64 = 2;

/// What the index knows of a rendering's coded forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Coded {
    /// The first 64 bits of the body's seal; zero without a body.
    pub(crate) seal: u64,
    /// What they take on disk, in blocks.
    pub(crate) blocks: u32,
    pub(crate) forms: FormSets,
}

/// Codings by what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FormSets {
    /// Those that there are.
    pub(crate) ready: Codings,
    /// Of the strong level.
    pub(crate) strong: Codings,
    /// That save too little.
    pub(crate) spared: Codings,
}

impl FormSets {
    fn to_bits(self) -> u32 {
        u32::from_le_bytes([
            self.ready.to_bits(),
            self.strong.to_bits(),
            self.spared.to_bits(),
            0,
        ])
    }

    fn from_bits(bits: u32) -> Self {
        let [ready, strong, spared, _] = bits.to_le_bytes().map(Codings::from_bits);
        Self {
            ready,
            strong,
            spared,
        }
    }

    /// Of those that are wanted, which are to be made, and how.
    pub(crate) fn open(self, wanted: Codings) -> Option<(Codings, Level)> {
        let missing = wanted.less(self.ready).less(self.spared);
        let weak = wanted.and(self.ready).less(self.strong);
        match (missing.is_empty(), weak.is_empty()) {
            (false, _) => Some((missing, Level::Fast)),
            (true, false) => Some((weak, Level::Strong)),
            (true, true) => None,
        }
    }

    fn without(self, coding: Coding) -> Self {
        Self {
            ready: self.ready.less(coding.into()),
            strong: self.strong.less(coding.into()),
            ..self
        }
    }
}

impl Coded {
    /// Of a rendering that was just stored or found; of the forms of its body the index may know.
    pub(crate) fn of(sidecar: &Sidecar) -> Self {
        let body = sidecar.rendering.as_ref().and_then(|rendering| rendering.body.as_ref());
        Self {
            seal: body.map_or(0, |body| body.seal.first_bits()),
            ..Self::default()
        }
    }
}

/// Files whose rendering is not in the index any more, or is of another body.
#[derive(Debug)]
pub(crate) struct Orphan {
    key: Arc<str>,
    short: u64,
    id: Option<VariantId>,
    seal: u64,
    ready: Codings,
}

impl Orphan {
    /// The forms that `old` has and `new` has not.
    pub(crate) fn between<'a>(old: &'a KeyEntry, new: Option<&'a KeyEntry>) -> impl Iterator<Item = Self> + 'a {
        let new = new.filter(|new| new.hash == old.hash);
        let is_there = move |variant: &VariantEntry| {
            let there = new.and_then(|new| new.variant(variant.id));
            there.is_some_and(|there| there.coded.seal == variant.coded.seal)
        };
        let coded = |variant: &&VariantEntry| !variant.coded.forms.ready.is_empty();
        let gone = old.variants.iter().filter(coded).filter(move |variant| !is_there(variant));
        gone.map(|variant| Self {
            key: Arc::clone(&old.key),
            short: old.hash.short(),
            id: variant.id,
            seal: variant.coded.seal,
            ready: variant.coded.forms.ready,
        })
    }
}

/// A snapshot's coded forms, as lookups share them.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// [`FormSets`], as the index has them.
    sets: AtomicU32,
    /// When they were last asked for, in seconds since 1970.
    asked: AtomicU32,
    checked: [OnceLock<Arc<Form>>; Coding::ALL.len()],
    /// One check at a time.
    checking: Mutex<()>,
    /// Whether the page may be coded at all, by whoever has decided it.
    pub(crate) may_be: OnceLock<bool>,
}

/// A coded form that was found right.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) coding: Coding,
    pub(crate) body: Arc<BodyFile>,
    /// The snapshot's, with the coding's suffix.
    pub(crate) etag: Option<HeaderValue>,
}

impl Forms {
    pub(crate) fn sets(&self) -> FormSets {
        FormSets::from_bits(self.sets.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, sets: FormSets) {
        self.sets.store(sets.to_bits(), Ordering::Release);
    }

    /// A form that was checked, without I/O.
    pub(crate) fn checked(&self, coding: Coding) -> Option<&Arc<Form>> {
        self.checked.get(coding as usize)?.get()
    }

    /// Whether it is time to ask again for what is missing.
    fn is_due(&self, now: u32) -> bool {
        /// In seconds.
        const PAUSE: u32 = 60;
        let asked = self.asked.load(Ordering::Relaxed);
        // Once a clock was set back, too.
        let is_due = asked == 0 || now.abs_diff(asked) >= PAUSE;
        is_due && self.asked.swap(now.max(1), Ordering::Relaxed) == asked
    }
}

impl Store {
    /// Has the forms made that are wanted of a snapshot and not there, or not of the strong level, if that was not
    /// asked for lately.
    pub(crate) fn want_forms(&self, snapshot: &Snapshot, wanted: Codings) {
        let Some((open, level)) = snapshot.forms.sets().open(wanted) else {
            return;
        };
        let Some(body) = snapshot.body.as_ref().filter(|_| self.is_writable()) else {
            return;
        };
        if snapshot.forms.is_due(self.now_u32())
            && let Some(name) = super::layout::parse_file_name(&body.path)
            && !self.coder.ask((name.short_hash, name.variant), open, level)
        {
            // There is no room: another hit asks.
            snapshot.forms.asked.store(0, Ordering::Relaxed);
        }
    }

    /// The form, once its file was found to decode to the sealed body; one that does not is removed. Blocks.
    pub(crate) fn check_form(&self, snapshot: &Snapshot, coding: Coding) -> Option<Arc<Form>> {
        let _one = lock(&snapshot.forms.checking);
        if let Some(form) = snapshot.forms.checked(coding) {
            return Some(Arc::clone(form));
        }
        if !snapshot.forms.sets().ready.has(coding) {
            return None;
        }
        let (seal, length) = snapshot.sealed()?;
        let path = self.root.join(derived_of_body(&snapshot.body.as_ref()?.path, &seal, coding)?);
        let Some(file) = self.form_file(&path, coding, (&seal, length)) else {
            self.drop_form(snapshot, &path, coding);
            return None;
        };
        let piece = Piece {
            seal,
            coding: Some(coding),
        };
        let form = Arc::new(Form {
            coding,
            body: Arc::new(BodyFile::new(path, file, piece, self.fs.clone())),
            etag: snapshot.etag.as_ref().and_then(|etag| coding.mark(etag)),
        });
        let slot = snapshot.forms.checked.get(coding as usize)?;
        Some(Arc::clone(slot.get_or_init(|| form)))
    }

    /// The state of a file that holds this body in this coding.
    pub(super) fn form_file(&self, path: &Path, coding: Coding, (seal, length): (&Seal, u64)) -> Option<FileId> {
        // What is not smaller than the body is none of ours.
        let (bytes, file) = self.fs.read_small(path, length).ok()?;
        let is_whole = bytes.len() as u64 == file.size();
        (is_whole && is_of(&bytes, coding, seal, length)).then_some(file)
    }

    /// A form that is gone, or not what it should be.
    fn drop_form(&self, snapshot: &Snapshot, path: &Path, coding: Coding) {
        tracing::debug!(path = %path.display(), "a coded form is gone or not what it should be; it is made again");
        snapshot.forms.set(snapshot.forms.sets().without(coding));
        snapshot.forms.asked.store(0, Ordering::Relaxed);
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
        self.change_forms((name.short, name.variant, name.seal), |forms| forms.without(coding));
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
        let taken = forms.ready.iter().filter_map(|coding| *sizes.get(coding as usize)?);
        let coded = Coded {
            seal,
            blocks: taken.map(|size| blocks(size)).fold(0, u32::saturating_add),
            forms,
        };
        if coded != variant.coded {
            self.index.insert((**entry).clone().with_coded(id, coded));
        }
        if let Some(parsed) = self.parsed.get(&(entry.hash, id))
            && parsed.sealed().is_some_and(|(known, _)| known.first_bits() == seal)
        {
            parsed.forms.set(forms);
        }
        drop(ledger);
        true
    }

    fn sizes_on_disk(&self, short: u64, id: Option<VariantId>, seal: u64) -> [Option<u64>; Coding::ALL.len()] {
        let entry = self.index.get_short(short);
        let stem = entry.map(|entry| Stem::of(&Key::from_text(&*entry.key)));
        Coding::ALL.map(|coding| {
            let path = stem.as_ref()?.derived(id, seal, coding);
            self.fs.stat(&self.root.join(path)).ok().map(|file| file.size())
        })
    }

    /// Removes the files of renderings that went. The caller has no stripe.
    pub(super) fn remove_orphans(&self) {
        for orphan in self.index.take_orphans() {
            if !self.is_writable() {
                continue;
            }
            let stem = Stem::of(&Key::from_text(&*orphan.key));
            let _stripe = self.stripe(orphan.short);
            for coding in orphan.ready.iter() {
                let path = self.root.join(stem.derived(orphan.id, orphan.seal, coding));
                let is_known = self.has_form((orphan.short, orphan.id, orphan.seal), coding);
                if !is_known && let Err(error) = self.fs.remove_file(&path) {
                    self.trouble
                        .say(|| tracing::warn!(path = %path.display(), %error, "cannot remove a coded form"));
                }
            }
        }
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
            self.parsed.remove(&(key.hash, id));
            self.hot.remove(&Piece {
                seal: *seal,
                coding: Some(coding),
            });
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
