//! What is alive in the Queue log: messages that some session still needs, and QoS 2 identifiers.
//!
//! 41 bytes for a message to one session, in a table that is half to seven eighths full. Not here: the State log (`index_state`).

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::index::{Live, PerSegment, Pos};
use super::record::{self, Fields, Stage, Target, tag};

/// One message.
#[derive(Debug)]
struct Msg {
    mid: u64,
    at: Pos,
    len: u32,
    to: To,
}

impl Msg {
    /// Bytes counted for each target; together about the length.
    fn share(&self) -> u32 {
        share(self.len, self.to.as_slice().len())
    }
}

fn share(len: u32, targets: usize) -> u32 {
    len / (targets as u32).max(1)
}

/// Who is to get it.
#[derive(Debug)]
enum To {
    One(Delivery),
    /// Ordered by session. In a box of one word, as there are millions of the other kind.
    #[expect(
        clippy::box_collection,
        reason = "a fat pointer would make every message eight bytes larger"
    )]
    Many(Box<Vec<Delivery>>),
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    sid: u64,
    pid: u16,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    Published,
    Released,
    Done,
}

impl Delivery {
    fn of(t: &Target) -> Self {
        let (phase, pid) = match t.stage {
            Stage::Queued => (Phase::Queued, 0),
            Stage::Published(pid) => (Phase::Published, pid),
            Stage::Released(pid) => (Phase::Released, pid),
        };
        Self {
            sid: t.sid,
            pid,
            phase,
        }
    }

    fn stage(self) -> Option<Stage> {
        match self.phase {
            Phase::Queued => Some(Stage::Queued),
            Phase::Published => Some(Stage::Published(self.pid)),
            Phase::Released => Some(Stage::Released(self.pid)),
            Phase::Done => None,
        }
    }
}

impl To {
    fn as_slice(&self) -> &[Delivery] {
        match self {
            Self::One(d) => std::slice::from_ref(d),
            Self::Many(list) => list,
        }
    }

    fn get_mut(&mut self, sid: u64) -> Option<&mut Delivery> {
        match self {
            Self::One(d) => (d.sid == sid).then_some(d),
            Self::Many(list) => {
                let at = list.binary_search_by_key(&sid, |d| d.sid).ok()?;
                list.get_mut(at)
            }
        }
    }

    fn get(&self, sid: u64) -> Option<Delivery> {
        self.as_slice().iter().find(|d| d.sid == sid).copied()
    }
}

/// What a session has in this log.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct QueueIndex {
    msgs: HashTable<Msg>,
    hasher: RandomState,
    sessions: HashMap<u64, Sum>,
    in2: BTreeMap<(u64, u16), (Pos, u32)>,
    /// Sessions that were dropped: up to which message, and where that is said. After a crash between the
    /// two logs such a session may live on, and get new messages; the old ones must not come back.
    dropped: HashMap<u64, (u64, Pos)>,
    mid_max: u64,
    pub(super) live_bytes: u64,
    pub(super) segments: PerSegment,
}

impl QueueIndex {
    pub(super) fn apply(&mut self, rec: &[u8], at: Pos, len: u32) -> Option<()> {
        let mut f = Fields(rec);
        match f.byte()? {
            tag::MSG_ENQ => {
                let (mid, targets) = record::message_head(&mut f)?;
                self.put(mid, &targets, at, len);
            }
            tag::ACK => {
                let (sid, mid) = (f.number()?, f.number()?);
                self.ack(sid, mid);
            }
            tag::OUT => {
                let (sid, mid, pid, released) = (f.number()?, f.number()?, f.number()?, f.number()? != 0);
                let hash = self.hasher.hash_one(mid);
                let msg = self.msgs.find_mut(hash, |m| m.mid == mid);
                if let Some(d) = msg
                    .and_then(|m| m.to.get_mut(sid))
                    .filter(|d| d.phase != Phase::Done)
                {
                    d.pid = u16::try_from(pid).ok()?;
                    d.phase = if released {
                        Phase::Released
                    } else {
                        Phase::Published
                    };
                }
            }
            tag::IN2 => {
                let key = (f.number()?, u16::try_from(f.number()?).ok()?);
                self.segments.add(at);
                self.live_bytes += u64::from(len);
                if let Some(old) = self.in2.insert(key, (at, len)) {
                    self.forget_in2(old);
                }
            }
            tag::IN2_DEL => {
                let key = (f.number()?, u16::try_from(f.number()?).ok()?);
                if let Some(old) = self.in2.remove(&key) {
                    self.forget_in2(old);
                }
            }
            tag::SESSION_DEL => {
                let sid = f.number()?;
                self.drop_session(sid);
                self.dropped.insert(sid, (self.mid_max, at));
            }
            _ => return None,
        }
        Some(())
    }

    fn put(&mut self, mid: u64, targets: &[Target], at: Pos, len: u32) {
        let hash = self.hasher.hash_one(mid);
        // The same message again: it was moved by garbage collection, and this is what was left of it.
        self.remove(mid);
        self.mid_max = self.mid_max.max(mid);
        let share = share(len, targets.len());
        let mut list: Vec<Delivery> = targets.iter().map(Delivery::of).collect();
        for d in &list {
            let sum = self.sessions.entry(d.sid).or_default();
            sum.count += 1;
            sum.bytes += u64::from(share);
            self.live_bytes += u64::from(share);
        }
        let to = if let [one] = list.as_slice() {
            To::One(*one)
        } else {
            list.sort_unstable_by_key(|d| d.sid);
            To::Many(Box::new(list))
        };
        self.segments.add(at);
        let hasher = &self.hasher;
        if let Entry::Vacant(e) = self
            .msgs
            .entry(hash, |m| m.mid == mid, |m| hasher.hash_one(m.mid))
        {
            e.insert(Msg { mid, at, len, to });
        }
    }

    /// Forgets a message with all deliveries that are still counted.
    fn remove(&mut self, mid: u64) {
        let hash = self.hasher.hash_one(mid);
        let Ok(entry) = self.msgs.find_entry(hash, |m| m.mid == mid) else {
            return;
        };
        let (msg, _) = entry.remove();
        self.segments.remove(msg.at);
        for d in msg.to.as_slice().iter().filter(|d| d.phase != Phase::Done) {
            self.settle(d.sid, mid, msg.share());
        }
    }

    fn was_dropped(&self, sid: u64, mid: u64) -> bool {
        self.dropped.get(&sid).is_some_and(|(upto, _)| mid <= *upto)
    }

    /// Takes one delivery out of the sums; a session that is gone was taken out as a whole.
    fn settle(&mut self, sid: u64, mid: u64, share: u32) {
        if self.was_dropped(sid, mid) {
            return;
        }
        let Some(sum) = self.sessions.get_mut(&sid) else {
            return;
        };
        sum.count -= 1;
        sum.bytes -= u64::from(share);
        if sum.count == 0 {
            self.sessions.remove(&sid);
        }
        self.live_bytes -= u64::from(share);
    }

    fn ack(&mut self, sid: u64, mid: u64) {
        let hash = self.hasher.hash_one(mid);
        let Some(msg) = self.msgs.find_mut(hash, |m| m.mid == mid) else {
            return;
        };
        let share = msg.share();
        let Some(d) = msg.to.get_mut(sid).filter(|d| d.phase != Phase::Done) else {
            return;
        };
        d.phase = Phase::Done;
        let over = msg.to.as_slice().iter().all(|d| d.phase == Phase::Done);
        self.settle(sid, mid, share);
        if over {
            self.remove(mid);
        }
    }

    fn forget_in2(&mut self, (at, len): (Pos, u32)) {
        self.segments.remove(at);
        self.live_bytes -= u64::from(len);
    }

    /// A session ended. Its messages' entries are dropped when garbage collection meets their records.
    fn drop_session(&mut self, sid: u64) {
        if let Some(sum) = self.sessions.remove(&sid) {
            self.live_bytes -= sum.bytes;
        }
        let keys: Vec<_> = self
            .in2
            .range((sid, 0)..=(sid, u16::MAX))
            .map(|(k, _)| *k)
            .collect();
        for key in keys {
            if let Some(old) = self.in2.remove(&key) {
                self.forget_in2(old);
            }
        }
    }

    /// The deliveries of a record that are still owed, with their stages.
    pub(super) fn owed(&self, mid: u64, targets: Vec<Target>) -> Vec<Target> {
        let hash = self.hasher.hash_one(mid);
        let Some(msg) = self.msgs.find(hash, |m| m.mid == mid) else {
            return Vec::new();
        };
        let owed = |mut t: Target| {
            t.stage = msg.to.get(t.sid)?.stage()?;
            (self.sessions.contains_key(&t.sid) && !self.was_dropped(t.sid, mid)).then_some(t)
        };
        targets.into_iter().filter_map(owed).collect()
    }

    /// Whether the record at `at` is needed as it is.
    pub(super) fn is_at(&self, rec: &[u8], at: Pos) -> bool {
        let mut f = Fields(rec);
        let found = match f.byte() {
            Some(tag::MSG_ENQ) => f.number().and_then(|mid| self.find(mid)).map(|(at, _)| at),
            Some(tag::IN2) => (|| {
                let key = (f.number()?, u16::try_from(f.number()?).ok()?);
                self.in2.get(&key).map(|(at, _)| *at)
            })(),
            _ => None,
        };
        found == Some(at)
    }

    pub(super) fn relive(&mut self, rec: &[u8], at: Pos, out: &mut Vec<u8>) -> bool {
        if !self.is_at(rec, at) {
            return false;
        }
        let mut f = Fields(rec);
        if f.byte() == Some(tag::IN2) {
            record::copy(out, rec);
            return true;
        }
        let Some((mid, targets)) = record::message_head(&mut f) else {
            return false;
        };
        let owed = self.owed(mid, targets);
        if owed.is_empty() {
            self.remove(mid);
            return false;
        }
        record::copy_message(out, mid, &owed, f.0);
        true
    }

    /// A segment was removed, and with it every message before the end of it that was not moved.
    pub(super) fn removed(&mut self, segment: u32) {
        self.dropped.retain(|_, (_, at)| at.segment() > segment);
    }

    /// Where a message lies and how long its record is, with its length in front.
    pub(super) fn find(&self, mid: u64) -> Option<(Pos, u32)> {
        self.msgs
            .find(self.hasher.hash_one(mid), |m| m.mid == mid)
            .map(|m| (m.at, m.len))
    }

    /// Forgets what belongs to sessions that are not known.
    pub(super) fn keep_sessions(&mut self, known: impl Fn(u64) -> bool) {
        let of_in2 = self.in2.keys().map(|(sid, _)| *sid);
        let gone: Vec<u64> = self
            .sessions
            .keys()
            .copied()
            .chain(of_in2)
            .filter(|sid| !known(*sid))
            .collect();
        for sid in gone {
            self.drop_session(sid);
        }
    }

    /// QoS 2 identifiers in use.
    pub(super) fn in2(&self) -> impl Iterator<Item = (u64, u16)> + '_ {
        self.in2.keys().copied()
    }

    pub(super) fn count(&self, live: &mut Live) {
        live.queued += self.sessions.values().map(|s| s.count).sum::<u64>();
        live.in2 += self.in2.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_forty_bytes() {
        assert_eq!(size_of::<Msg>(), 40);
    }
}
