//! What once went wrong in ways that no plan of tests had foreseen: each was a bug, and stays mended.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use phantom_frame::RefreshMode;

use crate::rig::{Answer, Backend, Gate, Proxy, Recorded, Setup, eventually, get, post};

/// Revalidating a variant by Last-Modified overwrites the base with the variant's body.
#[tokio::test]
async fn a_304_for_one_variant_leaves_the_others_alone() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let language = request.field("accept-language").unwrap_or("none").to_owned();
        let fields = |answer: Answer| {
            answer
                .with("Vary", "Accept-Language")
                .with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
                .with("Cache-Control", "max-age=60")
        };
        if request.field("if-modified-since").is_some() {
            return fields(Answer::new(304));
        }
        fields(Answer::page(language))
    });
    let proxy = Proxy::start(&backend).await;
    let de = || proxy.send(get("/").with("Accept-Language", "de"));
    de().await.assert(200, "de");
    proxy.get("/").await.assert(200, "none");
    proxy.clock().advance(61);
    de().await.assert(200, "de");
    assert_eq!(
        backend.last("/").field("accept-language"),
        Some("de"),
        "a variant is validated with what selects it"
    );
    let plain = proxy.get("/").await;
    plain.assert(200, "none");
}

/// Variants are compared by 32 bits only.
#[tokio::test]
async fn two_values_with_one_id_are_two_variants() {
    fn id(value: &str) -> u32 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(7u64).to_le_bytes());
        hasher.update(b"x-theme");
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value.as_bytes());
        let hash = hasher.finalize();
        u32::from_be_bytes(hash.as_bytes()[..4].try_into().unwrap())
    }
    let mut seen: HashMap<u32, String> = HashMap::new();
    let mut found = None;
    for n in 0..2_000_000u32 {
        let value = format!("v{n}");
        if let Some(other) = seen.insert(id(&value), value.clone()) {
            found = Some((other, value));
            break;
        }
    }
    let (one, other) = found.expect("a collision");
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let theme = request.field("x-theme").unwrap_or("none").to_owned();
        Answer::page(theme).with("Vary", "X-Theme")
    });
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert(200, "none");
    proxy.send(get("/").with("X-Theme", &one)).await.assert(200, &one);
    proxy
        .send(get("/").with("X-Theme", &other))
        .await
        .assert(200, &other);
}

/// Our own placeholder counts as a foreign change and overtakes the page's fill.
#[tokio::test]
async fn a_variant_that_is_stored_first_does_not_cost_the_page_its_place() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let held = gate.clone();
    backend.on_fn("/", move |request| {
        if request.field("rsc").is_some() {
            Answer::page("rsc").with("Vary", "RSC")
        } else {
            Answer::page("html").with("Vary", "RSC").held(&held)
        }
    });
    let proxy = Proxy::start(&backend).await;
    let page = proxy.client().begin(&get("/")).await;
    backend.until_count("/", 1).await;
    proxy.send(get("/").with("RSC", "1")).await.assert(200, "rsc");
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.open();
    page.head().await.finish().await.assert(200, "html");
    proxy.get("/").await.assert_hit();
}

/// A stale mark replayed after a crash is lost by the next restart.
#[tokio::test]
async fn a_replayed_mark_survives_another_restart() {
    let backend = Backend::with_page("old").await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.stop().await;
    proxy.leave_in_log(&["stale /"]);
    proxy.start_again().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.restart().await;
    backend.on("/", Answer::page("new"));
    proxy.get("/").await.assert(200, "new");
}

/// Marking a page whose file has just been deleted by another program.
#[tokio::test]
async fn marking_what_is_gone_is_no_failure() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    // Until then the log is kept.
    proxy.until_ready().await;
    for path in proxy.pages() {
        fs::remove_file(proxy.dir().join(path)).unwrap();
    }
    let refreshed = proxy.trigger().refresh_matching(&["/"], RefreshMode::Stale).await;
    let log = fs::read_to_string(proxy.dir().join(".phantom/invalidations")).unwrap();
    assert!(refreshed.is_ok(), "{refreshed:?}");
    assert_eq!(log, "");
}

/// A restored page is reached by an invalidation that comes before the watcher has seen it.
#[tokio::test]
async fn an_invalidation_reaches_files_that_were_put_there_a_moment_ago() {
    let backend = Backend::with_page("old").await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    let kept = proxy.contents();
    proxy.trigger().refresh().await.unwrap();
    backend.on("/", Answer::page("new"));
    for (path, bytes) in kept {
        let path = proxy.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    proxy.trigger().refresh().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    proxy.get("/").await.assert(200, "new");
}

/// A body's content type is not in the key of a method that is stored by name.
#[tokio::test]
async fn the_content_type_of_a_keyed_body_tells_pages_apart() {
    let backend = Backend::start().await;
    backend.on_fn("/search", |request| {
        Answer::page(request.field("content-type").unwrap_or("none").to_owned())
    });
    let proxy = Setup::over(&backend)
        .with(|settings| settings.include_paths = vec!["POST /search".into()])
        .start()
        .await;
    let ask = |kind: &'static str| proxy.send(post("/search", "q=1").with("Content-Type", kind));
    ask("text/evil").await.assert(200, "text/evil");
    ask("application/x-www-form-urlencoded")
        .await
        .assert(200, "application/x-www-form-urlencoded");
}

/// A method that include_paths names does not invalidate, not even where it passes.
#[tokio::test]
async fn a_passing_request_of_a_named_method_marks_nothing() {
    let backend = Backend::with("/search", Answer::page("found")).await;
    let proxy = Setup::over(&backend)
        .with(|settings| settings.include_paths = vec!["POST /search".into()])
        .start()
        .await;
    let ask = || proxy.send(post("/search", "q=1"));
    ask().await.assert_stored();
    ask().await.assert_hit();
    proxy
        .send(post("/search", "q=2").with("Cookie", "session=1"))
        .await
        .assert(200, "found");
    ask().await.assert_hit();
}

/// A stranger's made-up preset field wipes the variants of a page.
#[tokio::test]
async fn a_preset_field_that_no_answer_names_wipes_nothing() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let kind = request.field("rsc").map_or("html", |_| "rsc");
        Answer::page(kind).with("Vary", "RSC")
    });
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert(200, "html");
    proxy.send(get("/").with("RSC", "1")).await.assert(200, "rsc");
    proxy.send(get("/").with("RSC", "1")).await.assert_hit();
    proxy.send(get("/").with("hx-made-up-by-a-stranger", "1")).await;
    proxy.send(get("/").with("RSC", "1")).await.assert_hit();
}

/// With a custom key on User-Agent the fill has two of them.
#[tokio::test]
async fn a_field_that_the_key_depends_on_goes_out_once() {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .key_fn(|info| {
            let agent = info.headers.get("user-agent").and_then(|v| v.to_str().ok());
            format!(
                "{}:{}",
                info.path,
                agent.is_some_and(|agent| agent.contains("Mobile"))
            )
        })
        .start()
        .await;
    proxy
        .send(get("/").with("User-Agent", "Mobile"))
        .await
        .assert(200, "page");
    assert_eq!(backend.last("/").field("user-agent"), Some("Mobile"));
}

/// A 404 with no-cache is not used without validation.
#[tokio::test]
async fn a_404_with_no_cache_is_asked_for_again() {
    let backend = Backend::with(
        "/",
        Answer::new(404).with("Cache-Control", "no-cache").body("gone"),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await;
    proxy.get("/").await;
    assert_eq!(backend.count("/"), 2);
}

/// A page that the backend says is gone does not come back when the backend is down.
#[tokio::test]
async fn a_404_on_validation_takes_the_stored_page_out() {
    let mut backend = Backend::with(
        "/",
        Answer::page("page")
            .with("Cache-Control", "max-age=60")
            .with("ETag", "\"1\""),
    )
    .await;
    let proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.clock().advance(61);
    backend.on("/", Answer::new(404).body("no"));
    proxy.get("/").await.assert(404, "no");
    proxy.clock().advance(61);
    backend.stop().await;
    let response = proxy.get("/").await;
    assert_ne!(response.text(), "page");
}

const MIB: usize = 1 << 20;

/// In front of a page of so many MiB, which begins like that, and outgrows `max_body`, in MiB too.
async fn outgrown(backend: &Backend, (first, size): (Answer, usize), max_body: u64) -> Proxy {
    let parts = (1..size).map(|_| vec![b'b'; MIB]);
    backend.on("/", parts.fold(first, Answer::body));
    Setup::over(backend)
        .with(move |settings| {
            settings.max_body = max_body << 20;
            settings.body_timeout = Duration::from_secs(1);
        })
        .start()
        .await
}

/// Slow readers of a body that outgrew max_body are not cut while they read.
#[tokio::test]
async fn a_slow_reader_of_a_large_body_gets_all_of_it() {
    let backend = Backend::start().await;
    let first = Answer::page(vec![b'a'; MIB]).chunked();
    let proxy = outgrown(&backend, (first, 48), 24).await;
    let mut exchange = proxy.client().open(get("/")).await;
    for n in 1..=40 {
        exchange.at_least(n * MIB).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let response = exchange.finish().await;
    assert_eq!(response.body.len(), 48 * MIB);
}

fn in_language(word: &str, request: &Recorded) -> Answer {
    let language = request.field("accept-language").unwrap_or("none");
    Answer::page(format!("{word} {language}")).with("Vary", "Accept-Language")
}

/// The base sidecar was deleted: no old variant comes back.
#[tokio::test]
async fn deleting_the_base_sidecar_takes_the_variants_along() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| in_language("old", request));
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await;
    for language in ["de", "fr"] {
        proxy.send(get("/").with("Accept-Language", language)).await;
    }
    backend.on_fn("/", |request| in_language("new", request));
    for file in proxy.pages() {
        if !file.contains('~') {
            fs::remove_file(proxy.dir().join(file)).unwrap();
        }
    }
    eventually("the deletion to show", async || {
        (proxy.get("/").await.text() == "new none").then_some(())
    })
    .await;
    proxy
        .send(get("/").with("Accept-Language", "fr"))
        .await
        .assert(200, "new fr");
}

/// A reader that was cut off for slowness never gets a clean end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_cut_off_sees_it() {
    let backend = Backend::start().await;
    let gate = Gate::new();
    let first = Answer::page(vec![b'a'; MIB]).chunked().wait(&gate);
    let proxy = outgrown(&backend, (first, 64), 16).await;
    let mut slow = proxy.client().open(get("/")).await;
    let fast = proxy.client().open(get("/")).await;
    slow.at_least(MIB / 2).await;
    gate.open();
    let fast = fast.finish().await;
    assert!(fast.body.len() == 64 * MIB, "who reads gets all of it");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let slow = slow.finish().await;
    assert!(slow.body.len() == 64 * MIB || slow.end == crate::rig::End::Cut);
}

/// Fields that a visitor made up are no axes.
#[tokio::test]
async fn made_up_fields_wipe_no_variants() {
    let backend = Backend::start().await;
    backend.on_fn("/", |request| {
        let kind = request.field("rsc").map_or("html", |_| "rsc");
        Answer::page(kind).with("Vary", "RSC")
    });
    let proxy = Proxy::start(&backend).await;
    proxy.get("/").await.assert(200, "html");
    proxy.send(get("/").with("RSC", "1")).await.assert(200, "rsc");
    proxy.send(get("/").with("RSC", "1")).await.assert_hit();
    proxy
        .send(get("/").with("RSC", "x").with("hx-made-up-by-a-stranger", "1"))
        .await;
    proxy.send(get("/").with("RSC", "1")).await.assert_hit();
}

/// An invalidation that comes while a commit rewrites the base sidecar.
#[tokio::test]
async fn an_invalidation_during_the_rewrite_of_the_base_takes_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let backend = Backend::with("/", Answer::page("old").with("Vary", "X-A")).await;
    let trigger = phantom_frame::RefreshTrigger::new();
    let armed = Arc::new(AtomicBool::new(false));
    let (is_armed, inner) = (armed.clone(), trigger.clone());
    let proxy = Setup::over(&backend)
        .trigger(trigger)
        .configured(move |config| {
            let (armed, trigger) = (is_armed.clone(), inner.clone());
            config.with_disk_faults(Arc::new(move |operation, path: &std::path::Path| {
                if operation == "sync"
                    && path.extension().is_some_and(|extension| extension == "toml")
                    && armed.swap(false, Ordering::SeqCst)
                {
                    trigger.trigger_by_key_match("/");
                }
                Ok(())
            }))
        })
        .start()
        .await;
    proxy.warm("/").await;
    backend.on("/", Answer::page("a").with("Vary", "X-A, X-B"));
    armed.store(true, Ordering::SeqCst);
    proxy.send(get("/").with("X-A", "1")).await;
    assert!(!armed.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_millis(300)).await;
    backend.on("/", Answer::page("new").with("Vary", "X-A, X-B"));
    proxy.get("/").await.assert(200, "new");
}

/// Fields of a hand-written sidecar that belong to a connection.
#[tokio::test]
async fn a_sidecar_cannot_break_the_framing() {
    for (status, body, field) in [
        (200, "page", "[\"transfer-encoding\", \"chunked\"],"),
        (301, "", "[\"content-length\", \"5\"],"),
        (200, "page", "[\"content-length\", \"2\"],"),
        (200, "page", "[\"connection\", \"upgrade\"],"),
    ] {
        let answer = Answer::new(status)
            .with("Content-Type", "text/html")
            .with("Location", "/x")
            .body(body);
        let backend = Backend::with("/", answer).await;
        let mut proxy = Proxy::start(&backend).await;
        proxy.warm("/").await;
        proxy.stop().await;
        let (path, text) = proxy.sidecar("site.test/index.");
        fs::write(
            path,
            text.replace("headers = [", &format!("headers = [\n  {field}")),
        )
        .unwrap();
        proxy.start_again().await;
        let response = proxy.get("/").await;
        response.assert(status, body);
        assert!(!response.cache().hit, "{field} is none of a page's: {response:?}");
    }
}

/// Who only reads a directory leaves the writer's log alone.
#[tokio::test]
async fn a_reader_leaves_the_log_alone() {
    let backend = Backend::with_page("page").await;
    let mut proxy = Proxy::start(&backend).await;
    proxy.warm("/").await;
    proxy.stop().await;
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(proxy.dir().join(".phantom/lock"))
        .unwrap();
    let locked = async || lock.try_lock().ok();
    eventually("the lock", locked).await;
    let log = proxy.dir().join(".phantom/invalidations");
    fs::write(&log, "1 delete /x\n").unwrap();
    proxy.start_again().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.get("/").await.assert_hit();
    assert_eq!(fs::read_to_string(&log).unwrap(), "1 delete /x\n");
}
