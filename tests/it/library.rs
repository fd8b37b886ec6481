//! The library as its documentation shows it.

use axum::Router;
use axum::routing::get as handle;
use phantom_frame::control::create_control_router;
use phantom_frame::{
    CreateProxyConfig, ErrorKind, RefreshTrigger, RequestInfo, create_proxy, create_proxy_for,
    create_proxy_with_trigger,
};

use crate::rig::{Answer, Backend, Proxy, Serving, Setup, get};

#[test]
fn create_proxy_works_outside_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let config = CreateProxyConfig::new("http://127.0.0.1:9".into()).with_snapshot_dir(dir.path());

    let (router, trigger) = create_proxy(config);

    // And serves in whichever runtime comes along.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async move {
            let backend = Backend::with_page("x").await;
            drop((router, trigger));
            let dir = tempfile::tempdir().unwrap();
            let config = CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path());
            let (router, trigger) = std::thread::spawn(|| create_proxy(config)).join().unwrap();
            let serving = Serving::start(router).await;
            serving.client().get("/").await.assert(200, "x").assert_stored();
            serving.client().get("/").await.assert_hit();
            trigger.trigger();
            serving.client().get("/").await.assert_stored();
            serving.stop().await;
        });
}

#[tokio::test]
async fn a_config_that_cannot_work_does_not_panic_and_proxies_uncached() {
    let backend = Backend::with_page("x").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (what, config) in [
        (
            "a directory that is none",
            CreateProxyConfig::new(backend.url()).with_snapshot_dir(&file),
        ),
        (
            "a pattern that is none",
            CreateProxyConfig::new(backend.url())
                .with_snapshot_dir(dir.path().join("a"))
                .with_include_paths(vec!["no pattern".into()]),
        ),
    ] {
        let (router, trigger) = create_proxy(config);
        let serving = Serving::start(router).await;
        for _ in 0..2 {
            let response = serving.client().get("/").await;
            response.assert(200, "x");
            assert!(
                !response.cache().hit && !response.cache().stored,
                "{what}: {response:?}"
            );
        }
        trigger.trigger();
        serving.stop().await;
    }
    // Where there is no backend to be had either, there is an answer.
    let config = CreateProxyConfig::new("not a url".into()).with_snapshot_dir(dir.path().join("b"));
    let (router, _trigger) = create_proxy(config);
    let serving = Serving::start(router).await;
    let status = serving.client().get("/").await.status;
    assert!((500..600).contains(&status), "{status}");
    serving.stop().await;
}

#[tokio::test]
async fn the_fallible_constructor_says_what_is_wrong() {
    let backend = Backend::with_page("x").await;
    let error = |setup: Setup| async move {
        match setup.try_start().await {
            Ok(_) => panic!("it started"),
            Err(error) => error,
        }
    };
    for url in [
        "not a url",
        "ftp://a.test",
        "http://",
        "http://user:secret@a.test",
        "",
    ] {
        let error = error(Setup::over_url(url.into())).await;
        assert_eq!(
            (error.kind(), error.setting()),
            (ErrorKind::Config, Some("proxy_url")),
            "{url}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let wrong =
        error(Setup::over(&backend).with(|settings| settings.include_paths = vec!["api/*".into()])).await;
    assert_eq!(
        (wrong.kind(), wrong.setting()),
        (ErrorKind::Config, Some("include_paths"))
    );
    assert!(wrong.to_string().contains("api/*"), "{wrong}");
    let wrong = error(Setup::over(&backend).with(|settings| {
        settings.public_url = Some("example.com".into());
    }))
    .await;
    assert_eq!(wrong.setting(), Some("public_url"));
    let wrong = error(Setup::over(&backend).with(|settings| {
        settings.trusted_proxies = vec!["10.0.0.0/99".into()];
    }))
    .await;
    assert_eq!(wrong.setting(), Some("trusted_proxies"));
}

#[tokio::test]
async fn two_proxies_of_one_process_share_a_directory() {
    let backend = Backend::with_page("x").await;
    let one = Proxy::start(&backend).await;
    let two = Setup::over(&backend).dir_of(&one).start().await;

    one.get("/").await.assert_stored();
    two.get("/").await.assert_hit();
    two.get("/b").await.assert_stored();
    one.get("/b").await.assert_hit();
    assert_eq!(backend.total(), 2);

    one.trigger().trigger();
    two.get("/").await.assert_stored();
}

#[tokio::test]
async fn two_backends_on_one_directory_are_refused() {
    let (a, b) = (Backend::with_page("a").await, Backend::with_page("b").await);
    let one = Proxy::start(&a).await;
    one.warm("/").await;

    let Err(error) = Setup::over(&b).dir_of(&one).try_start().await else {
        panic!("pages of two backends would be mixed up");
    };

    assert_eq!(error.kind(), ErrorKind::Foreign);
    one.get("/").await.assert(200, "a").assert_hit();
}

#[tokio::test]
async fn another_site_s_directory_is_refused() {
    let backend = Backend::with_page("x").await;
    let mut one = Proxy::with(&backend, |settings| settings.site = Some("one".into())).await;
    one.warm("/").await;
    one.stop().await;

    let Err(error) = Setup::over(&backend)
        .dir_of(&one)
        .with(|settings| settings.site = Some("two".into()))
        .try_start()
        .await
    else {
        panic!("another site's directory");
    };

    assert_eq!(error.kind(), ErrorKind::Foreign);
    assert!(error.to_string().contains("one"), "{error}");
    one.start_again().await;
    one.get("/").await.assert_hit();
}

#[tokio::test]
async fn the_backend_may_be_a_router_of_the_same_process() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    let site = Router::new()
        .route(
            "/page",
            handle(move || {
                let counted = counted.clone();
                async move {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    axum::response::Html("from a handler")
                }
            }),
        )
        .route("/echo", axum::routing::post(|body: String| async move { body }));
    let dir = tempfile::tempdir().unwrap();
    let config = CreateProxyConfig::new("http://in-process.test".into()).with_snapshot_dir(dir.path());
    let (router, trigger) = create_proxy_for(site, config);
    let serving = Serving::start(router).await;
    let client = serving.client();

    client
        .get("/page")
        .await
        .assert(200, "from a handler")
        .assert_stored();
    client
        .get("/page")
        .await
        .assert(200, "from a handler")
        .assert_hit();
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    trigger.trigger();
    client.get("/page").await.assert_stored();
    client
        .send(crate::rig::post("/echo", "sent"))
        .await
        .assert(200, "sent");
    assert_eq!(client.get("/missing").await.status, 404);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 2);
    serving.stop().await;
}

#[tokio::test]
async fn a_proxy_nests_in_a_larger_app() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let dir = tempfile::tempdir().unwrap();
    let (proxy, trigger) = create_proxy(CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path()));
    let app = Router::new()
        .route("/health", handle(|| async { "fine" }))
        .route(
            "/purge",
            axum::routing::post(move || async move { trigger.refresh().await.unwrap().removed.to_string() }),
        )
        .fallback_service(proxy);
    let serving = Serving::start(app).await;
    let client = serving.client();

    client.get("/health").await.assert(200, "fine");
    client
        .get("/page?x=1")
        .await
        .assert(200, "/page?x=1")
        .assert_stored();
    client
        .get("/page?x=1")
        .await
        .assert(200, "/page?x=1")
        .assert_hit();
    client.send(crate::rig::post("/purge", "")).await.assert(200, "1");
    client.get("/page?x=1").await.assert_stored();
    serving.stop().await;
}

#[tokio::test]
async fn a_proxy_nested_under_a_path_works_too() {
    let backend = Backend::start().await;
    backend.fallback(|request| Answer::page(request.target.clone()));
    let dir = tempfile::tempdir().unwrap();
    let (proxy, _trigger) = create_proxy(CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path()));
    let serving = Serving::start(Router::new().nest_service("/site", proxy)).await;

    // As axum does it: the prefix is gone for what is nested.
    serving
        .client()
        .get("/site/page")
        .await
        .assert(200, "/page")
        .assert_stored();
    serving.client().get("/site/page").await.assert_hit();
    serving.stop().await;
}

#[tokio::test]
async fn one_trigger_is_given_to_several_proxies() {
    let (a, b) = (Backend::with_page("a").await, Backend::with_page("b").await);
    let (in_a, in_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trigger = RefreshTrigger::new();
    let one = Serving::start(create_proxy_with_trigger(
        CreateProxyConfig::new(a.url()).with_snapshot_dir(in_a.path()),
        trigger.clone(),
    ))
    .await;
    let two = Serving::start(create_proxy_with_trigger(
        CreateProxyConfig::new(b.url()).with_snapshot_dir(in_b.path()),
        trigger.clone(),
    ))
    .await;
    for (serving, body) in [(&one, "a"), (&two, "b")] {
        serving.client().get("/").await.assert(200, body).assert_stored();
        serving.client().get("/").await.assert_hit();
    }

    trigger.trigger();

    for serving in [&one, &two] {
        serving.client().get("/").await.assert_stored();
    }
    one.stop().await;
    two.stop().await;
}

/// The documentation of 0.1, its examples as programs.
mod documentation_of_0_1 {
    use super::*;

    #[tokio::test]
    async fn library_integration() {
        let backend = Backend::with_page("x").await;
        let dir = tempfile::tempdir().unwrap();
        let proxy_config = CreateProxyConfig::new(backend.url())
            .with_include_paths(vec!["/api/*".to_string(), "/public/*".to_string()])
            .with_exclude_paths(vec!["/api/admin/*".to_string()])
            .with_websocket_enabled(true)
            .with_forward_get_only(false)
            .with_snapshot_dir(dir.path());
        let (proxy_app, refresh_trigger): (Router, RefreshTrigger) = create_proxy(proxy_config);
        let serving = Serving::start(proxy_app).await;

        serving.client().get("/api/users").await.assert_stored();
        serving.client().get("/api/users").await.assert_hit();
        assert!(!serving.client().get("/api/admin/x").await.cache().stored);
        refresh_trigger.trigger();
        serving.client().get("/api/users").await.assert_stored();
        serving.stop().await;
    }

    #[tokio::test]
    async fn custom_cache_key_function() {
        let backend = Backend::with_page("x").await;
        let dir = tempfile::tempdir().unwrap();
        let proxy_config = CreateProxyConfig::new(backend.url())
            .with_cache_key_fn(|req_info: &RequestInfo| {
                let filtered_query = if req_info.query.is_empty() {
                    String::new()
                } else {
                    format!("?{}", req_info.query)
                };
                format!("{}:{}{}", req_info.method, req_info.path, filtered_query)
            })
            .with_snapshot_dir(dir.path());
        let (proxy_app, refresh_trigger) = create_proxy(proxy_config);
        let serving = Serving::start(proxy_app).await;

        serving.client().get("/a?b").await.assert_stored();
        serving.client().get("/a?b").await.assert_hit();
        refresh_trigger.trigger_by_key_match("GET:/a?b");
        serving.client().get("/a?b").await.assert_stored();
        serving.stop().await;
    }

    #[tokio::test]
    async fn cache_key_with_headers() {
        let backend = Backend::start().await;
        backend.on_fn("/", |request| {
            Answer::page(request.field("accept-language").unwrap_or("none").to_owned())
        });
        let dir = tempfile::tempdir().unwrap();
        let proxy_config = CreateProxyConfig::new(backend.url())
            .with_cache_key_fn(|req_info| {
                let lang = req_info
                    .headers
                    .get("accept-language")
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or("en");
                format!(
                    "{}:{}?{}:lang={}",
                    req_info.method, req_info.path, req_info.query, lang
                )
            })
            .with_snapshot_dir(dir.path());
        let (proxy_app, _refresh_trigger) = create_proxy(proxy_config);
        let serving = Serving::start(proxy_app).await;

        for language in ["de", "fr"] {
            let request = || get("/").with("Accept-Language", language);
            serving
                .client()
                .send(request())
                .await
                .assert(200, language)
                .assert_stored();
            serving
                .client()
                .send(request())
                .await
                .assert(200, language)
                .assert_hit();
        }
        serving.stop().await;
    }

    #[test]
    fn request_info_can_be_made_by_hand() {
        let headers = http::HeaderMap::new();
        let info = RequestInfo {
            method: "GET",
            path: "/api/users",
            query: "id=123&sort=asc",
            headers: &headers,
        };
        assert_eq!(
            format!("{}:{}?{}", info.method, info.path, info.query),
            "GET:/api/users?id=123&sort=asc"
        );
    }

    #[tokio::test]
    async fn pattern_based_cache_invalidation() {
        let backend = Backend::with_page("x").await;
        let dir = tempfile::tempdir().unwrap();
        let (proxy_app, refresh_trigger) =
            create_proxy(CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path()));
        let serving = Serving::start(proxy_app).await;
        let client = serving.client();
        let is_hit = async |path: &str| client.get(path).await.cache().hit;
        for path in ["/api/users", "/users/7/posts", "/other"] {
            client.get(path).await;
            assert!(is_hit(path).await, "{path}");
        }

        refresh_trigger.trigger_by_key_match("GET:/api/*");
        assert!(!is_hit("/api/users").await);
        assert!(is_hit("/users/7/posts").await);
        refresh_trigger.trigger_by_key_match("*/users/*");
        assert!(!is_hit("/users/7/posts").await);
        refresh_trigger.trigger_by_key_match("POST:*");
        assert!(is_hit("/other").await && is_hit("/api/users").await);
        refresh_trigger.trigger_by_key_match("GET:/api/users");
        assert!(!is_hit("/api/users").await);
        assert!(is_hit("/other").await);
        let from_a_task = refresh_trigger.clone();
        tokio::spawn(async move { from_a_task.trigger() }).await.unwrap();
        assert!(!is_hit("/other").await);
        serving.stop().await;
    }

    #[tokio::test]
    async fn disabling_websockets() {
        let backend = Backend::with_page("x").await;
        let dir = tempfile::tempdir().unwrap();
        let config = CreateProxyConfig::new(backend.url())
            .with_websocket_enabled(false)
            .with_snapshot_dir(dir.path());
        let (proxy_app, _) = create_proxy(config);
        let serving = Serving::start(proxy_app).await;

        let request = get("/")
            .with("Connection", "Upgrade")
            .with("Upgrade", "websocket");
        assert_eq!(serving.client().send(request).await.status, 501);
        serving.stop().await;
    }

    #[tokio::test]
    async fn control_endpoint() {
        let backend = Backend::with_page("x").await;
        let dir = tempfile::tempdir().unwrap();
        let (proxy_app, refresh_trigger) =
            create_proxy(CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path()));
        let control_app = create_control_router(refresh_trigger, Some("secret".into()));
        let serving = Serving::start(proxy_app).await;
        let control = Serving::start(control_app).await;
        let page = serving.client();
        page.get("/").await.assert_stored();
        page.get("/").await.assert_hit();

        let order = || crate::rig::post("/refresh-cache", "").host("localhost");
        let refused = control.client().send(order()).await;
        assert_eq!(refused.status, 401, "{refused:?}");
        assert!(refused.fields.has("www-authenticate"), "{refused:?}");
        page.get("/").await.assert_hit();
        let wrong = control
            .client()
            .send(order().with("Authorization", "Bearer wrong"))
            .await;
        assert_eq!(wrong.status, 401, "{wrong:?}");
        let done = control
            .client()
            .send(order().with("Authorization", "Bearer secret"))
            .await;
        assert_eq!(done.status, 200, "{done:?}");
        page.get("/").await.assert_stored();
        serving.stop().await;
        control.stop().await;
    }
}

#[tokio::test]
async fn the_handle_counts_lists_and_ends() {
    let backend = Backend::with("/", Answer::page("x")).await;
    backend.on(
        "/data",
        Answer::new(200)
            .with("Content-Type", "application/json")
            .body("{}"),
    );
    let dir = tempfile::tempdir().unwrap();
    let config = CreateProxyConfig::new(backend.url()).with_snapshot_dir(dir.path());
    let proxy = phantom_frame::Proxy::new(config).expect("a proxy");
    let serving = Serving::start(proxy.router()).await;
    let client = serving.client();
    client.get("/").await.assert_stored();
    client.get("/").await.assert_hit();
    client
        .get("/data")
        .await
        .assert_not_stored(phantom_frame::Reason::Json);

    let statistics = proxy.statistics();
    assert_eq!(statistics.of(phantom_frame::Outcome::Hit), 1);
    assert_eq!(statistics.of(phantom_frame::Outcome::Miss), 1);
    assert_eq!(statistics.reasons.get(&phantom_frame::Reason::Json), Some(&1));
    let keys = proxy.stored_keys();
    assert!(
        matches!(keys.as_slice(), [key] if key == "GET:/"),
        "line 1 of the key, without host and scheme: {keys:?}"
    );
    assert_eq!(proxy.snapshot_count(), 1);
    assert!(proxy.shut_down(std::time::Duration::from_secs(10)).await);
    serving.stop().await;
}
