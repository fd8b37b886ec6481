//! The order of invalidations and fills.
//!
//! An invalidation takes the next number, is appended to a log on disk, and stands as a *doom* until its
//! files are gone: whatever file it matches and is older does not exist, though it may still be on disk.
//! A fill notes the number at its start; its commit is refused if a later invalidation matches its key.
//! After a crash the log is read again, and what it says falls on files older than it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::fsops::{File, FileId, Fs};
use crate::pattern::{KeyPattern, Subject};

/// What an invalidation does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delete,
    /// Keep, but validate before use.
    Stale,
}

/// An invalidation whose files may still be there.
#[derive(Debug, Clone)]
struct Doom {
    number: u64,
    patterns: Arc<[KeyPattern]>,
    fate: Fate,
    at: SystemTime,
    work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Pending,
    Done,
}

/// An invalidation as it is remembered.
#[derive(Debug, Clone)]
struct Past {
    number: u64,
    patterns: Arc<[KeyPattern]>,
    /// What it meant for files, and when; nothing where another program changed them itself.
    meant: Option<(Fate, SystemTime)>,
}

/// Whether the directory has been read through since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    Running,
    Done,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    number: u64,
    /// The latest invalidations, for the check at commit, and for files that turn up late.
    recent: VecDeque<Past>,
    /// The last number that `recent` had no room for.
    forgotten: u64,
    dooms: Vec<Doom>,
    scan: Scan,
    log: Option<File>,
    path: PathBuf,
}

/// How many invalidations a fill may miss before it counts as overtaken unseen.
const RECENT: usize = 1024;
const MAX_LOG_BYTES: u64 = 16 << 20;

impl Ledger {
    /// Reads the log at `path`; its invalidations stand until the scan is done.
    pub(crate) fn open(fs: &Fs, path: PathBuf, now: SystemTime) -> Self {
        let mut ledger = Self {
            number: 0,
            recent: VecDeque::new(),
            forgotten: 0,
            dooms: Vec::new(),
            scan: Scan::Running,
            log: None,
            path,
        };
        ledger.replay(fs, now);
        ledger
    }

    /// Reads what a process before this one left in the log; it stands until the next scan is done.
    pub(crate) fn replay(&mut self, fs: &Fs, now: SystemTime) {
        let path = &self.path;
        let text = match fs.read_small(path, MAX_LOG_BYTES) {
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
        let left = whole
            .lines()
            .filter_map(parse_line)
            .map(|(at, fate, pattern)| Doom {
                number: 0,
                patterns: Arc::from([pattern]),
                fate,
                at,
                work: Work::Done,
            });
        self.dooms.extend(left);
        self.scan = Scan::Running;
    }

    /// The number that a fill notes at its start.
    pub(crate) fn epoch(&self) -> u64 {
        self.number
    }

    /// Takes an invalidation: in force, and its number. The result of writing it to the log is separate,
    /// because a disk that refuses does not make it less in force here.
    pub(crate) fn enter(
        &mut self,
        fs: &Fs,
        patterns: &Arc<[KeyPattern]>,
        fate: Fate,
        now: SystemTime,
    ) -> (u64, io::Result<()>) {
        self.remember(Arc::clone(patterns), Some((fate, now)));
        self.dooms.push(Doom {
            number: self.number,
            patterns: Arc::clone(patterns),
            fate,
            at: now,
            work: Work::Pending,
        });
        let text: String = patterns
            .iter()
            .map(|pattern| line(now, fate, pattern.as_str()))
            .collect();
        (self.number, self.append(fs, &text))
    }

    /// Counts as an invalidation of one key without files to remove: another program removed them.
    pub(crate) fn enter_foreign(&mut self, patterns: Arc<[KeyPattern]>) {
        self.remember(patterns, None);
    }

    fn remember(&mut self, patterns: Arc<[KeyPattern]>, meant: Option<(Fate, SystemTime)>) {
        self.number += 1;
        // The same again takes the place of the one before, so that many posts to one path do not push
        // everything else out. One that deletes is not replaced by one that marks.
        self.recent
            .retain(|past| past.patterns != patterns || matches!(past.meant, Some((Fate::Delete, _))));
        self.recent.push_back(Past {
            number: self.number,
            patterns,
            meant,
        });
        if self.recent.len() > RECENT
            && let Some(past) = self.recent.pop_front()
        {
            self.forgotten = past.number;
        }
    }

    fn append(&mut self, fs: &Fs, text: &str) -> io::Result<()> {
        // Somebody may have deleted the directory, and what is written to a deleted file is lost.
        let mut file = match self.log.take() {
            Some(file) if fs.stat(&self.path).is_ok() => file,
            _ => {
                let mut file = fs.open_append(&self.path)?;
                // A line that a crash cut must not swallow ours.
                fs.write(&mut file, &self.path, b"\n")?;
                file
            }
        };
        fs.write(&mut file, &self.path, text.as_bytes())?;
        fs.sync_file(&file, &self.path)?;
        self.log = Some(file);
        Ok(())
    }

    /// Whether an invalidation later than `epoch` matches.
    pub(crate) fn is_overtaken(&self, epoch: u64, subject: Subject<'_>) -> bool {
        epoch < self.forgotten
            || self
                .recent
                .iter()
                .rev()
                .take_while(|past| past.number > epoch)
                .any(|past| past.patterns.iter().any(|pattern| pattern.is_match(subject)))
    }

    /// What stands against a file that the index does not know.
    pub(crate) fn fate(&self, subject: Subject<'_>, sidecar: &FileId) -> Option<Fate> {
        // A file that was put there just before an invalidation may be found only after it.
        let late = self.recent.iter().filter_map(|past| {
            let (fate, at) = past.meant?;
            Some((fate, at, &past.patterns))
        });
        let dooms = self.dooms.iter().map(|doom| (doom.fate, doom.at, &doom.patterns));
        dooms
            .chain(late)
            .filter(|(_, at, patterns)| {
                sidecar.changed_at() <= *at && patterns.iter().any(|pattern| pattern.is_match(subject))
            })
            .map(|(fate, ..)| fate)
            .reduce(|a, b| if a == Fate::Delete { a } else { b })
    }

    /// The files of invalidation `number` are gone.
    pub(crate) fn finish(&mut self, fs: &Fs, number: u64) {
        for doom in &mut self.dooms {
            if doom.number == number {
                doom.work = Work::Done;
            }
        }
        self.settle(fs);
    }

    /// The directory has been read through by its writer, who has carried out what the log says.
    pub(crate) fn scan_done(&mut self, fs: &Fs) {
        self.scan = Scan::Done;
        self.settle(fs);
    }

    /// The directory has been read through by a reader: the log is the writer's.
    pub(crate) fn reading_done(&mut self) {
        self.scan = Scan::Done;
    }

    pub(crate) fn scan(&self) -> Scan {
        self.scan
    }

    fn settle(&mut self, fs: &Fs) {
        if self.scan == Scan::Running {
            return;
        }
        self.dooms.retain(|doom| doom.work == Work::Pending);
        if !self.dooms.is_empty() {
            return;
        }
        let log = match self.log.take() {
            Some(log) => Ok(log),
            None => fs.open_append(&self.path),
        };
        // A log that stays is only read once more at the next start, against files older than it.
        if let Ok(log) = log
            && fs.truncate(&log, &self.path).is_ok()
        {
            self.log = Some(log);
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

fn parse_line(line: &str) -> Option<(SystemTime, Fate, KeyPattern)> {
    let mut parts = line.splitn(3, ' ');
    let nanos: u64 = parts.next()?.parse().ok()?;
    let fate = match parts.next()? {
        "delete" => Fate::Delete,
        "stale" => Fate::Stale,
        _ => return None,
    };
    let pattern = KeyPattern::parse(parts.next()?).ok()?;
    Some((
        UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))?,
        fate,
        pattern,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(line: &str) -> Subject<'_> {
        Subject { line, own: None }
    }

    fn patterns(text: &str) -> Arc<[KeyPattern]> {
        Arc::from([KeyPattern::parse(text).unwrap()])
    }

    #[test]
    fn a_fill_is_overtaken_by_a_later_match_only() {
        let dir = tempfile::tempdir().unwrap();
        let fs = Fs::default();
        let mut ledger = Ledger::open(&fs, dir.path().join("invalidations"), SystemTime::UNIX_EPOCH);
        ledger
            .enter(&fs, &patterns("/a"), Fate::Delete, SystemTime::UNIX_EPOCH)
            .1
            .unwrap();
        let epoch = ledger.epoch();
        assert!(!ledger.is_overtaken(epoch, subject("GET:/a")));
        ledger
            .enter(&fs, &patterns("/b"), Fate::Delete, SystemTime::UNIX_EPOCH)
            .1
            .unwrap();
        assert!(!ledger.is_overtaken(epoch, subject("GET:/a")));
        assert!(ledger.is_overtaken(epoch, subject("GET:/b?x=1")));
        for _ in 0..=RECENT {
            ledger.enter_foreign(patterns("/other"));
        }
        assert!(
            !ledger.is_overtaken(epoch, subject("GET:/a")),
            "the same again takes one place"
        );
        for number in 0..=RECENT {
            ledger.enter_foreign(patterns(&format!("/other/{number}")));
        }
        assert!(
            ledger.is_overtaken(epoch, subject("GET:/a")),
            "too long ago to know"
        );
    }

    #[test]
    fn the_log_is_replayed_until_the_scan_is_done_and_a_cut_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("invalidations");
        let fs = Fs::default();
        let far = crate::clock::from_unix_seconds(1 << 33);
        Ledger::open(&fs, path.clone(), SystemTime::UNIX_EPOCH)
            .enter(&fs, &patterns("/a*"), Fate::Delete, far)
            .1
            .unwrap();
        let mut cut = std::fs::read(&path).unwrap();
        cut.extend_from_slice(b"8589934592000000000 delete /b");
        std::fs::write(&path, cut).unwrap();
        let file = fs.stat(&path).unwrap();
        let mut ledger = Ledger::open(&fs, path.clone(), SystemTime::UNIX_EPOCH);
        assert_eq!(ledger.fate(subject("GET:/ab"), &file), Some(Fate::Delete));
        assert_eq!(ledger.fate(subject("GET:/b"), &file), None);
        ledger.scan_done(&fs);
        assert_eq!(ledger.fate(subject("GET:/ab"), &file), None);
        let (_, logged) = ledger.enter(&fs, &patterns("/c"), Fate::Delete, far);
        logged.unwrap();
        ledger.finish(&fs, 1);
        let late = ledger.fate(subject("GET:/c"), &file);
        assert_eq!(late, Some(Fate::Delete), "a file that turns up late");
        assert_eq!(fs.stat(&path).unwrap().size(), 0);
    }
}
