//! Clients: the view, the filters of `clients list`, and kick.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::time::Timestamp;

/// Whether the peername is the client's or the chain ended at one of our own proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The end of the chain that can be verified.
    Client,
    /// One of our own proxies; the client is unknown.
    Proxy,
}

/// Where the peername's address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The socket itself.
    Socket,
    /// A PROXY v1 header.
    ProxyV1,
    /// A PROXY v2 header.
    ProxyV2,
    /// An HTTP address header.
    Header,
}

/// Who ended the client's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// No TLS that we know of.
    No,
    /// We did.
    Yes,
    /// A trusted proxy, as its PROXY header says.
    Proxy,
}

macro_rules! words {
    ($type:ident, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// The word used in config, ACL, CLI, API and audit.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads that word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
words!(Kind, Client = "client", Proxy = "proxy");
words!(
    Via,
    Socket = "socket",
    ProxyV1 = "proxy_v1",
    ProxyV2 = "proxy_v2",
    Header = "header"
);
words!(Tls, No = "no", Yes = "yes", Proxy = "proxy");

/// Which header named the client, and how it was read (via=header only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderView {
    /// The field's name as configured.
    pub name: String,
    /// The strategy.
    pub strategy: String,
    /// The element taken, from 0 at the left.
    pub index: u32,
}

/// One client, connected or with a stored session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientView {
    /// The client id.
    pub clientid: String,
    /// The username in force (a certificate's or TLV's, where configured), if any.
    pub username: Option<String>,
    /// `peerhost:peerport`, the resolved client address; `:0` = port unknown; `unix`.
    pub peername: String,
    /// Its address.
    pub peerhost: String,
    /// Its port; 0 = unknown.
    pub peerport: u16,
    /// Whose address that is.
    pub kind: Kind,
    /// Where it came from.
    pub via: Via,
    /// The header it came from (via=header).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderView>,
    /// Address and port of the TCP peer.
    pub socket: String,
    /// The address after the PROXY stage.
    pub hop: String,
    /// The proxies passed, nearest first.
    pub chain: Vec<String>,
    /// A left-hand header value, possibly forged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// `W_` codes.
    pub warnings: Vec<String>,
    /// The listener's name.
    pub listener: String,
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub proto_ver: u8,
    /// Who ended TLS.
    pub tls: Tls,
    /// Clean start, or clean session of 3.x.
    pub clean_start: bool,
    /// Seconds in force; 0 = off.
    pub keepalive: u16,
    /// Seconds; 4294967295 = never.
    pub session_expiry_interval: u32,
    /// Subscriptions held.
    pub subscriptions: u64,
    /// QoS 1 and 2 messages sent to it and not yet acknowledged.
    pub inflight: u64,
    /// QoS 2 messages received from it that wait for PUBREL.
    pub awaiting_rel: u64,
    /// Messages delivered to it since the session began.
    pub delivered_msgs: u64,
    /// Messages waiting in its queue.
    pub enqueued_msgs: u64,
    /// Messages dropped for it.
    pub dropped_msgs: u64,
    /// Connected now.
    pub connected: bool,
    /// When the session began.
    pub created_at: Timestamp,
    /// When it connected last.
    pub connected_at: Timestamp,
    /// When it went, if it is offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Timestamp>,
    /// TLV facts of a PROXY v2 header (peername 5.4), when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub info: Option<Value>,
}

/// Filters of `clients list`; all must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientFilter {
    /// The peername's address lies in one of these (`@name` is replaced before).
    pub ip: Vec<IpNet>,
    /// The socket's address lies in one of these.
    pub socket: Vec<IpNet>,
    /// Kind.
    pub kind: Option<Kind>,
    /// Via.
    pub via: Option<Via>,
    /// Username glob (`*`, `?`).
    pub user: Option<String>,
    /// Listener name.
    pub listener: Option<String>,
    /// Order; ids by default.
    pub sort: ClientSort,
}

/// Orders of `clients list --sort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientSort {
    /// By client id.
    #[default]
    Clientid,
    /// By peername.
    Peername,
    /// By socket address.
    Socket,
    /// By connect time, the oldest first.
    ConnectedAt,
    /// By number of subscriptions, most first.
    Subscriptions,
    /// By queue length, longest first.
    EnqueuedMsgs,
    /// By drops, most first.
    DroppedMsgs,
}

/// The address of `ip:port`, `[ip]:port`; none for `unix`.
pub fn address_of(text: &str) -> Option<IpAddr> {
    let (host, _) = text.rsplit_once(':')?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Glob with `*` and `?` over the whole text.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

impl ClientFilter {
    /// Does this client pass all filters?
    pub fn matches(&self, client: &ClientView) -> bool {
        let within = |nets: &[IpNet], address: Option<IpAddr>| {
            nets.is_empty() || address.is_some_and(|a| nets.iter().any(|net| net.contains(&a)))
        };
        within(&self.ip, client.peerhost.parse().ok())
            && within(&self.socket, address_of(&client.socket))
            && self.kind.is_none_or(|kind| kind == client.kind)
            && self.via.is_none_or(|via| via == client.via)
            && self.listener.as_ref().is_none_or(|name| *name == client.listener)
            && self
                .user
                .as_ref()
                .is_none_or(|pattern| client.username.as_ref().is_some_and(|u| glob(pattern, u)))
    }

    /// The text by which clients are ordered, ascending; unique, so it is the cursor too.
    pub fn cursor(&self, client: &ClientView) -> String {
        let most_first = |n: u64| format!("{:020}", u64::MAX - n);
        let key = match self.sort {
            ClientSort::Clientid => return client.clientid.clone(),
            ClientSort::Peername => sortable(&client.peername),
            ClientSort::Socket => sortable(&client.socket),
            ClientSort::ConnectedAt => format!("{:020}", client.connected_at.0),
            ClientSort::Subscriptions => most_first(client.subscriptions),
            ClientSort::EnqueuedMsgs => most_first(client.enqueued_msgs),
            ClientSort::DroppedMsgs => most_first(client.dropped_msgs),
        };
        format!("{key} {}", client.clientid)
    }
}

/// An `ip:port` such that texts sort as addresses do: IPv4 first, then by number.
fn sortable(address: &str) -> String {
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok())
        .unwrap_or(0);
    match address_of(address) {
        Some(IpAddr::V4(ip)) => format!("4{:08x}{port:05}", u32::from(ip)),
        Some(IpAddr::V6(ip)) => format!("6{:032x}{port:05}", u128::from(ip)),
        None => format!("u{address}"),
    }
}

/// Who is to be disconnected: one client, or all that match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KickRequest {
    /// This client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clientid: Option<String>,
    /// All whose peername lies in this CIDR or `@name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// All whose username matches this glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For the audit log and the DISCONNECT's reason string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Also ban what was named for so long (`10m`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<String>,
    /// Only say who would be met.
    #[serde(default)]
    pub dry_run: bool,
}

/// Who was disconnected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KickView {
    /// How many.
    pub kicked: u64,
    /// Their ids, at most 1,000.
    pub clients: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("ops-*", "ops-1", true),
            ("ops-*", "op-1", false),
            ("*a*b", "xxaxxb", true),
            ("*a*b", "xxaxxbc", false),
            ("?", "é", true),
            ("?", "", false),
            ("a*", "b", false),
        ] {
            assert_eq!(glob(pattern, text), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn addresses_sort_by_number() {
        let mut all = [
            "10.0.0.10:1",
            "10.0.0.9:20",
            "10.0.0.9:3",
            "[2001:db8::1]:1",
            "unix",
        ]
        .map(sortable);
        let expect = [
            all[2].clone(),
            all[1].clone(),
            all[0].clone(),
            all[3].clone(),
            all[4].clone(),
        ];
        all.sort();
        assert_eq!(all, expect);
    }
}
