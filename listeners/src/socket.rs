//! A TCP or Unix socket, without and with a tokio runtime around it. Nothing here knows PROXY, TLS
//! or WebSocket.

use bytes::BufMut;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

/// Bytes of one read during a handshake: a length field never makes us allocate more than this
/// beyond what has arrived (peername 12).
pub(crate) const CHUNK: usize = 4096;

thread_local! {
    static CHUNK_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's read buffer, emptied.
pub(crate) fn with_chunk<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    CHUNK_BUFFER.with_borrow_mut(|chunk| {
        chunk.clear();
        use_it(chunk)
    })
}

/// An accepted socket that no runtime knows yet (non-blocking, close-on-exec).
#[derive(Debug)]
pub enum StdSocket {
    /// A TCP connection.
    Tcp(std::net::TcpStream),
    /// A connection to a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl StdSocket {
    /// Registers with the runtime of the calling task.
    pub(crate) fn attach(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(s) => Socket::Tcp(TcpStream::from_std(s)?),
            Self::Unix(s) => Socket::Unix(UnixStream::from_std(s)?),
        })
    }

    /// The address that the client reached; `None` for a Unix socket. One system call.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(s) => s.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A socket registered with the runtime of this thread.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Leaves the runtime.
    pub(crate) fn detach(self) -> io::Result<StdSocket> {
        Ok(match self {
            Self::Tcp(s) => StdSocket::Tcp(s.into_std()?),
            Self::Unix(s) => StdSocket::Unix(s.into_std()?),
        })
    }

    /// Appends at most `max` bytes; 0 is the end. A read that fills less than it could clears the
    /// readiness, so the next call is `Pending` without a system call.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        if buf.capacity() - buf.len() < max {
            // A caller's small buffer grows when there is something to read, not while it waits.
            ready!(self.poll_read_ready(cx))?;
            buf.reserve(max);
        }
        let mut space = buf.limit(max);
        match self {
            Self::Tcp(s) => pin!(s.read_buf(&mut space)).poll(cx),
            Self::Unix(s) => pin!(s.read_buf(&mut space)).poll(cx),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_read_ready(cx),
            Self::Unix(s) => s.poll_read_ready(cx),
        }
    }

    /// Writes what the kernel takes now; `None` when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let written = match (self, slices) {
            (Self::Tcp(s), [one]) => s.try_write(one),
            (Self::Tcp(s), many) => s.try_write_vectored(many),
            (Self::Unix(s), many) => s.try_write_vectored(many),
        };
        match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Ready when [`Socket::try_write`] may take something.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(s) => s.poll_write_ready(cx),
            Self::Unix(s) => s.poll_write_ready(cx),
        }
    }

    /// Tells the client that nothing more comes.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        let done = match self {
            Self::Tcp(s) => rustix::net::shutdown(s, rustix::net::Shutdown::Write),
            Self::Unix(s) => rustix::net::shutdown(s, rustix::net::Shutdown::Write),
        };
        match done {
            // The client was faster.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for bytes and shows them to `take`; none is the end. A waiting connection holds no
    /// buffer: the bytes stand in one of the thread's.
    pub(crate) async fn read_with<R>(&mut self, mut take: impl FnMut(&[u8]) -> R) -> io::Result<R> {
        std::future::poll_fn(|cx| {
            with_chunk(|chunk| self.poll_read(cx, chunk, CHUNK).map_ok(|_| take(chunk)))
        })
        .await
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(&[IoSlice::new(bytes)])? {
                Some(n) => bytes = &bytes[n..],
                None => std::future::poll_fn(|cx| self.poll_write_ready(cx)).await?,
            }
        }
        Ok(())
    }
}
