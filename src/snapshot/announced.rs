//! `server.json`: where the process that writes the directory takes commands, as long as it does.
//!
//! Whoever writes it holds the lock, which dies with its owner: a file beside a lock that is free is a dead process's.

use std::path::Path;

use crate::fsops::Fs;

use super::layout::PRIVATE;
use super::{Store, lock};

const NAME: &str = "server.json";
/// What is longer is not ours.
const LONGEST: u64 = 4096;

impl Store {
    /// Has it said in the directory, now if this process writes it, and else from when it does.
    pub(crate) fn announce(&self, text: String) {
        *lock(&self.announced) = Some(text);
        self.put_announcement();
    }

    /// Takes back what was said, and leaves what another process says.
    pub(crate) fn renounce(&self) {
        let Some(text) = lock(&self.announced).take() else {
            return;
        };
        let path = self.private(NAME);
        let is_ours = |(bytes, _): (Vec<u8>, _)| bytes == text.as_bytes();
        if self.is_still_writable()
            && self.fs.read_small(&path, LONGEST).is_ok_and(is_ours)
            && let Err(error) = self.fs.remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "stays behind; who reads it sees that the lock is free");
        }
    }

    /// The file is there, and says what this process wants said.
    pub(super) fn put_announcement(&self) {
        // Seen to on disk: who has lost the directory to another would say so in its place.
        let is_held = self.lock.is_in_place();
        let announced = lock(&self.announced);
        let (Some(text), true) = (&*announced, is_held) else {
            return;
        };
        let path = self.private(NAME);
        let written = self.fs.private_temporary(&self.tmp()).and_then(|mut file| {
            self.fs.write(file.as_file_mut(), &path, text.as_bytes())?;
            self.fs.persist(file, &path).map(drop)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "commands will not find this server, and do without it or refuse");
        }
    }
}

/// What the process that writes this directory now says of itself.
pub(crate) fn announced(dir: &Path) -> Option<String> {
    let fs = Fs::new(None);
    let root = fs.canonicalize(dir).ok()?;
    let private = root.join(PRIVATE);
    let fs = fs.below(&root);
    let (bytes, _) = fs.read_small(&private.join(NAME), LONGEST).ok()?;
    let is_alive = matches!(fs.try_lock(&private.join("lock")), Ok(None));
    is_alive.then(|| String::from_utf8(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::snapshot::StoreOptions;

    #[test]
    fn it_is_said_as_long_as_its_process_writes_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("snapshots");
        let file = root.join(PRIVATE).join(NAME);
        let writer = Store::open(StoreOptions::plain(root.clone())).unwrap();
        assert_eq!(announced(&root), None);
        writer.announce("one".into());
        assert_eq!(announced(&root).as_deref(), Some("one"));

        // Who only reads says nothing, and takes nothing back.
        let reader = Store::attach(StoreOptions::plain(root.clone())).unwrap();
        reader.announce("two".into());
        assert_eq!(announced(&root).as_deref(), Some("one"));
        reader.renounce();
        assert_eq!(announced(&root).as_deref(), Some("one"));

        // Another's file, be it in its place, is another's.
        fs::write(&file, "three").unwrap();
        writer.renounce();
        assert_eq!(fs::read_to_string(&file).unwrap(), "three");
        writer.announce("one".into());
        writer.renounce();
        assert!(!file.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("snapshots");
        let store = Store::open(StoreOptions::plain(root.clone())).unwrap();
        store.announce("one".into());
        assert_eq!(announced(&root).as_deref(), Some("one"));
        fs::remove_file(root.join(PRIVATE).join("lock")).unwrap();
        assert_eq!(announced(&root), None);
        assert_eq!(announced(&root.join("nowhere")), None);
    }

    #[test]
    fn who_takes_over_says_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("snapshots");
        let lock = root.join(PRIVATE).join("lock");
        let reader = {
            fs::create_dir_all(root.join(PRIVATE)).unwrap();
            let _held = Fs::default().try_lock(&lock).unwrap();
            let reader = Store::attach(StoreOptions::plain(root.clone())).unwrap();
            reader.announce("two".into());
            assert_eq!(announced(&root), None);
            reader
        };
        assert!(reader.may_write());
        assert_eq!(announced(&root).as_deref(), Some("two"));
    }
}
