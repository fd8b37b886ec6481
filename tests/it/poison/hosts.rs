//! By the host, and by what proxies in front say of it.

use phantom_frame::Reason;

use super::{POISON, Page, bare, echo, over, pages_of_nobody, poisoned};
use crate::rig::{Proxy, get, post, request};

#[tokio::test]
async fn another_host_has_pages_of_its_own() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for host in [
        "p0is0n.test",
        "site.test.",
        "site.test:8080",
        "site.test:p0is0n",
        "site.test:",
        "site.test:080",
        "site.test.p0is0n.test",
        "p0is0n.site.test",
        "[::1]",
        "127.0.0.1",
        "site.test@p0is0n.test",
        "site.test, p0is0n.test",
        "site.test/p0is0n",
        "site.test#p0is0n",
        "site.test?p0is0n",
        "site.test\tp0is0n",
        "site_test",
        "",
    ] {
        let nobody = pages_of_nobody(&mut proxy, &["/page".to_owned()]).await;
        let own = proxy.send(get("/page").host(host)).await;
        if own.status != 400 {
            own.assert_stored();
            assert!(own.text().contains(&format!("host: {host}\r\n")), "{own:?}");
        }
        let mut next = proxy.client().connect().await;
        assert_eq!(bare(&mut next, &get("/page")).await, nobody["/page"], "{host}");
    }
}

#[tokio::test]
async fn one_host_has_one_page_however_it_is_written() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for host in ["SITE.test", "site.test:80", "Site.Test:80"] {
        let poison = async |proxy: &Proxy| proxy.send(get("/page").host(host)).await;
        poisoned(&mut proxy, "/page", poison).await.assert_stored();
        assert_eq!(proxy.pages().len(), 2, "{host}: one body and one sidecar");
    }
}

#[tokio::test]
async fn the_absolute_form_names_the_host_that_counts() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let poison = async |proxy: &Proxy| proxy.get("http://p0is0n.test/page").await;
    let nobody = pages_of_nobody(&mut proxy, &["/page".to_owned()]).await;
    let own = poison(&proxy).await;
    own.assert_stored();
    assert!(
        own.text()
            .starts_with("GET /page HTTP/1.1\r\nhost: p0is0n.test\r\n"),
        "{own:?}"
    );
    let mut next = proxy.client().connect().await;
    assert_eq!(bare(&mut next, &get("/page")).await, nobody["/page"]);

    for target in [
        "http://site.test/page",
        "http://SITE.TEST:80/page",
        "https://site.test/page",
    ] {
        let poison = async |proxy: &Proxy| proxy.send(get(target).host("p0is0n.test")).await;
        poisoned(&mut proxy, "/page", poison).await.assert_stored();
    }
    for target in [
        "http://u:p0is0n@site.test/page",
        "http:///page",
        "http://[p0is0n/page",
    ] {
        let poison = async |proxy: &Proxy| proxy.get(target).await;
        let own = poisoned(&mut proxy, "/page", poison).await;
        assert_eq!(own.status, 400, "{target}: {own:?}");
    }
}

#[tokio::test]
async fn with_a_public_url_another_host_passes_and_ours_is_a_constant() {
    let backend = echo().await;
    let mut proxy = over(&backend)
        .with(|settings| {
            settings.public_url = Some("http://site.test".into());
            settings.aliases = vec!["www.site.test".into()];
        })
        .start()
        .await;
    for host in [
        "p0is0n.test",
        "site.test.",
        "site.test:8080",
        "p0is0n.site.test",
        "www.site.test:81",
    ] {
        let poison = async |proxy: &Proxy| proxy.send(get("/page").host(host)).await;
        let own = poisoned(&mut proxy, "/page", poison).await;
        own.assert_not_stored(Reason::Host);
        assert!(own.text().contains(&format!("host: {host}\r\n")), "{own:?}");
    }
    for host in ["SITE.test", "site.test:80", "www.site.test", "WWW.site.test"] {
        let poison = async |proxy: &Proxy| proxy.send(get("/page").host(host)).await;
        poisoned(&mut proxy, "/page", poison).await.assert_stored();
        assert_eq!(proxy.pages().len(), 2, "{host}: one body and one sidecar");
    }
    let poison = async |proxy: &Proxy| proxy.get("http://p0is0n.test/page").await;
    poisoned(&mut proxy, "/page", poison)
        .await
        .assert_not_stored(Reason::Host);
}

const FORWARDING: &[(&str, &str)] = &[
    ("X-Forwarded-Host", "p0is0n.test"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Port", "4443"),
    ("X-Forwarded-For", "p0is0n"),
    ("X-Forwarded-Server", "p0is0n"),
    ("X-Forwarded-Prefix", "/p0is0n"),
    ("X-Forwarded-Ssl", "p0is0n"),
    ("X-Forwarded-Anything", "p0is0n"),
    ("X_Forwarded_Host", "p0is0n"),
    ("X-Forwarded_Proto", "p0is0n"),
    ("Forwarded", "host=p0is0n"),
    ("Front-End-Https", "p0is0n"),
    ("X-Url-Scheme", "p0is0n"),
    ("X-Scheme", "p0is0n"),
    ("X-Real-Ip", "p0is0n"),
    ("X_Real_Ip", "p0is0n"),
    ("X-Client-Ip", "p0is0n"),
    ("X-Cluster-Client-Ip", "p0is0n"),
    ("X-Original-Host", "p0is0n"),
    ("X-Original-Url", "/p0is0n"),
    ("X-Rewrite-Url", "/p0is0n"),
    ("True-Client-Ip", "p0is0n"),
    ("CF-Connecting-Ip", "p0is0n"),
];

#[tokio::test]
async fn a_stranger_says_nothing_of_where_a_request_came_from() {
    let backend = echo().await;
    let mut proxy = over(&backend)
        .with(|settings| settings.trusted_proxies = vec!["192.0.2.0/24".into()])
        .start()
        .await;
    let forged = |request| {
        FORWARDING
            .iter()
            .fold(request, |request: crate::rig::client::Request, (name, value)| {
                request.with(name, value)
            })
    };
    let poison = async |proxy: &Proxy| proxy.send(forged(get("/page"))).await;
    poisoned(&mut proxy, "/page", poison).await.assert_stored();

    for passing in [
        post("/page", ""),
        request("OPTIONS", "/page"),
        get("/page").with("Cookie", "session=1"),
    ] {
        let own = proxy.send(forged(passing)).await;
        assert!(!own.cache().stored, "{own:?}");
        assert!(!own.text().contains(POISON), "{own:?}");
        let seen = backend.last("/page");
        assert_eq!(seen.fields.all("x-forwarded-host"), ["site.test"]);
        assert_eq!(seen.fields.all("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.fields.all("x-forwarded-port"), ["80"]);
        assert_eq!(seen.fields.all("x-forwarded-for"), ["127.0.0.1"]);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_in_the_key_or_not_in_the_page() {
    let backend = echo().await;
    let mut proxy = over(&backend)
        .with(|settings| settings.trusted_proxies = vec!["127.0.0.1".into()])
        .start()
        .await;
    let nobody = pages_of_nobody(&mut proxy, &["/page".to_owned()]).await;
    for (name, value, expected) in [
        ("X-Forwarded-Host", "p0is0n.test", "host: p0is0n.test\r\n"),
        (
            "X-Forwarded-Host",
            "p0is0n-2.test, site.test",
            "host: p0is0n-2.test\r\n",
        ),
        ("X-Forwarded-Proto", "https", "x-forwarded-proto: https\r\n"),
    ] {
        let own = proxy.send(get("/page").with(name, value)).await;
        own.assert_stored();
        assert!(own.text().contains(expected), "{name}: {value}: {own:?}");
        let mut next = proxy.client().connect().await;
        assert_eq!(
            bare(&mut next, &get("/page")).await,
            nobody["/page"],
            "{name}: {value}"
        );
    }
    for (name, value) in FORWARDING.iter().skip(2).chain(&[
        ("X-Forwarded-Host", "p0is0n/evil"),
        ("X-Forwarded-Host", "u@p0is0n"),
        ("X-Forwarded-Proto", "p0is0n"),
    ]) {
        let poison = async |proxy: &Proxy| proxy.send(get("/page").with(name, value)).await;
        poisoned(&mut proxy, "/page", poison).await.assert_stored();
    }
}

#[tokio::test]
async fn with_a_public_url_the_forwarded_host_of_a_trusted_proxy_has_to_be_ours() {
    let backend = echo().await;
    let mut proxy = over(&backend)
        .with(|settings| {
            settings.public_url = Some("https://site.test".into());
            settings.trusted_proxies = vec!["127.0.0.1".into()];
        })
        .start()
        .await;
    let poison = async |proxy: &Proxy| {
        proxy
            .send(get("/page").with("X-Forwarded-Host", "p0is0n.test"))
            .await
    };
    poisoned(&mut proxy, "/page", poison)
        .await
        .assert_not_stored(Reason::Host);
    let poison = async |proxy: &Proxy| {
        let behind = get("/page")
            .host("10.0.0.7")
            .with("X-Forwarded-Host", "site.test");
        proxy.send(behind.with("X-Forwarded-Proto", "http")).await
    };
    let own = poisoned(&mut proxy, "/page", poison).await;
    own.assert_stored();
    assert!(own.text().contains("x-forwarded-proto: https\r\n"), "{own:?}");
    assert_eq!(Page::of(&own).status, 200);
}
