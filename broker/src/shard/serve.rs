//! The task that serves a connection: reads what is there, handles every whole packet, writes, and sleeps.
//!
//! It is three numbers; everything else is in the shard. What does not live here: what packets mean
//! (`packets.rs`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use codec::frame::{self, Frame};
use listeners::Flushed;

use super::end::Cause;
use super::{Shard, with};
use crate::router::trie::SessionRef;

/// Reads at most this much at once.
const READ_MAX: usize = 64 * 1024;
/// Reads so often in one turn, then lets others have theirs.
const READS_PER_TURN: usize = 4;
/// Buffers kept for reuse.
const SPARE_MAX: usize = 256;
/// Bytes waiting in all buffers after which they are written even in the middle of a batch.
const UNFLUSHED_MAX: usize = 2 * 1024 * 1024;

/// The task of one connection.
pub struct Serve {
    /// Its session.
    pub who: SessionRef,
    /// Its number.
    pub number: u64,
}

impl Future for Serve {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        with(|shard| shard.turn(self.who, self.number, cx)).unwrap_or(Poll::Ready(()))
    }
}

/// What reading brought.
enum Read {
    Nothing,
    Bytes,
}

impl Shard {
    /// One turn of a connection; `Ready` once it is gone.
    fn turn(&mut self, who: SessionRef, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS_PER_TURN {
            let Some(conn) = self
                .client(who)
                .and_then(|c| c.conn.as_mut())
                .filter(|c| c.number == number)
            else {
                return Poll::Ready(());
            };
            match &conn.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => conn.waker = Some(cx.waker().clone()),
            }
            if conn.blocked {
                match conn.transport.poll_write_ready(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Err(_)) => {
                        self.close(who, &Cause::Gone);
                        return Poll::Ready(());
                    }
                    Poll::Ready(Ok(())) => {
                        conn.blocked = false;
                        self.flush(who.slot);
                        continue;
                    }
                }
            }
            let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) else {
                return Poll::Ready(());
            };
            if conn.waits_for > 0 {
                return Poll::Pending;
            }
            match self.read(who, cx) {
                Ok(Read::Nothing) => return Poll::Pending,
                Ok(Read::Bytes) => {}
                Err(cause) => {
                    self.close(who, &cause);
                    return Poll::Ready(());
                }
            }
        }
        // More may be there: next turn after the others'.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(&mut self, who: SessionRef, cx: &mut Context<'_>) -> Result<Read, Cause> {
        let mut buffer = std::mem::take(&mut self.scratch);
        let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) else {
            return Ok(Read::Nothing);
        };
        let own = !conn.partial.is_empty();
        if own {
            std::mem::swap(&mut buffer, &mut conn.partial);
        }
        let read = conn.transport.poll_read(cx, &mut buffer, READ_MAX);
        let bytes = match read {
            Poll::Ready(Ok(bytes)) => bytes,
            Poll::Pending | Poll::Ready(Err(_)) => {
                if own {
                    std::mem::swap(&mut buffer, &mut conn.partial);
                }
                self.scratch = buffer;
                return if read.is_pending() {
                    Ok(Read::Nothing)
                } else {
                    Err(Cause::Gone)
                };
            }
        };
        let result = if bytes == 0 {
            Err(Cause::Gone)
        } else {
            self.handle_all(who, &buffer, bytes)
        };
        let consumed = *result.as_ref().unwrap_or(&buffer.len());
        self.put_back(who, buffer, consumed, own);
        result.map(|_| Read::Bytes)
    }

    /// Keeps the tail of `buffer` that is no whole packet yet, and the buffer itself for the next read.
    fn put_back(&mut self, who: SessionRef, mut buffer: Vec<u8>, consumed: usize, own: bool) {
        let rest = buffer.len().saturating_sub(consumed);
        if own {
            // The scratch buffer went to the connection meanwhile.
            let scratch = self
                .client(who)
                .and_then(|c| c.conn.as_mut())
                .map(|conn| std::mem::take(&mut conn.partial));
            self.scratch = scratch.unwrap_or_default();
            if rest > 0 {
                buffer.drain(..consumed);
                if let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut()) {
                    conn.partial = buffer;
                }
            }
            return;
        }
        if rest > 0
            && let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut())
        {
            conn.partial = buffer[consumed..].to_vec();
        }
        buffer.clear();
        self.scratch = buffer;
    }

    /// Handles every whole packet in `buffer`, of which the last `new` bytes are new; returns how many bytes
    /// that were.
    pub(super) fn handle_all(&mut self, who: SessionRef, buffer: &[u8], new: usize) -> Result<usize, Cause> {
        let now = self.now;
        let Some(client) = self.client(who) else {
            return Ok(buffer.len());
        };
        let version = client.session.link.version;
        let Some(conn) = client.conn.as_mut() else {
            return Ok(buffer.len());
        };
        conn.received += new as u64;
        let listener = std::sync::Arc::clone(&conn.listener);
        let counters = std::sync::Arc::clone(&conn.counters);
        let max = listener.max_packet_size;
        let mut at = 0;
        loop {
            let rest = &buffer[at..];
            let len = match frame::check(rest, max).map_err(Cause::Malformed)? {
                Frame::Complete { len } => len,
                Frame::Incomplete { .. } => break,
            };
            let packet = codec::decode(&rest[..len], version).map_err(Cause::Malformed)?;
            counters.packets_received[usize::from(rest[0] >> 4)].inc();
            if self.node.tracer.is_on() {
                self.trace_in(who, &packet, len);
            }
            self.handle(who, &packet)?;
            at += len;
            if self.unflushed > UNFLUSHED_MAX {
                self.flush_dirty();
            }
        }
        if at > 0
            && let Some(conn) = self.client(who).and_then(|c| c.conn.as_mut())
        {
            conn.last_packet = now;
        }
        Ok(at)
    }

    /// Notes that bytes were put into the connection's buffer.
    pub(super) fn touch(&mut self, slot: u32) {
        if let Some(conn) = self.at(slot).and_then(|c| c.conn.as_mut())
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// The connection's buffer, marked as touched.
    pub(super) fn out(&mut self, slot: u32) -> Option<&mut listeners::OutBuf> {
        self.touch(slot);
        Some(&mut self.at(slot)?.conn.as_mut()?.out)
    }

    pub(super) fn flush_dirty(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            self.flush(slot);
        }
        self.unflushed = 0;
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self, slot: u32) {
        if self.node.tracer.is_on() {
            self.trace_out(slot);
        } else {
            self.forget_traced();
        }
        let Some(conn) = self.at(slot).and_then(|c| c.conn.as_mut()) else {
            return;
        };
        conn.dirty = false;
        if conn.blocked {
            return;
        }
        let before = conn.out.len();
        match conn.transport.try_flush(&mut conn.out) {
            Ok(flushed) => {
                conn.sent += (before - conn.out.len()) as u64;
                if flushed == Flushed::Blocked {
                    conn.blocked = true;
                    conn.wake();
                    return;
                }
                let spare = conn.out.release();
                let who = self.at(slot).map(|c| c.session.me);
                if let Some(spare) = spare
                    && self.spare.len() < SPARE_MAX
                    && spare.capacity() <= READ_MAX
                {
                    self.spare.push(spare);
                }
                if let Some(who) = who {
                    self.drained(who);
                }
            }
            Err(_) => {
                if let Some(who) = self.at(slot).map(|c| c.session.me) {
                    self.close(who, &Cause::Gone);
                }
            }
        }
    }
}
