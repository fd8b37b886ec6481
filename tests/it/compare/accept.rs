//! Taking the new rendering.

use phantom_frame::ErrorKind;
use phantom_frame::compare::{Accepted, Event, Options, Standing, accept};

use super::{Compared, everything, opened, page, stored};
use crate::rig::{Answer, Backend, Proxy};

async fn accepted(proxy: &Proxy, pattern: Option<&str>) -> Vec<Accepted> {
    let mut all = Vec::new();
    let observe = |event: Event<'_, Accepted>| {
        if let Event::Done(one, ..) = event {
            all.push(one.clone());
        }
    };
    let done = accept(
        &proxy.config(),
        (&opened(proxy), None),
        &Options::of(pattern),
        observe,
    )
    .await;
    done.expect("a run");
    all
}

#[tokio::test]
async fn what_differs_is_stored_and_the_rest_is_not_touched() {
    let backend = Backend::start().await;
    backend.fallback(|request| match request.field("if-none-match") {
        Some(_) => Answer::new(304),
        None => page("old").with("ETag", "W/\"1\""),
    });
    let proxy = stored(
        &backend,
        &["/same", "/changed", "/gone", "/cookie", "/moved", "/down"],
    )
    .await;
    // A validator that does not tell the two apart.
    backend.on_fn("/changed", |request| match request.field("if-none-match") {
        Some(_) => Answer::new(304),
        None => page("new").with("ETag", "W/\"1\""),
    });
    backend.on("/gone", Answer::new(404));
    backend.on("/cookie", page("x").with("Set-Cookie", "session=1"));
    // What would not be stored, and that no visitor's fill takes out.
    backend.on("/moved", Answer::new(302).with("Location", "/"));
    backend.on("/down", Answer::new(500));
    let before = everything(&proxy.dir());

    let all = accepted(&proxy, None).await;

    // Once to look, once to store, and never with a condition.
    let asked = backend.requests_for("/changed");
    assert_eq!(asked.len(), 3);
    assert!(
        asked
            .iter()
            .all(|request| request.field("if-none-match").is_none())
    );
    assert_eq!(backend.count("/same"), 2);
    let failed: Vec<_> = all.iter().filter(|one| one.is_failure()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].page.page, "/down");
    let compared = Compared::of(&proxy, None).await;
    compared
        .assert("/same", Standing::Same)
        .assert("/changed", Standing::Same);
    assert_eq!(compared.pages.len(), 3, "{compared:?}");
    let after = everything(&proxy.dir());
    let of = |name: &str| {
        let files = before
            .keys()
            .filter(|path| path.contains(name) && !path.contains(".phantom"));
        files.cloned().collect::<Vec<_>>()
    };
    for file in of("/same.").iter().chain(&of("/down.")) {
        assert_eq!(before.get(file), after.get(file), "{file}");
    }
    for name in ["/gone.", "/cookie.", "/moved."] {
        assert!(
            of(name).len() == 2 && of(name).iter().all(|file| !after.contains_key(file)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_page_that_is_named_is_stored_anew() {
    let backend = Backend::start().await;
    backend.fallback(|_| page("x"));
    let proxy = stored(&backend, &["/a"]).await;
    let all = accepted(&proxy, Some("/new")).await;
    assert_eq!((all.len(), all[0].page.standing), (1, Standing::New));
    assert!(!all[0].is_failure());
    assert_eq!(Compared::of(&proxy, None).await.pages.len(), 2);
}

#[tokio::test]
async fn a_page_that_ends_earlier_than_the_last_good_one_is_taken_as_it_is() {
    let backend = Backend::start().await;
    backend.on("/page", Answer::page("<html>whole</html>"));
    let proxy = stored(&backend, &["/page"]).await;
    backend.on("/page", Answer::page("<html>short"));

    let all = accepted(&proxy, None).await;

    assert!(all.iter().all(|one| !one.is_failure()), "{all:?}");
    assert_eq!(proxy.files_with("<html>short").len(), 1);
    assert_eq!(proxy.files_with("<html>whole"), Vec::<String>::new());
}

#[tokio::test]
async fn it_takes_the_lock() {
    let backend = Backend::with("/a", page("a")).await;
    let proxy = stored(&backend, &["/a"]).await;
    let _lock = proxy.take_lock().await;
    let none = |_: Event<'_, Accepted>| {};
    let done = accept(&proxy.config(), (&opened(&proxy), None), &Options::of(None), none).await;
    assert_eq!(done.expect_err("it is taken").kind(), ErrorKind::Locked);
    assert_eq!(backend.count("/a"), 1);
}
