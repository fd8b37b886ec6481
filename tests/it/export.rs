//! The snapshots as a site of plain files.

mod folder;
mod site;

use std::fs;
use std::path::{Path, PathBuf};

use phantom_frame::ErrorKind;
use phantom_frame::export::{Exported, Options, Why, export};

use crate::rig::{Answer, Backend, Proxy, Setup, get};

const HOST: &str = "example.com";

/// A proxy for a site with an address of its own.
async fn start(backend: &Backend) -> Proxy {
    let public = |settings: &mut phantom_frame::Settings| {
        settings.public_url = Some(format!("https://{HOST}"));
    };
    Setup::over(backend).with(public).start().await
}

/// Pages of the site, stored.
async fn store(proxy: &mut Proxy, pages: &[&str]) {
    for page in pages {
        let response = proxy.send(get(page).host(HOST)).await;
        assert!(response.cache().stored, "{page}: {response:?}");
    }
    // What has no body is answered before it is there.
    proxy.restart().await;
}

async fn try_export(proxy: &Proxy, options: Options) -> Result<Exported, phantom_frame::Error> {
    proxy.artefact(move |artefact| export(&artefact, &options)).await
}

fn to(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        ..Options::default()
    }
}

async fn exported(proxy: &Proxy, dir: &Path) -> Exported {
    try_export(proxy, to(dir)).await.expect("an export")
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A folder for an export, which is not there yet.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let site = dir.path().join("out/site");
    (dir, site)
}

fn file(kind: &str, body: &str) -> Answer {
    Answer::new(200).with("Content-Type", kind).body(body.to_owned())
}

fn html(body: &str) -> Answer {
    Answer::page(body.to_owned())
}

#[tokio::test]
async fn pages_are_files_where_a_server_of_files_looks_for_them() {
    let backend = Backend::start().await;
    backend.on("/", html("home"));
    backend.on("/blog/hello", html("hello"));
    let sheet = file("text/css", "a{}");
    backend.on(
        "/s.css",
        sheet.with("Cache-Control", "public, max-age=31536000, immutable"),
    );
    backend.on("/feed", file("application/rss+xml", "<rss/>"));
    backend.on("/404.html", html("not here"));
    backend.on("/moved", Answer::new(301).with("Location", "blog/hello"));
    backend.on(
        "/moved-away",
        Answer::new(302)
            .with("Location", "https://other.test/a b\tc")
            .with("Cache-Control", "max-age=60"),
    );
    backend.on("/search", html("found"));
    let mut proxy = start(&backend).await;
    let pages = [
        "/",
        "/blog/hello",
        "/s.css",
        "/feed",
        "/404.html",
        "/moved",
        "/moved-away",
        "/search?q=1",
    ];
    store(&mut proxy, &pages).await;
    let asked = backend.total();
    let (_dir, site) = folder();

    let exported = exported(&proxy, &site).await;

    assert!(exported.is_whole(), "{exported:?}");
    for (file, text) in [
        ("index.html", "home"),
        ("blog/hello/index.html", "hello"),
        ("s.css", "a{}"),
        ("feed", "<rss/>"),
        ("404.html", "not here"),
        (
            "_redirects",
            "/moved /blog/hello 301\n/moved-away https://other.test/a%20bc 302\n",
        ),
        (
            "_headers",
            "/feed\n  content-type: application/rss+xml\n/s.css\n  cache-control: public, max-age=31536000, immutable\n",
        ),
    ] {
        assert_eq!(read(&site, file), text, "{file}");
    }
    assert_eq!(
        (
            exported.written.len(),
            exported.redirects,
            exported.has_missing_page
        ),
        (7, 2, true)
    );
    let left_out: Vec<_> = exported
        .left_out
        .iter()
        .map(|one| (one.url.as_str(), one.why))
        .collect();
    assert_eq!(left_out, [("/search?q=1", Why::Query)]);
    assert_eq!(backend.total(), asked, "the backend is not asked");
}

#[tokio::test]
async fn where_nothing_is_stored_a_site_that_was_exported_stays() {
    let backend = Backend::start().await;
    backend.on("/", html("home"));
    let mut proxy = start(&backend).await;
    store(&mut proxy, &["/"]).await;
    let (_dir, site) = folder();
    assert!(exported(&proxy, &site).await.is_whole());

    proxy.trigger().refresh().await.expect("an invalidation");
    let (_other, fresh) = folder();
    for folder in [&site, &fresh] {
        let empty = exported(&proxy, folder).await;
        assert!(empty.is_empty && !empty.is_whole(), "{empty:?}");
        assert!(empty.written.is_empty() && empty.removed.is_empty(), "{empty:?}");
    }

    assert_eq!(read(&site, "index.html"), "home");
    assert!(!fresh.exists(), "nothing was made");
}

#[tokio::test]
async fn links_that_lead_nowhere_and_to_the_backend_are_named_and_written_anew_if_that_is_wished() {
    let backend = Backend::start().await;
    let own = backend.url();
    let page = format!(
        "<link rel=canonical href='https://{HOST}/'><a href=/a>a</a><a href='/none?x'>b</a><a href=mailto:a@b>c</a>\
         <a href='https://other.test/z'>d</a><a href=\"{own}/a?q=1#x\">e</a><img src='https://{HOST}/none.png'>"
    );
    backend.on("/", html(&page));
    backend.on("/a", html("<a href=\"/\">back</a>"));
    backend.on(
        "/old",
        Answer::new(301).with("Location", &format!("{own}/gone?x")),
    );
    let sheet = format!("a{{background:url({own}/none.svg)}}");
    backend.on("/s.css", file("text/css", &sheet));
    let mut proxy = start(&backend).await;
    store(&mut proxy, &["/", "/a", "/s.css", "/old"]).await;
    let (_dir, site) = folder();

    let plain = exported(&proxy, &site).await;
    let strays = |exported: &Exported| -> (Vec<String>, Vec<String>) {
        let shown = |strays: &phantom_frame::export::Strays| {
            let named = strays.named.iter();
            let mut named: Vec<_> = named.map(|(link, on)| format!("{} {link}", on.first)).collect();
            named.sort();
            assert_eq!((strays.total, strays.unnamed), (named.len() as u64, 0));
            named
        };
        (shown(&exported.dead), shown(&exported.origin))
    };
    let nowhere = |gone: &str| {
        [
            "/ /none?x".to_owned(),
            format!("/ https://{HOST}/none.png"),
            format!("/old {gone}"),
            format!("/s.css {own}/none.svg"),
        ]
    };
    let (dead, origin) = strays(&plain);
    assert_eq!(dead, nowhere(&format!("{own}/gone?x")));
    assert_eq!(
        origin,
        [
            format!("/ {own}/a?q=1#x"),
            format!("/old {own}/gone?x"),
            format!("/s.css {own}/none.svg")
        ]
    );
    assert!(!plain.is_whole());
    assert_eq!(read(&site, "index.html"), page);

    let mut options = to(&site);
    options.rewrites_links = true;
    let rewritten = try_export(&proxy, options).await.expect("an export");
    let (dead, origin) = strays(&rewritten);
    assert_eq!((dead.as_slice(), origin.len()), (&nowhere("/gone?x")[..], 0));
    let expected = page
        .replace(&format!("\"{own}/a"), "\"/a")
        .replace(&format!("src='https://{HOST}/none.png'"), "src=\"/none.png\"");
    assert_eq!(read(&site, "index.html"), expected);
    assert_eq!(read(&site, "s.css"), "a{background:url(/none.svg)}");
    assert_eq!(read(&site, "_redirects"), "/old /gone?x 301\n");
    assert_eq!((rewritten.written.len(), rewritten.unchanged), (3, 1));
}

#[tokio::test]
async fn a_damaged_page_is_left_out_and_one_that_was_exported_before_stays() {
    let backend = Backend::start().await;
    backend.on("/a", html("one"));
    backend.on("/b", html("two"));
    let mut proxy = start(&backend).await;
    store(&mut proxy, &["/a", "/b"]).await;
    let (_dir, site) = folder();
    exported(&proxy, &site).await;
    fs::write(proxy.body_file("a."), "eno").expect("damage");
    fs::write(proxy.body_file("b."), "owt").expect("damage");
    fs::remove_file(site.join("b/index.html")).expect("a file");

    let exported = exported(&proxy, &site).await;

    let left_out: Vec<_> = exported
        .left_out
        .iter()
        .map(|one| (one.url.as_str(), one.why))
        .collect();
    assert_eq!(left_out, [("/a", Why::Damaged), ("/b", Why::Damaged)]);
    assert!(
        !exported.is_whole() && exported.removed.is_empty(),
        "{exported:?}"
    );
    assert_eq!(read(&site, "a/index.html"), "one");
    assert!(!site.join("b/index.html").exists());
}

#[tokio::test]
async fn of_several_hosts_one_has_to_be_named() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| html(request.field("host").unwrap_or("")));
    let proxy = Proxy::start(&backend).await;
    proxy.send(get("/").host("one.test")).await.assert_stored();
    let (_dir, site) = folder();
    exported(&proxy, &site).await;
    assert_eq!(read(&site, "index.html"), "one.test");

    proxy.send(get("/").host("two.test")).await.assert_stored();
    let error = try_export(&proxy, to(&site)).await.expect_err("whose?");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("one.test, two.test"), "{error}");
    let named = |settings: &mut phantom_frame::Settings| settings.site = Some("two.test".into());
    let other = Setup::over(&backend).dir_of(&proxy).with(named);
    let mut proxy = proxy;
    proxy.stop().await;
    let proxy = other.start().await;
    let exported = exported(&proxy, &site).await;
    assert_eq!(read(&site, "index.html"), "two.test");
    assert_eq!(exported.left_out.first().map(|one| one.why), Some(Why::Host));
}

#[tokio::test]
async fn no_link_is_made_to_lead_to_another_host() {
    let backend = Backend::start().await;
    let own = format!("http://{}", backend.addr());
    let page = |head: &str| {
        html(&format!(
            "<html><head>{head}</head><a href=\"{own}//evil.test/x\">1</a><a href=\"{own}/\\evil.test\">2</a>\
             <a href=\"{own}/a\">3</a></html>"
        ))
    };
    backend.on("/a", page(""));
    backend.on("/based", page("<base href=\"https://cdn.test/\">"));
    let mut proxy = start(&backend).await;
    store(&mut proxy, &["/a", "/based"]).await;
    let (_root, dir) = folder();
    let options = Options {
        rewrites_links: true,
        ..to(&dir)
    };

    try_export(&proxy, options).await.expect("an export");

    let text = read(&dir, "a/index.html");
    assert!(text.contains(&format!("href=\"{own}//evil.test/x\"")), "{text}");
    assert!(text.contains(&format!("href=\"{own}/\\evil.test\"")), "{text}");
    assert!(text.contains("<a href=\"/a\">3</a>"), "{text}");
    let based = read(&dir, "based/index.html");
    assert!(based.contains(&format!("href=\"{own}/a\"")), "{based}");
}
