//! `[bans]` and `[quota]` of the configuration, turned into what `auth` takes.

use std::sync::Arc;

use auth::auto_ban::{AutoRule, By, On};
use auth::bans::BanLimits;
use auth::nets::{LOOPBACK, NetSet};
use auth::quota::{Limits, PublishOver, QuotaConfig, Rate};
use ipnet::IpNet;

use crate::config::{self, BanBy, BanOn, Config, Limit, RateLimit};
use crate::rules;

/// `[bans]` without its rules.
pub fn bans(config: &Config) -> BanLimits {
    let proxies: Vec<IpNet> = rules::environment(config)
        .proxies
        .iter()
        .filter_map(range_net)
        .collect();
    let mut protect = Vec::new();
    let mut unix = false;
    for text in &config.bans.protect {
        match text.as_str() {
            "@loopback" => {
                protect.extend(LOOPBACK);
                unix = true;
            }
            "@proxies" => protect.extend(proxies.iter().copied()),
            text => protect.extend(nets(config, text)),
        }
    }
    BanLimits {
        max_entries: config.bans.max_entries,
        protect: NetSet::new(protect, unix),
        proxies: NetSet::new(proxies, false),
    }
}

/// The ranges of one entry of a list: an address, a CIDR or `@name` of `[networks]`.
fn nets(config: &Config, text: &str) -> Vec<IpNet> {
    match text.strip_prefix('@') {
        Some(name) => {
            let listed = config.networks.get(name).map(Vec::as_slice).unwrap_or_default();
            listed
                .iter()
                .filter_map(|text| auth::nets::parse_net(text).ok())
                .collect()
        }
        None => auth::nets::parse_net(text).into_iter().collect(),
    }
}

/// `[[bans.auto]]`.
pub fn auto_rules(config: &Config) -> Vec<AutoRule> {
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let rule = |rule: &config::AutoBan| AutoRule {
        name: Arc::from(rule.name.as_str()),
        on: match rule.on {
            BanOn::AuthnFail => On::AuthnFail,
            BanOn::Connect => On::Connect,
            BanOn::ProtoError => On::ProtoError,
            BanOn::AclDeny => On::AclDeny,
        },
        count: rule.count,
        window_ms: ms(rule.window),
        ban_ms: ms(rule.ban),
        ban_max_ms: ms(rule.ban_max),
        dry_run: rule.dry_run,
        by: match rule.by {
            BanBy::Prefix => By::Prefix,
            BanBy::Clientid => By::ClientId,
            BanBy::Username => By::Username,
        },
    };
    config.bans.auto.iter().map(rule).collect()
}

fn number(limit: Limit) -> Option<u32> {
    limit.get().map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn rate(limit: RateLimit) -> Option<Rate> {
    let rate = limit.get()?;
    let seconds = u32::try_from(rate.per.as_secs()).unwrap_or(u32::MAX);
    Some(Rate {
        count: rate.count,
        seconds,
    })
}

fn limits(limits: &config::QuotaLimits) -> Limits {
    Limits {
        max_connections: number(limits.max_connections),
        max_pending: None,
        connect_rate: rate(limits.connect_rate),
        connect_burst: number(limits.connect_burst),
        publish_rate: rate(limits.publish_rate),
        publish_bytes: rate(limits.publish_bytes),
        max_subscriptions: number(limits.max_subscriptions),
    }
}

/// `[quota]`.
pub fn quota(config: &Config) -> QuotaConfig {
    let quota = &config.quota;
    let prefix = Limits {
        max_connections: number(quota.max_connections),
        max_pending: number(quota.max_pending),
        connect_rate: rate(quota.connect_rate),
        connect_burst: number(quota.connect_burst),
        publish_rate: rate(quota.publish_rate),
        publish_bytes: rate(quota.publish_bytes),
        max_subscriptions: number(quota.max_subscriptions),
    };
    let mut overrides = Vec::new();
    for over in &quota.overrides {
        let limits = Limits {
            max_connections: over.max_connections.map_or(prefix.max_connections, number),
            max_pending: over.max_pending.map_or(prefix.max_pending, number),
            connect_rate: over.connect_rate.map_or(prefix.connect_rate, rate),
            connect_burst: over.connect_burst.map_or(prefix.connect_burst, number),
            publish_rate: over.publish_rate.map_or(prefix.publish_rate, rate),
            publish_bytes: over.publish_bytes.map_or(prefix.publish_bytes, rate),
            max_subscriptions: over.max_subscriptions.map_or(prefix.max_subscriptions, number),
        };
        for text in &over.nets {
            overrides.extend(nets(config, text).into_iter().map(|net| (net, limits)));
        }
    }
    QuotaConfig {
        v4_prefix: quota.v4_prefix,
        v6_prefix: quota.v6_prefix,
        max_keys: quota.max_keys,
        prefix,
        overrides,
        user: limits(&quota.user),
        listener: limits(&quota.listener),
        publish_over: match quota.publish_over {
            config::PublishOver::Slow => PublishOver::Slow,
            config::PublishOver::Refuse => PublishOver::Refuse,
        },
    }
}

fn range_net(range: &peer::Range) -> Option<IpNet> {
    match range {
        peer::Range::Net(net) => Some(*net),
        peer::Range::Unix => None,
    }
}
