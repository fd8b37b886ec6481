//! A rendering as the index keeps it: in as few bytes as it can be told by.

use crate::fsops::FileStamp;
use crate::head::{Generated, RenderingOrigin, VariantId};

use super::entry::VariantEntry;
use super::forms::{Coded, FormSets};

/// A [`VariantEntry`], as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) sidecar: FileStamp,
    pub(super) digest: u64,
    pub(super) seal: u64,
    /// Seconds since 1970, or one of two that are later than any.
    pub(super) generated: u32,
    pub(super) blocks: u32,
    pub(super) coded_blocks: u32,
    /// [`FormSets`].
    pub(super) forms: u16,
    /// The id itself is the digest's beginning.
    pub(super) has_id: bool,
    pub(super) rendering: Option<RenderingOrigin>,
}

impl Packed {
    const UNMARKED: u32 = u32::MAX;
    pub(super) const INVALIDATED: u32 = u32::MAX - 1;

    pub(super) fn of(variant: VariantEntry) -> Self {
        Self {
            sidecar: variant.sidecar,
            digest: variant.digest,
            generated: match variant.generated {
                Generated::At(seconds) => u32::try_from(seconds).map_or(Self::INVALIDATED - 1, |seconds| {
                    seconds.min(Self::INVALIDATED - 1)
                }),
                Generated::Unmarked => Self::UNMARKED,
                Generated::Invalidated => Self::INVALIDATED,
            },
            blocks: variant.blocks,
            seal: variant.coded.seal,
            coded_blocks: variant.coded.blocks,
            forms: variant.coded.forms.to_bits(),
            has_id: variant.id.is_some(),
            rendering: variant.rendering,
        }
    }

    pub(super) fn id(self) -> Option<VariantId> {
        self.has_id.then(|| VariantId::of_digest(self.digest))
    }

    pub(super) fn entry(self) -> VariantEntry {
        VariantEntry {
            id: self.id(),
            digest: self.digest,
            generated: match self.generated {
                Self::UNMARKED => Generated::Unmarked,
                Self::INVALIDATED => Generated::Invalidated,
                seconds => Generated::At(seconds.into()),
            },
            sidecar: self.sidecar,
            blocks: self.blocks,
            coded: Coded {
                seal: self.seal,
                blocks: self.coded_blocks,
                forms: FormSets::from_bits(self.forms),
            },
            rendering: self.rendering,
        }
    }
}
