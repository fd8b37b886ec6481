//! The sidecar's text: TOML, stable fields only, in one fixed order, one header field a line, so that
//! the same page gives the same text and a changed field one changed line.

mod written;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::assets::Assets;
use crate::head::{Ready, Rendering, RenderingOrigin, Seal, SealedBody, Sidecar, StoredHead, VariantKey};
use crate::headers::is_hop_by_hop;
use crate::tags::Tags;

/// Version of the format.
pub(crate) const FORMAT: u32 = 1;
/// The largest sidecar that is read, in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 20;
/// The most header fields that are read: more than any backend may send.
const MAX_FIELDS: usize = 1024;

/// Why a text is no sidecar.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SidecarError {
    #[error("is not UTF-8")]
    Utf8,
    #[error("is not TOML of a sidecar's form: {0}")]
    Toml(String),
    #[error("has format {0}; this version reads format {FORMAT}")]
    Format(u32),
    #[error("has a value in `{0}` that cannot be")]
    Value(&'static str),
}

/// The shape of the file. `status` is absent where only variants of the key are stored.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
struct Shape<S> {
    format: u32,
    key: S,
    method: S,
    url: S,
    site: Option<S>,
    status: Option<u16>,
    tombstone: Option<bool>,
    #[serde(default = "Vec::new")]
    headers: Vec<Vec<S>>,
    #[serde(default = "Vec::new")]
    vary: Vec<Vec<S>>,
    #[serde(default = "Vec::new")]
    tags: Vec<S>,
    expires_after: Option<u64>,
    body: Option<S>,
    length: Option<u64>,
    seal: Option<S>,
    #[serde(default = "Vec::new")]
    assets: Vec<S>,
}

/// Writes a sidecar.
pub(crate) fn to_text(sidecar: &Sidecar) -> String {
    // Some fields of a page; more make it grow.
    let mut text = Text(String::with_capacity(1024));
    text.number("format", u64::from(FORMAT));
    text.line("key", &sidecar.key);
    text.line("method", &sidecar.method);
    text.line("url", &sidecar.url);
    if let Some(site) = &sidecar.site {
        text.line("site", site);
    }
    if !sidecar.variant.0.is_empty() {
        text.rows(
            "vary",
            sidecar.variant.0.iter(),
            |text, (name, value)| match value {
                Some(value) => text.row(&[name.as_str(), value]),
                None => text.row(&[name.as_str()]),
            },
        );
    }
    if let Some(rendering) = &sidecar.rendering {
        text.number("status", rendering.head.status.as_u16().into());
        if rendering.origin == RenderingOrigin::Operator {
            text.0.push_str("tombstone = true\n");
        }
        let fields = sorted_fields(&rendering.head.headers);
        text.rows("headers", fields.into_iter(), Text::field);
        if !rendering.head.tags.is_empty() {
            text.rows("tags", rendering.head.tags.iter(), |text, tag| text.quoted(tag));
        }
        if let Some(seconds) = rendering.head.expires_after {
            text.number("expires_after", seconds);
        }
        if let Some(body) = &rendering.body {
            text.line("body", &body.file);
            text.number("length", body.length);
            text.line("seal", &body.seal.hex());
            if !body.assets.is_empty() {
                text.rows("assets", body.assets.iter(), |text, asset| text.quoted(asset));
            }
        }
    }
    text.0
}

/// By name; lines of one name stay in the order in which they arrived.
fn sorted_fields(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let mut fields: Vec<_> = headers.iter().collect();
    fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    fields
}

/// A sidecar's text as far as it is written.
struct Text(String);

impl Text {
    fn number(&mut self, key: &str, value: u64) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn line(&mut self, key: &str, value: &str) {
        self.0.push_str(key);
        self.0.push_str(" = ");
        self.quoted(value);
        self.0.push('\n');
    }

    fn rows<T>(&mut self, key: &str, rows: impl Iterator<Item = T>, each: impl Fn(&mut Self, T)) {
        self.0.push_str(key);
        self.0.push_str(" = [\n");
        for row in rows {
            self.0.push_str("  ");
            each(self, row);
            self.0.push_str(",\n");
        }
        self.0.push_str("]\n");
    }

    fn field(&mut self, (name, value): (&HeaderName, &HeaderValue)) {
        match std::str::from_utf8(value.as_bytes()) {
            Ok(value) => self.row(&[name.as_str(), value]),
            Err(_) => self.row(&[name.as_str(), &BASE64.encode(value.as_bytes()), "base64"]),
        }
    }

    fn row(&mut self, cells: &[&str]) {
        self.0.push('[');
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                self.0.push_str(", ");
            }
            self.quoted(cell);
        }
        self.0.push(']');
    }

    fn quoted(&mut self, text: &str) {
        push_quoted(&mut self.0, text);
    }
}

/// A TOML basic string, on one line.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    quoted
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) =
        rest.find(|character: char| matches!(character, '"' | '\\') || character.is_control())
    {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = from.chars();
        match characters.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\t') => out.push_str("\\t"),
            Some(escaped @ ('"' | '\\')) => out.extend(['\\', escaped]),
            Some(control) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Reads a sidecar. Everything in it is checked like input from the network: it may have come from
/// anywhere.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Sidecar, SidecarError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SidecarError::Utf8)?;
    if let Some(shape) = written::read(text) {
        return sidecar_of(&shape);
    }
    let shape: Shape<String> =
        toml::from_str(text).map_err(|error| SidecarError::Toml(error.message().to_owned()))?;
    sidecar_of(&shape)
}

fn sidecar_of<S: AsRef<str>>(shape: &Shape<S>) -> Result<Sidecar, SidecarError> {
    if shape.format != FORMAT {
        return Err(SidecarError::Format(shape.format));
    }
    let mut variant = Vec::new();
    for row in &shape.vary {
        let (name, value) = match row.as_slice() {
            [name] => (name, None),
            [name, value] => (name, Some(value.as_ref().into())),
            _ => return Err(SidecarError::Value("vary")),
        };
        let name =
            HeaderName::from_bytes(name.as_ref().as_bytes()).map_err(|_| SidecarError::Value("vary"))?;
        variant.push((name, value));
    }
    Ok(Sidecar {
        rendering: rendering(shape)?,
        key: shape.key.as_ref().into(),
        method: shape.method.as_ref().into(),
        url: shape.url.as_ref().into(),
        site: shape.site.as_ref().map(|site| site.as_ref().into()),
        variant: VariantKey(variant),
    })
}

fn rendering<S: AsRef<str>>(shape: &Shape<S>) -> Result<Option<Rendering>, SidecarError> {
    let Some(status) = shape.status else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| is_of_a_page(*status))
        .ok_or(SidecarError::Value("status"))?;
    if shape.headers.len() > MAX_FIELDS {
        return Err(SidecarError::Value("headers"));
    }
    let mut headers = HeaderMap::with_capacity(shape.headers.len());
    for row in &shape.headers {
        let (name, value) = field(row).ok_or(SidecarError::Value("headers"))?;
        if !is_of_a_page_for_all(&name) || headers.try_append(name, value).is_err() {
            return Err(SidecarError::Value("headers"));
        }
    }
    let body = match (&shape.body, shape.length, &shape.seal) {
        (Some(file), Some(length), Some(seal)) if body_fits(status) => Some(SealedBody {
            // A name, never a path: the body stands beside its sidecar.
            file: Some(file.as_ref())
                .filter(|file| {
                    !file.contains(['/', '\\', '\0']) && !file.starts_with('.') && !file.is_empty()
                })
                .ok_or(SidecarError::Value("body"))?
                .into(),
            length,
            seal: Seal::from_hex(seal.as_ref()).ok_or(SidecarError::Value("seal"))?,
            assets: Assets::of(shape.assets.iter().map(AsRef::as_ref)),
        }),
        (None, None, None) => None,
        _ => return Err(SidecarError::Value("body, length, seal")),
    };
    // Fields that somebody wrote among the others are what they are.
    let of_fields = Tags::take(&mut headers);
    let named = shape.tags.iter().map(AsRef::as_ref);
    Ok(Some(Rendering {
        head: StoredHead {
            status,
            headers,
            tags: Tags::of(named.chain(of_fields.iter())),
            expires_after: shape.expires_after,
            ready: Ready::default(),
        },
        body,
        origin: match shape.tombstone {
            Some(true) => RenderingOrigin::Operator,
            Some(false) | None => RenderingOrigin::Backend,
        },
    }))
}

/// RFC 9110 §15: a part, a "not modified" and an interim response are not the page. What has no content
/// by definition has no body file (`body_fits`).
fn is_of_a_page(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
}

fn body_fits(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
}

/// Fields of a connection or about its framing are none of a page's, and a cookie is one visitor's.
fn is_of_a_page_for_all(name: &HeaderName) -> bool {
    !is_hop_by_hop(name)
        && !matches!(
            *name,
            header::CONTENT_LENGTH | header::TRAILER | header::SET_COOKIE
        )
}

fn field<S: AsRef<str>>(row: &[S]) -> Option<(HeaderName, HeaderValue)> {
    // Refuses CR, LF and NUL, which would split the response.
    let (name, value) = match row {
        [name, value] => (name, HeaderValue::from_bytes(value.as_ref().as_bytes())),
        [name, value, coding] if coding.as_ref() == "base64" => (
            name,
            HeaderValue::from_bytes(&BASE64.decode(value.as_ref()).ok()?),
        ),
        _ => return None,
    };
    Some((
        HeaderName::from_bytes(name.as_ref().as_bytes()).ok()?,
        value.ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Sidecar {
        let mut headers = HeaderMap::new();
        headers.append("x-b", HeaderValue::from_static("2"));
        headers.append("link", HeaderValue::from_static("<b>"));
        headers.append("link", HeaderValue::from_static("<a>"));
        headers.append("x-raw", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        headers.append("etag", HeaderValue::from_static("\"a\\b\""));
        Sidecar {
            key: "GET:/ä?\"\nhost 1:x".into(),
            method: "GET".into(),
            url: "/ä?\"".into(),
            site: Some("shop".into()),
            variant: VariantKey(vec![
                (HeaderName::from_static("accept-language"), Some("de".into())),
                (HeaderName::from_static("rsc"), None),
            ]),
            rendering: Some(Rendering {
                head: StoredHead {
                    status: StatusCode::OK,
                    headers,
                    expires_after: Some(60),
                    tags: Tags::of(["post-7", "news \"a\""]),
                    ready: Ready::default(),
                },
                body: Some(SealedBody {
                    file: "index.html".into(),
                    length: 3,
                    seal: Seal::of(b"abc"),
                    assets: Assets::of(["/b.3f9a2c1b.js", "/a-BxY12abc.css"]),
                }),
                origin: RenderingOrigin::Backend,
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut sidecar = example();
        assert_eq!(from_bytes(to_text(&sidecar).as_bytes()).unwrap(), sidecar);
        sidecar.rendering.as_mut().unwrap().origin = RenderingOrigin::Operator;
        let text = to_text(&sidecar);
        assert_eq!(from_bytes(text.as_bytes()).unwrap(), sidecar);
        // By the reader of any TOML, too, which passes over what it does not know.
        let other = text.replace("tombstone = true", "unknown = [1]\ntombstone  = true");
        assert_eq!(from_bytes(other.as_bytes()).unwrap(), sidecar);
        sidecar.rendering = None;
        assert_eq!(from_bytes(to_text(&sidecar).as_bytes()).unwrap(), sidecar);
    }

    #[test]
    fn fields_stand_one_a_line_sorted_by_name() {
        let text = to_text(&example());
        let names: Vec<_> = text.lines().filter(|line| line.starts_with("  [")).collect();
        assert_eq!(
            names,
            [
                "  [\"accept-language\", \"de\"],",
                "  [\"rsc\"],",
                "  [\"etag\", \"\\\"a\\\\b\\\"\"],",
                "  [\"link\", \"<b>\"],",
                "  [\"link\", \"<a>\"],",
                "  [\"x-b\", \"2\"],",
                "  [\"x-raw\", \"//4=\", \"base64\"],",
            ]
        );
        assert!(
            text.contains("\ntags = [\n  \"news \\\"a\\\"\",\n  \"post-7\",\n]\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\"\nassets = [\n  \"/a-BxY12abc.css\",\n  \"/b.3f9a2c1b.js\",\n]\n"),
            "{text}"
        );
    }

    #[test]
    fn fields_that_name_tags_are_read_as_tags() {
        let text = to_text(&example()).replace("[\"x-b\", \"2\"]", "[\"cache-tag\", \"zoo, news\"]");
        let head = from_bytes(text.as_bytes()).unwrap().rendering.unwrap().head;
        assert_eq!(head.tags, Tags::of(["news", "news \"a\"", "post-7", "zoo"]));
        assert!(!head.headers.contains_key("cache-tag"));
    }

    /// More names than a map of fields can hold.
    fn many_fields() -> String {
        (0..40_000)
            .map(|number| format!("[\"{number:x}\",\"\"],\n"))
            .collect()
    }

    #[test]
    fn hostile_texts_are_refused() {
        let good = to_text(&example());
        let names: String = (0..40_000).map(|n| format!("[\"a{n}\", \"\"],\n")).collect();
        for (what, text) in [
            ("cut", good.get(..good.len() / 2).unwrap().to_owned()),
            ("merge marker", format!("<<<<<<< HEAD\n{good}")),
            ("split", good.replace("\"<b>\"", "\"a\\r\\nset-cookie: x\"")),
            ("path", good.replace("\"index.html\"", "\"../index.html\"")),
            ("hidden", good.replace("\"index.html\"", "\".git\"")),
            ("format", good.replace("format = 1", "format = 2")),
            ("status", good.replace("status = 200", "status = 101")),
            ("status", good.replace("status = 200", "status = 206")),
            ("status", good.replace("status = 200", "status = 304")),
            ("no content", good.replace("status = 200", "status = 204")),
            ("cookie", good.replace("\"x-b\"", "\"Set-Cookie\"")),
            (
                "many fields",
                good.replace("  [\"x-b\"", &(many_fields() + "  [\"x-b\"")),
            ),
            ("status", good.replace("status = 200", "status = 99999")),
            ("length", good.replace("length = 3", "length = -3")),
            ("framing", good.replace("\"x-b\"", "\"transfer-encoding\"")),
            ("deep", format!("vary = {}", "[".repeat(100_000))),
            ("many", good.replace("  [\"x-b\", \"2\"],\n", &names)),
        ] {
            assert!(from_bytes(text.as_bytes()).is_err(), "{what}");
        }
        assert!(from_bytes(b"\xff\xfe").is_err());
    }
}
