//! The snapshot directory as a list of files: what anybody would see who looks into it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

const FILES: usize = 400;
const TEXT_BYTES: u64 = 64 << 10;
/// What is the proxy's own business.
const SKIPPED: &str = ".phantom";

#[derive(Default)]
pub(super) struct Tree {
    /// Sorted by path.
    pub(super) files: Vec<File>,
    /// Whether there are more than are listed.
    pub(super) is_cut: bool,
}

pub(super) struct File {
    /// Relative, with `/`.
    path: String,
    bytes: u64,
    /// Changes when the file does.
    version: String,
}

impl File {
    pub(super) fn as_json(&self) -> Value {
        json!({ "path": self.path, "bytes": self.bytes, "version": self.version })
    }
}

/// What there is now; a directory that is not there has no files.
pub(super) async fn walk(root: PathBuf) -> Tree {
    tokio::task::spawn_blocking(move || list(&root))
        .await
        .unwrap_or_default()
}

/// The beginning of a file that [`walk`] lists.
pub(super) async fn read(root: PathBuf, path: String) -> Option<String> {
    let text = move || {
        // A path that was typed is only ever compared, never opened.
        let file = list(&root).files.into_iter().find(|file| file.path == path)?;
        let mut bytes = Vec::new();
        fs::File::open(root.join(file.path))
            .ok()?
            .take(TEXT_BYTES)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    tokio::task::spawn_blocking(text).await.ok()?
}

fn list(root: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((dir, prefix)) = pending.pop() {
        // Directories come and go while they are read.
        let Ok(entries) = fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != SKIPPED => pending.push((entry.path(), path + "/")),
                Ok(kind) if kind.is_file() => tree.files.extend(file(&entry, path)),
                _ => {}
            }
            if tree.files.len() > FILES {
                tree.files.truncate(FILES);
                tree.is_cut = true;
                pending.clear();
                break;
            }
        }
    }
    tree.files.sort_by(|a, b| a.path.cmp(&b.path));
    tree
}

fn file(entry: &fs::DirEntry, path: String) -> io::Result<File> {
    let metadata = entry.metadata()?;
    let modified = metadata
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(File {
        path,
        bytes: metadata.len(),
        version: format!("{}.{}", modified.as_nanos(), metadata.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tree_lists_files_but_not_what_is_internal_nor_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["index.html", "blog/post.html", ".phantom/lock"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let tree = walk(dir.path().to_owned()).await;
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["blog/post.html", "index.html"]);
        assert_eq!(
            read(dir.path().to_owned(), "blog/post.html".into())
                .await
                .unwrap(),
            "text"
        );
        assert!(
            read(dir.path().to_owned(), ".phantom/lock".into())
                .await
                .is_none()
        );
    }
}
