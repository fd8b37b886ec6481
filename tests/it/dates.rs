//! Age, Date and Expires, as clients see them.

use std::fs;
use std::time::{Duration, SystemTime};

use phantom_frame::{Settings, Ttl};

use crate::rig::proxy::unix_seconds;
use crate::rig::{Answer, Backend, Gate, Proxy, Response, Setup, TestClock, get, head};

fn http(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[track_caller]
fn assert_dates(response: &Response, date: &str, expires: Option<&str>, age: Option<u64>) {
    assert_eq!(response.fields.all("date"), [date], "the date of {response:?}");
    let found = response.fields.all("expires");
    assert_eq!(found, Vec::from_iter(expires), "the expiry of {response:?}");
    assert_eq!(response.age(), age, "the age of {response:?}");
}

/// A proxy at a time that stands, over a page that is made then.
async fn over(make: impl Fn(SystemTime) -> Answer) -> (Backend, Proxy, SystemTime) {
    over_with(make, |_| {}).await
}

async fn over_with(
    make: impl Fn(SystemTime) -> Answer,
    settings: fn(&mut Settings),
) -> (Backend, Proxy, SystemTime) {
    let clock = TestClock::standing();
    let now = clock.now();
    let backend = Backend::with("/", make(now)).await;
    let proxy = Setup::over(&backend).clock(clock).with(settings).start().await;
    (backend, proxy, now)
}

#[tokio::test]
async fn date_and_expires_of_a_hit_are_the_origin_s_and_age_is_what_has_passed() {
    let (_backend, mut proxy, now) = over(|now| {
        Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Date", &http(now - seconds(10)))
            .with("Expires", &http(now + seconds(590)))
    })
    .await;
    let (date, expires) = (http(now - seconds(10)), http(now + seconds(590)));

    let miss = proxy.get("/").await;
    miss.assert_stored();
    assert_dates(&miss, &date, Some(&expires), None);
    assert_dates(proxy.get("/").await.assert_hit(), &date, Some(&expires), Some(10));

    proxy.clock().advance(30);
    for request in [
        get("/"),
        head("/"),
        get("/").with("Range", "bytes=0-1"),
        get("/").with("If-None-Match", "\"1\""),
    ] {
        let hit = proxy.send(request).await;
        assert_dates(hit.assert_hit(), &date, Some(&expires), Some(40));
    }
    proxy.restart().await;
    let hit = proxy.get("/").await;
    assert_dates(hit.assert_hit(), &date, Some(&expires), Some(40));
}

#[tokio::test]
async fn a_page_that_came_through_other_caches_goes_on_ageing() {
    let (_backend, proxy, now) = over(|now| {
        Answer::page("page")
            .with("Date", &http(now - seconds(100)))
            .with("Age", "100")
            .with("Cache-Control", "max-age=600")
    })
    .await;
    let date = http(now - seconds(100));

    assert_dates(proxy.get("/").await.assert_stored(), &date, None, Some(100));
    proxy.clock().advance(7);
    assert_dates(proxy.get("/").await.assert_hit(), &date, None, Some(107));
}

#[tokio::test]
async fn dates_that_are_garbage_reach_who_gets_the_first_answer_as_they_are() {
    let (_backend, proxy, now) = over(|_| {
        Answer::page("page")
            .with("CDN-Cache-Control", "max-age=600")
            .with("Date", "whenever")
            .with("Expires", "0")
            .with("Expires", "-1")
    })
    .await;

    let miss = proxy.get("/").await;
    miss.assert_stored();
    assert_eq!(miss.fields.all("date"), ["whenever"]);
    assert_eq!(miss.fields.all("expires"), ["0", "-1"]);

    // What is stored has a time: that in which it came, and it was over then.
    proxy.clock().advance(7);
    let hit = proxy.get("/").await;
    assert_dates(hit.assert_hit(), &http(now), Some(&http(now)), Some(7));
}

#[tokio::test]
async fn an_answer_without_a_date_has_the_second_in_which_it_came() {
    let (_backend, proxy, now) = over(|_| Answer::page("page")).await;

    assert_dates(proxy.get("/").await.assert_stored(), &http(now), None, None);
    proxy.clock().advance(7);
    assert_dates(proxy.get("/").await.assert_hit(), &http(now), None, Some(7));
}

#[tokio::test]
async fn where_the_lifetime_is_ours_age_starts_with_us() {
    let granted: [fn(&mut Settings); 2] = [
        |settings| settings.default_ttl = Ttl::Forever,
        |settings| settings.ttl = Some(Ttl::For(Duration::from_secs(600))),
    ];
    for settings in granted {
        let (_backend, proxy, now) = over_with(|_| Answer::page("page").with("Age", "100"), settings).await;
        proxy.get("/").await.assert_stored();
        proxy.clock().advance(7);
        assert_dates(proxy.get("/").await.assert_hit(), &http(now), None, Some(7));
    }
}

#[tokio::test]
async fn who_joins_later_gets_the_origin_s_dates_and_the_age_by_then() {
    let middle = Gate::new();
    let (backend, proxy, now) = over(|now| {
        Answer::page("one ")
            .wait(&middle)
            .body("two")
            .with("Age", "5")
            .with("Date", &http(now - seconds(5)))
            .with("Expires", &http(now + seconds(595)))
    })
    .await;
    let (date, expires) = (http(now - seconds(5)), http(now + seconds(595)));
    let client = proxy.client();
    let first = client.open(get("/")).await;
    middle.arrivals(1).await;

    let soon = client.open(get("/")).await;
    proxy.clock().advance(20);
    let late = client.open(get("/")).await;
    middle.open();

    let (first, soon, late) = (first.finish().await, soon.finish().await, late.finish().await);
    assert_dates(first.assert_stored(), &date, Some(&expires), Some(5));
    assert_dates(soon.assert_collapsed(), &date, Some(&expires), Some(5));
    assert_dates(late.assert_collapsed(), &date, Some(&expires), Some(25));
    for response in [&first, &soon, &late] {
        response.assert(200, "one two");
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn after_a_304_date_and_age_are_those_of_the_304() {
    let (backend, proxy, now) = over(|now| {
        Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Date", &http(now))
            .with("Expires", &http(now + seconds(60)))
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(100);
    let date = http(now + seconds(97));
    let expires = http(now + seconds(397));
    let of_304 = Answer::new(304)
        .with("ETag", "\"1\"")
        .with("Date", &date)
        .with("Age", "3")
        .with("Expires", &expires);
    backend.on("/", of_304);

    let validated = proxy.get("/").await;
    validated.assert(200, "page").assert_revalidated();
    assert_dates(&validated, &date, Some(&expires), Some(3));
    proxy.clock().advance(7);
    let hit = proxy.get("/").await;
    assert_dates(hit.assert_hit(), &date, Some(&expires), Some(10));
    assert_eq!(hit.cache().ttl, Some(290));
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn a_stale_answer_keeps_its_date() {
    let (mut backend, proxy, now) = over(|now| {
        Answer::page("page")
            .with("Date", &http(now))
            .with("Expires", &http(now + seconds(60)))
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(100);
    backend.stop().await;

    let stale = proxy.get("/").await;

    stale.assert(200, "page").assert_stale();
    assert_dates(&stale, &http(now), Some(&http(now + seconds(60))), Some(100));
}

#[tokio::test]
async fn where_nothing_is_known_of_the_time_the_date_is_now() {
    let (backend, mut proxy, now) = over(|_| Answer::page("page")).await;
    proxy.clock().advance(7);
    let known = proxy.warm("/").await;
    assert_dates(&known, &http(now + seconds(7)), None, Some(0));
    proxy.stop().await;
    // As git and cp do it: whole seconds, without our mark.
    let (sidecar, _) = proxy.sidecar("site.test/index.");
    let file = fs::File::options()
        .write(true)
        .open(sidecar)
        .expect("the sidecar");
    file.set_modified(now - seconds(unix_seconds(now) % 1000 + 5000))
        .expect("a time");
    proxy.clock().advance(93);
    proxy.start_again().await;

    let hit = proxy.get("/").await;

    hit.assert(200, "page").assert_hit();
    assert_dates(&hit, &http(now + seconds(100)), None, Some(0));
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn what_is_not_there_has_its_dates_too_and_is_over_when_the_backend_says() {
    let missing = |lifetime: u64| {
        move |now: SystemTime| {
            Answer::new(404)
                .with("Content-Type", "text/html")
                .with("Date", &http(now - seconds(20)))
                .with("Expires", &http(now - seconds(20) + seconds(lifetime)))
                .body("no such page")
        }
    };
    for (lifetime, left) in [(50, 30), (600, 60)] {
        let (backend, proxy, now) = over(missing(lifetime)).await;
        let date = http(now - seconds(20));
        let expires = http(now - seconds(20) + seconds(lifetime));
        let first = proxy.get("/").await;
        first.assert(404, "no such page");
        assert_dates(&first, &date, Some(&expires), None);
        proxy.clock().advance(left - 1);
        let hit = proxy.get("/").await;
        hit.assert(404, "no such page").assert_hit();
        assert_dates(&hit, &date, Some(&expires), Some(20 + left - 1));
        assert_eq!(hit.cache().ttl, Some(1));
        // What has passed before it came counts against the backend's lifetime, not against ours.
        proxy.clock().advance(1);
        assert!(!proxy.get("/").await.cache().hit);
        assert_eq!(backend.count("/"), 2);
    }
}

#[tokio::test]
async fn if_modified_since_is_judged_by_the_date_where_there_is_no_last_modified() {
    let (backend, proxy, now) = over(|now| {
        Answer::page("page")
            .with("Date", &http(now))
            .with("Cache-Control", "max-age=600")
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(20);
    let asks = |since: SystemTime| get("/").with("If-Modified-Since", &http(since));

    for (request, status) in [
        (asks(now), 304),
        (asks(now + seconds(10)), 304),
        (asks(now - seconds(1)), 200),
        (asks(now).with("If-None-Match", "\"other\""), 200),
        (asks(now).with("If-Modified-Since", &http(now)), 200),
    ] {
        let response = proxy.send(request).await;
        assert_eq!(response.status, status, "{response:?}");
        assert_dates(response.assert_hit(), &http(now), None, Some(20));
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_304_to_a_client_carries_all_that_a_cache_behind_us_goes_by() {
    let (backend, proxy, now) = over(|now| {
        Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .with("Date", &http(now))
            .with("Expires", &http(now + seconds(60)))
            .with("Cache-Control", "public")
            .with("CDN-Cache-Control", "max-age=600")
            .with("Content-Location", "/page")
            .with("Vary", "Accept-Language")
    })
    .await;
    proxy.warm("/").await;
    proxy.clock().advance(7);

    let response = proxy.send(get("/").with("If-None-Match", "W/\"1\"")).await;

    response.assert(304, "").assert_hit();
    assert_dates(&response, &http(now), Some(&http(now + seconds(60))), Some(7));
    for (name, expected) in [
        ("etag", Some("\"1\"")),
        ("cache-control", Some("public")),
        ("cdn-cache-control", Some("max-age=600")),
        ("content-location", Some("/page")),
        ("vary", Some("Accept-Language")),
        ("last-modified", None),
        ("content-type", None),
    ] {
        assert_eq!(response.field(name), expected, "{name}");
    }
    assert_eq!(backend.count("/"), 1);
}
