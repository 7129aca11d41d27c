//! A connection that is logged in, as its shard keeps it beside the session.
//!
//! What does not live here: what its packets mean (`packets.rs`), how it logged in (`login.rs`).

use std::sync::Arc;
use std::task::Waker;

use auth::quota::Seat;

use listeners::{OutBuf, Slot, TlsInfo, Transport};
use peer::Peer;

use crate::authn::Permissions;
use crate::metrics::Counters;
use crate::node::ListenerRuntime;
use crate::router::trie::SessionRef;
use crate::store::Ticket;

/// Facts about the client that rules may ask for and that are rarely there.
#[derive(Debug, Default)]
pub struct Extras {
    /// What our own TLS told.
    pub tls: Option<Box<TlsInfo>>,
    /// Subject alternative names of the client's certificate.
    pub san: Vec<String>,
    /// When a token's lifetime ends the connection, in ms since 1970.
    pub until: Option<u64>,
    /// What its credentials allow, which only narrows what the rules allow.
    pub permissions: Option<Arc<Permissions>>,
    /// Authentication method of MQTT 5, for re-authentication.
    pub auth_method: Option<Box<str>>,
}

impl Extras {
    /// Of a login.
    pub fn new(tls: Option<Box<TlsInfo>>, until: Option<u64>, auth_method: Option<Box<str>>) -> Self {
        let identity = tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let san = identity
            .map(|i| i.san_dns.iter().chain(&i.san_uri).cloned().collect())
            .unwrap_or_default();
        Self {
            tls,
            san,
            until,
            permissions: None,
            auth_method,
        }
    }

    /// With what its credentials allow.
    #[must_use]
    pub fn with_permissions(mut self, permissions: Option<Arc<Permissions>>) -> Self {
        self.permissions = permissions;
        self
    }
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    /// Distinguishes it from the session's earlier connections.
    pub number: u64,
    /// The socket and what wraps it.
    pub transport: Transport,
    /// Bytes to write.
    pub out: OutBuf,
    /// The begin of a packet that is not whole yet.
    pub partial: Vec<u8>,
    /// Wakes the task that serves it.
    pub waker: Option<Waker>,
    /// Who it is.
    pub peer: Arc<Peer>,
    /// Rarely known facts.
    pub extras: Option<Box<Extras>>,
    /// Where it came in.
    pub listener: Arc<ListenerRuntime>,
    /// This shard's counters of the listener.
    pub counters: Arc<Counters>,
    /// Its place among the limits; given back on drop.
    pub slot: Slot,
    /// Its place in the quotas; given back on drop.
    pub seat: Seat,
    /// Whether credentials were verified.
    pub authenticated: bool,
    /// Hash of the last publication that the rules allowed, with the rules' generation.
    pub allowed_publish: u64,
    /// When the last packet came, in ms since 1970.
    pub last_packet: u64,
    /// When it was accepted, in ms since 1970.
    pub accepted_at: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Answers to it that wait for the disk.
    pub owed: u32,
    /// When the session's record is on disk.
    pub put: Ticket,
    /// Stands in the shard's list of connections to flush.
    pub dirty: bool,
    /// The socket takes no more; the task waits until it does.
    pub blocked: bool,
    /// Full for so long that nobody waits for it any more.
    pub lagging: bool,
    /// How many full receivers this publisher waits for; it is not read meanwhile.
    pub waits_for: u32,
    /// Publishers that wait for this connection to drain.
    pub waiting: Vec<SessionRef>,
}

impl Conn {
    /// Wakes the task that serves it.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What its credentials allow, if they say so.
    pub fn permissions(&self) -> Option<&Permissions> {
        self.extras.as_ref()?.permissions.as_deref()
    }

    /// What our own TLS told.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.extras.as_ref()?.tls.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use crate::session::Session;
    use crate::shard::Client;
    use crate::shard::serve::Serve;

    use super::Conn;

    /// Every byte here is a megabyte with a million clients.
    #[test]
    fn an_idle_connection_stays_small() {
        let sizes = [
            size_of::<Client>(),
            size_of::<Session>(),
            size_of::<Conn>(),
            size_of::<Serve>(),
        ];
        eprintln!(
            "client {} session {} conn {} task {}",
            sizes[0], sizes[1], sizes[2], sizes[3]
        );
        assert!(sizes[0] <= 360 && sizes[2] <= 420 && sizes[3] <= 24, "{sizes:?}");
    }
}
