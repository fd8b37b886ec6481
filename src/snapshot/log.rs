//! The log of invalidations: what a crash must not undo, one line for each pattern.
//!
//! Written and synced before an invalidation counts as in force; read again at the next start, against
//! files that are older; emptied when nothing is outstanding. It has a lock of its own, because a sync
//! takes as long as the disk likes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::fsops::{File, Fs};
use crate::pattern::KeyPattern;

use super::ledger::Fate;

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) at: SystemTime,
    pub(crate) fate: Fate,
    pub(crate) pattern: KeyPattern,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Nothing has been written since it was emptied.
    is_empty: bool,
    /// What there is in it.
    bytes: u64,
    /// At which size it is written anew.
    large: u64,
}

const MAX_BYTES: u64 = 16 << 20;
const LARGE_BYTES: u64 = 1 << 20;

impl Log {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            is_empty: false,
            bytes: 0,
            large: LARGE_BYTES,
        }
    }

    /// What a process before this one left.
    pub(crate) fn read(&self, fs: &Fs, now: SystemTime) -> Vec<Line> {
        let path = &self.path;
        let text = match fs.read_small(path, MAX_BYTES) {
            Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                // What it said is unknown: nothing that is there may be used unseen.
                tracing::error!(path = %path.display(), %error, "cannot read the invalidation log; everything stored is validated");
                line(now, Fate::Stale, "*")
            }
        };
        // A last line without its line break was cut by a crash before it was in force.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(parse_line).collect()
    }

    /// Durable when it returns.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn append(
        &mut self,
        fs: &Fs,
        patterns: &[KeyPattern],
        fate: Fate,
        at: SystemTime,
    ) -> io::Result<()> {
        let text: String = patterns
            .iter()
            .map(|pattern| line_of(at, fate, pattern))
            .collect();
        self.is_empty = false;
        let mut file = match self.opened(fs) {
            Some(file) => file,
            None => {
                let mut file = fs.open_append(&self.path)?;
                self.bytes = fs.stat(&self.path).map_or(0, |file| file.size());
                // A line that a crash cut must not swallow ours.
                fs.write(&mut file, &self.path, b"\n")?;
                file
            }
        };
        fs.write(&mut file, &self.path, text.as_bytes())?;
        fs.sync_file(&file, &self.path)?;
        self.bytes += text.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// The file, if it still is the one that is there: somebody may have deleted the directory, and what
    /// is written to a deleted file is lost.
    fn opened(&mut self, fs: &Fs) -> Option<File> {
        let file = self.file.take()?;
        fs.is_in_place(&file, &self.path).unwrap_or(false).then_some(file)
    }

    /// Whether it says the same too often.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= self.large
    }

    /// Writes it anew with what is outstanding. The old one stays if that fails.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn rewrite(&mut self, fs: &Fs, tmp: &Path, lines: &[Line]) -> io::Result<()> {
        // Not tried again at every line.
        self.large = self.bytes + LARGE_BYTES;
        let text: String = lines
            .iter()
            .map(|line| line_of(line.at, line.fate, &line.pattern))
            .collect();
        let mut file = fs.temporary(tmp)?;
        fs.write(file.as_file_mut(), &self.path, text.as_bytes())?;
        fs.sync_file(file.as_file(), &self.path)?;
        fs.persist(file, &self.path)?;
        self.file = None;
        self.bytes = text.len() as u64;
        self.large = self.bytes + LARGE_BYTES;
        match self.path.parent() {
            Some(folder) => fs.sync_dir(folder),
            None => Ok(()),
        }
    }

    /// Nothing is outstanding. A log that stays is only read once more at the next start, against files
    /// older than it.
    pub(crate) fn empty(&mut self, fs: &Fs) {
        if self.is_empty {
            return;
        }
        let file = match self.opened(fs) {
            Some(file) => Ok(file),
            None => fs.open_append(&self.path),
        };
        if let Ok(file) = file
            && fs.truncate(&file, &self.path).is_ok()
        {
            self.file = Some(file);
            self.is_empty = true;
            self.bytes = 0;
            self.large = LARGE_BYTES;
        }
    }
}

fn line(at: SystemTime, fate: Fate, pattern: &str) -> String {
    let nanos = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
    let fate = match fate {
        Fate::Delete => "delete",
        Fate::Stale => "stale",
    };
    format!("{nanos} {fate} {pattern}\n")
}

/// A path itself is said with another word than a pattern: a visitor may post to `/*`.
fn line_of(at: SystemTime, fate: Fate, pattern: &KeyPattern) -> String {
    let line = line(at, fate, pattern.as_str());
    match (pattern.is_as_written(), fate) {
        (true, _) => line,
        (false, Fate::Delete) => line.replacen(" delete ", " delete-path ", 1),
        (false, Fate::Stale) => line.replacen(" stale ", " stale-path ", 1),
    }
}

fn parse_line(line: &str) -> Option<Line> {
    let mut parts = line.splitn(3, ' ');
    let nanos: u64 = parts.next()?.parse().ok()?;
    let (word, text) = (parts.next()?, parts.next()?);
    let pattern = match word.strip_suffix("-path") {
        Some(_) => KeyPattern::path_itself(text),
        None => KeyPattern::parse(text).ok()?,
    };
    let fate = match word.trim_end_matches("-path") {
        "delete" => Fate::Delete,
        "stale" => Fate::Stale,
        _ => return None,
    };
    Some(Line {
        at: UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))?,
        fate,
        pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_itself_is_replayed_as_itself() {
        let long = format!("/{}", "x".repeat(10_000));
        for path in ["/a*b", "/*", long.as_str()] {
            let pattern = KeyPattern::path_itself(path);
            let line = line_of(UNIX_EPOCH, Fate::Stale, &pattern);
            let replayed = parse_line(line.trim_end()).unwrap();
            assert_eq!((replayed.fate, replayed.pattern), (Fate::Stale, pattern));
        }
        let line = line_of(UNIX_EPOCH, Fate::Delete, &KeyPattern::parse("/a*").unwrap());
        assert_eq!(line, "0 delete /a*\n");
    }

    #[test]
    fn a_large_log_is_written_anew_and_one_in_another_file_is_not_written_to_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let fs = Fs::default();
        let mut log = Log::at(path.clone());
        let long = [KeyPattern::path_itself(&format!("/{}", "x".repeat(200_000)))];
        let mut appended = 0;
        while !log.is_large() {
            log.append(&fs, &long, Fate::Stale, UNIX_EPOCH).unwrap();
            appended += 1;
        }
        assert!(appended > 5);
        let outstanding = [Line {
            at: UNIX_EPOCH,
            fate: Fate::Delete,
            pattern: KeyPattern::All,
        }];
        log.rewrite(&fs, dir.path(), &outstanding).unwrap();
        assert!(!log.is_large());
        log.append(&fs, &long, Fate::Stale, UNIX_EPOCH).unwrap();
        assert_eq!(log.read(&fs, UNIX_EPOCH).len(), 2);

        std::fs::rename(&path, dir.path().join("away")).unwrap();
        std::fs::write(&path, "").unwrap();
        log.append(&fs, &long, Fate::Stale, UNIX_EPOCH).unwrap();
        assert_eq!(log.read(&fs, UNIX_EPOCH).len(), 1, "in the file that is there");
    }
}
