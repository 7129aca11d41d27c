//! The sections of the configuration as the running broker reads them, except listeners (`listener`) and access rules (`access`). Every field is
//! named as its key; the texts, defaults and ranges of the keys are in `keys`. No runtime handle lives here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::access::{AclConfig, AuthConfig, BansConfig, QuotaConfig};
use super::listener::{ListenerConfig, TlsConfig};
use super::units::{Limit, de_duration, de_mode, de_size};

/// The whole configuration, checked. Paths are absolute; listeners carry their resolved settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[node]`
    pub node: NodeConfig,
    /// `[networks]`: the named CIDR sets, as written. Ranges are expanded where they are used.
    #[serde(default)]
    pub networks: BTreeMap<String, Vec<String>>,
    /// `[mqtt]`: what a listener without overrides has; connections read their listener's `mqtt`.
    pub mqtt: MqttSettings,
    /// `[session]`
    pub session: SessionConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[delayed]`
    pub delayed: DelayedConfig,
    /// `[[rewrite]]`, in order
    #[serde(default)]
    pub rewrite: Vec<RewriteRule>,
    /// `[[auto_subscribe]]`, in order
    #[serde(default)]
    pub auto_subscribe: Vec<AutoSubscription>,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[acl]`
    pub acl: AclConfig,
    /// `[bans]`
    pub bans: BansConfig,
    /// `[quota]`
    pub quota: QuotaConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[listeners.NAME]`, by name; disabled ones too.
    #[serde(default)]
    pub listeners: Vec<ListenerConfig>,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of this node in audit and metrics; the host name by default.
    pub name: String,
    /// Directory of all data; `None` (written `""`) keeps nothing on disk.
    #[serde(deserialize_with = "de_path_option")]
    pub data_dir: Option<PathBuf>,
    /// Worker threads; 0 = one for each core.
    pub workers: usize,
    /// How long a stop waits for clients to take their last messages.
    #[serde(deserialize_with = "de_duration")]
    pub shutdown_grace: Duration,
    /// Time between two publications of `$SYS`; zero = none.
    #[serde(deserialize_with = "de_duration")]
    pub sys_interval: Duration,
}

/// An MQTT protocol version that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum ProtocolVersion {
    /// MQTT 3.1 (`MQIsdp`, level 3)
    #[serde(rename = "3.1")]
    V31,
    /// MQTT 3.1.1 (level 4)
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.0 (level 5)
    #[serde(rename = "5")]
    V5,
}

/// Which message leaves when a queue is full (QoS 0 goes first in any case).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueFull {
    /// The oldest one.
    DropOldest,
    /// The one that has just come.
    DropNewest,
}

/// What happens to publishers while subscribers cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overload {
    /// They are not read for a while.
    Slow,
    /// QoS 0 messages are dropped and counted.
    Drop,
}

/// Which member of a shared subscription gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedStrategy {
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The same one as long as it lives.
    Sticky,
    /// By the publisher's client id.
    HashClient,
    /// By the topic.
    HashTopic,
    /// A member on this node first.
    Local,
}

/// `[mqtt]`, and per listener with the overrides of `[listeners.NAME.mqtt]` applied.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSettings {
    /// Versions served; others get CONNACK 1 or 0x84.
    pub protocol_versions: Vec<ProtocolVersion>,
    /// From the end of the step before to a whole CONNECT.
    #[serde(deserialize_with = "de_duration")]
    pub connect_timeout: Duration,
    /// Largest packet accepted, in bytes.
    #[serde(deserialize_with = "de_size")]
    pub max_packet_size: u64,
    /// Longest client id, in bytes.
    pub max_clientid_bytes: usize,
    /// Whether a client may leave its id to us.
    pub allow_empty_clientid: bool,
    /// Most levels a topic or filter may have.
    pub max_topic_levels: usize,
    /// Topic aliases a v5 client may use; 0 = none.
    pub max_topic_alias: u16,
    /// Highest QoS served.
    pub max_qos: u8,
    /// Longest keep-alive in seconds; a longer one is replaced (v5) or shortened (3.x).
    pub max_keepalive: u16,
    /// Silence allowed, in keep-alives.
    pub keepalive_multiplier: f64,
    /// Unacknowledged QoS 1/2 messages we take from a client.
    pub receive_maximum: u16,
    /// Unacknowledged QoS 1/2 messages we send to a client, at most its own receive maximum.
    pub max_inflight: u16,
    /// Messages queued for one session.
    pub max_queued_messages: usize,
    /// Bytes queued for one session.
    #[serde(deserialize_with = "de_size")]
    pub max_queued_bytes: u64,
    /// What leaves when the queue is full.
    pub queue_full: QueueFull,
    /// Whether QoS 0 messages wait for clients that are offline.
    pub queue_qos0: bool,
    /// What happens to publishers when subscribers are slow.
    pub overload: Overload,
    /// Who gets the messages of a shared subscription.
    pub shared_strategy: SharedStrategy,
    /// Subscriptions of one session.
    pub max_subscriptions: Limit,
    /// Whether retained messages are served.
    pub retain: bool,
    /// Whether filters may have wildcards.
    pub wildcard_subscription: bool,
    /// Whether `$share/...` is served.
    pub shared_subscription: bool,
}

/// `[session]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// How long a 3.x session with clean_session=0 stays without a connection.
    #[serde(deserialize_with = "de_duration")]
    pub expiry_v3: Duration,
    /// Cap of a v5 session's expiry, told in CONNACK.
    #[serde(deserialize_with = "de_duration")]
    pub expiry_max: Duration,
    /// Sessions kept, connected ones included.
    pub max_sessions: usize,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing; nothing is kept on disk.
    None,
    /// Nothing; written at once, synced every `fsync_interval`.
    Async,
    /// The disk; one sync serves many.
    Group,
}

impl Durability {
    /// Its word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Async => "async",
            Self::Group => "group",
        }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// What an acknowledgement waits for; without a data directory always `None`.
    pub durability: Durability,
    /// Time between two syncs with durability `async`.
    #[serde(deserialize_with = "de_duration")]
    pub fsync_interval: Duration,
    /// Bytes of queued payloads kept in memory.
    #[serde(deserialize_with = "de_size")]
    pub cache: u64,
    /// Bytes on disk.
    #[serde(deserialize_with = "de_size")]
    pub max_bytes: u64,
    /// Retained messages; beyond: 0x97.
    pub max_retained_messages: Limit,
    /// Bytes of retained messages; beyond: 0x97.
    pub max_retained_bytes: Limit,
}

/// `[delayed]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelayedConfig {
    /// Whether `$delayed/SECONDS/topic` is served.
    pub enabled: bool,
    /// Messages that may wait.
    pub max_delayed_messages: usize,
}

/// What a topic rewrite meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteAction {
    /// Publications and subscriptions.
    All,
    /// Publications.
    Publish,
    /// Subscriptions.
    Subscribe,
}

/// One `[[rewrite]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewriteRule {
    /// What it meets.
    pub action: RewriteAction,
    /// Filter that the topic must match.
    pub source_topic: String,
    /// Regular expression that the topic must match; its groups are `$1`...
    pub re: String,
    /// What it becomes; `$1`, `${clientid}`, `${username}` are filled in.
    pub dest_topic: String,
}

/// One `[[auto_subscribe]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoSubscription {
    /// Filter; `${clientid}`, `${username}`, `${peerhost}` are filled in.
    pub topic: String,
    /// QoS 0-2.
    pub qos: u8,
    /// Retain handling 0-2.
    pub rh: u8,
    /// Retain as published, 0 or 1.
    pub rap: u8,
    /// No local, 0 or 1.
    pub nl: u8,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether it is written.
    pub enabled: bool,
    /// The file.
    pub path: PathBuf,
    /// Events written: names, `*` for all, `-name` to leave one out; the last that fits decides.
    pub events: Vec<String>,
    /// Records that may wait for the disk.
    pub queue: usize,
    /// Size at which a new file begins, in bytes.
    #[serde(deserialize_with = "de_size")]
    pub rotate_size: u64,
    /// Old files kept.
    pub rotate_keep: u32,
    /// Alike denials within this time become one record.
    #[serde(deserialize_with = "de_duration")]
    pub coalesce: Duration,
    /// Time between two syncs.
    #[serde(deserialize_with = "de_duration")]
    pub fsync: Duration,
    /// Whether each record carries the hash of the one before.
    pub hash_chain: bool,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Our own faults.
    Error,
    /// What needs attention.
    Warn,
    /// What an operator wants to know.
    Info,
    /// Each connection.
    Debug,
    /// Each packet.
    Trace,
}

impl LogLevel {
    /// Every level, quietest first.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Its word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// How much is logged.
    pub level: LogLevel,
    /// Level of single modules.
    pub filters: BTreeMap<String, LogLevel>,
    /// How a line looks.
    pub format: LogFormat,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// The unix-domain socket of `broker ctl`.
    pub socket: PathBuf,
    /// Its mode.
    #[serde(deserialize_with = "de_mode")]
    pub socket_mode: u32,
    /// Its group; `None` = the process's.
    #[serde(deserialize_with = "de_text_option")]
    pub socket_group: Option<String>,
    /// Address of the HTTP API; `None` = off.
    #[serde(deserialize_with = "de_addr_option")]
    pub http_bind: Option<SocketAddr>,
    /// TLS of the HTTP API; without it only loopback.
    pub tls: Option<TlsConfig>,
    /// File of `broker token`.
    pub tokens_file: PathBuf,
    /// Proxies in front of the API (`@name` too).
    pub trusted_proxies: Vec<String>,
    /// Header with the caller's address; empty = none.
    pub address_header: String,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address of `/metrics`, `/healthz`, `/readyz`; `None` = off.
    #[serde(deserialize_with = "de_addr_option")]
    pub bind: Option<SocketAddr>,
}

fn text_option(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

pub(super) fn de_text_option<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(text_option(String::deserialize(from)?))
}

pub(super) fn de_path_option<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text_option(String::deserialize(from)?).map(PathBuf::from))
}

fn de_addr_option<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = text_option(String::deserialize(from)?);
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
