//! What all shards share: the configuration in force as they need it, the router, the registry, the logs.
//!
//! What does not live here: connections and sessions (`shard`), starting and stopping (`server.rs`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::audit::AuditLog;
use crate::authn::Authenticator;
use crate::config::{self, Config, ListenerConfig, MqttSettings, ProtocolVersion, QueueFull, SharedStrategy};
use crate::doctor::Doctors;
use crate::gate::Gate;
use crate::metrics::{Counters, Metrics};
use crate::registry::Registry;
use crate::router::Router;
use crate::router::retained::{Retained, RetainedLimits};
use crate::router::shared::Strategy;
use crate::session::publish_in::Offer;
use crate::session::queue::{self, QueueLimits};
use crate::shard::inbox::Inbox;
use crate::shard::kept::KeptSessions;
use crate::store::StoreHandle;
use crate::trace::Tracer;

pub use crate::config::Overload;

/// The time of day that never jumps: read once from the system, then carried on by the monotonic clock.
#[derive(Debug)]
pub struct Clock {
    base: u64,
    from: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        let base = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64);
        Self {
            base,
            from: Instant::now(),
        }
    }
}

impl Clock {
    /// ns since the clock began; for rates.
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.from.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// ms since 1970.
    pub fn now(&self) -> u64 {
        self.base + self.from.elapsed().as_millis() as u64
    }
}

/// `[mqtt]` of a listener as the shards use it.
#[derive(Clone, Debug)]
pub struct MqttRuntime {
    /// What is offered to clients.
    pub offer: Offer,
    /// Versions served.
    pub versions: Vec<codec::Version>,
    /// Bounds of a session's queue.
    pub queue: QueueLimits,
    /// Whether QoS 0 waits for an absent client.
    pub queue_qos0: bool,
    /// What happens to publishers while subscribers cannot keep up.
    pub overload: Overload,
    /// Strategy of shared subscriptions.
    pub shared_strategy: Strategy,
    /// One and a half keep-alives.
    pub keepalive_multiplier: f64,
    /// Subscriptions a client may have.
    pub max_subscriptions: u64,
    /// Whether filters may have wildcards.
    pub wildcard_subscription: bool,
    /// Whether `$share` is served.
    pub shared_subscription: bool,
    /// As configured, for CONNECT.
    pub settings: MqttSettings,
}

impl MqttRuntime {
    fn new(settings: &MqttSettings) -> Self {
        let version = |v: &ProtocolVersion| match v {
            ProtocolVersion::V31 => codec::Version::V31,
            ProtocolVersion::V311 => codec::Version::V311,
            ProtocolVersion::V5 => codec::Version::V5,
        };
        Self {
            offer: Offer {
                max_qos: settings.max_qos,
                retain: settings.retain,
                max_topic_levels: settings.max_topic_levels,
            },
            versions: settings.protocol_versions.iter().map(version).collect(),
            queue: QueueLimits {
                messages: settings.max_queued_messages,
                bytes: settings.max_queued_bytes,
                full: match settings.queue_full {
                    QueueFull::DropOldest => queue::QueueFull::DropOldest,
                    QueueFull::DropNewest => queue::QueueFull::DropNewest,
                },
            },
            queue_qos0: settings.queue_qos0,
            overload: settings.overload,
            shared_strategy: match settings.shared_strategy {
                SharedStrategy::RoundRobin => Strategy::RoundRobin,
                SharedStrategy::Random => Strategy::Random,
                SharedStrategy::Sticky => Strategy::Sticky,
                SharedStrategy::HashClient => Strategy::HashClient,
                SharedStrategy::HashTopic => Strategy::HashTopic,
                SharedStrategy::Local => Strategy::Local,
            },
            keepalive_multiplier: settings.keepalive_multiplier,
            max_subscriptions: settings.max_subscriptions.get().unwrap_or(u64::MAX),
            wildcard_subscription: settings.wildcard_subscription,
            shared_subscription: settings.shared_subscription,
            settings: settings.clone(),
        }
    }
}

/// A listener as the shards use it.
#[derive(Debug)]
pub struct ListenerRuntime {
    /// Its name.
    pub name: Arc<str>,
    /// Its `[mqtt]`.
    pub mqtt: MqttRuntime,
    /// Largest packet from a client, in bytes.
    pub max_packet_size: u32,
    /// As configured.
    pub config: ListenerConfig,
    /// Counters by shard; the last ones are the acceptor's.
    pub counters: Vec<Arc<Counters>>,
}

/// The configuration in force, as meant for the data path; swapped whole.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts reloads.
    pub generation: u64,
    /// Everything as configured.
    pub config: Arc<Config>,
    /// Whether the built-in local mode is in force.
    pub local_mode: bool,
    /// `[mqtt]`, for sessions without a connection.
    pub mqtt: MqttRuntime,
    /// Listeners by name.
    pub listeners: HashMap<Arc<str>, Arc<ListenerRuntime>>,
    /// The rules.
    pub acl: Arc<auth::Policy>,
    /// Whether a denied publication ends the connection.
    pub disconnect_denied: bool,
    /// What a denied SUBSCRIBE or PUBLISH is told in MQTT 5.
    pub denied: codec::ReasonCode,
    /// Cap of the Session Expiry Interval, in seconds.
    pub session_expiry_max: u32,
    /// Session expiry of 3.x clients with clean_session=0, in seconds.
    pub session_expiry_v3: u32,
    /// How much may be retained.
    pub retained: RetainedLimits,
}

impl Snapshot {
    /// From a configuration that was found right and rules that were compiled.
    pub fn new(
        generation: u64,
        loaded: &config::Loaded,
        acl: Arc<auth::Policy>,
        metrics: &Metrics,
        shards: usize,
        before: Option<&Self>,
    ) -> Self {
        let config = Arc::clone(&loaded.config);
        let listeners = config
            .listeners
            .iter()
            .map(|listener| {
                let name: Arc<str> = listener.name.as_str().into();
                let runtime = ListenerRuntime {
                    name: Arc::clone(&name),
                    mqtt: MqttRuntime::new(&listener.mqtt),
                    max_packet_size: u32::try_from(listener.mqtt.max_packet_size).unwrap_or(u32::MAX),
                    config: listener.clone(),
                    counters: match before.and_then(|before| before.listeners.get(&name)) {
                        // A listener goes on counting where it was.
                        Some(old) => old.counters.clone(),
                        None => (0..=shards).map(|_| metrics.counters(&name)).collect(),
                    },
                };
                (name, Arc::new(runtime))
            })
            .collect();
        let seconds = |d: std::time::Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
        Self {
            generation,
            local_mode: loaded.local_mode,
            mqtt: MqttRuntime::new(&config.mqtt),
            listeners,
            acl,
            disconnect_denied: config.acl.deny_action == config::DenyAction::Disconnect,
            denied: if config.acl.tell_reason {
                codec::ReasonCode::NotAuthorized
            } else {
                codec::ReasonCode::UnspecifiedError
            },
            session_expiry_max: seconds(config.session.expiry_max),
            session_expiry_v3: seconds(config.session.expiry_v3),
            retained: RetainedLimits {
                messages: config.store.max_retained_messages.get().unwrap_or(u64::MAX),
                bytes: config.store.max_retained_bytes.get().unwrap_or(u64::MAX),
            },
            config,
        }
    }
}

/// The running broker.
#[derive(Debug)]
pub struct Node {
    /// Its name in audit and metrics.
    pub name: Arc<str>,
    /// When it started, in ms since 1970.
    pub started_at: u64,
    /// The time.
    pub clock: Clock,
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// Subscriptions.
    pub router: Router,
    /// Retained messages.
    pub retained: Retained,
    /// Which shard a client id lives on.
    pub registry: Registry,
    /// The shards' mailboxes.
    pub inboxes: Vec<Arc<Inbox>>,
    /// The audit log.
    pub audit: AuditLog,
    /// Metrics.
    pub metrics: Metrics,
    /// What is wrong with addresses and proxies.
    pub doctor: Doctors,
    /// Live packets for those who trace.
    pub tracer: Arc<Tracer>,
    /// Bans, rates and what else stands before login.
    pub gate: Gate,
    /// Who verifies credentials.
    pub authenticator: Authenticator,
    /// Hashes client ids and topics for shared subscriptions.
    pub hasher: foldhash::fast::RandomState,
    /// No new clients: the broker is about to stop.
    pub draining: AtomicBool,
    /// Counters of what belongs to no listener (offline sessions), by shard.
    pub offline: Vec<Arc<Counters>>,
    /// Sessions that have ended because their client stayed away too long.
    pub expired: AtomicU64,
    /// What outlives the process.
    pub store: StoreHandle,
    /// Which sessions are kept there, by shard.
    pub kept: Vec<KeptSessions>,
    random: AtomicU64,
    stop: watch::Sender<bool>,
}

/// What a [`Node`] is made of.
pub struct Parts {
    /// The configuration in force.
    pub snapshot: Snapshot,
    /// The audit log.
    pub audit: AuditLog,
    /// Metrics.
    pub metrics: Metrics,
    /// Bans, rates and what else stands before login.
    pub gate: Gate,
    /// Who verifies credentials.
    pub authenticator: Authenticator,
    /// What outlives the process.
    pub store: StoreHandle,
    /// Number of shards.
    pub shards: usize,
}

impl Node {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let clock = Clock::default();
        let seed = clock.now() | 1;
        Arc::new(Self {
            name: parts.snapshot.config.node.name.as_str().into(),
            started_at: clock.now(),
            snapshot: ArcSwap::from_pointee(parts.snapshot),
            router: Router::new(parts.shards),
            retained: Retained::default(),
            registry: Registry::default(),
            inboxes: (0..parts.shards).map(|_| Arc::new(Inbox::default())).collect(),
            audit: parts.audit,
            offline: (0..parts.shards).map(|_| parts.metrics.counters("")).collect(),
            metrics: parts.metrics,
            doctor: Doctors::default(),
            tracer: Arc::default(),
            gate: parts.gate,
            authenticator: parts.authenticator,
            hasher: foldhash::fast::RandomState::default(),
            draining: AtomicBool::new(false),
            expired: AtomicU64::new(0),
            store: parts.store,
            kept: (0..parts.shards).map(|_| KeptSessions::default()).collect(),
            random: AtomicU64::new(seed),
            stop: watch::Sender::new(false),
            clock,
        })
    }

    /// A number by chance, good enough for spreading load (SplitMix64).
    pub fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Makes the shards stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the shards are to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // An error would mean that the node is gone, which is a stop as well.
        let _ = stop.wait_for(|&stop| stop).await;
    }
}
