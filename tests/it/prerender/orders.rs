//! What an order is to those who come by themselves.

use std::time::Duration;

use phantom_frame::prerender::{Became, Scope};

use super::{Run, page, visit, with_address};
use crate::rig::{Backend, Setup};

#[tokio::test]
async fn an_order_is_no_use_of_a_page() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = with_address(Setup::over(&backend).with(|settings| settings.max_snapshots = 20))
        .start()
        .await;
    for n in 0..10 {
        visit(&proxy, &format!("/crawled/{n}")).await.assert_stored();
        visit(&proxy, &format!("/visited/{n}")).await.assert_stored();
    }
    proxy.until_ready().await;
    proxy.clock().advance(10);
    for n in 0..10 {
        visit(&proxy, &format!("/visited/{n}")).await.assert_hit();
    }
    proxy.clock().advance(10);
    Run::pages(&proxy, &["/crawled/*"], Scope::Missing).await;
    Run::pages(&proxy, &["/crawled/*"], Scope::All).await;
    proxy.clock().advance(10);

    for n in 0..5 {
        visit(&proxy, &format!("/new/{n}")).await;
    }
    crate::rig::eventually("room to be made", async || (proxy.stored() <= 20).then_some(())).await;

    let left = proxy.engine().stored_keys();
    let visited = left.iter().filter(|key| key.contains("/visited/")).count();
    assert_eq!(visited, 10, "{left:?}");
}

#[tokio::test]
async fn refresh_ahead_sees_no_use_in_an_order() {
    let backend = Backend::with("/a", page("a")).await;
    let mut proxy =
        with_address(Setup::over(&backend).with(|settings| settings.refresh_ahead = Duration::from_secs(50)))
            .start()
            .await;
    visit(&proxy, "/a").await.assert_stored();
    proxy.clock().advance(20);
    Run::pages(&proxy, &["/a"], Scope::Missing)
        .await
        .assert("/a", Became::Kept);
    proxy.clock().advance(20);

    // The first to ask since it was stored.
    visit(&proxy, "/a").await.assert_hit();

    // That waits for what goes on behind the visit.
    proxy.stop().await;
    assert_eq!(backend.count("/a"), 1);
}
