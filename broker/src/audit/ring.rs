//! The newest records in memory, for `audit tail`, the event stream and `GET /audit`.
//!
//! Lines lie in chunks; older chunks are compressed, so that 10,000 records cost about a megabyte.
//! A reader keeps a position and copies what is new; one that lags loses records and is told how many.
//! The writer never waits for a reader.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::event::EventKind;

/// Records kept.
const KEEP: u64 = 10_000;
/// Records in a chunk.
const CHUNK: usize = 125;
/// Newest chunks that stay uncompressed: as far as a live reader may lag.
const PLAIN_CHUNKS: usize = 8;
/// A live reader further behind than this is moved forward.
const LAG_MAX: u64 = 1000;
/// Records handed out at once.
const BATCH_MAX: usize = 256;

/// A record as live readers get it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub event: EventKind,
    /// The peername's address, if it is about a client with one.
    pub peer_ip: Option<IpAddr>,
    /// The line as in the file, without the line end.
    pub line: String,
}

impl Record {
    /// Reads what filters need from a line of ours.
    fn from_line(line: &str) -> Option<Self> {
        let v: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(Self {
            seq: v.get("seq")?.as_u64()?,
            event: EventKind::parse(v.get("event")?.as_str()?)?,
            peer_ip: v.get("peer_ip").and_then(|ip| ip.as_str()?.parse().ok()),
            line: line.to_owned(),
        })
    }
}

/// Records for a live reader.
#[derive(Debug)]
pub struct Batch {
    /// Records this reader missed before these.
    pub lagged: u64,
    /// In order.
    pub records: Vec<Record>,
}

/// All chunks.
#[derive(Debug)]
pub(super) struct Ring {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    chunks: Mutex<Chunks>,
    /// Position after the newest record; readers wait for it to move.
    end: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Chunks {
    list: VecDeque<Chunk>,
    /// Position of the first record of the first chunk.
    first: u64,
    end: u64,
}

#[derive(Debug)]
struct Chunk {
    lines: usize,
    bytes: Vec<u8>,
    packed: bool,
}

impl Chunk {
    fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.packed {
            // Written by us a moment ago: it can only be whole.
            let _ = flate2::read::DeflateDecoder::new(self.bytes.as_slice()).read_to_end(&mut out);
        } else {
            out.clone_from(&self.bytes);
        }
        out
    }

    fn pack(&mut self) {
        if self.packed {
            return;
        }
        let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing into memory does not fail.
        if let Ok(mut bytes) = z.write_all(&self.bytes).and_then(|()| z.finish()) {
            bytes.shrink_to_fit();
            self.bytes = bytes;
            self.packed = true;
        }
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                chunks: Mutex::default(),
                end: watch::Sender::new(0),
            }),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines from position `from` on, at most `max`, and the position after them.
    fn read(&self, from: u64, max: usize) -> (Vec<String>, u64) {
        let chunks = self.lock();
        let mut at = chunks.first;
        let (mut out, mut next) = (Vec::new(), from.max(chunks.first));
        for chunk in &chunks.list {
            let end = at + chunk.lines as u64;
            if end > next && out.len() < max {
                let text = chunk.text();
                let lines = text
                    .split(|b| *b == b'\n')
                    .take(chunk.lines)
                    .skip((next - at) as usize);
                for line in lines.take(max - out.len()) {
                    out.push(String::from_utf8_lossy(line).into_owned());
                    next += 1;
                }
            }
            at = end;
        }
        (out, next)
    }
}

impl Ring {
    /// Adds a line (without its end). Readers are told by [`Self::notify`].
    pub(super) fn push(&self, line: &[u8]) {
        let mut c = self.inner.lock();
        if c.list.back().is_none_or(|last| last.lines >= CHUNK) {
            let plain = c.list.len().saturating_sub(PLAIN_CHUNKS);
            if let Some(old) = plain.checked_sub(1).and_then(|i| c.list.get_mut(i)) {
                old.pack();
            }
            c.list.push_back(Chunk {
                lines: 0,
                bytes: Vec::new(),
                packed: false,
            });
        }
        if let Some(last) = c.list.back_mut() {
            last.bytes.extend_from_slice(line);
            last.bytes.push(b'\n');
            last.lines += 1;
        }
        c.end += 1;
        while let Some(oldest) = c.list.front().map(|f| f.lines as u64) {
            if c.end - c.first - oldest < KEEP {
                break;
            }
            c.list.pop_front();
            c.first += oldest;
        }
    }

    /// Wakes live readers.
    pub(super) fn notify(&self) {
        let end = self.inner.lock().end;
        self.inner.end.send_replace(end);
    }

    pub(super) fn recent(
        &self,
        after: Option<u64>,
        limit: usize,
        mut keep: impl FnMut(&Record) -> bool,
    ) -> Vec<Record> {
        let mut out = VecDeque::new();
        let mut at = 0;
        loop {
            let (lines, next) = self.inner.read(at, CHUNK);
            if lines.is_empty() {
                return out.into();
            }
            at = next;
            for record in lines.iter().filter_map(|l| Record::from_line(l)) {
                if after.is_none_or(|seq| record.seq > seq) && keep(&record) {
                    if out.len() == limit {
                        out.pop_front();
                    }
                    out.push_back(record);
                }
            }
        }
    }

    pub(super) fn subscribe(&self, after: Option<u64>) -> Subscription {
        let moved = self.inner.end.subscribe();
        let backlog: VecDeque<Record> = after
            .map_or_else(Vec::new, |seq| self.recent(Some(seq), KEEP as usize, |_| true))
            .into();
        // What was copied as backlog must not come again: numbers tell, as the ring may have moved on.
        let last = backlog.back().map_or(after.unwrap_or(0), |r| r.seq);
        let next = {
            let c = self.inner.lock();
            if after.is_some() {
                c.first.max(c.end.saturating_sub(LAG_MAX))
            } else {
                c.end
            }
        };
        Subscription {
            inner: Arc::clone(&self.inner),
            moved,
            next,
            backlog,
            last,
        }
    }
}

/// A live reader. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    inner: Arc<Inner>,
    moved: watch::Receiver<u64>,
    next: u64,
    backlog: VecDeque<Record>,
    last: u64,
}

impl Subscription {
    /// Waits for records that this reader has not seen; cancel-safe. Never ends by itself while the
    /// log lives; after it, pends for ever (the reader's own connection is ended by the shutdown).
    pub async fn next(&mut self) -> Batch {
        loop {
            if let Some(batch) = self.take() {
                return batch;
            }
            if self.moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn take(&mut self) -> Option<Batch> {
        if !self.backlog.is_empty() {
            let n = self.backlog.len().min(BATCH_MAX);
            return Some(Batch {
                lagged: 0,
                records: self.backlog.drain(..n).collect(),
            });
        }
        let end = *self.moved.borrow_and_update();
        let behind = end.saturating_sub(self.next);
        let lagged = if behind > LAG_MAX { behind } else { 0 };
        self.next += lagged;
        let (lines, next) = self.inner.read(self.next, BATCH_MAX);
        let mut records: Vec<Record> = lines.iter().filter_map(|l| Record::from_line(l)).collect();
        self.next = next.max(self.next);
        if self.last > 0 {
            records.retain(|r| r.seq > self.last);
        }
        (lagged > 0 || !records.is_empty()).then_some(Batch { lagged, records })
    }
}
