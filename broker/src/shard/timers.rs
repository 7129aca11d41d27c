//! Deadlines of sessions: keep-alive, session expiry, delayed wills.
//!
//! A heap that is looked at every [`TICK`]; an entry that came too early is put back, so that a packet costs no
//! timer work. What does not live here: deadlines before login (`listeners`, `login.rs`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Shard;
use super::end::{Cause, Ended};
use crate::router::trie::SessionRef;

/// How often deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(250);

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// No packet for one and a half keep-alives ([MQTT-3.1.2-22]); with the connection's number.
    KeepAlive(u64),
    /// The connection's lifetime (a token's expiry).
    Lifetime(u64),
    /// The session's client stayed away.
    Session,
    /// The Will Delay Interval passed.
    Will,
}

/// All deadlines of a shard.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, SessionRef, Deadline)>>,
}

impl Timers {
    /// Sets a deadline at `at` (ms since 1970).
    pub fn set(&mut self, at: u64, who: SessionRef, what: Deadline) {
        self.heap.push(Reverse((at, who, what)));
    }

    fn due(&mut self, now: u64) -> Option<(SessionRef, Deadline)> {
        if self.heap.peek()?.0.0 > now {
            return None;
        }
        let Reverse((_, who, what)) = self.heap.pop()?;
        Some((who, what))
    }
}

impl Shard {
    /// Does what is due.
    pub(super) fn tick(&mut self) {
        while let Some((who, what)) = self.timers.due(self.now) {
            self.expire(who, what);
        }
        self.sweep();
    }

    /// Has the session looked at when it expires, once however often its client comes and goes.
    pub(super) fn watch_expiry(&mut self, who: SessionRef) {
        let Some(client) = self.client(who) else { return };
        let Some(at) = client.session.expires_at() else {
            return;
        };
        let set = client.session.expiry_timer;
        if set == 0 || at < set {
            client.session.expiry_timer = at;
            self.timers.set(at, who, Deadline::Session);
        }
    }

    fn expire(&mut self, who: SessionRef, what: Deadline) {
        let now = self.now;
        let Some(client) = self.client(who) else { return };
        let conn = client.conn.as_ref();
        match what {
            Deadline::KeepAlive(number) => {
                let Some(conn) = conn.filter(|c| c.number == number) else {
                    return;
                };
                let at = conn.last_packet
                    + keep_alive_ms(client.session.keepalive, conn.listener.mqtt.keepalive_multiplier);
                if at > now {
                    client.session.rest();
                    self.timers.set(at, who, what);
                } else if conn.waits_for > 0 {
                    // It is we who do not read; its silence says nothing.
                    self.timers.set(now + 1000, who, what);
                } else {
                    self.close(who, &Cause::KeepAlive);
                }
            }
            Deadline::Lifetime(number) if conn.is_some_and(|c| c.number == number) => {
                self.close(who, &Cause::Lifetime);
            }
            Deadline::Session => {
                client.session.expiry_timer = 0;
                match client.session.expires_at() {
                    Some(at) if conn.is_none() && at <= now => self.end_session(who, Ended::Expired),
                    Some(_) if conn.is_none() => self.watch_expiry(who),
                    _ => {}
                }
            }
            Deadline::Will if conn.is_none() && client.session.will_due.is_some_and(|at| at <= now) => {
                self.publish_will(who);
            }
            Deadline::Will | Deadline::Lifetime(_) => {}
        }
    }
}

/// How long a client with this Keep Alive (seconds) may be silent, in ms.
pub(super) fn keep_alive_ms(seconds: u16, multiplier: f64) -> u64 {
    (f64::from(seconds) * 1000.0 * multiplier) as u64
}
