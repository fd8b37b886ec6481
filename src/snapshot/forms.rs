//! Coded forms of bodies, as index and lookups know them (`derived` has their files).

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use http::HeaderValue;

use crate::coding::{Coding, Codings};
use crate::head::{Sidecar, VariantId};

use super::compress::Level;
use super::found::BodyFile;
use super::index::{KeyEntry, VariantEntry};
use super::lock;

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
    /// Three bits a set.
    pub(super) fn to_bits(self) -> u16 {
        let [ready, strong, spared] =
            [self.ready, self.strong, self.spared].map(|set| u16::from(set.to_bits()));
        ready | strong << 3 | spared << 6
    }

    pub(super) fn from_bits(bits: u16) -> Self {
        let [ready, strong, spared] =
            [bits, bits >> 3, bits >> 6].map(|bits| Codings::from_bits((bits & 7) as u8));
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

    pub(super) fn without(self, coding: Coding) -> Self {
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
        let body = sidecar
            .rendering
            .as_ref()
            .and_then(|rendering| rendering.body.as_ref());
        Self {
            seal: body.map_or(0, |body| body.seal.first_bits()),
            ..Self::default()
        }
    }
}

/// Files whose rendering is not in the index any more, or is of another body.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(super) key: Box<str>,
    pub(super) id: Option<VariantId>,
    pub(super) seal: u64,
    pub(super) ready: Codings,
}

impl Orphan {
    /// The forms that `old` has and `new` has not.
    pub(crate) fn between<'a>(
        old: &'a KeyEntry,
        new: Option<&'a KeyEntry>,
    ) -> impl Iterator<Item = Self> + 'a {
        let new = new.filter(|new| new.key == old.key);
        let still = move |variant: &VariantEntry| {
            let there = new.and_then(|new| new.variant(variant.id));
            let same = there.filter(|there| there.coded.seal == variant.coded.seal);
            same.map_or_else(Codings::default, |same| same.coded.forms.ready)
        };
        old.variants().filter_map(move |variant| {
            let ready = variant.coded.forms.ready.less(still(&variant));
            (!ready.is_empty()).then(|| Self {
                key: old.key.clone(),
                id: variant.id,
                seal: variant.coded.seal,
                ready,
            })
        })
    }
}

/// A snapshot's coded forms, as lookups share them.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    /// [`FormSets`], as the index has them.
    sets: AtomicU16,
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

    /// Held during a check: one at a time.
    pub(super) fn checking(&self) -> MutexGuard<'_, ()> {
        lock(&self.checking)
    }

    /// The form, or the one that was noted first.
    pub(super) fn note_checked(&self, form: Form) -> Option<Arc<Form>> {
        let slot = self.checked.get(form.coding as usize)?;
        Some(Arc::clone(slot.get_or_init(|| Arc::new(form))))
    }

    /// What was asked for has not come.
    pub(super) fn ask_again(&self) {
        self.asked.store(0, Ordering::Relaxed);
    }

    /// Whether it is time to ask again for what is missing.
    pub(super) fn is_due(&self, now: u32) -> bool {
        /// In seconds.
        const PAUSE: u32 = 60;
        let asked = self.asked.load(Ordering::Relaxed);
        // Once a clock was set back, too.
        let is_due = asked == 0 || now.abs_diff(asked) >= PAUSE;
        is_due && self.asked.swap(now.max(1), Ordering::Relaxed) == asked
    }
}
