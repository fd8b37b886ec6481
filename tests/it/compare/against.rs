//! Two directories.

use phantom_frame::compare::{Event, PageDiff, Standing, diff_against};

use super::{changes, opened, page, stored};
use crate::rig::Backend;

#[tokio::test]
async fn two_directories_are_compared_without_a_backend() {
    let backend = Backend::start().await;
    backend.fallback(|request| page(&format!("<p>{}", request.target)));
    let old = stored(&backend, &["/same", "/changed", "/gone"]).await;
    backend.on("/changed", page("<p>other").with("ETag", "\"2\""));
    let new = stored(&backend, &["/same", "/changed", "/new"]).await;
    let asked = backend.total();
    let mut pages: Vec<PageDiff> = Vec::new();
    let compare = |pattern, pages: &mut Vec<PageDiff>| {
        pages.clear();
        let observe = |event: Event<'_, PageDiff>| {
            if let Event::Done(page, ..) = event {
                pages.push(page.clone());
            }
        };
        diff_against((&opened(&old), &opened(&new)), pattern, observe).expect("a comparison")
    };

    let summary = compare(None, &mut pages);

    let found: Vec<_> = pages.iter().map(|page| (&*page.page, page.standing)).collect();
    assert_eq!(
        found,
        [
            ("/changed", Standing::Changed),
            ("/gone", Standing::Gone),
            ("/new", Standing::New),
            ("/same", Standing::Same)
        ]
    );
    assert_eq!(changes(&pages[0]), ["+etag: \"2\"", "-/changed", "+other"]);
    assert!(changes(&pages[1]).iter().all(|line| line.starts_with('-')));
    assert_eq!((summary.differences(), backend.total()), (3, asked));
    assert!(compare(Some("/same"), &mut pages).is_clean());
}
