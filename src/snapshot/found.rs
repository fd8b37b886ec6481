//! A snapshot as a lookup finds it: parsed and checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use http::{HeaderValue, header};

use crate::fsops::{FileId, Fs};
use crate::head::{Rendering, VariantKey};

/// A stored response, checked.
pub(crate) struct Snapshot {
    /// `METHOD:/path?query`.
    pub(crate) own: Box<str>,
    pub(crate) variant: VariantKey,
    pub(crate) rendering: Rendering,
    pub(crate) body: Option<BodyFile>,
    /// The response's own, or one from the seal.
    pub(crate) etag: Option<HeaderValue>,
    pub(super) sidecar: FileId,
    /// What the file service calls the checked state of the body file, once it has been seen to.
    file_tag: OnceLock<HeaderValue>,
    fs: Fs,
}

impl Snapshot {
    pub(super) fn new(
        own: Box<str>,
        variant: VariantKey,
        rendering: Rendering,
        body: Option<BodyFile>,
        sidecar: FileId,
        fs: Fs,
    ) -> Self {
        let etag = rendering.head.headers.get(header::ETAG).cloned();
        Self {
            etag: etag.or_else(|| etag_of_seal(&rendering)),
            own,
            variant,
            rendering,
            body,
            sidecar,
            file_tag: OnceLock::new(),
            fs,
        }
    }

    /// Whether the body file is as it was when its seal was checked. Asked before the file service opens
    /// it, which would wait for ever for the other end of a pipe.
    pub(crate) async fn is_unchanged(&self) -> bool {
        let Some(body) = self.body.clone() else {
            return true;
        };
        let fs = self.fs.clone();
        let state =
            tokio::task::spawn_blocking(move || fs.stat(&body.path).is_ok_and(|id| id == body.id)).await;
        state.unwrap_or(false)
    }

    /// Whether `tag`, the file service's own name for the state of the file that it opened (from length
    /// and time), is that of the file whose seal was checked. Its form is its own affair: it is learnt
    /// from the first file that is still in the checked state.
    pub(crate) async fn is_of_checked_file(&self, tag: &HeaderValue) -> bool {
        if let Some(known) = self.file_tag.get() {
            return known == tag;
        }
        let is_same = self.is_unchanged().await;
        if is_same {
            // Another request may have learnt it first.
            let _ = self.file_tag.set(tag.clone());
        }
        is_same
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// The body file, in the state in which its seal was found right.
#[derive(Debug, Clone)]
pub(crate) struct BodyFile {
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
}

/// Where the response has no entity tag, the seal makes one, on which every node and checkout agrees.
fn etag_of_seal(rendering: &Rendering) -> Option<HeaderValue> {
    let body = rendering.body.as_ref()?;
    HeaderValue::from_str(&format!("\"{}\"", &body.seal.hex()[..32])).ok()
}
