//! Settings for some of the paths.

use std::time::Duration;

use phantom_frame::{PathRule, Reason, Ttl};

use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, get, head, post};

const MINUTE: Ttl = Ttl::For(Duration::from_secs(60));

/// In front of `backend`, with these rules in this order.
fn ruled(backend: &Backend, rules: &[PathRule]) -> Setup {
    let rules = rules.to_vec();
    Setup::over(backend)
        .configured(move |config| rules.iter().cloned().fold(config, |c, rule| c.with_rule(rule)))
}

fn paths<const N: usize>(paths: [&str; N]) -> PathRule {
    PathRule::new(paths)
}

/// A rule that gives its pages this many seconds, by which a test sees that it counts.
fn seconds<const N: usize>(names: [&str; N], seconds: u64) -> PathRule {
    paths(names).with(move |settings| settings.default_ttl = Ttl::For(Duration::from_secs(seconds)))
}

/// Stores a page and says how long the hit after it lives.
async fn ttl_of(proxy: &Proxy, target: &str) -> Option<i64> {
    proxy.warm(target).await.cache().ttl
}

#[tokio::test]
async fn the_first_rule_that_names_a_path_counts_alone() {
    let backend = Backend::with_page("page").await;
    let second = seconds(["/blog/*", "/*.css"], 20).with(|settings| settings.max_variants = 1);
    let rules = [
        seconds(["/blog/new"], 10),
        second,
        seconds(["/blog/old", "/a"], 30),
    ];
    let proxy = ruled(&backend, &rules)
        .with(|settings| settings.default_ttl = MINUTE)
        .start()
        .await;
    for (path, expected) in [
        ("/blog/new", 10),
        ("/blog/old", 20),
        ("/blog/", 20),
        ("/site.css", 20),
        ("/a", 30),
        ("/blog", 60),
        ("/", 60),
    ] {
        assert_eq!(ttl_of(&proxy, path).await, Some(expected), "{path}");
    }
    // The query is no part of the path.
    assert_eq!(ttl_of(&proxy, "/?/blog/new").await, Some(60));
}

#[tokio::test]
async fn what_a_rule_does_not_set_is_as_in_the_settings_of_the_proxy() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("{:?}", request.field("x-theme"))));
    let proxy = ruled(&backend, &[seconds(["/a"], 10)])
        .with(|settings| {
            settings.default_ttl = MINUTE;
            settings.key_headers = vec!["X-Theme".into()];
        })
        .start()
        .await;
    for theme in ["dark", "light"] {
        let themed = || get("/a").with("X-Theme", theme);
        let expected = format!("Some({theme:?})");
        proxy.send(themed()).await.assert(200, &expected).assert_stored();
        let hit = proxy.send(themed()).await;
        hit.assert(200, &expected).assert_hit();
        assert_eq!(hit.cache().ttl, Some(10));
    }
}

#[tokio::test]
async fn a_rule_may_be_for_one_method() {
    let backend = Backend::with_page("page").await;
    let rules = [
        paths(["POST /search"]).cache(true),
        seconds(["GET /search"], 10),
        seconds(["/search", "/a"], 20),
    ];
    let proxy = ruled(&backend, &rules).start().await;

    proxy
        .send(post("/search", "q=a"))
        .await
        .assert(200, "page")
        .assert_stored();
    let hit = proxy.send(post("/search", "q=a")).await;
    hit.assert(200, "page").assert_hit();
    assert_eq!(hit.cache().ttl, None);
    assert_eq!(ttl_of(&proxy, "/search").await, Some(10));
    // A HEAD is a GET without a body.
    assert_eq!(
        proxy.send(head("/search")).await.assert_hit().cache().ttl,
        Some(10)
    );
    assert_eq!(ttl_of(&proxy, "/a").await, Some(20));
    // A pattern without a method is for GET and HEAD.
    proxy.send(post("/a", "")).await.assert_not_stored(Reason::Method);
    assert_eq!(backend.requests_for("/search").len(), 2);
}

#[tokio::test]
async fn cache_false_passes_what_would_be_stored() {
    let backend = Backend::with_page("page").await;
    let proxy = ruled(&backend, &[paths(["/account/*"]).cache(false)])
        .with(|settings| settings.include_paths = vec!["/account/*".into(), "/account".into()])
        .start()
        .await;
    proxy.warm("/account").await;
    for _ in 0..2 {
        proxy
            .get("/account/7")
            .await
            .assert(200, "page")
            .assert_not_stored(Reason::Excluded);
    }
    assert_eq!(backend.count("/account/7"), 2);
}

#[tokio::test]
async fn cache_true_stores_what_filters_leave_out_and_names_json() {
    let backend = Backend::start().await;
    backend.fallback(|_| {
        Answer::new(200)
            .with("Content-Type", "application/json")
            .body("{}")
    });
    let filters = |settings: &mut phantom_frame::Settings| {
        settings.include_paths = vec!["/other".into()];
        settings.exclude_paths = vec!["/api/*".into()];
    };
    let rules = [paths(["/api/weather", "/api/sun", "/news"]).cache(true)];
    let proxy = ruled(&backend, &rules).with(filters).start().await;
    for path in ["/api/weather", "/api/sun", "/news"] {
        proxy.warm(path).await;
    }
    proxy.get("/api/user").await.assert_not_stored(Reason::Excluded);
    proxy.get("/a").await.assert_not_stored(Reason::NotIncluded);

    // Without it JSON that says nothing of its lifetime is not stored.
    let plain = ruled(&backend, &[seconds(["/api/weather"], 10)]).start().await;
    plain.get("/api/weather").await.assert_not_stored(Reason::Json);
}

#[tokio::test]
async fn a_default_lifetime_may_be_a_rule_s() {
    let backend = Backend::with_page("page").await;
    backend.on("/a/said", Answer::page("page").with("Cache-Control", "max-age=5"));
    let proxy = ruled(&backend, &[seconds(["/a/*"], 10)]).start().await;
    assert_eq!(ttl_of(&proxy, "/a/unsaid").await, Some(10));
    assert_eq!(ttl_of(&proxy, "/a/said").await, Some(5));
    assert_eq!(ttl_of(&proxy, "/b").await, None);
    proxy.clock().advance(11);
    proxy.get("/a/unsaid").await.assert_stored();
    proxy.get("/b").await.assert_hit();
}

#[tokio::test]
async fn a_lifetime_that_overrides_the_backend_s_may_be_a_rule_s() {
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("page").with("Cache-Control", "max-age=5"));
    let rule = paths(["/a"]).with(|settings| settings.ttl = Some(MINUTE));
    let proxy = ruled(&backend, &[rule]).start().await;
    assert_eq!(ttl_of(&proxy, "/a").await, Some(60));
    assert_eq!(ttl_of(&proxy, "/b").await, Some(5));
}

#[tokio::test]
async fn how_long_a_missing_page_is_remembered_may_be_a_rule_s() {
    let backend = Backend::start().await;
    let rules = [
        paths(["/a"]).with(|settings| settings.not_found_ttl = Duration::from_secs(5)),
        paths(["/b"]).with(|settings| settings.not_found_ttl = Duration::ZERO),
    ];
    let proxy = ruled(&backend, &rules).start().await;
    for (path, expected) in [("/a", 5), ("/c", 60)] {
        proxy.get(path).await.assert_stored();
        assert_eq!(
            proxy.get(path).await.assert_hit().cache().ttl,
            Some(expected),
            "{path}"
        );
    }
    for _ in 0..2 {
        proxy.get("/b").await.assert_not_stored(Reason::Status);
    }
    assert_eq!(backend.count("/b"), 2);
}

#[tokio::test]
async fn the_largest_body_may_be_a_rule_s_and_larger_than_the_server_s() {
    let backend = Backend::with_page("0123456789").await;
    let rules = [
        paths(["/large"]).with(|settings| settings.max_body = 10),
        paths(["/small"]).with(|settings| settings.max_body = 4),
    ];
    let proxy = ruled(&backend, &rules)
        .with(|settings| settings.max_body = 9)
        .start()
        .await;
    proxy.warm("/large").await;
    for path in ["/small", "/other"] {
        proxy
            .get(path)
            .await
            .assert(200, "0123456789")
            .assert_not_stored(Reason::TooLarge);
    }
}

#[tokio::test]
async fn room_for_a_body_under_way_is_that_of_the_largest_rule() {
    const LARGE: usize = 64 << 10;
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("x".repeat(LARGE)));
    let rule = paths(["/large"]).with(|settings| settings.max_body = LARGE as u64);
    let proxy = ruled(&backend, &[rule])
        .with(|settings| {
            settings.max_body = 1 << 10;
            settings.disk_limit = 160 << 10;
        })
        .start()
        .await;
    proxy.warm("/large").await;
    assert_eq!(proxy.counted(Reason::DiskLimit), 0);
    proxy.get("/other").await.assert_not_stored(Reason::TooLarge);
}

#[tokio::test]
async fn the_number_of_variants_may_be_a_rule_s() {
    let backend = Backend::start().await;
    backend.fallback(|_| Answer::page("page").with("Vary", "X-Theme"));
    let rule = paths(["/a"]).with(|settings| settings.max_variants = 1);
    let proxy = ruled(&backend, &[rule]).start().await;
    let themed = |path: &str, theme: &str| get(path).with("X-Theme", theme);
    for path in ["/a", "/b"] {
        proxy.get(path).await.assert_stored();
        proxy.send(themed(path, "dark")).await.assert_stored();
        proxy.send(themed(path, "dark")).await.assert_hit();
    }
    proxy
        .send(themed("/a", "light"))
        .await
        .assert_not_stored(Reason::Variants);
    proxy.send(themed("/b", "light")).await.assert_stored();
}

#[tokio::test]
async fn what_makes_another_page_may_be_a_rule_s() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let (theme, cookie) = (request.field("x-theme"), request.field("cookie"));
        Answer::page(format!("{theme:?} {cookie:?}"))
    });
    let rule = paths(["/a"]).with(|settings| {
        settings.key_headers = vec!["X-Theme".into()];
        settings.key_cookies = vec!["size".into()];
    });
    let proxy = ruled(&backend, &[rule]).start().await;
    for (theme, size) in [("dark", "big"), ("light", "big"), ("light", "small")] {
        let cookie = format!("size={size}");
        let asked = || get("/a").with("X-Theme", theme).with("Cookie", &cookie);
        let page = format!("Some({theme:?}) Some({cookie:?})");
        proxy.send(asked()).await.assert(200, &page).assert_stored();
        proxy.send(asked()).await.assert(200, &page).assert_hit();
    }
    // Elsewhere the field goes to nobody's page, and the cookie is somebody's.
    let other = get("/b").with("X-Theme", "dark");
    proxy
        .send(other.clone())
        .await
        .assert(200, "None None")
        .assert_stored();
    proxy
        .send(other.with("Cookie", "size=big"))
        .await
        .assert_not_stored(Reason::Cookie);
}

#[tokio::test]
async fn which_cookies_say_who_asks_may_be_a_rule_s() {
    let backend = Backend::with_page("page").await;
    let rule = paths(["/a"]).with(|settings| settings.bypass_cookies = Some(vec!["session".into()]));
    let proxy = ruled(&backend, &[rule]).start().await;
    proxy.warm("/a").await;
    proxy.warm("/b").await;
    let with = |path: &str, cookie: &str| get(path).with("Cookie", cookie);
    proxy.send(with("/a", "seen=1")).await.assert_hit();
    proxy
        .send(with("/a", "session=1"))
        .await
        .assert_not_stored(Reason::Cookie);
    proxy
        .send(with("/b", "seen=1"))
        .await
        .assert_not_stored(Reason::Cookie);
}

#[tokio::test]
async fn which_parameters_count_may_be_a_rule_s() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let rule = paths(["/a"]).with(|settings| settings.ignore_query = vec!["utm_*".into()]);
    let proxy = ruled(&backend, &[rule]).start().await;
    proxy
        .get("/a?q=1&utm_x=1")
        .await
        .assert(200, "/a?q=1")
        .assert_stored();
    proxy
        .get("/a?q=1&utm_y=2")
        .await
        .assert(200, "/a?q=1")
        .assert_hit();
    proxy
        .get("/b?utm_x=1")
        .await
        .assert(200, "/b?utm_x=1")
        .assert_stored();
    proxy
        .get("/b?utm_x=2")
        .await
        .assert(200, "/b?utm_x=2")
        .assert_stored();
}

#[tokio::test]
async fn a_changed_rule_acts_at_once_on_what_is_stored() {
    let backend = Backend::with_page("page").await;
    let clock = TestClock::standing();
    let mut before = ruled(&backend, &[]).clock(clock.clone()).start().await;
    assert_eq!(ttl_of(&before, "/a").await, None);
    before.stop().await;
    let after = ruled(&backend, &[seconds(["/a"], 60)])
        .dir_of(&before)
        .clock(clock)
        .start()
        .await;
    let hit = after.get("/a").await;
    hit.assert(200, "page").assert_hit();
    assert_eq!(hit.cache().ttl, Some(60));
    assert_eq!(backend.count("/a"), 1);
}

#[tokio::test]
async fn a_rule_that_cannot_work_is_named_by_its_number() {
    let backend = Backend::with_page("page").await;
    let wrong = |settings: &mut phantom_frame::Settings| settings.max_variants = 0;
    for (rule, setting) in [
        (paths(["/a"]).with(wrong), "max_variants"),
        (paths(["a"]), "match"),
        (paths([]), "match"),
    ] {
        let rules = [seconds(["/"], 10), rule];
        let error = ruled(&backend, &rules)
            .try_start()
            .await
            .err()
            .expect("it cannot work");
        assert_eq!((error.rule(), error.setting()), (Some(1), Some(setting)));
        assert!(error.hint().is_some());
    }
}
