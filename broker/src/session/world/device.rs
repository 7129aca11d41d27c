//! A device: a client that keeps its own state by the standard, reads slowly and loses what was under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use codec::{Ack, AckKind, Packet, PublishOut, QoS, ReasonCode, Version};

use super::Chance;
use super::promises::Promises;

/// A message that the device is sending at QoS 1 or 2.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    id: u16,
    number: usize,
    topic: &'static str,
    qos: u8,
    expiry: Option<u32>,
    released: bool,
}

#[derive(Debug)]
pub(super) struct Device {
    me: usize,
    pub(super) version: Version,
    /// Aliases it allows the broker.
    pub(super) alias_max: u16,
    pub(super) online: bool,
    /// Packets to the broker, and from it.
    pub(super) up: VecDeque<Vec<u8>>,
    pub(super) down: VecDeque<Vec<u8>>,
    pub(super) sending: Vec<Sending>,
    last_id: u16,
    /// QoS 2 messages that came and were not released.
    incomplete: BTreeSet<u16>,
    /// Messages of this connection that it has not acknowledged to the end.
    open: BTreeSet<u16>,
    window: usize,
    aliases: BTreeMap<u16, String>,
    /// Packets that came before CONNACK would have; none may.
    awaiting_connack: bool,
}

impl Device {
    pub(super) fn new(me: usize, chance: &mut Chance) -> Self {
        Self {
            me,
            version: chance.pick(&[Version::V5, Version::V311]),
            alias_max: chance.pick(&[0, 0, 2]),
            online: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            sending: Vec::new(),
            last_id: 0,
            incomplete: BTreeSet::new(),
            open: BTreeSet::new(),
            window: 0,
            aliases: BTreeMap::new(),
            awaiting_connack: true,
        }
    }

    /// An expiry as it counts: before MQTT 5 there is none.
    pub(super) fn expiry_counts(&self, expiry: Option<u32>) -> Option<u32> {
        expiry.filter(|_| self.version == Version::V5)
    }

    pub(super) fn lose(&mut self) {
        self.online = false;
        self.up.clear();
        self.down.clear();
        self.open.clear();
        self.aliases.clear();
        self.awaiting_connack = true;
    }

    /// CONNACK: with the session gone on the other side, it is gone here too; else what was unfinished is sent again.
    pub(super) fn connected(&mut self, present: bool, window: u16) {
        self.online = true;
        self.awaiting_connack = false;
        self.window = usize::from(window);
        if !present {
            self.sending.clear();
            self.incomplete.clear();
        }
        for sending in self.sending.clone() {
            if sending.released {
                self.answer(AckKind::PubRel, sending.id);
            } else {
                self.send(&sending, true);
            }
        }
    }

    /// What it was sending when its session was lost.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = usize> {
        self.sending.iter().map(|s| s.number)
    }

    pub(super) fn publish(&mut self, number: usize, topic: &'static str, qos: u8, expiry: Option<u32>) {
        self.last_id = self.last_id % 200 + 1;
        while self.sending.iter().any(|s| s.id == self.last_id) {
            self.last_id = self.last_id % 200 + 1;
        }
        let sending = Sending {
            id: self.last_id,
            number,
            topic,
            qos,
            expiry,
            released: false,
        };
        self.send(&sending, false);
        if qos > 0 {
            self.sending.push(sending);
        }
    }

    fn send(&mut self, sending: &Sending, dup: bool) {
        let mut bytes = Vec::new();
        let payload = sending.number.to_string();
        let packet = PublishOut {
            version: self.version,
            dup,
            qos: QoS::from_u8(sending.qos).expect("a QoS"),
            retain: false,
            topic: sending.topic,
            packet_id: sending.id,
            topic_alias: None,
            message_expiry: sending.expiry,
            subscription_ids: &[],
            properties: &[],
            payload: payload.as_bytes(),
        };
        packet.encode(&mut bytes).expect("a small packet");
        self.up.push_back(bytes);
    }

    fn answer(&mut self, kind: AckKind, id: u16) {
        let mut bytes = Vec::new();
        Ack::new(id, ReasonCode::Success).encode(kind, self.version, &mut bytes);
        self.up.push_back(bytes);
    }

    /// A packet left the broker: the promises of the wire hold whether or not it is ever read.
    pub(super) fn arrive(&mut self, bytes: Vec<u8>, now: u64, promises: &Promises) {
        assert!(
            !self.awaiting_connack,
            "a packet to {} without a connection",
            self.me
        );
        let packet = codec::decode_from_server(&bytes, self.version).expect("a packet of a server");
        if let Packet::Publish(publish) = &packet
            && !publish.dup
        {
            promises.not_expired(number(publish), now);
        }
        if let Packet::Publish(publish) = &packet
            && publish.qos != QoS::AtMostOnce
        {
            let new = self.open.insert(publish.packet_id);
            assert!(new, "packet identifier {} is in use", publish.packet_id); // [MQTT-2.2.1-4]
            let window = self.window;
            assert!(self.open.len() <= window, "more than {window} unacknowledged"); // [MQTT-3.3.4-9]
        }
        self.down.push_back(bytes);
    }

    /// Reads one packet; false if there is none.
    pub(super) fn read(&mut self, promises: &mut Promises) -> bool {
        let Some(bytes) = self.down.pop_front() else {
            return false;
        };
        match codec::decode_from_server(&bytes, self.version).expect("a packet of a server") {
            Packet::Publish(publish) => {
                let mut topic = publish.topic.to_owned();
                if let Some(alias) = publish.properties.topic_alias {
                    assert!(alias <= self.alias_max, "alias {alias}"); // [MQTT-3.1.2-26]
                    if topic.is_empty() {
                        topic.clone_from(self.aliases.get(&alias).expect("an alias that was set"));
                    } else {
                        self.aliases.insert(alias, topic.clone());
                    }
                }
                let number = number(&publish);
                promises.has_topic(number, &topic);
                let (qos, dup, id) = (publish.qos.level(), publish.dup, publish.packet_id);
                self.take(number, qos, dup, id, promises);
            }
            Packet::PubAck(ack) => self.sending.retain(|s| s.id != ack.packet_id || s.qos != 1),
            Packet::PubRec(ack) => {
                if let Some(s) = self
                    .sending
                    .iter_mut()
                    .find(|s| s.id == ack.packet_id && s.qos == 2)
                {
                    s.released = true;
                }
                self.answer(AckKind::PubRel, ack.packet_id);
            }
            Packet::PubRel(ack) => {
                self.incomplete.remove(&ack.packet_id);
                self.open.remove(&ack.packet_id);
                self.answer(AckKind::PubComp, ack.packet_id);
            }
            Packet::PubComp(ack) => self.sending.retain(|s| s.id != ack.packet_id || s.qos != 2),
            other => panic!("{other:?}"),
        }
        true
    }

    fn take(&mut self, number: usize, qos: u8, dup: bool, id: u16, promises: &mut Promises) {
        match qos {
            0 => promises.arrived(self.me, number, 0, dup),
            1 => {
                promises.arrived(self.me, number, 1, dup);
                self.open.remove(&id);
                self.answer(AckKind::PubAck, id);
            }
            _ => {
                if self.incomplete.insert(id) {
                    promises.arrived(self.me, number, 2, dup);
                }
                self.answer(AckKind::PubRec, id);
            }
        }
    }

    pub(super) fn check_idle(&self) {
        assert!(
            self.sending.is_empty(),
            "{} still sends {:?}",
            self.me,
            self.sending
        );
        assert!(
            self.incomplete.is_empty(),
            "{} still waits for {:?}",
            self.me,
            self.incomplete
        );
    }
}

fn number(publish: &codec::Publish<'_>) -> usize {
    let text = std::str::from_utf8(publish.payload).expect("text");
    text.parse().expect("a number")
}
