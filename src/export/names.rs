//! Where a server of files looks for a URL: its path, decoded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The longest name that file systems take, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 3000;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// From the root of the site, as bytes; empty is the root itself.
    segments: Vec<Vec<u8>>,
    /// It ends in a slash.
    pub(super) is_folder: bool,
}

impl Place {
    /// # Errors
    /// No server of files finds anything there; why.
    pub(super) fn of(path: &str) -> Result<Self, &'static str> {
        let rest = path.strip_prefix('/').ok_or("is no path")?;
        let is_folder = rest.is_empty() || rest.ends_with('/');
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = Vec::new();
        if !rest.is_empty() {
            for segment in rest.split('/') {
                segments.push(name(segment)?);
            }
        }
        if rest.len() > LONGEST_PATH {
            return Err("is too long for a path");
        }
        Ok(Self { segments, is_folder })
    }

    /// As a file of this name.
    pub(super) fn file(&self) -> PathBuf {
        self.segments.iter().map(|name| OsStr::from_bytes(name)).collect()
    }

    /// As the page of a folder.
    pub(super) fn index(&self) -> PathBuf {
        self.file().join("index.html")
    }

    pub(super) fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// What follows the last dot of its name, in lower case.
    pub(super) fn extension(&self) -> Option<String> {
        let name = self.segments.last()?;
        let dot = name
            .iter()
            .rposition(|byte| *byte == b'.')
            .filter(|dot| *dot > 0)?;
        let extension = name.get(dot + 1..).filter(|rest| !rest.is_empty())?;
        Some(String::from_utf8_lossy(extension).to_ascii_lowercase())
    }
}

fn name(segment: &str) -> Result<Vec<u8>, &'static str> {
    let name = decoded(segment.as_bytes());
    match &*name {
        b"" => return Err("has a name without a letter"),
        b"." | b".." => return Err("leads to another folder"),
        _ => {}
    }
    if name.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
        return Err("has a slash in a name");
    }
    if name.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return Err("has a control character in a name");
    }
    if name.len() > LONGEST_NAME {
        return Err("has a name that is too long for a file");
    }
    Ok(name)
}

/// Percent-encoding undone; what is none stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let pair = (digit(text.get(at + 1)), digit(text.get(at + 2)));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// A path from the root of the site as text that can be read back: everything that is not plain is encoded.
pub(super) fn written(path: &Path) -> String {
    let mut out = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The path that [`written`] has written; nothing where it leads anywhere but below the root.
pub(super) fn read(text: &str) -> Option<PathBuf> {
    let place = Place::of(&format!("/{text}")).ok()?;
    (!place.is_folder).then(|| place.file())
}

/// What servers take a file with this extension for.
pub(super) fn type_of(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "html" | "htm" => "text/html",
        "xhtml" => "application/xhtml+xml",
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "wasm" => "application/wasm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_where_a_server_of_files_looks() {
        for (path, expected) in [
            ("/", Some(("", "index.html"))),
            ("/blog/hello", Some(("blog/hello", "blog/hello/index.html"))),
            ("/blog/", Some(("blog", "blog/index.html"))),
            ("/a%20b/%C3%BC", Some(("a b/ü", "a b/ü/index.html"))),
            ("/100%", Some(("100%", "100%/index.html"))),
            ("/a%zz", Some(("a%zz", "a%zz/index.html"))),
            (
                "/.well-known/x",
                Some((".well-known/x", ".well-known/x/index.html")),
            ),
            ("/a//b", None),
            ("/a//", None),
            ("/../a", None),
            ("/a/%2e%2E/b", None),
            ("/a%2Fb", None),
            ("/a%5Cb", None),
            ("/a%00b", None),
            ("/a%0Ab", None),
            ("a", None),
        ] {
            let place = Place::of(path).ok();
            let paths = place.map(|place| (place.file(), place.index()));
            let expected = expected.map(|(file, index)| (PathBuf::from(file), PathBuf::from(index)));
            assert_eq!(paths, expected, "{path}");
        }
        assert!(Place::of(&format!("/{}", "a".repeat(256))).is_err());
        assert!(Place::of(&"/a".repeat(2000)).is_err());
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_leads_out() {
        for path in ["a/b.html", "a b/ü%/\"", "_headers"] {
            assert_eq!(read(&written(Path::new(path))).as_deref(), Some(Path::new(path)));
        }
        let raw = OsStr::from_bytes(b"caf\xe9");
        assert_eq!(read(&written(Path::new(raw))).as_deref(), Some(Path::new(raw)));
        for text in ["", "..", "../a", "/a", "a/", "%2e%2e/a", "a/%2F"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
