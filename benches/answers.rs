//! Whole answers of a proxy over a directory: from memory, from the file, conditional, without a body, and fetched.
//!
//! Without sockets: what the server does around them is measured by `bench/compare`, and counted by
//! `bench/instructions`.

use std::hint::black_box;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::Html;
use criterion::Criterion;
use http::header::{CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, StatusCode};
use phantom_frame::{CreateProxyConfig, Proxy};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

const LENGTH: usize = 10 * 1024;
const PAGE: &str = "/page";

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let memory = Bench::new(64 << 20);
    let disk = Bench::new(0);
    let etag = memory.ask(Method::GET, PAGE, None).headers[ETAG].clone();
    let etag = etag.to_str().expect("a tag in ASCII");
    for (name, bench, method, tag, status, length) in [
        ("memory", &memory, Method::GET, None, StatusCode::OK, LENGTH),
        ("disk", &disk, Method::GET, None, StatusCode::OK, LENGTH),
        (
            "304",
            &memory,
            Method::GET,
            Some(etag),
            StatusCode::NOT_MODIFIED,
            0,
        ),
        ("head", &memory, Method::HEAD, None, StatusCode::OK, 0),
    ] {
        let answer = bench.ask(method.clone(), PAGE, tag);
        assert_eq!((answer.status, answer.length), (status, length), "{name}");
        assert!(answer.cache_status().contains(";hit"), "{name} is a hit");
        criterion.bench_function(&format!("hit/{name}"), |bencher| {
            bencher.iter(|| black_box(bench.ask(method.clone(), PAGE, tag)));
        });
    }
    let mut number = 0_u64;
    criterion.bench_function("miss", |bencher| {
        bencher.iter(|| {
            number += 1;
            let path = format!("/cold/{}/{number}", number / 100);
            let answer = memory.ask(Method::GET, &path, None);
            assert!(answer.cache_status().contains("stored"), "{path} is stored");
        });
    });
    criterion.final_summary();
}

/// A proxy over a directory of its own, in front of handlers, with a page stored.
struct Bench {
    router: Router,
    runtime: Runtime,
    _dir: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: usize,
}

impl Bench {
    fn new(memory_limit: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = CreateProxyConfig::new("http://localhost:8080".into()).with(|settings| {
            settings.snapshot_dir = dir.path().join("snapshots");
            settings.memory_limit = memory_limit;
            // What is compressed behind the answers would be measured with them.
            settings.compress = Vec::new();
        });
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let page = "x".repeat(LENGTH);
        let pages = Router::new().fallback(move || {
            let page = page.clone();
            async move { ([(CACHE_CONTROL, "public, max-age=86400")], Html(page)) }
        });
        let proxy = {
            let _entered = runtime.enter();
            Proxy::in_process(pages, config).expect("a proxy")
        };
        let bench = Self {
            router: proxy.router(),
            runtime,
            _dir: dir,
        };
        // Stored, taken into memory, answered from there.
        for _ in 0..3 {
            bench.ask(Method::GET, PAGE, None);
        }
        bench
    }

    /// Asks and reads the answer to its end.
    fn ask(&self, method: Method, path: &str, tag: Option<&str>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "example.com");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Body::empty()).expect("a request");
        self.runtime.block_on(async {
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (head, body) = response.into_parts();
            let body = to_bytes(body, LENGTH).await.expect("a whole body");
            Answer {
                status: head.status,
                headers: head.headers,
                length: body.len(),
            }
        })
    }
}

impl Answer {
    fn cache_status(&self) -> &str {
        let said = self.headers.get("cache-status");
        said.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
