//! `OutBuf`: the bytes that wait to be written to one connection. What does not live here: the
//! limit on their number (the caller's), TLS and WebSocket (they wrap these bytes when written).

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Payloads from this size on are kept as shared slices; shorter ones are cheaper to copy.
pub const SHARE_MIN: usize = 1024;

/// A queue of bytes: small frames copied into one vector, large payloads shared.
///
/// An empty `OutBuf` that was [released](OutBuf::release) owns no heap memory.
#[derive(Default, Debug)]
pub struct OutBuf {
    /// Copied bytes, of which the first `head` are written.
    copied: Vec<u8>,
    head: usize,
    /// Shared segments in order; each stands before `copied[at..]`.
    shared: VecDeque<Shared>,
    shared_len: usize,
}

#[derive(Debug)]
struct Shared {
    at: usize,
    bytes: Bytes,
}

impl OutBuf {
    /// An empty queue without heap memory.
    pub const fn new() -> Self {
        Self {
            copied: Vec::new(),
            head: 0,
            shared: VecDeque::new(),
            shared_len: 0,
        }
    }

    /// An empty queue that appends into `spare`, a vector from the caller's pool.
    pub fn with_buffer(mut spare: Vec<u8>) -> Self {
        spare.clear();
        Self {
            copied: spare,
            ..Self::new()
        }
    }

    /// The vector to which encoders append. They only append: what stands in it already may have
    /// been written in part.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends a payload: shared if it has at least [`SHARE_MIN`] bytes, else copied.
    pub fn push(&mut self, payload: &Bytes) {
        if payload.len() < SHARE_MIN {
            self.copied.extend_from_slice(payload);
        } else {
            self.shared_len += payload.len();
            self.shared.push_back(Shared {
                at: self.copied.len(),
                bytes: payload.clone(),
            });
        }
    }

    /// True if it has no heap memory, so that a buffer from a pool can take its place.
    pub fn owns_nothing(&self) -> bool {
        self.copied.capacity() == 0 && self.shared.is_empty()
    }

    /// Bytes that are still to be written.
    pub fn len(&self) -> usize {
        self.copied.len() - self.head + self.shared_len
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.copied.len() == self.head && self.shared.is_empty()
    }

    /// A copy of what waits, for those who look at packets on their way.
    pub fn copy(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.pieces().for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Drops everything that waits. Not for a WebSocket that still has to send: it may be in the
    /// middle of a frame.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.head = 0;
        self.shared.clear();
        self.shared_len = 0;
    }

    /// Gives the memory back when nothing waits: the emptied vector, for the caller's pool or to be
    /// dropped. `None` while bytes wait, or when there is no memory to give.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() || (self.copied.capacity() == 0 && self.shared.capacity() == 0) {
            return None;
        }
        self.shared = VecDeque::new();
        self.head = 0;
        let mut spare = std::mem::take(&mut self.copied);
        spare.clear();
        Some(spare)
    }

    /// Fills `out` with the first waiting pieces, at most `limit` bytes in all; returns how many
    /// pieces were filled in.
    pub(crate) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>], limit: usize) -> usize {
        let (mut n, mut left) = (0, limit);
        for piece in self.pieces() {
            if n == out.len() || left == 0 {
                break;
            }
            let take = piece.len().min(left);
            out[n] = IoSlice::new(&piece[..take]);
            left -= take;
            n += 1;
        }
        n
    }

    /// The waiting bytes in order, no piece empty.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.head;
        let mut queue = self.shared.iter();
        let mut next = queue.next();
        std::iter::from_fn(move || match next {
            Some(segment) if segment.at <= from => {
                next = queue.next();
                Some(&segment.bytes[..])
            }
            Some(segment) => {
                let piece = &self.copied[from..segment.at];
                from = segment.at;
                Some(piece)
            }
            None if from < self.copied.len() => {
                let piece = &self.copied[from..];
                from = self.copied.len();
                Some(piece)
            }
            None => None,
        })
    }

    /// Moves up to `limit` of the first bytes to the end of `to`; returns how many.
    pub(crate) fn drain_into(&mut self, to: &mut Vec<u8>, limit: usize) -> usize {
        let mut left = limit;
        for piece in self.pieces() {
            let take = piece.len().min(left);
            to.extend_from_slice(&piece[..take]);
            left -= take;
            if left == 0 {
                break;
            }
        }
        let moved = limit - left;
        self.consume(moved);
        moved
    }

    /// Drops the first `n` bytes, which have been written.
    pub(crate) fn consume(&mut self, mut n: usize) {
        while n > 0 {
            match self.shared.front_mut() {
                Some(front) if front.at <= self.head => {
                    let take = front.bytes.len().min(n);
                    n -= take;
                    self.shared_len -= take;
                    if take == front.bytes.len() {
                        self.shared.pop_front();
                    } else {
                        bytes::Buf::advance(&mut front.bytes, take);
                    }
                }
                front => {
                    let end = front.map_or(self.copied.len(), |s| s.at);
                    let take = (end - self.head).min(n);
                    debug_assert!(take > 0, "more was written than waited");
                    if take == 0 {
                        break;
                    }
                    self.head += take;
                    n -= take;
                }
            }
        }
        self.compact();
    }

    /// Forgets written bytes: at once when all are, else when they are the larger half.
    fn compact(&mut self) {
        if self.head == self.copied.len() && self.shared.is_empty() {
            self.copied.clear();
            self.head = 0;
        } else if self.head >= 4096 && self.head * 2 >= self.copied.len() {
            self.copied.drain(..self.head);
            for segment in &mut self.shared {
                segment.at -= self.head;
            }
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of alternating copied and shared pieces, and the same bytes plainly.
    fn mixed() -> (OutBuf, Vec<u8>) {
        let (mut out, mut plain) = (OutBuf::new(), Vec::new());
        for i in 0..6_u8 {
            let small = vec![i; usize::from(i) * 7];
            out.buffer_mut().extend_from_slice(&small);
            plain.extend_from_slice(&small);
            let large = Bytes::from(vec![100 + i; SHARE_MIN + usize::from(i)]);
            out.push(&large);
            plain.extend_from_slice(&large);
            let short = Bytes::from(vec![200 + i; 3]);
            out.push(&short);
            plain.extend_from_slice(&short);
        }
        (out, plain)
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_writes_take() {
        for step in [1, 2, 13, 1023, 1024, 1025, 5000, 100_000] {
            let (mut out, plain) = mixed();
            let mut written = Vec::new();
            while !out.is_empty() {
                assert_eq!(out.len(), plain.len() - written.len());
                let before = written.len();
                let mut slices = [IoSlice::new(&[]); 3];
                let n = out.slices(&mut slices, step);
                for slice in &slices[..n] {
                    assert!(!slice.is_empty());
                    written.extend_from_slice(slice);
                }
                out.consume(written.len() - before);
            }
            assert_eq!(written, plain, "step {step}");
        }
    }

    #[test]
    fn draining_moves_the_same_bytes() {
        for step in [1, 999, 4097, 100_000] {
            let (mut out, plain) = mixed();
            let mut moved = Vec::new();
            while out.drain_into(&mut moved, step) > 0 {}
            assert_eq!(moved, plain);
            assert!(out.is_empty());
        }
    }

    #[test]
    fn what_is_appended_between_writes_follows() {
        let (mut out, mut plain) = mixed();
        let mut written = Vec::new();
        for i in 0..200_u8 {
            out.drain_into(&mut written, 97);
            out.buffer_mut().push(i);
            plain.push(i);
        }
        while out.drain_into(&mut written, 97) > 0 {}
        assert_eq!(written, plain);
    }

    #[test]
    fn an_idle_queue_gives_its_memory_back() {
        let (mut out, _) = mixed();
        assert!(out.release().is_none(), "bytes wait");
        let len = out.len();
        out.consume(len);
        let spare = out.release().expect("the vector comes back");
        assert!(spare.is_empty() && spare.capacity() > 0);
        assert!(out.release().is_none(), "nothing is left to give");
        assert!(out.copied.capacity() == 0 && out.shared.capacity() == 0);
    }
}
