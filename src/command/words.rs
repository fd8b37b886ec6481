//! What is said between a command and the server: shapes of their own, written and read here alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::artefact::{Collected, Removed, Sealed, Tombstone};
use crate::error::{Error, ErrorKind, chain};
use crate::outcome::Reason;
use crate::prerender::{Became, PageReport, PrerenderOptions, Scope, Summary};
use crate::proxy::Address;

const KINDS: &[(&str, ErrorKind)] = &[
    ("config", ErrorKind::Config),
    ("directory", ErrorKind::Directory),
    ("foreign", ErrorKind::Foreign),
    ("locked", ErrorKind::Locked),
    ("absent", ErrorKind::Absent),
    ("frozen", ErrorKind::Frozen),
    ("not-ready", ErrorKind::NotReady),
    ("control", ErrorKind::Control),
];

pub(super) fn error_line(error: &Error) -> Value {
    let kind = KINDS.iter().find(|(_, kind)| *kind == error.kind());
    json!({ "error": {
        "kind": kind.map_or("control", |(word, _)| word),
        "text": chain(error),
        "hint": error.hint(),
    } })
}

pub(super) fn error_of(said: &Value) -> Error {
    let kind = KINDS.iter().find(|(word, _)| said["kind"] == *word);
    let kind = kind.map_or(ErrorKind::Control, |(_, kind)| *kind);
    let error = Error::new(kind, said["text"].as_str().unwrap_or("it failed"));
    match said["hint"].as_str() {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A text that has to be there.
///
/// # Errors
/// It is not, or is none.
pub(super) fn text(arguments: &Map<String, Value>, name: &str) -> Result<String, Error> {
    let text = arguments.get(name).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| unclear(name))
}

fn texts(arguments: &Map<String, Value>, name: &str) -> Result<Vec<String>, Error> {
    let texts = arguments.get(name).and_then(Value::as_array);
    let texts = texts.ok_or_else(|| unclear(name))?.iter();
    let texts = texts.map(|text| text.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| unclear(name))
}

fn number(arguments: &Map<String, Value>, name: &str) -> Result<usize, Error> {
    let number = arguments.get(name).and_then(Value::as_u64);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| unclear(name))
}

pub(super) fn unclear(name: &str) -> Error {
    let what = format!("nothing done: `{name}` is missing, or not what it should be");
    Error::new(ErrorKind::Config, what)
}

pub(super) fn removed_as_json(removed: &Removed) -> Value {
    json!({
        "snapshots": removed.snapshots,
        "pages": removed.pages,
        "bytes": removed.bytes,
        "failed": removed.failed,
    })
}

pub(super) fn removed(said: &Value) -> Removed {
    let failed = said["failed"].as_array().into_iter().flatten();
    Removed {
        snapshots: count(said, "snapshots"),
        pages: count(said, "pages"),
        bytes: count(said, "bytes"),
        failed: failed
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect(),
        is_beside_a_server: false,
    }
}

pub(super) fn collected_as_json(collected: &Collected) -> Value {
    json!({
        "snapshots": collected.snapshots,
        "forms": collected.forms,
        "evicted": collected.evicted,
        "partial": collected.is_partial,
    })
}

pub(super) fn collected(said: &Value) -> Collected {
    Collected {
        snapshots: count(said, "snapshots"),
        forms: count(said, "forms"),
        evicted: count(said, "evicted"),
        is_partial: said["partial"] == true,
        ..Collected::default()
    }
}

pub(super) fn sealed_as_json(sealed: &Sealed) -> Value {
    json!({
        "line": sealed.line,
        "file": sealed.file,
        "bytes": sealed.result.as_ref().ok(),
        "error": sealed.result.as_ref().err(),
    })
}

pub(super) fn sealed(said: &Value) -> Sealed {
    Sealed {
        line: owned(&said["line"]),
        file: owned(&said["file"]),
        result: match said["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(count(said, "bytes")),
        },
    }
}

pub(super) fn tombstone_as_json(url: &str, tombstone: &Tombstone) -> Value {
    match tombstone {
        Tombstone::Gone => json!({ "url": url }),
        Tombstone::Moved(location) => json!({ "url": url, "location": location }),
    }
}

pub(super) fn tombstone(arguments: &Map<String, Value>) -> Result<(String, Tombstone), Error> {
    let stone = match arguments.contains_key("location") {
        true => Tombstone::Moved(text(arguments, "location")?),
        false => Tombstone::Gone,
    };
    Ok((text(arguments, "url")?, stone))
}

pub(super) fn options_as_json(options: &PrerenderOptions) -> Value {
    json!({
        "pages": options.pages,
        "sitemaps": options.sitemaps,
        "crawl": options.crawl,
        "scope": options.scope.as_str(),
        "concurrency": options.concurrency,
        "max_rps": options.max_rps,
        "max_pages": options.max_pages,
        "max_depth": options.max_depth,
    })
}

pub(super) fn options(arguments: &Map<String, Value>) -> Result<PrerenderOptions, Error> {
    let scope = text(arguments, "scope")?;
    let scopes = [Scope::Missing, Scope::Stale, Scope::All];
    Ok(PrerenderOptions {
        pages: texts(arguments, "pages")?,
        sitemaps: texts(arguments, "sitemaps")?,
        crawl: arguments.get("crawl") == Some(&Value::Bool(true)),
        scope: scopes
            .into_iter()
            .find(|known| known.as_str() == scope)
            .ok_or_else(|| unclear("scope"))?,
        concurrency: number(arguments, "concurrency")?,
        max_rps: number(arguments, "max_rps")?,
        max_pages: number(arguments, "max_pages")?,
        max_depth: number(arguments, "max_depth")?,
    })
}

pub(super) fn page_as_json(page: &PageReport) -> Value {
    json!({
        "url": page.url,
        "found_on": page.found_on,
        "became": page.became.as_str(),
        "reason": page.reason().map(Reason::as_str),
        "status": page.status,
        "problem": page.problem,
        "ms": u64::try_from(page.took.as_millis()).unwrap_or(u64::MAX),
        "linked": page.is_linked,
    })
}

/// Nothing where it says what this version does not know.
pub(super) fn page(said: &Value) -> Option<PageReport> {
    Some(PageReport {
        url: owned(&said["url"]),
        found_on: said["found_on"].as_str().map(str::to_owned),
        became: became(said)?,
        status: said["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok()),
        problem: said["problem"].as_str().map(str::to_owned),
        took: Duration::from_millis(count(said, "ms")),
        is_linked: said["linked"] == true,
    })
}

pub(super) fn became_as_json(became: Became) -> Value {
    let reason = match became {
        Became::NotStored(reason) | Became::Failed(reason) => Some(reason.as_str()),
        _ => None,
    };
    json!({ "became": became.as_str(), "reason": reason })
}

pub(super) fn became(said: &Value) -> Option<Became> {
    let reason = || {
        let known = Reason::ALL.iter().copied();
        known.into_iter().find(|known| said["reason"] == known.as_str())
    };
    Some(match said["became"].as_str()? {
        "new" => Became::New,
        "changed" => Became::Changed,
        "same" => Became::Same,
        "kept" => Became::Kept,
        "tombstone" => Became::Tombstone,
        "missing" => Became::Missing,
        "not-stored" => Became::NotStored(reason()?),
        "failed" => Became::Failed(reason()?),
        _ => return None,
    })
}

/// A page, and the fields that select a rendering of it.
pub(super) fn order_as_json(address: &Address, fields: &HeaderMap) -> Value {
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| json!([name.as_str(), BASE64.encode(value.as_bytes())]));
    json!({
        "scheme": address.scheme,
        "host": address.host,
        "target": address.target.as_str(),
        "fields": fields.collect::<Vec<_>>(),
    })
}

pub(super) fn order(arguments: &Map<String, Value>) -> Result<(Address, HeaderMap), Error> {
    let schemes = ["http", "https"].into_iter();
    let scheme = text(arguments, "scheme")?;
    let target = text(arguments, "target")?;
    let address = Address {
        scheme: schemes
            .into_iter()
            .find(|known| *known == scheme)
            .ok_or_else(|| unclear("scheme"))?,
        host: text(arguments, "host")?.into(),
        target: target.parse().map_err(|_| unclear("target"))?,
    };
    let fields = arguments.get("fields").and_then(Value::as_array);
    let fields = fields.ok_or_else(|| unclear("fields"))?.iter();
    let fields = fields.map(field).collect::<Option<_>>();
    Ok((address, fields.ok_or_else(|| unclear("fields"))?))
}

fn field(said: &Value) -> Option<(HeaderName, HeaderValue)> {
    let value = BASE64.decode(said[1].as_str()?).ok()?;
    let name = said[0].as_str()?.parse().ok()?;
    Some((name, HeaderValue::from_bytes(&value).ok()?))
}

/// What the pages themselves do not say.
pub(super) fn rest_as_json(summary: &Summary) -> Value {
    json!({ "other_sites": summary.foreign, "left_out": summary.beyond })
}

pub(super) fn add_rest(summary: &mut Summary, said: &Value) {
    summary.foreign = count(said, "other_sites");
    summary.beyond = count(said, "left_out");
}

pub(super) fn count(said: &Value, name: &str) -> u64 {
    said[name].as_u64().unwrap_or(0)
}

pub(super) fn owned(said: &Value) -> String {
    said.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn pages_come_across_as_they_were() {
        let mut all = vec![
            Became::New,
            Became::Changed,
            Became::Same,
            Became::Kept,
            Became::Tombstone,
            Became::Missing,
        ];
        for reason in Reason::ALL {
            all.extend([Became::NotStored(*reason), Became::Failed(*reason)]);
        }
        for became in all {
            assert_eq!(super::became(&became_as_json(became)), Some(became));
            let page = PageReport {
                url: "/a".into(),
                found_on: Some("/".into()),
                became,
                status: Some(200),
                problem: None,
                took: Duration::from_millis(7),
                is_linked: true,
            };
            let read = super::page(&page_as_json(&page)).unwrap();
            assert_eq!(format!("{read:?}"), format!("{page:?}"));
        }
        assert!(super::page(&json!({ "url": "/a", "became": "purple" })).is_none());
    }

    #[test]
    fn what_is_asked_for_comes_across_and_what_is_not_understood_is_refused() {
        let asked = PrerenderOptions {
            pages: vec!["/a".into(), "/b/*".into()],
            sitemaps: vec!["/sitemap.xml".into()],
            crawl: true,
            scope: Scope::Missing,
            concurrency: 1,
            max_rps: 2,
            max_pages: 3,
            max_depth: 4,
        };
        let said = object(options_as_json(&asked));
        assert_eq!(options(&said).unwrap(), asked);
        for name in ["pages", "sitemaps", "scope", "concurrency", "max_depth"] {
            for wrong in [Value::Null, json!(-1), json!([1])] {
                let mut said = said.clone();
                said.insert(name.into(), wrong);
                assert_eq!(options(&said).unwrap_err().kind(), ErrorKind::Config, "{name}");
            }
        }
        for stone in [Tombstone::Gone, Tombstone::Moved("/b".into())] {
            let said = object(tombstone_as_json("/a", &stone));
            assert_eq!(tombstone(&said).unwrap(), ("/a".to_owned(), stone));
        }
        assert!(tombstone(&object(json!({ "url": "/a", "location": 1 }))).is_err());
    }

    #[test]
    fn a_page_and_whom_it_is_for_come_across() {
        let address = Address {
            scheme: "https",
            host: "example.com".into(),
            target: "/a?b=%20".parse().unwrap(),
        };
        let value = HeaderValue::from_bytes(b"d\xe9").unwrap();
        let fields = HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, value)]);
        let said = object(order_as_json(&address, &fields));
        assert_eq!(order(&said).unwrap(), (address, fields));
        for (name, wrong) in [
            ("scheme", json!("ftp")),
            ("target", json!("no path")),
            ("fields", json!([["a b", ""]])),
            ("fields", json!([["a", "=="]])),
            ("fields", Value::Null),
        ] {
            let mut said = said.clone();
            said.insert(name.into(), wrong);
            assert!(order(&said).is_err(), "{name}");
        }
    }

    #[test]
    fn results_and_errors_come_across() {
        let gone = Removed {
            snapshots: 3,
            pages: 2,
            bytes: 1,
            failed: vec!["/a: no".into()],
            is_beside_a_server: false,
        };
        assert_eq!(removed(&removed_as_json(&gone)), gone);
        for result in [Ok(4), Err("no".into())] {
            let one = Sealed {
                line: "GET:/a".into(),
                file: "a.html".into(),
                result,
            };
            assert_eq!(sealed(&sealed_as_json(&one)), one);
        }
        for (_, kind) in KINDS {
            let error = Error::new(*kind, "what").with_hint("why");
            let read = error_of(&error_line(&error)["error"]);
            assert_eq!(
                (read.kind(), read.to_string().as_str(), read.hint()),
                (*kind, "what", Some("why"))
            );
        }
    }
}
