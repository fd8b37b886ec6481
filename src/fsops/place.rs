//! Reaching into the tree without following a link: below the directory's root every folder on the way
//! is opened as itself, so that a link that somebody put there leads nowhere.
//!
//! The root's own path is the operator's, links and all. Linux goes the whole way in one call (`openat2`); where
//! a kernel or a container refuses that, and elsewhere, it is one step a folder. Both are tested to be the same.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::fs::{ResolveFlags, openat2};
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

    fn open(&self, flags: OFlags, mode: Mode) -> io::Result<(File, Metadata)> {
        regular(openat(&self.folder, self.name, flags, mode))
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

/// Opens a regular file; a link, a FIFO, a device or a directory is an error, and opening one never
/// hangs.
pub(super) fn open(
    root: Option<&Path>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<(File, Metadata)> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match leap(root, path, flags, mode) {
        Some(opened) => regular(opened),
        None => Place::of(root, path)?.open(flags, mode),
    }
}

/// Makes a file where there is none.
pub(super) fn create(root: Option<&Path>, path: &Path, mode: Mode) -> io::Result<File> {
    // What was not there before is a regular file.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = match leap(root, path, flags, mode) {
        Some(created) => created,
        None => {
            let place = Place::of(root, path)?;
            openat(&place.folder, place.name, flags, mode)
        }
    };
    Ok(File::from(created?))
}

/// Whether the root is on a disk of this machine, or in its memory: elsewhere opening what is cached may wait for a server.
#[cfg(target_os = "linux")]
pub(super) fn is_local(root: &Path) -> bool {
    /// ext2 to ext4, XFS, Btrfs, F2FS, ZFS, tmpfs.
    const LOCAL: [u32; 6] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0xf2f5_2010,
        0x2fc1_2fc1,
        0x0102_1994,
    ];
    // The type is 32 bits; its number's width is the platform's.
    rustix::fs::statfs(root).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_local(_: &Path) -> bool {
    false
}

/// The same for reading, as far as the kernel has every name on the way in memory.
#[cfg(target_os = "linux")]
pub(super) fn open_now(root: &Path, path: &Path) -> Option<(File, Metadata)> {
    if !is_plainly_below(root, path) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    let opened = openat2(CWD, path, flags, Mode::empty(), resolve).ok()?;
    regular(Ok(opened)).ok()
}

/// The state of what is there, links not followed, as far as the kernel has every name on the way in memory: that there is nothing,
/// too. Nothing where that does not tell.
#[cfg(target_os = "linux")]
pub(super) fn state_now(root: &Path, path: &Path) -> Option<io::Result<Metadata>> {
    if !is_plainly_below(root, path) {
        return None;
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Ok(reached) => Some(File::from(reached).metadata()),
        Err(error @ (Errno::NOENT | Errno::NOTDIR)) => Some(Err(error.into())),
        Err(_) => None,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn state_now(_: &Path, _: &Path) -> Option<io::Result<Metadata>> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open_now(_: &Path, _: &Path) -> Option<(File, Metadata)> {
    None
}

/// The same in a folder that somebody has.
pub(super) fn open_at(
    folder: &OwnedFd,
    name: &OsStr,
    flags: OFlags,
    mode: Mode,
) -> io::Result<(File, Metadata)> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(openat(folder, name, flags, mode))
}

fn regular(opened: Result<OwnedFd, Errno>) -> io::Result<(File, Metadata)> {
    let file = match opened {
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
    if let Some(reached) = leap(root, path, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
        return Ok(reached?);
    }
    let below = root.and_then(|root| Some((root, path.strip_prefix(root).ok()?)));
    let Some((root, below)) = below else {
        return Ok(openat(CWD, path, FOLDER, Mode::empty())?);
    };
    let mut parts = below.components();
    match parts.all(|part| matches!(part, Component::Normal(_))) {
        true => walk(openat(CWD, root, FOLDER, Mode::empty())?, below),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Whether a path is the root, or below it with names alone on the way. By its bytes: taking it apart costs more than
/// opening it. What is written in another way (`//`, a slash at the end) is no less below, and goes by steps.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_plainly_below(root: &Path, path: &Path) -> bool {
    let (root, path) = (root.as_os_str().as_bytes(), path.as_os_str().as_bytes());
    match path.strip_prefix(root) {
        Some([b'/', names @ ..]) => names
            .split(|byte| *byte == b'/')
            .all(|name| !matches!(name, b"" | b"." | b"..")),
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

/// In one call; nothing if that does not tell. No link is on the way, not even above the root, where there may be:
/// what this does not reach for a link, steps may.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn leap(root: Option<&Path>, path: &Path, flags: OFlags, mode: Mode) -> Option<Result<OwnedFd, Errno>> {
    static IS_REFUSED: AtomicBool = AtomicBool::new(false);
    if !is_plainly_below(root?, path) || IS_REFUSED.load(Ordering::Relaxed) {
        return None;
    }
    match openat2(CWD, path, flags, mode, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOSYS | Errno::PERM) => {
            IS_REFUSED.store(true, Ordering::Relaxed);
            None
        }
        // Or something was renamed on the way.
        Err(Errno::LOOP | Errno::AGAIN) => None,
        reached => Some(reached),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn leap(_: Option<&Path>, _: &Path, _: OFlags, _: Mode) -> Option<Result<OwnedFd, Errno>> {
    None
}

/// Folder by folder.
fn walk(root: OwnedFd, below: &Path) -> io::Result<OwnedFd> {
    let mut folder = root;
    for name in below {
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

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_below_has_names_alone_on_the_way() {
        for (path, expected) in [
            ("/r", true),
            ("/r/a", true),
            ("/r/a/b.c", true),
            ("/r/...", true),
            ("/ra", false),
            ("/r/", false),
            ("/r//a", false),
            ("/r/a/", false),
            ("/r/./a", false),
            ("/r/../a", false),
            ("/r/a/..", false),
            ("/", false),
            ("r/a", false),
        ] {
            assert_eq!(
                is_plainly_below(Path::new("/r"), Path::new(path)),
                expected,
                "{path}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_kernel_knows_of_a_file_is_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = &dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a/file"), "four").unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        // Looked at, so that it is known.
        let state = |path: &str| {
            let path = root.join(path);
            drop(std::fs::metadata(&path));
            state_now(root, &path)
        };
        if state("a/file").is_none() {
            // Refused here.
            return;
        }
        assert_eq!(state("a/file").unwrap().unwrap().len(), 4);
        for missing in ["a/none", "none/b", "a/file/b"] {
            let kind = state(missing).map(|state| state.map(drop).map_err(|error| error.kind()));
            assert!(
                matches!(
                    kind,
                    None | Some(Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
                ),
                "{missing}: {kind:?}"
            );
        }
        // A link is itself, never what it leads to.
        assert!(state("link").is_none_or(|link| link.unwrap().is_symlink()));
        for unsaid in ["link/file", "../x", ""] {
            assert!(state(unsaid).is_none(), "{unsaid}");
        }
        assert!(state_now(&root.join("a"), &root.join("b")).is_none());
    }

    #[test]
    fn one_call_reaches_what_single_steps_reach() {
        let dir = tempfile::tempdir().unwrap();
        let root = &dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        std::os::unix::fs::symlink("b", root.join("a/near")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("a/broken")).unwrap();
        let open = || openat(CWD, root, FOLDER, Mode::empty()).unwrap();
        let leap = |path: &Path| {
            leap(
                Some(root),
                &root.join(path),
                FOLDER | OFlags::NOFOLLOW,
                Mode::empty(),
            )
        };
        if leap(Path::new("a")).is_none() {
            // Refused here.
            return;
        }
        for (path, is_there) in [
            ("a", true),
            ("a/b", true),
            ("a/b/c", true),
            ("a/none", false),
            ("none/b", false),
            ("a/file", false),
            ("a/file/b", false),
            ("link", false),
            ("link/b", false),
            ("a/near", false),
            ("a/near/c", false),
            ("a/broken", false),
        ] {
            let path = Path::new(path);
            let kind = |reached: io::Result<OwnedFd>| reached.map(drop).map_err(|error| error.kind());
            let walked = kind(walk(open(), path));
            match leap(path) {
                Some(leapt) => assert_eq!(kind(leapt.map_err(Into::into)), walked, "{}", path.display()),
                // A link is on the way, which is for the steps to say.
                None => assert!(walked.is_err(), "{}", path.display()),
            }
            assert_eq!(walked.is_ok(), is_there, "{}", path.display());
        }
    }
}
