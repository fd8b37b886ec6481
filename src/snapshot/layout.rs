//! Where a snapshot's files are: the stem is a pure function of the key text, so a cold lookup opens
//! files and never lists a directory.
//!
//! Slugs are for people; the hash carries identity. So case, Unicode, length and clashes of slugs do
//! not matter, and names of one file system are safe on another.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::coding::Coding;
use crate::head::{Seal, VariantId};
use crate::key::Key;

/// Everything of ours that is out of reach of any URL.
pub(crate) const PRIVATE: &str = ".phantom";
/// The directory's own marker.
pub(crate) const MARKER: &str = "phantom-frame.toml";
pub(crate) const SIDECAR: &str = "toml";
/// Where coded forms are, in [`PRIVATE`].
pub(crate) const DERIVED: &str = "derived";

const MAX_SEGMENT: usize = 40;
const MAX_FOLDERS: usize = 8;
/// What a name takes beside its slug, and more.
const ROOM: usize = 64;

/// The place of a key's files, relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stem {
    folder: PathBuf,
    /// `<slug>.<h16>`, without a variant's `~<v8>`.
    name: String,
}

impl Stem {
    pub(crate) fn of(key: &Key) -> Self {
        let mut folder = String::with_capacity(key.text.len() + ROOM);
        if let Some(host) = key.part("host") {
            push_host(&mut folder, host);
        }
        let (path, query) = match key.line().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (key.line(), None),
        };
        // `GET:/a` is the page `a`; a custom key of another form is a path of its own.
        let path = match path.split_once(":/") {
            Some((method, path)) if method.bytes().all(|byte| byte.is_ascii_uppercase()) => path,
            _ => path,
        };
        let (folders, last) = path.rsplit_once('/').unwrap_or(("", path));
        let segments = folders.split('/').filter(|segment| !segment.is_empty());
        for segment in segments.take(MAX_FOLDERS) {
            push_step(&mut folder);
            push_slug(&mut folder, segment, Dots::Replaced);
        }
        let last = if last.is_empty() { "index" } else { last };
        let mut name = String::with_capacity(ROOM);
        push_slug(&mut name, last, Dots::Kept);
        let short = key.hash.short();
        // Writing to a String cannot fail.
        if query.is_some() {
            push_step(&mut folder);
            let _ = write!(folder, "{name}~q/{:02x}", short >> 56);
        }
        let _ = write!(name, ".{short:016x}");
        Self {
            folder: folder.into(),
            name,
        }
    }

    fn file_stem(&self, variant: Option<VariantId>) -> String {
        let mut file_stem = String::with_capacity(self.name.len() + ROOM);
        file_stem.push_str(&self.name);
        if let Some(id) = variant {
            // Writing to a String cannot fail.
            let _ = write!(file_stem, "~{id}");
        }
        file_stem
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn sidecar(&self, variant: Option<VariantId>) -> PathBuf {
        self.folder.join(self.body_name(variant, SIDECAR))
    }

    pub(crate) fn body_name(&self, variant: Option<VariantId>, extension: &str) -> String {
        let mut name = self.file_stem(variant);
        name.push('.');
        name.push_str(extension);
        name
    }

    /// Whether a file is a body of this rendering, and no other's: a sidecar may name anything.
    pub(crate) fn is_body(&self, variant: Option<VariantId>, file: &str) -> bool {
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        self.body_name(variant, extension) == *file
    }

    /// The body between the moment it is whole and the moment it is in place.
    pub(crate) fn pending(&self, variant: Option<VariantId>, seal: &Seal) -> PathBuf {
        Path::new(PRIVATE)
            .join("pending")
            .join(format!("{}.{}", self.file_stem(variant), seal.short()))
    }

    /// Where a body that another program wrote is put before it is replaced.
    pub(crate) fn displaced(&self, variant: Option<VariantId>, seal: &Seal) -> PathBuf {
        Path::new(PRIVATE)
            .join("displaced")
            .join(format!("{}.{}", self.file_stem(variant), seal.short()))
    }

    /// A coded form of the body with this seal, of which these are the first bits.
    pub(crate) fn derived(&self, variant: Option<VariantId>, seal: u64, coding: Coding) -> PathBuf {
        derived(&self.file_stem(variant), seal, coding)
    }

    /// How the names of this key's variants begin.
    pub(crate) fn variant_prefix(&self) -> String {
        format!("{}~", self.name)
    }
}

/// In a folder by the first two digits of the key's hash, so that a folder can be listed at once however many pages
/// there are.
fn derived(file_stem: &str, seal: u64, coding: Coding) -> PathBuf {
    let key = file_stem.split('~').next().unwrap_or(file_stem);
    let hash = key.rsplit('.').next().unwrap_or_default();
    Path::new(PRIVATE)
        .join(DERIVED)
        .join(hash.get(..2).unwrap_or("00"))
        .join(format!("{file_stem}.{seal:016x}.{}", coding.suffix()))
}

/// The coded form of the body in this file.
pub(crate) fn derived_of_body(body: &Path, seal: &Seal, coding: Coding) -> Option<PathBuf> {
    let (file_stem, _) = body.file_name()?.to_str()?.rsplit_once('.')?;
    Some(derived(file_stem, seal.first_bits(), coding))
}

/// What the name of a coded form says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DerivedName {
    /// The first 64 bits of the key's hash.
    pub(crate) short: u64,
    pub(crate) variant: Option<VariantId>,
    /// The first 64 bits of the body's seal.
    pub(crate) seal: u64,
    pub(crate) coding: Coding,
}

/// Reads `<slug>.<h16>[~<v8>].<seal16>.<br|zst|gz>`.
pub(crate) fn parse_derived(path: &Path) -> Option<DerivedName> {
    let coding = Coding::of_suffix(path.extension()?.to_str()?)?;
    let path = path.with_extension("");
    let seal = path.extension()?.to_str().filter(|seal| seal.len() == 16)?;
    // With the seal for an extension it is a body's name.
    let name = parse_file_name(&path)?;
    Some(DerivedName {
        short: name.short_hash,
        variant: name.variant,
        seal: u64::from_str_radix(seal, 16).ok()?,
        coding,
    })
}

/// What a file name of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileName {
    /// The first 64 bits of the key's hash.
    pub(crate) short_hash: u64,
    pub(crate) variant: Option<VariantId>,
    pub(crate) kind: FileKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Sidecar,
    Body,
}

/// Reads `<slug>.<h16>[~<v8>].<ext>`.
pub(crate) fn parse_file_name(path: &Path) -> Option<FileName> {
    // By its bytes: it is asked of every file that changes, and taking a path apart costs more than reading the name.
    let name = path.as_os_str().as_encoded_bytes().rsplit(|byte| *byte == b'/');
    let name = std::str::from_utf8(name.into_iter().next()?).ok()?;
    let (stem, extension) = name.rsplit_once('.')?;
    let (stem, variant) = match stem.rsplit_once('~') {
        Some((stem, id)) if id.len() == 8 => (stem, Some(VariantId(u32::from_str_radix(id, 16).ok()?))),
        _ => (stem, None),
    };
    let (_, hash) = stem.rsplit_once('.')?;
    if hash.len() != 16 {
        return None;
    }
    let short_hash = u64::from_str_radix(hash, 16).ok()?;
    let kind = if extension == SIDECAR {
        FileKind::Sidecar
    } else {
        FileKind::Body
    };
    Some(FileName {
        short_hash,
        variant,
        kind,
    })
}

/// The extension of a body of this content type.
pub(crate) fn extension(content_type: Option<&str>) -> &'static str {
    let kind = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or("")
        .trim();
    match kind.to_ascii_lowercase().as_str() {
        "text/html" => "html",
        "application/xhtml+xml" => "xhtml",
        "application/json" => "json",
        "application/ld+json" => "jsonld",
        "application/manifest+json" => "webmanifest",
        "application/feed+json" => "json",
        "text/javascript" | "application/javascript" | "application/x-javascript" => "js",
        "text/css" => "css",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/csv" => "csv",
        "text/calendar" => "ics",
        "text/x-component" => "rsc",
        "application/xml" | "text/xml" => "xml",
        "application/rss+xml" => "rss",
        "application/atom+xml" => "atom",
        "image/svg+xml" => "svg",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/avif" => "avif",
        "image/x-icon" | "image/vnd.microsoft.icon" => "ico",
        "font/woff2" => "woff2",
        "font/woff" => "woff",
        "font/ttf" => "ttf",
        "application/pdf" => "pdf",
        "application/wasm" => "wasm",
        "application/zip" => "zip",
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "audio/mpeg" => "mp3",
        _ => "bin",
    }
}

/// Whether a dot may stand in a slug.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    Kept,
    Replaced,
}

/// Between two names of a path.
fn push_step(path: &mut String) {
    if !path.is_empty() {
        path.push('/');
    }
}

/// `[a-z0-9_-]` and, inside a last segment, dots; bounded; no name that a file system reserves.
fn push_slug(out: &mut String, segment: &str, dots: Dots) {
    let mut slug = [0_u8; MAX_SEGMENT];
    let mut length = 0;
    let mut before = None;
    for character in segment.chars().take(4 * MAX_SEGMENT) {
        let safe = match character.to_ascii_lowercase() {
            safe @ ('a'..='z' | '0'..='9' | '_') => safe as u8,
            '.' if dots == Dots::Kept && before.is_some_and(|before| before != b'.') => b'.',
            _ => b'-',
        };
        if safe != b'-' || before != Some(b'-') {
            let Some(place) = slug.get_mut(length) else {
                break;
            };
            *place = safe;
            length += 1;
            before = Some(safe);
        }
    }
    let slug = slug.get(..length).and_then(|slug| std::str::from_utf8(slug).ok());
    let trimmed = slug.unwrap_or_default().trim_matches(['-', '.']);
    let first = trimmed.split('.').next().unwrap_or_default();
    if trimmed.is_empty() || is_device(first) {
        out.push('_');
    }
    out.push_str(trimmed);
}

/// A host keeps its dots, which make it readable; a colon before the port does not survive on every
/// file system.
fn push_host(out: &mut String, host: &str) {
    push_slug(out, host, Dots::Kept);
}

/// Names that Windows keeps for devices, whatever follows the first dot.
fn is_device(name: &str) -> bool {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(name, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coded_form_is_named_after_its_body() {
        let (key, seal) = (Key::from_text("GET:/a/app.min.js"), Seal::of(b"body"));
        let stem = Stem::of(&key);
        for variant in [None, Some(VariantId(7))] {
            for coding in Coding::ALL {
                let path = stem.derived(variant, seal.first_bits(), coding);
                let body = stem.folder().join(stem.body_name(variant, "js"));
                assert_eq!(derived_of_body(&body, &seal, coding), Some(path.clone()));
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(
                    name.ends_with(&format!(".{}.{}", seal.short(), coding.suffix())),
                    "{name}"
                );
                let expected = DerivedName {
                    short: key.hash.short(),
                    variant,
                    seal: seal.first_bits(),
                    coding,
                };
                assert_eq!(parse_derived(&path), Some(expected));
            }
        }
        for name in [
            "a.0123456789abcdef.br",
            "a.0123456789abcdef.0123456789abcdef.html",
            "a.br",
            "br",
            "",
        ] {
            assert_eq!(parse_derived(Path::new(name)), None, "{name}");
        }
    }

    fn sidecar(text: &str) -> String {
        let key = Key::from_text(text);
        let path = Stem::of(&key).sidecar(None).display().to_string();
        path.replace(&format!("{:016x}", key.hash.short()), "H")
    }

    #[test]
    fn paths_mirror_the_url() {
        for (key, path) in [
            ("GET:/", "index.H.toml"),
            ("GET:/blog/hello", "blog/hello.H.toml"),
            ("GET:/blog/", "blog/index.H.toml"),
            ("GET:/static/app.min.js", "static/app.min.js.H.toml"),
            ("GET:/a.b/c", "a-b/c.H.toml"),
            (
                "GET:/\nhost 11:example.com\nscheme 4:http",
                "example.com/index.H.toml",
            ),
            (
                "GET:/\nhost 14:localhost:3000\nscheme 4:http",
                "localhost-3000/index.H.toml",
            ),
            ("GET:/../../etc/passwd", "_/_/etc/passwd.H.toml"),
            ("GET:/.phantom/lock", "phantom/lock.H.toml"),
            ("GET:/.git/config", "git/config.H.toml"),
            ("GET:/Ünï/%2F", "n/2f.H.toml"),
            ("GET:/con", "_con.H.toml"),
            ("GET:/nul.txt", "_nul.txt.H.toml"),
            ("post-7", "post-7.H.toml"),
            ("pages/7:de", "pages/7-de.H.toml"),
        ] {
            assert_eq!(sidecar(key), path, "{key}");
        }
    }

    #[test]
    fn keys_with_a_query_are_fanned_out() {
        let key = Key::from_text("GET:/search?q=a/b");
        let hash = format!("{:016x}", key.hash.short());
        let path = Stem::of(&key).sidecar(None);
        assert_eq!(
            path,
            PathBuf::from(format!("search~q/{}/search.{hash}.toml", &hash[..2]))
        );
    }

    #[test]
    fn names_are_bounded_whatever_the_url() {
        let long = format!("GET:/{}", "x/ü%".repeat(4000));
        let path = Stem::of(&Key::from_text(long)).sidecar(Some(VariantId(7)));
        assert!(path.components().count() <= MAX_FOLDERS + 1);
        assert!(path.as_os_str().len() < 500);
    }

    #[test]
    fn file_names_are_read_back() {
        let key = Key::from_text("GET:/app.js");
        let stem = Stem::of(&key);
        for variant in [None, Some(VariantId(0x5c0d_11aa))] {
            assert_eq!(
                parse_file_name(&stem.sidecar(variant)),
                Some(FileName {
                    short_hash: key.hash.short(),
                    variant,
                    kind: FileKind::Sidecar
                })
            );
            let body = PathBuf::from(stem.body_name(variant, "js"));
            assert_eq!(parse_file_name(&body).map(|name| name.kind), Some(FileKind::Body));
        }
        for other in [
            "phantom-frame.toml",
            ".gitignore",
            "a.toml",
            "README.md",
            "x.0123.html",
        ] {
            assert_eq!(parse_file_name(Path::new(other)), None, "{other}");
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Key texts as requests make them, and as a custom key may.
    fn key_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-Z]{1,7}:/[ -~]{0,400}",
            "(GET:)?/?(\\.{0,3}[/a-zA-Z%?*~\\\\:ü ]{0,6}){0,40}",
            "GET:/[a-z/.]{0,9}\\nhost [0-9]:[^\\n]{0,80}\\nscheme 4:http",
            ".{0,300}",
        ]
    }

    fn check(path: &Path) {
        let names: Vec<&str> = path.iter().map(|name| name.to_str().unwrap()).collect();
        assert!(path.is_relative() && names.len() <= MAX_FOLDERS + 4, "{names:?}");
        let safe = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'~');
        for name in &names {
            assert!(!name.is_empty() && name.len() <= 100, "{names:?}");
            assert!(name.bytes().all(safe), "{names:?}");
            assert!(!name.starts_with(['.', '~']) && !name.ends_with('.'), "{names:?}");
            assert!(!is_device(name.split('.').next().unwrap_or("")), "{names:?}");
        }
        assert_ne!(names.first(), Some(&PRIVATE));
    }

    proptest! {
        #[test]
        fn any_key_has_a_place_in_the_directory_and_no_two_the_same(
            one in key_text(),
            other in key_text(),
            variant in proptest::option::of(any::<u32>().prop_map(VariantId)),
        ) {
            let (one, other) = (Key::from_text(one), Key::from_text(other));
            let seal = Seal::of(b"body");
            let place = |key: &Key| {
                let stem = Stem::of(key);
                let sidecar = stem.sidecar(variant);
                check(&sidecar);
                check(&stem.folder().join(stem.body_name(variant, "html")));
                let found = parse_file_name(&sidecar).unwrap();
                assert_eq!((found.short_hash, found.variant), (key.hash.short(), variant));
                for hidden in [stem.pending(variant, &seal), stem.displaced(variant, &seal)] {
                    check(hidden.strip_prefix(PRIVATE).unwrap());
                }
                sidecar
            };
            prop_assert_eq!(place(&one) == place(&other), one.text == other.text);
        }
    }
}
