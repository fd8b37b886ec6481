//! The directory's own files beside its pages: the marker, what git is told, and its name.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use crate::fsops::Fs;

use super::layout::{MARKER, PRIVATE};
use super::sidecar::{FORMAT, quote};

const GITIGNORE: &str = "# What a cache needs while it runs; nothing in it is worth keeping.\n.phantom/\n";
const GITATTRIBUTES: &str =
    "# Bodies are sealed: git must change no byte of them.\n* -text -merge -ident\n*.html diff=html\n";

/// The marker and git's files: written once, never overwritten.
pub(super) fn write_companions(fs: &Fs, root: &Path, site: Option<&str>) -> io::Result<()> {
    let mut marker = format!("# A phantom-frame snapshot directory.\nformat = {FORMAT}\n");
    if let Some(site) = site {
        // Writing to a String cannot fail.
        let _ = writeln!(marker, "site = {}", quote(site));
    }
    for (name, text) in [
        (MARKER, marker.as_str()),
        (".gitignore", GITIGNORE),
        (".gitattributes", GITATTRIBUTES),
    ] {
        let path = root.join(name);
        if fs.stat(&path).is_ok() {
            continue;
        }
        let mut file = fs.temporary(&root.join(PRIVATE).join("tmp"))?;
        fs.write(file.as_file_mut(), &path, text.as_bytes())?;
        fs.persist(file, &path)?;
    }
    Ok(())
}

/// The name that only this directory has, if it has been given one.
pub(super) fn known_id(fs: &Fs, root: &Path) -> Option<String> {
    let (bytes, _) = fs.read_small(&id_file(root), 64).ok()?;
    let is_id = |id: &String| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    String::from_utf8(bytes).ok().filter(is_id)
}

/// The same, made up if need be.
pub(super) fn id(fs: &Fs, root: &Path) -> String {
    if let Some(id) = known_id(fs, root) {
        return id;
    }
    let id = format!("{:08x}", RandomState::new().hash_one(root) >> 32);
    let path = id_file(root);
    let written = fs
        .temporary(&root.join(PRIVATE).join("tmp"))
        .and_then(|mut file| {
            fs.write(file.as_file_mut(), &path, id.as_bytes())?;
            fs.persist(file, &path).map(drop)
        });
    if let Err(error) = written {
        tracing::debug!(path = %path.display(), %error, "the directory's name is another at the next start");
    }
    id
}

fn id_file(root: &Path) -> PathBuf {
    root.join(PRIVATE).join("id")
}
