//! Messages waiting for a session: offline, or beyond its window. Bounded in number and bytes.
//!
//! What does not live here: messages already sent (`inflight.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Message;
use crate::router::route::Identifiers;

/// What happens at a full queue (`mqtt.queue_full`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFull {
    /// The oldest goes, QoS 0 first.
    #[default]
    DropOldest,
    /// The new one goes.
    DropNewest,
}

/// Bounds of a session's queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of topics, properties and payloads.
    pub bytes: u64,
    /// What happens beyond.
    pub full: QueueFull,
}

/// One message for one session.
#[derive(Clone, Debug)]
pub struct Queued {
    /// What was published.
    pub message: Arc<Message>,
    /// QoS of this delivery.
    pub qos: u8,
    /// Retain flag of this delivery.
    pub retain: bool,
    /// Identifiers of the matching subscriptions.
    pub identifiers: Identifiers,
    /// Where the store has it; 0 = nowhere.
    pub stored: u64,
}

impl Queued {
    /// Whether its packet waits for the disk: a QoS 2 client must not meet a packet identifier that the broker does not
    /// know after a crash.
    pub fn is_held(&self) -> bool {
        self.qos == 2 && self.stored > 0
    }
}

/// A session's queue.
#[derive(Debug, Default)]
pub struct Queue {
    list: VecDeque<Queued>,
    bytes: u64,
    qos0: usize,
}

impl Queue {
    /// Adds a message, after those have gone that must (into `gone`). False if it found no place itself; then it
    /// is in `gone` too.
    pub fn push(&mut self, item: Queued, limits: &QueueLimits, gone: &mut Vec<Queued>) -> bool {
        let size = item.message.size();
        while self.list.len() >= limits.messages || self.bytes + size > limits.bytes {
            let victim = match limits.full {
                QueueFull::DropNewest => None,
                QueueFull::DropOldest => self.remove_oldest(),
            };
            let Some(victim) = victim else {
                gone.push(item);
                return false;
            };
            gone.push(victim);
        }
        self.bytes += size;
        self.qos0 += usize::from(item.qos == 0);
        self.list.push_back(item);
        true
    }

    /// Puts back a message that was known before a restart, whatever the limits are now.
    pub fn restore(&mut self, item: Queued) {
        self.bytes += item.message.size();
        self.qos0 += usize::from(item.qos == 0);
        self.list.push_back(item);
    }

    /// Takes the next message.
    pub fn pop(&mut self) -> Option<Queued> {
        let item = self.list.pop_front()?;
        self.took(&item);
        if self.list.is_empty() && self.list.capacity() > 64 {
            self.list = VecDeque::new();
        }
        Some(item)
    }

    /// Puts a message back in front.
    pub fn push_front(&mut self, item: Queued) {
        self.bytes += item.message.size();
        self.qos0 += usize::from(item.qos == 0);
        self.list.push_front(item);
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// True if a QoS 0 message waits.
    pub fn has_qos0(&self) -> bool {
        self.qos0 > 0
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every message, next first.
    pub fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.list.iter()
    }

    // Drops a QoS 0 message if one is among the first 64, so that a full queue never costs a long search.
    fn remove_oldest(&mut self) -> Option<Queued> {
        let at = self.list.iter().take(64).position(|q| q.qos == 0).unwrap_or(0);
        let item = self.list.remove(at)?;
        self.took(&item);
        Some(item)
    }

    fn took(&mut self, item: &Queued) {
        self.bytes -= item.message.size();
        self.qos0 -= usize::from(item.qos == 0);
    }
}
