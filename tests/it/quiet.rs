//! A page that renders the same bytes again causes no change that git sees.

use std::path::PathBuf;
use std::process::Command;

use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually, get};

/// A site whose every answer differs in what is not the page.
async fn site() -> Backend {
    let backend = Backend::start().await;
    let count = std::sync::atomic::AtomicUsize::new(0);
    backend.fallback(move |request| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Answer::page(format!("<h1>{}</h1>", request.target))
            .with(
                "Date",
                &httpdate::fmt_http_date(
                    std::time::SystemTime::now() + std::time::Duration::from_secs(n as u64),
                ),
            )
            .with("X-Request-Id", &format!("id-{n}"))
            .with("X-Runtime", &format!("0.{n}"))
            .with("Server-Timing", &format!("render;dur={n}"))
            .with("Link", "</style.css>; rel=preload")
            .with("Vary", "Accept-Language")
    });
    backend.on(
        "/lifetime",
        Answer::page("fresh for a minute").with("Cache-Control", "max-age=60"),
    );
    backend
}

const PATHS: [&str; 5] = ["/", "/blog/hello", "/blog/hello?page=2", "/lifetime", "/%C3%BC"];

async fn render(proxy: &Proxy) {
    for path in PATHS {
        assert!(
            proxy.get(path).await.cache().fwd.is_some(),
            "{path} should be rendered"
        );
        let german = get(path).with("Accept-Language", "de");
        proxy.send(german).await;
    }
}

#[tokio::test]
async fn the_same_pages_rendered_again_are_the_same_files() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    render(&proxy).await;
    let first = proxy.contents();
    assert!(first.len() >= 2 * PATHS.len(), "{:?}", first.keys());

    proxy.trigger().refresh().await.expect("the invalidation");
    assert_eq!(proxy.pages(), Vec::<String>::new());
    proxy.clock().advance(3600);
    render(&proxy).await;

    assert_same(&first, &proxy.contents());
}

#[tokio::test]
async fn another_visitor_on_another_machine_renders_the_same_files() {
    let (here, there) = (site().await, site().await);
    let one = Proxy::start(&here).await;
    let other = Proxy::start(&there).await;
    other.clock().advance(86_400);
    for path in PATHS {
        one.get(path).await;
        other
            .send(
                get(path)
                    .with("Cookie", "_ga=1")
                    .with("User-Agent", "somebody else")
                    .with("X-Odd", "1"),
            )
            .await;
    }
    assert_same(&one.contents(), &other.contents());
}

#[tokio::test]
async fn a_validation_that_changes_nothing_changes_no_file() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| match request.field("if-none-match") {
        Some(_) => Answer::new(304).with("ETag", "\"1\"").with("X-Request-Id", "b"),
        None => Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=60")
            .with("X-Request-Id", "a"),
    });
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let first = proxy.contents();
    proxy.clock().advance(61);

    proxy.get("/").await.assert_revalidated();

    assert_same(&first, &proxy.contents());
}

#[tokio::test]
async fn an_expired_page_that_is_the_same_again_keeps_its_files_and_validators() {
    let backend = Backend::with(
        "/",
        Answer::page("page")
            .with("ETag", "\"1\"")
            .with("Cache-Control", "max-age=60"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let first = proxy.contents();
    proxy.clock().advance(61);
    backend.on(
        "/",
        Answer::page("page")
            .with("ETag", "\"2\"")
            .with("Cache-Control", "max-age=60"),
    );

    proxy.get("/").await.assert(200, "page");

    assert_same(&first, &proxy.contents());
    let hit = proxy.get("/").await;
    hit.assert_hit();
    assert_eq!((hit.field("etag"), hit.age()), (Some("\"1\""), Some(0)));
}

#[tokio::test]
async fn git_sees_no_change_when_the_site_is_rendered_again() {
    let backend = site().await;
    let mut proxy = Proxy::start(&backend).await;
    render(&proxy).await;
    let Some(git) = Git::init(proxy.dir()) else {
        return;
    };
    git.commit("first");
    let tracked = git.run(&["ls-files"]);
    assert!(
        tracked.contains("blog/hello."),
        "the pages are tracked:\n{tracked}"
    );
    assert!(
        !tracked.contains(".phantom"),
        "the process's own files are not:\n{tracked}"
    );

    // The process goes, and everything of its own with it.
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.stop().await;
    std::fs::remove_dir_all(proxy.dir().join(".phantom")).unwrap();
    proxy.clock().advance(3600);
    proxy.start_again().await;
    render(&proxy).await;

    assert_eq!(git.run(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn an_older_commit_that_is_checked_out_is_served() {
    let backend = Backend::with("/page", Answer::page("version one")).await;
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    proxy.warm("/page").await;
    let Some(git) = Git::init(proxy.dir()) else {
        return;
    };
    git.commit("one");
    backend.on("/page", Answer::page("the second version"));
    proxy.trigger().refresh().await.expect("the invalidation");
    proxy.warm("/page").await.assert(200, "the second version");
    git.commit("two");

    git.run(&["checkout", "--quiet", "HEAD~1", "--", "."]);
    eventually("the older page", async || {
        let response = proxy.get("/page").await;
        (response.text() == "version one" && response.cache().hit).then_some(())
    })
    .await;
    git.run(&["checkout", "--quiet", "HEAD", "--", "."]);
    eventually("the newer page", async || {
        let response = proxy.get("/page").await;
        (response.text() == "the second version" && response.cache().hit).then_some(())
    })
    .await;
    assert_eq!(git.run(&["status", "--porcelain"]), "");
}

/// A repository in a snapshot directory. Nothing where git is not installed: the files themselves are
/// compared by the other tests.
struct Git {
    dir: PathBuf,
}

impl Git {
    fn init(dir: PathBuf) -> Option<Self> {
        Command::new("git").arg("--version").output().ok()?;
        let git = Self { dir };
        git.run(&["init", "--quiet"]);
        Some(git)
    }

    fn commit(&self, message: &str) {
        self.run(&["add", "--all"]);
        self.run(&["commit", "--quiet", "--message", message]);
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(&self.dir)
            .args([
                "-c",
                "user.name=test",
                "-c",
                "user.email=test@localhost",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            // Nobody's own settings.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .expect("git runs");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn assert_same(
    before: &std::collections::BTreeMap<String, Vec<u8>>,
    after: &std::collections::BTreeMap<String, Vec<u8>>,
) {
    let names =
        |files: &std::collections::BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(after), "the names of the files");
    for (path, bytes) in before {
        assert_eq!(
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&after[path]),
            "{path}"
        );
    }
}
