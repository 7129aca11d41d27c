//! Publishing on a shard: the route, the local receivers, what goes to other shards.
//!
//! What does not live here: permission and acknowledgement (`packets.rs`), the bytes (`session::publish_out`).

use std::sync::Arc;

use super::Shard;
use super::inbox::{Crossing, Receivers};
use crate::metrics::DropReason;
use crate::router::route::Target;
use crate::router::shared::Choice;
use crate::router::trie::SessionRef;
use crate::session::message::Publication;
use crate::session::publish_out::{Delivered, Delivery};
use crate::session::queue::Queued;

/// Bytes a connection may have waiting before QoS 0 messages to it are dropped. Publishers wait long before.
pub(super) const BUFFER_MAX: usize = 4 * 1024 * 1024;

impl Shard {
    /// Delivers a publication to everybody who subscribed; returns whether anybody did.
    pub fn publish(&mut self, publication: &mut Publication<'_>) -> bool {
        let route = self.node.router.route(publication.topic, &mut self.routes);
        if route.is_empty() {
            return false;
        }
        self.frames.clear();
        for (shard, targets) in route.shards.iter().enumerate() {
            if targets.is_empty() {
                continue;
            }
            if shard == usize::from(self.index) {
                let many = targets.len() > 1;
                for target in targets {
                    self.deliver(publication, target, many);
                }
                continue;
            }
            let message = publication.share();
            let from = publication.publisher;
            self.cross(
                shard,
                Crossing {
                    message,
                    to: Receivers::Route(Arc::clone(&route)),
                    from,
                },
            );
        }
        for group in &route.groups {
            let choice = self.choice(publication);
            let Some(member) = group.choose(choice) else {
                continue;
            };
            let target = Target::of(&member);
            let shard = usize::from(member.session.shard);
            if shard == usize::from(self.index) {
                self.deliver(publication, &target, false);
            } else {
                let crossing = Crossing {
                    message: publication.share(),
                    to: Receivers::One(target),
                    from: publication.publisher,
                };
                self.cross(shard, crossing);
            }
        }
        true
    }

    fn cross(&mut self, shard: usize, crossing: Crossing) {
        let from = crossing.from;
        self.crossing[shard].push(crossing);
        if let Some(publisher) = from
            && self.node.inboxes[shard].is_full()
        {
            self.wait_for_shard(publisher, shard);
        }
    }

    /// Messages from another shard.
    pub(super) fn arrive(&mut self, crossing: &Crossing) {
        let mut publication = Publication::of(&crossing.message);
        self.frames.clear();
        match &crossing.to {
            Receivers::One(target) => self.deliver(&mut publication, target, false),
            Receivers::Route(route) => {
                let Some(targets) = route.shards.get(usize::from(self.index)) else {
                    return;
                };
                let many = targets.len() > 1;
                for target in targets {
                    self.deliver(&mut publication, target, many);
                }
            }
        }
    }

    fn deliver(&mut self, publication: &mut Publication<'_>, target: &Target, many: bool) {
        let Some(client) = self
            .clients
            .get_mut(target.slot as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        if client.session.me.serial != target.serial {
            return;
        }
        let mqtt = client
            .conn
            .as_ref()
            .map_or(&self.snapshot.mqtt, |conn| &conn.listener.mqtt);
        let (limits, queue_qos0) = (mqtt.queue, mqtt.queue_qos0);
        let cx = Delivery {
            now: self.now,
            limits: &limits,
            queue_qos0,
            buffer_max: BUFFER_MAX,
        };
        let mut gone: Vec<Queued> = Vec::new();
        let (out, before) = match client.conn.as_mut() {
            Some(conn) => {
                if let Some(spare) = conn.out.owns_nothing().then(|| self.spare.pop()).flatten() {
                    conn.out = listeners::OutBuf::with_buffer(spare);
                }
                let before = conn.out.len();
                (Some(&mut conn.out), before)
            }
            None => (None, 0),
        };
        let frames = many.then_some(&mut self.frames);
        let delivered = client
            .session
            .deliver(publication, target, &cx, frames, out, &mut gone);
        match delivered {
            Delivered::Sent => {
                let Some(conn) = client.conn.as_mut() else { return };
                let waiting = conn.out.len();
                self.unflushed += waiting - before;
                conn.counters.messages_sent[usize::from(publication.qos.min(target.qos()))].inc();
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(target.slot);
                }
                if waiting > super::pressure::HIGH {
                    self.press(target.slot, publication.publisher);
                }
            }
            Delivered::Dropped(reason) => self.count_drop(reason),
            Delivered::Queued | Delivered::NotForIt => {}
        }
        for _ in &gone {
            self.count_drop(DropReason::QueueFull);
        }
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        self.node.offline[usize::from(self.index)].drop_messages(reason, 1);
    }

    fn choice(&mut self, publication: &Publication<'_>) -> Choice {
        use std::hash::BuildHasher;
        let hasher = &self.node.hasher;
        let client_id = publication.publisher.and_then(|who: SessionRef| {
            let client = self.clients.get(who.slot as usize)?.as_ref()?;
            Some(hasher.hash_one(&*client.session.client_id))
        });
        Choice {
            strategy: self.snapshot.mqtt.shared_strategy,
            client_hash: client_id.unwrap_or(0),
            topic_hash: hasher.hash_one(publication.topic),
            random: self.node.random(),
            shard: self.index,
        }
    }
}
