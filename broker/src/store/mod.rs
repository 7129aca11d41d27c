//! The store: what outlives the process. All protocol state is in memory; the store is a log to rebuild it.
//!
//! # Who calls what, and when
//!
//! There are two logs: [`Log::State`] for what lives long (sessions, subscriptions, Wills, retained
//! messages, bans), [`Log::Queue`] for what is soon gone (messages on their way to sessions, QoS 2
//! identifiers). [`StoreHandle::append`] never blocks; the order of calls is the order in the log. It gives
//! a [`Ticket`]; whoever owes a client an acknowledgement keeps it until the ticket is done
//! ([`StoreHandle::is_done`], or the notification registered with [`StoreHandle::on_complete`], which comes
//! from the log's own thread and should only wake the shard). Tickets of a log complete in order, so a
//! shard keeps one first-in first-out list for each log.
//!
//! Only the shard that is home of a session writes about it, so the order of what happens to it is the
//! order of its records; only a message is written by the shard of its publisher, for all receivers at once,
//! before it crosses to their shards. "Durable session" = Session Expiry Interval > 0 (MQTT 3: clean session 0).
//!
//! | event | append, in this order | wait before |
//! |---|---|---|
//! | CONNECT of a durable session, new or resumed | State: `SessionPut` (`disconnected_at` 0), `WillPut` or `WillDel` if that changed | – (a session without subscriptions promises nothing; see `docs/decisions/012-durability.md`) |
//! | CONNECT with clean start where a session was | State: `SessionDel` of the old `sid`; Queue: `SessionDel`; then as new, with a new `sid` | as above |
//! | Will of a session that is not durable | State: `WillPut`, later `WillDel` | – |
//! | SUBSCRIBE, UNSUBSCRIBE of a durable session | State: `SubPut`, `SubDel` for each filter | SUBACK, UNSUBACK |
//! | a message matches durable sessions with QoS >= 1 | Queue: one `MsgEnq` for all its sessions, one more for each shared group; `mid` from [`StoreHandle::next_mid`], in the order of publication | PUBACK, PUBREC of the publisher |
//! | a retained message | State: `RetainPut`, or `RetainDel` if empty | PUBACK, PUBREC |
//! | PUBLISH QoS 2 of a durable session comes in | Queue: `In2` (in the same append as its `MsgEnq`) | PUBREC, which waits for the `SessionPut` too |
//! | its PUBREL | Queue: `In2Del` | PUBCOMP: the client may use the packet id again |
//! | a queued message is sent, QoS 1 or 2 | Queue: `Out { released: false }` (so that the packet id survives) | the packet itself at QoS 2: a client must not meet a packet id that a crash forgets |
//! | PUBACK or PUBCOMP of a subscriber; the message expired or was dropped | Queue: `Ack` | – |
//! | PUBREC of a subscriber | Queue: `Out { released: true }` | PUBREL |
//! | DISCONNECT, loss of the connection | State: `SessionPut` with `disconnected_at`; `WillPut` with `due_at` | – |
//! | the session ends or expires | State: `SessionDel`; Queue: `SessionDel` | – |
//! | the Will was published | what its publication appends, then State: `WillDel` | – |
//!
//! QoS 0, and messages to sessions that are not durable, never touch the log. Before taking a message that
//! will need the log, ask [`StoreHandle::room`]: `Full` = answer 0x97 (3.x: close), `Slow` = stop
//! reading from this publisher until the next notification.
//!
//! # At start
//! [`StoreHandle::open`] hands out what is alive, resolved and in this order: every `SessionPut`, `SubPut`,
//! `WillPut`, `RetainPut`, `BanPut`, then every `MsgEnq` by number with only the targets that still need it
//! and their [`Stage`], then every `In2`. Nothing else comes, no key comes twice.
//!
//! # Failure
//! A failed fsync is never tried again: the log stops, [`StoreHandle::on_complete`] listeners get
//! [`Completion::Failed`], no ticket completes any more, and the broker has to exit. A full disk is waited
//! out: `room` says `Full`, what was appended stays in memory and is written when there is space.
//!
//! What does not live here: what records mean to a session (`session`, `shard`), replication (`cluster`).

mod disk;
mod fields;
mod file_log;
mod file_store;
mod frame;
mod gc;
mod index;
mod index_queue;
mod index_state;
pub mod offline;
mod record;
mod recover;
mod segments;
mod settled;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::{self, StoreConfig};

pub use file_store::FileStore;
pub use index::Live;
pub use record::{Body, Rec, SessionRec, Stage, Target, WillRec};
pub use recover::{CutOff, OpenError, Progress, Recovered};

/// One of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// What lives long.
    State = 0,
    /// What is soon gone.
    Queue = 1,
}

impl Log {
    /// Both, in the order of recovery.
    pub const ALL: [Self; 2] = [Self::State, Self::Queue];

    /// The name of its directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Queue => "queue",
        }
    }
}

/// Names an append to one log; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// Nothing to wait for.
    pub const DONE: Self = Self(0);
}

/// What a log tells those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Every ticket of this log up to this one is done.
    Done(Ticket),
    /// The disk failed: no ticket will be done any more.
    Failed,
}

/// Called by the thread of a log.
pub type Listener = Arc<dyn Fn(Log, Completion) + Send + Sync>;

/// Whether the store takes more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Free,
    /// The disk cannot keep up: take less for a while.
    Slow,
    /// The disk, or `store.max_bytes`, is full; records that delete are still taken.
    Full,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing; written at once, synced each `fsync_interval`.
    Async,
    /// Its frame's fdatasync, which serves many.
    Group,
}

/// How the store on disk works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory; the logs are `state/` and `queue/` in it.
    pub dir: PathBuf,
    /// What tickets wait for.
    pub durability: Durability,
    /// Time between two syncs with [`Durability::Async`].
    pub fsync_interval: Duration,
    /// Bytes on disk at which no more messages are taken.
    pub max_bytes: u64,
    /// Bytes at which a new segment begins.
    pub segment_bytes: u64,
}

impl Settings {
    /// The settings of a checked configuration with a data directory; `None` = nothing is kept on disk.
    pub fn from_config(dir: &Path, c: &StoreConfig) -> Option<Self> {
        let durability = match c.durability {
            config::Durability::None => return None,
            config::Durability::Async => Durability::Async,
            config::Durability::Group => Durability::Group,
        };
        Some(Self {
            durability,
            fsync_interval: c.fsync_interval,
            max_bytes: c.max_bytes,
            ..Self::new(dir.to_owned())
        })
    }

    /// The defaults of the configuration, in this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            durability: Durability::Group,
            fsync_interval: Duration::from_secs(1),
            max_bytes: 10 << 30,
            segment_bytes: 64 << 20,
        }
    }
}

/// Numbers that are given out once.
#[derive(Debug)]
struct Ids {
    sid: AtomicU64,
    mid: AtomicU64,
}

impl Ids {
    fn after(sid: u64, mid: u64) -> Self {
        Self {
            sid: AtomicU64::new(sid + 1),
            mid: AtomicU64::new(mid + 1),
        }
    }
}

/// Figures of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LogStats {
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes of them that are alive.
    pub live_bytes: u64,
    /// Files.
    pub segments: u64,
    /// Bytes that wait to be written.
    pub pending_bytes: u64,
    /// Appends since the start.
    pub appends: u64,
    /// Syncs since the start; with `group` each serves all appends before it.
    pub syncs: u64,
    /// Bytes written since the start, moved ones too.
    pub written_bytes: u64,
    /// Bytes of records moved by garbage collection since the start.
    pub moved_bytes: u64,
}

/// Figures of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreStats {
    /// The State log.
    pub state: LogStats,
    /// The Queue log.
    pub queue: LogStats,
    /// What is alive.
    pub live: Live,
    /// The disk was full at the last write.
    pub full: bool,
    /// The disk failed.
    pub failed: bool,
}

/// A message read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    record: Vec<u8>,
}

impl StoredMessage {
    /// The message.
    pub fn body(&self) -> Option<Body<'_>> {
        match record::decode(&self.record)? {
            Rec::MsgEnq { body, .. } => Some(body),
            _ => None,
        }
    }
}

/// The store. Clone it freely.
#[derive(Clone, Debug)]
pub enum StoreHandle {
    /// Nothing is kept on disk: every ticket is done at once.
    Mem(Arc<MemStore>),
    /// Two logs in a directory.
    File(Arc<FileStore>),
}

/// What is left of a store without a disk: the numbers.
#[derive(Debug)]
pub struct MemStore {
    ids: Ids,
}

impl StoreHandle {
    /// A store that keeps nothing.
    pub fn memory() -> Self {
        Self::Mem(Arc::new(MemStore {
            ids: Ids::after(0, 0),
        }))
    }

    /// Opens the data directory and hands what is alive in it to `visit`, in the order described above.
    /// `progress` is called now and then.
    ///
    /// # Errors
    /// The directory is in use, cannot be read, or a segment other than the last is damaged.
    pub fn open(
        settings: &Settings,
        visit: &mut dyn FnMut(Rec<'_>),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), OpenError> {
        let (store, recovered) = FileStore::open(settings, visit, progress)?;
        Ok((Self::File(Arc::new(store)), recovered))
    }

    /// A number for a new session.
    pub fn next_sid(&self) -> u64 {
        self.ids().sid.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a new message.
    pub fn next_mid(&self) -> u64 {
        self.ids().mid.fetch_add(1, Ordering::Relaxed)
    }

    fn ids(&self) -> &Ids {
        match self {
            Self::Mem(s) => &s.ids,
            Self::File(s) => s.ids(),
        }
    }

    /// Whether records are kept at all; if not, a caller need not make any.
    pub fn is_persistent(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Appends records (of that log) as one: after a crash all of them are there or none (as long as they
    /// are fewer than 65,536). Never blocks.
    pub fn append(&self, log: Log, records: &[Rec<'_>]) -> Ticket {
        match self {
            Self::Mem(_) => Ticket::DONE,
            Self::File(s) => s.append(log, records),
        }
    }

    /// The newest ticket of that log that is done; all before it are.
    pub fn completed(&self, log: Log) -> Ticket {
        match self {
            Self::Mem(_) => Ticket(u64::MAX),
            Self::File(s) => s.completed(log),
        }
    }

    /// The ticket of the newest append: once it is done, everything appended to that log until now is.
    pub fn last(&self, log: Log) -> Ticket {
        match self {
            Self::Mem(_) => Ticket::DONE,
            Self::File(s) => s.last(log),
        }
    }

    /// Whether the ticket is done.
    pub fn is_done(&self, log: Log, ticket: Ticket) -> bool {
        ticket <= self.completed(log)
    }

    /// Registers somebody to be told of completed tickets. Called on the log's thread: only wake somebody.
    pub fn on_complete(&self, listener: Listener) {
        if let Self::File(s) = self {
            s.on_complete(listener);
        }
    }

    /// Whether more messages should be taken. Cheap.
    pub fn room(&self) -> Room {
        match self {
            Self::Mem(_) => Room::Free,
            Self::File(s) => s.room(),
        }
    }

    /// Reads a message that some session still needs; `None` if none does. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, mid: u64) -> std::io::Result<Option<StoredMessage>> {
        match self {
            Self::Mem(_) => Ok(None),
            Self::File(s) => s.read(mid),
        }
    }

    /// Waits until everything appended so far is written and synced. Blocks; for shutdown and tests.
    /// False if the disk failed, or is full.
    pub fn flush(&self) -> bool {
        match self {
            Self::Mem(_) => true,
            Self::File(s) => s.flush(),
        }
    }

    /// Figures.
    pub fn stats(&self) -> StoreStats {
        match self {
            Self::Mem(_) => StoreStats::default(),
            Self::File(s) => s.stats(),
        }
    }
}
