//! Reaching into the tree without following a link: below the directory's root every folder on the way
//! is opened as itself, so that a link that somebody put there leads nowhere.
//!
//! The root's own path is the operator's, links and all. One step a folder rather than one `openat2`,
//! which not every kernel and container permits: two roads would have to be tested.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::File;

/// Enough to look names up in it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name in a folder that has been reached.
pub(super) struct Place<'a> {
    folder: OwnedFd,
    name: &'a OsStr,
}

impl<'a> Place<'a> {
    pub(super) fn of(root: Option<&Path>, path: &'a Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(Self {
            folder: folder(root, parent)?,
            name,
        })
    }

    /// Opens a regular file; a link, a FIFO, a device or a directory is an error, and opening one never
    /// hangs.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        Ok(open_at(&self.folder, self.name, flags, mode)?.0)
    }

    pub(super) fn rename_to(&self, to: &Place<'_>) -> io::Result<()> {
        Ok(renameat(&self.folder, self.name, &to.folder, to.name)?)
    }

    pub(super) fn unlink(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name, AtFlags::empty())?)
    }

    pub(super) fn remove_empty_dir(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name, AtFlags::REMOVEDIR)?)
    }
}

/// As [`Place::open`], in a folder that somebody has, and what was learnt of the file.
pub(super) fn open_at(
    folder: &OwnedFd,
    name: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> io::Result<(File, Metadata)> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, mode) {
        Ok(file) => File::from(file),
        // A link; a socket, or a pipe that nobody reads.
        Err(Errno::LOOP | Errno::NXIO) => return Err(no_file()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

/// The folder at `path`, which may be the root itself. An empty path, the parent of a single name, is the working
/// directory.
pub(super) fn folder(root: Option<&Path>, path: &Path) -> io::Result<OwnedFd> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let below = root.and_then(|root| Some((root, path.strip_prefix(root).ok()?)));
    let Some((root, below)) = below else {
        return Ok(openat(CWD, path, FOLDER, Mode::empty())?);
    };
    let mut folder = openat(CWD, root, FOLDER, Mode::empty())?;
    for part in below.components() {
        let Component::Normal(name) = part else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        folder = openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder)
}

/// The same, to be read or synced.
pub(super) fn list(root: Option<&Path>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(folder(root, path)?, c".", flags, Mode::empty())?)
}

/// Makes a folder and those on the way to it.
pub(super) fn make_folder(root: Option<&Path>, path: &Path) -> io::Result<()> {
    match folder(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        reached => return reached.map(drop),
    }
    if let Some(parent) = path.parent() {
        make_folder(root, parent)?;
    }
    let place = Place::of(root, path)?;
    match mkdirat(&place.folder, place.name, Mode::from_raw_mode(0o777)) {
        // Somebody else was quicker.
        Err(Errno::EXIST) => folder(root, path).map(drop),
        result => Ok(result?),
    }
}
