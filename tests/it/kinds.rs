//! Kinds of answers that are never stored by default, whatever their head says, and who is told of a page
//! that is not there.

use phantom_frame::Reason;

use crate::rig::{Answer, Backend, End, Gate, Proxy, get, post};

const FORM: &str = "<form method=post><input type=hidden name=csrfmiddlewaretoken value=";

/// A page with a form, whose token is the visitor's.
async fn with_form(name: &'static str) -> Backend {
    let backend = Backend::start().await;
    backend.on_fn("/", move |request| {
        let visitor = request.field("cookie").unwrap_or("nobody").to_owned();
        Answer::page(format!(
            "<form><input value=\"{visitor}\" name=\"{name}\"></form>"
        ))
    });
    backend.on("/plain", Answer::page("<form><input name=q></form>"));
    backend
}

#[tokio::test]
async fn a_page_with_a_csrf_field_is_each_visitor_s_own() {
    for name in [
        "csrfmiddlewaretoken",
        "authenticity_token",
        "__RequestVerificationToken",
        "user[_token]",
    ] {
        let backend = with_form(name).await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/plain").await;

        let visitor = |cookie: &str| get("/").with("Cookie", cookie);
        for cookie in ["_ga=1", "_ga=2"] {
            let page = proxy.send(visitor(cookie)).await;
            page.assert_not_stored(Reason::CsrfField);
            assert!(page.text().contains(cookie), "{page:?}");
        }
        // Once for nobody, and then as they are.
        assert_eq!(backend.count("/"), 3, "{name}");
        assert_eq!(proxy.pages().len(), 2, "{:?}", proxy.pages());
    }
}

#[tokio::test]
async fn a_page_that_only_shows_such_a_field_is_stored() {
    for body in [
        "<pre>&lt;input name=&quot;csrfmiddlewaretoken&quot; value=&quot;x&quot;&gt;</pre>",
        "<p>Write name=\"authenticity_token\".</p><!-- <input name=_csrf value=x> -->",
        "<a name=\"csrf_token\">Tokens</a><input name=_csrf value=\"\">",
        "<script>document.write('<input name=_csrf value=x>')</script>",
    ] {
        let backend = Backend::with("/", Answer::page(body)).await;
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/").await.assert(200, body);
    }
    // Only HTML has fields.
    let text = format!("{FORM}x>");
    let answer = Answer::new(200).with("Content-Type", "text/plain").body(text);
    let backend = Backend::with("/", answer).await;
    Proxy::start(&backend).await.warm("/").await;
}

#[tokio::test]
async fn a_field_that_comes_late_goes_to_those_who_read_and_nothing_is_kept() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let page = Answer::page("<h1>A form</h1>")
        .wait(&gate)
        .body("<form><input value=1 name=\"auth")
        .body("enticity_token\"></form>")
        .body("the end");
    backend.on("/", page);
    backend.on("/plain", Answer::page("x"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/plain").await;
    let expected = "<h1>A form</h1><form><input value=1 name=\"authenticity_token\"></form>the end";

    let mut leader = proxy.client().open(get("/")).await;
    let mut follower = proxy.client().open(get("/")).await;
    // Both have the head and a part in hand before the field comes.
    leader.at_least(5).await;
    follower.at_least(5).await;
    gate.open();
    for reader in [leader, follower] {
        let page = reader.finish().await;
        assert_eq!((page.text().as_str(), page.end), (expected, End::Complete));
    }

    assert_eq!(backend.count("/"), 1);
    assert_eq!(proxy.pages().len(), 2, "{:?}", proxy.pages());
    for round in 2..4 {
        proxy
            .get("/")
            .await
            .assert(200, expected)
            .assert_not_stored(Reason::CsrfField);
        assert_eq!(backend.count("/"), round);
    }
    assert!(proxy.statistics().reasons[&Reason::CsrfField] >= 3);
}

#[tokio::test]
async fn a_page_that_loses_its_field_is_stored_after_a_while_or_an_invalidation() {
    let backend = with_form("_csrf").await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert_not_stored(Reason::CsrfField);
    // Its head shows nothing, so after a while a fill has to look again; for nothing, ever more seldom.
    for patience in [120, 240, 480] {
        proxy.clock().advance(patience - 1);
        let count = backend.count("/");
        proxy.get("/").await.assert_not_stored(Reason::CsrfField);
        assert_eq!(backend.count("/"), count + 1);
        proxy.clock().advance(2);
        proxy.get("/").await.assert_not_stored(Reason::CsrfField);
        assert_eq!(backend.count("/"), count + 2, "the visitor's own");
        proxy.get("/").await.assert_not_stored(Reason::CsrfField);
        assert_eq!(backend.count("/"), count + 4, "nobody's, and the visitor's own");
    }

    backend.on("/", Answer::page("no form"));
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.warm("/").await.assert(200, "no form");
}

#[tokio::test]
async fn a_page_that_gains_a_field_is_taken_out() {
    let backend = Backend::with("/", Answer::page("x").with("Cache-Control", "max-age=60")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    backend.on("/", Answer::page(format!("{FORM}x>")));
    proxy.clock().advance(61);

    proxy.get("/").await.assert_not_stored(Reason::CsrfField);

    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn nonces_in_the_page_itself_count() {
    for body in [
        "<script nonce=\"r4nd0m\">f()</script>",
        "<meta http-equiv=content-security-policy content=\"script-src 'nonce-r4nd0m'\">",
    ] {
        let backend = Backend::with("/", Answer::page(body)).await;
        backend.on("/plain", Answer::page("<script>f()</script>"));
        let proxy = Proxy::start(&backend).await;
        proxy.warm("/plain").await;
        proxy
            .get("/")
            .await
            .assert(200, body)
            .assert_not_stored(Reason::Nonce);
        proxy.get("/").await.assert_not_stored(Reason::Nonce);
    }
}

#[tokio::test]
async fn a_missing_page_with_a_field_is_not_kept_either() {
    let missing = |body: String| Answer::new(404).with("Content-Type", "text/html").body(body);
    let backend = Backend::start().await;
    backend.on("/plain", missing("gone".into()));
    backend.on("/", missing(format!("{FORM}x>")));
    let proxy = Proxy::start(&backend).await;
    proxy.get("/plain").await;
    proxy.get("/plain").await.assert_hit();

    for _ in 0..2 {
        proxy.get("/").await.assert_not_stored(Reason::CsrfField);
    }
}

#[tokio::test]
async fn server_islands_are_not_stored_unless_somebody_says_so() {
    let backend = Backend::with_page("<p>island</p>").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    proxy
        .get("/_server-islands/Cart?p=1")
        .await
        .assert_not_stored(Reason::Json);
    backend.on(
        "/_server-islands/Ads",
        Answer::page("x").with("Cache-Control", "max-age=60"),
    );
    proxy.warm("/_server-islands/Ads").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["/_server-islands/*".into()];
    })
    .await;
    proxy.warm("/_server-islands/Cart?p=1").await;
}

#[tokio::test]
async fn data_files_of_frameworks_are_documents() {
    let json = Answer::new(200)
        .with("Content-Type", "application/json")
        .body("{}");
    let backend = Backend::start().await;
    backend.fallback(move |_| json.clone());
    let proxy = Proxy::start(&backend).await;
    for path in [
        "/_next/data/b1/index.json",
        "/blog/__data.json",
        "/blog/_payload.json",
    ] {
        proxy.warm(path).await;
    }
    proxy.get("/api/data.json").await.assert_not_stored(Reason::Json);
}

/// Answers missing pages as Nuxt and SvelteKit do: by Accept and destination, and says so only to some.
async fn without_pages() -> Backend {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let wants_html = request
            .field("accept")
            .is_none_or(|accept| accept.contains("text/html"));
        let destination = request.field("sec-fetch-dest").unwrap_or("document").to_owned();
        match wants_html && destination == "document" {
            true => Answer::new(404)
                .with("Content-Type", "text/html")
                .body("<h1>not found</h1>"),
            false => Answer::new(404)
                .with("Content-Type", "text/plain")
                .with("Vary", "Sec-Fetch-Dest")
                .body(format!("no {destination}")),
        }
    });
    backend
}

#[tokio::test]
async fn documents_and_other_requests_are_told_of_a_missing_page_apart() {
    let page = || {
        get("/x")
            .with("Accept", "text/html,*/*;q=0.8")
            .with("Sec-Fetch-Dest", "document")
    };
    let fetch = || get("/x").with("Accept", "*/*").with("Sec-Fetch-Dest", "empty");
    for order in [[true, false], [false, true]] {
        let backend = without_pages().await;
        let proxy = Proxy::start(&backend).await;
        for is_page in order {
            if is_page {
                proxy.send(page()).await.assert(404, "<h1>not found</h1>");
            } else {
                proxy.send(fetch()).await.assert(404, "no empty").assert_stored();
            }
        }
        assert_eq!(backend.count("/x"), 2, "one for each class");
        for _ in 0..2 {
            proxy
                .send(page())
                .await
                .assert(404, "<h1>not found</h1>")
                .assert_hit();
            proxy.send(fetch()).await.assert(404, "no empty").assert_hit();
        }
        // What the answer says that it varies by is obeyed among the others.
        let image = || {
            get("/x")
                .with("Accept", "image/avif,*/*")
                .with("Sec-Fetch-Dest", "image")
        };
        proxy.send(image()).await.assert(404, "no image").assert_stored();
        proxy.send(image()).await.assert(404, "no image").assert_hit();
        assert_eq!(backend.count("/x"), 3);

        let gone = proxy
            .trigger()
            .refresh_matching(&["/x"], Default::default())
            .await;
        assert_eq!(gone.expect("the invalidation").removed, 3);
        assert!(!proxy.send(page()).await.cache().hit);
        assert!(!proxy.send(fetch()).await.cache().hit);
    }
}

#[tokio::test]
async fn what_is_only_missing_for_documents_is_each_other_visitor_s_own() {
    let backend = Backend::start().await;
    backend.fallback(|request| match request.field("accept") {
        Some(accept) if accept.contains("text/html") => {
            Answer::new(404).with("Content-Type", "text/html").body("no page")
        }
        _ => Answer::new(200)
            .with("Content-Type", "image/png")
            .body("an image"),
    });
    let proxy = Proxy::start(&backend).await;
    let fetch = || get("/x").with("Accept", "*/*").with("X-Own", "1");

    // A page's fill, one as scripts ask, and their own.
    proxy
        .send(fetch())
        .await
        .assert(200, "an image")
        .assert_not_stored(Reason::Accept);
    assert_eq!(backend.count("/x"), 3);
    assert_eq!(backend.last("/x").field("x-own"), Some("1"));
    for round in 4..6 {
        proxy
            .send(fetch())
            .await
            .assert(200, "an image")
            .assert_not_stored(Reason::Accept);
        assert_eq!(backend.count("/x"), round);
    }
    let page = proxy.send(get("/x").with("Accept", "text/html")).await;
    page.assert(404, "no page").assert_hit();
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn those_who_wait_for_a_missing_page_part_by_class() {
    let backend = without_pages().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.on_fn("/x", move |request| {
        let body = match request.field("accept") {
            Some("*/*") => "data",
            _ => "page",
        };
        Answer::new(404)
            .with("Content-Type", "text/html")
            .body(body)
            .held(&held)
    });
    let proxy = Proxy::start(&backend).await;
    let fetch = get("/x").with("Accept", "*/*");
    let leader = proxy.client().begin(&fetch).await;
    backend.until_count("/x", 1).await;
    let page = proxy.client().begin(&get("/x")).await;
    let other = proxy.client().begin(&fetch).await;

    gate.open();

    page.head().await.finish().await.assert(404, "page");
    for reader in [leader, other] {
        reader.head().await.finish().await.assert(404, "data");
    }
    proxy.get("/x").await.assert(404, "page").assert_hit();
    proxy.send(fetch).await.assert(404, "data").assert_hit();
}

#[tokio::test]
async fn a_flood_of_missing_pages_of_both_classes_leaves_the_stored_one() {
    let backend = without_pages().await;
    backend.on("/page", Answer::page("here"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/page").await;
    let mut connection = proxy.client().connect().await;
    for n in 0..300 {
        let target = format!("/missing/{n}");
        connection.send(&get(&target)).await;
        connection.send(&get(&target).with("Accept", "*/*")).await;
    }
    proxy.get("/page").await.assert(200, "here").assert_hit();
    assert_eq!(proxy.pages().len(), 2);
}

#[tokio::test]
async fn a_redirect_that_is_not_stored_is_not_asked_for_again() {
    let to = |status| Answer::new(status).with("Location", "/done").body("moved");
    for (answer, requests) in [
        (to(302), 1),
        (to(303), 1),
        (to(307), 1),
        (to(301).with("Cache-Control", "max-age=0"), 1),
        (to(308).with("Cache-Control", "no-cache"), 1),
        // Made for who asks.
        (to(302).with("Cache-Control", "private"), 2),
        (Answer::page("x").with("Cache-Control", "no-store"), 2),
    ] {
        let what = format!("{answer:?}");
        let backend = Backend::with("/confirm", answer).await;
        let proxy = Proxy::start(&backend).await;
        let response = proxy.get("/confirm").await;
        assert!(!response.cache().stored && !response.cache().hit, "{what}");
        assert_eq!(backend.count("/confirm"), requests, "{what}");
        // From then on they pass.
        proxy.get("/confirm").await;
        assert_eq!(backend.count("/confirm"), requests + 1, "{what}");
    }
}

#[tokio::test]
async fn what_a_visitor_posts_is_sent_once_whatever_is_answered() {
    let html = |status, body: &'static str| Answer::new(status).with("Content-Type", "text/html").body(body);
    for (status, answer) in [
        (200, html(200, "x").with("Vary", "X-Theme")),
        (200, html(200, "x").with("Cache-Control", "no-store")),
        (200, html(200, "x").with("Set-Cookie", "_ga=1")),
        (200, html(200, "x").with("Content-Encoding", "gzip")),
        (200, html(200, "<input name=_csrf value=x>")),
        (302, html(302, "x").with("Cache-Control", "private")),
        (404, html(404, "x")),
        (503, html(503, "x")),
        (304, Answer::new(304)),
    ] {
        let what = format!("{answer:?}");
        let backend = Backend::with("/search", Answer::page("found")).await;
        let proxy = Proxy::with(&backend, |settings| {
            settings.include_paths = vec!["POST /search".into()];
        })
        .await;
        let visitor = |body: &str| {
            post("/search", body)
                .with("Accept", "*/*")
                .with("Sec-Fetch-Dest", "empty")
                .with("Accept-Encoding", "identity")
                .with("Cookie", "_ga=2")
                .with("X-Theme", "dark")
        };
        proxy
            .send(visitor("a"))
            .await
            .assert(200, "found")
            .assert_stored();
        proxy.send(visitor("a")).await.assert(200, "found").assert_hit();
        assert_eq!(backend.count("/search"), 1);

        backend.on("/search", answer);
        let response = proxy.send(visitor("b")).await;

        assert_eq!(response.status, status, "{what}");
        assert_eq!(backend.count("/search"), 2, "{what}");
    }
}

#[tokio::test]
async fn what_is_posted_is_not_made_conditional() {
    let answer = Answer::page("found")
        .with("ETag", "\"1\"")
        .with("Cache-Control", "max-age=60");
    let backend = Backend::with("/search", answer).await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.include_paths = vec!["POST /search".into()];
    })
    .await;
    proxy.send(post("/search", "a")).await.assert_stored();
    proxy.send(post("/search", "a")).await.assert_hit();
    proxy.clock().advance(61);

    proxy
        .send(post("/search", "a"))
        .await
        .assert(200, "found")
        .assert_stored();

    assert!(!backend.last("/search").fields.has("if-none-match"));
    assert_eq!(backend.count("/search"), 2);
}
