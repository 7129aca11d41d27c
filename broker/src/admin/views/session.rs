//! Sessions, subscriptions, topics and retained messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Timestamp;

/// One session, live or stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The client id.
    pub clientid: String,
    /// The username it was made with.
    pub username: Option<String>,
    /// `connected` or `stored`.
    pub state: String,
    /// 3, 4 or 5.
    pub proto_ver: u8,
    /// Seconds; 4294967295 = never.
    pub session_expiry_interval: u32,
    /// Subscriptions held.
    pub subscriptions: u64,
    /// Sent and not acknowledged.
    pub inflight: u64,
    /// Received QoS 2 that wait for PUBREL.
    pub awaiting_rel: u64,
    /// Messages queued.
    pub queued_msgs: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Messages dropped.
    pub dropped_msgs: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// When its client went, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Timestamp>,
    /// When it ends unless the client returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Its subscriptions (`sessions show` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<SubscriptionView>,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionView {
    /// The client id.
    pub clientid: String,
    /// The filter as subscribed, with `$share/GROUP/` where shared.
    pub filter: String,
    /// Granted QoS.
    pub qos: u8,
    /// MQTT 5 no local.
    pub no_local: bool,
    /// MQTT 5 retain as published.
    pub retain_as_published: bool,
    /// MQTT 5 retain handling.
    pub retain_handling: u8,
    /// MQTT 5 subscription identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<u32>,
}

/// Filters of `subscriptions list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// Of this client.
    pub client: Option<String>,
    /// Whose filter matches this topic name, or is this very filter.
    pub topic: Option<String>,
}

/// A topic filter in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicView {
    /// The filter.
    pub filter: String,
    /// Subscriptions on it.
    pub subscribers: u64,
    /// Of them in shared groups.
    pub shared: u64,
}

/// A retained message, without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetainedView {
    /// The topic.
    pub topic: String,
    /// QoS it was published with.
    pub qos: u8,
    /// Payload bytes.
    pub bytes: u64,
    /// When it came, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Timestamp>,
    /// When it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A retained message with its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetainedMessageView {
    /// What the list shows.
    #[serde(flatten)]
    pub message: RetainedView,
    /// `text` (UTF-8) or `base64`.
    pub encoding: String,
    /// The payload so encoded.
    pub payload: String,
    /// MQTT 5 content type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}
