//! Two renderings, piece by piece.

use http::HeaderMap;
use http::header::{self, HeaderName};
use similar::{Algorithm, DiffTag, capture_diff_slices_deadline};

use crate::compare::hunks::deadline;
use crate::compare::lines::Kind;
use crate::compare::markup::{Tag, Token, What, tokens};
use crate::proxy::Rendition;

use super::Noise;
use super::kind::{Near, NoiseKind, kind_of, words};

/// After so much it is enough.
const MOST_FOUND: usize = 2_000;
/// Longer pieces are cut.
const LONGEST: usize = 80;

/// What differs.
pub(in crate::compare) fn between(first: &Rendition, second: &Rendition) -> Vec<Noise> {
    let mut noises = Vec::new();
    headers(first, second, &mut noises);
    if first.seal == second.seal {
        return noises;
    }
    let (Some(one), Some(other)) = (&first.body, &second.body) else {
        noises.push(Noise::of(NoiseKind::Bytes, "body", None));
        return noises;
    };
    match Kind::of(&first.headers, one) {
        Kind::Bytes => noises.push(Noise::of(NoiseKind::Bytes, "body", None)),
        kind => {
            let count = noises.len();
            bodies(&taken_apart(kind, one), &taken_apart(kind, other), &mut noises);
            if noises.len() == count {
                noises.push(Noise::of(NoiseKind::Space, "body", None));
            }
        }
    }
    noises
}

impl Noise {
    fn of(kind: NoiseKind, place: &str, line: Option<usize>) -> Self {
        Self {
            kind,
            place: place.into(),
            line,
            seen: (String::new(), String::new()),
            is_left_out: false,
        }
    }
}

fn headers(first: &Rendition, second: &Rendition, noises: &mut Vec<Noise>) {
    let mut names: Vec<&HeaderName> = first.headers.keys().chain(second.headers.keys()).collect();
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    let is_same_body = first.seal == second.seal;
    let is_kept = |name: &HeaderName| {
        let mut heads = [first, second].into_iter().filter_map(|one| one.head.as_ref());
        let is_validator = *name == header::ETAG || *name == header::LAST_MODIFIED;
        heads.any(|head| head.headers.contains_key(name)) && !(is_validator && is_same_body)
    };
    for name in names {
        let (one, other) = (values(&first.headers, name), values(&second.headers, name));
        // What every answer has is no news.
        if one == other || *name == header::DATE {
            continue;
        }
        let place = format!("header {name}");
        let secret = *name == header::SET_COOKIE;
        let mut noise = match secret {
            true => Noise::of(NoiseKind::Cookie, &place, None),
            false => {
                let near = Near::default();
                pieces(&one, &other, &near)
                    .into_iter()
                    .map(|(kind, seen)| Noise {
                        seen,
                        ..Noise::of(kind, &place, None)
                    })
                    .next()
                    .unwrap_or_else(|| Noise::of(NoiseKind::Text, &place, None))
            }
        };
        noise.is_left_out = !is_kept(name);
        noises.push(noise);
    }
}

fn values(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    lines.join(", ")
}

fn taken_apart(kind: Kind, body: &[u8]) -> Vec<Token> {
    let text = String::from_utf8_lossy(body);
    match kind {
        Kind::Html => tokens(&text),
        _ => text
            .lines()
            .enumerate()
            .map(|(at, line)| Token {
                at: at + 1,
                what: What::Text(line.trim_end().to_owned()),
            })
            .collect(),
    }
}

fn bodies(one: &[Token], other: &[Token], noises: &mut Vec<Noise>) {
    let whats = |tokens: &[Token]| tokens.iter().map(|token| token.what.clone()).collect::<Vec<_>>();
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &whats(one), &whats(other), deadline());
    for op in ops {
        let (tag, old, new) = op.as_tag_tuple();
        if tag == DiffTag::Equal {
            continue;
        }
        let (old, new) = (
            one.get(old).unwrap_or_default(),
            other.get(new).unwrap_or_default(),
        );
        for pair in 0..old.len().max(new.len()) {
            if noises.len() >= MOST_FOUND {
                return;
            }
            match (old.get(pair), new.get(pair)) {
                (Some(one), Some(other)) => tokens_differ(one, other, noises),
                (Some(alone), None) | (None, Some(alone)) => {
                    noises.push(Noise::of(
                        NoiseKind::Structure,
                        &place_of(&alone.what),
                        Some(alone.at),
                    ));
                }
                (None, None) => {}
            }
        }
    }
}

fn place_of(what: &What) -> String {
    match what {
        What::Text(_) => "text".into(),
        What::Other(_) => "comment".into(),
        What::Raw(element, _) => format!("<{element}>"),
        What::Tag(tag) => format!("<{}{}>", if tag.is_end { "/" } else { "" }, tag.name),
    }
}

fn tokens_differ(one: &Token, other: &Token, noises: &mut Vec<Noise>) {
    let place = place_of(&one.what);
    let mut tell = |(one, other): (&str, &str), near: &Near<'_>, place: &str, line: usize| {
        for (kind, seen) in pieces(one, other, near) {
            noises.push(Noise {
                seen,
                ..Noise::of(kind, place, Some(line))
            });
        }
    };
    match (&one.what, &other.what) {
        (What::Text(a), What::Text(b)) | (What::Other(a), What::Other(b)) => {
            tell((a, b), &Near::default(), &place, one.at);
        }
        (What::Raw(element, a), What::Raw(same, b)) if element == same => {
            tell((a, b), &Near::default(), &place, one.at);
        }
        (What::Tag(a), What::Tag(b)) if a.name == b.name && names(a) == names(b) => {
            for ((name, before), (_, after)) in a.attributes.iter().zip(&b.attributes) {
                if before == after {
                    continue;
                }
                let near = Near {
                    attribute: Some(name),
                    name: a.value("name"),
                };
                let values = (before.as_deref().unwrap_or(""), after.as_deref().unwrap_or(""));
                tell(values, &near, &format!("<{} {name}>", a.name), one.at);
            }
        }
        _ => noises.push(Noise::of(NoiseKind::Structure, &place, Some(one.at))),
    }
}

fn names(tag: &Tag) -> Vec<&str> {
    tag.attributes.iter().map(|(name, _)| &**name).collect()
}

/// The words that differ, each of them once.
fn pieces(one: &str, other: &str, near: &Near<'_>) -> Vec<(NoiseKind, (String, String))> {
    let (before, after) = (words(one), words(other));
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &before, &after, deadline());
    let mut found: Vec<(NoiseKind, (String, String))> = Vec::new();
    for op in ops {
        let (tag, old, new) = op.as_tag_tuple();
        if tag == DiffTag::Equal {
            continue;
        }
        let join = |words: Option<&[&str]>| words.unwrap_or_default().concat();
        let pair = (join(before.get(old)), join(after.get(new)));
        let kind = kind_of((&pair.0, &pair.1), near);
        let seen = match kind.is_secret() {
            true => (String::new(), String::new()),
            false => (cut(&pair.0), cut(&pair.1)),
        };
        if !found.iter().any(|(own, _)| *own == kind) {
            found.push((kind, seen));
        }
    }
    found
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(one: &str, other: &str) -> Vec<String> {
        let mut noises = Vec::new();
        let apart = |text: &str| taken_apart(Kind::Html, text.as_bytes());
        bodies(&apart(one), &apart(other), &mut noises);
        let shown = |noise: Noise| {
            let line = noise.line.unwrap_or(0);
            format!("{} {line} {} {:?}", noise.place, noise.kind.as_str(), noise.seen)
        };
        noises.into_iter().map(shown).collect()
    }

    #[test]
    fn noise_is_told_by_place_and_kind() {
        let page = |nonce: &str, token: &str, build: &str, time: &str, id: &str| {
            format!(
                "<html>\n<script nonce=\"{nonce}\" src=/_next/static/{build}/main.js></script>\n\
                 <input name=csrf_token value={token}>\n<p id=\"r{id}\">at {time} o'clock</p>\n<script>var t = {{a: \"{id}\"}};</script>"
            )
        };
        let one = page(
            "abcDEF12345678",
            "s3cr3t",
            "bx7Q9kLm2PzR",
            "2026-11-23T10:00:01Z",
            "9f8e7d6c5b4a",
        );
        let other = page(
            "zyxWVU87654321",
            "0th3r",
            "Kq8W1zzT5yUv",
            "2026-11-23T10:00:02Z",
            "1a2b3c4d5e6f",
        );
        assert_eq!(
            found(&one, &other),
            [
                "<script nonce> 2 nonce (\"\", \"\")",
                "<script src> 2 build-id (\"bx7Q9kLm2PzR\", \"Kq8W1zzT5yUv\")",
                "<input value> 3 csrf-token (\"\", \"\")",
                "<p id> 4 random-id (\"r9f8e7d6c5b4a\", \"r1a2b3c4d5e6f\")",
                "text 4 time (\"2026-11-23T10:00:01Z\", \"2026-11-23T10:00:02Z\")",
                "<script> 5 random-id (\"9f8e7d6c5b4a\", \"1a2b3c4d5e6f\")",
            ]
        );
    }

    #[test]
    fn what_is_there_once_is_told_as_such() {
        assert_eq!(
            found("<p>a</p>", "<p>a</p><i>b</i>"),
            [
                "<i> 1 structure (\"\", \"\")",
                "text 1 structure (\"\", \"\")",
                "</i> 1 structure (\"\", \"\")"
            ]
        );
        assert_eq!(found("<p a=1>", "<p b=1>"), ["<p> 1 structure (\"\", \"\")"]);
    }
}
