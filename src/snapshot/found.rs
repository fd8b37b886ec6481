//! A snapshot as a lookup finds it: parsed and checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderValue, header};

use crate::fsops::{FileId, FileStamp, Fs};
use crate::head::{Rendering, Seal, VariantKey};

use super::forms::Forms;
use super::hot::Piece;

/// A stored response, checked.
pub(crate) struct Snapshot {
    /// `METHOD:/path?query`.
    pub(crate) own: Box<str>,
    pub(crate) variant: VariantKey,
    pub(crate) rendering: Rendering,
    pub(crate) body: Option<Arc<BodyFile>>,
    /// The response's own, or one from the seal.
    pub(crate) etag: Option<HeaderValue>,
    pub(super) sidecar: FileId,
    /// The same, as the index has it.
    pub(super) stamp: FileStamp,
    /// The body in codings.
    pub(crate) forms: Forms,
}

impl Snapshot {
    pub(super) fn new(
        own: Box<str>,
        variant: VariantKey,
        rendering: Rendering,
        body: Option<BodyFile>,
        sidecar: FileId,
    ) -> Self {
        let etag = rendering.head.headers.get(header::ETAG).cloned();
        Self {
            etag: etag.or_else(|| etag_of_seal(&rendering)),
            own,
            variant,
            rendering,
            body: body.map(Arc::new),
            sidecar,
            stamp: sidecar.stamp(),
            forms: Forms::default(),
        }
    }

    /// Seal and length of the body.
    pub(crate) fn sealed(&self) -> Option<(Seal, u64)> {
        let body = self.rendering.body.as_ref()?;
        Some((body.seal, body.length))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// A file of a body, as it is or coded, in the state in which its bytes were found right.
pub(crate) struct BodyFile {
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    /// What it holds.
    pub(crate) piece: Piece,
    /// What the file service calls this state of the file, once it has been seen to.
    tag: OnceLock<HeaderValue>,
    /// Its snapshot was dropped from memory. Its coded forms share it.
    is_retired: Arc<AtomicBool>,
    fs: Fs,
}

impl BodyFile {
    pub(super) fn new(path: PathBuf, id: FileId, piece: Piece, fs: Fs) -> Self {
        Self {
            path,
            id,
            piece,
            tag: OnceLock::new(),
            is_retired: Arc::default(),
            fs,
        }
    }

    /// A coded form of it.
    pub(super) fn form(&self, path: PathBuf, id: FileId, piece: Piece) -> Self {
        Self {
            is_retired: Arc::clone(&self.is_retired),
            ..Self::new(path, id, piece, self.fs.clone())
        }
    }

    /// Whether the file is as it was when it was checked. Asked before the file service opens
    /// it, which would wait for ever for the other end of a pipe.
    pub(crate) async fn is_unchanged(self: &Arc<Self>) -> bool {
        let body = Arc::clone(self);
        let look = move || body.fs.stat(&body.path).is_ok_and(|id| id == body.id);
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    }

    /// Whether `tag`, the file service's own name for the state of the file that it opened (from length
    /// and time), is that of the file that was checked. Its form is its own affair: it is learnt
    /// from the first file that is still in the checked state.
    pub(crate) async fn is_of_checked_file(self: &Arc<Self>, tag: &HeaderValue) -> bool {
        if let Some(known) = self.tag.get() {
            return known == tag;
        }
        let is_same = self.is_unchanged().await;
        if is_same {
            // Another request may have learnt it first.
            let _ = self.tag.set(tag.clone());
        }
        is_same
    }

    /// All of it; nothing if it is another file by now. Blocks.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        self.fs.read_whole(&self.path, &self.id).ok().flatten()
    }

    /// The same where nothing has to be waited for.
    pub(super) fn read_now(&self) -> Option<Vec<u8>> {
        self.fs.read_now(&self.path, &self.id)
    }

    /// From now on its bytes are not held in memory.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for BodyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Where the response has no entity tag, the seal makes one, on which every node and checkout agrees.
fn etag_of_seal(rendering: &Rendering) -> Option<HeaderValue> {
    let body = rendering.body.as_ref()?;
    HeaderValue::from_str(&format!("\"{}\"", &body.seal.hex()[..32])).ok()
}
