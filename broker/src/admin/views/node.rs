//! The node: status, health, listeners, store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::PendingRestart;
use super::peername::Level;
use super::time::Timestamp;

/// `broker ctl status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The binary's version.
    pub version: String,
    /// `node.name`.
    pub node: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Whole seconds since.
    pub uptime_seconds: u64,
    /// Snapshots of the configuration taken so far.
    pub generation: u64,
    /// What `/readyz` says.
    pub ready: bool,
    /// The listeners.
    pub listeners: Vec<ListenerView>,
    /// Clients and sessions.
    pub clients: ClientCounts,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Keys whose new value waits for a restart.
    pub pending_restart: Vec<PendingRestart>,
    /// The worst finding of the doctor.
    pub worst_finding: Option<FindingBrief>,
}

/// How many clients and sessions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientCounts {
    /// Connected now.
    pub connected: u64,
    /// Stored sessions whose client is away.
    pub stored: u64,
}

/// A finding in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingBrief {
    /// `D01`…
    pub code: String,
    /// How bad.
    pub level: Level,
    /// The message.
    pub message: String,
}

/// `/readyz`, and `broker ctl health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// Ready to take clients.
    pub ready: bool,
    /// Why (not).
    pub checks: Checks,
}

/// The parts of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    /// `ok`, or what does not listen.
    pub listeners: String,
    /// `ok`, `loading`, `full`, `failed`.
    pub store: String,
    /// `no` or `yes`.
    pub draining: String,
}

/// The numbers of the page's overview; totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// Milliseconds since the start, so that rates can be told.
    pub uptime_ms: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Successful CONNECTs.
    pub connects: u64,
    /// PUBLISH packets received.
    pub messages_received: u64,
    /// PUBLISH packets sent.
    pub messages_sent: u64,
    /// Refused connections and denied actions.
    pub denied: u64,
    /// Configuration generation.
    pub generation: u64,
    /// The worst finding.
    pub worst_finding: Option<FindingBrief>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// `tcp`, `tls`, `ws`, `wss`.
    pub transport: String,
    /// Where it listens (the port in fact bound), or what is configured if it does not.
    pub bind: String,
    /// `running`, `stopped`, `draining`, `disabled`, `failed`.
    pub state: String,
    /// Connections now.
    pub connections: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// `off`, `optional`, `required`.
    pub proxy_protocol: String,
    /// The address header, if one is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_header: Option<String>,
    /// End of its certificate's life (tls, wss).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<Timestamp>,
}

/// `store stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreView {
    /// `file` or `memory`.
    pub engine: String,
    /// `none`, `async`, `group`.
    pub durability: String,
    /// Sessions kept.
    pub sessions: u64,
    /// Messages queued for clients that are away or slow.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// `store.max_bytes`; absent = unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Files on disk.
    pub segments: u64,
}

/// Answer of a call that removes things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropView {
    /// How many went.
    pub removed: u64,
}
