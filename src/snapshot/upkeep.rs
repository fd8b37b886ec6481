//! A command's hand on the files: a store that neither reads through nor watches what it does not have to.
//!
//! Where a server has the lock, what is done here is what any other program may do beside it: a file is
//! renamed into place or goes, and the server's watcher says so there. What has to be alone asks for the lock first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header;

use crate::coding::Coding;
use crate::error::Error;
use crate::fsops::{FileId, Fs, is_absence};
use crate::head::{Generated, Rendering, Seal, SealedBody, Sidecar, VariantId, VariantKey};
use crate::headers::OF_THE_BYTES;
use crate::key::Key;
#[cfg(feature = "cli")]
use crate::pattern::KeyPattern;

use super::layout::{FileKind, PRIVATE, Stem, parse_file_name};
use super::pair::Standing;
use super::read::generated;
use super::scan::Looked;
#[cfg(feature = "cli")]
use super::scan::Occasion;
use super::survey::Found;
use super::{Store, StoreOptions};

/// What became of a body that was looked at to be sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resealed {
    /// It is what the sidecar says.
    AsItWas,
    Anew {
        length: u64,
    },
    /// Its commit is not finished: the body that belongs to it waits in `pending/`.
    Pending,
    /// There is none.
    Absent,
    /// Another program was at its files meanwhile.
    Changed,
}

impl Store {
    /// The store of a directory for as long as a command takes; it has the lock if nobody else does. Nothing is
    /// evicted before [`may_evict`](Self::may_evict).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn attach(options: StoreOptions) -> Result<Arc<Self>, Error> {
        let dir = options.dir.clone();
        let failed =
            |error| Error::directory("write in the snapshot directory", &dir, error).with_hint(WRITABLE);
        let fs = Fs::new(options.faults.clone());
        fs.create_dir_all(&options.dir).map_err(failed)?;
        let root = fs.canonicalize(&options.dir).map_err(failed)?;
        let store =
            Self::start(root.clone(), fs.below(&root), options).map_err(|fault| fault.into_error(failed))?;
        // As if room were being made already.
        store.evicting.store(true, Ordering::Release);
        Ok(store)
    }

    /// Has the index take in what was done to the files of these keys by hand, as another program's doing: it is in
    /// force when this returns, and fills that were begun before keep nothing.
    #[cfg(feature = "cli")]
    pub(crate) fn take_note(&self, pattern: &KeyPattern) {
        let matching = self.index.matching(|subject| pattern.is_match(subject));
        matching.iter().for_each(|entry| self.look_at_all(entry));
    }

    /// The same of one key, of which the index may know nothing yet.
    #[cfg(feature = "cli")]
    pub(crate) fn take_note_of(&self, key: &Key) {
        if let Some(entry) = self.index.get(key) {
            self.look_at_all(&entry);
        }
        let sidecar = self.root.join(Stem::of(key).sidecar(None));
        self.look_at(&sidecar, Occasion::Change);
    }

    /// Reads the directory through and finishes what a crash left. Whether all of it could be read.
    pub(crate) fn finish(self: &Arc<Self>) -> bool {
        self.scan_at_start() == Looked::Whole
    }

    /// From now on it evicts as a server does.
    pub(crate) fn may_evict(&self) {
        self.evicting.store(false, Ordering::Release);
    }

    /// Returns when there is no more than there may be, or nothing more goes.
    pub(crate) fn make_room_and_wait(self: &Arc<Self>) {
        const STEP: Duration = Duration::from_millis(5);
        /// Pages may come as fast as they go.
        const ROUNDS: usize = 10_000;
        let mut count = None;
        for _ in 0..ROUNDS {
            if count.replace(self.count()) == Some(self.count()) {
                return;
            }
            self.relieve();
            // A round goes over the store's thread and others.
            while self.evicting.load(Ordering::Acquire) {
                std::thread::sleep(STEP);
            }
        }
    }

    /// Removes renderings of one key, the base last, with their coded forms; a body that was changed by hand
    /// is moved aside. Folders stay, empty or not: see [`Emptied`].
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn take_away(&self, found: &[Found]) -> io::Result<()> {
        let Some(first) = found.first() else {
            return Ok(());
        };
        let _stripe = self.stripe(first.key.hash.short());
        let (variants, bases): (Vec<_>, Vec<_>) = found.iter().partition(|found| found.id.is_some());
        for one in variants.into_iter().chain(bases) {
            self.take_rendering(one)?;
            self.remove_forms(one)?;
        }
        Ok(())
    }

    /// Removes a rendering's two files, without reading the sidecar again where it is as it was found.
    fn take_rendering(&self, found: &Found) -> io::Result<()> {
        let (stem, id, key) = (&found.stem, found.id, &found.key);
        self.keep_edit((stem, id), &found.sidecar)?;
        let place = self.root.join(stem.sidecar(id));
        if !self.fs.stat(&place).is_ok_and(|now| now == found.file) {
            return self.delete_rendering(stem, id, key);
        }
        if let Some(body) = self.own_body((stem, id), &found.sidecar) {
            self.remove_or_displace((stem, id), &body)?;
        }
        self.remove_or_displace((stem, id), &place)?;
        self.forget(&key.hash, id);
        Ok(())
    }

    /// Moves a body aside that is not the sealed one. Its time says nothing of that: whoever copies a tree sets it.
    fn keep_edit(&self, (stem, id): (&Stem, Option<VariantId>), sidecar: &Sidecar) -> io::Result<()> {
        match self.own_body((stem, id), sidecar) {
            Some(path) => self.displace_foreign(stem, id, &path, Some(sidecar)),
            None => Ok(()),
        }
    }

    /// The same for all variants of a key, and for bodies that no sidecar seals.
    fn keep_edited_variants(&self, stem: &Stem, key: &Key) -> io::Result<()> {
        let files = self.variant_files(stem)?;
        let named = files
            .iter()
            .filter_map(|path| Some((path, parse_file_name(path)?)));
        for (path, name) in named.filter(|(_, name)| name.kind == FileKind::Body) {
            let sidecar = self.read_sidecar(stem, name.variant, key)?;
            let sealing = sidecar
                .map(|(sidecar, _)| sidecar)
                .filter(|sidecar| self.own_body((stem, name.variant), sidecar).as_ref() == Some(path));
            self.displace_foreign(stem, name.variant, path, sealing.as_ref())?;
        }
        Ok(())
    }

    /// Removes a folder if it is empty; whether it was.
    pub(crate) fn remove_if_empty(&self, folder: &Path) -> bool {
        self.fs.remove_empty_dir(&self.root.join(folder)).is_ok()
    }

    fn remove_forms(&self, found: &Found) -> io::Result<()> {
        let rendering = found.sidecar.rendering.as_ref();
        let Some(body) = rendering.and_then(|rendering| rendering.body.as_ref()) else {
            return Ok(());
        };
        let forms = Coding::ALL.map(|coding| {
            self.root
                .join(found.stem.derived(found.id, body.seal.first_bits(), coding))
        });
        // They share a folder, and few directories have any.
        let folder = forms.first().and_then(|form| form.parent());
        match folder.is_some_and(|folder| self.fs.is_folder(folder)) {
            true => forms.iter().try_for_each(|form| self.fs.remove_file(form)),
            false => Ok(()),
        }
    }

    /// Moves a file, or whatever is there, to a folder of its own below `displaced/`, whose bounds do not reach into
    /// it. Returns where it is now.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn set_aside(&self, folder: &str, path: &Path) -> io::Result<PathBuf> {
        let aside = Path::new(PRIVATE).join("displaced").join(folder).join(path);
        self.fs.rename(&self.root.join(path), &self.root.join(&aside))?;
        Ok(aside)
    }

    /// A base without a rendering, by which the variants of a key are found.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn leave_names(&self, stem: &Stem, of: &Sidecar) -> io::Result<()> {
        let names = of.variant.names().into_iter().map(|name| (name, None));
        let placeholder = Sidecar {
            variant: VariantKey(names.collect()),
            rendering: None,
            ..of.clone()
        };
        let now = self.options.clock.unix_seconds();
        self.write_sidecar((stem, None), &placeholder, now, Standing::Replacement)
            .map(drop)
    }

    /// Seals the body as it is. Only who has the lock: another's commit between the look at the sidecar and the one
    /// at the body would be undone.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn reseal(&self, found: &Found) -> io::Result<Resealed> {
        let stem = &found.stem;
        let _stripe = self.stripe(found.key.hash.short());
        let Some(rendering) = &found.sidecar.rendering else {
            return Ok(Resealed::AsItWas);
        };
        let Some(sealed) = &rendering.body else {
            return Ok(Resealed::AsItWas);
        };
        let Some(path) = self.own_body((stem, found.id), &found.sidecar) else {
            return Err(io::Error::other("its sidecar names another's body"));
        };
        let (mut file, state) = match self.fs.open(&path) {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Ok(Resealed::Absent),
            Err(error) => return Err(error),
        };
        let (hash, after) = self.fs.hash(&mut file, &path)?;
        if after != state {
            return Ok(Resealed::Changed);
        }
        let seal = Seal(hash);
        if seal == sealed.seal && state.size() == sealed.length {
            return Ok(Resealed::AsItWas);
        }
        let pending = self.root.join(stem.pending(found.id, &sealed.seal));
        if self.fs.stat(&pending).is_ok() {
            return Ok(Resealed::Pending);
        }
        let length = state.size();
        let new = Sidecar {
            rendering: Some(edited(rendering, sealed, seal, length)),
            ..found.sidecar.clone()
        };
        let clock = generated(rendering, &found.file);
        let seconds = match clock {
            Generated::At(seconds) => seconds,
            Generated::Unmarked | Generated::Invalidated => 0,
        };
        let (file, place) = self.sidecar_file((stem, found.id), &new, seconds, Standing::Replacement)?;
        if clock == Generated::Unmarked {
            // It says as little of the response as it did.
            self.fs
                .set_modified(file.as_file(), &place, found.file.modified_at())?;
        }
        let is_as_read = |path: &Path, state: FileId| self.fs.stat(path).is_ok_and(|now| now == state);
        if !is_as_read(&place, found.file) || !is_as_read(&path, state) {
            return Ok(Resealed::Changed);
        }
        self.fs.persist(file, &place)?;
        if length == 0 {
            self.fs.remove_file(&path)?;
        }
        Ok(Resealed::Anew { length })
    }

    /// Puts a response without a body in the place of a key, which then has no variants. Bodies that were changed
    /// by hand are moved aside.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn entomb(&self, key: &Key, tombstone: &Sidecar) -> io::Result<PathBuf> {
        let stem = Stem::of(key);
        let _stripe = self.stripe(key.hash.short());
        let old = self.read_sidecar(&stem, None, key)?;
        let now = self.options.clock.unix_seconds();
        // First: from here on nobody is answered from what was there.
        self.write_sidecar((&stem, None), tombstone, now, Standing::Replacement)?;
        self.keep_edited_variants(&stem, key)?;
        self.delete_variants(&stem, key)?;
        if let Some((old, _)) = &old
            && let Some(path) = self.own_body((&stem, None), old)
        {
            self.keep_edit((&stem, None), old)?;
            self.remove_or_displace((&stem, None), &path)?;
        }
        Ok(stem.sidecar(None))
    }
}

/// Folders from which something went, each removed once, if it is empty, behind all that is in it: to ask for one after
/// every page costs a look at what is left in it.
#[derive(Default)]
pub(crate) struct Emptied {
    /// From the root to where one is, and whether something went from each.
    way: Vec<(PathBuf, bool)>,
}

impl Emptied {
    /// Something went from a folder; they come in the order of [`each_folder`](super::Survey::each_folder).
    pub(crate) fn note(&mut self, store: &Store, folder: &Path) {
        self.leave(store, |left| !folder.starts_with(left));
        let known = self.way.last().map(|(known, _)| known.as_path());
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && known != Some(*path);
        let mut new: Vec<_> = folder
            .ancestors()
            .take_while(is_new)
            .map(Path::to_owned)
            .collect();
        new.reverse();
        self.way.extend(new.into_iter().map(|path| (path, false)));
        self.note_last();
    }

    /// There are no more.
    pub(crate) fn finish(mut self, store: &Store) {
        self.leave(store, |_| true);
    }

    fn note_last(&mut self) {
        if let Some((_, has_less)) = self.way.last_mut() {
            *has_less = true;
        }
    }

    fn leave(&mut self, store: &Store, is_left: impl Fn(&Path) -> bool) {
        while let Some((folder, has_less)) = self.way.pop_if(|(folder, _)| is_left(folder)) {
            if has_less && store.remove_if_empty(&folder) {
                self.note_last();
            }
        }
    }
}

const WRITABLE: &str = "name a directory that this user may write with `--snapshots`";

/// The rendering with another body: what was said of the old one's bytes goes.
fn edited(rendering: &Rendering, sealed: &SealedBody, seal: Seal, length: u64) -> Rendering {
    let mut edited = rendering.clone();
    edited.head.headers.remove(header::ETAG);
    edited.head.headers.remove(header::LAST_MODIFIED);
    for name in OF_THE_BYTES {
        edited.head.headers.remove(name);
    }
    edited.body = (length > 0).then(|| SealedBody {
        length,
        seal,
        ..sealed.clone()
    });
    edited
}
