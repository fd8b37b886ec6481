//! Content directories: a file changes, and the pages that are made from it go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::rule::{Captures, RuleError, Source};
use super::target::Target;
use super::{Batch, DirWatch};
use crate::config::WatchRule;
use crate::error::Error;
use crate::invalidate::{RefreshMode, RefreshTrigger};

/// More patterns at once are replaced by those that hold for any file of the rule.
const MAX_PATTERNS: usize = 1000;
/// A rule whose files never rest fires again after this many times its `settle`.
const MAX_RESTARTS: u32 = 10;

/// Applies [`WatchRule`]s until it is dropped.
#[derive(Debug)]
pub struct ContentWatcher {
    watches: Vec<DirWatch>,
    shared: Arc<Shared>,
    settling: Option<JoinHandle<()>>,
}

impl ContentWatcher {
    /// Watches what the rules name, relative to `base`. Works without an async runtime.
    ///
    /// # Errors
    /// When a rule cannot work, which is then named, or a directory cannot be watched.
    pub fn start(rules: &[WatchRule], base: &Path, trigger: RefreshTrigger) -> Result<Self, Error> {
        // An empty base is what a relative file name has for a folder.
        let base = if base.as_os_str().is_empty() {
            Path::new(".")
        } else {
            base
        };
        let base = std::path::absolute(base).map_err(|source| {
            Error::config(
                "watch",
                format!("cannot find the base directory {}", base.display()),
            )
            .with_source(source)
        })?;
        let mut checked = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            checked.push(Rule::check(rule, &base).map_err(|wrong| {
                let context = format!("[[watch]] rule {}: {}", at + 1, wrong.0);
                Error::config("watch", context).with_hint(wrong.1)
            })?);
        }
        let shared = Arc::new(Shared {
            settling: Mutex::new(Settling {
                due: checked.iter().map(|_| None).collect(),
                stop: false,
            }),
            rules: checked,
            changed: Condvar::new(),
            trigger,
            told_snapshots: Mutex::default(),
        });
        let mut watcher = Self {
            watches: Vec::new(),
            shared: Arc::clone(&shared),
            settling: None,
        };
        let thread = std::thread::Builder::new().name("watch-settle".into());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || shared.settle()
        });
        watcher.settling = Some(thread.map_err(|source| cannot_watch(&base, source))?);
        for root in shared.roots() {
            let (for_skip, for_batch, at) = (Arc::clone(&shared), Arc::clone(&shared), root.clone());
            let skip = move |path: &Path| !for_skip.may_matter(&at, path);
            let at = root.clone();
            let watch = DirWatch::start(&root, skip, move |batch| for_batch.on_batch(&at, &batch));
            watcher
                .watches
                .push(watch.map_err(|source| cannot_watch(&root, source))?);
        }
        Ok(watcher)
    }

    /// Whether changes are being noticed in all directories; not in one that was removed.
    pub fn is_healthy(&self) -> bool {
        self.watches.iter().all(DirWatch::is_healthy)
    }
}

impl Drop for ContentWatcher {
    fn drop(&mut self) {
        self.watches.clear();
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.settling.take() {
            // A panic there was logged when it happened.
            let _ = thread.join();
        }
    }
}

fn cannot_watch(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::config("watch", format!("cannot watch {}", path.display())).with_source(source)
}

/// What is wrong with a rule, and what to do about it.
struct Wrong(String, &'static str);

impl From<RuleError> for Wrong {
    fn from(error: RuleError) -> Self {
        let hint = match error {
            RuleError::Empty(_) => "write paths = [\"content/**/*.md\"], invalidate = [\"/blog/*\"]",
            RuleError::NoFile(_) => "name files: `content/**` is every file below `content`",
            RuleError::Unknown { .. } => "every path of a rule has to capture what `invalidate` uses",
            RuleError::Pattern { .. } => "`/blog/*` is a pattern, `*` is everything",
            _ => "`**` is any number of directories, `*` any text in a name, `{name}` captures it",
        };
        Self(error.to_string(), hint)
    }
}

/// A rule that can work.
#[derive(Debug)]
struct Rule {
    sources: Vec<Source>,
    targets: Vec<Target>,
    settle: Duration,
}

impl Rule {
    fn check(rule: &WatchRule, base: &Path) -> Result<Self, Wrong> {
        if rule.paths.is_empty() {
            return Err(RuleError::Empty("`paths`").into());
        }
        if rule.invalidate.is_empty() {
            return Err(RuleError::Empty("`invalidate`").into());
        }
        let mut sources = Vec::new();
        for path in &rule.paths {
            let source = Source::parse(path, base)?;
            check_on_disk(path, &source)?;
            sources.push(source);
        }
        let targets = rule.invalidate.iter().map(|text| Target::parse(text, &sources));
        let targets = targets.collect::<Result<_, _>>()?;
        Ok(Self {
            sources,
            targets,
            settle: rule.settle,
        })
    }

    fn patterns(&self, captures: &Captures, file: &Path) -> BTreeSet<String> {
        let mut patterns = BTreeSet::new();
        for target in &self.targets {
            match target.patterns(captures) {
                Ok(more) => patterns.extend(more),
                Err(_) => {
                    tracing::warn!(
                        ?file,
                        "the file's name cannot stand in a pattern; nothing invalidated"
                    );
                }
            }
        }
        patterns
    }

    /// What holds for any file of the rule.
    fn all_patterns(&self) -> BTreeSet<String> {
        self.patterns(&Captures::new(), Path::new(""))
    }
}

fn check_on_disk(path: &str, source: &Source) -> Result<(), Wrong> {
    let root = source.root.display();
    if !source.root.is_dir() {
        return Err(Wrong(
            format!("`{path}` is below {root}, and that is not a directory"),
            "create it, or correct the path",
        ));
    }
    if source.fixed().is_some_and(|file| file.is_dir()) {
        return Err(Wrong(
            format!("`{path}` is a directory"),
            "write `/**` after it for every file below it",
        ));
    }
    if source.root.ancestors().any(holds_snapshots) {
        return Err(Wrong(
            format!("`{path}` is in a snapshot directory, which is watched anyway"),
            "name the files that pages are made from",
        ));
    }
    Ok(())
}

/// Whether the server keeps its snapshots there. Either of the two alone may be somebody else's.
fn holds_snapshots(dir: &Path) -> bool {
    dir.join(".phantom").is_dir() && dir.join("phantom-frame.toml").is_file()
}

/// What the watching threads and the settling thread share.
#[derive(Debug)]
struct Shared {
    rules: Vec<Rule>,
    trigger: RefreshTrigger,
    settling: Mutex<Settling>,
    changed: Condvar,
    told_snapshots: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Debug)]
struct Settling {
    /// One for each rule.
    due: Vec<Option<Due>>,
    stop: bool,
}

#[derive(Debug)]
struct Due {
    patterns: BTreeSet<String>,
    at: Instant,
    at_latest: Instant,
}

/// What a batch means to one rule.
#[derive(Debug, Default)]
struct Hit {
    patterns: BTreeSet<String>,
    file: PathBuf,
    files: usize,
}

impl Shared {
    fn roots(&self) -> BTreeSet<PathBuf> {
        let sources = self.rules.iter().flat_map(|rule| &rule.sources);
        sources.map(|source| source.root.clone()).collect()
    }

    fn may_matter(&self, root: &Path, path: &Path) -> bool {
        let mut sources = self.rules.iter().flat_map(|rule| &rule.sources);
        sources.any(|source| {
            source.root == root && (source.matches(path).is_some() || source.matches_below(path).is_some())
        })
    }

    fn on_batch(&self, root: &Path, batch: &Batch) {
        let mut hits: BTreeMap<usize, Hit> = BTreeMap::new();
        for (at, rule) in self.rules.iter().enumerate() {
            for source in rule.sources.iter().filter(|source| source.root == root) {
                let paths = batch.paths.iter().map(|path| (path, source.matches(path)));
                let gone = batch.gone.iter().map(|dir| (dir, source.matches_below(dir)));
                for (path, captures) in paths.chain(gone) {
                    let Some(captures) = captures else { continue };
                    if self.is_snapshot(root, path) {
                        continue;
                    }
                    hits.entry(at)
                        .or_default()
                        .add(path, rule.patterns(&captures, path));
                }
                if batch.rescan {
                    hits.entry(at).or_default().add(root, rule.all_patterns());
                }
            }
        }
        for (at, hit) in hits {
            self.hit(at, hit);
        }
    }

    /// Whether a directory of snapshots is between the two. What a fill writes there must not
    /// invalidate what it wrote.
    fn is_snapshot(&self, root: &Path, path: &Path) -> bool {
        let between = path.ancestors().skip(1).take_while(|dir| dir.starts_with(root));
        let Some(dir) = between.into_iter().find(|dir| holds_snapshots(dir)) else {
            return false;
        };
        let mut told = self.told_snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(dir.to_owned()) {
            tracing::warn!(dir = %dir.display(), "a [[watch]] rule matches snapshots; those are left out");
        }
        true
    }

    /// Fires, and has it done again once the rule's files rest.
    fn hit(&self, at: usize, mut hit: Hit) {
        let Some(rule) = self.rules.get(at) else {
            return;
        };
        if hit.patterns.len() > MAX_PATTERNS {
            hit.patterns = rule.all_patterns();
        }
        if hit.patterns.is_empty() {
            return;
        }
        tracing::info!(
            rule = at + 1, file = ?hit.file, files = hit.files, patterns = ?hit.patterns,
            "content changed; invalidating"
        );
        self.fire(&hit.patterns);
        let now = Instant::now();
        let mut settling = self.lock();
        if let Some(slot) = settling.due.get_mut(at) {
            let due = slot.get_or_insert_with(|| Due {
                patterns: BTreeSet::new(),
                at: now,
                at_latest: now + rule.settle * MAX_RESTARTS,
            });
            due.at = (now + rule.settle).min(due.at_latest);
            due.patterns.append(&mut hit.patterns);
            if due.patterns.len() > MAX_PATTERNS {
                due.patterns = rule.all_patterns();
            }
        }
        drop(settling);
        self.changed.notify_all();
    }

    /// The settling thread. What is due when it has to stop is done then: the pages outlive the process.
    fn settle(&self) {
        let mut settling = self.lock();
        loop {
            let now = Instant::now();
            let stop = settling.stop;
            let is_due = |due: &mut Due| stop || due.at <= now;
            let due = settling.due.iter_mut().enumerate();
            let due: Vec<_> = due
                .filter_map(|(at, slot)| Some((at, slot.take_if(is_due)?)))
                .collect();
            if !due.is_empty() {
                drop(settling);
                for (at, due) in due {
                    tracing::info!(rule = at + 1, patterns = ?due.patterns, "content settled; invalidating again");
                    self.fire(&due.patterns);
                }
                settling = self.lock();
                continue;
            }
            if stop {
                return;
            }
            settling = match settling.due.iter().flatten().map(|due| due.at).min() {
                Some(at) => {
                    let wait = self
                        .changed
                        .wait_timeout(settling, at.saturating_duration_since(now));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(settling)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn fire(&self, patterns: &BTreeSet<String>) {
        let patterns: Vec<_> = patterns.iter().map(String::as_str).collect();
        // In force when it returns; a failure is logged there.
        drop(self.trigger.begin(&patterns, RefreshMode::Delete));
    }

    fn lock(&self) -> MutexGuard<'_, Settling> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hit {
    fn add(&mut self, file: &Path, mut patterns: BTreeSet<String>) {
        if self.files == 0 {
            self.file = file.into();
        }
        self.files += 1;
        self.patterns.append(&mut patterns);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use tokio::sync::broadcast::Receiver;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;
    use crate::error::ErrorKind;
    use crate::invalidate::RefreshMessage;

    const DEADLINE: Duration = Duration::from_secs(10);

    struct Rig {
        dir: TempDir,
        messages: Receiver<RefreshMessage>,
        watcher: ContentWatcher,
    }

    fn rig(paths: &[&str], invalidate: &[&str], settle: Duration) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("site/content")).unwrap();
        let trigger = RefreshTrigger::new();
        let messages = trigger.subscribe();
        let mut rule = WatchRule::new(paths.iter().copied(), invalidate.iter().copied());
        rule.settle = settle;
        let watcher = ContentWatcher::start(&[rule], &dir.path().join("site"), trigger).unwrap();
        Rig {
            dir,
            messages,
            watcher,
        }
    }

    impl Rig {
        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join("site").join(path)
        }

        /// Waits for the pattern; a broadcast receiver cannot wait for a time without a runtime.
        fn until(&mut self, pattern: &str) -> Instant {
            let end = Instant::now() + DEADLINE;
            let mut seen = Vec::new();
            while Instant::now() < end {
                match self.messages.try_recv() {
                    Ok(RefreshMessage::Pattern(text)) if text == pattern => return Instant::now(),
                    Ok(RefreshMessage::All) if pattern == "*" => return Instant::now(),
                    Ok(message) => seen.push(message),
                    Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("no {pattern}, but {seen:?}");
        }
    }

    #[test]
    fn a_change_fires_at_once_and_again_when_it_has_settled() {
        let settle = Duration::from_millis(400);
        let mut rig = rig(&["content/**/{slug}.md"], &["/blog/{slug}", "/"], settle);
        assert!(rig.watcher.is_healthy());
        fs::create_dir_all(rig.path("content/a/b")).unwrap();
        fs::write(rig.path("content/a/b/hello.md"), "1").unwrap();
        let first = rig.until("/blog/hello");
        let second = rig.until("/blog/hello");
        assert!(second - first >= settle / 2, "{:?}", second - first);
        fs::rename(rig.path("content/a"), rig.path("a")).unwrap();
        rig.until("/blog/*");
        rig.until("/");
    }

    #[test]
    fn a_rescan_fires_for_every_file() {
        let mut rig = rig(&["content/{slug}.md"], &["/blog/{slug}"], Duration::from_secs(60));
        fs::remove_dir_all(rig.path("content")).unwrap();
        rig.until("/blog/*");
        fs::create_dir(rig.path("content")).unwrap();
        rig.until("/blog/*");
        fs::write(rig.path("content/a.md"), "1").unwrap();
        rig.until("/blog/a");
    }

    #[test]
    fn what_is_left_to_settle_fires_when_it_is_dropped() {
        let mut rig = rig(&["content/{slug}.md"], &["/blog/{slug}"], Duration::from_secs(60));
        fs::write(rig.path("content/a.md"), "1").unwrap();
        rig.until("/blog/a");
        let Rig {
            dir,
            messages,
            watcher,
        } = rig;
        let _dir = dir;
        drop(watcher);
        let mut messages = messages;
        let message = messages.try_recv().unwrap();
        assert_eq!(message, RefreshMessage::Pattern("/blog/a".into()));
    }

    #[test]
    fn snapshots_and_names_that_no_pattern_can_hold_fire_nothing() {
        let mut rig = rig(
            &["**/{slug}.html", "content/{slug}.md"],
            &["/{slug}"],
            Duration::ZERO,
        );
        fs::create_dir_all(rig.path("snapshots/.phantom")).unwrap();
        fs::write(rig.path("snapshots/phantom-frame.toml"), "").unwrap();
        fs::write(rig.path("snapshots/page.html"), "1").unwrap();
        fs::write(rig.path("content/a*.md"), "1").unwrap();
        fs::write(rig.path("content/last.md"), "1").unwrap();
        let end = Instant::now() + DEADLINE;
        loop {
            match rig.messages.try_recv() {
                Ok(RefreshMessage::Pattern(text)) => {
                    assert_eq!(text, "/last");
                    break;
                }
                Ok(message) => panic!("{message:?}"),
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_rule_that_cannot_work_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("content")).unwrap();
        fs::create_dir_all(dir.path().join("snapshots/.phantom")).unwrap();
        fs::write(dir.path().join("snapshots/phantom-frame.toml"), "").unwrap();
        for (path, invalidate, expected) in [
            ("contents/*.md", "/", "is not a directory"),
            ("content", "/", "is a directory"),
            ("snapshots/*.html", "/", "snapshot directory"),
            ("content/*.md", "/{slug}", "does not capture"),
        ] {
            let good = WatchRule::new(["content/*.md"], ["/"]);
            let rules = [good, WatchRule::new([path], [invalidate])];
            let error = ContentWatcher::start(&rules, dir.path(), RefreshTrigger::new()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("rule 2") && text.contains(expected), "{text}");
            assert_eq!(
                (error.kind(), error.setting()),
                (ErrorKind::Config, Some("watch"))
            );
            assert!(error.hint().is_some());
        }
        let rules = [WatchRule::new(["content/*.md"], [""; 0])];
        assert!(ContentWatcher::start(&rules, dir.path(), RefreshTrigger::new()).is_err());
    }

    #[test]
    fn every_way_in_which_editors_save_is_noticed() {
        let mut rig = rig(&["content/{slug}.md"], &["/blog/{slug}"], Duration::ZERO);
        let file = rig.path("content/a.md");
        fs::write(&file, "1").unwrap();
        rig.until("/blog/a");
        let saves: [(&str, &dyn Fn()); 5] = [
            ("truncated and written", &|| fs::write(&file, "2").unwrap()),
            ("a temporary file renamed over it", &|| {
                fs::write(rig_path(&file, ".a.md.swp"), "3").unwrap();
                fs::rename(rig_path(&file, ".a.md.swp"), &file).unwrap();
            }),
            ("moved away for a backup and written anew", &|| {
                fs::rename(&file, rig_path(&file, "a.md~")).unwrap();
                fs::write(&file, "4").unwrap();
            }),
            ("written through a link", &|| {
                let link = rig_path(&file, "link");
                std::os::unix::fs::symlink(&file, &link).unwrap();
                fs::write(&link, "5").unwrap();
                fs::remove_file(&link).unwrap();
            }),
            ("another file linked in its place", &|| {
                fs::write(rig_path(&file, "other"), "6").unwrap();
                fs::remove_file(&file).unwrap();
                fs::hard_link(rig_path(&file, "other"), &file).unwrap();
            }),
        ];
        for (how, save) in saves {
            // What is left of the one before has come.
            std::thread::sleep(Duration::from_millis(250));
            while rig.messages.try_recv().is_ok() {}
            save();
            let end = Instant::now() + DEADLINE;
            let found = loop {
                match rig.messages.try_recv() {
                    Ok(RefreshMessage::Pattern(text)) if text == "/blog/a" => break true,
                    Ok(message) => panic!("{how}: {message:?}"),
                    Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                    Err(_) => break false,
                }
            };
            assert!(found, "{how}");
        }
    }

    fn rig_path(file: &Path, name: &str) -> PathBuf {
        file.with_file_name(name)
    }

    #[test]
    fn a_content_directory_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("content")).unwrap();
        let trigger = RefreshTrigger::new();
        let messages = trigger.subscribe();
        let rules = [WatchRule::new(["content/{slug}.md"], ["/blog/{slug}"])];
        let watcher = ContentWatcher::start(&rules, dir.path(), trigger).unwrap();
        let mut rig = Rig {
            dir,
            messages,
            watcher,
        };
        fs::write(rig.dir.path().join("real/a.md"), "1").unwrap();
        rig.until("/blog/a");
        // Another directory behind the same link.
        fs::create_dir(rig.dir.path().join("next")).unwrap();
        fs::write(rig.dir.path().join("next/b.md"), "1").unwrap();
        std::os::unix::fs::symlink(rig.dir.path().join("next"), rig.dir.path().join("new")).unwrap();
        fs::rename(rig.dir.path().join("new"), rig.dir.path().join("content")).unwrap();
        rig.until("/blog/*");
        fs::write(rig.dir.path().join("next/b.md"), "2").unwrap();
        rig.until("/blog/b");
        assert!(rig.watcher.is_healthy());
    }
}
