//! What a fill sends: the one place that decides it.
//!
//! A canonical fill depends on the key and on nothing else of the visitor who happened to come first, so the
//! same site gives the same files whoever visits. Fixed values, named inputs, nothing more. A transparent one
//! is the client's own request without identity, conditions and codings, and its answer is selected by what
//! its `Vary` says alone (RFC 9111 §4.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;

use crate::config::FillMode;
use crate::head::VariantKey;
use crate::headers::{NameList, cookies, is_disguise, is_sendable, normal_value, value};
use crate::key::{KeyRules, KeySource};
use crate::language::Languages;
use crate::outcome::Reason;
use crate::policy::accept::{Class, class};
use crate::policy::credentials::Credentials;
use crate::policy::forward::{Asker, origin_headers, pass_headers};
use crate::policy::reduce::{reduce, set_cookies};
use crate::policy::vary;

/// Fields of front-end frameworks that select what is rendered at an address: sent where the client
/// sent them, and axes of what is stored. Each by its name: a pattern would let strangers make up axes.
pub const PRESET_HEADERS: &[&str] = &[
    "rsc",
    "next-router-state-tree",
    "next-router-prefetch",
    "next-router-segment-prefetch",
    "next-url",
    "hx-boosted",
    "hx-current-url",
    "hx-history-restore-request",
    "hx-request",
    "hx-target",
    "hx-trigger",
    "hx-trigger-name",
    "x-inertia",
    "x-inertia-error-bag",
    "x-inertia-except-once-props",
    "x-inertia-infinite-scroll-merge-intent",
    "x-inertia-partial-component",
    "x-inertia-partial-data",
    "x-inertia-partial-except",
    "x-inertia-reset",
    "x-inertia-version",
    "turbo-frame",
    "x-pjax",
    "x-pjax-container",
    "x-up-fail-mode",
    "x-up-fail-target",
    "x-up-mode",
    "x-up-target",
    "x-up-version",
];

/// What a fill sends, as configured.
#[derive(Clone)]
pub(crate) struct FillRules {
    pub(crate) mode: FillMode,
    pub(crate) accept: HeaderValue,
    pub(crate) user_agent: HeaderValue,
    /// Fields that go along as the client sent them, and select nothing.
    pub(crate) unkeyed: Vec<HeaderName>,
    pub(crate) preset: NameList,
    pub(crate) credentials: FillCredentials,
    /// Fields of the client that are set aside before anything is made of the request.
    pub(crate) aside: Vec<HeaderName>,
}

/// Whether a fill carries the `Authorization` of who caused it (RFC 9111 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FillCredentials {
    LeftOut,
    Carried,
}

/// What is to be filled, for a client's request.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) source: &'a KeySource<'a>,
    /// Who asks, under the address that the key stands for.
    pub(crate) asker: &'a Asker<'a>,
    /// Fields that an earlier answer for this key named in `Vary`.
    pub(crate) learned: &'a [HeaderName],
    /// The class of visitors for whom alone, if the page is missing, this is asked again: what the other
    /// class was told is not for them.
    pub(crate) apart: Option<Class>,
}

/// The request of a fill.
#[derive(Debug, Clone)]
pub(crate) struct FillRequest {
    pub(crate) target: PathAndQuery,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// Preset and learned fields that are in `headers` for the client's sake: they select the answer.
    pub(crate) unkeyed: Vec<HeaderName>,
    /// What tells one fill of a key from another: those, and the learned ones that the client does not send.
    pub(crate) sent: VariantKey,
    pub(crate) apart: Option<Class>,
    /// Those of the client that are in `headers`.
    pub(crate) credentials: Credentials,
    /// For whom the answer is, should the page be missing.
    pub(crate) class: Class,
    pub(crate) purpose: Purpose,
    pub(crate) rendered: Rendered,
    languages: Languages,
    /// Fields that are in `headers` for nobody's sake.
    fixed: Vec<HeaderName>,
    others: Others,
}

/// What this fill says of the key's others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// All are alike but for what selects their answers.
    Alike,
    /// They may have carried whatever their visitors sent.
    Unknown,
}

/// What a fill is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Page,
    /// Only what visitors of one class are told of a missing page. Of the page itself there is one
    /// rendering, and this is not how it is asked for.
    Missing,
}

/// For whom the answer is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendered {
    ForNobody,
    /// The fill leaves out nothing of the client's request that could change what is rendered.
    ForClient,
}

impl FillRequest {
    /// Has the fill carry these.
    #[must_use]
    pub(crate) fn with_credentials(mut self, credentials: &Credentials) -> Self {
        credentials.put_back(&mut self.headers);
        self.credentials = credentials.clone();
        self
    }

    /// Says that something of the client's is left out that may change what is rendered.
    #[must_use]
    pub(crate) fn for_nobody(self) -> Self {
        Self {
            rendered: Rendered::ForNobody,
            ..self
        }
    }

    /// What the fill's fields select among variants by `names`.
    pub(crate) fn select(&self, names: &[HeaderName]) -> VariantKey {
        vary::select(names, &self.headers, &self.languages)
    }

    /// Whether a field by which no answer for the key has been kept yet was on none of its fills: here it is
    /// there for this client's sake, or is not. What is on every fill, such as `Accept`, was on those too.
    pub(crate) fn is_new(&self, name: &HeaderName) -> bool {
        self.others == Others::Alike && !self.fixed.contains(name)
    }
}

/// Builds the fill.
///
/// # Errors
/// Where the key function gives no key that the fill could be made from, or what is left of the target is
/// none.
pub(crate) fn fill_request(
    question: &Question<'_>,
    rules: &FillRules,
    key_rules: &KeyRules,
    via: &HeaderValue,
) -> Result<FillRequest, Reason> {
    let source = question.source;
    let (query, mut headers) = match rules.mode {
        FillMode::Canonical => canonical(question, rules, key_rules, via)?,
        FillMode::Transparent => {
            let headers = transparent(question, &key_rules.languages, via);
            (source.query.to_owned(), headers)
        }
    };
    // What is named in `key_headers` goes along, but for what a backend takes for another field.
    for name in key_rules.headers.iter().filter(|name| !is_disguise(name)) {
        copy_normal(source.headers, name, &key_rules.languages, &mut headers);
    }
    keyed_cookies(source.headers, &key_rules.cookies, &mut headers);
    // The same on every fill of the key.
    let fixed: Vec<HeaderName> = headers.keys().cloned().collect();
    let axes = axes(question, rules, key_rules);
    let mut unkeyed = Vec::new();
    for name in &axes {
        headers.remove(name);
        let is_there = copy_normal(source.headers, name, &key_rules.languages, &mut headers);
        if is_there && rules.mode == FillMode::Canonical {
            unkeyed.push(name.clone());
        }
    }
    // A canonical fill asks as a document does, so for documents there is nothing to ask apart.
    let apart = question
        .apart
        .filter(|class| rules.mode == FillMode::Transparent || *class == Class::Other);
    let is_missing_only = rules.mode == FillMode::Canonical && apart.is_some();
    let has_cookies = cookies(source.headers).next().is_some();
    Ok(FillRequest {
        target: target(source.path, &query)?,
        sent: vary::select(&axes, &headers, &key_rules.languages),
        query,
        headers,
        unkeyed,
        credentials: Credentials::NONE,
        apart,
        class: match rules.mode {
            FillMode::Canonical if is_missing_only => Class::Other,
            FillMode::Canonical => Class::Document,
            FillMode::Transparent => class(source.headers),
        },
        purpose: match is_missing_only {
            true => Purpose::Missing,
            false => Purpose::Page,
        },
        rendered: match rules.mode {
            FillMode::Transparent if !has_cookies => Rendered::ForClient,
            _ => Rendered::ForNobody,
        },
        languages: key_rules.languages.clone(),
        fixed,
        // A key function may give one key to requests that it reads in different fields.
        others: match (rules.mode, &key_rules.custom) {
            (FillMode::Canonical, None) => Others::Alike,
            _ => Others::Unknown,
        },
    })
}

/// Both come from a parsed target, so together they are one; if ever they are not, nothing else is asked for
/// in its place.
fn target(path: &str, query: &str) -> Result<PathAndQuery, Reason> {
    let text = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    match PathAndQuery::try_from(text.as_str()) {
        Ok(target) if target.as_str() == text => Ok(target),
        _ => Err(Reason::BadRequest),
    }
}

/// Query and fields of a canonical fill, without `key_headers`, `key_cookies` and axes.
fn canonical(
    question: &Question<'_>,
    rules: &FillRules,
    key_rules: &KeyRules,
    via: &HeaderValue,
) -> Result<(String, HeaderMap), Reason> {
    let source = question.source;
    let mut headers = HeaderMap::new();
    if let Some(host) = value(source.host) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::ACCEPT, rules.accept.clone());
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, rules.user_agent.clone());
    if question.apart == Some(Class::Other) {
        // As `fetch()` asks. Backends that look at the destination name it in `Vary` only where it is not a
        // document; with one named, images and scripts are then told apart.
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert("sec-fetch-dest", HeaderValue::from_static("empty"));
    }
    if source.body.is_some() {
        // The body is the key's, and so is what it means.
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            copy(source.headers, &name, &mut headers);
        }
    }
    origin_headers(&mut headers, source.scheme, source.host);
    headers.insert(header::VIA, via.clone());
    let mut query = source.query.to_owned();
    if key_rules.custom.is_some() {
        let reduced = reduce(source, key_rules)?;
        for name in reduced.headers.keys() {
            copy(&reduced.headers, name, &mut headers);
        }
        query = reduced.query;
    }
    for name in &rules.unkeyed {
        copy(source.headers, name, &mut headers);
    }
    Ok((query, headers))
}

/// What a pass would send, without identity, conditions and ranges.
fn transparent(question: &Question<'_>, languages: &Languages, via: &HeaderValue) -> HeaderMap {
    const LEFT_OUT: [HeaderName; 11] = [
        header::COOKIE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::CONTENT_LENGTH,
        header::TE,
    ];
    let mut headers = question.source.headers.clone();
    pass_headers(&mut headers, question.asker, via);
    for name in LEFT_OUT {
        headers.remove(name);
    }
    // CGI and its heirs take `X_Foo` for `X-Foo`, which `Vary` may name and nothing here compares.
    let spelled: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .cloned()
        .collect();
    for name in spelled {
        headers.remove(name);
    }
    // The one field whose spellings are compared as one: what an answer says of a spelling would be told to
    // those of another.
    headers.remove(header::ACCEPT_LANGUAGE);
    copy_normal(
        question.source.headers,
        &header::ACCEPT_LANGUAGE,
        languages,
        &mut headers,
    );
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// The fields that select the answer beside the key, sorted: what was learned, and of the preset what the
/// client sent.
fn axes(question: &Question<'_>, rules: &FillRules, key_rules: &KeyRules) -> Vec<HeaderName> {
    let preset = question
        .source
        .headers
        .keys()
        .filter(|name| rules.mode == FillMode::Canonical && rules.preset.contains(name.as_str()));
    let mut axes: Vec<HeaderName> = preset
        .chain(question.learned)
        .filter(|name| {
            is_sendable(name) && !key_rules.headers.contains(name) && !rules.unkeyed.contains(name)
        })
        .cloned()
        .collect();
    axes.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    axes.dedup();
    axes
}

/// Replaces `name` by the client's lines, if it has any.
fn copy(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) {
    let mut lines = from.get_all(name).iter();
    if let Some(first) = lines.next() {
        to.insert(name, first.clone());
        for line in lines {
            to.append(name, line.clone());
        }
    }
}

/// Sends a field as it is compared, so that two clients with the same key or variant cause the same fill.
/// Says whether the client has it.
fn copy_normal(from: &HeaderMap, name: &HeaderName, languages: &Languages, to: &mut HeaderMap) -> bool {
    let value = normal_value(name, from, languages);
    let is_there = value.is_some();
    if let Some(value) = value {
        to.insert(name, value);
    }
    is_there
}

fn keyed_cookies(from: &HeaderMap, names: &[Box<str>], to: &mut HeaderMap) {
    let wanted = names.iter().filter_map(|name| {
        let cookie = cookies(from).find(|cookie| cookie.name == name.as_bytes())?;
        Some([name.as_bytes(), b"=", cookie.value.unwrap_or_default()].concat())
    });
    let pairs: Vec<Vec<u8>> = wanted.collect();
    if !pairs.is_empty() {
        set_cookies(to, &pairs);
    }
}

#[cfg(test)]
mod tests;
