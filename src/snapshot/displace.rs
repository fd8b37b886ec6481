//! What stands in a snapshot's place and is not ours is moved aside, never destroyed.

use std::io;
use std::path::Path;

use crate::fsops::EntryKind;
use crate::head::{Seal, Sidecar, VariantId};

use super::Store;
use super::layout::Stem;

impl Store {
    /// A body that another program wrote is moved aside before ours replaces it, and so is what is no file.
    pub(super) fn displace_foreign(
        &self,
        stem: &Stem,
        id: Option<VariantId>,
        path: &Path,
        old: Option<&Sidecar>,
    ) -> io::Result<()> {
        let (mut file, found) = match self.fs.open(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return self.displace_odd((stem, id), path);
            }
            Err(error) => return Err(error),
        };
        let seal = Seal(self.fs.hash(&mut file, path)?.0);
        let sealed = old.and_then(|old| old.rendering.as_ref()?.body.as_ref());
        // Or it is the one before, of a commit that a crash cut in two.
        let is_ours = sealed.is_some_and(|sealed| {
            sealed.seal == seal
                || self
                    .fs
                    .stat(&self.root.join(stem.pending(id, &sealed.seal)))
                    .is_ok()
        });
        if is_ours {
            return Ok(());
        }
        let aside = self.root.join(stem.displaced(id, &seal));
        self.bound_displaced(found.size())?;
        self.fs.rename(path, &aside)?;
        tracing::warn!(
            path = %path.display(),
            moved_to = %aside.display(),
            "a snapshot's body was changed by hand; it is kept aside"
        );
        Ok(())
    }

    /// Removes a file; a folder in its place is moved aside.
    pub(super) fn remove_or_displace(
        &self,
        rendering: (&Stem, Option<VariantId>),
        path: &Path,
    ) -> io::Result<()> {
        match self.fs.remove_file(path) {
            Err(_) if self.fs.is_folder(path) => self.displace_odd(rendering, path),
            result => result,
        }
    }

    pub(super) fn displace_folder(
        &self,
        rendering: (&Stem, Option<VariantId>),
        path: &Path,
    ) -> io::Result<()> {
        match self.fs.is_folder(path) {
            true => self.displace_odd(rendering, path),
            false => Ok(()),
        }
    }

    /// Moves aside what is no regular file, whatever it is: it is neither opened nor followed, and nothing
    /// else could be stored or deleted under its name.
    fn displace_odd(&self, (stem, id): (&Stem, Option<VariantId>), path: &Path) -> io::Result<()> {
        let state = self.fs.stat(path)?;
        let aside = self
            .root
            .join(stem.displaced(id, &Seal::of(format!("{state:?}").as_bytes())));
        self.bound_displaced(0)?;
        self.fs.rename(path, &aside)?;
        tracing::warn!(
            path = %path.display(),
            moved_to = %aside.display(),
            "what stood in a snapshot's place was no file; it is kept aside"
        );
        Ok(())
    }

    /// Room for one more displaced body: at most so many files and bytes, the oldest go first. The one
    /// that comes is kept, whatever its size.
    fn bound_displaced(&self, coming: u64) -> io::Result<()> {
        const MOST: usize = 1000;
        let entries = match self.fs.read_dir(&self.private("displaced")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut aged: Vec<_> = entries
            .into_iter()
            // Whoever put a folder in a file's place takes it away.
            .filter(|entry| entry.kind != EntryKind::Directory)
            .filter_map(|entry| {
                let file = self.fs.stat(&entry.path).ok()?;
                Some((file.changed_at(), file.size(), entry.path))
            })
            .collect();
        aged.sort();
        let mut files = aged.len();
        let mut bytes = aged
            .iter()
            .fold(coming, |sum, (_, size, _)| sum.saturating_add(*size));
        for (_, size, path) in &aged {
            if files < MOST && bytes <= self.options.bounds.displaced() {
                return Ok(());
            }
            self.fs.remove_file(path)?;
            files -= 1;
            bytes = bytes.saturating_sub(*size);
        }
        Ok(())
    }
}
