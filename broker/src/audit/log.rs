//! The handle that the rest of the broker holds, and the bounded queue behind it.
//!
//! A record costs its caller one small allocation and one short lock, never a system call unless the
//! writer is asleep. Not here: the thread at the other end (`writer`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::config::AuditConfig;

use super::event::{Event, EventKind};
use super::file::FileSink;
use super::format::micros;
use super::ring::{Record, Ring, Subscription};
use super::writer::{Sink, Writer};

/// `[audit]` of the configuration, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the log is written; `None` (disabled, or no disk) keeps the newest records in memory only.
    pub path: Option<PathBuf>,
    /// Which events are recorded.
    pub events: EventFilter,
    /// Records that may wait for the writer; beyond, they are dropped and counted.
    pub queue: usize,
    /// Bytes after which the file is rotated; `None` = never.
    pub rotate_size: Option<u64>,
    /// Rotated files kept, compressed; 0 keeps none.
    pub rotate_keep: usize,
    /// Alike denials within this time become one record; zero = each is written.
    pub coalesce: Duration,
    /// Longest time between a write and its fsync.
    pub fsync: Duration,
    /// Whether each record carries the hash of the one before.
    pub hash_chain: bool,
    /// Name of this node, as written in each record.
    pub node: Arc<str>,
}

impl Settings {
    /// The settings of a checked configuration.
    ///
    /// # Errors
    /// An entry of `events` that names no event.
    pub fn from_config(c: &AuditConfig, node: &str) -> Result<Self, String> {
        Ok(Self {
            path: c.enabled.then(|| c.path.clone()),
            events: EventFilter::parse(&c.events)?,
            queue: c.queue,
            rotate_size: Some(c.rotate_size),
            rotate_keep: c.rotate_keep as usize,
            coalesce: c.coalesce,
            fsync: c.fsync,
            hash_chain: c.hash_chain,
            node: node.into(),
        })
    }

    /// The defaults of the configuration with this file and node.
    pub fn new(path: Option<PathBuf>, node: &str) -> Self {
        Self {
            path,
            events: EventFilter::default(),
            queue: 65_536,
            rotate_size: Some(100 << 20),
            rotate_keep: 10,
            coalesce: Duration::from_secs(10),
            fsync: Duration::from_secs(1),
            hash_chain: false,
            node: node.into(),
        }
    }
}

/// The set of events that are recorded, from a list such as `["*", "-publish_ok"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFilter(u32);

impl Default for EventFilter {
    /// All but `publish_ok`.
    fn default() -> Self {
        Self(!(1 << EventKind::PublishOk as u32))
    }
}

impl EventFilter {
    /// Reads a list: `*` or a name adds, `-*` or `-name` removes, in order.
    ///
    /// # Errors
    /// The first entry that names no event.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, String> {
        let mut bits = 0;
        for entry in list {
            let entry = entry.as_ref();
            let (remove, name) = entry.strip_prefix('-').map_or((false, entry), |n| (true, n));
            let these = match (name, EventKind::parse(name)) {
                ("*", _) => u32::MAX,
                (_, Some(kind)) => 1 << kind as u32,
                _ => return Err(entry.to_owned()),
            };
            bits = if remove { bits & !these } else { bits | these };
        }
        Ok(Self(bits))
    }

    /// Whether this event is recorded. Gaps and checkpoints always are.
    pub fn wants(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

/// Why the log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file, and what the system said.
    File(PathBuf, std::io::Error),
    /// Another process holds the file.
    Locked(PathBuf),
    /// The writer thread did not start.
    Thread(std::io::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "audit log {}: {e}", path.display()),
            Self::Locked(path) => {
                write!(f, "audit log {}: another process is writing it", path.display())
            }
            Self::Thread(e) => write!(f, "audit log: cannot start its thread: {e}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// The head of the hash chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Number of the newest record.
    pub seq: u64,
    /// Its hash, 64 hex digits.
    pub hash: String,
}

/// Counters for metrics and the doctor (AUD001).
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Records written, by event.
    pub records: Vec<(EventKind, u64)>,
    /// Records dropped because the queue or the disk was full.
    pub dropped: u64,
    /// Records waiting now.
    pub queued: usize,
    /// The file cannot be written at the moment.
    pub failing: bool,
}

/// The audit log. Clone it freely; the thread ends, with everything written, when the last is gone.
#[derive(Clone)]
pub struct AuditLog(Arc<Owner>);

/// Joins the writer on drop.
struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The file written now.
    path: Mutex<Option<PathBuf>>,
}

/// What callers and writer share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    filter: AtomicU32,
    pub(super) ring: Ring,
    pub(super) written: [AtomicU64; EventKind::ALL.len()],
    pub(super) dropped: AtomicU64,
    pub(super) failing: AtomicBool,
    pub(super) head: Mutex<Option<ChainHead>>,
}

struct Queue {
    entries: Vec<Entry>,
    capacity: usize,
    next_seq: u64,
    lost: Option<Lost>,
    commands: Vec<Command>,
    /// The writer waits for the first entry and wants to be told.
    asleep: bool,
}

/// One event on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) ts: u64,
    pub(super) event: Box<Event>,
}

/// Records that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) dropped: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Lost {
    pub(super) fn merge(into: &mut Option<Self>, more: Self) {
        match into {
            None => *into = Some(more),
            Some(l) => {
                l.dropped += more.dropped;
                l.from = l.from.min(more.from);
                l.to = l.to.max(more.to);
            }
        }
    }
}

/// What the writer is asked to do beside writing.
pub(super) enum Command {
    Reopen,
    Settings(Box<Settings>),
    /// Write there from now on; `None` = in memory only.
    Sink(Option<Box<dyn Sink>>),
    /// Write and fsync everything, then answer.
    Flush(SyncSender<()>),
    Stop,
}

/// What the writer takes at once.
pub(super) struct Work {
    pub(super) entries: Vec<Entry>,
    pub(super) lost: Option<Lost>,
    pub(super) commands: Vec<Command>,
    /// First of the numbers reserved for the writer's own records; above those of `entries`.
    pub(super) own_seq: u64,
}

/// How long the writer lets records gather, so that callers seldom have to wake it.
const GATHER: Duration = Duration::from_millis(10);

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AuditLog").field(&self.0.path).finish()
    }
}

impl AuditLog {
    /// Opens the file (0640, created with its directory if missing) and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened or is written by another process.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let sink = open_sink(settings.path.as_deref())?;
        Self::start(settings, sink)
    }

    /// A log in memory only: for tests and where the log is disabled.
    pub fn in_memory(node: &str) -> Result<Self, OpenError> {
        Self::open(Settings::new(None, node))
    }

    pub(super) fn start(settings: Settings, sink: Option<Box<dyn Sink>>) -> Result<Self, OpenError> {
        let last = sink.as_ref().map(|s| s.last()).unwrap_or_default();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                entries: Vec::new(),
                capacity: settings.queue.max(1),
                next_seq: last.seq + 1,
                lost: None,
                commands: Vec::new(),
                asleep: false,
            }),
            wake: Condvar::new(),
            filter: AtomicU32::new(settings.events.0),
            ring: Ring::default(),
            written: [const { AtomicU64::new(0) }; EventKind::ALL.len()],
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            head: Mutex::new(None),
        });
        let path = Mutex::new(settings.path.clone());
        let writer = Writer::new(Arc::clone(&shared), settings, sink, last.hash);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Owner {
            shared,
            thread: Mutex::new(Some(thread)),
            path,
        })))
    }

    /// Whether this event is recorded now; lets a caller skip building what nobody wants.
    pub fn wants(&self, kind: EventKind) -> bool {
        EventFilter(self.0.shared.filter.load(Ordering::Relaxed)).wants(kind)
    }

    /// Records an event. Never blocks: with the queue full the record is dropped and counted, and a
    /// gap is written later.
    pub fn record(&self, event: Event) {
        if self.wants(event.kind()) {
            self.0.shared.push(Box::new(event));
        }
    }

    /// Takes new settings; `queue`, `hash_chain` and `node` need a restart and stay as they are.
    ///
    /// # Errors
    /// A new `path` cannot be opened; then nothing is changed.
    pub fn reconfigure(&self, settings: Settings) -> Result<(), OpenError> {
        let mut path = self.0.path.lock().unwrap_or_else(PoisonError::into_inner);
        if *path != settings.path {
            let sink = open_sink(settings.path.as_deref())?;
            path.clone_from(&settings.path);
            self.0.shared.command(Command::Sink(sink));
        }
        self.0.shared.filter.store(settings.events.0, Ordering::Relaxed);
        self.0.shared.command(Command::Settings(Box::new(settings)));
        Ok(())
    }

    /// Closes and opens the file again (signal USR1, after an outside rotation).
    pub fn reopen(&self) {
        self.0.shared.command(Command::Reopen);
    }

    /// Waits until everything recorded so far is written and synced. Not for the data path.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        self.0.shared.command(Command::Flush(done));
        // An error means the writer is gone: there is nothing left to wait for.
        let _ = wait.recv();
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let s = &self.0.shared;
        Stats {
            records: EventKind::ALL
                .iter()
                .zip(&s.written)
                .map(|(kind, n)| (*kind, n.load(Ordering::Relaxed)))
                .collect(),
            dropped: s.dropped.load(Ordering::Relaxed),
            queued: s.lock().entries.len(),
            failing: s.failing.load(Ordering::Relaxed),
        }
    }

    /// The newest link of the hash chain; `None` without `hash_chain`.
    pub fn head(&self) -> Option<ChainHead> {
        self.0
            .shared
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest records in memory (at most 10,000 are kept), oldest first: those after number
    /// `after` for which `keep` says yes, and of these the last `limit`.
    pub fn recent(&self, after: Option<u64>, limit: usize, keep: impl FnMut(&Record) -> bool) -> Vec<Record> {
        self.0.shared.ring.recent(after, limit, keep)
    }

    /// A live reader, from now on or from the record after number `after` as far as memory reaches.
    pub fn subscribe(&self, after: Option<u64>) -> Subscription {
        self.0.shared.ring.subscribe(after)
    }
}

fn open_sink(path: Option<&Path>) -> Result<Option<Box<dyn Sink>>, OpenError> {
    Ok(match path {
        Some(path) => Some(Box::new(FileSink::open(path)?)),
        None => None,
    })
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.command(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(t) = thread {
            // A panic there has already been printed.
            let _ = t.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is valid after every statement, so a panic elsewhere does not spoil it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Box<Event>) {
        let mut q = self.lock();
        let seq = q.next_seq;
        q.next_seq += 1;
        if q.entries.len() >= q.capacity {
            Lost::merge(
                &mut q.lost,
                Lost {
                    dropped: 1,
                    from: seq,
                    to: seq,
                },
            );
            drop(q);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Read inside the lock, so that time and number rise together.
        q.entries.push(Entry {
            seq,
            ts: micros(SystemTime::now()),
            event,
        });
        let wake = std::mem::take(&mut q.asleep) || q.entries.len() == q.capacity / 2;
        drop(q);
        if wake {
            self.wake.notify_one();
        }
    }

    fn command(&self, c: Command) {
        let mut q = self.lock();
        q.commands.push(c);
        q.asleep = false;
        drop(q);
        self.wake.notify_one();
    }

    /// Waits for work, at most `timeout`, lets records gather for a moment and takes all of them.
    /// `own` is told whether records were lost and what is asked, and says how many numbers the writer needs for records
    /// of its own; they follow those of the entries, so that numbers rise through the file.
    pub(super) fn take(
        &self,
        spare: Vec<Entry>,
        timeout: Option<Duration>,
        own: impl FnOnce(bool, &[Command]) -> u64,
    ) -> Work {
        let mut q = self.lock();
        if q.entries.is_empty() && q.commands.is_empty() {
            q.asleep = true;
            q = match timeout {
                Some(t) => {
                    self.wake
                        .wait_timeout(q, t)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.wake.wait(q).unwrap_or_else(PoisonError::into_inner),
            };
            q.asleep = false;
        }
        if !q.entries.is_empty() && q.commands.is_empty() {
            q = self
                .wake
                .wait_timeout(q, GATHER)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let own_seq = q.next_seq;
        q.next_seq += own(q.lost.is_some(), &q.commands);
        Work {
            entries: std::mem::replace(&mut q.entries, spare),
            lost: q.lost.take(),
            commands: std::mem::take(&mut q.commands),
            own_seq,
        }
    }
}
