//! Limits before login: the token bucket, its key, and a bounded table of buckets (peername 12).
//! `now` is a parameter everywhere: milliseconds of a monotonic clock.
//! Not here: who is exempt ([`crate::Policy::is_listed`], [`crate::Hop::kind`]), counting unfinished logins.

use crate::addr::Addr;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What per-address limits count by: an IPv4 address, an IPv6 /64, or all unix-domain peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RateKey(Key);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
enum Key {
    Unix,
    V4(u32),
    /// The upper half.
    V6(u64),
}

impl RateKey {
    /// The key of an address; its port does not matter.
    pub fn of(addr: &Addr) -> Self {
        Self(match addr.ip() {
            None => Key::Unix,
            Some(IpAddr::V4(ip)) => Key::V4(ip.to_bits()),
            Some(IpAddr::V6(ip)) => Key::V6((ip.to_bits() >> 64) as u64),
        })
    }
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Unix => f.write_str("unix"),
            Key::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Key::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// Parts of a token: so many that rates per second, minute and hour are whole numbers of parts a
/// millisecond, and nothing is ever rounded.
const PARTS: u64 = 3_600_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    parts_per_ms: u64,
    burst: u32,
}

impl Rate {
    /// Tokens a second, and how many the bucket holds.
    pub fn per_second(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens) * 3600,
            burst,
        }
    }

    /// Tokens a minute, and how many the bucket holds.
    pub fn per_minute(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens) * 60,
            burst,
        }
    }

    /// Tokens an hour, and how many the bucket holds.
    pub fn per_hour(tokens: u32, burst: u32) -> Self {
        Self {
            parts_per_ms: u64::from(tokens),
            burst,
        }
    }

    fn capacity(self) -> u64 {
        u64::from(self.burst) * PARTS
    }
}

/// A token bucket. It starts full; each arrival adds what has flowed in since the last one, and takes one
/// token if there is a whole one.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    parts: u64,
    last_ms: Option<u64>,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate) -> Self {
        Self {
            parts: rate.capacity(),
            last_ms: None,
        }
    }

    /// Whether an arrival at `now_ms` is allowed; one that is refused takes nothing. A `now_ms` before the
    /// last one counts as that one.
    pub fn take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let elapsed = now_ms.saturating_sub(self.last_ms.unwrap_or(now_ms));
        self.last_ms = Some(now_ms.max(self.last_ms.unwrap_or(0)));
        let inflow = elapsed.saturating_mul(rate.parts_per_ms);
        self.parts = self.parts.saturating_add(inflow).min(rate.capacity());
        let allowed = self.parts >= PARTS;
        if allowed {
            self.parts -= PARTS;
        }
        allowed
    }
}

/// Buckets by key; beyond the bound the least recently used key is forgotten.
#[derive(Debug)]
pub struct RateTable {
    slots: HashMap<RateKey, usize>,
    entries: Vec<Entry>,
    /// The ends of the list of use; meaningless while there is no entry.
    newest: usize,
    oldest: usize,
    keys_max: usize,
}

#[derive(Debug)]
struct Entry {
    key: RateKey,
    bucket: Bucket,
    newer: usize,
    older: usize,
}

impl RateTable {
    /// The bound of peername 12.
    pub const KEYS_MAX: usize = 65_536;

    /// A table of at most `keys_max` keys, at least one.
    pub fn new(keys_max: usize) -> Self {
        let keys_max = keys_max.max(1);
        Self {
            slots: HashMap::new(),
            entries: Vec::new(),
            newest: 0,
            oldest: 0,
            keys_max,
        }
    }

    /// Whether an arrival of `key` at `now_ms` is allowed.
    pub fn take(&mut self, key: RateKey, rate: Rate, now_ms: u64) -> bool {
        let slot = if let Some(slot) = self.slots.get(&key) {
            let slot = *slot;
            self.unlink(slot);
            slot
        } else {
            self.free_slot(key, Bucket::full(rate))
        };
        self.link_newest(slot);
        self.entries
            .get_mut(slot)
            .is_none_or(|entry| entry.bucket.take(rate, now_ms))
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A slot that is not in the list of use: a new one, or that of the least recently used key.
    fn free_slot(&mut self, key: RateKey, bucket: Bucket) -> usize {
        let slot = if self.entries.len() < self.keys_max {
            self.entries.push(Entry {
                key,
                bucket,
                newer: 0,
                older: 0,
            });
            self.entries.len() - 1
        } else {
            let slot = self.oldest;
            self.unlink(slot);
            if let Some(entry) = self.entries.get_mut(slot) {
                self.slots.remove(&entry.key);
                entry.key = key;
                entry.bucket = bucket;
            }
            slot
        };
        self.slots.insert(key, slot);
        slot
    }

    /// Takes a slot out of the list of use. At either end the neighbour is the slot itself.
    fn unlink(&mut self, slot: usize) {
        let Some(Entry { newer, older, .. }) = self.entries.get(slot) else {
            return;
        };
        let (newer, older) = (*newer, *older);
        if slot == self.newest {
            self.newest = older;
        }
        if slot == self.oldest {
            self.oldest = newer;
        }
        let (newer_end, older_end) = (newer == slot, older == slot);
        if let Some(entry) = self.entries.get_mut(older) {
            entry.newer = if newer_end { older } else { newer };
        }
        if let Some(entry) = self.entries.get_mut(newer) {
            entry.older = if older_end { newer } else { older };
        }
    }

    fn link_newest(&mut self, slot: usize) {
        let before = if self.entries.len() == 1 {
            slot
        } else {
            self.newest
        };
        if let Some(entry) = self.entries.get_mut(before) {
            entry.newer = slot;
        }
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.newer = slot;
            entry.older = before;
        }
        self.newest = slot;
        if self.entries.len() == 1 {
            self.oldest = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn key(n: u32) -> RateKey {
        RateKey(Key::V4(n))
    }

    #[test]
    fn fractions_of_a_token_are_kept_exactly() {
        let rate = Rate::per_second(3, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 0));
        assert!(!bucket.take(rate, 333));
        assert!(bucket.take(rate, 334));
        let rate = Rate::per_hour(1, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 0));
        assert!(!bucket.take(rate, 3_599_999));
        assert!(bucket.take(rate, 3_600_000));
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let rate = Rate::per_second(1, 1);
        let mut bucket = Bucket::full(rate);
        assert!(bucket.take(rate, 5000));
        assert!(!bucket.take(rate, 0));
        assert!(!bucket.take(rate, 5999));
        assert!(bucket.take(rate, 6000));
    }

    #[test]
    fn the_least_recently_used_key_is_forgotten() {
        // Beside a plain queue of keys, over many short histories.
        for keys_max in 1..5 {
            let mut table = RateTable::new(keys_max);
            let mut queue: VecDeque<u32> = VecDeque::new();
            let rate = Rate::per_second(0, 1);
            let mut seed = 7u32;
            for _ in 0..2000 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let n = (seed >> 16) % 7;
                let known = queue.contains(&n);
                queue.retain(|k| *k != n);
                queue.push_back(n);
                if queue.len() > keys_max {
                    queue.pop_front();
                }
                assert_eq!(table.take(key(n), rate, 0), !known, "only a new key has a token");
                assert_eq!(table.len(), queue.len());
            }
        }
    }
}
