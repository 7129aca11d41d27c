//! Configuration in force, differences, reload, log levels.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One key in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigRow {
    /// Dotted key.
    pub key: String,
    /// Value in force; secrets as the path of their file.
    #[schema(value_type = Object)]
    pub value: Value,
    /// `default`, `file FILE:LINE`, `env VAR`, `flag --set`.
    pub origin: String,
    /// What it hides: `broker.toml:37 "127.0.0.1:1884"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hides: Option<String>,
}

/// One key whose value on disk differs from the running one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigDiffRow {
    /// Dotted key.
    pub key: String,
    /// Running value; null = not set.
    #[schema(value_type = Object)]
    pub running: Value,
    /// Value on disk; null = not set.
    #[schema(value_type = Object)]
    pub disk: Value,
    /// Where the one on disk stands.
    pub origin: String,
    /// It would need a restart.
    pub restart: bool,
}

/// A key that waits for a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingRestart {
    /// Dotted key.
    pub key: String,
    /// Running value, as TOML.
    pub running: String,
    /// New value, as TOML.
    pub new: String,
    /// Where it stands: `broker.toml:156`.
    pub origin: String,
}

/// Body of `POST /config/reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadRequest {
    /// Only say what would be done.
    pub dry_run: bool,
    /// `acl`, `tls`, `networks`, `passwd`; empty = all.
    pub only: Vec<String>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadView {
    /// It was a dry run.
    pub dry_run: bool,
    /// Generation in force afterwards.
    pub generation: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// What changed, one phrase each (`networks.office`).
    pub changed: Vec<String>,
    /// Certificates loaded anew, one phrase each.
    pub tls: Vec<String>,
    /// Effect on live clients.
    pub clients: ReloadClients,
    /// What waits for a restart.
    pub restart: Vec<PendingRestart>,
}

/// Effect of a reload on live clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadClients {
    /// Clients kicked.
    pub kicked: u64,
    /// By which rules (`acl.conf:8`).
    pub rules: Vec<String>,
    /// Subscriptions removed.
    pub subscriptions_removed: u64,
}

/// Levels in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevelView {
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
    /// By module, where it differs.
    pub modules: std::collections::BTreeMap<String, String>,
    /// Seconds until a level set for a time goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts_in: Option<u64>,
}

/// Body of `PUT /log/level`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelRequest {
    /// Module; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// New level.
    pub level: String,
    /// For how long (`10m`); absent = until changed.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}
