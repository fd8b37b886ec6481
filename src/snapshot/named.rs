//! Hashed assets that stored pages name: no limit evicts them while such a page is there.
//!
//! Worked out in each look for what may go, from the index alone: to keep count with every change would cost each commit,
//! and memory, for what is asked once in a while.

use std::collections::HashSet;

use crate::assets::{is_hashed, path_of};
use crate::tags::PartHash;

use super::Store;
use super::index::{Index, KeyEntry};

/// Which assets these are.
pub(super) enum Named {
    /// The directory has not been read through, and who names what is not known.
    Unknown,
    These(HashSet<PartHash>),
}

impl Store {
    pub(super) fn named_assets(&self) -> Named {
        match self.is_scanned() {
            true => Named::These(named_in(&self.index)),
            false => Named::Unknown,
        }
    }
}

impl Named {
    pub(super) fn has(&self, entry: &KeyEntry) -> bool {
        match self {
            Self::Unknown => asset_of(entry).is_some(),
            Self::These(named) if named.is_empty() => false,
            Self::These(named) => asset_of(entry).is_some_and(|asset| named.contains(&asset)),
        }
    }
}

/// Those that a page names, and those that an asset names which is one of them: a style sheet's fonts. Assets that name
/// each other keep nobody.
fn named_in(index: &Index) -> HashSet<PartHash> {
    let mut named = HashSet::new();
    let mut sheets = Vec::new();
    index.for_each(|_, entry| {
        let mut parts = entry.parts().filter(|part| part.is_of_asset()).peekable();
        if parts.peek().is_none() {
            return;
        }
        match asset_of(entry) {
            Some(sheet) => sheets.push((sheet, parts.collect::<Box<[_]>>())),
            None => named.extend(parts),
        }
    });
    let mut before = usize::MAX;
    while sheets.len() < before {
        before = sheets.len();
        sheets.retain(|(sheet, parts)| {
            let is_named = named.contains(sheet);
            if is_named {
                named.extend(parts);
            }
            !is_named
        });
    }
    named
}

/// What the key is as an asset, if it is a hashed one's.
fn asset_of(entry: &KeyEntry) -> Option<PartHash> {
    let subject = entry.subject();
    let path = path_of(subject.own.unwrap_or(subject.line)).filter(|path| is_hashed(path))?;
    Some(PartHash::of_asset(entry.host(), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::Assets;
    use crate::head::RenderingOrigin;
    use crate::key::Key;
    use crate::snapshot::index::VariantEntry;
    use crate::snapshot::life::Life;

    fn entry(text: &str, names: &[&str]) -> KeyEntry {
        let key = Key::from_text(text);
        let variant = VariantEntry {
            rendering: Some(RenderingOrigin::Backend),
            ..VariantEntry::nowhere()
        };
        let host = crate::key::part_of(text, "host");
        let assets = Assets::of(names.iter().copied());
        let parts = assets.iter().map(|path| PartHash::of_asset(host, path)).collect();
        KeyEntry::of(None, &key, &[], key.line(), Life::stored(7)).with_variant(variant, parts)
    }

    #[test]
    fn what_a_page_names_stays_and_what_that_names() {
        let [app, sheet, font] = ["/app.3f9a2c1b.js", "/a.3f9a2c1b.css", "/a.3f9a2c1b.woff2"];
        let get = |path: &str| format!("GET:{path}");
        let of = |host: &str, path: &str| format!("GET:{path}\nhost 1:{host}");
        for (what, stored, key, stays) in [
            (
                "nobody names it",
                vec![("GET:/".into(), vec![app])],
                get(sheet),
                false,
            ),
            ("a page", vec![("GET:/".into(), vec![app])], get(app), true),
            (
                "with a query",
                vec![("GET:/".into(), vec![app])],
                get(app) + "?v=1",
                true,
            ),
            (
                "by another method",
                vec![("GET:/".into(), vec![app])],
                format!("POST:{app}"),
                false,
            ),
            ("of the host", vec![(of("a", "/"), vec![app])], of("a", app), true),
            ("of another", vec![(of("a", "/"), vec![app])], of("b", app), false),
            (
                "by a sheet that a page names",
                vec![(get(sheet), vec![font]), ("GET:/".into(), vec![sheet])],
                get(font),
                true,
            ),
            ("by a sheet", vec![(get(sheet), vec![font])], get(font), false),
            (
                "by each other",
                vec![(get(sheet), vec![font]), (get(font), vec![sheet])],
                get(font),
                false,
            ),
        ] {
            let index = Index::default();
            for (text, names) in &stored {
                index.insert(entry(text, names));
            }
            let named = Named::These(named_in(&index));
            assert_eq!(named.has(&entry(&key, &[])), stays, "{what}");
        }
        assert!(Named::Unknown.has(&entry(&get(app), &[])) && !Named::Unknown.has(&entry("GET:/", &[])));
    }
}
