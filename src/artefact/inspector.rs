//! Looking for what is wrong: every file is looked at, every seal compared.
//!
//! A server may be at work in it. What was changed a moment ago is looked at again before it is said.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::system_now;
use crate::fsops::{EntryKind, is_absence};
use crate::head::SealedBody;
use crate::snapshot::{Entry, Found, Listed, MARKER, Odd, PRIVATE, Survey, parse_file_name};

use super::Artefact;
use super::findings::{Fault, Finding, FindingKind, Remedy, Verified};
use super::listing::shown;

/// The files of one key, judged.
struct Judged {
    faults: Vec<Fault>,
    /// Renderings and placeholders that are in their place, faults or not.
    found: Vec<Found>,
    bytes: u64,
}

/// Looks the directory through.
struct Inspector<'a> {
    survey: &'a Survey,
    site: Option<&'a str>,
    /// How often something is still looked at again.
    patience: u32,
    bytes: Vec<u8>,
    /// Files of unfinished commits that were told of.
    told: Vec<PathBuf>,
}

/// After which what was changed is taken as it is.
const SETTLING: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(50);

impl Artefact {
    /// Looks at every file, compares every seal, and tells of what is wrong.
    pub fn verify(&self, each: &mut dyn FnMut(Finding)) -> Verified {
        self.inspect(&mut |_, faults| {
            for fault in faults {
                each(fault.into_finding(None));
            }
            0
        })
    }

    /// As [`verify`](Self::verify); `each` is given the faults of a key, a folder or the directory, and says how many of them it
    /// has put right.
    pub(super) fn inspect(&self, each: &mut dyn FnMut(&[Found], Vec<Fault>) -> u64) -> Verified {
        let mut inspector = Inspector {
            survey: &self.survey,
            site: self.options.site.as_deref(),
            patience: 3 * u32::try_from(SETTLING.as_millis() / STEP.as_millis()).unwrap_or(0),
            bytes: Vec::new(),
            told: Vec::new(),
        };
        let mut verified = Verified::default();
        let mut tell = |verified: &mut Verified, found: &[Found], faults: Vec<Fault>| {
            if !faults.is_empty() {
                let count = faults.len() as u64;
                verified.findings += count;
                verified.left += count.saturating_sub(each(found, faults));
            }
        };
        self.survey.each_folder(&mut |listed| {
            let listed = match listed {
                Ok(listed) => listed,
                Err((path, error)) => {
                    let detail = format!("the folder cannot be read: {error}");
                    let fault = Fault::new(FindingKind::Unreadable, path.into(), Remedy::Leave, detail);
                    return tell(&mut verified, &[], vec![fault]);
                }
            };
            for group in listed.groups() {
                let judged = inspector.settled(listed, group);
                let renderings = judged
                    .found
                    .iter()
                    .filter(|found| found.sidecar.rendering.is_some());
                verified.snapshots += renderings.count() as u64;
                verified.bytes += judged.bytes;
                tell(&mut verified, &judged.found, judged.faults);
            }
            let names = inspector.names(listed);
            tell(&mut verified, &[], names);
        });
        let never = inspector.never_committed();
        tell(&mut verified, &[], never);
        verified
    }
}

impl Inspector<'_> {
    /// What was changed a moment ago may be half of what is being written: it is looked at again.
    fn settled(&mut self, listed: &Listed, group: &[Entry]) -> Judged {
        loop {
            let judged = self.judge(listed, group);
            let is_young = judged.faults.iter().any(|fault| self.is_young(&fault.path));
            if !is_young || self.patience == 0 {
                let pending = judged
                    .faults
                    .iter()
                    .filter(|fault| fault.kind == FindingKind::Pending);
                self.told.extend(pending.map(|fault| fault.path.clone()));
                return judged;
            }
            self.patience -= 1;
            std::thread::sleep(STEP);
        }
    }

    /// Or gone.
    fn is_young(&self, path: &Path) -> bool {
        let Ok(file) = self.survey.stat(path) else {
            return true;
        };
        system_now()
            .duration_since(file.changed_at())
            .is_ok_and(|age| age < SETTLING)
    }

    fn judge(&mut self, listed: &Listed, group: &[Entry]) -> Judged {
        let mut judged = Judged {
            faults: Vec::new(),
            found: Vec::new(),
            bytes: 0,
        };
        let (files, odd): (Vec<_>, Vec<_>) = group.iter().partition(|entry| entry.kind == EntryKind::File);
        // What a sidecar says that cannot be read, nobody knows: nothing is concluded from its silence.
        let mut has_unread = false;
        for entry in files.iter().filter(|entry| entry.is_sidecar()) {
            match self.survey.read(listed, &entry.name, &mut self.bytes) {
                Ok(found) => judged.found.push(found),
                Err(Odd::Gone) => has_unread = true,
                Err(odd) => {
                    has_unread |= matches!(odd, Odd::Unreadable(_));
                    let path = listed.path().join(&entry.name);
                    judged.faults.push(odd_sidecar(path, &odd));
                }
            }
        }
        let has_base = judged.found.iter().any(|found| found.id.is_none());
        for found in &judged.found {
            let path = found.stem.sidecar(found.id);
            if let Some(fault) = self.foreign(found, &path) {
                judged.faults.push(fault);
            } else if found.id.is_some() && !has_base && !has_unread {
                let detail = "a variant of a page that is not there any more";
                let fault = Fault::new(FindingKind::NoBase, path, Remedy::SetPairAside, detail);
                judged.faults.push(with_body(fault, found));
            } else {
                match self.body_fault(found) {
                    Ok(bytes) => judged.bytes += bytes,
                    Err(fault) => judged.faults.push(fault),
                }
            }
        }
        let odd = odd.into_iter().filter(|entry| !is_folder_of(listed, entry));
        let odd = odd.map(|entry| {
            let detail = "stands in a snapshot's place and is no regular file";
            (FindingKind::Outside, entry, detail)
        });
        let bodies = files
            .into_iter()
            .filter(|entry| !entry.is_sidecar() && !has_unread);
        let bodies = bodies.map(|entry| (FindingKind::NoSidecar, entry, "no sidecar names this body"));
        for (kind, entry, detail) in odd.chain(bodies) {
            let path = listed.path().join(&entry.name);
            let is_named = |found: &Found| found.body().as_ref() == Some(&path);
            if !judged.found.iter().any(is_named) && self.survey.stat(&path).is_ok() {
                judged
                    .faults
                    .push(Fault::new(kind, path, Remedy::SetAside, detail));
            }
        }
        judged
    }

    fn foreign(&self, found: &Found, path: &Path) -> Option<Fault> {
        let fault = |remedy, detail: String| Fault::new(FindingKind::Foreign, path.into(), remedy, detail);
        if let (Some(site), Some(own)) = (&found.sidecar.site, self.site)
            && **site != *own
        {
            let detail = format!("the sidecar is of the site `{site}`, not of `{own}`");
            return Some(fault(Remedy::Leave, detail));
        }
        let body = found.sidecar.rendering.as_ref()?.body.as_ref()?;
        let is_own = found.stem.is_body(found.id, &body.file);
        let detail = || format!("the sidecar names `{}`, which is not its own body", body.file);
        (!is_own).then(|| fault(Remedy::SetAside, detail()))
    }

    /// The length of the body, if it is the sealed one.
    fn body_fault(&self, found: &Found) -> Result<u64, Fault> {
        let rendering = found.sidecar.rendering.as_ref();
        let sealed = rendering.and_then(|rendering| rendering.body.as_ref());
        let (Some(sealed), Some(path)) = (sealed, found.body()) else {
            return Ok(0);
        };
        let sidecar = found.stem.sidecar(found.id);
        let met = self.survey.seal_of(&path);
        if let Ok((seal, state)) = &met
            && (*seal, state.size()) == (sealed.seal, sealed.length)
        {
            return Ok(sealed.length);
        }
        if let Some(fault) = self.unfinished(found, sealed) {
            return Err(fault);
        }
        let fault = match met {
            Ok((_, state)) => {
                let detail = match state.size() == sealed.length {
                    true => "the body is not what its sidecar seals".to_owned(),
                    false => format!(
                        "the body is not what its sidecar seals: {} bytes instead of {}",
                        state.size(),
                        sealed.length
                    ),
                };
                Fault::new(FindingKind::Seal, path, Remedy::SetPairAside, detail)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let detail = format!("its body `{}` is not there", sealed.file);
                return Err(Fault::new(FindingKind::NoBody, sidecar, Remedy::SetAside, detail));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let detail = "stands in a body's place and is no regular file";
                Fault::new(FindingKind::Outside, path, Remedy::SetPairAside, detail)
            }
            Err(error) => {
                let detail = format!("the body cannot be read: {error}");
                Fault::new(FindingKind::Unreadable, path, Remedy::Leave, detail)
            }
        };
        Err(Fault {
            sidecar: Some(sidecar),
            ..fault
        })
    }

    fn unfinished(&self, found: &Found, sealed: &SealedBody) -> Option<Fault> {
        let pending = found.stem.pending(found.id, &sealed.seal);
        let (kind, detail) = match self.survey.stat(&pending) {
            Ok(_) => {
                let sidecar = shown(&found.stem.sidecar(found.id));
                let detail = format!("the commit of `{sidecar}` is not finished: its body waits here");
                (FindingKind::Pending, detail)
            }
            Err(error) if is_absence(&error) => return None,
            Err(error) => {
                let detail = format!("whether its body waits here cannot be known: {error}");
                (FindingKind::Unreadable, detail)
            }
        };
        Some(Fault::new(kind, pending, Remedy::Leave, detail))
    }

    /// Bodies in `pending/` that no sidecar waits for.
    fn never_committed(&mut self) -> Vec<Fault> {
        let pending = Path::new(PRIVATE).join("pending");
        let names = self.survey.private("pending").into_iter();
        let mut left: Vec<PathBuf> = names.map(|name| pending.join(name)).collect();
        left.retain(|path| !self.told.contains(path));
        // Those of a server at work go by themselves.
        while self.patience > 0
            && left
                .iter()
                .any(|path| self.survey.stat(path).is_ok() && self.is_young(path))
        {
            self.patience -= 1;
            std::thread::sleep(STEP);
        }
        left.retain(|path| self.survey.stat(path).is_ok());
        let fault = |path| {
            let detail = "the body of a commit that never was";
            Fault::new(FindingKind::Pending, path, Remedy::Leave, detail)
        };
        left.into_iter().map(fault).collect()
    }

    /// Names that are not of the layout, and those that differ in case only.
    fn names(&self, listed: &Listed) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut mixed: BTreeMap<String, &Entry> = BTreeMap::new();
        for entry in listed.entries() {
            let name = entry.name.to_string_lossy();
            let lower = name.to_lowercase();
            if *lower != *name && !name.starts_with('.') {
                let is_there = listed.has(&lower);
                let other = mixed.insert(lower.clone(), entry);
                if is_there || other.is_some() {
                    let other = other.map_or_else(
                        || lower.clone(),
                        |other| other.name.to_string_lossy().into_owned(),
                    );
                    let path = listed.path().join(&entry.name);
                    let detail = format!(
                        "differs from `{other}` in case only, and takes its place on some file systems"
                    );
                    // What is not of the layout in any case is somebody's own.
                    let remedy = match entry.kind {
                        EntryKind::File if parse_file_name(Path::new(&lower)).is_some() => Remedy::SetAside,
                        _ => Remedy::Leave,
                    };
                    faults.push(Fault::new(FindingKind::Case, path, remedy, detail));
                    continue;
                }
            }
            faults.extend(self.outside(listed, entry));
        }
        faults
    }

    fn outside(&self, listed: &Listed, entry: &Entry) -> Option<Fault> {
        let path = listed.path().join(&entry.name);
        let name = entry.name.to_string_lossy();
        let detail = match entry.kind {
            _ if name.starts_with('.') => return None,
            EntryKind::File if entry.parsed.is_some() => return None,
            EntryKind::File if listed.path().as_os_str().is_empty() && *name == *MARKER => return None,
            EntryKind::File => "not the name of a snapshot's file",
            EntryKind::Directory if is_folder_name(&name) => return None,
            // Another directory of snapshots.
            EntryKind::Directory if !self.survey.is_ours(&path, &entry.name) => return None,
            EntryKind::Directory => "not the name of a folder of snapshots",
            EntryKind::Other if entry.parsed.is_some() => return None,
            EntryKind::Other => "neither a file nor a folder; links are not followed",
        };
        Some(Fault::new(FindingKind::Outside, path, Remedy::Leave, detail))
    }
}

fn odd_sidecar(path: PathBuf, odd: &Odd) -> Fault {
    let (kind, remedy, detail) = match odd {
        Odd::Gone => (
            FindingKind::Unreadable,
            Remedy::Leave,
            "went meanwhile".to_owned(),
        ),
        Odd::Unreadable(error) => (
            FindingKind::Unreadable,
            Remedy::Leave,
            format!("the sidecar cannot be read: {error}"),
        ),
        Odd::NotASidecar(error) => {
            let detail = format!("the sidecar {error}").replace('\n', " ");
            (FindingKind::Unreadable, Remedy::SetAside, detail)
        }
        Odd::Misplaced(place) => (
            FindingKind::Foreign,
            Remedy::SetAside,
            format!("the sidecar's key belongs in `{}`", shown(place)),
        ),
    };
    Fault::new(kind, path, remedy, detail)
}

fn with_body(fault: Fault, found: &Found) -> Fault {
    match found.body() {
        // The sidecar goes with its body.
        Some(body) => Fault {
            sidecar: Some(body),
            ..fault
        },
        None => fault,
    }
}

/// A host's name may look like a body's.
fn is_folder_of(listed: &Listed, entry: &Entry) -> bool {
    entry.kind == EntryKind::Directory && listed.path().as_os_str().is_empty()
}

fn is_folder_name(name: &str) -> bool {
    let is_safe = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'~');
    name.bytes().all(is_safe)
}
