//! Rendering twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use phantom_frame::artefact::Artefact;
use phantom_frame::compare::{Event, NoiseSummary, Options, PageNoise, noise};
use phantom_frame::{Error, Reason};

use super::{everything, opened, page, stored};
use crate::rig::{Answer, Backend, Proxy};

async fn found(
    proxy: &Proxy,
    artefact: Option<Arc<Artefact>>,
    (pages, limit): (&[&str], usize),
) -> Result<(Vec<PageNoise>, NoiseSummary), Error> {
    let mut all = Vec::new();
    let observe = |event: Event<'_, PageNoise>| {
        if let Event::Done(page, ..) = event {
            all.push(page.clone());
        }
    };
    let pages: Vec<String> = pages.iter().map(|page| (*page).to_owned()).collect();
    let options = Options::of(None);
    let how = (&options, limit, Duration::ZERO);
    let summary = noise(&proxy.config(), artefact.as_ref(), &pages, how, observe).await?;
    Ok((all, summary))
}

fn told(page: &PageNoise) -> Vec<String> {
    let noises = page.noises.iter();
    noises
        .map(|noise| {
            let stored = if noise.is_left_out { ", not stored" } else { "" };
            format!("{} {}{stored}", noise.kind.as_str(), noise.place)
        })
        .collect()
}

/// Another number each time.
fn counted(backend: &Backend, path: &str, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) {
    let count = AtomicUsize::new(10);
    backend.on_fn(path, move |_| answer(count.fetch_add(1, Ordering::SeqCst)));
}

#[tokio::test]
async fn what_differs_between_two_renderings_is_told_and_nothing_is_written() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("<p>x"));
    let proxy = stored(&backend, &["/same", "/noisy", "/quiet"]).await;
    counted(&backend, "/noisy", |n| {
        page(&format!("<p id=abcdef{n}>at 10:00:{n}</p>"))
            .with("X-Build", &n.to_string())
            .with("ETag", &format!("\"{n}\""))
    });
    // Nothing of this gets into the directory.
    counted(&backend, "/quiet", |n| {
        page("<p>x")
            .with("X-Request-Id", &n.to_string())
            .with("ETag", &format!("\"{n}\""))
    });
    let before = everything(&proxy.dir());

    let (pages, summary) = found(&proxy, Some(opened(&proxy)), (&[], 20))
        .await
        .expect("a look");

    let names: Vec<&str> = pages.iter().map(|page| &*page.page).collect();
    assert_eq!(names, ["/noisy", "/quiet", "/same"]);
    assert_eq!(
        told(&pages[0]),
        [
            "number header etag",
            "number header x-build",
            "random-id <p id>",
            "time text"
        ]
    );
    assert_eq!(
        told(&pages[1]),
        [
            "number header etag, not stored",
            "number header x-request-id, not stored"
        ]
    );
    assert_eq!(told(&pages[2]), Vec::<String>::new());
    assert_eq!((summary.pages, summary.noisy, summary.failed), (3, 1, 0));
    assert_eq!(everything(&proxy.dir()), before);
    assert_eq!(backend.count("/same"), 3, "stored, and looked at twice");
}

#[tokio::test]
async fn cookies_and_tokens_are_named_and_not_shown() {
    let backend = Backend::start().await;
    counted(&backend, "/form", |n| {
        page(&format!("<input name=csrf_token value=secret{n}>"))
            .with("Set-Cookie", &format!("session=secret{n}"))
            .with(
                "Content-Security-Policy",
                &format!("script-src 'nonce-secret{n}'"),
            )
    });
    backend.fallback(|_| page("x"));
    let proxy = stored(&backend, &["/a"]).await;
    let (pages, _) = found(&proxy, None, (&["/form"], 20)).await.expect("a look");
    assert_eq!(
        told(&pages[0]),
        [
            "nonce header content-security-policy",
            "cookie header set-cookie, not stored",
            "csrf-token <input value>"
        ]
    );
    assert!(!format!("{pages:?}").contains("secret"), "{pages:?}");
    assert_eq!(pages[0].not_stored, Some(Reason::SetCookie));
}

#[tokio::test]
async fn so_many_pages_are_looked_at_and_what_fails_is_told() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = stored(&backend, &["/a", "/b", "/c"]).await;
    backend.on("/a", Answer::new(500));
    let (pages, summary) = found(&proxy, Some(opened(&proxy)), (&[], 2))
        .await
        .expect("a look");
    assert_eq!((summary.pages, summary.left_out, summary.failed), (2, 1, 1));
    assert_eq!(pages[0].failed, Some(Reason::ServerError));
    assert_eq!((backend.count("/a"), backend.count("/c")), (2, 1));
    let error = found(&proxy, None, (&["/x/*"], 2)).await.expect_err("nothing");
    assert!(
        error.to_string().contains("nothing that is stored matches"),
        "{error}"
    );
}
