//! One log on disk: what waits to be written, and the thread that writes it.
//!
//! A turn of the thread: take all that waits, drop messages that were acknowledged meanwhile, write the
//! rest as frames, sync once, complete every ticket, move some old records (`gc`). Not here: files
//! (`segments`), recovery (`recover`), both logs together (`file_store`).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::gc::Gc;
use super::index::{Index, Pos};
use super::record::{self, Fields, Rec};
use super::segments::Segments;
use super::settled::settled;
use super::{Completion, Durability, Listener, Log, LogStats, Settings, Ticket, frame};

/// A frame is closed at this size, in bytes.
const FRAME: usize = 256 << 10;
/// With this many bytes waiting, the disk is called slow.
pub(super) const SLOW: u64 = 8 << 20;
/// A write that found the disk full is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Buffers larger than this are given back after use.
const BUFFER_KEEP: usize = 4 << 20;

/// What both logs share.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) bytes: [AtomicU64; 2],
    pub(super) pending: [AtomicU64; 2],
    pub(super) full: [AtomicBool; 2],
    pub(super) failed: AtomicBool,
    pub(super) max: u64,
}

impl Usage {
    pub(super) fn new(max: u64) -> Self {
        Self {
            bytes: Default::default(),
            pending: Default::default(),
            full: Default::default(),
            failed: AtomicBool::new(false),
            max,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.bytes
            .iter()
            .chain(&self.pending)
            .map(|n| n.load(Relaxed))
            .sum()
    }
}

/// The side of a log that callers see.
pub(super) struct Shared {
    log: Log,
    durability: Durability,
    pending: Mutex<Pending>,
    wake: Condvar,
    completed: AtomicU64,
    pub(super) index: Mutex<Index>,
    pub(super) usage: Arc<Usage>,
    pub(super) counters: Counters,
    listeners: Arc<RwLock<Vec<Listener>>>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    segments: AtomicU64,
    syncs: AtomicU64,
    written: AtomicU64,
    pub(super) moved: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    tickets: u64,
    flush: Vec<SyncSender<bool>>,
    stop: bool,
    /// The writer waits and wants to be told.
    asleep: bool,
}

/// Records that wait, and where each append ends.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.records.clear();
        self.records.shrink_to(BUFFER_KEEP);
        self.ends.clear();
        self.ends.shrink_to(BUFFER_KEEP / 64);
    }

    /// One append of records that were encoded elsewhere.
    pub(super) fn of(records: Vec<u8>) -> Self {
        Self {
            ends: vec![records.len()],
            records,
        }
    }
}

impl Shared {
    pub(super) fn new(
        log: Log,
        settings: &Settings,
        index: Index,
        usage: Arc<Usage>,
        listeners: Arc<RwLock<Vec<Listener>>>,
    ) -> Self {
        Self {
            log,
            durability: settings.durability,
            pending: Mutex::default(),
            wake: Condvar::new(),
            completed: AtomicU64::new(0),
            index: Mutex::new(index),
            usage,
            counters: Counters::default(),
            listeners,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, records: &[Rec<'_>]) -> Ticket {
        if records.is_empty() {
            return Ticket::DONE;
        }
        if self.usage.failed.load(Relaxed) {
            return Ticket(u64::MAX - 1);
        }
        let mut p = self.lock();
        for part in records.chunks(frame::COUNT_MAX) {
            for r in part {
                record::encode(&mut p.batch.records, r);
            }
            let end = p.batch.records.len();
            p.batch.ends.push(end);
        }
        p.tickets += 1;
        let ticket = p.tickets;
        self.usage.pending[self.log as usize].store(p.batch.records.len() as u64, Relaxed);
        let wake = std::mem::take(&mut p.asleep);
        drop(p);
        if wake {
            self.wake.notify_one();
        }
        match self.durability {
            Durability::Group => Ticket(ticket),
            Durability::Async => Ticket::DONE,
        }
    }

    pub(super) fn last(&self) -> Ticket {
        match self.durability {
            Durability::Group => Ticket(self.lock().tickets),
            Durability::Async => Ticket::DONE,
        }
    }

    pub(super) fn completed(&self) -> Ticket {
        Ticket(self.completed.load(Relaxed))
    }

    /// Waits until all that was appended is safe; false if it cannot be.
    pub(super) fn flush(&self) -> bool {
        let (done, wait) = sync_channel(1);
        let mut p = self.lock();
        if p.stop {
            return false;
        }
        p.flush.push(done);
        p.asleep = false;
        drop(p);
        self.wake.notify_one();
        wait.recv().unwrap_or(false)
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> LogStats {
        let slot = self.log as usize;
        LogStats {
            bytes: self.usage.bytes[slot].load(Relaxed),
            live_bytes: self.index().live_bytes(),
            segments: self.counters.segments.load(Relaxed),
            pending_bytes: self.usage.pending[slot].load(Relaxed),
            appends: self.lock().tickets,
            syncs: self.counters.syncs.load(Relaxed),
            written_bytes: self.counters.written.load(Relaxed),
            moved_bytes: self.counters.moved.load(Relaxed),
        }
    }

    fn tell(&self, what: Completion) {
        for listener in self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            listener(self.log, what);
        }
    }
}

/// What the thread takes at once.
struct Turn {
    batch: Batch,
    upto: u64,
    flush: Vec<SyncSender<bool>>,
    stop: bool,
}

/// The thread of a log.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) segments: Segments,
    settings: Settings,
    epoch: u64,
    next_frame: u64,
    out: Vec<u8>,
    /// Where each record of `out` begins, where its fields begin, and where it ends.
    records: Vec<[usize; 3]>,
    /// Written and not synced since.
    dirty: Option<Instant>,
    pub(super) gc: Gc,
}

/// Why the thread ends.
#[derive(Debug)]
pub(super) enum End {
    /// It was told to.
    Stop,
    /// The disk failed.
    Failed(&'static str, io::Error),
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, segments: Segments, settings: Settings, next_frame: u64) -> Self {
        let w = Self {
            shared,
            segments,
            settings,
            epoch: 1,
            next_frame,
            out: Vec::new(),
            records: Vec::new(),
            dirty: None,
            gc: Gc::default(),
        };
        w.publish_sizes();
        w
    }

    /// Runs until it is told to stop, or the disk fails; then nothing more is acknowledged.
    pub(super) fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        if let End::Failed(what, e) = end {
            tracing::error!(target: "broker::store", log = self.shared.log.as_str(), error = %e, "STO001 the disk failed ({what}); nothing more is acknowledged");
            self.shared.usage.failed.store(true, Relaxed);
            self.shared.tell(Completion::Failed);
        }
        // Whoever waits is let go; dropping a sender tells that it failed.
        let mut p = self.shared.lock();
        p.stop = true;
        p.flush.clear();
    }

    fn turn(&mut self) -> Result<(), End> {
        let turn = self.take();
        let Turn {
            mut batch,
            upto,
            flush,
            stop,
        } = turn;
        if !batch.records.is_empty() {
            self.write(&batch)?;
            batch.clear();
        }
        let group = self.settings.durability == Durability::Group;
        let due = self
            .dirty
            .is_some_and(|at| at.elapsed() >= self.settings.fsync_interval);
        if group || due || stop || !flush.is_empty() {
            self.sync()?;
        }
        if upto > self.shared.completed.load(Relaxed) {
            self.shared.completed.store(upto, Relaxed);
            if group {
                self.shared.tell(Completion::Done(Ticket(upto)));
            }
        }
        for f in flush {
            // The one who asked may have gone.
            let _ = f.send(true);
        }
        if stop {
            return Err(End::Stop);
        }
        self.collect()?;
        let mut p = self.shared.lock();
        if p.batch.records.is_empty() {
            // Its memory is used again.
            p.batch = batch;
        }
        Ok(())
    }

    /// Waits for something to do.
    fn take(&mut self) -> Turn {
        let timeout = if self.gc.is_busy() {
            Some(Duration::ZERO)
        } else {
            self.dirty
                .map(|at| self.settings.fsync_interval.saturating_sub(at.elapsed()))
        };
        let mut p = self.shared.lock();
        if p.batch.records.is_empty() && p.flush.is_empty() && !p.stop && timeout != Some(Duration::ZERO) {
            p.asleep = true;
            p = match timeout {
                Some(t) => {
                    self.shared
                        .wake
                        .wait_timeout(p, t)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.shared.wake.wait(p).unwrap_or_else(PoisonError::into_inner),
            };
            p.asleep = false;
        }
        Turn {
            batch: std::mem::take(&mut p.batch),
            upto: p.tickets,
            flush: std::mem::take(&mut p.flush),
            stop: p.stop,
        }
    }

    /// Writes a batch as frames, and takes it into the index.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), End> {
        self.build(batch);
        if self.records.is_empty() {
            return Ok(());
        }
        let at = self.write_out()?;
        let mut index = self.shared.index();
        for [start, body, end] in &self.records {
            let record = self.out.get(*body..*end).unwrap_or_default();
            let here = Pos::new(at.segment(), (at.offset() + *start as u64) as u32);
            if !index.apply(record, here, (end - start) as u32) {
                tracing::error!(target: "broker::store", log = self.shared.log.as_str(), tag = record.first(), "STO004 a record that this log does not know was appended");
            }
        }
        drop(index);
        self.shared
            .counters
            .written
            .fetch_add(self.out.len() as u64, Relaxed);
        self.publish_sizes();
        self.out.clear();
        self.out.shrink_to(BUFFER_KEEP);
        self.records.clear();
        self.records.shrink_to(BUFFER_KEEP / 64);
        Ok(())
    }

    /// Makes frames of a batch; an append is never parted.
    fn build(&mut self, batch: &Batch) {
        let dropped = settled(&batch.records);
        let mut dropped = dropped.iter().copied().peekable();
        let (mut fields, mut from) = (Fields(&batch.records), 0);
        let mut open: Option<(usize, usize)> = None;
        for end in &batch.ends {
            let append = end - from;
            if let Some((start, count)) = open
                && (self.out.len() - start + append > FRAME || count + append / 2 > frame::COUNT_MAX)
            {
                self.close(start, count);
                open = None;
            }
            let (start, mut count) = match open {
                Some(o) => o,
                None => (frame::begin(&mut self.out), 0),
            };
            while batch.records.len() - fields.0.len() < *end {
                let at = batch.records.len() - fields.0.len();
                let Some(record) = fields.record() else { break };
                let next = batch.records.len() - fields.0.len();
                if dropped.next_if_eq(&at).is_some() {
                    continue;
                }
                let here = self.out.len();
                self.out
                    .extend_from_slice(batch.records.get(at..next).unwrap_or_default());
                self.records
                    .push([here, here + (next - at - record.len()), self.out.len()]);
                count += 1;
            }
            open = Some((start, count));
            from = *end;
        }
        if let Some((start, count)) = open {
            self.close(start, count);
        }
    }

    fn close(&mut self, start: usize, count: usize) {
        if count == 0 {
            // All of it was settled before it was written.
            self.out.truncate(start);
            return;
        }
        frame::finish(&mut self.out, start, self.epoch, self.next_frame, count as u16);
        self.next_frame += 1;
    }

    /// Writes `out`; waits while the disk is full.
    fn write_out(&mut self) -> Result<Pos, End> {
        loop {
            let written = self.make_room().and_then(|()| self.segments.append(&self.out));
            let e = match written {
                Ok(at) => {
                    self.set_full(false);
                    self.dirty.get_or_insert_with(Instant::now);
                    return Ok(at);
                }
                Err(e) => e,
            };
            if !matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) {
                return Err(End::Failed("write", e));
            }
            if !self.shared.usage.full[self.shared.log as usize].load(Relaxed) {
                tracing::error!(target: "broker::store", log = self.shared.log.as_str(), "STO002 the disk is full; no more messages are taken until there is space");
            }
            self.set_full(true);
            if self.remove_dead()? {
                continue;
            }
            let p = self.shared.lock();
            if p.stop {
                return Err(End::Failed("full at shutdown", e));
            }
            // A flush cannot succeed now: whoever waits for one is let go.
            let (mut p, _) = self
                .shared
                .wake
                .wait_timeout(p, RETRY)
                .unwrap_or_else(PoisonError::into_inner);
            p.flush.clear();
        }
    }

    fn set_full(&self, full: bool) {
        let flag = &self.shared.usage.full[self.shared.log as usize];
        if flag.swap(full, Relaxed) && !full {
            tracing::warn!(target: "broker::store", log = self.shared.log.as_str(), "the disk has space again");
        }
    }

    /// Begins a new segment when the current one is full.
    fn make_room(&mut self) -> io::Result<()> {
        if !self.segments.is_full() {
            return Ok(());
        }
        if self.dirty.is_some() {
            self.segments.sync()?;
            self.shared.counters.syncs.fetch_add(1, Relaxed);
            self.dirty = None;
        }
        self.segments.roll()?;
        self.publish_sizes();
        Ok(())
    }

    /// Makes everything written safe. A failed sync is the end: the kernel may have dropped the pages.
    pub(super) fn sync(&mut self) -> Result<(), End> {
        if self.dirty.take().is_some() {
            self.shared.counters.syncs.fetch_add(1, Relaxed);
            self.segments.sync().map_err(|e| End::Failed("fdatasync", e))?;
        }
        Ok(())
    }

    pub(super) fn publish_sizes(&self) {
        let slot = self.shared.log as usize;
        self.shared.usage.bytes[slot].store(self.segments.bytes(), Relaxed);
        self.shared
            .counters
            .segments
            .store(self.segments.list().count() as u64, Relaxed);
        let p = self.shared.lock();
        self.shared.usage.pending[slot].store(p.batch.records.len() as u64, Relaxed);
    }
}
