//! Bans, quotas and ACL rules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Timestamp;

/// Body of `POST /bans`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BanRequest {
    /// Address, CIDR, `client:ID` or `user:NAME`.
    pub what: String,
    /// How long (`1h`); absent = until lifted.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who says so; the caller by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Ban a trusted proxy or protected range too.
    #[serde(default)]
    pub force: bool,
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BanView {
    /// CIDR, `client:ID` or `user:NAME`.
    pub what: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who.
    pub by: String,
    /// Made by a rule of `[[bans.auto]]`.
    pub automatic: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when; absent = until lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Live clients kicked when it was made.
    pub kicked: u64,
}

/// Limits of a prefix; absent = unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaLimits {
    /// Connections at once.
    pub max_connections: Option<u64>,
    /// Logins not finished.
    pub max_pending: Option<u64>,
    /// New connections a second.
    pub connect_rate: Option<f64>,
    /// Messages a second.
    pub publish_rate: Option<f64>,
    /// Bytes a second.
    pub publish_bytes: Option<f64>,
    /// Subscriptions.
    pub max_subscriptions: Option<u64>,
}

/// Use of a prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuotaView {
    /// The prefix (`1.2.3.4/32`, `2001:db8::/64`).
    pub prefix: String,
    /// Connections now.
    pub connections: u64,
    /// Logins not finished.
    pub pending: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Refusals so far.
    pub rejected: u64,
    /// The limits that hold for it.
    pub limits: QuotaLimits,
}

/// One ACL rule in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclRuleView {
    /// Number, from 1.
    pub number: u64,
    /// `acl.conf:8`.
    pub place: String,
    /// `allow` or `deny`.
    pub verdict: String,
    /// `connect`, `publish`, `subscribe`, `all`.
    pub action: String,
    /// Terms and options as written.
    pub terms: String,
    /// Filters as written.
    pub filters: String,
}

/// Body of `POST /acl/test`: the flags of `acl test`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AclTestRequest {
    /// Facts of this live client instead of the ones below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// Peername's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Socket's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// `client` or `proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `socket`, `proxy_v1`, `proxy_v2`, `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Certificate CN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cn: Option<String>,
    /// Certificate SAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub san: Option<String>,
    /// TLS server name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Cloud endpoint id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpce: Option<String>,
    /// `yes` or `no`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// `yes`, `proxy`, `no`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// QoS of the publish or subscribe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// Retain flag of the publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<bool>,
    /// Shared subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// Test the connect.
    pub connect: bool,
    /// Test a publish to this topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Test a subscribe to this filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<String>,
    /// Show rules of other actions too.
    pub all: bool,
}

/// The decision and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AclTestView {
    /// `allow` or `deny`.
    pub verdict: String,
    /// The deciding line, `acl.conf:3`.
    pub place: String,
    /// The text form, line by line.
    pub text: Vec<String>,
}
