//! Retained messages on a shard: keeping them, and sending them to a new subscription portion by portion.

use std::sync::Arc;

use super::{Shard, with};
use crate::router::retained::RetainedLimits;
use crate::router::route::{Identifiers, NO_LOCAL};
use crate::router::trie::SessionRef;
use crate::session::message::Publication;
use crate::session::publish_out::{Delivered, Delivery};

/// Retained messages looked up at once; others have their turn in between.
const PORTION: usize = 256;

impl Shard {
    /// Keeps or deletes the topic's retained message ([MQTT-3.3.1-5] to [MQTT-3.3.1-7]); false if a limit forbids it.
    pub(super) fn retain(&mut self, publication: &mut Publication<'_>) -> bool {
        if publication.payload.is_empty() {
            if self.node.retained.delete(publication.topic) {
                self.forget_retained(publication.topic);
            }
            return true;
        }
        let limits: RetainedLimits = self.snapshot.retained;
        let message = publication.share();
        let kept = self.node.retained.put(Arc::clone(&message), limits);
        if kept {
            self.remember_retained(&message);
        }
        kept
    }

    /// Sends the retained messages that match a new subscription.
    pub(super) fn send_retained(&mut self, who: SessionRef, filter: &str, options: u8, id: u32) {
        let after = self.send_portion(who, filter, options, id, None);
        let Some(after) = after else { return };
        let filter = filter.to_owned();
        tokio::spawn(async move {
            let mut after = Some(after);
            while let Some(topic) = after {
                // Others first; and if the receiver is full, after it has read something.
                wait_for_room(who).await;
                let next = with(|shard| shard.send_portion(who, &filter, options, id, Some(&topic)));
                after = next.flatten();
            }
        });
    }

    /// Sends one portion; where to go on.
    fn send_portion(
        &mut self,
        who: SessionRef,
        filter: &str,
        options: u8,
        id: u32,
        after: Option<&str>,
    ) -> Option<String> {
        let now = self.now;
        let filter_id = self.node.router.find(filter)?;
        if !self.client(who)?.session.subscriptions.contains(filter_id, None) {
            return None; // Unsubscribed between two portions ([MQTT-3.10.4-2]).
        }
        let portion = self.node.retained.scan(filter, after, PORTION, now);
        let identifiers = if id == 0 {
            Identifiers::None
        } else {
            Identifiers::One(id)
        };
        let mut gone = Vec::new();
        for message in &portion.messages {
            if options & NO_LOCAL != 0 && message.publisher == Some(who) {
                continue; // [MQTT-3.8.3-3]
            }
            let mut publication = Publication::of(message);
            let qos = publication.qos.min(options & 0b11);
            let client = self.client(who)?;
            let conn = client.conn.as_mut()?;
            let cx = Delivery {
                now,
                limits: &conn.listener.mqtt.queue,
                queue_qos0: false,
                buffer_max: super::publish::BUFFER_MAX,
                stored: 0,
                held: false,
            };
            // A retained message sent because of a new subscription says so ([MQTT-3.3.1-8]).
            let delivered = client.session.deliver_as(
                &mut publication,
                qos,
                true,
                &identifiers,
                &cx,
                None,
                Some(&mut conn.out),
                &mut gone,
            );
            if let Delivered::Dropped(reason) = delivered {
                self.count_drop(reason);
            }
        }
        if !portion.messages.is_empty() {
            self.touch(who.slot);
        }
        portion.after
    }

    /// True if the client is gone or has room for another portion.
    fn has_room(&mut self, who: SessionRef) -> bool {
        let Some(client) = self.client(who) else {
            return true;
        };
        let queued = client.session.queued();
        client
            .conn
            .as_ref()
            .is_none_or(|conn| conn.out.len() < super::pressure::HIGH && queued < PORTION)
    }
}

async fn wait_for_room(who: SessionRef) {
    tokio::task::yield_now().await;
    while !with(|shard| shard.has_room(who)).unwrap_or(true) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
