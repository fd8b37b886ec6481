//! The demo's own site.

use std::sync::Arc;

use phantom_frame::demo::{Demo, DemoOptions, Pace};
use tokio::sync::oneshot;

use crate::rig::client::Client;
use crate::rig::log::Log;
use crate::rig::proxy::files_with;
use crate::rig::visitor::Visitor;
use crate::rig::within;

const ALICE: &str = "Alice-of-the-d3mo";
const BOB: &str = "Bob-of-the-d3mo";
const SECRET: &str = "-of-the-d3mo";

async fn sign_in(visitor: &mut Visitor) {
    let account = visitor.submit("/login", &format!("name={}", visitor.name)).await;
    assert!(account.text().contains(visitor.name), "{account:?}");
}

#[tokio::test]
async fn an_account_of_the_demo_is_its_owner_s_alone() {
    let log = Log::watching(&[SECRET, "/account"]);
    let mut options = DemoOptions::default();
    options.pace = Pace::Instant;
    let demo = Demo::start(options).await.expect("the demo starts");
    let (address, site, directory) = (
        demo.address(),
        demo.backend_address(),
        demo.directory().to_owned(),
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(demo.run(async move { drop(stopped.await) }));
    let host = Arc::new(address.to_string());
    let visitor = |name| Visitor::new(name, Client::to(address)).at(&host);

    // Alice has signed in at the site itself, Bob comes through the proxy.
    let mut alice = Visitor::new(ALICE, Client::to(site)).at(&host);
    sign_in(&mut alice).await;
    let mut alice = alice.moved_to(Client::to(address));
    let mut bob = visitor(BOB);
    assert_eq!(bob.get("/account").await.field("location"), Some("/login"));
    sign_in(&mut bob).await;
    for _ in 0..2 {
        for (somebody, other) in [(&mut alice, BOB), (&mut bob, ALICE)] {
            let account = somebody.get("/account").await;
            let text = account.text();
            assert!(
                text.contains(somebody.name) && !text.contains(other),
                "{account:?}"
            );
        }
        assert_eq!(
            visitor("nobody").get("/account").await.field("location"),
            Some("/login")
        );
    }
    let entry = bob.submit("/guestbook", "name=Nobody&message=marmots").await;
    assert!(entry.text().contains("marmots"), "{entry:?}");
    let guestbook = visitor("nobody").get("/guestbook").await;
    assert!(guestbook.text().contains("marmots"), "{guestbook:?}");
    bob.open("/logout").await;
    assert_eq!(bob.get("/account").await.field("location"), Some("/login"));
    assert!(alice.get("/account").await.text().contains(ALICE));

    visitor("nobody").get("/about").await;
    visitor("nobody")
        .with_cookie("_ga", "1")
        .get("/about")
        .await
        .assert_hit();
    let session = alice.cookie("hut_session").expect("her session").to_owned();
    for secret in [SECRET, session.as_str()] {
        assert_eq!(files_with(&directory, secret), [""; 0]);
        assert_eq!(log.lines_with(secret), [""; 0]);
    }
    assert!(!files_with(&directory, "GET:/about").is_empty());
    assert!(!log.lines_with("/account").is_empty(), "the log is watched");
    drop(stop);
    within("the demo to end", running)
        .await
        .expect("the demo's task")
        .expect("the demo ends in good order");
}
