//! What there is: a row for each stored rendering.

use std::path::Path;

use crate::error::Error;
use crate::head::{Generated, Rendering, RenderingOrigin};
use crate::key::parts_of;
use crate::policy::freshness::{Lifetime, Stated};
use crate::policy::reuse::{Reuse, Standing, may_serve_stale, reuse_rendering};
use crate::snapshot::{Entry, Found, Listed, Odd};

use super::{Artefact, pattern};

/// A stored rendering, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// What patterns see: `GET:/path?query`, or what a key function returned.
    pub line: String,
    /// What else the key has, by name: host, scheme, fields, cookies (hashed).
    pub parts: Vec<(String, String)>,
    /// The fields that select this rendering among others, with their values; none in the one for everybody else.
    pub variant: Vec<(String, String)>,
    /// The status code.
    pub status: u16,
    /// What the backend tagged it with, sorted.
    pub tags: Vec<String>,
    /// Length of the body.
    pub bytes: u64,
    /// Whether it may be used.
    pub freshness: Freshness,
    /// Whose settings it is judged by: `server`, or the `[[rule]]`.
    pub rule: String,
    /// The body's file, or the sidecar's where there is no body; from the directory.
    pub file: String,
    /// The body's file is not there.
    pub is_torn: bool,
}

/// Whether a rendering may be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freshness {
    /// In a word.
    pub state: State,
    /// Seconds since the origin generated it, where that is known.
    pub age: Option<u64>,
    /// Seconds for which it is still fresh, negative for which it has not been; `None` is until invalidated, or that
    /// nothing says.
    pub left: Option<i64>,
    /// Its lifetime in seconds; `None` is until invalidated.
    pub lifetime: Option<u64>,
    /// Who gave the lifetime.
    pub given_by: &'static str,
    /// It would be served if the backend could not be reached.
    pub serves_when_down: bool,
    /// When it was generated, in seconds since 1970, where that is known.
    pub generated: Option<u64>,
}

/// In what state a rendering is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum State {
    /// Answers.
    Fresh,
    /// Its lifetime is over; answers, and is renewed behind the answer.
    WhileRevalidated,
    /// Its lifetime is over.
    Stale,
    /// It is asked about each time.
    NoCache,
    /// It has a lifetime, and another program set its time: nobody knows whether it is over.
    Unmarked,
    /// Invalidated and kept, to be asked about.
    Invalidated,
}

impl Row {
    /// The page, as `show` takes it: its URL where the host is part of the key, else its path, or its key.
    pub fn page(&self) -> String {
        page_of(&self.line, &self.parts)
    }
}

pub(super) fn page_of(line: &str, parts: &[(String, String)]) -> String {
    let part = |name: &str| {
        let found = parts.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    };
    match (line.strip_prefix("GET:"), part("scheme"), part("host")) {
        (Some(target), Some(scheme), Some(host)) if target.starts_with('/') => {
            format!("{scheme}://{host}{target}")
        }
        (Some(target), ..) if target.starts_with('/') => target.to_owned(),
        _ => line.to_owned(),
    }
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::WhileRevalidated => "stale-while-revalidate",
            Self::Stale => "stale",
            Self::NoCache => "no-cache",
            Self::Unmarked => "unmarked",
            Self::Invalidated => "invalidated",
        }
    }
}

impl Artefact {
    /// Every stored rendering that matches, in the order of their files; folders that cannot be read are returned.
    ///
    /// # Errors
    /// What is no pattern.
    pub fn list(&self, matching: Option<&str>, each: &mut dyn FnMut(Row)) -> Result<Vec<String>, Error> {
        let pattern = pattern(matching)?;
        Ok(self.each_sidecar(|listed, _, found| {
            // What is no sidecar of a page is for `verify` to say.
            let found = found.ok();
            let found = found.filter(|found| found.is_of(|subject| pattern.is_match(subject)));
            if let Some(row) = found.and_then(|found| self.row(&found, listed)) {
                each(row);
            }
            None
        }))
    }

    /// Every sidecar that can be read, in the order of the files. What cannot be is returned, but for what went meanwhile.
    #[cfg(feature = "cli")]
    pub(super) fn each_found(&self, each: &mut dyn FnMut(Found, &Listed)) -> Vec<String> {
        self.each_sidecar(|listed, entry, found| {
            let path = || shown(&listed.path().join(&entry.name));
            match found {
                Ok(found) => {
                    each(found, listed);
                    None
                }
                Err(Odd::Gone) => None,
                Err(Odd::Unreadable(error)) => Some(format!("{}: {error}", path())),
                Err(Odd::NotASidecar(_) | Odd::Misplaced(_)) => {
                    Some(format!("{}: not a page's sidecar", path()))
                }
            }
        })
    }

    /// Everything that is called a sidecar, in the order of the files. What there is to say of it is returned, with the
    /// folders that cannot be read.
    fn each_sidecar(
        &self,
        mut look: impl FnMut(&Listed, &Entry, Result<Found, Odd>) -> Option<String>,
    ) -> Vec<String> {
        let mut bytes = Vec::new();
        let mut unread = Vec::new();
        self.survey.each_folder(&mut |listed| match listed {
            Ok(listed) => {
                let sidecars = listed.entries().iter().filter(|entry| entry.is_sidecar());
                unread.extend(sidecars.filter_map(|entry| {
                    let found = self.survey.read(listed, &entry.name, &mut bytes);
                    look(listed, entry, found)
                }));
            }
            Err((path, error)) => unread.push(format!("{}: {error}", shown(path))),
        });
        unread
    }

    /// Nothing where there is no rendering.
    pub(super) fn row(&self, found: &Found, listed: &Listed) -> Option<Row> {
        let rendering = found.sidecar.rendering.as_ref()?;
        let generated = self.survey.clock(found)?;
        let body = rendering.body.as_ref();
        let rules = self.rules.of(&found.sidecar.method, path_of(&found.sidecar.url));
        let line = found.key.line();
        Some(Row {
            line: line.to_owned(),
            parts: parts(&found.key.text),
            variant: selecting(found),
            status: rendering.head.status.as_u16(),
            tags: rendering.head.tags.iter().map(str::to_owned).collect(),
            bytes: body.map_or(0, |body| body.length),
            freshness: self.freshness(found, rendering, generated),
            rule: rules.origin.to_string(),
            file: shown(&found.body().unwrap_or_else(|| found.stem.sidecar(found.id))),
            is_torn: body.is_some_and(|body| !listed.has(&body.file)),
        })
    }

    fn freshness(&self, found: &Found, rendering: &Rendering, generated: Generated) -> Freshness {
        let rules = self.rules.of(&found.sidecar.method, path_of(&found.sidecar.url));
        let lifetimes = &rules.store.lifetimes;
        let head = &rendering.head;
        let judged = reuse_rendering(rendering, generated, self.now(), lifetimes);
        let standing = judged.standing();
        let born = match generated {
            Generated::At(seconds) => Some(seconds),
            Generated::Unmarked | Generated::Invalidated => None,
        };
        let given_by = match Lifetime::of(&Stated::by(head, born), lifetimes) {
            _ if rendering.origin == RenderingOrigin::Operator => "`tombstone`",
            Lifetime::Explicit(_) => "the backend",
            Lifetime::Heuristic(_) => "a tenth of the time for which it has not changed",
            Lifetime::Granted(_) if lifetimes.ttl_of(head.status).is_some() => "`ttl`",
            Lifetime::Granted(_) => "`default_ttl`",
        };
        let is_usable = !matches!(judged, Reuse::Validate(_));
        Freshness {
            state: state(judged, generated, &standing),
            age: born.map(|_| standing.age),
            left: born.and(standing.ttl),
            lifetime: standing.lifetime,
            given_by,
            serves_when_down: is_usable || may_serve_stale(head, generated, &standing, lifetimes),
            generated: born,
        }
    }
}

fn state(judged: Reuse, generated: Generated, standing: &Standing) -> State {
    match (judged, generated) {
        (Reuse::Fresh(_), _) => State::Fresh,
        (Reuse::WhileRevalidated(_), _) => State::WhileRevalidated,
        (Reuse::Validate(_), Generated::Unmarked) => State::Unmarked,
        (Reuse::Validate(_), Generated::Invalidated) => State::Invalidated,
        (Reuse::Validate(_), Generated::At(_)) if standing.staleness().is_some() => State::Stale,
        (Reuse::Validate(_), Generated::At(_)) => State::NoCache,
    }
}

pub(super) fn selecting(found: &Found) -> Vec<(String, String)> {
    let fields = found.sidecar.variant.0.iter();
    fields
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.as_deref()?.to_owned())))
        .collect()
}

/// What follows line 1 of a key text.
pub(super) fn parts(text: &str) -> Vec<(String, String)> {
    parts_of(text)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The path of a URL that a fill asked for.
pub(super) fn path_of(url: &str) -> &str {
    url.split_once('?').map_or(url, |(path, _)| path)
}

pub(super) fn shown(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => ".".into(),
        false => path.to_string_lossy().into_owned(),
    }
}
