//! Signing in, staying signed in, and signing out.

use super::{Scene, assert_own, own, sign_in, token_in};
use crate::frameworks::{Framework, MAGIC};

pub(super) async fn in_and_out(framework: Framework) {
    let scene = Scene::of(framework).await;
    scene.proxy.warm("/about").await;
    let mut alice = scene.visitor("alice");
    for _ in 0..2 {
        assert!(alice.get("/").await.text().contains("Hello, stranger"));
        assert_eq!(alice.get("/account").await.field("location"), Some("/login"));
        sign_in(&mut alice).await;
        for path in ["/", "/account"] {
            let page = alice.get(path).await;
            assert_own(&alice, path, &page);
        }
        let token = token_in(&alice.get("/guestbook").await);
        let home = alice.submit("/logout", &format!("token={token}")).await;
        assert!(home.text().contains("Hello, stranger"), "{home:?}");
        assert_eq!(alice.get("/account").await.field("location"), Some("/login"));
        let mut other = scene.visitor("nobody");
        let page = other.get("/account").await;
        assert_own(&other, "/account", &page);
    }
    scene.assert_nothing_kept();
}

pub(super) async fn stays(framework: Framework) {
    let scene = Scene::of(framework).await;
    let mut alice = scene.known("alice").await.with_cookie("_ga", "1");
    for _ in 0..2 {
        scene.proxy.trigger().trigger();
        for path in super::addresses(framework) {
            alice.get(path).await;
            let session = alice.cookie(framework.session_cookie()).map(str::to_owned);
            assert!(
                session.is_some_and(|session| session.contains("alice-session")),
                "after {path}"
            );
            let home = alice.get("/").await;
            assert_own(&alice, "/", &home);
            // Others bring the pages that she sees next.
            scene.visitor("nobody").get(path).await;
        }
    }
    scene.assert_nothing_kept();
}

pub(super) async fn magic(framework: Framework) {
    for link in MAGIC {
        for cookies in [
            &[][..],
            &["_ga"],
            &["_ga", "csrftoken"],
            &["csrftoken", "XSRF-TOKEN"],
            &["theme"],
        ] {
            let scene = Scene::of(framework).await;
            scene.proxy.warm("/about").await;
            let mut alice = cookies.iter().fold(scene.visitor("alice"), |visitor, name| {
                visitor.with_cookie(name, "1")
            });
            let page = alice.open(link).await;
            assert!(
                page.text().contains(&own("alice")),
                "{link} with {cookies:?}: {page:?}"
            );
            let path = link.split('?').next().unwrap_or(link);
            assert_eq!(scene.backend.count(path), 1, "{link} with {cookies:?}");
            // It is used up, for everybody.
            let mut other = scene.visitor("nobody");
            let used = other.open(link).await;
            assert_eq!(used.status, 410, "{used:?}");
            assert_eq!(other.cookie(framework.session_cookie()), None);
            let home = alice.get("/").await;
            assert_own(&alice, "/", &home);
            scene.assert_nothing_kept();
        }
    }
}
