//! How a connection ends and what becomes of its session: last words, Will, parking, expiry, removal.

use std::time::Duration;

use codec::{DecodeError, ReasonCode};
use listeners::{Flushed, OutBuf, Transport};

use super::conn::Conn;
use super::timers::Deadline;
use super::{Shard, answers};
use crate::audit::DisconnectReason;
use crate::metrics;
use crate::router::trie::SessionRef;
use crate::session::{LastSeen, Link};

/// Why a connection ends.
#[derive(Debug)]
pub enum Cause {
    /// The client went without a word.
    Gone,
    /// DISCONNECT from the client.
    Left {
        /// Whether it wants its Will published, or reports an error.
        with_will: bool,
    },
    /// Silence.
    KeepAlive,
    /// Its credentials have ended.
    Lifetime,
    /// Bytes that are no packet.
    Malformed(DecodeError),
    /// A packet that breaks the protocol or a limit told in CONNACK.
    Protocol(ReasonCode, &'static str),
    /// A rule denies what it did, and `acl.deny_action` is "disconnect".
    Denied(ReasonCode),
    /// By an administrator, a rule changed, or its session was dropped.
    Kicked,
    /// By a ban.
    Banned,
    /// Another connection has its client id.
    TakenOver,
    /// The broker stops.
    Shutdown,
}

impl Cause {
    /// What a client of MQTT 5 is told; `None` = nothing, it has left.
    pub fn code(&self) -> Option<ReasonCode> {
        Some(match self {
            Self::Gone | Self::Left { .. } => return None,
            Self::KeepAlive => ReasonCode::KeepAliveTimeout,
            Self::Lifetime => ReasonCode::MaximumConnectTime,
            Self::Malformed(error) => error.reason(),
            Self::Protocol(code, _) | Self::Denied(code) => *code,
            // 0x8A (banned) is for CONNACK alone.
            Self::Kicked | Self::Banned => ReasonCode::AdministrativeAction,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::Shutdown => ReasonCode::ServerShuttingDown,
        })
    }

    /// The word of the audit log and the metrics.
    pub fn reason(&self) -> DisconnectReason {
        match self {
            Self::Gone | Self::Left { .. } => DisconnectReason::Client,
            Self::KeepAlive => DisconnectReason::Keepalive,
            Self::Malformed(_) | Self::Protocol(..) => DisconnectReason::Error,
            Self::Denied(_) | Self::Kicked | Self::Lifetime => DisconnectReason::Kicked,
            Self::Banned => DisconnectReason::Banned,
            Self::TakenOver => DisconnectReason::Takeover,
            Self::Shutdown => DisconnectReason::Shutdown,
        }
    }

    fn discards_will(&self) -> bool {
        matches!(self, Self::Left { with_will: false })
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With its connection, its expiry being 0.
    WithConnection,
    /// Its client stayed away too long.
    Expired,
    /// Its client asked for a new one.
    CleanStart,
    /// An administrator removed it.
    Dropped,
}

impl Shard {
    /// Ends the connection of `who`, if it has one.
    pub fn close(&mut self, who: SessionRef, cause: &Cause) {
        let now = self.now;
        let Some(client) = self.client(who) else { return };
        let Some(mut conn) = client.conn.take() else {
            return;
        };
        let version = client.session.link.version;
        let goodbye = answers::goodbye(&client.session.link, cause);
        client.session.disconnected_at = now;
        self.audit_disconnect(who, &conn, cause);
        conn.counters.connections.add(-1);
        self.node.doctor.closed(&conn.listener.name, &conn.peer);
        conn.counters.disconnect(counted(cause.reason()));
        conn.counters.received_bytes.add(conn.received);
        conn.counters.sent_bytes.add(conn.sent);
        if let Some(client) = self.client(who) {
            client.session.last_seen = Some(Box::new(LastSeen::of(&conn)));
        }
        let waiting = std::mem::take(&mut conn.waiting);
        self.release_all(waiting);
        conn.wake();
        say_goodbye(conn, goodbye.as_deref());
        self.announce(who, false);
        self.settle_will(who, cause.discards_will());
        let Some(client) = self.client(who) else { return };
        client.session.link = Link {
            version,
            ..Link::default()
        };
        client.session.unacknowledged = 0;
        client.session.rest();
        if client.session.is_persistent() {
            self.remember_session(who);
            self.watch_expiry(who);
        } else {
            self.end_session(who, Ended::WithConnection);
        }
    }

    /// Decides about the Will of a connection that has just ended.
    fn settle_will(&mut self, who: SessionRef, discard: bool) {
        let now = self.now;
        let Some(session) = self.client(who).map(|c| &mut c.session) else {
            return;
        };
        if discard {
            let (sid, had) = (session.sid, session.will.take().is_some()); // [MQTT-3.14.4-3]
            if had {
                self.forget_will(sid);
            }
            return;
        }
        let Some(will) = &session.will else { return };
        let delay = will.delay.min(session.expiry);
        if delay == 0 {
            self.publish_will(who);
        } else {
            let due = now + u64::from(delay) * 1000;
            session.will_due = Some(due);
            self.timers.set(due, who, Deadline::Will);
        }
    }

    /// Publishes the session's Will, if it has one.
    pub(super) fn publish_will(&mut self, who: SessionRef) {
        let now = self.now;
        let Some(session) = self.client(who).map(|c| &mut c.session) else {
            return;
        };
        session.will_due = None;
        let sid = session.sid;
        let Some(will) = session.will.take() else { return };
        let mut publication = will.publication(now);
        publication.publisher = Some(who);
        if publication.retain {
            self.retain(&mut publication);
        }
        self.publish(&mut publication);
        self.forget_will(sid);
    }

    /// Publishes the Will of a session that ended with the broker's last run.
    pub fn publish_orphan(&mut self, sid: u64, will: &crate::session::will::Will) {
        let mut publication = will.publication(self.now);
        if publication.retain {
            self.retain(&mut publication);
        }
        self.publish(&mut publication);
        self.forget_will(sid);
    }

    /// Ends a session without a connection: its subscriptions go, its Will is published if it still waits.
    pub fn end_session(&mut self, who: SessionRef, why: Ended) {
        if why == Ended::Expired {
            self.node
                .expired
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.publish_will(who); // [MQTT-3.1.3-9]: the session's end is the latest moment.
        let Some(client) = self.client(who) else { return };
        let entries = client.session.subscriptions.entries();
        for entry in &entries {
            self.leave(who, entry);
        }
        self.forget_session(who);
        if let Some(client) = self.vacate(who.slot) {
            self.node.registry.release(&client.session.client_id, self.index);
        }
    }
}

fn counted(reason: DisconnectReason) -> metrics::DisconnectReason {
    let same = |m: &&metrics::DisconnectReason| m.as_str() == reason.as_str();
    *metrics::DisconnectReason::ALL
        .iter()
        .find(same)
        .unwrap_or(&metrics::DisconnectReason::Error)
}

/// How long a connection may take to receive its last bytes and to close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Writes the last packet and closes. If the socket takes it at once nothing more is done but to wait for the
/// peer's close: closing with unread bytes would take the last packet back.
fn say_goodbye(mut conn: Box<Conn>, packet: Option<&[u8]>) {
    if let Some(packet) = packet {
        conn.out.buffer_mut().extend_from_slice(packet);
        if let Some(first) = packet.first() {
            conn.counters.packets_sent[usize::from(first >> 4)].inc();
        }
    }
    if conn.out.is_empty() {
        return;
    }
    let Ok(flushed) = conn.transport.try_flush(&mut conn.out) else {
        return;
    };
    if packet.is_none() && flushed == Flushed::All {
        return;
    }
    let Conn { transport, out, .. } = *conn;
    tokio::spawn(last_words(transport, out));
}

/// Writes what waits, closes our side and reads on until the client has closed its own, within [`LAST_WORDS`]: what a
/// client still sends would meet a reset, and the reset would take our last packet away from it.
pub(super) async fn last_words(transport: Transport, out: OutBuf) {
    // Whoever does not read them in time goes without.
    let _ = tokio::time::timeout(LAST_WORDS, transport.finish(out)).await;
}
