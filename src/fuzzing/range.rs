//! Ranges and conditions of a client against a stored page.

use std::io::Write as _;

use axum::body::{Body, to_bytes};
use http::header::{self, HeaderMap};
use http::{Request, Response, StatusCode};
use tempfile::NamedTempFile;
use tokio::runtime::{Builder, Runtime};
use tower_http::services::ServeFile;

use crate::policy::validate::{client_condition, modified, range_is_wanted, single_range};
use crate::serve::within;

use super::add_field;

const PAGE: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// The file service over a page.
struct Page {
    file: NamedTempFile,
    runtime: Runtime,
}

thread_local! {
    static FILE: Page = {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(PAGE).expect("the page is written");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Page { file, runtime }
    };
}

/// Fields of a client's request, an empty line, fields of the stored response.
///
/// Whatever is asked for, what is sent is the page, or the very part of it that is said, or that there
/// is no such part.
pub fn range(data: &[u8]) {
    let (mut client, mut stored) = (HeaderMap::new(), HeaderMap::new());
    let mut fields = &mut client;
    for line in data.split(|byte| *byte == b'\n') {
        match line {
            b"" => fields = &mut stored,
            line => add_field(fields, line),
        }
    }
    let etag = stored.get(header::ETAG);
    // Total, whatever they come to.
    let _ = client_condition(&client, etag, || modified(&stored, None));
    let wanted = range_is_wanted(&client, etag, &stored);
    if !client.contains_key(header::IF_RANGE) {
        assert!(wanted, "without a condition a range is wanted");
    }
    let Some(range) = single_range(&client) else {
        return;
    };
    let (first, last) = positions(range.to_str().expect("text"));
    let sent = within(range, PAGE.len() as u64);
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(header::RANGE, sent);
    let (head, body) = FILE.with(|page| {
        page.runtime.block_on(async {
            let answer = ServeFile::new(page.file.path()).try_call(request).await;
            let (head, body) = answer.expect("the file is there").map(Body::new).into_parts();
            let body = to_bytes(body, PAGE.len()).await.expect("within the page");
            (Response::from_parts(head, ()), body)
        })
    });
    let length = PAGE.len() as u64;
    let part = match (first, last) {
        (None, None) => unreachable!("no range"),
        (None, Some(suffix)) => (suffix > 0).then(|| length.saturating_sub(suffix)..length),
        (Some(first), last) => {
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            (first < length).then_some(first..end)
        }
    };
    match part {
        Some(part) => {
            assert_eq!(head.status(), StatusCode::PARTIAL_CONTENT, "{range:?}");
            let said = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(head.headers()[header::CONTENT_RANGE], said, "{range:?}");
            let part = part.start as usize..part.end as usize;
            assert_eq!(Some(&*body), PAGE.get(part), "{range:?}");
        }
        None => {
            assert_eq!(head.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range:?}");
            assert_eq!(body, "", "{range:?}");
        }
    }
}

/// First and last position as they are written; more than a number holds is the largest.
fn positions(range: &str) -> (Option<u64>, Option<u64>) {
    let (_, positions) = range.split_once('=').expect("a unit");
    let (first, last) = positions.trim().split_once('-').expect("a range");
    let number = |digits: &str| (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX));
    (number(first), number(last))
}
