//! Renderings that were refused in favour of the page that is stored: which was the last of a page, so that the same
//! once more is taken for the truth, and a log of them, bounded, for who asks later.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use toml::{Table, Value};

use crate::fsops::Fs;
use crate::head::{Generated, Rendered, Rendering, Seal, SealedBody, Sidecar, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::Subject;
use crate::tags::NO_TAGS;
use crate::throttle::Throttle;

use super::layout::Stem;
use super::read::generated;
use super::sidecar::quote;
use super::write::{CommitError, Kept};
use super::{Store, lock};

/// Says, in a word, why the second may not take the place of the first.
pub(crate) type Judge<'a> = &'a (dyn Fn(&Rendered<'_>, &Rendered<'_>) -> Option<&'static str> + Sync);

/// What is remembered of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The last of each rendering.
    last: Mutex<HashMap<(KeyHash, Option<VariantId>), Seal>>,
    notice: Throttle,
}

impl Refusals {
    /// What the backend says twice it means. Whether it was said before is asked where it is not known.
    fn is_said_twice(
        &self,
        place: (KeyHash, Option<VariantId>),
        seal: Seal,
        was_refused: impl FnOnce() -> bool,
    ) -> bool {
        let mut last = lock(&self.last);
        let is_again = match last.get(&place) {
            Some(known) => *known == seal,
            None => was_refused(),
        };
        if is_again {
            last.remove(&place);
            return true;
        }
        if last.len() >= MOST
            && let Some(one) = last.keys().next().copied()
        {
            last.remove(&one);
        }
        last.insert(place, seal);
        false
    }
}

/// So many renderings are remembered; of others the log is asked.
const MOST: usize = 1024;
/// The log's name in the private folder.
const LOG: &str = "rejected.toml";
/// At this size its older half goes.
const LOG_BYTES: u64 = 256 << 10;
const ENTRY: &str = "[[rejected]]\n";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// In a word.
    pub(crate) why: String,
    /// The whole key text.
    pub(crate) key: String,
    /// `METHOD:/path?query`.
    pub(crate) own: String,
    pub(crate) length: u64,
    /// Of the page that stayed.
    pub(crate) kept: u64,
    pub(crate) seal: String,
}

impl Store {
    /// Refuses a rendering that is not to take the place of what is stored, unless it is the one that was refused last.
    pub(super) fn check_last_good(
        &self,
        judge: Judge<'_>,
        (stem, id): (&Stem, Option<VariantId>),
        (old, new): (&Sidecar, &Sidecar),
        kept: &Kept,
    ) -> Result<(), CommitError> {
        let (Some(stored), Some(coming)) = (&old.rendering, &new.rendering) else {
            return Ok(());
        };
        let place = (Key::from_text(&*new.key).hash, id);
        let body = match kept {
            Kept::Same(..) => {
                // It said something else in between.
                lock(&self.refusals.last).remove(&place);
                return Ok(());
            }
            Kept::New(body) => Some(body),
            Kept::Nothing => None,
        };
        let seal = body.map_or_else(|| Seal::of(b""), |body| body.seal);
        let length = |rendering: &Rendering| rendering.body.as_ref().map_or(0, |body| body.length);
        let was = Rendered {
            head: &stored.head,
            length: length(stored),
            end: &|most| self.end_of(self.own_body((stem, id), old)?, most),
        };
        let comes = Rendered {
            head: &coming.head,
            length: length(coming),
            end: &|most| body?.end(&self.fs, most),
        };
        let why = match judge(&was, &comes) {
            Some(why) if self.is_whole_and_unmarked((stem, id), old, stored) => why,
            _ => {
                lock(&self.refusals.last).remove(&place);
                return Ok(());
            }
        };
        let was_refused = || self.was_refused(new, &seal, self.clock_of((stem, id), old, stored));
        if self.refusals.is_said_twice(place, seal, was_refused) {
            return Ok(());
        }
        self.note_refused(&Refused {
            at: self.options.clock.unix_seconds(),
            why: why.to_owned(),
            key: new.key.to_string(),
            own: new.own_line(),
            length: length(coming),
            kept: length(stored),
            seal: seal.short(),
        });
        Err(CommitError::Rejected)
    }

    /// Whether a process before this one, or this one long ago, has refused the same bytes last, and nothing was stored
    /// or validated since.
    fn was_refused(&self, new: &Sidecar, seal: &Seal, clock: Option<Generated>) -> bool {
        let Some(Generated::At(since)) = clock else {
            return false;
        };
        let refused = read(&self.fs, &self.private(LOG));
        let last = refused.iter().rev().find(|one| *one.key == *new.key);
        last.is_some_and(|one| one.seal == seal.short() && one.at > since)
    }

    fn clock_of(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        old: &Sidecar,
        stored: &Rendering,
    ) -> Option<Generated> {
        let known = self.index.get(&Key::from_text(&*old.key));
        match known.and_then(|entry| entry.variant(id)) {
            Some(known) => Some(known.generated),
            None => {
                let file = self.fs.stat(&self.root.join(stem.sidecar(id)));
                file.ok().map(|file| generated(stored, &file))
            }
        }
    }

    /// Whether a mark is that of a visitor's unsafe request, who says nothing of what may come. Its time is somewhat
    /// earlier than the file's, which is marked behind it.
    fn is_visitors_mark(&self, (stem, id): (&Stem, Option<VariantId>), old: &Sidecar) -> bool {
        const BEHIND: Duration = Duration::from_secs(60);
        let key = Key::from_text(&*old.key);
        let own = old.own_line();
        let subject = Subject {
            line: key.line(),
            own: Some(&own),
            tags: &*NO_TAGS,
        };
        let marked = self.ledger().visitors_mark(subject);
        let changed = self.fs.stat(&self.root.join(stem.sidecar(id)));
        marked
            .zip(changed.ok())
            .is_some_and(|(marked, file)| file.changed_at() <= marked + BEHIND)
    }

    /// What the operator has marked may be replaced by anything, and what has lost its body is no page.
    fn is_whole_and_unmarked(
        &self,
        (stem, id): (&Stem, Option<VariantId>),
        old: &Sidecar,
        stored: &Rendering,
    ) -> bool {
        let clock = self.clock_of((stem, id), old, stored);
        let is_marked = clock == Some(Generated::Invalidated) && !self.is_visitors_mark((stem, id), old);
        let is_there = |sealed: &SealedBody| {
            let path = self.own_body((stem, id), old);
            path.is_some_and(|path| self.fs.stat(&path).is_ok_and(|file| file.size() == sealed.length))
        };
        clock.is_some() && !is_marked && stored.body.as_ref().is_some_and(is_there)
    }

    fn end_of(&self, path: PathBuf, most: usize) -> Option<Vec<u8>> {
        let (file, found) = self.fs.open(&path).ok()?;
        let begin = found.size().saturating_sub(most as u64);
        self.fs.prefix(&file, &path).ok()?.read_at(begin, most).ok()
    }

    fn note_refused(&self, refused: &Refused) {
        let path = self.private(LOG);
        let noted = {
            // One at a time: the log may be written anew.
            let _last = lock(&self.refusals.last);
            append(&self.fs, &path, &self.tmp(), refused)
        };
        if let Err(error) = noted {
            self.trouble
                .say(|| tracing::warn!(path = %path.display(), %error, "cannot note what was rejected"));
        }
        self.refusals.notice.say(|| {
            tracing::warn!(
                page = refused.own,
                why = refused.why,
                length = refused.length,
                kept = refused.kept,
                "the backend sent no whole page, and the one that is stored stays (`keep_last_good`); `phantom-frame ls --rejected` lists further ones"
            );
        });
    }
}

fn append(fs: &Fs, path: &Path, tmp: &Path, refused: &Refused) -> io::Result<()> {
    let mut file = fs.open_append(path)?;
    if fs.stat(path)?.size() >= LOG_BYTES {
        let known = read(fs, path);
        let newer = known.get(known.len() / 2..).unwrap_or_default();
        let text: String = newer.iter().map(Refused::text).collect();
        let mut new = fs.temporary(tmp)?;
        fs.write(new.as_file_mut(), path, text.as_bytes())?;
        file = fs.persist(new, path)?;
    }
    fs.write(&mut file, path, refused.text().as_bytes())
}

/// What was refused, the oldest first. What a crash cut is passed over.
pub(crate) fn read_refused(fs: &Fs, private: &Path) -> Vec<Refused> {
    read(fs, &private.join(LOG))
}

fn read(fs: &Fs, path: &Path) -> Vec<Refused> {
    let Ok((bytes, _)) = fs.read_small(path, 4 * LOG_BYTES) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let entries = text.split(ENTRY).filter_map(Refused::of);
    entries.collect()
}

impl Refused {
    fn text(&self) -> String {
        let mut text = ENTRY.to_owned();
        let texts = [
            ("why", &self.why),
            ("key", &self.key),
            ("url", &self.own),
            ("seal", &self.seal),
        ];
        for (name, value) in texts {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = {}", quote(value));
        }
        for (name, value) in [("length", self.length), ("kept", self.kept), ("at", self.at)] {
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }

    fn of(entry: &str) -> Option<Self> {
        let table: Table = toml::from_str(entry).ok()?;
        let text = |name: &str| Some(table.get(name)?.as_str()?.to_owned());
        let number = |name: &str| table.get(name).and_then(Value::as_integer)?.try_into().ok();
        Some(Self {
            at: number("at")?,
            why: text("why")?,
            key: text("key")?,
            own: text("url")?,
            length: number("length")?,
            kept: number("kept")?,
            seal: text("seal")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: u64) -> Refused {
        Refused {
            at: number,
            why: "cut".into(),
            key: format!("GET:/{number}\nhost 1:x"),
            own: format!("GET:/{number}?a=\"b\""),
            length: 3,
            kept: 5,
            seal: "00112233".into(),
        }
    }

    #[test]
    fn the_log_is_read_back_and_what_a_crash_cut_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        let fs = Fs::default();
        for number in 0..3 {
            append(&fs, &path, dir.path(), &refused(number)).unwrap();
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("[[rejected]]\nwhy = \"cu");
        std::fs::write(&path, text).unwrap();
        append(&fs, &path, dir.path(), &refused(3)).unwrap();
        let numbers: Vec<_> = read_refused(&fs, dir.path()).iter().map(|one| one.at).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(read_refused(&fs, dir.path())[1], refused(1));
    }

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        let fs = Fs::default();
        for number in 0..6_000 {
            append(&fs, &path, dir.path(), &refused(number)).unwrap();
        }
        assert!(fs.stat(&path).unwrap().size() < LOG_BYTES + 1024);
        let left = read_refused(&fs, dir.path());
        assert!(left.len() > 500, "{}", left.len());
        assert_eq!(left.last().unwrap().at, 5_999);
    }
}
