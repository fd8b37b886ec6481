//! Visitors who did not sign in.

use super::{Scene, assert_own, token_in};
use crate::frameworks::Framework;

pub(super) async fn harmless_cookies(framework: Framework) {
    let scene = Scene::of(framework).await;
    // The first of them brings the page of nobody.
    let first = scene.visitor("nobody").with_cookie("_ga", "GA1.1.s3cr3t-of-ga");
    first.clone().get("/about").await.assert_stored();
    let asked = scene.backend.count("/about");
    for (name, value) in [
        ("_ga", "GA1.1.1"),
        ("_ga_ABC", "GS2.1"),
        ("_fbp", "fb.1.2"),
        ("_pk_id.1.1fff", "x"),
        ("_hjSessionUser_1", "x"),
        ("OptanonConsent", "groups=C1"),
        ("CookieConsent", "{stamp:'-1'}"),
        ("cookieyes-consent", "yes"),
        ("intercom-id-x", "1"),
        ("AWSALB", "x"),
        ("__cf_bm", "x"),
        ("csrftoken", "s3cr3t-of-csrf-own"),
        ("XSRF-TOKEN", "s3cr3t-of-xsrf-own"),
    ] {
        let page = first.clone().with_cookie(name, value).get("/about").await;
        page.assert_hit();
        assert!(page.text().contains("About, light, en"), "{name}: {page:?}");
    }
    assert_eq!(scene.backend.count("/about"), asked);
    assert!(!scene.backend.last("/about").fields.has("cookie"));
    scene.assert_nothing_kept();
}

pub(super) async fn preferences(framework: Framework) {
    let scene = Scene::of(framework).await;
    scene.proxy.warm("/about").await;
    for (name, value, expected) in [
        ("theme", "dark", "About, dark, en"),
        ("language", "de", "About, light, de"),
    ] {
        let mut visitor = scene.visitor("nobody");
        let token = token_in(&visitor.get("/guestbook").await);
        let page = visitor
            .submit(&format!("/{name}"), &format!("value={value}&token={token}"))
            .await;
        assert!(page.text().contains(expected), "{page:?}");
        let again = visitor.get("/about").await;
        assert!(again.text().contains(expected), "{again:?}");
        assert!(!again.cache().hit && !again.cache().stored, "{again:?}");
        let mut other = scene.visitor("bot");
        let page = other.get("/about").await;
        assert_own(&other, "/about", &page);
    }
    scene.assert_nothing_kept();
}

pub(super) async fn keyed_preferences(framework: Framework) {
    let scene = Scene::with(framework, |settings| {
        settings.key_cookies = vec!["theme".into(), "language".into()];
    })
    .await;
    let dark = scene.visitor("nobody").with_cookie("theme", "dark");
    let german = scene.visitor("nobody").with_cookie("language", "de");
    let both = dark.clone().with_cookie("language", "de");
    let neither = scene.visitor("nobody");
    let all = [
        (dark, "About, dark, en"),
        (german, "About, light, de"),
        (both, "About, dark, de"),
        (neither, "About, light, en"),
    ];
    for (visitor, expected) in &all {
        let page = visitor.clone().get("/about").await;
        page.assert_stored();
        assert!(page.text().contains(expected), "{page:?}");
    }
    for (visitor, expected) in &all {
        let page = visitor.clone().with_cookie("_ga", "1").get("/about").await;
        page.assert_hit();
        assert!(page.text().contains(expected), "{page:?}");
    }
    let mut alice = scene.known("alice").await.with_cookie("theme", "dark");
    let page = alice.get("/").await;
    assert_own(&alice, "/", &page);
    scene.assert_nothing_kept();
}

pub(super) async fn forms(framework: Framework) {
    let scene = Scene::of(framework).await;
    scene.proxy.warm("/about").await;
    let mut visitors = [scene.visitor("nobody"), scene.visitor("another")];
    for round in 0..2 {
        for (n, visitor) in visitors.iter_mut().enumerate() {
            let entry = format!("entry-{round}-{n}");
            let form = visitor.get("/guestbook").await;
            let fields = format!("entry={entry}&token={}", token_in(&form));
            let page = visitor.submit("/guestbook", &fields).await;
            assert_eq!(page.status, 200, "{page:?}");
            assert!(page.text().contains(&entry), "{page:?}");
            for reader in ["bot", "nobody"] {
                let seen = scene.visitor(reader).get("/guestbook").await;
                assert!(seen.text().contains(&entry), "{reader} after {entry}: {seen:?}");
            }
        }
        let both = [
            visitors[1].get("/guestbook").await,
            visitors[0].get("/guestbook").await,
        ];
        let forged = format!("entry=forged&token={}", token_in(&both[0]));
        if framework.token_cookie().is_some() {
            assert_eq!(
                visitors[0].post("/guestbook", &forged).await.status,
                403,
                "another's token"
            );
        }
    }
    scene.assert_nothing_kept();
}

pub(super) async fn two_tabs(framework: Framework) {
    let scene = Scene::of(framework).await;
    scene.proxy.warm("/about").await;
    let mut visitor = scene.visitor("nobody").with_cookie("_ga", "1");
    let form = visitor.get("/guestbook").await;
    let token = token_in(&form);
    // Cold pages, and a form among them.
    for path in [
        "/",
        "/login",
        "/about",
        "/missing",
        "/login?again",
        "/guestbook?page=2",
    ] {
        visitor.get(path).await;
        // The Rails-like one has another session, and another token, on every page; a real one has not.
        if framework != Framework::Rails {
            let page = visitor
                .submit("/guestbook", &format!("entry={path}&token={token}"))
                .await;
            assert_eq!(page.status, 200, "after {path}: {page:?}");
        }
    }
    scene.assert_nothing_kept();
}

pub(super) async fn led_elsewhere(framework: Framework) {
    let scene = Scene::of(framework).await;
    scene.proxy.warm("/about").await;
    let mut visitor = scene.visitor("nobody");
    let mut reader = scene.visitor("bot");
    for entry in ["first", "second"] {
        reader.get("/guestbook").await;
        let form = visitor.get("/guestbook").await;
        let page = visitor
            .submit("/entries", &format!("entry={entry}&token={}", token_in(&form)))
            .await;
        assert!(page.text().contains(entry), "{page:?}");
        let seen = reader.get("/guestbook").await;
        assert!(seen.text().contains(entry), "{seen:?}");
    }
    scene.assert_nothing_kept();
}
