//! The one thread that writes: takes what is queued, formats, chains, appends, syncs, rotates.
//!
//! What it writes of its own: `audit_gap` as the first record after any were lost, summaries of
//! denials held back, checkpoints of the hash chain. Files themselves are in `file`.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::chain;
use super::coalesce::{Coalescer, Summary};
use super::event::{Event, EventKind};
use super::format::{self, Head, Repeats, micros};
use super::log::{ChainHead, Command, Entry, Lost, Settings, Shared, Work};

/// Where lines go; `file::FileSink`, and in tests one that fails on demand.
pub(super) trait Sink: Send {
    /// Number and hash of the last record that was there when it was opened.
    fn last(&self) -> Last;
    /// Appends whole lines; after an error nothing of them is left there.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Makes them safe.
    fn sync(&mut self) -> io::Result<()>;
    /// Bytes in the current file.
    fn size(&self) -> u64;
    /// Puts the current file aside, keeps `keep` old ones, begins a new one.
    fn rotate(&mut self, keep: usize) -> io::Result<()>;
    /// Opens the file anew by its name.
    fn reopen(&mut self) -> io::Result<()>;
}

/// Where a file ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    /// 0 = no record.
    pub(super) seq: u64,
    /// Of a chained file.
    pub(super) hash: Option<String>,
}

/// Lines are handed to the sink at this size, in bytes.
const WRITE_AT: usize = 256 << 10;
/// A failed write is tried again after this, even if nothing new comes.
const RETRY: Duration = Duration::from_secs(1);
/// Time between checkpoints of the hash chain.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// The state of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    settings: Settings,
    sink: Option<Box<dyn Sink>>,
    coalescer: Coalescer,
    buf: Buffer,
    /// What was lost and not yet told.
    gap: Option<Lost>,
    /// A chained file was just opened: a checkpoint comes first.
    fresh: bool,
    /// The file is over its size.
    rotate: bool,
    dirty_since: Option<Instant>,
    checkpoint_at: Option<Instant>,
    failed_at: Option<Instant>,
    /// The rest of this batch is lost.
    batch_failed: bool,
}

/// Lines formatted and not yet appended.
struct Buffer {
    bytes: Vec<u8>,
    /// Event and number of each line.
    lines: Vec<(EventKind, u64)>,
    /// Hash of the last line in `bytes`, and of the last appended; `None` without a chain.
    chain: Option<String>,
    appended: Option<String>,
    /// The gap told by a line in `bytes`.
    gap: Option<Lost>,
}

/// What the writer adds to a batch.
#[derive(Default)]
struct Own {
    summaries: Vec<Summary>,
    gap: bool,
    checkpoint: bool,
}

impl Own {
    fn count(&self) -> u64 {
        self.summaries.len() as u64 + u64::from(self.gap) + u64::from(self.checkpoint)
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Settings,
        sink: Option<Box<dyn Sink>>,
        last_hash: Option<String>,
    ) -> Self {
        let chain = settings
            .hash_chain
            .then(|| last_hash.unwrap_or_else(|| chain::ROOT.to_owned()));
        Self {
            shared,
            coalescer: Coalescer::new(settings.coalesce),
            settings,
            sink,
            fresh: chain.is_some(),
            buf: Buffer {
                bytes: Vec::new(),
                lines: Vec::new(),
                appended: chain.clone(),
                chain,
                gap: None,
            },
            gap: None,
            rotate: false,
            dirty_since: None,
            checkpoint_at: None,
            failed_at: None,
            batch_failed: false,
        }
    }

    /// Runs until told to stop; then everything is written, the denials held back too.
    pub(super) fn run(mut self) {
        let (mut spare, mut stop) = (Vec::new(), false);
        while !stop {
            (spare, stop) = self.turn(spare, false);
        }
        self.turn(spare, true);
    }

    /// One batch; gives the emptied vector back, and whether to stop.
    fn turn(&mut self, spare: Vec<Entry>, last: bool) -> (Vec<Entry>, bool) {
        let mut own = Own::default();
        let timeout = if last {
            Some(Duration::ZERO)
        } else {
            self.timeout()
        };
        let shared = Arc::clone(&self.shared);
        let mut work = shared.take(spare, timeout, |lost, commands| {
            let now = Instant::now();
            // Another file begins with a checkpoint.
            let other = commands
                .iter()
                .any(|c| matches!(c, Command::Reopen | Command::Sink(_)));
            self.fresh |= other && self.buf.chain.is_some();
            own.summaries = self.coalescer.due((!last).then_some(now));
            own.gap = lost || self.gap.is_some();
            own.checkpoint = self.buf.chain.is_some()
                && (self.fresh || self.rotate || self.checkpoint_at.is_some_and(|at| at <= now));
            own.count()
        });
        let ends = self.obey(std::mem::take(&mut work.commands));
        if !work.entries.is_empty() || own.count() > 0 {
            self.batch(&mut work, own);
        }
        let stop = self.finish(ends);
        self.sync(stop || last);
        (work.entries, stop)
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let soon = self.fresh.then_some(now);
        let sync = self.dirty_since.map(|at| at + self.settings.fsync);
        let retry = self.failed_at.map(|at| at + RETRY);
        [soon, sync, retry, self.coalescer.deadline(), self.checkpoint_at]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Writes one batch. Numbers rise through the file, save for a record that must come first: the
    /// checkpoint of a new file, and the gap after a disk that failed.
    fn batch(&mut self, work: &mut Work, own: Own) {
        let now = Instant::now();
        self.batch_failed = false;
        let mut next = work.own_seq;
        let mut number = || {
            next += 1;
            next - 1
        };
        if own.checkpoint && self.fresh {
            self.checkpoint(number());
        }
        let told = own.gap && self.gap.is_some();
        if told {
            self.tell_gap(number());
        }
        if let Some(lost) = work.lost {
            Lost::merge(&mut self.gap, lost);
        }
        if self.rotate && self.buf.chain.is_none() {
            self.rotate_now();
        }
        for entry in work.entries.drain(..) {
            if let Some(e) = self.coalescer.pass(entry, now) {
                let once = Repeats {
                    count: 1,
                    first_ts: e.ts,
                };
                self.event(
                    e.ts,
                    e.seq,
                    &e.event,
                    matches!(*e.event, Event::AclDeny(..)).then_some(once),
                );
            }
        }
        if own.gap && !told {
            self.tell_gap(number());
        }
        for s in own.summaries {
            self.event(s.ts, number(), &s.event, Some(s.repeats));
        }
        if own.checkpoint && !self.fresh {
            self.append();
            if self.rotate {
                self.rotate_now();
            }
            self.checkpoint(number());
        }
        self.fresh &= !own.checkpoint;
        self.append();
        self.rotate = match (&self.sink, self.settings.rotate_size) {
            (Some(sink), Some(max)) => sink.size() >= max,
            _ => false,
        };
    }

    fn event(&mut self, ts: u64, seq: u64, event: &Event, repeats: Option<Repeats>) {
        let node = Arc::clone(&self.settings.node);
        self.line(event.kind(), seq, |out| {
            format::write_event(out, Head { ts, seq, node: &node }, event, repeats);
        });
    }

    fn tell_gap(&mut self, seq: u64) {
        let Some(lost) = self.gap.take() else { return };
        let (node, ts) = (Arc::clone(&self.settings.node), micros(SystemTime::now()));
        self.buf.gap = Some(lost);
        self.line(EventKind::AuditGap, seq, |out| {
            format::write_gap(
                out,
                Head { ts, seq, node: &node },
                lost.dropped,
                lost.from,
                lost.to,
            );
        });
    }

    fn checkpoint(&mut self, seq: u64) {
        let Some(head) = self.buf.chain.clone() else {
            return;
        };
        let (node, ts) = (Arc::clone(&self.settings.node), micros(SystemTime::now()));
        self.line(EventKind::AuditCheckpoint, seq, |out| {
            format::write_checkpoint(out, Head { ts, seq, node: &node }, &head);
        });
        self.checkpoint_at = None;
        tracing::info!(target: "audit", seq, head, "audit checkpoint");
    }

    /// Formats one line, chains it, shows it to live readers, and appends when enough has gathered.
    fn line(&mut self, kind: EventKind, seq: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.batch_failed {
            self.lose(kind, seq);
            return;
        }
        let buf = &mut self.buf;
        let start = buf.bytes.len();
        write(&mut buf.bytes);
        let text = buf.bytes.get(start..).unwrap_or_default();
        if let Some(previous) = &buf.chain {
            let hash = chain::link(previous, text);
            // The closing brace makes room for the last key.
            buf.bytes.pop();
            buf.bytes
                .extend_from_slice(format!(",\"hash\":\"{hash}\"}}").as_bytes());
            buf.chain = Some(hash);
            if kind != EventKind::AuditCheckpoint {
                self.checkpoint_at
                    .get_or_insert_with(|| Instant::now() + CHECKPOINT);
            }
        }
        self.shared.ring.push(buf.bytes.get(start..).unwrap_or_default());
        buf.bytes.push(b'\n');
        buf.lines.push((kind, seq));
        if buf.bytes.len() >= WRITE_AT {
            self.append();
        }
    }

    /// Hands the buffer to the sink. What fails is dropped whole and told by the next gap.
    fn append(&mut self) {
        if self.buf.lines.is_empty() {
            return;
        }
        let result = match &mut self.sink {
            Some(sink) => sink.append(&self.buf.bytes),
            None => Ok(()),
        };
        self.buf.bytes.clear();
        let lines = std::mem::take(&mut self.buf.lines);
        match result {
            Ok(()) => self.appended(&lines),
            Err(e) => {
                if self.failed_at.is_none() {
                    tracing::error!(target: "audit", error = %e, "AUD001 audit log cannot be written; records are dropped and counted");
                }
                self.failed_at = Some(Instant::now());
                self.shared.failing.store(true, Ordering::Relaxed);
                self.batch_failed = true;
                self.buf.chain.clone_from(&self.buf.appended);
                if let Some(gap) = self.buf.gap.take() {
                    Lost::merge(&mut self.gap, gap);
                }
                for (kind, seq) in &lines {
                    self.lose(*kind, *seq);
                }
            }
        }
        self.buf.lines = lines;
        self.buf.lines.clear();
        self.shared.ring.notify();
    }

    fn appended(&mut self, lines: &[(EventKind, u64)]) {
        if self.sink.is_some() {
            self.dirty_since.get_or_insert_with(Instant::now);
        }
        if self.failed_at.take().is_some() {
            tracing::warn!(target: "audit", "audit log can be written again; a gap is recorded in it");
            self.shared.failing.store(false, Ordering::Relaxed);
        }
        self.buf.gap = None;
        for (kind, _) in lines {
            if let Some(n) = self.shared.written.get(*kind as usize) {
                n.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let (Some(hash), Some((_, seq))) = (&self.buf.chain, lines.last()) {
            self.buf.appended = Some(hash.clone());
            *self.shared.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(ChainHead {
                seq: *seq,
                hash: hash.clone(),
            });
        }
    }

    /// Counts a record as lost; the log's own records are made anew.
    fn lose(&mut self, kind: EventKind, seq: u64) {
        match kind {
            EventKind::AuditGap => {}
            EventKind::AuditCheckpoint => self.fresh = true,
            _ => {
                Lost::merge(
                    &mut self.gap,
                    Lost {
                        dropped: 1,
                        from: seq,
                        to: seq,
                    },
                );
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn rotate_now(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        if let Err(e) = sink.sync().and_then(|()| sink.rotate(self.settings.rotate_keep)) {
            tracing::error!(target: "audit", error = %e, "audit log cannot be rotated; writing goes on in the same file");
        }
    }

    /// Carries out what comes before the batch (another file, other settings); gives back the rest.
    fn obey(&mut self, mut commands: Vec<Command>) -> Vec<Command> {
        for c in commands.extract_if(.., |c| !matches!(c, Command::Flush(_) | Command::Stop)) {
            match c {
                Command::Reopen => {
                    self.sync(true);
                    if let Some(Err(e)) = self.sink.as_mut().map(|s| s.reopen()) {
                        tracing::error!(target: "audit", error = %e, "audit log cannot be opened again; writing goes on in the old file");
                    }
                }
                Command::Sink(sink) => {
                    self.sync(true);
                    self.sink = sink;
                }
                Command::Settings(new) => {
                    self.coalescer.set_window(new.coalesce);
                    self.settings.rotate_size = new.rotate_size;
                    self.settings.rotate_keep = new.rotate_keep;
                    self.settings.fsync = new.fsync;
                }
                Command::Flush(_) | Command::Stop => {}
            }
        }
        commands
    }

    /// Carries out what comes after the batch; true = stop.
    fn finish(&mut self, commands: Vec<Command>) -> bool {
        let mut stop = false;
        for c in commands {
            self.sync(true);
            match c {
                // The one who asked may have gone.
                Command::Flush(done) => _ = done.send(()),
                _ => stop = true,
            }
        }
        stop
    }

    /// Syncs what was written, at once or when its time has come.
    fn sync(&mut self, at_once: bool) {
        let Some(since) = self.dirty_since else { return };
        if !at_once && since.elapsed() < self.settings.fsync {
            return;
        }
        self.dirty_since = None;
        if let Some(Err(e)) = self.sink.as_mut().map(|s| s.sync()) {
            tracing::error!(target: "audit", error = %e, "audit log cannot be synced");
        }
    }
}
