//! The last good page stays: a backend that is half down says 200 and sends nothing, or half a page.

use phantom_frame::{Reason, RefreshMode, Settings};

use crate::rig::{Answer, Backend, Gate, Proxy, Response, get, post};

const WHOLE: &str = "<html><body>a whole page</body></html>\n<!-- rendered -->\n";
const HALF: &str = "<html><body>a who";

/// Fresh for a minute.
fn page(body: impl Into<String>) -> Answer {
    Answer::page(body.into()).with("Cache-Control", "max-age=60")
}

/// A site whose one page is stored and no longer fresh.
async fn stale(change: impl Fn(&mut Settings) + Send + Sync + 'static) -> (Backend, Proxy) {
    let backend = Backend::with("/", page(WHOLE)).await;
    let proxy = Proxy::with(&backend, change).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    (backend, proxy)
}

fn default(_: &mut Settings) {}

#[track_caller]
fn assert_rejected(response: &Response, body: &str) {
    response.assert(200, body).assert_not_stored(Reason::Rejected);
    assert_eq!(response.cache().ttl, None, "{response:?}");
}

/// Why, and how long what came was, of each rejection.
async fn listed(proxy: &Proxy) -> Vec<(String, String, u64, u64)> {
    let rejected = proxy.artefact(|artefact| artefact.rejected(Some("/*"))).await;
    let rows = rejected.expect("a pattern").into_iter();
    rows.map(|row| (row.page, row.why, row.bytes, row.stored_bytes))
        .collect()
}

#[tokio::test]
async fn nothing_and_half_a_page_do_not_replace_a_whole_one() {
    for (why, body) in [("empty", ""), ("cut", HALF)] {
        let (mut backend, proxy) = stale(default).await;
        let files = proxy.contents();
        backend.on("/", page(body));

        assert_rejected(&proxy.get("/").await, body);

        assert_eq!(proxy.contents(), files, "{why}");
        assert_eq!(proxy.counted(Reason::Rejected), 1);
        let page = ("http://site.test/".to_owned(), why.to_owned());
        let sizes = (body.len() as u64, WHOLE.len() as u64);
        assert_eq!(listed(&proxy).await, [(page.0, page.1, sizes.0, sizes.1)]);
        // It is what answers when nothing better does.
        backend.stop().await;
        proxy.get("/").await.assert(200, WHOLE).assert_stale();
    }
}

#[tokio::test]
async fn a_whole_page_replaces_it_again() {
    let (backend, proxy) = stale(default).await;
    backend.on("/", page(HALF));
    assert_rejected(&proxy.get("/").await, HALF);

    let new = WHOLE.replace("whole", "new");
    backend.on("/", page(new.clone()));

    proxy.get("/").await.assert(200, &new).assert_stored();
    proxy.get("/").await.assert(200, &new).assert_hit();
}

#[tokio::test]
async fn the_same_bytes_twice_in_a_row_are_taken_for_the_truth() {
    let (backend, proxy) = stale(default).await;
    for other in ["<html>1", "<html>2", "<html>1"] {
        backend.on("/", page(other));
        assert_rejected(&proxy.get("/").await, other);
    }

    proxy.get("/").await.assert(200, "<html>1").assert_stored();
    proxy.get("/").await.assert(200, "<html>1").assert_hit();
    assert_eq!(listed(&proxy).await.len(), 3, "what was rejected is still known");
}

#[tokio::test]
async fn a_validation_in_between_makes_it_no_second_time_in_a_row() {
    let backend = Backend::with("/", page(WHOLE).with("ETag", "\"1\"")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", page(""));
    assert_rejected(&proxy.get("/").await, "");
    backend.on(
        "/",
        Answer::new(304)
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=60"),
    );
    proxy.get("/").await.assert(200, WHOLE);
    proxy.clock().advance(61);

    backend.on("/", page(""));

    assert_rejected(&proxy.get("/").await, "");
}

#[tokio::test]
async fn the_second_time_counts_in_another_process_too() {
    let (backend, mut proxy) = stale(default).await;
    backend.on("/", page(HALF));
    assert_rejected(&proxy.get("/").await, HALF);
    proxy.restart().await;
    proxy.get("/").await.assert(200, HALF).assert_stored();

    // Not where a page was stored since.
    backend.on("/", page(WHOLE));
    proxy.clock().advance(61);
    proxy.get("/").await.assert(200, WHOLE).assert_stored();
    proxy.clock().advance(61);
    backend.on("/", page(HALF));
    proxy.restart().await;
    assert_rejected(&proxy.get("/").await, HALF);
}

#[tokio::test]
async fn a_visitor_s_unsafe_request_does_not_give_the_page_away() {
    let backend = Backend::with("/", page(WHOLE)).await;
    let proxy = Proxy::start(&backend).await;
    proxy.until_ready().await;
    proxy.warm("/").await;
    assert_eq!(proxy.send(post("/", "x")).await.status, 200);
    backend.on("/", page(""));

    assert_rejected(&proxy.get("/").await, "");
}

#[tokio::test]
async fn what_was_invalidated_is_replaced_by_whatever_comes() {
    for mode in [RefreshMode::Stale, RefreshMode::Delete] {
        let backend = Backend::with("/", page(WHOLE)).await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        backend.on("/", page(""));

        let refreshed = proxy.trigger().refresh_matching(&["/"], mode).await;
        assert_eq!(refreshed.expect("the invalidation").removed, 1);

        proxy.get("/").await.assert(200, "").assert_stored();
        proxy.get("/").await.assert(200, "").assert_hit();
        assert_eq!(proxy.counted(Reason::Rejected), 0);
    }
}

#[tokio::test]
async fn a_missing_page_and_a_redirect_take_its_place_and_an_error_does_not() {
    let (backend, proxy) = stale(default).await;
    backend.on("/", Answer::new(500).body("broken"));
    proxy.get("/").await.assert(200, WHOLE).assert_stale();
    proxy.clock().advance(5);
    backend.on("/", Answer::new(301).with("Location", "/new"));
    proxy.get("/").await.assert(301, "").assert_stored();

    let (backend, proxy) = stale(default).await;
    backend.on("/", Answer::new(410));
    proxy.get("/").await.assert(410, "");
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn what_never_ended_as_a_page_and_what_is_no_html_is_replaced() {
    for (old, new) in [
        (page("<p>a fragment"), page("<p>another")),
        (page("<p>a fragment</p>"), page("<")),
        (
            page(WHOLE),
            Answer::new(200)
                .with("Content-Type", "application/json")
                .with("Cache-Control", "max-age=60")
                .body("{}"),
        ),
        (page(WHOLE), page("</HTML >")),
    ] {
        let backend = Backend::with("/", old).await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.clock().advance(61);
        backend.on("/", new);
        proxy.get("/").await.assert_stored();
        assert_eq!(proxy.counted(Reason::Rejected), 0);
    }
}

#[tokio::test]
async fn how_short_a_page_may_become_is_a_setting() {
    let short = "<html>short</html>";
    let (backend, proxy) = stale(default).await;
    backend.on("/", page(short));
    proxy.get("/").await.assert(200, short).assert_stored();

    let (backend, proxy) = stale(|settings| settings.keep_last_good_percent = 50).await;
    backend.on("/", page(short));
    assert_rejected(&proxy.get("/").await, short);
    assert_eq!(listed(&proxy).await[0].1, "small");
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let (backend, proxy) = stale(|settings| settings.keep_last_good = false).await;
    backend.on("/", page(""));
    proxy.get("/").await.assert(200, "").assert_stored();
    proxy.get("/").await.assert(200, "").assert_hit();
}

#[tokio::test]
async fn who_waits_for_the_same_fetch_gets_the_same_and_is_told_so() {
    let (backend, proxy) = stale(default).await;
    let gate = Gate::new();
    backend.on("/", page(HALF).held(&gate));
    let first = proxy.client().begin(&get("/")).await;
    gate.arrivals(1).await;
    let others = [
        proxy.client().begin(&get("/")).await,
        proxy.client().begin(&get("/")).await,
    ];
    gate.open();

    let first = first.head().await.finish().await;
    assert_rejected(&first, HALF);
    for other in others {
        let other = other.head().await.finish().await;
        other.assert(200, HALF);
        assert!(!other.cache().stored && !other.cache().hit, "{other:?}");
    }
}

#[tokio::test]
async fn nobody_waits_long_for_the_head_of_what_may_be_refused() {
    let (backend, proxy) = stale(default).await;
    let middle = Gate::new();
    backend.on("/", page("<html>").wait(&middle).body("half"));

    let mut visitor = proxy.client().open(get("/")).await;
    visitor.at_least(6).await;
    middle.open();

    let late = visitor.finish().await;
    late.assert(200, "<html>half");
    assert!(late.cache().stored, "it was said before it was known: {late:?}");
    assert_eq!(proxy.counted(Reason::Rejected), 1);
    backend.on("/", page(WHOLE));
    proxy.get("/").await.assert(200, WHOLE);
    assert_eq!(listed(&proxy).await.len(), 1);
}

#[tokio::test]
async fn of_a_long_page_the_end_is_looked_at_too() {
    let long = |end: &str| format!("<html>{}{end}", "x".repeat(300_000));
    let backend = Backend::with("/", page(long("</html>"))).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", page(long("")));
    assert_eq!(proxy.get("/").await.text(), long(""));
    assert_eq!(proxy.counted(Reason::Rejected), 1);

    backend.on("/", page(long("y</html>")));
    assert_eq!(proxy.get("/").await.text(), long("y</html>"));
    proxy.get("/").await.assert_hit();
}

#[tokio::test]
async fn what_git_has_checked_out_is_kept_too() {
    let (backend, mut proxy) = stale(default).await;
    proxy.stop().await;
    // As a checkout leaves it: the file's time is another program's.
    let (path, text) = proxy.sidecar("site.test/index.");
    std::fs::write(path, text).expect("the sidecar");
    proxy.start_again().await;
    proxy.until_ready().await;
    backend.on("/", page(""));

    assert_rejected(&proxy.get("/").await, "");
    assert_eq!(proxy.stored(), 1);
}
