//! Stored renderings as what they are compared with: which there are, and all of one.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fsops::is_absence;
use crate::head::{RenderingOrigin, Seal, StoredHead, VariantKey};

use super::listing::selecting;
use super::{Artefact, pattern};

/// Which rendering it is.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The page, as `show` takes it.
    pub(crate) page: String,
    pub(crate) key: Box<str>,
    pub(crate) method: Box<str>,
    /// Path and query of the fill.
    pub(crate) url: Box<str>,
    pub(crate) variant: VariantKey,
    /// Names and values of the fields that select it.
    pub(crate) selecting: Vec<(String, String)>,
    /// From the directory.
    pub(crate) sidecar: PathBuf,
    /// What a person looks at.
    pub(crate) file: String,
    pub(crate) origin: RenderingOrigin,
}

/// A rendering, whole.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) head: StoredHead,
    pub(crate) length: u64,
    pub(crate) seal: Seal,
    /// Nothing where there is more than the limit.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) state: SideState,
}

/// Whether the body is what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideState {
    Sealed,
    Changed,
    Missing,
}

/// How often a pair is read again that a server may be replacing.
const LOOKS: usize = 4;

impl Artefact {
    /// Every stored rendering that matches, in the order of their files; folders that cannot be read are returned.
    ///
    /// # Errors
    /// What is no pattern.
    pub(crate) fn each_stored(
        &self,
        matching: Option<&str>,
        each: &mut dyn FnMut(Stored),
    ) -> Result<Vec<String>, Error> {
        let pattern = pattern(matching)?;
        let unread = self.each_found(&mut |found, listed| {
            if !found.is_of(|subject| pattern.is_match(subject)) {
                return;
            }
            let (Some(row), Some(rendering)) = (self.row(&found, listed), &found.sidecar.rendering) else {
                return;
            };
            each(Stored {
                page: row.page(),
                selecting: selecting(&found),
                sidecar: found.stem.sidecar(found.id),
                file: row.file,
                origin: rendering.origin,
                key: found.sidecar.key,
                method: found.sidecar.method,
                url: found.sidecar.url,
                variant: found.sidecar.variant,
            });
        });
        Ok(unread)
    }

    /// The rendering of a sidecar, with its body if that is no longer than `limit`; nothing where there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no sidecar.
    pub(crate) fn side(&self, sidecar: &Path, limit: usize) -> io::Result<Option<Side>> {
        let mut looks = 0;
        loop {
            looks += 1;
            let side = self.side_now(sidecar, limit)?;
            let is_torn = side.as_ref().is_some_and(|side| side.state != SideState::Sealed);
            // Between the two renames of a commit.
            if !is_torn || looks >= LOOKS {
                return Ok(side);
            }
            std::thread::yield_now();
        }
    }

    fn side_now(&self, path: &Path, limit: usize) -> io::Result<Option<Side>> {
        let sidecar = match self.survey.sidecar_at(path) {
            Ok(sidecar) => sidecar,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(rendering) = sidecar.rendering else {
            return Ok(None);
        };
        let mut side = Side {
            head: rendering.head,
            length: 0,
            seal: Seal::of(b""),
            body: Some(Vec::new()),
            state: SideState::Sealed,
        };
        let Some(sealed) = rendering.body else {
            return Ok(Some(side));
        };
        let file = path.with_file_name(&*sealed.file);
        if let Err(error) = self.read_body(&file, limit, &mut side) {
            side.state = SideState::Missing;
            return match is_absence(&error) {
                true => Ok(Some(side)),
                false => Err(error),
            };
        }
        if side.seal != sealed.seal {
            side.state = SideState::Changed;
        }
        Ok(Some(side))
    }

    fn read_body(&self, file: &Path, limit: usize, side: &mut Side) -> io::Result<()> {
        side.length = self.survey.stat(file)?.size();
        side.body = match side.length <= limit as u64 {
            true => Some(self.survey.bytes_of(file, limit as u64)?),
            false => None,
        };
        match &side.body {
            Some(body) => (side.seal, side.length) = (Seal::of(body), body.len() as u64),
            None => side.seal = self.survey.seal_of(file)?.0,
        }
        Ok(())
    }

    /// The name that only this directory has, if a server has given it one.
    pub(crate) fn id(&self) -> Option<String> {
        self.survey.directory_id()
    }
}
