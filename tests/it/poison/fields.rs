//! By request fields.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use phantom_frame::defaults::{BYPASS_HEADERS, PRESET_HEADERS};

use super::{POISON, Page, bare, echo, field_names, is_in, over, pages_of_nobody, plain_names, poisoned};
use crate::rig::log::Log;
use crate::rig::{Answer, Backend, Gate, Proxy, get};

#[test]
fn the_list_has_more_than_a_thousand_names_each_once() {
    let names = field_names();
    let distinct: BTreeSet<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    assert!(names.len() > 1000, "{}", names.len());
    assert_eq!(distinct.len(), names.len());
    for known in BYPASS_HEADERS.iter().chain(PRESET_HEADERS) {
        assert!(distinct.contains(*known), "{known}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_of_one_visitor_is_in_the_page_of_the_next() {
    let backend = echo().await;
    // Other tests of this binary have the poison in paths, which are logged.
    const MARKER: &str = "p0is0n-in-a-field";
    let log = Log::watching(&[MARKER, "/field/"]);
    let mut proxy = over(&backend).start().await;
    let mut names = field_names();
    names.retain(|name| !is_in(PRESET_HEADERS, name));
    let nobody = pages_of_nobody(&mut proxy, &["/field/NOBODY".to_owned()]).await;
    let nobody = &nobody["/field/NOBODY"];

    // Each on a cold page of its own, a few at a time.
    let numbered: Vec<_> = names.iter().enumerate().collect();
    let lanes = numbered.chunks(names.len().div_ceil(8)).map(async |lane| {
        let mut passed = BTreeSet::new();
        let mut visitor = proxy.client().connect().await;
        let mut next = proxy.client().connect().await;
        for (n, name) in lane {
            let target = format!("/field/{n}");
            let response = visitor
                .send(&get(&target).with(name, &format!("{MARKER}-{n}")))
                .await;
            if !response.cache().stored {
                passed.insert(name.to_ascii_lowercase());
            }
            let page = match response.cache().stored {
                true => next.send(&get(&target)).await,
                false => {
                    next.send(&get(&target)).await.assert_stored();
                    next.send(&get(&target)).await
                }
            };
            page.assert_hit();
            assert_eq!(Page::of(&page), nobody.at("/field/NOBODY", &target), "{name}");
        }
        passed
    });
    let passed: BTreeSet<_> = join_all(lanes).await.into_iter().flatten().collect();

    let identities: BTreeSet<_> = BYPASS_HEADERS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(passed, identities, "the fields with which a visitor is somebody");
    assert_eq!(proxy.files_with(POISON), [""; 0]);
    assert_eq!(log.lines_with(MARKER), [""; 0]);
    assert!(
        log.lines_with("/field/").len() >= names.len(),
        "the log is watched"
    );
}

#[tokio::test]
async fn neither_are_all_of_them_together() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let names = plain_names();
    // A request may have a hundred fields.
    let requests: Vec<_> = names
        .chunks(90)
        .enumerate()
        .map(|(n, names)| {
            let request = names
                .iter()
                .fold(get(&format!("/together/{n}")), |request, name| {
                    request.with(name, POISON)
                });
            (format!("/together/{n}"), request)
        })
        .collect();
    stay_out(&mut proxy, requests).await;
}

#[tokio::test]
async fn neither_are_doubled_ones_in_any_case_of_letters() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let names = plain_names();
    let requests: Vec<_> = names
        .chunks(30)
        .enumerate()
        .map(|(n, names)| {
            let request = names.iter().fold(get(&format!("/doubled/{n}")), |request, name| {
                request
                    .with(&name.to_ascii_uppercase(), &format!("{POISON}-1"))
                    .with(&name.to_ascii_lowercase(), &format!("{POISON}-2"))
                    .with(name, "")
            });
            (format!("/doubled/{n}"), request)
        })
        .collect();
    stay_out(&mut proxy, requests).await;
}

#[tokio::test]
async fn neither_are_those_that_connection_names() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let mut names = plain_names();
    names.retain(|name| !["Upgrade", "Close"].contains(name));
    let requests: Vec<_> = names
        .chunks(80)
        .enumerate()
        .map(|(n, names)| {
            let named = get(&format!("/named/{n}")).with("Connection", &names.join(", "));
            let request = names
                .iter()
                .fold(named, |request, name| request.with(name, POISON));
            (format!("/named/{n}"), request)
        })
        .collect();
    stay_out(&mut proxy, requests).await;
}

/// Each request is stored as nobody's page, and the next visitor gets that.
async fn stay_out(proxy: &mut Proxy, requests: Vec<(String, crate::rig::client::Request)>) {
    let targets: Vec<String> = requests.iter().map(|(target, _)| target.clone()).collect();
    let nobody = pages_of_nobody(proxy, &targets).await;
    for (target, request) in requests {
        let response = proxy.send(request).await;
        response.assert_stored();
        assert_eq!(response.text(), nobody[&target].body, "{response:?}");
        let mut next = proxy.client().connect().await;
        assert_eq!(bare(&mut next, &get(&target)).await, nobody[&target]);
    }
    assert_eq!(proxy.files_with(POISON), [""; 0]);
}

/// Values that mean something, where a marker would not.
#[tokio::test]
async fn fields_that_mean_something_do_not_change_what_a_fill_asks() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for (name, value) in [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "POST"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Scheme", "nothttps"),
        ("X-Forwarded-Ssl", "on"),
        ("Front-End-Https", "on"),
        ("X-Forwarded-Port", "4443"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;host=evil.test;proto=https"),
        ("X-Forwarded-Proto", "http"),
        ("X-Host", "evil.test"),
        ("X-Middleware-Prefetch", "1"),
        ("X-Middleware-Subrequest", "middleware:middleware:middleware"),
        ("X-Nextjs-Data", "1"),
        ("X-Invoke-Status", "500"),
        ("Purpose", "prefetch"),
        ("Prefer", "return=minimal"),
        ("Accept-Language", "xx"),
        ("Accept-Charset", "utf-16"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Expect", "100-continue"),
        ("Max-Forwards", "0"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=1"),
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "0"),
        ("Sec-Fetch-Dest", "empty"),
        ("X-Requested-With", "XMLHttpRequest"),
        ("User-Agent", "curl/8 p0is0n"),
        ("Referer", "https://evil.test/p0is0n"),
        ("Accept-Encoding", "p0is0n"),
        ("Accept-Encoding", "gzip;q=0, *;q=0"),
        ("Cookie", "_ga=p0is0n; csrftoken=p0is0n; OptanonConsent=p0is0n"),
        ("Cache-Control", "no-store"),
        ("Cache-Control", "no-cache, max-age=0"),
        ("Cache-Control", "p0is0n=1, max-stale"),
        ("Pragma", "no-cache"),
        ("If-None-Match", "\"p0is0n\""),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("If-Match", "\"p0is0n\""),
        ("If-Range", "\"p0is0n\""),
        ("Range", "p0is0n=0-5"),
        ("Range", "bytes=0-0, 2-3, 5-6"),
    ] {
        let poison = async |proxy: &Proxy| proxy.send(get("/meant").with(name, value)).await;
        let response = poisoned(&mut proxy, "/meant", poison).await;
        assert!(response.cache().stored, "{name}: {value}: {response:?}");
        assert_eq!(response.status, 200, "{name}: {value}: {response:?}");
    }
}

#[tokio::test]
async fn a_range_or_a_condition_that_anything_meets_leaves_the_page_whole() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for (name, value, status) in [("Range", "bytes=0-5", 200), ("If-None-Match", "*", 304)] {
        let poison = async |proxy: &Proxy| proxy.send(get("/meant").with(name, value)).await;
        let response = poisoned(&mut proxy, "/meant", poison).await;
        assert_eq!(response.status, status, "{response:?}");
    }
}

#[tokio::test]
async fn a_preset_field_reaches_its_own_variant_alone() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let targets: Vec<String> = PRESET_HEADERS.iter().map(|name| format!("/{name}")).collect();
    let nobody = pages_of_nobody(&mut proxy, &targets).await;

    for (name, target) in PRESET_HEADERS.iter().zip(&targets) {
        let mine = get(target).with(name, POISON).with("X-Beside", "beside");
        let response = proxy.send(mine).await;
        response.assert_stored();
        assert!(
            response.text().contains(&format!("{name}: {POISON}")),
            "{response:?}"
        );
        assert!(!response.text().contains("beside"), "{response:?}");

        let mut next = proxy.client().connect().await;
        assert_eq!(bare(&mut next, &get(target)).await, nobody[target], "{name}");
        let other = bare(&mut next, &get(target).with(name, "other")).await;
        assert!(other.body.contains(&format!("{name}: other")), "{other:?}");
        proxy.send(get(target).with(name, POISON)).await.assert_hit();
    }
    assert!(proxy.files_with("beside").is_empty());
    for file in proxy.files_with(POISON) {
        assert!(file.contains('~'), "{file} is no variant's");
    }
}

/// What `Vary` names is learnt for the key that it came with.
#[tokio::test]
async fn a_learnt_field_reaches_its_own_variant_alone() {
    let backend = Backend::start().await;
    let page = |request: &crate::rig::Recorded| {
        Answer::page(String::from_utf8_lossy(&request.raw_head).into_owned())
    };
    backend.fallback(page);
    backend.on_fn("/varies", move |request| page(request).with("Vary", "X-Theme"));
    let mut proxy = over(&backend).start().await;
    let targets = ["/varies", "/varies?2", "/does-not"].map(str::to_owned);
    let nobody = pages_of_nobody(&mut proxy, &targets).await;
    let themed = |target: &str| get(target).with("X-Theme", POISON).with("X-Beside", "beside");

    for _ in 0..2 {
        let own = proxy.send(themed("/varies")).await;
        assert!(
            own.text().contains(POISON) && !own.text().contains("beside"),
            "{own:?}"
        );
    }
    proxy.send(themed("/varies")).await.assert_hit();
    let stays = proxy.send(themed("/does-not")).await;
    assert!(!stays.text().contains(POISON), "{stays:?}");
    let mut next = proxy.client().connect().await;
    for target in &targets {
        assert_eq!(bare(&mut next, &get(target)).await, nobody[target], "{target}");
    }
    let other = proxy.send(get("/varies").with("X-Theme", "other")).await;
    assert!(other.text().contains("x-theme: other") && !other.text().contains(POISON));
    assert!(proxy.files_with("beside").is_empty());
    for file in proxy.files_with(POISON) {
        assert!(file.contains('~'), "{file} is no variant's");
    }
}

/// The fill says these itself, or never: nothing that a client sends can select among them.
#[tokio::test]
async fn a_field_that_no_fill_takes_from_a_client_is_no_axis() {
    for name in [
        "Host",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "Range",
        "If-None-Match",
        "Connection",
        "Cookie",
        "Accept-Encoding",
    ] {
        let backend = Backend::start().await;
        backend.on_fn("/", move |request| {
            let head = String::from_utf8_lossy(&request.raw_head).into_owned();
            Answer::page(head).with("Vary", name)
        });
        let mut proxy = over(&backend).start().await;
        let nobody = pages_of_nobody(&mut proxy, &["/".to_owned()]).await;
        let asked = backend.total();
        if !["Host", "Range", "Cookie"].contains(&name) {
            let response = proxy.send(get("/").with(name, POISON)).await;
            response.assert_stored();
            assert_eq!(response.text(), nobody["/"].body, "{name}");
        }
        let mut next = proxy.client().connect().await;
        assert_eq!(bare(&mut next, &get("/")).await, nobody["/"], "{name}");
        assert_eq!(backend.total(), asked + 1, "{name}: one fill");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_share_the_page_of_nobody() {
    const VISITORS: usize = 1000;
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let nobody = pages_of_nobody(&mut proxy, &["/crowd".to_owned()]).await;
    let asked = backend.count("/crowd");
    let gate = Gate::new();
    let held = gate.clone();
    backend.on_fn("/crowd", move |request| {
        let head = String::from_utf8_lossy(&request.raw_head).into_owned();
        let echoed = head.trim_end().replace("\r\n", " | ");
        Answer::page(head).with("X-Echo", &echoed).held(&held)
    });
    let names = plain_names();
    let client = proxy.client();
    let begun = names.iter().rev().take(VISITORS).enumerate().map(|(n, name)| {
        let request = get("/crowd").with(name, &format!("{POISON}-{n}"));
        async move { client.begin(&request).await }
    });
    let begun = join_all(begun).await;
    gate.arrivals(1).await;
    gate.open();
    let answers = begun
        .into_iter()
        .map(|begun| async move { begun.head().await.finish().await });
    let answers = join_all(answers).await;
    let bodies: BTreeMap<String, usize> = answers.iter().fold(BTreeMap::new(), |mut bodies, answer| {
        *bodies.entry(answer.text()).or_default() += 1;
        bodies
    });
    assert_eq!(
        bodies,
        BTreeMap::from([(nobody["/crowd"].body.clone(), VISITORS)])
    );
    let ours: Vec<Page> = answers.iter().map(Page::of).collect();
    assert!(!format!("{ours:?}").contains(POISON));
    assert_eq!(backend.count("/crowd"), asked + 1);
    assert_eq!(proxy.files_with(POISON), [""; 0]);
}
