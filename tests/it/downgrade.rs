//! HTTP/2 has other ways to say where a message ends than the HTTP/1.1 that the backend is spoken to in.
//! What it carries as bytes of a field or a body never becomes a line or a request on the way.

use crate::rig::h2::{H2, StreamEnd};
use crate::rig::{Backend, End, Proxy, Recorded};

type Field = (&'static [u8], &'static [u8]);

const HIDDEN: &[u8] = b"GET /admin HTTP/1.1\r\nHost: site.test\r\n\r\n";

const START: [Field; 4] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"site.test"),
    (b":path", b"/here"),
];

fn with(fields: &[Field]) -> Vec<Field> {
    START.iter().chain(fields).copied().collect()
}

/// `START` with another value for one of its fields.
fn instead(name: &'static [u8], value: &'static [u8]) -> Vec<Field> {
    let mut fields = START.to_vec();
    for field in &mut fields {
        if field.0 == name {
            field.1 = value;
        }
    }
    fields
}

fn without(name: &'static [u8]) -> Vec<Field> {
    START.into_iter().filter(|field| field.0 != name).collect()
}

async fn start() -> (Backend, Proxy) {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    (backend, proxy)
}

fn is_refusal(end: &StreamEnd) -> bool {
    !matches!(end, StreamEnd::Answered(200..400, _))
}

#[tokio::test]
async fn what_is_malformed_in_http_2_reaches_no_backend() {
    let (backend, proxy) = start().await;
    let mut cases: Vec<Vec<Field>> = [
        &[(&b"transfer-encoding"[..], &b"chunked"[..])][..],
        &[(b"connection", b"close")],
        &[(b"keep-alive", b"timeout=5")],
        &[(b"proxy-connection", b"keep-alive")],
        &[(b"upgrade", b"h2c")],
        &[(b"te", b"gzip")],
        &[(b"X-Upper", b"1")],
        &[(b"x y", b"1")],
        &[(b"x:y", b"1")],
        &[(b"x\r\nhost", b"evil.test")],
        &[(b"x\0", b"1")],
        &[(b"", b"1")],
        &[(b"x", b"1\r\nTransfer-Encoding: chunked")],
        &[(b"x", b"1\nContent-Length: 3")],
        &[(b"x", b"1\r")],
        &[(b"x", b"1\0")],
        &[(b"x", b"1\r\n\r\nGET /admin HTTP/1.1\r\nHost: site.test\r\n\r\n")],
        &[(b"content-length", b"five")],
        &[(b"content-length", b"+0")],
        &[(b"content-length", b"")],
        &[(b"content-length", b"0, 0")],
        &[(b"content-length", b"0"), (b"content-length", b"0")],
        &[(b"content-length", b"0"), (b"content-length", b"1")],
        &[(b"content-length", b"5")],
        &[(b"x", b"1"), (b":path", b"/admin")],
        &[(b":path", b"/admin")],
        &[(b":status", b"200")],
        &[(b":unknown", b"1")],
        &[(b":protocol", b"websocket")],
        &[(b"host", b"a, b")],
        &[(b"host", b"site.test"), (b"host", b"site.test")],
    ]
    .into_iter()
    .map(with)
    .collect();
    cases.extend([
        instead(b":method", b"GET /admin HTTP/1.1\r\nX:"),
        instead(b":method", b"P ST"),
        instead(b":method", b""),
        instead(b":method", b"CONNECT"),
        instead(b":scheme", b"ftp"),
        instead(b":scheme", b"http://site.test/admin?"),
        instead(b":scheme", b""),
        instead(b":path", b""),
        instead(b":path", b"*"),
        instead(b":path", b"/ HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        instead(b":path", b"/a b"),
        instead(b":path", b"/a\0"),
        instead(b":path", b"/a\x7f"),
        instead(b":authority", b"site.test\r\nX: y"),
        instead(b":authority", b"site test"),
        instead(b":authority", b"user@site.test"),
        instead(b":authority", b"site.test/admin"),
        instead(b":authority", b"a,b"),
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
        without(b":authority"),
    ]);
    for fields in &cases {
        let case = format!(
            "{:?}",
            String::from_utf8_lossy(
                &fields
                    .iter()
                    .flat_map(|field| [field.0, b": ", field.1, b" | "].concat())
                    .collect::<Vec<_>>()
            )
        );
        let mut connection = H2::connect(proxy.addr()).await;
        let stream = connection.begin(fields, None).await;
        let end = connection.end_of(stream).await;
        assert!(is_refusal(&end), "{case}: {end:?}");
        assert_eq!(backend.total(), 0, "{case}: {:?}", backend.requests());
    }
    let mut connection = H2::connect(proxy.addr()).await;
    let stream = connection.begin(&with(&[]), None).await;
    assert_eq!(
        connection.end_of(stream).await,
        StreamEnd::Answered(200, b"page".to_vec())
    );
}

/// One accepted request, as the backend saw it.
async fn accepted(fields: &[Field], body: Option<&'static [u8]>) -> Recorded {
    let (backend, proxy) = start().await;
    let mut connection = H2::connect(proxy.addr()).await;
    let stream = connection.begin(fields, body).await;
    let end = connection.end_of(stream).await;
    assert_eq!(end, StreamEnd::Answered(200, b"page".to_vec()), "{fields:?}");
    assert_eq!(backend.total(), 1, "{fields:?}");
    let seen = backend.requests().remove(0);
    assert_eq!(seen.body_end, Some(End::Complete));
    assert!(seen.raw_head.starts_with(b"POST /here HTTP/1.1\r\n"), "{seen:?}");
    seen
}

#[tokio::test]
async fn a_body_gets_one_framing() {
    let seen = accepted(&with(&[]), Some(HIDDEN)).await;
    assert_eq!(
        (seen.field("transfer-encoding"), seen.field("content-length")),
        (Some("chunked"), None)
    );
    assert_eq!(seen.body, HIDDEN);
    let seen = accepted(&with(&[(b"content-length", b"5")]), Some(b"hello")).await;
    assert_eq!(
        (seen.field("transfer-encoding"), seen.field("content-length")),
        (None, Some("5"))
    );
    assert_eq!(seen.text(), "hello");
    let seen = accepted(&with(&[(b"content-length", b"005")]), Some(b"hello")).await;
    assert_eq!(seen.fields.all("content-length"), ["5"]);
    let seen = accepted(
        &with(&[(b"content_length", b"3"), (b"transfer_encoding", b"x")]),
        Some(b"hello"),
    )
    .await;
    assert!(
        !seen.fields.has("content_length") && !seen.fields.has("transfer_encoding"),
        "{seen:?}"
    );
    assert_eq!(seen.text(), "hello");
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let (backend, proxy) = start().await;
    let mut connection = H2::connect(proxy.addr()).await;
    let stream = connection.begin(&instead(b":method", b"GET"), Some(HIDDEN)).await;
    assert_eq!(
        connection.end_of(stream).await,
        StreamEnd::Answered(200, b"page".to_vec())
    );
    let seen = backend.last("/here");
    assert_eq!(
        (seen.method.as_str(), seen.body.as_slice(), backend.total()),
        ("GET", HIDDEN, 1)
    );
}

#[tokio::test]
async fn the_authority_is_the_host() {
    let seen = accepted(&with(&[(b"host", b"evil.test")]), None).await;
    assert_eq!(seen.fields.all("host"), ["site.test"]);
    assert_eq!(seen.fields.all("x-forwarded-host"), ["site.test"]);
    let mut fields = without(b":authority");
    fields.push((b"host", b"site.test"));
    let seen = accepted(&fields, None).await;
    assert_eq!(seen.fields.all("host"), ["site.test"]);
}

#[tokio::test]
async fn cookie_crumbs_are_one_line() {
    let seen = accepted(
        &with(&[(b"cookie", b"a=1"), (b"te", b"trailers"), (b"cookie", b"b=2")]),
        None,
    )
    .await;
    assert_eq!(seen.fields.all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_never_completes_at_the_backend() {
    for (length, body) in [(&b"5"[..], &b"hel"[..]), (b"3", b"hello"), (b"0", HIDDEN)] {
        let (backend, proxy) = start().await;
        let mut connection = H2::connect(proxy.addr()).await;
        let stream = connection
            .begin(&with(&[(b"content-length", length)]), Some(body))
            .await;
        let end = connection.end_of(stream).await;
        assert!(is_refusal(&end), "{end:?}");
        backend
            .until("the request to end", |requests| {
                requests.iter().all(|seen| seen.body_end.is_some())
            })
            .await;
        for seen in backend.requests() {
            assert_eq!(
                (seen.path(), seen.body_end),
                ("/here", Some(End::Cut)),
                "{seen:?}"
            );
        }
        assert!(backend.total() <= 1);
    }
}
