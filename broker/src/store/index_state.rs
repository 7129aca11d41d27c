//! What is alive in the State log: the last record of each key.
//!
//! Keys are kept as 96 bits of a hash with a secret of this process: among a hundred million keys the
//! chance that any two meet is one in 10^13. Not here: the Queue log (`index_queue`).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::index::{Live, PerSegment, Pos};
use super::record::{Fields, tag};

/// The last record of one key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    at: Pos,
    check: u32,
    len: u32,
}

/// What belongs to a session.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Its own record is there.
    put: bool,
    subscriptions: u32,
    /// Of its own record and its subscriptions.
    bytes: u64,
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Session,
    Subscription,
    Will,
    Retained,
    Ban,
}

#[derive(Debug, Default)]
pub(super) struct StateIndex {
    slots: HashTable<Slot>,
    hashers: [RandomState; 2],
    sessions: HashMap<u64, Sum>,
    wills: u64,
    retained: u64,
    bans: u64,
    pub(super) live_bytes: u64,
    pub(super) segments: PerSegment,
}

/// A key as it stands in a record.
#[derive(Clone, Copy, Debug)]
struct Key<'a> {
    kind: Kind,
    sid: u64,
    text: &'a [u8],
}

impl<'a> Key<'a> {
    fn of(kind: Kind, sid: u64) -> Self {
        Self { kind, sid, text: &[] }
    }

    /// The key that a record puts or deletes, and which of both.
    fn read(record: &'a [u8]) -> Option<(Self, bool)> {
        let mut f = Fields(record);
        let tag = f.byte()?;
        Some(match tag {
            tag::SESSION_PUT | tag::SESSION_DEL => {
                (Self::of(Kind::Session, f.number()?), tag == tag::SESSION_PUT)
            }
            tag::WILL_PUT | tag::WILL_DEL => (Self::of(Kind::Will, f.number()?), tag == tag::WILL_PUT),
            tag::SUB_PUT => {
                let sid = f.number()?;
                f.number()?;
                f.number()?;
                (
                    Self {
                        kind: Kind::Subscription,
                        sid,
                        text: f.record()?,
                    },
                    true,
                )
            }
            tag::SUB_DEL => (
                Self {
                    kind: Kind::Subscription,
                    sid: f.number()?,
                    text: f.record()?,
                },
                false,
            ),
            tag::RETAIN_PUT => (
                Self {
                    kind: Kind::Retained,
                    sid: 0,
                    text: f.body_topic()?,
                },
                true,
            ),
            tag::RETAIN_DEL => (
                Self {
                    kind: Kind::Retained,
                    sid: 0,
                    text: f.0,
                },
                false,
            ),
            tag::BAN_PUT => (
                Self {
                    kind: Kind::Ban,
                    sid: 0,
                    text: f.record()?,
                },
                true,
            ),
            tag::BAN_DEL => (
                Self {
                    kind: Kind::Ban,
                    sid: 0,
                    text: f.0,
                },
                false,
            ),
            _ => return None,
        })
    }
}

impl StateIndex {
    fn hash(&self, key: Key<'_>) -> (u64, u32) {
        let [a, b] = self.hashers.each_ref().map(|state| {
            let mut h = state.build_hasher();
            h.write_u8(key.kind as u8);
            h.write_u64(key.sid);
            h.write(key.text);
            h.finish()
        });
        (a, b as u32)
    }

    pub(super) fn apply(&mut self, record: &[u8], at: Pos, len: u32) -> Option<()> {
        let (key, put) = Key::read(record)?;
        if put {
            self.put(key, at, len);
        } else if key.kind == Kind::Session {
            self.remove(key);
            self.remove(Key::of(Kind::Will, key.sid));
            // Its subscriptions' slots are dropped when garbage collection meets their records.
            if let Some(sum) = self.sessions.remove(&key.sid) {
                self.live_bytes -= sum.bytes;
            }
        } else {
            self.remove(key);
        }
        Some(())
    }

    fn put(&mut self, key: Key<'_>, at: Pos, len: u32) {
        let (hash, check) = self.hash(key);
        let same = |s: &Slot| s.hash == hash && s.check == check;
        let slot = Slot { hash, at, check, len };
        let old = match self.slots.entry(hash, same, |s| s.hash) {
            Entry::Occupied(mut e) => Some(std::mem::replace(e.get_mut(), slot)),
            Entry::Vacant(e) => {
                e.insert(slot);
                None
            }
        };
        self.segments.add(at);
        if let Some(old) = old {
            self.segments.remove(old.at);
        }
        let before = old.map_or(0, |o| u64::from(o.len));
        self.live_bytes = self.live_bytes + u64::from(len) - before;
        let new = u64::from(old.is_none());
        match key.kind {
            Kind::Session | Kind::Subscription => {
                let sum = self.sessions.entry(key.sid).or_default();
                sum.bytes = sum.bytes + u64::from(len) - before;
                sum.put |= key.kind == Kind::Session;
                sum.subscriptions += u32::from(key.kind == Kind::Subscription && old.is_none());
            }
            Kind::Will => self.wills += new,
            Kind::Retained => self.retained += new,
            Kind::Ban => self.bans += new,
        }
    }

    fn remove(&mut self, key: Key<'_>) -> Option<Slot> {
        let (hash, check) = self.hash(key);
        let found = self
            .slots
            .find_entry(hash, |s| s.hash == hash && s.check == check)
            .ok()?;
        let (slot, _) = found.remove();
        self.segments.remove(slot.at);
        let bytes = u64::from(slot.len);
        match key.kind {
            Kind::Session | Kind::Subscription => {
                // Gone with its session, and counted then.
                let sum = self.sessions.get_mut(&key.sid)?;
                sum.bytes -= bytes;
                sum.put &= key.kind != Kind::Session;
                sum.subscriptions -= u32::from(key.kind == Kind::Subscription);
            }
            Kind::Will => self.wills -= 1,
            Kind::Retained => self.retained -= 1,
            Kind::Ban => self.bans -= 1,
        }
        self.live_bytes -= bytes;
        Some(slot)
    }

    fn slot(&self, key: Key<'_>) -> Option<&Slot> {
        let (hash, check) = self.hash(key);
        self.slots.find(hash, |s| s.hash == hash && s.check == check)
    }

    /// Whether the record at `at` is the last of its key.
    pub(super) fn is_live(&self, record: &[u8], at: Pos) -> bool {
        let Some((key, true)) = Key::read(record) else {
            return false;
        };
        let orphan = key.kind == Kind::Subscription && !self.sessions.contains_key(&key.sid);
        !orphan && self.slot(key).is_some_and(|s| s.at == at)
    }

    pub(super) fn relive(&mut self, record: &[u8], at: Pos, out: &mut Vec<u8>) -> bool {
        let Some((key, true)) = Key::read(record) else {
            return false;
        };
        if self.slot(key).is_none_or(|s| s.at != at) {
            return false;
        }
        if key.kind == Kind::Subscription && !self.sessions.contains_key(&key.sid) {
            self.remove(key);
            return false;
        }
        super::record::copy(out, record);
        true
    }

    /// Whether this session's own record is there.
    pub(super) fn has_session(&self, sid: u64) -> bool {
        self.sessions.get(&sid).is_some_and(|s| s.put)
    }

    /// Forgets what belongs to sessions without a record of their own (their deletion was seen, or they
    /// were never whole).
    pub(super) fn drop_orphans(&mut self) {
        let bytes = &mut self.live_bytes;
        self.sessions.retain(|_, sum| {
            if !sum.put {
                *bytes -= sum.bytes;
            }
            sum.put
        });
    }

    pub(super) fn count(&self, live: &mut Live) {
        live.sessions += self.sessions.len() as u64;
        live.subscriptions += self
            .sessions
            .values()
            .map(|s| u64::from(s.subscriptions))
            .sum::<u64>();
        live.wills += self.wills;
        live.retained += self.retained;
        live.bans += self.bans;
    }
}
