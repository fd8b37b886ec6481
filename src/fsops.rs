//! The only file that names `std::fs` for the store: every operation passes one gate, where tests
//! make the n-th call fail.
//!
//! All of it blocks; callers are on blocking threads.

pub(crate) use std::fs::File;
use std::fs::{self, FileTimes, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Asked before each operation, with its name and path; what it returns is the operation's failure.
pub type FaultPlan = Arc<dyn Fn(&'static str, &Path) -> io::Result<()> + Send + Sync>;

/// The file system as the store sees it.
#[derive(Clone, Default)]
pub(crate) struct Fs {
    faults: Option<FaultPlan>,
    /// Folders made less folders removed: they take blocks like files.
    folders: Arc<AtomicI64>,
}

/// How often a folder is made again that somebody removes, empty, before a file stands in it.
const FOLDER_ATTEMPTS: usize = 8;

/// What tells one state of a file from another without reading it: device, inode, size, mtime, ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Seconds and nanoseconds since 1970.
    pub(crate) fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// When the inode last changed, by the system's clock: nobody can set it back.
    pub(crate) fn changed_at(&self) -> SystemTime {
        time(self.changed)
    }

    /// When the contents last changed, as far as nobody set it.
    pub(crate) fn modified_at(&self) -> SystemTime {
        time(self.modified)
    }
}

/// Before 1970 is 1970.
fn time((seconds, nanos): (i64, i64)) -> SystemTime {
    let since = u64::try_from(seconds)
        .ok()
        .map(|seconds| Duration::new(seconds, u32::try_from(nanos).unwrap_or(0)));
    since
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or(UNIX_EPOCH)
}

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
            folders: Arc::default(),
        }
    }

    /// How many folders there are, as far as they were made here or counted.
    pub(crate) fn folders(&self) -> i64 {
        self.folders.load(Ordering::Relaxed)
    }

    /// Somebody has counted them: so many more than were known.
    pub(crate) fn correct_folders(&self, by: i64) {
        self.folders.fetch_add(by, Ordering::Relaxed);
    }

    fn gate(&self, operation: &'static str, path: &Path) -> io::Result<()> {
        match &self.faults {
            Some(plan) => plan(operation, path),
            None => Ok(()),
        }
    }

    /// Opens a regular file for reading; a link, a FIFO, a device or a directory is an error, and
    /// opening one never hangs.
    pub(crate) fn open(&self, path: &Path) -> io::Result<(File, FileId)> {
        self.gate("open", path)?;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        Ok((file, FileId::of(&metadata)))
    }

    /// The whole of a small file; one larger than `limit_bytes` is an error.
    pub(crate) fn read_small(&self, path: &Path, limit_bytes: u64) -> io::Result<(Vec<u8>, FileId)> {
        let (file, id) = self.open(path)?;
        self.gate("read", path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(id.size().min(limit_bytes)).unwrap_or(0));
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("larger than {limit_bytes} bytes"),
            ));
        }
        Ok((bytes, id))
    }

    /// blake3 of what is left of `file`, and the file's state behind it: what was hashed is what the state
    /// stands for only if it is the state in which the file was opened.
    pub(crate) fn hash(&self, file: &mut File, path: &Path) -> io::Result<(blake3::Hash, FileId)> {
        self.gate("read", path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut *file)?;
        Ok((hasher.finalize(), FileId::of(&file.metadata()?)))
    }

    pub(crate) fn stat(&self, path: &Path) -> io::Result<FileId> {
        self.gate("stat", path)?;
        Ok(FileId::of(&fs::symlink_metadata(path)?))
    }

    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.gate("mkdir", path)?;
        self.make_folders(path)
    }

    /// As `fs::create_dir_all`, counting.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        for _ in 0..FOLDER_ATTEMPTS {
            match fs::create_dir(path) {
                Ok(()) => {
                    self.folders.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(_) if path.is_dir() => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(error) => match path.parent() {
                    Some(parent) => self.make_folders(parent)?,
                    None => return Err(error),
                },
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    pub(crate) fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.gate("canonicalize", path)?;
        fs::canonicalize(path)
    }

    /// A new file in `dir` under a name of its own, removed when dropped, with mode 0644.
    pub(crate) fn temporary(&self, dir: &Path) -> io::Result<tempfile::NamedTempFile> {
        use std::os::unix::fs::PermissionsExt;
        self.gate("create", dir)?;
        let make = || {
            tempfile::Builder::new()
                .prefix("")
                .permissions(fs::Permissions::from_mode(0o644))
                .tempfile_in(dir)
        };
        match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders(dir)?;
                make()
            }
            result => result,
        }
    }

    pub(crate) fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.gate("write", path)?;
        file.write_all(bytes)
    }

    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.gate("sync", path)?;
        file.sync_data()
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.gate("sync-dir", path)?;
        File::open(path)?.sync_all()
    }

    pub(crate) fn set_modified(&self, file: &File, path: &Path, time: SystemTime) -> io::Result<()> {
        self.gate("set-times", path)?;
        file.set_times(FileTimes::new().set_modified(time))
    }

    /// Moves a temporary file to its name, replacing what is there; makes the folders on the way.
    pub(crate) fn persist(&self, file: tempfile::NamedTempFile, to: &Path) -> io::Result<()> {
        self.gate("rename", to)?;
        let mut file = file;
        let mut attempts = 0..FOLDER_ATTEMPTS;
        loop {
            match file.persist(to) {
                Ok(_) => return Ok(()),
                // A folder may be pruned between its making and the file's coming.
                Err(error) if error.error.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {
                    self.make_parent(to)?;
                    file = error.file;
                }
                Err(error) => return Err(error.error),
            }
        }
    }

    /// Renames, replacing what is there; makes the folders on the way.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate("rename", to)?;
        let mut attempts = 0..FOLDER_ATTEMPTS;
        loop {
            match fs::rename(from, to) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && attempts.next().is_some()
                        && from.exists() =>
                {
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

    /// Removes a file; one that is not there is not an error.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.gate("unlink", path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_empty_dir(&self, path: &Path) -> io::Result<()> {
        self.gate("rmdir", path)?;
        fs::remove_dir(path)?;
        self.folders.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.gate("readdir", path)?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => EntryKind::File,
                Ok(kind) if kind.is_dir() => EntryKind::Directory,
                _ => EntryKind::Other,
            };
            entries.push(DirEntry {
                path: entry.path(),
                kind,
            });
        }
        Ok(entries)
    }

    /// Opens for appending, creating the file and its folder.
    pub(crate) fn open_append(&self, path: &Path) -> io::Result<File> {
        self.gate("open-append", path)?;
        let open = || OpenOptions::new().append(true).create(true).open(path);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parent(path)?;
                open()
            }
            result => result,
        }
    }

    pub(crate) fn truncate(&self, file: &File, path: &Path) -> io::Result<()> {
        self.gate("truncate", path)?;
        file.set_len(0)
    }

    /// Opens the lock file and takes its lock: `None` if another process has it.
    pub(crate) fn try_lock(&self, path: &Path) -> io::Result<Option<File>> {
        self.gate("lock", path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A file that is still being written, read by position.
#[derive(Debug, Clone)]
pub(crate) struct Prefix(Arc<File>);

impl Prefix {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self(Arc::new(file.try_clone()?)))
    }

    /// What stands at `offset`, up to `limit` bytes; less only at the end of what is written.
    pub(crate) fn read_at(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; limit];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}
