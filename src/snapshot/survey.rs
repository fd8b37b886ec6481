//! The directory as somebody sees it who only reads: without the lock, a thread or an index, and nothing is
//! written. A folder at a time, so that what is held does not grow with the directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::clock::system_now;
use crate::error::{Error, ErrorKind};
use crate::fsops::{EntryKind, FaultPlan, FileId, Folder, Fs, is_absence};
use crate::head::{Generated, Seal, Sidecar, VariantId};
use crate::key::Key;
use crate::pattern::Subject;

use super::last_good::{Refused, read_refused};
use super::layout::{FileKind, FileName, MARKER, PRIVATE, Stem, parse_file_name};
use super::ledger::{Fate, Ledger};
use super::log::Log;
use super::open::check_marker;
use super::pinned::Pinned;
use super::progress::Progress;
use super::read::{generated, is_unusable};
use super::sidecar;

/// See the module.
pub(crate) struct Survey {
    fs: Fs,
    root: PathBuf,
    /// What an invalidation has yet to remove or mark.
    ledger: Ledger,
    /// Sidecars that were read.
    seen: Arc<Progress>,
}

/// A folder of the directory, listed.
pub(crate) struct Listed {
    folder: Folder,
    /// From the root.
    path: PathBuf,
    /// The files of a key together.
    entries: Vec<Entry>,
}

/// What is in a folder.
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) kind: EntryKind,
    /// What its name says, if it is of the layout.
    pub(crate) parsed: Option<FileName>,
}

impl Entry {
    fn of(name: OsString, kind: EntryKind) -> Self {
        let parsed = parse_file_name(Path::new(&name));
        Self { name, kind, parsed }
    }

    /// Slug and hash. A slug may look like another key's slug and hash, so names alone would not keep them together.
    fn group(&self) -> (&[u8], u64) {
        let name = self.name.as_encoded_bytes();
        match self.parsed {
            Some(parsed) => {
                let slug = name.rsplitn(3, |byte| *byte == b'.').nth(2);
                (slug.unwrap_or_default(), parsed.short_hash)
            }
            None => (name, 0),
        }
    }

    fn order(&self) -> ((&[u8], u64), &OsStr) {
        (self.group(), &self.name)
    }

    /// Whether its key's address may be one of which this is the slug.
    pub(crate) fn is_of_slug(&self, slug: &str) -> bool {
        self.parsed.is_some() && self.group().0 == slug.as_bytes()
    }

    pub(crate) fn is_sidecar(&self) -> bool {
        self.parsed.is_some_and(|name| name.kind == FileKind::Sidecar)
    }
}

impl Listed {
    /// From the root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The folders in it.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        let folders = self.entries.iter();
        let folders = folders.filter(|entry| entry.kind == EntryKind::Directory);
        folders.map(|entry| Path::new(&entry.name))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let sought = Entry::of(name.into(), EntryKind::File);
        self.entries
            .binary_search_by(|entry| entry.order().cmp(&sought.order()))
            .is_ok()
    }

    /// The files of one key after the other.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Entry]> {
        let is_one = |one: &Entry, next: &Entry| one.parsed.is_some() && one.group() == next.group();
        let groups = self.entries.chunk_by(is_one);
        groups.filter(|group| group.iter().all(|entry| entry.parsed.is_some()))
    }
}

/// The folder of a key's files, from the root.
pub(crate) fn folder_of(key: &Key) -> PathBuf {
    Stem::of(key).folder().to_owned()
}

/// How the names of a key's files begin, its hash apart: of all keys with this line 1.
pub(crate) fn slug_of(line: &str) -> String {
    let prefix = Stem::of(&Key::from_text(line)).variant_prefix();
    prefix
        .rsplit_once('.')
        .map_or(prefix.clone(), |(slug, _)| slug.to_owned())
}

/// A sidecar in its place.
pub(crate) struct Found {
    pub(crate) sidecar: Sidecar,
    pub(crate) file: FileId,
    pub(crate) key: Key,
    pub(crate) stem: Stem,
    pub(crate) id: Option<VariantId>,
}

impl Found {
    /// Whether a pattern is about its key.
    pub(crate) fn is_of(&self, is_match: impl Fn(Subject<'_>) -> bool) -> bool {
        is_match(self.sidecar.subject(&self.sidecar.own_line()))
    }

    /// The body's file, from the root.
    pub(crate) fn body(&self) -> Option<PathBuf> {
        let body = self.sidecar.rendering.as_ref()?.body.as_ref()?;
        Some(self.stem.folder().join(&*body.file))
    }
}

/// A file by a sidecar's name that is none.
#[derive(Debug)]
pub(crate) enum Odd {
    /// It went while the folder was looked through.
    Gone,
    /// The disk does not give it.
    Unreadable(io::Error),
    NotASidecar(io::Error),
    /// Its key's place is another.
    Misplaced(PathBuf),
}

/// Told of every folder, or of one that cannot be listed, by its path.
type EachFolder<'a> = dyn FnMut(Result<&Listed, (&Path, io::Error)>) + 'a;

impl Survey {
    /// # Errors
    /// When there is no snapshot directory, or it is another format's or another site's.
    pub(crate) fn of(
        dir: &Path,
        site: Option<&str>,
        pinned: &Pinned,
        faults: Option<FaultPlan>,
    ) -> Result<Self, Error> {
        let fs = Fs::new(faults);
        let unreadable = |error| Error::directory("read the snapshot directory", dir, error);
        let hint = "name it with `--snapshots`, or the file that names it with `--config`";
        let root = fs
            .canonicalize(dir)
            .map_err(|error| unreadable(error).with_hint(hint))?;
        let fs = fs.below(&root);
        match fs.open(&root.join(MARKER)) {
            Ok(_) => {}
            Err(error) if is_absence(&error) => {
                let context = format!("{} is no snapshot directory: it has no {MARKER}", dir.display());
                return Err(Error::new(ErrorKind::Directory, context).with_hint(hint));
            }
            Err(error) => return Err(unreadable(error)),
        }
        check_marker(&fs, &root, site).map_err(|fault| fault.into_error(unreadable))?;
        let log = Log::at(root.join(PRIVATE).join("invalidations"));
        let ledger = Ledger::after(log.read(&fs, system_now())).sparing(pinned);
        Ok(Self {
            fs,
            root,
            ledger,
            seen: Arc::default(),
        })
    }

    /// How many sidecars have been read so far.
    pub(crate) fn seen(&self) -> Arc<Progress> {
        Arc::clone(&self.seen)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every folder that may hold snapshots, in the order of their paths; one that cannot be listed by its path.
    pub(crate) fn each_folder(&self, each: &mut EachFolder<'_>) {
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let listed = match self.list(path.clone()) {
                Ok(listed) => listed,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    each(Err((&path, error)));
                    continue;
                }
            };
            let folders = listed.entries.iter().rev();
            let folders = folders.filter(|entry| entry.kind == EntryKind::Directory);
            waiting.extend(folders.filter_map(|folder| {
                let path = listed.path.join(&folder.name);
                self.is_ours(&path, &folder.name).then_some(path)
            }));
            each(Ok(&listed));
        }
    }

    /// A folder by its path from the root.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn list(&self, path: PathBuf) -> io::Result<Listed> {
        // Without the slash that an empty path would leave behind the root.
        let place: PathBuf = self.root.components().chain(path.components()).collect();
        let folder = self.fs.folder(place)?;
        let mut entries = Vec::new();
        for entry in folder.entries()? {
            let (name, kind) = entry?;
            entries.push(Entry::of(name, kind));
        }
        entries.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        Ok(Listed {
            folder,
            path,
            entries,
        })
    }

    /// A directory with its own marker inside this one is another store's, and what is hidden is nobody's page.
    pub(crate) fn is_ours(&self, path: &Path, name: &OsStr) -> bool {
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        !is_hidden && self.fs.stat(&self.root.join(path).join(MARKER)).is_err()
    }

    /// A sidecar, which is nothing if it is not in its key's place.
    pub(crate) fn read(&self, listed: &Listed, name: &OsStr, bytes: &mut Vec<u8>) -> Result<Found, Odd> {
        let file = match listed.folder.read_small(name, sidecar::MAX_BYTES, bytes) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Odd::Gone),
            Err(error) if is_unusable(&error) => return Err(Odd::NotASidecar(error)),
            Err(error) => return Err(Odd::Unreadable(error)),
        };
        self.seen.one_more();
        let sidecar = sidecar::from_bytes(bytes)
            .map_err(|error| Odd::NotASidecar(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let key = Key::from_text(sidecar.key.clone());
        let (stem, id) = (Stem::of(&key), sidecar.variant.id());
        let place = stem.sidecar(id);
        if place.parent() != Some(&*listed.path) || place.file_name() != Some(name) {
            return Err(Odd::Misplaced(place));
        }
        Ok(Found {
            sidecar,
            file,
            key,
            stem,
            id,
        })
    }

    /// What stands in a sidecar, by its path from the root.
    ///
    /// # Errors
    /// Those of the file system, and what is no sidecar.
    #[cfg(feature = "cli")]
    pub(crate) fn sidecar_at(&self, path: &Path) -> io::Result<Sidecar> {
        let bytes = self.bytes_of(path, sidecar::MAX_BYTES)?;
        sidecar::from_bytes(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// When a rendering was generated; nothing where it is about to be removed, or is none.
    pub(crate) fn clock(&self, found: &Found) -> Option<Generated> {
        let rendering = found.sidecar.rendering.as_ref()?;
        let own = found.sidecar.own_line();
        let subject = found.sidecar.subject(&own);
        match self.ledger.fate_by_time(subject, found.file.changed_at()) {
            Some(Fate::Delete) => None,
            Some(Fate::Stale) => Some(Generated::Invalidated),
            None => Some(generated(rendering, &found.file)),
        }
    }

    /// The seal that a file's bytes have.
    ///
    /// # Errors
    /// Those of the file system; what is no regular file is [`InvalidData`](io::ErrorKind::InvalidData).
    pub(crate) fn seal_of(&self, path: &Path) -> io::Result<(Seal, FileId)> {
        let path = self.root.join(path);
        let (mut file, _) = self.fs.open(&path)?;
        let (hash, state) = self.fs.hash(&mut file, &path)?;
        Ok((Seal(hash), state))
    }

    /// All of a file, from the root.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn bytes_of(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        Ok(self.fs.read_small(&self.root.join(path), limit_bytes)?.0)
    }

    /// Copies a file to the same path below another folder, with this time, or its own.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn copy(&self, path: &Path, to: &Path, time: Option<SystemTime>) -> io::Result<()> {
        self.fs.copy_out(&self.root.join(path), &to.join(path), time)
    }

    /// Length and state of what is at a path from the root.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn stat(&self, path: &Path) -> io::Result<FileId> {
        self.fs.stat(&self.root.join(path))
    }

    /// The name that only this directory has, if a server has given it one.
    #[cfg(feature = "cli")]
    pub(crate) fn directory_id(&self) -> Option<String> {
        super::companions::known_id(&self.fs, &self.root)
    }

    /// What was refused in favour of what is stored, the oldest first.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        read_refused(&self.fs, &self.root.join(PRIVATE))
    }

    /// The names in a folder of [`PRIVATE`]; none where there is no such folder.
    pub(crate) fn private(&self, name: &str) -> Vec<OsString> {
        let listed = self.fs.read_dir(&self.root.join(PRIVATE).join(name));
        let entries = listed.unwrap_or_default().into_iter();
        entries
            .filter_map(|entry| Some(entry.path.file_name()?.to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_key_stand_together_whatever_others_are_called() {
        let dir = tempfile::tempdir().unwrap();
        // The slug of the second key is the first one's slug and hash.
        let one = "a.b63416859d9259d0";
        let other = "a.b63416859d9259d0.0000000000000001";
        let names = [
            format!("{one}.html"),
            format!("{one}.toml"),
            format!("{one}~00000007.html"),
            format!("{one}~00000007.toml"),
            format!("{other}.css"),
            format!("{other}.toml"),
            "phantom-frame.toml".to_owned(),
        ];
        for name in &names {
            std::fs::write(dir.path().join(name), "format = 1").unwrap();
        }
        let survey = Survey::of(dir.path(), None, &Pinned::default(), None).unwrap();
        let listed = survey.list(PathBuf::new()).unwrap();
        let mut groups: Vec<Vec<_>> = listed
            .groups()
            .map(|group| group.iter().map(|entry| entry.name.to_string_lossy()).collect())
            .collect();
        groups.sort();
        assert_eq!(groups, [names[4..6].to_vec(), names[..4].to_vec()]);
        assert!(names.iter().all(|name| listed.has(name)));
        assert!(!listed.has("a"));
    }

    #[test]
    fn a_slug_is_that_of_every_key_with_the_line() {
        for (line, key) in [
            ("GET:/", "GET:/\nhost 1:x\nscheme 4:http"),
            ("GET:/blog/hello", "GET:/blog/hello\nhost 1:x"),
            ("GET:/a.min.js?v=1", "GET:/a.min.js?v=1"),
            ("post-7", "post-7"),
        ] {
            let place = Stem::of(&Key::from_text(key)).sidecar(None);
            let name = place.file_name().unwrap().to_owned();
            assert!(
                Entry::of(name, EntryKind::File).is_of_slug(&slug_of(line)),
                "{line}"
            );
        }
        let slug = slug_of("GET:/blog/hello");
        let other = Stem::of(&Key::from_text("GET:/blog/hello2")).sidecar(None);
        let name = other.file_name().unwrap().to_owned();
        assert!(!Entry::of(name, EntryKind::File).is_of_slug(&slug));
    }
}
