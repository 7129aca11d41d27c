//! The broker's side of the world: sessions and the router, put together as the shards do it, without their sockets.

use codec::{Ack, AckKind, Packet, ReasonCode, Version};
use listeners::OutBuf;

use super::Chance;
use super::device::Device;
use super::promises::Promises;
use crate::router::Router;
use crate::router::route::{RouteCache, Target};
use crate::router::shared::{Choice, Strategy};
use crate::router::trie::{SessionRef, Subscription};
use crate::session::alias::AliasesOut;
use crate::session::message::{NEVER, Publication};
use crate::session::publish_in::{Incoming, Offer};
use crate::session::publish_out::{Delivery, Frames};
use crate::session::queue::{QueueFull, QueueLimits};
use crate::session::subscribe::Entry;
use crate::session::{Link, Session};

struct Place {
    session: Session,
    out: Option<OutBuf>,
}

pub(super) struct Host {
    router: Router,
    cache: RouteCache,
    frames: Frames,
    places: Vec<Option<Place>>,
    serial: u32,
    limits: QueueLimits,
    strategy: Strategy,
    buffer_max: usize,
}

const OFFER: Offer = Offer {
    max_qos: 2,
    retain: true,
    max_topic_levels: 8,
};

fn device_of(slot: u32) -> usize {
    slot as usize
}

impl Host {
    pub(super) fn new(queue: usize, chance: &mut Chance) -> Self {
        Self {
            router: Router::new(2),
            cache: RouteCache::default(),
            frames: Frames::default(),
            places: (0..8).map(|_| None).collect(),
            serial: 0,
            limits: QueueLimits {
                messages: queue,
                bytes: 1 << 30,
                full: chance.pick(&[QueueFull::DropOldest, QueueFull::DropNewest]),
            },
            strategy: chance.pick(&[
                Strategy::RoundRobin,
                Strategy::Random,
                Strategy::Sticky,
                Strategy::HashClient,
                Strategy::HashTopic,
                Strategy::Local,
            ]),
            // Some worlds stop pumping in the middle of a queue.
            buffer_max: chance.pick(&[1 << 20, 60]),
        }
    }

    /// A new connection of `device`; true if it finds its session.
    pub(super) fn connect(
        &mut self,
        d: usize,
        (clean, expiry, window): (bool, u32, u16),
        device: &Device,
        now: u64,
        promises: &mut Promises,
    ) -> bool {
        if clean {
            self.end(d, promises);
        }
        let present = self.places[d].is_some();
        if !present {
            device.unfinished().for_each(|number| promises.given_up(number));
        }
        let serial = &mut self.serial;
        let place = self.places[d].get_or_insert_with(|| {
            *serial += 1;
            let me = SessionRef {
                shard: (d % 2) as u16,
                slot: d as u32,
                serial: *serial,
            };
            Place {
                session: Session::restored(d.to_string().into(), me, u64::from(*serial), now),
                out: None,
            }
        });
        let session = &mut place.session;
        session.expiry = expiry;
        session.disconnected_at = 0;
        session.link = Link {
            version: device.version,
            window,
            receive_maximum: 16,
            inherited_rel: session.awaiting_rel.len() as u16,
            aliases_out: AliasesOut::new(if device.version == Version::V5 {
                device.alias_max
            } else {
                0
            }),
            ..Link::default()
        };
        place.out = Some(OutBuf::new());
        self.announce(d, true);
        present
    }

    pub(super) fn resume(&mut self, d: usize, now: u64, promises: &mut Promises) {
        if let Some(Place {
            session,
            out: Some(out),
        }) = &mut self.places[d]
        {
            session.resend(out, &mut OutBuf::new());
        }
        self.pump(d, now, promises);
    }

    pub(super) fn lose(&mut self, d: usize, now: u64, promises: &mut Promises) {
        let Some(place) = &mut self.places[d] else { return };
        place.out = None;
        place.session.disconnected_at = now;
        if place.session.is_persistent() {
            self.announce(d, false);
        } else {
            self.end(d, promises);
        }
    }

    fn announce(&mut self, d: usize, online: bool) {
        let Some(place) = &self.places[d] else { return };
        for (filter, name) in place.session.subscriptions.shared() {
            self.router.set_online(&name, filter, place.session.me, online);
        }
    }

    pub(super) fn expire(&mut self, now: u64, promises: &mut Promises) {
        for d in 0..self.places.len() {
            let over = self.places[d].as_ref().is_some_and(|place| {
                place.out.is_none() && place.session.expires_at().is_some_and(|at| at <= now)
            });
            if over {
                self.end(d, promises);
            }
        }
    }

    fn end(&mut self, d: usize, promises: &mut Promises) {
        let Some(place) = self.places[d].take() else {
            return;
        };
        let me = place.session.me;
        for entry in place.session.subscriptions.entries() {
            match &entry.share {
                Some(name) => self.router.leave(name, entry.filter, me),
                None => self.router.unsubscribe(entry.filter, me),
            };
        }
        promises.forgotten(d);
    }

    pub(super) fn subscribe(&mut self, d: usize, share: Option<&str>, filter: &str, qos: u8) {
        let Some(place) = &mut self.places[d] else { return };
        let sub = Subscription {
            session: place.session.me,
            id: 0,
            options: qos,
        };
        let (filter, _) = match share {
            Some(name) => self.router.join(name, filter, sub),
            None => self.router.subscribe(filter, sub),
        };
        place.session.subscriptions.insert(Entry {
            filter,
            share: share.map(Into::into),
            options: qos,
            id: 0,
        });
    }

    pub(super) fn unsubscribe(&mut self, d: usize, share: Option<&str>, filter: &str) {
        let Some(place) = &mut self.places[d] else { return };
        let Some(filter) = self.router.find(filter) else {
            return;
        };
        if place.session.subscriptions.remove(filter, share).is_some() {
            match share {
                Some(name) => self.router.leave(name, filter, place.session.me),
                None => self.router.unsubscribe(filter, place.session.me),
            };
        }
    }

    /// One packet from a device.
    pub(super) fn handle(
        &mut self,
        d: usize,
        bytes: &[u8],
        now: u64,
        chance: &mut Chance,
        promises: &mut Promises,
    ) {
        let Some(place) = &mut self.places[d] else { return };
        let session = &mut place.session;
        let version = session.link.version;
        let answer = |kind, id, place: &mut Place| {
            if let Some(out) = &mut place.out {
                Ack::new(id, ReasonCode::Success).encode(kind, version, out.buffer_mut());
            }
        };
        match codec::decode(bytes, version).expect("a packet of a client") {
            Packet::Publish(publish) => {
                let incoming = session.publish_in(&publish, &OFFER).expect("a good PUBLISH");
                let (qos, id) = (publish.qos.level(), publish.packet_id);
                if incoming != Incoming::Duplicate {
                    if qos == 2 {
                        session.received_qos2(id);
                    }
                    let mut publication = Publication::new(publish.topic, &[], publish.payload);
                    publication.qos = qos;
                    publication.publisher = Some(session.me);
                    publication.expires_at = publish
                        .properties
                        .message_expiry
                        .map_or(NEVER, |seconds| now + u64::from(seconds) * 1000);
                    self.route(&mut publication, now, chance, promises);
                }
                let Some(place) = &mut self.places[d] else { return };
                match qos {
                    0 => {}
                    1 => answer(AckKind::PubAck, id, place),
                    _ => answer(AckKind::PubRec, id, place),
                }
            }
            Packet::PubAck(ack) => {
                session.acknowledged(ack.packet_id);
            }
            Packet::PubRec(ack) => {
                session.received(ack.packet_id, false);
                answer(AckKind::PubRel, ack.packet_id, place);
            }
            Packet::PubRel(ack) => {
                session.released(ack.packet_id);
                answer(AckKind::PubComp, ack.packet_id, place);
            }
            Packet::PubComp(ack) => {
                session.completed(ack.packet_id);
            }
            other => panic!("{other:?}"),
        }
        self.pump(d, now, promises);
    }

    fn route(
        &mut self,
        publication: &mut Publication<'_>,
        now: u64,
        chance: &mut Chance,
        promises: &mut Promises,
    ) {
        let number: usize = std::str::from_utf8(publication.payload)
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        let route = self.router.route(publication.topic, &mut self.cache);
        let plain: Vec<Target> = route.shards.iter().flat_map(|t| t.iter().cloned()).collect();
        let owed: Vec<(usize, u8)> = plain.iter().map(|t| (device_of(t.slot), t.qos())).collect();
        let members: Vec<usize> = route
            .groups
            .iter()
            .flat_map(|g| g.subscriptions())
            .map(|s| device_of(s.session.slot))
            .collect();
        promises.routed(number, &owed, &members, now);
        let many = plain.len() > 1;
        self.frames.clear();
        for target in &plain {
            self.deliver(publication, target, now, many);
        }
        for group in &route.groups {
            let choice = Choice {
                strategy: self.strategy,
                client_hash: 7,
                topic_hash: publication.topic.len() as u64,
                random: chance.next(),
                shard: 0,
            };
            if let Some(member) = group.choose(choice) {
                self.deliver(publication, &Target::of(&member), now, false);
            }
        }
    }

    fn deliver(&mut self, publication: &mut Publication<'_>, target: &Target, now: u64, many: bool) {
        let Some(place) = &mut self.places[device_of(target.slot)] else {
            return;
        };
        assert_eq!(
            place.session.me.serial, target.serial,
            "a route to a session that is gone"
        );
        let cx = Delivery {
            now,
            limits: &self.limits,
            queue_qos0: true,
            buffer_max: 1 << 20,
            stored: 0,
            held: false,
        };
        let frames = many.then_some(&mut self.frames);
        let out = place.out.as_mut();
        place
            .session
            .deliver(publication, target, &cx, frames, out, &mut Vec::new());
    }

    fn pump(&mut self, d: usize, now: u64, promises: &mut Promises) {
        let buffer_max = self.buffer_max;
        if let Some(Place {
            session,
            out: Some(out),
        }) = &mut self.places[d]
        {
            let mut gone = Vec::new();
            session.pump(now, out, &mut OutBuf::new(), buffer_max, &mut gone);
            for (item, reason) in gone {
                promises.note(|| format!("{:?} is dropped: {reason:?}", item.message.payload()));
            }
        }
    }

    /// Takes what the session has written, packet by packet; then there is room again.
    pub(super) fn take_written(&mut self, d: usize, now: u64, mut packet: impl FnMut(Vec<u8>)) {
        let Some(Place {
            out: Some(out),
            session,
        }) = &mut self.places[d]
        else {
            return;
        };
        loop {
            let bytes = std::mem::take(out.buffer_mut());
            *out = OutBuf::new();
            let mut rest = &bytes[..];
            while let Ok(codec::Frame::Complete { len }) = codec::frame::check(rest, u32::MAX) {
                packet(rest[..len].to_vec());
                rest = &rest[len..];
            }
            assert!(rest.is_empty(), "half a packet");
            if !session.has_waiting() {
                return;
            }
            session.pump(now, out, &mut OutBuf::new(), self.buffer_max, &mut Vec::new());
            if out.is_empty() {
                return;
            }
        }
    }

    pub(super) fn check_idle(&self, d: usize) {
        let Some(place) = &self.places[d] else { return };
        let session = &place.session;
        let idle = session
            .outbound
            .as_ref()
            .is_none_or(|outbound| outbound.is_idle());
        assert!(idle, "{d}: {:?}", session.outbound);
        assert!(session.awaiting_rel.is_empty(), "{d}: {:?}", session.awaiting_rel);
        assert_eq!(session.link.inherited_rel, 0, "{d}");
    }
}
