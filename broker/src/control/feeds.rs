//! What goes on arriving: audit events for live readers, the newest records, the log's head.

use futures_util::stream::{self, StreamExt};
use ipnet::IpNet;

use super::Control;
use crate::admin::backend::Items;
use crate::admin::views::{AuditFilter, AuditHeadView, EventFilter, StreamItem};
use crate::audit::{Record, Subscription};

impl Control {
    /// Audit events from memory after `filter.since`, then live.
    pub(super) fn event_items(&self, filter: EventFilter) -> Items {
        let reader = self.node.audit.subscribe(filter.since);
        stream::unfold(
            (reader, filter),
            |(mut reader, filter): (Subscription, EventFilter)| async {
                let batch = reader.next().await;
                let mut items = Vec::new();
                if batch.lagged > 0 {
                    items.push(StreamItem::Lagged(batch.lagged));
                }
                items.extend(
                    batch
                        .records
                        .iter()
                        .filter(|record| wanted(&filter, record))
                        .filter_map(item),
                );
                Some((stream::iter(items), (reader, filter)))
            },
        )
        .flatten()
        .boxed()
    }

    /// The newest records in memory, oldest first.
    pub(super) fn audit_records(&self, filter: &AuditFilter) -> Vec<serde_json::Value> {
        let keep = |record: &Record| wanted(&filter.events, record);
        let records = self.node.audit.recent(filter.events.since, filter.limit, keep);
        records
            .iter()
            .filter_map(|record| serde_json::from_str(&record.line).ok())
            .collect()
    }

    /// Where the log stands.
    pub(super) fn audit_head_view(&self) -> AuditHeadView {
        let newest = self.node.audit.recent(None, 1, |_| true);
        AuditHeadView {
            seq: newest.first().map_or(0, |record| record.seq),
            hash: self.node.audit.head().map(|head| head.hash),
            dropped: self.node.audit.stats().dropped,
        }
    }
}

fn wanted(filter: &EventFilter, record: &Record) -> bool {
    let type_wanted = filter.types.is_empty() || filter.types.iter().any(|t| t == record.event.as_str());
    let covers = |net: &IpNet| record.peer_ip.is_some_and(|ip| net.contains(&ip));
    type_wanted && (filter.ip.is_empty() || filter.ip.iter().any(covers))
}

fn item(record: &Record) -> Option<StreamItem> {
    Some(StreamItem::Record {
        event: record.event.as_str().to_owned(),
        id: Some(record.seq),
        data: serde_json::from_str(&record.line).ok()?,
    })
}
