//! Every sidecar below the root, by one thread and, where there are many, by two.
//!
//! What waits is bounded: a folder of a million files is listed no further than it is looked through. What is
//! new to the index and in no way odd is entered here; all else goes the way of any changed file (`reconcile`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Scope};

use crate::fsops::{EntryKind, FileId, Folder};
use crate::head::{Generated, Sidecar};
use crate::key::Key;
use crate::pattern::Subject;

use super::index::KeyEntry;
use super::layout::{FileKind, FileName, MARKER, Stem, parse_file_name};
use super::life::{Life, last_cared};
use super::read::generated;
use super::scan::{Looked, Occasion};
use super::{Store, lock, sidecar};

/// Files that are looked at in one go.
const PACK: usize = 512;
/// Packs that wait for somebody.
const PACKS: usize = 8;
/// So many folders or packs are worth a second thread.
const PLENTY: usize = 16;

/// See the module.
pub(super) struct Walk<'a> {
    store: &'a Store,
    occasion: Occasion,
    work: Mutex<Work>,
    more: Condvar,
    has_help: AtomicBool,
}

/// What is to be done, and what was found so far.
struct Work {
    folders: Vec<PathBuf>,
    packs: Vec<Pack>,
    /// Who may find more folders.
    busy: usize,
    looked: Looked,
}

/// Sidecars of one folder.
struct Pack {
    folder: Arc<Folder>,
    names: Vec<OsString>,
}

enum Task {
    Folder(PathBuf),
    Pack(Pack),
}

/// Counts as busy until dropped, whatever happens.
struct Busy<'w, 'a>(&'w Walk<'a>);

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        lock(&self.0.work).busy -= 1;
        self.0.more.notify_all();
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a Store, occasion: Occasion) -> Self {
        Self {
            store,
            occasion,
            work: Mutex::new(Work {
                folders: vec![store.root.clone()],
                packs: Vec::new(),
                busy: 0,
                looked: Looked::Whole,
            }),
            more: Condvar::new(),
            has_help: AtomicBool::new(false),
        }
    }

    pub(super) fn run(self) -> Looked {
        thread::scope(|scope| self.work_off(scope));
        lock(&self.work).looked
    }

    fn work_off<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut bytes = Vec::new();
        while let Some((task, _busy)) = self.next() {
            let looked = match task {
                Task::Folder(path) => self.list(path, scope, &mut bytes),
                Task::Pack(pack) => self.look_through(&pack, &mut bytes),
            };
            let mut work = lock(&self.work);
            work.looked = work.looked.and(looked);
        }
    }

    /// Packs first, so that few wait.
    fn next(&self) -> Option<(Task, Busy<'_, 'a>)> {
        let mut work = lock(&self.work);
        loop {
            let pack = work.packs.pop().map(Task::Pack);
            if let Some(task) = pack.or_else(|| work.folders.pop().map(Task::Folder)) {
                work.busy += 1;
                return Some((task, Busy(self)));
            }
            if work.busy == 0 {
                return None;
            }
            work = self.more.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn list<'scope>(
        &'scope self,
        path: PathBuf,
        scope: &'scope Scope<'scope, '_>,
        bytes: &mut Vec<u8>,
    ) -> Looked {
        let opened = self.store.fs.folder(path.clone());
        let listed = opened.and_then(|folder| self.look_into(&Arc::new(folder), scope, bytes));
        match listed {
            Ok(looked) => looked,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Looked::Whole,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a folder of snapshots");
                Looked::Failed
            }
        }
    }

    fn look_into<'scope>(
        &'scope self,
        folder: &Arc<Folder>,
        scope: &'scope Scope<'scope, '_>,
        bytes: &mut Vec<u8>,
    ) -> io::Result<Looked> {
        let mut looked = Looked::Whole;
        let mut names = Vec::new();
        for entry in folder.entries()? {
            let (name, kind) = entry?;
            match kind {
                EntryKind::Directory if self.is_ours(folder, &name) => {
                    lock(&self.work).folders.push(folder.path().join(name));
                    self.told(scope);
                }
                EntryKind::File if sidecar_name(&name).is_some() => names.push(name),
                _ => {}
            }
            if names.len() == PACK {
                let pack = Pack {
                    folder: Arc::clone(folder),
                    names: std::mem::take(&mut names),
                };
                if let Some(pack) = self.put(pack) {
                    looked = looked.and(self.look_through(&pack, bytes));
                }
                self.told(scope);
            }
        }
        let pack = Pack {
            folder: Arc::clone(folder),
            names,
        };
        Ok(looked.and(self.look_through(&pack, bytes)))
    }

    /// Gives it back where enough wait.
    fn put(&self, pack: Pack) -> Option<Pack> {
        let packs = &mut lock(&self.work).packs;
        if packs.len() >= PACKS {
            return Some(pack);
        }
        packs.push(pack);
        None
    }

    /// There is more to do; where there is plenty, for one more.
    fn told<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        self.more.notify_one();
        let waiting = {
            let work = lock(&self.work);
            work.folders.len() + work.packs.len() * (PLENTY / PACKS)
        };
        if waiting < PLENTY || self.has_help.swap(true, Ordering::Relaxed) {
            return;
        }
        let spawned = thread::Builder::new()
            .name("phantom-scan-2".into())
            .spawn_scoped(scope, || self.work_off(scope));
        if let Err(error) = spawned {
            tracing::debug!(%error, "one thread reads the snapshot directory");
        }
    }

    /// A directory with its own marker inside this one is another store's.
    fn is_ours(&self, folder: &Folder, name: &OsStr) -> bool {
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        !is_hidden
            && self
                .store
                .fs
                .stat(&folder.path().join(name).join(MARKER))
                .is_err()
    }

    fn look_through(&self, pack: &Pack, bytes: &mut Vec<u8>) -> Looked {
        pack.names.iter().fold(Looked::Whole, |looked, name| {
            let met = match sidecar_name(name) {
                Some(parsed) => self
                    .store
                    .meet(&pack.folder, (name, parsed), self.occasion, bytes),
                None => Looked::Whole,
            };
            looked.and(met)
        })
    }
}

fn sidecar_name(name: &OsStr) -> Option<FileName> {
    parse_file_name(Path::new(name)).filter(|name| name.kind == FileKind::Sidecar)
}

impl Store {
    fn meet(
        &self,
        folder: &Folder,
        (name, parsed): (&OsStr, FileName),
        occasion: Occasion,
        bytes: &mut Vec<u8>,
    ) -> Looked {
        self.options.seen.one_more();
        if occasion == Occasion::Start
            && parsed.variant.is_none()
            && self.enter_new(folder, name, parsed, bytes)
        {
            return Looked::Whole;
        }
        self.look_at(&folder.path().join(name), occasion)
    }

    /// Enters a key that the index does not know; says whether it has. What is odd in any way is for
    /// [`look_at`](Self::look_at) to judge.
    fn enter_new(&self, folder: &Folder, name: &OsStr, parsed: FileName, bytes: &mut Vec<u8>) -> bool {
        let _stripe = self.stripe(parsed.short_hash);
        if self.index.get_short(parsed.short_hash).is_some() {
            return false;
        }
        let Ok(file) = folder.read_small(name, sidecar::MAX_BYTES, bytes) else {
            return false;
        };
        let Ok(sidecar) = sidecar::from_bytes(bytes) else {
            return false;
        };
        let key = Key::from_text(sidecar.key.clone());
        let stem = Stem::of(&key);
        let is_in_place = folder.path().strip_prefix(&self.root) == Ok(stem.folder())
            && stem.sidecar(None).file_name() == Some(name);
        if !is_in_place || sidecar.variant.id().is_some() {
            return false;
        }
        self.enter_if_standing((&key, &stem), &sidecar, &file)
    }

    fn enter_if_standing(&self, (key, stem): (&Key, &Stem), sidecar: &Sidecar, file: &FileId) -> bool {
        let clock = sidecar
            .rendering
            .as_ref()
            .map_or(Generated::Unmarked, |rendering| generated(rendering, file));
        let variant = self.variant_of((key, sidecar), file, clock);
        let own = sidecar.own_line();
        let subject = Subject {
            line: key.line(),
            own: (own != key.line()).then_some(&*own),
            tags: sidecar.tags(),
        };
        let life = Life::found(last_cared(clock, file));
        let entry = KeyEntry::new(key, stem.folder(), &sidecar.variant.names(), &own, life);
        let entry = entry.with_variant(variant, sidecar.parts());
        let ledger = self.ledger();
        if ledger.fate(subject, file.changed_at()).is_some() {
            return false;
        }
        self.index.insert(entry);
        true
    }
}
