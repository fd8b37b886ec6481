//! A folder whose files are read one after the other: reached once, where a path would be walked for each.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags};

use super::{EntryKind, FileId, Fs, kind_of, place, too_large};

/// See the module.
pub(crate) struct Folder {
    fs: Fs,
    path: PathBuf,
    handle: OwnedFd,
}

impl Fs {
    /// Opens a folder to list it and to read what is in it.
    pub(crate) fn folder(&self, path: PathBuf) -> io::Result<Folder> {
        self.gate("readdir", &path)?;
        Ok(Folder {
            handle: place::list(self.root.as_deref(), &path)?,
            fs: self.clone(),
            path,
        })
    }
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it, a piece at a time as the system tells it.
    pub(crate) fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<(OsString, EntryKind)>> + '_> {
        let entries = Dir::read_from(&self.handle)?;
        Ok(entries.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                return None;
            }
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => kind_of(&self.path.join(&name)),
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Directory,
                _ => EntryKind::Other,
            };
            Some(Ok((name, kind)))
        }))
    }

    /// As [`Fs::read_small`], into a buffer that is used again: as much as there was when it was opened.
    pub(crate) fn read_small(
        &self,
        name: &OsStr,
        limit_bytes: u64,
        bytes: &mut Vec<u8>,
    ) -> io::Result<FileId> {
        // Nobody else asks for the path.
        if self.fs.faults.is_some() {
            let path = self.path.join(name);
            self.fs.gate("open", &path)?;
            self.fs.gate("read", &path)?;
        }
        let (file, metadata) = place::open_at(&self.handle, name, OFlags::RDONLY, Mode::empty())?;
        let id = FileId::of(&metadata);
        if id.size() > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        bytes.clear();
        bytes.reserve(usize::try_from(id.size()).unwrap_or(0));
        file.take(id.size()).read_to_end(bytes)?;
        Ok(id)
    }
}
