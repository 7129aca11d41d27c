//! Streams (events, traces), the audit log's head, and who does what.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Who makes a call, for the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// The process's user (unix socket, SO_PEERCRED).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The token's name (HTTPS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Its address; `unix` on the socket.
    pub peer_ip: String,
}

/// A change made through the API, for the audit log's `admin` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCall {
    /// Who.
    pub actor: Actor,
    /// `DELETE /sessions/dev-7`.
    pub call: String,
    /// It was done.
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
}

/// Filters of `events`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFilter {
    /// Audit event names; empty = all.
    pub types: Vec<String>,
    /// peer_ip lies in one of these; empty = all.
    pub ip: Vec<IpNet>,
    /// Records after this `seq` first, from memory.
    pub since: Option<u64>,
}

/// Filters of `GET /audit`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFilter {
    /// As for events.
    pub events: EventFilter,
    /// At most this many, the newest.
    pub limit: usize,
}

/// `GET /audit/head`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHeadView {
    /// Newest sequence number.
    pub seq: u64,
    /// Hash of its line (`audit.hash_chain`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Records dropped since the start.
    pub dropped: u64,
}

/// Body of `POST /traces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// Of this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Of clients in this CIDR or `@name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Publishes whose topic matches this filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// For how long; `10m` by default.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Bytes of payload to show, at most 4096.
    #[serde(default)]
    pub payload: usize,
}

/// One item of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamItem {
    /// An audit record or a traced packet.
    Record {
        /// Audit event name, or `packet`.
        event: String,
        /// Its `seq`; traces have none.
        id: Option<u64>,
        /// The record.
        data: Value,
    },
    /// The reader was too slow: so many were left out.
    Lagged(u64),
}
