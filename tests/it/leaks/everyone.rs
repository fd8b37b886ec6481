//! Alice, Bob, nobody and a bot, in any order and at once.

use futures_util::future::join_all;

use super::{Scene, assert_own, visit};
use crate::frameworks::Framework;
use crate::rig::visitor::Visitor;

pub(super) async fn in_every_order(framework: Framework) {
    let scene = Scene::of(framework).await;
    let mut visitors = [
        scene.known("alice").await,
        scene.known("bob").await,
        scene.visitor("nobody"),
        scene.visitor("bot"),
    ];
    for order in orders() {
        scene.proxy.trigger().trigger();
        // Cold, and then warm.
        for _ in 0..2 {
            for who in order {
                if visitors[who].name == "bot" {
                    // Keeps no cookies.
                    visitors[who] = scene.visitor("bot");
                }
                visit(&mut visitors[who], framework).await;
            }
        }
        scene.visitor("bot").get("/about").await.assert_hit();
        scene.assert_nothing_kept();
    }
    if framework.keeps_the_greeting() {
        scene.visitor("bot").get("/").await.assert_hit();
    }
}

/// All the ways to put four in a row.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| ![a, b].contains(c)) {
                orders.push([a, b, c, 6 - a - b - c]);
            }
        }
    }
    assert_eq!(orders.len(), 24);
    orders
}

pub(super) async fn at_once(framework: Framework) {
    let scene = Scene::of(framework).await;
    let somebody = [scene.known("alice").await, scene.known("bob").await];
    for path in super::addresses(framework) {
        // Cold, and then warm.
        for _ in 0..2 {
            let visitors = (0..50).map(|n| match n % 4 {
                0 | 1 => somebody[n % 4].clone(),
                2 => scene.visitor("nobody"),
                _ => scene.visitor("bot"),
            });
            let pages = visitors.map(async |mut visitor: Visitor| {
                let page = visitor.get(path).await;
                (visitor, page)
            });
            for (visitor, page) in join_all(pages).await {
                assert_own(&visitor, path, &page);
            }
        }
    }
    scene.assert_nothing_kept();
}

pub(super) async fn known_before(framework: Framework) {
    let mut scene = Scene::of(framework).await;
    let alice = scene.known("alice").await;
    scene.visitor("nobody").get("/about").await.assert_stored();
    if framework.keeps_the_greeting() {
        scene.proxy.warm("/").await;
    }
    // Another process, which has seen nobody sign in.
    scene.proxy.restart().await;
    let mut alice = alice.moved_to(scene.proxy.client());
    for path in ["/", "/account", "/about"] {
        let page = alice.get(path).await;
        assert_own(&alice, path, &page);
        assert!(!page.cache().hit, "{page:?}");
    }
    scene.visitor("nobody").get("/about").await.assert_hit();
    scene.assert_nothing_kept();
}
