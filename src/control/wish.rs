//! What a request to `/refresh-cache` asks for, in its query or its body.

use axum::extract::Query;
use http::Uri;
use serde_json::Value;

use super::Refusal;
use crate::invalidate::{RefreshMode, of_tag};
use crate::pattern::KeyPattern;

const MAX_PATTERNS: usize = 1000;

/// What `/refresh-cache` is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// None: everything.
    pub(super) patterns: Option<Vec<String>>,
    pub(super) mode: Mode,
}

/// What becomes of what matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Refresh(RefreshMode),
    /// It answers until it has been rendered anew.
    Render,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Refresh(RefreshMode::default())
    }
}

impl Wish {
    pub(super) fn from_query(uri: &Uri) -> Result<Self, Refusal> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Refusal::unclear("the query cannot be read"));
        };
        let mut mode = None;
        let mut patterns = Vec::new();
        for (key, value) in pairs {
            match key.as_str() {
                "pattern" => patterns.push(value),
                "tag" => patterns.push(of_tag(&value)),
                "mode" if mode.is_some() => return Err(Refusal::unclear("`mode` is given twice")),
                "mode" => {
                    mode = Some(match value.as_str() {
                        "delete" => Mode::Refresh(RefreshMode::Delete),
                        "stale" => Mode::Refresh(RefreshMode::Stale),
                        "render" => Mode::Render,
                        _ => {
                            return Err(Refusal::unclear(
                                "`mode` is none of `delete`, `stale` and `render`",
                            ));
                        }
                    });
                }
                _ => return Err(Refusal::unclear(format!("unknown query parameter {key:?}"))),
            }
        }
        let patterns = (!patterns.is_empty()).then(|| checked(patterns)).transpose()?;
        Ok(Self {
            patterns,
            mode: mode.unwrap_or_default(),
        })
    }

    pub(super) fn add_body(&mut self, body: &[u8]) -> Result<(), Refusal> {
        if body.is_empty() {
            return Ok(());
        }
        if self.patterns.is_some() {
            return Err(Refusal::unclear(
                "there are a pattern or a tag in the query and a body; send one of them",
            ));
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Err(Refusal::unclear("the body is not JSON"));
        };
        let Value::Object(fields) = value else {
            return Err(Refusal::unclear("the body is JSON, but not an object"));
        };
        if fields.is_empty() {
            return Err(Refusal::unclear("the body is an empty object"));
        }
        let mut patterns = Vec::new();
        for (key, value) in fields {
            let named = match key.as_str() {
                "pattern" | "tag" => vec![text(&key, value)?],
                "patterns" | "tags" => texts(&key, value)?,
                key => return Err(Refusal::unclear(format!("unknown key {key:?} in the body"))),
            };
            match key.starts_with("tag") {
                true => patterns.extend(named.iter().map(|tag| of_tag(tag))),
                false => patterns.extend(named),
            }
        }
        self.patterns = Some(checked(patterns)?);
        Ok(())
    }
}

fn text(key: &str, value: Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Refusal::unclear(format!("`{key}` is not a string"))),
    }
}

fn texts(key: &str, value: Value) -> Result<Vec<String>, Refusal> {
    let Value::Array(values) = value else {
        return Err(Refusal::unclear(format!("`{key}` is not a list")));
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err(Refusal::unclear(format!(
            "`{key}` holds something that is not a string"
        ))),
    };
    values.into_iter().map(text).collect()
}

fn checked(patterns: Vec<String>) -> Result<Vec<String>, Refusal> {
    if patterns.is_empty() {
        return Err(Refusal::unclear("the list of patterns is empty"));
    }
    if patterns.len() > MAX_PATTERNS {
        return Err(Refusal::unclear(format!(
            "there are more than {MAX_PATTERNS} patterns"
        )));
    }
    for pattern in &patterns {
        KeyPattern::parse(pattern)
            .map_err(|error| Refusal::unclear(format!("{pattern:?} is not a pattern: {error}")))?;
    }
    // A byte of the query that is not UTF-8 was replaced by this: the pattern would match nothing.
    if patterns
        .iter()
        .any(|pattern| pattern.contains(char::REPLACEMENT_CHARACTER))
    {
        return Err(Refusal::unclear("a pattern is not UTF-8"));
    }
    Ok(patterns)
}
