//! Alike denials within a time become one record with a count, so that one misbehaving client cannot
//! fill the log.
//!
//! The first of a kind is written at once; the others are counted and the last of them is written,
//! with `count` and `first_ts`, when the time is over. The counts of all records add up to the number
//! of events. `authn_fail` and `proto_error` are never held back: fail2ban counts their lines.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::event::{Addresses, ConnectReason, Event, EventKind};
use super::format::Repeats;
use super::log::Entry;

/// Kinds of denials watched at a time; beyond, each denial is written by itself.
const KEYS_MAX: usize = 8192;

/// What makes two denials alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    event: EventKind,
    reason: &'static str,
    /// /32 or /64 of the peername (of the socket, where there is none); 0 for a unix socket.
    prefix: u128,
    clientid: Option<std::sync::Arc<str>>,
    topic: Option<Box<str>>,
}

/// Denials held back since the last record of their kind.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    first_ts: u64,
    last: Option<Entry>,
}

/// A record to write in place of those held back.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) ts: u64,
    pub(super) event: Box<Event>,
    pub(super) repeats: Repeats,
}

/// The kinds of denials seen within the time.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    window: Duration,
    held: HashMap<Key, Held>,
    /// When each key's time is over; in order, as all times are the same length.
    ends: VecDeque<(Instant, Key)>,
}

impl Coalescer {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// Takes another time for kinds first seen from now on.
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// The next time that [`Self::due`] may have something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }

    /// The entry, if it is to be written now; `None` when it was counted.
    pub(super) fn pass(&mut self, entry: Entry, now: Instant) -> Option<Entry> {
        if self.window.is_zero() {
            return Some(entry);
        }
        let Some(key) = key(&entry.event) else {
            return Some(entry);
        };
        if let Some(held) = self.held.get_mut(&key) {
            if held.count == 0 {
                held.first_ts = entry.ts;
            }
            held.count += 1;
            held.last = Some(entry);
            return None;
        }
        if self.held.len() < KEYS_MAX {
            self.held.insert(key.clone(), Held::default());
            self.ends.push_back((now + self.window, key));
        }
        Some(entry)
    }

    /// The records whose time is over at `now`; all of them with `None`.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<Summary> {
        let mut out = Vec::new();
        let mut again = Vec::new();
        while let Some((at, _)) = self.ends.front() {
            if now.is_some_and(|n| *at > n) {
                break;
            }
            let Some((_, key)) = self.ends.pop_front() else {
                break;
            };
            let Some(held) = self.held.get_mut(&key) else {
                continue;
            };
            match std::mem::take(held) {
                Held {
                    count,
                    first_ts,
                    last: Some(e),
                } => {
                    out.push(Summary {
                        ts: e.ts,
                        event: e.event,
                        repeats: Repeats { count, first_ts },
                    });
                    again.push(key);
                }
                Held { last: None, .. } => {
                    self.held.remove(&key);
                }
            }
        }
        // A kind that goes on is held for another time; it would else be written twice in each.
        if let Some(n) = now {
            self.ends
                .extend(again.into_iter().map(|key| (n + self.window, key)));
        } else {
            self.held.clear();
        }
        out
    }
}

/// The kind of denial this is; `None` for what is never held back.
fn key(event: &Event) -> Option<Key> {
    let (client, reason, topic) = match event {
        Event::AclDeny(c, d) => (c, d.reason.as_str(), d.topic.clone()),
        Event::Connect(c, connect) if connect.reason != ConnectReason::Ok => {
            (c, connect.reason.as_str(), None)
        }
        Event::PeernameReject(c, r) => (c, r.code.as_str(), None),
        _ => return None,
    };
    let address = match &client.addresses {
        Addresses::Peer(peer) => peer.peername().addr(),
        Addresses::Refused(socket) => *socket,
    };
    let prefix = match address.ip() {
        Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().to_bits(),
        Some(IpAddr::V6(v6)) => v6.to_bits() >> 64 << 64,
        None => 0,
    };
    Some(Key {
        event: event.kind(),
        reason,
        prefix,
        clientid: client.clientid.clone(),
        topic,
    })
}
