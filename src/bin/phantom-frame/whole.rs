//! Files that are written whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::Builder;

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Kept,
    /// With the permissions that it had. What is no regular file, such as a link, is kept.
    Replaced,
}

/// # Errors
/// The file cannot be written; `AlreadyExists` where there is one that is to be kept.
pub(crate) fn write(dir: &Path, name: &str, text: &str, existing: Existing) -> io::Result<()> {
    let path = dir.join(name);
    let mut file = Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)?;
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.is_file() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(found) => file.as_file().set_permissions(found.permissions())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Kept => file.persist_noclobber(path)?,
        Existing::Replaced => file.persist(path)?,
    };
    Ok(())
}
