//! What the index knows of a key: there may be a million, so what few keys have is apart, and what can be told from
//! the text is not kept.

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;

use crate::fsops::FileStamp;
use crate::head::{Generated, RenderingOrigin, VariantId};
use crate::key::{Key, KeyHash};
use crate::pattern::Subject;
use crate::tags::{PartHash, Tag, Tagged};

use super::folders::FolderId;
use super::forms::Coded;
use super::layout::Stem;
use super::life::Life;
use super::packed::Packed;
use super::usage::Used;

/// A key and its variants. Replaced as a whole, never changed.
#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    /// The whole key text.
    pub(crate) key: Box<str>,
    /// Where its files are.
    pub(super) folder: FolderId,
    pub(crate) life: Life,
    /// Nothing only while it is being made.
    first: Option<Packed>,
    rest: Option<Box<Rest>>,
}

/// What many keys may have, and many have not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest {
    /// Of the first variant.
    parts: Box<[PartHash]>,
    more: Option<Box<More>>,
}

/// What few keys have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct More {
    /// `METHOD:/path?query` where it is not the key's line 1.
    own: Option<Box<str>>,
    /// The fields that select among the variants, sorted.
    names: Arc<[HeaderName]>,
    /// The variants but for the first.
    variants: Vec<Other>,
}

/// A variant, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Other {
    packed: Packed,
    parts: Box<[PartHash]>,
}

impl Tagged for KeyEntry {
    /// By any of its renderings: a key goes with all its variants.
    fn has(&self, tag: &Tag) -> bool {
        self.parts().any(|part| part == tag.hash())
    }
}

/// One rendering on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VariantEntry {
    pub(crate) id: Option<VariantId>,
    /// [`VariantKey::digest`](crate::head::VariantKey::digest): `id` is short enough to be forged.
    pub(crate) digest: u64,
    pub(crate) generated: Generated,
    pub(crate) sidecar: FileStamp,
    /// What body and sidecar take on disk, in blocks of 4 KiB.
    pub(crate) blocks: u32,
    /// The coded forms of its body.
    pub(crate) coded: Coded,
    /// Whose word it is; nothing for the placeholder that only lists the names.
    pub(crate) rendering: Option<RenderingOrigin>,
}

impl VariantEntry {
    /// Of no file.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            id: None,
            digest: 0,
            generated: Generated::At(7),
            sidecar: crate::fsops::Fs::default().stat(dir.path()).unwrap().stamp(),
            blocks: 1,
            coded: Coded::default(),
            rendering: None,
        }
    }

    /// With what is known of the coded forms, if they are of the same body.
    pub(crate) fn keeping(self, known: &Self) -> Self {
        match known.coded.seal == self.coded.seal {
            true => Self {
                coded: known.coded,
                ..self
            },
            false => self,
        }
    }
}

impl KeyEntry {
    /// What the index knows of `key`, whose variants are selected by `names` from now on: a name more changes
    /// nothing for those that were made without it. `own` is the snapshot's own line; `life` is a new
    /// entry's.
    pub(crate) fn of(known: Option<&Self>, key: &Key, names: &[HeaderName], own: &str, life: Life) -> Self {
        match known {
            Some(entry) => {
                let mut entry = entry.clone();
                entry.life.raise(&life);
                if *entry.names() != *names {
                    entry.change_more(|more| more.names = names.into());
                }
                entry
            }
            None => Self::new(key, Stem::of(key).folder(), names, own, life),
        }
    }

    /// Of a key that is not known, whose files are in `folder`.
    pub(super) fn new(key: &Key, folder: &Path, names: &[HeaderName], own: &str, life: Life) -> Self {
        let mut entry = Self {
            key: key.text.clone(),
            folder: FolderId::of(folder),
            life,
            first: None,
            rest: None,
        };
        if key.line() != own {
            entry.change_more(|more| more.own = Some(own.into()));
        }
        if !names.is_empty() {
            entry.change_more(|more| more.names = names.into());
        }
        entry
    }

    /// What is nothing takes no room.
    fn change_rest(&mut self, change: impl FnOnce(&mut Rest)) {
        let mut rest = self.rest.take().unwrap_or_default();
        change(&mut rest);
        self.rest = (*rest != Rest::default()).then_some(rest);
    }

    fn change_more(&mut self, change: impl FnOnce(&mut More)) {
        self.change_rest(|rest| {
            let mut more = rest.more.take().unwrap_or_default();
            change(&mut more);
            rest.more = (*more != More::default()).then_some(more);
        });
    }

    fn more(&self) -> Option<&More> {
        self.rest.as_ref()?.more.as_deref()
    }

    fn others(&self) -> &[Other] {
        self.more().map_or(&[], |more| &more.variants)
    }

    fn others_mut(&mut self) -> impl Iterator<Item = &mut Packed> {
        let more = self.rest.as_mut().and_then(|rest| rest.more.as_mut());
        let others = more.into_iter().flat_map(|more| &mut more.variants);
        others.map(|other| &mut other.packed)
    }

    /// What files are named by, made anew from the text.
    pub(crate) fn short(&self) -> u64 {
        KeyHash::of(&self.key).short()
    }

    /// `METHOD:/path?query` where it is not the key's line 1.
    pub(crate) fn own(&self) -> Option<&str> {
        self.more()?.own.as_deref()
    }

    /// The fields that select among the variants, sorted.
    pub(crate) fn names(&self) -> &[HeaderName] {
        self.more().map_or(&[], |more| &more.names)
    }

    /// The same, to keep.
    pub(crate) fn shared_names(&self) -> Arc<[HeaderName]> {
        // Without names nothing is allocated.
        self.more()
            .map_or_else(Arc::default, |more| Arc::clone(&more.names))
    }

    /// The fields that select among the key's variants, once a sidecar that names `names` was found for `id`:
    /// the base lists them all, a variant those that were known when it was made.
    pub(crate) fn names_with(&self, id: Option<VariantId>, names: Vec<HeaderName>) -> Vec<HeaderName> {
        if id.is_none() {
            return names;
        }
        if self.variant(None).is_some() {
            return self.names().to_vec();
        }
        sorted(self.names().iter().cloned().chain(names))
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            line: crate::key::line_of(&self.key),
            own: self.own(),
            tags: self,
        }
    }

    /// What its renderings are made of.
    pub(super) fn parts(&self) -> impl Iterator<Item = PartHash> {
        let others = self.others().iter().map(|other| &other.parts);
        let first = self.rest.iter().map(|rest| &rest.parts);
        first.chain(others).flatten().copied()
    }

    fn packed(&self) -> impl Iterator<Item = &Packed> {
        self.first
            .iter()
            .chain(self.others().iter().map(|other| &other.packed))
    }

    pub(crate) fn variants(&self) -> impl Iterator<Item = VariantEntry> {
        self.packed().map(|packed| packed.entry())
    }

    pub(crate) fn variant(&self, id: Option<VariantId>) -> Option<VariantEntry> {
        self.packed()
            .find(|packed| packed.id() == id)
            .map(|packed| packed.entry())
    }

    /// What is known of the coded forms of the same body stays.
    pub(crate) fn with_variant(self, entry: VariantEntry, parts: Box<[PartHash]>) -> Self {
        let entry = match self.variant(entry.id) {
            Some(known) => entry.keeping(&known),
            None => entry,
        };
        self.with(entry, Some(parts))
    }

    /// With another state of a rendering that is known.
    pub(crate) fn with_state(self, entry: VariantEntry) -> Self {
        self.with(entry, None)
    }

    /// With this known of the coded forms of one variant.
    pub(crate) fn with_coded(self, id: Option<VariantId>, coded: Coded) -> Self {
        match self.variant(id) {
            Some(known) => self.with(VariantEntry { coded, ..known }, None),
            None => self,
        }
    }

    /// Without parts those that are known stay.
    fn with(mut self, entry: VariantEntry, parts: Option<Box<[PartHash]>>) -> Self {
        let packed = Packed::of(entry);
        if self.first.is_none_or(|first| first.id() == packed.id()) {
            self.first = Some(packed);
            if let Some(parts) = parts.filter(|parts| self.rest.is_some() || !parts.is_empty()) {
                self.change_rest(|rest| rest.parts = parts);
            }
            return self;
        }
        self.change_more(|more| {
            let known = more
                .variants
                .iter()
                .position(|other| other.packed.id() == packed.id());
            let known = known.map(|at| more.variants.remove(at).parts);
            more.variants.reserve_exact(1);
            more.variants.push(Other {
                packed,
                parts: parts.or(known).unwrap_or_default(),
            });
        });
        self
    }

    /// Without one variant; nothing when it was the last rendering.
    pub(crate) fn without_variant(mut self, id: Option<VariantId>) -> Option<Self> {
        self.change_more(|more| more.variants.retain(|other| other.packed.id() != id));
        if self.first.is_some_and(|first| first.id() == id) {
            let mut next = None;
            self.change_more(|more| next = more.variants.pop());
            self.first = next.as_ref().map(|other| other.packed);
            self.change_rest(|rest| rest.parts = next.map(|other| other.parts).unwrap_or_default());
        }
        match self.renderings() {
            0 => None,
            _ => Some(self),
        }
    }

    /// To be validated, all of it.
    pub(crate) fn invalidated(mut self) -> Self {
        let mark = |packed: &mut Packed| packed.generated = Packed::INVALIDATED;
        self.first.iter_mut().for_each(mark);
        self.others_mut().for_each(mark);
        self
    }

    /// The same, but for the rendering without any of the fields.
    pub(super) fn with_variants_invalidated(mut self) -> Self {
        let mark = |packed: &mut Packed| packed.generated = Packed::INVALIDATED;
        let first = self.first.iter_mut();
        first.filter(|packed| packed.has_id).for_each(mark);
        self.others_mut().filter(|packed| packed.has_id).for_each(mark);
        self
    }

    pub(crate) fn renderings(&self) -> usize {
        self.packed()
            .filter(|variant| variant.rendering.is_some())
            .count()
    }

    /// How many renderings there are beside the one without any of the fields.
    pub(crate) fn with_fields(&self) -> usize {
        self.packed()
            .filter(|variant| variant.rendering.is_some() && variant.has_id)
            .count()
    }

    /// Whether the operator has said what stands here, whatever the backend says.
    pub(super) fn is_tombstone(&self) -> bool {
        self.packed()
            .any(|variant| !variant.has_id && variant.rendering == Some(RenderingOrigin::Operator))
    }

    pub(crate) fn used(&self) -> Used {
        Used {
            renderings: self.renderings() as u64,
            blocks: self
                .packed()
                .map(|variant| u64::from(variant.blocks) + u64::from(variant.coded_blocks))
                .sum(),
        }
    }

    /// The host that the key names, while no `public_url` makes it the same for all.
    pub(crate) fn host(&self) -> Option<&str> {
        crate::key::part_of(&self.key, "host")
    }
}

/// Names in their one order.
pub(crate) fn sorted(names: impl IntoIterator<Item = HeaderName>) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = names.into_iter().collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::super::forms::FormSets;
    use super::*;
    use crate::tags::Tags;

    #[test]
    fn an_entry_is_small_and_what_is_packed_comes_out_as_it_was() {
        assert!(size_of::<KeyEntry>() <= 96, "{}", size_of::<KeyEntry>());
        assert!(size_of::<Rest>() <= 24, "{}", size_of::<Rest>());
        let variant = VariantEntry::nowhere();
        let digest = 0x5c0d_11aa_0000_0007;
        for generated in [Generated::At(7), Generated::Unmarked, Generated::Invalidated] {
            for id in [None, Some(VariantId(0x5c0d_11aa))] {
                for rendering in [
                    None,
                    Some(RenderingOrigin::Backend),
                    Some(RenderingOrigin::Operator),
                ] {
                    let variant = VariantEntry {
                        id,
                        digest,
                        generated,
                        rendering,
                        coded: Coded {
                            seal: 7,
                            blocks: 3,
                            forms: FormSets {
                                ready: crate::coding::Coding::Zstd.into(),
                                ..FormSets::default()
                            },
                        },
                        ..variant
                    };
                    assert_eq!(Packed::of(variant).entry(), variant);
                }
            }
        }
    }

    #[test]
    fn variants_come_and_go() {
        let page = VariantEntry::nowhere();
        let key = Key::from_text("GET:/a");
        let base =
            KeyEntry::of(None, &key, &[], "GET:/a", Life::stored(7)).with_variant(page, Box::default());
        let variant = |n: u32, blocks| VariantEntry {
            id: Some(VariantId(n)),
            digest: u64::from(n) << 32,
            blocks,
            rendering: Some(RenderingOrigin::Backend),
            ..page
        };
        let ids = |entry: &KeyEntry| {
            let mut ids: Vec<_> = entry
                .variants()
                .map(|variant| (variant.id, variant.blocks))
                .collect();
            ids.sort();
            ids
        };
        let tags = |tag: &str| Tags::of([tag]).hashes().collect();
        let entry = base
            .with_variant(variant(1, 2), tags("gone"))
            .with_variant(variant(2, 3), tags("two"))
            .with_variant(variant(1, 4), tags("one"));
        let tagged =
            |entry: &KeyEntry| ["gone", "one", "two"].map(|tag| entry.has(&Tag::parse(tag).unwrap()));
        assert_eq!(tagged(&entry), [false, true, true]);
        let changed = entry.clone().with_state(variant(2, 9)).invalidated();
        assert_eq!(
            tagged(&changed),
            [false, true, true],
            "a new state is the same rendering"
        );
        let [one, two] = [1, 2].map(|n| Some(VariantId(n)));
        assert_eq!(ids(&entry), [(None, 1), (one, 4), (two, 3)]);
        assert_eq!(
            (entry.renderings(), entry.with_fields(), entry.used().blocks),
            (2, 2, 8)
        );
        assert!(
            entry
                .clone()
                .invalidated()
                .variants()
                .all(|variant| variant.generated == Generated::Invalidated)
        );

        let entry = entry.without_variant(None).unwrap();
        assert_eq!(ids(&entry), [(one, 4), (two, 3)]);
        let entry = entry.without_variant(two).unwrap();
        assert_eq!(ids(&entry), [(one, 4)]);
        assert_eq!(tagged(&entry), [false, true, false]);
        let entry = entry.with_variant(variant(1, 4), Box::default());
        assert!(entry.rest.is_none(), "nothing is left apart");
        assert!(entry.without_variant(one).is_none());
    }
}
