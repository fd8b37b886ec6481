//! The demo: crawled, exported, and served by a plain server of files.

use std::collections::BTreeSet;

use axum::Router;
use phantom_frame::demo::{Pace, Site};
use phantom_frame::prerender::{PrerenderOptions, prerender};
use tower_http::services::ServeDir;

use super::{HOST, exported, folder, read};
use crate::rig::{Serving, Setup};

/// The addresses in a page's attributes, as the demo writes them.
fn links(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["href=\"", "src=\"", "url("] {
        for part in html.split(attribute).skip(1) {
            let end = part.find(['"', ')', '#']).unwrap_or(0);
            let link = &part[..end];
            if link.starts_with('/') && !link.starts_with("//") {
                found.push(link.replace("&amp;", "&"));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_link_of_the_demo_s_export_leads_somewhere_on_a_server_of_files() {
    let site = Serving::start(Site::new(Pace::Instant).router()).await;
    let backend = format!("http://{}", site.addr());
    let public = |settings: &mut phantom_frame::Settings| {
        settings.public_url = Some(format!("https://{HOST}"));
    };
    let proxy = Setup::over_url(backend).with(public).start().await;
    let mut options = PrerenderOptions::default();
    options.crawl = true;
    let summary = prerender(&proxy.engine(), &options, |_| ()).await.expect("a run");
    assert!(summary.new > 10 && summary.failed() == 0, "{summary:?}");
    let (_dir, folder) = folder();
    let exported = exported(&proxy, &folder).await;
    site.stop().await;

    // It is its owner's alone, and never stored.
    const OWN: &str = "/account";
    let dead: BTreeSet<_> = exported.dead.named.keys().map(String::as_str).collect();
    assert_eq!((dead, exported.origin.total), ([OWN].into(), 0), "{exported:?}");
    assert!(
        exported.kept.is_empty() && exported.left_out.is_empty(),
        "{exported:?}"
    );
    let files = Serving::start(Router::new().fallback_service(ServeDir::new(&folder))).await;
    let mut waiting: Vec<String> = vec!["/".into()];
    let mut seen: BTreeSet<String> = ["/", OWN].map(str::to_owned).into();
    while let Some(link) = waiting.pop() {
        let mut response = files.client().get(&link).await;
        if response.status == 307 {
            let folder = response.field("location").expect("a folder's address").to_owned();
            response = files.client().get(&folder).await;
        }
        assert_eq!(response.status, 200, "{link}");
        let kind = response.field("content-type").unwrap_or("").to_owned();
        if kind.starts_with("text/html") || kind.starts_with("text/css") {
            let new = links(&response.text())
                .into_iter()
                .filter(|link| seen.insert(link.clone()));
            waiting.extend(new);
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    assert!(read(&folder, "index.html").contains("<html"));
    files.stop().await;
}
