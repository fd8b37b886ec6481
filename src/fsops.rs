//! The only file that names `std::fs` for the store: every operation passes one gate, where tests
//! make the n-th call fail. Below the store's root nothing follows a link (`place`).
//!
//! All of it blocks; callers are on blocking threads.

mod fault;
mod folder;
mod id;
mod place;
mod prefix;
mod whole;

pub(crate) use std::fs::File;
use std::fs::{self, FileTimes, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Dir, FileType, Mode, OFlags};

pub use fault::{DiskFault, FaultPlan};
pub(crate) use folder::Folder;
pub(crate) use id::{FileId, FileStamp};
use place::Place;
pub(crate) use prefix::Prefix;

/// The file system as the store sees it.
#[derive(Clone, Default)]
pub(crate) struct Fs {
    faults: Option<FaultPlan>,
    /// Below it no link is followed.
    root: Option<Arc<Path>>,
    /// Reading there never waits for another machine.
    is_local: bool,
}

/// How often a folder is made again that somebody removes, empty, before a file stands in it.
const FOLDER_ATTEMPTS: usize = 8;

/// One entry of a directory.
pub(crate) struct DirEntry {
    pub(crate) path: PathBuf,
    pub(crate) kind: EntryKind,
}

/// What an entry of a directory is, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Other,
}

impl Fs {
    pub(crate) fn new(faults: Option<FaultPlan>) -> Self {
        Self {
            faults,
            root: None,
            is_local: false,
        }
    }

    /// The same, for the tree below `root`.
    pub(crate) fn below(&self, root: &Path) -> Self {
        Self {
            root: Some(root.into()),
            is_local: place::is_local(root),
            ..self.clone()
        }
    }

    fn gate(&self, operation: &'static str, path: &Path) -> io::Result<()> {
        self.ask(operation, path).map_err(|fault| fault.error)
    }

    fn ask(&self, operation: &'static str, path: &Path) -> Result<(), DiskFault> {
        match &self.faults {
            Some(plan) => plan(operation, path),
            None => Ok(()),
        }
    }

    fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>> {
        Place::of(self.root.as_deref(), path)
    }

    fn open_as(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<(File, Metadata)> {
        place::open(self.root.as_deref(), path, flags, mode)
    }

    /// Opens a regular file for reading; a link, a FIFO, a device or a directory is an error, and
    /// opening one never hangs.
    pub(crate) fn open(&self, path: &Path) -> io::Result<(File, FileId)> {
        self.gate("open", path)?;
        let (file, metadata) = self.open_as(path, OFlags::RDONLY, Mode::empty())?;
        Ok((file, FileId::of(&metadata)))
    }

    /// The whole of a small file; one larger than `limit_bytes` is an error.
    pub(crate) fn read_small(&self, path: &Path, limit_bytes: u64) -> io::Result<(Vec<u8>, FileId)> {
        let (file, id) = self.open(path)?;
        self.gate("read", path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(id.size().min(limit_bytes)).unwrap_or(0));
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        Ok((bytes, id))
    }

    /// Copies a regular file to a place that is not the store's, with this time, or its own; folders on the way are made.
    pub(crate) fn copy_out(&self, from: &Path, to: &Path, time: Option<SystemTime>) -> io::Result<()> {
        let (mut file, id) = self.open(from)?;
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut copy = File::create_new(to)?;
        io::copy(&mut file, &mut copy)?;
        copy.set_modified(time.unwrap_or_else(|| id.modified_at()))
    }

    /// blake3 of what is left of `file`, and the file's state behind it: what was hashed is what the state
    /// stands for only if it is the state in which the file was opened.
    pub(crate) fn hash(&self, file: &mut File, path: &Path) -> io::Result<(blake3::Hash, FileId)> {
        self.gate("read", path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut *file)?;
        Ok((hasher.finalize(), FileId::of(&file.metadata()?)))
    }

    /// The state of what is at `path`, which is no more than a number to compare with one that was learnt
    /// by opening: links on the way are followed.
    pub(crate) fn stat(&self, path: &Path) -> io::Result<FileId> {
        self.gate("stat", path)?;
        Ok(FileId::of(&fs::symlink_metadata(path)?))
    }

    /// The state of an open file, which stands at `path`.
    pub(crate) fn state(&self, file: &File, path: &Path) -> io::Result<FileId> {
        self.gate("stat", path)?;
        Ok(FileId::of(&file.metadata()?))
    }

    /// Whether a folder stands there: a hint, as [`stat`](Self::stat) is.
    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        kind_of(path) == EntryKind::Directory
    }

    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.gate("mkdir", path)?;
        self.make_folders(path)
    }

    /// A folder may be pruned between its making and what comes into it.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        let mut attempts = 0..FOLDER_ATTEMPTS;
        loop {
            match place::make_folder(self.root.as_deref(), path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {}
                result => return result,
            }
        }
    }

    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.gate("canonicalize", path)?;
        fs::canonicalize(path)
    }

    /// A new file in `dir` under a name of its own, removed when dropped, with mode 0644.
    pub(crate) fn temporary(&self, dir: &Path) -> io::Result<tempfile::NamedTempFile> {
        self.temporary_as(dir, Mode::from_raw_mode(0o644))
    }

    /// The same, which nobody but its owner may read.
    #[cfg(feature = "cli")]
    pub(crate) fn private_temporary(&self, dir: &Path) -> io::Result<tempfile::NamedTempFile> {
        self.temporary_as(dir, Mode::from_raw_mode(0o600))
    }

    fn temporary_as(&self, dir: &Path, mode: Mode) -> io::Result<tempfile::NamedTempFile> {
        self.gate("create", dir)?;
        let create = |path: &Path| place::create(self.root.as_deref(), path, mode);
        let make = || tempfile::Builder::new().prefix("").make_in(dir, create);
        match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders(dir)?;
                make()
            }
            result => result,
        }
    }

    pub(crate) fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.ask("write", path) {
            Ok(()) => file.write_all(bytes),
            Err(fault) => {
                file.write_all(bytes.get(..fault.after_bytes).unwrap_or(bytes))?;
                Err(fault.error)
            }
        }
    }

    /// A second handle to a file that is being written.
    pub(crate) fn prefix(&self, file: &File, path: &Path) -> io::Result<Prefix> {
        self.gate("duplicate", path)?;
        Ok(Prefix::new(self, file.try_clone()?, path))
    }

    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.gate("sync", path)?;
        file.sync_data()
    }

    /// Syncs all that is written on the file system of `dir`, if there is a call for that.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.gate("sync-all", dir)?;
        Ok(rustix::fs::syncfs(place::list(self.root.as_deref(), dir)?)?)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.gate("sync-dir", path)?;
        File::from(place::list(self.root.as_deref(), path)?).sync_all()
    }

    pub(crate) fn set_modified(&self, file: &File, path: &Path, time: SystemTime) -> io::Result<()> {
        self.gate("set-times", path)?;
        file.set_times(FileTimes::new().set_modified(time))
    }

    /// Moves a temporary file to its name, replacing what is there; makes the folders on the way.
    pub(crate) fn persist(&self, file: tempfile::NamedTempFile, to: &Path) -> io::Result<File> {
        self.gate("rename", to)?;
        self.move_file(file.path(), to)?;
        let (file, path) = file.into_parts();
        // Nothing is left to remove.
        path.keep()?;
        Ok(file)
    }

    /// Renames, replacing what is there; makes the folders on the way.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate("rename", to)?;
        self.move_file(from, to)
    }

    fn move_file(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.place(from)?;
        let mut attempts = 0..FOLDER_ATTEMPTS;
        loop {
            match self.place(to).and_then(|to| from.rename_to(&to)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {
                    self.make_parent(to)?;
                }
                result => return result,
            }
        }
    }

    fn make_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.create_dir_all(parent),
            None => Ok(()),
        }
    }

    /// Removes a file; one that is not there is not an error, and behind a link there is none.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.gate("unlink", path)?;
        match self.place(path).and_then(|place| place.unlink()) {
            Err(error) if is_absence(&error) => Ok(()),
            result => result,
        }
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_empty_dir(&self, path: &Path) -> io::Result<()> {
        self.gate("rmdir", path)?;
        self.place(path)?.remove_empty_dir()
    }

    pub(crate) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.gate("readdir", path)?;
        let mut entries = Vec::new();
        for entry in Dir::new(place::list(self.root.as_deref(), path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name));
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => kind_of(&path),
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Directory,
                _ => EntryKind::Other,
            };
            entries.push(DirEntry { path, kind });
        }
        Ok(entries)
    }

    /// Opens for appending, creating the file and its folder.
    pub(crate) fn open_append(&self, path: &Path) -> io::Result<File> {
        self.gate("open-append", path)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let open = || self.open_as(path, flags, Mode::from_raw_mode(0o666));
        let opened = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parent(path)?;
                open()
            }
            result => result,
        };
        opened.map(|(file, _)| file)
    }

    pub(crate) fn truncate(&self, file: &File, path: &Path) -> io::Result<()> {
        self.gate("truncate", path)?;
        file.set_len(0)
    }

    /// Opens the lock file and takes its lock: `None` if another process has it.
    pub(crate) fn try_lock(&self, path: &Path) -> io::Result<Option<File>> {
        self.gate("lock", path)?;
        let flags = OFlags::RDWR | OFlags::CREATE;
        let open = || self.open_as(path, flags, Mode::from_raw_mode(0o666));
        let (file, _) = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parent(path)?;
                open()?
            }
            opened => opened?,
        };
        match file.try_lock() {
            // Or it has just been deleted, and another lock is to be had under its name.
            Ok(()) => Ok(is_at(&file, path)?.then_some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether `file` still is the one at `path`.
    pub(crate) fn is_in_place(&self, file: &File, path: &Path) -> io::Result<bool> {
        self.gate("stat", path)?;
        is_at(file, path)
    }
}

fn too_large(limit_bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("larger than {limit_bytes} bytes"),
    )
}

/// Whether nothing of ours is there: no such name, or something else in the place of a folder.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let here = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn kind_of(path: &Path) -> EntryKind {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => EntryKind::File,
        Ok(metadata) if metadata.is_dir() => EntryKind::Directory,
        _ => EntryKind::Other,
    }
}
