//! By what stands in the request line.

use phantom_frame::Reason;

use super::{POISON, bare, echo, over, pages_of_nobody, poisoned};
use crate::rig::{Proxy, get, request};

#[tokio::test]
async fn a_parameter_is_part_of_the_key_however_it_is_written() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let nobody = pages_of_nobody(&mut proxy, &["/page".to_owned(), "/page?a=1".to_owned()]).await;
    for target in [
        "/page?p0is0n",
        "/page?a=p0is0n",
        "/page?a=1&b=p0is0n",
        "/page?a=1&a=p0is0n",
        "/page?a=p0is0n&a=1",
        "/page?a=1;a=p0is0n",
        "/page;a=p0is0n?a=1",
        "/page?a=1%26a=p0is0n",
        "/page?a=1%3Ba=p0is0n",
        "/page?a=1&&p0is0n",
        "/page?a[]=p0is0n",
        "/page?%61=p0is0n",
        "/page?a=1%00p0is0n",
        "/page?a=1%0d%0aX:p0is0n",
        "/page?a=1?a=p0is0n",
        "/page?a=1/../p0is0n",
        "/page%3Fa=p0is0n",
        "/page%23p0is0n",
        "/page/p0is0n",
        "/page/../page/p0is0n",
    ] {
        let own = proxy.get(target).await;
        own.assert_stored();
        assert!(
            own.text().starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{own:?}"
        );
        let mut next = proxy.client().connect().await;
        for (target, page) in &nobody {
            assert_eq!(bare(&mut next, &get(target)).await, *page);
        }
    }
}

#[tokio::test]
async fn a_parameter_that_is_ignored_does_not_reach_the_backend() {
    let backend = echo().await;
    let mut proxy = over(&backend)
        .with(|settings| settings.ignore_query = vec!["utm_*".into(), "fbclid".into()])
        .start()
        .await;
    for (target, same_as) in [
        ("/page?utm_source=p0is0n", "/page"),
        ("/page?utm_source=p0is0n;a=1", "/page"),
        ("/page?utm_a=p0is0n&utm_b=p0is0n&fbclid", "/page"),
        ("/page?UTM_SOURCE=p0is0n", "/page"),
        ("/page?a=1&utm_source=p0is0n&b=2", "/page?a=1&b=2"),
        ("/page?fbclid=p0is0n%26a=1&a=1", "/page?a=1"),
        ("/page?utm_=p0is0n=a=1&a=1", "/page?a=1"),
    ] {
        let poison = async |proxy: &Proxy| proxy.get(target).await;
        let own = poisoned(&mut proxy, same_as, poison).await;
        own.assert_stored();
        assert!(!own.text().contains(POISON), "{own:?}");
    }
    let nobody = pages_of_nobody(&mut proxy, &["/page".to_owned(), "/page?a=1".to_owned()]).await;
    for keyed in [
        "/page?utm%5Fsource=p0is0n",
        "/page?a=1;utm_source=p0is0n",
        "/page?a=1%26utm_source=p0is0n",
        "/page?xutm_source=p0is0n",
    ] {
        let own = proxy.get(keyed).await;
        own.assert_stored();
        assert!(own.text().starts_with(&format!("GET {keyed} ")), "{own:?}");
    }
    let mut next = proxy.client().connect().await;
    for (target, page) in &nobody {
        assert_eq!(bare(&mut next, &get(target)).await, *page);
    }
}

#[tokio::test]
async fn a_fragment_belongs_to_nobody() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for target in ["/page#p0is0n", "/page#p0is0n?a=1"] {
        let poison = async |proxy: &Proxy| proxy.get(target).await;
        let own = poisoned(&mut proxy, "/page", poison).await;
        assert!(!own.text().contains(POISON), "{own:?}");
    }
}

#[tokio::test]
async fn no_other_method_leaves_anything_at_an_address() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    for method in [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "REPORT", "PURGE", "BAN",
        "QUERY", "FLUBBER", "get", "Get", "HEAD!", "GETT", "PRI",
    ] {
        let poison = async |proxy: &Proxy| {
            let own = request(method, "/page")
                .with("X-Marker", POISON)
                .with("Content-Length", "6")
                .with_body(POISON);
            proxy.send(own).await
        };
        let own = poisoned(&mut proxy, "/page", poison).await;
        own.assert_not_stored(Reason::Method);
        assert_eq!(
            backend
                .requests_for("/page")
                .iter()
                .filter(|seen| seen.method == method)
                .count(),
            1
        );
    }
    for method in ["CONNECT"] {
        let poison = async |proxy: &Proxy| {
            proxy
                .send(request(method, "site.test:80").with("X-Marker", POISON))
                .await
        };
        let own = poisoned(&mut proxy, "/page", poison).await;
        assert_eq!(own.status, 400, "{own:?}");
    }
}

#[tokio::test]
async fn a_head_request_leaves_the_page_to_nobody() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let poison = async |proxy: &Proxy| {
        let own = request("HEAD", "/page").with("X-Marker", POISON);
        proxy.send(own.with("X-HTTP-Method-Override", "DELETE")).await
    };
    let own = poisoned(&mut proxy, "/page", poison).await;
    own.assert_not_stored(Reason::Method);
    assert_eq!((own.status, own.body.len()), (200, 0));
}

#[tokio::test]
async fn a_target_in_disguise_has_a_page_of_its_own() {
    let backend = echo().await;
    let mut proxy = over(&backend).start().await;
    let nobody = pages_of_nobody(&mut proxy, &["/".to_owned(), "/page".to_owned()]).await;
    for target in [
        "//page",
        "//p0is0n.test/page",
        "/./page",
        "/x/../page",
        "/p0is0n/../page",
        "/page/",
        "/page/.",
        "/page//",
        "/page%2F",
        "/%70age",
        "/pag%65",
        "/PAGE",
        "/page%00",
        "/page%20",
        "/page;",
        "/page;p0is0n",
        "/page.",
        "/page.html",
        "/page/x.css",
        "/page%0a",
        "/..%2fpage",
        "/%2e%2e/page",
        "/\\page",
        "/page\\",
        "/page?",
        "/?/page",
        "/page%",
        "/page%zz",
    ] {
        let own = proxy.get(target).await;
        if own.status == 400 {
            continue;
        }
        let mut next = proxy.client().connect().await;
        for (target, page) in &nobody {
            assert_eq!(bare(&mut next, &get(target)).await, *page);
        }
        // An empty query is none.
        let asked = target.strip_suffix('?').unwrap_or(target);
        let line = format!("GET {asked} HTTP/1.1\r\n");
        let is_own =
            own.text().starts_with(&line) || own.text().starts_with(&format!("GET {target} HTTP/1.1\r\n"));
        assert!(is_own, "{own:?}");
    }
}
