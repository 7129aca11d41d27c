//! Who may do what: `[auth]`, `[acl]`, `[bans]`, `[quota]` as the running broker reads them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::types::{de_path_option, de_text_option};
use super::units::{Limit, Rate, RateLimit, de_duration};

/// A way to authenticate, as named in `auth.chain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A verified certificate, ours or one told by a proxy.
    Certificate,
    /// `[auth.password_file]`
    PasswordFile,
    /// `[auth.jwt]`
    Jwt,
    /// `[auth.http]`
    Http,
    /// `[auth.scram]`
    Scram,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether a client without credentials gets in; listeners may override it.
    pub allow_anonymous: bool,
    /// Methods asked in order; empty verifies nothing.
    pub chain: Vec<AuthMethod>,
    /// `[auth.password_file]`
    pub password_file: PasswordFileConfig,
    /// `[auth.jwt]`
    pub jwt: JwtConfig,
    /// `[auth.http]`
    pub http: HttpAuthConfig,
    /// `[auth.scram]`
    pub scram: ScramConfig,
}

/// `[auth.password_file]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordFileConfig {
    /// The file of `broker passwd`.
    pub path: PathBuf,
}

/// Where a token is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFrom {
    /// The password of CONNECT.
    Password,
    /// The username of CONNECT.
    Username,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JwtAlgorithm {
    /// HS256, HS384, HS512 with the secret of `secret_file`.
    HmacBased,
    /// RS, PS, ES, EdDSA with `public_key_file`, `jwks_file` or `endpoint`.
    PublicKey,
}

/// `[auth.jwt]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Field of CONNECT that carries the token.
    pub from: TokenFrom,
    /// Kind of signature.
    pub algorithm: JwtAlgorithm,
    /// File with the shared secret.
    #[serde(deserialize_with = "de_path_option")]
    pub secret_file: Option<PathBuf>,
    /// Whether that file is base64.
    pub secret_base64_encoded: bool,
    /// PEM public key or certificate.
    #[serde(deserialize_with = "de_path_option")]
    pub public_key_file: Option<PathBuf>,
    /// A JSON Web Key Set in a file.
    #[serde(deserialize_with = "de_path_option")]
    pub jwks_file: Option<PathBuf>,
    /// URL of a JSON Web Key Set.
    #[serde(deserialize_with = "de_text_option")]
    pub endpoint: Option<String>,
    /// Time between two reads of it.
    #[serde(deserialize_with = "de_duration")]
    pub refresh_interval: Duration,
    /// Claims that must have this value; templates `${clientid}`, `${username}`, `${peerhost}`...
    pub verify_claims: BTreeMap<String, String>,
    /// Claim that gives the username.
    #[serde(deserialize_with = "de_text_option")]
    pub username_claim: Option<String>,
    /// Claim that gives the client id.
    #[serde(deserialize_with = "de_text_option")]
    pub clientid_claim: Option<String>,
    /// Claim with the list of permissions.
    pub acl_claim_name: String,
    /// Whether `exp` also ends the connection.
    pub disconnect_after_expire: bool,
}

/// `[auth.http]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAuthConfig {
    /// Authentication: method and URL (`None` = off).
    pub method: HttpMethod,
    /// `http://` or `https://` URL, with templates in path and query.
    #[serde(deserialize_with = "de_text_option")]
    pub url: Option<String>,
    /// Request headers, with templates.
    pub headers: BTreeMap<String, String>,
    /// Fields of the JSON or form body, with templates.
    pub body: BTreeMap<String, String>,
    /// Authorization: URL asked for each publish and subscribe (`None` = off).
    #[serde(deserialize_with = "de_text_option")]
    pub acl_url: Option<String>,
    /// Fields of its body, with templates.
    pub acl_body: BTreeMap<String, String>,
    /// Certificate authorities for `https`; `None` = the system's.
    #[serde(deserialize_with = "de_path_option")]
    pub ca_file: Option<PathBuf>,
    /// Time to connect.
    #[serde(deserialize_with = "de_duration")]
    pub connect_timeout: Duration,
    /// Time for a whole answer.
    #[serde(deserialize_with = "de_duration")]
    pub request_timeout: Duration,
    /// Connections kept.
    pub pool_size: usize,
    /// How long an answer is reused; zero = not at all.
    #[serde(deserialize_with = "de_duration")]
    pub cache_ttl: Duration,
    /// Answers kept.
    pub cache_max: usize,
    /// Failures in a row that open the circuit breaker.
    pub breaker_failures: u32,
    /// How long it stays open.
    #[serde(deserialize_with = "de_duration")]
    pub breaker_open: Duration,
}

/// Method of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpMethod {
    /// Fields in the query.
    Get,
    /// Fields in the body.
    Post,
}

/// `[auth.scram]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScramConfig {
    /// File of SCRAM-SHA-256 verifiers.
    pub path: PathBuf,
    /// Iterations told for users that do not exist, and used for new ones.
    pub iteration_count: u32,
}

/// What a denied publication gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyAction {
    /// The reason code; the connection stays.
    Ignore,
    /// The connection is closed.
    Disconnect,
}

/// `[acl]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclConfig {
    /// The rule file; `None` = the built-in rules.
    #[serde(deserialize_with = "de_path_option")]
    pub file: Option<PathBuf>,
    /// What a denied publication gets.
    pub deny_action: DenyAction,
    /// Whether a denied SUBSCRIBE or PUBLISH is told that it was denied, or only that it failed.
    pub tell_reason: bool,
    /// Whether a reload meets live clients.
    pub recheck_on_reload: bool,
}

/// What an automatic ban counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanOn {
    /// Failed authentications.
    AuthnFail,
    /// Accepted connections.
    Connect,
    /// Protocol errors.
    ProtoError,
    /// Denials by the ACL.
    AclDeny,
}

/// What an automatic ban counts by, and bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanBy {
    /// The prefix of the client's address; only kind=client.
    Prefix,
    /// The client id.
    Clientid,
    /// The username.
    Username,
}

/// One `[[bans.auto]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoBan {
    /// Name in audit and `ban list`.
    pub name: String,
    /// What is counted.
    pub on: BanOn,
    /// This many...
    pub count: u32,
    /// ...within this time.
    #[serde(deserialize_with = "de_duration")]
    pub window: Duration,
    /// Length of the first ban; doubles at each repeat.
    #[serde(deserialize_with = "de_duration")]
    pub ban: Duration,
    /// Longest ban.
    #[serde(deserialize_with = "de_duration")]
    pub ban_max: Duration,
    /// Only tell, do not ban.
    pub dry_run: bool,
    /// What is counted by, and banned.
    pub by: BanBy,
}

/// `[bans]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BansConfig {
    /// Bans kept.
    pub max_entries: usize,
    /// Ranges never banned without `--force` (`@name`, `@loopback`, `@private`); `@proxies` always are.
    pub protect: Vec<String>,
    /// `[[bans.auto]]`
    #[serde(default)]
    pub auto: Vec<AutoBan>,
}

/// What a publisher over its quota gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishOver {
    /// It is not read for a while.
    Slow,
    /// Reason code 0x97.
    Refuse,
}

/// `[quota]`: the limits of each client prefix, and the rest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaConfig {
    /// Length of an IPv4 prefix, 8-32.
    pub v4_prefix: u8,
    /// Length of an IPv6 prefix, 16-128.
    pub v6_prefix: u8,
    /// Prefixes counted at a time; the least recently used leave.
    pub max_keys: usize,
    /// Connections of a prefix.
    pub max_connections: Limit,
    /// Connections of a prefix without a CONNECT yet.
    pub max_pending: Limit,
    /// New connections of a prefix.
    pub connect_rate: RateLimit,
    /// New connections of a prefix at once.
    pub connect_burst: Limit,
    /// Messages published by a prefix.
    pub publish_rate: RateLimit,
    /// Bytes published by a prefix.
    pub publish_bytes: RateLimit,
    /// Subscriptions of a prefix.
    pub max_subscriptions: Limit,
    /// What happens beyond `publish_rate` and `publish_bytes`.
    pub publish_over: PublishOver,
    /// `[[quota.override]]`: other limits for some networks; the longest prefix wins.
    #[serde(default, rename = "override")]
    pub overrides: Vec<QuotaOverride>,
    /// `[quota.user]`: limits of each username.
    pub user: QuotaLimits,
    /// `[quota.listener]`: limits of each listener as a whole.
    pub listener: QuotaLimits,
}

/// The limits of a username or of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaLimits {
    /// Connections.
    pub max_connections: Limit,
    /// New connections.
    pub connect_rate: RateLimit,
    /// New connections at once.
    pub connect_burst: Limit,
    /// Messages published.
    pub publish_rate: RateLimit,
    /// Bytes published.
    pub publish_bytes: RateLimit,
    /// Subscriptions.
    pub max_subscriptions: Limit,
}

/// One `[[quota.override]]`; `None` = as in `[quota]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaOverride {
    /// Ranges it is for (`@name` too).
    pub nets: Vec<String>,
    /// Connections.
    pub max_connections: Option<Limit>,
    /// Connections without a CONNECT yet.
    pub max_pending: Option<Limit>,
    /// New connections.
    pub connect_rate: Option<RateLimit>,
    /// New connections at once.
    pub connect_burst: Option<Limit>,
    /// Messages published.
    pub publish_rate: Option<RateLimit>,
    /// Bytes published.
    pub publish_bytes: Option<RateLimit>,
    /// Subscriptions.
    pub max_subscriptions: Option<Limit>,
}

impl QuotaConfig {
    /// The rate A, B, C of peername 12 as text settings make it: `None` when the rate is unlimited.
    pub fn connect_rate_per_second(&self) -> Option<f64> {
        self.connect_rate.get().map(Rate::per_second)
    }
}
