//! Hosts: without a `public_url`, whoever makes up a host makes up a site.

use phantom_frame::Reason;

use crate::rig::{Answer, Backend, Gate, Proxy, Response, Setup, eventually, get};

/// A backend whose pages say whose they are.
async fn sites() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(host_of(request)));
    backend
}

fn host_of(request: &crate::rig::Recorded) -> String {
    let host = request.field("x-forwarded-host").or(request.field("host"));
    host.unwrap_or("none").to_owned()
}

fn over(backend: &Backend, max_hosts: usize) -> Setup {
    Setup::over(backend).with(move |settings| settings.max_hosts = max_hosts)
}

async fn ask(proxy: &Proxy, host: &str) -> Response {
    proxy.send(get("/").host(host)).await
}

/// The folders of the directory: one for each host.
fn folders(proxy: &Proxy) -> Vec<String> {
    let mut folders: Vec<_> = proxy
        .pages()
        .iter()
        .filter_map(|file| Some(file.split_once('/')?.0.to_owned()))
        .collect();
    folders.dedup();
    folders
}

#[tokio::test]
async fn pages_of_so_many_hosts_are_stored_and_others_pass() {
    let backend = sites().await;
    let proxy = over(&backend, 2).start().await;
    for host in ["a.test", "b.test"] {
        ask(&proxy, host).await.assert_stored();
    }

    for _ in 0..3 {
        ask(&proxy, "c.test").await.assert_not_stored(Reason::Hosts);
    }

    assert_eq!(backend.count("/"), 5, "the third one is asked for each time");
    for host in ["a.test", "b.test"] {
        ask(&proxy, host).await.assert_hit();
        proxy.send(get("/other").host(host)).await.assert_stored();
    }
    assert_eq!(folders(&proxy), ["a.test", "b.test"]);
}

#[tokio::test]
async fn hosts_that_come_together_are_no_more_than_those_that_come_one_by_one() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.fallback(move |request| Answer::page(host_of(request)).wait(&held).chunked());
    let proxy = over(&backend, 2).start().await;
    let hosts = ["a.test", "b.test", "c.test", "d.test"];
    let mut under_way = Vec::new();
    for host in hosts {
        under_way.push(proxy.client().begin(&get("/").host(host)).await);
    }
    backend.until_count("/", 4).await;

    gate.open();

    for (exchange, host) in under_way.into_iter().zip(hosts) {
        assert_eq!(exchange.head().await.finish().await.status, 200, "{host}");
    }
    assert_eq!(proxy.counted(Reason::Hosts), 2);
    assert_eq!(folders(&proxy).len(), 2, "{:?}", proxy.pages());
    let mut hits = 0;
    for host in hosts {
        hits += usize::from(ask(&proxy, host).await.cache().hit);
    }
    assert_eq!(hits, 2);
}

#[tokio::test]
async fn a_host_that_nobody_asks_for_gives_way() {
    let backend = sites().await;
    let proxy = over(&backend, 2).start().await;
    for host in ["idle.test", "busy.test"] {
        ask(&proxy, host).await.assert_stored();
    }
    // Looked for, and not found.
    ask(&proxy, "new.test").await.assert_not_stored(Reason::Hosts);
    // In two steps: that look may still be under way, and must not find both of them idle.
    proxy.clock().advance(300);
    ask(&proxy, "busy.test").await.assert_hit();
    proxy.clock().advance(301);

    eventually("the idle host to give way", async || {
        ask(&proxy, "new.test").await.cache().stored.then_some(())
    })
    .await;
    ask(&proxy, "new.test").await.assert_hit();
    ask(&proxy, "busy.test").await.assert_hit();
    ask(&proxy, "idle.test").await.assert_not_stored(Reason::Hosts);
    assert_eq!(folders(&proxy), ["busy.test", "new.test"]);
}

#[tokio::test]
async fn a_host_is_given_its_place_back_when_its_pages_are_gone() {
    let backend = sites().await;
    let proxy = over(&backend, 1).start().await;
    ask(&proxy, "a.test").await.assert_stored();
    ask(&proxy, "b.test").await.assert_not_stored(Reason::Hosts);

    proxy.trigger().refresh().await.expect("the invalidation");

    ask(&proxy, "b.test").await.assert_stored();
    ask(&proxy, "b.test").await.assert_hit();
    ask(&proxy, "a.test").await.assert_not_stored(Reason::Hosts);
}

#[tokio::test]
async fn where_the_public_url_is_known_hosts_do_not_count() {
    let backend = sites().await;
    let proxy = over(&backend, 1)
        .with(|settings| {
            settings.public_url = Some("http://a.test".into());
            settings.aliases = vec!["b.test".into()];
        })
        .start()
        .await;
    ask(&proxy, "a.test").await.assert_stored();
    ask(&proxy, "b.test").await.assert_hit();
    proxy.send(get("/other").host("b.test")).await.assert_stored();
}
