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
use crate::fsops::{Fs, is_absence};
use crate::head::{Generated, Rendering, Seal, SealedBody, Sidecar, VariantKey};
use crate::key::Key;

use super::layout::{PRIVATE, Stem};
use super::pair::Standing;
use super::read::generated;
use super::scan::Looked;
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
}

/// What says of a body what an edit makes untrue.
const OF_THE_BYTES: [header::HeaderName; 6] = [
    header::ETAG,
    header::LAST_MODIFIED,
    header::HeaderName::from_static("content-digest"),
    header::HeaderName::from_static("repr-digest"),
    header::HeaderName::from_static("digest"),
    header::HeaderName::from_static("content-md5"),
];

impl Store {
    /// The store of a directory for as long as a command takes; it has the lock if nobody else does.
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
        Self::start(root.clone(), fs.below(&root), options).map_err(|fault| fault.into_error(failed))
    }

    /// Reads the directory through and finishes what a crash left. Whether all of it could be read.
    pub(crate) fn finish(self: &Arc<Self>) -> bool {
        // As if room were being made already: what there was can be counted.
        self.evicting.store(true, Ordering::Release);
        let looked = self.scan_at_start();
        self.evicting.store(false, Ordering::Release);
        looked == Looked::Whole
    }

    /// Returns when there is no more than there may be, or nothing more goes.
    pub(crate) fn make_room_and_wait(self: &Arc<Self>) {
        const STEP: Duration = Duration::from_millis(5);
        let mut count = None;
        while count.replace(self.count()) != Some(self.count()) {
            self.relieve();
            // A round goes over the store's thread and others.
            while self.evicting.load(Ordering::Acquire) {
                std::thread::sleep(STEP);
            }
        }
    }

    /// Removes renderings of one key, the base last, with their coded forms; a body that was changed by hand
    /// is moved aside.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn take_away(&self, found: &[Found]) -> io::Result<()> {
        let Some(first) = found.first() else {
            return Ok(());
        };
        let (key, stem) = (&first.key, &first.stem);
        let _stripe = self.stripe(key.hash.short());
        let (variants, bases): (Vec<_>, Vec<_>) = found.iter().partition(|found| found.id.is_some());
        for one in variants.into_iter().chain(bases) {
            self.delete_rendering(stem, one.id, key)?;
            self.remove_forms(one)?;
        }
        self.prune_folders(stem);
        Ok(())
    }

    fn remove_forms(&self, found: &Found) -> io::Result<()> {
        let rendering = found.sidecar.rendering.as_ref();
        let Some(body) = rendering.and_then(|rendering| rendering.body.as_ref()) else {
            return Ok(());
        };
        let forms = Coding::ALL.map(|coding| found.stem.derived(found.id, body.seal.first_bits(), coding));
        forms
            .iter()
            .try_for_each(|form| self.fs.remove_file(&self.root.join(form)))
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

    /// Seals the body as it is.
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
        let path = self.root.join(stem.folder()).join(&*sealed.file);
        let (mut file, state) = match self.fs.open(&path) {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Ok(Resealed::Absent),
            Err(error) => return Err(error),
        };
        let (hash, after) = self.fs.hash(&mut file, &path)?;
        if after != state {
            return Err(io::Error::other("it changes while it is read"));
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
        self.delete_variants(&stem, key)?;
        if let Some((old, _)) = &old
            && let Some(body) = old
                .rendering
                .as_ref()
                .and_then(|rendering| rendering.body.as_ref())
        {
            let path = self.root.join(stem.folder()).join(&*body.file);
            self.displace_foreign(&stem, None, &path, Some(old))?;
            self.remove_or_displace((&stem, None), &path)?;
        }
        Ok(stem.sidecar(None))
    }
}

const WRITABLE: &str = "name a directory that this user may write with `--snapshots`";

/// The rendering with another body: what was said of the old one's bytes goes.
fn edited(rendering: &Rendering, sealed: &SealedBody, seal: Seal, length: u64) -> Rendering {
    let mut edited = rendering.clone();
    for name in &OF_THE_BYTES {
        edited.head.headers.remove(name);
    }
    edited.body = (length > 0).then(|| SealedBody {
        length,
        seal,
        ..sealed.clone()
    });
    edited
}
