//! How fast the backend is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phantom_frame::Reason;
use phantom_frame::prerender::{Became, Event, PrerenderOptions, Scope, prerender};

use super::{Run, page, start, visit, with_address};
use crate::rig::{Answer, Backend, Gate, Setup};

/// Refuses so many times.
async fn busy(times: usize, refusal: Answer) -> Backend {
    let backend = Backend::start().await;
    let count = Arc::new(AtomicUsize::new(0));
    backend.on_fn("/a", move |_| {
        match count.fetch_add(1, Ordering::SeqCst) < times {
            true => refusal.clone(),
            false => page("a"),
        }
    });
    backend
}

#[tokio::test]
async fn a_backend_that_is_too_busy_is_asked_again_when_it_says() {
    for status in [429, 503] {
        let backend = busy(2, Answer::new(status).with("Retry-After", "0")).await;
        let proxy = start(&backend).await;

        let run = Run::pages(&proxy, &["/a"], Scope::Stale).await;

        run.assert("/a", Became::New);
        assert_eq!((backend.count("/a"), run.summary.failed()), (3, 0), "{status}");
    }
}

#[tokio::test]
async fn a_backend_that_stays_too_busy_fails_the_page_after_four_requests() {
    let backend = busy(9, Answer::new(429).with("Retry-After", "0")).await;
    let proxy = start(&backend).await;

    let run = Run::pages(&proxy, &["/a"], Scope::Stale).await;

    assert!(run.page("/a").problem.is_some(), "{run:?}");
    assert_eq!((backend.count("/a"), run.summary.failed()), (4, 1));
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_none() {
    let backend = busy(9, Answer::new(503).with("Retry-After", "86400")).await;
    let proxy = start(&backend).await;

    let run = Run::pages(&proxy, &["/a"], Scope::Stale).await;

    run.assert("/a", Became::Failed(Reason::ServerError));
    assert!(run.page("/a").problem.is_some(), "{run:?}");
    assert_eq!(backend.count("/a"), 1);
}

#[tokio::test]
async fn so_many_are_under_way_and_no_more() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.fallback(move |_| page("x").held(&held));
    let proxy = start(&backend).await;
    let meanwhile = async {
        gate.arrivals(2).await;
        assert_eq!(backend.total(), 2);
        gate.open();
    };

    let run = Run::of(&proxy, |options| {
        options.pages = (0..6).map(|page| format!("/{page}")).collect();
        options.concurrency = 2;
    });
    let (run, ()) = tokio::join!(run, meanwhile);

    assert_eq!((run.summary.new, backend.total()), (6, 6));
}

#[tokio::test]
async fn visitors_who_take_all_fills_delay_a_page_and_do_not_lose_it() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    backend.on("/slow", page("slow").held(&gate));
    backend.on("/a", page("a"));
    let proxy = with_address(Setup::over(&backend))
        .with(|settings| settings.max_fills = 1)
        .start()
        .await;
    let visitor = async { visit(&proxy, "/slow").await };
    let mut options = PrerenderOptions::default();
    options.pages = vec!["/a".into()];
    let engine = proxy.engine();
    let mut refusals = 0;
    let run = async {
        gate.arrivals(1).await;
        let observe = |event: Event<'_>| {
            if let Event::Waiting(_) = event {
                refusals += 1;
                gate.open();
            }
        };
        prerender(&engine, &options, observe).await
    };

    let (slow, summary) = tokio::join!(visitor, run);

    slow.assert_stored();
    assert_eq!(summary.expect("a run").new, 1);
    assert_eq!((refusals > 0, backend.count("/a")), (true, 1));
}
