//! Putting right what was found, without losing anything that a person may have made.
//!
//! What is not in its place, or not what it should be, is moved to a folder of its own in `.phantom/displaced/`, under
//! the path that it had. Unfinished commits are finished by the store itself.

use std::path::{Path, PathBuf};

use crate::clock::from_unix_seconds;
use crate::error::Error;
use crate::snapshot::{Found, PRIVATE, Store};

use super::Artefact;
use super::findings::{Fault, Finding, FindingKind, Remedy, Verified};
use super::listing::shown;

impl Artefact {
    /// As [`verify`](Self::verify), and puts right what can be; what cannot says so by `fixed` being absent.
    ///
    /// # Errors
    /// Another process has the lock, or nothing can be written.
    pub fn repair(&self, each: &mut dyn FnMut(Finding)) -> Result<Verified, Error> {
        let store = self.take(
            "stop the server, or files would be moved from under what it commits; or have it drop what is damaged (`phantom-frame rm PATTERN`), which is then fetched anew",
        )?;
        let pending = self.survey.private("pending");
        store.finish();
        let left = self.survey.private("pending");
        let mut fixed = 0;
        for name in pending.iter().filter(|name| !left.contains(name)) {
            fixed += 1;
            let path = Path::new(PRIVATE).join("pending").join(name);
            each(Finding {
                kind: FindingKind::Pending,
                path: shown(&path),
                detail: "a crash left this commit unfinished".into(),
                fixed: Some("finished, or removed where it never was one".into()),
            });
        }
        let aside = Aside {
            store: &store,
            folder: folder_name(self.now()),
        };
        let mut verified = self.inspect(&mut |found, faults| {
            let mut count = 0;
            let mut gone = Vec::new();
            for fault in faults {
                let fixed = aside.put_right(&fault, &mut gone);
                count += u64::from(fixed.is_some());
                each(fault.into_finding(fixed));
            }
            aside.keep_variants(found, &gone);
            count
        });
        verified.findings += fixed;
        Ok(verified)
    }
}

impl Fault {
    /// The files that its remedy moves.
    fn moved(&self) -> impl Iterator<Item = &PathBuf> {
        let (one, other) = match self.remedy {
            Remedy::SetAside => (Some(&self.path), None),
            Remedy::SetPairAside => (Some(&self.path), self.sidecar.as_ref()),
            Remedy::Leave => (None, None),
        };
        one.into_iter().chain(other)
    }
}

struct Aside<'a> {
    store: &'a Store,
    folder: String,
}

impl Aside<'_> {
    /// What was done; nothing where it is left or would not go. Notes what is not in its place any more.
    fn put_right(&self, fault: &Fault, gone: &mut Vec<PathBuf>) -> Option<String> {
        let mut places = Vec::new();
        for path in fault.moved() {
            match self.store.set_aside(&self.folder, path) {
                Ok(place) => places.push(place),
                // Gone with another one.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot be moved aside");
                    return None;
                }
            }
            gone.push(path.clone());
        }
        let place = places.first().map(|place| shown(place));
        place
            .map(|place| format!("moved to {place}"))
            .or_else(|| fault.moved().next().map(|_| "gone".into()))
    }

    /// Variants are found through their key's own sidecar: where that went, one without a rendering takes its place.
    fn keep_variants(&self, found: &[Found], gone: &[PathBuf]) {
        let is_gone = |found: &&Found| gone.contains(&found.stem.sidecar(found.id));
        let base = found.iter().find(|found| found.id.is_none());
        let variant = found.iter().find(|found| found.id.is_some() && !is_gone(found));
        if let (Some(base), Some(variant)) = (base.filter(is_gone), variant)
            && let Err(error) = self.store.leave_names(&base.stem, &variant.sidecar)
        {
            tracing::warn!(key = base.key.line(), %error, "variants cannot be found any more");
        }
    }
}

/// `2026-11-23T01-02-03Z`: nothing is in the way, and nobody wonders when it was.
fn folder_name(now: u64) -> String {
    let time = jiff::Timestamp::try_from(from_unix_seconds(now)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}
