//! The client's address: explain, proxies, findings.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::time::Timestamp;

/// What to explain (peername 10); without `listener` the call is about a live client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Listener name.
    pub listener: String,
    /// `ip:port`, `[ip]:port` or `unix`.
    pub socket: String,
    /// Bytes of a PROXY header, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_hex: Option<String>,
    /// The header fields of the upgrade request, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// How an address was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainView {
    /// `accept`, `reject` or `close`.
    pub outcome: String,
    /// The result (peername 7.1) and `steps`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub result: serde_json::Map<String, Value>,
    /// The text form, line by line.
    pub text: Vec<String>,
}

/// One row of `proxies`: a socket address that spoke for clients, or came where a proxy was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyView {
    /// The listener.
    pub listener: String,
    /// The socket's address, or the trust entry nobody came through.
    pub socket: String,
    /// Hops behind it, nearest first.
    pub hops: Vec<String>,
    /// Distinct client addresses seen through it (counted to 10,000).
    pub clients: u64,
    /// Connections through it.
    pub connections: u64,
    /// `via` of the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<super::Via>,
    /// The trust entry that admits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// `file FILE:LINE` of that entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// `ok`, `unexpected` (not listed), `unused` (no connection for 7 days), `header_unread` (it sends a
    /// header that nobody reads), `values_left` (values left of the client).
    pub notes: Vec<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to do.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Addresses are wrong or forgeable, or clients are refused.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// `D01`…
    pub code: String,
    /// How bad.
    pub level: Level,
    /// The listener it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The message, with its numbers.
    pub message: String,
    /// Snippets, filled in; the first line begins with the name (`S1`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snippets: Vec<String>,
    /// Anchor in the documentation.
    pub docs: String,
    /// When it was seen first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// When it was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
}

/// All findings, worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorView {
    /// The findings.
    pub findings: Vec<FindingView>,
}
