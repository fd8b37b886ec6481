//! Keeping the directory: what a crash left, what is too much, what was changed by hand, what is gone for good.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::error::{Error, ErrorKind};
use crate::head::{Ready, Rendering, RenderingOrigin, Sidecar, StoredHead, VariantKey};
use crate::key::Key;
use crate::snapshot::{Found, Resealed, Store};
use crate::tags::Tags;

use super::listing::shown;
use super::{Artefact, pattern};

/// What `collect` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Renderings that are stored now.
    pub snapshots: u64,
    /// Unfinished commits that were finished, or removed where they never were any.
    pub pending: u64,
    /// Temporary files of dead processes that went.
    pub temporaries: u64,
    /// Compressed forms of bodies that are there no more.
    pub forms: u64,
    /// Renderings that went because there were more than there may be.
    pub evicted: u64,
    /// Something could not be read: it, and what invalidations have yet to remove, is as it was.
    pub is_partial: bool,
}

/// A body that was sealed as it is, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sealed {
    /// What patterns see of its key.
    pub line: String,
    /// Its file, from the directory.
    pub file: String,
    /// Its length; or what was in the way.
    pub result: Result<u64, String>,
}

/// What stands in a page's place for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tombstone {
    /// 410 (RFC 9110 §15.5.11).
    Gone,
    /// 301 (§15.4.2), to this address.
    Moved(String),
}

impl Artefact {
    /// Finishes what a crash left, sweeps what is nobody's, and evicts what is over `disk_limit` and
    /// `max_snapshots`.
    ///
    /// # Errors
    /// Another process has the lock, or nothing can be written.
    pub fn collect(&self) -> Result<Collected, Error> {
        let count = || ["tmp", "pending"].map(|name| self.survey.private(name).len() as u64);
        let [tmp, pending] = count();
        let store =
            self.take("no control server answers where its `.phantom/server.json` says; a server finishes, sweeps and evicts by itself: stop it to have it done from here")?;
        let collected = self.collect_by(&store, |store| store.may_evict());
        let [tmp_left, pending_left] = count();
        Ok(Collected {
            pending: pending.saturating_sub(pending_left),
            temporaries: tmp.saturating_sub(tmp_left),
            ..collected
        })
    }

    /// The same by a store that is there already, in which what lies in `tmp/` and `pending/` may be under way.
    /// `finished` hears of it before anything is evicted.
    pub(crate) fn collect_by(&self, store: &Arc<Store>, finished: impl FnOnce(&Store)) -> Collected {
        let forms = self.forms_there();
        // What there is before anything is evicted.
        let is_whole = store.finish();
        let found = store.count();
        finished(store);
        store.make_room_and_wait();
        Collected {
            snapshots: store.count() as u64,
            forms: forms.saturating_sub(self.forms_there()),
            evicted: found.saturating_sub(store.count()) as u64,
            is_partial: !is_whole,
            ..Collected::default()
        }
    }

    fn forms_there(&self) -> u64 {
        let folders = self.survey.private("derived").into_iter();
        let there = folders.map(|folder| {
            let folder = PathBuf::from("derived").join(folder);
            self.survey.private(&folder.to_string_lossy()).len() as u64
        });
        there.sum()
    }

    /// Seals bodies as they are where they are not what their sidecars say: hand edits are accepted.
    ///
    /// # Errors
    /// What is no pattern; another process has the lock, or nothing can be written.
    pub fn reseal(&self, matching: Option<&str>, each: &mut dyn FnMut(Sealed)) -> Result<(), Error> {
        pattern(matching)?;
        let store = self.take(
            "no control server answers where its `.phantom/server.json` says: stop the server, seal what was changed, and start it again; what is not sealed it moves to `.phantom/displaced/` when it has the page fetched anew",
        )?;
        self.reseal_by(&store, matching, each)
    }

    /// The same, by a store that has the lock.
    pub(crate) fn reseal_by(
        &self,
        store: &Arc<Store>,
        matching: Option<&str>,
        each: &mut dyn FnMut(Sealed),
    ) -> Result<(), Error> {
        let pattern = pattern(matching)?;
        let mut bytes = Vec::new();
        self.survey.each_folder(&mut |listed| {
            let Ok(listed) = listed else {
                return;
            };
            for entry in listed.entries().iter().filter(|entry| entry.is_sidecar()) {
                let found = self.survey.read(listed, &entry.name, &mut bytes).ok();
                let found = found.filter(|found| found.is_of(|subject| pattern.is_match(subject)));
                if let Some(found) = found
                    && let Some(result) = result(store.reseal(&found))
                {
                    each(sealed(&found, result));
                }
            }
        });
        Ok(())
    }

    /// Puts a tombstone in the place of a page, whether it is there or not. Returns the sidecar's file.
    ///
    /// # Errors
    /// What is no address or names no single page, a location that is none, or a disk that refuses.
    pub fn tombstone(&self, url: &str, tombstone: &Tombstone) -> Result<String, Error> {
        let (key, sidecar) = self.stone(url, tombstone)?;
        self.entomb(&self.attach()?, &key, &sidecar)
    }

    /// The same, by a store that is there already.
    #[cfg(feature = "cli")]
    pub(crate) fn tombstone_by(
        &self,
        store: &Arc<Store>,
        url: &str,
        tombstone: &Tombstone,
    ) -> Result<String, Error> {
        let (key, sidecar) = self.stone(url, tombstone)?;
        let placed = self.entomb(store, &key, &sidecar);
        store.take_note_of(&key);
        placed
    }

    fn stone(&self, url: &str, tombstone: &Tombstone) -> Result<(Key, Sidecar), Error> {
        let address = self.address(url)?;
        let Some(key) = &address.exact else {
            let context = format!("`{url}` does not say whose page: the host is part of the key");
            return Err(Error::new(ErrorKind::Config, context)
                .with_hint("write the full URL (\"https://example.com/path\"), or set `public_url`"));
        };
        let line = key.line();
        let (method, target) = line.split_once(':').unwrap_or(("GET", line));
        let sidecar = Sidecar {
            key: key.text.clone(),
            method: method.into(),
            url: target.into(),
            site: self.options.site.as_deref().map(Into::into),
            variant: VariantKey::default(),
            rendering: Some(Rendering {
                head: tombstone.head()?,
                body: None,
                origin: RenderingOrigin::Operator,
            }),
        };
        Ok((key.clone(), sidecar))
    }

    fn entomb(&self, store: &Arc<Store>, key: &Key, sidecar: &Sidecar) -> Result<String, Error> {
        let placed = store.entomb(key, sidecar);
        placed
            .map(|path| shown(&path))
            .map_err(|error| Error::directory("put a tombstone in", self.directory(), error))
    }
}

impl Tombstone {
    fn head(&self) -> Result<StoredHead, Error> {
        let mut headers = HeaderMap::new();
        let status = match self {
            Self::Gone => StatusCode::GONE,
            Self::Moved(location) => {
                let wrong = |_| {
                    Error::new(ErrorKind::Config, format!("`{location}` cannot be a location"))
                        .with_hint("write a path or a URL")
                };
                let _: http::Uri = location.parse().map_err(wrong)?;
                let value = HeaderValue::from_str(location);
                headers.insert(header::LOCATION, value.unwrap_or(HeaderValue::from_static("/")));
                StatusCode::MOVED_PERMANENTLY
            }
        };
        Ok(StoredHead {
            status,
            headers,
            expires_after: None,
            tags: Tags::default(),
            ready: Ready::default(),
        })
    }
}

fn sealed(found: &Found, result: Result<u64, String>) -> Sealed {
    let file = found.body().unwrap_or_else(|| found.stem.sidecar(found.id));
    Sealed {
        line: found.key.line().to_owned(),
        file: shown(&file),
        result,
    }
}

/// Nothing where there was nothing to do.
fn result(resealed: std::io::Result<Resealed>) -> Option<Result<u64, String>> {
    match resealed {
        Ok(Resealed::AsItWas) => None,
        Ok(Resealed::Anew { length }) => Some(Ok(length)),
        Ok(Resealed::Pending) => Some(Err("its commit is not finished: `gc` finishes it".into())),
        Ok(Resealed::Changed) => Some(Err(
            "it was changed meanwhile: look at it and run `reseal` again".into()
        )),
        Ok(Resealed::Absent) => Some(Err("there is no body".into())),
        Err(error) => Some(Err(error.to_string())),
    }
}
