//! A tiny MQTT client that says exactly what it is told to and hides nothing, over any [`Link`].

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use codec::{
    Ack, AckKind, Connect, ConnectProperties, Disconnect, Frame, Packet, Properties, PropertiesBuf, Property,
    PublishOut, QoS, ReasonCode, SubscribeFilter, SubscribeOptions, Version, Will,
};

use crate::link::{Dial, Link};

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub struct Login<'a> {
    /// Client id.
    pub id: &'a str,
    /// Version of the protocol.
    pub version: Version,
    /// Clean start, or clean session.
    pub clean: bool,
    /// Seconds.
    pub keep_alive: u16,
    /// Session expiry in seconds, MQTT 5.
    pub expiry: u32,
    /// Username.
    pub username: Option<&'a str>,
    /// Password.
    pub password: Option<&'a str>,
    /// Topic and payload of a Will at QoS 1.
    pub will: Option<(&'a str, &'a str)>,
}

impl<'a> Login<'a> {
    /// MQTT 5, clean start, keep-alive 60 s, nothing else.
    pub fn new(id: &'a str) -> Self {
        Self {
            id,
            version: Version::V5,
            clean: true,
            keep_alive: 60,
            expiry: 0,
            username: None,
            password: None,
            will: None,
        }
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut properties = PropertiesBuf::new();
        if self.version == Version::V5 && self.expiry > 0 {
            properties
                .push(Property::SessionExpiryInterval(self.expiry))
                .expect("small");
        }
        let mut connect = Connect::new(self.version, self.id);
        connect.clean_start = self.clean;
        connect.keep_alive = self.keep_alive;
        connect.username = self.username;
        connect.password = self.password.map(str::as_bytes);
        connect.properties = ConnectProperties::parse(properties.as_properties()).expect("good properties");
        connect.will = self.will.map(|(topic, payload)| Will {
            topic,
            payload: payload.as_bytes(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: codec::WillProperties::default(),
        });
        let mut bytes = Vec::new();
        connect.encode(&mut bytes).expect("a small packet");
        bytes
    }
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload, as text.
    pub payload: String,
    /// QoS.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// The DUP flag.
    pub dup: bool,
}

/// A packet from the broker, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// CONNACK: session present, reason.
    ConnAck(bool, ReasonCode),
    /// PUBLISH with its packet id.
    Publish(Message, u16),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(AckKind, u16, ReasonCode),
    /// SUBACK.
    SubAck(Vec<u8>),
    /// UNSUBACK.
    UnsubAck,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(ReasonCode),
    /// AUTH.
    Auth,
    /// The connection has ended.
    End,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    link: Link,
    version: Version,
    last_id: u16,
    inbox: VecDeque<Message>,
    /// What CONNACK said of the session.
    pub session_present: bool,
}

impl Dial {
    /// Connects as this client id with MQTT 5.
    ///
    /// # Panics
    /// If the broker does not accept it.
    #[track_caller]
    pub fn client(&self, id: &str) -> Client {
        self.login(&Login::new(id))
    }

    /// Connects.
    ///
    /// # Panics
    /// If the broker does not accept it.
    #[track_caller]
    pub fn login(&self, login: &Login<'_>) -> Client {
        match self.try_login(login) {
            Ok(client) => client,
            Err(reply) => panic!("{} was not accepted: {reply:?}", login.id),
        }
    }

    /// Connects, or tells what came instead; [`Reply::End`] if the connection was closed without an MQTT answer.
    ///
    /// # Errors
    /// The broker's refusal.
    #[track_caller]
    pub fn try_login(&self, login: &Login<'_>) -> Result<Client, Reply> {
        let mut client = Client {
            link: self.open().map_err(|_| Reply::End)?,
            version: login.version,
            last_id: 0,
            inbox: VecDeque::new(),
            session_present: false,
        };
        // If the broker has closed already, the answer tells.
        let _ = client.link.send(&login.encode());
        match client.reply() {
            Reply::ConnAck(present, ReasonCode::Success) => {
                client.session_present = present;
                Ok(client)
            }
            other => Err(other),
        }
    }
}

impl Client {
    /// Our own address, as the first hop sees it.
    pub fn local(&self) -> SocketAddr {
        self.link.local()
    }

    /// The next packet, whatever it is.
    ///
    /// # Panics
    /// If nothing comes in time, or what comes is no MQTT.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        loop {
            let received = self.link.received();
            let frame = codec::frame::check(received, u32::MAX).expect("MQTT from the broker");
            if let Frame::Complete { len } = frame {
                let rest = received.split_off(len);
                let frame = std::mem::replace(received, rest);
                let packet = codec::decode_from_server(&frame, self.version).expect("MQTT from the broker");
                return owned(&packet);
            }
            match self.link.receive() {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("waited too long for a packet")
                }
                Ok(false) | Err(_) => return Reply::End,
            }
        }
    }

    /// The next packet that is no PUBLISH; messages are taken into the inbox and acknowledged.
    #[track_caller]
    fn answer(&mut self) -> Reply {
        loop {
            match self.reply() {
                Reply::Publish(message, id) => self.take(message, id),
                Reply::Ack(AckKind::PubRel, id, _) => self.acknowledge(AckKind::PubComp, id),
                other => return other,
            }
        }
    }

    fn take(&mut self, message: Message, id: u16) {
        match message.qos {
            1 => self.acknowledge(AckKind::PubAck, id),
            2 => self.acknowledge(AckKind::PubRec, id),
            _ => {}
        }
        self.inbox.push_back(message);
    }

    fn acknowledge(&mut self, kind: AckKind, id: u16) {
        let mut bytes = Vec::new();
        Ack::new(id, ReasonCode::Success).encode(kind, self.version, &mut bytes);
        self.send(&bytes);
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection is closed.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.link.send(bytes).expect("an open connection");
    }

    /// Sends bytes as they are; false if the connection is closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.link.send(bytes).is_ok()
    }

    /// Publishes, and takes part in the handshake of its QoS. Returns the broker's reason; at QoS 0 success.
    ///
    /// # Panics
    /// If something else comes than the answer.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> ReasonCode {
        let id = self.send_publish(topic, payload, qos, retain);
        let first = match qos {
            0 => return ReasonCode::Success,
            1 => AckKind::PubAck,
            _ => AckKind::PubRec,
        };
        let reason = self.expect_ack(first, id);
        if qos == 2 && reason.code() < 0x80 {
            self.acknowledge(AckKind::PubRel, id);
            self.expect_ack(AckKind::PubComp, id);
        }
        reason
    }

    /// Sends a PUBLISH and waits for nothing; returns its packet id.
    #[track_caller]
    pub fn send_publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> u16 {
        let packet_id = self.next_id();
        let mut bytes = Vec::new();
        let publish = PublishOut {
            version: self.version,
            dup: false,
            qos: QoS::from_u8(qos).expect("a QoS"),
            retain,
            topic,
            packet_id,
            topic_alias: None,
            message_expiry: None,
            subscription_ids: &[],
            properties: &[],
            payload: payload.as_bytes(),
        };
        publish.encode(&mut bytes).expect("a small packet");
        self.send(&bytes);
        packet_id
    }

    #[track_caller]
    fn expect_ack(&mut self, kind: AckKind, id: u16) -> ReasonCode {
        match self.answer() {
            Reply::Ack(k, i, reason) if k == kind && i == id => reason,
            other => panic!("expected {kind:?} of {id}, got {other:?}"),
        }
    }

    /// Subscribes to one filter; returns the code of SUBACK.
    ///
    /// # Panics
    /// If something else comes than the answer.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let options = SubscribeOptions {
            qos: QoS::from_u8(qos).expect("a QoS"),
            ..SubscribeOptions::default()
        };
        let mut bytes = Vec::new();
        let id = self.next_id();
        codec::encode_subscribe(
            self.version,
            id,
            Properties::EMPTY,
            &[SubscribeFilter { filter, options }],
            &mut bytes,
        )
        .expect("a small packet");
        self.send(&bytes);
        match self.answer() {
            Reply::SubAck(codes) => codes[0],
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// The next message; acknowledged as its QoS asks.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return message;
            }
            match self.reply() {
                Reply::Publish(message, id) => self.take(message, id),
                Reply::Ack(AckKind::PubRel, id, _) => self.acknowledge(AckKind::PubComp, id),
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// Whether the broker answers a PINGREQ. Returns the messages that came before the answer: all that the broker
    /// had sent until then.
    ///
    /// # Panics
    /// If something else comes.
    #[track_caller]
    pub fn ping(&mut self) -> Vec<Message> {
        let mut bytes = Vec::new();
        codec::encode_pingreq(&mut bytes);
        self.send(&bytes);
        match self.answer() {
            Reply::PingResp => self.inbox.drain(..).collect(),
            other => panic!("expected PINGRESP, got {other:?}"),
        }
    }

    /// Leaves: DISCONNECT, and waits until the broker has closed, so that the end is known to it.
    pub fn disconnect(mut self) {
        let mut bytes = Vec::new();
        Disconnect::new(ReasonCode::Success).encode(self.version, &mut bytes);
        // A broker that has closed already is fine too.
        let _ = self.link.send(&bytes);
        self.link.half_close();
        self.link.receive_all();
    }

    fn next_id(&mut self) -> u16 {
        self.last_id += 1;
        self.last_id
    }
}

fn owned(packet: &Packet<'_>) -> Reply {
    match packet {
        Packet::ConnAck(ack) => Reply::ConnAck(ack.session_present, ack.reason),
        Packet::Publish(publish) => {
            let message = Message {
                topic: publish.topic.to_owned(),
                payload: String::from_utf8_lossy(publish.payload).into_owned(),
                qos: publish.qos.level(),
                retain: publish.retain,
                dup: publish.dup,
            };
            Reply::Publish(message, publish.packet_id)
        }
        Packet::PubAck(ack) => Reply::Ack(AckKind::PubAck, ack.packet_id, ack.reason),
        Packet::PubRec(ack) => Reply::Ack(AckKind::PubRec, ack.packet_id, ack.reason),
        Packet::PubRel(ack) => Reply::Ack(AckKind::PubRel, ack.packet_id, ack.reason),
        Packet::PubComp(ack) => Reply::Ack(AckKind::PubComp, ack.packet_id, ack.reason),
        Packet::SubAck(ack) => Reply::SubAck(ack.codes.to_vec()),
        Packet::UnsubAck(_) => Reply::UnsubAck,
        Packet::PingResp => Reply::PingResp,
        Packet::Disconnect(disconnect) => Reply::Disconnect(disconnect.reason),
        Packet::Auth(_) => Reply::Auth,
        Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
            unreachable!("the codec refuses a client's packet from a server")
        }
    }
}
