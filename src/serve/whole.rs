//! A body in memory as the file service's backend, which then picks ranges of it as it does of files.

use std::future::{Ready, ready};
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs::{Backend, File, Metadata};

/// The one file there is, whatever its name.
#[derive(Debug, Clone)]
pub(super) struct Whole(Bytes);

impl Whole {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Backend for Whole {
    type File = Opened;
    type Metadata = Size;
    type OpenFuture = Ready<io::Result<Opened>>;
    type MetadataFuture = Ready<io::Result<Size>>;

    fn open(&self, _: PathBuf) -> Self::OpenFuture {
        ready(Ok(Opened(Cursor::new(self.0.clone()))))
    }

    fn metadata(&self, _: PathBuf) -> Self::MetadataFuture {
        ready(Ok(Size(self.0.len() as u64)))
    }
}

/// It, opened.
#[derive(Debug)]
pub(super) struct Opened(Cursor<Bytes>);

impl File for Opened {
    type Metadata = Size;
    type MetadataFuture<'a> = Ready<io::Result<Size>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(Size(self.0.get_ref().len() as u64)))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(context)
    }
}

/// How large it is; all that is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(u64);

impl Metadata for Size {
    fn is_dir(&self) -> bool {
        false
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.0
    }
}
