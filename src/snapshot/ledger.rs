//! The order of invalidations and fills.
//!
//! An invalidation takes the next number, is appended to a log on disk, and stands as a *doom* until its
//! files are gone: whatever file it matches and is older does not exist, though it may still be on disk.
//! A fill notes the number at its start; its commit is refused if a later invalidation matches its key.
//! After a crash the log is read again, and what it says falls on files older than it.
//!
//! Three locks, taken in this order (`gate`), and what each is for:
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
//! comes after the log was emptied. The same holds when the log is written anew with what is outstanding.
//!
//! A replay of the log begins a *round*. A scan settles what stands only if it began in the last one and
//! nothing failed in it. Visitors' marks have a memory of their own (`marks`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::pattern::{KeyPattern, Subject};

use super::log::Line;
use super::marks::Marks;
use super::pinned::Pinned;

/// What an invalidation does with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delete,
    /// Keep, but validate before use.
    Stale,
}

/// Whose an invalidation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Owner,
    /// Somebody who posted: he is not believed to know the paths of the site.
    Visitor,
}

/// An invalidation whose files may still be there.
#[derive(Debug, Clone)]
struct Doom {
    /// Of the first of those that it stands for; 0 is a process's before this one.
    number: u64,
    patterns: Arc<[KeyPattern]>,
    fate: Fate,
    at: SystemTime,
    origin: Origin,
    /// How many have yet to remove the files that they found.
    pending: u64,
    /// The first round whose scan settles it.
    round: u64,
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

/// What an invalidation is known by until it is done.
#[derive(Debug)]
pub(crate) struct Standing {
    number: u64,
    /// What is logged.
    pub(crate) patterns: Arc<[KeyPattern]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of the latest invalidation.
    pub(super) number: u64,
    /// The latest invalidations, for the check at commit, and for files that turn up late.
    recent: VecDeque<Past>,
    /// The last number that `recent` had no room for.
    forgotten: u64,
    marks: Marks,
    dooms: Vec<Doom>,
    scan: Scan,
    /// How often the log was read.
    round: u64,
    /// The last round whose dooms a scan has carried out, all of them.
    carried_out: u64,
    pinned: Pinned,
}

/// How many invalidations a fill may miss before it counts as overtaken unseen.
const RECENT: usize = 1024;
/// How many paths visitors may mark before the directory has been read through; then all are marked.
const MARKED: usize = 1024;

impl Ledger {
    /// With what a process before this one left in the log.
    pub(crate) fn after(left: Vec<Line>) -> Self {
        let mut ledger = Self {
            number: 0,
            recent: VecDeque::new(),
            forgotten: 0,
            marks: Marks::new(),
            dooms: Vec::new(),
            scan: Scan::Running,
            round: 0,
            carried_out: 0,
            pinned: Pinned::default(),
        };
        ledger.replay(left);
        ledger
    }

    /// Deletes none of these.
    pub(crate) fn sparing(self, pinned: &Pinned) -> Self {
        Self {
            pinned: pinned.clone(),
            ..self
        }
    }

    /// What the log says stands until a scan that begins after this is done.
    pub(crate) fn replay(&mut self, left: Vec<Line>) {
        self.round += 1;
        self.scan = Scan::Running;
        for line in left {
            self.stand(Doom {
                number: 0,
                patterns: Arc::from([line.pattern]),
                fate: line.fate,
                at: line.at,
                origin: Origin::Owner,
                pending: 0,
                round: self.round,
            });
        }
    }

    /// Takes an invalidation, which stands from here on.
    pub(crate) fn enter(
        &mut self,
        patterns: &Arc<[KeyPattern]>,
        fate: Fate,
        now: SystemTime,
        origin: Origin,
    ) -> Standing {
        match origin {
            Origin::Owner => self.remember(Arc::clone(patterns), Some((fate, now))),
            Origin::Visitor => self.note_mark(patterns, now),
        }
        let marked = |doom: &&Doom| doom.origin == Origin::Visitor;
        let is_one_too_many = origin == Origin::Visitor
            && self.dooms.iter().filter(marked).count() >= MARKED
            && !self.dooms.iter().any(|doom| doom.patterns == *patterns);
        let patterns = match is_one_too_many {
            true => [KeyPattern::All].into(),
            false => Arc::clone(patterns),
        };
        let number = self.stand(Doom {
            number: self.number,
            patterns: Arc::clone(&patterns),
            fate,
            at: now,
            origin,
            pending: 1,
            round: self.round,
        });
        Standing { number, patterns }
    }

    /// The same again is one; the number under which it stands.
    fn stand(&mut self, new: Doom) -> u64 {
        let known = self
            .dooms
            .iter_mut()
            .find(|doom| doom.fate == new.fate && doom.patterns == new.patterns);
        let Some(doom) = known else {
            let number = new.number;
            self.dooms.push(new);
            return number;
        };
        if doom.number == 0 {
            doom.number = new.number;
        }
        doom.at = doom.at.max(new.at);
        doom.pending += new.pending;
        doom.round = doom.round.max(new.round);
        doom.number
    }

    /// A file that it matches says that it was changed at `at`: the clock was set back, or the file
    /// server's is ahead.
    pub(crate) fn stretch(&mut self, standing: &Standing, at: SystemTime) {
        for doom in self
            .dooms
            .iter_mut()
            .filter(|doom| doom.number == standing.number)
        {
            doom.at = doom.at.max(at);
        }
    }

    /// A visitor's mark, for fills under way and for files that the index does not know.
    pub(crate) fn note_mark(&mut self, patterns: &[KeyPattern], now: SystemTime) {
        self.number += 1;
        self.marks.note(patterns, self.number, now);
    }

    /// Counts as an invalidation of one key without files to remove: another program removed them.
    pub(crate) fn enter_foreign(&mut self, patterns: Arc<[KeyPattern]>) {
        self.remember(patterns, None);
    }

    fn remember(&mut self, patterns: Arc<[KeyPattern]>, meant: Option<(Fate, SystemTime)>) {
        self.number += 1;
        // The same again takes the place of the one before. What only other programs did replaces nothing
        // that stands, nor does what marks replace what deletes.
        self.recent.retain(|past| {
            past.patterns != patterns
                || matches!(past.meant, Some((Fate::Delete, _)))
                || (past.meant.is_some() && meant.is_none())
        });
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

    /// When a visitor's unsafe request last marked what may be this.
    pub(crate) fn visitors_mark(&self, subject: Subject<'_>) -> Option<SystemTime> {
        self.marks.last(subject).map(|(_, at)| at)
    }

    /// Whether an invalidation later than `epoch` matches.
    pub(crate) fn is_overtaken(&self, epoch: u64, subject: Subject<'_>) -> bool {
        epoch < self.forgotten
            || self.marks.last(subject).is_some_and(|(number, _)| number > epoch)
            || self
                .recent
                .iter()
                .rev()
                .take_while(|past| past.number > epoch)
                .any(|past| past.patterns.iter().any(|pattern| pattern.is_match(subject)))
    }

    /// What stands against a file that the index does not know. Where the files of an invalidation are
    /// still to be removed, whatever the file's time: what was committed after it the index knows. `changed` is
    /// when its inode was.
    pub(crate) fn fate(&self, subject: Subject<'_>, changed: SystemTime) -> Option<Fate> {
        let pending = self
            .dooms
            .iter()
            .filter(|doom| doom.pending > 0 && doom.is_match(subject));
        let pending = pending.map(|doom| self.pinned.spared(subject, doom.fate));
        worst(pending.chain(self.fate_by_time(subject, changed)))
    }

    /// What stands against a file by its time alone.
    pub(crate) fn fate_by_time(&self, subject: Subject<'_>, changed: SystemTime) -> Option<Fate> {
        // A file that was put there just before an invalidation may be found only after it.
        let late = self.recent.iter().filter_map(|past| {
            let (fate, at) = past.meant?;
            Some((fate, at, &past.patterns))
        });
        let dooms = self.dooms.iter().map(|doom| (doom.fate, doom.at, &doom.patterns));
        let standing = dooms.chain(late).filter(|(_, at, patterns)| {
            changed <= *at && patterns.iter().any(|pattern| pattern.is_match(subject))
        });
        let mark = self.marks.last(subject).filter(|(_, at)| changed <= *at);
        let standing = standing.map(|(fate, ..)| self.pinned.spared(subject, fate));
        worst(standing.chain(mark.map(|_| Fate::Stale)))
    }

    /// The files of an invalidation are gone.
    pub(crate) fn finish(&mut self, standing: &Standing) {
        for doom in self
            .dooms
            .iter_mut()
            .filter(|doom| doom.number == standing.number)
        {
            doom.pending = doom.pending.saturating_sub(1);
        }
        self.settle();
    }

    /// The files of an invalidation are another process's to remove, which has the log; or this one's
    /// again, when it has read that.
    pub(crate) fn give_up(&mut self, standing: &Standing) {
        for doom in self
            .dooms
            .iter_mut()
            .filter(|doom| doom.number == standing.number)
        {
            doom.pending = doom.pending.saturating_sub(1);
            doom.round = self.round + 1;
        }
    }

    /// What a scan that begins now carries out.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// The directory has been read through by its writer, who has carried out, without a failure, what
    /// the log said when the scan began.
    pub(crate) fn carried_out(&mut self, round: u64) {
        self.carried_out = self.carried_out.max(round);
        self.reading_done(round);
        self.settle();
    }

    /// The directory has been read through as far as it can be: what stands goes on standing.
    pub(crate) fn reading_done(&mut self, round: u64) {
        if round == self.round {
            self.scan = Scan::Done;
        }
    }

    pub(crate) fn scan(&self) -> Scan {
        self.scan
    }

    /// Whether the index knows all that is there.
    pub(crate) fn is_carried_out(&self) -> bool {
        self.carried_out == self.round
    }

    fn settle(&mut self) {
        let carried_out = self.carried_out;
        self.dooms
            .retain(|doom| doom.pending > 0 || doom.round > carried_out);
    }

    /// Whether nothing that the log says is still to be done.
    pub(super) fn is_settled(&self) -> bool {
        self.is_carried_out() && self.dooms.is_empty()
    }

    /// What a log has to say.
    pub(super) fn lines(&self) -> Vec<Line> {
        let lines = self.dooms.iter().flat_map(|doom| {
            doom.patterns.iter().map(|pattern| Line {
                at: doom.at,
                fate: doom.fate,
                pattern: pattern.clone(),
            })
        });
        lines.collect()
    }
}

impl Doom {
    fn is_match(&self, subject: Subject<'_>) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(subject))
    }
}

fn worst(fates: impl Iterator<Item = Fate>) -> Option<Fate> {
    fates.reduce(|a, b| if a == Fate::Delete { a } else { b })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsops::Fs;
    use crate::snapshot::log::Log;

    fn subject(line: &str) -> Subject<'_> {
        Subject::line(line)
    }

    fn patterns(text: &str) -> Arc<[KeyPattern]> {
        Arc::from([KeyPattern::parse(text).unwrap()])
    }

    #[test]
    fn a_fill_is_overtaken_by_a_later_match_only() {
        let mut ledger = Ledger::after(Vec::new());
        ledger.enter(
            &patterns("/a"),
            Fate::Delete,
            SystemTime::UNIX_EPOCH,
            Origin::Owner,
        );
        let epoch = ledger.number;
        assert!(!ledger.is_overtaken(epoch, subject("GET:/a")));
        ledger.enter(
            &patterns("/b"),
            Fate::Delete,
            SystemTime::UNIX_EPOCH,
            Origin::Owner,
        );
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
        assert_eq!(
            ledger.fate(subject("GET:/ab"), file.changed_at()),
            Some(Fate::Delete)
        );
        assert_eq!(ledger.fate(subject("GET:/b"), file.changed_at()), None);
        assert!(!ledger.is_settled(), "the scan has yet to carry it out");
        ledger.carried_out(ledger.round());
        assert_eq!(ledger.fate(subject("GET:/ab"), file.changed_at()), None);
        assert!(ledger.is_settled());
        let number = ledger.enter(&patterns("/c"), Fate::Delete, far, Origin::Owner);
        assert!(!ledger.is_settled(), "its files are there");
        ledger.finish(&number);
        let late = ledger.fate(subject("GET:/c"), file.changed_at());
        assert_eq!(late, Some(Fate::Delete), "a file that turns up late");
        assert!(ledger.is_settled());
        log.empty(&fs);
        assert_eq!(fs.stat(&path).unwrap().size(), 0);
    }

    #[test]
    fn only_a_scan_that_began_after_the_last_replay_settles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = Fs::default().stat(&path).unwrap();
        let line = || Line {
            at: crate::clock::from_unix_seconds(1 << 33),
            fate: Fate::Delete,
            pattern: KeyPattern::All,
        };
        let mut ledger = Ledger::after(Vec::new());
        let first = ledger.round();
        ledger.replay(vec![line(), line()]);
        assert_eq!(ledger.lines().len(), 1, "the same again is one");
        ledger.carried_out(first);
        assert_eq!(ledger.scan(), Scan::Running);
        assert_eq!(
            ledger.fate(subject("GET:/a"), file.changed_at()),
            Some(Fate::Delete)
        );
        ledger.carried_out(ledger.round());
        assert_eq!(ledger.fate(subject("GET:/a"), file.changed_at()), None);
    }

    #[test]
    fn a_pending_invalidation_stands_against_a_file_from_the_future_and_a_given_up_one_by_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = Fs::default().stat(&path).unwrap();
        let long_ago = crate::clock::from_unix_seconds(1);
        let mut ledger = Ledger::after(Vec::new());
        ledger.carried_out(ledger.round());
        let done = ledger.enter(&patterns("/a"), Fate::Delete, long_ago, Origin::Owner);
        let lost = ledger.enter(&patterns("/b"), Fate::Delete, long_ago, Origin::Owner);
        assert_eq!(
            ledger.fate(subject("GET:/a"), file.changed_at()),
            Some(Fate::Delete)
        );
        ledger.finish(&done);
        assert_eq!(ledger.fate(subject("GET:/a"), file.changed_at()), None);
        ledger.give_up(&lost);
        assert_eq!(ledger.fate(subject("GET:/b"), file.changed_at()), None);
        assert!(!ledger.is_settled(), "not by this process");
        ledger.replay(Vec::new());
        ledger.carried_out(ledger.round());
        assert!(ledger.is_settled());
    }

    #[test]
    fn visitors_push_nothing_out_and_their_marks_stay_bounded() {
        let now = SystemTime::now();
        let mut ledger = Ledger::after(Vec::new());
        ledger.enter(&patterns("/a"), Fate::Delete, now, Origin::Owner);
        let epoch = ledger.number;
        for number in 0..=2 * RECENT {
            ledger.note_mark(&patterns(&format!("/made/up/{number}")), now);
        }
        assert_eq!(ledger.forgotten, 0);
        assert!(ledger.is_overtaken(epoch, subject("GET:/made/up/7?q")));
        assert!(ledger.is_overtaken(0, subject("GET:/a")));
        for number in 0..=2 * MARKED {
            let path = patterns(&format!("/made/up/{number}"));
            ledger.enter(&path, Fate::Stale, now, Origin::Visitor);
            ledger.enter(&path, Fate::Stale, now, Origin::Visitor);
        }
        assert!(ledger.dooms.len() <= MARKED + 2, "{}", ledger.dooms.len());
        assert_eq!(ledger.forgotten, 0);
    }

    #[test]
    fn a_visitors_mark_stands_against_a_file_that_the_index_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = Fs::default().stat(&path).unwrap();
        let far = crate::clock::from_unix_seconds(1 << 33);
        let mut ledger = Ledger::after(Vec::new());
        ledger.note_mark(&patterns("/a"), far);
        ledger.note_mark(&patterns("/a"), SystemTime::UNIX_EPOCH);
        assert_eq!(
            ledger.fate(subject("GET:/a?q"), file.changed_at()),
            Some(Fate::Stale)
        );
    }
}
