//! A set of field names that is looked for in every request.

use http::header::{HeaderMap, HeaderName};

/// Names of fields. To look for all of them takes one pass over a message's fields, most of which are told apart from
/// all names by their length and two of their letters.
#[derive(Debug, Clone, Default)]
pub(crate) struct FieldSet {
    /// By length, then by letters.
    names: Vec<HeaderName>,
    /// Where names may be, by [`place`].
    places: [u64; 4],
}

impl FieldSet {
    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        let (word, bit) = place(text);
        self.places.get(word).is_some_and(|places| places & bit != 0)
            && self
                .names
                .binary_search_by(|known| order(known.as_str()).cmp(&order(text)))
                .is_ok()
    }

    pub(crate) fn is_any_in(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| self.contains(name))
    }

    pub(crate) fn into_names(self) -> Vec<HeaderName> {
        self.names
    }
}

impl FromIterator<HeaderName> for FieldSet {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let mut set = Self {
            names: names.into_iter().collect(),
            places: [0; 4],
        };
        set.names
            .sort_unstable_by(|a, b| order(a.as_str()).cmp(&order(b.as_str())));
        set.names.dedup();
        for name in &set.names {
            let (word, bit) = place(name.as_str());
            if let Some(places) = set.places.get_mut(word) {
                *places |= bit;
            }
        }
        set
    }
}

fn order(name: &str) -> (usize, &str) {
    (name.len(), name)
}

/// One of 256 places: a word and a bit of it.
fn place(name: &str) -> (usize, u64) {
    let bytes = name.as_bytes();
    let letter = |at: usize| usize::from(bytes.get(at).copied().unwrap_or(0));
    let place = (bytes.len() * 37 + letter(0) * 5 + letter(bytes.len() / 2)) % 256;
    (place / 64, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    #[test]
    fn names_are_found_among_others() {
        let names = ["dpop", "x-api-key", "authorization", "x-user-id", "dpop"];
        let set: FieldSet = names.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(set.names.len(), 4);
        for name in names {
            assert!(set.contains(&name.parse().unwrap()), "{name}");
            let fields = header_map(&[("host", "a"), ("accept", "*/*")]);
            assert!(!set.is_any_in(&fields));
            let mut with = fields;
            with.insert(name, http::HeaderValue::from_static("1"));
            assert!(set.is_any_in(&with), "{name}");
        }
        // Of the same length, with the same letters at the places that are looked at first.
        for name in ["dxop", "x-apikkey", "authorixation", "d", "x-user-ie"] {
            assert!(!set.contains(&name.parse().unwrap()), "{name}");
        }
        assert!(!FieldSet::default().contains(&http::header::AUTHORIZATION));
    }
}
