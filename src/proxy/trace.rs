//! What is decided about one request, step by step, for whoever asks with the token of `debug_token`.
//!
//! A step is a line of text that is only made where somebody listens. Names of fields and cookies are in it,
//! and what the client itself has sent as its address; values of cookies and of credentials never are.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};

use crate::clock::http_date;
use crate::config::check::Origin;
use crate::flight::Ending;
use crate::head::{Generated, StoredHead, VariantKey};
use crate::headers::{DEBUG, cookies};
use crate::key::{HostInKey, Key, KeyRules};
use crate::outcome::Reason;
use crate::policy::filter::{Filters, Included};
use crate::policy::freshness::{Lifetime, Stated};
use crate::policy::frozen::Road;
use crate::policy::identity::Identity;
use crate::policy::request::{Facts, HostStanding, Route};
use crate::policy::reuse::Reuse;
use crate::policy::store::Storable;
use crate::proxy::respond::Verdict;
use crate::proxy::target::Target;
use crate::proxy::visit::Visit;
use crate::snapshot::{Lookup, Snapshot, Store};
use crate::token::TokenHash;

const KEY: HeaderName = HeaderName::from_static("phantom-frame-key");
const STEP: HeaderName = HeaderName::from_static("phantom-frame-trace");

/// Of the key, in bytes.
const LONGEST_KEY: usize = 4096;
/// Of one step, in bytes.
const LONGEST_STEP: usize = 1024;
/// Of all steps, in bytes; with the key they stay below what clients take as a head.
const ALL_STEPS: usize = 11 << 10;
const MOST_STEPS: usize = 40;

/// The steps so far, or nothing where nobody listens. Clones are the same trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Option<Arc<Mutex<Noted>>>);

#[derive(Debug, Default)]
struct Noted {
    key: Option<String>,
    steps: Vec<String>,
    /// Why it is not answered from what is stored, or is not stored.
    reason: Option<Reason>,
    /// Of all steps, in bytes.
    length: usize,
}

impl Trace {
    /// Takes the debug field out of a request, whether it is heard or not: it is nobody else's affair.
    pub(super) fn asked_for<B>(request: &mut Request<B>, token: Option<&TokenHash>) -> Self {
        let Some(sent) = request.headers_mut().remove(DEBUG) else {
            return Self::default();
        };
        let is_heard = token.is_some_and(|token| token.is(sent.as_bytes()));
        Self(is_heard.then(Arc::default))
    }

    /// Of whoever asks in this process.
    pub(crate) fn listening() -> Self {
        Self(Some(Arc::default()))
    }

    /// The key, the steps and the last reason so far.
    pub(crate) fn read(&self) -> (Option<String>, Vec<String>, Option<Reason>) {
        let noted = self.noted();
        noted.map_or_else(Default::default, |noted| {
            (noted.key.clone(), noted.steps.clone(), noted.reason)
        })
    }

    /// Notes that the request passes.
    pub(super) fn passed(&self, reason: Reason) {
        self.note(|| format!("pass: as it is, {}", reason.as_str()));
        self.because(Some(reason));
    }

    /// Notes how it ended.
    pub(super) fn outcome(&self, verdict: &Verdict) {
        self.note(|| {
            let reason = verdict
                .reason
                .map_or_else(String::new, |reason| format!(", {}", reason.as_str()));
            format!("outcome: {}{reason}", verdict.outcome.as_str())
        });
        self.because(verdict.reason);
    }

    fn because(&self, reason: Option<Reason>) {
        if let (Some(mut noted), Some(reason)) = (self.noted(), reason) {
            noted.reason = Some(reason);
        }
    }

    /// Notes what was decided.
    pub(super) fn note(&self, step: impl FnOnce() -> String) {
        let Some(mut noted) = self.noted() else { return };
        let step = fit_for_a_field(&step(), LONGEST_STEP);
        let is_full = noted.steps.len() >= MOST_STEPS || noted.length + step.len() > ALL_STEPS;
        if !is_full {
            noted.length += step.len();
            noted.steps.push(step);
        }
    }

    /// Notes the key, and what of the request went into it.
    pub(super) fn key(&self, key: &Key, visit: &Visit) {
        if let Some(mut noted) = self.noted() {
            noted.key = Some(fit_for_a_field(&key.text, LONGEST_KEY));
        }
        self.note(|| parts_of_key(&visit.rules.key, visit));
    }

    /// Says the steps in the fields of the answer. What a fill that goes on finds out later is not among them.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        let Some(noted) = self.noted() else { return };
        for name in [KEY, STEP] {
            headers.remove(name);
        }
        if let Some(value) = noted.key.as_deref().and_then(value) {
            headers.insert(KEY, value);
        }
        for (at, step) in noted.steps.iter().enumerate() {
            if let Some(value) = value(&format!("{} {step}", at + 1)) {
                headers.append(STEP, value);
            }
        }
        // RFC 9111 §4.1: so that a cache in front keeps them for nobody who asks without the token.
        headers.append(header::VARY, HeaderValue::from_name(DEBUG));
    }

    fn noted(&self) -> Option<MutexGuard<'_, Noted>> {
        let noted = self.0.as_ref()?;
        Some(noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// One line of visible ASCII, at most so many bytes; where something is cut off it says so.
fn fit_for_a_field(text: &str, longest: usize) -> String {
    const CUT: &str = "...";
    let mut fit = String::new();
    for character in text.chars() {
        let start = fit.len();
        match character {
            '\\' => fit.push_str("\\\\"),
            ' '..='~' => fit.push(character),
            other => fit.extend(other.escape_default()),
        }
        if fit.len() > longest {
            // What came before it may leave no room for the mark.
            fit.truncate(start.min(longest - CUT.len()));
            fit.push_str(CUT);
            break;
        }
    }
    fit
}

/// What is asked for, as it was understood.
pub(super) fn target(method: &http::Method, target: &Target) -> String {
    let (path, query) = (target.path(), target.query());
    let Target {
        own_host, own_scheme, ..
    } = target;
    let question = if query.is_empty() { "" } else { "?" };
    let standing = match target.standing {
        HostStanding::Ours => "",
        HostStanding::Foreign => ", a host that is not the site's",
    };
    format!("target: {method} {own_scheme}://{own_host}{path}{question}{query}{standing}")
}

pub(super) fn rule(origin: Origin) -> String {
    format!("rule: {origin}")
}

pub(super) fn frozen(road: Road) -> String {
    match road {
        Road::Refuse(reason) => format!("route: refused, {}", reason.as_str()),
        Road::Look => "route: the directory is all there is (`frozen`)".into(),
        Road::Absent(reason) => format!("route: not to be stored, {}", reason.as_str()),
    }
}

pub(super) fn route(route: &Route<'_>, facts: &Facts<'_>, filters: &Filters) -> String {
    let by = filters
        .deciding(facts.method.as_str(), facts.path)
        .map_or_else(String::new, |(setting, pattern)| {
            format!(" by {pattern} in `{setting}`")
        });
    match route {
        Route::Pass(reason @ Reason::Excluded) => format!("route: pass, {}{by}", reason.as_str()),
        Route::Pass(reason @ Reason::NotIncluded) => {
            format!("route: pass, {} in `include_paths`", reason.as_str())
        }
        Route::Refuse(reason) => format!("route: refused, {}", reason.as_str()),
        Route::Tunnel => "route: a tunnel".to_owned(),
        Route::Pass(reason) => format!("route: pass, {}", reason.as_str()),
        Route::Somebody(Identity::Cookie(name)) if !name.is_empty() => {
            format!("route: pass, cookie ({})", name.escape_ascii())
        }
        Route::Somebody(somebody) => format!("route: pass, {}", somebody.reason().as_str()),
        Route::Lookup(Included::ByPattern) => format!("route: look up, named{by}"),
        Route::Lookup(Included::ByDefault) => "route: look up".to_owned(),
    }
}

/// The names of what went into the key.
fn parts_of_key(rules: &KeyRules, visit: &Visit) -> String {
    let mut text = String::from(match rules.custom {
        Some(_) => "key: of the key function",
        None => "key: of method, path and query",
    });
    let mut part = |part: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {part}");
    };
    if *visit.query != *visit.target.query() {
        part(format_args!("which is cut or sorted to ?{}", visit.query));
    }
    if rules.host == HostInKey::Part {
        part(format_args!("scheme and host"));
    }
    let headers = &visit.parts.headers;
    for name in rules.headers.iter().filter(|name| headers.contains_key(*name)) {
        part(format_args!("field {name}"));
    }
    for name in &rules.cookies {
        if cookies(headers).any(|cookie| cookie.name == name.as_bytes()) {
            part(format_args!("cookie {name}"));
        }
    }
    if visit.body.is_some() {
        part(format_args!("the body"));
    }
    text
}

pub(super) fn lookup(found: &Lookup, store: &Store) -> String {
    match found {
        Lookup::Nothing => "lookup: nothing is stored".to_owned(),
        Lookup::Settling => "lookup: files that another program changes just now".to_owned(),
        Lookup::NoVariant(names) => format!("lookup: no such variant, by {}", listed(names.iter())),
        Lookup::Found(snapshot, generated) => {
            let generated = match generated {
                Generated::At(second) => format!("generated at {second}"),
                Generated::Unmarked => "with a time that another program has set".to_owned(),
                Generated::Invalidated => "invalidated and kept".to_owned(),
            };
            let variant = variant(&snapshot.variant);
            format!("lookup: found {}{variant}, {generated}", file_of(snapshot, store))
        }
    }
}

/// The body's file, from the snapshot directory.
fn file_of(snapshot: &Snapshot, store: &Store) -> String {
    match &snapshot.body {
        Some(body) => {
            let path = body.path.strip_prefix(store.root()).unwrap_or(&body.path);
            path.display().to_string()
        }
        None => format!("{}, which has no body", snapshot.own),
    }
}

fn variant(variant: &VariantKey) -> String {
    let names = variant.names();
    match names.is_empty() {
        true => String::new(),
        false => format!(", the variant by {}", listed(names.iter())),
    }
}

/// How old what is stored is, how long it lives, and who says so.
pub(super) fn standing(reuse: &Reuse, visit: &Visit, head: &StoredHead, now: u64) -> String {
    let word = match reuse {
        Reuse::Fresh(_) => "fresh",
        Reuse::WhileRevalidated(_) => "stale, may be used while it is renewed",
        Reuse::Validate(_) => "to be validated",
    };
    let standing = reuse.standing();
    let rules = &visit.rules.store.lifetimes;
    let born = now.saturating_sub(standing.age);
    let giver = match Lifetime::of(&Stated::by(head, Some(born)), rules) {
        Lifetime::Granted(_) if rules.ttl_of(head.status).is_some() => "by `ttl`",
        Lifetime::Granted(_) => "by `default_ttl`",
        Lifetime::Explicit(_) => "by the backend",
        Lifetime::Heuristic(_) => "guessed from Last-Modified",
    };
    let lifetime = match standing.lifetime {
        Some(seconds) => format!("{seconds} s"),
        None => "until invalidated".to_owned(),
    };
    let left = standing.ttl.map_or_else(String::new, |ttl| {
        let end = http_date(now.saturating_add_signed(ttl));
        match ttl {
            0.. => format!(", until {end}"),
            _ => format!(", over since {end}"),
        }
    });
    format!(
        "standing: {word}, age {} s, lifetime {lifetime} {giver}{left}",
        standing.age
    )
}

/// The names of the fields that a fill sends.
pub(super) fn fill(headers: &HeaderMap) -> String {
    let cookies: Vec<_> = cookies(headers)
        .map(|cookie| cookie.name.escape_ascii().to_string())
        .collect();
    let cookies = match cookies.is_empty() {
        true => String::new(),
        false => format!("; cookies {}", cookies.join(", ")),
    };
    format!("fill: sends {}{cookies}", listed(headers.keys()))
}

/// What the answer of a fill may become.
pub(super) fn answer(status: StatusCode, storable: &Storable) -> String {
    let becomes = match storable {
        Storable::Snapshot(names) => format!("is stored{}", by(names)),
        Storable::Memory(names, seconds) => format!("is remembered for {seconds} s{}", by(names)),
        Storable::No(reason) => format!("is not stored, {}", reason.as_str()),
    };
    format!("answer: {} {becomes}", status.as_u16())
}

fn by(names: &[HeaderName]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!(", by {}", listed(names.iter())),
    }
}

/// How a validation has ended.
pub(super) fn validated(ending: &Ending) -> String {
    let how = match ending {
        Ending::Validated => "it holds",
        Ending::GiveUp(reason) => reason.as_str(),
        _ => "another lookup",
    };
    format!("answer: 304, {how}")
}

/// What keeps a page from being filled again for a while.
pub(super) fn remembered(reason: Reason) -> String {
    format!("memory: it could not be stored lately, {}", reason.as_str())
}

fn listed<'a>(names: impl Iterator<Item = &'a HeaderName>) -> String {
    let names: Vec<_> = names.map(HeaderName::as_str).collect();
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(trace: &Trace) -> Vec<String> {
        let mut headers = HeaderMap::new();
        trace.write_to(&mut headers);
        let lines = headers.get_all(STEP).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn nothing_is_made_where_nobody_listens() {
        let trace = Trace::default();
        trace.note(|| unreachable!("nobody listens"));
        assert!(said(&trace).is_empty());
    }

    #[test]
    fn the_field_goes_whether_its_token_is_right_or_not() {
        let token = TokenHash::of(b"secret");
        for (sent, token, is_heard) in [
            ("secret", Some(&token), true),
            ("Secret", Some(&token), false),
            ("", Some(&token), false),
            ("secret", None, false),
        ] {
            let mut request = Request::new(());
            for value in [sent, "other"] {
                request.headers_mut().append(DEBUG, value.parse().unwrap());
            }
            let trace = Trace::asked_for(&mut request, token);
            assert_eq!(trace.0.is_some(), is_heard, "{sent}");
            assert!(request.headers().is_empty());
        }
    }

    #[test]
    fn a_line_is_visible_ascii_and_bounded() {
        for (text, longest, expected) in [
            ("plain", 9, "plain"),
            ("a\nb\r\t\u{7f}", 99, "a\\nb\\r\\t\\u{7f}"),
            ("b\u{e4}r", 99, "b\\u{e4}r"),
            ("a\\nb", 99, "a\\\\nb"),
            ("123456789", 8, "12345..."),
            ("12345678", 8, "12345678"),
            ("1\u{10ffff}", 8, "1..."),
        ] {
            let fit = fit_for_a_field(text, longest);
            assert_eq!(fit, expected, "{text:?}");
            assert!(fit.len() <= longest && value(&fit).is_some());
        }
    }

    #[test]
    fn many_and_long_steps_stay_within_bounds() {
        let trace = Trace::listening();
        for _ in 0..1000 {
            trace.note(|| "short".to_owned());
        }
        assert_eq!(said(&trace).len(), MOST_STEPS);
        let trace = Trace::listening();
        for _ in 0..1000 {
            trace.note(|| "\u{10ffff}".repeat(9999));
        }
        let said = said(&trace);
        assert!(said.len() > 9);
        assert!(said.iter().map(String::len).sum::<usize>() < 12 << 10);
    }
}
