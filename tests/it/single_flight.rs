//! One fetch for a stampede, read by everybody while it arrives.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::Request;
use phantom_frame::Reason;
use tower::ServiceExt;

use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, End, Gate, Proxy, eventually, get, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_visitors_of_a_cold_page_are_one_fetch() {
    let (head, middle) = (Gate::new(), Gate::new());
    let rest = "the rest of the page ".repeat(4_000);
    let backend = Backend::with(
        "/",
        Answer::page("first bytes;")
            .wait(&middle)
            .body(rest.clone())
            .held(&head),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    let whole = format!("first bytes;{rest}");

    // Past the socket, so that the test needs no thousand file descriptors.
    let mut visitors = Vec::new();
    let (came, mut coming) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..500 {
        let router = proxy.router();
        let came = came.clone();
        visitors.push(tokio::spawn(async move {
            let request = Request::get("/").header("Host", "site.test").body(Body::empty());
            let response = router.oneshot(request.unwrap()).await.unwrap();
            let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
            let mut stream = response.into_body().into_data_stream();
            let mut bytes = stream.next().await.unwrap().unwrap().to_vec();
            came.send(()).unwrap();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            (status, bytes)
        }));
    }
    head.arrivals(1).await;
    head.open();
    // Everybody has the first bytes while the backend still holds the rest back.
    for _ in 0..500 {
        within("the first bytes for everybody", coming.recv()).await;
    }
    middle.arrivals(1).await;
    middle.open();

    let (mut leaders, mut followers) = (0, 0);
    for visitor in visitors {
        let (status, bytes) = within("a visitor", visitor).await.unwrap();
        assert!(bytes == whole.as_bytes(), "a visitor got {} bytes", bytes.len());
        if status.contains("collapsed") {
            followers += 1;
        } else {
            leaders += 1;
        }
    }
    assert_eq!((leaders, followers), (1, 499));
    assert_eq!(backend.count("/"), 1);
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn followers_are_named_as_such() {
    let gate = Gate::new();
    let backend = Backend::with("/", Answer::page("x").held(&gate)).await;
    let proxy = Proxy::start(&backend).await;
    let leader = proxy.client().begin(&get("/")).await;
    gate.arrivals(1).await;
    let follower = proxy.client().begin(&get("/")).await;
    // A request for another page gets past the flight, and past the follower on its way.
    proxy.get("/other").await;
    gate.open();

    let leader = leader.head().await.finish().await;
    let follower = follower.head().await.finish().await;

    leader.assert(200, "x").assert_stored();
    follower.assert(200, "x");
    if follower.cache().hit {
        // Came to look only when the page was stored.
        assert_eq!(backend.count("/"), 1);
    } else {
        follower.assert_collapsed();
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_visitor_who_goes_away_does_not_stop_the_fill() {
    let (head, middle) = (Gate::new(), Gate::new());
    let backend = Backend::with("/", Answer::page("one ").wait(&middle).body("two").held(&head)).await;
    let proxy = Proxy::start(&backend).await;

    // Before the head.
    let visitor = proxy.client().begin(&get("/")).await;
    head.arrivals(1).await;
    drop(visitor);
    head.open();
    middle.arrivals(1).await;
    middle.open();
    stored_hit(&proxy, "/", "one two").await;
    assert_eq!(backend.count("/"), 1);
}

/// A page of which the rest waits.
async fn in_two_parts(middle: &Gate) -> Backend {
    Backend::with("/", Answer::page("one ").wait(middle).body("two")).await
}

#[tokio::test]
async fn a_visitor_who_goes_away_in_the_middle_does_not_stop_the_fill() {
    let middle = Gate::new();
    let backend = in_two_parts(&middle).await;
    let proxy = Proxy::start(&backend).await;

    let mut visitor = proxy.client().open(get("/")).await;
    visitor.at_least(4).await;
    drop(visitor);
    middle.open();

    stored_hit(&proxy, "/", "one two").await;
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn followers_get_the_whole_page_when_the_leader_goes_away() {
    let middle = Gate::new();
    let backend = in_two_parts(&middle).await;
    let proxy = Proxy::start(&backend).await;
    let mut leader = proxy.client().open(get("/")).await;
    leader.at_least(4).await;
    let mut follower = proxy.client().open(get("/")).await;
    assert_eq!(follower.at_least(4).await, b"one ", "what is there already");

    drop(leader);
    middle.open();

    follower.finish().await.assert(200, "one two").assert_collapsed();
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_fill_that_nobody_reads_ends_at_its_time() {
    let middle = Gate::new();
    let backend = in_two_parts(&middle).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.fill_timeout = Duration::from_millis(100);
    })
    .await;

    let mut visitor = proxy.client().open(get("/")).await;
    visitor.at_least(4).await;
    drop(visitor);
    // Nothing else tells: every look would be a reader.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let next = proxy.client().open(get("/")).await;
    assert_eq!(
        backend.count("/"),
        2,
        "the fill without readers should have ended"
    );
    middle.open();
    next.finish().await.assert(200, "one two");
}

#[tokio::test]
async fn a_backend_that_breaks_off_is_passed_on_as_broken_and_not_stored() {
    let backend = Backend::start().await;
    backend.on(
        "/length",
        Answer::page("half").claiming_length(100).step(Step::Close),
    );
    backend.on("/chunked", Answer::page("half").chunked().step(Step::Close));
    backend.on("/reset", Answer::page("half").chunked().step(Step::Reset));
    backend.on(
        "/mischunked",
        Answer::raw([
            Step::Send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            ),
            Step::Send("4\r\nhalf\r\nzzz\r\n".into()),
            Step::Close,
        ]),
    );
    let proxy = Proxy::start(&backend).await;

    for path in ["/length", "/chunked", "/reset", "/mischunked"] {
        for round in 1..=2 {
            let response = proxy.get(path).await;
            assert_eq!(
                (response.status, response.text().as_str(), response.end),
                (200, "half", End::Cut),
                "{path}"
            );
            assert_eq!(backend.count(path), round, "{path} should be fetched again");
        }
    }
    assert_eq!(proxy.pages(), Vec::<String>::new());
    // The same pages, mended, are stored.
    for path in ["/length", "/chunked", "/reset", "/mischunked"] {
        backend.on(path, Answer::page("whole"));
        proxy.warm(path).await;
    }
}

#[tokio::test]
async fn followers_of_a_fetch_that_breaks_off_are_cut_too() {
    let middle = Gate::new();
    let backend = Backend::with(
        "/",
        Answer::page("half")
            .claiming_length(100)
            .wait(&middle)
            .step(Step::Close),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    let mut leader = proxy.client().open(get("/")).await;
    leader.at_least(4).await;
    let mut follower = proxy.client().open(get("/")).await;
    follower.at_least(4).await;
    middle.open();

    for visitor in [leader, follower] {
        let response = visitor.finish().await;
        assert_eq!((response.text().as_str(), response.end), ("half", End::Cut));
    }
    assert_eq!(backend.count("/"), 1);
}

#[tokio::test]
async fn a_body_longer_than_it_says_is_not_stored() {
    let backend = Backend::with(
        "/",
        Answer::page("much longer than that")
            .claiming_length(4)
            .step(Step::Close),
    )
    .await;
    let proxy = Proxy::start(&backend).await;

    let response = proxy.get("/").await;

    // By its framing the page is complete with four bytes; the rest belongs to nobody.
    assert_eq!((response.status, response.text().as_str()), (200, "much"));
    let again = proxy.get("/").await;
    assert!(again.text() == "much", "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_turn_out_private_are_fetched_side_by_side() {
    let gate = Gate::new();
    let answer = Answer::page("for you only")
        .with("Cache-Control", "private")
        .wait(&gate)
        .body("!");
    let backend = Backend::with("/", answer).await;
    let proxy = Proxy::start(&backend).await;

    let mut visitors = Vec::new();
    for _ in 0..20 {
        visitors.push(proxy.client().begin(&get("/")).await);
    }
    // The fill for nobody is first; when its head says that it is nobody else's, all twenty are at the
    // backend while not one of them has been finished.
    gate.arrivals(20).await;
    gate.open();

    for visitor in visitors {
        let response = visitor.head().await.finish().await;
        response.assert(200, "for you only!");
        assert!(
            !response.cache().stored && !response.cache().collapsed,
            "{response:?}"
        );
    }
    assert_eq!(backend.count("/"), 21);
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn followers_of_a_page_that_turns_out_private_get_their_own() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    let held = gate.clone();
    let count = std::sync::atomic::AtomicUsize::new(0);
    backend.on_fn("/", move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let answer = Answer::page(format!("visitor {number}")).with("Cache-Control", "private");
        // Only the first is held, before its head.
        if number == 0 { answer.held(&held) } else { answer }
    });
    let proxy = Proxy::start(&backend).await;
    let first = proxy.client().begin(&get("/")).await;
    gate.arrivals(1).await;
    let second = proxy.client().begin(&get("/")).await;
    gate.open();

    let first = first.head().await.finish().await;
    let second = second.head().await.finish().await;

    assert_ne!(first.text(), second.text(), "a private page was shared");
    first.assert_not_stored(Reason::Private);
    assert_eq!(backend.count("/"), 3, "one for nobody, one for each");
}

#[tokio::test]
async fn a_slow_page_does_not_hold_up_another() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    backend.on("/slow", Answer::page("slow").held(&gate));
    backend.on("/quick", Answer::page("quick"));
    let proxy = Proxy::start(&backend).await;
    let slow = proxy.client().begin(&get("/slow")).await;
    gate.arrivals(1).await;

    proxy.warm("/quick").await.assert(200, "quick");

    gate.open();
    slow.head()
        .await
        .finish()
        .await
        .assert(200, "slow")
        .assert_stored();
}

#[tokio::test]
async fn a_visitor_who_does_not_read_holds_up_nobody() {
    let body = "x".repeat(8 << 20);
    let backend = Backend::with("/", Answer::page(body.clone())).await;
    let proxy = Proxy::start(&backend).await;
    // Reads the head and then nothing.
    let idle = proxy.client().open(get("/")).await;

    let other = proxy.get("/").await;

    assert_eq!(other.body.len(), body.len());
    assert_eq!(backend.count("/"), 1);
    stored_hit(&proxy, "/", &body).await;
    let late = idle.finish().await;
    assert!(late.body == body.as_bytes());
}

#[tokio::test]
async fn a_body_over_the_limit_is_passed_on_whole_and_not_stored() {
    let backend = Backend::start().await;
    let large = "x".repeat(300_000);
    backend.on("/said", Answer::page(large.clone()));
    backend.on("/unsaid", Answer::page(large.clone()).chunked());
    backend.on("/small", Answer::page("x".repeat(100_000)).chunked());
    let proxy = Proxy::with(&backend, |settings| settings.max_body = 100_000).await;

    proxy.warm("/small").await;
    for path in ["/said", "/unsaid"] {
        for _ in 0..2 {
            let response = proxy.get(path).await;
            assert_eq!(
                (response.body.len(), response.end),
                (300_000, End::Complete),
                "{path}"
            );
            assert!(!response.cache().hit, "{path}");
        }
        assert_eq!(backend.count(path), 2, "{path}");
    }
    assert_eq!(proxy.pages().len(), 2, "only the small page: {:?}", proxy.pages());
}

#[tokio::test]
async fn fills_beyond_the_limit_pass() {
    let gate = Gate::new();
    let backend = Backend::start().await;
    backend.on("/slow", Answer::page("slow").held(&gate));
    backend.on("/other", Answer::page("other"));
    let proxy = Proxy::with(&backend, |settings| settings.max_fills = 1).await;
    let slow = proxy.client().begin(&get("/slow")).await;
    gate.arrivals(1).await;

    proxy
        .get("/other")
        .await
        .assert(200, "other")
        .assert_not_stored(Reason::Busy);

    gate.open();
    slow.head()
        .await
        .finish()
        .await
        .assert(200, "slow")
        .assert_stored();
    proxy.warm("/other").await;
}

/// The page is a hit soon: a fill that nobody waits for ends in its own time.
async fn stored_hit(proxy: &Proxy, path: &str, body: &str) {
    let hit = eventually("the page to be stored", async || {
        let response = proxy.get(path).await;
        response.cache().hit.then_some(response)
    })
    .await;
    assert!(
        hit.body == body.as_bytes(),
        "the stored page is not the whole one"
    );
}
