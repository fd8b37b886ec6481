//! Where the page is taken from that answers: another query, another variant, another host.

use phantom_frame::{FillMode, Reason, Settings};

use super::{assert_in_place, check_out, checked_out, frozen, site};
use crate::rig::{Answer, Backend, Proxy, Setup, get};

#[tokio::test]
async fn an_unknown_query_gets_the_path_s_own_page() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/search").await;
    proxy.warm("/search?q=a").await;
    let proxy = frozen(&proxy, &backend).await;

    proxy
        .get("/search?q=a")
        .await
        .assert(200, "page /search")
        .assert_hit();
    assert_eq!(proxy.get("/search?q=a").await.cache().detail, None);
    let other = proxy.get("/search?q=b&token=1").await;
    assert_in_place(&other, "page /search", Reason::OtherQuery);
}

async fn polyglot(mode: FillMode) -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    let proxy = Proxy::with(&backend, move |settings| settings.fill = mode).await;
    for language in ["de", "fr-ca"] {
        for _ in 0..2 {
            let response = proxy.send(get("/").with("Accept-Language", language)).await;
            response.assert(200, language);
        }
    }
    (backend, proxy)
}

#[tokio::test]
async fn a_missing_variant_is_the_rendering_without_those_fields() {
    let (backend, proxy) = polyglot(FillMode::Canonical).await;
    proxy.get("/").await.assert(200, "none").assert_hit();
    let proxy = frozen(&proxy, &backend).await;

    let german = proxy.send(get("/").with("Accept-Language", "de")).await;
    german.assert(200, "de").assert_hit();
    assert_eq!(german.cache().detail, None);
    proxy.get("/").await.assert(200, "none").assert_hit();
    let italian = proxy.send(get("/").with("Accept-Language", "it")).await;
    assert_in_place(&italian, "none", Reason::OtherVariant);
}

#[tokio::test]
async fn where_there_are_variants_only_the_nearest_answers() {
    let (backend, proxy) = polyglot(FillMode::Transparent).await;
    assert_eq!(
        proxy.pages().len(),
        5,
        "two variants, and a sidecar: {:?}",
        proxy.pages()
    );
    let proxy = frozen(&proxy, &backend).await;

    for _ in 0..2 {
        let french = proxy.send(get("/").with("Accept-Language", "it, fr;q=0.5")).await;
        assert_in_place(&french, "fr-ca", Reason::OtherVariant);
        let german = proxy.send(get("/").with("Accept-Language", "de")).await;
        assert_eq!((german.text().as_str(), german.cache().detail), ("de", None));
        let any = proxy.get("/").await;
        assert_eq!(any.status, 200);
        assert_in_place(&any, &any.text(), Reason::OtherVariant);
    }
}

#[tokio::test]
async fn a_fragment_is_no_page() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let what = request.field("hx-request").unwrap_or("page").to_owned();
        Answer::page(what).with("Vary", "HX-Request")
    });
    let proxy = Proxy::with(&backend, |settings| settings.fill = FillMode::Transparent).await;
    for _ in 0..2 {
        proxy
            .send(get("/").with("HX-Request", "true"))
            .await
            .assert(200, "true");
    }
    let proxy = frozen(&proxy, &backend).await;

    let fragment = proxy.send(get("/").with("HX-Request", "true")).await;
    fragment.assert(200, "true").assert_hit();
    proxy.get("/").await.assert_refused(404, Reason::NotStored);
}

#[tokio::test]
async fn what_is_part_of_the_key_is_left_out_where_there_is_no_such_page() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(request.field("x-plan").unwrap_or("none").to_owned())
    });
    let keyed: fn(&mut Settings) = |settings| settings.key_headers = vec!["X-Plan".into()];
    let proxy = Proxy::with(&backend, keyed).await;
    proxy.warm("/").await;
    proxy.send(get("/").with("X-Plan", "gold")).await.assert_stored();
    let proxy = checked_out(&proxy, &backend, keyed).start().await;

    proxy
        .send(get("/").with("X-Plan", "gold"))
        .await
        .assert(200, "gold")
        .assert_hit();
    let other = proxy.send(get("/").with("X-Plan", "lead")).await;
    assert_in_place(&other, "none", Reason::OtherVariant);
    let other = proxy.send(get("/?a=b").with("X-Plan", "gold")).await;
    assert_in_place(&other, "gold", Reason::OtherQuery);
}

#[tokio::test]
async fn the_pages_of_the_only_host_answer_for_every_host() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.warm("/404.html").await;
    let proxy = frozen(&proxy, &backend).await;

    proxy.get("/").await.assert(200, "page /").assert_hit();
    assert_eq!(proxy.get("/").await.cache().detail, None);
    let other = proxy.send(get("/").host("other.test")).await;
    assert_in_place(&other, "page /", Reason::OtherHost);
    proxy
        .send(get("/nothing").host("other.test"))
        .await
        .assert_refused(404, Reason::NotStored);
}

#[tokio::test]
async fn of_several_hosts_the_site_s_answers_for_the_others() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(request.field("host").unwrap_or("").to_owned())
    });
    let proxy = Proxy::start(&backend).await;
    for host in ["one.test", "two.test"] {
        proxy.send(get("/").host(host)).await.assert_stored();
    }
    let of_none = frozen(&proxy, &backend).await;
    of_none
        .send(get("/").host("one.test"))
        .await
        .assert(200, "one.test")
        .assert_hit();
    of_none
        .send(get("/").host("three.test"))
        .await
        .assert_refused(404, Reason::NotStored);

    let named: fn(&mut Settings) = |settings| settings.site = Some("two.test".into());
    let proxy = checked_out(&proxy, &backend, named).start().await;
    proxy
        .send(get("/").host("one.test"))
        .await
        .assert(200, "one.test")
        .assert_hit();
    let third = proxy.send(get("/").host("three.test")).await;
    assert_in_place(&third, "two.test", Reason::OtherHost);
}

#[tokio::test]
async fn pages_rendered_for_a_public_address_need_it_not_and_others_need_it_not_either() {
    let backend = site().await;
    let public: fn(&mut Settings) = |settings| settings.public_url = Some("https://site.example".into());
    let proxy = Proxy::with(&backend, public).await;
    proxy.send(get("/").host("site.example")).await.assert_stored();
    let setup = Setup::over(&backend).with(|settings| settings.frozen = true);
    check_out(&proxy.dir(), &setup.snapshots());
    let without = setup.start().await;
    assert_in_place(&without.get("/").await, "page /", Reason::OtherHost);
    let with = checked_out(&proxy, &backend, public).start().await;
    let elsewhere = with.send(get("/").host("10.0.0.7")).await;
    elsewhere.assert(200, "page /").assert_hit();

    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let proxy = checked_out(&proxy, &backend, public).start().await;
    let elsewhere = proxy.send(get("/").host("site.example")).await;
    assert_in_place(&elsewhere, "page /", Reason::OtherHost);
}
