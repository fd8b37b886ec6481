//! Lines of a head: their ends, the request line, the target in it, and `Host`. One reading each, and the
//! target's bytes as they came.

use crate::rig::{Backend, Proxy, get};
use crate::smuggling::Expect::{Read, Refused};
use crate::smuggling::{Expect, send, send_all, start};

#[tokio::test]
async fn every_disguise_of_a_line_end_is_read_in_one_way_or_refused() {
    let table: &[(&[u8], Expect)] = &[
        (b"\r\n\r\nPOST /$ HTTP/1.1\r\nHost: site.test\r\n", Read("hello")),
        // A bare LF ends a line (RFC 9112 §2.2); to the backend every line ends in CR LF.
        (b"POST /$ HTTP/1.1\nHost: site.test\nX: y\n", Read("hello")),
        (b"POST /$ HTTP/1.1\r\nHost: site.test\nX: y\r\n", Read("hello")),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: \xfc\r\n",
            Read("hello"),
        ),
        (b"POST /$ HTTP/1.1\rHost: site.test\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\nHost: site.test\rX: y\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\r\nHost: site.test\r\n", Refused(400)),
        (b"\rPOST /$ HTTP/1.1\r\nHost: site.test\r\n", Refused(400)),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\rb\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\x00b\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\x7fb\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\x0bb\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX\x00: a\r\n",
            Refused(400),
        ),
        (b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX : y\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\nHost : site.test\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\nHost: site.test\r\n: y\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX\r\n", Refused(400)),
        (b"POST /$ HTTP/1.1\r\n X: y\r\nHost: site.test\r\n", Refused(400)),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\r\n b\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX: a\r\n\tb\r\n",
            Refused(400),
        ),
        (b"POST /$ HTTP/1.1\r\nHost:\r\n site.test\r\n", Refused(400)),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX(y): a\r\n",
            Refused(400),
        ),
        (
            b"POST /$ HTTP/1.1\r\nHost: site.test\r\nX\xfc: a\r\n",
            Refused(400),
        ),
    ];
    send_all(b"", table, b"Content-Length: 5\r\n\r\nhello").await;
}

#[tokio::test]
async fn every_disguise_of_a_request_line_is_read_in_one_way_or_refused() {
    let table: &[(&[u8], Expect)] = &[
        (b"POST /$ HTTP/1.1", Read("hello")),
        (b"post /$ HTTP/1.1", Read("hello")),
        (b"POST http://site.test/$ HTTP/1.1", Read("hello")),
        (b"POST HTTPS://site.test/$ HTTP/1.1", Read("hello")),
        (b"POST /$#fragment HTTP/1.1", Read("hello")),
        (b"POST  /$ HTTP/1.1", Refused(400)),
        (b"POST /$  HTTP/1.1", Refused(400)),
        (b"POST\t/$ HTTP/1.1", Refused(400)),
        (b"POST /$\tHTTP/1.1", Refused(400)),
        (b" POST /$ HTTP/1.1", Refused(400)),
        (b"POST /$ HTTP/1.1 ", Refused(400)),
        (b"POST /$ x HTTP/1.1", Refused(400)),
        (b"POST /$", Refused(400)),
        (b"POST /$ ", Refused(400)),
        (b"POST HTTP/1.1", Refused(400)),
        (b"/$ HTTP/1.1", Refused(400)),
        (b"P(ST /$ HTTP/1.1", Refused(400)),
        (b"P\xc3\x96ST /$ HTTP/1.1", Refused(400)),
        (b"POST /$ HTTP/0.9", Refused(400)),
        (b"POST /$ HTTP/1.2", Refused(400)),
        (b"POST /$ HTTP/2.0", Refused(400)),
        (b"POST /$ HTTP/1.10", Refused(400)),
        (b"POST /$ HTTP/01.1", Refused(400)),
        (b"POST /$ HTTP/11", Refused(400)),
        (b"POST /$ http/1.1", Refused(400)),
        (b"POST /$ HTTPS/1.1", Refused(400)),
        (b"POST * HTTP/1.1", Refused(400)),
        (b"OPTIONS * HTTP/1.1", Refused(400)),
        (b"POST $ HTTP/1.1", Refused(400)),
        (b"POST site.test/$ HTTP/1.1", Refused(400)),
        (b"POST site.test:80 HTTP/1.1", Refused(400)),
        (b"CONNECT site.test:80 HTTP/1.1", Refused(400)),
        (b"CONNECT /$ HTTP/1.1", Refused(400)),
        (b"POST http:/$ HTTP/1.1", Refused(400)),
        (b"POST http:///$ HTTP/1.1", Refused(400)),
        (b"POST ftp://site.test/$ HTTP/1.1", Refused(400)),
        (b"POST http://user@site.test/$ HTTP/1.1", Refused(400)),
        (b"POST http://site.test:x/$ HTTP/1.1", Refused(400)),
        (b"POST http://a,b/$ HTTP/1.1", Refused(400)),
        (b"POST /$\x00 HTTP/1.1", Refused(400)),
        (b"POST /$\x7f HTTP/1.1", Refused(400)),
        (b"POST /$\xff HTTP/1.1", Refused(400)),
        (b"POST /$<> HTTP/1.1", Refused(400)),
        (b"POST /$` HTTP/1.1", Refused(400)),
    ];
    let after = b"\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello";
    // `CONNECT` has no body: what follows is no request of ours either way.
    send_all(b"", table, after).await;
}

#[tokio::test]
async fn odd_bytes_in_a_target_arrive_as_they_are() {
    let (backend, proxy) = start().await;
    for target in [
        "/a\\b",
        "/{a}",
        "/\"a\"",
        "/a|b",
        "/a^b",
        "/[a]",
        "/ä",
        "/a?ä={b}",
        "/a?`b`",
        "/%",
        "/%zz",
        "/%00",
        "/%0d%0a",
        "/a/..;/b",
        "/a;x=1/b",
        "/.%2e/a",
        "//evil.test/a",
        "/http://evil.test/",
        "/a?http://evil.test/",
        "/@evil.test/",
        "/a:80/",
        "/a%23b",
        "/a%3Fb",
    ] {
        for round in 1..=2 {
            let request = format!("POST {target} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n");
            let response = proxy.client().raw(request.as_bytes()).await;
            assert_eq!(response.status, 200, "{target}");
            let line = format!("POST {target} HTTP/1.1\r\n");
            let seen = backend.requests().pop().expect("a request");
            assert!(
                seen.raw_head.starts_with(line.as_bytes()),
                "{target} {round}: {seen:?}"
            );
        }
        let request = format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        proxy
            .client()
            .raw(request.as_bytes())
            .await
            .assert(200, "page")
            .assert_stored();
        let seen = backend.requests().pop().expect("a request");
        let line = format!("GET {target} HTTP/1.1\r\n");
        assert!(seen.raw_head.starts_with(line.as_bytes()), "{target}: {seen:?}");
        proxy.client().raw(request.as_bytes()).await.assert_hit();
    }
}

#[tokio::test]
async fn a_fragment_never_reaches_backend_or_key() {
    let (backend, proxy) = start().await;
    proxy.get("/page#one").await.assert(200, "page").assert_stored();
    assert_eq!(
        backend.requests().pop().map(|seen| seen.target),
        Some("/page".into())
    );
    proxy.get("/page#two").await.assert_hit();
    proxy.get("/page").await.assert_hit();
}

#[tokio::test]
async fn every_disguise_of_a_host_is_read_in_one_way_or_refused() {
    let table: &[(&[u8], Expect)] = &[
        (b"Host: site.test:80", Read("hello")),
        (b"Host: site.test:", Read("hello")),
        (b"Host: site.test.", Read("hello")),
        (b"Host: SITE.test", Read("hello")),
        (b"Host:  site.test ", Read("hello")),
        (b"Host: [::1]", Read("hello")),
        (b"Host: [2001:db8::1]:8080", Read("hello")),
        (b"Host: 127.0.0.1:1", Read("hello")),
        (b"Host: a,b", Refused(400)),
        (b"Host: a.test\r\nX: y\r\nhost: b.test", Refused(400)),
        (b"Host: site.test:65536", Refused(400)),
        (b"Host: site.test:-1", Refused(400)),
        (b"Host: site.test:80:80", Refused(400)),
        (b"Host: :80", Refused(400)),
        (b"Host: [::1", Refused(400)),
        (b"Host: [::1]x", Refused(400)),
        (b"Host: ::1", Refused(400)),
        (b"Host: [v1.x]", Refused(400)),
        (b"Host: site.test/admin", Refused(400)),
        (b"Host: site.test?x", Refused(400)),
        (b"Host: site.test#x", Refused(400)),
        (b"Host: site.test@evil.test", Refused(400)),
        (b"Host: http://site.test", Refused(400)),
        (b"Host: site.test\\", Refused(400)),
        (b"Host: s\xc3\xafte.test", Refused(400)),
        (b"Host: site.test\x0b", Refused(400)),
        (b"Host_: site.test", Refused(400)),
    ];
    send_all(
        b"POST /$ HTTP/1.1\r\n",
        table,
        b"\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    // An absolute form does not replace the field (RFC 9112 §3.2).
    let (backend, proxy) = start().await;
    let request = b"POST http://site.test/$ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    send(&proxy, &backend, 100, request, Refused(400)).await;
}

#[tokio::test]
async fn hosts_that_are_spelled_differently_are_different_sites_except_for_case_and_default_port() {
    let backend = Backend::with_page("page").await;
    let proxy = Proxy::start(&backend).await;
    proxy.send(get("/").host("site.test")).await.assert_stored();
    for same in ["SITE.test", "site.test:80"] {
        proxy.send(get("/").host(same)).await.assert_hit();
    }
    for other in ["site.test.", "site.test:8080", "[::1]", "[::1]:8080"] {
        proxy.send(get("/").host(other)).await.assert_stored();
        proxy.send(get("/").host(other)).await.assert_hit();
    }
    assert_eq!(backend.total(), 5);
}
