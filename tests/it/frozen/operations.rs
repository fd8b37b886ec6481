//! What a request asks of the disk.

use std::path::Path;
use std::sync::{Arc, Mutex};

use phantom_frame::Reason;

use super::{checked_out, site};
use crate::rig::{Answer, Backend, Proxy, Setup, get};

/// Operations on files, and on which.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Asked {
    fn of(setup: Setup) -> (Setup, Self) {
        let asked = Self::default();
        let inner = asked.clone();
        let setup = setup.configured(move |config| {
            let asked = inner.clone();
            config.with_disk_faults(Arc::new(move |operation, path: &Path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                asked
                    .0
                    .lock()
                    .expect("a list")
                    .push((operation, name.into_owned()));
                Ok(())
            }))
        });
        (setup, asked)
    }

    fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.0.lock().expect("a list"))
    }

    /// How often a file's state was asked for, while no sidecar was read. Where bodies are not held in memory, one may be.
    #[track_caller]
    fn looks(&self) -> usize {
        let asked = self.take();
        let is_read = |(operation, name): &(&str, String)| *operation != "stat" && !name.ends_with(".html");
        assert!(!asked.iter().any(is_read), "{asked:?}");
        asked.iter().filter(|(operation, _)| *operation == "stat").count()
    }
}

#[tokio::test]
async fn a_hit_looks_at_its_two_files_and_reads_none_again() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let (setup, asked) = Asked::of(checked_out(&proxy, &backend, |_| ()));
    let proxy = setup.start().await;
    assert!(
        asked.take().iter().all(|(operation, _)| *operation != "readdir"),
        "nothing is read through at the start"
    );
    proxy.get("/").await.assert_hit();
    asked.take();

    for _ in 0..2 {
        let response = proxy.get("/").await;
        response.assert(200, "page /").assert_hit();
        // One more where the kernel does not say it at once.
        let looks = asked.looks();
        assert!((2..=3).contains(&looks), "{looks}");
    }
}

#[tokio::test]
async fn a_hit_of_a_variant_reads_the_base_no_more() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&backend).await;
    let german = || get("/").with("Accept-Language", "de");
    for _ in 0..2 {
        proxy.send(german()).await.assert(200, "de");
    }
    let (setup, asked) = Asked::of(checked_out(&proxy, &backend, |_| ()));
    let proxy = setup.start().await;
    let italian = || get("/").with("Accept-Language", "it");
    for (request, reason) in [(german(), None), (italian(), Some(Reason::OtherVariant))] {
        proxy.send(request).await.assert_hit();
        asked.take();
        let again = match reason {
            None => proxy.send(german()).await,
            Some(_) => proxy.send(italian()).await,
        };

        again.assert_hit();
        assert_eq!(
            again.cache().detail.as_deref(),
            reason.map(|reason| reason.as_str())
        );
        let looks = asked.looks();
        assert!((3..=4).contains(&looks), "{looks} for {reason:?}");
    }
}

#[tokio::test]
async fn an_address_that_does_not_exist_costs_a_few_looks() {
    const MOST: usize = 8;
    let backend = site().await;
    backend.on("/404.html", Answer::page("not here"));
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let (setup, bare) = Asked::of(checked_out(&proxy, &backend, |_| ()));
    let without = setup.start().await;
    proxy.warm("/404.html").await;
    let (setup, asked) = Asked::of(checked_out(&proxy, &backend, |_| ()));
    let with = setup.start().await;
    without
        .get("/missing")
        .await
        .assert_refused(404, Reason::NotStored);
    with.get("/missing").await.assert(404, "not here");
    bare.take();
    asked.take();

    for target in ["/another", "/a/third", "/missing"] {
        with.get(target).await.assert(404, "not here");
        without.get(target).await.assert_refused(404, Reason::NotStored);
        let looks = (asked.looks(), bare.looks());
        assert!(looks.0 <= MOST && looks.1 <= MOST, "{looks:?} for {target}");
    }
}

#[tokio::test]
async fn the_page_for_what_is_missing_is_what_the_directory_has_by_now() {
    let backend = site().await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let (setup, _) = Asked::of(checked_out(&proxy, &backend, |_| ()));
    let shown = setup.start().await;
    shown.get("/missing").await.assert_refused(404, Reason::NotStored);
    backend.on("/404", Answer::page("not here"));
    backend.on("/404.html", Answer::page("nowhere"));

    for (page, text) in [("/404", "not here"), ("/404.html", "nowhere")] {
        proxy.warm(page).await;
        super::check_out(&proxy.dir(), &shown.dir());
        shown.clock().advance(2);
        shown.get("/missing").await.assert(404, text);
    }
    // What goes is gone at once.
    for text in ["not here", "404 there is no such page\n"] {
        let mut of_page = shown.pages();
        of_page.retain(|file| file.contains("404."));
        // The other one stands for it as long as there is no `404.html`.
        let is_first = of_page.iter().any(|file| file.contains("404.html."));
        for file in of_page
            .iter()
            .filter(|file| file.contains("404.html.") == is_first)
        {
            std::fs::remove_file(shown.dir().join(file)).expect("a file");
        }
        shown.get("/missing").await.assert(404, text);
    }
}
