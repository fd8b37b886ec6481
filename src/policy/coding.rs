//! Which stored pages are kept ready in a content coding, and which coding a client gets (RFC 9110 §12.5.3).

use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode};

use crate::coding::{Coding, Codings};
use crate::head::StoredHead;
use crate::headers::{CDN_CACHE_CONTROL, list_values, weight};
use crate::policy::cache_control::directives;

/// A larger body is not compressed, in bytes: it is held in memory for that, and would keep the others waiting.
const LARGEST: u64 = 16 << 20;

/// Types beside `text/*` and those that end in `+json`, `+xml` or `+text` that become smaller. Of fonts those that
/// are not compressed in themselves, as WOFF is.
const COMPRESSIBLE: &[&str] = &[
    "application/dash+xml",
    "application/eot",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/ndjson",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "model/gltf+json",
    "model/obj",
];

/// The settings of compression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CodingRules {
    /// Best first, each once.
    order: Vec<Coding>,
    /// The smallest body that is coded, in bytes.
    least: u64,
}

impl CodingRules {
    /// `order` is by preference; what comes twice counts where it comes first.
    pub(crate) fn new(order: impl IntoIterator<Item = Coding>, least: u64) -> Self {
        let mut once = Vec::new();
        for coding in order {
            if !once.contains(&coding) {
                once.push(coding);
            }
        }
        Self { order: once, least }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn codings(&self) -> Codings {
        let all = self.order.iter();
        all.fold(Codings::default(), |all, coding| all.with(*coding))
    }

    /// In which codings a page with a body of so many bytes is to be ready.
    pub(crate) fn wanted(&self, head: &StoredHead, length: u64) -> Codings {
        match !self.is_off() && self.is_of_size(length) && may_be_coded(head) {
            true => self.codings(),
            false => Codings::default(),
        }
    }

    /// Whether a body of so many bytes is worth it.
    pub(crate) fn is_of_size(&self, length: u64) -> bool {
        (self.least.max(1)..=LARGEST).contains(&length)
    }
}

/// Whether a page may be sent in another coding than the one it came in.
pub(crate) fn may_be_coded(head: &StoredHead) -> bool {
    // RFC 9110 §7.7: "A proxy MUST NOT transform the content […] of a response message that contains a no-transform
    // Cache-Control directive". Whoever codes answers to a part of a page (206) knows nothing of the whole; what an
    // error or a redirect says is short.
    head.status == StatusCode::OK
        && !head.headers.contains_key(header::CONTENT_ENCODING)
        && !head.headers.contains_key(header::CONTENT_RANGE)
        && !says_no_transform(&head.headers)
        && head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(is_compressible)
}

/// In whichever field: it is about the content, and not only about this cache.
fn says_no_transform(headers: &HeaderMap) -> bool {
    let lines = [header::CACHE_CONTROL, CDN_CACHE_CONTROL].map(|name| headers.get_all(name));
    lines.into_iter().flatten().any(|line| {
        let text = String::from_utf8_lossy(line.as_bytes());
        let mut said = directives(&text).into_iter();
        said.any(|directive| directive.name.eq_ignore_ascii_case("no-transform"))
    })
}

fn is_compressible(kind: &HeaderValue) -> bool {
    let Ok(text) = kind.to_str() else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let ends_in = |suffix: &str| {
        let start = essence.len().saturating_sub(suffix.len());
        essence
            .get(start..)
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    let is_text = essence
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    is_text
        || ["+json", "+xml", "+text"].into_iter().any(ends_in)
        || COMPRESSIBLE
            .iter()
            .any(|known| known.eq_ignore_ascii_case(essence))
}

/// What a client says of codings, in thousandths; of what it does not name, nothing.
#[derive(Debug, Default)]
struct Accepted {
    codings: [Option<u32>; Coding::ALL.len()],
    identity: Option<u32>,
    any: Option<u32>,
}

impl Accepted {
    fn of(client: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for element in list_values(client, &header::ACCEPT_ENCODING) {
            let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
            if let Some(place) = accepted.place(name.trim()) {
                // What is named twice counts as it was named first.
                place.get_or_insert_with(|| weight(parameters));
            }
        }
        accepted
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<u32>> {
        if name == "*" {
            return Some(&mut self.any);
        }
        if name.eq_ignore_ascii_case("identity") {
            return Some(&mut self.identity);
        }
        // RFC 9110 §8.4.1.3: "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"."
        let coding = match name.eq_ignore_ascii_case("x-gzip") {
            true => Coding::Gzip,
            false => Coding::of_token(name)?,
        };
        self.codings.get_mut(coding as usize)
    }

    /// RFC 9110 §12.5.3: `*` "matches any available content coding not explicitly listed".
    fn of_coding(&self, coding: Coding) -> u32 {
        let said = self.codings.get(coding as usize).copied().flatten();
        said.or(self.any).unwrap_or(0)
    }
}

/// The coding that a client gets of those that are ready; none is the page as it is.
///
/// RFC 9110 §12.5.3: the highest quality above zero. Identity counts as the least of all where it has no quality of
/// its own, and where it is as good as a coding, the coding is sent: it is what is shorter. "If no Accept-Encoding
/// header field is in the request, any content coding is considered acceptable"; who does not send it most often
/// reads none. To whom nothing is acceptable the page as it is is sent, where the clause would allow an error.
pub(crate) fn choose(client: &HeaderMap, ready: Codings, rules: &CodingRules) -> Option<Coding> {
    if !client.contains_key(header::ACCEPT_ENCODING) {
        return None;
    }
    let accepted = Accepted::of(client);
    let mut best = None;
    let mut least = accepted.identity.unwrap_or(0).max(1);
    for coding in rules.order.iter().copied().filter(|coding| ready.has(*coding)) {
        let quality = accepted.of_coding(coding);
        if quality >= least {
            // Of equal ones the first.
            least = quality + 1;
            best = Some(coding);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::header_map;

    use Coding::{Brotli, Gzip, Zstd};

    fn all() -> Codings {
        CodingRules::new(Coding::ALL, 0).codings()
    }

    #[test]
    fn a_client_gets_the_best_that_it_reads_and_that_is_ready() {
        let rules = CodingRules::new([Brotli, Zstd, Gzip, Brotli], 0);
        for (accepted, ready, expected) in [
            (None, all(), None),
            (Some(""), all(), None),
            (Some("gzip"), all(), Some(Gzip)),
            (Some("GZIP"), all(), Some(Gzip)),
            (Some("x-gzip"), all(), Some(Gzip)),
            (Some("gzip, deflate, br, zstd"), all(), Some(Brotli)),
            (Some("gzip, deflate, br, zstd"), Gzip.into(), Some(Gzip)),
            (Some("gzip, br"), Zstd.into(), None),
            (Some("gzip, br"), Codings::default(), None),
            (Some("gzip;q=1.0, br;q=0.9"), all(), Some(Gzip)),
            (Some("br;q=0.5, zstd;q=0.5, gzip;q=0.4"), all(), Some(Brotli)),
            (Some("br;q=0, gzip"), all(), Some(Gzip)),
            (Some("br;q=0.000"), all(), None),
            (Some("br;q=0, br"), all(), None),
            (Some("*"), all(), Some(Brotli)),
            (Some("*"), Zstd.into(), Some(Zstd)),
            (Some("br;q=0, *"), all(), Some(Zstd)),
            (Some("*;q=0, gzip"), all(), Some(Gzip)),
            (Some("*;q=0"), all(), None),
            (Some("identity"), all(), None),
            (Some("identity, gzip"), all(), Some(Gzip)),
            (Some("identity, gzip;q=0.9"), all(), None),
            (Some("identity;q=0.5, gzip;q=0.4, *;q=0"), all(), None),
            (Some("identity;q=0, gzip"), all(), Some(Gzip)),
            (Some("identity;q=0, gzip"), Brotli.into(), None),
            (Some("gzip;q=0.001"), all(), Some(Gzip)),
            (Some("gzip;q=x"), all(), None),
            (Some("deflate, compress"), all(), None),
        ] {
            let fields: Vec<_> = accepted
                .map(|value| ("accept-encoding", value))
                .into_iter()
                .collect();
            assert_eq!(
                choose(&header_map(&fields), ready, &rules),
                expected,
                "{accepted:?} of {ready:?}"
            );
        }
        let lines = header_map(&[("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "br")]);
        assert_eq!(choose(&lines, all(), &rules), Some(Brotli));
        let reversed = CodingRules::new([Gzip, Brotli], 0);
        assert_eq!(
            choose(
                &header_map(&[("accept-encoding", "br, gzip, zstd")]),
                all(),
                &reversed
            ),
            Some(Gzip)
        );
    }

    #[test]
    fn what_becomes_smaller_and_may_be_changed_is_coded() {
        const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
        let kind = |value| vec![("content-type", value)];
        for (status, fields, expected) in [
            (200, vec![HTML], true),
            (200, kind("Application/JSON"), true),
            (200, kind("application/ld+json;profile=x"), true),
            (200, kind("image/svg+xml"), true),
            (200, kind("application/wasm"), true),
            (200, kind("font/ttf"), true),
            (200, kind("TEXT/CSS"), true),
            (200, kind("font/woff2"), false),
            (200, kind("image/png"), false),
            (200, kind("application/octet-stream"), false),
            (200, kind("texture/x"), false),
            (200, kind(""), false),
            (200, vec![], false),
            (404, vec![HTML], false),
            (301, vec![HTML], false),
            (200, vec![HTML, ("content-encoding", "br")], false),
            (200, vec![HTML, ("content-encoding", "identity")], false),
            (
                200,
                vec![HTML, ("cache-control", "max-age=5, No-Transform")],
                false,
            ),
            (
                200,
                vec![
                    HTML,
                    ("cache-control", "max-age=5"),
                    ("cache-control", "no-transform"),
                ],
                false,
            ),
            (
                200,
                vec![
                    HTML,
                    ("cdn-cache-control", "max-age=5"),
                    ("cache-control", "no-transform"),
                ],
                false,
            ),
            (200, vec![HTML, ("cache-control", "x=\"no-transform\"")], true),
        ] {
            let head = StoredHead {
                status: StatusCode::from_u16(status).unwrap(),
                headers: header_map(&fields),
                expires_after: None,
                tags: crate::tags::Tags::default(),
                ready: crate::head::Ready::default(),
            };
            assert_eq!(may_be_coded(&head), expected, "{status} {fields:?}");
            let rules = CodingRules::new([Gzip], 100);
            assert_eq!(
                rules.wanted(&head, 100).has(Gzip),
                expected,
                "{status} {fields:?}"
            );
            assert!(rules.wanted(&head, 99).is_empty() && rules.wanted(&head, LARGEST + 1).is_empty());
            assert!(CodingRules::default().wanted(&head, 100).is_empty());
        }
        assert!(!CodingRules::new([Gzip], 0).is_of_size(0));
    }
}
