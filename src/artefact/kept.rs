//! What is stored, page by page, for what makes something else of the directory.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

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
    /// Those of its fields that were asked for. Most pages of a site have the same, and then they are held once.
    pub(crate) head_fields: Arc<[(HeaderName, HeaderValue)]>,
    /// Its bytes are in a coding.
    pub(crate) is_coded: bool,
    /// Where it leads, if that is text.
    pub(crate) location: Option<String>,
    /// Its sidecar, from the directory.
    pub(crate) sidecar: PathBuf,
    /// File beside the sidecar, length and seal.
    pub(crate) body: Option<(Box<str>, u64, Seal)>,
    /// No rule keeps its path from being stored.
    pub(crate) may_be_stored: bool,
}

impl KeptPage {
    pub(crate) fn content_type(&self) -> Option<&HeaderValue> {
        let mut fields = self.head_fields.iter();
        fields.find_map(|(name, value)| (*name == header::CONTENT_TYPE).then_some(value))
    }
}

impl Artefact {
    /// Every page, in the order of the files, with the fields that are `of_use`, its type among them; what could not be
    /// read is returned.
    pub(crate) fn each_kept(
        &self,
        of_use: &dyn Fn(&HeaderName) -> bool,
        each: &mut dyn FnMut(KeptPage),
    ) -> Vec<String> {
        let mut met: HashSet<Arc<[(HeaderName, HeaderValue)]>> = HashSet::new();
        self.each_found(&mut |found, _| {
            let is_there = self.survey.clock(&found).is_some();
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
            let headers = &rendering.head.headers;
            let location = headers.get(header::LOCATION);
            let fields = headers.iter().filter(|(name, _)| of_use(name));
            let fields: Vec<_> = fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let fields = met.get(&*fields).cloned().unwrap_or_else(|| {
                let fields: Arc<[_]> = fields.into();
                met.insert(Arc::clone(&fields));
                fields
            });
            each(KeptPage {
                head_fields: fields,
                is_coded: headers.contains_key(header::CONTENT_ENCODING),
                location: location.and_then(|value| Some(value.to_str().ok()?.to_owned())),
                sidecar: found.stem.sidecar(found.id),
                host: found.key.part("host").map(|host| (scheme, host.to_owned())),
                has_fields: others.iter().any(|(name, _)| name.contains('.')),
                may_be_stored: rules.request.filters.judge("GET", path).is_ok(),
                url: found.sidecar.url.into(),
                variant: found.sidecar.variant,
                status: rendering.head.status,
                body: rendering.body.map(|body| (body.file, body.length, body.seal)),
            });
        })
    }

    /// The bytes of a page's body; nothing if they are not the sealed ones.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn bytes_of(&self, page: &KeptPage) -> io::Result<Option<Vec<u8>>> {
        let Some((file, length, seal)) = &page.body else {
            return Ok(Some(Vec::new()));
        };
        let path = page.sidecar.with_file_name(&**file);
        let bytes = self.survey.bytes_of(&path, *length)?;
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
