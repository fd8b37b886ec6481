//! A look at a site.

use std::time::Duration;

use phantom_frame::Reason;
use phantom_frame::compare::{Advice, CheckSummary, CheckedPage, Event, Options, Verdict, advice, check};

use super::{page, start};
use crate::rig::{Answer, Backend, Proxy};

struct Looked {
    pages: Vec<CheckedPage>,
    summary: CheckSummary,
    advice: Advice,
}

impl Looked {
    async fn at(proxy: &Proxy, url: &str, limit: usize) -> Self {
        let mut pages = Vec::new();
        let observe = |event: Event<'_, CheckedPage>| {
            if let Event::Done(page, ..) = event {
                pages.push(page.clone());
            }
        };
        let mut options = Options::of(None);
        options.concurrency = 1;
        let how = (&options, limit, Duration::ZERO);
        let summary = check(&proxy.config(), url, how, observe).await.expect("a look");
        Self {
            advice: advice(&summary, &pages),
            summary,
            pages,
        }
    }

    #[track_caller]
    fn page(&self, page: &str) -> &CheckedPage {
        let found = self.pages.iter().find(|one| one.page == page);
        found.unwrap_or_else(|| panic!("{page} is not among {:?}", self.pages))
    }

    fn warning(&self, kind: &str) -> Option<&[String]> {
        let mut warnings = self.advice.warnings.iter();
        warnings.find(|one| one.kind == kind).map(|one| &*one.pages)
    }
}

#[tokio::test]
async fn a_site_is_followed_and_each_page_judged() {
    let backend = Backend::start().await;
    let home = format!(
        "<a href=/cart>1</a><a href=/form>2</a><a href=/style.css>3</a><a href=/gone>4</a><a href=/lang>5</a>\
         <link rel=canonical href={}/>",
        backend.url()
    );
    backend.on("/", page(&home));
    backend.on(
        "/cart",
        page("<a href=/deep>x</a>").with("Cache-Control", "no-store"),
    );
    backend.on("/deep", page("<p>deep").with("Age", "7"));
    backend.on(
        "/form",
        page("<input name=csrf_token value=1>").with("Set-Cookie", "session=secret"),
    );
    backend.on("/lang", page("<p>x").with("Vary", "Accept-Language"));
    backend.on(
        "/style.css",
        Answer::new(200).with("Content-Type", "text/css").body("a{}"),
    );
    backend.fallback(|_| Answer::new(404));
    let proxy = start(&backend).await;
    let files = proxy.files();

    let looked = Looked::at(&proxy, &backend.url(), 20).await;

    let order: Vec<&str> = looked.pages.iter().map(|page| &*page.page).collect();
    assert_eq!(
        order,
        ["/", "/cart", "/form", "/gone", "/lang", "/deep", "/style.css"]
    );
    assert_eq!(looked.page("/").verdict, Verdict::Stored);
    assert_eq!(looked.page("/cart").verdict, Verdict::NotStored(Reason::NoStore));
    assert_eq!(looked.page("/gone").verdict, Verdict::Missing);
    assert_eq!(looked.page("/gone").found_on.as_deref(), Some("/"));
    let form = looked.page("/form");
    assert_eq!(form.verdict, Verdict::NotStored(Reason::SetCookie));
    assert_eq!(
        (form.marked, &*form.cookies),
        (Some(Reason::CsrfField), &["session".to_owned()][..])
    );
    assert_eq!(looked.page("/lang").varies_by, ["accept-language"]);
    assert_eq!(looked.warning("cookies"), Some(&["/form".to_owned()][..]));
    assert_eq!(looked.warning("csrf"), Some(&["/form".to_owned()][..]));
    assert_eq!(looked.warning("vary"), Some(&["/lang".to_owned()][..]));
    assert_eq!(looked.warning("host"), Some(&["/".to_owned()][..]));
    assert_eq!(looked.warning("cache"), Some(&["/deep".to_owned()][..]));
    assert_eq!(looked.warning("noise"), None);
    assert!(
        looked
            .advice
            .config
            .contains("#ignore_set_cookies = [\"session\"]")
    );
    assert!(!format!("{:?}", looked.pages).contains("secret"));
    // As a fill asks, and twice; nothing of it is kept.
    let asked = backend.requests_for("/");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].field("accept-encoding"), Some("identity"));
    assert_eq!(asked[0].field("x-forwarded-host"), Some("example.com"));
    assert_eq!(proxy.files(), files);
    assert_eq!(looked.summary.public.as_deref(), Some("https://example.com"));
}

#[tokio::test]
async fn so_many_pages_are_looked_at_and_assets_come_last() {
    let backend = Backend::start().await;
    backend.on(
        "/",
        page("<link rel=stylesheet href=/a.css><a href=/1>1</a><a href=/2>2</a><a href=/3>3</a>"),
    );
    backend.fallback(|_| page("x"));
    let proxy = start(&backend).await;
    let looked = Looked::at(&proxy, "https://example.com/", 3).await;
    let order: Vec<&str> = looked.pages.iter().map(|page| &*page.page).collect();
    assert_eq!((order, looked.summary.left_out), (vec!["/", "/1", "/2"], 2));
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_a_page_that_failed() {
    let mut backend = Backend::start().await;
    let proxy = start(&backend).await;
    backend.stop().await;
    let looked = Looked::at(&proxy, &backend.url(), 20).await;
    assert_eq!(looked.pages.len(), 1);
    assert_eq!(looked.pages[0].verdict, Verdict::Failed(Reason::Unreachable));
}
