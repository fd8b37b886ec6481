//! Why a request is answered as it is, said by a command: what the proxy does, without doing it.

use std::fs;
use std::time::Duration;

use phantom_frame::artefact::{Asked, Explained, Question, explain};
use phantom_frame::{CreateProxyConfig, ErrorKind, Reason, Settings, Ttl};

use crate::rig::{Answer, Backend, Proxy, Setup};

fn question(url: &str, headers: &[(&str, &str)]) -> Question {
    let mut question = Question::new(url);
    let headers = headers.iter();
    question.headers = headers
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    question
}

fn live(url: &str) -> Question {
    let mut question = Question::new(url);
    question.asked = Asked::Backend;
    question
}

/// That the steps are these, in this order, among others; a star at the end stands for any.
#[track_caller]
fn assert_says(explained: &Explained, expected: &[&str]) {
    let mut rest = explained.steps.iter();
    for step in expected {
        let is_it = |found: &String| match step.strip_suffix('*') {
            Some(start) => found.starts_with(start),
            None => found == step,
        };
        assert!(rest.any(is_it), "{step:?} in {:#?}", explained.steps);
    }
}

async fn site(change: fn(&mut Settings)) -> (Backend, Proxy) {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(format!("page {}", request.target)).with("ETag", "\"1\""));
    let setup = Setup::over(&backend).with(move |settings| {
        settings.public_url = Some("http://site.test".into());
        change(settings);
    });
    let proxy = setup.start().await;
    proxy.until_ready().await;
    (backend, proxy)
}

#[tokio::test]
async fn a_hit_is_explained_beside_the_server_and_nothing_changes() {
    let (backend, proxy) = site(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(60))).await;
    proxy.warm("/page").await;
    proxy.clock().advance(3);
    let (before, asked) = (proxy.contents(), backend.total());

    let explained = proxy.explain(&question("/page", &[])).await;

    assert_says(
        &explained,
        &[
            "target: GET http://site.test/page",
            "rule: server",
            "route: look up",
            "key: of method, path and query",
            "lookup: found page.*",
            "standing: fresh, age 3 s, lifetime 60 s by `default_ttl`, until *",
            "outcome: hit",
        ],
    );
    assert_eq!(explained.key.as_deref(), Some("GET:/page"));
    let answer = explained.answer.expect("an answer");
    assert_eq!((answer.status, answer.bytes), (200, 10));
    assert!(explained.asked.is_empty());
    assert_eq!(backend.total(), asked);
    assert!(proxy.contents() == before);
}

#[tokio::test]
async fn what_a_fill_would_send_and_leave_out_is_said_and_not_sent() {
    let (backend, proxy) = site(|settings| settings.key_headers = vec!["X-Theme".into()]).await;
    let fields = [
        ("X-Theme", "dark"),
        ("X-Foo", "1"),
        ("User-Agent", "me/1.0"),
        ("Cookie", "_ga=GA1.2.3"),
    ];

    let explained = proxy.explain(&question("/page?b=1", &fields)).await;

    assert_says(
        &explained,
        &[
            "key: of method, path and query, field x-theme",
            "lookup: nothing is stored",
            "fill: sends *",
        ],
    );
    assert!(explained.answer.is_none(), "it would be the backend's");
    let [sent] = &explained.asked[..] else {
        panic!("{:?}", explained.asked);
    };
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("GET", "/page?b=1"));
    assert_eq!(sent.left_out, ["cookie", "x-foo"]);
    assert_eq!(sent.replaced, ["user-agent"]);
    let theme = ("x-theme".to_owned(), Some("dark".to_owned()));
    assert!(sent.headers.contains(&theme), "{:?}", sent.headers);
    assert_eq!(backend.total(), 0);
    assert_eq!(proxy.pages(), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_says_who_he_is_passes_and_his_secrets_are_not_said() {
    let (backend, proxy) = site(|_| {}).await;
    proxy.warm("/page").await;
    let asked = backend.total();
    for (field, reason) in [
        (("Cookie", "session=hush"), Reason::Cookie),
        (("Authorization", "Bearer hush"), Reason::Authorization),
        (("X-Api-Key", "hush"), Reason::Authorization),
    ] {
        let explained = proxy.explain(&question("/page", &[field])).await;

        assert_eq!(explained.reason, Some(reason), "{:#?}", explained.steps);
        let name = field.0.to_ascii_lowercase();
        assert!(explained.asked[0].headers.contains(&(name, None)));
        assert!(!format!("{explained:?}").contains("hush"));
    }
    assert_eq!(backend.total(), asked);
}

#[tokio::test]
async fn filters_are_named_with_the_setting_that_has_them() {
    let (_backend, proxy) = site(|settings| {
        settings.include_paths = vec!["/blog/*".into(), "POST /search".into()];
        settings.exclude_paths = vec!["/blog/draft*".into()];
    })
    .await;
    for (url, step) in [
        (
            "/blog/draft/1",
            "route: pass, excluded by /blog/draft* in `exclude_paths`",
        ),
        ("/blog/a", "route: look up, named by /blog/* in `include_paths`"),
        (
            "POST:/search",
            "route: look up, named by POST /search in `include_paths`",
        ),
        ("/about", "route: pass, not-included in `include_paths`"),
    ] {
        assert_says(&proxy.explain(&question(url, &[])).await, &[step]);
    }
}

#[tokio::test]
async fn with_the_backend_it_is_said_what_becomes_of_the_answer_and_nothing_is_stored() {
    let (backend, proxy) = site(|_| {}).await;
    backend.on("/private", Answer::page("hers").with("Cache-Control", "private"));
    backend.on("/vary", Answer::page("page").with("Vary", "X-Theme"));

    let stored = proxy.explain(&live("/vary")).await;
    assert_says(&stored, &["answer: 200 is stored, by x-theme", "outcome: miss"]);
    let answer = stored.answer.expect("an answer");
    assert_eq!((answer.status, answer.bytes, answer.broken), (200, 4, None));
    assert_eq!(backend.count("/vary"), 1);

    let private = proxy.explain(&live("/private")).await;
    assert_says(
        &private,
        &["answer: 200 is not stored, private", "pass: as it is, private"],
    );
    assert_eq!(private.reason, Some(Reason::Private));
    // The fill, and the visitor's own request behind it.
    assert_eq!((private.asked.len(), backend.count("/private")), (2, 2));
    assert_eq!(proxy.pages(), Vec::<String>::new());
    assert!(!proxy.get("/vary").await.cache().hit);
}

#[tokio::test]
async fn a_stale_page_is_validated_by_what_is_stored() {
    let (backend, proxy) = site(|settings| settings.default_ttl = Ttl::For(Duration::from_secs(60))).await;
    proxy.warm("/page").await;
    proxy.clock().advance(61);
    let asked = backend.total();

    let explained = proxy.explain(&question("/page", &[])).await;

    assert_says(
        &explained,
        &["standing: to be validated, age 61 s, lifetime 60 s by `default_ttl`, over since *"],
    );
    let condition = ("if-none-match".to_owned(), Some("\"1\"".to_owned()));
    assert!(
        explained.asked[0].headers.contains(&condition),
        "{:?}",
        explained.asked
    );
    assert_eq!(backend.total(), asked);
}

#[tokio::test]
async fn a_variant_is_named_and_a_body_that_was_changed_by_hand_is_not_served() {
    let (backend, proxy) = site(|_| {}).await;
    backend.on_fn("/vary", |request| {
        let theme = request.field("x-theme").unwrap_or("none").to_owned();
        Answer::page(theme).with("Vary", "X-Theme")
    });
    proxy.get("/vary").await.assert_stored();
    proxy
        .send(crate::rig::get("/vary").with("X-Theme", "dark"))
        .await
        .assert_stored();
    proxy.warm("/page").await;
    fs::write(proxy.body_file("page."), "by hand").expect("an edit");

    let dark = proxy.explain(&question("/vary", &[("X-Theme", "dark")])).await;
    assert_says(&dark, &["lookup: found vary.*", "outcome: hit"]);
    assert!(
        dark.steps
            .iter()
            .any(|step| step.contains("the variant by x-theme"))
    );
    let light = proxy.explain(&question("/vary", &[("X-Theme", "light")])).await;
    assert_says(&light, &["lookup: no such variant, by x-theme"]);

    let edited = proxy.explain(&question("/page", &[])).await;
    assert_says(
        &edited,
        &["directory: page.*", "lookup: nothing is stored", "fill: sends *"],
    );
    assert!(
        edited.steps[0].ends_with("is changed, and not served as it is"),
        "{:?}",
        edited.steps
    );
}

#[tokio::test]
async fn where_nothing_is_stored_yet_it_works_and_what_is_no_address_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("snapshots");
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into()).with_snapshot_dir(&dir);

    let explained = explain(&config, &question("/page", &[]))
        .await
        .expect("an explanation");
    assert_says(&explained, &["lookup: nothing is stored"]);
    assert!(!dir.exists(), "nothing is made");

    for (url, headers) in [("", &[][..]), ("product-7", &[]), ("/a", &[("a b", "c")])] {
        let refused = explain(&config, &question(url, headers)).await;
        let error = refused.expect_err("no request");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn an_invalidation_that_stands_counts() {
    let (_backend, mut proxy) = site(|_| {}).await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let later = proxy.clock().now() + Duration::from_secs(3600);
    let nanos = later
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time")
        .as_nanos();
    for (fate, step) in [
        ("delete", "lookup: nothing is stored"),
        ("stale", "lookup: found page.*"),
    ] {
        let line = format!("{nanos} {fate} /page\n");
        fs::write(proxy.dir().join(".phantom/invalidations"), line).expect("a log");

        let explained = proxy.explain(&question("/page", &[])).await;

        assert_says(&explained, &[step]);
        assert_eq!(explained.asked.len(), 1, "{fate}: {:#?}", explained.steps);
    }
}

#[tokio::test]
async fn a_frozen_directory_is_explained_as_it_is_served() {
    let (backend, mut proxy) = site(|_| {}).await;
    proxy.warm("/page").await;
    proxy.stop().await;
    let before = proxy.contents();
    let config = CreateProxyConfig::frozen(proxy.dir())
        .with(|settings| settings.public_url = Some("http://site.test".into()));

    let explained = explain(&config, &question("/page?any=1", &[]))
        .await
        .expect("an explanation");

    assert_says(&explained, &["route: the directory is all there is (`frozen`)"]);
    let answer = explained.answer.expect("an answer");
    assert_eq!((answer.status, answer.bytes), (200, 10));
    assert!(explained.asked.is_empty());
    assert!(proxy.contents() == before);
    assert_eq!(backend.count("/page?any=1"), 0);
}
