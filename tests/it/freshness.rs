//! How long a page is fresh, by what the backend says.

use std::time::Duration;

use phantom_frame::{Reason, Settings, Ttl};

use crate::rig::{Answer, Backend, Proxy, Setup, TestClock};

const NOTHING: Ttl = Ttl::For(Duration::ZERO);

fn page() -> Answer {
    Answer::page("page")
}

fn html(status: u16) -> Answer {
    Answer::new(status).with("Content-Type", "text/html").body("page")
}

/// A date as HTTP writes it, `before` seconds before the clock's.
fn ago(clock: &TestClock, before: u64) -> String {
    httpdate::fmt_http_date(clock.now() - Duration::from_secs(before))
}

/// An answer is stored, fresh for so many seconds more, and then over.
async fn lives_for(
    seconds: u64,
    make: impl Fn(&TestClock) -> Answer,
    settings: impl Fn(&mut Settings) + Send + Sync + 'static,
) -> Proxy {
    let clock = TestClock::standing();
    let answer = make(&clock);
    let what = format!("{answer:?}");
    let backend = Backend::with("/", answer).await;
    let proxy = Setup::over(&backend).clock(clock).with(settings).start().await;
    proxy.warm("/").await;
    proxy.clock().advance(seconds - 1);
    let last = proxy.get("/").await;
    assert!(last.cache().hit, "{what} should still be fresh: {last:?}");
    assert_eq!(last.cache().ttl, Some(1), "{what}: {last:?}");
    assert_eq!(backend.count("/"), 1, "{what}");

    proxy.clock().advance(1);
    let over = proxy.get("/").await;
    assert!(!over.cache().hit, "{what} should be over: {over:?}");
    assert_eq!(over.cache().fwd.as_deref(), Some("stale"), "{what}");
    assert_eq!(backend.count("/"), 2, "{what}");
    proxy
}

async fn is_not_stored(
    answer: Answer,
    settings: impl Fn(&mut Settings) + Send + Sync + 'static,
    why: Reason,
) {
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::with(&backend, settings).await;
    for _ in 0..2 {
        proxy.get("/").await.assert_not_stored(why);
    }
    assert!(backend.count("/") >= 2);
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

const AS_SAID: fn(&mut Settings) = |_| {};

#[tokio::test]
async fn what_is_said_to_this_cache_alone_replaces_cache_control_and_expires() {
    for (targeted, general, seconds) in [
        ("max-age=60", "max-age=5", 60),
        ("max-age=60", "no-store", 60),
        ("max-age=60", "private, no-cache", 60),
        ("foobar, max-age=60;a=b", "s-maxage=5", 60),
        ("max-age=5, s-maxage=60", "no-store", 60),
        ("max-age=5", "max-age=3600", 5),
        ("max-age=99999999999", "no-store", 1 << 31),
    ] {
        let make = |_: &TestClock| {
            page()
                .with("CDN-Cache-Control", targeted)
                .with("Cache-Control", general)
                .with("Expires", "0")
        };
        let proxy = lives_for(seconds, make, AS_SAID).await;
        // Both go to clients, as they came.
        let hit = proxy.get("/").await;
        hit.assert_hit();
        assert_eq!(hit.fields.all("cdn-cache-control"), [targeted]);
        assert_eq!(hit.fields.all("cache-control"), [general]);
    }
    for (targeted, why) in [
        ("no-store", Reason::NoStore),
        ("private", Reason::Private),
        ("private=\"x-name\", max-age=60", Reason::Private),
        ("no-cache", Reason::Expired),
        ("max-age=0", Reason::Expired),
        ("max-age=-1", Reason::Expired),
    ] {
        let answer = page()
            .with("CDN-Cache-Control", targeted)
            .with("Cache-Control", "max-age=60");
        is_not_stored(answer, AS_SAID, why).await;
    }
}

#[tokio::test]
async fn several_lines_for_this_cache_are_one_field() {
    let make = |_: &TestClock| {
        page()
            .with("CDN-Cache-Control", "foo")
            .with("Cache-Control", "no-store")
            .with("CDN-Cache-Control", "max-age=60")
    };
    lives_for(60, make, AS_SAID).await;
}

#[tokio::test]
async fn a_field_for_this_cache_that_is_malformed_or_empty_is_not_there() {
    for targeted in [
        "",
        "max-age=60, &&&&&",
        "MaX-aGe=60",
        "max-age =60",
        "max-age=\"60\"",
        "max-age=60.0",
        "max-age",
    ] {
        let both = |general: &'static str| {
            page()
                .with("CDN-Cache-Control", targeted)
                .with("Cache-Control", general)
        };
        lives_for(5, |_| both("max-age=5"), AS_SAID).await;
        is_not_stored(both("no-store"), AS_SAID, Reason::NoStore).await;
    }
}

#[tokio::test]
async fn what_connection_lists_cannot_take_the_directives_for_this_cache_away() {
    let make = |_: &TestClock| {
        page()
            .with("Connection", "cdn-cache-control")
            .with("CDN-Cache-Control", "max-age=5")
            .with("Cache-Control", "max-age=60")
    };
    lives_for(5, make, AS_SAID).await;
}

#[tokio::test]
async fn an_expires_that_is_no_date_is_in_the_past() {
    let far = "Wed, 18 Aug 2060 02:01:18 GMT";
    for expires in [
        far,
        "Wednesday, 18-Aug-60 02:01:18 GMT",
        "Wed Aug 18 02:01:18 2060",
        "WED, 18 AUG 2060 02:01:18 gmt",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        let backend = Backend::with("/", page().with("Expires", expires)).await;
        let proxy = Proxy::with(&backend, |settings| settings.default_ttl = NOTHING).await;
        proxy.warm("/").await;
    }
    for expires in [
        "0",
        "Wed, 18 Aug 2060 02:01:18 UTC",
        "Wed, 18 Aug 2060 02:01:18 AEST",
        "Wed 18 Aug 2060 02:01:18 GMT",
        "Wed, 18  Aug  2060 02:01:18 GMT",
        "Wed, 18-Aug-2060 02:01:18 GMT",
        "Wed, 18 Aug 2060 2:01:18 GMT",
        "Wed, 18 Aug 2060 02.01.18 GMT",
    ] {
        is_not_stored(page().with("Expires", expires), AS_SAID, Reason::Expired).await;
    }
    let two = page()
        .with("Expires", far)
        .with("Expires", "Thu, 19 Aug 2060 02:01:18 GMT");
    is_not_stored(two, AS_SAID, Reason::Expired).await;
}

#[tokio::test]
async fn where_nobody_grants_a_lifetime_a_page_lives_for_a_tenth_of_what_it_has_stood() {
    let nothing = |settings: &mut Settings| settings.default_ttl = NOTHING;
    let modified = |clock: &TestClock, before| page().with("Last-Modified", &ago(clock, before));
    lives_for(100, |clock| modified(clock, 1000), nothing).await;
    // A day at most.
    lives_for(86_400, |clock| modified(clock, 100_000_000), nothing).await;
    // Who grants one is asked first.
    let ten = |settings: &mut Settings| settings.default_ttl = Ttl::For(Duration::from_secs(10));
    lives_for(10, |clock| modified(clock, 1000), ten).await;
    let max_age = |clock: &TestClock| modified(clock, 1000).with("Cache-Control", "max-age=5");
    lives_for(5, max_age, nothing).await;
    let ttl = |settings: &mut Settings| {
        settings.default_ttl = NOTHING;
        settings.ttl = Some(Ttl::For(Duration::from_secs(10)));
    };
    lives_for(10, |clock| modified(clock, 1000), ttl).await;
}

#[tokio::test]
async fn only_statuses_that_allow_it_live_by_what_they_have_stood_or_those_said_to_be_public() {
    let nothing = |settings: &mut Settings| settings.default_ttl = NOTHING;
    for status in [203, 405, 414, 501] {
        let make = |clock: &TestClock| html(status).with("Last-Modified", &ago(clock, 1000));
        lives_for(100, make, nothing).await;
    }
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for status in [201, 202, 403] {
        let public = |clock: &TestClock| {
            html(status)
                .with("Last-Modified", &ago(clock, 1000))
                .with("Cache-Control", "public")
        };
        lives_for(100, public, nothing).await;
        is_not_stored(html(status).with("Last-Modified", old), nothing, Reason::Status).await;
    }
    // Data may be somebody's, and nobody has said that it is not.
    let data = || {
        Answer::new(200)
            .with("Content-Type", "application/json")
            .with("Last-Modified", old)
            .body("{}")
    };
    lives_for(60, |_| data().with("Cache-Control", "max-age=60"), nothing).await;
    is_not_stored(data(), nothing, Reason::Json).await;
}

#[tokio::test]
async fn a_ttl_of_the_operator_stands_above_what_the_backend_says() {
    let minute = |settings: &mut Settings| settings.ttl = Some(Ttl::For(Duration::from_secs(60)));
    for (name, value) in [
        ("Cache-Control", "max-age=5"),
        ("Cache-Control", "max-age=3600"),
        ("Cache-Control", "s-maxage=0"),
        ("CDN-Cache-Control", "max-age=5"),
        ("Expires", "0"),
        ("X-Nothing", "said"),
        // Time in other caches counts against what they were told.
        ("Age", "50"),
    ] {
        lives_for(60, |_| page().with(name, value), minute).await;
    }
}

#[tokio::test]
async fn a_page_that_came_through_other_caches_is_as_old_as_the_first_of_them_says() {
    for (age, left) in [
        (&["50"][..], 10),
        (&["50, 0"], 10),
        (&["50", "0"], 10),
        (&["0050"], 10),
        (&["0, 50"], 60),
        // What is no number is no age, and makes nothing stale.
        (&["abc", "50"], 60),
        (&["-50"], 60),
        (&["50.5"], 60),
        (&["50;foo=bar"], 60),
    ] {
        let make = |_: &TestClock| {
            let answer = page().with("Cache-Control", "max-age=60");
            age.iter().fold(answer, |answer, line| answer.with("Age", line))
        };
        lives_for(left, make, AS_SAID).await;
    }
    for age in ["60", "2147483648", "4294967296", "99999999999999999999"] {
        let answer = page().with("Cache-Control", "max-age=60").with("Age", age);
        let backend = Backend::with("/", answer).await;
        let proxy = Proxy::start(&backend).await;
        proxy.get("/").await.assert_stored();
        let again = proxy.get("/").await;
        assert!(!again.cache().hit, "Age: {age}: {again:?}");
        assert_eq!(backend.count("/"), 2, "Age: {age}");
    }
}

/// A backend whose page is validated once and found to be `of_304`, and afterwards is "new".
async fn validated_by(of_304: Answer) -> (Backend, Proxy) {
    let first = page()
        .with("ETag", "\"1\"")
        .with("Cache-Control", "max-age=60")
        .with("X-From", "200");
    let backend = Backend::with("/", first).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on_fn("/", move |request| match request.field("if-none-match") {
        Some(_) => of_304.clone(),
        None => Answer::page("new").with("ETag", "\"2\""),
    });
    (backend, proxy)
}

#[tokio::test]
async fn a_304_about_another_representation_has_the_page_fetched_whole() {
    let (backend, proxy) = validated_by(Answer::new(304).with("ETag", "\"1\"")).await;
    proxy.get("/").await.assert(200, "page").assert_revalidated();
    assert_eq!(backend.count("/"), 2);

    for other in ["\"2\"", "W/\"2\""] {
        let of_304 = Answer::new(304).with("ETag", other).with("X-From", "304");
        let (backend, proxy) = validated_by(of_304).await;

        let response = proxy.get("/").await;

        // RFC 9111 §4.3.4: it "MUST NOT" update what is stored.
        response.assert(200, "new").assert_stored();
        assert_eq!(response.field("etag"), Some("\"2\""));
        assert_eq!(backend.count("/"), 3);
        assert!(!backend.last("/").fields.has("if-none-match"));
        let hit = proxy.get("/").await;
        hit.assert(200, "new").assert_hit();
        assert_eq!(hit.field("x-from"), None);
    }
}

#[tokio::test]
async fn a_304_changes_what_is_said_of_a_page_and_not_how_its_bytes_are_read() {
    let of_304 = Answer::new(304)
        .with("ETag", "\"1\"")
        .with("Content-Type", "text/html")
        .with("Content-Encoding", "br")
        .with("Content-Range", "bytes 0-1/9")
        .with("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")
        .with("Content-Location", "/here")
        .with("CDN-Cache-Control", "max-age=600")
        .with("X-From", "304");
    let (backend, proxy) = validated_by(of_304).await;

    proxy.get("/").await.assert(200, "page").assert_revalidated();

    let hit = proxy.get("/").await;
    hit.assert(200, "page").assert_hit();
    for (name, expected) in [
        ("content-type", Some("text/html")),
        ("content-location", Some("/here")),
        ("x-from", Some("304")),
        ("content-length", Some("4")),
        ("content-encoding", None),
        ("content-range", None),
        ("content-md5", None),
    ] {
        assert_eq!(hit.field(name), expected, "{name}");
    }
    // By the fields as they are now.
    assert_eq!(hit.cache().ttl, Some(600));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_ttl_of_the_operator_makes_no_error_last() {
    for status in [500, 503] {
        let error = Answer::new(status)
            .with("Cache-Control", "max-age=5")
            .body("sorry");
        let backend = Backend::with("/", error).await;
        let proxy = Proxy::with(&backend, |settings| {
            settings.ttl = Some(Ttl::For(Duration::from_secs(3600)));
        })
        .await;
        proxy.get("/").await.assert(status, "sorry").assert_stored();
        proxy.get("/").await.assert_hit();
        backend.on("/", Answer::page("page"));
        proxy.clock().advance(5);
        proxy.get("/").await.assert(200, "page").assert_stored();
        proxy.clock().advance(3599);
        proxy.get("/").await.assert_hit();
    }
}

#[tokio::test]
async fn a_304_without_expires_prolongs_nothing() {
    let clock = TestClock::standing();
    let expires = |clock: &TestClock| httpdate::fmt_http_date(clock.now() + Duration::from_secs(60));
    let page = Answer::page("page")
        .with("ETag", "\"1\"")
        .with("Expires", &expires(&clock));
    let backend = Backend::with("/", page).await;
    let proxy = Setup::over(&backend).clock(clock).start().await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", Answer::new(304).with("ETag", "\"1\""));

    proxy.get("/").await.assert(200, "page").assert_revalidated();
    proxy.get("/").await.assert(200, "page").assert_revalidated();
    assert_eq!(backend.count("/"), 3, "the point in time that was said is over");

    let later = expires(proxy.clock());
    backend.on(
        "/",
        Answer::new(304).with("ETag", "\"1\"").with("Expires", &later),
    );
    proxy.get("/").await.assert(200, "page").assert_revalidated();
    proxy.get("/").await.assert(200, "page").assert_hit();
    assert_eq!(backend.count("/"), 4);
}

#[tokio::test]
async fn a_missing_page_lasts_no_longer_than_the_backend_says_whatever_the_operator_says_of_pages() {
    let missing = Answer::new(404)
        .with("Cache-Control", "max-age=30")
        .with("Age", "25")
        .body("gone");
    let backend = Backend::with("/", missing).await;
    let proxy = Proxy::with(&backend, |settings| settings.ttl = Some(Ttl::Forever)).await;
    proxy.get("/").await.assert(404, "gone");
    proxy.get("/").await.assert(404, "gone").assert_hit();
    proxy.clock().advance(6);
    proxy.get("/").await.assert(404, "gone");
    assert_eq!(backend.count("/"), 2, "five seconds were left");
}
