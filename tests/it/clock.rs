//! A clock that jumps: no page is immortal by accident, no age negative, no timer stuck.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phantom_frame::{Reason, Ttl};

use crate::rig::{Answer, Backend, Proxy, Response, Setup, TestClock};

const YEAR: u64 = 365 * 24 * 3600;

/// Pages with each kind of lifetime, which the backend validates.
async fn site() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let page = match request.path() {
            "/max-age" => Answer::page("page").with("Cache-Control", "max-age=60"),
            "/s-maxage" => Answer::page("page").with("Cache-Control", "s-maxage=60, max-age=0"),
            "/expires" => Answer::page("page")
                .with("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
                .with("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")
                .with("Cache-Control", "max-age=60"),
            _ => Answer::page("page"),
        };
        match request.field("if-none-match") {
            Some("\"1\"") => Answer::new(304).with("ETag", "\"1\""),
            _ => page.with("ETag", "\"1\""),
        }
    });
    backend
}

/// Paths whose pages live for a minute; `/granted` by `default_ttl`.
const FOR_A_MINUTE: [&str; 3] = ["/max-age", "/s-maxage", "/granted"];

async fn proxy(backend: &Backend) -> Proxy {
    Setup::over(backend)
        .with(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(60)))
        .start()
        .await
}

#[track_caller]
fn assert_age(response: &Response, expected: u64) {
    assert_eq!(response.age(), Some(expected), "the age of {response:?}");
}

#[tokio::test]
async fn a_clock_put_back_before_a_page_was_made_has_it_validated() {
    let backend = site().await;
    for restarted in [false, true] {
        for path in FOR_A_MINUTE {
            let mut proxy = proxy(&backend).await;
            proxy.warm(path).await;

            proxy.clock().step_back(3600);
            if restarted {
                proxy.restart().await;
            }

            let asked = proxy.get(path).await;
            asked.assert(200, "page").assert_revalidated();
            assert_age(&asked, 0);
            // It lives for a minute from now, and no longer.
            proxy.clock().advance(59);
            assert_age(proxy.get(path).await.assert_hit(), 59);
            proxy.clock().advance(2);
            proxy.get(path).await.assert_revalidated();
        }
    }
}

#[tokio::test]
async fn a_page_that_is_kept_until_invalidated_outlives_every_jump() {
    let backend = Backend::with_page("page").await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;

    proxy.clock().step_back(10 * YEAR);
    assert_age(proxy.get("/").await.assert_hit(), 0);
    proxy.restart().await;
    assert_age(proxy.get("/").await.assert_hit(), 0);
    proxy.clock().advance(20 * YEAR);
    assert_age(proxy.get("/").await.assert_hit(), 10 * YEAR);

    assert_eq!(backend.total(), 1);
}

#[tokio::test]
async fn a_clock_put_forward_has_pages_with_a_lifetime_validated() {
    let backend = site().await;
    for path in FOR_A_MINUTE {
        let proxy = proxy(&backend).await;
        proxy.warm(path).await;
        proxy.clock().advance(50 * YEAR);
        proxy.get(path).await.assert(200, "page").assert_revalidated();
        proxy.get(path).await.assert_hit();
    }
}

/// Another time, with the mark that says that it is ours.
fn date(sidecar: &Path, seconds: i64) {
    let modified = fs::metadata(sidecar).unwrap().modified().unwrap();
    let mark = Duration::from_nanos(modified.duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds < 0 {
        true => UNIX_EPOCH - whole,
        false => UNIX_EPOCH + whole,
    };
    let file = fs::File::options().write(true).open(sidecar).unwrap();
    file.set_modified(time + mark).unwrap();
}

#[tokio::test]
async fn a_sidecar_from_a_time_that_cannot_be_has_its_page_validated() {
    let backend = site().await;
    // 2099, 2446 (the last of some file systems), 1970, the second before, 1901.
    for seconds in [4_070_908_800, 15_032_385_535, 0, -1, -2_147_483_648] {
        for path in FOR_A_MINUTE {
            let mut proxy = proxy(&backend).await;
            proxy.warm(path).await;
            proxy.stop().await;
            date(&proxy.sidecar(&format!("site.test{path}.")).0, seconds);
            proxy.start_again().await;

            let asked = proxy.get(path).await;
            asked.assert(200, "page").assert_revalidated();
            assert_age(&asked, 0);
            proxy.get(path).await.assert_hit();
            proxy.clock().advance(61);
            proxy.get(path).await.assert_revalidated();
        }
    }
}

#[tokio::test]
async fn a_machine_that_starts_in_1970_serves_and_catches_up() {
    let backend = site().await;
    let mut proxy = proxy(&backend).await;
    let now = proxy
        .clock()
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    proxy.clock().step_back(now);
    for path in FOR_A_MINUTE {
        proxy.warm(path).await;
    }

    proxy.clock().advance(now);
    for path in FOR_A_MINUTE {
        proxy.get(path).await.assert(200, "page").assert_revalidated();
        proxy.get(path).await.assert_hit();
    }
    // What was stored then and never asked for since.
    proxy.clock().step_back(now);
    proxy.warm("/later").await;
    proxy.clock().advance(now);
    proxy.restart().await;
    proxy.get("/later").await.assert(200, "page").assert_revalidated();
}

#[tokio::test]
async fn no_clock_and_no_lifetime_leads_past_the_last_date_that_http_can_write() {
    const LAST: &str = "Fri, 31 Dec 9999 23:59:59 GMT";
    let backend = Backend::with("/", Answer::page("page").with("Expires", LAST)).await;
    let proxy = Proxy::start(&backend).await;
    let miss = proxy.get("/").await;
    miss.assert(200, "page").assert_stored();
    proxy.clock().advance(10);
    let hit = proxy.get("/").await;
    hit.assert(200, "page").assert_hit();
    assert_eq!(hit.field("expires"), Some(LAST));

    proxy.clock().advance(9000 * YEAR);
    let proxied = proxy.get("/other").await;
    assert_eq!(proxied.status, 404);
    let hit = proxy.get("/").await;
    hit.assert(200, "page");
    assert_eq!(hit.field("expires"), Some(LAST));
}

#[tokio::test]
async fn a_clock_put_back_does_not_prolong_the_memory_of_what_could_not_be_stored() {
    let backend = Backend::with("/", Answer::page("page").with("Cache-Control", "no-store")).await;
    let proxy = Proxy::start(&backend).await;
    for _ in 0..2 {
        proxy.get("/").await.assert_not_stored(Reason::NoStore);
    }
    backend.on("/", Answer::page("page"));
    proxy.get("/").await.assert_not_stored(Reason::NoStore);

    proxy.clock().step_back(24 * 3600);

    proxy.get("/").await.assert(200, "page");
    proxy.warm("/").await;
}

#[tokio::test]
async fn a_clock_put_back_does_not_prolong_the_memory_of_what_is_not_there() {
    let backend = Backend::start().await;
    let proxy = Proxy::start(&backend).await;
    assert_eq!(proxy.get("/").await.status, 404);
    proxy.get("/").await.assert_hit();
    backend.on("/", Answer::page("page"));
    proxy.get("/").await.assert_hit();

    proxy.clock().step_back(24 * 3600);

    proxy.warm("/").await.assert(200, "page");
}

#[tokio::test]
async fn a_clock_that_jumps_during_a_fill_gives_it_a_time_that_has_been() {
    for forward in [false, true] {
        let head = crate::rig::Gate::new();
        let clock = TestClock::standing();
        let backend = Backend::start().await;
        backend.on(
            "/",
            Answer::page("page")
                .with("Cache-Control", "max-age=60")
                .held(&head),
        );
        let proxy = Setup::over(&backend).clock(clock.clone()).start().await;
        let client = proxy.client();
        let asked = tokio::spawn(async move { client.get("/").await });
        head.arrivals(1).await;
        match forward {
            true => clock.advance(YEAR),
            false => clock.step_back(YEAR),
        }
        head.open();
        let miss = asked.await.unwrap();
        miss.assert(200, "page");
        assert!(miss.age().unwrap_or(0) <= YEAR, "{miss:?}");

        // Counted from the new time, or stale: never fresh for a year.
        proxy.clock().advance(61);
        let again = proxy.get("/").await;
        again.assert(200, "page");
        assert!(!again.cache().hit, "{again:?}");
    }
}
