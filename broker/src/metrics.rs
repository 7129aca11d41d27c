//! Every metric of the broker: its counters as they are counted, and in `render` its name and labels.
//!
//! A shard owns one [`Counters`] per listener and is its only writer, so counting is a plain load and store;
//! a scrape sums over the shards. What is a level and not a count (sessions, bans, findings) is asked for at
//! the scrape and comes in a [`Levels`]. The port that serves the text is `admin::health`.
//! No address, client id, username or topic is ever a label.

pub mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

pub use render::{Levels, ListenerLevels, render};

/// A count with one writer (the shard that owns it) and any number of readers.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`. Not a read-modify-write: two writers would lose counts, and there is only one.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level of which this shard holds a part; parts may be negative (opened here, closed there), the sum
/// over the shards is not.
#[derive(Debug, Default)]
pub struct Part(AtomicI64);

impl Part {
    /// Adds `n`, which may be negative; one writer, as for [`Count::add`].
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// This shard's part.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Counts by a name from a fixed set that another crate defines (`E_`, `Q_`, `W_` codes). For events of a
/// connection's life, not for its messages.
#[derive(Debug, Default)]
pub struct ByName(Mutex<BTreeMap<&'static str, u64>>);

impl ByName {
    /// Counts one of `name`.
    pub fn inc(&self, name: &'static str) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_default() += 1;
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .sum()
    }

    fn add_to(&self, sum: &mut BTreeMap<&'static str, u64>) {
        for (name, n) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *sum.entry(name).or_default() += n;
        }
    }
}

/// Upper bounds of the histograms' buckets, in nanoseconds: 250 ns to 1 s.
pub const BOUNDS_NS: [u64; 14] = [
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
];

/// A histogram of times.
#[derive(Debug, Default)]
pub struct Times {
    buckets: [Count; BOUNDS_NS.len()],
    above: Count,
    sum_ns: Count,
}

impl Times {
    /// Counts one duration.
    pub fn record(&self, elapsed: std::time::Duration) {
        let ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS
            .iter()
            .zip(&self.buckets)
            .find(|(bound, _)| ns <= **bound);
        bucket.map_or(&self.above, |(_, bucket)| bucket).inc();
        self.sum_ns.add(ns);
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident: $($variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[allow(missing_docs, reason = "each variant is documented by its label, the word beside it")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

labels! {
    /// How a CONNECT ended: `reason` of the `connect` and `authn_fail` events (operator-interface 5).
    ConnectReason:
    Ok = "ok", Banned = "banned", Quota = "quota", Rate = "rate", Acl = "acl", Protocol = "protocol",
    Timeout = "timeout", ClientId = "clientid", ServerBusy = "server_busy", Shutdown = "shutdown",
    BadCredentials = "bad_credentials", UnknownUser = "unknown_user", NoCredentials = "no_credentials",
    Cert = "cert", BackendError = "backend_error",
}
labels! {
    /// Why a session's connection ended: `reason` of the `disconnect` event.
    DisconnectReason:
    Client = "client", Keepalive = "keepalive", Kicked = "kicked", Takeover = "takeover", Banned = "banned",
    Error = "error", Shutdown = "shutdown",
}
labels! {
    /// Why a message did not reach a subscriber.
    DropReason:
    QueueFull = "queue_full", QueueBytes = "queue_bytes", Expired = "expired", TooLarge = "too_large",
    Overload = "overload", Offline = "offline", SessionEnded = "session_ended", NoSpace = "no_space",
}
labels! {
    /// What a rule was asked about.
    AclAction: Connect = "connect", Will = "will", Publish = "publish", Subscribe = "subscribe",
}
labels! {
    /// Where a peername came from.
    Via: Socket = "socket", ProxyV1 = "proxy_v1", ProxyV2 = "proxy_v2", Header = "header",
}
labels! {
    /// Which limit of `[quota]` refused.
    QuotaLimit:
    Connections = "max_connections", Pending = "max_pending", ConnectRate = "connect_rate",
    PublishRate = "publish_rate", PublishBytes = "publish_bytes", Subscriptions = "max_subscriptions",
}
labels! {
    /// What a ban that was met names.
    BanTarget: Address = "address", ClientId = "clientid", Username = "username",
}
labels! {
    /// Who said yes or no to credentials.
    AuthMethod:
    Anonymous = "anonymous", Certificate = "certificate", PasswordFile = "password_file", Jwt = "jwt",
    Http = "http", Scram = "scram", None = "none",
}

/// Names of packet types by the high half of the first byte; 0 does not exist.
pub const PACKET_TYPES: [&str; 16] = [
    "reserved",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// What one shard counts for one listener. Index the arrays by the label enum: `c.connects[Reason as usize]`,
/// or use the methods.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Count,
    /// Connections open now.
    pub connections: Part,
    /// Bytes read, TLS and WebSocket framing taken off.
    pub received_bytes: Count,
    /// Bytes written, the same way.
    pub sent_bytes: Count,
    /// CONNECTs by [`ConnectReason`].
    pub connects: [Count; ConnectReason::ALL.len()],
    /// Ends of sessions' connections by [`DisconnectReason`].
    pub disconnects: [Count; DisconnectReason::ALL.len()],
    /// Packets received by type (high half of the first byte).
    pub packets_received: [Count; 16],
    /// Packets sent by type.
    pub packets_sent: [Count; 16],
    /// Messages received by QoS.
    pub messages_received: [Count; 3],
    /// Messages sent by QoS.
    pub messages_sent: [Count; 3],
    /// Messages dropped by [`DropReason`].
    pub dropped: [Count; DropReason::ALL.len()],
    /// ACL decisions by [`AclAction`]: denied, allowed.
    pub acl: [[Count; 2]; AclAction::ALL.len()],
    /// Accepted peernames by [`Via`]: kind=client, kind=proxy.
    pub peername_ok: [[Count; 2]; Via::ALL.len()],
    /// Refused or closed connections by `E_` or `Q_` code.
    pub peername_refused: ByName,
    /// Accepted connections by `W_` code.
    pub peername_warnings: ByName,
    /// Time from accept to the peername: PROXY header, TLS handshake and upgrade, as far as the listener has them.
    pub peername_resolve: Times,
    /// Time to match and hand on a PUBLISH (sampled).
    pub publish_route: Times,
    /// Time of an ACL decision that was not cached (sampled).
    pub acl_check: Times,
    /// Credentials by [`AuthMethod`]: refused, accepted.
    pub authn: [[Count; 2]; AuthMethod::ALL.len()],
    /// Refusals by [`QuotaLimit`].
    pub quota_rejected: [Count; QuotaLimit::ALL.len()],
    /// Bans met by [`BanTarget`].
    pub ban_hits: [Count; BanTarget::ALL.len()],
}

impl Counters {
    /// A CONNECT was answered.
    pub fn connect(&self, reason: ConnectReason) {
        self.connects[reason as usize].inc();
    }

    /// A session's connection ended.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.disconnects[reason as usize].inc();
    }

    /// `n` messages were dropped.
    pub fn drop_messages(&self, reason: DropReason, n: u64) {
        self.dropped[reason as usize].add(n);
    }

    /// An ACL decision was made.
    pub fn acl_decision(&self, action: AclAction, allowed: bool) {
        self.acl[action as usize][usize::from(allowed)].inc();
    }

    /// A connection was accepted under a peername.
    pub fn peername_accepted(&self, via: Via, is_proxy: bool) {
        self.peername_ok[via as usize][usize::from(is_proxy)].inc();
    }
}

/// All counters of the process, and how they are found again at a scrape.
#[derive(Debug, Default)]
pub struct Metrics {
    all: Mutex<Vec<(Arc<str>, Arc<Counters>)>>,
}

impl Metrics {
    /// New counters of a shard (or acceptor) for the listener; they are summed from now on, also after the
    /// shard is gone, because counts never go back.
    pub fn counters(&self, listener: &str) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((Arc::from(listener), Arc::clone(&counters)));
        counters
    }

    /// Sums `read` over everything counted, on all listeners.
    pub fn sum(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(_, counters)| read(counters)).sum()
    }

    /// The counters by listener, each with its shards'.
    fn by_listener(&self) -> BTreeMap<Arc<str>, Vec<Arc<Counters>>> {
        let mut by: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, counters) in self.all.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            by.entry(Arc::clone(name)).or_default().push(Arc::clone(counters));
        }
        by
    }
}
