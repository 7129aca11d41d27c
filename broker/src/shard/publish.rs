//! Publishing on a shard: the route, the local receivers, what goes to other shards.
//!
//! What does not live here: permission and acknowledgement (`packets.rs`), the bytes (`session::publish_out`).

use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use super::inbox::{Crossing, Receivers};
use crate::metrics::DropReason;
use crate::router::route::{RETAIN_AS_PUBLISHED, Target};
use crate::router::shared::Choice;
use crate::router::trie::SessionRef;
use crate::session::message::Publication;
use crate::session::publish_out::{Delivered, Delivery};
use crate::session::queue::Queued;
use crate::store;

/// Bytes a connection may have waiting before QoS 0 messages to it are dropped. Publishers wait long before.
pub(super) const BUFFER_MAX: usize = 4 * 1024 * 1024;

/// One in so many publications is timed for the metrics.
const TIMED_EVERY: u32 = 64;

impl Shard {
    /// Delivers a publication to everybody who subscribed; returns whether anybody did.
    pub fn publish(&mut self, publication: &mut Publication<'_>) -> bool {
        self.routed = self.routed.wrapping_add(1);
        if !self.routed.is_multiple_of(TIMED_EVERY) {
            return self.route(publication);
        }
        let begin = Instant::now();
        let found = self.route(publication);
        self.node.offline[usize::from(self.index)]
            .publish_route
            .record(begin.elapsed());
        found
    }

    fn route(&mut self, publication: &mut Publication<'_>) -> bool {
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
            let debt = self.debt_of(publication);
            self.cross(
                shard,
                Crossing {
                    message,
                    to: Receivers::Route(Arc::clone(&route)),
                    from,
                    debt,
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
                let debt = self.debt_of(publication);
                let crossing = Crossing {
                    message: publication.share(),
                    to: Receivers::One(target),
                    from: publication.publisher,
                    debt,
                };
                self.cross(shard, crossing);
            }
        }
        let ticket = self.write_enqueued(publication);
        if publication.answered {
            self.owe_queue(ticket);
        }
        true
    }

    /// The number under which another shard reports what it wrote of this publication, if anybody waits for that.
    fn debt_of(&mut self, publication: &Publication<'_>) -> Option<(u16, u64)> {
        (publication.answered && self.keeps()).then(|| (self.index, self.owe_remote()))
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
                let targets = route
                    .shards
                    .get(usize::from(self.index))
                    .map_or(&[][..], |targets| targets);
                let many = targets.len() > 1;
                for target in targets {
                    self.deliver(&mut publication, target, many);
                }
            }
        }
        let ticket = self.write_enqueued(&publication);
        if let Some((shard, number)) = crossing.debt {
            self.written[usize::from(shard)].push((number, ticket));
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
        let (sid, qos) = (client.session.sid, publication.qos.min(target.qos()));
        let stored = if qos > 0 && client.session.kept {
            if self.enqueue.mid == 0 {
                self.enqueue.mid = self.node.store.next_mid();
            }
            self.enqueue.mid
        } else {
            0
        };
        let cx = Delivery {
            now: self.now,
            limits: &limits,
            queue_qos0,
            buffer_max: BUFFER_MAX,
            stored,
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
        if stored > 0 && matches!(delivered, Delivered::Sent | Delivered::Queued) {
            let sent = client.session.take_sent();
            let retain = publication.retain && target.options & RETAIN_AS_PUBLISHED != 0;
            let kept = store::Target {
                sid,
                qos,
                retain,
                identifiers: target.identifiers.as_slice().iter().copied().collect(),
                ..store::Target::default()
            };
            self.enqueue
                .note(kept, sent.last().map(|&(_, packet_id)| packet_id));
        }
        self.account(delivered, target.slot, qos, before, publication.publisher);
        for item in &gone {
            self.count_drop(DropReason::QueueFull);
            if item.stored != stored {
                self.forget(sid, item);
            }
        }
    }

    /// Counts a delivery, has the connection written at the end of the turn, and slows the publisher if it is full.
    fn account(
        &mut self,
        delivered: Delivered,
        slot: u32,
        qos: u8,
        before: usize,
        publisher: Option<SessionRef>,
    ) {
        match delivered {
            Delivered::Sent => {
                let client = self.clients.get_mut(slot as usize).and_then(Option::as_mut);
                let Some(conn) = client.and_then(|c| c.conn.as_mut()) else {
                    return;
                };
                let waiting = conn.out.len();
                self.unflushed += waiting - before;
                conn.counters.messages_sent[usize::from(qos)].inc();
                conn.counters.packets_sent[3].inc();
                if !conn.dirty {
                    conn.dirty = true;
                    self.dirty.push(slot);
                }
                if waiting > super::pressure::HIGH {
                    self.press(slot, publisher);
                }
            }
            Delivered::Dropped(reason) => self.count_drop(reason),
            Delivered::Queued | Delivered::NotForIt => {}
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
