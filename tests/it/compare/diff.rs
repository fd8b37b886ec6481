//! Rendering again.

use std::fs;

use phantom_frame::Reason;
use phantom_frame::artefact::Tombstone;
use phantom_frame::compare::{BodyDiff, Options, Standing};

use super::{Compared, changes, everything, opened, page, start, stored, visit, with_address};
use crate::rig::backend::Step;
use crate::rig::{Answer, Backend, Setup, eventually, get};

#[tokio::test]
async fn what_renders_the_same_is_no_difference_and_nothing_is_written() {
    let backend = Backend::start().await;
    backend.fallback(|request| page(&format!("<p>{}", request.target)).with("ETag", "\"1\""));
    let proxy = start(&backend).await;
    for target in ["/a", "/b?c=1"] {
        visit(&proxy, target).await.assert_stored();
    }
    let before = everything(&proxy.dir());

    // Beside the server that has the lock.
    let compared = Compared::of(&proxy, None).await;

    assert!(compared.summary.is_clean(), "{compared:?}");
    compared
        .assert("/a", Standing::Same)
        .assert("/b?c=1", Standing::Same);
    assert_eq!(everything(&proxy.dir()), before);
    // It asks as a fill does, and with no condition.
    for target in ["/a", "/b?c=1"] {
        let asked: Vec<_> = backend.requests_for(target.split('?').next().expect("a path"));
        assert_eq!(asked.len(), 2, "{target}");
        assert_eq!(asked[0].fields.0, asked[1].fields.0, "{target}");
    }
}

#[tokio::test]
async fn a_page_on_one_line_differs_where_it_differs() {
    let backend = Backend::with(
        "/a",
        page("<html><body><h1>One</h1><p class=x>text</p></body></html>"),
    )
    .await;
    let proxy = stored(&backend, &["/a"]).await;
    backend.on(
        "/a",
        Answer::page("<html><body><h1>Two</h1>\n\n<p class=x>text</p></body></html>")
            .with("Cache-Control", "max-age=120")
            .with("X-Request-Id", "7"),
    );

    let compared = Compared::of(&proxy, Some("/a")).await;

    compared.assert("/a", Standing::Changed);
    assert_eq!(
        changes(compared.page("/a")),
        [
            "-cache-control: max-age=60",
            "+cache-control: max-age=120",
            "-One",
            "+Two"
        ]
    );
    assert!(!compared.summary.is_clean());
    assert_eq!((compared.summary.added, compared.summary.removed), (2, 2));
}

#[tokio::test]
async fn validators_do_not_count_where_they_would_not_be_stored() {
    let backend = Backend::with("/a", page("a").with("ETag", "\"1\"")).await;
    let proxy = stored(&backend, &["/a"]).await;
    backend.on(
        "/a",
        page("a")
            .with("ETag", "\"2\"")
            .with("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
    );
    Compared::of(&proxy, None).await.assert("/a", Standing::Same);
    backend.on("/a", page("b").with("ETag", "\"2\""));
    let compared = Compared::of(&proxy, None).await;
    assert_eq!(changes(compared.page("/a")), ["-a", "+b"]);
}

#[tokio::test]
async fn it_is_said_what_is_gone_and_what_would_not_be_stored_and_why() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("<p>x"));
    let names = [
        "/gone",
        "/cookie",
        "/csrf",
        "/down",
        "/long",
        "/excluded",
        "/broken",
        "/new",
    ];
    let proxy = with_address(Setup::over(&backend).with(|settings| settings.max_body = 1000));
    let mut proxy = proxy.start().await;
    for target in &names[..7] {
        visit(&proxy, target).await.assert_stored();
    }
    proxy.stop().await;
    backend.on("/gone", Answer::new(410));
    backend.on("/cookie", page("<p>x").with("Set-Cookie", "session=1"));
    backend.on("/csrf", page("<form><input name=csrf_token value=x>"));
    backend.on("/down", Answer::new(500));
    backend.on("/long", page(&"x".repeat(2000)).chunked());
    backend.on("/broken", page("<p>x").claiming_length(100).step(Step::Close));
    let before = everything(&proxy.dir());

    let compared = Compared::of(&proxy, None).await;

    compared
        .assert("/gone", Standing::Gone)
        .assert("/cookie", Standing::NotStored(Reason::SetCookie))
        .assert("/csrf", Standing::NotStored(Reason::CsrfField))
        .assert("/down", Standing::Failed(Reason::ServerError))
        .assert("/long", Standing::NotStored(Reason::TooLarge))
        .assert("/broken", Standing::Failed(Reason::Incomplete))
        .assert("/excluded", Standing::Same);
    assert_eq!(compared.page("/gone").status, (Some(200), Some(410)));
    // What the rules say by now; and a page that is named, and not stored.
    let asked = backend.count("/excluded");
    let excluding = with_address(Setup::over(&backend).dir_of(&proxy))
        .with(|settings| settings.exclude_paths = vec!["/excluded".into()]);
    let mut excluding = excluding.start().await;
    excluding.stop().await;
    Compared::of(&excluding, Some("/excluded"))
        .await
        .assert("/excluded", Standing::NotStored(Reason::Excluded));
    assert_eq!(backend.count("/excluded"), asked, "it is not asked for");
    Compared::of(&proxy, Some("https://example.com/excluded"))
        .await
        .assert("/excluded", Standing::Same);
    let new = Compared::of(&proxy, Some("/new")).await;
    new.assert("/new", Standing::New);
    assert!(changes(new.page("/new")).contains(&"+<p>".to_owned()));
    assert_eq!(
        everything(&proxy.dir()).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn each_variant_is_asked_for_as_its_visitor_did() {
    let backend = Backend::start().await;
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        page(&format!("in {language}")).with("Vary", "Accept-Language")
    });
    let mut proxy = start(&backend).await;
    for language in ["de", "fr"] {
        eventually("it to be stored", async || {
            let ask = get("/a").host("example.com").with("Accept-Language", language);
            proxy.send(ask).await.cache().hit.then_some(())
        })
        .await;
    }
    proxy.stop().await;
    let same = Compared::of(&proxy, None).await;
    assert!(same.summary.is_clean() && same.pages.len() >= 2, "{same:?}");
    backend.fallback(|request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let text = if language == "fr" {
            "nouveau".to_owned()
        } else {
            format!("in {language}")
        };
        page(&text).with("Vary", "Accept-Language")
    });

    let compared = Compared::of(&proxy, None).await;

    let differing: Vec<_> = compared
        .pages
        .iter()
        .filter(|page| page.standing != Standing::Same)
        .collect();
    assert_eq!(differing.len(), 1, "{compared:?}");
    assert_eq!(
        differing[0].variant,
        [("accept-language".to_owned(), "fr".to_owned())]
    );
    assert_eq!(changes(differing[0]), ["-in fr", "+nouveau"]);
}

#[tokio::test]
async fn tombstones_are_left_and_hand_edits_are_told() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("<p>x"));
    let proxy = stored(&backend, &["/dead", "/edited"]).await;
    opened(&proxy)
        .tombstone("/dead", &Tombstone::Gone)
        .expect("a tombstone");
    fs::write(proxy.body_file("edited."), "<p>by hand").expect("an edit");
    let asked = backend.count("/dead");

    let compared = Compared::of(&proxy, None).await;

    compared.assert("/dead", Standing::Left("a tombstone"));
    assert_eq!(backend.count("/dead"), asked);
    compared.assert("/edited", Standing::Changed);
    assert!(compared.page("/edited").is_edited);
    assert_eq!(changes(compared.page("/edited")), ["-by hand", "+x"]);
}

#[tokio::test]
async fn what_is_no_text_is_told_by_length_and_seal_and_space_alone_as_such() {
    let backend = Backend::with(
        "/a.png",
        Answer::new(200).with("Content-Type", "image/png").body("1"),
    )
    .await;
    backend.on("/b", page("<p>a <b>b</b>"));
    let proxy = stored(&backend, &["/a.png", "/b"]).await;
    backend.on(
        "/a.png",
        Answer::new(200).with("Content-Type", "image/png").body("22"),
    );
    backend.on("/b", page("<p>a\n<b>b</b>\n"));
    let compared = Compared::of(&proxy, None).await;
    match &compared.page("/a.png").body {
        BodyDiff::Bytes(before, after) => assert_eq!((before.length, after.length), (1, 2)),
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(compared.page("/b").body, BodyDiff::Space(..)),
        "{compared:?}"
    );
}

#[tokio::test]
async fn a_busy_backend_is_asked_again_and_then_told_to_have_failed() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = stored(&backend, &["/a"]).await;
    let busy = Answer::new(429).with("Retry-After", "0");
    backend.on("/a", busy);
    let mut options = Options::of(None);
    options.concurrency = 1;
    let compared = Compared::with(&proxy, &options).await;
    compared.assert("/a", Standing::Failed(Reason::Busy));
    assert_eq!(backend.count("/a"), 1 + 4);
}

#[tokio::test]
async fn what_matches_nothing_is_said() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = stored(&backend, &["/a"]).await;
    let none = |_: phantom_frame::compare::Event<'_, phantom_frame::compare::PageDiff>| {};
    for (pattern, said) in [
        ("/none/*", "nothing that is stored matches `/none/*`"),
        ("https://other.example/", "is no URL of this site"),
    ] {
        let options = Options::of(Some(pattern));
        let compared = phantom_frame::compare::diff(&proxy.config(), &opened(&proxy), &options, none).await;
        let error = compared.expect_err("nothing").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn tags_count_and_what_cannot_be_read_is_no_pass() {
    let backend = Backend::with("/page", page("x")).await;
    let proxy = stored(&backend, &["/page"]).await;
    backend.on("/page", page("x").with("Cache-Tag", "news, front"));

    let compared = Compared::of(&proxy, None).await;

    compared.assert("/page", Standing::Changed);
    let head = format!("{:?}", compared.page("/page").head);
    assert!(head.contains("tags: front, news"), "{head}");

    let (sidecar, _) = proxy.sidecar("page.");
    fs::write(sidecar, "<<<<<<< HEAD").expect("a merge");
    let compared = Compared::of(&proxy, None).await;
    assert_eq!(compared.summary.unread.len(), 1);
    assert!(!compared.summary.is_clean(), "{:?}", compared.summary);
}
