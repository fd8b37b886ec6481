//! The directory's own files beside its pages: the marker, and what git is told.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::fsops::Fs;

use super::layout::{MARKER, PRIVATE};
use super::sidecar::FORMAT;

const GITIGNORE: &str = "# What a cache needs while it runs; nothing in it is worth keeping.\n.phantom/\n";
const GITATTRIBUTES: &str =
    "# Bodies are sealed: git must change no byte of them.\n* -text -merge -ident\n*.html diff=html\n";

/// The marker and git's files: written once, never overwritten.
pub(super) fn write_companions(fs: &Fs, root: &Path, site: Option<&str>) -> io::Result<()> {
    let mut marker = format!("# A phantom-frame snapshot directory.\nformat = {FORMAT}\n");
    if let Some(site) = site {
        // Writing to a String cannot fail.
        let _ = writeln!(marker, "site = {}", toml::Value::String(site.to_owned()));
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
