//! Publishers and subscribers with sessions of their own, who know what was promised to them across restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Sender;

use codec::{Ack, AckKind, Disconnect, PublishOut, QoS, ReasonCode, Version};
use tests::client::{Client, Login, Message, Reply};
use tests::link::Dial;

/// Exchanges a publisher has open.
const WINDOW: usize = 8;
/// A subscriber asks after so many messages whether its acknowledgements are safe.
const BARRIER: usize = 16;

/// Numbers by chance, the same for the same seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// At least `from`, less than `to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        from + (z ^ (z >> 31)) % (to - from)
    }
}

fn login(id: &str) -> Login<'_> {
    Login {
        clean: false,
        expiry: 3600,
        ..Login::new(id)
    }
}

fn publish(topic: &str, payload: &str, qos: u8, packet_id: u16, dup: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packet = PublishOut {
        version: Version::V5,
        dup,
        qos: QoS::from_u8(qos).expect("a QoS"),
        retain: false,
        topic,
        packet_id,
        topic_alias: None,
        message_expiry: None,
        subscription_ids: &[],
        properties: &[],
        payload: payload.as_bytes(),
    };
    packet.encode(&mut bytes).expect("a small packet");
    bytes
}

fn ack(kind: AckKind, id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Ack::new(id, ReasonCode::Success).encode(kind, Version::V5, &mut bytes);
    bytes
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Everything is done.
    Done,
    /// The broker said that it shuts down.
    Told,
    /// Without a word.
    Cut,
}

/// One exchange of a publisher.
#[derive(Debug)]
struct Open {
    packet_id: u16,
    number: u32,
    released: bool,
}

/// Publishes 0, 1, 2 … to one topic.
#[derive(Debug)]
pub(super) struct Publisher {
    index: usize,
    qos: u8,
    next: u32,
    open: VecDeque<Open>,
    promised: bool,
}

impl Publisher {
    /// Number `index` of all, publishing at this QoS.
    pub(super) fn new(index: usize, qos: u8) -> Self {
        Self {
            index,
            qos,
            next: 0,
            open: VecDeque::new(),
            promised: false,
        }
    }

    /// How many messages were published.
    pub(super) fn published(&self) -> u32 {
        self.next
    }

    fn topic(&self) -> String {
        format!("n/{}/{}", self.qos, self.index)
    }

    // The lowest that is free: each is used again as soon as it may be.
    fn free_id(&self) -> u16 {
        (1..=u16::MAX)
            .find(|id| self.open.iter().all(|o| o.packet_id != *id))
            .expect("a small window")
    }

    /// Connects and publishes until the connection ends, or, without `more`, until nothing is open. Tells `acks` of
    /// each acknowledgement.
    pub(super) fn serve(&mut self, dial: &Dial, more: bool, acks: &Sender<()>) -> End {
        let id = format!("pub{}", self.index);
        let Ok(mut client) = dial.try_login(&login(&id)) else {
            return End::Cut;
        };
        assert!(
            client.session_present || !self.promised,
            "{id}: its session is gone"
        );
        let topic = self.topic();
        for open in &self.open {
            let bytes = if open.released {
                ack(AckKind::PubRel, open.packet_id)
            } else {
                publish(&topic, &open.number.to_string(), self.qos, open.packet_id, true)
            };
            client.try_send(&bytes);
        }
        let mut end = End::Cut;
        loop {
            while more && self.open.len() < WINDOW {
                let (packet_id, number) = (self.free_id(), self.next);
                client.try_send(&publish(&topic, &number.to_string(), self.qos, packet_id, false));
                self.next += 1;
                self.open.push_back(Open {
                    packet_id,
                    number,
                    released: false,
                });
            }
            if self.open.is_empty() {
                return End::Done;
            }
            match client.reply() {
                Reply::Ack(AckKind::PubRec, id, reason) => {
                    assert_eq!(reason, ReasonCode::Success, "{topic}: PUBREC");
                    self.promised = true;
                    let open = self.open.iter_mut().find(|o| o.packet_id == id);
                    open.expect("an open exchange").released = true;
                    client.try_send(&ack(AckKind::PubRel, id));
                }
                Reply::Ack(AckKind::PubAck | AckKind::PubComp, id, reason) => {
                    let known = reason == ReasonCode::Success
                        || (self.qos == 2 && reason == ReasonCode::PacketIdentifierNotFound);
                    assert!(known, "{topic}: {reason:?}");
                    self.open.retain(|o| o.packet_id != id);
                    // Nobody counts any more once the round is over.
                    let _ = acks.send(());
                }
                Reply::Disconnect(reason) => {
                    assert_eq!(reason, ReasonCode::ServerShuttingDown);
                    end = End::Told;
                }
                Reply::End => return end,
                other => panic!("{topic}: {other:?}"),
            }
        }
    }
}

/// Who published a message, at which QoS, and its number.
type Numbered = (usize, u8, u32);

/// Takes the messages of all publishers and knows what may not come again.
#[derive(Debug)]
pub(super) struct Subscriber {
    id: String,
    qos: u8,
    chance: Chance,
    /// What comes next, by publisher.
    next: BTreeMap<usize, u32>,
    /// QoS 2 packet identifiers received and not released.
    received: BTreeSet<u16>,
    /// Acknowledged at QoS 1, and the broker has acknowledged something later.
    safe: BTreeSet<Numbered>,
}

impl Subscriber {
    /// Subscribes at this QoS.
    #[track_caller]
    pub(super) fn new(id: &str, qos: u8, dial: &Dial, seed: u64) -> Self {
        let mut client = dial.login(&login(id));
        assert_eq!(client.subscribe("n/#", qos), qos);
        assert_eq!(client.subscribe(&format!("barrier/{id}"), 1), 1);
        client.disconnect();
        Self {
            id: id.to_owned(),
            qos,
            chance: Chance(seed),
            next: BTreeMap::new(),
            received: BTreeSet::new(),
            safe: BTreeSet::new(),
        }
    }

    fn has_all(&self, wanted: &[u32]) -> bool {
        wanted
            .iter()
            .enumerate()
            .all(|(at, n)| self.next.get(&at).copied().unwrap_or(0) >= *n)
    }

    /// Comes and goes until the broker ends, or until it has so many messages of each publisher.
    pub(super) fn serve(&mut self, dial: &Dial, wanted: Option<&[u32]>) -> End {
        loop {
            let Ok(client) = dial.try_login(&login(&self.id)) else {
                return End::Cut;
            };
            assert!(client.session_present, "{}: its session is gone", self.id);
            if let Some(end) = self.stay(client, wanted) {
                return end;
            }
        }
    }

    /// One connection; `None` if it was we who left.
    fn stay(&mut self, mut client: Client, wanted: Option<&[u32]>) -> Option<End> {
        let mut left = self.chance.between(20, 200);
        let (mut acknowledged, mut asked) = (BTreeSet::new(), None);
        let mut end = End::Cut;
        loop {
            if wanted.is_some_and(|wanted| self.has_all(wanted)) {
                return Some(End::Done);
            }
            match client.reply() {
                Reply::Publish(message, id) => {
                    let numbered = self.take(&message, id);
                    let answer = if message.qos == 2 {
                        AckKind::PubRec
                    } else {
                        AckKind::PubAck
                    };
                    client.try_send(&ack(answer, id));
                    acknowledged.extend(numbered.filter(|_| message.qos == 1));
                    if acknowledged.len() >= BARRIER && asked.is_none() {
                        asked = Some(std::mem::take(&mut acknowledged));
                        client.try_send(&publish(&format!("barrier/{}", self.id), "", 1, 1, false));
                    }
                    left -= 1;
                    if left == 0 {
                        if self.chance.between(0, 2) == 0 {
                            let mut bytes = Vec::new();
                            Disconnect::new(ReasonCode::Success).encode(Version::V5, &mut bytes);
                            client.try_send(&bytes);
                        }
                        return None;
                    }
                }
                Reply::Ack(AckKind::PubRel, id, _) => {
                    self.received.remove(&id);
                    client.try_send(&ack(AckKind::PubComp, id));
                }
                Reply::Ack(AckKind::PubAck, 1, _) => self.safe.extend(asked.take().unwrap_or_default()),
                Reply::Disconnect(reason) => {
                    assert_eq!(reason, ReasonCode::ServerShuttingDown);
                    end = End::Told;
                }
                Reply::End => return Some(end),
                other => panic!("{}: {other:?}", self.id),
            }
        }
    }

    /// Checks a message against what came before.
    fn take(&mut self, message: &Message, id: u16) -> Option<Numbered> {
        let mut parts = message.topic.strip_prefix("n/")?.split('/');
        let mut part = || {
            parts
                .next()
                .and_then(|part| part.parse::<usize>().ok())
                .expect("a number")
        };
        let (qos, publisher) = (part() as u8, part());
        let number: u32 = message.payload.parse().expect("a number");
        assert_eq!(message.qos, qos.min(self.qos));
        if message.qos == 2 && !self.received.insert(id) {
            return None; // Known already: not handed on ([MQTT-4.3.3-10]).
        }
        let next = self.next.entry(publisher).or_default();
        assert!(number <= *next, "{}: {message:?} came, {next} did not", self.id);
        if number == *next {
            *next += 1;
        } else {
            assert_ne!(message.qos, 2, "{}: {message:?} came again", self.id);
        }
        let numbered = (publisher, qos, number);
        // A QoS 1 publisher may have sent it again.
        assert!(
            qos == 1 || !self.safe.contains(&numbered),
            "{}: {message:?} was acknowledged",
            self.id
        );
        Some(numbered)
    }
}
