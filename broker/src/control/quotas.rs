//! Quotas by prefix, as `ctl quota` shows them.

use std::net::IpAddr;

use auth::quota::{Limits, Prefix, Rate, Reading};
use peer::Addr;

use super::Control;
use crate::admin::problem::Failure;
use crate::admin::views::{List, Meta, PAGE_MAX, Page, QuotaLimits, QuotaView};

impl Control {
    /// The busiest prefixes first; the cursor is the place in that order.
    pub(super) fn quota_views(&self, page: &Page) -> Result<List<QuotaView>, Failure> {
        let from = match &page.after {
            Some(after) => after
                .parse::<usize>()
                .map_err(|_| Failure::Usage("after: a place".to_owned()))?,
            None => 0,
        };
        let now = self.node.clock.nanos();
        let all = self.node.gate.with_quota(|quota| quota.prefixes(now));
        let total = all.len();
        let until = from.saturating_add(page.limit.clamp(1, PAGE_MAX)).min(total);
        let data = all
            .get(from..until)
            .unwrap_or_default()
            .iter()
            .map(|(prefix, reading)| view(prefix, reading));
        let meta = Meta {
            next: (until < total).then(|| until.to_string()),
            total: total as u64,
        };
        Ok(List {
            data: data.collect(),
            meta,
        })
    }

    pub(super) fn quota_view(&self, address: &str) -> Result<QuotaView, Failure> {
        let addr = parse(address)?;
        let now = self.node.clock.nanos();
        let (prefix, reading) = self.node.gate.with_quota(|quota| quota.show(&addr, now));
        let reading = reading.ok_or_else(|| Failure::NotFound(format!("quota of {prefix}")))?;
        Ok(view(&prefix, &reading))
    }

    pub(super) fn reset_quota_of(&self, address: &str) -> Result<QuotaView, Failure> {
        let addr = parse(address)?;
        self.node.gate.with_quota(|quota| quota.reset(&addr));
        self.quota_view(address)
    }
}

/// An address, or a prefix by its address.
fn parse(text: &str) -> Result<Addr, Failure> {
    let address = text.split('/').next().unwrap_or(text);
    if address == "unix" {
        return address
            .parse()
            .map_err(|_| Failure::Internal("unix is an address".to_owned()));
    }
    let ip: Result<IpAddr, _> = address.parse();
    ip.map(|ip| Addr::new(ip, 0))
        .map_err(|_| Failure::Usage(format!("`{text}` is no address and no prefix")))
}

fn view(prefix: &Prefix, reading: &Reading) -> QuotaView {
    QuotaView {
        prefix: prefix.to_string(),
        connections: reading.connections.into(),
        pending: reading.pending.into(),
        subscriptions: reading.subscriptions.into(),
        rejected: reading.refused,
        limits: limits(&reading.limits),
    }
}

fn limits(limits: &Limits) -> QuotaLimits {
    let per_second = |rate: Rate| rate.count as f64 / f64::from(rate.seconds.max(1));
    QuotaLimits {
        max_connections: limits.max_connections.map(Into::into),
        max_pending: limits.max_pending.map(Into::into),
        connect_rate: limits.connect_rate.map(per_second),
        publish_rate: limits.publish_rate.map(per_second),
        publish_bytes: limits.publish_bytes.map(per_second),
        max_subscriptions: limits.max_subscriptions.map(Into::into),
    }
}
