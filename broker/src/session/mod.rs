//! A session: what the broker keeps for one client id. Pure: no sockets, no clock; `now` is ms since 1970.
//!
//! Each concern has its file. What does not live here: who gets a message (`router`), permission (`auth`),
//! connections and their bytes (`shard`), disk (`store`).

pub mod alias;
pub mod inflight;
pub mod message;
pub mod packet_id;
pub mod publish_in;
pub mod publish_out;
pub mod queue;
pub mod subscribe;
pub mod will;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::VecDeque;
use std::sync::Arc;

use codec::Version;
use peer::Peer;

use crate::admin::views::Tls;
use crate::router::trie::SessionRef;
use alias::{AliasesIn, AliasesOut};
use inflight::Window;
use packet_id::PacketIds;
use queue::Queue;
use subscribe::Subscriptions;
use will::Will;

/// Session Expiry Interval that means "never" ([MQTT-3.1.2.11.2]).
pub const EXPIRY_NEVER: u32 = u32::MAX;

/// What a connection negotiated; it ends with the connection.
#[derive(Debug)]
pub struct Link {
    /// Protocol version.
    pub version: Version,
    /// Largest packet the client takes, in bytes.
    pub max_packet_size: u32,
    /// Messages at QoS 1 and 2 that may be unacknowledged towards the client.
    pub window: u16,
    /// Messages at QoS 1 and 2 that the client may have unacknowledged towards us.
    pub receive_maximum: u16,
    /// How many of the session's `awaiting_rel` came on earlier connections: they stand in front and do not count
    /// against `receive_maximum`, which begins anew with each connection (MQTT 5, 4.9).
    pub inherited_rel: u16,
    /// Highest alias the client may set.
    pub alias_max_in: u16,
    /// Aliases the client has set.
    pub aliases_in: Option<Box<AliasesIn>>,
    /// Aliases we have set.
    pub aliases_out: Option<Box<AliasesOut>>,
    /// Whether the client wants reason strings ([MQTT-3.1.2-28]).
    pub problem_information: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            version: Version::V311,
            max_packet_size: u32::MAX,
            window: 32,
            receive_maximum: u16::MAX,
            inherited_rel: 0,
            alias_max_in: 0,
            aliases_in: None,
            aliases_out: None,
            problem_information: true,
        }
    }
}

/// Towards the client: what is sent and waits for acknowledgement, and what waits to be sent.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Sent, not acknowledged.
    pub window: Window,
    /// Not sent.
    pub queue: Queue,
    /// Last packet identifier.
    pub ids: PacketIds,
    /// Stored messages that were sent just now, with their packet identifiers; for the store.
    pub sent: Vec<(u64, u16)>,
}

impl Outbound {
    /// True if nothing is sent or waits.
    pub fn is_idle(&self) -> bool {
        self.window.is_empty() && self.queue.is_empty()
    }
}

/// What a session has done, for `clients show`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Messages sent to the client.
    pub delivered: u64,
    /// Messages that had to wait in the queue.
    pub enqueued: u64,
    /// Messages lost to a limit.
    pub dropped: u64,
}

/// Where a client was seen last, for a session whose client is away.
#[derive(Clone, Debug)]
pub struct LastSeen {
    /// Its address.
    pub peer: Arc<Peer>,
    /// Where it came in.
    pub listener: Arc<str>,
    /// Who ended its TLS.
    pub tls: Tls,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Its client id.
    pub client_id: Arc<str>,
    /// The name it was authenticated with, or gave.
    pub username: Option<Arc<str>>,
    /// Where it lives.
    pub me: SessionRef,
    /// Number of this session's lifetime, never reused; names it in the store.
    pub sid: u64,
    /// Session Expiry Interval in seconds; 0 = ends with the connection, [`EXPIRY_NEVER`].
    pub expiry: u32,
    /// Clean Start of its last CONNECT.
    pub clean_start: bool,
    /// Keep Alive in seconds, 0 = none.
    pub keepalive: u16,
    /// When it began, in ms since 1970.
    pub created_at: u64,
    /// Its last connection's begin.
    pub connected_at: u64,
    /// Its last connection's end; 0 while connected.
    pub disconnected_at: u64,
    /// What the connection negotiated.
    pub link: Link,
    /// Its subscriptions.
    pub subscriptions: Subscriptions,
    /// Packet identifiers of QoS 2 messages received and not yet released.
    pub awaiting_rel: VecDeque<u16>,
    /// Publications received whose acknowledgement waits for the disk.
    pub unacknowledged: u16,
    /// Towards the client; `None` while nothing is on its way.
    pub outbound: Option<Box<Outbound>>,
    /// Its Will.
    pub will: Option<Box<Will>>,
    /// When the Will is due, in ms since 1970, once its connection has ended and its delay runs.
    pub will_due: Option<u64>,
    /// When somebody looks whether the session has expired, in ms since 1970; 0 = nobody does.
    pub expiry_timer: u64,
    /// Where its client was seen last, while it is away.
    pub last_seen: Option<Box<LastSeen>>,
    /// Whether the store keeps it.
    pub kept: bool,
    /// Counters.
    pub statistics: Statistics,
}

impl Session {
    /// A new session. The permit proves that the client may be here.
    pub fn new(_permit: &auth::Permit, client_id: Arc<str>, me: SessionRef, sid: u64, now: u64) -> Self {
        Self::restored(client_id, me, sid, now)
    }

    /// A session read back from the store: its client was permitted when it began.
    pub fn restored(client_id: Arc<str>, me: SessionRef, sid: u64, now: u64) -> Self {
        Self {
            client_id,
            username: None,
            me,
            sid,
            expiry: 0,
            clean_start: true,
            keepalive: 0,
            created_at: now,
            connected_at: now,
            disconnected_at: 0,
            link: Link::default(),
            subscriptions: Subscriptions::default(),
            awaiting_rel: VecDeque::new(),
            unacknowledged: 0,
            outbound: None,
            will: None,
            will_due: None,
            expiry_timer: 0,
            last_seen: None,
            kept: false,
            statistics: Statistics::default(),
        }
    }

    /// Gives memory back if nothing is on its way. The packet identifier starts over: none is in use.
    pub fn rest(&mut self) {
        if self.outbound.as_ref().is_some_and(|outbound| outbound.is_idle()) {
            self.outbound = None;
        }
    }

    /// True if the session outlives its connection.
    pub fn is_persistent(&self) -> bool {
        self.expiry > 0
    }

    /// When the session ends if its client stays away, in ms since 1970; `None` = never.
    pub fn expires_at(&self) -> Option<u64> {
        (self.expiry != EXPIRY_NEVER).then(|| self.disconnected_at + u64::from(self.expiry) * 1000)
    }

    /// Stored messages that were sent since this was last asked, with their packet identifiers.
    pub fn take_sent(&mut self) -> Vec<(u64, u16)> {
        self.outbound
            .as_mut()
            .map(|outbound| std::mem::take(&mut outbound.sent))
            .unwrap_or_default()
    }

    /// Where the store has the message of an exchange; 0 = nowhere.
    pub fn stored(&self, packet_id: u16) -> u64 {
        self.outbound
            .as_ref()
            .map_or(0, |outbound| outbound.window.stored(packet_id))
    }

    /// Number of messages sent and not acknowledged.
    pub fn inflight(&self) -> usize {
        self.outbound.as_ref().map_or(0, |o| o.window.len())
    }

    /// True if something waits to be sent, for the first time or again.
    pub fn has_waiting(&self) -> bool {
        self.outbound
            .as_ref()
            .is_some_and(|o| !o.queue.is_empty() || o.window.unsent() > 0)
    }

    /// Number of messages that wait.
    pub fn queued(&self) -> usize {
        self.outbound.as_ref().map_or(0, |o| o.queue.len())
    }
}
