//! HTTP/2 frame by frame, for what a library would refuse to send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gate::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// A whole answer.
    Answered(u16, Vec<u8>),
    /// The stream was reset, with this code.
    Reset(u32),
    /// The connection has ended.
    Gone,
}

/// A connection.
pub(crate) struct H2 {
    stream: TcpStream,
    next: u32,
}

impl H2 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::with_window(addr, 65_535).await
    }

    /// Grants every stream this many bytes, and no more for as long as the test does not.
    pub(crate) async fn with_window(addr: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        let mut connection = Self { stream, next: 1 };
        let mut settings = vec![0, 4];
        settings.extend_from_slice(&window.to_be_bytes());
        let mut bytes = PREFACE.to_vec();
        bytes.extend_from_slice(&frame(SETTINGS, 0, 0, &settings));
        connection.write(&bytes).await;
        connection
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A peer that is gone shows when the answer is read.
        let _ = within("the server to read", self.stream.write_all(bytes)).await;
    }

    /// Begins a stream with these fields, exactly, and this body; gives its number.
    pub(crate) async fn begin(&mut self, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> u32 {
        match body {
            None => self.send(fields, END_STREAM, None).await,
            Some(body) => self.send(fields, 0, Some((END_STREAM, body))).await,
        }
    }

    /// Begins a stream and does not end it.
    pub(crate) async fn begin_and_stop(&mut self, fields: &[(&[u8], &[u8])], body: &[u8]) -> u32 {
        self.send(fields, 0, Some((0, body))).await
    }

    /// Fields and a body, each with flags of its own.
    async fn send(&mut self, fields: &[(&[u8], &[u8])], flags: u8, body: Option<(u8, &[u8])>) -> u32 {
        let number = self.next;
        self.next += 2;
        let mut block = Vec::new();
        for (name, value) in fields {
            // Literal, without indexing, with a new name (RFC 7541 §6.2.2).
            block.push(0);
            text(&mut block, name);
            text(&mut block, value);
        }
        let mut bytes = frame(HEADERS, END_HEADERS | flags, number, &block);
        if let Some((flags, body)) = body {
            bytes.extend_from_slice(&frame(DATA, flags, number, body));
        }
        self.write(&bytes).await;
        number
    }

    /// Reads until the stream has ended.
    pub(crate) async fn end_of(&mut self, number: u32) -> StreamEnd {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let Some((kind, flags, stream, payload)) = self.frame().await else {
                return StreamEnd::Gone;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(&frame(SETTINGS, ACK, 0, &[])).await,
                GOAWAY => return StreamEnd::Gone,
                RST_STREAM if stream == number => return StreamEnd::Reset(word(&payload)),
                HEADERS if stream == number => status = status_of(&payload),
                DATA if stream == number => body.extend_from_slice(&payload),
                _ => {}
            }
            let ends = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
            if stream == number && ends {
                return StreamEnd::Answered(status, body);
            }
        }
    }

    async fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        let read = within("a frame", self.stream.read_exact(&mut head)).await;
        read.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        let read = within("a frame's payload", self.stream.read_exact(&mut payload)).await;
        read.ok()?;
        Some((head[3], head[4], word(&head[5..]) & 0x7fff_ffff, payload))
    }
}

fn word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[..4]);
    u32::from_be_bytes(word)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A string literal without Huffman coding.
fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(short) if short < 127 => block.push(short),
        _ => {
            block.push(127);
            let mut rest = bytes.len() - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("seven bits"));
        }
    }
    block.extend_from_slice(bytes);
}

/// `:status`, which comes first.
fn status_of(block: &[u8]) -> u16 {
    let mut rest = block;
    while let Some((first, after)) = rest.split_first() {
        // The size of the dynamic table comes before the fields.
        if first & 0xe0 != 0x20 {
            break;
        }
        rest = after;
    }
    let known = [200, 204, 206, 304, 400, 404, 500];
    match rest {
        [first @ 0x88..=0x8e, ..] => known[usize::from(first - 0x88)],
        [0x48 | 0x08 | 0x18, length, value @ ..] => {
            let value = &value[..usize::from(length & 0x7f)];
            let digits = if length & 0x80 == 0 {
                String::from_utf8_lossy(value).into_owned()
            } else {
                huffman_digits(value)
            };
            digits.parse().expect("a status")
        }
        _ => panic!("no status comes first: {block:x?}"),
    }
}

/// RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 have six.
fn huffman_digits(bytes: &[u8]) -> String {
    let mut bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut digits = String::new();
    while digits.len() < 3 {
        let five = u32::from_str_radix(&bits[..5], 2).expect("bits");
        let (digit, used) = if five < 3 {
            (five, 5)
        } else {
            (u32::from_str_radix(&bits[..6], 2).expect("bits") - 0b01_0110, 6)
        };
        digits.push_str(&digit.to_string());
        bits.drain(..used);
    }
    digits
}
