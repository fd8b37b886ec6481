//! What a custom key depends on, found by taking away: each query parameter, each field and each cookie goes
//! whose absence leaves the key as it is. What is left is what the fill sends.

use std::cell::Cell;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers::{cookies, is_sendable};
use crate::key::{KeyRules, KeySource};
use crate::outcome::Reason;

/// Calls of the key function for one fill. A query of a thousand parameters would otherwise be a thousand
/// calls, at every visitor's will.
const MAX_CALLS: usize = 512;

/// What the key depends on.
#[derive(Debug)]
pub(crate) struct Reduced {
    pub(crate) query: String,
    /// Only what a fill may carry, and the cookies.
    pub(crate) headers: HeaderMap,
}

/// Reduces `source` as far as the key function still returns the same.
///
/// # Errors
/// [`Reason::Key`] where the function gives no key, or has too much to choose from.
pub(crate) fn reduce(source: &KeySource<'_>, rules: &KeyRules) -> Result<Reduced, Reason> {
    let probe = Probe {
        wanted: rules.line(source).ok_or(Reason::Key)?,
        source,
        rules,
        calls: Cell::new(0),
    };
    // Fields that a fill cannot carry stay while the others are tried: a key that reads one of them would
    // be another without it, and everything else would seem to be needed.
    let mut headers = source.headers.clone();
    let mut names: Vec<HeaderName> = source
        .headers
        .keys()
        .filter(|name| is_sendable(name))
        .cloned()
        .collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    for name in names {
        let mut without = headers.clone();
        without.remove(&name);
        if probe.is_same(source.query, &without)? {
            headers = without;
        }
    }
    let pairs: Vec<Vec<u8>> = cookies(&headers).map(|cookie| cookie.pair()).collect();
    let pairs = probe.without_the_needless(pairs, |pairs| {
        let mut fewer = headers.clone();
        set_cookies(&mut fewer, pairs);
        probe.is_same(source.query, &fewer)
    })?;
    set_cookies(&mut headers, &pairs);
    let parameters: Vec<&str> = source.query.split('&').collect();
    let parameters = probe.without_the_needless(parameters, |parameters| {
        probe.is_same(&parameters.join("&"), &headers)
    })?;
    let unsendable: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !is_sendable(name) && **name != header::COOKIE)
        .cloned()
        .collect();
    for name in unsendable {
        headers.remove(name);
    }
    Ok(Reduced {
        query: parameters.join("&"),
        headers,
    })
}

struct Probe<'a> {
    wanted: String,
    source: &'a KeySource<'a>,
    rules: &'a KeyRules,
    calls: Cell<usize>,
}

impl Probe<'_> {
    /// Whether the key is the same for this. A function that panics for want of something needs it.
    fn is_same(&self, query: &str, headers: &HeaderMap) -> Result<bool, Reason> {
        if self.calls.replace(self.calls.get() + 1) >= MAX_CALLS {
            return Err(Reason::Key);
        }
        let line = self.rules.line(&KeySource {
            query,
            headers,
            ..*self.source
        });
        Ok(line.as_ref() == Some(&self.wanted))
    }

    /// Takes away ever smaller runs of `items`, so that many needless ones cost few calls.
    fn without_the_needless<T: Clone>(
        &self,
        mut items: Vec<T>,
        is_same: impl Fn(&[T]) -> Result<bool, Reason>,
    ) -> Result<Vec<T>, Reason> {
        let mut run = items.len();
        while run > 0 {
            let mut at = 0;
            while at < items.len() {
                let end = (at + run).min(items.len());
                let mut without = items.clone();
                without.drain(at..end);
                if is_same(&without)? {
                    items = without;
                } else {
                    at = end;
                }
            }
            run /= 2;
        }
        Ok(items)
    }
}

/// Replaces the cookies of `headers` by these.
pub(crate) fn set_cookies(headers: &mut HeaderMap, pairs: &[Vec<u8>]) {
    headers.remove(header::COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&pairs.join(&b"; "[..]))
        && !pairs.is_empty()
    {
        headers.insert(header::COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RequestInfo;
    use std::sync::Arc;

    fn reduced(
        query: &str,
        fields: &[(&'static str, &'static str)],
        custom: fn(&RequestInfo<'_>) -> String,
    ) -> Result<Reduced, Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let rules = KeyRules {
            custom: Some(Arc::new(custom)),
            ..KeyRules::by_host()
        };
        let source = KeySource {
            method: "GET",
            path: "/",
            query,
            scheme: "https",
            host: "example.com",
            headers: &headers,
            body: None,
        };
        reduce(&source, &rules)
    }

    fn field<'a>(info: &'a RequestInfo<'_>, name: &str) -> &'a str {
        info.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn what_the_key_does_not_read_is_left_out() {
        let left = reduced(
            "a=1&b=2&c=3",
            &[("accept-language", "de"), ("x-echo", "1"), ("cookie", "_ga=1")],
            |info| {
                let b = info.query.split('&').find(|pair| pair.starts_with("b="));
                format!("{b:?}{}", field(info, "accept-language"))
            },
        )
        .unwrap();
        assert_eq!(left.query, "b=2");
        let names: Vec<_> = left.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept-language"]);
    }

    #[test]
    fn a_key_that_reads_what_no_fill_carries_lets_nothing_else_through() {
        let fields = [
            ("host", "example.com"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-host", "evil"),
            ("x-echo", "1"),
        ];
        let left = reduced("a=1", &fields, |info| {
            ["host", "accept-encoding", "x-forwarded-host"]
                .map(|name| field(info, name).to_owned())
                .join(" ")
        })
        .unwrap();
        assert!(left.headers.is_empty(), "{:?}", left.headers);
        assert_eq!(left.query, "");
    }

    #[test]
    fn of_the_cookies_only_those_stay_that_the_key_reads() {
        let left = reduced("", &[("cookie", "a=1; theme=dark; b")], |info| {
            let cookies = field(info, "cookie");
            cookies.contains("theme=dark").to_string()
        })
        .unwrap();
        assert_eq!(left.headers["cookie"], "theme=dark");
    }

    #[test]
    fn a_function_that_panics_for_want_of_a_field_keeps_it() {
        let fields = [("x-device", "tv"), ("x-echo", "1")];
        let left = reduced("", &fields, |info| {
            info.headers["x-device"].to_str().unwrap().to_owned()
        })
        .unwrap();
        let names: Vec<_> = left.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-device"]);
        let always = reduced("", &[], |_| panic!("never"));
        assert_eq!(always.err(), Some(Reason::Key));
    }

    #[test]
    fn a_long_query_costs_few_calls_or_is_given_up() {
        let query = vec!["x"; 5000].join("&");
        let left = reduced(&format!("{query}&b=2"), &[], |info| {
            info.query.contains("b=2").to_string()
        });
        assert_eq!(left.unwrap().query, "b=2");
        let all = reduced(&query, &[], |info| info.query.to_owned());
        assert_eq!(all.err(), Some(Reason::Key));
    }
}
