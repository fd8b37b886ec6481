//! Variants: a page that differs by request fields is kept once for each value.

use phantom_frame::{FillMode, Reason};

use crate::rig::{Answer, Backend, Proxy, Response, eventually, get};

/// A backend whose page is in the language that is asked for.
async fn polyglot() -> Backend {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    backend
}

async fn in_language(proxy: &Proxy, language: &str) -> Response {
    proxy.send(get("/").with("Accept-Language", language)).await
}

#[tokio::test]
async fn visitors_get_the_page_in_their_own_language() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;

    // The very first visitor too, whose fill was rendered for nobody.
    in_language(&proxy, "de").await.assert(200, "de");
    in_language(&proxy, "fr").await.assert(200, "fr");
    proxy.get("/").await.assert(200, "none");

    let asked = backend.count("/");
    in_language(&proxy, "de").await.assert(200, "de").assert_hit();
    in_language(&proxy, "fr").await.assert(200, "fr").assert_hit();
    proxy.get("/").await.assert(200, "none").assert_hit();
    assert_eq!(backend.count("/"), asked, "all of them are stored");
}

#[tokio::test]
async fn a_variant_is_validated_with_what_selects_it() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let answer = match request.field("if-modified-since") {
            Some(_) => Answer::new(304),
            None => Answer::page(language),
        };
        // Of all languages the same.
        answer
            .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .with("Vary", "Accept-Language")
            .with("Cache-Control", "max-age=60")
    });
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    for language in ["de", "fr"] {
        in_language(&proxy, language).await.assert(200, language);
        in_language(&proxy, language).await.assert_hit();
    }
    proxy.clock().advance(61);

    let validated = in_language(&proxy, "de").await;

    validated.assert(200, "de").assert_revalidated();
    assert_eq!(backend.last("/").field("accept-language"), Some("de"));
    in_language(&proxy, "fr")
        .await
        .assert(200, "fr")
        .assert_revalidated();
    proxy.get("/").await.assert(200, "none").assert_revalidated();
    for language in ["de", "fr"] {
        in_language(&proxy, language)
            .await
            .assert(200, language)
            .assert_hit();
    }
    proxy.get("/").await.assert(200, "none").assert_hit();
}

#[tokio::test]
async fn the_answer_that_taught_us_the_axis_is_kept_as_what_was_sent() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;

    in_language(&proxy, "de").await.assert(200, "de");

    let sent: Vec<_> = backend
        .requests_for("/")
        .iter()
        .map(|request| request.field("accept-language").map(str::to_owned))
        .collect();
    assert_eq!(sent, [None, Some("de".to_owned())]);
    // Who asked for the other one does not wait for it.
    eventually("the first answer to be kept", async || {
        (proxy.stored() == 2).then_some(())
    })
    .await;
    proxy.get("/").await.assert(200, "none").assert_hit();
    // From now on the axis is known, and a new language is one fetch.
    let response = in_language(&proxy, "it").await;
    response.assert(200, "it").assert_stored();
    assert_eq!(response.cache().fwd.as_deref(), Some("vary-miss"));
    assert_eq!(backend.count("/"), 3);
}

#[tokio::test]
async fn spellings_of_one_preference_are_one_variant() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;
    in_language(&proxy, "de-AT,de;q=0.9,en;q=0.5")
        .await
        .assert_stored();
    let asked = backend.count("/");

    for spelling in [
        "de-AT,de;q=0.9,en;q=0.5",
        "de-at, de;q=0.8, en;q=0.1",
        "en;q=0.2 ,DE;q=0.3, de-AT",
    ] {
        in_language(&proxy, spelling).await.assert_hit();
    }
    assert_eq!(backend.count("/"), asked);
    // Another order is another preference.
    assert!(!in_language(&proxy, "en,de-AT;q=0.9,de;q=0.5").await.cache().hit);
}

#[tokio::test]
async fn between_equal_weights_the_site_s_order_decides() {
    let backend = polyglot().await;
    let proxy = Proxy::with(&backend, |settings| {
        settings.languages = vec!["de".into(), "en".into()];
    })
    .await;
    in_language(&proxy, "en, de")
        .await
        .assert(200, "de")
        .assert_stored();
    let asked = backend.count("/");

    for spelling in ["de, en", " eN ,   De", "fr;q=0.5, de;q=1.0", "en;q=0.3,de;q=0.3"] {
        in_language(&proxy, spelling).await.assert(200, "de").assert_hit();
    }
    assert_eq!(backend.count("/"), asked);
    in_language(&proxy, "en, de;q=0.9").await.assert(200, "en");
}

#[tokio::test]
async fn spellings_of_one_list_are_one_variant() {
    for mode in [FillMode::Canonical, FillMode::Transparent] {
        let backend = Backend::start().await;
        backend.on_fn("/", |request| {
            let list = request.fields.all("x-list").join("|");
            Answer::page(list)
                .with("Vary", "X-Other")
                .with("Vary", "X-List, X-More")
        });
        let proxy = Proxy::with(&backend, move |settings| settings.fill = mode).await;
        let first = proxy.send(get("/").with("X-List", "a,b")).await;
        first.assert(200, "a,b").assert_stored();
        let asked = backend.count("/");

        for spelling in [" a, b ", "a ,b"] {
            let same = proxy.send(get("/").with("X-List", spelling)).await;
            same.assert(200, "a,b").assert_hit();
        }
        let lines = get("/").with("X-List", "a").with("X-List", "b");
        proxy.send(lines).await.assert(200, "a,b").assert_hit();
        assert_eq!(backend.count("/"), asked, "{mode:?}");
        // What is no list of tokens keeps its spaces, and absence is a value.
        for other in ["b,a", "\"a,b\"", "a b"] {
            let response = proxy.send(get("/").with("X-List", other)).await;
            response.assert(200, other).assert_stored();
        }
        for other in ["X-Other", "X-More"] {
            let request = get("/").with("X-List", "a,b").with(other, "");
            proxy.send(request).await.assert_stored();
        }
        assert!(!proxy.get("/").await.text().contains('a'), "{mode:?}");
    }
}

#[tokio::test]
async fn variants_beyond_the_limit_pass() {
    let backend = polyglot().await;
    let proxy = Proxy::with(&backend, |settings| settings.max_variants = 2).await;
    proxy.get("/").await.assert(200, "none");
    for language in ["de", "fr"] {
        in_language(&proxy, language)
            .await
            .assert(200, language)
            .assert_stored();
    }

    for language in ["it", "es", "pt"] {
        for _ in 0..2 {
            let response = in_language(&proxy, language).await;
            response.assert(200, language).assert_not_stored(Reason::Variants);
        }
    }

    for language in ["de", "fr"] {
        in_language(&proxy, language)
            .await
            .assert(200, language)
            .assert_hit();
    }
    let bodies: Vec<_> = proxy
        .pages()
        .into_iter()
        .filter(|file| file.ends_with(".html"))
        .collect();
    assert_eq!(bodies.len(), 3, "{bodies:?}");
}

#[tokio::test]
async fn variants_are_files_beside_each_other() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;
    in_language(&proxy, "de").await;
    in_language(&proxy, "fr").await;

    let bodies: Vec<_> = proxy
        .pages()
        .into_iter()
        .filter(|file| file.ends_with(".html"))
        .collect();
    let variants = bodies.iter().filter(|file| file.contains('~')).count();
    assert_eq!((bodies.len(), variants), (3, 2), "{bodies:?}");
    assert!(
        bodies.iter().all(|file| file.starts_with("site.test/index.")),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn an_invalidation_takes_all_variants() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;
    for language in ["de", "fr"] {
        in_language(&proxy, language).await;
        in_language(&proxy, language).await.assert_hit();
    }

    let gone = proxy
        .trigger()
        .refresh_matching(&["GET:/"], Default::default())
        .await;

    assert_eq!(gone.expect("the invalidation").removed, 3);
    for language in ["de", "fr"] {
        assert!(!in_language(&proxy, language).await.cache().hit, "{language}");
    }
}

#[tokio::test]
async fn a_page_that_varies_by_cookie_is_kept_for_visitors_without_one() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let name = request.field("cookie").unwrap_or("nobody").to_owned();
        Answer::page(name).with("Vary", "Cookie")
    });
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await.assert(200, "nobody");

    proxy
        .send(get("/").with("Cookie", "session=alice"))
        .await
        .assert(200, "session=alice")
        .assert_not_stored(Reason::Cookie);
    proxy.get("/").await.assert(200, "nobody").assert_hit();
    proxy
        .send(get("/").with("Cookie", "_ga=1"))
        .await
        .assert(200, "nobody")
        .assert_hit();
}

#[tokio::test]
async fn what_a_framework_asks_for_is_sent_along_and_kept_apart() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let flight = request.field("rsc") == Some("1");
        Answer::new(200)
            .with(
                "Content-Type",
                if flight { "text/x-component" } else { "text/html" },
            )
            .with("Vary", "RSC, Next-Router-State-Tree")
            .body(if flight { "flight data" } else { "page" })
    });
    let proxy = Proxy::start(&backend).await;
    let navigation = || get("/").with("RSC", "1").with("Accept", "*/*");

    proxy.send(navigation()).await.assert(200, "flight data");
    proxy.get("/").await.assert(200, "page");

    let asked = backend.count("/");
    proxy
        .send(navigation())
        .await
        .assert(200, "flight data")
        .assert_hit();
    proxy.get("/").await.assert(200, "page").assert_hit();
    assert_eq!(backend.count("/"), asked);
}

#[tokio::test]
async fn what_a_framework_asks_for_and_the_answer_does_not_name_is_kept_for_those_who_ask_so() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        Answer::page(if request.fields.has("rsc") {
            "flight"
        } else {
            "page"
        })
    });
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/other").await;

    let flight = proxy.send(get("/").with("RSC", "1")).await;

    flight.assert(200, "flight").assert_stored();
    proxy.get("/").await.assert(200, "page").assert_stored();
    proxy
        .send(get("/").with("RSC", "1"))
        .await
        .assert(200, "flight")
        .assert_hit();
    proxy
        .send(get("/").with("RSC", "2"))
        .await
        .assert(200, "flight")
        .assert_stored();
    proxy.get("/").await.assert(200, "page").assert_hit();
}

#[tokio::test]
async fn a_page_that_begins_to_vary_is_kept_by_its_new_axis() {
    let backend = Backend::with("/", Answer::page("for all")).await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    in_language(&proxy, "de")
        .await
        .assert(200, "for all")
        .assert_hit();

    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language")
    });
    proxy.trigger().trigger();

    in_language(&proxy, "de").await.assert(200, "de");
    in_language(&proxy, "fr").await.assert(200, "fr");
    in_language(&proxy, "de").await.assert(200, "de").assert_hit();
}

#[tokio::test]
async fn data_at_a_page_s_address_is_kept_once_the_page_says_that_it_varies_by_accept() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let wants_data = request
            .field("accept")
            .is_some_and(|accept| accept == "application/json");
        let answer = if wants_data {
            Answer::new(200)
                .with("Content-Type", "application/json")
                .body("{}")
        } else {
            Answer::page("page")
        };
        answer.with("Vary", "Accept").with("Cache-Control", "max-age=60")
    });
    let proxy = Proxy::start(&backend).await;
    let data = || get("/").with("Accept", "application/json");

    proxy
        .send(data())
        .await
        .assert(200, "{}")
        .assert_not_stored(Reason::Accept);
    proxy.warm("/").await;
    proxy.send(data()).await.assert(200, "{}").assert_stored();
    proxy.send(data()).await.assert(200, "{}").assert_hit();
    proxy.get("/").await.assert(200, "page").assert_hit();
}

#[tokio::test]
async fn made_up_values_do_not_keep_the_page_out() {
    let backend = polyglot().await;
    let proxy = Proxy::with(&backend, |settings| settings.max_variants = 2).await;
    for value in ["1", "2", "3"] {
        let response = proxy.send(get("/").with("HX-Target", value)).await;
        response.assert(200, "none");
    }
    proxy
        .send(get("/").with("HX-Target", "4"))
        .await
        .assert_not_stored(Reason::Variants);

    proxy.get("/").await.assert(200, "none").assert_stored();
    proxy.get("/").await.assert(200, "none").assert_hit();
}

#[tokio::test]
async fn a_field_that_no_answer_names_takes_no_variant_away() {
    let backend = polyglot().await;
    let mut proxy = Proxy::start(&backend).await;
    for language in ["de", "fr"] {
        in_language(&proxy, language).await.assert_stored();
    }
    let stranger = |name: &str| get("/").with("Accept-Language", "it").with(name, "1");

    for name in ["HX-Request", "RSC", "Turbo-Frame"] {
        proxy.send(stranger(name)).await.assert(200, "it");
    }

    let asked = backend.count("/");
    for language in ["de", "fr"] {
        in_language(&proxy, language)
            .await
            .assert(200, language)
            .assert_hit();
    }
    proxy.get("/").await.assert(200, "none").assert_hit();
    proxy.send(stranger("RSC")).await.assert(200, "it").assert_hit();
    assert_eq!(backend.count("/"), asked);

    proxy.restart().await;
    for language in ["de", "fr"] {
        in_language(&proxy, language)
            .await
            .assert(200, language)
            .assert_hit();
    }
    proxy.send(stranger("RSC")).await.assert(200, "it").assert_hit();
    assert_eq!(backend.count("/"), asked);
}

#[tokio::test]
async fn a_field_that_every_fill_sends_moves_the_variants() {
    let backend = polyglot().await;
    let proxy = Proxy::start(&backend).await;
    in_language(&proxy, "de").await.assert_stored();
    in_language(&proxy, "de").await.assert_hit();
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        Answer::page(language).with("Vary", "Accept-Language, Accept")
    });

    in_language(&proxy, "fr").await.assert(200, "fr");

    // Rendered for the one Accept of all fills, whoever asked.
    assert!(!in_language(&proxy, "de").await.cache().hit);
}
