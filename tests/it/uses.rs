//! Pages that are stored only when they have been asked for often enough.

use phantom_frame::{PathRule, Reason};

use crate::rig::{Answer, Backend, Proxy, Setup, get, head};

async fn proxy(backend: &Backend, min_uses: usize) -> Proxy {
    Proxy::with(backend, move |settings| settings.min_uses = min_uses).await
}

#[tokio::test]
async fn the_nth_request_is_the_first_that_stores() {
    let backend = Backend::with_page("page").await;
    let proxy = proxy(&backend, 3).await;

    for round in 1..=2 {
        let response = proxy.get("/a").await;
        response.assert(200, "page").assert_not_stored(Reason::MinUses);
        assert_eq!(response.cache().fwd.as_deref(), Some("uri-miss"));
        assert_eq!((backend.count("/a"), proxy.stored()), (round, 0));
    }
    // Another page has a count of its own.
    proxy.get("/b").await.assert_not_stored(Reason::MinUses);
    proxy.get("/a").await.assert(200, "page").assert_stored();
    proxy.get("/a").await.assert(200, "page").assert_hit();
    assert_eq!(backend.count("/a"), 3);
}

#[tokio::test]
async fn those_before_pass_as_they_are() {
    let backend = Backend::with_page("page").await;
    let proxy = proxy(&backend, 2).await;
    let visitor = || get("/").with("X-Visitor", "1");

    proxy.send(visitor()).await.assert_not_stored(Reason::MinUses);
    assert_eq!(backend.last("/").field("x-visitor"), Some("1"));

    proxy.send(visitor()).await.assert_stored();
    assert!(!backend.last("/").fields.has("x-visitor"));
}

#[tokio::test]
async fn a_head_counts_and_a_range_or_a_look_into_the_store_does_not() {
    let backend = Backend::with_page("page").await;
    let proxy = proxy(&backend, 2).await;
    for _ in 0..3 {
        let only = get("/").with("Cache-Control", "only-if-cached");
        proxy.send(only).await.assert_refused(504, Reason::OnlyIfCached);
        let range = get("/").with("Range", "bytes=0-1");
        proxy.send(range).await.assert_not_stored(Reason::Range);
    }

    proxy.send(head("/")).await.assert_not_stored(Reason::MinUses);
    proxy.get("/").await.assert_stored();
}

#[tokio::test]
async fn what_is_stored_is_validated_whoever_asks() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let answer = match request.fields.has("if-none-match") {
            true => Answer::new(304),
            false => Answer::page("page"),
        };
        answer.with("ETag", "\"1\"").with("Cache-Control", "max-age=60")
    });
    let mut proxy = proxy(&backend, 3).await;
    for _ in 0..2 {
        proxy.get("/").await.assert_not_stored(Reason::MinUses);
    }
    proxy.get("/").await.assert_stored();
    // The count is forgotten, the page is not.
    proxy.restart().await;
    proxy.clock().advance(61);

    proxy.get("/").await.assert(200, "page").assert_revalidated();
}

#[tokio::test]
async fn an_invalidation_forgets_no_uses() {
    let backend = Backend::with_page("page").await;
    let proxy = proxy(&backend, 2).await;
    proxy.get("/").await.assert_not_stored(Reason::MinUses);
    proxy.get("/").await.assert_stored();

    proxy.trigger().refresh().await.expect("the invalidation");

    proxy.get("/").await.assert_stored();
}

#[tokio::test]
async fn a_visit_counts_once_however_many_variants_it_learns_of() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    let proxy = proxy(&backend, 3).await;
    let german = || get("/").with("Accept-Language", "de");
    for _ in 0..2 {
        proxy.send(german()).await.assert_not_stored(Reason::MinUses);
    }
    assert_eq!(backend.count("/"), 2);

    proxy.send(german()).await.assert(200, "de").assert_stored();
    assert_eq!(backend.count("/"), 4, "the page, and theirs");
    // The page is popular; so are its variants.
    let french = get("/").with("Accept-Language", "fr");
    proxy.send(french).await.assert(200, "fr").assert_stored();
}

#[tokio::test]
async fn a_rule_has_its_own_number() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .configured(|config| {
            let rare = PathRule::new(["/rare/*"]).with(|settings| settings.min_uses = 2);
            config.with_rule(rare)
        })
        .start()
        .await;

    proxy.get("/page").await.assert_stored();
    proxy.get("/rare/page").await.assert_not_stored(Reason::MinUses);
    proxy.get("/rare/page").await.assert_stored();
}
