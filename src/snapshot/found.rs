//! A snapshot as a lookup finds it: parsed and checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, header};

use crate::fsops::{FileId, Fs};
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
    fs: Fs,
}

impl BodyFile {
    pub(super) fn new(path: PathBuf, id: FileId, piece: Piece, fs: Fs) -> Self {
        Self {
            path,
            id,
            piece,
            tag: OnceLock::new(),
            fs,
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

    /// All of it, opened, compared and read in one job; nothing if it is another file by now.
    pub(crate) async fn read(self: &Arc<Self>) -> Option<Bytes> {
        let body = Arc::clone(self);
        let read = move || {
            let (bytes, id) = body.fs.read_small(&body.path, body.id.size()).ok()?;
            (id == body.id && bytes.len() as u64 == id.size()).then(|| Bytes::from(bytes))
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
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
