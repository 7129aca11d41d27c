//! `Lru`: a map of bounded size that forgets what was not asked for longest.

use std::collections::HashMap;
use std::hash::Hash;

/// No neighbour.
const NONE: u32 = u32::MAX;

/// A map with an order of use.
#[derive(Debug, Clone)]
pub(crate) struct Lru<K, V> {
    places: HashMap<K, u32, foldhash::fast::RandomState>,
    slots: Vec<Slot<K, V>>,
    free: Vec<u32>,
    /// The most and the least recently used.
    newest: u32,
    oldest: u32,
    max: usize,
}

#[derive(Debug, Clone)]
struct Slot<K, V> {
    /// `None` while the slot is free.
    entry: Option<(K, V)>,
    newer: u32,
    older: u32,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// A map of at most `max` entries (at least one).
    pub(crate) fn new(max: usize) -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            max: max.max(1),
        }
    }

    /// The value of `key`, made if there is none, which may cost the oldest entry that `keep` does not hold. After
    /// this it is the newest.
    pub(crate) fn entry(&mut self, key: K, keep: impl Fn(&V) -> bool, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.get(&key).copied() {
            Some(place) => {
                self.unlink(place);
                place
            }
            None => self.insert(key, keep, make()),
        };
        self.link_newest(place);
        match self
            .slots
            .get_mut(place as usize)
            .and_then(|slot| slot.entry.as_mut())
        {
            Some((_, value)) => value,
            None => unreachable!("every place in `places` is a used slot"),
        }
    }

    /// The value of `key`, as it stands in the order.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        let place = self.places.get(key)?;
        self.slots
            .get(*place as usize)?
            .entry
            .as_ref()
            .map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.unlink(place);
        self.free.push(place);
        self.slots
            .get_mut(place as usize)?
            .entry
            .take()
            .map(|(_, value)| value)
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots
            .iter()
            .filter_map(|slot| slot.entry.as_ref().map(|(key, value)| (key, value)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Changes the limit; what is too much goes with the next insertions.
    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max.max(1);
    }

    fn insert(&mut self, key: K, keep: impl Fn(&V) -> bool, value: V) -> u32 {
        // Entries that must be kept are passed by a few at a time, so that one insertion stays cheap.
        for _ in 0..8 {
            if self.places.len() < self.max {
                break;
            }
            let oldest = self.oldest;
            let Some(entry) = self
                .slots
                .get(oldest as usize)
                .and_then(|slot| slot.entry.as_ref())
            else {
                break;
            };
            if keep(&entry.1) {
                self.unlink(oldest);
                self.link_newest(oldest);
            } else {
                let key = entry.0.clone();
                self.remove(&key);
            }
        }
        let slot = Slot {
            entry: Some((key.clone(), value)),
            newer: NONE,
            older: NONE,
        };
        let place = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(place as usize) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        self.places.insert(key, place);
        place
    }

    fn unlink(&mut self, place: u32) {
        let Some(slot) = self.slots.get(place as usize) else {
            return;
        };
        let (newer, older) = (slot.newer, slot.older);
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let before = self.newest;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.newer = NONE;
            slot.older = before;
        }
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lru: &Lru<u32, u32>) -> Vec<u32> {
        let mut out = Vec::new();
        let mut at = lru.newest;
        while let Some(slot) = lru.slots.get(at as usize) {
            out.push(slot.entry.unwrap().0);
            at = slot.older;
        }
        assert_eq!(out.len(), lru.len());
        out
    }

    #[test]
    fn the_least_recently_used_goes() {
        let mut lru = Lru::new(3);
        for key in [1, 2, 3] {
            lru.entry(key, |_| false, || key * 10);
        }
        assert_eq!(*lru.entry(1, |_| false, || 0), 10);
        lru.entry(4, |_| false, || 40);
        assert_eq!(keys(&lru), [4, 1, 3]);
        assert_eq!(lru.remove(&1), Some(10));
        assert_eq!(lru.peek(&1), None);
        lru.entry(5, |_| false, || 50);
        assert_eq!(keys(&lru), [5, 4, 3]);
    }

    #[test]
    fn what_must_be_kept_is_kept_beyond_the_limit() {
        let mut lru = Lru::new(2);
        lru.entry(1, |_| true, || 1);
        lru.entry(2, |v| *v == 1, || 2);
        lru.entry(3, |v| *v == 1, || 3);
        assert_eq!(keys(&lru), [3, 1], "1 is kept, so 2 goes");
        lru.entry(4, |_| true, || 4);
        assert_eq!(lru.len(), 3, "all are kept");
    }
}
