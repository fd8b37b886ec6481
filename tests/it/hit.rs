//! A hit: answered from the stored response, by its own validators, without the backend.

use std::time::{Duration, SystemTime};

use phantom_frame::Reason;

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Response, Setup, get, head};

const MODIFIED: &str = "Mon, 02 Jan 2023 03:04:05 GMT";
const BODY: &str = "0123456789";

/// A page with both validators.
fn page() -> Answer {
    Answer::page(BODY)
        .with("ETag", "\"v1\"")
        .with("Last-Modified", MODIFIED)
}

/// A stored page at `/`, and a backend that would answer otherwise by now.
async fn stored(answer: Answer) -> (Backend, Proxy) {
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    backend.on("/", Answer::page("not from here"));
    (backend, proxy)
}

/// Sends to a proxy that has the page, and makes sure that the backend was not asked.
async fn ask(backend: &Backend, proxy: &Proxy, request: Request) -> Response {
    let response = proxy.send(request).await;
    response.assert_hit();
    assert_eq!(backend.count("/"), 1, "the backend was asked again: {response:?}");
    response
}

#[tokio::test]
async fn a_hit_is_the_stored_response() {
    let (backend, proxy) = stored(page().with("X-Custom", "kept")).await;

    let response = ask(&backend, &proxy, get("/")).await;

    response.assert(200, BODY);
    assert_eq!(response.field("etag"), Some("\"v1\""));
    assert_eq!(response.field("last-modified"), Some(MODIFIED));
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.field("x-custom"), Some("kept"));
    assert_eq!(response.field("accept-ranges"), Some("bytes"));
    assert_eq!(response.field("content-length"), Some("10"));
    assert!(response.fields.has("age"), "{response:?}");
    assert_eq!(response.fields.all("date").len(), 1, "{response:?}");
}

#[tokio::test]
async fn hits_need_no_backend() {
    let (mut backend, proxy) = stored(page()).await;
    backend.stop().await;

    for _ in 0..3 {
        ask(&backend, &proxy, get("/")).await.assert(200, BODY);
    }
}

#[tokio::test]
async fn hits_follow_each_other_on_one_connection() {
    let (backend, proxy) = stored(page()).await;
    let mut connection = proxy.client().connect().await;

    for _ in 0..3 {
        connection.send(&get("/")).await.assert(200, BODY).assert_hit();
        connection.send(&head("/")).await.assert(200, "").assert_hit();
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn statuses_other_than_200_are_hits_too() {
    for status in [203, 300, 301, 308] {
        let answer = Answer::new(status)
            .with("Location", "/elsewhere")
            .with("Content-Type", "text/html")
            .body("over there");
        let (backend, proxy) = stored(answer).await;
        let response = ask(&backend, &proxy, get("/")).await;
        response.assert(status, "over there");
        assert_eq!(response.field("location"), Some("/elsewhere"));
    }
}

#[tokio::test]
async fn head_is_answered_from_the_stored_page() {
    let (backend, proxy) = stored(page()).await;

    let response = ask(&backend, &proxy, head("/")).await;

    response.assert(200, "");
    assert_eq!(response.field("content-length"), Some("10"));
    assert_eq!(response.field("etag"), Some("\"v1\""));
    let ranged = ask(&backend, &proxy, head("/").with("Range", "bytes=0-1")).await;
    assert_eq!(
        ranged.status, 200,
        "a range of a HEAD means nothing (RFC 9110 §14.2)"
    );
}

#[tokio::test]
async fn if_none_match_is_judged_against_the_stored_etag() {
    for (stored_tag, asked, expected) in [
        ("\"v1\"", "\"v1\"", 304),
        ("\"v1\"", "W/\"v1\"", 304),
        ("\"v1\"", "\"v0\", \"v1\"", 304),
        ("\"v1\"", "\"v0\",W/\"v1\" ,\"v2\"", 304),
        ("\"v1\"", "*", 304),
        ("W/\"v1\"", "\"v1\"", 304),
        ("W/\"v1\"", "W/\"v1\"", 304),
        ("\"a,b\"", "\"a,b\"", 304),
        ("\"v1\"", "\"v2\"", 200),
        ("\"v1\"", "\"v\"", 200),
        ("\"v1\"", "v1", 200),
        ("\"v1\"", "\"\"", 200),
    ] {
        let answer = Answer::page(BODY)
            .with("ETag", stored_tag)
            .with("Last-Modified", MODIFIED);
        let (backend, proxy) = stored(answer).await;
        let response = ask(&backend, &proxy, get("/").with("If-None-Match", asked)).await;
        assert_eq!(response.status, expected, "{asked} against {stored_tag}");
        assert_eq!(
            response.field("etag"),
            Some(stored_tag),
            "{asked} against {stored_tag}"
        );
        assert_eq!(
            response.text(),
            if expected == 200 { BODY } else { "" },
            "{asked} against {stored_tag}"
        );
    }
}

#[tokio::test]
async fn a_304_carries_what_a_cache_needs_and_no_content() {
    let answer = page()
        .with("Cache-Control", "max-age=600")
        .with("Vary", "Accept-Language");
    let (backend, proxy) = stored(answer).await;

    let response = ask(&backend, &proxy, get("/").with("If-None-Match", "\"v1\"")).await;

    response.assert(304, "");
    // RFC 9110 §15.4.5: what the 200 would have carried of these.
    for name in ["etag", "cache-control", "vary", "date"] {
        assert!(response.fields.has(name), "{name} should be in {response:?}");
    }
    for name in ["content-type", "content-encoding"] {
        assert!(!response.fields.has(name), "{name} should not be in {response:?}");
    }
}

#[tokio::test]
async fn if_modified_since_is_judged_against_the_stored_date() {
    let (backend, proxy) = stored(page()).await;
    for (asked, expected) in [
        (MODIFIED, 304),
        ("Tue, 03 Jan 2023 03:04:05 GMT", 304),
        ("Sun, 01 Jan 2023 03:04:05 GMT", 200),
        ("Monday, 02-Jan-23 03:04:05 GMT", 304),
        ("Mon Jan  2 03:04:05 2023", 304),
        ("yesterday", 200),
        ("", 200),
    ] {
        let response = ask(&backend, &proxy, get("/").with("If-Modified-Since", asked)).await;
        assert_eq!(response.status, expected, "If-Modified-Since: {asked}");
    }
}

#[tokio::test]
async fn if_modified_since_does_not_count_beside_if_none_match() {
    let (backend, proxy) = stored(page()).await;

    let request = get("/")
        .with("If-None-Match", "\"other\"")
        .with("If-Modified-Since", MODIFIED);

    ask(&backend, &proxy, request).await.assert(200, BODY);
}

#[tokio::test]
async fn the_time_of_a_file_says_nothing_of_when_its_page_was_modified() {
    let backend = Backend::with("/", Answer::page(BODY)).await;
    let proxy = Proxy::start(&backend).await;
    // The page is made tomorrow, and its file is of today.
    proxy.clock().advance(86_400);
    proxy.warm("/").await;

    let today = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let request = get("/").with("If-Modified-Since", &today);
    let response = ask(&backend, &proxy, request).await;

    response.assert(200, BODY);
    assert_eq!(response.field("last-modified"), None);
}

#[tokio::test]
async fn single_ranges_are_answered() {
    let (backend, proxy) = stored(page()).await;
    for (range, body, content_range) in [
        ("bytes=0-4", "01234", "bytes 0-4/10"),
        ("bytes=3-3", "3", "bytes 3-3/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", BODY, "bytes 0-9/10"),
        ("BYTES=0-0", "0", "bytes 0-0/10"),
    ] {
        let response = ask(&backend, &proxy, get("/").with("Range", range)).await;
        assert_eq!(response.status, 206, "Range: {range}: {response:?}");
        assert_eq!(response.text(), body, "Range: {range}");
        assert_eq!(
            response.field("content-range"),
            Some(content_range),
            "Range: {range}"
        );
        assert_eq!(response.field("etag"), Some("\"v1\""), "Range: {range}");
        assert_eq!(
            response.field("content-length"),
            Some(body.len().to_string().as_str()),
            "Range: {range}"
        );
    }
}

#[tokio::test]
async fn a_range_behind_the_end_is_a_416() {
    let (backend, proxy) = stored(page()).await;
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let response = ask(&backend, &proxy, get("/").with("Range", range)).await;
        assert_eq!(response.status, 416, "Range: {range}");
        assert_eq!(
            response.field("content-range"),
            Some("bytes */10"),
            "Range: {range}"
        );
        // It is no answer for anybody else.
        for name in ["cache-control", "etag", "last-modified", "expires"] {
            let value = response
                .field(name)
                .filter(|value| *value != "public, max-age=0, must-revalidate");
            assert_eq!(value, None, "{name}, Range: {range}");
        }
    }
}

#[tokio::test]
async fn ranges_that_we_do_not_do_are_ignored() {
    let (backend, proxy) = stored(page()).await;
    for range in [
        "bytes=0-1,4-5",
        "bytes=0-1, -2",
        "lines=1-2",
        "bytes=5-2",
        "bytes=a-b",
        "bytes",
        "bytes=",
        "bytes=--1",
        "bytes=99999999999999999999999-",
    ] {
        let response = ask(&backend, &proxy, get("/").with("Range", range)).await;
        // The last is no number that fits: either reading of it is right.
        let unsatisfiable = range.len() > 20 && response.status == 416;
        assert!(
            response.status == 200 || unsatisfiable,
            "Range: {range}: {response:?}"
        );
        if response.status == 200 {
            assert_eq!(response.text(), BODY, "Range: {range}");
            assert!(!response.fields.has("content-range"), "Range: {range}");
        }
    }
}

#[tokio::test]
async fn if_range_gives_the_part_only_of_the_same_page() {
    for (etag, if_range, expected) in [
        ("\"v1\"", "\"v1\"", 206),
        ("\"v1\"", "\"v2\"", 200),
        ("\"v1\"", "W/\"v1\"", 200),
        ("W/\"v1\"", "W/\"v1\"", 200),
        ("W/\"v1\"", "\"v1\"", 200),
        ("\"v1\"", MODIFIED, 206),
        ("\"v1\"", "Tue, 03 Jan 2023 03:04:05 GMT", 200),
        ("\"v1\"", "Sun, 01 Jan 2023 03:04:05 GMT", 200),
        ("\"v1\"", "nonsense", 200),
    ] {
        let answer = Answer::page(BODY)
            .with("ETag", etag)
            .with("Last-Modified", MODIFIED);
        let (backend, proxy) = stored(answer).await;
        let request = get("/").with("Range", "bytes=2-3").with("If-Range", if_range);
        let response = ask(&backend, &proxy, request).await;
        assert_eq!(response.status, expected, "If-Range: {if_range} against {etag}");
        assert_eq!(
            response.text(),
            if expected == 206 { "23" } else { BODY },
            "If-Range: {if_range} against {etag}"
        );
    }
}

#[tokio::test]
async fn a_condition_comes_before_a_range() {
    let (backend, proxy) = stored(page()).await;

    let request = get("/")
        .with("Range", "bytes=0-1")
        .with("If-None-Match", "\"v1\"");

    ask(&backend, &proxy, request).await.assert(304, "");
}

#[tokio::test]
async fn conditions_for_origin_servers_do_not_keep_a_page_from_who_fulfils_them() {
    // RFC 9110 §13.1.1, §13.1.4: a cache may ignore these, "because it is not applicable to a stored
    // response"; judging them is no mistake either.
    let (backend, proxy) = stored(page()).await;
    for (name, value, fulfilled) in [
        ("If-Match", "\"v1\"", true),
        ("If-Match", "*", true),
        ("If-Match", "\"v2\"", false),
        ("If-Unmodified-Since", MODIFIED, true),
        ("If-Unmodified-Since", "Sun, 01 Jan 2023 03:04:05 GMT", false),
    ] {
        let status = ask(&backend, &proxy, get("/").with(name, value)).await.status;
        assert!(
            status == 200 || (status == 412 && !fulfilled),
            "{name}: {value}: {status}"
        );
    }
}

#[tokio::test]
async fn ranges_of_a_large_page_are_right_at_every_place() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (backend, proxy) = stored(Answer::page(body.clone())).await;
    for (first, last) in [
        (0, 0),
        (65_535, 65_537),
        (1_234_567, 2_345_678),
        (2_999_999, 2_999_999),
    ] {
        let request = get("/").with("Range", &format!("bytes={first}-{last}"));
        let response = ask(&backend, &proxy, request).await;
        assert_eq!(response.status, 206);
        assert!(response.body == body[first..=last], "bytes {first} to {last}");
    }
    let whole = ask(&backend, &proxy, get("/")).await;
    assert!(whole.body == body);
}

#[tokio::test]
async fn a_page_without_an_etag_gets_one_from_its_bytes() {
    let (backend, proxy) = stored(Answer::page(BODY)).await;

    let tag = ask(&backend, &proxy, get("/"))
        .await
        .field("etag")
        .expect("an ETag of ours")
        .to_owned();

    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10,
        "a strong tag: {tag}"
    );
    ask(&backend, &proxy, get("/").with("If-None-Match", &tag))
        .await
        .assert(304, "");
    let request = get("/").with("Range", "bytes=0-1").with("If-Range", &tag);
    ask(&backend, &proxy, request).await.assert(206, "01");
    // Another node that has rendered the same page agrees, whenever it did.
    let same = Backend::with("/", Answer::page(BODY)).await;
    let other = Setup::over(&same).start().await;
    other.clock().advance(3600);
    assert_eq!(other.warm("/").await.field("etag"), Some(tag.as_str()));
    // And one that has rendered another page does not.
    let another = Backend::with("/", Answer::page("9876543210")).await;
    let different = Proxy::start(&another).await;
    assert_ne!(different.warm("/").await.field("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn conditional_and_range_requests_for_a_cold_page_do_not_spoil_it() {
    for (name, value) in [
        ("If-None-Match", "\"v1\""),
        ("If-Modified-Since", MODIFIED),
        ("Range", "bytes=0-1"),
    ] {
        let backend = Backend::start().await;
        backend.on_fn("/", |request| {
            if request.fields.has("range") {
                Answer::new(206)
                    .with("Content-Type", "text/html")
                    .with("Content-Range", "bytes 0-1/10")
                    .body("01")
            } else if request.fields.has("if-none-match") || request.fields.has("if-modified-since") {
                Answer::new(304).with("ETag", "\"v1\"")
            } else {
                page()
            }
        });
        let proxy = Proxy::start(&backend).await;

        let response = proxy.send(get("/").with(name, value)).await;

        match name {
            "Range" if response.status == 206 => assert_eq!(response.text(), "01"),
            "Range" => {
                response.assert(200, BODY);
            }
            _ => assert!(matches!(response.status, 200 | 304), "{name}: {response:?}"),
        }
        proxy.get("/").await.assert(200, BODY);
        proxy.get("/").await.assert(200, BODY).assert_hit();
    }
}

#[tokio::test]
async fn a_range_of_a_cold_page_says_why_it_was_forwarded() {
    let backend = Backend::start().await;
    backend.on(
        "/",
        Answer::new(206)
            .with("Content-Type", "text/html")
            .with("Content-Range", "bytes 0-1/10")
            .body("01"),
    );
    let proxy = Proxy::start(&backend).await;

    let response = proxy.send(get("/").with("Range", "bytes=0-1")).await;

    response.assert(206, "01").assert_not_stored(Reason::Range);
    assert_eq!(response.cache().fwd.as_deref(), Some("partial"));
    assert_eq!(backend.last("/").field("range"), Some("bytes=0-1"));
}
