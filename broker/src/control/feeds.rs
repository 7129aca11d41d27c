//! What goes on arriving: audit events for live readers, the newest records, the log's head.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use ipnet::IpNet;

use super::Control;
use super::clients::audit_actor;
use crate::admin::backend::Items;
use crate::admin::problem::Failure;
use crate::admin::views::{
    Actor, AuditFilter, AuditHeadView, EventFilter, StreamItem, TraceRequest, parse_duration,
};
use crate::audit::{self, Event, Record, Subscription};
use crate::trace;

/// A trace that names no time ends after so long.
const TRACE_LASTS: Duration = Duration::from_secs(600);

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

    /// Live packets; who looks at them is recorded.
    pub(super) fn begin_trace(&self, request: &TraceRequest, actor: &Actor) -> Result<Items, Failure> {
        let lasts = match &request.duration {
            Some(text) => {
                parse_duration(text).ok_or_else(|| Failure::Usage(format!("for: `{text}` is no duration")))?
            }
            None => TRACE_LASTS,
        };
        if let Some(topic) = &request.topic
            && let Err(error) = codec::TopicFilter::parse(topic, usize::MAX)
        {
            return Err(Failure::Usage(format!("topic: {error}")));
        }
        let filter = trace::Filter {
            client: request.client.clone(),
            ip: match &request.ip {
                Some(text) => self.ranges(text)?,
                None => Vec::new(),
            },
            topic: request.topic.clone(),
            payload: request.payload,
        };
        self.node.audit.record(Event::Admin(audit::AdminCall {
            actor: audit_actor(actor),
            call: "POST /traces".into(),
            success: true,
            changed: Vec::new(),
            errors: Vec::new(),
        }));
        Ok(self.node.tracer.begin(filter, lasts))
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
