//! Lists and single pages: what is said is what the server does.

use std::fs;
use std::time::Duration;

use phantom_frame::artefact::{BodyState, State};
use phantom_frame::{PathRule, Ttl};

use super::{below, names, rows, site};
use crate::rig::{Answer, Backend, Proxy, Setup, TestClock, eventually, get};

async fn states(proxy: &Proxy) -> Vec<(String, State, Option<i64>)> {
    let rows = rows(proxy, None).await;
    let state = |row: &phantom_frame::artefact::Row| {
        (
            row.line.replace("GET:", ""),
            row.freshness.state,
            row.freshness.left,
        )
    };
    rows.iter().map(state).collect()
}

#[tokio::test]
async fn a_list_says_of_each_page_what_the_server_then_does() {
    let backend = Backend::start().await;
    let page = |control: &str| Answer::page("page").with("Cache-Control", control);
    backend.on("/forever", Answer::page("page"));
    backend.on("/minute", page("max-age=60"));
    backend.on("/swr", page("max-age=60, stale-while-revalidate=600"));
    backend.on("/ruled", page("max-age=60"));
    let setup = Setup::over(&backend).configured(|config| {
        let rule = PathRule::new(["/ruled"])
            .with(|settings| settings.ttl = Some(Ttl::For(Duration::from_secs(3600))));
        config.with_rule(rule)
    });
    let proxy = setup.start().await;
    for path in ["/forever", "/minute", "/swr", "/ruled"] {
        proxy.warm(path).await;
    }
    let expected = |minute, swr, left: i64| {
        [
            ("/forever".to_owned(), State::Fresh, None),
            ("/minute".to_owned(), minute, Some(left)),
            ("/ruled".to_owned(), State::Fresh, Some(left + 3540)),
            ("/swr".to_owned(), swr, Some(left)),
        ]
    };
    assert_eq!(states(&proxy).await, expected(State::Fresh, State::Fresh, 60));

    proxy.clock().advance(90);

    assert_eq!(
        states(&proxy).await,
        expected(State::Stale, State::WhileRevalidated, -30)
    );
    let before = backend.total();
    for path in ["/forever", "/ruled"] {
        proxy.get(path).await.assert_hit();
    }
    assert_eq!(backend.total(), before, "what is fresh is not asked about");
    assert!(proxy.get("/swr").await.cache().hit, "answers at once");
    let asked = backend.count("/minute");
    assert!(!proxy.get("/minute").await.cache().hit);
    assert_eq!(
        backend.count("/minute"),
        asked + 1,
        "what is stale is asked about"
    );
    let ruled = rows(&proxy, Some("/ruled")).await;
    assert_eq!(ruled[0].rule, "rule 1");
    assert_eq!(ruled[0].freshness.given_by, "`ttl`");
}

#[tokio::test]
async fn what_is_invalidated_and_kept_or_bears_another_program_s_time_says_so() {
    let backend = Backend::start().await;
    backend.on("/kept", Answer::page("page"));
    backend.on(
        "/minute",
        Answer::page("page").with("Cache-Control", "max-age=60"),
    );
    let proxy = Setup::over(&backend).clock(TestClock::ticking()).start().await;
    proxy.warm("/kept").await;
    proxy.warm("/minute").await;

    let mode = phantom_frame::RefreshMode::Stale;
    let refreshed = proxy.trigger().refresh_matching(&["/kept"], mode).await;
    assert_eq!(refreshed.expect("the invalidation").removed, 1);
    let (sidecar, text) = proxy.sidecar("site.test/minute.");
    fs::write(&sidecar, text).expect("as git writes it");

    let found = rows(&proxy, None).await;
    let found: Vec<_> = found
        .iter()
        .map(|row| (row.page(), row.freshness.state, row.freshness.age))
        .collect();
    assert_eq!(
        found,
        [
            ("http://site.test/kept".to_owned(), State::Invalidated, None),
            ("http://site.test/minute".to_owned(), State::Unmarked, None),
        ]
    );
}

#[tokio::test]
async fn variants_are_rows_of_their_own_and_a_page_shows_all_of_them() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(format!("in {language}")).with("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&backend).await;
    for language in ["de", "fr"] {
        let ask = get("/page").with("Accept-Language", language);
        eventually("the variant to be stored", async || {
            proxy.send(ask.clone()).await.cache().hit.then_some(())
        })
        .await;
    }

    let listed = rows(&proxy, Some("/page")).await;
    let variants: Vec<_> = listed.iter().map(|row| row.variant.clone()).collect();
    let of = |language: &str| vec![("accept-language".to_owned(), language.to_owned())];
    for language in ["de", "fr"] {
        assert!(variants.contains(&of(language)), "{variants:?}");
    }

    let address = listed[0].page();
    assert_eq!(address, "http://site.test/page");
    for url in [
        address,
        "/page".to_owned(),
        "GET:/page".to_owned(),
        "GET /page".to_owned(),
    ] {
        let pages = proxy.artefact(move |artefact| artefact.show(&url)).await;
        let pages = pages.expect("the page");
        assert_eq!(pages.len(), listed.len());
        for page in &pages {
            assert_eq!(page.body, BodyState::Sealed);
            assert_eq!(page.varies_by, ["accept-language"]);
            assert_eq!(page.key, "GET:/page\nhost 9:site.test\nscheme 4:http");
        }
        let german = pages.into_iter().find(|page| page.row.variant == of("de"));
        let german = german.expect("the variant");
        let body = proxy.artefact(move |artefact| artefact.body(&german)).await;
        assert_eq!(body.expect("its body"), b"in de");
    }
}

#[tokio::test]
async fn with_a_public_url_an_address_is_a_key_and_other_hosts_are_refused() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.public_url = Some("http://site.test".into());
        settings.ignore_query = vec!["utm_*".into()];
    })
    .await;
    proxy.warm("/?a=1&utm_source=x").await;
    proxy.warm("/?a=2").await;

    for url in ["/?a=1", "/?utm_source=y&a=1", "http://site.test/?a=1#top"] {
        let pages = proxy
            .artefact(move |artefact| artefact.show(url))
            .await
            .expect(url);
        let lines: Vec<_> = pages.iter().map(|page| page.row.line.as_str()).collect();
        assert_eq!(lines, ["GET:/?a=1"], "{url}");
    }
    for (url, said) in [
        ("/?a=3", "nothing is stored under"),
        ("http://other.test/?a=1", "is not of this site"),
        ("http://", "is not an address"),
        ("", "is not an address"),
        ("/a b", "is not an address"),
    ] {
        let error = proxy.artefact(move |artefact| artefact.show(url)).await;
        let error = error.expect_err(url).to_string();
        assert!(error.contains(said), "{url}: {error}");
    }
}

#[tokio::test]
async fn who_only_reads_changes_nothing_and_follows_no_link() {
    let (_backend, mut proxy) = site().await;
    proxy.warm("/a/page").await;
    proxy.stop().await;
    let outside = tempfile::tempdir().expect("a directory");
    fs::rename(proxy.dir().join("site.test/a"), outside.path().join("a")).expect("a move");
    std::os::unix::fs::symlink(outside.path().join("a"), proxy.dir().join("site.test/a")).expect("a link");
    let (before, private) = (proxy.contents(), private(&proxy));

    assert_eq!(rows(&proxy, None).await, []);
    let shown = proxy
        .artefact(|artefact| artefact.show("http://site.test/a/page"))
        .await;
    assert!(shown.is_err(), "{shown:?}");
    let found = super::findings(&proxy).await;
    assert_eq!(found, [("outside".to_owned(), "site.test/a".to_owned())]);
    let removed = proxy.artefact(|artefact| artefact.remove("*")).await;
    assert_eq!(removed.expect("a pattern").pages, 0);

    assert_eq!(proxy.contents(), before);
    assert_eq!(self::private(&proxy), private);
    assert!(outside.path().join("a").read_dir().expect("a folder").count() == 2);
}

/// The names in the proxy's own folder.
fn private(proxy: &Proxy) -> Vec<String> {
    names(&proxy.dir().join(".phantom"))
}

#[tokio::test]
async fn another_directory_within_is_not_listed_and_a_missing_body_is_said() {
    let (_backend, proxy) = site().await;
    proxy.warm("/a/page").await;
    let body = proxy.body_file("site.test/a/page.");
    fs::create_dir_all(proxy.dir().join("other/a")).expect("a folder");
    fs::write(proxy.dir().join("other/phantom-frame.toml"), "format = 1\n").expect("a marker");
    let (sidecar, text) = proxy.sidecar("site.test/a/page.");
    let copy = proxy
        .dir()
        .join("other/a")
        .join(sidecar.file_name().expect("a name"));
    fs::write(copy, text).expect("a copy");
    let listed = rows(&proxy, None).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].file, below(&proxy, &body));
    assert!(!listed[0].is_torn);
    assert_eq!(super::findings(&proxy).await, []);

    fs::remove_file(&body).expect("the body");

    let listed = rows(&proxy, Some("/a/*")).await;
    assert!(listed.iter().all(|row| row.is_torn), "{listed:?}");
}

#[tokio::test]
async fn a_page_whose_key_a_function_made_is_found_by_its_url_too() {
    let backend = Backend::with("/blog/seven", Answer::page("page")).await;
    let setup = Setup::over(&backend).key_fn(|info| format!("post-{}", info.path.len()));
    let proxy = setup.start().await;
    proxy.warm("/blog/seven").await;
    let listed = rows(&proxy, Some("/blog/*")).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].page(), "post-11");
    // As the program does it, which knows no key function.
    for url in ["post-11", "GET:/blog/seven"] {
        let shown = proxy.artefact(move |artefact| artefact.show(url)).await;
        assert_eq!(shown.expect(url)[0].url, "/blog/seven", "{url}");
    }
}

#[tokio::test]
async fn what_an_invalidation_has_yet_to_carry_out_counts() {
    let (_backend, mut proxy) = site().await;
    for path in ["/gone", "/kept", "/other"] {
        proxy.warm(path).await;
    }
    proxy.stop().await;
    // A crash came between the log and the files.
    proxy.leave_in_log(&["delete /gone", "stale /kept"]);

    let listed = rows(&proxy, None).await;

    let listed: Vec<_> = listed
        .iter()
        .map(|row| (row.line.as_str(), row.freshness.state))
        .collect();
    assert_eq!(
        listed,
        [("GET:/kept", State::Invalidated), ("GET:/other", State::Fresh)]
    );
}
