//! Pages by sitemaps.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use phantom_frame::prerender::Became;

use super::{Run, page, start};
use crate::rig::{Answer, Backend, Proxy};

async fn by(proxy: &Proxy, sitemaps: &[&str]) -> Run {
    Run::of(proxy, |options| {
        options.sitemaps = sitemaps.iter().map(|sitemap| (*sitemap).to_owned()).collect();
    })
    .await
}

fn xml(text: String) -> Answer {
    Answer::new(200)
        .with("Content-Type", "application/xml")
        .body(text)
}

fn set(pages: &[&str]) -> String {
    let urls: String = pages
        .iter()
        .map(|page| format!("<url><loc>{page}</loc></url>"))
        .collect();
    format!("<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>")
}

fn index(sitemaps: &[&str]) -> String {
    let each: String = sitemaps
        .iter()
        .map(|sitemap| format!("<sitemap><loc>{sitemap}</loc></sitemap>"))
        .collect();
    format!("<sitemapindex>{each}</sitemapindex>")
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    coder.write_all(text.as_bytes()).expect("memory");
    coder.finish().expect("memory")
}

#[tokio::test]
async fn an_index_its_sitemaps_and_their_pages_are_taken_in_once_each() {
    let backend = Backend::start().await;
    backend.on(
        "/sitemap.xml",
        xml(index(&[
            "https://example.com/one.xml",
            "https://example.com/two.xml",
            "/three.txt",
        ])),
    );
    backend.on(
        "/one.xml",
        xml(set(&[
            "https://example.com/a",
            "https://example.com/b?x=1&amp;y=2",
        ])),
    );
    // Gzipped whatever it is called, and one that nobody may keep.
    let two = gzipped(&set(&[
        "https://example.com/a",
        "https://other.example/c",
        "http://example.com/d",
    ]));
    let two = Answer::new(200)
        .with("Content-Type", "application/x-gzip")
        .with("Cache-Control", "no-store")
        .body(two);
    backend.on("/two.xml", two);
    let list = Answer::new(200).with("Content-Type", "text/plain");
    backend.on("/three.txt", list.body("https://example.com/e\n"));
    for path in ["/a", "/b", "/d", "/e"] {
        backend.on(path, page(path));
    }
    let proxy = start(&backend).await;

    let run = by(&proxy, &["https://example.com/sitemap.xml"]).await;

    let pages = ["/a", "/b?x=1&y=2", "/d", "/e"];
    for page in pages {
        run.assert(page, Became::New);
    }
    assert_eq!(
        (run.pages.len(), run.summary.foreign, run.summary.failed()),
        (8, 1, 0)
    );
    assert_eq!(backend.total(), 8);
    assert_eq!(run.page("/d").found_on.as_deref(), Some("/two.xml"));
}

#[tokio::test]
async fn a_sitemap_that_is_stored_is_read_anew() {
    let backend = Backend::with("/sitemap.xml", xml(set(&["https://example.com/a"]))).await;
    backend.fallback(|_| page("x"));
    let proxy = start(&backend).await;
    by(&proxy, &["/sitemap.xml"]).await.assert("/a", Became::New);
    backend.on(
        "/sitemap.xml",
        xml(set(&["https://example.com/a", "https://example.com/b"])),
    );

    let run = by(&proxy, &["/sitemap.xml"]).await;

    run.assert("/sitemap.xml", Became::Changed)
        .assert("/a", Became::Kept)
        .assert("/b", Became::New);
}

#[tokio::test]
async fn a_page_of_a_sitemap_that_is_gone_fails_the_run() {
    let backend = Backend::with("/sitemap.xml", xml(set(&["https://example.com/gone"]))).await;
    let proxy = start(&backend).await;

    let run = by(&proxy, &["/sitemap.xml"]).await;

    run.assert("/gone", Became::Missing);
    assert_eq!(run.summary.failed(), 1);
}

#[tokio::test]
async fn what_is_no_sitemap_or_of_another_site_is_said() {
    let backend = Backend::with("/page", page("<!doctype html><html></html>")).await;
    backend.on("/foreign", xml(set(&["https://other.example/a"])));
    let cut = gzipped(&set(&["https://example.com/a"]));
    backend.on("/cut", xml(String::new()).body(cut[..20].to_vec()));
    let proxy = start(&backend).await;
    for (path, expected) in [
        ("/page", "<html>"),
        ("/foreign", "public_url"),
        ("/cut", "broken"),
        ("/none", "no sitemap"),
    ] {
        let run = by(&proxy, &[path]).await;
        let problem = run.page(path).problem.clone().unwrap_or_default();
        assert!(problem.contains(expected), "{path}: {problem}");
        assert_eq!(run.summary.failed(), 1, "{path}");
    }
}

#[tokio::test]
async fn sitemaps_that_lead_round_and_down_end() {
    let backend = Backend::start().await;
    backend.on_fn("/round.xml", |_| xml(index(&["/round.xml", "/down.xml?0"])));
    backend.on_fn("/down.xml", |request| {
        let next: usize = request.query().parse().unwrap_or(0) + 1;
        xml(index(&[&format!("/down.xml?{next}")]))
    });
    let proxy = start(&backend).await;

    let run = by(&proxy, &["/round.xml"]).await;

    assert_eq!(run.pages.len(), 5, "{:?}", run.urls());
    assert!(run.summary.beyond > 0);
}
