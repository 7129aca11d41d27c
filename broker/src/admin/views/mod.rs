//! What the admin API shows: plain copies with exactly the JSON keys of operator-interface 4, in order.
//!
//! Here are the parts that all views share; one file per noun beside. No logic but formatting.

mod client;
mod config;
mod node;
mod peername;
mod policy;
mod session;
mod stream;
mod time;

pub use client::{
    ClientFilter, ClientSort, ClientView, HeaderView, KickRequest, KickView, Kind, Tls, Via, address_of, glob,
};
pub use config::{
    ConfigDiffRow, ConfigRow, LogLevelRequest, LogLevelView, PendingRestart, ReloadClients, ReloadRequest,
    ReloadView,
};
pub use node::{
    Checks, ClientCounts, DropView, FindingBrief, HealthView, ListenerView, StatsView, StatusView, StoreView,
};
pub use peername::{DoctorView, ExplainRequest, ExplainView, FindingView, Level, ProxyView};
pub use policy::{AclRuleView, AclTestRequest, AclTestView, BanRequest, BanView, QuotaLimits, QuotaView};
pub use session::{
    RetainedMessageView, RetainedView, SessionView, SubscriptionFilter, SubscriptionView, TopicView,
};
pub use stream::{Actor, AdminCall, AuditFilter, AuditHeadView, EventFilter, StreamItem, TraceRequest};
pub use time::{Timestamp, duration_text, parse_duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most entries one answer holds.
pub const PAGE_MAX: usize = 1000;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most this many, 1 to [`PAGE_MAX`].
    pub limit: usize,
    /// The `next` of the page before.
    pub after: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 100,
            after: None,
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The entries.
    pub data: Vec<T>,
    /// Where the page stands in the whole.
    pub meta: Meta,
}

/// Where a page stands in the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Meta {
    /// Cursor of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// All there are, before filter and page.
    pub total: u64,
}

impl<T> List<T> {
    /// Cuts `page` out of `items`, which are filtered and in the order of `cursor` (ascending, unique).
    /// `total` counts all there are before the filter.
    pub fn cut(items: Vec<T>, page: &Page, total: u64, cursor: impl Fn(&T) -> String) -> Self {
        let mut data: Vec<T> = match &page.after {
            Some(after) => items
                .into_iter()
                .skip_while(|item| cursor(item) <= *after)
                .collect(),
            None => items,
        };
        let limit = page.limit.clamp(1, PAGE_MAX);
        let more = data.len() > limit;
        data.truncate(limit);
        let next = if more { data.last().map(cursor) } else { None };
        Self {
            data,
            meta: Meta { next, total },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let all: Vec<String> = (0..25).map(|i| format!("c{i:02}")).collect();
        let mut page = Page {
            limit: 10,
            after: None,
        };
        let mut seen = Vec::new();
        loop {
            let list = List::cut(all.clone(), &page, 40, Clone::clone);
            assert_eq!(list.meta.total, 40);
            seen.extend(list.data);
            match list.meta.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }
}
