//! What may be stored, and for how long. Whatever is not is shown being stored without the one thing
//! that forbids it.

use std::time::{Duration, SystemTime};

use phantom_frame::{Reason, Settings, Ttl};

use crate::rig::client::Request;
use crate::rig::{Answer, Backend, Proxy, Setup, get, post, request};

fn page() -> Answer {
    Answer::page("hello")
}

/// Shows `/` being stored as [`page`], then not being stored as `answer`, for this reason.
#[track_caller]
fn is_not_stored(answer: Answer, reason: Reason) -> impl Future<Output = ()> {
    is_not_stored_with(answer, reason, |_| {})
}

async fn is_not_stored_with(
    answer: Answer,
    reason: Reason,
    settings: impl Fn(&mut Settings) + Send + Sync + 'static,
) {
    let what = format!("{answer:?}");
    let backend = Backend::with("/", page()).await;
    let proxy = Proxy::with(&backend, settings).await;
    proxy.warm("/").await;
    proxy.trigger().refresh().await.expect("the invalidation");
    backend.on("/", answer);

    let first = proxy.get("/").await;
    let second = proxy.get("/").await;

    first.assert_not_stored(reason);
    let second = second.cache();
    assert!(!second.hit, "{what} was a hit afterwards");
    assert!(
        second.detail.as_deref() == Some(reason.as_str()),
        "the second answer's reason: {second:?}"
    );
    // Once to be stored and twice for itself; and once for nobody, where the answer may be somebody's.
    let count = backend.count("/");
    assert!(
        matches!(count, 3 | 4),
        "each of the two asks the backend: {what} ({count})"
    );
    proxy.get("/").await.assert_not_stored(reason);
    assert_eq!(
        backend.count("/"),
        count + 1,
        "from then on each visit asks once: {what}"
    );
    assert_eq!(proxy.pages(), Vec::<String>::new(), "{what}");
}

/// Shows `/` being stored as `answer`.
async fn is_stored(answer: Answer) {
    let what = format!("{answer:?}");
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_stored();
    proxy.get("/").await.assert_hit();
    assert_eq!(backend.count("/"), 1, "{what}");
}

#[tokio::test]
async fn no_store_is_obeyed_in_every_spelling() {
    for value in [
        "no-store",
        "No-Store",
        "NO-STORE",
        "no-store, max-age=600",
        "public,no-store",
        "  max-age=600  ,\tno-store ",
        "max-age=\"600\", no-store",
        "ext=\"a, b\", no-store",
        ",,no-store",
        "no-store=1",
    ] {
        is_not_stored(page().with("Cache-Control", value), Reason::NoStore).await;
    }
    let two_lines = page()
        .with("Cache-Control", "public, max-age=600")
        .with("cache-control", "no-store");
    is_not_stored(two_lines, Reason::NoStore).await;
}

#[tokio::test]
async fn private_is_obeyed_in_every_spelling() {
    for value in [
        "private",
        "PRIVATE",
        "max-age=600, private",
        "private=\"x-user\"",
        "private, no-cache",
        "s-maxage=60,private",
    ] {
        is_not_stored(page().with("Cache-Control", value), Reason::Private).await;
    }
}

#[tokio::test]
async fn words_inside_quotes_and_other_words_are_not_directives() {
    for value in [
        "ext=\"no-store\"",
        "ext=\"a, private, b\"",
        "no-storex",
        "xprivate",
        "public",
        "must-revalidate",
        "immutable, max-age=600",
        "",
    ] {
        is_stored(page().with("Cache-Control", value)).await;
    }
}

#[tokio::test]
async fn fields_that_connection_lists_are_decided_upon_before_they_are_dropped() {
    let answer = page()
        .with("Connection", "cache-control")
        .with("Cache-Control", "no-store");
    is_not_stored(answer, Reason::NoStore).await;
    let answer = page()
        .with("Connection", "keep-alive, set-cookie")
        .with("Set-Cookie", "session=1");
    is_not_stored(answer, Reason::SetCookie).await;
    let answer = page().with("Connection", "vary").with("Vary", "*");
    is_not_stored(answer, Reason::VaryStar).await;
}

#[tokio::test]
async fn an_answer_that_sets_a_cookie_is_not_stored_and_reaches_the_client_whole() {
    let answer = || {
        page()
            .with("Set-Cookie", "session=1; HttpOnly")
            .with("Set-Cookie", "theme=dark")
    };
    is_not_stored(answer(), Reason::SetCookie).await;
    let backend = Backend::with("/", answer()).await;
    let proxy = Proxy::start(&backend).await;

    for response in [proxy.get("/").await, proxy.get("/").await] {
        assert_eq!(
            response.fields.all("set-cookie"),
            ["session=1; HttpOnly", "theme=dark"]
        );
    }
}

#[tokio::test]
async fn load_balancers_cookies_are_dropped_from_a_page_that_is_stored() {
    let backend = Backend::with("/", page().with("Set-Cookie", "AWSALB=abc; Path=/")).await;
    let proxy = Proxy::start(&backend).await;
    let hit = proxy.warm("/").await;
    assert_eq!(hit.field("set-cookie"), None);

    let own = page().with("Set-Cookie", "node=7");
    is_not_stored(own.clone(), Reason::SetCookie).await;
    let backend = Backend::with("/", own).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.ignore_set_cookies = vec!["node".into()];
    })
    .await;
    let hit = proxy.warm("/").await;
    assert_eq!(hit.field("set-cookie"), None);
    assert!(
        !proxy.sidecar("site.test/index").1.contains("node=7"),
        "no cookie's value is written to disk"
    );
}

#[tokio::test]
async fn an_answer_that_varies_by_everything_is_not_stored() {
    for value in ["*", "Accept-Language, *", " * "] {
        is_not_stored(page().with("Vary", value), Reason::VaryStar).await;
    }
    is_not_stored(page().with("Vary", "Accept").with("Vary", "*"), Reason::VaryStar).await;
}

#[tokio::test]
async fn fields_in_vary_that_make_no_difference_do_not_hinder() {
    for value in [
        "Accept-Encoding",
        "User-Agent",
        "Cookie",
        "accept-encoding, user-agent",
    ] {
        is_stored(page().with("Vary", value)).await;
    }
}

#[tokio::test]
async fn statuses_that_are_no_page_are_not_stored_unless_they_say_for_how_long() {
    for status in [201, 202, 302, 303, 307, 400, 401, 403, 405, 418, 451] {
        let answer = Answer::new(status)
            .with("Content-Type", "text/html")
            .with("Location", "/elsewhere")
            .body("x");
        is_not_stored(answer, Reason::Status).await;
    }
    for status in [302, 307] {
        let answer = Answer::new(status)
            .with("Location", "/elsewhere")
            .with("Cache-Control", "max-age=60")
            .body("x");
        is_stored(answer).await;
    }
}

#[tokio::test]
async fn server_errors_are_not_stored() {
    for status in [500, 501, 502, 503, 504] {
        let answer = Answer::new(status)
            .with("Content-Type", "text/html")
            .body("sorry");
        is_not_stored(answer, Reason::ServerError).await;
    }
}

#[tokio::test]
async fn parts_that_nobody_asked_for_are_not_stored() {
    let answer = Answer::new(206)
        .with("Content-Type", "text/html")
        .with("Content-Range", "bytes 0-4/10")
        .with("Cache-Control", "max-age=60")
        .body("01234");
    is_not_stored(answer, Reason::Partial).await;
}

#[tokio::test]
async fn json_is_not_stored_unless_somebody_says_so() {
    let json = |kind: &str| Answer::new(200).with("Content-Type", kind).body("{\"name\":1}");
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/ld+json",
        "application/problem+json",
    ] {
        is_not_stored(json(kind), Reason::Json).await;
        is_stored(json(kind).with("Cache-Control", "max-age=60")).await;
    }
    // A filter that names it.
    let backend = Backend::with("/api/users", json("application/json")).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["/api/*".into()];
    })
    .await;
    proxy.warm("/api/users").await;
}

#[tokio::test]
async fn what_has_no_end_or_no_meaning_as_a_page_is_not_stored() {
    for kind in [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "multipart/x-mixed-replace; boundary=a",
        "application/grpc",
    ] {
        let answer = Answer::new(200)
            .with("Content-Type", kind)
            .with("Cache-Control", "max-age=60")
            .body("x");
        is_not_stored(answer, Reason::ContentType).await;
    }
}

#[tokio::test]
async fn a_page_with_a_nonce_is_not_stored() {
    for name in ["Content-Security-Policy", "Content-Security-Policy-Report-Only"] {
        let answer = page().with(name, "script-src 'self' 'nonce-r4nd0m'");
        is_not_stored(answer, Reason::Nonce).await;
    }
    is_stored(page().with("Content-Security-Policy", "script-src 'self' 'sha256-abc='")).await;
}

#[tokio::test]
async fn a_redirect_to_itself_is_not_stored() {
    for location in ["http://site.test/", "/", "//site.test/"] {
        let answer = Answer::new(301).with("Location", location).body("moved");
        is_not_stored(answer, Reason::SelfRedirect).await;
    }
    for location in ["https://site.test/", "http://www.site.test/", "/en"] {
        is_stored(Answer::new(301).with("Location", location).body("moved")).await;
    }
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let backend = Backend::start().await;
    backend.on("/old", Answer::new(301).with("Location", "/new").body("moved"));
    let proxy = Proxy::start(&backend).await;

    let response = proxy.warm("/old").await;

    response.assert(301, "moved");
    assert_eq!(backend.count("/new"), 0);
}

/// A page with this `Cache-Control` and the like is fresh for so many seconds.
async fn lives_for(seconds: u64, answer: Answer, settings: impl Fn(&mut Settings) + Send + Sync + 'static) {
    let what = format!("{answer:?}");
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::with(&backend, settings).await;
    let hit = proxy.warm("/").await;
    let age = hit.age().expect("Age");
    assert_eq!(
        hit.cache().ttl,
        Some(i64::try_from(seconds).expect("seconds")),
        "the ttl of {what}: {hit:?}"
    );
    proxy.clock().advance(seconds - 1);
    let last = proxy.get("/").await;
    last.assert_hit();
    assert_eq!(last.age(), Some(age + seconds - 1), "{what}");
    assert_eq!(last.cache().ttl, Some(1), "{what}");
    proxy.clock().advance(2);
    let over = proxy.get("/").await;
    assert!(!over.cache().hit, "{what} should be over: {over:?}");
    assert_eq!(backend.count("/"), 2, "{what}");
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn lifetimes_are_obeyed() {
    let none = |_: &mut Settings| {};
    for value in [
        "max-age=60",
        "Max-Age=60",
        "max-age=\"60\"",
        "public, max-age=60",
        "s-maxage=60",
        "s-maxage=60, max-age=5",
        "max-age=5, S-MaxAge=60",
        "max-age=60, stale-if-error",
        "max-age=60, stale-if-error=30",
    ] {
        lives_for(60, page().with("Cache-Control", value), none).await;
    }
    // RFC 9111 §5.3: max-age beats Expires.
    for (cache_control, seconds) in [(None, 60), (Some("max-age=30"), 30)] {
        // A little ahead, so that it is never behind the proxy's clock: no age is lost on the way.
        let now = SystemTime::now() + Duration::from_secs(5);
        let in_a_minute = httpdate::fmt_http_date(now + Duration::from_secs(60));
        let answer = page()
            .with("Date", &httpdate::fmt_http_date(now))
            .with("Expires", &in_a_minute);
        let answer = match cache_control {
            Some(value) => answer.with("Cache-Control", value),
            None => answer,
        };
        lives_for(seconds, answer, none).await;
    }
}

#[tokio::test]
async fn the_time_that_an_answer_spent_in_caches_before_us_counts() {
    lives_for(
        40,
        page().with("Cache-Control", "max-age=60").with("Age", "20"),
        |_| {},
    )
    .await;
}

#[tokio::test]
async fn the_default_lifetime_is_for_answers_that_say_nothing() {
    let an_hour = |settings: &mut Settings| settings.default_ttl = Ttl::For(Duration::from_secs(3600));
    lives_for(3600, page(), an_hour).await;
    lives_for(60, page().with("Cache-Control", "max-age=60"), an_hour).await;
}

#[tokio::test]
async fn without_a_lifetime_a_page_is_kept_until_it_is_invalidated() {
    let backend = Backend::with("/", page()).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;

    proxy.clock().advance(10 * 365 * 24 * 3600);
    proxy.get("/").await.assert(200, "hello").assert_hit();
    assert_eq!(backend.count("/"), 1);

    proxy.trigger().trigger();
    proxy.get("/").await.assert_stored();
    assert_eq!(backend.count("/"), 2);
}

#[tokio::test]
async fn with_a_default_of_zero_only_explicit_lifetimes_are_stored() {
    let zero = |settings: &mut Settings| settings.default_ttl = Ttl::For(Duration::ZERO);
    lives_for(60, page().with("Cache-Control", "max-age=60"), zero).await;
    let backend = Backend::with("/", page()).await;
    let proxy = Proxy::with(&backend, zero).await;
    for round in 1..=2 {
        let response = proxy.get("/").await;
        assert!(!response.cache().hit && !response.cache().stored, "{response:?}");
        // The first was asked for nobody, too.
        assert_eq!(backend.count("/"), round + 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_over_when_it_comes_and_cannot_be_validated_is_not_stored() {
    for (name, value) in [
        ("Cache-Control", "max-age=0"),
        ("Cache-Control", "s-maxage=0, max-age=60"),
        ("Cache-Control", "no-cache"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Expires", "0"),
        ("Expires", "-1"),
    ] {
        is_not_stored(page().with(name, value), Reason::Expired).await;
    }
}

#[tokio::test]
async fn lifetimes_that_are_no_numbers_make_no_page_immortal() {
    for value in ["max-age=-1", "max-age=soon", "max-age="] {
        let backend = Backend::with("/", page().with("Cache-Control", value)).await;
        let proxy = Proxy::start(&backend).await;
        proxy.get("/").await;
        proxy.clock().advance(365 * 24 * 3600);
        let response = proxy.get("/").await;
        // RFC 9111 §4.2.1 encourages to take what is invalid for stale.
        assert!(!response.cache().hit, "Cache-Control: {value}: {response:?}");
    }
    // More seconds than there are is a long time.
    is_stored(page().with("Cache-Control", "max-age=99999999999999999999")).await;
}

/// Shows `target` being stored, and `request` for it passing, for this reason.
async fn passes(proxy: &Proxy, backend: &Backend, target: &str, request: Request, reason: Reason) {
    let path = target.split('?').next().unwrap_or(target);
    proxy.warm(target).await;
    let before = backend.count(path);
    let response = proxy.send(request).await;
    response.assert_not_stored(reason);
    assert_eq!(backend.count(path), before + 1, "{response:?}");
}

#[tokio::test]
async fn methods_other_than_get_and_head_pass() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"] {
        let path = format!("/{method}");
        let asked = request(method, &path).with("Content-Length", "0");
        passes(&proxy, &backend, &path, asked, Reason::Method).await;
        let last = backend.last(&path);
        assert_eq!(last.method, method);
        assert_eq!(
            proxy.send(post(&path, "x")).await.cache().fwd.as_deref(),
            Some("method")
        );
    }
}

#[tokio::test]
async fn a_get_request_with_a_body_passes_with_its_body() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;

    let response = proxy
        .client()
        .raw(b"GET / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nbody")
        .await;

    response.assert(200, "x").assert_not_stored(Reason::RequestBody);
    assert_eq!(backend.last("/").text(), "body");
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn a_request_that_accepts_no_page_passes() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::start(&backend).await;
    for accept in ["application/json", "text/event-stream", "image/png"] {
        let path = format!("/{accept}");
        let asked = get(&path).with("Accept", accept);
        passes(&proxy, &backend, &path, asked, Reason::Accept).await;
        assert_eq!(backend.last(&path).field("accept"), Some(accept));
    }
    proxy.warm("/").await;
    for accept in ["text/html", "*/*", "image/avif,image/webp,*/*;q=0.8"] {
        proxy.send(get("/").with("Accept", accept)).await.assert_hit();
    }
}

#[tokio::test]
async fn a_coding_that_was_not_asked_for_is_for_those_who_accept_it() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| match request.field("accept-encoding") {
        Some("identity") if request.fields.has("x-exact") => page(),
        _ => Answer::page("pretend gzip").with("Content-Encoding", "gzip"),
    });
    let proxy = Proxy::start(&backend).await;
    let accepting = |coding: &str| get("/").with("Accept-Encoding", coding);
    proxy.send(accepting("gzip, br")).await.assert_stored();
    let hit = proxy.send(accepting("gzip")).await;
    hit.assert(200, "pretend gzip").assert_hit();
    assert_eq!(hit.field("content-encoding"), Some("gzip"));

    for coding in ["identity", "br", "gzip;q=0, br"] {
        let asked = backend.count("/");
        let request = accepting(coding).with("X-Exact", "1");
        proxy.send(request).await.assert_not_stored(Reason::Encoding);
        assert_eq!(backend.count("/"), asked + 1);
        assert_eq!(backend.last("/").field("accept-encoding"), Some(coding));
    }
    proxy.send(accepting("gzip")).await.assert_hit();
}

#[tokio::test]
async fn a_coding_that_was_not_asked_for_is_not_shared_with_who_cannot_read_it() {
    let backend = Backend::start().await;
    let encoded = |status| {
        move |request: &crate::rig::Recorded| match request.fields.has("x-exact") {
            true => Answer::new(status)
                .with("Content-Type", "text/html")
                .body("plain"),
            false => Answer::new(status)
                .with("Content-Type", "text/html")
                .with("Content-Encoding", "gzip")
                .body("pretend gzip"),
        }
    };
    backend.on_fn("/", encoded(200));
    backend.on_fn("/gone", encoded(404));
    let proxy = Proxy::start(&backend).await;
    for (path, status) in [("/", 200), ("/gone", 404)] {
        // The first to ask, who has it filled, and one who finds it.
        for requests in [2, 3] {
            let reader = get(path).with("Accept-Encoding", "identity").with("X-Exact", "1");
            let response = proxy.send(reader).await;
            response
                .assert(status, "plain")
                .assert_not_stored(Reason::Encoding);
            assert_eq!(backend.count(path), requests, "{path}");
        }
        let reader = get(path).with("Accept-Encoding", "gzip");
        let hit = proxy.send(reader).await;
        hit.assert(status, "pretend gzip").assert_hit();
    }
}

#[tokio::test]
async fn paths_are_filtered_as_documented() {
    // Include, exclude, stored, not stored.
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            &["/api/*", "/public/*"],
            &[],
            &["/api/users", "/public/a/b"],
            &["/", "/apix", "/blog"],
        ),
        (
            &[],
            &["/admin/*", "/*/private/*"],
            &["/", "/admin", "/blog"],
            &["/admin/x", "/a/private/b"],
        ),
        (
            &["/api/*"],
            &["/api/admin/*"],
            &["/api/users"],
            &["/api/admin/users", "/other"],
        ),
        (
            &[],
            &["POST *", "PUT *", "DELETE *", "PATCH *"],
            &["/", "/any/thing"],
            &[],
        ),
        (
            &["GET *"],
            &["GET /api/admin/*"],
            &["/", "/api/users"],
            &["/api/admin/x"],
        ),
        (
            &["/api/*", "GET /admin/stats"],
            &["POST /api/*", "PUT /api/*", "/api/*/private"],
            &["/api/users", "/admin/stats"],
            &["/admin/other", "/api/x/private"],
        ),
    ];
    for (include, exclude, stored, passed) in cases {
        let backend = Backend::with_page("x").await;
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (include, exclude) = (owned(include), owned(exclude));
        let (listed, unlisted) = (include.clone(), exclude.clone());
        let proxy = Setup::over(&backend)
            .configured(move |config| {
                config
                    .with_include_paths(listed.clone())
                    .with_exclude_paths(unlisted.clone())
            })
            .start()
            .await;
        for path in *stored {
            proxy.warm(path).await;
            assert_eq!(backend.count(path), 1, "{path} with {include:?} and {exclude:?}");
        }
        for path in *passed {
            for round in 1..=2 {
                let cache = proxy.get(path).await.cache();
                assert!(
                    !cache.hit && !cache.stored,
                    "{path} with {include:?} and {exclude:?}: {cache:?}"
                );
                assert!(
                    ["excluded", "not-included"].contains(&cache.detail.as_deref().unwrap_or("")),
                    "{path}: {cache:?}"
                );
                assert_eq!(
                    backend.count(path),
                    round,
                    "{path} with {include:?} and {exclude:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn filters_do_not_see_the_query() {
    let backend = Backend::with_page("x").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.exclude_paths = vec!["/search".into()];
    })
    .await;

    proxy.warm("/other?next=/search").await;
    proxy.get("/search?q=1").await.assert_not_stored(Reason::Excluded);
}

#[tokio::test]
async fn a_page_known_not_to_be_storable_is_stored_when_that_is_forgotten() {
    let backend = Backend::with("/", page().with("Cache-Control", "no-store")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_not_stored(Reason::NoStore);
    proxy.get("/").await.assert_not_stored(Reason::NoStore);

    // Long after, the visitor's own answer is what opens the question again.
    backend.on("/", page());
    proxy.clock().advance(121);
    let count = backend.count("/");
    proxy.get("/").await.assert_not_stored(Reason::NoStore);
    assert_eq!(backend.count("/"), count + 1);
    proxy.warm("/").await;
}

#[tokio::test]
async fn an_invalidation_makes_forget_that_a_page_was_not_storable() {
    let backend = Backend::with("/", page().with("Cache-Control", "no-store")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_not_stored(Reason::NoStore);
    proxy.get("/").await.assert_not_stored(Reason::NoStore);

    backend.on("/", page());
    proxy.trigger().trigger_by_key_match("/");
    proxy.warm("/").await;
}

#[tokio::test]
async fn an_error_does_not_make_remember_anything() {
    let backend = Backend::with(
        "/",
        Answer::new(503).with("Content-Type", "text/html").body("sorry"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy
        .get("/")
        .await
        .assert(503, "sorry")
        .assert_not_stored(Reason::ServerError);

    backend.on("/", page());
    proxy.warm("/").await;
}
