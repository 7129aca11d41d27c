//! Retained messages: the last one of each topic, and their delivery to a new subscription in portions.
//!
//! What does not live here: who may have them, how they are sent (`shard`), keeping them on disk (`store`).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use codec::topic;

use crate::session::message::Message;

/// One retained message, ordered and found by its topic.
#[derive(Clone, Debug)]
struct Entry(Arc<Message>);

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        self.0.topic()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.topic() == other.0.topic()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.topic().cmp(other.0.topic())
    }
}

#[derive(Debug, Default)]
struct Set {
    messages: BTreeSet<Entry>,
    bytes: u64,
}

/// How many messages and bytes may be retained.
#[derive(Clone, Copy, Debug)]
pub struct RetainedLimits {
    /// Messages.
    pub messages: u64,
    /// Bytes of topics, properties and payloads.
    pub bytes: u64,
}

impl Default for RetainedLimits {
    fn default() -> Self {
        Self {
            messages: u64::MAX,
            bytes: u64::MAX,
        }
    }
}

/// The retained messages of the whole broker.
#[derive(Debug, Default)]
pub struct Retained {
    set: RwLock<Set>,
}

/// One portion of a scan, and where to go on.
#[derive(Debug, Default)]
pub struct Portion {
    /// The messages, by topic.
    pub messages: Vec<Arc<Message>>,
    /// Topic to go on after; `None` = that was all.
    pub after: Option<String>,
}

impl Retained {
    /// Keeps `message`, replacing the topic's former one. False if a limit forbids it.
    pub fn put(&self, message: Arc<Message>, limits: RetainedLimits) -> bool {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let old = set.messages.get(message.topic()).map_or(0, |e| e.0.size());
        let count = set.messages.len() as u64 + u64::from(old == 0);
        let bytes = set.bytes - old + message.size();
        if count > limits.messages || bytes > limits.bytes {
            return false;
        }
        set.bytes = bytes;
        set.messages.replace(Entry(message));
        true
    }

    /// Forgets the topic's message; true if there was one.
    pub fn delete(&self, topic: &str) -> bool {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Entry(old)) = set.messages.take(topic) else {
            return false;
        };
        set.bytes -= old.size();
        true
    }

    /// The topic's message, if it has not expired at `now` (ms).
    pub fn get(&self, topic: &str, now: u64) -> Option<Arc<Message>> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.messages
            .get(topic)
            .map(|e| &e.0)
            .filter(|m| !m.is_expired(now))
            .cloned()
    }

    /// Up to `limit` messages that match `filter`, in the order of their topics, from after the topic `after` on.
    /// Looks at no more than 16 × `limit` topics, so that a scan never holds the lock for long.
    pub fn scan(&self, filter: &str, after: Option<&str>, limit: usize, now: u64) -> Portion {
        let Some(prefix) = literal_prefix(filter) else {
            let messages = if after.is_none() {
                self.get(filter, now).into_iter().collect()
            } else {
                Vec::new()
            };
            return Portion {
                messages,
                after: None,
            };
        };
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let from = match after {
            Some(topic) => Bound::Excluded(topic),
            None => Bound::Included(prefix),
        };
        let mut portion = Portion::default();
        let mut looked_at = 0;
        for Entry(message) in set.messages.range::<str, _>((from, Bound::Unbounded)) {
            let name = message.topic();
            if !name.starts_with(prefix) {
                return portion;
            }
            looked_at += 1;
            if topic::matches(filter, name) && !message.is_expired(now) {
                portion.messages.push(Arc::clone(message));
            }
            if portion.messages.len() >= limit || looked_at >= 16 * limit {
                portion.after = Some(name.to_owned());
                return portion;
            }
        }
        portion
    }

    /// Up to `limit` messages of any topic, also expired ones, from after the topic `after` on.
    pub fn scan_all(&self, after: Option<&str>, limit: usize) -> Portion {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = set.messages.range::<str, _>((from, Bound::Unbounded));
        let messages: Vec<_> = range.by_ref().take(limit).map(|e| Arc::clone(&e.0)).collect();
        let after = if range.next().is_some() {
            messages.last().map(|m| m.topic().to_owned())
        } else {
            None
        };
        Portion { messages, after }
    }

    /// Forgets what has expired at `now` among the `limit` topics after `after`; returns where to go on and how
    /// many went.
    pub fn sweep(&self, after: Option<&str>, limit: usize, now: u64) -> (Option<String>, Vec<Arc<Message>>) {
        let (next, expired) = {
            let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut range = set.messages.range::<str, _>((from, Bound::Unbounded));
            let seen: Vec<_> = range.by_ref().take(limit).map(|e| Arc::clone(&e.0)).collect();
            let next = seen
                .last()
                .filter(|_| seen.len() == limit)
                .map(|m| m.topic().to_owned());
            (
                next,
                seen.into_iter().filter(|m| m.is_expired(now)).collect::<Vec<_>>(),
            )
        };
        let mut gone = Vec::new();
        for message in expired {
            let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
            let same = set
                .messages
                .get(message.topic())
                .is_some_and(|e| Arc::ptr_eq(&e.0, &message));
            if same && set.messages.remove(message.topic()) {
                set.bytes -= message.size();
                gone.push(message);
            }
        }
        (next, gone)
    }

    /// Number of messages and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        (set.messages.len() as u64, set.bytes)
    }
}

/// What every topic matching `filter` begins with; `None` if the filter has no wildcard.
fn literal_prefix(filter: &str) -> Option<&str> {
    let at = filter.find(['+', '#'])?;
    let prefix = &filter[..at];
    // `a/#` also matches `a` ([MQTT-4.7.1-2]).
    Some(if filter[at..].starts_with('#') {
        prefix.strip_suffix('/').unwrap_or(prefix)
    } else {
        prefix
    })
}
