//! Which records are alive, and where: what garbage collection and reading back need to know.
//!
//! Both indexes are fed with every record in the order of the log, while running and at recovery alike.
//! Not here: State's keys (`index_state`), Queue's messages (`index_queue`), moving records (`gc`).

use std::collections::BTreeMap;

pub(super) use super::index_queue::QueueIndex;
pub(super) use super::index_state::StateIndex;

/// Where a record lies: number of the segment and offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pos(u64);

impl Pos {
    pub(super) fn new(segment: u32, offset: u32) -> Self {
        Self(u64::from(segment) << 32 | u64::from(offset))
    }

    pub(super) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

/// Things in a log that are alive, for `store stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Live {
    /// Sessions.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Wills.
    pub wills: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bans.
    pub bans: u64,
    /// Queued deliveries: messages times sessions.
    pub queued: u64,
    /// QoS 2 packet identifiers of clients in use.
    pub in2: u64,
}

/// How many live records lie in each segment: one without any can go unread.
#[derive(Debug, Default)]
pub(super) struct PerSegment(BTreeMap<u32, u32>);

impl PerSegment {
    pub(super) fn add(&mut self, at: Pos) {
        *self.0.entry(at.segment()).or_default() += 1;
    }

    pub(super) fn remove(&mut self, at: Pos) {
        if let Some(n) = self.0.get_mut(&at.segment()) {
            *n -= 1;
            if *n == 0 {
                self.0.remove(&at.segment());
            }
        }
    }

    pub(super) fn is_empty(&self, segment: u32) -> bool {
        !self.0.contains_key(&segment)
    }
}

/// What is alive in one log.
#[derive(Debug)]
pub(super) enum Index {
    State(StateIndex),
    Queue(QueueIndex),
}

impl Index {
    /// Takes in a record (without its length) that lies at `at` and takes `len` bytes there; whether it
    /// is one that stays alive by itself. `false` = its fields are malformed.
    pub(super) fn apply(&mut self, record: &[u8], at: Pos, len: u32) -> bool {
        match self {
            Self::State(i) => i.apply(record, at, len).is_some(),
            Self::Queue(i) => i.apply(record, at, len).is_some(),
        }
    }

    /// Appends to `out` what has to be written anew of the record at `at`, which is about to be removed:
    /// itself, itself with less, or nothing. True = something was appended.
    pub(super) fn relive(&mut self, record: &[u8], at: Pos, out: &mut Vec<u8>) -> bool {
        match self {
            Self::State(i) => i.relive(record, at, out),
            Self::Queue(i) => i.relive(record, at, out),
        }
    }

    /// Bytes of all live records.
    pub(super) fn live_bytes(&self) -> u64 {
        match self {
            Self::State(i) => i.live_bytes,
            Self::Queue(i) => i.live_bytes,
        }
    }

    /// Whether no record of that segment can be alive.
    pub(super) fn is_dead(&self, segment: u32) -> bool {
        match self {
            Self::State(i) => i.segments.is_empty(segment),
            Self::Queue(i) => i.segments.is_empty(segment),
        }
    }

    /// A segment was removed.
    pub(super) fn removed(&mut self, segment: u32) {
        if let Self::Queue(i) = self {
            i.removed(segment);
        }
    }

    /// Adds what is alive.
    pub(super) fn count(&self, live: &mut Live) {
        match self {
            Self::State(i) => i.count(live),
            Self::Queue(i) => i.count(live),
        }
    }
}
