//! `Transport`: an established connection's bytes, whatever lies between (TLS, WebSocket). All calls
//! are non-blocking, so that any task of the owning thread may write. What does not live here: how a
//! connection came to be (`handshake`), MQTT (`broker`).

use crate::outbuf::OutBuf;
use crate::socket::{CHUNK, Socket, StdSocket, with_chunk};
use crate::tls::layer::{TlsLayer, cipher_size, invalid};
use crate::ws::{Control, WsFault, WsLayer};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// Pieces in one vectored write.
const SLICES: usize = 32;
/// Plaintext encrypted before it is written.
const TLS_CHUNK: usize = 32 * 1024;

/// What a flush left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// The kernel has everything.
    All,
    /// The kernel takes no more now: flush again when [`Transport::poll_write_ready`] says so.
    Blocked,
}

/// One client's stream of MQTT bytes.
///
/// It belongs to the runtime on which it was made; [`Transport::detach`] moves it to another.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    tls: Option<Box<TlsLayer>>,
    ws: Option<Box<WsLayer>>,
    /// Bytes read during the handshake that come after it: below WebSocket, above TLS.
    prefix: Option<Box<[u8]>>,
}

/// A [`Transport`] between two runtimes.
#[derive(Debug)]
pub struct DetachedTransport {
    socket: StdSocket,
    tls: Option<Box<TlsLayer>>,
    ws: Option<Box<WsLayer>>,
    prefix: Option<Box<[u8]>>,
}

/// Buffers of the thread, shared by all its connections.
#[derive(Default)]
struct Scratch {
    incoming: Vec<u8>,
    plain: Vec<u8>,
    cipher: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Transport {
    /// `bytes` come before what the socket (or TLS) gives.
    pub(crate) fn new(socket: Socket, tls: Option<Box<TlsLayer>>, bytes: Vec<u8>) -> Self {
        let mut transport = Self {
            socket,
            tls,
            ws: None,
            prefix: None,
        };
        transport.unread(bytes);
        transport
    }

    /// Puts bytes that were read too far back in front.
    pub(crate) fn unread(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.prefix.is_none(), "what was put back before is read first");
        self.prefix = (!bytes.is_empty()).then(|| bytes.into_boxed_slice());
    }

    /// From here on the stream is frames, beginning with `bytes`.
    pub(crate) fn start_websocket(&mut self, bytes: Vec<u8>) {
        self.ws = Some(Box::default());
        self.unread(bytes);
    }

    /// Waits for bytes and appends them; 0 is the end. Holds no buffer while it waits.
    pub(crate) async fn read_some(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            with_chunk(|chunk| {
                let read = ready!(self.poll_read(cx, chunk, CHUNK));
                bytes.extend_from_slice(chunk);
                Poll::Ready(read)
            })
        })
        .await
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = OutBuf::new();
        out.buffer_mut().extend_from_slice(bytes);
        while self.try_flush(&mut out)? == Flushed::Blocked {
            std::future::poll_fn(|cx| self.poll_write_ready(cx)).await?;
        }
        Ok(())
    }

    /// Appends plaintext MQTT bytes to `buf` and returns how many; `Ok(0)` is the end of the stream.
    ///
    /// About `max` bytes at most: what came with the handshake is handed out whole, and TLS gives
    /// whole records. `Pending` registers the task of `cx`. After a short read the next call is
    /// `Pending` without a system call. Pings and closes of a WebSocket are answered here.
    ///
    /// # Errors
    /// The socket's; `InvalidData` when the client breaks TLS or WebSocket (the alert or close
    /// frame is sent as far as the kernel takes it at once).
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        let start = buf.len();
        loop {
            self.flush_own(cx)?;
            if self.ws.as_ref().is_some_and(|ws| ws.unframer.is_closed()) {
                return Poll::Ready(Ok(0));
            }
            let read = match self.prefix.take() {
                Some(bytes) => {
                    buf.extend_from_slice(&bytes);
                    bytes.len()
                }
                None => ready!(self.poll_plain(cx, buf, max))?,
            };
            let Some(ws) = &mut self.ws else {
                return Poll::Ready(Ok(read));
            };
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            if let Err(fault) = unframe(ws, buf, start) {
                buf.truncate(start);
                self.flush_own(cx)?;
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            if buf.len() > start {
                // Answers to pings must not wait for the next read.
                self.flush_own(cx)?;
                return Poll::Ready(Ok(buf.len() - start));
            }
        }
    }

    /// Bytes above TLS and below WebSocket.
    fn poll_plain(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else {
            return self.socket.poll_read(cx, buf, max);
        };
        let start = buf.len();
        while buf.len() == start {
            if tls.peer_closed() {
                return Poll::Ready(Ok(0));
            }
            let socket = &mut self.socket;
            let processed = SCRATCH.with_borrow_mut(|scratch| {
                let cipher = &mut scratch.incoming;
                cipher.clear();
                cipher.extend_from_slice(tls.incoming());
                match ready!(socket.poll_read(cx, cipher, max))? {
                    0 => Poll::Ready(Ok(0)),
                    n => Poll::Ready(tls.process(cipher, buf).map(|()| n).map_err(invalid)),
                }
            });
            let read = ready!(processed);
            if !tls.outgoing().is_empty() {
                // Key updates, alerts.
                write_outgoing(&self.socket, tls)?;
            }
            if read? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        Poll::Ready(Ok(buf.len() - start))
    }

    /// Writes as much of `out` as the kernel takes now; callable from any task of this thread.
    ///
    /// A transport that has just been made or attached may say `Blocked` until its runtime has
    /// turned once. Bytes that a WebSocket frame has announced must stay in `out`.
    ///
    /// # Errors
    /// The socket's or TLS's: the connection is of no more use.
    pub fn try_flush(&mut self, out: &mut OutBuf) -> io::Result<Flushed> {
        if self.ws.as_ref().is_some_and(|ws| ws.framer.is_closing()) {
            // Nothing may follow a close frame.
            out.clear();
        }
        match (&mut self.tls, &mut self.ws) {
            (None, None) => flush_raw(&self.socket, out),
            (None, Some(ws)) => flush_ws(&self.socket, ws, out),
            (Some(tls), ws) => flush_tls(&self.socket, tls, ws.as_deref_mut(), out),
        }
    }

    /// Ready when a flush may get further; `Pending` registers the task of `cx`.
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// Writes our own bytes that wait (pong, close, key update); registers `cx` if they cannot go.
    fn flush_own(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.wants_write() {
            match self.socket.poll_write_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Ready(Ok(())) => self.try_flush(&mut OutBuf::new())?,
            };
        }
        Ok(())
    }

    fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|t| !t.outgoing().is_empty())
            || self.ws.as_ref().is_some_and(|ws| ws.framer.wants_write())
    }

    /// Ends the stream in order: the rest of `out`, a WebSocket close frame, TLS `close_notify`, FIN.
    /// The caller sets the deadline; dropping the transport instead closes at once.
    pub fn poll_close(&mut self, cx: &mut Context<'_>, out: &mut OutBuf) -> Poll<io::Result<()>> {
        loop {
            if self.try_flush(out)? == Flushed::Blocked {
                ready!(self.poll_write_ready(cx))?;
                continue;
            }
            match (&mut self.ws, &mut self.tls) {
                (Some(ws), _) if !ws.framer.is_closing() => ws.framer.close(&CLOSE_NORMAL),
                (_, Some(tls)) if !tls.is_closing() => tls.close_notify(),
                _ => return Poll::Ready(self.socket.shutdown_write()),
            }
        }
    }

    /// [`Transport::poll_close`], then reads on until the client has closed too, so that no reset
    /// overtakes our last bytes. The caller sets the deadline (peername 5.6 allows 200 ms after a
    /// refusal).
    pub async fn finish(mut self, mut out: OutBuf) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_close(cx, &mut out)).await?;
        while !self.socket.read_with(<[u8]>::is_empty).await? {}
        Ok(())
    }

    /// Takes the transport out of its runtime; no byte is lost.
    pub fn detach(self) -> io::Result<DetachedTransport> {
        Ok(DetachedTransport {
            socket: self.socket.detach()?,
            tls: self.tls,
            ws: self.ws,
            prefix: self.prefix,
        })
    }
}

impl DetachedTransport {
    /// Registers with the runtime of the calling task.
    pub fn attach(self) -> io::Result<Transport> {
        Ok(Transport {
            socket: self.socket.attach()?,
            tls: self.tls,
            ws: self.ws,
            prefix: self.prefix,
        })
    }
}

/// Status 1000 of RFC 6455 7.4.1.
const CLOSE_NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Unframes `buf[start..]` and queues the answers.
fn unframe(ws: &mut WsLayer, buf: &mut Vec<u8>, start: usize) -> Result<(), WsFault> {
    let WsLayer { unframer, framer } = ws;
    let done = unframer.unframe(buf, start, &mut |control| match control {
        Control::Ping(payload) => framer.pong(&payload),
        Control::Close(answer) => framer.close(&answer),
    });
    if let Err(fault) = done {
        framer.close(&fault.code().to_be_bytes());
    }
    done
}

fn flush_raw(socket: &Socket, out: &mut OutBuf) -> io::Result<Flushed> {
    while !out.is_empty() {
        let written = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let n = out.slices(&mut slices, usize::MAX);
            socket.try_write(&slices[..n])?
        };
        match written {
            Some(n) => out.consume(n),
            None => return Ok(Flushed::Blocked),
        }
    }
    Ok(Flushed::All)
}

fn flush_ws(socket: &Socket, ws: &mut WsLayer, out: &mut OutBuf) -> io::Result<Flushed> {
    while ws.framer.prepare(out.len()) {
        let written = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let head = ws.framer.head();
            let ours = usize::from(!head.is_empty());
            slices[0] = IoSlice::new(head);
            let theirs = out.slices(&mut slices[ours..], ws.framer.payload_left());
            if ours + theirs == 0 {
                // A frame waits for bytes of the caller's queue, which is not this one.
                return Ok(Flushed::All);
            }
            socket.try_write(&slices[..ours + theirs])?
        };
        match written {
            Some(n) => out.consume(ws.framer.written(n)),
            None => return Ok(Flushed::Blocked),
        }
    }
    Ok(Flushed::All)
}

fn flush_tls(
    socket: &Socket,
    tls: &mut TlsLayer,
    mut ws: Option<&mut WsLayer>,
    out: &mut OutBuf,
) -> io::Result<Flushed> {
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            if write_outgoing(socket, tls)? == Flushed::Blocked {
                return Ok(Flushed::Blocked);
            }
            scratch.plain.clear();
            match ws.as_deref_mut() {
                None => {
                    out.drain_into(&mut scratch.plain, TLS_CHUNK);
                }
                Some(ws) => compose(ws, out, &mut scratch.plain),
            }
            if scratch.plain.is_empty() || tls.is_closing() {
                return Ok(Flushed::All);
            }
            let space = cipher_size(scratch.plain.len());
            if scratch.cipher.len() < space {
                scratch.cipher.resize(space, 0);
            }
            let n = tls.encrypt(&scratch.plain, &mut scratch.cipher)?;
            let cipher = &scratch.cipher[..n];
            let sent = match tls.outgoing() {
                [] => socket.try_write(&[IoSlice::new(cipher)])?.unwrap_or(0),
                // A key update was queued while encrypting and goes first.
                _ => 0,
            };
            if sent < n {
                tls.keep_outgoing(&cipher[sent..]);
            }
        }
    })
}

/// Moves frames of at most [`TLS_CHUNK`] bytes or so to `plain`.
fn compose(ws: &mut WsLayer, out: &mut OutBuf, plain: &mut Vec<u8>) {
    while plain.len() < TLS_CHUNK && ws.framer.prepare(out.len()) {
        let head = ws.framer.head().len();
        plain.extend_from_slice(ws.framer.head());
        let room = TLS_CHUNK.saturating_sub(plain.len());
        let taken = out.drain_into(plain, ws.framer.payload_left().min(room));
        ws.framer.written(head + taken);
        if head + taken == 0 {
            break;
        }
    }
}

fn write_outgoing(socket: &Socket, tls: &mut TlsLayer) -> io::Result<Flushed> {
    while !tls.outgoing().is_empty() {
        match socket.try_write(&[IoSlice::new(tls.outgoing())])? {
            Some(n) => tls.sent(n),
            None => return Ok(Flushed::Blocked),
        }
    }
    Ok(Flushed::All)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_transport_is_small() {
        assert!(size_of::<Transport>() <= 80, "{}", size_of::<Transport>());
        assert!(size_of::<WsLayer>() <= 128, "{}", size_of::<WsLayer>());
        assert!(size_of::<OutBuf>() <= 72, "{}", size_of::<OutBuf>());
    }
}
