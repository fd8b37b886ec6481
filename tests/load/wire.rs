//! A client of raw connections: each is held, starved or left unread as a scenario wants.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::SITE;

/// A whole answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        found.next().map_or("", |(_, value)| value.as_str())
    }

    /// Whether `Cache-Status` says this word.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.field("cache-status")
            .split(';')
            .any(|part| part.trim() == word)
    }
}

/// One connection to the server.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address.trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    /// With a small window, so that what it leaves unread is soon felt.
    pub(crate) async fn open_narrow(address: &str) -> io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16 << 10)?;
        let address = address.trim_start_matches("http://").parse();
        let stream = socket.connect(address.map_err(io::Error::other)?).await?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&request(path, SITE, "")).await?;
        self.answer().await
    }

    /// Asks for a tunnel; what comes after it is the tunnel's.
    pub(crate) async fn upgrade(&mut self, path: &str) -> io::Result<Answer> {
        let fields = "Connection: Upgrade\r\nUpgrade: echo\r\n";
        self.send(&request(path, SITE, fields)).await?;
        self.head().await
    }

    /// The next answer, to its end.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head().await?;
        if answer.field("transfer-encoding") == "chunked" {
            loop {
                let size = self.line().await?;
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                answer.body.extend(self.take(size).await?);
                self.line().await?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        let length = answer.field("content-length").parse().unwrap_or(0);
        answer.body = self.take(length).await?;
        Ok(answer)
    }

    /// The next answer's head; its body is left where it is.
    pub(crate) async fn head(&mut self) -> io::Result<Answer> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.ok_or_else(|| io::Error::other("not an answer"))?,
            ..Answer::default()
        };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(answer);
            }
            if let Some((name, value)) = line.split_once(':') {
                let field = (name.to_ascii_lowercase(), value.trim().to_owned());
                answer.fields.push(field);
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    pub(crate) async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < length {
            self.more().await?;
        }
        Ok(self.read.drain(..length).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A GET's head, with further `fields`, each with its line's end.
pub(crate) fn request(path: &str, host: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n{fields}\r\n")
}
