//! The order of invalidations and fills.
//!
//! An invalidation takes the next number, is appended to a log on disk, and stands as a *doom* until its
//! files are gone: whatever file it matches and is older does not exist, though it may still be on disk.
//! A fill notes the number at its start; its commit is refused if a later invalidation matches its key.
//! After a crash the log is read again, and what it says falls on files older than it.
//!
//! Three locks, taken in this order, and what each is for:
//!
//! - *the gate*, shared by commits from their look at the ledger until their sidecar stands in directory
//!   and index, and alone for whoever takes a number. So a commit is either wholly before a number, where
//!   that invalidation finds it in the index and its file is older than the doom; or after, where it is
//!   refused. Nobody else waits there, and commits do not wait for each other.
//! - *the log's*, held while it is written and synced.
//! - *the ledger's*, never held during I/O. Lookups and fills take this one only; the number itself they
//!   read without any. It is published last, so that who reads it began after the doom stood.
//!
//! An invalidation is a number (gate, ledger), then a synced line (log), then the index (ledger); only then
//! it returns. A fill that begins in the middle is newer than the number: it may commit, and lose its page
//! to the last step, which costs a fetch and no more.
//!
//! The log is emptied under its own lock, after the ledger has been asked, under that lock, whether
//! anything is outstanding. A doom is entered before its line is written: so either it is seen, or its line
//! comes after the log was emptied.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::SystemTime;

use crate::fsops::FileId;
use crate::pattern::{KeyPattern, Subject};

use super::log::Line;
use super::{Store, lock};

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
    /// Of the latest invalidation.
    number: u64,
    /// The latest invalidations, for the check at commit, and for files that turn up late.
    recent: VecDeque<Past>,
    /// The last number that `recent` had no room for.
    forgotten: u64,
    dooms: Vec<Doom>,
    scan: Scan,
}

/// How many invalidations a fill may miss before it counts as overtaken unseen.
const RECENT: usize = 1024;

impl Ledger {
    /// With what a process before this one left in the log.
    pub(crate) fn after(left: Vec<Line>) -> Self {
        let mut ledger = Self {
            number: 0,
            recent: VecDeque::new(),
            forgotten: 0,
            dooms: Vec::new(),
            scan: Scan::Running,
        };
        ledger.replay(left);
        ledger
    }

    /// What the log says stands until the next scan is done.
    pub(crate) fn replay(&mut self, left: Vec<Line>) {
        self.dooms.extend(left.into_iter().map(|line| Doom {
            number: 0,
            patterns: Arc::from([line.pattern]),
            fate: line.fate,
            at: line.at,
            work: Work::Done,
        }));
        self.scan = Scan::Running;
    }

    /// Takes an invalidation, which stands from here on; its number.
    pub(crate) fn enter(&mut self, patterns: &Arc<[KeyPattern]>, fate: Fate, now: SystemTime) -> u64 {
        self.remember(Arc::clone(patterns), Some((fate, now)));
        self.dooms.push(Doom {
            number: self.number,
            patterns: Arc::clone(patterns),
            fate,
            at: now,
            work: Work::Pending,
        });
        self.number
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
    pub(crate) fn finish(&mut self, number: u64) {
        for doom in &mut self.dooms {
            if doom.number == number {
                doom.work = Work::Done;
            }
        }
        self.settle();
    }

    /// The directory has been read through by its writer, who has carried out what the log says.
    pub(crate) fn scan_done(&mut self) {
        self.scan = Scan::Done;
        self.settle();
    }

    /// The directory has been read through by a reader: the log is the writer's.
    pub(crate) fn reading_done(&mut self) {
        self.scan = Scan::Done;
    }

    pub(crate) fn scan(&self) -> Scan {
        self.scan
    }

    fn settle(&mut self) {
        if self.scan == Scan::Done {
            self.dooms.retain(|doom| doom.work == Work::Pending);
        }
    }

    /// Whether nothing that the log says is still to be done.
    fn is_settled(&self) -> bool {
        self.scan == Scan::Done && self.dooms.is_empty()
    }
}

impl Store {
    /// The number that a fill notes at its start; see [`Candidate::epoch`](super::Candidate::epoch).
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether an invalidation later than `epoch` matches.
    pub(crate) fn is_overtaken(&self, epoch: u64, subject: Subject<'_>) -> bool {
        self.ledger().is_overtaken(epoch, subject)
    }

    /// Takes a number for an invalidation: `enter` has the ledger while no commit is under way.
    pub(super) fn take_number<T>(&self, enter: impl FnOnce(&mut Ledger) -> T) -> T {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = self.ledger();
        let taken = enter(&mut ledger);
        self.epoch.store(ledger.number, Ordering::Release);
        taken
    }

    /// Held, no invalidation takes a number.
    pub(super) fn admission(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger learns of something that is done; the log is emptied if that was the last.
    pub(super) fn settle(&self, done: impl FnOnce(&mut Ledger)) {
        done(&mut self.ledger());
        let mut log = lock(&self.log);
        let is_settled = self.ledger().is_settled();
        if is_settled {
            log.empty(&self.fs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsops::Fs;
    use crate::snapshot::log::Log;

    fn subject(line: &str) -> Subject<'_> {
        Subject { line, own: None }
    }

    fn patterns(text: &str) -> Arc<[KeyPattern]> {
        Arc::from([KeyPattern::parse(text).unwrap()])
    }

    #[test]
    fn a_fill_is_overtaken_by_a_later_match_only() {
        let mut ledger = Ledger::after(Vec::new());
        ledger.enter(&patterns("/a"), Fate::Delete, SystemTime::UNIX_EPOCH);
        let epoch = ledger.number;
        assert!(!ledger.is_overtaken(epoch, subject("GET:/a")));
        ledger.enter(&patterns("/b"), Fate::Delete, SystemTime::UNIX_EPOCH);
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
        Log::at(path.clone())
            .append(&fs, &patterns("/a*"), Fate::Delete, far)
            .unwrap();
        let mut cut = std::fs::read(&path).unwrap();
        cut.extend_from_slice(b"8589934592000000000 delete /b");
        std::fs::write(&path, cut).unwrap();
        let file = fs.stat(&path).unwrap();
        let mut log = Log::at(path.clone());
        let mut ledger = Ledger::after(log.read(&fs, SystemTime::UNIX_EPOCH));
        assert_eq!(ledger.fate(subject("GET:/ab"), &file), Some(Fate::Delete));
        assert_eq!(ledger.fate(subject("GET:/b"), &file), None);
        assert!(!ledger.is_settled(), "the scan has yet to carry it out");
        ledger.scan_done();
        assert_eq!(ledger.fate(subject("GET:/ab"), &file), None);
        assert!(ledger.is_settled());
        let number = ledger.enter(&patterns("/c"), Fate::Delete, far);
        assert!(!ledger.is_settled(), "its files are there");
        ledger.finish(number);
        let late = ledger.fate(subject("GET:/c"), &file);
        assert_eq!(late, Some(Fate::Delete), "a file that turns up late");
        assert!(ledger.is_settled());
        log.empty(&fs);
        assert_eq!(fs.stat(&path).unwrap().size(), 0);
    }
}
