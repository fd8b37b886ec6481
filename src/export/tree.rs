//! The folder of an export. What was written there is noted with its hash in a manifest, and only what is as it was
//! noted is ever replaced or removed: everything else is somebody's. No link in the folder is followed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::names::{read, written};
use super::{Exported, Options};
use crate::error::{Error, ErrorKind};
use crate::fsops::{Fs, is_absence};

/// Our own folder in it.
pub(super) const OWN: &str = ".phantom-export";
const MANIFEST: &str = "manifest.json";
const MOST_MANIFEST: u64 = 256 << 20;

/// See the module.
pub(super) struct Tree {
    fs: Fs,
    root: PathBuf,
    /// Hashes of what was written before.
    known: BTreeMap<PathBuf, String>,
    now: BTreeMap<PathBuf, String>,
    is_dry: bool,
    is_forced: bool,
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    Written,
    Unchanged,
    /// Something else is in its place.
    Kept(String),
}

/// What is in a place.
enum There {
    Nothing,
    Bytes(String),
    Other(io::Error),
}

impl Tree {
    /// # Errors
    /// A folder in, around or equal to the snapshot directory, one with files and without a manifest, or a disk that
    /// refuses.
    pub(super) fn open(snapshots: &Path, options: &Options) -> Result<Self, Error> {
        let fs = Fs::new(None);
        let dir = &options.dir;
        let root = resolved(&fs, dir)?;
        if root.starts_with(snapshots) || snapshots.starts_with(&root) {
            let what = format!("cannot export to {}: the snapshots are there", dir.display());
            return Err(Error::new(ErrorKind::Directory, what).with_hint("name a folder of its own"));
        }
        if !options.is_dry {
            fs.create_dir_all(&root)
                .map_err(|error| Error::directory("create the folder of the export", dir, error))?;
        }
        let fs = fs.below(&root);
        let mut tree = Self {
            known: BTreeMap::new(),
            now: BTreeMap::new(),
            is_dry: options.is_dry,
            is_forced: options.is_forced,
            fs,
            root,
        };
        match tree.read_manifest() {
            Ok(Some(known)) => tree.known = known,
            Ok(None) => tree.check_empty(dir)?,
            Err(_) if options.is_forced => {}
            Err(error) => {
                let what = format!("the manifest of the export in {} cannot be read", dir.display());
                return Err(Error::new(ErrorKind::Directory, what)
                    .with_source(error)
                    .with_hint("name another folder, or have its files replaced with `--force`"));
            }
        }
        Ok(tree)
    }

    fn check_empty(&self, dir: &Path) -> Result<(), Error> {
        let is_empty = match self.fs.read_dir(&self.root) {
            Ok(entries) => entries.is_empty(),
            Err(error) if is_absence(&error) => true,
            Err(error) => return Err(Error::directory("read the folder of the export", dir, error)),
        };
        if is_empty || self.is_forced {
            return Ok(());
        }
        let what = format!("{} is not empty, and no export has written it", dir.display());
        Err(Error::new(ErrorKind::Directory, what)
            .with_hint("name another folder; or, with `--force`, files of the same names are replaced"))
    }

    fn manifest(&self) -> PathBuf {
        self.root.join(OWN).join(MANIFEST)
    }

    fn read_manifest(&self) -> io::Result<Option<BTreeMap<PathBuf, String>>> {
        let bytes = match self.fs.read_small(&self.manifest(), MOST_MANIFEST) {
            Ok((bytes, _)) => bytes,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it is no manifest of this version");
        let manifest: Value = serde_json::from_slice(&bytes)?;
        let files = manifest.get("files").and_then(Value::as_object);
        let files = files.filter(|_| manifest.get("format") == Some(&json!(1)));
        let mut known = BTreeMap::new();
        for (name, hash) in files.ok_or_else(wrong)? {
            let hash = hash.as_str().ok_or_else(wrong)?;
            known.insert(read(name).ok_or_else(wrong)?, hash.to_owned());
        }
        Ok(Some(known))
    }

    /// Leaves all that was written before.
    pub(super) fn spare(&mut self) {
        self.now.clone_from(&self.known);
    }

    /// Removes what was written for pages that are no more, before their places are taken.
    pub(super) fn prune(&mut self, is_wanted: &dyn Fn(&Path) -> bool, exported: &mut Exported) {
        let gone: Vec<_> = self
            .known
            .iter()
            .filter(|(file, _)| !is_wanted(file))
            .map(|(file, hash)| (file.clone(), hash.clone()))
            .collect();
        for (file, hash) in gone {
            let is_ours = match self.there(&file) {
                There::Nothing => continue,
                There::Bytes(there) => there == hash,
                There::Other(_) => false,
            };
            let removed = match is_ours {
                true if self.is_dry => Ok(()),
                true => self.fs.remove_file(&self.root.join(&file)),
                false => Err(io::Error::other("it was changed by hand, and its page is gone")),
            };
            match removed {
                Ok(()) => exported.removed.push(written(&file)),
                Err(error) => {
                    exported.kept.push((written(&file), error.to_string()));
                    self.now.insert(file, hash);
                    continue;
                }
            }
            for folder in file
                .ancestors()
                .skip(1)
                .filter(|path| !path.as_os_str().is_empty())
            {
                if self.is_dry || self.fs.remove_empty_dir(&self.root.join(folder)).is_err() {
                    break;
                }
            }
        }
    }

    /// Writes a file, unless it is there, or something else is.
    pub(super) fn put(&mut self, file: &Path, bytes: &[u8]) -> Put {
        let hash = blake3::hash(bytes).to_hex().to_string();
        let known = self.known.get(file);
        let is_free = match self.there(file) {
            There::Bytes(there) if there == hash => {
                self.now.insert(file.to_owned(), hash);
                return Put::Unchanged;
            }
            There::Nothing => Ok(()),
            _ if self.is_forced => Ok(()),
            There::Bytes(there) if known == Some(&there) => Ok(()),
            There::Bytes(_) if known.is_some() => Err("it was changed by hand".to_owned()),
            There::Bytes(_) => Err("another file is in its place".to_owned()),
            There::Other(error) => Err(format!("what is in its place is no file: {error}")),
        };
        let written = is_free.and_then(|()| match self.is_dry {
            true => Ok(()),
            false => self
                .write(file, bytes)
                .map_err(|error| format!("it cannot be written: {error}")),
        });
        match written {
            Ok(()) => {
                self.now.insert(file.to_owned(), hash);
                Put::Written
            }
            Err(why) => {
                self.keep(file);
                Put::Kept(why)
            }
        }
    }

    /// Leaves a file as it is, for the next time.
    pub(super) fn keep(&mut self, file: &Path) {
        if let Some(hash) = self.known.get(file) {
            self.now.insert(file.to_owned(), hash.clone());
        }
    }

    fn there(&self, file: &Path) -> There {
        let path = self.root.join(file);
        let hashed = self
            .fs
            .open(&path)
            .and_then(|(mut opened, _)| self.fs.hash(&mut opened, &path));
        match hashed {
            Ok((hash, _)) => There::Bytes(hash.to_hex().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => There::Nothing,
            Err(error) => There::Other(error),
        }
    }

    fn tmp(&self) -> PathBuf {
        self.root.join(OWN).join("tmp")
    }

    /// Whole or not at all.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let to = self.root.join(file);
        let mut temporary = self.fs.temporary(&self.tmp())?;
        self.fs.write(temporary.as_file_mut(), &to, bytes)?;
        self.fs.persist(temporary, &to).map(drop)
    }

    /// Notes what was written.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn finish(self) -> Result<(), Error> {
        if self.is_dry {
            return Ok(());
        }
        // What a run that was broken off has left.
        for left in self.fs.read_dir(&self.tmp()).unwrap_or_default() {
            drop(self.fs.remove_file(&left.path));
        }
        if self.now != self.known {
            let files = self.now.iter();
            let files: BTreeMap<String, &String> = files.map(|(file, hash)| (written(file), hash)).collect();
            let manifest = json!({ "format": 1, "files": files });
            self.write(
                &Path::new(OWN).join(MANIFEST),
                format!("{manifest:#}\n").as_bytes(),
            )
            .map_err(|error| Error::directory("write the manifest in", &self.root, error))?;
        }
        // It is where the next file begins; it may stay.
        drop(self.fs.remove_empty_dir(&self.tmp()));
        Ok(())
    }
}

/// A path without links, of which the end may be missing.
fn resolved(fs: &Fs, dir: &Path) -> Result<PathBuf, Error> {
    let failed = |error| Error::directory("resolve the folder of the export", dir, error);
    let whole = std::path::absolute(dir).map_err(failed)?;
    let mut missing = Vec::new();
    let mut there = whole.as_path();
    loop {
        match fs.canonicalize(there) {
            Ok(root) => return Ok(missing.iter().rev().fold(root, |path, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let last = there.components().next_back();
        let (Some(Component::Normal(name)), Some(parent)) = (last, there.parent()) else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "a folder on the way is missing");
            return Err(failed(error));
        };
        missing.push(name.to_owned());
        there = parent;
    }
}
