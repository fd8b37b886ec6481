//! Tests of the watcher, on temporary directories.

mod faults;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough for an event that must not come.
const SILENCE: Duration = Duration::from_millis(300);

struct Rig {
    dir: TempDir,
    root: PathBuf,
    batches: Receiver<Batch>,
    watch: DirWatch,
}

impl Rig {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::at(PACE, prepare)
    }

    fn polling(prepare: impl FnOnce(&Path)) -> Self {
        let poll = Duration::from_millis(30);
        Self::at(
            Pace {
                events: false,
                poll,
                ..PACE
            },
            prepare,
        )
    }

    fn at(pace: Pace, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let (sender, batches) = channel();
        let skip = |path: &Path| path.components().any(|part| part.as_os_str() == ".phantom");
        let on_batch = move |batch| drop(sender.send(batch));
        let watch = DirWatch::start_at(pace, &root, Arc::new(skip), Box::new(on_batch)).unwrap();
        Self {
            dir,
            root,
            batches,
            watch,
        }
    }

    /// The union of batches until it is as wanted.
    fn until(&self, wanted: impl Fn(&Batch) -> bool) -> Batch {
        let end = Instant::now() + DEADLINE;
        let mut all = Batch::default();
        while !wanted(&all) {
            let left = end.saturating_duration_since(Instant::now());
            let batch = self.batches.recv_timeout(left);
            let batch = batch.unwrap_or_else(|error| panic!("{error}; until then {all:?}"));
            all.paths.extend(batch.paths);
            all.gone.extend(batch.gone);
            all.rescan |= batch.rescan;
        }
        all
    }

    fn until_path(&self, path: &str) -> Batch {
        let path = self.root.join(path);
        self.until(|all| all.paths.contains(&path))
    }

    fn silence(&self) {
        let batch = self.batches.recv_timeout(SILENCE);
        assert_eq!(batch, Err(RecvTimeoutError::Timeout));
    }
}

#[test]
fn files_made_changed_renamed_over_and_deleted_are_told() {
    let rig = Rig::new(|_| {});
    let file = rig.root.join("a");
    fs::write(&file, "1").unwrap();
    rig.until_path("a");
    fs::write(&file, "2").unwrap();
    rig.until_path("a");
    fs::write(rig.root.join("b"), "3").unwrap();
    rig.until_path("b");
    fs::rename(rig.root.join("b"), &file).unwrap();
    let batch = rig.until_path("a");
    assert!(batch.paths.contains(&rig.root.join("b")));
    fs::remove_file(&file).unwrap();
    let batch = rig.until_path("a");
    assert!(!batch.rescan && batch.gone.is_empty());
    assert!(rig.watch.is_healthy());
}

#[test]
fn opening_and_reading_files_is_no_change() {
    let rig = Rig::new(|root| {
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a"), "1").unwrap();
    });
    for _ in 0..100 {
        assert_eq!(fs::read(rig.root.join("sub/a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(rig.root.join("sub")).unwrap().count(), 1);
    }
    rig.silence();
}

#[test]
fn what_is_skipped_gives_no_batch() {
    let rig = Rig::new(|root| fs::create_dir_all(root.join(".phantom/tmp")).unwrap());
    fs::write(rig.root.join(".phantom/tmp/a"), "1").unwrap();
    fs::create_dir_all(rig.root.join(".phantom/pending")).unwrap();
    fs::write(rig.root.join(".phantom/pending/b"), "1").unwrap();
    rig.silence();
    fs::rename(rig.root.join(".phantom/tmp/a"), rig.root.join("a")).unwrap();
    let batch = rig.until_path("a");
    assert_eq!(batch.paths.len(), 1, "{batch:?}");
}

#[test]
fn a_directory_that_appears_is_told_with_what_is_already_in_it() {
    let rig = Rig::new(|_| {});
    for round in 0..50 {
        let deep = format!("{round}/b/c/d");
        fs::create_dir_all(rig.root.join(&deep)).unwrap();
        fs::write(rig.root.join(&deep).join("file"), "1").unwrap();
        rig.until_path(&format!("{deep}/file"));
    }
    // And it is watched from then on.
    fs::write(rig.root.join("0/b/c/d/later"), "1").unwrap();
    rig.until_path("0/b/c/d/later");
}

#[test]
fn a_directory_that_is_moved_in_or_out_is_told() {
    let rig = Rig::new(|_| {});
    let outside = rig.dir.path().join("outside");
    fs::create_dir_all(outside.join("x/y")).unwrap();
    fs::write(outside.join("x/y/file"), "1").unwrap();
    fs::rename(&outside, rig.root.join("in")).unwrap();
    rig.until_path("in/x/y/file");
    fs::rename(rig.root.join("in"), rig.root.join("renamed")).unwrap();
    let batch = rig.until_path("renamed/x/y/file");
    assert!(batch.gone.contains(&rig.root.join("in")), "{batch:?}");
    fs::write(rig.root.join("renamed/x/y/file"), "22").unwrap();
    rig.until_path("renamed/x/y/file");
    fs::rename(rig.root.join("renamed"), &outside).unwrap();
    rig.until(|all| all.gone.contains(&rig.root.join("renamed")));
}

#[test]
fn a_file_in_the_place_of_a_directory_is_told() {
    let rig = Rig::new(|root| fs::create_dir_all(root.join("a/b")).unwrap());
    fs::remove_dir_all(rig.root.join("a")).unwrap();
    fs::write(rig.root.join("a"), "1").unwrap();
    let batch = rig.until_path("a");
    assert!(batch.gone.contains(&rig.root.join("a")), "{batch:?}");
}

#[test]
fn directories_behind_links_are_not_entered() {
    let rig = Rig::new(|root| {
        let outside = root.with_file_name("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("before")).unwrap();
        symlink(".", root.join("loop")).unwrap();
    });
    let outside = rig.dir.path().join("outside");
    symlink(&outside, rig.root.join("after")).unwrap();
    rig.until_path("after");
    fs::write(outside.join("file"), "1").unwrap();
    rig.silence();
}

fn a_root_that_is_replaced_is_noticed(rig: &Rig) {
    let root = &rig.root;
    for round in 0..3 {
        fs::remove_dir_all(root).unwrap();
        fs::create_dir(root).unwrap();
        rig.until(|all| all.rescan);
        // The rescan may have been for the removal; a file is seen by its event or by a rescan.
        let file = format!("file-{round}");
        fs::write(root.join(&file), "1").unwrap();
        rig.until(|all| all.rescan || all.paths.contains(&root.join(&file)));
    }
    // By renaming, without it ever being absent for long.
    let fresh = rig.dir.path().join("fresh");
    fs::create_dir(&fresh).unwrap();
    fs::write(fresh.join("file"), "1").unwrap();
    fs::rename(root, rig.dir.path().join("old")).unwrap();
    fs::rename(&fresh, root).unwrap();
    rig.until(|all| all.rescan);
    while rig.batches.recv_timeout(SILENCE).is_ok() {}
    fs::write(root.join("file"), "changed").unwrap();
    rig.until_path("file");
    // What happens in the old one is nothing to us.
    fs::write(rig.dir.path().join("old/file"), "1").unwrap();
    rig.silence();
}

#[test]
fn a_root_that_is_replaced_is_noticed_by_events() {
    a_root_that_is_replaced_is_noticed(&Rig::new(|_| {}));
}

#[test]
fn a_root_that_is_replaced_is_noticed_by_polling() {
    a_root_that_is_replaced_is_noticed(&Rig::polling(|_| {}));
}

#[test]
fn a_root_whose_parent_is_replaced_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site/root");
    fs::create_dir_all(&root).unwrap();
    let (sender, batches) = channel();
    let watch = DirWatch::start(&root, |_| false, move |batch| drop(sender.send(batch))).unwrap();
    fs::rename(dir.path().join("site"), dir.path().join("old")).unwrap();
    assert!(batches.recv_timeout(DEADLINE).unwrap().rescan);
    assert!(!watch.is_healthy());
    fs::create_dir_all(&root).unwrap();
    assert!(batches.recv_timeout(DEADLINE).unwrap().rescan);
    assert!(watch.is_healthy());
}

#[test]
fn polling_tells_what_events_would() {
    let rig = Rig::polling(|root| fs::write(root.join("a"), "1").unwrap());
    assert!(rig.watch.is_healthy());
    fs::write(rig.root.join("a"), "2").unwrap();
    rig.until_path("a");
    // A restored backup has an older time.
    let file = fs::File::options().write(true).open(rig.root.join("a")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    rig.until_path("a");
    fs::create_dir_all(rig.root.join("b/c")).unwrap();
    fs::write(rig.root.join("b/c/d"), "1").unwrap();
    rig.until_path("b/c/d");
    fs::rename(rig.root.join("b"), rig.dir.path().join("b")).unwrap();
    rig.until_path("b/c/d");
    rig.silence();
}

#[test]
fn it_can_be_dropped_by_its_own_callback() {
    let dir = tempfile::tempdir().unwrap();
    let slot: Arc<std::sync::Mutex<Option<DirWatch>>> = Arc::default();
    let (sender, done) = channel();
    let watch = DirWatch::start(dir.path(), |_| false, {
        let slot = Arc::clone(&slot);
        move |_| {
            let watch = slot.lock().unwrap().take();
            drop(watch);
            let _ = sender.send(());
        }
    });
    *slot.lock().unwrap() = Some(watch.unwrap());
    fs::write(dir.path().join("a"), "1").unwrap();
    done.recv_timeout(DEADLINE).unwrap();
    // The thread ends, and the sender with it.
    assert_eq!(done.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn dropping_ends_the_thread() {
    let rig = Rig::new(|_| {});
    drop(rig.watch);
    fs::write(rig.root.join("a"), "1").unwrap();
    assert_eq!(
        rig.batches.recv_timeout(DEADLINE),
        Err(RecvTimeoutError::Disconnected)
    );
}
