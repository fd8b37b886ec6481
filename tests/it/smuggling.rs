//! Each request has one reading: what the backend sees is what was meant, or nothing. Behind every
//! disguise stands a second request, which must never be taken for one that was hidden, nor get lost
//! behind one that was understood.

use std::time::Duration;

use crate::rig::{Backend, Proxy, Recorded, Setup, within};

/// What becomes of a request, and of the one behind it on the same connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// The backend sees neither.
    Refused(u16),
    /// The backend reads this body; the second request is answered as itself.
    Read(&'static str),
    /// The backend reads this body; the connection closes before the second request.
    ReadAndClosed(&'static str),
    /// The backend sees no whole request.
    Cut(u16),
}

use Expect::{Cut, Read, ReadAndClosed, Refused};

/// A proxy that waits half a second for the rest of a body.
pub(crate) async fn start() -> (Backend, Proxy) {
    let backend = Backend::with_page("page").await;
    let proxy = Setup::over(&backend)
        .with(|settings| settings.body_timeout = Duration::from_millis(500))
        .start()
        .await;
    (backend, proxy)
}

/// The status of every response in `bytes`; no body of ours looks like a head.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    text.split("HTTP/1.")
        .skip(1)
        .map(|rest| rest[2..5].parse().expect("a status"))
        .filter(|status| *status != 100)
        .collect()
}

/// `$` becomes `path`.
fn placed(bytes: &[u8], path: &str) -> Vec<u8> {
    let parts: Vec<_> = bytes.split(|byte| *byte == b'$').collect();
    parts.join(path.as_bytes())
}

#[track_caller]
fn assert_has_one_reading(seen: &Recorded, case: &str) {
    let head = String::from_utf8_lossy(&seen.raw_head);
    let bare = head.replace("\r\n", "");
    assert!(!bare.contains(['\r', '\n', '\0']), "{case}: {head:?}");
    let first = head.lines().next().unwrap_or_default();
    assert_eq!(first.split(' ').count(), 3, "{case}: {head:?}");
    assert!(first.ends_with(" HTTP/1.1"), "{case}: {head:?}");
    assert_eq!(seen.fields.all("host").len(), 1, "{case}: {head:?}");
    let lengths = seen.fields.all("content-length");
    let codings = seen.fields.all("transfer-encoding");
    assert!(lengths.len() + codings.len() <= 1, "{case}: {head:?}");
    assert!(
        codings.iter().all(|coding| *coding == "chunked"),
        "{case}: {head:?}"
    );
    let is_plain = |length: &&str| {
        length
            .parse::<u64>()
            .is_ok_and(|number| number.to_string() == **length)
    };
    assert!(lengths.iter().all(is_plain), "{case}: {head:?}");
    let names: Vec<_> = seen.fields.0.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["content_length", "transfer_encoding", "connection", "upgrade"] {
        assert!(!names.contains(&name), "{case}: {head:?}");
    }
}

/// Sends a request of the table with a second one behind it.
pub(crate) async fn send(proxy: &Proxy, backend: &Backend, number: usize, request: &[u8], expect: Expect) {
    let (path, admin) = (format!("c{number}"), format!("/admin{number}"));
    let mut bytes = placed(request, &path);
    let case = format!("{:?}, {expect:?}", String::from_utf8_lossy(&bytes));
    let second = format!("GET {admin} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
    bytes.extend_from_slice(second.as_bytes());
    let mut connection = proxy.client().connect().await;
    connection.write(&bytes).await;
    let answers = statuses(&connection.rest().await);

    let expected = match expect {
        Refused(status) | Cut(status) => vec![status],
        Read(_) => vec![200, 200],
        ReadAndClosed(_) => vec![200],
    };
    assert_eq!(answers, expected, "{case}");
    let is_it = |seen: &&Recorded| seen.path().contains(&path);
    backend
        .until("the request to end", |requests| {
            requests.iter().filter(is_it).all(|seen| seen.body_end.is_some())
        })
        .await;
    let seen = backend.requests();
    let (first, rest): (Vec<_>, Vec<_>) = seen
        .iter()
        .filter(|seen| seen.target.contains(&format!("n{number}")) || is_it(seen))
        .partition(is_it);
    assert_eq!(
        rest.len(),
        usize::from(matches!(expect, Read(_))),
        "{case}: {rest:?}"
    );
    for seen in first.iter().chain(&rest) {
        assert_has_one_reading(seen, &case);
    }
    match (expect, first.as_slice()) {
        (Refused(_), []) => {}
        (Read(body) | ReadAndClosed(body), [seen]) => {
            assert_eq!(
                (seen.text().as_str(), seen.body_end),
                (body, Some(crate::rig::End::Complete)),
                "{case}"
            );
        }
        (Cut(_), seen) => assert!(
            seen.iter()
                .all(|seen| seen.body_end == Some(crate::rig::End::Cut)),
            "{case}: {seen:?}"
        ),
        (_, seen) => panic!("{case}: {seen:?}"),
    }
}

/// Every line of a table, with what comes before and after it.
pub(crate) async fn send_all(before: &[u8], table: &[(&[u8], Expect)], after: &[u8]) {
    let (backend, proxy) = start().await;
    for (number, (line, expect)) in table.iter().enumerate() {
        let request = [before, line, after].concat();
        // Ends in a letter, so that no number is the beginning of another.
        send(&proxy, &backend, number + 100, &request, *expect).await;
    }
    assert!(
        proxy
            .pages()
            .iter()
            .all(|file| file.starts_with("site.test/admin")),
        "{:?}",
        proxy.pages()
    );
}

const HEAD: &[u8] = b"POST /$ HTTP/1.1\r\nHost: site.test\r\n";

#[tokio::test]
async fn every_disguise_of_a_length_is_read_in_one_way_or_refused() {
    let table: &[(&[u8], Expect)] = &[
        (b"Content-Length: 5", Read("hello")),
        (b"content-length:5", Read("hello")),
        (b"CONTENT-LENGTH: \t 5 \t ", Read("hello")),
        (b"Content-Length: 05", Read("hello")),
        (b"Content-Length: 0000000000000000000000000005", Read("hello")),
        (b"Content-Length: 5\r\nContent-Length: 5", Read("hello")),
        (b"Content-Length: 5\r\nX: y\r\ncontent-length: 05", Read("hello")),
        (b"Content-Length: 5\r\nContent-Length: 6", Refused(400)),
        (b"Content-Length: 0\r\nContent-Length: 5", Refused(400)),
        (b"Content-Length: 5\r\nContent-Length:", Refused(400)),
        (b"Content-Length: +5", Refused(400)),
        (b"Content-Length: -1", Refused(400)),
        (b"Content-Length: -0", Refused(400)),
        (b"Content-Length: 0x5", Refused(400)),
        (b"Content-Length: 5,5", Refused(400)),
        (b"Content-Length: 5, 6", Refused(400)),
        (b"Content-Length: 5 5", Refused(400)),
        (b"Content-Length: 5;", Refused(400)),
        (b"Content-Length: 5.0", Refused(400)),
        (b"Content-Length: 5e0", Refused(400)),
        (b"Content-Length: \"5\"", Refused(400)),
        (b"Content-Length: \xd9\xa5", Refused(400)),
        (b"Content-Length: \x0b5", Refused(400)),
        (b"Content-Length: 5\x00", Refused(400)),
        (b"Content-Length:", Refused(400)),
        (b"Content-Length: five", Refused(400)),
        (b"Content-Length: 99999999999999999999", Refused(400)),
        (b"Content-Length: 18446744073709551615", Refused(431)),
        (b"Content-Length: 9223372036854775807", Cut(408)),
        (b"Content-Length : 5", Refused(400)),
        (b"Content-Length\t: 5", Refused(400)),
        (b" Content-Length: 5", Refused(400)),
        (b"Content-Length:\r\n 5", Refused(400)),
        (b"X: y\r\n Content-Length: 5", Refused(400)),
        (b"X: y\rContent-Length: 5", Refused(400)),
    ];
    send_all(HEAD, table, b"\r\n\r\nhello").await;
}

#[tokio::test]
async fn an_underscore_makes_no_length_and_no_coding() {
    let table: &[(&[u8], Expect)] = &[
        (b"Content_Length: 58", Read("")),
        (b"Transfer_Encoding: chunked", Read("")),
        (b"content_length: 58\r\nContent-Length: 0", Read("")),
    ];
    send_all(HEAD, table, b"\r\n\r\n").await;
}

#[tokio::test]
async fn every_disguise_of_a_coding_is_read_in_one_way_or_refused() {
    let table: &[(&[u8], Expect)] = &[
        (b"Transfer-Encoding: chunked", Read("hello")),
        (b"transfer-encoding:Chunked", Read("hello")),
        (b"TRANSFER-ENCODING: \t CHUNKED \t ", Read("hello")),
        (b"Transfer-Encoding: chunked, chunked", Refused(400)),
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Refused(400),
        ),
        (
            b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            Refused(400),
        ),
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            Refused(400),
        ),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding:", Refused(400)),
        (b"Transfer-Encoding: identity", Refused(400)),
        (b"Transfer-Encoding: identity, chunked", Refused(400)),
        (b"Transfer-Encoding: chunked, identity", Refused(400)),
        (b"Transfer-Encoding: gzip, chunked", Refused(400)),
        (b"Transfer-Encoding: , chunked", Refused(400)),
        (b"Transfer-Encoding: chunked,", Refused(400)),
        (b"Transfer-Encoding:", Refused(400)),
        (b"Transfer-Encoding: xchunked", Refused(400)),
        (b"Transfer-Encoding: chunkedx", Refused(400)),
        (b"Transfer-Encoding: chunked;q=1", Refused(400)),
        (b"Transfer-Encoding: \"chunked\"", Refused(400)),
        (b"Transfer-Encoding: chunke\xc4\x91", Refused(400)),
        (b"Transfer-Encoding: \x0bchunked", Refused(400)),
        (b"Transfer-Encoding: chunked\x0c", Refused(400)),
        (b"Transfer-Encoding: chunked\x00", Refused(400)),
        (b"Transfer-Encoding : chunked", Refused(400)),
        (b"Transfer-Encoding\x00: chunked", Refused(400)),
        (b"Transfer-Encoding:\r\n chunked", Refused(400)),
        (b"Transfer-Encoding: chunked\r\n , identity", Refused(400)),
        (b"X: y\rTransfer-Encoding: chunked", Refused(400)),
        // RFC 9112 §6.3: the coding wins, the length goes, and the connection ends.
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 3",
            ReadAndClosed("hello"),
        ),
        (
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
            ReadAndClosed("hello"),
        ),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: x",
            ReadAndClosed("hello"),
        ),
        (b"Content-Length: x\r\nTransfer-Encoding: chunked", Refused(400)),
    ];
    send_all(HEAD, table, b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn http_1_0_knows_no_coding() {
    let (backend, proxy) = start().await;
    let request = b"POST /$ HTTP/1.0\r\nHost: site.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    send(&proxy, &backend, 100, request, Refused(400)).await;
    let request =
        b"POST /$ HTTP/1.0\r\nHost: site.test\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
    send(&proxy, &backend, 101, request, Read("hello")).await;
    // Without keep-alive nothing follows.
    let request = b"POST /$ HTTP/1.0\r\nHost: site.test\r\nContent-Length: 5\r\n\r\nhello";
    send(&proxy, &backend, 102, request, ReadAndClosed("hello")).await;
}

#[tokio::test]
async fn every_disguise_of_a_chunk_is_read_in_one_way_or_never_completes() {
    let long = [b"5;".as_slice(), &[b'x'; 20_000], b"\r\nhello\r\n0\r\n\r\n"].concat();
    let table: &[(&[u8], Expect)] = &[
        (b"5\r\nhello\r\n0\r\n\r\n", Read("hello")),
        (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Read("hello")),
        (b"0005\r\nhello\r\n000\r\n\r\n", Read("hello")),
        (b"A\r\nhellohello\r\n0\r\n\r\n", Read("hellohello")),
        (b"5 \t\r\nhello\r\n0\r\n\r\n", Read("hello")),
        (b"5;ext=1\r\nhello\r\n0;last\r\n\r\n", Read("hello")),
        (b"5;ext=\"a;b\"\r\nhello\r\n0\r\n\r\n", Read("hello")),
        (b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", ReadAndClosed("hello")),
        // What stands behind the LF is no request to whoever reads a line to its CR LF.
        (b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\n", ReadAndClosed("hello")),
        (&long, Cut(400)),
        (b"5;a\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"10000000000000005\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"FFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n", Cut(408)),
        (b"0x5\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"-1\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"+5\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b" 5\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"5 5\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"5h\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b";ext\r\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"5\nhello\r\n0\r\n\r\n", Cut(400)),
        (b"5\rhello\r\n0\r\n\r\n", Cut(400)),
        (b"5\r\nhello0\r\n\r\n", Cut(400)),
        (b"5\r\nhello\n0\r\n\r\n", Cut(400)),
        (b"5\r\nhellox\r\n0\r\n\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\n\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\n\n", Cut(400)),
        (b"5\r\nhello\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\nX Y: 1\r\n\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\nX\r\n\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", Cut(400)),
        (b"5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n", Cut(400)),
    ];
    let before = [HEAD, b"Transfer-Encoding: chunked\r\n\r\n"].concat();
    send_all(&before, table, b"").await;
}

#[tokio::test]
async fn a_connection_is_closed_after_what_it_could_not_read() {
    let (backend, proxy) = start().await;
    for head in [
        &b"POST / HTTP/1.1\r\nHost: a, b\r\nContent-Length: 0\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut connection = within("a connection", proxy.client().connect()).await;
        connection.write(head).await;
        let response = connection.response("POST").await;
        assert_eq!(
            (response.status, response.field("connection")),
            (400, Some("close"))
        );
        assert_eq!(connection.rest().await, b"");
    }
    assert_eq!(backend.total(), 0);
}
