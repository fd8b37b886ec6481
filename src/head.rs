//! What is kept of a response beside its body: plain data, no serde, no I/O.

use std::fmt;
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::assets::Assets;
use crate::clock::http_date;
use crate::pattern::Subject;
use crate::tags::{NO_TAGS, PartHash, Tags};

/// blake3 of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seal(pub(crate) blake3::Hash);

impl Seal {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes))
    }

    pub(crate) fn hex(&self) -> String {
        self.0.to_hex().to_string()
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(Self)
    }

    /// The first 16 hex digits, for file names.
    pub(crate) fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(16);
        hex
    }

    /// What [`short`](Self::short) says, as a number.
    pub(crate) fn first_bits(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = *self.0.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Sub-second part of the sidecar's time, in nanoseconds: steps of 100, never zero. A time set by
    /// git, cp or a container layer does not carry it.
    pub(crate) fn mark_nanos(&self) -> u32 {
        let [a, b, c, d, ..] = *self.0.as_bytes();
        (1 + u32::from_le_bytes([a, b, c, d]) % 9_999_999) * 100
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// When the origin generated a response: response time less its corrected initial age
/// (RFC 9111 §4.2.3), in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated {
    /// Known, because we set it.
    At(u64),
    /// The file's time, set by another program: says nothing about the response.
    Unmarked,
    /// Invalidated but kept: to be validated before use.
    Invalidated,
}

/// What selects one of a key's variants: the fields that `Vary` names, sorted, each with its
/// normalised value or its absence. An absent field is as one that is not named: only those that are there
/// make a variant, so that a name more moves none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VariantKey(pub(crate) Vec<(HeaderName, Option<Box<str>>)>);

/// The eight hex digits behind `~` in a variant's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VariantId(pub(crate) u32);

impl VariantId {
    /// The beginning of [`VariantKey::digest`].
    pub(crate) fn of_digest(digest: u64) -> Self {
        let [a, b, c, d, ..] = digest.to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl VariantKey {
    /// `None` for the rendering without any of the fields, which has the key's own name.
    pub(crate) fn id(&self) -> Option<VariantId> {
        if self.0.iter().all(|(_, value)| value.is_none()) {
            return None;
        }
        Some(VariantId::of_digest(self.digest()))
    }

    /// Whether the field is one that selects it.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// The fields that are there.
    fn present(&self) -> impl Iterator<Item = (&HeaderName, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Whether both are one variant.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.present().eq(other.present())
    }

    /// The first 64 bits of the hash of the fields that are there and their values.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for (name, value) in self.present() {
            for part in [name.as_str(), value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Names and values; absence is another than an empty value.
    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for (name, value) in &self.0 {
            hasher.update(&(name.as_str().len() as u64).to_le_bytes());
            hasher.update(name.as_str().as_bytes());
            match value {
                Some(value) => {
                    hasher.update(&(value.len() as u64).to_le_bytes());
                    hasher.update(value.as_bytes());
                }
                None => {
                    hasher.update(&u64::MAX.to_le_bytes());
                }
            }
        }
    }

    pub(crate) fn names(&self) -> Vec<HeaderName> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The directives that matter to a shared cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CacheControl {
    /// Given by `CDN-Cache-Control`: `Expires` does not count.
    pub(crate) is_targeted: bool,
    pub(crate) no_store: bool,
    /// Also in its qualified form: serving all but some fields is not worth the risk.
    pub(crate) no_cache: bool,
    /// Also in its qualified form.
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    /// Seconds.
    pub(crate) max_age: Option<u64>,
    /// Seconds.
    pub(crate) s_maxage: Option<u64>,
    /// Seconds after the lifetime (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Option<u64>,
    /// Seconds after the lifetime (RFC 5861 §4).
    pub(crate) stale_if_error: Option<u64>,
}

/// What a stored head comes to, worked out once, when it is first asked for. A copy, which may be changed, has nothing
/// of it yet.
#[derive(Default)]
pub(crate) struct Ready {
    /// The directives among its fields.
    pub(crate) control: OnceLock<CacheControl>,
    /// Its fields, with places for those that each answer says anew.
    pub(crate) fields: OnceLock<HeaderMap>,
    /// Those of a 304 for it, in the same way.
    pub(crate) unchanged: OnceLock<HeaderMap>,
    pub(crate) date: Dated,
    pub(crate) expires: Dated,
}

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the other fields of a head do not.
impl PartialEq for Ready {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

/// A date field's value, kept for the first second that it was asked for: as long as a page is the same, its `Date` is.
#[derive(Debug, Default)]
pub(crate) struct Dated(OnceLock<(u64, HeaderValue)>);

impl Dated {
    /// `seconds` since 1970, as HTTP writes them.
    pub(crate) fn at(&self, seconds: u64) -> HeaderValue {
        let (known, value) = self.0.get_or_init(|| (seconds, date(seconds)));
        match *known == seconds {
            true => value.clone(),
            false => date(seconds),
        }
    }
}

fn date(seconds: u64) -> HeaderValue {
    // A date is visible ASCII.
    HeaderValue::from_str(&http_date(seconds)).unwrap_or(HeaderValue::from_static(""))
}

/// Status and fields of a stored response.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredHead {
    pub(crate) status: StatusCode,
    /// End-to-end fields, without volatile ones, `Date`, `Age`, `Expires` and `Content-Length`.
    pub(crate) headers: HeaderMap,
    /// `Expires` less `Date`, in seconds; kept so, because both change with every rendering.
    pub(crate) expires_after: Option<u64>,
    /// What the backend says it is made of; no client is told.
    pub(crate) tags: Tags,
    /// What the others come to. Whoever changes them has a copy.
    pub(crate) ready: Ready,
}

/// A rendering, as far as it is compared with another.
pub(crate) struct Rendered<'a> {
    pub(crate) head: &'a StoredHead,
    /// Of the body, in bytes.
    pub(crate) length: u64,
    /// So many of the body's last bytes; nothing where they cannot be read.
    pub(crate) end: &'a dyn Fn(usize) -> Option<Vec<u8>>,
}

/// The body of a stored response, as the sidecar seals it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedBody {
    /// File name, without folders.
    pub(crate) file: Box<str>,
    pub(crate) length: u64,
    pub(crate) seal: Seal,
    /// The hashed assets that it names.
    pub(crate) assets: Assets,
}

/// A response under a variant of a key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rendering {
    pub(crate) head: StoredHead,
    /// `None`: the response has no body, and there is no body file.
    pub(crate) body: Option<SealedBody>,
    pub(crate) origin: RenderingOrigin,
}

impl Rendering {
    /// What it is made of, for the index. `key` is the whole text.
    pub(crate) fn parts(&self, key: &str) -> Box<[PartHash]> {
        let host = crate::key::part_of(key, "host");
        let assets = self.body.iter().flat_map(|body| body.assets.iter());
        let assets = assets.map(|path| PartHash::of_asset(host, path));
        self.head.tags.hashes().chain(assets).collect()
    }
}

/// Whose word a rendering is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RenderingOrigin {
    #[default]
    Backend,
    /// A tombstone: the operator's, whatever the backend says.
    Operator,
}

/// Everything that a sidecar says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sidecar {
    /// The whole key text.
    pub(crate) key: Box<str>,
    pub(crate) method: Box<str>,
    /// Path and query, as sent on the fill.
    pub(crate) url: Box<str>,
    pub(crate) site: Option<Box<str>>,
    pub(crate) variant: VariantKey,
    /// `None`: only variants of this key are stored.
    pub(crate) rendering: Option<Rendering>,
}

impl Sidecar {
    /// Those of its rendering.
    pub(crate) fn tags(&self) -> &Tags {
        let rendering = self.rendering.as_ref();
        rendering.map_or(&NO_TAGS, |rendering| &rendering.head.tags)
    }

    /// What its rendering is made of, for the index.
    pub(crate) fn parts(&self) -> Box<[PartHash]> {
        let rendering = self.rendering.as_ref();
        rendering.map_or_else(Box::default, |rendering| rendering.parts(&self.key))
    }

    /// What patterns see; `own` is its [`own_line`](Self::own_line).
    pub(crate) fn subject<'a>(&'a self, own: &'a str) -> Subject<'a> {
        Subject {
            line: crate::key::line_of(&self.key),
            own: Some(own),
            tags: self.tags(),
        }
    }

    /// `METHOD:/path?query`, the snapshot's own line for patterns.
    pub(crate) fn own_line(&self) -> String {
        format!("{}:{}", self.method, self.url)
    }

    /// Whether the operator has said what stands here, whatever the backend says.
    pub(crate) fn is_tombstone(&self) -> bool {
        let rendering = self.rendering.as_ref();
        rendering.is_some_and(|rendering| rendering.origin == RenderingOrigin::Operator)
    }
}
