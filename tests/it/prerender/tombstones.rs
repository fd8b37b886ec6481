//! What the operator has put in a page's place is not rendered.

use std::sync::Arc;
use std::time::Duration;

use phantom_frame::artefact::Tombstone;
use phantom_frame::prerender::{Became, PrerenderOptions, Renderer, Scope, Summary};
use phantom_frame::{RefreshMode, Ttl};
use tokio::sync::mpsc;

use super::{HOST, Run, page, visit, with_address};
use crate::rig::{Backend, Gate, Proxy, Setup, eventually, get, post, within};

/// A site that has `/a` and `/new`, and thinks that it has `/gone` and `/moved`.
async fn buried() -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| page(&request.target));
    let setup =
        Setup::over(&backend).with(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(60)));
    let proxy = with_address(setup).start().await;
    for path in ["/a", "/gone"] {
        visit(&proxy, path).await.assert_stored();
    }
    proxy.until_ready().await;
    for (url, tombstone) in [
        ("/gone", Tombstone::Gone),
        ("/moved", Tombstone::Moved("/new".into())),
    ] {
        let placed = proxy.artefact(move |artefact| artefact.tombstone(url, &tombstone));
        placed.await.expect("a tombstone");
    }
    for (path, status) in [("/gone", 410), ("/moved", 301)] {
        eventually("the server to notice", async || {
            (visit(&proxy, path).await.status == status).then_some(())
        })
        .await;
    }
    (backend, proxy)
}

fn asked_for_them(backend: &Backend) -> usize {
    backend.count("/gone") + backend.count("/moved")
}

#[tokio::test]
async fn a_tombstone_stands_whatever_time_and_visitors_do_until_it_is_deleted() {
    let (backend, proxy) = buried().await;
    let (before, pages) = (asked_for_them(&backend), backend.count("/a"));
    let trigger = proxy.trigger();
    let stands = async |after: &str| {
        for (path, status) in [("/gone", 410), ("/moved", 301)] {
            let answer = visit(&proxy, path).await;
            assert_eq!(
                (answer.status, answer.cache().hit),
                (status, true),
                "{path} {after}"
            );
        }
    };

    proxy.clock().advance(61);
    stands("past `default_ttl`").await;
    visit(&proxy, "/a").await;
    assert_eq!(backend.count("/a"), pages + 1, "a page's lifetime is over");

    let posted = proxy.send(post("/gone", "x").host(HOST)).await;
    assert_eq!(posted.status, 200);
    stands("after an unsafe request").await;

    let marked = trigger.refresh_matching(&["*"], RefreshMode::Stale).await;
    assert!(marked.is_ok(), "{marked:?}");
    stands("when everything is marked").await;
    assert_eq!(asked_for_them(&backend), before + 1, "the unsafe request alone");

    let deleted = trigger.refresh_matching(&["/gone"], RefreshMode::Delete).await;
    assert!(deleted.is_ok(), "{deleted:?}");
    visit(&proxy, "/gone").await.assert(200, "/gone");
}

#[tokio::test]
async fn what_was_being_fetched_when_a_tombstone_was_placed_is_not_stored() {
    let backend = Backend::start().await;
    let proxy = with_address(Setup::over(&backend)).start().await;
    proxy.until_ready().await;
    let gate = Gate::new();
    backend.on("/gone", page("before").held(&gate));
    let bury = async {
        gate.arrivals(1).await;
        let placed = proxy.artefact(|artefact| artefact.tombstone("/gone", &Tombstone::Gone));
        placed.await.expect("a tombstone");
        gate.open();
    };

    let (answer, ()) = tokio::join!(visit(&proxy, "/gone"), bury);

    answer.assert(200, "before");
    assert_eq!(visit(&proxy, "/gone").await.status, 410);
    assert_eq!(backend.count("/gone"), 1);
}

#[tokio::test]
async fn a_tombstone_is_no_page_to_render_in_any_scope_fresh_or_not() {
    let (backend, proxy) = buried().await;
    let (before, tombstones) = (asked_for_them(&backend), proxy.files_with("tombstone = true"));
    assert_eq!(tombstones.len(), 2);
    let contents = proxy.contents();

    for is_stale in [false, true] {
        if is_stale {
            proxy.clock().advance(61);
        }
        for scope in [Scope::Missing, Scope::Stale, Scope::All] {
            let rendered = backend.count("/a");
            let run = Run::pages(&proxy, &["/gone", "/moved", "/a"], scope).await;

            run.assert("/gone", Became::Tombstone)
                .assert("/moved", Became::Tombstone);
            assert_eq!(run.page("/gone").status, Some(410));
            assert_eq!((run.summary.tombstones, run.summary.failed()), (2, 0));
            // Where it leads is a page as any other.
            assert!(run.urls().contains(&"/new"));
            let is_asked = scope == Scope::All || (is_stale && scope == Scope::Stale);
            assert_eq!(backend.count("/a"), rendered + usize::from(is_asked), "{scope:?}");
        }
        let by_pattern = Run::pages(&proxy, &["*"], Scope::All).await;
        by_pattern
            .assert("/gone", Became::Tombstone)
            .assert("/a", Became::Same);
        assert_eq!(by_pattern.summary.tombstones, 2);
    }

    assert_eq!(asked_for_them(&backend), before);
    assert_eq!(proxy.files_with("tombstone = true"), tombstones);
    for file in tombstones {
        assert_eq!(proxy.contents().get(&file), contents.get(&file), "{file}");
    }
}

/// A renderer that runs, and what it tells.
fn running(proxy: &Proxy) -> (Arc<Renderer>, mpsc::UnboundedReceiver<Summary>) {
    let renderer = Arc::new(Renderer::new(proxy.engine(), PrerenderOptions::default()));
    let (tell, told) = mpsc::unbounded_channel();
    let at_work = Arc::clone(&renderer);
    tokio::spawn(async move {
        at_work
            .run(
                |_| {},
                |summary| {
                    // The test may have seen enough.
                    let _ = tell.send(summary.clone());
                },
            )
            .await;
    });
    (renderer, told)
}

#[tokio::test]
async fn a_server_that_is_told_to_render_everything_leaves_tombstones_and_tells_of_them() {
    let (backend, proxy) = buried().await;
    let (before, rendered) = (asked_for_them(&backend), backend.count("/a"));
    let (renderer, mut told) = running(&proxy);

    assert_eq!(renderer.begin(&["*"]).expect("a pattern"), 1, "the page alone");

    let summary = within("a run", told.recv()).await.expect("a run");
    assert_eq!((summary.same, summary.tombstones, summary.pages()), (1, 2, 3));
    assert_eq!(
        (asked_for_them(&backend), backend.count("/a")),
        (before, rendered + 1)
    );
    let gone = visit(&proxy, "/gone").await;
    gone.assert_hit();
    assert_eq!((gone.status, asked_for_them(&backend)), (410, before));
}

#[tokio::test]
async fn a_tombstone_that_no_order_can_ask_for_is_not_marked() {
    let backend = Backend::start().await;
    backend.fallback(|request| crate::rig::Answer::page(request.target.clone()));
    let keyed = |settings: &mut phantom_frame::Settings| settings.key_headers = vec!["X-Theme".into()];
    let mut proxy = with_address(Setup::over(&backend).with(keyed)).start().await;
    let dark = |path: &str| get(path).host(HOST).with("X-Theme", "dark");
    for path in ["/page", "/stone"] {
        proxy.send(dark(path)).await.assert_stored();
    }
    proxy.stop().await;
    let (file, text) = proxy.sidecar("stone.");
    let by_hand = text.replace("status = 200\n", "status = 200\ntombstone = true\n");
    assert_ne!(by_hand, text);
    std::fs::write(file, by_hand).expect("an edit");
    proxy.start_again().await;
    proxy.until_ready().await;
    for path in ["/page", "/stone"] {
        proxy.send(dark(path)).await.assert_hit();
    }
    let before = backend.total();

    let (renderer, _told) = running(&proxy);
    assert_eq!(renderer.begin(&["*"]).expect("a pattern"), 0);

    proxy.send(dark("/stone")).await.assert_hit();
    assert_eq!(backend.total(), before);
    // What is no tombstone is asked about.
    proxy.send(dark("/page")).await;
    assert_eq!(backend.total(), before + 1);
}
