//! The functions that every request, or every page of an invalidation, goes through.

use std::hint::black_box;
use std::time::Duration;

use axum::body::Body;
use criterion::{Criterion, Throughput};
use http::Request;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use phantom_frame::bench::{Keys, Pattern, cache_control, sidecar};

const KEYS: usize = 100_000;

const SIDECAR: &str = r#"format = 1
key = "GET:/blog/a-page?page=2\nhost 11:example.com\nscheme 5:https"
method = "GET"
url = "https://example.com/blog/a-page?page=2"
status = 200
headers = [
  ["cache-control", "public, max-age=3600, stale-while-revalidate=60"],
  ["content-language", "en"],
  ["content-type", "text/html; charset=utf-8"],
  ["etag", "\"5f3c-18b2a4\""],
  ["last-modified", "Mon, 02 Jan 2023 03:04:05 GMT"],
  ["link", "</app.css>; rel=preload; as=style"],
  ["x-frame-options", "DENY"],
]
body = "a-page.0123456789abcdef.html"
length = 10240
seal = "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
"#;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    key(&mut criterion);
    patterns(&mut criterion);
    cache_controls(&mut criterion);
    sidecars(&mut criterion);
    criterion.final_summary();
}

fn key(criterion: &mut Criterion) {
    let keys = Keys::default();
    for (name, target) in [
        ("path", "/blog/a-page"),
        ("query", "/blog/a-page?page=2&utm_source=x"),
    ] {
        let request = Request::get(target)
            .header("host", "example.com")
            .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")
            .body(Body::empty())
            .expect("a request");
        assert!(keys.of(&request).is_some(), "{target} has a key");
        criterion.bench_function(&format!("key/{name}"), |bencher| {
            bencher.iter(|| keys.of(black_box(&request)));
        });
    }
}

fn patterns(criterion: &mut Criterion) {
    let lines: Vec<String> = (0..KEYS)
        .map(|number| {
            format!(
                "GET:/blog/{}/post-{number}/comments?page={}",
                number % 100,
                number % 7
            )
        })
        .collect();
    let mut group = criterion.benchmark_group("pattern");
    group.throughput(Throughput::Elements(KEYS as u64));
    for (name, text, matched) in [
        ("prefix", "/blog/7/*", KEYS / 100),
        ("middle", "*/post-4*/comments*", 11_111),
        ("none", "/shop/*", 0),
    ] {
        let pattern = Pattern::parse(text).expect("a pattern");
        assert_eq!(pattern.count(&lines), matched, "{text}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| pattern.count(black_box(&lines)));
        });
    }
    group.finish();
}

fn cache_controls(criterion: &mut Criterion) {
    let value = "public, max-age=3600, s-maxage=\"60\", stale-while-revalidate=60";
    let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
    assert_eq!(cache_control(&headers), Some(3600));
    criterion.bench_function("cache-control", |bencher| {
        bencher.iter(|| cache_control(black_box(&headers)));
    });
}

fn sidecars(criterion: &mut Criterion) {
    assert!(sidecar(SIDECAR.as_bytes()).is_some(), "a sidecar");
    criterion.bench_function("sidecar", |bencher| {
        bencher.iter(|| sidecar(black_box(SIDECAR.as_bytes())));
    });
}
