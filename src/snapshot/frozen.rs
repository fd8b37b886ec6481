//! The directory as it is served where nothing may be written: no lock, no scan, no watcher, and no file that was not
//! there before.
//!
//! A look is a function of the key and of the files under its stem. Folders are listed only where a page has no
//! rendering but variants, and once, for the host of pages whose host is part of their keys; both are remembered.

mod at_once;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::HeaderName;
use quick_cache::sync::Cache;

use crate::coding::Coding;
use crate::error::Error;
use crate::fsops::{Fs, is_absence};
use crate::head::{Seal, VariantId, VariantKey};
use crate::key::{Key, KeyHash};

use super::compress::Level;
use super::forms::FormSets;
use super::found::Snapshot;
use super::hot::Piece;
use super::layout::{MARKER, PRIVATE, Stem};
use super::ledger::Fate;
use super::lock::WriteLock;
use super::read::{Lookup, ReadError};
use super::survey::Survey;
use super::{Store, StoreOptions};
use at_once::Base;

/// Keys whose variants are remembered.
const LISTED: usize = 1024;
/// Keys of which is remembered by which fields they vary, beside those whose rendering without them is in memory.
const BASES: usize = 16 << 10;
/// Sites of which is remembered which page stands for what is missing there.
const SITES: usize = 1024;
/// Hosts that are looked for.
const MOST_HOSTS: usize = 64;
/// Folders that are listed for one of them, at most.
const MOST_FOLDERS: usize = 64;

/// See the module.
pub(crate) struct Frozen {
    store: Arc<Store>,
    survey: Survey,
    /// The variants of keys without another rendering.
    variants: Cache<KeyHash, Arc<[VariantKey]>>,
    bases: Cache<KeyHash, Base>,
    home: OnceLock<Option<Home>>,
    missing: Cache<KeyHash, Arc<Missing>>,
}

/// The page that was found to stand for what is missing, by its place among those that may, and when that was.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) page: Option<(usize, Key)>,
    /// Seconds since 1970.
    pub(crate) at: u64,
}

/// Whose the pages of the directory are, where host and scheme are part of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
}

/// Whether a look may wait for the disk, or is at an end where it would have to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    AtOnce,
    Waiting,
}

/// What is kept for a key.
#[derive(Debug)]
pub(crate) enum Shown {
    /// The rendering that the request's fields select.
    Selected(Arc<Snapshot>),
    /// Another, because that one is not there.
    InPlace(Arc<Snapshot>),
    /// Its bytes are not the sealed ones.
    Damaged,
    /// Changed a moment ago, and not whole.
    Settling,
    Nothing,
    /// It cannot be said at once.
    Later,
}

/// How a request chooses: what it selects by these fields; and which of what is there is next to that.
pub(crate) struct Choice<'a> {
    pub(crate) select: &'a dyn Fn(&[HeaderName]) -> VariantKey,
    pub(crate) nearest: &'a dyn Fn(&VariantKey, &[VariantKey]) -> Option<usize>,
}

impl Frozen {
    /// Opens a directory; makes and writes nothing.
    ///
    /// # Errors
    /// There is none, or it is another format's or another site's.
    pub(crate) fn open(options: StoreOptions) -> Result<Self, Error> {
        let survey = Survey::of(
            &options.dir,
            options.site.as_deref(),
            &options.pinned,
            options.faults.clone(),
        )?;
        let root = survey.root().to_owned();
        let fs = Fs::new(options.faults.clone()).below(&root);
        let lock = WriteLock::never(fs.clone(), root.join(PRIVATE).join("lock"));
        let shown = options.dir.clone();
        let store = Store::assemble(root, fs, options, lock)
            .map_err(|error| Error::directory("read the snapshot directory", shown, error))?;
        store.coder.belongs_to(&store);
        Ok(Self {
            store,
            survey,
            variants: Cache::new(LISTED),
            bases: Cache::new(BASES),
            home: OnceLock::new(),
            missing: Cache::new(SITES),
        })
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What is kept for a key. Blocks, if it may wait.
    pub(crate) fn look(&self, key: &Key, choice: &Choice<'_>, how: Look) -> Shown {
        match how {
            Look::AtOnce => self.look_at_once(key, choice).unwrap_or(Shown::Later),
            Look::Waiting => self.read_through(key, choice),
        }
    }

    fn read_through(&self, key: &Key, choice: &Choice<'_>) -> Shown {
        let stem = Stem::of(key);
        let base = match self.read_base(key, &stem) {
            Ok(base) => base,
            Err(shown) => return shown,
        };
        let names = &base.names;
        let wanted = (choice.select)(names);
        // Seen before, and neither file has changed.
        if let Some(Lookup::Found(snapshot, _)) = self.store.still_parsed(&stem, &wanted, key) {
            return Shown::Selected(snapshot);
        }
        match self.read(&stem, &wanted, (key, names)) {
            Shown::Nothing => {}
            kept => return kept,
        }
        let kept = match base.has_rendering {
            true => self.read(&stem, &VariantKey::default(), (key, names)),
            false => self.nearest_variant((key, &stem), names, (&wanted, choice)),
        };
        match kept {
            Shown::Selected(snapshot) => Shown::InPlace(snapshot),
            kept => kept,
        }
    }

    /// The base sidecar, as it is known if its file is as it was then; or what there is to say without one.
    fn read_base(&self, key: &Key, stem: &Stem) -> Result<Base, Shown> {
        let store = &self.store;
        let path = store.root.join(stem.sidecar(None));
        match store.fs.stat(&path) {
            Ok(file) => {
                if let Some(base) = self.base(key, &file) {
                    return Ok(base);
                }
            }
            Err(error) if is_absence(&error) => return Err(Shown::Nothing),
            // Reading it says more.
            Err(_) => {}
        }
        let (sidecar, file) = match store.load_sidecar(&path) {
            Ok((sidecar, file)) if *sidecar.key == *key.text => (sidecar, file),
            Ok(_) => return Err(Shown::Nothing),
            Err(error) if is_absence(&error) => return Err(Shown::Nothing),
            Err(error) => {
                store.complain(&path, &error, "a sidecar cannot be used");
                return Err(Shown::Damaged);
            }
        };
        if store.fate(&sidecar, &file) == Some(Fate::Delete) {
            return Err(Shown::Nothing);
        }
        let base = Base {
            file,
            names: sidecar.variant.names().into(),
            has_rendering: sidecar.rendering.is_some(),
        };
        // Of the others the parsed head says it.
        if !base.names.is_empty() || !base.has_rendering {
            self.bases.insert(key.hash, base.clone());
        }
        Ok(base)
    }

    fn read(&self, stem: &Stem, wanted: &VariantKey, (key, names): (&Key, &Arc<[HeaderName]>)) -> Shown {
        let store = &self.store;
        let epoch = store.epoch();
        match store.read(stem, wanted.id(), key) {
            // Another variant whose short hash is the same.
            Ok((snapshot, _)) if !snapshot.variant.is_same(wanted) => Shown::Nothing,
            Ok((snapshot, generated)) => {
                match store.adopt(key, wanted.id(), names, snapshot, generated, epoch) {
                    Lookup::Found(snapshot, _) => Shown::Selected(snapshot),
                    _ => Shown::Nothing,
                }
            }
            Err(ReadError::Absent) => Shown::Nothing,
            Err(ReadError::Settling) => Shown::Settling,
            Err(ReadError::Broken | ReadError::Unreadable) => {
                let path = store.root.join(stem.sidecar(wanted.id()));
                store.unusable.say(&path, || {
                    tracing::warn!(
                        path = %path.display(),
                        "a page is not what its sidecar says, and is not served; `phantom-frame verify` says more"
                    );
                });
                Shown::Damaged
            }
        }
    }

    /// Of a key that has variants only.
    fn nearest_variant(
        &self,
        (key, stem): (&Key, &Stem),
        names: &Arc<[HeaderName]>,
        (wanted, choice): (&VariantKey, &Choice<'_>),
    ) -> Shown {
        let known = self.variants.get(&key.hash);
        let is_known = known.is_some();
        let variants = known.unwrap_or_else(|| self.list_variants(key, stem));
        let place = (choice.nearest)(wanted, &variants);
        let kept = match place.and_then(|place| variants.get(place)) {
            Some(variant) => self.read(stem, variant, (key, names)),
            None => Shown::Nothing,
        };
        // What was listed may be another by now.
        if is_known && matches!(kept, Shown::Nothing) {
            self.variants.remove(&key.hash);
        }
        kept
    }

    /// In the order of their files.
    fn list_variants(&self, key: &Key, stem: &Stem) -> Arc<[VariantKey]> {
        let mut variants = Vec::new();
        let prefix = stem.variant_prefix();
        if let Ok(listed) = self.survey.list(stem.folder().to_owned()) {
            let mut bytes = Vec::new();
            let is_of_key = |name: &str| name.starts_with(&prefix);
            for entry in listed.entries().iter().filter(|entry| entry.is_sidecar()) {
                if entry.name.to_str().is_some_and(is_of_key)
                    && let Ok(found) = self.survey.read(&listed, &entry.name, &mut bytes)
                    && found.key == *key
                    && found.id.is_some()
                    && found.sidecar.rendering.is_some()
                {
                    variants.push(found.sidecar.variant);
                }
            }
        }
        let variants: Arc<[VariantKey]> = variants.into();
        self.variants.insert(key.hash, Arc::clone(&variants));
        variants
    }

    /// Whose the pages are: the only host's, or that of the site that the configuration or the directory's marker
    /// names. Blocks the first time; nothing if that may not be.
    pub(crate) fn home(&self, how: Look) -> Option<Option<&Home>> {
        match how {
            Look::AtOnce => self.home.get().map(Option::as_ref),
            Look::Waiting => Some(self.home.get_or_init(|| self.find_home()).as_ref()),
        }
    }

    /// What a search for the page that stands for what is missing came to, by who asks for it.
    pub(crate) fn missing(&self, own: &Key) -> Option<Arc<Missing>> {
        self.missing.get(&own.hash)
    }

    pub(crate) fn note_missing(&self, own: &Key, missing: Missing) {
        self.missing.insert(own.hash, Arc::new(missing));
    }

    fn find_home(&self) -> Option<Home> {
        let root = self.survey.list(PathBuf::new()).ok()?;
        let folders = root
            .folders()
            .filter(|name| self.survey.is_ours(name, name.as_os_str()));
        let mut homes: Vec<Home> = folders
            .take(MOST_HOSTS)
            .filter_map(|folder| self.home_of(folder))
            .collect();
        let site = self.store.options.site.clone().or_else(|| self.site_of_marker());
        let of_site = homes.iter().position(|home| Some(&home.host) == site.as_ref());
        match (of_site, homes.len()) {
            (Some(place), _) => Some(homes.swap_remove(place)),
            (None, 1) => homes.pop(),
            _ => None,
        }
    }

    /// Host and scheme of the first page in a folder that has any.
    fn home_of(&self, folder: &Path) -> Option<Home> {
        let mut waiting = vec![folder.to_owned()];
        let mut bytes = Vec::new();
        for _ in 0..MOST_FOLDERS {
            let listed = self.survey.list(waiting.pop()?).ok()?;
            for entry in listed.entries().iter().filter(|entry| entry.is_sidecar()) {
                let Ok(found) = self.survey.read(&listed, &entry.name, &mut bytes) else {
                    continue;
                };
                let scheme = match found.key.part("scheme") {
                    Some("https") => "https",
                    _ => "http",
                };
                let host = found.key.part("host")?.to_owned();
                return Some(Home { scheme, host });
            }
            waiting.extend(listed.folders().map(|name| listed.path().join(name)));
        }
        None
    }

    fn site_of_marker(&self) -> Option<String> {
        let text = self.survey.bytes_of(Path::new(MARKER), 64 << 10).ok()?;
        let table: toml::Table = String::from_utf8(text).ok()?.parse().ok()?;
        Some(table.get("site")?.as_str()?.to_owned())
    }
}

impl Store {
    /// Keeps what a coding came to where there is no file for it: in memory, or that it is not worth it.
    pub(super) fn hold_form(
        &self,
        owner: (u64, Option<VariantId>, u64),
        (seal, coding, level): (Seal, Coding, Level),
        coded: Option<Vec<u8>>,
    ) {
        let piece = Piece {
            seal,
            coding: Some(coding),
        };
        let is_held = coded.is_some_and(|bytes| self.hot.hold_made(piece, bytes));
        let _stripe = self.stripe(owner.0);
        self.change_forms(owner, |forms| match (is_held, level) {
            (true, Level::Fast) => FormSets {
                ready: forms.ready.with(coding),
                ..forms
            },
            (_, Level::Strong) => FormSets {
                strong: forms.strong.with(coding),
                ..forms
            },
            (false, Level::Fast) => FormSets {
                spared: forms.spared.with(coding),
                ..forms
            },
        });
    }
}
