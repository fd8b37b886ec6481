//! Assets in whose names is a hash of what is in them, and their names as a page has them. Whoever has the page asks for
//! them as long as it is there, and a backend that was built anew may not know them any more.

/// The most of one body: the first of them.
pub(crate) const MAX_ASSETS: usize = 128;
/// A longer path is dropped.
pub(crate) const MAX_LENGTH: usize = 512;

/// Folders in which frameworks keep nothing else.
const FOLDERS: [&str; 4] = ["/_next/static/", "/_nuxt/", "/_app/immutable/", "/_astro/"];
/// Endings of pages, whatever their names are.
const PAGES: [&str; 7] = ["html", "htm", "xhtml", "php", "asp", "aspx", "jsp"];
/// Characters that are a hash, at the least.
const HASH: usize = 8;
/// `webmanifest` is the longest ending in use.
const ENDING: usize = 11;

/// The paths of hashed assets that a body names, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Assets(Box<[Box<str>]>);

impl Assets {
    /// Those that are such paths.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let is_one = |path: &&str| {
            let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
            is_path && path.len() <= MAX_LENGTH && is_hashed(path)
        };
        let mut paths: Vec<&str> = paths.into_iter().filter(is_one).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.truncate(MAX_ASSETS);
        Self(paths.into_iter().map(Into::into).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|path| &**path)
    }
}

/// The path of what `METHOD:/path?query` asks for; nothing of other methods than GET.
pub(crate) fn path_of(line: &str) -> Option<&str> {
    let target = line.strip_prefix("GET:")?;
    Some(target.split_once('?').map_or(target, |(path, _)| path))
}

/// Whether the name of what is at a path says what is in it: it is of a file that is no page, and has a part that looks like
/// a hash, or is where frameworks keep nothing else. Who looks like one and is none stays longer, and that is all.
pub(crate) fn is_hashed(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let Some((stem, ending)) = name.rsplit_once('.') else {
        return false;
    };
    let is_file = ending.len() <= ENDING
        && ending.starts_with(|first: char| first.is_ascii_alphabetic())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !PAGES.iter().any(|page| ending.eq_ignore_ascii_case(page));
    is_file && (has_hash(stem.as_bytes()) || FOLDERS.iter().any(|folder| path.contains(folder)))
}

/// In a part of the name, or in its last eight characters: bundlers that write hashes in base64 have `-` and `_` in them.
fn has_hash(stem: &[u8]) -> bool {
    let parts = stem.split(|byte| matches!(byte, b'-' | b'.' | b'_'));
    let mut parts = parts.filter(|part| part.iter().all(u8::is_ascii_alphanumeric));
    if parts.any(is_hash) {
        return true;
    }
    let is_of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let end = stem.len().checked_sub(HASH).map(|at| stem.split_at(at));
    end.is_some_and(|(before, end)| {
        matches!(before, [.., b'-' | b'.']) && end.iter().all(is_of_base64) && is_hash(end)
    })
}

/// Long enough, and no word: those have no digits, and no capitals but the first.
fn is_hash(part: &[u8]) -> bool {
    let is_of_none = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    part.len() >= HASH
        && (part.iter().skip(1).any(is_of_none) || part.first().is_some_and(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_in_names_are_told_from_words() {
        for (path, expected) in [
            ("/app.3f9a2c1b.js", true),
            ("/assets/index-BxY12abc.css", true),
            ("/assets/index-DiwrgTda.js", true),
            ("/assets/index-B-_12abc.css", true),
            ("/assets/main-ABCDEFGH.js", true),
            ("/static/js/main.3f9a2c1b.chunk.js", true),
            ("/3f9a2c1b4d5e.woff2", true),
            ("/fonts/inter_3f9a2c1b.woff2", true),
            ("/logo@2x.3f9a2c1b.png", true),
            ("/site.3f9a2c1b.css.map", true),
            ("/_next/static/chunks/main.js", true),
            ("/docs/_astro/page.css", true),
            ("/_app/immutable/entry/start.js", true),
            ("/_nuxt/entry.js", true),
            ("/app.js", false),
            ("/application.css", false),
            ("/Application.css", false),
            ("/my-component.js", false),
            ("/v1.2.3/app.js", false),
            ("/3f9a2c1b4d5e/app.js", false),
            ("/post-3f9a2c1b", false),
            ("/post-3f9a2c1b.html", false),
            ("/post-3f9a2c1b.PHP", false),
            ("/_nuxt/", false),
            ("/_nuxt/entry", false),
            ("/app-3f9a2c1b.", false),
            ("/app-3f9a2c1b.9x", false),
            ("", false),
        ] {
            assert_eq!(is_hashed(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_are_kept_once_sorted_and_only_those_of_assets() {
        let long = format!("/{}.3f9a2c1b.js", "x".repeat(MAX_LENGTH));
        let given = [
            "/b.3f9a2c1b.js",
            "/a.3f9a2c1b.js",
            "/b.3f9a2c1b.js",
            "c.3f9a2c1b.js",
            "/d.js",
            "/e\n.3f9a2c1b.js",
            &long,
        ];
        let kept = Assets::of(given);
        assert_eq!(
            kept.iter().collect::<Vec<_>>(),
            ["/a.3f9a2c1b.js", "/b.3f9a2c1b.js"]
        );
        let many: Vec<String> = (0..2 * MAX_ASSETS).map(|n| format!("/{n}.3f9a2c1b.js")).collect();
        assert_eq!(
            Assets::of(many.iter().map(String::as_str)).iter().count(),
            MAX_ASSETS
        );
    }

    #[test]
    fn a_key_is_of_a_path_with_any_query() {
        for (line, expected) in [
            ("GET:/a.js", Some("/a.js")),
            ("GET:/a.js?v=1", Some("/a.js")),
            ("POST:/a.js", None),
            ("a.js", None),
        ] {
            assert_eq!(path_of(line), expected, "{line}");
        }
    }
}
