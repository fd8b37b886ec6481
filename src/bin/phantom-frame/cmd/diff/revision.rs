//! A revision of the snapshot directory, read out of git into a temporary folder. The repository is only read.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::output::Unusable;
use crate::print::plain;

/// The directory as it was in a revision.
pub(super) fn read(directory: &Path, revision: &str) -> anyhow::Result<TempDir> {
    let shown = plain(revision);
    // What begins like an option is one to git, and no name of a revision.
    if revision.starts_with('-') || revision.is_empty() {
        return unusable(
            format!("`{shown}` is no directory and no revision"),
            "name a directory, or a revision as git does: HEAD, main~3, v1.2",
        );
    }
    let prefix = prefix(directory, &shown)?;
    let commit = commit(directory, revision)?;
    let tree = match &*prefix {
        "" => format!("{commit}^{{tree}}"),
        prefix => format!("{commit}:{prefix}"),
    };
    let listed = git(directory, &["ls-tree", "-r", "-z", "--full-tree", &tree])?;
    if !listed.status.success() {
        return unusable(
            format!("`{shown}` has no {prefix}: {}", said(&listed)),
            "the snapshots were not committed there yet",
        );
    }
    let copy = tempfile::tempdir().context("cannot make a temporary folder")?;
    let files = listed.stdout.split(|byte| *byte == 0).filter_map(file);
    copy_out(directory, files, copy.path()).with_context(|| format!("cannot read `{shown}` out of git"))?;
    if !copy.path().join("phantom-frame.toml").is_file() {
        return unusable(
            format!("in `{shown}` there is no snapshot directory here: it has no phantom-frame.toml"),
            "the snapshots were not committed there yet, or not all of them",
        );
    }
    Ok(copy)
}

/// Where in its repository the directory is.
fn prefix(directory: &Path, shown: &str) -> anyhow::Result<String> {
    let prefix = git(directory, &["rev-parse", "--show-prefix"])?;
    if !prefix.status.success() {
        return unusable(
            format!(
                "`{shown}` is no directory, and {} is in no git repository: {}",
                directory.display(),
                said(&prefix)
            ),
            "`--against` takes a directory, or a revision of the repository that the snapshots are in",
        );
    }
    let prefix = String::from_utf8_lossy(&prefix.stdout);
    Ok(prefix.trim_end_matches('\n').trim_end_matches('/').to_owned())
}

/// The commit that is called so.
fn commit(directory: &Path, revision: &str) -> anyhow::Result<String> {
    let shown = plain(revision);
    let commit = format!("{revision}^{{commit}}");
    let commit = git(directory, &["rev-parse", "--verify", "--quiet", &commit])?;
    if !commit.status.success() {
        return unusable(
            format!("`{shown}` is no directory, and git knows no such revision"),
            "in a shallow clone older revisions are missing: `git fetch --unshallow`, or `fetch-depth: 0` in CI",
        );
    }
    Ok(String::from_utf8_lossy(&commit.stdout).trim().to_owned())
}

fn unusable<T>(what: String, hint: &str) -> anyhow::Result<T> {
    let hint = hint.into();
    Err(Unusable { what, hint }.into())
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(arguments);
    // In a hook these name another place than the directory.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.env("GIT_OPTIONAL_LOCKS", "0");
    command
}

fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = command(directory, arguments).stdin(Stdio::null()).output();
    output.map_err(|error| {
        Unusable {
            what: format!("cannot run git: {error}"),
            hint: "revisions are read by `git`; without it, name a directory".into(),
        }
        .into()
    })
}

/// What git said last, on one line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    plain(text.lines().last().unwrap_or("it does not say why"))
}

/// Object and path of a line of `ls-tree` (`MODE TYPE OBJECT\tPATH`); regular files alone, and none that would be
/// elsewhere.
fn file(line: &[u8]) -> Option<(String, PathBuf)> {
    let line = std::str::from_utf8(line).ok()?;
    let (about, path) = line.split_once('\t')?;
    let mut about = about.split(' ');
    let (mode, object) = (about.next()?, about.nth(1)?);
    let path = Path::new(path);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    (mode.starts_with("100") && is_below).then(|| (object.to_owned(), path.to_owned()))
}

/// One after the other: what is held does not grow with the directory.
fn copy_out(directory: &Path, files: impl Iterator<Item = (String, PathBuf)>, to: &Path) -> io::Result<()> {
    let mut git = command(directory, &["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(mut ask), Some(answer)) = (git.stdin.take(), git.stdout.take()) else {
        return Err(io::Error::other("git has no pipes"));
    };
    let mut answer = BufReader::new(answer);
    for (object, path) in files {
        writeln!(ask, "{object}")?;
        ask.flush()?;
        let mut head = String::new();
        answer.read_line(&mut head)?;
        let length = head.trim_end().rsplit(' ').next();
        let length: u64 = length
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| io::Error::other(format!("git says `{}`", plain(head.trim_end()))))?;
        let place = to.join(path);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(place)?;
        if io::copy(&mut (&mut answer).take(length), &mut file)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.read_exact(&mut [0])?;
    }
    drop(ask);
    git.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_below_the_folder_are_taken() {
        for (line, expected) in [
            (&b"100644 blob abc\ta/b.html"[..], Some(("abc", "a/b.html"))),
            (b"120000 blob abc\ta", None),
            (b"160000 commit abc\ta", None),
            (b"100644 blob abc\t../a", None),
            (b"100644 blob abc\t/a", None),
            (b"", None),
        ] {
            let found = file(line);
            let found = found
                .as_ref()
                .and_then(|(object, path)| Some((&**object, path.to_str()?)));
            assert_eq!(found, expected);
        }
    }
}
