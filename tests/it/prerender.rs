//! Pages that are rendered before anybody asks for them.

mod crawl;
mod demo;
mod orders;
mod pace;
mod renderer;
mod sitemaps;
mod tombstones;

use phantom_frame::prerender::{Became, PageReport, PrerenderOptions, Scope, Summary, prerender};
use phantom_frame::{Error, ErrorKind, Reason, RefreshMode};

use crate::rig::{Answer, Backend, Gate, Proxy, Response, Setup, get};

const HOST: &str = "example.com";

/// A proxy for a site with an address of its own.
async fn start(backend: &Backend) -> Proxy {
    with_address(Setup::over(backend)).start().await
}

fn with_address(setup: Setup) -> Setup {
    setup.with(|settings| settings.public_url = Some(format!("https://{HOST}")))
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    summary: Summary,
    pages: Vec<PageReport>,
}

impl Run {
    async fn try_of(proxy: &Proxy, change: impl FnOnce(&mut PrerenderOptions)) -> Result<Self, Error> {
        let mut options = PrerenderOptions::default();
        // What is found is asked for in the order in which it is found.
        options.concurrency = 1;
        change(&mut options);
        let mut pages = Vec::new();
        let summary = prerender(&proxy.engine(), &options, |event| {
            if let phantom_frame::prerender::Event::Page(page, ..) = event {
                pages.push(page.clone());
            }
        })
        .await?;
        assert_eq!(summary.pages(), pages.len() as u64, "{summary:?}");
        let failed = pages.iter().filter(|page| page.is_failure()).count();
        assert_eq!(summary.failed(), failed as u64, "{summary:?} {pages:?}");
        Ok(Self { summary, pages })
    }

    async fn of(proxy: &Proxy, change: impl FnOnce(&mut PrerenderOptions)) -> Self {
        Self::try_of(proxy, change).await.expect("a run")
    }

    /// Of these pages.
    async fn pages(proxy: &Proxy, pages: &[&str], scope: Scope) -> Self {
        Self::of(proxy, |options| {
            options.pages = pages.iter().map(|page| (*page).to_owned()).collect();
            options.scope = scope;
        })
        .await
    }

    #[track_caller]
    fn page(&self, url: &str) -> &PageReport {
        match self.pages.iter().find(|page| page.url == url) {
            Some(page) => page,
            None => panic!("{url} is not among {:?}", self.urls()),
        }
    }

    #[track_caller]
    fn assert(&self, url: &str, became: Became) -> &Self {
        let page = self.page(url);
        assert_eq!(page.became, became, "{page:?}");
        self
    }

    fn urls(&self) -> Vec<&str> {
        self.pages.iter().map(|page| page.url.as_str()).collect()
    }
}

async fn visit(proxy: &Proxy, target: &str) -> Response {
    proxy.send(get(target).host(HOST)).await
}

fn page(text: &str) -> Answer {
    Answer::page(text.to_owned()).with("Cache-Control", "max-age=60")
}

#[tokio::test]
async fn a_page_is_stored_as_a_visitor_s_miss_would_store_it_and_for_nobody() {
    let backend = Backend::with("/a", page("a")).await;
    let (ahead, visited) = (start(&backend).await, start(&backend).await);

    let run = Run::pages(&ahead, &["/a", "https://example.com/a", "GET:/a"], Scope::Stale).await;
    visit(&visited, "/a").await.assert_stored();

    assert_eq!((run.summary.new, run.pages.len()), (1, 1));
    run.assert("/a", Became::New);
    assert_eq!(ahead.contents(), visited.contents());
    let asked = backend.requests_for("/a");
    assert_eq!(asked.len(), 2);
    let sent = |at: usize| {
        let fields = asked[at].fields.0.iter();
        // It names the directory.
        fields
            .filter(|(name, _)| !name.eq_ignore_ascii_case("via"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(0), sent(1));
    visit(&ahead, "/a").await.assert_hit().assert(200, "a");
    assert_eq!(backend.count("/a"), 2);
}

#[tokio::test]
async fn the_scope_says_what_is_asked_for_again() {
    let backend = Backend::with("/fresh", page("1")).await;
    backend.on("/stale", page("1"));
    backend.on("/new", page("1"));
    let proxy = start(&backend).await;
    visit(&proxy, "/stale").await.assert_stored();
    proxy.clock().advance(61);
    visit(&proxy, "/fresh").await.assert_stored();
    let pages = ["/fresh", "/stale", "/new"];

    let missing = Run::pages(&proxy, &pages, Scope::Missing).await;
    missing
        .assert("/fresh", Became::Kept)
        .assert("/stale", Became::Kept)
        .assert("/new", Became::New);
    assert_eq!((backend.count("/fresh"), backend.count("/stale")), (1, 1));

    let stale = Run::pages(&proxy, &pages, Scope::Stale).await;
    stale
        .assert("/fresh", Became::Kept)
        .assert("/stale", Became::Same)
        .assert("/new", Became::Kept);
    assert_eq!(backend.total(), 4);

    backend.on("/new", page("2"));
    let before = proxy.contents();
    let all = Run::pages(&proxy, &pages, Scope::All).await;
    all.assert("/fresh", Became::Same)
        .assert("/stale", Became::Same)
        .assert("/new", Became::Changed);
    assert_eq!(backend.total(), 7);
    visit(&proxy, "/new").await.assert_hit().assert(200, "2");
    // Git sees the page that is another one.
    let after = proxy.contents();
    let differs = |name: &&String| after.get(*name) != before.get(*name);
    assert!(before.keys().filter(differs).all(|name| name.starts_with("new.")));
}

#[tokio::test]
async fn what_is_invalidated_and_kept_is_validated() {
    let backend = Backend::start().await;
    backend.on_fn("/a", |request| match request.field("if-none-match") {
        Some(_) => Answer::new(304).with("ETag", "\"1\""),
        None => page("a").with("ETag", "\"1\""),
    });
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    let marked = proxy
        .trigger()
        .refresh_matching(&["/a"], RefreshMode::Stale)
        .await;
    assert_eq!(marked.expect("a pattern").removed, 1);

    let run = Run::pages(&proxy, &["/a"], Scope::Stale).await;

    run.assert("/a", Became::Same);
    assert_eq!(run.page("/a").status, Some(304));
    assert_eq!(backend.last("/a").field("if-none-match"), Some("\"1\""));
    visit(&proxy, "/a").await.assert_hit();
}

#[tokio::test]
async fn a_visitor_gets_the_old_page_until_the_new_one_is_there() {
    let backend = Backend::with("/a", page("old")).await;
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    let gate = Gate::new();
    backend.on("/a", page("new").held(&gate));

    let meanwhile = async {
        gate.arrivals(1).await;
        visit(&proxy, "/a").await.assert_hit().assert(200, "old");
        gate.open();
    };
    let (run, ()) = tokio::join!(Run::pages(&proxy, &["/a"], Scope::All), meanwhile);

    run.assert("/a", Became::Changed);
    visit(&proxy, "/a").await.assert_hit().assert(200, "new");
    assert_eq!(backend.count("/a"), 2);
}

#[tokio::test]
async fn what_may_not_be_stored_is_named_with_the_reason_and_asked_for_once() {
    let backend = Backend::with("/private", page("x").with("Cache-Control", "private")).await;
    backend.on("/cookie", page("x").with("Set-Cookie", "session=1"));
    backend.on(
        "/token",
        page("<form><input type=hidden name=csrf_token value=1></form>"),
    );
    backend.on("/excluded", page("x"));
    backend.on(
        "/redirect",
        Answer::new(302).with("Location", "https://other.example/"),
    );
    let proxy = with_address(Setup::over(&backend))
        .with(|settings| settings.exclude_paths = vec!["/excluded".into()])
        .start()
        .await;
    for (path, reason, asked) in [
        ("/private", Reason::Private, 1),
        ("/cookie", Reason::SetCookie, 1),
        ("/token", Reason::CsrfField, 1),
        ("/redirect", Reason::Status, 1),
        ("/excluded", Reason::Excluded, 0),
        ("/a?token=1", Reason::SecretQuery, 0),
    ] {
        let run = Run::pages(&proxy, &[path], Scope::Stale).await;
        run.assert(path, Became::NotStored(reason));
        assert_eq!(run.page(path).reason(), Some(reason));
        assert_eq!(run.summary.not_stored.get(reason.as_str()), Some(&1), "{path}");
        let path = path.split('?').next().unwrap_or("");
        assert_eq!(backend.count(path), asked, "{path}");
        assert!(proxy.pages().is_empty(), "{path}: {:?}", proxy.pages());
    }
}

#[tokio::test]
async fn earlier_attempts_and_min_uses_do_not_hold_a_page_back() {
    let backend = Backend::with("/a", page("x").with("Cache-Control", "no-store")).await;
    let proxy = with_address(Setup::over(&backend))
        .with(|settings| settings.min_uses = 2)
        .start()
        .await;
    for _ in 0..3 {
        visit(&proxy, "/a").await;
        visit(&proxy, "/gone").await.assert(404, "no route for /gone");
    }
    backend.on("/a", page("a"));
    backend.on("/gone", page("back"));

    let run = Run::pages(&proxy, &["/a", "/gone"], Scope::Missing).await;

    run.assert("/a", Became::New).assert("/gone", Became::New);
    visit(&proxy, "/a").await.assert_hit();
    visit(&proxy, "/gone").await.assert_hit().assert(200, "back");
}

#[tokio::test]
async fn a_page_that_the_backend_fails_at_stays_and_fails_the_run() {
    let backend = Backend::with("/a", page("a")).await;
    backend.on("/new", Answer::new(500));
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    let before = proxy.contents();
    for answer in [
        Answer::new(500),
        Answer::new(502).with("Cache-Control", "no-store"),
        Answer::page("cut")
            .claiming_length(100)
            .step(crate::rig::backend::Step::Close),
    ] {
        backend.on("/a", answer);
        let run = Run::pages(&proxy, &["/a", "/new"], Scope::All).await;
        let became = run.page("/a").became;
        assert!(
            matches!(became, Became::Failed(Reason::ServerError | Reason::Incomplete)),
            "{became:?}"
        );
        run.assert("/new", Became::Failed(Reason::ServerError));
        assert_eq!((run.summary.broken, run.page("/new").status), (2, Some(500)));
        assert_eq!(proxy.contents(), before);
    }
}

#[tokio::test]
async fn a_backend_that_is_away_fails_every_page() {
    let mut backend = Backend::with("/a", page("a")).await;
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    backend.stop().await;

    let run = Run::pages(&proxy, &["/a", "/b"], Scope::All).await;

    run.assert("/a", Became::Failed(Reason::Unreachable));
    assert_eq!((run.summary.failed(), run.page("/b").status), (2, None));
    // What is stored answers visitors, and is no answer of the backend's.
    assert_eq!(run.page("/a").status, None);
}

#[tokio::test]
async fn a_page_that_is_gone_is_taken_out_and_fails_the_run() {
    let backend = Backend::with("/a", page("a")).await;
    let proxy = start(&backend).await;
    visit(&proxy, "/a").await.assert_stored();
    backend.on("/a", Answer::new(410));

    let run = Run::pages(&proxy, &["/a"], Scope::All).await;

    run.assert("/a", Became::Missing);
    assert!(run.page("/a").is_failure());
    assert!(proxy.pages().is_empty());
}

#[tokio::test]
async fn a_pattern_is_what_is_stored_and_matches() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = start(&backend).await;
    for path in ["/blog/a", "/blog/b?page=2", "/about"] {
        visit(&proxy, path).await.assert_stored();
    }

    let run = Run::pages(&proxy, &["/blog/*"], Scope::All).await;

    assert_eq!(run.urls(), ["/blog/a", "/blog/b?page=2"]);
    assert_eq!((run.summary.same, backend.total()), (2, 5));
}

#[tokio::test]
async fn without_a_public_url_a_page_is_kept_for_the_host_of_its_url() {
    let backend = Backend::with("/a", page("a")).await;
    let proxy = Proxy::start(&backend).await;

    let error = Run::try_of(&proxy, |options| options.pages = vec!["/a".into()]).await;
    let error = error.expect_err("a path is of no host");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().is_some_and(|hint| hint.contains("public_url")));

    let run = Run::pages(&proxy, &["http://one.example/a"], Scope::Stale).await;
    run.assert("http://one.example/a", Became::New);
    assert_eq!(backend.last("/a").field("host"), Some("one.example"));
    proxy.send(get("/a").host("one.example")).await.assert_hit();
    proxy.send(get("/a").host("two.example")).await.assert_stored();
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_asked_for() {
    let backend = Backend::with("/a", page("a")).await;
    let proxy = Proxy::with(&backend, |settings| settings.max_hosts = 1).await;
    let pages = ["http://one.example/a", "http://two.example/a"];

    let run = Run::pages(&proxy, &pages, Scope::Stale).await;

    run.assert(pages[0], Became::New)
        .assert(pages[1], Became::NotStored(Reason::Hosts));
    assert_eq!(backend.count("/a"), 1);
}

#[tokio::test]
async fn a_directory_that_another_process_writes_is_refused_with_a_hint() {
    let backend = Backend::with("/a", page("a")).await;
    let mut writer = start(&backend).await;
    // As another process sees it: a store is shared within one.
    writer.stop().await;
    let _lock = writer.take_lock().await;
    writer.start_again().await;

    let error = Run::try_of(&writer, |options| options.pages = vec!["/a".into()]).await;

    let error = error.expect_err("somebody else writes");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("server")),
        "{error:?}"
    );
    assert_eq!(backend.count("/a"), 0);
}
