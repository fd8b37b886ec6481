//! What is stored, page by page, for what makes something else of the directory.

use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use http::header::HeaderMap;

use crate::config::check::SiteRules;
use crate::head::{Seal, VariantKey};

use super::Artefact;
use super::listing::{parts, path_of};

/// A stored rendering of a page that is asked for by GET.
#[derive(Debug, Clone)]
pub(crate) struct KeptPage {
    /// Path and query, as asked for.
    pub(crate) url: String,
    /// Scheme and host, where they are part of the key.
    pub(crate) host: Option<(&'static str, String)>,
    /// Fields and cookies that are part of the key.
    pub(crate) has_fields: bool,
    pub(crate) variant: VariantKey,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// File from the directory, length and seal.
    pub(crate) body: Option<(PathBuf, u64, Seal)>,
    /// No rule keeps its path from being stored.
    pub(crate) may_be_stored: bool,
}

impl Artefact {
    /// Every page, in the order of the files; what could not be read is returned.
    pub(crate) fn each_kept(&self, each: &mut dyn FnMut(KeptPage)) -> Vec<String> {
        self.each_found(&mut |found, _| {
            let is_there = self.survey.clock(&found).is_some();
            let body = found.body();
            let Some(rendering) = found.sidecar.rendering.filter(|_| is_there) else {
                return;
            };
            if &*found.sidecar.method != "GET" {
                return;
            }
            let others = parts(&found.key.text);
            let path = path_of(&found.sidecar.url);
            let rules = self.rules.of("GET", path);
            let scheme = match found.key.part("scheme") {
                Some("https") => "https",
                _ => "http",
            };
            each(KeptPage {
                host: found.key.part("host").map(|host| (scheme, host.to_owned())),
                has_fields: others.iter().any(|(name, _)| name.contains('.')),
                may_be_stored: rules.request.filters.judge("GET", path).is_ok(),
                url: found.sidecar.url.into(),
                variant: found.sidecar.variant,
                status: rendering.head.status,
                headers: rendering.head.headers,
                body: body
                    .zip(rendering.body)
                    .map(|(path, body)| (path, body.length, body.seal)),
            });
        })
    }

    /// The bytes of a body; nothing if they are not the sealed ones.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn sealed_bytes(&self, path: &Path, length: u64, seal: &Seal) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.survey.bytes_of(path, length)?;
        Ok((Seal::of(&bytes) == *seal).then_some(bytes))
    }

    /// Under which address the site is seen, and its backend's.
    pub(crate) fn site_rules(&self) -> (&SiteRules, &str) {
        (&self.rules.general().site, &self.options.backend)
    }

    /// The site's name, as configured.
    pub(crate) fn site_name(&self) -> Option<&str> {
        self.options.site.as_deref()
    }
}
