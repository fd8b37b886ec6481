//! HTTP/1.1 messages as both ends of the rig read them: the bytes as they came, and what they mean.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Header fields in the order they came, with the names as they were spelled.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

impl Fields {
    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a comma-separated list under `name` holds `token`.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            write!(f, "\n  {name}: {value}")?;
        }
        Ok(())
    }
}

/// A message head: its first line, its fields, and the bytes they were read from.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Fields,
    pub(crate) raw: Vec<u8>,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing says.
    Complete,
    /// The connection ended before the body did.
    Cut,
}

/// What came of asking for more of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

/// The reading half of a connection with what has been read ahead.
pub(crate) struct Reader<R> {
    io: R,
    pub(crate) ahead: Vec<u8>,
    gone: bool,
    /// Whether the peer ended by a reset instead of an orderly close.
    reset: bool,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self {
            io,
            ahead: Vec::new(),
            gone: false,
            reset: false,
        }
    }

    /// Reads more; false at the end, whether the peer closed or reset.
    async fn more(&mut self) -> bool {
        if self.gone {
            return false;
        }
        let mut buffer = [0; 16 * 1024];
        match self.io.read(&mut buffer).await {
            Ok(0) => {
                self.gone = true;
                false
            }
            Err(_) => {
                self.gone = true;
                self.reset = true;
                false
            }
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// The next bytes, as they are; nothing at the end.
    pub(crate) async fn raw(&mut self) -> Option<Vec<u8>> {
        if self.ahead.is_empty() && !self.more().await {
            return None;
        }
        Some(std::mem::take(&mut self.ahead))
    }

    /// The next message head; nothing if the peer is gone before one is complete.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                let raw: Vec<u8> = self.ahead.drain(..at + 4).collect();
                return parse_head(raw).map(Some);
            }
            if !self.more().await {
                return Ok(None);
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(self.ahead.drain(..count).collect())
    }
}

/// A body being read.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
    /// What is left of the length, or of the chunk.
    left: u64,
    end: Option<End>,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        let (left, end) = match framing {
            Framing::None | Framing::Length(0) => (0, Some(End::Complete)),
            Framing::Length(length) => (length, None),
            Framing::Chunked | Framing::UntilClose => (0, None),
        };
        Self { framing, left, end }
    }

    /// The next piece, as soon as any of it is there.
    pub(crate) async fn piece<R: AsyncRead + Unpin>(&mut self, from: &mut Reader<R>) -> Piece {
        if let Some(end) = self.end {
            return Piece::End(end);
        }
        match self.try_piece(from).await {
            Ok(bytes) => Piece::Bytes(bytes),
            Err(end) => {
                self.end = Some(end);
                Piece::End(end)
            }
        }
    }

    async fn try_piece<R: AsyncRead + Unpin>(&mut self, from: &mut Reader<R>) -> Result<Vec<u8>, End> {
        match self.framing {
            Framing::None => Err(End::Complete),
            Framing::UntilClose => match from.raw().await {
                Some(bytes) => Ok(bytes),
                None if from.reset => Err(End::Cut),
                None => Err(End::Complete),
            },
            Framing::Length(_) => {
                let bytes = self.some(from).await?;
                if self.left == 0 {
                    self.end = Some(End::Complete);
                }
                Ok(bytes)
            }
            Framing::Chunked => {
                if self.left == 0 {
                    self.chunk_size(from).await?;
                }
                let bytes = self.some(from).await?;
                if self.left == 0 {
                    from.exactly(2).await.ok_or(End::Cut)?;
                }
                Ok(bytes)
            }
        }
    }

    async fn chunk_size<R: AsyncRead + Unpin>(&mut self, from: &mut Reader<R>) -> Result<(), End> {
        let line = from.line().await.ok_or(End::Cut)?;
        let digits = line.split(';').next().unwrap_or("").trim().to_owned();
        self.left = u64::from_str_radix(&digits, 16).map_err(|_| End::Cut)?;
        if self.left > 0 {
            return Ok(());
        }
        // Trailers, up to the empty line.
        while !from.line().await.ok_or(End::Cut)?.is_empty() {}
        Err(End::Complete)
    }

    async fn some<R: AsyncRead + Unpin>(&mut self, from: &mut Reader<R>) -> Result<Vec<u8>, End> {
        let mut bytes = from.raw().await.ok_or(End::Cut)?;
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        from.ahead = bytes.split_off(wanted);
        self.left -= wanted as u64;
        Ok(bytes)
    }
}

/// How a request's body is delimited.
pub(crate) fn request_framing(fields: &Fields) -> Framing {
    if fields.lists("transfer-encoding", "chunked") {
        return Framing::Chunked;
    }
    length(fields).map_or(Framing::None, Framing::Length)
}

/// How a response's body is delimited.
pub(crate) fn response_framing(method: &str, status: u16, fields: &Fields) -> Framing {
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Framing::None;
    }
    if fields.lists("transfer-encoding", "chunked") {
        return Framing::Chunked;
    }
    length(fields).map_or(Framing::UntilClose, Framing::Length)
}

fn length(fields: &Fields) -> Option<u64> {
    fields.get("content-length")?.trim().parse().ok()
}

fn parse_head(raw: Vec<u8>) -> io::Result<Head> {
    let text = String::from_utf8_lossy(&raw).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let mut fields = Fields::default();
    for field in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = field.split_once(':') else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("not a header field: {field:?}"),
            ));
        };
        fields.0.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Head { line, fields, raw })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
