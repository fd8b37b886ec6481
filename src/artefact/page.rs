//! All of one page: its head, its seal, its files.

use std::io;

use crate::clock::http_date;
use crate::coding::Coding;
use crate::error::Error;
use crate::snapshot::{Found, Listed};

use super::Artefact;
use super::listing::{Row, shown};

/// A stored rendering, whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// As a list has it.
    pub row: Row,
    /// The whole key text.
    pub key: String,
    /// What the fill asked for.
    pub url: String,
    /// The site that it was stored for.
    pub site: Option<String>,
    /// The fields by which renderings of this key differ.
    pub varies_by: Vec<String>,
    /// The stored fields, one a line.
    pub headers: Vec<(String, String)>,
    /// When it was generated, as HTTP writes it.
    pub generated: Option<String>,
    /// The sidecar's file, from the directory.
    pub sidecar: String,
    /// blake3 of the body, as the sidecar seals it.
    pub seal: Option<String>,
    /// What became of the body.
    pub body: BodyState,
    /// Its compressed forms.
    pub forms: Vec<CodedForm>,
}

/// Whether a body is what its sidecar seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyState {
    /// The response has none.
    None,
    /// It is.
    Sealed,
    /// It was changed since: it is not served.
    Changed,
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable,
}

impl BodyState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sealed => "sealed",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A compressed form of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CodedForm {
    /// `br`, `zstd` or `gzip`.
    pub coding: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its file, from the directory.
    pub file: String,
}

impl Artefact {
    /// Every rendering that is stored under an address, the one without a variant first.
    ///
    /// # Errors
    /// What is no address, or one under which nothing is stored.
    pub fn show(&self, url: &str) -> Result<Vec<Page>, Error> {
        let address = self.address(url)?;
        let mut pages = Vec::new();
        self.find(&address, &mut |found, listed| {
            pages.extend(self.page(&found, listed))
        })?;
        match pages.is_empty() {
            true => Err(self.absent(&address)),
            false => Ok(pages),
        }
    }

    /// The bytes of a page's body, as they are.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn body(&self, page: &Page) -> Result<Vec<u8>, Error> {
        let read = match page.body {
            BodyState::None => Ok(Vec::new()),
            _ => self.survey.bytes_of(page.row.file.as_ref(), u64::MAX >> 1),
        };
        read.map_err(|error| {
            let path = self.directory().join(&page.row.file);
            Error::directory("read the body", path, error)
        })
    }

    fn page(&self, found: &Found, listed: &Listed) -> Option<Page> {
        let row = self.row(found, listed)?;
        let rendering = found.sidecar.rendering.as_ref()?;
        let fields = rendering.head.headers.iter();
        let names = found.sidecar.variant.names();
        Some(Page {
            key: found.key.text.to_string(),
            url: found.sidecar.url.to_string(),
            site: found.sidecar.site.as_deref().map(str::to_owned),
            varies_by: names.iter().map(|name| name.as_str().to_owned()).collect(),
            headers: fields
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.as_str().to_owned(), value.into_owned())
                })
                .collect(),
            generated: row.freshness.generated.map(http_date),
            sidecar: shown(&found.stem.sidecar(found.id)),
            seal: rendering.body.as_ref().map(|body| body.seal.hex()),
            body: self.body_state(found),
            forms: self.forms(found),
            row,
        })
    }

    pub(super) fn body_state(&self, found: &Found) -> BodyState {
        let rendering = found.sidecar.rendering.as_ref();
        let sealed = rendering.and_then(|rendering| rendering.body.as_ref());
        let (Some(sealed), Some(path)) = (sealed, found.body()) else {
            return BodyState::None;
        };
        match self.survey.seal_of(&path) {
            Ok((seal, _)) if seal == sealed.seal => BodyState::Sealed,
            Ok(_) => BodyState::Changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BodyState::Missing,
            Err(_) => BodyState::Unreadable,
        }
    }

    fn forms(&self, found: &Found) -> Vec<CodedForm> {
        let rendering = found.sidecar.rendering.as_ref();
        let Some(sealed) = rendering.and_then(|rendering| rendering.body.as_ref()) else {
            return Vec::new();
        };
        let form = |coding: Coding| {
            let path = found.stem.derived(found.id, sealed.seal.first_bits(), coding);
            let file = self.survey.stat(&path).ok()?;
            Some(CodedForm {
                coding: coding.token(),
                bytes: file.size(),
                file: shown(&path),
            })
        };
        Coding::ALL.into_iter().filter_map(form).collect()
    }
}
