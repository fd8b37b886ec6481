//! Reads a sidecar that is, to the byte, of the form in which sidecars are written: there may be a million to read
//! at the start, and a reader of any TOML takes several times as long.
//!
//! It says nothing rather than something else than that reader would: whatever is not as it is written goes
//! there.

use std::borrow::Cow;
use std::str::FromStr;

use memchr::memchr2;

use super::Shape;

/// What is left of the text.
struct Text<'a>(&'a str);

/// The shape of a text that is as it is written.
pub(super) fn read(text: &str) -> Option<Shape<Cow<'_, str>>> {
    let mut text = Text(text);
    let mut shape = Shape {
        format: text.field("format", Text::number)?,
        key: text.field("key", Text::string)?,
        method: text.field("method", Text::string)?,
        url: text.field("url", Text::string)?,
        site: text.optional("site", Text::string)?,
        vary: text.optional("vary", Text::rows)?.unwrap_or_default(),
        status: text.optional("status", Text::number)?,
        tombstone: None,
        headers: Vec::new(),
        tags: Vec::new(),
        expires_after: None,
        body: None,
        length: None,
        seal: None,
        assets: Vec::new(),
    };
    if shape.status.is_some() {
        shape.tombstone = text.optional("tombstone", |text| text.skip("true").map(|()| true))?;
        shape.headers = text.field("headers", Text::rows)?;
        shape.tags = text.optional("tags", Text::strings)?.unwrap_or_default();
        shape.expires_after = text.optional("expires_after", Text::number)?;
        shape.body = text.optional("body", Text::string)?;
        if shape.body.is_some() {
            shape.length = Some(text.field("length", Text::number)?);
            shape.seal = Some(text.field("seal", Text::string)?);
            shape.assets = text.optional("assets", Text::strings)?.unwrap_or_default();
        }
    }
    text.0.is_empty().then_some(shape)
}

impl<'a> Text<'a> {
    /// Goes past `tag`, which must come next.
    fn skip(&mut self, tag: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(tag)?;
        Some(())
    }

    /// A line, or as many as the value takes.
    fn field<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.skip(name)?;
        self.skip(" = ")?;
        let value = value(self)?;
        self.skip("\n")?;
        Some(value)
    }

    /// The same, if it is there.
    fn optional<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.0.starts_with(name) {
            true => self.field(name, value).map(Some),
            false => Some(None),
        }
    }

    /// Without a sign or zeros before it, and of few enough digits for any reader of TOML.
    fn number<T: FromStr>(&mut self) -> Option<T> {
        const DIGITS: usize = 18;
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(length)?;
        if length > DIGITS || (length > 1 && digits.starts_with('0')) {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.skip("\"")?;
        let mut string = Cow::Borrowed("");
        loop {
            let at = memchr2(b'"', b'\\', self.0.as_bytes())?;
            let (plain, rest) = self.0.split_at_checked(at)?;
            if plain.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
                return None;
            }
            self.0 = rest;
            match string.is_empty() {
                true => string = Cow::Borrowed(plain),
                false => string.to_mut().push_str(plain),
            }
            if self.skip("\"").is_some() {
                return Some(string);
            }
            string.to_mut().push(self.escape()?);
        }
    }

    /// One of those that are written.
    fn escape(&mut self) -> Option<char> {
        self.skip("\\")?;
        let (letter, rest) = self.0.split_at_checked(1)?;
        self.0 = rest;
        match letter {
            "\"" => Some('"'),
            "\\" => Some('\\'),
            "n" => Some('\n'),
            "t" => Some('\t'),
            "u" => {
                let (digits, rest) = self.0.split_at_checked(4)?;
                self.0 = rest;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?)
            }
            _ => None,
        }
    }

    /// One a line.
    fn rows(&mut self) -> Option<Vec<Vec<Cow<'a, str>>>> {
        self.skip("[\n")?;
        let mut rows = Vec::with_capacity(16);
        while self.skip("]").is_none() {
            self.skip("  [")?;
            let mut row = Vec::with_capacity(2);
            row.push(self.string()?);
            while self.skip(", ").is_some() {
                row.push(self.string()?);
            }
            self.skip("],\n")?;
            rows.push(row);
        }
        Some(rows)
    }

    /// One a line.
    fn strings(&mut self) -> Option<Vec<Cow<'a, str>>> {
        self.skip("[\n")?;
        let mut strings = Vec::new();
        while self.skip("]").is_none() {
            self.skip("  ")?;
            strings.push(self.string()?);
            self.skip(",\n")?;
        }
        Some(strings)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Any = Shape<String>;

    fn owned(shape: Shape<Cow<'_, str>>) -> Any {
        let rows = |rows: Vec<Vec<Cow<'_, str>>>| {
            let cells = |row: Vec<Cow<'_, str>>| row.into_iter().map(Cow::into_owned).collect();
            rows.into_iter().map(cells).collect()
        };
        Shape {
            format: shape.format,
            key: shape.key.into_owned(),
            method: shape.method.into_owned(),
            url: shape.url.into_owned(),
            site: shape.site.map(Cow::into_owned),
            status: shape.status,
            tombstone: shape.tombstone,
            headers: rows(shape.headers),
            tags: shape.tags.into_iter().map(Cow::into_owned).collect(),
            assets: shape.assets.into_iter().map(Cow::into_owned).collect(),
            vary: rows(shape.vary),
            expires_after: shape.expires_after,
            body: shape.body.map(Cow::into_owned),
            length: shape.length,
            seal: shape.seal.map(Cow::into_owned),
        }
    }

    /// A text as it is written, of strings that need not make sense.
    fn written() -> impl Strategy<Value = String> {
        let string = || {
            "[ -~äöü\u{85}\u{7f}\u{0}\n\t\r\"\\\\]{0,12}"
                .prop_map(|text| crate::snapshot::sidecar::quote(&text))
        };
        let rows = move || {
            let row = prop::collection::vec(string(), 1..4)
                .prop_map(|cells| format!("  [{}],\n", cells.join(", ")));
            prop::collection::vec(row, 0..4).prop_map(|rows| format!("[\n{}]", rows.concat()))
        };
        let line = |name: &'static str, value: BoxedStrategy<String>| {
            value.prop_map(move |value| format!("{name} = {value}\n"))
        };
        let maybe = |some: BoxedStrategy<String>| prop_oneof![Just(String::new()), some];
        let number = || any::<u32>().prop_map(|number| number.to_string());
        let strings = || {
            prop::collection::vec(string().prop_map(|text| format!("  {text},\n")), 0..4)
                .prop_map(|strings| format!("[\n{}]", strings.concat()))
        };
        let assets = maybe(line("assets", strings().boxed()).boxed());
        let body = (string(), number(), string(), assets).prop_map(|(body, length, seal, assets)| {
            format!("body = {body}\nlength = {length}\nseal = {seal}\n{assets}")
        });
        let rendering = (
            line(
                "status",
                any::<u16>().prop_map(|status| status.to_string()).boxed(),
            ),
            maybe(line("tombstone", Just("true".to_owned()).boxed()).boxed()),
            line("headers", rows().boxed()),
            maybe(line("tags", strings().boxed()).boxed()),
            maybe(line("expires_after", number().boxed()).boxed()),
            maybe(body.boxed()),
        )
            .prop_map(|(status, tombstone, headers, tags, expires, body)| {
                format!("{status}{tombstone}{headers}{tags}{expires}{body}")
            });
        let (key, method, url) = (string(), string(), string());
        (
            (key, method, url).prop_map(|(key, method, url)| {
                format!("format = 1\nkey = {key}\nmethod = {method}\nurl = {url}\n")
            }),
            maybe(line("site", string().boxed()).boxed()),
            maybe(line("vary", rows().boxed()).boxed()),
            maybe(rendering.boxed()),
        )
            .prop_map(|(first, site, vary, rendering)| format!("{first}{site}{vary}{rendering}"))
    }

    /// What somebody may have changed in it.
    fn edited() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[\\[\\],= \"\\\\#'0-9a-fnutr\n]{0,3}",
            Just("\"\"\"".to_owned()),
            Just("\\u0000".to_owned()),
            Just("\\ud800".to_owned()),
            Just("\r\n".to_owned()),
            Just("status = 1\n".to_owned()),
            Just("+".to_owned()),
            Just("99999999999999999999".to_owned()),
        ];
        let edit = (any::<prop::sample::Index>(), 0..4_usize, piece);
        (written(), prop::collection::vec(edit, 1..3)).prop_map(|(text, edits)| {
            let mut text: Vec<char> = text.chars().collect();
            for (at, gone, piece) in edits {
                let at = at.index(text.len() + 1);
                let end = (at + gone).min(text.len());
                text.splice(at..end, piece.chars());
            }
            text.into_iter().collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_any_reader_does(text in written()) {
            let shape = read(&text).map(owned);
            prop_assert!(shape.is_some(), "{}", text);
            prop_assert_eq!(shape, toml::from_str::<Any>(&text).ok());
        }

        #[test]
        fn what_was_changed_is_read_as_any_reader_does_or_left_to_it(text in edited()) {
            if let Some(shape) = read(&text) {
                prop_assert_eq!(Some(owned(shape)), toml::from_str::<Any>(&text).ok());
            }
        }
    }
}
