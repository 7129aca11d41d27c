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

/// What the store has, or is to have, of a delivery.
#[derive(Clone, Copy, Debug)]
enum Keep {
    /// It is to be written under this number if the receiver is kept; 0 = it is not.
    Yet(u64),
    /// The publisher's shard has written it.
    Done {
        /// For this session.
        sid: u64,
        /// Under this number.
        mid: u64,
    },
    /// Nothing.
    No,
}

impl Crossing {
    fn keep(&self, at: usize) -> Keep {
        match self.kept.get(at) {
            Some(&sid) if sid > 0 => Keep::Done { sid, mid: self.mid },
            _ => Keep::No,
        }
    }
}

fn to_keep(sid: u64, publication: &Publication<'_>, target: &Target) -> store::Target {
    store::Target {
        sid,
        qos: publication.qos.min(target.qos()),
        retain: publication.retain && target.options & RETAIN_AS_PUBLISHED != 0,
        identifiers: target.identifiers.as_slice().iter().copied().collect(),
        ..store::Target::default()
    }
}

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
        let routed = self.send_out(publication);
        let ticket = self.write_enqueued(publication);
        if publication.answered {
            self.owe_queue(ticket);
        }
        routed
    }

    /// True if somebody who is kept gets it, so that the store must take it. A shared group counts as such.
    pub(super) fn has_kept_receivers(&mut self, publication: &Publication<'_>) -> bool {
        let route = self.node.router.route(publication.topic, &mut self.routes);
        let mut shards = self.node.kept.iter().zip(&route.shards);
        publication.qos > 0
            && (!route.groups.is_empty()
                || shards.any(|(kept, targets)| {
                    targets.iter().any(|t| t.qos() > 0) && !kept.of(targets).is_empty()
                }))
    }

    fn send_out(&mut self, publication: &mut Publication<'_>) -> bool {
        let route = self.node.router.route(publication.topic, &mut self.routes);
        if route.is_empty() {
            return false;
        }
        self.frames.clear();
        let mid = self.number_of(publication);
        for (shard, targets) in route.shards.iter().enumerate() {
            if targets.is_empty() {
                continue;
            }
            if shard == usize::from(self.index) {
                let many = targets.len() > 1;
                for target in targets {
                    self.deliver(publication, target, many, Keep::Yet(mid));
                }
                continue;
            }
            let crossing = Crossing {
                message: publication.share(),
                to: Receivers::Route(Arc::clone(&route)),
                from: publication.publisher,
                mid,
                kept: self.keep_there(publication, shard, targets, mid),
            };
            self.cross(shard, crossing);
        }
        for group in &route.groups {
            let choice = self.choice(publication);
            let Some(member) = group.choose(choice) else {
                continue;
            };
            let target = Target::of(&member);
            let shard = usize::from(member.session.shard);
            // The member may get the message for itself too.
            let mid = self.number_of(publication);
            if shard == usize::from(self.index) {
                self.deliver(publication, &target, false, Keep::Yet(mid));
            } else {
                let crossing = Crossing {
                    message: publication.share(),
                    from: publication.publisher,
                    mid,
                    kept: self.keep_there(publication, shard, std::slice::from_ref(&target), mid),
                    to: Receivers::One(target),
                };
                self.cross(shard, crossing);
            }
        }
        true
    }

    /// A number for the publication, should somebody who is kept get it; 0 = that cannot be.
    fn number_of(&self, publication: &Publication<'_>) -> u64 {
        if publication.qos > 0 && self.keeps() {
            self.node.store.next_mid()
        } else {
            0
        }
    }

    /// Notes who of the targets on another shard is kept: the publication is written for all its receivers as one,
    /// here, before it crosses.
    fn keep_there(
        &mut self,
        publication: &Publication<'_>,
        shard: usize,
        targets: &[Target],
        mid: u64,
    ) -> Vec<u64> {
        if mid == 0 {
            return Vec::new();
        }
        let mut kept = self.node.kept[shard].of(targets);
        for (sid, target) in kept.iter_mut().zip(targets) {
            if target.qos() == 0 {
                *sid = 0;
            }
            if *sid > 0 {
                self.enqueue.note(mid, to_keep(*sid, publication, target));
            }
        }
        kept
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
            Receivers::One(target) => self.deliver(&mut publication, target, false, crossing.keep(0)),
            Receivers::Route(route) => {
                let targets = route
                    .shards
                    .get(usize::from(self.index))
                    .map_or(&[][..], |targets| targets);
                let many = targets.len() > 1;
                for (at, target) in targets.iter().enumerate() {
                    self.deliver(&mut publication, target, many, crossing.keep(at));
                }
            }
        }
        self.write_enqueued(&publication);
    }

    fn deliver(&mut self, publication: &mut Publication<'_>, target: &Target, many: bool, keep: Keep) {
        let delivered = self.deliver_one(publication, target, many, keep);
        if let Keep::Done { sid, mid } = keep
            && !matches!(delivered, Some(Delivered::Sent | Delivered::Queued))
        {
            self.enqueue.over.push((sid, mid));
        }
    }

    fn deliver_one(
        &mut self,
        publication: &mut Publication<'_>,
        target: &Target,
        many: bool,
        keep: Keep,
    ) -> Option<Delivered> {
        let client = self.clients.get_mut(target.slot as usize)?.as_mut()?;
        if client.session.me.serial != target.serial {
            return None;
        }
        let mqtt = client
            .conn
            .as_ref()
            .map_or(&self.snapshot.mqtt, |conn| &conn.listener.mqtt);
        let (limits, queue_qos0) = (mqtt.queue, mqtt.queue_qos0);
        let (me, sid, qos) = (
            client.session.me,
            client.session.sid,
            publication.qos.min(target.qos()),
        );
        let stored = match keep {
            Keep::Yet(mid) if qos > 0 && client.session.kept => mid,
            Keep::Done { sid: of, mid } if of == sid => mid,
            _ => 0,
        };
        let held = qos == 2 && stored > 0;
        let cx = Delivery {
            now: self.now,
            limits: &limits,
            queue_qos0,
            buffer_max: BUFFER_MAX,
            stored,
            held,
        };
        let mut gone: Vec<Queued> = Vec::new();
        let mut waiting = listeners::OutBuf::new();
        let number = client.conn.as_ref().map_or(0, |conn| conn.number);
        let (out, before) = match client.conn.as_mut() {
            Some(conn) => {
                let before = conn.out.len();
                if held {
                    (Some(&mut waiting), before)
                } else {
                    if let Some(spare) = conn.out.owns_nothing().then(|| self.spare.pop()).flatten() {
                        conn.out = listeners::OutBuf::with_buffer(spare);
                    }
                    (Some(&mut conn.out), before)
                }
            }
            None => (None, 0),
        };
        let frames = (many && !held).then_some(&mut self.frames);
        let delivered = client
            .session
            .deliver(publication, target, &cx, frames, out, &mut gone);
        if stored > 0 && matches!(delivered, Delivered::Sent | Delivered::Queued) {
            let sent = client.session.take_sent();
            if let Keep::Yet(mid) = keep {
                self.enqueue.note(mid, to_keep(sid, publication, target));
            }
            self.enqueue.note_sent(sid, &sent);
        }
        if !waiting.is_empty() {
            let bytes = std::mem::take(waiting.buffer_mut());
            self.enqueue.held.push((me, number, bytes));
        }
        self.account(delivered, target.slot, qos, before, publication.publisher);
        for item in &gone {
            self.count_drop(DropReason::QueueFull);
            if item.stored != stored {
                self.forget(sid, item);
            }
        }
        Some(delivered)
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
